//! The window as a table of scripts: what the test does, and which actions the window asks for.

use super::*;
use crate::alert::outbox::Snapshot;

const SECOND: Duration = Duration::from_secs(1);

/// A window with an outbox and a broker that do what the script says.
struct Play {
    window: Window,
    outbox: BTreeMap<Seq, Arc<Entry>>,
    rewound: u64,
    in_flight: Vec<Seq>,
    now: Instant,
}

impl Play {
    /// Delays are the longest, without jitter.
    fn new(alerts: &[(Seq, &str)]) -> Self {
        let mut play = Self {
            window: Window::new(|| 1.0),
            outbox: BTreeMap::new(),
            rewound: 0,
            in_flight: Vec::new(),
            now: Instant::now(),
        };
        play.append(alerts);
        play
    }

    /// Alerts by number and topic; `topic+SIZE` has a snapshot of this many bytes.
    fn append(&mut self, alerts: &[(Seq, &str)]) {
        for (seq, topic) in alerts {
            let (topic, size) =
                topic.split_once('+').map_or((*topic, None), |(topic, size)| (topic, Some(size)));
            let snapshot = size
                .map(|size| Snapshot { topic: "snapshot".to_owned(), jpeg: vec![0; size.parse().unwrap()] });
            let entry = Entry {
                id: seq.to_string(),
                topic: topic.to_owned(),
                payload: String::new(),
                snapshot,
                mark: None,
            };
            self.outbox.insert(*seq, Arc::new(entry));
        }
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
    }

    /// Carries out actions until the window waits or is idle, and returns them in short.
    fn run(&mut self) -> String {
        let mut done = Vec::new();
        self.window.look_again();
        loop {
            match self.window.next(self.now, self.rewound) {
                Action::Read { after } => {
                    let found = self.outbox.range(after + 1..).take(64);
                    self.window.found(found.map(|(seq, entry)| (*seq, Arc::clone(entry))).collect());
                }
                Action::Fetch(seq) => {
                    done.push(format!("fetch {seq}"));
                    self.window.fetched(self.outbox.get(&seq).cloned());
                }
                Action::SendSnapshot { seq, size, .. } => {
                    done.push(match size {
                        SnapshotSize::Any => format!("picture {seq}"),
                        SnapshotSize::AtMost(bytes) => format!("picture {seq} in {bytes}"),
                        SnapshotSize::LeftOut => format!("no picture {seq}"),
                    });
                    if size != SnapshotSize::LeftOut {
                        self.window.snapshot_sent(seq);
                    }
                    self.window.snapshot_done(seq);
                }
                Action::Send { seq, repeated, .. } => {
                    self.in_flight.push(seq);
                    done.push(format!("{}{seq}", if repeated { "again " } else { "" }));
                }
                Action::Wait => {
                    done.push("wait".to_owned());
                    break;
                }
                Action::Delete(seqs) => {
                    seqs.iter().for_each(|seq| drop(self.outbox.remove(seq)));
                    done.push(format!("delete {seqs:?}"));
                }
                Action::Idle(until) => {
                    let until = until.map(|until| format!(" {:?}", until - self.now));
                    done.push(format!("idle{}", until.unwrap_or_default()));
                    break;
                }
            }
        }
        done.join(", ")
    }

    fn accept(&mut self, seqs: impl IntoIterator<Item = Seq>) {
        for seq in seqs {
            let outcome = self.answer(seq, None);
            assert!(matches!(outcome, Outcome::Delivered { .. }), "{seq}: {outcome:?}");
        }
    }

    fn refuse(&mut self, seq: Seq, refusal: &Refusal) -> Outcome {
        self.answer(seq, Some(refusal))
    }

    fn answer(&mut self, seq: Seq, refusal: Option<&Refusal>) -> Outcome {
        self.in_flight.retain(|other| *other != seq);
        self.window.answered(seq, refusal, self.now)
    }

