//! Which frames of a stream are taken: pure decisions on time stamps that others read.
//!
//! [`Clock`] makes a time that can be trusted of the stamps of a stream, [`Sampler`] takes one frame in each interval of
//! that time, and [`KeyFrames`] measures how often a key frame comes, by which [`choose`] decides what is decoded.
//!
//! It refuses to look at a clock: when a packet arrived is told, too.

use std::time::Duration;

use crate::config::Decode;

/// A larger step between two packets is no step of time: the stamps began anew or wrapped.
const JUMP: Duration = Duration::from_secs(10);
/// How long the first whole frame of a stream may take while it brings packets: some cameras send a key frame once a minute.
const FIRST_FRAME: Duration = Duration::from_secs(60);
/// So far may the time of a live stream be from that of its arrival: a burst after a hiccup is no hurry.
const LEASH: Duration = Duration::from_secs(3);

/// Whether the time of arrival means anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Played {
    /// A camera: what arrives is of now.
    Live,
    /// A recording: it arrives as fast as it is read.
    Recorded,
}

/// The time of a stream: it never goes back, whatever its stamps do.
#[derive(Debug)]
pub struct Clock {
    played: Played,
    now: Duration,
    last: Option<Last>,
    /// The last step that made sense.
    step: Duration,
}

/// The packet before.
#[derive(Debug, Clone, Copy)]
struct Last {
    stamp: Option<i64>,
    arrived: Duration,
}

impl Clock {
    /// A clock that did not begin; `step` is what lies between two packets, as far as that is known beforehand.
    #[must_use]
    pub fn new(played: Played, step: Duration) -> Self {
        Self { played, now: Duration::ZERO, last: None, step }
    }

    /// The time after one more packet, which says of itself that it is of `stamp` (microseconds) and `arrived` then.
    ///
    /// A stamp that is missing, stands still, goes back or jumps moves the time as the arrival did (live), or by the last
    /// step that made sense (recorded).
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
            // Stamps that creep or race are as wrong as those that jump.
            now = now.clamp(arrived.saturating_sub(LEASH), arrived.saturating_add(LEASH));
        }
        self.now = self.now.max(now);
        self.now
    }
}

/// One frame in each interval.
#[derive(Debug)]
pub struct Sampler {
    every: Duration,
    next: Option<Duration>,
}

impl Sampler {
    /// The first frame is taken.
    #[must_use]
    pub fn new(every: Duration) -> Self {
        Self { every, next: None }
    }

    /// Whether a frame of this time is to be taken.
    #[must_use]
    pub fn is_due(&self, now: Duration) -> bool {
        self.next.is_none_or(|next| now.saturating_add(slack(self.every)) >= next)
    }

    /// Whether nothing before the key frame that is `expected` is needed: it comes by the time when a frame is due, and is not
    /// much overdue.
    #[must_use]
    pub fn can_wait_for(&self, expected: Duration, now: Duration) -> bool {
        self.next.is_some_and(|next| expected <= next.saturating_add(slack(self.every)))
            && now <= expected.saturating_add(self.every / 10)
    }

    /// A frame of this time was taken. The next one is due an interval after this one was, so that late frames do not
    /// add up; after a gap the intervals begin anew.
    pub fn take(&mut self, now: Duration) {
        let due = self.next.unwrap_or(now).saturating_add(self.every);
        self.next = Some(if now >= due { now.saturating_add(self.every) } else { due });
    }
}

/// Cameras do not keep time to the millisecond: a key frame every 0.999 s is often enough for one every second.
fn slack(every: Duration) -> Duration {
    every / 50
}

/// How often a key frame comes.
#[derive(Debug, Default)]
pub struct KeyFrames {
    last: Option<Duration>,
    intervals: [Option<Duration>; 3],
}

impl KeyFrames {
    /// A key frame came.
    pub fn came(&mut self, now: Duration) {
        if let Some(last) = self.last.replace(now) {
            self.intervals.rotate_left(1);
            self.intervals[2] = Some(now.saturating_sub(last));
        }
    }

    /// The longest of the newest intervals, the one that still runs too; `None` until there are enough to tell.
    #[must_use]
    pub fn interval(&self, now: Duration) -> Option<Duration> {
        let [_, Some(before), Some(newest)] = self.intervals else { return None };
        let running = now.saturating_sub(self.last?);
        Some(self.intervals[0].map_or(before, |first| first.max(before)).max(newest).max(running))
    }

    /// How long a stream that brings packets may bring no whole frame. After any damage the next key frame is waited for, so
    /// that is as long as they lie apart, and the user's patience beyond that.
    #[must_use]
    pub fn patience(&self, stall_after: Duration) -> Duration {
        let apart = self.intervals.iter().flatten().max();
        apart.map_or(FIRST_FRAME.max(stall_after), |apart| apart.saturating_add(stall_after))
    }

    /// When the next one is expected; `None` where they do not come evenly, or are too few to tell.
    #[must_use]
    pub fn expected(&self) -> Option<Duration> {
        let [Some(first), Some(second), Some(third)] = self.intervals else { return None };
        let (least, most) = (first.min(second).min(third), first.max(second).max(third));
        let even = most - least <= slack(most);
        self.last.filter(|_| even).map(|last| last.saturating_add(most))
    }
}

