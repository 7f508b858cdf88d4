//! Decides which frames of a stream are taken, from time stamps that the caller reads. Pure.
//!
//! [`Clock`] derives a reliable time from the stamps of a stream, [`Sampler`] takes one frame in each interval of that
//! time, and [`KeyFrames`] measures the interval between key frames, from which [`Choice`] decides what is decoded.

use std::time::Duration;

use crate::config::Decode;

/// A larger step between two packets is not time that passed: the stamps restarted or wrapped.
const JUMP: Duration = Duration::from_secs(10);
/// How long the first intact frame may take while packets arrive: some cameras send a key frame once a minute.
const FIRST_FRAME: Duration = Duration::from_secs(60);
/// How far the time of a live stream may differ from the time of arrival: packets may arrive in a burst after a delay.
const MOST_DRIFT: Duration = Duration::from_secs(3);

/// Whether the time of arrival is meaningful.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Played {
    /// A camera: a packet arrives when it is captured.
    Live,
    /// A recording: packets arrive as fast as they are read.
    Recorded,
}

/// The time of a stream, which never goes back, whatever its stamps do.
#[derive(Debug)]
pub struct Clock {
    played: Played,
    now: Duration,
    last: Option<Last>,
    /// The last plausible step.
    step: Duration,
}

/// The previous packet.
#[derive(Debug, Clone, Copy)]
struct Last {
    stamp: Option<i64>,
    arrived: Duration,
}

impl Clock {
    /// A clock at 0. `step` is the time between two packets as far as the stream declares it.
    #[must_use]
    pub fn new(played: Played, step: Duration) -> Self {
        Self { played, now: Duration::ZERO, last: None, step }
    }

    /// The time after one more packet with this `stamp` (microseconds) that `arrived` at this time.
    ///
    /// If the stamp is missing, repeated, goes back or jumps, the time moves by the time between arrivals (live) or by the
    /// last plausible step (recorded).
    pub fn advance(&mut self, stamp: Option<i64>, arrived: Duration) -> Duration {
        let Some(last) = self.last.replace(Last { stamp, arrived }) else { return self.now };
        let step = stamp
            .zip(last.stamp)
            .and_then(|(stamp, last)| u64::try_from(stamp.checked_sub(last)?).ok())
            .map(Duration::from_micros)
            .filter(|step| !step.is_zero() && *step <= JUMP);
        let waited = arrived.saturating_sub(last.arrived);
        self.step = step.unwrap_or(self.step);
        let moved = match self.played {
            Played::Live => step.unwrap_or(waited),
            Played::Recorded => self.step,
        };
        let mut now = self.now.saturating_add(moved);
        if self.played == Played::Live {
            // Stamps that are too slow or too fast are as wrong as those that jump.
            now = now.clamp(arrived.saturating_sub(MOST_DRIFT), arrived.saturating_add(MOST_DRIFT));
        }
        self.now = self.now.max(now);
        self.now
    }
}

/// Takes one frame in each interval.
#[derive(Debug)]
pub struct Sampler {
    every: Duration,
    next: Option<Duration>,
}

impl Sampler {
    /// A sampler that takes the first frame.
    #[must_use]
    pub fn new(every: Duration) -> Self {
        Self { every, next: None }
    }

    /// Whether a frame of this time is taken.
    #[must_use]
    pub fn is_due(&self, now: Duration) -> bool {
        self.next.is_none_or(|next| now.saturating_add(slack(self.every)) >= next)
    }

    /// Whether the frames before the key frame at `expected` are not needed: it arrives when the next frame is due or before,
    /// and is not much overdue at `now`.
    #[must_use]
    pub fn can_wait_for(&self, expected: Duration, now: Duration) -> bool {
        self.next.is_some_and(|next| expected <= next.saturating_add(slack(self.every)))
            && now <= expected.saturating_add(self.every / 10)
    }

    /// Records that a frame of this time was taken. The next frame is due one interval after this one was due, so that
    /// delays do not add up; after a gap the intervals restart.
    pub fn take(&mut self, now: Duration) {
        let due = self.next.unwrap_or(now).saturating_add(self.every);
        self.next = Some(if now >= due { now.saturating_add(self.every) } else { due });
    }
}

