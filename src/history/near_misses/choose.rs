//! Decides which moments are near misses, and which of them are kept. Pure.
//!
//! A near miss is a frame on which a label reached its threshold and a gate kept it from being raised, or a frame whose score stayed
//! below the threshold but near it. Of each hour, source and label a few are kept: the nearest ones.

use uuid::Uuid;

use crate::judge::{Assessment, Gate};

/// The near misses of an hour, source and label that a gate held back, at most ...
pub const MOST_HELD: usize = 3;
/// ... and those whose score stayed below the threshold.
pub const MOST_BELOW: usize = 1;
/// The length of the hour, in milliseconds.
pub const HOUR: i64 = 3_600_000;

/// A score is near from this part of the way from the baseline (0 without one) to the threshold.
const NEAR: f32 = 0.75;

/// How near a moment came to an alert: a moment that a gate held back is nearer than any score below the threshold.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Nearness {
    /// Whether the threshold was reached, so that only a gate held the label back.
    pub held: bool,
    /// The part of the way from the baseline to the threshold: 1 is the threshold. Of a rule over labels: 1.
    pub share: f32,
}

impl Nearness {
    /// How near this frame came to raising the label; `None` if it is raised, or was far from it.
    #[must_use]
    pub fn of(assessment: &Assessment) -> Option<Self> {
        let is_rule = assessment.when.is_some();
        let held =
            |share: Option<f32>| share.filter(|share| *share >= 1.0).map(|share| Self { held: true, share });
        match assessment.held_by.as_ref()? {
            Gate::BelowThreshold => {
                let share = share(assessment, assessment.score)?;
                (NEAR..1.0).contains(&share).then_some(Self { held: false, share })
            }
            // No alert is wanted.
            Gate::Disabled => None,
            // Which score would be high is not known yet.
            Gate::BaselineUnknown { .. } => None,
            Gate::Region { elsewhere, .. } => held(share(assessment, *elsewhere)),
            // What must be present is, and something is that must not be. A rule whose labels are absent is no near miss.
            Gate::Condition { missing, present, unknown } => {
                let is_near = missing.is_empty() && unknown.is_empty() && !present.is_empty();
                is_near.then_some(Self { held: true, share: 1.0 })
            }
            Gate::Inactive { .. }
            | Gate::Hold { .. }
            | Gate::Lasting { .. }
            | Gate::Cooldown { .. }
            | Gate::Snoozed { .. } => {
                held(if is_rule { Some(1.0) } else { share(assessment, assessment.score) })
            }
        }
    }
}

/// The part of the way from the baseline to the threshold. NaN scores are on no way.
fn share(assessment: &Assessment, score: f32) -> Option<f32> {
    let threshold = assessment.levels?.threshold;
    let from = assessment.baseline.unwrap_or(0.0).min(threshold);
    let way = threshold - from;
    let share =
        if way > f32::EPSILON { (score - from) / way } else { f32::from(u8::from(score >= threshold)) };
    share.is_finite().then_some(share)
}

/// A near miss of the same hour, source and label that is in the history.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Kept {
    /// Its identifier.
    pub id: Uuid,
    /// How near it was.
    pub nearness: Nearness,
}

/// What happens to a near miss.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placement {
    /// It is kept, instead of another one if there are enough.
    Keep {
        /// The one that is deleted.
        instead_of: Option<Uuid>,
    },
    /// It is not kept: enough others were nearer, or as near and earlier.
    Discard,
}

