//! Whatever happens to the service: scores that were stored are judged again with the same result.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::{
    classify::{RegionScores, Scored, SetScores},
    config::Config,
    daemon::checkpoints::Checkpoints,
    frame::{Frame, Slot},
    history::{History, scores::ScoreRecorder},
    judge::{Judge, SavedBaseline},
    observe::Observation,
    picture::Picture,
    policy::{Condition, Hold, Label, LabelName, LabelRule, Schedule, TriggerSettings},
    samples,
    trigger::whole_milliseconds,
};

/// An alert, as it is compared: source, label set, label, milliseconds, raised.
type Seen = (String, String, String, i64, bool);

/// The service without its threads: the judge, the recorder, and the file.
struct World {
    _folder: tempfile::TempDir,
    history: History,
    recorder: ScoreRecorder,
    judge: Judge,
    checkpoints: Checkpoints,
    config: Config,
    /// The newest state of each label, as the outbox keeps it.
    marks: BTreeMap<(String, String, String), (bool, Alert)>,
    now: Timestamp,
    up: Instant,
    /// The alerts of frames that were not lost.
    seen: Vec<Seen>,
}

/// `back` watches `porch` and `yard`. Variants have other settings, labels, prompts and rules.
fn config(variant: u8) -> Config {
    let mut config = samples::config();
    config.sources[1].watch.push("yard".to_owned());
    config.sources.iter_mut().for_each(|source| source.baseline = Some(Duration::from_secs(60)));
    let [person, package] = &mut config.label_sets[0].labels[..] else { panic!("two") };
    person.trigger.hold = Hold { frames: 2, of: 3 };
    person.trigger.clear_below = 0.5;
    person.active = Schedule::parse("00:00-12:00 UTC").ok();
    package.trigger = TriggerSettings { rises: true, clear_below: 0.1, ..TriggerSettings::at(0.2) };
    config.label_sets[1].labels[0].trigger.cooldown = Duration::from_secs(20);
    config.label_sets[1].labels[0].trigger.lasting = Duration::from_secs(3);
    let settings = Label {
        prompts: vec![],
        ..Label::new(
            "stranger",
            TriggerSettings { lasting: Duration::from_secs(2), ..TriggerSettings::at(0.5) },
        )
    };
    let when = Condition::of("porch", "(Person or package) and not yard/fox");
    config.label_sets[0].rules.push(LabelRule { settings, when });
    match variant {
        1 => config.label_sets[0].labels[0].trigger.threshold = 0.8,
        2 => config.label_sets[0].labels[1].prompts = vec!["a parcel".to_owned()],
        3 => drop(config.label_sets[1].labels.remove(0)),
        4 => config.label_sets[0].labels.insert(0, Label::new("cat", TriggerSettings::at(0.4))),
        5 => config.label_sets[0].rules[0].when = Condition::of("porch", "package"),
        6 => drop(config.sources.remove(1)),
        7 => config.label_sets[0].labels[0].silence.disabled = true,
        8 => config.sources[1].enabled = false,
        9 => {
            let until = "2026-11-23T11:57:00Z".parse().unwrap();
            let porch = &mut config.label_sets[0];
            let rules = porch.rules.iter_mut().map(|rule| &mut rule.settings);
            porch.labels.iter_mut().chain(rules).for_each(|label| label.silence.snooze(until));
        }
        _ => {}
    }
    config
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut world = Self {
            history: History::open(folder.path()).unwrap(),
            _folder: folder,
            recorder: ScoreRecorder::default(),
            judge: Judge::new("home", "bundled"),
            checkpoints: Checkpoints::default(),
            config: config(0),
            marks: BTreeMap::new(),
            now: "2026-11-23T11:55:00.123456Z".parse().unwrap(),
            up: Instant::now(),
            seen: vec![],
        };
        world.reload(0);
        world
    }

    fn pass(&mut self, milliseconds: i64) {
        self.now += SignedDuration::from_millis(milliseconds);
        self.up += Duration::from_millis(milliseconds.max(0).unsigned_abs());
    }

    fn frame(&mut self, source: usize, scores: &[f32], lost: bool) {
        let source: Arc<str> = ["Front Door", "back"][source].into();
        let mut scores = scores.iter().copied().cycle();
        // Also label sets and labels of another configuration, as frames in flight have them.
        let sets = self.config.label_sets.iter().map(|set| SetScores {
            label_set: set.name.as_str().into(),
            labels: set.labels.iter().map(|label| label.name.as_str().into()).collect(),
            regions: vec![RegionScores {
                region: None,
                labels: set.labels.iter().map(|_| scores.next().unwrap()).collect(),
                background: Some(0.1),
            }],
        });
        let sets: Vec<_> = sets.collect();
        self.scored(&source, sets, lost);
    }

    fn scored(&mut self, source: &Arc<str>, sets: Vec<SetScores>, lost: bool) {
        let captured_at = whole_milliseconds(self.now);
        let frame = Frame {
            source: Arc::clone(source),
            origin: String::new(),
            captured_at,
            picture: Picture::of_rgb(2, 1, vec![0; 6]).into(),
            slot: Slot::free(),
        };
        let (number, checkpoint) = self.checkpoints.next(source, &self.judge, self.up);
        let scored = Scored { frame, sets, embeddings: vec![] };
        let judged = self.judge.judge(&scored, self.now, Uuid::nil);
        for alert in &judged.alerts {
            self.mark(alert);
            if !lost {
                self.seen.push(seen(alert));
            }
        }
        if lost {
            self.checkpoints.lost(source);
            return;
        }
        let Scored { frame, sets, .. } = scored;
        let observation = Observation {
            judged_at: self.now,
            number,
            checkpoint,
            source: frame.source,
            origin: frame.origin,
            captured_at,
            duration: Duration::ZERO,
            picture: frame.picture.into(),
            sets,
            embeddings: vec![],
            alerts: judged.alerts,
            assessments: judged.assessments,
        };
        self.history.write(|transaction| self.recorder.record(transaction, &observation)).unwrap();
    }

    fn mark(&mut self, alert: &Alert) {
        let key = (alert.source.to_string(), alert.label_set.to_string(), alert.label.to_string());
        let raised = alert.state == State::Raised;
        // A cleared label keeps the alert that raised it.
        match self.marks.get_mut(&key).filter(|_| !raised) {
            Some(mark) => mark.0 = false,
            None => drop(self.marks.insert(key, (raised, alert.clone()))),
        }
    }

    fn reload(&mut self, variant: u8) {
        self.config = config(variant);
        let reloaded = self.judge.reload(&self.config, self.now, Uuid::nil);
        reloaded.cleared.iter().for_each(|alert| self.mark(alert));
        self.checkpoints.reloaded(|name| self.config.sources.iter().any(|source| source.name == name));
    }

    fn restart(&mut self) {
        self.flush();
        let saved = serde_json::to_string(&self.judge.baselines()).unwrap();
        let saved: Vec<SavedBaseline> = serde_json::from_str(&saved).unwrap();
        let marks = self.marks.values();
        let marks = marks.map(|(raised, alert)| (*raised, Alert::from_json(&alert.to_json()).unwrap()));
        let marks: Vec<_> = marks.collect();
        self.judge = Judge::new("home", "bundled");
        self.judge.restore(marks);
        self.judge.restore_baselines(saved);
        self.checkpoints = Checkpoints::default();
        self.recorder = ScoreRecorder::default();
        let reloaded = self.judge.reload(&self.config, self.now, Uuid::nil);
        reloaded.cleared.iter().for_each(|alert| self.mark(alert));
        self.checkpoints.reloaded(|_| true);
    }

    fn set_clock(&mut self, seconds: i64) {
        let by = SignedDuration::from_secs(seconds);
        self.now += by;
        self.judge.clock_was_set(by);
        self.checkpoints.clock_was_set(by);
    }

    fn flush(&mut self) {
        self.history.write(|transaction| self.recorder.flush(transaction)).unwrap();
    }

    /// The alerts of all sources, judged again with these changes, and how much that was.
    fn judged_again(&mut self, changes: &[Change]) -> (Vec<Seen>, Rejudged) {
        self.flush();
        let reader = Reader::open(self._folder.path()).unwrap();
        let (mut all, mut judged) = (vec![], Rejudged::default());
        for source in scores::sources(reader.connection(), Window::default()).unwrap() {
            let replayed =
                replay_source(&reader, &source, Window::default(), changes, &mut Ids::default(), |_| {})
                    .unwrap();
            all.extend(replayed.alerts.iter().map(seen));
            judged = judged.and(replayed.judged);
        }
        (all, judged)
    }
}

