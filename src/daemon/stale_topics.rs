//! What the broker may still keep of earlier times: the retained topics of sources and labels that were removed while
//! nobody ran.
//!
//! A file in the state directory lists every retained topic that may have been told. What the configuration has no
//! more of at the start is taken back; it stays in the list until the publisher has said goodbye, and so all of it: after
//! a kill it is taken back once more, which does no harm. It refuses to take back what is removed while it runs; who
//! removes it does that.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use crate::{alert::Topics, config::Config};

const FILE: &str = "topics.json";

/// The topics in the file.
pub(super) struct Leftovers {
    file: PathBuf,
    known: BTreeSet<String>,
}

impl Leftovers {
    /// What is remembered in `state_dir`. A file that cannot be understood is told and left out.
    pub(super) fn recall(state_dir: &Path) -> Self {
        let file = state_dir.join(FILE);
        let known = match fs::read_to_string(&file) {
            Ok(text) => {
                serde_json::from_str(&text).map_err(|_| "it was not written by this program".to_owned())
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Value::Array(vec![])),
            Err(error) => Err(error.to_string()),
        };
        let known = known.unwrap_or_else(|why| {
            tracing::warn!(file = %file.display(), why, "which topics were told earlier is not known: what you removed \
                from the configuration since may stay with the broker");
            Value::Null
        });
        let known =
            known.as_array().into_iter().flatten().filter_map(|topic| topic.as_str().map(str::to_owned));
        Self { known: known.collect(), file }
    }

    /// What may be with the broker and has no place in `now`.
    pub(super) fn gone(&self, now: &BTreeSet<String>) -> Vec<String> {
        self.known.difference(now).cloned().collect()
    }

    /// `now` is told from now on, beside what was told before.
    pub(super) fn add(&mut self, now: BTreeSet<String>) {
        let before = self.known.len();
        self.known.extend(now);
        if self.known.len() != before {
            self.write();
        }
    }

    /// The broker has heard everything: it keeps `now` and no more.
    pub(super) fn settle(&mut self, now: BTreeSet<String>) {
        if self.known != now {
            self.known = now;
            self.write();
        }
    }

    fn write(&self) {
        if let Err(error) = write(&self.file, &json!(self.known).to_string()) {
            tracing::warn!(file = %self.file.display(), %error, "which topics are told is not on disk: make the file \
                writable, or what you remove from the configuration may stay with the broker");
        }
    }
}

/// The retained topics of the sources of `config`; members have to be in it, and their sources are taken from `typed`.
pub(super) fn retained(config: &Config, typed: &Config, topics: &Topics) -> BTreeSet<String> {
    let sources = config.sources.iter().chain(&typed.sources);
    let mut retained: BTreeSet<_> = sources
        .flat_map(|source| {
            let name = &source.name;
            [
                topics.source_status(name),
                topics.source_info(name),
                topics.source_stats(name),
                topics.snapshot(name),
            ]
        })
        .collect();
    for (source, label_set) in config.watches() {
        let state = |name: &str| topics.state(&source.name, &label_set.name, name);
        retained.extend(label_set.alerting().map(|label| state(&label.name)));
    }
    retained
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
    use super::*;
    use crate::samples;

    fn set(topics: &[&str]) -> BTreeSet<String> {
        topics.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_is_gone_is_known_until_the_broker_has_heard_it() {
        let folder = tempfile::tempdir().unwrap();
        let recall = || Leftovers::recall(folder.path());
        recall().add(set(&["a", "b"]));
        assert_eq!(recall().gone(&set(&["a", "c"])), ["b"]);
        recall().add(set(&["a", "c"]));
        assert_eq!(recall().gone(&set(&["a", "c"])), ["b"], "after a kill it is taken back once more");
        recall().settle(set(&["a", "c"]));
        assert_eq!(recall().gone(&set(&["a", "c"])), [""; 0]);
        fs::write(folder.path().join(FILE), "{").unwrap();
        assert_eq!(recall().gone(&set(&[])), [""; 0], "it is no list");
    }

    #[test]
    fn every_retained_topic_of_a_source() {
        let config = samples::config();
        let retained = retained(&config, &config, &Topics::new("p"));
        let of_door: Vec<_> = retained.iter().filter(|topic| topic.starts_with("p/front_door/")).collect();
        assert!(of_door.iter().any(|topic| topic.ends_with("/status")), "{of_door:?}");
        assert!(of_door.iter().any(|topic| topic.ends_with("/info")), "{of_door:?}");
        assert!(of_door.iter().any(|topic| topic.ends_with("/snapshot")), "{of_door:?}");
        assert!(of_door.iter().any(|topic| topic.ends_with("/stats")), "{of_door:?}");
        assert!(of_door.iter().any(|topic| topic.ends_with("/state")), "{of_door:?}");
        assert!(!retained.iter().any(|topic| topic.ends_with("/alert")), "nothing is retained there");
    }
}
