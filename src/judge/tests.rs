use std::time::Duration;

use super::*;
use crate::{
    classify::{RegionScores, SetScores},
    frame::{Frame, Slot},
    picture::Picture,
    policy::{AlertMessage, Condition, Label, LabelRule, Schedule, Severity, TriggerSettings},
    samples::{config, label},
    trigger::GateKind,
};

fn region(name: Option<&str>, labels: &[f32], background: f32) -> RegionScores {
    RegionScores { region: name.map(Into::into), labels: labels.to_vec(), background: Some(background) }
}

/// With the labels that the set has at first.
fn scored(source: &str, label_set: &str, regions: Vec<RegionScores>) -> Scored {
    let labels: &[&str] = if label_set == "porch" { &["Person", "package"] } else { &["fox"] };
    scored_as(source, label_set, labels, regions)
}

fn scored_as(source: &str, label_set: &str, labels: &[&str], regions: Vec<RegionScores>) -> Scored {
    let frame = Frame {
        source: source.into(),
        origin: "inbox/1.jpg".to_owned(),
        captured_at: "2026-11-23T08:00:00Z".parse().unwrap(),
        picture: Picture::of_rgb(2, 1, vec![0; 6]).into(),
        slot: Slot::free(),
    };
    let labels = labels.iter().map(|label| Arc::from(*label)).collect();
    Scored {
        frame,
        sets: vec![SetScores { label_set: label_set.into(), labels, regions }],
        embeddings: vec![],
    }
}

fn judge() -> Judge {
    let mut judge = Judge::new("home", "bundled");
    reload(&mut judge, &config());
    judge
}

fn reload(judge: &mut Judge, config: &Config) -> Reloaded {
    judge.reload(config, "2026-11-23T09:00:00Z".parse().unwrap(), Uuid::nil)
}

fn judged(judge: &mut Judge, scored: &Scored) -> Vec<Alert> {
    judge.judge(scored, "2026-11-23T08:00:01Z".parse().unwrap(), Uuid::nil).alerts
}

