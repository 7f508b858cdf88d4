//! Which label sets a source watches, what is different about their labels there, and which regions they ask for.

use super::{Source, read_label, read_label_sets::LabelSets, read_rules};
use crate::{
    policy::{Label, LabelSet},
    yaml::names,
    yaml::{
        mask,
        reader::{Reader, Setting},
        tree::Value,
    },
};

/// What `watch` says.
#[derive(Default)]
pub(super) struct Watched {
    /// The names of label sets.
    pub sets: Vec<String>,
    /// Labels that are different here, with the name of their set.
    pub adjusted: Vec<(String, Label)>,
}

/// `[porch, yard]`, or `{ porch: { person: 0.8 }, yard: }`.
pub(super) fn read(reader: &mut Reader<'_>, at: &Setting<'_>, sets: &LabelSets) -> Watched {
    if let Value::Mapping(_) = &at.node.value {
        return mapping(reader, at, sets);
    }
    let Some(watch) = reader.texts(at) else { return Watched::default() };
    let Value::List(items) = &at.node.value else { return Watched::default() };
    for (i, (name, item)) in watch.iter().zip(items).enumerate() {
        let known = sets.names.iter().map(String::as_str).collect::<Vec<_>>();
        // Where no label set is defined at all, that is said already.
        if !known.is_empty() && !known.contains(&&**name) {
            let message = format!("there is no label set `{}`", mask::shown(name));
            reader.problem(item.span, message, names::suggest(name, &known));
        } else if watch[..i].contains(name) {
            let message = format!("`{}` is watched twice", mask::shown(name));
            reader.problem(item.span, message, "list each label set once");
        }
    }
    Watched { sets: watch, adjusted: Vec::new() }
}

fn mapping(reader: &mut Reader<'_>, at: &Setting<'_>, sets: &LabelSets) -> Watched {
    let mut watched = Watched::default();
    let known: Vec<_> = sets.names.iter().map(String::as_str).collect();
    for set in reader.named(at, "name the label sets to score: `watch: [porch]`") {
        watched.sets.push(set.name.to_owned());
        if !known.is_empty() && !known.contains(&set.name) {
            let message = format!("there is no label set `{}`", mask::shown(set.name));
            reader.problem(set.key, message, names::suggest(set.name, &known));
            continue;
        }
        match &set.node.value {
            Value::Nothing => {}
            Value::Mapping(_) => {
                for at in reader.named(&set, "name the labels that are different here: `person: 0.8`") {
                    let adjusted = adjusted(reader, &at, set.name, sets);
                    watched.adjusted.extend(adjusted.map(|label| (set.name.to_owned(), label)));
                }
            }
            _ => {
                let name = mask::shown(set.name);
                let remedy = format!(
                    "`{name}:` alone watches it as it is; `{name}: {{ person: 0.8 }}` changes a label here"
                );
                reader.must_be(&set, "a mapping from labels, or nothing", remedy);
            }
        }
    }
    watched
}

fn adjusted(reader: &mut Reader<'_>, at: &Setting<'_>, set: &str, sets: &LabelSets) -> Option<Label> {
    let known = [sets.labels_of(set), sets.rules_of(set)].concat();
    if !known.is_empty() && !known.contains(&at.name) {
        let message = format!("the label set `{}` has no label `{}`", mask::shown(set), mask::shown(at.name));
        reader.problem(at.key, message, names::suggest(at.name, &known));
        return None;
    }
    // One that is wrong where it is defined was told there.
    let set = sets.sets.iter().find(|it| it.name == set)?;
    if let Some(rule) = set.rules.iter().find(|rule| rule.settings.name == at.name) {
        return read_rules::adjust(reader, at, &rule.settings);
    }
    read_label::adjust(reader, at, set.labels.iter().find(|it| it.name == at.name)?)
}

/// A rule needs all its labels on every source that has it. For a configuration in which all else is in order.
pub(super) fn check_rules(reader: &mut Reader<'_>, sources: &[Source], sets: &[LabelSet]) {
    for source in sources {
        for set in sets.iter().filter(|set| source.watch.contains(&set.name)) {
            for rule in &set.rules {
                let unwatched = |name: &&crate::policy::LabelName| !source.watch.contains(&name.label_set);
                let Some(missing) = rule.when.labels().into_iter().find(unwatched) else { continue };
                let message = format!(
                    "the rule `{}` of `{}` asks for `{}`, which the source `{}` does not watch",
                    mask::shown(&rule.settings.name),
                    mask::shown(&set.name),
                    mask::shown(&format!("{}/{}", missing.label_set, missing.label)),
                    mask::shown(&source.name),
                );
                let remedy = format!("watch `{}` there, too", mask::shown(&missing.label_set));
                let problem =
                    reader.places.problem(&format!("sources.{}.watch", source.name), message, remedy);
                reader.problems.push(problem);
            }
        }
    }
}

