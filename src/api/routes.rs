//! Every verb. A new one is a file of its own, and one line here.

use super::{
    alerts, ask, ask_picture, config, config_check, config_edit, config_preview, config_save,
    config_versions, configuration, control, doctor, enable, entry, explain, forget, mark, near_misses,
    rejudge, replay, schema, scores, search, set, sign_in, snooze, sources, suggest, support_bundle, system,
    timeline, try_source, try_words, verb::Route, watch_for,
};

/// The verbs, by their names.
#[must_use]
pub fn all() -> Vec<Route> {
    vec![
        alerts::VERB.route(),
        ask::VERB.route(),
        ask_picture::VERB.route().up_to(ask_picture::LARGEST),
        watch_for::CANCEL.route(),
        config::VERB.route(),
        config_check::VERB.route().up_to(configuration::LARGEST),
        config_edit::VERB.route(),
        config_preview::VERB.route().up_to(configuration::LARGEST),
        config_save::VERB.route().up_to(configuration::LARGEST),
        config_versions::VERB.route(),
        config_versions::LIST.route(),
        control::LIST.route(),
        enable::DISABLE.route(),
        doctor::VERB.route(),
        enable::ENABLE.route(),
        entry::VERB.route(),
        explain::VERB.route(),
        forget::VERB.route(),
        mark::VERB.route(),
        mark::LIST.route(),
        near_misses::VERB.route(),
        rejudge::VERB.route(),
        replay::VERB.route(),
        schema::VERB.route(),
        scores::VERB.route(),
        search::VERB.route(),
        set::VERB.route(),
        sign_in::VERB.route(),
        sign_in::SIGN_OUT_ALL.route(),
        snooze::VERB.route(),
        sources::VERB.route(),
        suggest::VERB.route(),
        support_bundle::VERB.route(),
        system::VERB.route(),
        timeline::VERB.route(),
        try_source::VERB.route(),
        try_words::VERB.route(),
        watch_for::ADD.route(),
        watch_for::LIST.route(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_verb_has_a_name_of_its_own() {
        let routes = all();
        let names: Vec<_> = routes.iter().map(|route| route.name).collect();
        let mut sorted = names.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(names, sorted, "sorted, and each once");
    }
}
