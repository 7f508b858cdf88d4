//! Temporary labels (`stakeout watch-for`): words that are watched for on one source until a time.
//!
//! They are kept in the state folder, so they survive a restart, and change no file of the configuration. [`Watches::expand`] adds each
//! as a label set of its own to the configuration in force. Then it is a label like any other.

use std::{
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::{
    config::Config,
    policy::{Label, LabelSet, Template, TriggerSettings},
    state_file::StateFile,
    topic::topic_level,
};

/// The most temporary labels at a time.
pub const MOST: usize = 32;
/// The threshold of one that names none.
pub const THRESHOLD: f32 = 0.5;
/// The shortest and the longest time that one is watched for.
pub const DURATIONS: [Duration; 2] = [Duration::from_secs(60), Duration::from_secs(31 * 24 * 3600)];
/// What is in view otherwise. A softmax needs something to compare the words with.
const BACKGROUND: [&str; 3] = ["an empty scene", "a plain background", "something else"];

/// Words that are watched for on one source until a time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Watch {
    /// Its number, which no other one gets.
    pub id: u64,
    /// The words, which are the name of the label, too.
    pub text: String,
    /// The name of the source, as in the configuration.
    pub source: String,
    /// When it ends.
    pub until: Timestamp,
    /// Whether it ends with its first alert.
    pub once: bool,
    /// The threshold.
    pub threshold: f32,
}

impl Watch {
    /// The name of its label set.
    #[must_use]
    pub fn label_set(&self) -> String {
        format!("watch {}", self.id)
    }

    fn set(&self, template: &Template) -> LabelSet {
        let label = Label::new(&self.text, TriggerSettings::at(self.threshold));
        LabelSet {
            background: BACKGROUND.iter().map(ToString::to_string).collect(),
            ..LabelSet::new(&self.label_set(), template.clone(), vec![label])
        }
    }
}

/// Why words cannot be watched for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There are too many.
    #[error("{MOST} temporary labels are watched already")]
    TooMany,
    /// The same words are watched for on this source.
    #[error("`{text}` is watched on this source already, as number {id}")]
    Known {
        /// The words.
        text: String,
        /// Its number.
        id: u64,
    },
}

/// All temporary labels. Clones share them.
#[derive(Debug, Clone)]
pub struct Watches {
    kept: Arc<Mutex<Kept>>,
    /// Locked during a change and while it is written, so that the file has the newest one. `kept` is not locked while it is written:
    /// a slow disk does not hold up those who read.
    file: Arc<Mutex<StateFile>>,
    changes: watch::Sender<()>,
}

#[derive(Debug)]
struct Kept {
    saved: Saved,
    /// The names of the sources that [`Watches::expand`] was called with, except for those that name others.
    sources: Vec<String>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Saved {
    /// The number of the newest one.
    newest: u64,
    watches: Vec<Watch>,
}

impl Watches {
    /// Reads the file in `state_dir`.
    #[must_use]
    pub fn load(state_dir: &Path) -> Self {
        let (file, saved) =
            StateFile::load(state_dir, "watches.json", "temporary labels are not watched any more");
        Self {
            kept: Arc::new(Mutex::new(Kept { saved, sources: vec![] })),
            file: Arc::new(Mutex::new(file)),
            changes: watch::Sender::new(()),
        }
    }

    /// Adds one; its `id` is assigned here. Blocks for the disk.
    ///
    /// # Errors
    /// There are too many, or it exists already.
    pub fn add(&self, watch: Watch) -> Result<Watch, Refused> {
        self.change(|saved| {
            let same = |other: &&Watch| other.text == watch.text && other.source == watch.source;
            if let Some(Watch { id, text, .. }) = saved.watches.iter().find(same) {
                return Err(Refused::Known { text: text.clone(), id: *id });
            }
            if saved.watches.len() >= MOST {
                return Err(Refused::TooMany);
            }
            saved.newest += 1;
            let added = Watch { id: saved.newest, ..watch };
            saved.watches.push(added.clone());
            Ok(added)
        })
    }

    /// Ends the one with this number, and returns it. Blocks for the disk.
    #[must_use]
    pub fn cancel(&self, id: u64) -> Option<Watch> {
        self.change(|saved| {
            let at = saved.watches.iter().position(|watch| watch.id == id)?;
            Some(saved.watches.remove(at))
        })
    }

    /// Ends those whose time is over `now`, and returns them. Blocks for the disk if there are some.
    #[must_use]
    pub fn expire(&self, now: Timestamp) -> Vec<Watch> {
        self.end(|watch| watch.until <= now)
    }

    /// An alert was raised in this label set: ends the temporary label, if it was to end with it, and returns it. Blocks for the disk
    /// then.
    #[must_use]
    pub fn raised(&self, label_set: &str) -> Option<Watch> {
        self.end(|watch| watch.once && watch.label_set() == label_set).pop()
    }

    fn end(&self, is_over: impl Fn(&Watch) -> bool) -> Vec<Watch> {
        if !self.lock().saved.watches.iter().any(&is_over) {
            return Vec::new();
        }
        self.change(|saved| saved.watches.extract_if(.., |watch| is_over(watch)).collect())
    }

    /// All of them, in the order of their numbers.
    #[must_use]
    pub fn list(&self) -> Vec<Watch> {
        self.lock().saved.watches.clone()
    }

    /// Marked as changed when one is added or ends.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    /// `config` with a label set for each of them. Those of a source that `config` does not have wait for it.
    #[must_use]
    pub fn expand(&self, config: &Config) -> Config {
        let alone = config.sources.iter().filter(|source| source.kind.settings().name_pattern().is_none());
        let mut kept = self.lock();
        kept.sources = alone.map(|source| source.name.clone()).collect();
        expand(config, &kept.saved.watches)
    }

