//! The totals of the service: a line of text for systemd, a small JSON object for the topic `stats`.

use std::time::Duration;

use serde::Serialize;

/// The totals at one moment, in the order of the published object.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Summary {
    pub(super) up_s: i64,
    pub(super) sources: Sources,
    pub(super) frames: Frames,
    pub(super) alerts: Alerts,
    /// The engine of the model cannot be used.
    #[serde(skip)]
    pub(super) engine_away: bool,
    #[serde(skip)]
    pub(super) connected: bool,
    #[serde(skip)]
    pub(super) invalid: bool,
    #[serde(skip)]
    pub(super) on_disk: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(super) struct Sources {
    pub(super) online: usize,
    pub(super) offline: usize,
    pub(super) stalled: usize,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(super) struct Frames {
    /// Pictures that sources found.
    pub(super) seen: u64,
    /// Skipped on purpose.
    pub(super) skipped: u64,
    /// Not read, or not scored.
    pub(super) failed: u64,
    /// Scored by the model, or by the scores of the same picture before.
    pub(super) scored: u64,
    pub(super) per_second: f64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(super) struct Alerts {
    pub(super) raised: u64,
    pub(super) published: u64,
    pub(super) waiting: u64,
    pub(super) dropped: u64,
}

impl Summary {
    /// The frames that were scored since the start.
    #[must_use]
    pub fn scored(&self) -> u64 {
        self.frames.scored
    }

    /// The line that `systemctl status` shows.
    #[must_use]
    pub fn status_line(&self, per_second: f64) -> String {
        let Sources { online, offline, stalled } = self.sources;
        let mut sources = format!("{online} {} online", if online == 1 { "source" } else { "sources" });
        for (count, status) in [(offline, "offline"), (stalled, "stalled")] {
            if count > 0 {
                sources.push_str(&format!(", {count} {status}"));
            }
        }
        let waiting = self.alerts.waiting;
        let alerts = if waiting == 1 { "alert waits" } else { "alerts wait" };
        let engine = if self.engine_away { "; no model server answers, so no frame is scored" } else { "" };
        let broker = if self.connected { "" } else { "; the broker is away" };
        let disk = if self.on_disk { "" } else { "; alerts are not safe on disk" };
        let config = match self.invalid {
            true => "; the configuration is invalid and the previous one is in force: see `stakeout check`",
            false => "",
        };
        format!("{sources}; {per_second:.1} frames/s; {waiting} {alerts}{engine}{broker}{disk}{config}")
    }

    /// The payload of the topic `stats`.
    #[must_use]
    pub fn to_json(mut self, per_second: f64) -> String {
        self.frames.per_second = (per_second * 10.0).round() / 10.0;
        serde_json::to_string(&self).expect("a struct of numbers is valid JSON")
    }
}

/// The number of frames a second between two readings.
#[derive(Debug, Default)]
pub struct Throughput {
    previous: Option<(Duration, u64)>,
}

impl Throughput {
    /// Whether there was a reading to compare with.
    pub(super) fn has_begun(&self) -> bool {
        self.previous.is_some()
    }

    /// Frames a second since the previous reading; 0 at the first. `now` counts from any fixed moment, `scored` is a total.
    pub fn since_previous(&mut self, now: Duration, scored: u64) -> f64 {
        let (then, before) = self.previous.replace((now, scored)).unwrap_or((now, scored));
        let seconds = now.saturating_sub(then).as_secs_f64();
        if seconds > 0.0 { scored.saturating_sub(before) as f64 / seconds } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_line() {
        let sources = Sources { online: 4, ..Sources::default() };
        let well = Summary { sources, connected: true, on_disk: true, ..Summary::default() };
        assert_eq!(well.status_line(3.94), "4 sources online; 3.9 frames/s; 0 alerts wait");
        let trouble = Summary {
            sources: Sources { online: 1, offline: 2, stalled: 1 },
            alerts: Alerts { waiting: 1, ..Alerts::default() },
            invalid: true,
            engine_away: true,
            ..Summary::default()
        };
        let expected = "1 source online, 2 offline, 1 stalled; 0.0 frames/s; 1 alert waits; no model server answers, so no frame \
                        is scored; the broker is away; \
                        alerts are not safe on disk; the configuration is invalid and the previous one is in force: see `stakeout check`";
        assert_eq!(trouble.status_line(0.0), expected);
    }

    #[test]
    fn the_exact_payload() {
        let summary = Summary {
            up_s: 60,
            sources: Sources { online: 1, ..Sources::default() },
            frames: Frames { seen: 7, scored: 5, ..Frames::default() },
            alerts: Alerts { raised: 2, ..Alerts::default() },
            ..Summary::default()
        };
        let expected = r#"{"up_s":60,"sources":{"online":1,"offline":0,"stalled":0},"frames":{"seen":7,"skipped":0,"failed":0,"scored":5,"per_second":0.1},"alerts":{"raised":2,"published":0,"waiting":0,"dropped":0}}"#;
        assert_eq!(summary.to_json(0.083), expected);
    }

    #[test]
    fn throughput_is_counted_since_the_previous_reading() {
        let mut throughput = Throughput::default();
        let seconds = Duration::from_secs;
        assert_eq!(throughput.since_previous(seconds(5), 100), 0.0);
        assert_eq!(throughput.since_previous(seconds(15), 120), 2.0);
        assert_eq!(throughput.since_previous(seconds(15), 120), 0.0);
    }
}