/// When a label of `back` was raised: by the service, and with these changes. Empty if no scores of the label are stored.
fn tried_alone(world: &World, name: (&str, &str), changes: &[Change]) -> [Vec<i64>; 2] {
    let reader = Reader::open(world._folder.path()).unwrap();
    let name = LabelName { label_set: name.0.to_owned(), label: name.1.to_owned() };
    match try_label(&reader, "back", Window::default(), &name, changes) {
        Ok(Trial { now, then, .. }) => [now, then].map(|Raises { alerts, spans }| {
            let raised = spans.iter().filter(|span| span.is_alert).map(|span| span.from.as_millisecond());
            let raised: Vec<_> = raised.collect();
            assert_eq!(raised.len() as u64, alerts);
            assert!(spans.iter().all(|span| span.until >= span.from));
            raised
        }),
        Err(Error::Request(_)) => [vec![], vec![]],
        Err(error) => panic!("{error}"),
    }
}

/// When a label of `back` was raised, of these alerts.
fn raised(all: &[Seen], name: (&str, &str)) -> Vec<i64> {
    let of_label = all.iter().filter(|it| it.4 && it.0 == "back" && (&*it.1, &*it.2) == name);
    let mut times: Vec<_> = of_label.map(|it| it.3).collect();
    times.sort_unstable();
    times
}

