//! Finds the source, label set and label that `SOURCE[/SET[/LABEL]]` names. Names may contain slashes.

use crate::{
    api::explain::Request,
    config::{Config, Source},
    policy::LabelSet,
    topic::topic_level,
    yaml::names,
};

/// What is asked for. The error says what the configuration does not have, and what was probably meant.
pub(super) fn resolve(target: &str, config: &Config) -> Result<Request, String> {
    let sources = config.sources.iter().map(|source| &*source.name);
    let (name, rest) = match longest(target, sources) {
        Some((name, rest)) => (name.to_owned(), rest),
        None => dynamic(target, config)?,
    };
    let mut request = Request { source: name, label_set: None, label: None, at: None };
    let Some(rest) = rest else { return Ok(request) };
    let source = configured(&request.source, config);
    let sets: Vec<&LabelSet> = source.into_iter().flat_map(|source| config.watched_by(source)).collect();
    let set_names: Vec<&str> = sets.iter().map(|set| &*set.name).collect();
    let Some((set, rest)) = longest(rest, set_names.iter().copied()) else {
        let source = &request.source;
        return Err(format!(
            "`{source}` watches no label set `{rest}`; {}",
            names::suggest(rest, &set_names)
        ));
    };
    request.label_set = Some(set.to_owned());
    let Some(label) = rest else { return Ok(request) };
    let labels = sets.iter().filter(|known| known.name == set).flat_map(|set| set.alerting());
    let labels: Vec<&str> = labels.map(|label| &*label.name).collect();
    let Some(known) = labels.iter().find(|known| topic_level(known) == topic_level(label)) else {
        return Err(format!("`{set}` has no label `{label}`; {}", names::suggest(label, &labels)));
    };
    request.label = Some((*known).to_owned());
    Ok(request)
}

/// The source with this name, or the one whose topics name such sources.
pub(super) fn configured<'c>(name: &str, config: &'c Config) -> Option<&'c Source> {
    let named = config.sources.iter().find(|source| source.name == name);
    named.or_else(|| {
        let may_give = |source: &&Source| {
            source.kind.settings().name_pattern().is_some_and(|pattern| pattern.may_give(name))
        };
        config.sources.iter().find(may_give)
    })
}

/// The names of all sources, for a message.
pub(super) fn sources(config: &Config) -> String {
    let sources: Vec<_> = config.sources.iter().map(|source| &*source.name).collect();
    names::list(&sources, "or")
}

/// A source that is named by topics: the text up to the first slash, or all of it.
fn dynamic<'t>(target: &'t str, config: &Config) -> Result<(String, Option<&'t str>), String> {
    let (first, rest) = target.split_once('/').map_or((target, None), |(first, rest)| (first, Some(rest)));
    if configured(first, config).is_some() {
        return Ok((first.to_owned(), rest));
    }
    let sources: Vec<_> = config.sources.iter().map(|source| &*source.name).collect();
    Err(format!("there is no source `{first}`; {}", names::suggest(first, &sources)))
}

/// The longest of `known` with which the target begins, and what follows after a slash. Names that differ only in their spelling are the
/// same.
fn longest<'t, 'k>(
    target: &'t str,
    known: impl Iterator<Item = &'k str>,
) -> Option<(&'k str, Option<&'t str>)> {
    let begins = |name: &'k str| {
        let ends = target.match_indices('/').map(|(at, _)| at).chain([target.len()]);
        let end = ends.filter(|end| topic_level(&target[..*end]) == topic_level(name)).max()?;
        Some((name, end))
    };
    let exact_first = |(name, end): &(&str, usize)| (*end, target[..*end] == **name);
    let (name, end) = known.filter_map(begins).max_by_key(exact_first)?;
    Some((name, target.get(end + 1..)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::SourceKind,
        policy::{Condition, LabelRule},
        samples,
    };

    fn config() -> Config {
        let mut config = samples::config();
        config.label_sets[1].name = "yard/left".to_owned();
        config.sources[0].watch[1] = "yard/left".to_owned();
        let settings = samples::label("visitor", 0.5);
        config.label_sets[0].rules.push(LabelRule { settings, when: Condition::of("porch", "Person") });
        let cameras = SourceKind::Mqtt(samples::topics("frigate/+/snapshot", Some("frigate-{1}")));
        config.sources.push(Source { kind: cameras, ..samples::source("cameras", &["porch"]) });
        config
    }

    #[test]
    fn a_table_of_cases() {
        let cases = [
            ("back", "back"),
            ("front door", "Front Door"),
            ("Front Door/porch", "Front Door / porch"),
            ("Front Door/PORCH/person", "Front Door / porch / Person"),
            ("Front Door/porch/visitor", "Front Door / porch / visitor"),
            ("Front Door/yard/left/fox", "Front Door / yard/left / fox"),
            ("frigate-pond/porch/package", "frigate-pond / porch / package"),
            ("frigate-pond", "frigate-pond"),
            ("bcak", "! there is no source `bcak`; did you mean `back`?"),
            ("back/prch", "! `back` watches no label set `prch`; did you mean `porch`?"),
            ("back/yard/left", "! `back` watches no label set `yard/left`; known: `porch`"),
            ("back/porch/pakage", "! `porch` has no label `pakage`; did you mean `package`?"),
            ("", "! there is no source ``; known: `Front Door`, `back` and `cameras`"),
        ];
        let config = config();
        for (target, expected) in cases {
            let found = match resolve(target, &config) {
                Ok(request) => {
                    let parts = [Some(request.source), request.label_set, request.label];
                    parts.into_iter().flatten().collect::<Vec<_>>().join(" / ")
                }
                Err(error) => format!("! {error}"),
            };
            assert_eq!(found, expected, "{target}");
        }
    }
}
