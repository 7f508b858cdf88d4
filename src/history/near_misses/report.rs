//! The subscriber that reports near misses: in the log, and over MQTT with `near_misses: true` below `mqtt`.
//!
//! A near miss is reported once, when it has lasted for ten seconds without a raise, and at most once a minute for each label. Only
//! moments that a gate held back are reported: scores that stay below the threshold are not news. Like scores, messages are not kept
//! for later: what the connection has no room for is dropped and counted.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::time::{MissedTickBehavior, interval};
use uuid::Uuid;

use super::{
    choose::Nearness,
    episodes::{At, Episodes, Key, Moment, Seen, Step},
};
use crate::{
    alert::{Topics, instant, number, publisher::ScoreSender},
    config::Config,
    judge::{Assessment, Gate},
    observe::{Observation, Subscription},
};

/// The least time between two reports of a label.
const PAUSE: SignedDuration = SignedDuration::from_mins(1);
/// A label without a report for this time is forgotten.
const FORGOTTEN: SignedDuration = SignedDuration::from_hours(2);
/// How often near misses that no frame follows are looked for.
const TICK: Duration = Duration::from_secs(2);

/// Reports near misses until the judge ends.
pub struct NearMissReporter {
    topics: Topics,
    over_mqtt: bool,
    sink: ScoreSender,
    reports: Reports,
}

impl NearMissReporter {
    /// Hands messages to `sink`, which drops and counts what the broker connection has no room for.
    #[must_use]
    pub fn new(config: &Config, sink: ScoreSender) -> Self {
        Self {
            topics: Topics::of(config),
            over_mqtt: config.mqtt.near_misses,
            sink,
            reports: Reports::default(),
        }
    }

    /// Reports what `subscription` brings.
    pub async fn run(mut self, mut subscription: Subscription) {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let reports = tokio::select! {
                observation = subscription.observations.recv() => match observation {
                    Some(observation) => self.reports.see(&observation),
                    None => break,
                },
                _ = ticks.tick() => self.reports.settle(Timestamp::now()),
            };
            if subscription.config.has_changed().unwrap_or(false) {
                let config = subscription.config.borrow_and_update();
                (self.topics, self.over_mqtt) = (Topics::of(&config), config.mqtt.near_misses);
            }
            reports.iter().for_each(|report| self.publish(report));
        }
    }

    fn publish(&self, report: &Report) {
        let Report { key: Key { source, label_set, label }, moment } = report;
        let assessment = &moment.content;
        let reason = assessment.held_by.as_ref().map(Gate::sentence).unwrap_or_default();
        tracing::info!(
            source = &**source,
            label_set = &**label_set,
            label = &**label,
            score = assessment.when.is_none().then_some(assessment.score),
            captured_at = instant(moment.captured),
            "`{label}` was nearly raised: {reason}"
        );
        if self.over_mqtt {
            self.sink.send(self.topics.near_miss(source, label_set, label), report.to_json());
        }
    }
}

/// A near miss that is reported.
#[derive(Debug, Clone, PartialEq)]
struct Report {
    key: Key,
    /// Its nearest frame.
    moment: Moment<Assessment>,
}

impl Report {
    /// The published payload: one line of JSON with its keys in this order.
    fn to_json(&self) -> String {
        let it = &self.moment.content;
        let mut json = json!({
            "time": instant(self.moment.captured),
            "source": &*self.key.source,
            "region": it.region.as_deref(),
            "label_set": &*self.key.label_set,
            "label": &*self.key.label,
            "score": number(it.score),
            "threshold": it.levels.map_or(Value::Null, |levels| number(levels.threshold)),
            "reason": it.held_by.as_ref().map(Gate::sentence),
            "held_by": it.held_by,
            "also_held_by": it.also_held_by,
            "passed": it.passed,
        });
        if let Some(baseline) = it.baseline {
            json["baseline"] = number(baseline);
        }
        if let Some(when) = &it.when {
            json["when"] = json!(&**when);
        }
        json.to_string()
    }
}

/// Decides what is reported. Pure: the times are those of observations, and of the caller.
#[derive(Debug)]
struct Reports {
    episodes: Episodes<Assessment>,
    /// The newest report of each label: its episode, and when it was reported.
    reported: BTreeMap<Key, (Uuid, Timestamp)>,
    count: u128,
}

impl Default for Reports {
    fn default() -> Self {
        Self { episodes: Episodes::new(), reported: BTreeMap::new(), count: 0 }
    }
}

impl Reports {
    /// Counts a frame. Returns what is to be reported now.
    fn see(&mut self, observation: &Observation) -> Vec<Report> {
        let at = At { captured: observation.captured_at, judged: observation.judged_at };
        let mut steps = Vec::new();
        for assessment in &observation.assessments {
            let key = Key {
                source: Arc::clone(&observation.source),
                label_set: Arc::clone(&assessment.label_set),
                label: Arc::clone(&assessment.label),
            };
            let seen = match Nearness::of(assessment) {
                _ if assessment.raised => Seen::Raised,
                Some(nearness) if nearness.held => Seen::Near(nearness),
                _ => Seen::Far,
            };
            let count = &mut self.count;
            let id = || {
                *count += 1;
                Uuid::from_u128(*count)
            };
            let seen = self.episodes.see(key.clone(), at, seen, |_| assessment.clone(), id);
            steps.extend(seen.into_iter().map(|step| (key.clone(), step)));
        }
        let mut reports = self.report(steps, at.judged);
        reports.extend(self.settle(at.judged));
        reports
    }

