//! The messages for the topics `<source>/stats`: how many frames of each source were scored, how fast, and the time of the
//! newest.
//!
//! Pure. Frames are counted after the judge, because a dynamic source has no counters of its own. A source without a frame
//! has no message.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use serde::Serialize;

use super::Throughput;

/// The sources that are reported.
#[derive(Debug, Default)]
pub(super) struct SourceStats {
    sources: BTreeMap<String, Source>,
}

#[derive(Debug, Default)]
struct Source {
    scored: u64,
    newest: Option<Timestamp>,
    throughput: Throughput,
    published: bool,
}

/// The published object.
#[derive(Serialize)]
struct PublishedStats {
    frames: u64,
    per_second: f64,
    last_frame: String,
}

impl SourceStats {
    /// Reports these sources and no others.
    pub(super) fn report<'n>(&mut self, names: impl Iterator<Item = &'n str>) {
        let mut before = std::mem::take(&mut self.sources);
        self.sources = names
            .map(|name| before.remove_entry(name).unwrap_or_else(|| (name.to_owned(), Source::default())))
            .collect();
    }

    /// Reports one more source, and no longer the source `gone`.
    pub(super) fn add(&mut self, name: &str, gone: Option<&str>) {
        if let Some(gone) = gone {
            self.sources.remove(gone);
        }
        self.sources.entry(name.to_owned()).or_default();
    }

    /// Counts a frame. A newest frame from the future is one from before the clock was set back, and is no longer the newest.
    pub(super) fn scored(&mut self, source: &str, captured_at: Timestamp, now: Timestamp) {
        // The source may have been removed while its frame was in flight.
        let Some(source) = self.sources.get_mut(source) else { return };
        source.scored += 1;
        source.newest = source.newest.filter(|newest| *newest <= now).max(Some(captured_at));
    }

    /// See [`super::ServiceMetrics::source_stats`].
    pub(super) fn messages(&mut self, now: Duration, due: bool) -> Vec<(String, String)> {
        let mut messages = Vec::new();
        for (name, source) in &mut self.sources {
            let begun = source.throughput.has_begun();
            let is_new = !source.published && source.newest.is_some();
            if !(due || is_new || !begun) {
                continue;
            }
            let per_second = source.throughput.since_previous(now, source.scored);
            if let Some(newest) = source.newest.filter(|_| begun) {
                source.published = true;
                let message = PublishedStats {
                    frames: source.scored,
                    per_second: (per_second * 1000.0).round() / 1000.0,
                    last_frame: format!("{newest:.3}"),
                };
                let json = serde_json::to_string(&message).expect("numbers and a text are valid JSON");
                messages.push((name.clone(), json));
            }
        }
        messages
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_source_with_frames_is_reported_when_a_round_is_due() {
        let mut stats = SourceStats::default();
        let at = |second| Timestamp::from_second(second).unwrap();
        let messages =
            |stats: &mut SourceStats, second, due| stats.messages(Duration::from_secs(second), due);
        stats.report(["door", "yard"].into_iter());
        assert_eq!(messages(&mut stats, 0, true), []);
        assert_eq!(messages(&mut stats, 5, false), [], "no frame yet");
        for second in [7, 6] {
            stats.scored("door", at(second), at(7));
        }
        stats.scored("removed", at(8), at(8));
        let door = |text: &str| vec![("door".to_owned(), text.to_owned())];
        let first = r#"{"frames":2,"per_second":0.2,"last_frame":"1970-01-01T00:00:07.000Z"}"#;
        assert_eq!(messages(&mut stats, 10, false), door(first), "the first is reported at once");
        stats.scored("door", at(12), at(12));
        assert_eq!(messages(&mut stats, 15, false), []);
        let second = r#"{"frames":3,"per_second":0.02,"last_frame":"1970-01-01T00:00:12.000Z"}"#;
        assert_eq!(messages(&mut stats, 60, true), door(second));
        let third = second.replace("0.02", "0.0");
        assert_eq!(
            messages(&mut stats, 120, true),
            door(&third),
            "a source without new frames is reported, too"
        );

        stats.scored("door", at(1_000_000), at(1_000_000));
        stats.scored("door", at(13), at(13));
        let back = messages(&mut stats, 180, true);
        assert!(back[0].1.contains("1970-01-01T00:00:13.000Z"), "the clock was a year ahead: {back:?}");

        stats.report(["yard"].into_iter());
        assert_eq!(messages(&mut stats, 240, true), []);
    }
}