    /// The connection broke, and there is a new one.
    fn reconnect(&mut self) {
        for seq in self.window.take_acknowledged() {
            self.outbox.remove(&seq);
        }
        self.window.start();
    }
}

/// `count` alerts to one topic.
fn alerts(count: Seq) -> Vec<(Seq, &'static str)> {
    (1..=count).map(|seq| (seq, "a")).collect()
}

const REFUSED: Refusal = Refusal::NotAuthorized;

#[test]
fn a_few_alerts_go_one_at_a_time_and_acknowledged_ones_are_deleted_together() {
    let mut play = Play::new(&alerts(3));
    assert_eq!(play.run(), "1, wait");
    play.accept([1]);
    assert_eq!(play.run(), "2, wait");
    play.accept([2]);
    assert_eq!(play.run(), "3, wait");
    play.accept([3]);
    assert_eq!(play.run(), "idle 100ms");
    play.append(&[(4, "a")]);
    assert_eq!(play.run(), "4, wait", "an append is sent at once");
    play.accept([4]);
    play.wait(Duration::from_millis(100));
    assert_eq!(play.run(), "delete [1, 2, 3, 4], idle");
    assert!(play.outbox.is_empty());
}

#[test]
fn many_alerts_are_in_flight_at_once_up_to_the_limit_and_answers_come_in_any_order() {
    let mut play = Play::new(&alerts(100));
    let sent = (1..=12).map(|seq| seq.to_string()).collect::<Vec<_>>().join(", ");
    assert_eq!(play.run(), format!("{sent}, wait"));
    assert_eq!(play.run(), "wait", "nothing more without an answer");
    play.accept([7]);
    assert_eq!(play.run(), "13, wait");
    play.accept([12, 1, 3]);
    assert_eq!(play.run(), "14, 15, 16, wait");
    while let Some(seq) = play.in_flight.pop() {
        play.accept([seq]);
        assert!(!play.run().contains("again"), "each is sent once");
        assert!(play.in_flight.len() <= 12, "{:?}", play.in_flight);
    }
    play.wait(SECOND);
    play.run();
    assert!(play.outbox.is_empty(), "all were delivered, and deleted");
}

#[test]
fn sixty_four_acknowledged_alerts_are_deleted_without_waiting() {
    let mut play = Play::new(&alerts(80));
    let mut deleted = String::new();
    let mut next = 1;
    while deleted.is_empty() {
        let done = play.run();
        if done.contains("delete") {
            deleted = done;
            break;
        }
        play.accept([next]);
        next += 1;
    }
    assert!(deleted.starts_with("delete [1, 2,") && deleted.contains("63, 64]"), "{deleted}");
}

#[test]
fn after_a_reconnect_only_what_was_not_acknowledged_is_sent_again() {
    let mut play = Play::new(&alerts(20));
    play.run();
    play.accept([1, 2, 5]);
    play.reconnect();
    // 3, 4 and 6 to 12 were in flight; the rest had not been sent.
    assert_eq!(
        play.run(),
        "again 3, again 4, again 6, again 7, again 8, again 9, again 10, again 11, again 12, 13, 14, 15, wait"
    );
}

#[test]
fn a_kill_before_the_deletion_repeats_at_most_what_was_acknowledged_within_its_delay() {
    let mut play = Play::new(&alerts(3));
    let mut done = Vec::new();
    for seq in 1..=3 {
        done.push(play.run());
        play.accept([seq]);
        play.wait(Duration::from_millis(60));
    }
    // 1 was acknowledged at 0 ms and 2 at 60 ms; both are deleted at the first action after 100 ms.
    assert_eq!(done, ["1, wait", "2, wait", "delete [1, 2], 3, wait"]);
    assert_eq!(play.run(), "idle 40ms");
    let mut killed = Play::new(&[(1, "a")]);
    killed.run();
    killed.accept([1]);
    killed.wait(Duration::from_millis(99));
    assert_eq!(killed.run(), "idle 1ms");
    assert_eq!(killed.outbox.len(), 1, "a new process would send it again");
}

