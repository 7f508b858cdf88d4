//! What a changed configuration means for what is running.
//!
//! Pure: two configurations go in, a plan comes out. It refuses to carry it out, and to know about triggers: which of
//! them go on is decided by [`Judge`](crate::judge::Judge), which has them.

use crate::config::{Config, Source};

/// The way from what is running to what was typed.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Plan {
    /// The configuration that is running when the plan was carried out: what was typed, but for `after_restart`.
    pub(super) in_force: Config,
    /// Whether anything is different then.
    pub(super) changes: bool,
    /// The names of sources that end: removed, or with other settings.
    pub(super) stop: Vec<String>,
    /// Sources that start, when those of `stop` have ended: added, or with other settings. Which label sets a source
    /// watches is no setting of the source itself, and does not disturb it; neither are the regions, but for cameras that
    /// look in them for changes.
    pub(super) start: Vec<Source>,
    /// Keys that were changed and cannot be while the service runs.
    pub(super) after_restart: Vec<&'static str>,
}

impl Plan {
    /// How `running` becomes `typed`.
    pub(super) fn between(running: &Config, typed: &Config) -> Self {
        let in_force = in_force(running, typed);
        // A picture that is too large is refused by the source.
        let all_anew = running.max_pixels != in_force.max_pixels;
        let goes_on = |old: &Source, new: &Source| {
            let looks_alike = old.regions == new.regions || !new.kind.compares_regions();
            old.name == new.name && old.kind == new.kind && looks_alike && !all_anew
        };
        let stops = |old: &&Source| !in_force.sources.iter().any(|new| goes_on(old, new));
        let starts = |new: &&Source| !running.sources.iter().any(|old| goes_on(old, new));
        Self {
            stop: running.sources.iter().filter(stops).map(|source| source.name.clone()).collect(),
            start: in_force.sources.iter().filter(starts).cloned().collect(),
            changes: in_force != *running,
            after_restart: after_restart(running, typed),
            in_force,
        }
    }
}

/// What was typed, where it can be changed while the service runs. Every field is named, so that whoever adds one decides.
fn in_force(running: &Config, typed: &Config) -> Config {
    let Config { model, execution, onnxruntime, mqtt, webhook, command, outbox, listen, state_dir, .. } =
        running.clone();
    let Config { home_assistant, max_pixels, label_sets, sources, .. } = typed.clone();
    Config {
        model,
        execution,
        onnxruntime,
        mqtt,
        webhook,
        command,
        outbox,
        home_assistant,
        listen,
        state_dir,
        max_pixels,
        label_sets,
        sources,
    }
}

