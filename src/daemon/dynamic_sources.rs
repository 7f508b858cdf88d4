//! The sources that appear by themselves: the members of a source whose topics name sources of their own.
//!
//! A member is watched as its source is, under its own name: it has its own topics, triggers and device. Members are
//! remembered in the state directory, so that they are there after a restart before their next picture; as long as
//! the configuration still leads to them. Where there is no room for a new one, one that was not seen since the start
//! makes room.
//!
//! It refuses to start anything: all pictures come through the one connection of the source.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde_json::{Value, json};

use crate::{
    config::{Config, MqttSource, Source, SourceKind},
    source::Appeared,
    topic::{is_reserved, topic_level},
};

const FILE: &str = "sources.json";

/// The members of every source.
#[derive(Debug, Default)]
pub(super) struct Members {
    file: PathBuf,
    known: BTreeMap<String, Vec<Member>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Member {
    name: Arc<str>,
    topic: String,
    /// A picture came since the start.
    seen: bool,
}

/// What becomes of a name that was met.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It is one of those that are watched already.
    Known(Arc<str>),
    /// It is one from now on.
    New(Arc<str>),
    /// It cannot be one, and why.
    Refused(String),
}

impl Members {
    /// What is remembered in `state_dir`. A file that cannot be understood is told and left out: names are met again.
    pub(super) fn recall(state_dir: &Path) -> Self {
        let file = state_dir.join(FILE);
        let known = match fs::read_to_string(&file) {
            Ok(text) => parse(&text).ok_or_else(|| "it was not written by this program".to_owned()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeMap::new()),
            Err(error) => Err(error.to_string()),
        };
        let known = known.unwrap_or_else(|why| {
            tracing::warn!(file = %file.display(), why, "which sources MQTT topics had named is not known; they appear with their next picture");
            BTreeMap::new()
        });
        Self { file, known }
    }

    /// Writes down what is remembered; told if that fails.
    pub(super) fn keep(&self) {
        let member = |member: &Member| json!({ "name": &*member.name, "topic": member.topic });
        let members = |(source, members): (&String, &Vec<Member>)| {
            (source.clone(), members.iter().map(member).collect::<Value>())
        };
        let text = self.known.iter().map(members).collect::<serde_json::Map<_, _>>();
        if let Err(error) = write(&self.file, &Value::Object(text).to_string()) {
            tracing::warn!(file = %self.file.display(), %error, "which sources MQTT topics have named is not on disk: make the file writable");
        }
    }

    /// `config` with the members in the place of their source. Members that it does not lead to any more are forgotten.
    pub(super) fn expand(&mut self, config: &Config) -> Config {
        self.forget(config);
        let expanded = |source: &Source| match self.known.get(&source.name) {
            Some(members) if pattern(source).is_some() => members
                .iter()
                .map(|member| Source { name: member.name.to_string(), ..source.clone() })
                .collect(),
            _ if pattern(source).is_some() => vec![],
            _ => vec![source.clone()],
        };
        Config { sources: config.sources.iter().flat_map(expanded).collect(), ..config.clone() }
    }

    /// The names of the members of `source`.
    pub(super) fn of(&self, source: &str) -> impl Iterator<Item = &str> {
        self.known.get(source).into_iter().flatten().map(|member| &*member.name)
    }

    /// Decides about a name; `config` is the one as typed.
    pub(super) fn admit(&mut self, config: &Config, appeared: &Appeared) -> Answer {
        let level = topic_level(&appeared.name);
        let Some(settings) =
            config.sources.iter().find(|source| *source.name == *appeared.source).and_then(pattern)
        else {
            return Answer::Refused("its source is gone".to_owned());
        };
        let own = self.known.get_mut(&*appeared.source);
        if let Some(member) = own.into_iter().flatten().find(|member| topic_level(&member.name) == level) {
            member.seen = true;
            return Answer::Known(Arc::clone(&member.name));
        }
        if is_reserved(&appeared.name) {
            return Answer::Refused("the service itself uses the topics of this name".to_owned());
        }
        let mut others = self.known.values().flatten().map(|member| &*member.name);
        let mut typed = config.sources.iter().map(|source| &*source.name);
        if let Some(other) = typed
            .find(|name| topic_level(name) == level)
            .or_else(|| others.find(|name| topic_level(name) == level))
        {
            return Answer::Refused(format!(
                "the source {other} has the same topics: give one of them another name"
            ));
        }
        let members = self.known.entry(appeared.source.to_string()).or_default();
        if members.len() >= settings.max_sources {
            let Some(away) = members.iter().position(|member| !member.seen) else {
                return Answer::Refused(format!(
                    "there are {} sources of this kind already: raise max_sources",
                    members.len()
                ));
            };
            members.remove(away);
        }
        let name: Arc<str> = appeared.name.as_str().into();
        members.push(Member { name: Arc::clone(&name), topic: appeared.topic.clone(), seen: true });
        Answer::New(name)
    }

