//! Every score of a frame, for those who want to see more than alerts: what `<source>/<label_set>/scores` says, and how
//! often.
//!
//! Pure: the caller brings the time. It refuses to keep anything that was not told: the next frame tells something newer.

use std::{collections::HashMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use serde_json::json;

use crate::alert::{instant, with_background};

/// At most one message of a label set on a source in this time.
const PAUSE: Duration = Duration::from_secs(1);

/// What one label set says of one frame.
#[derive(Debug, Clone, PartialEq)]
pub struct Scores {
    /// When the frame was captured.
    pub time: Timestamp,
    /// The name of the source, as typed.
    pub source: Arc<str>,
    /// The name of the label set, as typed.
    pub label_set: Arc<str>,
    /// The region that the highest of the scores stands in; `None` is the whole frame.
    pub region: Option<Arc<str>>,
    /// Every label with the score that its trigger sees, the highest of its regions; in the order typed.
    pub scores: Vec<(Arc<str>, f32)>,
    /// What the background prompts got in that region, where the set has any.
    pub background: Option<f32>,
}

impl Scores {
    /// The published payload: one line of JSON, its keys in this order.
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

/// Decides whose turn it is.
#[derive(Debug, Default)]
pub struct Limiter {
    told: HashMap<(Arc<str>, Arc<str>), Timestamp>,
}

impl Limiter {
    /// Whether this label set on this source may tell its scores `now`; if so, it is taken as done. A clock that was
    /// put back silences nobody.
    pub fn allows(&mut self, source: &Arc<str>, label_set: &Arc<str>, now: Timestamp) -> bool {
        let key = (Arc::clone(source), Arc::clone(label_set));
        let soon = |last: &Timestamp| *last <= now && now.duration_since(*last).unsigned_abs() < PAUSE;
        // The one place where scores are left out for coming too fast; nobody misses them.
        if self.told.get(&key).is_some_and(soon) {
            return false;
        }
        self.told.insert(key, now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_to_the_letter() {
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
        let told = [0, 1, 500, 999, 1000, 1999, 2500].map(|at| allows("door", "porch", at));
        assert_eq!(told, [true, false, false, false, true, false, true]);
        assert!(allows("door", "yard", 2501) && allows("back", "porch", 2501), "each has its own second");
        assert!(allows("door", "porch", -60_000), "the clock was put back");
        assert!(!allows("door", "porch", -59_500) && allows("door", "porch", -59_000));
    }
}
