//! From scores to alerts: the triggers of every label on every source, and what there is to tell when one changes.
//!
//! Pure: the caller brings the time and the identifiers. It refuses to keep or to send anything.

use std::{collections::HashMap, sync::Arc};

use jiff::Timestamp;
use uuid::Uuid;

use crate::{
    alert::{Alert, FrameInfo, State, Topics},
    classify::{Scored, SetScores},
    config::Config,
    trigger::{Transition, Trigger},
};

/// The triggers of every label on every source.
pub struct Judge {
    model: Arc<str>,
    topics: Topics,
    watched: HashMap<(String, String), Vec<Watched>>,
}

/// One label of one label set on one source.
struct Watched {
    label: Arc<str>,
    threshold: f32,
    trigger: Trigger,
}

impl Judge {
    /// Triggers that have seen nothing yet, for everything that `config` watches. `model` is the name that alerts give.
    #[must_use]
    pub fn new(config: &Config, model: &str) -> Self {
        let mut watched = HashMap::new();
        for (source, label_set) in config.watches() {
            let labels = label_set.labels.iter().map(|label| Watched {
                label: label.name.as_str().into(),
                threshold: label.rule.threshold,
                trigger: Trigger::new(label.rule),
            });
            watched.insert((source.name.clone(), label_set.name.clone()), labels.collect());
        }
        Self { model: model.into(), topics: Topics::new(&config.mqtt.prefix), watched }
    }

    /// What there is to tell after this frame, in the order of the label sets and their labels.
    pub fn judge(&mut self, scored: &Scored, now: Timestamp, mut id: impl FnMut() -> Uuid) -> Vec<Alert> {
        let mut alerts = Vec::new();
        for scores in &scored.sets {
            let key = (scored.frame.source.to_string(), scores.label_set.to_string());
            let labels = self.watched.get_mut(&key).map_or(&mut [][..], Vec::as_mut_slice);
            for index in 0..labels.len() {
                let Some((score, _)) = scores.best(index) else { continue };
                let transition = labels[index].trigger.update(score, scored.frame.captured_at);
                let Some(transition) = transition else { continue };
                let told = Told { model: &self.model, topics: &self.topics, labels, index, transition };
                alerts.extend(told.alert(scored, scores, now, id()));
            }
        }
        alerts
    }
}

/// A change that is to be told.
struct Told<'a> {
    model: &'a Arc<str>,
    topics: &'a Topics,
    labels: &'a [Watched],
    index: usize,
    transition: Transition,
}