/// What of a stream is decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decoded {
    /// Only key frames.
    KeyFrames,
    /// Every frame.
    All,
}

/// What is decoded of a stream with a key frame every `interval` (if that is known), of which one frame `every` so often
/// is wanted.
#[must_use]
pub fn choose(wish: Decode, interval: Option<Duration>, every: Duration) -> Decoded {
    match wish {
        Decode::KeyFrames => Decoded::KeyFrames,
        Decode::All => Decoded::All,
        Decode::Auto if interval.is_some_and(|interval| interval <= every + every / 10) => Decoded::KeyFrames,
        Decode::Auto => Decoded::All,
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

    /// When frames are taken, by arrival, of packets that come evenly with these stamps.
    fn taken(played: Played, stamps: &[Option<i64>], apart: f64, every: f64) -> Vec<f64> {
        let (mut clock, mut sampler) = (Clock::new(played, seconds(0.1)), Sampler::new(seconds(every)));
        let mut taken = vec![];
        for (number, stamp) in (0_u32..).zip(stamps) {
            let arrived = apart * f64::from(number);
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
            ("standing still", |_| Some(7), even.clone()),
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
    fn a_recording_goes_by_its_own_time_however_fast_it_is_read() {
        let stamps: Vec<_> = (0..41).map(|n| Some(n * SECOND / 10)).collect();
        let numbers = [0.0, 10.0, 20.0, 30.0, 40.0];
        for apart in [0.5, 10.0] {
            assert_eq!(taken(Played::Recorded, &stamps, apart, 1.0), numbers.map(|number| number * apart));
        }
        assert_eq!(taken(Played::Recorded, &[None; 41], 1.0, 1.0), numbers, "no stamps at all");
        // A wrap in the middle costs nothing: the step before is the best guess.
        let wrapped: Vec<_> =
            (0..41).map(|n| Some(n * SECOND / 10 - if n > 5 { 900 * SECOND } else { 0 })).collect();
        assert_eq!(taken(Played::Recorded, &wrapped, 1.0, 1.0), numbers);
    }

    #[test]
    fn key_frames_that_come_a_little_early_are_taken_all_the_same() {
        let stamps: Vec<_> = (0..5).map(|n| Some(n * 999_000)).collect();
        assert_eq!(taken(Played::Live, &stamps, 0.999, 1.0).len(), 5);
    }

    #[test]
    fn what_is_decoded() {
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

    #[test]
    fn the_interval_is_known_after_three_key_frames_and_follows_the_stream() {
        let mut frames = KeyFrames::default();
        let mut told = vec![];
        for at in [0.0, 1.0, 2.0, 3.0, 7.0, 8.0, 9.0, 10.0] {
            frames.came(seconds(at));
            told.push(frames.interval(seconds(at)).map(|interval| interval.as_secs_f64()));
        }
        let (one, four) = (Some(1.0), Some(4.0));
        assert_eq!(told, [None, None, one, one, four, four, four, one]);
        assert_eq!(
            frames.interval(seconds(15.0)),
            Some(seconds(5.0)),
            "one that does not come is noticed at once"
        );
    }

    #[test]
    fn the_next_key_frame_is_expected_where_they_come_evenly() {
        let mut frames = KeyFrames::default();
        let mut told = vec![];
        for at in [0.0, 4.0, 8.0, 12.0, 16.04, 18.0, 22.0, 26.0, 30.0] {
            frames.came(seconds(at));
            told.push(frames.expected().map(|expected| expected.as_secs_f64()));
        }
        assert_eq!(told, [None, None, None, Some(16.0), Some(20.08), None, None, None, Some(34.0)]);
    }

    #[test]
    fn patience_is_until_the_next_key_frame_and_a_little_more() {
        let cases: &[(&str, &[f64], f64, f64)] = &[
            ("nothing is known", &[], 20.0, 60.0),
            ("one key frame tells nothing", &[3.0], 20.0, 60.0),
            ("a patient user", &[], 90.0, 90.0),
            ("key frames every second", &[0.0, 1.0, 2.0, 3.0], 20.0, 21.0),
            ("the longest of the newest", &[0.0, 1.0, 5.0, 6.0], 20.0, 24.0),
            ("a key frame every two minutes", &[0.0, 120.0], 20.0, 140.0),
        ];
        for (name, came, stall_after, patience) in cases {
            let mut frames = KeyFrames::default();
            came.iter().for_each(|came| frames.came(seconds(*came)));
            assert_eq!(frames.patience(seconds(*stall_after)), seconds(*patience), "{name}");
        }
    }

    #[test]
    fn what_comes_before_a_key_frame_that_is_due_first_is_not_needed() {
        let mut sampler = Sampler::new(seconds(1.0));
        assert!(!sampler.can_wait_for(seconds(4.0), seconds(0.0)), "the first frame is due");
        sampler.take(seconds(3.0));
        let cases = [
            ("due together", 4.0, 3.04, true),
            ("due a moment later", 4.01, 3.04, true),
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
        /// A live stream with any stamps at all gives about as many frames as were asked for.
        #[test]
        fn no_stamps_starve_or_flood(stamps in prop::collection::vec(prop_oneof![
            any::<Option<i64>>(),
            (0..100_000_000_i64).prop_map(Some),
        ], 400)) {
            // 400 packets in 40 s; the leash allows for a few more at the start.
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