fn seen(alert: &Alert) -> Seen {
    let text = |text: &Arc<str>| text.to_string();
    (
        text(&alert.source),
        text(&alert.label_set),
        text(&alert.label),
        alert.frame.captured_at.as_millisecond(),
        alert.state == State::Raised,
    )
}

/// The alerts, one source after the other.
fn by_source(mut all: Vec<Seen>) -> Vec<Seen> {
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}

/// What can happen.
#[derive(Debug, Clone)]
enum Step {
    Frame { source: usize, after: i64, scores: Vec<f32>, lost: bool },
    Reload(u8),
    Restart,
    Clock(i64),
    Flush,
}

fn any_step() -> impl Strategy<Value = Step> {
    let score = prop_oneof![
        3 => 0.0f32..1.0,
        1 => prop::sample::select(vec![0.1f32, 0.9]),
        1 => (-2i32..=2).prop_map(|steps| f32::from_bits(0.5f32.to_bits().wrapping_add_signed(steps))),
    ];
    let frame = (0usize..2, 0i64..4000, prop::collection::vec(score, 4), prop::bool::weighted(0.03));
    prop_oneof![
        40 => frame.prop_map(|(source, after, scores, lost)| Step::Frame { source, after, scores, lost }),
        1 => (0u8..10).prop_map(Step::Reload),
        1 => Just(Step::Restart),
        1 => (-300i64..300).prop_map(Step::Clock),
        1 => Just(Step::Flush),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The same times, labels and states, through reloads, restarts, a clock that is set, and lost observations.
    #[test]
    fn stored_scores_judged_again_give_the_alerts_of_the_service(
        steps in prop::collection::vec(any_step(), 1..400),
        quiet in 0usize..40,
    ) {
        let mut world = World::new();
        for _ in 0..quiet {
            world.pass(1000);
            world.frame(1, &[0.05], false);
        }
        for step in steps {
            match step {
                Step::Frame { source, after, scores, lost } => {
                    world.pass(after);
                    world.frame(source, &scores, lost);
                }
                Step::Reload(variant) => world.reload(variant),
                Step::Restart => world.restart(),
                Step::Clock(seconds) => world.set_clock(seconds),
                Step::Flush => world.flush(),
            }
        }
        let expected = by_source(std::mem::take(&mut world.seen));
        let (again, judged) = world.judged_again(&[]);
        prop_assert_eq!(&again, &expected);
        prop_assert_eq!(judged.damaged, 0);

        // Other settings of one label change neither the others nor rules over others.
        let changes = ["fox.threshold=0.3".parse().unwrap()];
        let (tried, _) = world.judged_again(&changes);
        let others = |all: &[Seen]| {
            let other = |it: &&Seen| it.2 != "fox" && it.2 != "stranger";
            all.iter().filter(other).cloned().collect::<Vec<_>>()
        };
        prop_assert_eq!(others(&tried), others(&expected));

        // Judged alone, a label and a rule have the same alerts.
        for name in [("yard", "fox"), ("porch", "stranger"), ("porch", "Person"), ("porch", "package")] {
            let alone = tried_alone(&world, name, &changes);
            prop_assert_eq!(alone, [raised(&again, name), raised(&tried, name)], "{:?}", name);
        }
    }

    /// A label whose setting is "changed" to what it was has the same alerts: its state continues as that of the service.
    #[test]
    fn a_state_that_continues_is_the_state_of_the_service(
        steps in prop::collection::vec(any_step(), 1..400),
    ) {
        let mut world = World::new();
        let mut has_frames = [false; 2];
        for step in steps {
            match step {
                Step::Frame { source, after, scores, .. } => {
                    world.pass(after);
                    world.frame(source, &scores, false);
                    has_frames[source] = true;
                }
                // Settings that no frame of a source was judged with leave no trace in the store.
                Step::Reload(_) if has_frames != [true; 2] => {}
                // Not those that remove the label.
                Step::Reload(variant) => {
                    world.reload([0, 1, 2, 0, 4, 5, 1, 7, 8, 9][usize::from(variant)]);
                    has_frames = [false; 2];
                }
                Step::Restart => world.restart(),
                Step::Clock(_) | Step::Flush => world.flush(),
            }
        }
        let expected = by_source(std::mem::take(&mut world.seen));
        let (tried, judged) = world.judged_again(&["fox.cooldown=20s".parse().unwrap()]);
        prop_assert_eq!((tried, judged.gaps), (expected, 0));
    }
}

/// `fox` was above 0.3 before the condition of `stranger` named it.
#[test]
fn a_rule_alone_knows_the_labels_of_its_later_conditions() {
    let mut world = World::new();
    world.reload(5);
    world.frame(1, &[0.9, 0.0, 0.0, 0.0], false);
    world.frame(1, &[0.0, 0.0, 0.88, 0.5], false);
    world.reload(4);
    for (after, scores) in [(2422, [0.86, 0.9, 0.9, 0.47]), (2331, [0.88, 0.17, 0.49, 0.5])] {
        world.pass(after);
        world.frame(1, &scores, false);
    }
    let (changes, name) = (["fox.threshold=0.3".parse().unwrap()], ("porch", "stranger"));
    let (then, _) = world.judged_again(&changes);
    let alone = tried_alone(&world, name, &changes);
    assert_eq!((alone[0].len(), &alone[1]), (1, &raised(&then, name)));
    assert!(alone[1].is_empty(), "`fox` was raised first");
}

/// A day of a label that crosses 0.5 and 0.4.
#[test]
fn another_threshold_raises_more_often_and_keeps_its_state_from_chunk_to_chunk() {
    let mut world = World::new();
    for minute in 0..30 {
        for second in 0..60 {
            world.pass(1000);
            // Above 0.4 for five minutes, across several chunks, and above 0.5 in one of them.
            let fox = match minute {
                10 => 0.9,
                8..13 => 0.45,
                _ => 0.1,
            };
            world.frame(1, &[0.1, 0.1, if second == 59 && minute == 20 { 0.45 } else { fox }], false);
        }
    }
    let states =
        |all: Vec<Seen>| all.into_iter().filter(|it| it.2 == "fox").map(|it| it.4).collect::<Vec<_>>();
    let (now, judged) = world.judged_again(&[]);
    assert_eq!((states(now), judged.frames, judged.gaps), (vec![true, false], 1800, 0));
    let lower = ["yard/fox.threshold=0.4".parse().unwrap()];
    assert_eq!(states(world.judged_again(&lower).0), [true, false], "once for all of it");
    let lower = ["yard/fox.threshold=0.4".parse().unwrap(), "fox.for=0s".parse().unwrap()];
    assert_eq!(states(world.judged_again(&lower).0), [true, false, true, false], "and for a single frame");
    // The same as spans: one that begins before the window is no alert in it.
    let reader = Reader::open(world._folder.path()).unwrap();
    let name = LabelName { label_set: "yard".to_owned(), label: "fox".to_owned() };
    let at = |minute: i64, second: i64| {
        let start: Timestamp = "2026-11-23T11:55:01.123Z".parse().unwrap();
        start + SignedDuration::from_secs(60 * minute + second)
    };
    let spans = |since: Option<Timestamp>| {
        let window = Window { since, until: None };
        let Trial { now, then, scores, newest, tried, .. } =
            try_label(&reader, "back", window, &name, &lower[..1]).unwrap();
        assert_eq!((now.alerts, newest.trigger.threshold, tried.trigger.clear_below), (1, 0.5, 0.4));
        let of = |raises: Raises| {
            raises.spans.iter().map(|it| (it.from, it.until, it.is_alert)).collect::<Vec<_>>()
        };
        let alerts = then.alerts;
        (scores, of(now), of(then), alerts)
    };
    let (scores, now, then, alerts) = spans(None);
    // `for` is three seconds.
    assert_eq!((scores, alerts), (1800, 1));
    assert_eq!(now, [(at(10, 3), at(11, 0), true)]);
    assert_eq!(then, [(at(8, 3), at(13, 0), true)]);
    let (scores, now, then, alerts) = spans(Some(at(9, 30)));
    assert_eq!((scores, alerts), (1230, 0));
    assert_eq!(now, [(at(10, 3), at(11, 0), true)]);
    assert_eq!(then, [(at(9, 30), at(13, 0), false)]);
    let nothing = LabelName { label: "wolf".to_owned(), ..name.clone() };
    let error = try_label(&reader, "back", Window::default(), &nothing, &[]).unwrap_err();
    assert_eq!(error.to_string(), "no scores of `yard/wolf` on back are stored for this time");
}

#[test]
fn an_alert_of_stored_scores_has_the_form_of_a_replayed_one() {
    let mut world = World::new();
    world.config.label_sets[1].labels[0].message = "{label} on {source}".to_owned().try_into().ok();
    let config = world.config.clone();
    world.judge.reload(&config, world.now, Uuid::nil);
    for _ in 0..5 {
        world.pass(1000);
        world.frame(1, &[0.1, 0.2, 0.75], false);
    }
    world.flush();
    let reader = Reader::open(world._folder.path()).unwrap();
    let replayed = replay(&reader, None, Window::default(), &[], |_| {}).unwrap();
    let [alert] = &replayed.alerts[..] else { panic!("{:?}", replayed.alerts) };
    assert_eq!((&*alert.label, alert.score, alert.threshold), ("fox", 0.75, 0.5));
    assert_eq!(alert.scores, [("fox".into(), 0.75)]);
    assert_eq!(alert.message.as_deref(), Some("fox on back"));
    assert_eq!(Alert::from_json(&alert.to_json()).unwrap().to_json(), alert.to_json());
    let fox = replayed.counts.iter().find(|count| count.label == "fox").unwrap();
    assert_eq!((fox.now, fox.then, replayed.counts.len()), (1, 1, 4));
    let error = |source: Option<&str>, change: &str| {
        let changes = [change.parse().unwrap()];
        replay(&reader, source, Window::default(), &changes, |_| {}).unwrap_err().to_string()
    };
    assert_eq!(error(None, "cat.for=1s"), "no scores of a label `cat` are stored for this time");
    assert!(error(None, "fox.clear_below=0.9").contains("above the level 0.5"));
    assert!(error(Some("gate"), "fox.for=1s").contains("there are scores of: back"));
}