    /// Forgets what `config` does not lead to.
    fn forget(&mut self, config: &Config) {
        let mut taken: BTreeSet<String> =
            config.sources.iter().map(|source| topic_level(&source.name)).collect();
        self.known.retain(|source, members| {
            let settings = config.sources.iter().find(|typed| typed.name == *source).and_then(pattern);
            let Some(settings) = settings else { return false };
            members.retain(|member| leads_to(settings, member) && taken.insert(topic_level(&member.name)));
            members.truncate(settings.max_sources);
            true
        });
    }
}

/// Whether the settings would still call the source of the member's topic like this.
fn leads_to(settings: &MqttSource, member: &Member) -> bool {
    match &settings.name {
        // What its payload said is not known any more.
        Some(pattern) if pattern.uses_json() => {
            settings.filters.iter().any(|filter| filter.captures(&member.topic).is_some())
        }
        _ => settings.source_name(&member.topic, None).as_deref() == Some(&*member.name),
    }
}

/// The settings of a source whose topics name sources.
fn pattern(source: &Source) -> Option<&MqttSource> {
    match &source.kind {
        SourceKind::Mqtt(settings) if settings.name.is_some() => Some(settings),
        _ => None,
    }
}

fn parse(text: &str) -> Option<BTreeMap<String, Vec<Member>>> {
    let known = serde_json::from_str::<Value>(text).ok()?;
    let member = |member: &Value| {
        let text = |key: &str| member[key].as_str();
        Some(Member { name: text("name")?.into(), topic: text("topic")?.to_owned(), seen: false })
    };
    let members = |(source, members): (&String, &Value)| {
        Some((source.clone(), members.as_array()?.iter().map(member).collect::<Option<_>>()?))
    };
    known.as_object()?.iter().map(members).collect()
}

/// The old file is there until the new one is complete.
fn write(file: &Path, text: &str) -> io::Result<()> {
    let new = file.with_extension("new");
    fs::write(&new, text)?;
    fs::File::open(&new)?.sync_all()?;
    fs::rename(&new, file)
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;
    use crate::samples;

    /// `cameras` is a source whose topics name sources; `Front Door` and `back` are not.
    fn config(max_sources: usize) -> Config {
        let mut config = samples::config();
        let mut cameras = samples::source("cameras", &["porch"]);
        cameras.kind =
            SourceKind::Mqtt(MqttSource { max_sources, ..samples::topics("cameras/+", Some("cam {1}")) });
        config.sources.push(cameras);
        config
    }

    fn admit(members: &mut Members, config: &Config, level: &str) -> String {
        let (answer, _) = oneshot::channel();
        let (name, topic) = (format!("cam {level}"), format!("cameras/{level}"));
        let name = if level == "door" { "Front door".to_owned() } else { name };
        let name = if level == "config" { "Config".to_owned() } else { name };
        match members.admit(config, &Appeared { source: "cameras".into(), name, topic, answer }) {
            Answer::Known(name) => format!("known {name}"),
            Answer::New(name) => format!("new {name}"),
            Answer::Refused(why) => why,
        }
    }

    fn names(members: &mut Members, config: &Config) -> Vec<String> {
        members.expand(config).sources.into_iter().map(|source| source.name).collect()
    }

    #[test]
    fn members_stand_in_the_place_of_their_source() {
        let (config, mut members) = (config(2), Members::default());
        assert_eq!(names(&mut members, &config), ["Front Door", "back"]);
        let told =
            ["a", "a", "A", "b", "c", "door", "config"].map(|level| admit(&mut members, &config, level));
        let expected = [
            "new cam a",
            "known cam a",
            "known cam a",
            "new cam b",
            "there are 2 sources of this kind already: raise max_sources",
            "the source Front Door has the same topics: give one of them another name",
            "the service itself uses the topics of this name",
        ];
        assert_eq!(told, expected);
        assert_eq!(names(&mut members, &config), ["Front Door", "back", "cam a", "cam b"]);
        assert_eq!(members.expand(&config).sources[2].watch, ["porch"]);
        assert_eq!(members.of("cameras").collect::<Vec<_>>(), ["cam a", "cam b"]);
    }

    #[test]
    fn they_are_remembered_as_long_as_the_configuration_leads_to_them() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = config(2);
        let mut members = Members::recall(folder.path());
        ["a", "b"].iter().for_each(|level| drop(admit(&mut members, &config, level)));
        members.keep();

        let mut members = Members::recall(folder.path());
        assert_eq!(names(&mut members, &config).len(), 4);
        assert_eq!(admit(&mut members, &config, "b"), "known cam b");
        assert_eq!(admit(&mut members, &config, "c"), "new cam c", "cam a was not seen since the start");
        assert_eq!(names(&mut members, &config)[2..], ["cam b", "cam c"]);

        config.sources.push(samples::source("Cam B", &[]));
        assert_eq!(names(&mut members, &config)[2..], ["cam c", "Cam B"], "what is typed comes first");
        config.sources.truncate(2);
        assert_eq!(names(&mut members, &config).len(), 2);
        members.keep();
        assert_eq!(fs::read_to_string(folder.path().join(FILE)).unwrap(), "{}");
        for text in ["", "[]", r#"{"a":1}"#, r#"{"a":[{"name":1}]}"#] {
            fs::write(folder.path().join(FILE), text).unwrap();
            assert!(Members::recall(folder.path()).known.is_empty(), "{text}");
        }
    }
}
