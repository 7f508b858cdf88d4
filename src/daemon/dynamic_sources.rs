//! Dynamic sources: the sources that an `mqtt` source names after its topics (`name: frigate-{1}`).
//!
//! A dynamic source is watched like the source that it comes from, under its own name: it has its own topics, triggers and
//! device in Home Assistant, but no thread, because its pictures arrive through the connection of its source. Dynamic sources
//! are kept in the state directory, so that they exist after a restart before their next picture, while the configuration
//! still leads to them. When `max_sources` is reached, a new one replaces one without a picture since the start.
//!
//! A new dynamic source is added to what is there; nothing is made again for the others. [`Admissions`] limits how fast they
//! appear.
//!
//! A second file has the topic levels of all names, so that a name keeps its topics when another one with the same spelling
//! appears.

use std::{
    collections::{BTreeMap, HashSet},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::admissions::Admissions;
use crate::{
    config::{Config, MqttSettings, Source, SourceKind},
    source::Appeared,
    state_file::StateFile,
    topic::Names,
};

/// The dynamic sources of every source, by its name.
pub(super) struct DynamicSources {
    /// The files of the sources and of the names. They are written on another thread.
    files: Arc<Mutex<[StateFile; 2]>>,
    by_source: BTreeMap<String, Vec<DynamicSource>>,
    names: Arc<Names>,
    admissions: Admissions,
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
    /// A new dynamic source.
    New {
        /// Its name.
        name: Arc<str>,
        /// The dynamic source that it replaces.
        gone: Option<String>,
    },
    /// There can be no such source, and why.
    Refused(String),
    /// Too many sources appear at the same time.
    Later,
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
        Self {
            files: Arc::new(Mutex::new([file, names_file])),
            by_source,
            names: Arc::new(names),
            admissions: Admissions::default(),
        }
    }

    /// Writes the files, when it is called: it blocks for the disk.
    pub(super) fn save(&self) -> impl FnOnce() + Send + 'static {
        let (by_source, names) = (self.by_source.clone(), Arc::clone(&self.names));
        let files = Arc::clone(&self.files);
        move || {
            let mut files = files.lock().unwrap_or_else(PoisonError::into_inner);
            let [file, names_file] = &mut *files;
            file.save(&by_source);
            names_file.save(&*names);
        }
    }

    /// `config` with the dynamic sources instead of the source that they come from, and with the topic levels of all names. Dynamic
    /// sources that it no longer leads to are removed.
    pub(super) fn expand(&mut self, config: &Config) -> Config {
        self.remove_unreachable(config);
        let now = Timestamp::now();
        let expanded = |source: &Source| -> Vec<Source> {
            match pattern(source) {
                Some(_) => {
                    self.of(&source.name).map(|name| config.dynamic_source(source, name, now)).collect()
                }
                None => vec![source.clone()],
            }
        };
        let sources: Vec<_> = config.sources.iter().flat_map(expanded).collect();
        let dynamic = self.by_source.values().flatten().map(|it| it.name.as_str());
        self.names = config.names_with(dynamic, &self.names).into();
        Config { sources, names: Arc::clone(&self.names), ..config.clone() }
    }

    /// `watched`, which is `config` with its dynamic sources, with the new dynamic source `name` of the source `of`, and without
    /// `gone`. Also returns the new source.
    pub(super) fn extend(
        &mut self,
        config: &Config,
        watched: &Config,
        (of, name): (&str, &str),
        gone: Option<&str>,
    ) -> Option<(Config, Source)> {
        let configured = config.sources.iter().find(|source| source.name == of)?;
        let source = config.dynamic_source(configured, name, Timestamp::now());
        self.names = self.names.with_source(name, gone).into();
        let others = watched.sources.iter().filter(|other| Some(&*other.name) != gone);
        let sources = others.cloned().chain([source.clone()]).collect();
        Some((Config { sources, names: Arc::clone(&self.names), ..config.clone() }, source))
    }

    /// The names of the dynamic sources of `source`.
    pub(super) fn of(&self, source: &str) -> impl Iterator<Item = &str> {
        self.by_source.get(source).into_iter().flatten().map(|it| it.name.as_str())
    }

    /// Decides about a name that appeared `now`. `config` is the configuration without dynamic sources.
    pub(super) fn admit(&mut self, config: &Config, appeared: &Appeared, now: Instant) -> Decision {
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
        let mut unseen = None;
        if own.len() >= settings.max_sources {
            unseen = own.iter().position(|it| !it.seen);
            if unseen.is_none() {
                let count = own.len();
                return Decision::Refused(format!(
                    "there are {count} sources of this kind already: raise max_sources"
                ));
            }
        }
        if !self.admissions.admits(&appeared.source, now) {
            return Decision::Later;
        }
        let gone = unseen.map(|unseen| own.remove(unseen).name);
        own.push(DynamicSource { name: appeared.name.clone(), topic: appeared.topic.clone(), seen: true });
        Decision::New { name: appeared.name.as_str().into(), gone }
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
    use crate::{faults::sweep, samples};

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
        let appeared = Appeared { source: "cameras".into(), name, topic, answer };
        match sources.admit(config, &appeared, Instant::now()) {
            Decision::Known(name) => format!("known {name}"),
            Decision::New { name, gone: None } => format!("new {name}"),
            Decision::New { name, gone: Some(gone) } => format!("new {name} instead of {gone}"),
            Decision::Refused(why) => why,
            Decision::Later => "later".to_owned(),
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
    fn one_more_source_gives_what_all_of_them_give() {
        let folder = tempfile::tempdir().unwrap();
        let (config, mut sources) = (config(3), DynamicSources::load(folder.path()));
        let mut watched = sources.expand(&config);
        for level in ["a", "A", "前门"] {
            assert_eq!(admit(&mut sources, &config, level), format!("new cam {level}"));
            let name = format!("cam {level}");
            let (extended, source) = sources.extend(&config, &watched, ("cameras", &name), None).unwrap();
            assert_eq!((source.name, source.watch), (name, vec!["porch".to_owned()]));
            watched = extended;
        }
        assert_eq!(sources.expand(&config).sources, watched.sources);
        let level = |config: &Config, name: &str| config.names.source(name);
        assert_eq!(level(&watched, "cam a").topic, "cam_a");
        assert!(level(&watched, "cam A").topic.starts_with("cam_a_"), "{:?}", watched.names);
        let all = sources.expand(&config);
        for source in &all.sources {
            assert_eq!(level(&all, &source.name), level(&watched, &source.name), "{}", source.name);
        }
        let (replaced, _) = sources.extend(&config, &watched, ("cameras", "cam b"), Some("cam a")).unwrap();
        let names: Vec<_> = replaced.sources.iter().map(|source| &*source.name).collect();
        assert_eq!(names, ["Front Door", "back", "cam A", "cam 前门", "cam b"]);
        assert_eq!(level(&replaced, "cam a").topic, "cam_a", "its topics are still to be cleared");
    }

    #[test]
    fn invented_names_do_not_appear_faster_than_the_limit() {
        let folder = tempfile::tempdir().unwrap();
        let (config, mut sources) = (config(1000), DynamicSources::load(folder.path()));
        let decided: Vec<_> =
            (0..100).map(|number| admit(&mut sources, &config, &format!("x{number}"))).collect();
        assert!(decided[..32].iter().all(|decided| decided.starts_with("new")), "{decided:?}");
        let later = decided.iter().filter(|decided| *decided == "later").count();
        assert!(later > 0 && decided.iter().skip(32).any(|decided| decided == "later"), "{decided:?}");
        assert_eq!(admit(&mut sources, &config, "x0"), "known cam x0", "known names are not limited");
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
        sources.save()();
        let mut sources = DynamicSources::load(folder.path());
        assert_eq!(level(&mut sources, "cam A"), later, "also after a restart");
        assert_eq!(level(&mut sources, "cam a").topic, "cam_a");
    }

    #[test]
    fn no_fault_makes_a_source_or_its_topics_unknown_for_ever() {
        let config = config(8);
        let appear = |sources: &mut DynamicSources, level: &str| {
            admit(sources, &config, level);
            let level = sources.expand(&config).names.source(&format!("cam {level}")).topic;
            sources.save()();
            level
        };
        let faults = sweep(
            |disk| assert_eq!(appear(&mut DynamicSources::load(disk.path()), "a"), "cam_a"),
            |disk| {
                let mut sources = DynamicSources::load(disk.path());
                sources.expand(&config);
                ["A", "b"].iter().for_each(|level| drop(appear(&mut sources, level)));
            },
            |disk, fault| {
                let mut sources = DynamicSources::load(disk.path());
                let names = names(&mut sources, &config);
                let (known, topic) = (
                    names.contains(&"cam a".to_owned()),
                    sources.expand(&config).names.source("cam a").topic,
                );
                let kept = |file: &str, text: &str| {
                    let file = disk.path().join(format!("{file}.json.damaged"));
                    fs::read_to_string(file).is_ok_and(|content| content.contains(text))
                };
                assert!(known || kept("sources", "cam a"), "{fault:?}: {names:?}");
                assert!(topic == "cam_a" || kept("names", "cam_a"), "{fault:?}: {topic}");
                assert_eq!(appear(&mut sources, "c"), "cam_c", "{fault:?}");
                assert!(
                    DynamicSources::load(disk.path()).of("cameras").any(|name| name == "cam c"),
                    "{fault:?}"
                );
            },
        );
        assert!(faults >= 40, "{faults}");
    }

    #[test]
    fn they_are_kept_while_the_configuration_leads_to_them() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = config(2);
        let mut sources = DynamicSources::load(folder.path());
        ["a", "b"].iter().for_each(|level| drop(admit(&mut sources, &config, level)));
        sources.save()();
        let file = folder.path().join("sources.json");
        let expected =
            r#"{"cameras":[{"name":"cam a","topic":"cameras/a"},{"name":"cam b","topic":"cameras/b"}]}"#;
        assert_eq!(fs::read_to_string(&file).unwrap(), expected);

        let mut sources = DynamicSources::load(folder.path());
        assert_eq!(names(&mut sources, &config).len(), 4);
        assert_eq!(admit(&mut sources, &config, "b"), "known cam b");
        let decided = admit(&mut sources, &config, "c");
        assert_eq!(decided, "new cam c instead of cam a", "which has no picture since the start");
        assert_eq!(names(&mut sources, &config)[2..], ["cam b", "cam c"]);

        config.sources.push(samples::source("cam b", &[]));
        assert_eq!(names(&mut sources, &config)[2..], ["cam c", "cam b"], "configured names come first");
        config.sources.truncate(2);
        assert_eq!(names(&mut sources, &config).len(), 2);
        sources.save()();
        assert_eq!(fs::read_to_string(&file).unwrap(), "{}");
        for damaged in ["", "[]", r#"{"a":1}"#, r#"{"a":[{"name":1}]}"#] {
            fs::write(&file, damaged).unwrap();
            assert!(DynamicSources::load(folder.path()).by_source.is_empty(), "{damaged}");
        }
    }
}
