//! Joins near frames of a label to episodes, so that a person who stays in view for a minute is one near miss. Pure.
//!
//! An episode has one moment: its nearest frame. It is written when it has lasted for [`VISIBLE_AFTER`], so that what is about to be
//! raised is not written, again when a nearer frame was seen, and at its end. An episode that ends with a raised label is no near
//! miss, and is withdrawn if it was written.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::Arc,
};

use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use super::choose::{HOUR, Nearness};

/// An episode is written when it has lasted for this long ...
const VISIBLE_AFTER: SignedDuration = SignedDuration::from_secs(10);
/// ... and then at most once in this time.
const REWRITE_AFTER: SignedDuration = SignedDuration::from_mins(1);
/// An episode ends when its label was not near for this long, ...
const QUIET: SignedDuration = SignedDuration::from_mins(1);
/// ... or when no frame arrived for this long.
const SILENT: SignedDuration = SignedDuration::from_mins(10);

/// A label on a source.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub source: Arc<str>,
    pub label_set: Arc<str>,
    pub label: Arc<str>,
}

/// The times of a frame.
#[derive(Debug, Clone, Copy)]
pub(super) struct At {
    pub captured: Timestamp,
    pub judged: Timestamp,
}

/// What a frame was for a label.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Seen {
    /// The label is raised.
    Raised,
    /// The label was far from being raised.
    Far,
    /// The label was near to being raised.
    Near(Nearness),
}

/// The nearest frame of an episode.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Moment<C> {
    pub captured: Timestamp,
    pub nearness: Nearness,
    pub content: C,
}

/// What changes in the history.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Step<C> {
    /// This moment is written, instead of the last one of its episode.
    Write { id: Uuid, moment: Moment<C> },
    /// The episode is deleted, if it was kept.
    Withdraw { id: Uuid },
}

/// The episodes that have not ended.
#[derive(Debug)]
pub(super) struct Episodes<C> {
    open: BTreeMap<Key, Episode<C>>,
    /// Labels that were raised, with their last frame that was raised or near: scores that sink after an alert are no near misses.
    sinking: BTreeMap<Key, At>,
}

#[derive(Debug)]
struct Episode<C> {
    id: Uuid,
    nearest: Moment<C>,
    /// The last near frame.
    last: At,
    /// Whether the label was far on a frame since.
    left: bool,
    began: Timestamp,
    written: Option<Timestamp>,
    /// Whether the nearest frame is not written yet.
    pending: bool,
}

impl<C: Clone> Episodes<C> {
    pub fn new() -> Self {
        Self { open: BTreeMap::new(), sinking: BTreeMap::new() }
    }

    /// Counts a frame. `content` is called if the frame is the nearest of its episode, with the content of the nearest frame before
    /// it; `id` for a new episode.
    pub fn see(
        &mut self,
        key: Key,
        at: At,
        seen: Seen,
        content: impl FnOnce(Option<&C>) -> C,
        id: impl FnOnce() -> Uuid,
    ) -> Vec<Step<C>> {
        match seen {
            Seen::Raised => self.raised(key, at),
            Seen::Near(nearness) if nearness.held || !self.is_sinking(&key, at) => {
                self.near(key, at, nearness, content, id)
            }
            Seen::Near(_) => {
                self.sinking.insert(key, at);
                Vec::new()
            }
            Seen::Far => self.far(key, at),
        }
    }

    /// Ends what no frame continues, and writes what has waited for long enough.
    pub fn settle(&mut self, now: Timestamp) -> Vec<(Key, Step<C>)> {
        self.sinking.retain(|_, last| distance(last.judged, now) < SILENT);
        let mut steps = Vec::new();
        self.open.retain(|key, episode| {
            let ends = distance(episode.last.judged, now) >= SILENT;
            let step = if ends { episode.write(now) } else { episode.write_if_due(now) };
            steps.extend(step.map(|step| (key.clone(), step)));
            !ends
        });
        steps
    }

    /// Writes everything that is not written yet.
    pub fn flush(&mut self) -> Vec<(Key, Step<C>)> {
        let open = self.open.iter_mut();
        open.filter_map(|(key, episode)| Some((key.clone(), episode.write(episode.last.judged)?))).collect()
    }

    fn raised(&mut self, key: Key, at: At) -> Vec<Step<C>> {
        let steps = self.open.remove(&key).and_then(|mut episode| {
            if !episode.holds(at) {
                return episode.write(at.judged);
            }
            episode.written.map(|_| Step::Withdraw { id: episode.id })
        });
        self.sinking.insert(key, at);
        steps.into_iter().collect()
    }

    fn far(&mut self, key: Key, at: At) -> Vec<Step<C>> {
        if self.sinking.contains_key(&key) && !self.is_sinking(&key, at) {
            self.sinking.remove(&key);
        }
        let Entry::Occupied(mut open) = self.open.entry(key) else { return Vec::new() };
        open.get_mut().left = true;
        let step = if open.get().holds(at) {
            open.get_mut().write_if_due(at.judged)
        } else {
            open.remove().write(at.judged)
        };
        step.into_iter().collect()
    }

