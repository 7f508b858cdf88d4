//! Dynamic sources: the sources that an `mqtt` source names after its topics (`name: frigate-{1}`).
//!
//! A dynamic source is watched like the source that it comes from, under its own name: it has its own topics, triggers and
//! device in Home Assistant, but no thread, because its pictures arrive through the connection of its source. Dynamic sources
//! are kept in the state directory, so that they exist after a restart before their next picture, while the configuration
//! still leads to them. When `max_sources` is reached, a new one replaces one without a picture since the start.
//!
//! A second file has the topic levels of all names, so that a name keeps its topics when another one with the same spelling
//! appears.

use std::{
    collections::{BTreeMap, HashSet},
    path::Path,
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use crate::{
    config::{Config, MqttSettings, Source, SourceKind},
    source::Appeared,
    state_file::StateFile,
    topic::Names,
};

/// The dynamic sources of every source, by its name.
pub(super) struct DynamicSources {
    file: StateFile,
    by_source: BTreeMap<String, Vec<DynamicSource>>,
    names_file: StateFile,
    names: Arc<Names>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct DynamicSource {
    name: String,
    topic: String,
    /// A picture arrived since the start.
    #[serde(skip)]
    seen: bool,
}

/// The decision about a name.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// A dynamic source has this name already.
    Known(Arc<str>),
    /// A new dynamic source has this name.
    New(Arc<str>),
    /// There can be no such source, and why.
    Refused(String),
}

impl DynamicSources {
    /// Reads the files in `state_dir`.
    pub(super) fn load(state_dir: &Path) -> Self {
        let (file, by_source) = StateFile::load(
            state_dir,
            "sources.json",
            "sources that MQTT topics name appear with their next picture",
        );
        let (names_file, names) = StateFile::load::<Names>(
            state_dir,
            "names.json",
            "names that topics would spell alike get other topics when such names are added",
        );
        Self { file, by_source, names_file, names: Arc::new(names) }
    }

    /// Writes the files.
    pub(super) fn save(&mut self) {
        self.file.save(&self.by_source);
        self.names_file.save(&*self.names);
    }

    /// `config` with the dynamic sources instead of the source that they come from, and with the topic levels of all names. Dynamic
    /// sources that it no longer leads to are removed.
    pub(super) fn expand(&mut self, config: &Config) -> Config {
        self.remove_unreachable(config);
        let expanded = |source: &Source| -> Vec<Source> {
            match pattern(source) {
                Some(_) => self
                    .of(&source.name)
                    .map(|name| Source { name: name.to_owned(), ..source.clone() })
                    .collect(),
                None => vec![source.clone()],
            }
        };
        let sources: Vec<_> = config.sources.iter().flat_map(expanded).collect();
        let dynamic = self.by_source.values().flatten().map(|it| it.name.as_str());
        self.names = config.names_with(dynamic, &self.names).into();
        Config { sources, names: Arc::clone(&self.names), ..config.clone() }
    }

    /// The names of the dynamic sources of `source`.
    pub(super) fn of(&self, source: &str) -> impl Iterator<Item = &str> {
        self.by_source.get(source).into_iter().flatten().map(|it| it.name.as_str())
    }

    /// Decides about a name. `config` is the configuration without dynamic sources.
    pub(super) fn admit(&mut self, config: &Config, appeared: &Appeared) -> Decision {
        let Some(settings) =
            config.sources.iter().find(|source| *source.name == *appeared.source).and_then(pattern)
        else {
            return Decision::Refused("its source was removed".to_owned());
        };
        let own = self.by_source.get_mut(&*appeared.source);
        if let Some(known) = own.into_iter().flatten().find(|it| it.name == appeared.name) {
            known.seen = true;
            return Decision::Known(known.name.as_str().into());
        }
        let configured = config.sources.iter().map(|source| source.name.as_str());
        let mut taken = configured.chain(self.by_source.values().flatten().map(|it| it.name.as_str()));
        if taken.any(|name| name == appeared.name) {
            return Decision::Refused(
                "another source has this name: give one of them another name".to_owned(),
            );
        }
        let own = self.by_source.entry(appeared.source.to_string()).or_default();
        if own.len() >= settings.max_sources {
            let Some(unseen) = own.iter().position(|it| !it.seen) else {
                let count = own.len();
                return Decision::Refused(format!(
                    "there are {count} sources of this kind already: raise max_sources"
                ));
            };
            own.remove(unseen);
        }
        own.push(DynamicSource { name: appeared.name.clone(), topic: appeared.topic.clone(), seen: true });
        Decision::New(appeared.name.as_str().into())
    }

    /// Removes what `config` does not lead to.
    fn remove_unreachable(&mut self, config: &Config) {
        let mut taken: HashSet<String> = config.sources.iter().map(|source| source.name.clone()).collect();
        self.by_source.retain(|name, own| {
            let source = config.sources.iter().find(|source| source.name == *name);
            let Some(settings) = source.and_then(pattern) else { return false };
            own.retain(|it| leads_to(settings, it) && taken.insert(it.name.clone()));
            own.truncate(settings.max_sources);
            true
        });
    }
}

/// Whether the settings would still give the dynamic source's topic this name.
fn leads_to(settings: &MqttSettings, dynamic: &DynamicSource) -> bool {
    match &settings.name {
        // The payload that named it is not kept.
        Some(pattern) if pattern.uses_json() => {
            settings.filters.iter().any(|filter| filter.captures(&dynamic.topic).is_some())
        }
        _ => settings.source_name(&dynamic.topic, None).as_deref() == Some(&*dynamic.name),
    }
}

/// The settings of a source whose topics name dynamic sources.
fn pattern(source: &Source) -> Option<&MqttSettings> {
    match &source.kind {
        SourceKind::Mqtt(settings) if settings.name.is_some() => Some(settings),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tokio::sync::oneshot;

    use super::*;
    use crate::samples;

    /// `cameras` names dynamic sources; `Front Door` and `back` do not.
    fn config(max_sources: usize) -> Config {
        let mut config = samples::config();
        let mut cameras = samples::source("cameras", &["porch"]);
        cameras.kind =
            SourceKind::Mqtt(MqttSettings { max_sources, ..samples::topics("cameras/+", Some("cam {1}")) });
        config.sources.push(cameras);
        config
    }

    fn admit(sources: &mut DynamicSources, config: &Config, level: &str) -> String {
        let (answer, _) = oneshot::channel();
        let name = match level {
            "door" => "Front Door".to_owned(),
            level => format!("cam {level}"),
        };
        let topic = format!("cameras/{level}");
        match sources.admit(config, &Appeared { source: "cameras".into(), name, topic, answer }) {
            Decision::Known(name) => format!("known {name}"),
            Decision::New(name) => format!("new {name}"),
            Decision::Refused(why) => why,
        }
    }

    fn names(sources: &mut DynamicSources, config: &Config) -> Vec<String> {
        sources.expand(config).sources.into_iter().map(|source| source.name).collect()
    }

    #[test]
    fn dynamic_sources_replace_the_source_that_names_them() {
        let folder = tempfile::tempdir().unwrap();
        let (config, mut sources) = (config(2), DynamicSources::load(folder.path()));
        assert_eq!(names(&mut sources, &config), ["Front Door", "back"]);
        let decisions = ["a", "a", "A", "b", "door"].map(|level| admit(&mut sources, &config, level));
        let expected = [
            "new cam a",
            "known cam a",
            "new cam A",
            "there are 2 sources of this kind already: raise max_sources",
            "another source has this name: give one of them another name",
        ];
        assert_eq!(decisions, expected);
        assert_eq!(names(&mut sources, &config), ["Front Door", "back", "cam a", "cam A"]);
        assert_eq!(sources.expand(&config).sources[2].watch, ["porch"]);
        assert_eq!(sources.of("cameras").collect::<Vec<_>>(), ["cam a", "cam A"]);
    }

    #[test]
    fn each_name_is_a_source_of_its_own_and_keeps_its_topics() {
        let folder = tempfile::tempdir().unwrap();
        let (config, mut sources) = (config(8), DynamicSources::load(folder.path()));
        let level = |sources: &mut DynamicSources, name: &str| sources.expand(&config).names.source(name);
        assert_eq!(
            ["前门", "后门", "a"].map(|name| admit(&mut sources, &config, name)),
            ["new cam 前门", "new cam 后门", "new cam a"]
        );
        assert_eq!(
            ["cam 前门", "cam 后门"].map(|name| level(&mut sources, name).topic),
            ["cam_前门", "cam_后门"]
        );
        assert_eq!(level(&mut sources, "cam 前门").id, "cam_qian_men");
        assert_eq!(level(&mut sources, "cam a").topic, "cam_a");

        assert_eq!(admit(&mut sources, &config, "A"), "new cam A");
        let later = level(&mut sources, "cam A");
        assert!(later.topic.starts_with("cam_a_"), "{later:?}");
        assert_eq!(level(&mut sources, "cam a").topic, "cam_a", "the first one keeps its topics");
        sources.save();
        let mut sources = DynamicSources::load(folder.path());
        assert_eq!(level(&mut sources, "cam A"), later, "also after a restart");
        assert_eq!(level(&mut sources, "cam a").topic, "cam_a");
    }

    #[test]
    fn they_are_kept_while_the_configuration_leads_to_them() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = config(2);
        let mut sources = DynamicSources::load(folder.path());
        ["a", "b"].iter().for_each(|level| drop(admit(&mut sources, &config, level)));
        sources.save();
        let file = folder.path().join("sources.json");
        let expected =
            r#"{"cameras":[{"name":"cam a","topic":"cameras/a"},{"name":"cam b","topic":"cameras/b"}]}"#;
        assert_eq!(fs::read_to_string(&file).unwrap(), expected);

        let mut sources = DynamicSources::load(folder.path());
        assert_eq!(names(&mut sources, &config).len(), 4);
        assert_eq!(admit(&mut sources, &config, "b"), "known cam b");
        assert_eq!(admit(&mut sources, &config, "c"), "new cam c", "cam a has no picture since the start");
        assert_eq!(names(&mut sources, &config)[2..], ["cam b", "cam c"]);

        config.sources.push(samples::source("cam b", &[]));
        assert_eq!(names(&mut sources, &config)[2..], ["cam c", "cam b"], "configured names come first");
        config.sources.truncate(2);
        assert_eq!(names(&mut sources, &config).len(), 2);
        sources.save();
        assert_eq!(fs::read_to_string(&file).unwrap(), "{}");
        for damaged in ["", "[]", r#"{"a":1}"#, r#"{"a":[{"name":1}]}"#] {
            fs::write(&file, damaged).unwrap();
            assert!(DynamicSources::load(folder.path()).by_source.is_empty(), "{damaged}");
        }
    }
}