    /// Returns what has lasted for long enough `now`, though no frame followed.
    fn settle(&mut self, now: Timestamp) -> Vec<Report> {
        let steps = self.episodes.settle(now);
        self.report(steps, now)
    }

    fn report(&mut self, steps: Vec<(Key, Step<Assessment>)>, now: Timestamp) -> Vec<Report> {
        let mut reports = Vec::new();
        for (key, step) in steps {
            let Step::Write { id, moment } = step else { continue };
            let recent =
                |(episode, at): &(Uuid, Timestamp)| *episode == id || now.duration_since(*at).abs() < PAUSE;
            if self.reported.get(&key).is_some_and(recent) {
                continue;
            }
            self.reported.insert(key.clone(), (id, now));
            reports.push(Report { key, moment });
        }
        // Sources come and go.
        self.reported.retain(|_, (_, at)| now.duration_since(*at).abs() < FORGOTTEN);
        reports
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;
    use crate::{
        history::samples::{START, assessment, at, grey, observation},
        picture::Picture,
    };

    fn second(second: i64) -> Timestamp {
        at(second * 1000)
    }

    fn frame(second: i64, assessment: Assessment) -> Observation {
        static PICTURE: LazyLock<Arc<Picture>> = LazyLock::new(|| grey(90));
        Observation { assessments: vec![assessment], ..observation("front-door", second * 1000, &PICTURE) }
    }

    fn hold() -> Option<Gate> {
        Some(Gate::Hold { seen: 1, frames: 2, of: 2 })
    }

    fn far() -> Assessment {
        assessment(0.1, Some(Gate::BelowThreshold))
    }

    /// The seconds at which frames are reported, as `reported@frame`.
    fn reported(frames: Vec<(i64, Assessment)>) -> String {
        let mut reports = Reports::default();
        let mut found = Vec::new();
        for (at, assessment) in frames {
            for report in reports.see(&frame(at, assessment)) {
                found.push(format!("{at}@{}", report.moment.captured.as_second() - START / 1000));
            }
        }
        found.join(" ")
    }

    #[test]
    fn a_near_miss_is_reported_once_and_not_if_it_is_raised() {
        let held = || assessment(0.9, hold());
        let near = || assessment(0.55, Some(Gate::BelowThreshold));
        let cases = [
            (
                "after ten seconds",
                vec![(0, held()), (1, far()), (9, far()), (10, far()), (60, far())],
                "10@0",
            ),
            ("raised soon", vec![(0, held()), (1, assessment(0.9, None)), (20, far())], ""),
            ("it lasts", vec![(0, held()), (10, held()), (100, held()), (700, held())], "10@0"),
            ("below the threshold", vec![(0, near()), (20, near()), (90, near())], ""),
            (
                "another one a minute later",
                vec![(0, held()), (1, far()), (10, far()), (70, held()), (80, far())],
                "10@0 80@70",
            ),
            (
                "raised in between, and again within the minute",
                vec![
                    (0, held()),
                    (10, held()),
                    (20, assessment(0.9, None)),
                    (21, held()),
                    (31, far()),
                    (90, far()),
                ],
                "10@0",
            ),
        ];
        for (name, frames, expected) in cases {
            assert_eq!(reported(frames), expected, "{name}");
        }
    }

    #[test]
    fn a_near_miss_that_no_frame_follows_is_reported() {
        let mut reports = Reports::default();
        assert_eq!(reports.see(&frame(0, assessment(0.9, hold()))), []);
        assert_eq!(reports.settle(second(9)), []);
        assert_eq!(reports.settle(second(10)).len(), 1);
        assert_eq!(reports.settle(second(700)), []);
        assert_eq!(reports.settle(second(9000)), []);
        assert!(reports.reported.is_empty(), "it is forgotten");
    }

    #[test]
    fn the_exact_payload() {
        let key = Key { source: "front-door".into(), label_set: "porch".into(), label: "person".into() };
        let report = |content| {
            let captured = "2026-11-23T08:15:30.125Z".parse().unwrap();
            let nearness = Nearness { held: true, share: 1.5 };
            Report { key: key.clone(), moment: Moment { captured, nearness, content } }.to_json()
        };
        let expected = concat!(
            r#"{"time":"2026-11-23T08:15:30.125Z","source":"front-door","region":null,"label_set":"porch","label":"person","#,
            r#""score":0.83,"threshold":0.6,"reason":"hold: 1 of 2 so far","#,
            r#""held_by":{"gate":"hold","seen":1,"frames":2,"of":2},"also_held_by":[],"passed":["threshold"]}"#,
        );
        assert_eq!(report(assessment(0.83, hold())), expected);
        let rule = Assessment {
            when: Some("person and not dog".into()),
            levels: None,
            ..assessment(f32::NAN, hold())
        };
        let json = report(rule);
        assert!(json.contains(r#""score":null,"threshold":null"#), "{json}");
        assert!(json.ends_with(r#","when":"person and not dog"}"#), "{json}");
    }
}