#[test]
fn a_raised_alert_gives_the_scores_the_region_and_the_snapshot() {
    let mut judge = judge();
    let regions = vec![region(Some("step"), &[0.1, 0.8], 0.1), region(Some("gate"), &[0.3, 0.6], 0.1)];
    let alerts = judged(&mut judge, &scored("Front Door", "porch", regions));

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
fn an_alert_says_where_it_comes_from() {
    let mut judge = judge();
    let mut config = config();
    config.instance = "gate-pi".to_owned();
    config.sources[0].area = Some("Yard".to_owned());
    config.sources[0].location = Some("mast 3".to_owned());
    reload(&mut judge, &config);
    let of = |judge: &mut Judge, source: &str| {
        judged(judge, &scored(source, "porch", vec![region(None, &[0.1, 0.8], 0.1)])).remove(0).place
    };
    let expected = Place {
        instance: Some("gate-pi".into()),
        area: Some("Yard".into()),
        location: Some("mast 3".into()),
    };
    assert_eq!(of(&mut judge, "Front Door"), expected);
    assert_eq!(of(&mut judge, "back"), Place { area: None, location: None, ..expected.clone() });

    let new = Source { name: "new".to_owned(), ..config.sources[0].clone() };
    config.sources.push(new.clone());
    judge.add(&config, &new, None, "2026-11-23T09:00:00Z".parse().unwrap(), Uuid::nil);
    assert_eq!(of(&mut judge, "new"), expected, "a dynamic source is where its source is");
}

#[test]
fn a_label_can_have_other_settings_on_a_source() {
    let mut config = config();
    let strict = Label {
        severity: Some(Severity::Critical),
        regions: vec!["step".to_owned()],
        ..label("package", 0.9)
    };
    config.sources[1].adjusted.push(("porch".to_owned(), strict));
    let mut judge = Judge::new("home", "bundled");
    reload(&mut judge, &config);
    let mut then = |source: &str, step: f32, gate: f32| {
        let regions = vec![region(Some("step"), &[0.0, step], 0.0), region(Some("gate"), &[0.0, gate], 0.0)];
        let alerts = judged(&mut judge, &scored(source, "porch", regions));
        alerts
            .first()
            .map(|alert| (alert.threshold, alert.severity, alert.region.as_deref().map(str::to_owned)))
    };
    assert_eq!(then("back", 0.8, 0.95), None, "not in its region");
    assert_eq!(then("back", 0.92, 0.95), Some((0.9, Some(Severity::Critical), Some("step".to_owned()))));
    assert_eq!(
        then("Front Door", 0.0, 0.7),
        Some((0.6, None, Some("gate".to_owned()))),
        "with the settings of the set"
    );
}

#[test]
fn outside_its_hours_a_label_is_cleared_and_not_raised() {
    let mut config = config();
    let hours = |text: &str| Schedule::parse(text).ok();
    // The frames are captured at 8:00.
    let asleep = Label { active: hours("22:00-06:00 UTC"), ..label("Person", 0.7) };
    config.label_sets[0].labels[0] = label("Person", 0.7);
    let mut judge = Judge::new("home", "bundled");
    reload(&mut judge, &config);
    let then = |judge: &mut Judge, score: f32| {
        states(&judged(judge, &scored("back", "porch", vec![region(None, &[score, 0.0], 0.0)])))
    };
    assert_eq!(then(&mut judge, 0.9), ["Person raised"]);
    config.label_sets[0].labels[0] = asleep;
    reload(&mut judge, &config);
    assert_eq!(then(&mut judge, 0.9), Vec::<String>::new());
    assert_eq!(then(&mut judge, 0.1), ["Person cleared"]);
    assert_eq!(then(&mut judge, 0.9), Vec::<String>::new());
    config.label_sets[0].labels[0].active = hours("06:00-22:00 UTC");
    reload(&mut judge, &config);
    assert_eq!(then(&mut judge, 0.9), ["Person raised"]);
}

#[test]
fn a_snoozed_label_is_cleared_and_not_raised_until_its_end() {
    let mut config = config();
    let mut judge = Judge::new("home", "bundled");
    // The frames are captured at 8:00.
    let mut then = |until: Option<&str>, score: f32| {
        let until = until.map(|until| format!("2026-11-23T{until}Z").parse().unwrap());
        config.label_sets[0].labels[0].silence.snoozed_until = until;
        reload(&mut judge, &config);
        let scored = scored("back", "porch", vec![region(None, &[score, 0.0], 0.0)]);
        let Judged { alerts, assessments } =
            judge.judge(&scored, "2026-11-23T08:00:01Z".parse().unwrap(), Uuid::nil);
        let person = &assessments[0];
        let held =
            person.held_by.clone().map(|gate| (gate.kind(), person.passed.contains(GateKind::Threshold)));
        (states(&alerts), held)
    };
    let none = Vec::<String>::new();
    assert_eq!(then(None, 0.9), (vec!["Person raised".to_owned()], None));
    assert_eq!(then(Some("08:30:00"), 0.9), (none.clone(), None), "it stays raised");
    assert_eq!(then(Some("08:30:00"), 0.1).0, ["Person cleared"]);
    assert_eq!(then(Some("08:30:00"), 0.9), (none.clone(), Some((GateKind::Snooze, true))));
    assert_eq!(then(Some("08:30:00"), 0.1), (none, Some((GateKind::Threshold, false))));
    assert_eq!(then(Some("08:00:00"), 0.9).0, ["Person raised"], "it has ended");
}

#[test]
fn a_label_that_is_switched_off_is_cleared_and_not_judged() {
    let mut config = config();
    let message = AlertMessage::parse("{label} {state}").ok();
    config.label_sets[0].labels[0].message = message;
    let mut judge = Judge::new("home", "bundled");
    reload(&mut judge, &config);
    let high = || scored("back", "porch", vec![region(None, &[0.9, 0.9], 0.0)]);
    assert_eq!(states(&judged(&mut judge, &high())), ["Person raised", "package raised"]);

    config.label_sets[0].labels[0].silence.disabled = true;
    let after = reload(&mut judge, &config);
    let [cleared] = &after.cleared[..] else { panic!("{after:?}") };
    assert_eq!(
        (&*cleared.label, cleared.state, cleared.reason),
        ("Person", State::Cleared, Some(ClearReason::Disabled))
    );
    assert_eq!((cleared.message.as_deref(), &cleared.snapshot), (Some("Person cleared"), &None));
    assert_eq!((&after.removed, &after.added), (&vec![], &vec![]), "its state is published as before");
    assert_eq!(reload(&mut judge, &config), Reloaded::default(), "cleared once");

    let Judged { alerts, assessments } =
        judge.judge(&high(), "2026-11-23T08:00:01Z".parse().unwrap(), Uuid::nil);
    assert_eq!((alerts, &assessments[0].held_by), (vec![], &Some(Gate::Disabled)));

    config.sources[1].enabled = false;
    let after = reload(&mut judge, &config);
    assert_eq!(after.cleared.iter().map(|alert| &*alert.label).collect::<Vec<_>>(), ["package"]);
    assert_eq!(judged(&mut judge, &high()), [], "a frame that was in flight");

    config.sources[1].enabled = true;
    config.label_sets[0].labels[0].silence.disabled = false;
    reload(&mut judge, &config);
    assert_eq!(states(&judged(&mut judge, &high())), ["Person raised", "package raised"]);
}

#[test]
fn a_label_that_is_switched_off_counts_in_the_conditions_of_rules() {
    let mut config = config();
    let settings = Label { prompts: vec![], ..label("visitor", 0.5) };
    config.label_sets[0].rules.push(LabelRule { settings, when: Condition::of("porch", "Person") });
    config.label_sets[0].labels[0].silence.disabled = true;
    let mut judge = Judge::new("home", "bundled");
    reload(&mut judge, &config);
    let high = scored("back", "porch", vec![region(None, &[0.9, 0.0], 0.0)]);
    assert_eq!(states(&judged(&mut judge, &high)), ["visitor raised"]);
}

#[test]
fn a_label_from_before_a_restart_that_is_switched_off_now_is_cleared() {
    let mut before = judge();
    let raised = judged(&mut before, &scored("back", "porch", vec![region(None, &[0.9, 0.0], 0.1)]));
    let mut config = config();
    config.sources[1].enabled = false;
    let mut judge = Judge::new("home", "bundled");
    judge.restore([(true, raised[0].clone())]);
    let first = reload(&mut judge, &config);
    assert_eq!((first.cleared.len(), first.raised.len(), first.added.len()), (1, 0, 5));
}

#[test]
fn a_message_is_about_its_alert() {
    let mut config = config();
    let message = AlertMessage::parse("{label} {state} on {source}: {percent} %").ok();
    config.label_sets[0].labels[0].message = message;
    let mut judge = Judge::new("home", "bundled");
    reload(&mut judge, &config);
    let alerts = judged(&mut judge, &scored("back", "porch", vec![region(None, &[0.9, 0.0], 0.0)]));
    assert_eq!(alerts[0].message.as_deref(), Some("Person raised on back: 90 %"));
    config.sources.pop();
    let after = reload(&mut judge, &config);
    assert_eq!(after.cleared[0].message.as_deref(), Some("Person cleared on back: 90 %"));
}

#[test]
fn each_source_and_each_label_set_has_triggers_of_its_own() {
    let mut judge = judge();
    let both = || vec![region(None, &[0.9, 0.9], 0.0)];
    let neither = || vec![region(None, &[0.1, 0.1], 0.8)];
    let mut states = |source: &str, label_set: &str, regions| {
        let alerts = judged(&mut judge, &scored(source, label_set, regions));
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
    let mut judge = judge();
    judged(&mut judge, &scored("back", "porch", vec![region(None, &[0.9, 0.0], 0.1)]));
    let alerts = judged(&mut judge, &scored("back", "porch", vec![region(None, &[0.0, 0.0], 1.0)]));
    assert_eq!(
        alerts.iter().map(|alert| (alert.state, &alert.snapshot)).collect::<Vec<_>>(),
        [(State::Cleared, &None)]
    );
}

#[test]
fn the_state_of_labels_survives_a_restart() {
    let mut before = judge();
    let raised = judged(&mut before, &scored("back", "porch", vec![region(None, &[0.9, 0.8], 0.1)]));
    let [person, package] = &raised[..] else { panic!("{raised:?}") };

    let mut judge = Judge::new("home", "bundled");
    judge.restore([(true, person.clone()), (false, package.clone())]);
    let first = reload(&mut judge, &config());
    assert_eq!((first.raised, first.added.len()), (vec!["home/back/porch/person/state".to_owned()], 4));
    assert_eq!((first.cleared, first.removed), (vec![], vec![]));
    assert_eq!(reload(&mut judge, &config()), Reloaded::default(), "only the first reload reports them");
    let mut then = |scores: &[f32]| {
        states(&judged(&mut judge, &scored("back", "porch", vec![region(None, scores, 0.0)])))
    };
    assert_eq!(then(&[0.9, 0.9]), ["package raised"]);
    assert_eq!(then(&[0.1, 0.9]), ["Person cleared"]);
}

#[test]
fn a_label_removed_during_a_restart_is_cleared() {
    let mut before = judge();
    let raised = judged(&mut before, &scored("back", "porch", vec![region(None, &[0.9, 0.8], 0.1)]));
    let mut fewer = config();
    fewer.sources.pop();
    let mut judge = Judge::new("home", "bundled");
    judge.restore([(true, raised[0].clone()), (false, raised[1].clone())]);
    let first = reload(&mut judge, &fewer);
    assert_eq!(states(&first.cleared), ["Person cleared"]);
    assert_eq!(first.removed, ["home/back/porch/person/state", "home/back/porch/package/state"]);
}

fn states(alerts: &[Alert]) -> Vec<String> {
    alerts.iter().map(|alert| format!("{} {}", alert.label, alert.state.word())).collect()
}

#[test]
fn the_first_configuration_adds_every_state_topic() {
    let mut judge = Judge::new("home", "bundled");
    let first = reload(&mut judge, &config());
    let topics = |names: &[&str]| names.iter().map(|name| format!("home/{name}/state")).collect::<Vec<_>>();
    assert_eq!(
        first.added,
        topics(&[
            "front_door/porch/person",
            "front_door/porch/package",
            "front_door/yard/fox",
            "back/porch/person",
            "back/porch/package"
        ])
    );
    assert_eq!((first.cleared, first.removed), (vec![], vec![]));
    assert_eq!(reload(&mut judge, &config()), Reloaded::default(), "the same again");
}

#[test]
fn a_raised_label_stays_raised_while_other_things_change() {
    let mut judge = judge();
    judged(&mut judge, &scored("back", "porch", vec![region(None, &[0.9, 0.0], 0.1)]));
    let mut changed = config();
    changed.label_sets[0].labels.insert(0, label("cat", 0.5));
    changed.label_sets[0].labels[1].prompts.push("somebody".to_owned());
    changed.label_sets[0].labels[1].trigger.threshold = 0.8;
    changed.label_sets[0].labels[1].trigger.clear_below = 0.8;
    changed.sources.remove(0);
    let after = reload(&mut judge, &changed);
    assert_eq!((after.cleared, after.added), (vec![], vec!["home/back/porch/cat/state".to_owned()]));
    assert_eq!(after.removed.len(), 3, "the topics of the other source: {:?}", after.removed);

    let labels = ["cat", "Person", "package"];
    let mut then = |scores: &[f32]| {
        let regions = vec![region(None, scores, 0.0)];
        states(&judged(&mut judge, &scored_as("back", "porch", &labels, regions)))
    };
    assert_eq!(then(&[0.9, 0.9, 0.0]), ["cat raised"]);
    assert_eq!(then(&[0.9, 0.75, 0.0]), ["Person cleared"], "at its new level");
}

#[test]
fn a_label_that_is_removed_while_it_is_raised_is_cleared() {
    let mut judge = judge();
    let raised = judged(&mut judge, &scored("back", "porch", vec![region(None, &[0.9, 0.8], 0.1)]));
    let mut fewer = config();
    fewer.label_sets[0].labels.pop();
    let after = reload(&mut judge, &fewer);
    assert_eq!(after.removed, ["home/front_door/porch/package/state", "home/back/porch/package/state"]);
    let [cleared] = &after.cleared[..] else { panic!("{after:?}") };
    assert_eq!((cleared.state, &*cleared.label, &cleared.snapshot), (State::Cleared, "package", &None));
    assert_eq!(cleared.time.to_string(), "2026-11-23T09:00:00Z");
    assert_eq!((&cleared.frame, cleared.score), (&raised[1].frame, 0.8));

    fewer.sources.pop();
    let after = reload(&mut judge, &fewer);
    assert_eq!(states(&after.cleared), ["Person cleared"], "its source was removed");
    fewer.sources[0].watch.clear();
    assert_eq!(reload(&mut judge, &fewer).cleared, [], "it was not raised");
}

#[test]
fn another_spelling_of_a_name_is_removed_and_added() {
    let mut judge = judge();
    let mut renamed = config();
    renamed.label_sets[1].labels[0].name = "Fox".to_owned();
    let after = reload(&mut judge, &renamed);
    assert_eq!(after.removed, ["home/front_door/yard/fox/state"]);
    assert_eq!(after.added, after.removed);
}

#[test]
fn scores_from_before_a_change_are_matched_by_name() {
    let mut judge = judge();
    let mut changed = config();
    changed.label_sets[0].labels = vec![label("cat", 0.5), label("package", 0.5)];
    reload(&mut judge, &changed);
    // `Person` has the index of `cat`, and is no longer watched.
    let alerts = judged(&mut judge, &scored("back", "porch", vec![region(None, &[0.9, 0.8], 0.0)]));
    assert_eq!(states(&alerts), ["package raised"]);
    assert_eq!(
        alerts[0].scores,
        [("Person".into(), 0.9), ("package".into(), 0.8)],
        "the labels that were scored"
    );
    let gone = scored_as("elsewhere", "porch", &["cat"], vec![region(None, &[0.9], 0.0)]);
    assert_eq!(judged(&mut judge, &gone), []);
}

/// The sources keep baselines, and `package` on them rises.
fn rising() -> Config {
    let mut config = config();
    config.sources.iter_mut().for_each(|source| source.baseline = Some(Duration::from_secs(600)));
    config.label_sets[0].labels[1].trigger =
        TriggerSettings { rises: true, clear_below: 0.1, ..TriggerSettings::at(0.2) };
    config
}

/// A frame of `back` at this second, on which `package` has this score.
fn at(judge: &mut Judge, second: i64, score: f32) -> Vec<Alert> {
    let mut scored = scored("back", "porch", vec![region(None, &[0.0, score], 0.0)]);
    scored.frame.captured_at += SignedDuration::from_secs(second);
    judged(judge, &scored)
}

/// Two minutes of quiet frames with this score.
fn quiet(judge: &mut Judge, score: f32) {
    (0..=120).for_each(|second| assert_eq!(at(judge, second, score), []));
}

#[test]
fn an_alert_of_a_rise_gives_the_baseline_and_the_threshold() {
    let mut judge = Judge::new("home", "bundled");
    reload(&mut judge, &rising());
    quiet(&mut judge, 0.5);
    assert_eq!(at(&mut judge, 121, 0.69), []);
    let alerts = at(&mut judge, 122, 0.75);
    let [raised] = &alerts[..] else { panic!("{alerts:?}") };
    let near = |number: Option<f32>, expected: f32| (number.unwrap() - expected).abs() < 0.01;
    assert!(near(Some(raised.threshold), 0.7) && near(raised.baseline, 0.5), "{raised:?}");
    let moving: Vec<_> = judge.moving_levels("back").collect();
    assert_eq!((moving.len(), moving[0].0, moving[0].1), (1, "porch", "package"));
    assert_eq!(moving[0].2.threshold, raised.threshold);
    assert_eq!(judge.moving_levels("Front Door").count(), 0, "no baseline is known on it");
    let cleared = at(&mut judge, 123, 0.5);
    assert_eq!((cleared[0].state, cleared[0].baseline), (State::Cleared, raised.baseline));
}

#[test]
fn a_rule_over_a_label_that_rises_is_met_by_the_rise() {
    let mut config = rising();
    let settings = Label { prompts: vec![], ..label("delivery", 0.5) };
    let when = Condition::of("porch", "package and not Person");
    config.label_sets[0].rules.push(LabelRule { settings, when });
    let mut judge = Judge::new("home", "bundled");
    reload(&mut judge, &config);
    assert_eq!(at(&mut judge, -200, 0.9), [], "its baseline is not known yet");
    quiet(&mut judge, 0.5);
    assert_eq!(states(&at(&mut judge, 121, 0.65)), Vec::<String>::new());
    assert_eq!(states(&at(&mut judge, 122, 0.75)), ["package raised", "delivery raised"]);
    assert_eq!(states(&at(&mut judge, 123, 0.55)), ["package cleared", "delivery cleared"]);
}

#[test]
fn a_changed_rise_keeps_the_baseline_and_other_prompts_do_not() {
    let mut judge = Judge::new("home", "bundled");
    reload(&mut judge, &rising());
    quiet(&mut judge, 0.5);
    let before = judge.baselines();
    assert_eq!(before.len(), 2, "each label of the frame is learnt, whether it rises or not");

    let mut changed = rising();
    changed.label_sets[0].labels[1].trigger.threshold = 0.4;
    changed.label_sets[0].labels.push(label("cat", 0.5));
    changed.sources[1].baseline = Some(Duration::from_secs(900));
    reload(&mut judge, &changed);
    assert_eq!(judge.baselines(), before);
    changed.label_sets[0].labels[1].prompts = vec!["a parcel".to_owned()];
    reload(&mut judge, &changed);
    assert_eq!(judge.baselines().len(), 1, "other prompts give other scores");
    assert_eq!(at(&mut judge, 200, 0.9), [], "the baseline is not known yet");
    changed.sources[1].baseline = None;
    changed.label_sets[0].labels[1].trigger = TriggerSettings::at(0.5);
    reload(&mut judge, &changed);
    assert_eq!(judge.baselines().len(), 0, "none is learnt any more");
}

#[test]
fn baselines_survive_a_restart() {
    let mut judge = Judge::new("home", "bundled");
    reload(&mut judge, &rising());
    quiet(&mut judge, 0.5);
    let raised = at(&mut judge, 121, 0.9);
    let known = judge.baselines();

    let restarted = |raised: Vec<Alert>, known: Vec<_>, model: &str| {
        let mut judge = Judge::new("home", model);
        judge.restore(raised.into_iter().map(|alert| (true, alert)));
        judge.restore_baselines(known);
        reload(&mut judge, &rising());
        judge
    };
    let mut judge = restarted(raised.clone(), known.clone(), "bundled");
    assert_eq!(judge.baselines(), known);
    assert_eq!(states(&at(&mut judge, 130, 0.65)), Vec::<String>::new(), "between the levels");
    assert_eq!(states(&at(&mut judge, 131, 0.5)), ["package cleared"]);
    let mut judge = restarted(vec![], known.clone(), "bundled");
    assert_eq!(states(&at(&mut judge, 130, 0.75)), ["package raised"], "at once");
    let mut judge = restarted(raised, known, "another");
    assert_eq!(judge.baselines().len(), 0, "of another model");
    assert_eq!(states(&at(&mut judge, 130, 0.5)), ["package cleared"], "below where it was raised");
}

#[test]
fn one_more_source_is_watched_as_after_a_reload_and_the_others_are_unchanged() {
    let (mut judge, mut reloaded, mut config) = (judge(), judge(), config());
    judged(&mut judge, &scored("back", "porch", vec![region(None, &[0.9, 0.1], 0.0)]));
    let time = "2026-11-23T09:00:00Z".parse().unwrap();
    config.sources.push(crate::samples::source("new", &["porch"]));
    let added = judge.add(&config, &config.sources[2], None, time, Uuid::nil);
    assert_eq!(added, reload(&mut reloaded, &config));
    assert_eq!(added.added, ["home/new/porch/person/state", "home/new/porch/package/state"]);
    let alerts = judged(&mut judge, &scored("new", "porch", vec![region(None, &[0.9, 0.1], 0.0)]));
    assert_eq!(alerts.len(), 1, "{alerts:?}");

    // Replaced while it is raised.
    config.sources[2] = crate::samples::source("newer", &["yard"]);
    let replaced = judge.add(&config, &config.sources[2], Some("new"), time, Uuid::nil);
    assert_eq!(replaced.removed, ["home/new/porch/person/state", "home/new/porch/package/state"]);
    assert_eq!(replaced.added, ["home/newer/yard/fox/state"]);
    let cleared: Vec<_> = replaced.cleared.iter().map(|alert| (&*alert.source, alert.state)).collect();
    assert_eq!(cleared, [("new", State::Cleared)]);
    let back = judged(&mut judge, &scored("back", "porch", vec![region(None, &[0.1, 0.1], 0.8)]));
    assert_eq!(back.len(), 1, "it was raised all the time, and is cleared now");
}

/// What was made of each label: `label score passed: gates held: sentences`.
fn assessed(judge: &mut Judge, scored: &Scored) -> Vec<String> {
    let judged = judge.judge(scored, "2026-11-23T08:00:01Z".parse().unwrap(), Uuid::nil);
    let words = |gates: crate::trigger::Gates| {
        gates.iter().map(|gate| format!(" {}", gate.word())).collect::<String>()
    };
    let line = |it: &Assessment| {
        let held = it.held_by.as_ref().map_or("raised".to_owned(), Gate::sentence);
        let also =
            if it.also_held_by.is_empty() { String::new() } else { format!(" +{}", words(it.also_held_by)) };
        format!("{} {:.2}{} | {held}{also}", it.label, it.score, words(it.passed))
    };
    judged.assessments.iter().map(line).collect()
}

#[test]
fn each_label_says_what_holds_it() {
    let mut config = config();
    let porch = &mut config.label_sets[0];
    porch.labels[0].trigger.hold = crate::policy::Hold { frames: 2, of: 2 };
    porch.labels[1].active = Schedule::parse("22:00-06:00 UTC").ok();
    let settings = Label { prompts: vec![], ..label("visitor", 0.5) };
    porch.rules.push(LabelRule { settings, when: Condition::of("porch", "Person and not package") });
    let mut judge = Judge::new("home", "bundled");
    reload(&mut judge, &config);
    let mut then = |person, package| {
        assessed(&mut judge, &scored("back", "porch", vec![region(None, &[person, package], 0.0)]))
    };
    let rule = |held: &str| format!("visitor NaN | condition: {held}");
    assert_eq!(
        then(0.9, 0.8),
        [
            "Person 0.90 threshold | hold: 1 of 2 so far",
            "package 0.80 threshold | active: 22:00-06:00 UTC, now outside",
            &*rule("package is present, Person is not known yet"),
        ]
    );
    assert_eq!(
        then(0.9, 0.1),
        [
            "Person 0.90 threshold hold | raised",
            "package 0.10 | threshold: the score is below it + active",
            "visitor NaN condition | raised",
        ]
    );
    assert_eq!(
        then(0.8, 0.9),
        [
            "Person 0.80 | raised",
            "package 0.90 threshold | active: 22:00-06:00 UTC, now outside",
            &*rule("package is present"),
        ]
    );
    assert_eq!(then(0.1, 0.1)[0], "Person 0.10 | raised", "one frame is not enough to clear it");
    assert_eq!(then(0.1, 0.1)[0], "Person 0.10 | threshold: the score is below it + hold", "cleared");
    assert_eq!(then(0.1, 0.1)[2], rule("Person is missing"));
}

#[test]
fn an_assessment_has_the_levels_the_region_and_since_when_it_is_raised() {
    let mut judge = Judge::new("home", "bundled");
    let mut config = rising();
    config.label_sets[0].labels[0].regions = vec!["step".to_owned()];
    reload(&mut judge, &config);
    let frame = |second: i64, person: f32, package: f32| {
        let regions = vec![
            region(Some("step"), &[person, package], 0.0),
            region(Some("gate"), &[0.9, package / 2.0], 0.0),
        ];
        let mut scored = scored("back", "porch", regions);
        scored.frame.captured_at += SignedDuration::from_secs(second);
        scored
    };
    let first = assessed(&mut judge, &frame(0, 0.41, 0.9));
    assert_eq!(
        first,
        [
            "Person 0.41 | region gate: best 0.41 here, 0.90 elsewhere (gate)",
            "package 0.90 | baseline: not learnt yet, at least 12 quiet frames over 2m to come",
        ]
    );
    (1..=120).for_each(|second| drop(judged(&mut judge, &frame(second, 0.1, 0.5))));
    let time = "2026-11-23T08:00:01Z".parse().unwrap();
    let raised = judge.judge(&frame(121, 0.8, 0.9), time, Uuid::nil);
    let [person, package] = &raised.assessments[..] else { panic!("{raised:?}") };
    assert_eq!(
        (person.region.as_deref(), person.levels),
        (Some("step"), Some(TriggerSettings::at(0.7).levels()))
    );
    assert!(person.raised && person.held_by.is_none() && person.when.is_none());
    let since = frame(121, 0.0, 0.0).frame.captured_at;
    let later = judge.judge(&frame(130, 0.8, 0.9), time, Uuid::nil);
    assert_eq!((person.raised_since, later.assessments[0].raised_since), (Some(since), Some(since)));
    let alert = &raised.alerts[1];
    assert_eq!((package.score, package.baseline), (alert.score, alert.baseline));
    assert_eq!(package.levels.map(|levels| levels.threshold), Some(alert.threshold));
}

proptest::proptest! {
    /// On every frame a label is either raised, or a gate holds it; and alerts and assessments agree.
    #[test]
    fn a_label_that_is_not_raised_names_a_gate(
        frames in proptest::collection::vec((0i64..4, [0.0f32..1.0, 0.0f32..1.0, 0.0f32..1.0, 0.0f32..1.0]), 1..60),
        frames_of_hold in 1u8..3,
        seconds in 0u64..5,
    ) {
        let mut config = config();
        let porch = &mut config.label_sets[0];
        porch.labels[0].regions = vec!["step".to_owned()];
        porch.labels[1].trigger.hold = crate::policy::Hold { frames: frames_of_hold, of: 3 };
        porch.labels[1].trigger.lasting = Duration::from_secs(seconds);
        let settings = Label { prompts: vec![], ..label("visitor", 0.5) };
        let when = Condition::of("porch", "Person or not package");
        porch.rules.push(LabelRule { settings, when });
        let mut judge = Judge::new("home", "bundled");
        reload(&mut judge, &config);
        // Judges the scores again, as they are stored: without regions.
        let mut again = SourceJudge::new(&judge.checkpoint("back").unwrap().setup);
        let without_regions = |it: &Assessment| {
            let held_by = it.held_by.clone().map(|gate| match gate {
                Gate::Region { .. } => Gate::BelowThreshold,
                other => other,
            });
            let state = (it.raised, it.raised_since, held_by, it.also_held_by, it.passed);
            (Arc::clone(&it.label_set), Arc::clone(&it.label), it.when.clone(), it.levels, it.baseline, state)
        };
        let (mut second, mut raised) = (0, std::collections::HashSet::new());
        for (step, scores) in frames {
            second += step;
            let regions = vec![region(Some("step"), &scores[..2], 0.0), region(Some("gate"), &scores[2..], 0.0)];
            let mut scored = scored("back", "porch", regions);
            scored.frame.captured_at += SignedDuration::from_secs(second);
            let judged = judge.judge(&scored, "2026-11-23T08:00:01Z".parse().unwrap(), Uuid::nil);
            for alert in &judged.alerts {
                let changed = match alert.state {
                    State::Raised => raised.insert(Arc::clone(&alert.label)),
                    State::Cleared => raised.remove(&alert.label),
                };
                proptest::prop_assert!(changed);
            }
            proptest::prop_assert_eq!(judged.assessments.len(), 3);
            let scores = [0, 1].map(|label: usize| Some(judged.assessments[label].score));
            let stored = FrameScores { at: scored.frame.captured_at, scores: &scores, sets: &[true] };
            let (service, history): (Vec<_>, Vec<_>) = (
                judged.assessments.iter().map(without_regions).collect(),
                again.assess(&stored).iter().map(without_regions).collect(),
            );
            proptest::prop_assert_eq!(service, history);
            for it in &judged.assessments {
                proptest::prop_assert_eq!(it.raised, raised.contains(&it.label));
                proptest::prop_assert_eq!(it.raised, it.held_by.is_none());
                proptest::prop_assert_eq!(it.raised, it.raised_since.is_some());
                if let Some(Gate::Condition { missing, present, unknown }) = &it.held_by {
                    proptest::prop_assert!(it.when.is_some());
                    proptest::prop_assert!(!(missing.is_empty() && present.is_empty() && unknown.is_empty()));
                }
                if let Some(Gate::Region { here, elsewhere, .. }) = it.held_by {
                    proptest::prop_assert!(here < 0.7 && elsewhere >= 0.7 && here == it.score);
                }
            }
        }
    }
}