    fn near(
        &mut self,
        key: Key,
        at: At,
        nearness: Nearness,
        content: impl FnOnce(Option<&C>) -> C,
        id: impl FnOnce() -> Uuid,
    ) -> Vec<Step<C>> {
        let mut steps = Vec::new();
        if let Entry::Occupied(open) = self.open.entry(key.clone())
            && (!open.get().holds(at) || hour(open.get().nearest.captured) != hour(at.captured))
        {
            steps.extend(open.remove().write(at.judged));
        }
        let episode = match self.open.entry(key) {
            Entry::Vacant(none) => none.insert(Episode {
                id: id(),
                nearest: Moment { captured: at.captured, nearness, content: content(None) },
                last: at,
                left: false,
                began: at.judged,
                written: None,
                pending: true,
            }),
            Entry::Occupied(open) => {
                let episode = open.into_mut();
                (episode.last, episode.left) = (at, false);
                if nearness > episode.nearest.nearness {
                    let content = content(Some(&episode.nearest.content));
                    episode.nearest = Moment { captured: at.captured, nearness, content };
                    episode.pending = true;
                }
                episode
            }
        };
        steps.extend(episode.write_if_due(at.judged));
        steps
    }

    /// Whether the label was raised a short time ago, and was near ever since.
    fn is_sinking(&self, key: &Key, at: At) -> bool {
        self.sinking.get(key).is_some_and(|last| distance(last.captured, at.captured) < QUIET)
    }
}

impl<C: Clone> Episode<C> {
    /// Whether a frame at this time belongs to it, or comes before its end.
    fn holds(&self, at: At) -> bool {
        let longest = if self.left { QUIET } else { SILENT };
        distance(self.last.captured, at.captured) < longest
    }

    fn write_if_due(&mut self, now: Timestamp) -> Option<Step<C>> {
        let is_due = match self.written {
            None => distance(self.began, now) >= VISIBLE_AFTER,
            Some(written) => distance(written, now) >= REWRITE_AFTER,
        };
        if is_due { self.write(now) } else { None }
    }

    fn write(&mut self, now: Timestamp) -> Option<Step<C>> {
        std::mem::take(&mut self.pending).then(|| {
            self.written = Some(now);
            Step::Write { id: self.id, moment: self.nearest.clone() }
        })
    }
}

/// The time between two moments, in either direction: clocks are set.
fn distance(from: Timestamp, to: Timestamp) -> SignedDuration {
    to.duration_since(from).abs()
}

