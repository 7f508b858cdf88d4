//! Rules over labels: whether their conditions are met, after all labels of a frame were judged.

use jiff::Timestamp;
use uuid::Uuid;

use super::{Evidence, Judge, Judged, Measured, Scene, Watched, watched::rule_score};
use crate::{classify::Scored, policy::LabelName};

impl Judge {
    /// Whether the condition of each rule on `source` was met on the newest frame, where that is known: label set, rule, answer.
    pub fn rules(&self, source: &str) -> impl Iterator<Item = (&str, &str, bool)> {
        self.of_source(source).flat_map(|(set, all)| {
            all.iter().filter_map(move |watched| Some((set, &*watched.label, watched.rule.as_ref()?.met?)))
        })
    }

    /// Judges the rules of each label set that was scored, in their order.
    pub(super) fn judge_rules(
        &mut self,
        scored: &Scored,
        now: Timestamp,
        id: &mut impl FnMut() -> Uuid,
        judged: &mut Judged,
    ) {
        let source = &*scored.frame.source;
        let place = self.places.get(source).cloned().unwrap_or_default();
        for scores in &scored.sets {
            let key = (source.to_owned(), scores.label_set.to_string());
            for index in 0..self.watched.get(&key).map_or(0, Vec::len) {
                let Some(rule) = &self.watched[&key][index].rule else { continue };
                let is_present = |name: &LabelName| self.label(source, name)?.presence.is_present();
                let met = rule.when.is_met(is_present);
                let gate = (met != Some(true)).then(|| rule.gate(is_present));
                let labels = rule.when.labels().into_iter();
                let label_scores =
                    labels.filter_map(|name| Some((rule.shown(name)?, self.score(scored, name)?))).collect();
                let scene = Scene { model: &self.model, topics: &self.topics, place: &place, scored, now };
                let Some(watched) = self.watched.get_mut(&key).and_then(|all| all.get_mut(index)) else {
                    continue;
                };
                if let Some(rule) = &mut watched.rule {
                    rule.met = met;
                }
                let score = rule_score(met);
                let (transition, checks) = watched.update(score, scored.frame.captured_at);
                let measured = Measured {
                    label_set: &scores.label_set,
                    score,
                    region: None,
                    levels: None,
                    baseline: None,
                };
                judged.assessments.push(watched.assess(&measured, (transition, checks), || gate));
                let Some(transition) = transition else { continue };
                let evidence = Evidence {
                    score: f32::NAN,
                    threshold: f32::NAN,
                    baseline: None,
                    region: None,
                    scores: label_scores,
                    background: None,
                };
                judged.alerts.push(scene.alert(&scores.label_set, watched, transition, evidence, id()));
            }
        }
    }

    /// A label on a source; `None` if it was removed after the frame was scored.
    fn label(&self, source: &str, name: &LabelName) -> Option<&Watched> {
        let labels = self.watched.get(&(source.to_owned(), name.label_set.clone()))?;
        labels.iter().find(|watched| *watched.label == *name.label && watched.rule.is_none())
    }

