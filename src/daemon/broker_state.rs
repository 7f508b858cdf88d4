//! What the broker retains of the service: the board, Home Assistant's entities, and the list of retained topics.
//!
//! Stale topics are values that the broker retains for sources and labels which were removed while the service was not running.
//! A file in the state directory lists every topic that may be retained. At the start the topics that the configuration no
//! longer has are cleared. They stay in the list until the publisher has disconnected in order, because until then the broker
//! may not have received that. After a kill they are cleared once more, which does no harm.

use std::{
    collections::BTreeSet,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde::Serialize;
use tokio::sync::watch;

use crate::{
    alert::{
        Topics,
        board::Board,
        control_topics::{self, States},
        home_assistant::Announcement,
        publisher::Announcer,
    },
    config::{Config, Source},
    policy::LabelSet,
    source,
    state_file::StateFile,
};

/// What the broker retains of the service.
pub(super) struct BrokerState {
    /// The topics of the configuration in force, dynamic sources included.
    topics: watch::Sender<Topics>,
    pub(super) board: Board,
    pub(super) announcer: Announcer,
    /// What is announced.
    announcement: Announcement,
    /// The states of controls that are on the board.
    published: States,
    /// Those of the configuration in force.
    states: States,
    /// The file is written on another thread.
    stale_topics: Arc<Mutex<StaleTopics>>,
}

impl BrokerState {
    /// The state before the first frame: the configuration is valid, and stale topics are cleared. `watched` is `config` with its
    /// dynamic sources.
    pub(super) fn new(config: &Config, watched: &Config) -> Self {
        let (topics, board) = (Topics::of(watched), Board::new());
        board.set(&topics.config_status(), &ConfigStatus::ok(&[]).to_json());
        // Before the service is `online`: after a kill the broker still has the status of each source from before.
        for source in watched.sources.iter().chain(&config.sources) {
            board.set(&topics.source_status(&source.name), first_status(source).as_str());
        }
        let states = control_states(watched, config, &topics);
        let mut stale_topics = StaleTopics::load(&config.state_dir);
        for stale in stale_topics.follow(retained_topics(watched, config, &topics, &states)) {
            board.set(&stale, "");
        }
        stale_topics.save();
        let (topics, announcement) = (watch::Sender::new(topics), Announcement::of(watched));
        let announcer = Announcer::new(announcement.clone());
        let stale_topics = Arc::new(Mutex::new(stale_topics));
        let mut state =
            Self { topics, board, announcer, announcement, published: States::new(), states, stale_topics };
        state.publish_controls();
        state
    }

    /// The topics that are in force now.
    pub(super) fn topics(&self) -> Topics {
        self.topics.borrow().clone()
    }

    /// The topics in force, for a part that publishes on its own.
    pub(super) fn subscribe_topics(&self) -> watch::Receiver<Topics> {
        self.topics.subscribe()
    }

    /// Announces `watched`, which is `configured` with its dynamic sources. The judge thread clears the topics of removed labels,
    /// and `sources` those of removed sources. The result of [`Self::save`] must be called before anything is published at them.
    pub(super) fn follow(&mut self, watched: &Config, configured: &Config) {
        let topics = Topics::of(watched);
        self.announcement = Announcement::of(watched);
        self.states = control_states(watched, configured, &topics);
        lock(&self.stale_topics).follow(retained_topics(watched, configured, &topics, &self.states));
        self.topics.send_replace(topics);
    }

    /// Announces one more source of `watched`, and no longer the source `gone`. As [`Self::follow`], in less time.
    pub(super) fn follow_one_more(&mut self, watched: &Config, source: &Source, gone: Option<&str>) {
        let topics = Topics::of(watched);
        self.announcement = self.announcement.with(watched, source, gone);
        let mut added = retained_topics_of(source, watched, &topics);
        let below_gone = gone.map(|gone| topics_below(gone, &topics));
        if watched.mqtt.commands {
            let states = control_topics::states_of(source, watched, &topics);
            added.extend(states.keys().cloned());
            self.states.retain(|topic, _| below_gone.as_ref().is_none_or(|gone| !topic.starts_with(gone)));
            self.states.extend(states);
        }
        lock(&self.stale_topics).follow_one_more(added, below_gone);
        self.topics.send_replace(topics);
    }

    /// Writes the list of retained topics, when it is called: it blocks for the disk.
    pub(super) fn save(&self) -> impl FnOnce() + Send + 'static {
        let stale_topics = Arc::clone(&self.stale_topics);
        move || lock(&stale_topics).save()
    }

    /// Announces to Home Assistant what was followed last, and publishes the states of its controls.
    pub(super) fn announce(&mut self) {
        self.publish_controls();
        self.announcer.announce(self.announcement.clone());
    }

    /// Publishes the states of controls that have changed, and clears those that are gone.
    fn publish_controls(&mut self) {
        let before = std::mem::replace(&mut self.published, self.states.clone());
        for (topic, state) in &self.states {
            match state {
                Some(state) => self.board.set(topic, state),
                // It may have been cleared, which the next session must not repeat.
                None if !before.contains_key(topic) => self.board.remove(topic),
                None => {}
            }
        }
        for topic in before.keys().filter(|topic| !self.states.contains_key(*topic)) {
            self.board.set(topic, "");
        }
    }

    /// The broker has received everything that was published.
    pub(super) fn settle(&mut self) {
        lock(&self.stale_topics).settle();
    }
}