/// Labels that are limited to regions must find some on every source. Regions that are wrong themselves would lead to
/// mistakes that nobody made: this is for a configuration in which all else is in order.
pub(super) fn check_regions(reader: &mut Reader<'_>, sources: &[Source], sets: &[LabelSet]) {
    for set in sets {
        for label in set.labels.iter().filter(|label| !label.regions.is_empty()) {
            check_label(reader, sources, set, label);
        }
    }
    for source in sources {
        for (set, label) in &source.adjusted {
            let path = format!("sources.{}.watch.{set}.{}.regions", source.name, label.name);
            for (i, name) in label.regions.iter().enumerate() {
                let has = source.regions.iter().any(|region| region.name == *name);
                if !has && let Some(span) = reader.places.spans.get(&format!("{path}.{i}")).copied() {
                    let message = format!(
                        "the source `{}` has no region `{}`",
                        mask::shown(&source.name),
                        mask::shown(name)
                    );
                    reader.problem(span, message, remedy(name, &[source]));
                }
            }
        }
    }
}

/// A rise needs something to rise over. As above, for a configuration in which all else is in order.
pub(super) fn check_baselines(reader: &mut Reader<'_>, sources: &[Source], sets: &[LabelSet]) {
    for source in sources.iter().filter(|source| source.baseline.is_none()) {
        let watched = sets.iter().filter(|set| source.watch.contains(&set.name));
        let labels = watched.flat_map(|set| set.labels.iter().map(move |label| (set, label)));
        let rising: Vec<_> = labels
            .filter(|(set, label)| source.label(&set.name, label).trigger.rises)
            .map(|(set, label)| (mask::shown(&set.name), mask::shown(&label.name)))
            .collect();
        let Some((set, label)) = rising.first() else { continue };
        let others = match rising.len() {
            1 => String::new(),
            all => format!(" and {} more", all - 1),
        };
        let name = mask::shown(&source.name);
        let message =
            format!("the source `{name}` keeps no baseline, over which `{set} / {label}`{others} could rise");
        let remedy = format!(
            "add `baseline: true` to the source, or give the label a threshold there: `watch: {{ {set}: {{ {label}: 0.7 }} }}`"
        );
        let problem = reader.places.problem(&format!("sources.{}", source.name), message, remedy);
        reader.problems.push(problem);
    }
}

fn check_label(reader: &mut Reader<'_>, sources: &[Source], set: &LabelSet, label: &Label) {
    let watchers: Vec<_> = sources
        .iter()
        .filter(|source| source.watch.contains(&set.name))
        .filter(|source| source.label(&set.name, label).regions == label.regions)
        .collect();
    let has = |source: &Source, name: &String| source.regions.iter().any(|region| region.name == *name);
    let path = format!("label_sets.{}.labels.{}.regions", set.name, label.name);
    let mut somewhere = watchers.is_empty();
    for (i, name) in label.regions.iter().enumerate() {
        if watchers.is_empty() || watchers.iter().any(|source| has(source, name)) {
            somewhere = true;
        } else if let Some(span) = reader.places.spans.get(&format!("{path}.{i}")).copied() {
            let message = format!(
                "no source that watches `{}` has a region `{}`",
                mask::shown(&set.name),
                mask::shown(name)
            );
            reader.problem(span, message, remedy(name, &watchers));
        }
    }
    let blind = watchers.iter().filter(|source| !label.regions.iter().any(|name| has(source, name)));
    for source in blind.filter(|_| somewhere) {
        let Some(span) = reader.places.spans.get(&path).copied() else { continue };
        let message = format!(
            "the label `{}` is limited to regions of which the source `{}` has none",
            mask::shown(&label.name),
            mask::shown(&source.name)
        );
        let remedy = "it could never be raised there: name one of these regions in the source, or say there which it is to be: \
                      `watch: { SET: { LABEL: { regions: [...] } } }`";
        reader.problem(span, message, remedy);
    }
}

fn remedy(name: &str, sources: &[&Source]) -> String {
    let known: Vec<_> =
        sources.iter().flat_map(|source| &source.regions).map(|region| &*region.name).collect();
    if known.is_empty() {
        "there are no `regions`: name the part of the frame in the source, such as `regions: { step: [0.2, 0.5, 0.6, 0.5] }`"
            .to_owned()
    } else {
        names::suggest(name, &known)
    }
}