fn hour(time: Timestamp) -> i64 {
    time.as_millisecond().div_euclid(HOUR)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key() -> Key {
        Key { source: "door".into(), label_set: "porch".into(), label: "person".into() }
    }

    fn second(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn held(share: f32) -> Seen {
        Seen::Near(Nearness { held: true, share })
    }

    fn below(share: f32) -> Seen {
        Seen::Near(Nearness { held: false, share })
    }

    /// The steps of these frames, then at the end of the service: `w1@5` writes the frame of second 5 as the moment of episode 1, and
    /// `d1` withdraws it.
    fn steps(frames: &[(i64, Seen)]) -> String {
        let (mut episodes, mut ids) = (Episodes::new(), 0);
        let mut found = Vec::new();
        for (at, seen) in frames {
            let at = At { captured: second(*at), judged: second(*at) };
            let id = || {
                ids += 1;
                Uuid::from_u128(ids)
            };
            found.extend(episodes.see(key(), at, *seen, |_| (), id));
        }
        found.extend(episodes.flush().into_iter().map(|(_, step)| step));
        let shown = found.iter().map(|step| match step {
            Step::Write { id, moment } => {
                format!("w{}@{}", id.as_u128(), moment.captured.as_second() - 1_800_000_000)
            }
            Step::Withdraw { id } => format!("d{}", id.as_u128()),
        });
        shown.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_table_of_episodes() {
        use Seen::{Far, Raised};
        type Case<'a> = (&'a str, &'a [(i64, Seen)], &'a str);
        let cases: &[Case<'_>] = &[
            ("nothing", &[(0, Far), (1, Far)], ""),
            ("one frame is held", &[(0, Far), (1, held(1.2)), (2, Far), (3, Far)], "w1@1"),
            (
                "the nearest of an episode",
                &[(0, held(1.1)), (1, held(1.3)), (2, held(1.2)), (3, Far)],
                "w1@1",
            ),
            ("it flickers", &[(0, held(1.1)), (1, Far), (2, held(1.3)), (3, Far), (4, held(1.2))], "w1@2"),
            ("held is nearer than below", &[(0, held(1.0)), (1, below(0.99)), (2, Far)], "w1@0"),
            ("a minute later it is another one", &[(0, held(1.1)), (1, Far), (61, held(1.0))], "w1@0 w2@61"),
            ("frames that are rare", &[(0, held(1.1)), (300, held(1.2)), (599, held(1.0))], "w1@300"),
            ("it ends in silence", &[(0, held(1.1)), (600, held(1.2))], "w1@0 w2@600"),
            ("it is raised soon", &[(0, held(1.1)), (1, held(1.2)), (2, Raised), (3, Far)], ""),
            ("it is raised later", &[(0, held(1.1)), (11, held(1.0)), (30, Raised)], "w1@0 d1"),
            ("it was another one that is raised", &[(0, held(1.1)), (1, Far), (90, Raised)], "w1@0"),
            (
                "it is written after ten seconds",
                &[(0, held(1.1)), (10, held(1.0)), (11, held(1.2))],
                "w1@0 w1@11",
            ),
            (
                "it is written once a minute",
                &[(0, held(1.1)), (10, held(1.2)), (30, held(1.3)), (71, held(1.4)), (72, held(1.1))],
                "w1@10 w1@71",
            ),
            (
                "an hour begins",
                &[
                    (0, held(1.1)),
                    (599, held(1.0)),
                    (1198, held(1.2)),
                    (1797, held(1.0)),
                    (2396, held(1.0)),
                    (2995, held(1.0)),
                    (3594, held(1.0)),
                    (3600, held(1.0)),
                ],
                "w1@0 w1@1198 w2@3600",
            ),
            (
                "a score sinks after an alert",
                &[(0, Raised), (1, below(0.9)), (30, below(0.8)), (80, below(0.8)), (81, Far)],
                "",
            ),
            ("it is far first", &[(0, Raised), (1, below(0.9)), (2, Far), (70, below(0.8))], "w1@70"),
            (
                "a cooldown holds after an alert",
                &[(0, Raised), (1, below(0.9)), (2, held(1.1)), (3, Far)],
                "w1@2",
            ),
        ];
        for (name, frames, expected) in cases {
            assert_eq!(steps(frames), *expected, "{name}");
        }
    }

    #[test]
    fn what_no_frame_follows_is_written_and_then_ended() {
        let mut episodes = Episodes::new();
        let at = At { captured: second(-9000), judged: second(0) };
        assert_eq!(episodes.see(key(), at, held(1.1), |_| 7, Uuid::nil), []);
        assert_eq!(episodes.settle(second(9)), []);
        let [(_, Step::Write { moment, .. })] = &episodes.settle(second(10))[..] else {
            panic!("it is written")
        };
        assert_eq!((moment.captured, moment.content), (second(-9000), 7));
        assert_eq!(episodes.settle(second(599)), []);
        assert_eq!((episodes.settle(second(600)), episodes.open.len()), (vec![], 0));
        let raised = At { captured: second(0), judged: second(700) };
        episodes.see(key(), raised, Seen::Raised, |_| 0, Uuid::nil);
        episodes.settle(second(1300));
        assert!(episodes.sinking.is_empty());
    }

    #[test]
    fn the_content_of_the_frame_before_can_be_kept() {
        let mut episodes = Episodes::new();
        let mut see = |at: i64, share| {
            let at = At { captured: second(at), judged: second(at) };
            let content = |before: Option<&Vec<i64>>| {
                [before.cloned().unwrap_or_default(), vec![at.captured.as_second() - 1_800_000_000]].concat()
            };
            episodes.see(key(), at, held(share), content, Uuid::nil)
        };
        see(0, 1.1);
        see(1, 1.0);
        let steps = see(12, 1.2);
        let [Step::Write { moment, .. }] = &steps[..] else { panic!("{steps:?}") };
        assert_eq!(moment.content, [0, 12]);
    }

    proptest! {
        /// Writes are rare, however often a score changes: one for each ten seconds and episode at most, and the nearest frame of the
        /// whole is never lost unless its episode was raised.
        #[test]
        fn writes_are_rare_and_the_nearest_frame_is_written(
            frames in prop::collection::vec((1i64..20, 0u8..4, 0.75f32..2.0), 1..200)
        ) {
            let (mut episodes, mut now, mut ids) = (Episodes::new(), 0, 0);
            let (mut written, mut nearest): (Vec<Moment<()>>, Option<f32>) = (Vec::new(), None);
            let mut count = 0;
            for (step, kind, share) in frames {
                now += step;
                let seen = if kind == 0 { Seen::Far } else { held(share.max(1.0)) };
                if let Seen::Near(near) = seen {
                    nearest = Some(nearest.map_or(near.share, |nearest| nearest.max(near.share)));
                }
                let at = At { captured: second(now), judged: second(now) };
                let id = || { ids += 1; Uuid::from_u128(ids) };
                for step in episodes.see(key(), at, seen, |_| (), id) {
                    count += 1;
                    if let Step::Write { moment, .. } = step { written.push(moment) }
                }
            }
            prop_assert!(count <= now / 10 + 1 + i64::try_from(ids).unwrap(), "{count} in {now} s");
            written.extend(episodes.flush().into_iter().filter_map(|(_, step)| match step {
                Step::Write { moment, .. } => Some(moment),
                Step::Withdraw { .. } => None,
            }));
            let best = written.iter().map(|moment| moment.nearness.share).reduce(f32::max);
            prop_assert_eq!(best, nearest);
        }
    }
}