    /// Whether words can be watched for on this source. Sources that MQTT topics name have the labels of the source that they come from.
    #[must_use]
    pub fn can_watch(&self, source: &str) -> bool {
        self.lock().sources.iter().any(|name| name == source)
    }

    fn change<T>(&self, change: impl FnOnce(&mut Saved) -> T) -> T {
        let mut file = lock(&self.file);
        let mut kept = self.lock();
        let changed = change(&mut kept.saved);
        let saved = kept.saved.clone();
        drop(kept);
        file.save(&saved);
        drop(file);
        self.changes.send_replace(());
        changed
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        lock(&self.kept)
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn expand(config: &Config, watches: &[Watch]) -> Config {
    let mut config = config.clone();
    let Ok(template) = "This is a photo of {}.".parse::<Template>() else { return config };
    for watch in watches {
        let name = watch.label_set();
        // A set of this name in the configuration goes first, also one that is spelt alike: both would have the same topics.
        let is_free = config.label_sets.iter().all(|set| topic_level(&set.name) != topic_level(&name));
        let source = config.sources.iter_mut().find(|source| source.name == watch.source);
        if let Some(source) = source.filter(|_| is_free) {
            source.watch.push(name);
            config.label_sets.push(watch.set(&template));
        }
    }
    config
}

/// When the next of them ends.
#[must_use]
pub fn next_end(watches: &[Watch]) -> Option<Timestamp> {
    watches.iter().map(|watch| watch.until).min()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn watch(text: &str, source: &str, until: i64) -> Watch {
        Watch {
            id: 0,
            text: text.to_owned(),
            source: source.to_owned(),
            until: at(until),
            once: false,
            threshold: 0.5,
        }
    }

    fn ids(watches: &[Watch]) -> Vec<u64> {
        watches.iter().map(|watch| watch.id).collect()
    }

    #[test]
    fn they_survive_a_restart_and_end_at_their_time() {
        let folder = tempfile::tempdir().unwrap();
        let watches = Watches::load(folder.path());
        let mut changes = watches.changes();
        assert_eq!(watches.add(watch("a parcel", "back", 60)).unwrap().id, 1);
        assert!(changes.has_changed().unwrap());
        changes.mark_unchanged();
        watches.add(watch("a dog", "back", 120)).unwrap();
        let same = watches.add(watch("a dog", "back", 300));
        assert_eq!(same, Err(Refused::Known { text: "a dog".to_owned(), id: 2 }));
        watches.add(watch("a dog", "Front Door", 300)).unwrap();

        let watches = Watches::load(folder.path());
        assert_eq!((ids(&watches.list()), next_end(&watches.list())), (vec![1, 2, 3], Some(at(60))));
        assert_eq!(watches.expire(at(59)), []);
        assert_eq!(ids(&watches.expire(at(120))), [1, 2]);
        assert_eq!(watches.cancel(1), None, "it has ended");
        assert_eq!(watches.cancel(3).map(|watch| watch.text).as_deref(), Some("a dog"));
        assert_eq!((watches.list(), next_end(&[])), (vec![], None));
        assert_eq!(watches.add(watch("a cat", "back", 60)).unwrap().id, 4, "a number is used once");
    }

    #[test]
    fn the_first_alert_ends_those_that_want_that() {
        let folder = tempfile::tempdir().unwrap();
        let watches = Watches::load(folder.path());
        let lasting = watches.add(watch("a dog", "back", 60)).unwrap();
        let once = watches.add(Watch { once: true, ..watch("a cat", "back", 60) }).unwrap();
        assert_eq!(watches.raised(&lasting.label_set()), None);
        assert_eq!(watches.raised("porch"), None);
        assert_eq!(watches.raised(&once.label_set()), Some(once));
        assert_eq!(ids(&watches.list()), [1]);
    }

    #[test]
    fn there_is_a_limit() {
        let folder = tempfile::tempdir().unwrap();
        let watches = Watches::load(folder.path());
        for number in 0..MOST {
            watches.add(watch(&number.to_string(), "back", 60)).unwrap();
        }
        assert_eq!(watches.add(watch("one more", "back", 60)), Err(Refused::TooMany));
    }

    #[test]
    fn each_is_a_label_set_of_its_source() {
        let config = samples::config();
        let parcel = Watch { id: 7, ..watch("a parcel", "back", 60) };
        let gone = Watch { id: 8, ..watch("a dog", "garage", 60) };
        let expanded = expand(&config, &[parcel, gone]);
        let set = expanded.label_sets.last().unwrap();
        assert_eq!((expanded.label_sets.len(), &*set.name), (config.label_sets.len() + 1, "watch 7"));
        assert_eq!((&*set.labels[0].name, set.labels[0].trigger), ("a parcel", TriggerSettings::at(0.5)));
        assert!(!set.background.is_empty(), "a softmax over one label would always be 1.0");
        assert_eq!(expanded.sources[1].watch, ["porch", "watch 7"]);
        assert_eq!(expanded.sources[0].watch, config.sources[0].watch);
        assert_eq!(expand(&config, &[]), config);

        for name in ["watch 7", "Watch_7"] {
            let mut taken = config.clone();
            taken.label_sets[1].name = name.to_owned();
            taken.sources[0].watch = vec!["porch".to_owned(), name.to_owned()];
            let same = Watch { id: 7, ..watch("a parcel", "back", 60) };
            assert_eq!(expand(&taken, &[same]), taken, "the configuration goes first");
        }
    }
}