fn lock(stale_topics: &Mutex<StaleTopics>) -> MutexGuard<'_, StaleTopics> {
    stale_topics.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The status of a source before its thread reports one.
fn first_status(source: &Source) -> source::Status {
    if source.enabled { source::Status::Offline } else { source::Status::Disabled }
}

/// The states of controls; none without `mqtt.commands`.
fn control_states(watched: &Config, configured: &Config, topics: &Topics) -> States {
    if watched.mqtt.commands { control_topics::states(watched, configured, topics) } else { States::new() }
}

/// The payload of the topic `config/status`.
#[derive(Serialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub(super) enum ConfigStatus<'a> {
    /// The configuration is valid. The changed keys in `after_restart` take effect after a restart.
    Ok {
        #[serde(skip_serializing_if = "<[_]>::is_empty")]
        after_restart: &'a [&'a str],
    },
    Invalid {
        problems: &'a str,
    },
}

impl<'a> ConfigStatus<'a> {
    pub(super) fn ok(after_restart: &'a [&'a str]) -> Self {
        Self::Ok { after_restart }
    }

    pub(super) fn to_json(&self) -> String {
        serde_json::to_string(self).expect("texts are valid JSON")
    }
}

/// The topics that may be retained, as the file lists them.
struct StaleTopics {
    file: StateFile,
    /// Every topic that may be retained.
    retained: BTreeSet<String>,
    /// The topics of the configuration in force.
    current: BTreeSet<String>,
}

impl StaleTopics {
    /// Reads the file in `state_dir`.
    fn load(state_dir: &Path) -> Self {
        let (file, retained) = StateFile::load(
            state_dir,
            "topics.json",
            "topics of removed sources and labels may stay with the broker",
        );
        Self { file, retained, current: BTreeSet::new() }
    }

    /// The topics of `current` are published, too. Returns the topics that may be retained and are not in `current`.
    fn follow(&mut self, current: BTreeSet<String>) -> Vec<String> {
        self.retained.extend(current.iter().cloned());
        self.current = current;
        self.retained.difference(&self.current).cloned().collect()
    }

    /// The topics of one more source are published, and no longer those that begin with `gone`.
    fn follow_one_more(&mut self, added: BTreeSet<String>, gone: Option<String>) {
        if let Some(gone) = gone {
            self.current.retain(|topic| !topic.starts_with(&gone));
        }
        self.retained.extend(added.iter().cloned());
        self.current.extend(added);
    }

    fn save(&mut self) {
        self.file.save(&self.retained);
    }

    /// Only the current topics are retained.
    fn settle(&mut self) {
        self.retained.clone_from(&self.current);
        self.save();
    }
}