#[test]
fn a_refused_alert_holds_its_topic_and_others_overtake_it() {
    let mut play = Play::new(&[(1, "a"), (2, "b"), (3, "a"), (4, "b")]);
    assert_eq!(play.run(), "1, wait");
    assert_eq!(play.refuse(1, &REFUSED), Outcome::Refused { first: true });
    assert_eq!(play.run(), "2, wait");
    play.accept([2]);
    assert_eq!(play.run(), "4, wait", "3 goes to the topic that is refused");
    play.accept([4]);
    play.wait(Duration::from_millis(500));
    assert_eq!(play.run(), "delete [2, 4], idle 500ms");

    play.wait(Duration::from_millis(500));
    assert_eq!(play.run(), "fetch 1, 1, wait");
    assert_eq!(play.refuse(1, &REFUSED), Outcome::Refused { first: false });
    assert_eq!(play.run(), "idle 2s", "the second delay is twice the first");
    play.wait(2 * SECOND);
    assert_eq!(play.run(), "fetch 1, 1, wait");
    assert_eq!(play.answer(1, None), Outcome::Delivered { resumed: false });
    assert_eq!(play.run(), "fetch 3, 3, wait", "then those behind it, in order");
    assert_eq!(play.answer(3, None), Outcome::Delivered { resumed: true });
    play.append(&[(5, "a")]);
    assert_eq!(play.run(), "5, wait", "the topic is free");
}

#[test]
fn packets_that_are_too_large_and_invalid_topics_are_held_alike() {
    for refusal in [Refusal::TooLarge { size: 2, limit: 1 }, Refusal::Topic, Refusal::Other("x".to_owned())] {
        let mut play = Play::new(&[(1, "a"), (2, "b")]);
        play.run();
        assert_eq!(play.refuse(1, &refusal), Outcome::Refused { first: true });
        assert_eq!(play.run(), "2, wait");
    }
}

#[test]
fn a_held_alert_that_the_outbox_dropped_is_skipped() {
    let mut play = Play::new(&[(1, "a"), (2, "a")]);
    play.run();
    play.refuse(1, &REFUSED);
    assert_eq!(play.run(), "idle 1s");
    play.outbox.remove(&1);
    play.wait(SECOND);
    assert_eq!(play.run(), "fetch 1, fetch 2, 2, wait");
    play.accept([2]);
    play.outbox.remove(&2);
    play.append(&[(3, "a")]);
    assert_eq!(play.run(), "3, wait");
}

#[test]
fn a_refusal_among_many_in_flight_is_retried_when_nothing_is_in_flight() {
    let mut play = Play::new(&[
        (1, "b"),
        (2, "a"),
        (3, "a"),
        (4, "a"),
        (5, "a"),
        (6, "a"),
        (7, "a"),
        (8, "a"),
        (9, "a"),
    ]);
    play.run();
    play.refuse(1, &REFUSED);
    play.wait(SECOND);
    assert_eq!(play.run(), "wait", "the retry waits for what is in flight");
    assert_eq!(play.refuse(5, &REFUSED), Outcome::Refused { first: true }, "which is no retry");
    play.accept([2, 3, 4, 6, 7, 8, 9]);
    assert_eq!(play.run(), "fetch 1, 1, wait");
}

#[test]
fn after_a_reconnect_held_alerts_are_sent_in_their_place_and_reported_once() {
    let mut play = Play::new(&[(1, "a"), (2, "b")]);
    play.run();
    play.refuse(1, &REFUSED);
    play.reconnect();
    assert_eq!(play.run(), "1, wait", "the broker's rules may have changed");
    assert_eq!(play.refuse(1, &REFUSED), Outcome::Refused { first: false });
    assert_eq!(play.run(), "2, wait");
    play.accept([2]);
    play.wait(2 * SECOND);
    assert_eq!(play.run(), "delete [2], fetch 1, 1, wait", "the second delay, not the first");
}