/// The tolerance for cameras that are not exact to the millisecond: a key frame every 0.999 s suffices for one a second.
fn slack(every: Duration) -> Duration {
    every / 50
}

/// Measures the interval between key frames.
#[derive(Debug, Default)]
pub struct KeyFrames {
    last: Option<Duration>,
    intervals: [Option<Duration>; 3],
}

impl KeyFrames {
    /// Records a key frame at this time.
    pub fn record(&mut self, now: Duration) {
        if let Some(last) = self.last.replace(now) {
            self.intervals.rotate_left(1);
            self.intervals[2] = Some(now.saturating_sub(last));
        }
    }

    /// The longest of the last three intervals and the one since the newest key frame; `None` before the third key frame.
    #[must_use]
    pub fn interval(&self, now: Duration) -> Option<Duration> {
        let [_, Some(before), Some(newest)] = self.intervals else { return None };
        let running = now.saturating_sub(self.last?);
        Some(self.intervals[0].map_or(before, |first| first.max(before)).max(newest).max(running))
    }

    /// How long a stream with packets may bring no intact frame. After damage the decoder waits for the next key frame, so
    /// this is the interval between key frames plus `stall_after`.
    #[must_use]
    pub fn limit(&self, stall_after: Duration) -> Duration {
        let longest = self.intervals.iter().flatten().max();
        longest.map_or(FIRST_FRAME.max(stall_after), |longest| longest.saturating_add(stall_after))
    }

    /// When the next key frame is expected; `None` if the intervals are uneven or too few.
    #[must_use]
    pub fn expected(&self) -> Option<Duration> {
        let [Some(first), Some(second), Some(third)] = self.intervals else { return None };
        let (least, most) = (first.min(second).min(third), first.max(second).max(third));
        let even = most - least <= slack(most);
        self.last.filter(|_| even).map(|last| last.saturating_add(most))
    }
}

/// Which frames of a stream are decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decoded {
    /// Only key frames.
    KeyFrames,
    /// Every frame.
    All,
}

/// Which frames are decoded to get one frame in each `every` of a stream with a key frame every `interval`, if that is
/// known.
#[must_use]
pub fn choose(wish: Decode, interval: Option<Duration>, every: Duration) -> Decoded {
    match wish {
        Decode::KeyFrames => Decoded::KeyFrames,
        Decode::All => Decoded::All,
        Decode::Auto if interval.is_some_and(|interval| interval <= every + every / 10) => Decoded::KeyFrames,
        Decode::Auto => Decoded::All,
    }
}

/// The choice of [`choose`] over time. Many cameras have uneven key frames: the choice does not follow each of them.
#[derive(Debug)]
pub struct Choice {
    wish: Decode,
    every: Duration,
    decoded: Decoded,
    /// Since when the key frames suffice while every frame is decoded.
    suffice_since: Option<Duration>,
    /// When only key frames were decoded first.
    since: Duration,
    /// How long the key frames must suffice before only they are decoded.
    patience: Duration,
}

impl Choice {
    /// Key frames must suffice for this time after they did not; twice as long each time.
    const FIRST_PATIENCE: Duration = Duration::from_secs(60);
    const MOST_PATIENCE: Duration = Duration::from_secs(3600);
    /// After this time with key frames only, the next failure is like the first.
    const SETTLED: Duration = Duration::from_secs(1800);

    /// The choice for a stream that was just opened.
    #[must_use]
    pub fn new(wish: Decode, every: Duration) -> Self {
        let decoded = choose(wish, None, every);
        let (since, patience) = (Duration::ZERO, Duration::ZERO);
        Self { wish, every, decoded, suffice_since: None, since, patience }
    }

    /// What is decoded at the moment.
    #[must_use]
    pub fn decoded(&self) -> Decoded {
        self.decoded
    }