impl Told<'_> {
    fn alert(&self, scored: &Scored, scores: &SetScores, now: Timestamp, id: Uuid) -> Option<Alert> {
        let (score, region) = scores.best(self.index)?;
        let frame = &scored.frame;
        let label = &self.labels[self.index];
        let named = self.labels.iter().map(|label| Arc::clone(&label.label));
        let (state, snapshot) = match self.transition {
            Transition::Raised => (State::Raised, Some(self.topics.snapshot(&frame.source))),
            Transition::Cleared => (State::Cleared, None),
        };
        Some(Alert {
            id,
            state,
            time: now,
            source: Arc::clone(&frame.source),
            region: region.region.clone(),
            label_set: Arc::clone(&scores.label_set),
            label: Arc::clone(&label.label),
            score,
            threshold: label.threshold,
            scores: named.zip(region.labels.iter().copied()).collect(),
            background: region.background,
            model: Arc::clone(self.model),
            frame: FrameInfo {
                origin: frame.origin.clone(),
                captured_at: frame.captured_at,
                width: frame.picture.width,
                height: frame.picture.height,
            },
            snapshot,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        classify::RegionScores,
        config::{
            After, Device, Existing, Folder, Hold, Label, LabelSet, ModelRef, Mqtt, Rule, Source, SourceKind,
        },
        frame::{Frame, Slot},
        picture::Picture,
    };

    fn label(name: &str, threshold: f32) -> Label {
        let hold = Hold { frames: 1, of: 1 };
        let rule = Rule { threshold, clear_below: threshold, hold, cooldown: Duration::ZERO };
        Label { name: name.to_owned(), prompts: vec![name.to_owned()], rule }
    }

    fn source(name: &str, watch: &[&str]) -> Source {
        let folder = Folder { path: name.into(), existing: Existing::Skip, after: After::Keep, poll: None };
        let watch = watch.iter().map(ToString::to_string).collect();
        Source { name: name.to_owned(), kind: SourceKind::Folder(folder), regions: Vec::new(), watch }
    }

    fn config() -> Config {
        let label_set = |name: &str, labels| LabelSet {
            name: name.to_owned(),
            template: "a photo of {}".to_owned(),
            background: vec!["an empty porch".to_owned()],
            labels,
        };
        Config {
            model: ModelRef::Bundled,
            device: Device::Cpu,
            threads: None,
            onnxruntime: None,
            mqtt: Mqtt {
                host: "localhost".to_owned(),
                port: 1883,
                tls: false,
                username: None,
                password: None,
                prefix: "home".to_owned(),
                client_id: "stakeout".to_owned(),
            },
            state_dir: "state".into(),
            max_pixels: 1_000_000,
            label_sets: vec![
                label_set("porch", vec![label("Person", 0.7), label("package", 0.6)]),
                label_set("yard", vec![label("fox", 0.5)]),
            ],
            sources: vec![source("Front Door", &["porch", "yard"]), source("back", &["porch"])],
        }
    }

    fn region(name: Option<&str>, labels: &[f32], background: f32) -> RegionScores {
        RegionScores { region: name.map(Into::into), labels: labels.to_vec(), background: Some(background) }
    }

    fn scored(source: &str, label_set: &str, regions: Vec<RegionScores>) -> Scored {
        let frame = Frame {
            source: source.into(),
            origin: "inbox/1.jpg".to_owned(),
            captured_at: "2026-11-23T08:00:00Z".parse().unwrap(),
            picture: Picture { width: 2, height: 1, rgb: vec![0; 6], transparent: None },
            slot: Slot::free(),
        };
        Scored { frame, sets: vec![SetScores { label_set: label_set.into(), regions }] }
    }

    fn told(judge: &mut Judge, scored: &Scored) -> Vec<Alert> {
        judge.judge(scored, "2026-11-23T08:00:01Z".parse().unwrap(), Uuid::nil)
    }

    #[test]
    fn a_raise_says_why_and_names_the_region_and_the_snapshot() {
        let mut judge = Judge::new(&config(), "bundled");
        let regions = vec![region(Some("step"), &[0.1, 0.8], 0.1), region(Some("gate"), &[0.3, 0.6], 0.1)];
        let alerts = told(&mut judge, &scored("Front Door", "porch", regions));

        let [alert] = &alerts[..] else { panic!("{alerts:?}") };
        assert_eq!(
            (alert.state, &*alert.label, alert.score, alert.threshold),
            (State::Raised, "package", 0.8, 0.6)
        );
        assert_eq!(alert.region.as_deref(), Some("step"));
        assert_eq!(alert.scores, [("Person".into(), 0.1), ("package".into(), 0.8)]);
        assert_eq!((alert.background, &*alert.model), (Some(0.1), "bundled"));
        assert_eq!(alert.snapshot.as_deref(), Some("home/front_door/snapshot"));
        assert_eq!((alert.frame.width, alert.frame.height, &*alert.frame.origin), (2, 1, "inbox/1.jpg"));
        assert_eq!(alert.time.to_string(), "2026-11-23T08:00:01Z");
    }

    #[test]
    fn each_source_and_each_label_set_has_triggers_of_its_own() {
        let mut judge = Judge::new(&config(), "bundled");
        let both = || vec![region(None, &[0.9, 0.9], 0.0)];
        let neither = || vec![region(None, &[0.1, 0.1], 0.8)];
        let mut states = |source: &str, label_set: &str, regions| {
            let alerts = told(&mut judge, &scored(source, label_set, regions));
            alerts.iter().map(|alert| format!("{} {}", alert.label, alert.state.word())).collect::<Vec<_>>()
        };
        assert_eq!(states("Front Door", "porch", both()), ["Person raised", "package raised"]);
        assert_eq!(states("Front Door", "porch", both()), Vec::<String>::new());
        assert_eq!(states("back", "porch", both()), ["Person raised", "package raised"]);
        assert_eq!(states("Front Door", "yard", vec![region(None, &[0.9], 0.0)]), ["fox raised"]);
        assert_eq!(states("Front Door", "porch", neither()), ["Person cleared", "package cleared"]);
    }

    #[test]
    fn a_cleared_alert_has_no_snapshot() {
        let mut judge = Judge::new(&config(), "bundled");
        told(&mut judge, &scored("back", "porch", vec![region(None, &[0.9, 0.0], 0.1)]));
        let alerts = told(&mut judge, &scored("back", "porch", vec![region(None, &[0.0, 0.0], 1.0)]));
        assert_eq!(
            alerts.iter().map(|alert| (alert.state, &alert.snapshot)).collect::<Vec<_>>(),
            [(State::Cleared, &None)]
        );
    }
}
