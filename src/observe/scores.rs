//! The subscriber that publishes the scores of sources with `scores: true` at `<source>/<label_set>/scores`.
//!
//! Scores are published at most once a second for each label set on a source. They are not kept for later: the next frame
//! has newer ones.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use serde_json::json;

use super::{Observation, Subscription};
use crate::{
    alert::{Topics, instant, publisher::ScoreSender, with_background},
    classify::SetScores,
    config::Config,
};

/// The least time between two messages of a label set on a source.
const PAUSE: Duration = Duration::from_secs(1);

/// The scores of one label set on one frame.
#[derive(Debug, Clone, PartialEq)]
pub struct Scores {
    /// When the frame was captured.
    pub time: Timestamp,
    /// The name of the source, as in the configuration.
    pub source: Arc<str>,
    /// The name of the label set, as in the configuration.
    pub label_set: Arc<str>,
    /// The region with the highest of the scores; `None` is the whole frame.
    pub region: Option<Arc<str>>,
    /// Each label with the score that its trigger receives, the highest of its regions; in the order of the label set.
    pub scores: Vec<(Arc<str>, f32)>,
    /// The score of the background prompts in that region, where the set has any.
    pub background: Option<f32>,
}

impl Scores {
    /// The scores of `set` on the frame of `observation`.
    #[must_use]
    pub fn of(observation: &Observation, set: &SetScores) -> Self {
        let best: Vec<_> = (0..set.labels.len()).filter_map(|label| set.best(label)).collect();
        let highest = best.iter().reduce(|highest, it| if it.0 > highest.0 { it } else { highest });
        let region = highest.map(|(_, region)| *region);
        Self {
            time: observation.captured_at,
            source: Arc::clone(&observation.source),
            label_set: Arc::clone(&set.label_set),
            region: region.and_then(|region| region.region.clone()),
            scores: set.labels.iter().cloned().zip(best.iter().map(|(score, _)| *score)).collect(),
            background: region.and_then(|region| region.background),
        }
    }

    /// The published payload: one line of JSON with its keys in this order.
    #[must_use]
    pub fn to_json(&self) -> String {
        json!({
            "time": instant(self.time),
            "source": &*self.source,
            "label_set": &*self.label_set,
            "region": self.region.as_deref(),
            "scores": with_background(&self.scores, self.background),
        })
        .to_string()
    }
}

/// Publishes scores until the judge ends.
pub struct ScorePublisher {
    topics: Topics,
    sink: ScoreSender,
    limiter: Limiter,
}

impl ScorePublisher {
    /// Hands messages to `sink`, which drops and counts what the broker connection has no room for.
    #[must_use]
    pub fn new(config: &Config, sink: ScoreSender) -> Self {
        Self { topics: Topics::of(config), sink, limiter: Limiter::default() }
    }

    /// Publishes what `subscription` brings.
    pub async fn run(mut self, mut subscription: Subscription) {
        let mut sources = with_scores(&subscription.config.borrow_and_update());
        while let Some(observation) = subscription.observations.recv().await {
            if subscription.config.has_changed().unwrap_or(false) {
                let config = subscription.config.borrow_and_update();
                (self.topics, sources) = (Topics::of(&config), with_scores(&config));
            }
            if sources.contains(&*observation.source) {
                self.publish(&observation);
            }
        }
    }

    fn publish(&mut self, observation: &Observation) {
        for set in &observation.sets {
            if self.limiter.allows(&observation.source, &set.label_set, observation.judged_at) {
                let topic = self.topics.scores(&observation.source, &set.label_set);
                self.sink.send(topic, Scores::of(observation, set).to_json());
            }
        }
    }
}

/// The names of the sources whose scores are published.
fn with_scores(config: &Config) -> HashSet<String> {
    config.sources.iter().filter(|source| source.scores).map(|source| source.name.clone()).collect()
}

/// Limits the rate of each label set on each source. Pure: the caller passes the time.
#[derive(Debug, Default)]
pub struct Limiter {
    published: HashMap<(Arc<str>, Arc<str>), Timestamp>,
}

impl Limiter {
    /// Whether this label set on this source may publish `now`; if so, that is recorded. A clock that was set back does not
    /// suppress messages.
    pub fn allows(&mut self, source: &Arc<str>, label_set: &Arc<str>, now: Timestamp) -> bool {
        let key = (Arc::clone(source), Arc::clone(label_set));
        let recent = |last: &Timestamp| *last <= now && now.duration_since(*last).unsigned_abs() < PAUSE;
        if self.published.get(&key).is_some_and(recent) {
            return false;
        }
        self.published.insert(key, now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{classify::RegionScores, observe::tests::observation};

    #[test]
    fn the_exact_payload() {
        let scores = Scores {
            time: "2026-11-23T08:15:30.125Z".parse().unwrap(),
            source: "Front Door".into(),
            label_set: "porch".into(),
            region: None,
            scores: vec![("package".into(), 0.83), ("person".into(), f32::NAN)],
            background: Some(0.15),
        };
        let expected = concat!(
            r#"{"time":"2026-11-23T08:15:30.125Z","source":"Front Door","label_set":"porch","region":null,"#,
            r#""scores":{"package":0.83,"person":null,"background":0.15}}"#,
        );
        assert_eq!(scores.to_json(), expected);
        let step = Scores { region: Some("step".into()), background: None, ..scores };
        assert!(step.to_json().ends_with(r#""region":"step","scores":{"package":0.83,"person":null}}"#));
    }

    #[test]
    fn once_a_second_for_each_source_and_label_set() {
        let mut limiter = Limiter::default();
        let mut allows = |source: &str, label_set: &str, millisecond: i64| {
            let now = Timestamp::from_millisecond(1_800_000_000_000 + millisecond).unwrap();
            limiter.allows(&source.into(), &label_set.into(), now)
        };
        let allowed = [0, 1, 500, 999, 1000, 1999, 2500].map(|at| allows("door", "porch", at));
        assert_eq!(allowed, [true, false, false, false, true, false, true]);
        assert!(allows("door", "yard", 2501) && allows("back", "porch", 2501), "each has its own limit");
        assert!(allows("door", "porch", -60_000), "the clock was set back");
        assert!(!allows("door", "porch", -59_500) && allows("door", "porch", -59_000));
    }

    #[test]
    fn each_label_has_the_score_that_its_trigger_receives() {
        let region = |name: &str, labels: [f32; 2], background| RegionScores {
            region: Some(name.into()),
            labels: labels.to_vec(),
            background: Some(background),
        };
        let set = SetScores {
            label_set: "porch".into(),
            labels: ["person".into(), "package".into()].into(),
            regions: vec![region("step", [0.1, 0.8], 0.1), region("gate", [0.3, 0.6], 0.2)],
        };
        let scores = Scores::of(&observation("1.jpg"), &set);
        assert_eq!(scores.scores, [("person".into(), 0.3), ("package".into(), 0.8)]);
        assert_eq!((scores.region.as_deref(), scores.background), (Some("step"), Some(0.1)));
    }
}
