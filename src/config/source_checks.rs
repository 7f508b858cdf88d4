//! Checks what labels and rules need from their sources: regions, baselines, and labels of other label sets; and that no source uses the
//! state folder.

use std::path::Path;

use super::sources::Source;
use crate::{
    descriptors,
    policy::{Label, LabelName, LabelSet},
    yaml::{mask, names, reader::Reader},
};

/// Checks that every source with a rule watches all labels of the rule. For a configuration that is otherwise valid.
pub(super) fn check_rules(reader: &mut Reader<'_>, sources: &[Source], sets: &[LabelSet]) {
    for source in sources {
        for set in sets.iter().filter(|set| source.watch.contains(&set.name)) {
            for rule in &set.rules {
                let unwatched = |name: &&LabelName| !source.watch.contains(&name.label_set);
                let Some(missing) = rule.when.labels().into_iter().find(unwatched) else { continue };
                let message = format!(
                    "the rule `{}` of `{}` needs `{}`, which the source `{}` does not watch",
                    mask::shown(&rule.settings.name),
                    mask::shown(&set.name),
                    mask::shown(&format!("{}/{}", missing.label_set, missing.label)),
                    mask::shown(&source.name),
                );
                let remedy = format!("add `{}` to `watch` of this source", mask::shown(&missing.label_set));
                reader.problem_at(&format!("sources.{}.watch", source.name), message, remedy);
            }
        }
    }
}

/// Checks that no source reads, deletes or writes files in the state folder, whatever links lead there.
pub(super) fn check_state_dir(reader: &mut Reader<'_>, sources: &[Source], state_dir: &Path) {
    for source in sources {
        for (key, path) in source.kind.settings().paths() {
            if descriptors::leads_into(path, state_dir) {
                let message =
                    format!("this path of the source `{}` is in `state_dir`", mask::shown(&source.name));
                let remedy = "name a path outside of it, such as `/var/spool/stakeout/inbox`, and move the files there: the state \
                              folder holds the alerts of the service, which must not be read as pictures, moved or deleted";
                reader.problem_at(&format!("sources.{}.{key}", source.name), message, remedy);
            }
        }
    }
}

/// Checks that every source has one of the regions that a label is limited to. For a configuration that is otherwise valid,
/// because an invalid region would lead to further messages.
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

/// Checks that every source with a rising label keeps a baseline. For a configuration that is otherwise valid.
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
            format!("the source `{name}` has no baseline, which the rise of `{set} / {label}`{others} needs");
        let remedy = format!(
            "add `baseline: true` to the source, or a threshold for the label: `watch: {{ {set}: {{ {label}: 0.7 }} }}`"
        );
        reader.problem_at(&format!("sources.{}", source.name), message, remedy);
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
            "the label `{}` is limited to regions, and the source `{}` has none of them",
            mask::shown(&label.name),
            mask::shown(&source.name)
        );
        let remedy = "it could never be raised there: add one of these regions to the source, or choose other regions there: \
                      `watch: { SET: { LABEL: { regions: [...] } } }`";
        reader.problem(span, message, remedy);
    }
}

fn remedy(name: &str, sources: &[&Source]) -> String {
    let known: Vec<_> =
        sources.iter().flat_map(|source| &source.regions).map(|region| &*region.name).collect();
    if known.is_empty() {
        "there are no `regions`: add the part of the frame to the source, such as `regions: { step: [0.2, 0.5, 0.6, 0.5] }`"
            .to_owned()
    } else {
        names::suggest(name, &known)
    }
}