    /// Follows the `interval` between key frames at `now`, if it is known.
    ///
    /// The key frames suffice if they come often enough. While only they are decoded, they may be a little late as well.
    pub fn update(&mut self, interval: Option<Duration>, now: Duration) {
        if self.wish != Decode::Auto {
            return;
        }
        let is_within = |most: Duration| interval.is_some_and(|interval| interval <= most);
        match self.decoded {
            Decoded::KeyFrames if !is_within(self.every + self.every * 2 / 5) => self.give_up(now),
            Decoded::KeyFrames => {}
            Decoded::All if choose(self.wish, interval, self.every) == Decoded::All => {
                self.suffice_since = None
            }
            Decoded::All => {
                let since = *self.suffice_since.get_or_insert(now);
                if now.saturating_sub(since) >= self.patience {
                    (self.decoded, self.since) = (Decoded::KeyFrames, now);
                }
            }
        }
    }

    /// Decodes every frame since `now`, because key frames alone give none.
    pub fn give_up(&mut self, now: Duration) {
        if self.wish != Decode::Auto || self.decoded == Decoded::All {
            return;
        }
        let has_settled = now.saturating_sub(self.since) >= Self::SETTLED;
        let longer = if has_settled { Self::FIRST_PATIENCE } else { self.patience * 2 };
        self.patience = longer.clamp(Self::FIRST_PATIENCE, Self::MOST_PATIENCE);
        (self.decoded, self.suffice_since) = (Decoded::All, None);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: i64 = 1_000_000;

    fn seconds(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    /// The times of arrival of the frames that are taken, from packets with these stamps that arrive at an even rate.
    fn taken(played: Played, stamps: &[Option<i64>], interval: f64, every: f64) -> Vec<f64> {
        let (mut clock, mut sampler) = (Clock::new(played, seconds(0.1)), Sampler::new(seconds(every)));
        let mut taken = vec![];
        for (number, stamp) in (0_u32..).zip(stamps) {
            let arrived = interval * f64::from(number);
            let now = clock.advance(*stamp, seconds(arrived));
            if sampler.is_due(now) {
                sampler.take(now);
                taken.push((arrived * 100.0).round() / 100.0);
            }
        }
        taken
    }

    #[test]
    fn one_frame_in_each_interval_whatever_the_stamps_do() {
        // 41 packets in 4 s, asked for one a second.
        type Stamps = fn(i64) -> Option<i64>;
        let even = vec![0.0, 1.0, 2.0, 3.0, 4.0];
        let cases: [(&str, Stamps, Vec<f64>); 8] = [
            ("good", |n| Some(n * SECOND / 10), even.clone()),
            ("missing", |_| None, even.clone()),
            ("the first is missing", |n| (n > 0).then_some(n * SECOND / 10), even.clone()),
            ("always the same", |_| Some(7), even.clone()),
            (
                "one jump ahead",
                |n| Some(n * SECOND / 10 + if n > 15 { 500 * SECOND } else { 0 }),
                even.clone(),
            ),
            (
                "one jump back",
                |n| Some(n * SECOND / 10 - if n > 15 { 500 * SECOND } else { 0 }),
                even.clone(),
            ),
            ("wrapping", |n| Some((i64::MAX - SECOND).wrapping_add(n * SECOND / 10)), even.clone()),
            ("back and forth", |n| Some(if n % 2 == 0 { i64::MAX } else { i64::MIN }), even),
        ];
        for (name, stamp, expected) in cases {
            let stamps: Vec<_> = (0..41).map(stamp).collect();
            assert_eq!(taken(Played::Live, &stamps, 0.1, 1.0), expected, "{name}");
        }
    }

    #[test]
    fn a_recording_is_sampled_on_its_own_time_however_fast_it_is_read() {
        let stamps: Vec<_> = (0..41).map(|n| Some(n * SECOND / 10)).collect();
        let numbers = [0.0, 10.0, 20.0, 30.0, 40.0];
        for interval in [0.5, 10.0] {
            let expected = numbers.map(|number| number * interval);
            assert_eq!(taken(Played::Recorded, &stamps, interval, 1.0), expected);
        }
        assert_eq!(taken(Played::Recorded, &[None; 41], 1.0, 1.0), numbers, "no stamps at all");
        // A wrap loses no frame: the step before it is the best guess.
        let wrapped: Vec<_> =
            (0..41).map(|n| Some(n * SECOND / 10 - if n > 5 { 900 * SECOND } else { 0 })).collect();
        assert_eq!(taken(Played::Recorded, &wrapped, 1.0, 1.0), numbers);
    }

    #[test]
    fn key_frames_that_arrive_a_little_early_are_taken() {
        let stamps: Vec<_> = (0..5).map(|n| Some(n * 999_000)).collect();
        assert_eq!(taken(Played::Live, &stamps, 0.999, 1.0).len(), 5);
    }

    #[test]
    fn key_frames_are_decoded_where_they_suffice() {
        let some = |at: f64| Some(seconds(at));
        let cases = [
            (Decode::Auto, None, 1.0, Decoded::All),
            (Decode::Auto, some(1.0), 1.0, Decoded::KeyFrames),
            (Decode::Auto, some(1.04), 1.0, Decoded::KeyFrames),
            (Decode::Auto, some(2.0), 1.0, Decoded::All),
            (Decode::Auto, some(2.0), 5.0, Decoded::KeyFrames),
            (Decode::Auto, some(0.04), 0.02, Decoded::All),
            (Decode::All, some(0.04), 1.0, Decoded::All),
            (Decode::KeyFrames, None, 1.0, Decoded::KeyFrames),
            (Decode::KeyFrames, some(60.0), 1.0, Decoded::KeyFrames),
        ];
        for (wish, interval, every, expected) in cases {
            assert_eq!(choose(wish, interval, seconds(every)), expected, "{wish:?} {interval:?} {every}");
        }
    }

    /// The seconds at which the choice changes, for a camera with a key frame at each of these intervals, again and again.
    fn changes(intervals: &[f64], until: f64) -> Vec<f64> {
        let (mut frames, mut choice) = (KeyFrames::default(), Choice::new(Decode::Auto, seconds(1.0)));
        let (mut next, mut number, mut changes) = (0.0, 0, vec![]);
        for tick in 0..(until * 10.0) as u32 {
            let now = f64::from(tick) / 10.0;
            if now >= next {
                frames.record(seconds(now));
                next += intervals[number % intervals.len()];
                number += 1;
            }
            let before = choice.decoded();
            choice.update(frames.interval(seconds(now)), seconds(now));
            if choice.decoded() != before {
                changes.push(now);
            }
        }
        changes
    }

    #[test]
    fn the_choice_does_not_follow_each_key_frame() {
        let cases: [(&str, &[f64], usize); 6] = [
            ("even", &[1.0], 1),
            ("around the limit", &[1.0, 1.2, 1.1, 1.0, 1.0], 1),
            ("at the limit", &[1.1, 1.1, 1.1, 1.2, 1.2, 1.2], 1),
            ("too rare", &[2.0], 0),
            ("one in ten is missing", &[1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 2.0], 2),
            ("one in a hundred is missing", &[vec![1.0; 99], vec![2.0]].concat(), 8),
        ];
        for (name, intervals, most) in cases {
            let changes = changes(intervals, 3600.0);
            assert!(changes.len() <= most, "{name}: {changes:?}");
            assert_eq!(changes.is_empty(), most == 0, "{name}: {changes:?}");
        }
    }

    #[test]
    fn key_frames_that_give_no_frames_are_given_up_for_longer_each_time() {
        let mut choice = Choice::new(Decode::Auto, seconds(1.0));
        let mut now = 0.0;
        for expected in [0.0, 60.0, 120.0, 240.0] {
            let began = now;
            while choice.decoded() == Decoded::All {
                choice.update(Some(seconds(1.0)), seconds(now));
                now += 1.0;
            }
            assert_eq!(now - began - 1.0, expected);
            choice.give_up(seconds(now));
        }
        let mut wished = Choice::new(Decode::KeyFrames, seconds(1.0));
        wished.give_up(seconds(1.0));
        wished.update(Some(seconds(9.0)), seconds(9.0));
        assert_eq!(wished.decoded(), Decoded::KeyFrames);
    }

    #[test]
    fn the_interval_is_measured_from_three_key_frames_and_follows_the_stream() {
        let mut frames = KeyFrames::default();
        let mut intervals = vec![];
        for at in [0.0, 1.0, 2.0, 3.0, 7.0, 8.0, 9.0, 10.0] {
            frames.record(seconds(at));
            intervals.push(frames.interval(seconds(at)).map(|interval| interval.as_secs_f64()));
        }
        let (one, four) = (Some(1.0), Some(4.0));
        assert_eq!(intervals, [None, None, one, one, four, four, four, one]);
        assert_eq!(
            frames.interval(seconds(15.0)),
            Some(seconds(5.0)),
            "a missing key frame is noticed at once"
        );
    }

    #[test]
    fn the_next_key_frame_is_expected_at_an_even_interval() {
        let mut frames = KeyFrames::default();
        let mut expected = vec![];
        for at in [0.0, 4.0, 8.0, 12.0, 16.04, 18.0, 22.0, 26.0, 30.0] {
            frames.record(seconds(at));
            expected.push(frames.expected().map(|expected| expected.as_secs_f64()));
        }
        assert_eq!(expected, [None, None, None, Some(16.0), Some(20.08), None, None, None, Some(34.0)]);
    }

    #[test]
    fn the_limit_is_the_interval_between_key_frames_and_stall_after() {
        let cases: &[(&str, &[f64], f64, f64)] = &[
            ("no key frame yet", &[], 20.0, 60.0),
            ("one key frame gives no interval", &[3.0], 20.0, 60.0),
            ("a long stall_after", &[], 90.0, 90.0),
            ("key frames every second", &[0.0, 1.0, 2.0, 3.0], 20.0, 21.0),
            ("the longest of the last intervals", &[0.0, 1.0, 5.0, 6.0], 20.0, 24.0),
            ("a key frame every two minutes", &[0.0, 120.0], 20.0, 140.0),
        ];
        for (name, at, stall_after, limit) in cases {
            let mut frames = KeyFrames::default();
            at.iter().for_each(|at| frames.record(seconds(*at)));
            assert_eq!(frames.limit(seconds(*stall_after)), seconds(*limit), "{name}");
        }
    }

    #[test]
    fn frames_before_a_key_frame_that_suffices_are_not_needed() {
        let mut sampler = Sampler::new(seconds(1.0));
        assert!(!sampler.can_wait_for(seconds(4.0), seconds(0.0)), "the first frame is due");
        sampler.take(seconds(3.0));
        let cases = [
            ("due together", 4.0, 3.04, true),
            ("due 10 ms later", 4.01, 3.04, true),
            ("due before it", 4.5, 3.04, false),
            ("long before", 3.2, 3.04, true),
            ("when it is due", 4.0, 4.0, true),
            ("a little overdue", 4.0, 4.08, true),
            ("overdue", 4.0, 4.12, false),
        ];
        for (name, expected, now, answer) in cases {
            assert_eq!(sampler.can_wait_for(seconds(expected), seconds(now)), answer, "{name}");
        }
    }

    proptest! {
        /// A live stream with arbitrary stamps gives about the requested number of frames.
        #[test]
        fn the_number_of_frames_does_not_depend_on_the_stamps(stamps in prop::collection::vec(prop_oneof![
            any::<Option<i64>>(),
            (0..100_000_000_i64).prop_map(Some),
        ], 400)) {
            // 400 packets in 40 s; the tolerance to the time of arrival allows for a few more at the start.
            let count = taken(Played::Live, &stamps, 0.1, 1.0).len();
            prop_assert!((33..=47).contains(&count), "{count}");
        }

        #[test]
        fn time_never_goes_back(packets in prop::collection::vec((any::<Option<i64>>(), 0_u64..1 << 60), 0..50), live in any::<bool>()) {
            let mut clock = Clock::new(if live { Played::Live } else { Played::Recorded }, seconds(0.1));
            let mut before = Duration::ZERO;
            for (stamp, arrived) in packets {
                let now = clock.advance(stamp, Duration::from_micros(arrived));
                prop_assert!(now >= before);
                before = now;
            }
        }
    }
}