    /// The score of a label, as the alert of a rule shows it.
    fn score(&self, scored: &Scored, name: &LabelName) -> Option<f32> {
        let watched = self.label(&scored.frame.source, name)?;
        let scores = scored.sets.iter().find(|scores| *scores.label_set == *name.label_set)?;
        let (score, _) = scores.best_in(watched.index_in(scores, 0)?, &watched.settings.regions)?;
        Some(score)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use std::sync::Arc;

    use super::*;
    use crate::{
        alert::{Alert, State},
        classify::{RegionScores, SetScores},
        config::Config,
        frame::{Frame, Slot},
        judge::Reloaded,
        picture::Picture,
        policy::{AlertMessage, Condition, Hold, Label, LabelRule, Schedule, TriggerSettings},
        samples,
    };

    /// `back` watches `porch` (thresholds: Person 0.7, package 0.6) and `yard` (fox 0.5), and this rule in `porch`.
    fn config(when: &str) -> Config {
        let mut config = samples::config();
        config.sources.remove(0);
        config.sources[0].watch.push("yard".to_owned());
        let settings = Label { prompts: vec![], ..Label::new("stranger", TriggerSettings::at(0.5)) };
        config.label_sets[0].rules.push(LabelRule { settings, when: Condition::of("porch", when) });
        config
    }

    fn rule(config: &mut Config) -> &mut Label {
        &mut config.label_sets[0].rules[0].settings
    }

    fn judge(config: &Config) -> Judge {
        let mut judge = Judge::new("home", "bundled");
        reload(&mut judge, config);
        judge
    }

    fn reload(judge: &mut Judge, config: &Config) -> Reloaded {
        judge.reload(config, "2026-11-23T09:00:00Z".parse().unwrap(), Uuid::nil)
    }

    /// The alerts of a frame with these scores of Person, package and fox, `second` seconds after eight o'clock.
    fn judged(judge: &mut Judge, second: i64, [person, package, fox]: [f32; 3]) -> Vec<Alert> {
        let eight: Timestamp = "2026-11-23T08:00:00Z".parse().unwrap();
        let captured_at = eight + jiff::SignedDuration::from_secs(second);
        let frame = Frame {
            source: "back".into(),
            origin: "1.jpg".to_owned(),
            captured_at,
            picture: Picture::of_rgb(2, 1, vec![0; 6]).into(),
            slot: Slot::free(),
        };
        let set = |label_set: &str, labels: &[&str], scores: &[f32]| SetScores {
            label_set: label_set.into(),
            labels: labels.iter().map(|label| Arc::from(*label)).collect(),
            regions: vec![RegionScores { region: None, labels: scores.to_vec(), background: Some(0.1) }],
        };
        let sets =
            vec![set("porch", &["Person", "package"], &[person, package]), set("yard", &["fox"], &[fox])];
        judge.judge(&Scored { frame, sets, embeddings: vec![] }, captured_at, Uuid::nil).alerts
    }

    /// The alerts of the rule, one character for each frame: `R` raised, `C` cleared, `.` none.
    fn states(judge: &mut Judge, frames: &[[f32; 3]]) -> String {
        let mut letter = |(second, scores): (i64, &[f32; 3])| {
            let alerts = judged(judge, second, *scores);
            match alerts.iter().find(|alert| *alert.label == *"stranger").map(|alert| alert.state) {
                Some(State::Raised) => 'R',
                Some(State::Cleared) => 'C',
                None => '.',
            }
        };
        (0..).zip(frames).map(&mut letter).collect()
    }

    #[test]
    fn a_rule_alerts_under_its_own_name_and_gives_the_reason() {
        let mut config = config("Person and not yard/fox");
        rule(&mut config).message = AlertMessage::parse("{label} {state} on {source}").ok();
        let mut judge = judge(&config);
        assert_eq!(judged(&mut judge, 0, [0.1, 0.1, 0.1]), []);
        let alerts = judged(&mut judge, 1, [0.9, 0.1, 0.2]);
        let [person, stranger] = &alerts[..] else { panic!("{alerts:?}") };
        assert_eq!((&*person.label, person.when.as_deref()), ("Person", None));
        assert_eq!((&*stranger.label, &*stranger.label_set), ("stranger", "porch"));
        assert_eq!(stranger.when.as_deref(), Some("Person and not yard/fox"));
        assert_eq!(stranger.scores, [("Person".into(), 0.9), ("yard/fox".into(), 0.2)]);
        assert!(stranger.score.is_nan() && stranger.threshold.is_nan() && stranger.region.is_none());
        assert_eq!(stranger.message.as_deref(), Some("stranger raised on back"));
        assert_eq!(stranger.snapshot.as_deref(), Some("home/back/snapshot"));
        assert_eq!(judge.rules("back").collect::<Vec<_>>(), [("porch", "stranger", true)]);
        let alerts = judged(&mut judge, 2, [0.9, 0.1, 0.8]);
        assert_eq!(alerts.iter().map(|alert| &*alert.label).collect::<Vec<_>>(), ["fox", "stranger"]);
        assert_eq!((alerts[1].state, &alerts[1].snapshot), (State::Cleared, &None));
    }

    #[test]
    fn a_label_is_present_by_its_own_levels_frames_and_duration() {
        let [none, person, fox, both] = [[0.1, 0.1, 0.1], [0.9, 0.1, 0.1], [0.1, 0.1, 0.9], [0.9, 0.1, 0.9]];
        let near = [0.65, 0.1, 0.1];
        type Edit = fn(&mut Config);
        let cases: &[(&str, Edit, &[[f32; 3]], &str)] = &[
            ("met or not", |_| {}, &[none, person, both, person, fox], ".RCRC"),
            (
                "between its levels nothing changes",
                |config| config.label_sets[0].labels[0].trigger.clear_below = 0.5,
                &[near, person, near, none],
                ".R.C",
            ),
            (
                "the frames of a label count",
                |config| config.label_sets[0].labels[0].trigger.hold = Hold { frames: 2, of: 2 },
                &[none, person, none, person, person, none, none],
                "....R.C",
            ),
            (
                "an uncertain label is not absent",
                |config| config.label_sets[1].labels[0].trigger.hold = Hold { frames: 2, of: 3 },
                &[person, both, both, none],
                "....",
            ),
            (
                "the cooldown of a label does not count",
                |config| config.label_sets[0].labels[0].trigger.cooldown = std::time::Duration::from_secs(60),
                &[person, none, person],
                "RCR",
            ),
            (
                "its hours do not count",
                |config| config.label_sets[0].labels[0].active = Schedule::parse("22:00-06:00 UTC").ok(),
                &[person, none],
                "RC",
            ),
            (
                "its own frames",
                |config| rule(config).trigger.hold = Hold { frames: 2, of: 2 },
                &[person, person, none, none],
                ".R.C",
            ),
            (
                "its own cooldown",
                |config| rule(config).trigger.cooldown = std::time::Duration::from_secs(3),
                &[person, none, person, person],
                "RC.R",
            ),
            (
                "its own duration",
                |config| rule(config).trigger.lasting = std::time::Duration::from_secs(2),
                &[person, person, person, none],
                "..RC",
            ),
            (
                "its own hours",
                |config| rule(config).active = Schedule::parse("22:00-06:00 UTC").ok(),
                &[person, none],
                "..",
            ),
        ];
        for (name, edit, frames, expected) in cases {
            let mut config = config("Person and not yard/fox");
            edit(&mut config);
            assert_eq!(states(&mut judge(&config), frames), *expected, "{name}");
        }
    }

    #[test]
    fn a_source_can_have_other_settings_of_a_rule_and_of_its_labels() {
        let mut config = config("Person");
        let slow = Label {
            trigger: TriggerSettings { hold: Hold { frames: 2, of: 2 }, ..TriggerSettings::at(0.5) },
            ..rule(&mut config).clone()
        };
        let strict = Label { trigger: TriggerSettings::at(0.95), ..config.label_sets[0].labels[0].clone() };
        config.sources[0].adjusted = vec![("porch".to_owned(), slow), ("porch".to_owned(), strict)];
        let frames = [0.9, 0.96, 0.96, 0.1, 0.1].map(|person| [person, 0.1, 0.1]);
        assert_eq!(states(&mut judge(&config), &frames), "..R.C");
    }

    #[test]
    fn a_restart_and_a_change_of_its_labels_do_not_disturb_it() {
        let mut config = config("Person and not yard/fox");
        let mut before = judge(&config);
        let raised = judged(&mut before, 0, [0.9, 0.1, 0.1]);
        assert_eq!(raised.len(), 2);
        let marks = raised.iter().map(|alert| Alert::from_json(&alert.to_json()).unwrap());

        config.label_sets[1].labels[0].trigger.hold = Hold { frames: 2, of: 2 };
        let mut judge = Judge::new("home", "bundled");
        judge.restore(marks.map(|alert| (true, alert)));
        let first = reload(&mut judge, &config);
        assert!(first.raised.contains(&"home/back/porch/stranger/state".to_owned()), "{first:?}");
        assert_eq!(
            states(&mut judge, &[[0.9, 0.1, 0.9], [0.9, 0.1, 0.1]]),
            "..",
            "whether the fox is present is unknown"
        );

        config.label_sets[0].labels[0].trigger.threshold = 0.8;
        config.label_sets[0].labels[0].prompts.push("somebody".to_owned());
        let after = reload(&mut judge, &config);
        assert_eq!((after.cleared, after.added), (vec![], vec![]));
        assert_eq!(states(&mut judge, &[[0.9, 0.1, 0.1], [0.1, 0.1, 0.1]]), ".C");
    }

    #[test]
    fn another_condition_takes_effect_and_a_removed_rule_is_cleared() {
        let mut config = config("Person");
        rule(&mut config).trigger.hold = Hold { frames: 2, of: 2 };
        let mut judge = judge(&config);
        assert_eq!(states(&mut judge, &[[0.9, 0.9, 0.1]]), ".");
        config.label_sets[0].rules[0].when = Condition::of("porch", "package");
        reload(&mut judge, &config);
        assert_eq!(
            states(&mut judge, &[[0.9, 0.9, 0.1]; 2]),
            ".R",
            "frames of the old condition do not count"
        );
        let removed = config.label_sets[0].rules.pop().unwrap();
        let after = reload(&mut judge, &config);
        assert_eq!(after.removed, ["home/back/porch/stranger/state"]);
        assert_eq!(after.cleared.iter().map(|alert| &*alert.label).collect::<Vec<_>>(), ["stranger"]);
        config.label_sets[0].rules.push(removed);
        assert_eq!(reload(&mut judge, &config).added, ["home/back/porch/stranger/state"]);
    }

    proptest! {
        /// When each label needs one frame, a rule is raised exactly while its condition is met.
        #[test]
        fn a_plain_rule_follows_every_frame(frames in prop::collection::vec([0.0f32..1.0, 0.0f32..1.0, 0.0f32..1.0], 1..60)) {
            let config = config("(Person or package) and not yard/fox");
            let mut judge = judge(&config);
            let mut raised = false;
            for (second, scores) in (0..).zip(frames) {
                let met = (scores[0] >= 0.7 || scores[1] >= 0.6) && scores[2] < 0.5;
                let alerts = judged(&mut judge, second, scores);
                let of_rule: Vec<_> = alerts.iter().filter(|alert| *alert.label == *"stranger").collect();
                prop_assert_eq!(of_rule.len(), usize::from(met != raised));
                prop_assert!(of_rule.iter().all(|alert| (alert.state == State::Raised) == met));
                raised = met;
            }
        }
    }
}