#[test]
fn nothing_overtakes_an_alert_that_the_quota_refuses() {
    let mut play = Play::new(&alerts(12));
    play.run();
    play.accept([1]);
    assert_eq!(play.refuse(2, &Refusal::Quota), Outcome::Refused { first: true });
    assert_eq!(play.run(), "wait", "for the answers to what is in flight");
    assert_eq!(play.refuse(3, &Refusal::Quota), Outcome::Ignored);
    play.accept([4]);
    for seq in 5..=12 {
        play.refuse(seq, &REFUSED);
    }
    assert_eq!(play.run(), "delete [1, 4], idle 1s");
    play.wait(Duration::from_millis(999));
    assert_eq!(play.run(), "idle 1ms");
    play.wait(Duration::from_millis(1));
    let sent = [2, 3, 5, 6, 7, 8, 9, 10, 11, 12].map(|seq: Seq| seq.to_string()).join(", ");
    assert_eq!(play.run(), format!("{sent}, wait"), "in order, from the first that was not accepted");
}

#[test]
fn a_snapshot_goes_directly_before_its_alert_with_nothing_else_in_flight() {
    let mut play = Play::new(&[(1, "a"), (2, "a"), (3, "a+100"), (4, "a+100"), (5, "a")]);
    assert_eq!(play.run(), "1, wait");
    play.accept([1]);
    assert_eq!(play.run(), "2, wait");
    assert_eq!(play.run(), "wait", "the picture waits for the answer");
    play.accept([2]);
    assert_eq!(play.run(), "picture 3, 3, wait");
    play.accept([3]);
    assert_eq!(play.run(), "picture 4, 4, wait");
    play.accept([4]);
    assert_eq!(play.run(), "5, wait");
}

#[test]
fn a_snapshot_on_which_the_broker_hangs_up_is_made_smaller_and_then_left_out() {
    let mut play = Play::new(&[(1, "a+1600")]);
    let mut sent = Vec::new();
    for _ in 0..6 {
        play.window.look_again();
        let read = play.window.next(play.now, 0);
        assert_eq!(read, Action::Read { after: 0 });
        play.window.found(vec![(1, Arc::clone(&play.outbox[&1]))]);
        let Action::SendSnapshot { seq, size, .. } = play.window.next(play.now, 0) else { panic!() };
        sent.push(size);
        if size == SnapshotSize::LeftOut {
            play.window.snapshot_done(seq);
            assert!(matches!(play.window.next(play.now, 0), Action::Send { seq: 1, .. }));
        } else {
            play.window.snapshot_sent(seq);
        }
        play.reconnect();
    }
    let smaller = |bytes| SnapshotSize::AtMost(bytes);
    let left_out = SnapshotSize::LeftOut;
    assert_eq!(sent, [SnapshotSize::Any, SnapshotSize::Any, smaller(400), smaller(100), left_out, left_out]);
}

#[test]
fn a_snapshot_that_was_answered_is_sent_again_in_full_size() {
    let mut play = Play::new(&[(1, "a+1600")]);
    for _ in 0..5 {
        assert!(play.run().starts_with("picture 1, "));
        play.reconnect();
    }
}

#[test]
fn alerts_that_the_outbox_could_not_read_for_a_while_are_read_from_the_start() {
    let mut play = Play::new(&[(5, "a"), (6, "a")]);
    assert_eq!(play.run(), "5, wait");
    play.append(&[(1, "a")]);
    play.rewound = 1;
    assert_eq!(play.run(), "wait");
    play.accept([5]);
    assert_eq!(play.run(), "delete [5], 1, wait");
}

#[test]
fn after_stop_answers_are_waited_for_and_nothing_is_sent() {
    let mut play = Play::new(&alerts(20));
    play.run();
    play.window.stop();
    assert_eq!(play.run(), "wait");
    play.accept(2..=12);
    assert_eq!(play.run(), "wait");
    play.refuse(1, &REFUSED);
    assert_eq!(play.run(), "idle 100ms");
    play.wait(2 * SECOND);
    assert!(play.run().ends_with("12], idle"), "neither held alerts nor others are sent");
}