fn after_restart(running: &Config, typed: &Config) -> Vec<&'static str> {
    let (runs, told) = (running.execution, typed.execution);
    let changed = [
        ("model", running.model != typed.model),
        ("device", runs.device != told.device),
        ("threads", runs.threads != told.threads),
        ("max_batch", runs.max_batch != told.max_batch),
        ("gpu_memory", runs.gpu_memory != told.gpu_memory),
        ("onnxruntime", running.onnxruntime != typed.onnxruntime),
        ("mqtt", running.mqtt != typed.mqtt),
        ("webhook", running.webhook != typed.webhook),
        ("command", running.command != typed.command),
        ("outbox", running.outbox != typed.outbox),
        ("listen", running.listen != typed.listen),
        ("state_dir", running.state_dir != typed.state_dir),
    ];
    changed.into_iter().filter_map(|(key, changed)| changed.then_some(key)).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::{
        config::{HubModel, ModelRef, Region, SourceKind},
        samples,
    };

    fn names(sources: &[Source]) -> Vec<&str> {
        sources.iter().map(|source| source.name.as_str()).collect()
    }

    #[test]
    fn a_table_of_cases() {
        type Edit = fn(&mut Config);
        // What stops, what starts, what waits for a restart, and whether anything changes.
        type Case<'a> = (&'a str, Edit, &'a [&'a str], &'a [&'a str], &'a [&'a str], bool);
        let cases: &[Case] = &[
            ("nothing", |_| {}, &[], &[], &[], false),
            ("another order of sources", |c| c.sources.reverse(), &[], &[], &[], true),
            ("a source added", |c| c.sources.push(samples::source("new", &[])), &[], &["new"], &[], true),
            ("a source removed", |c| c.sources.truncate(1), &["back"], &[], &[], true),
            ("a source renamed", |c| c.sources[1].name = "new".into(), &["back"], &["new"], &[], true),
            (
                "another folder",
                |c| c.sources[1].kind = samples::source("elsewhere", &[]).kind,
                &["back"],
                &["back"],
                &[],
                true,
            ),
            (
                "other label sets on a source",
                |c| c.sources[1].watch = vec!["yard".into()],
                &[],
                &[],
                &[],
                true,
            ),
            (
                "a region",
                |c| {
                    let name = "step".to_owned();
                    c.sources[0].regions.push(Region { name, x: 0.0, y: 0.0, width: 0.5, height: 0.5 });
                },
                &[],
                &[],
                &[],
                true,
            ),
            ("a label", |c| c.label_sets[0].labels.push(samples::label("cat", 0.5)), &[], &[], &[], true),
            ("a threshold", |c| c.label_sets[0].labels[0].trigger.threshold = 0.9, &[], &[], &[], true),
            (
                "what every source is told",
                |c| c.max_pixels += 1,
                &["Front Door", "back"],
                &["Front Door", "back"],
                &[],
                true,
            ),
            (
                "what cannot change",
                |c| {
                    c.model = ModelRef::Hub(HubModel::named("a/b"));
                    c.execution.threads = Some(7);
                    c.mqtt.prefix = "elsewhere".into();
                    c.state_dir = "elsewhere".into();
                },
                &[],
                &[],
                &["model", "threads", "mqtt", "state_dir"],
                false,
            ),
        ];
        for (name, edit, stop, start, after_restart, changes) in cases {
            let running = samples::config();
            let mut typed = running.clone();
            edit(&mut typed);
            let plan = Plan::between(&running, &typed);
            assert_eq!(plan.stop, *stop, "{name}");
            assert_eq!(names(&plan.start), *start, "{name}");
            assert_eq!(plan.after_restart, *after_restart, "{name}");
            assert_eq!(plan.changes, *changes, "{name}");
        }
    }

    #[test]
    fn what_cannot_change_stays_as_it_is_and_is_told_until_it_is_put_back() {
        let running = samples::config();
        let mut typed = running.clone();
        typed.mqtt.port = 1;
        typed.label_sets.pop();
        let plan = Plan::between(&running, &typed);
        assert_eq!((plan.in_force.mqtt.port, plan.in_force.label_sets.len()), (1883, 1));
        let again = Plan::between(&plan.in_force, &typed);
        assert_eq!((again.changes, again.after_restart), (false, vec!["mqtt"]));
        typed.mqtt.port = 1883;
        assert_eq!(Plan::between(&plan.in_force, &typed).after_restart, Vec::<&str>::new());
    }

    /// What runs, as far as a plan moves it.
    type Running = BTreeMap<String, (SourceKind, u64)>;

    fn running(config: &Config) -> Running {
        let source = |source: &Source| (source.name.clone(), (source.kind.clone(), config.max_pixels));
        config.sources.iter().map(source).collect()
    }

    fn any_config() -> impl Strategy<Value = Config> {
        let source = ("[abc]", "[xy]", prop::sample::subsequence(vec!["porch", "yard"], 0..=2));
        let sources = prop::collection::btree_map("[a-d]", source, 0..4);
        (sources, 1u64..3, 0u16..2, 0usize..=2).prop_map(|(sources, max_pixels, port, labels)| {
            let mut config = samples::config();
            config.sources = sources
                .into_iter()
                .map(|(name, (_, folder, watch))| Source {
                    kind: samples::source(&folder, &[]).kind,
                    ..samples::source(&name, &watch)
                })
                .collect();
            config.max_pixels = max_pixels;
            config.mqtt.port = port;
            config.label_sets[0].labels.truncate(labels);
            config
        })
    }

    proptest! {
        #[test]
        fn a_plan_that_was_carried_out_gives_what_was_typed(old in any_config(), new in any_config()) {
            let plan = Plan::between(&old, &new);
            let mut now = running(&old);
            for name in &plan.stop {
                prop_assert!(now.remove(name).is_some(), "{} ends and was not there", name);
            }
            for source in &plan.start {
                let before = now.insert(source.name.clone(), (source.kind.clone(), plan.in_force.max_pixels));
                prop_assert!(before.is_none(), "{} starts beside itself", source.name);
            }
            prop_assert_eq!(now, running(&new));
            prop_assert_eq!(&plan.in_force.label_sets, &new.label_sets);
            prop_assert_eq!(&plan.in_force.sources, &new.sources);
            prop_assert_eq!(&plan.in_force.mqtt, &old.mqtt);
            let again = Plan::between(&plan.in_force, &new);
            prop_assert!(!again.changes && again.stop.is_empty() && again.start.is_empty());
            let untouched = |name: &String| old.sources.iter().any(|source| source.name == *name)
                && !plan.stop.contains(name);
            for source in new.sources.iter().filter(|source| untouched(&source.name)) {
                prop_assert!(!plan.start.contains(source));
            }
        }
    }
}
