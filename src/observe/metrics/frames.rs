//! The frames of each source that were scored: how many, how fast, and when the newest was captured; what the topic
//! `<source>/stats` says.
//!
//! Pure. They are counted where they are judged: a source that topics name has no counts of its own. It refuses to tell of
//! a source that has had no frame.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use serde_json::json;

use super::Rate;

/// The sources that are told of.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    sources: BTreeMap<String, Source>,
}

#[derive(Debug, Default)]
struct Source {
    scored: u64,
    newest: Option<Timestamp>,
    rate: Rate,
    told: bool,
}

impl Frames {
    /// From now on these are told of, and no others.
    pub(crate) fn follow<'n>(&mut self, names: impl Iterator<Item = &'n str>) {
        let mut before = std::mem::take(&mut self.sources);
        self.sources = names
            .map(|name| before.remove_entry(name).unwrap_or_else(|| (name.to_owned(), Source::default())))
            .collect();
    }

    /// One more frame.
    pub(crate) fn scored(&mut self, source: &str, captured_at: Timestamp) {
        // A frame of a source that is gone meanwhile is nobody's.
        let Some(source) = self.sources.get_mut(source) else { return };
        source.scored += 1;
        source.newest = source.newest.max(Some(captured_at));
    }

    /// What is to be told of which source: of each when a round is `due`, of one that had its first frame at once. `now` is
    /// a time since some beginning.
    pub(crate) fn news(&mut self, now: Duration, due: bool) -> Vec<(String, String)> {
        let mut news = Vec::new();
        for (name, source) in &mut self.sources {
            let begun = source.rate.has_begun();
            let is_new = !source.told && source.newest.is_some();
            if !(due || is_new || !begun) {
                continue;
            }
            let per_second = source.rate.since(now, source.scored);
            if let Some(newest) = source.newest.filter(|_| begun) {
                source.told = true;
                let told = json!({
                    "frames": source.scored,
                    "per_second": (per_second * 1000.0).round() / 1000.0,
                    "last_frame": format!("{newest:.3}"),
                });
                news.push((name.clone(), told.to_string()));
            }
        }
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_source_that_has_frames_is_told_of_when_it_is_time() {
        let mut frames = Frames::default();
        let at = |second| Timestamp::from_second(second).unwrap();
        let told = |frames: &mut Frames, second, due| frames.news(Duration::from_secs(second), due);
        frames.follow(["door", "yard"].into_iter());
        assert_eq!(told(&mut frames, 0, true), []);
        assert_eq!(told(&mut frames, 5, false), [], "no frame yet");
        for second in [7, 6] {
            frames.scored("door", at(second));
        }
        frames.scored("gone", at(8));
        let door = |text: &str| vec![("door".to_owned(), text.to_owned())];
        let first = r#"{"frames":2,"per_second":0.2,"last_frame":"1970-01-01T00:00:07.000Z"}"#;
        assert_eq!(told(&mut frames, 10, false), door(first), "the first at once");
        frames.scored("door", at(12));
        assert_eq!(told(&mut frames, 15, false), []);
        let second = r#"{"frames":3,"per_second":0.02,"last_frame":"1970-01-01T00:00:12.000Z"}"#;
        assert_eq!(told(&mut frames, 60, true), door(second));
        let third = second.replace("0.02", "0.0");
        assert_eq!(told(&mut frames, 120, true), door(&third), "that it stands still is news, too");

        frames.follow(["yard"].into_iter());
        assert_eq!(told(&mut frames, 180, true), []);
    }
}
