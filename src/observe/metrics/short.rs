//! The figures in short: a line of words for systemd, a little JSON for the topic `stats`.

use std::time::Duration;

use serde_json::json;

/// The figures of one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    pub up_s: i64,
    pub online: usize,
    pub offline: usize,
    pub stalled: usize,
    /// Pictures that sources found.
    pub seen: u64,
    /// Left out on purpose.
    pub skipped: u64,
    /// Not read, or not scored.
    pub failed: u64,
    /// Scored, also by what was known of the same picture.
    pub scored: u64,
    pub raised: u64,
    pub published: u64,
    pub waiting: u64,
    pub dropped: u64,
    pub connected: bool,
}

/// How many frames were scored in a second lately.
#[derive(Debug, Default)]
pub(crate) struct Rate {
    before: Option<(Duration, u64)>,
}

impl Rate {
    /// Whether there is a time to compare with.
    pub(crate) fn has_begun(&self) -> bool {
        self.before.is_some()
    }

    /// Of the time since the last call; `now` is a time since some beginning.
    pub(crate) fn since(&mut self, now: Duration, scored: u64) -> f64 {
        let (then, before) = self.before.replace((now, scored)).unwrap_or((now, scored));
        let seconds = now.saturating_sub(then).as_secs_f64();
        if seconds > 0.0 { scored.saturating_sub(before) as f64 / seconds } else { 0.0 }
    }
}

impl Summary {
    /// In words: what `systemctl status` shows.
    pub(crate) fn words(&self, per_second: f64) -> String {
        let Self { online, offline, stalled, waiting, connected, .. } = self;
        let mut sources = format!("{online} {} online", if *online == 1 { "source" } else { "sources" });
        for (count, how) in [(offline, "offline"), (stalled, "stalled")] {
            if *count > 0 {
                sources.push_str(&format!(", {count} {how}"));
            }
        }
        let alerts = if *waiting == 1 { "alert waits" } else { "alerts wait" };
        let broker = if *connected { "" } else { "; the broker is away" };
        format!("{sources}; {per_second:.1} frames/s; {waiting} {alerts}{broker}")
    }

    /// What is published.
    pub(crate) fn to_json(&self, per_second: f64) -> String {
        json!({
            "up_s": self.up_s,
            "sources": { "online": self.online, "offline": self.offline, "stalled": self.stalled },
            "frames": {
                "seen": self.seen,
                "skipped": self.skipped,
                "failed": self.failed,
                "scored": self.scored,
                "per_second": (per_second * 10.0).round() / 10.0,
            },
            "alerts": {
                "raised": self.raised,
                "published": self.published,
                "waiting": self.waiting,
                "dropped": self.dropped,
            },
        })
        .to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_figures_in_words() {
        let all_well = Summary { online: 4, connected: true, ..Summary::default() };
        assert_eq!(all_well.words(3.94), "4 sources online; 3.9 frames/s; 0 alerts wait");
        let trouble = Summary { online: 1, offline: 2, stalled: 1, waiting: 1, ..Summary::default() };
        let expected =
            "1 source online, 2 offline, 1 stalled; 0.0 frames/s; 1 alert waits; the broker is away";
        assert_eq!(trouble.words(0.0), expected);
    }

    #[test]
    fn the_figures_as_json() {
        let summary = Summary { up_s: 60, online: 1, seen: 7, scored: 5, raised: 2, ..Summary::default() };
        let expected = r#"{"up_s":60,"sources":{"online":1,"offline":0,"stalled":0},"frames":{"seen":7,"skipped":0,"failed":0,"scored":5,"per_second":0.1},"alerts":{"raised":2,"published":0,"waiting":0,"dropped":0}}"#;
        assert_eq!(summary.to_json(0.083), expected);
    }

    #[test]
    fn a_rate_is_that_of_the_time_since_it_was_asked_for() {
        let mut rate = Rate::default();
        let seconds = Duration::from_secs;
        assert_eq!(rate.since(seconds(5), 100), 0.0);
        assert_eq!(rate.since(seconds(15), 120), 2.0);
        assert_eq!(rate.since(seconds(15), 120), 0.0);
    }
}