/// The topics that the broker retains for one source.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SourceTopics {
    pub(super) status: String,
    pub(super) problem: String,
    info: String,
    pub(super) stats: String,
    pub(super) snapshot: String,
}

impl SourceTopics {
    pub(super) fn new(source: &str, topics: &Topics) -> Self {
        Self {
            status: topics.source_status(source),
            problem: topics.source_problem(source),
            info: topics.source_info(source),
            stats: topics.source_stats(source),
            snapshot: topics.snapshot(source),
        }
    }

    pub(super) fn all(self) -> [String; 5] {
        [self.status, self.problem, self.info, self.stats, self.snapshot]
    }
}

/// The retained topics of the sources in `watched` (dynamic ones included) and in `configured`, and those of `states`.
fn retained_topics(
    watched: &Config,
    configured: &Config,
    topics: &Topics,
    states: &States,
) -> BTreeSet<String> {
    let sources = watched.sources.iter().chain(&configured.sources);
    let own: BTreeSet<_> = sources.flat_map(|source| SourceTopics::new(&source.name, topics).all()).collect();
    let of_labels = watched.sources.iter().flat_map(|source| retained_topics_of(source, watched, topics));
    own.into_iter().chain(of_labels).chain(states.keys().cloned()).collect()
}

/// The retained topics of one source in `watched`.
fn retained_topics_of(source: &Source, watched: &Config, topics: &Topics) -> BTreeSet<String> {
    let state = |set: &LabelSet, name: &str| topics.state(&source.name, &set.name, name);
    let states = watched
        .watched_by(source)
        .flat_map(|set| set.alerting().map(move |label| state(set, &label.name)).collect::<Vec<_>>());
    SourceTopics::new(&source.name, topics).all().into_iter().chain(states).collect()
}