/// Whether a near miss is kept beside those of the same hour, source and label. An earlier version of it, with the same `id`, does
/// not count: it is replaced.
#[must_use]
pub fn place(kept: &[Kept], id: Uuid, nearness: Nearness) -> Placement {
    let most = if nearness.held { MOST_HELD } else { MOST_BELOW };
    let others = || kept.iter().filter(|other| other.id != id && other.nearness.held == nearness.held);
    if others().count() < most {
        return Placement::Keep { instead_of: None };
    }
    // Of several that are as far, the newest is the last.
    let farthest =
        others().reduce(
            |farthest, other| {
                if other.nearness.share <= farthest.nearness.share { other } else { farthest }
            },
        );
    match farthest {
        Some(farthest) if nearness.share > farthest.nearness.share => {
            Placement::Keep { instead_of: Some(farthest.id) }
        }
        _ => Placement::Discard,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::{policy::Levels, trigger::Gates};

    fn assessment(score: f32, baseline: Option<f32>, held_by: Option<Gate>) -> Assessment {
        Assessment {
            label_set: "porch".into(),
            label: "person".into(),
            when: score.is_nan().then(|| "person and not dog".into()),
            score,
            region: None,
            levels: (!score.is_nan()).then_some(Levels { threshold: 0.6, clear_below: 0.4 }),
            baseline,
            raised: held_by.is_none(),
            raised_since: None,
            held_by,
            also_held_by: Gates::default(),
            passed: Gates::default(),
        }
    }

    #[test]
    fn a_table_of_moments() {
        let hold = || Gate::Hold { seen: 1, frames: 2, of: 3 };
        let left = Duration::from_secs(9);
        let region = |elsewhere| Gate::Region { here: 0.2, elsewhere, region: Some("road".into()) };
        let condition = |missing: &[&str], present: &[&str], unknown: &[&str]| {
            let names = |names: &[&str]| names.iter().map(|name| (*name).into()).collect();
            Gate::Condition { missing: names(missing), present: names(present), unknown: names(unknown) }
        };
        let rule = f32::NAN;
        let near = |held, share| Some(Nearness { held, share });
        let cases = [
            ("raised", assessment(0.9, None, None), None),
            ("far below", assessment(0.44, None, Some(Gate::BelowThreshold)), None),
            ("just below", assessment(0.54, None, Some(Gate::BelowThreshold)), near(false, 0.9)),
            ("over a high baseline", assessment(0.54, Some(0.5), Some(Gate::BelowThreshold)), None),
            (
                "near over a baseline",
                assessment(0.59, Some(0.5), Some(Gate::BelowThreshold)),
                near(false, 0.9),
            ),
            ("held", assessment(0.9, None, Some(hold())), near(true, 1.5)),
            ("held on the frame that cleared it", assessment(0.1, None, Some(hold())), None),
            ("not long enough", assessment(0.6, None, Some(Gate::Lasting { left })), near(true, 1.0)),
            ("too soon", assessment(0.6, None, Some(Gate::Cooldown { left })), near(true, 1.0)),
            (
                "outside",
                assessment(0.9, None, Some(Gate::Inactive { active: "sat".into() })),
                near(true, 1.5),
            ),
            (
                "snoozed",
                assessment(0.9, None, Some(Gate::Snoozed { until: jiff::Timestamp::MAX })),
                near(true, 1.5),
            ),
            ("switched off", assessment(0.9, None, Some(Gate::Disabled)), None),
            ("elsewhere", assessment(0.2, None, Some(region(0.9))), near(true, 1.5)),
            ("nowhere", assessment(0.2, None, Some(region(0.5))), None),
            (
                "held back by a dog",
                assessment(rule, None, Some(condition(&[], &["dog"], &[]))),
                near(true, 1.0),
            ),
            (
                "the person is absent",
                assessment(rule, None, Some(condition(&["person"], &["dog"], &[]))),
                None,
            ),
            ("unknown", assessment(rule, None, Some(condition(&[], &["dog"], &["cat"]))), None),
            ("a rule is held", assessment(rule, None, Some(hold())), near(true, 1.0)),
            (
                "no baseline yet",
                Assessment {
                    levels: None,
                    ..assessment(0.9, None, Some(Gate::BaselineUnknown { frames: 3, left }))
                },
                None,
            ),
        ];
        for (name, assessment, expected) in cases {
            let found = Nearness::of(&assessment);
            let rounded = found.map(|it| Nearness { share: (it.share * 100.0).round() / 100.0, ..it });
            assert_eq!(rounded, expected, "{name}");
        }
    }

    fn id(number: u128) -> Uuid {
        Uuid::from_u128(number)
    }

    #[test]
    fn better_ones_replace_worse_ones_of_their_kind() {
        let nearness = |held, share| Nearness { held, share };
        let kept = |shares: &[f32]| -> Vec<Kept> {
            let held = (1..).zip(shares).map(|(number, share)| (number, nearness(true, *share)));
            held.map(|(number, nearness)| Kept { id: id(number), nearness }).collect()
        };
        let below = Kept { id: id(9), nearness: nearness(false, 0.9) };
        let keep = |instead_of: Option<u128>| Placement::Keep { instead_of: instead_of.map(id) };
        let cases = [
            ("the first", vec![], 50, nearness(true, 1.0), keep(None)),
            ("there is room", kept(&[1.4, 1.1]), 50, nearness(true, 1.0), keep(None)),
            ("better than the farthest", kept(&[1.4, 1.1, 1.2]), 50, nearness(true, 1.3), keep(Some(2))),
            ("as near as the farthest", kept(&[1.4, 1.1, 1.2]), 50, nearness(true, 1.1), Placement::Discard),
            (
                "of equals the newest gives way",
                kept(&[1.1, 1.1, 1.1]),
                50,
                nearness(true, 1.3),
                keep(Some(3)),
            ),
            ("a newer version of the same", kept(&[1.4, 1.1, 1.2]), 2, nearness(true, 1.15), keep(None)),
            ("the first below", kept(&[1.4, 1.1, 1.2]), 50, nearness(false, 0.8), keep(None)),
            ("below, and better", vec![below], 50, nearness(false, 0.95), keep(Some(9))),
            ("below, and not better", vec![below], 50, nearness(false, 0.85), Placement::Discard),
        ];
        for (name, kept, number, nearness, expected) in cases {
            assert_eq!(place(&kept, id(number), nearness), expected, "{name}");
        }
    }

    proptest! {
        /// Whatever happens in an hour, no more are kept than the limit, and the nearest ones are.
        #[test]
        fn the_nearest_are_kept_and_never_too_many(
            moments in prop::collection::vec((any::<bool>(), 0.75f32..1.0, 0u128..12), 0..60)
        ) {
            let mut kept: Vec<Kept> = Vec::new();
            // The best version of each episode, as its caller hands it in: an episode only gets nearer.
            let mut best: std::collections::BTreeMap<u128, Nearness> = std::collections::BTreeMap::new();
            for (held, share, number) in moments {
                let nearness = Nearness { held, share: if held { share + 0.25 } else { share } };
                if best.get(&number).is_some_and(|best| *best >= nearness) {
                    continue;
                }
                best.insert(number, nearness);
                if let Placement::Keep { instead_of } = place(&kept, id(number), nearness) {
                    kept.retain(|other| other.id != id(number) && Some(other.id) != instead_of);
                    kept.push(Kept { id: id(number), nearness });
                }
                for (held, most) in [(true, MOST_HELD), (false, MOST_BELOW)] {
                    prop_assert!(kept.iter().filter(|it| it.nearness.held == held).count() <= most);
                }
            }
            let nearest = best.values().copied().reduce(|a, b| if b > a { b } else { a });
            let kept_nearest = kept.iter().map(|it| it.nearness).reduce(|a, b| if b > a { b } else { a });
            prop_assert_eq!(nearest, kept_nearest);
        }
    }
}
