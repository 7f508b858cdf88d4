//! Joins frames that show the same event: a result for each event, and not for each of its frames. Pure.

use crate::history::vectors::codec::Span;

/// Frames of the same event follow each other within this time, in milliseconds, if they are similar.
const GAP: i64 = 120_000;
/// And within this time if they are nearly equal: a car that is parked, seen by a camera with a picture every ten minutes.
const LONG_GAP: i64 = 3_600_000;
/// How alike similar frames are, as the cosine of their differences from what the camera usually shows.
const SIMILAR: f32 = 0.4;
/// How alike nearly equal frames are.
const NEARLY_EQUAL: f32 = 0.85;

/// Frames that match a query.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hit {
    /// Identifies the source: frames of different sources are different events.
    pub source: i64,
    /// When they were seen.
    pub span: Span,
    /// When the picture of the best one was seen.
    pub best: Span,
    /// How well it matches.
    pub lift: f32,
}

/// Frames of one source that follow each other and are alike.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Event {
    /// The index of the best frame.
    pub best: usize,
    /// From the first to the last frame that matches.
    pub span: Span,
}

/// The events of some frames, the best first. `alike` returns how alike two frames are, given by their indices.
#[must_use]
pub fn events(hits: &[Hit], alike: impl Fn(usize, usize) -> f32) -> Vec<Event> {
    let mut order: Vec<usize> = (0..hits.len()).collect();
    order.sort_by_key(|at| (hits[*at].source, hits[*at].span, *at));
    let mut events: Vec<Event> = Vec::new();
    let mut previous: Option<usize> = None;
    for at in order {
        let hit = &hits[at];
        match (events.last_mut(), previous) {
            (Some(event), Some(previous))
                if continues(&hits[previous], event.span, hit, || alike(previous, at)) =>
            {
                event.span.last = event.span.last.max(hit.span.last);
                if hit.lift > hits[event.best].lift {
                    event.best = at;
                }
            }
            _ => events.push(Event { best: at, span: hit.span }),
        }
        previous = Some(at);
    }
    events.sort_by(|a, b| hits[b.best].lift.total_cmp(&hits[a.best].lift).then(a.best.cmp(&b.best)));
    events
}

/// Whether a frame belongs to the event whose newest frame is `previous`.
fn continues(previous: &Hit, event: Span, hit: &Hit, alike: impl FnOnce() -> f32) -> bool {
    if previous.source != hit.source {
        return false;
    }
    // Regions of one frame, or a frame while the picture did not change.
    if hit.best.first <= previous.best.last && previous.best.first <= hit.best.last {
        return true;
    }
    match hit.span.first.saturating_sub(event.last) {
        gap if gap <= GAP => alike() >= SIMILAR,
        gap if gap <= LONG_GAP => alike() >= NEARLY_EQUAL,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The events of frames (source, seconds, lift), as the indices of their best frames with their seconds.
    fn found(frames: &[(i64, i64, f32)], alike: f32) -> Vec<(usize, i64, i64)> {
        let hits: Vec<_> = frames
            .iter()
            .map(|&(source, seconds, lift)| {
                let span = Span::at(1000 * seconds);
                Hit { source, span, best: span, lift }
            })
            .collect();
        let events = events(&hits, |_, _| alike);
        events.iter().map(|event| (event.best, event.span.first / 1000, event.span.last / 1000)).collect()
    }

    #[test]
    fn a_table_of_cases() {
        type Case = (&'static str, &'static [(i64, i64, f32)], f32, &'static [(usize, i64, i64)]);
        let cases: &[Case] = &[
            ("nothing", &[], 1.0, &[]),
            ("neighbours", &[(1, 10, 2.0), (1, 40, 5.0), (1, 70, 3.0)], 0.5, &[(1, 10, 70)]),
            ("neighbours that differ", &[(1, 10, 2.0), (1, 40, 5.0)], 0.1, &[(1, 40, 40), (0, 10, 10)]),
            ("regions of a frame", &[(1, 10, 2.0), (1, 10, 5.0)], -1.0, &[(1, 10, 10)]),
            ("sources", &[(1, 10, 2.0), (2, 10, 5.0)], 1.0, &[(1, 10, 10), (0, 10, 10)]),
            ("a pause", &[(1, 0, 2.0), (1, 121, 1.0)], 0.5, &[(0, 0, 0), (1, 121, 121)]),
            ("a parked car", &[(1, 0, 2.0), (1, 3_600, 1.0), (1, 7_200, 4.0)], 0.9, &[(2, 0, 7_200)]),
            ("two hours later", &[(1, 0, 2.0), (1, 7_200, 4.0)], 0.99, &[(1, 7_200, 7_200), (0, 0, 0)]),
            ("any order", &[(1, 70, 3.0), (1, 10, 2.0), (1, 40, 1.0)], 0.5, &[(0, 10, 70)]),
        ];
        for (name, frames, alike, expected) in cases {
            assert_eq!(found(frames, *alike), *expected, "{name}");
        }
    }

    proptest! {
        #[test]
        fn one_result_for_each_event(
            starts in prop::collection::btree_set(0_i64..50, 1..12),
            lengths in prop::collection::vec(1_i64..200, 12),
            lifts in prop::collection::vec(0.0_f32..9.0, 2400),
        ) {
            // Events of up to 200 s, which are more than an hour apart.
            let mut frames = Vec::new();
            for (event, start) in starts.iter().enumerate() {
                let base = frames.len();
                let frame = |second| (1, start * 7_200 + second, lifts[base + second as usize]);
                frames.extend((0..lengths[event]).map(frame));
            }
            let events = found(&frames, 0.9);
            prop_assert_eq!(events.len(), starts.len());
            let best = frames.iter().map(|frame| frame.2).fold(0.0, f32::max);
            prop_assert_eq!(frames[events[0].0].2, best);
            for pair in events.windows(2) {
                prop_assert!(frames[pair[0].0].2 >= frames[pair[1].0].2, "the best first");
            }
            for (best, first, last) in events {
                prop_assert!((first..=last).contains(&frames[best].1));
            }
        }
    }
}