/// The beginning of all topics of a source.
fn topics_below(source: &str, topics: &Topics) -> String {
    let status = topics.source_status(source);
    status.strip_suffix("status").unwrap_or(&status).to_owned()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::{
        faults::{Operation, sweep},
        samples,
    };

    fn set(topics: &[&str]) -> BTreeSet<String> {
        topics.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_removed_topic_is_stale_until_the_broker_has_received_that() {
        let folder = tempfile::tempdir().unwrap();
        let load = || StaleTopics::load(folder.path());
        let followed = |topics: &[&str]| {
            let mut stale_topics = load();
            let stale = stale_topics.follow(set(topics));
            stale_topics.save();
            (stale_topics, stale)
        };
        assert_eq!(followed(&["a", "b"]).1, [""; 0]);
        assert_eq!(followed(&["a", "c"]).1, ["b"]);
        let (mut after_kill, stale) = followed(&["a", "c"]);
        assert_eq!(stale, ["b"]);
        after_kill.settle();
        assert_eq!(followed(&["a", "c"]).1, [""; 0]);
    }

    #[test]
    fn the_topics_of_a_replaced_source_are_stale() {
        let folder = tempfile::tempdir().unwrap();
        let mut stale_topics = StaleTopics::load(folder.path());
        stale_topics.follow(set(&["p/a/status", "p/ab/status"]));
        stale_topics.follow_one_more(set(&["p/c/status", "p/c/stats"]), Some("p/a/".to_owned()));
        stale_topics.save();
        let stale = StaleTopics::load(folder.path()).follow(stale_topics.current.clone());
        assert_eq!(stale, ["p/a/status"]);
        assert_eq!(stale_topics.current, set(&["p/ab/status", "p/c/status", "p/c/stats"]));
    }

    #[test]
    fn one_more_source_retains_what_all_of_them_retain() {
        let mut config = samples::config();
        let retained = |config: &Config| retained_topics(config, config, &Topics::new("p"), &States::new());
        let all = retained(&config);
        let last = config.sources.pop().unwrap();
        let others = retained(&config);
        config.sources.push(last.clone());
        let added = retained_topics_of(&last, &config, &Topics::new("p"));
        assert_eq!(others.union(&added).cloned().collect::<BTreeSet<_>>(), all);
        assert!(
            added.iter().all(|topic| topic.starts_with(&topics_below("back", &Topics::new("p")))),
            "{added:?}"
        );
    }

    #[test]
    fn no_fault_makes_a_retained_topic_unknown_for_ever() {
        let faults = sweep(
            |disk| {
                let mut topics = StaleTopics::load(disk.path());
                topics.follow(set(&["a", "b"]));
                topics.save();
            },
            |disk| {
                let mut topics = StaleTopics::load(disk.path());
                let stale = topics.follow(set(&["a", "c"]));
                topics.save();
                assert!(stale == ["b"] || disk.failures(Operation::Read) > 0, "{stale:?}");
                topics.follow(set(&["a", "c", "d"]));
                topics.save();
            },
            |disk, fault| {
                let stale = StaleTopics::load(disk.path()).follow(set(&["e"]));
                let kept = fs::read_to_string(disk.path().join("topics.json.damaged")).unwrap_or_default();
                assert!(
                    stale.contains(&"b".to_owned()) || kept.contains("\"b\""),
                    "{fault:?}: {stale:?} {kept}"
                );
                let c = stale.contains(&"c".to_owned());
                assert!(c || fault.is_some_and(|fault| fault.permanent), "{fault:?}: {stale:?}");
            },
        );
        assert!(faults >= 16, "{faults}");
    }

    #[test]
    fn the_states_of_controls_are_published_with_commands_and_cleared_with_their_labels() {
        let (folder, mut config) = (tempfile::tempdir().unwrap(), samples::config());
        config.state_dir = folder.path().to_owned();
        let values = |state: &BrokerState| {
            let values = state.board.subscribe().borrow().clone();
            let is_control = |topic: &str| topic.ends_with("/enabled") || topic.ends_with("/threshold");
            let controls = values.into_iter().filter(|(topic, _)| is_control(topic));
            controls.map(|(topic, value)| format!("{topic} {value}")).collect::<Vec<_>>()
        };
        assert_eq!(values(&BrokerState::new(&config, &config)), [""; 0]);

        config.mqtt.commands = true;
        config.sources.truncate(1);
        config.sources[0].watch = vec!["yard".to_owned()];
        let mut state = BrokerState::new(&config, &config);
        let before = [
            "home/front_door/enabled ON",
            "home/front_door/yard/fox/enabled ON",
            "home/front_door/yard/fox/threshold 0.5",
        ];
        assert_eq!(values(&state), before);
        config.sources[0].enabled = false;
        config.label_sets[1].labels[0].name = "wolf".to_owned();
        state.follow(&config, &config);
        assert_eq!(values(&state), before, "not before the list of topics is saved");
        state.announce();
        let after = [
            "home/front_door/enabled OFF",
            "home/front_door/yard/fox/enabled ",
            "home/front_door/yard/fox/threshold ",
            "home/front_door/yard/wolf/enabled ON",
            "home/front_door/yard/wolf/threshold 0.5",
        ];
        assert_eq!(values(&state), after);
    }

    #[test]
    fn the_exact_payloads() {
        assert_eq!(ConfigStatus::ok(&[]).to_json(), r#"{"state":"ok"}"#);
        let keys = ConfigStatus::ok(&["model", "mqtt"]).to_json();
        assert_eq!(keys, r#"{"state":"ok","after_restart":["model","mqtt"]}"#);
        let invalid = ConfigStatus::Invalid { problems: "a \"b\"\nc" }.to_json();
        assert_eq!(invalid, r#"{"state":"invalid","problems":"a \"b\"\nc"}"#);
    }

    #[test]
    fn every_retained_topic_of_a_source() {
        let config = samples::config();
        let retained = retained_topics(&config, &config, &Topics::new("p"), &States::new());
        let door: BTreeSet<_> =
            retained.iter().filter_map(|topic| topic.strip_prefix("p/front_door/")).collect();
        let expected = [
            "info",
            "porch/package/state",
            "porch/person/state",
            "problem",
            "snapshot",
            "stats",
            "status",
            "yard/fox/state",
        ];
        assert_eq!(door, expected.into());
    }
}