#[test]
fn an_answer_to_something_else_changes_nothing() {
    let mut play = Play::new(&alerts(2));
    play.run();
    assert_eq!(play.refuse(9, &REFUSED), Outcome::Ignored);
    assert_eq!(play.run(), "wait");
}

#[test]
fn while_home_assistant_is_away_everything_waits_and_then_goes_in_order() {
    let mut play = Play::new(&alerts(2));
    play.window.readiness().connected(true, play.now);
    assert_eq!(play.run(), "idle 15s");
    play.append(&[(3, "b")]);
    play.wait(14 * SECOND);
    assert_eq!(play.run(), "idle 1s", "also for what was appended later");
    play.wait(SECOND);
    assert_eq!(play.run(), "1, wait");
    play.window.readiness().gone(play.now);
    play.accept([1]);
    assert_eq!(play.run(), "idle 100ms", "the rest waits again");
    play.wait(15 * SECOND);
    assert_eq!(play.run(), "delete [1], 2, wait");
    play.accept([2]);
    assert_eq!(play.run(), "3, wait");
}

#[test]
fn refused_alerts_wait_for_home_assistant_as_well() {
    let mut play = Play::new(&[(1, "a")]);
    play.run();
    play.refuse(1, &REFUSED);
    play.window.readiness().connected(true, play.now);
    play.wait(3 * SECOND);
    assert_eq!(play.run(), "idle 12s", "the retry is due and does not spin");
    play.window.readiness().born();
    assert_eq!(play.run(), "fetch 1, 1, wait");
}

#[test]
fn alerts_to_new_topics_are_overtaken_and_keep_their_own_order() {
    let mut play = Play::new(&[(1, "new+100"), (2, "a"), (3, "new")]);
    let now = play.now;
    play.window.readiness().connected(true, now);
    play.window.readiness().born();
    play.window.readiness().announcing(["new", "a"].into_iter(), now);
    play.window.readiness().announced(["a"].into_iter(), now);
    assert_eq!(play.run(), "idle 2s");
    play.wait(2 * SECOND);
    play.window.readiness().announced(["new"].into_iter(), play.now);
    assert_eq!(play.run(), "2, wait");
    play.accept([2]);
    play.append(&[(4, "new"), (5, "a")]);
    assert_eq!(play.run(), "5, wait");
    play.accept([5]);
    play.wait(2 * SECOND);
    assert_eq!(play.run(), "delete [2, 5], picture 1, 1, wait");
    play.accept([1]);
    assert_eq!(play.run(), "3, wait");
    play.accept([3]);
    assert_eq!(play.run(), "4, wait");
    play.accept([4]);
    play.wait(SECOND);
    assert_eq!(play.run(), "delete [1, 3, 4], idle 10s", "once more for the session to count as lasting");
}

#[test]
fn no_number_of_alerts_to_new_topics_delays_others() {
    let mut play = Play::new(&(1..=100).map(|seq| (seq, "new")).collect::<Vec<_>>());
    play.append(&[(101, "a")]);
    let now = play.now;
    play.window.readiness().connected(true, now);
    play.window.readiness().born();
    play.window.readiness().announcing(["new"].into_iter(), now);
    assert_eq!(play.run(), "101, wait", "100 others wait");
    assert_eq!(play.window.deferred.len(), MOST_DEFERRED, "and not all of them in memory");
    play.accept([101]);
    play.append(&[(102, "new"), (103, "a")]);
    assert_eq!(play.run(), "103, wait");
    play.accept([103]);
    play.wait(15 * SECOND);
    let mut sent = Vec::new();
    for _ in 0..200 {
        play.run();
        let in_flight = play.in_flight.clone();
        play.accept(in_flight.iter().copied());
        sent.extend(in_flight);
        play.wait(SECOND);
    }
    let expected: Vec<_> = (1..=100).chain([102]).collect();
    assert_eq!(sent, expected, "in order, each once");
}
