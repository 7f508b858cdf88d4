use proptest::prelude::*;

use super::*;
use crate::policy::Hold;

pub(super) const PLAIN: TriggerSettings = TriggerSettings {
    threshold: 0.6,
    clear_below: 0.4,
    rises: false,
    hold: Hold { frames: 1, of: 1 },
    lasting: Duration::ZERO,
    cooldown: Duration::ZERO,
};

pub(super) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

/// One character a frame: `R` raised, `C` cleared, `.` nothing.
fn states(settings: TriggerSettings, frames: &[(i64, f32)]) -> String {
    let mut trigger = Trigger::new(settings);
    let letter = |(second, score)| match trigger.update(score, at(second)) {
        Some(Transition::Raised) => 'R',
        Some(Transition::Cleared) => 'C',
        None => '.',
    };
    frames.iter().copied().map(letter).collect()
}

fn every_second(scores: &[f32]) -> Vec<(i64, f32)> {
    (0..).zip(scores.iter().copied()).collect()
}

#[test]
fn a_table_of_cases() {
    let hold = |frames, of| TriggerSettings { hold: Hold { frames, of }, ..PLAIN };
    let cases: &[(&str, TriggerSettings, &[f32], &str)] = &[
        ("nothing on empty", PLAIN, &[], ""),
        ("the threshold itself counts", PLAIN, &[0.59, 0.6], ".R"),
        ("raised once while it stays", PLAIN, &[0.7, 0.9, 0.8], "R.."),
        ("between the levels nothing changes", PLAIN, &[0.5, 0.7, 0.5, 0.4, 0.39, 0.5, 0.6], ".R..C.R"),
        ("NaN is on neither side", PLAIN, &[f32::NAN, 0.7, f32::NAN, 0.1], ".R.C"),
        ("2 of 3: one frame is not enough", hold(2, 3), &[0.9, 0.1, 0.1, 0.9, 0.1], "....."),
        ("2 of 3: two of the newest three", hold(2, 3), &[0.9, 0.1, 0.9, 0.9], "..R."),
        ("2 of 3: a raise resets the count of low frames", hold(2, 3), &[0.1, 0.9, 0.9, 0.1, 0.1], "..R.C"),
        (
            "2 of 3: a clear resets the count of high frames",
            hold(2, 3),
            &[0.9, 0.9, 0.1, 0.1, 0.9, 0.9],
            ".R.C.R",
        ),
        ("3 of 3", hold(3, 3), &[0.9, 0.9, 0.1, 0.9, 0.9, 0.9], ".....R"),
        ("64 of 64 is the longest memory", hold(64, 64), &[0.9; 65], &format!("{}R.", ".".repeat(63))),
    ];
    for (name, settings, scores, expected) in cases {
        assert_eq!(states(*settings, &every_second(scores)), *expected, "{name}");
    }
}

#[test]
fn a_cooldown_delays_the_next_raise_but_never_a_clear() {
    let settings = TriggerSettings { cooldown: Duration::from_secs(10), ..PLAIN };
    assert_eq!(states(settings, &[(0, 0.9), (1, 0.1), (5, 0.9), (9, 0.9), (10, 0.9), (11, 0.1)]), "RC..RC");
}

#[test]
fn frames_must_agree_for_the_whole_duration() {
    let settings = TriggerSettings { lasting: Duration::from_secs(10), ..PLAIN };
    let year = -365 * 24 * 3600;
    type Case<'a> = (&'a str, &'a [(i64, f32)], &'a str);
    let cases: &[Case] = &[
        ("exactly the duration", &[(0, 0.9), (9, 0.9), (10, 0.9)], "..R"),
        (
            "a frame below the threshold resets the duration",
            &[(0, 0.9), (5, 0.5), (9, 0.9), (18, 0.9), (19, 0.9)],
            "....R",
        ),
        ("a clear takes no time", &[(0, 0.9), (10, 0.9), (11, 0.1)], ".RC"),
        (
            "a clear resets the duration",
            &[(0, 0.9), (10, 0.9), (11, 0.1), (12, 0.9), (21, 0.9), (22, 0.9)],
            ".RC..R",
        ),
        ("time that jumps back", &[(0, 0.9), (year, 0.9), (year + 9, 0.9), (year + 10, 0.9)], "...R"),
    ];
    for (name, frames, expected) in cases {
        assert_eq!(states(settings, frames), *expected, "{name}");
    }
}

#[test]
fn time_that_jumps_back_delays_by_one_cooldown_at_most() {
    let settings = TriggerSettings { cooldown: Duration::from_secs(10), ..PLAIN };
    let year = -365 * 24 * 3600;
    assert_eq!(
        states(settings, &[(0, 0.9), (1, 0.1), (year, 0.9), (year + 9, 0.9), (year + 10, 0.9)]),
        "RC..R"
    );
}

#[test]
fn a_restart_neither_raises_again_nor_ends_a_cooldown() {
    let settings = TriggerSettings { cooldown: Duration::from_secs(10), ..PLAIN };
    let mut raised = Trigger::restore(settings, true, at(0));
    assert_eq!([raised.update(0.9, at(20)), raised.update(0.1, at(21))], [None, Some(Transition::Cleared)]);
    let mut cleared = Trigger::restore(settings, false, at(0));
    assert_eq!([cleared.update(0.9, at(9)), cleared.update(0.9, at(10))], [None, Some(Transition::Raised)]);
}

/// Frames under one settings, then frames under another.
fn states_with(first: TriggerSettings, frames: &[f32], second: TriggerSettings, more: &[f32]) -> String {
    let mut trigger = Trigger::new(first);
    let mut transitions = String::new();
    for (second_settings, frames) in [(first, frames), (second, more)] {
        trigger = trigger.with_settings(second_settings);
        for score in frames {
            let before = trigger.is_raised();
            let transition = trigger.update(*score, at(transitions.len() as i64));
            assert_eq!(transition.is_some(), before != trigger.is_raised());
            transitions.push(transition.map_or('.', |to| if to == Transition::Raised { 'R' } else { 'C' }));
        }
    }
    transitions
}

#[test]
fn other_settings_keep_what_is_raised() {
    let hold = |frames, of| TriggerSettings { hold: Hold { frames, of }, ..PLAIN };
    let stricter = TriggerSettings { threshold: 0.8, clear_below: 0.7, ..PLAIN };
    let cooldown = |seconds| TriggerSettings { cooldown: Duration::from_secs(seconds), ..PLAIN };
    type Case<'a> = (&'a str, TriggerSettings, &'a [f32], TriggerSettings, &'a [f32], &'a str);
    let cases: &[Case] = &[
        ("raised stays raised", PLAIN, &[0.9], stricter, &[0.9, 0.75], "R.."),
        ("the new clear level counts", PLAIN, &[0.9], stricter, &[0.6], "RC"),
        ("the new threshold counts", PLAIN, &[0.1], stricter, &[0.7, 0.8], "..R"),
        (
            "frames counted with other levels do not count",
            hold(2, 2),
            &[0.7],
            TriggerSettings { threshold: 0.65, ..hold(2, 2) },
            &[0.7, 0.7],
            "..R",
        ),
        ("frames counted with the same levels count", hold(2, 2), &[0.7], hold(2, 3), &[0.7], ".R"),
        ("a running cooldown is kept", cooldown(9), &[0.9, 0.1], cooldown(3), &[0.9, 0.9], "RC.R"),
    ];
    for (name, first, frames, second, more, expected) in cases {
        assert_eq!(states_with(*first, frames, *second, more), *expected, "{name}");
    }
}

proptest! {
    #[test]
    fn raised_and_cleared_alternate_and_conditions_hold(
        frames in prop::collection::vec((-20i64..20, 0.0f32..1.0), 0..200),
        (of, k) in (1u8..=8).prop_flat_map(|of| (Just(of), 1..=of)),
        cooldown in 0u64..30,
        lasting in 0u64..20,
    ) {
        let settings = TriggerSettings {
            hold: Hold { frames: k, of },
            lasting: Duration::from_secs(lasting),
            cooldown: Duration::from_secs(cooldown),
            ..PLAIN
        };
        let mut trigger = Trigger::new(settings);
        let (mut now, mut expected, mut raised_at) = (0, Transition::Raised, None);
        let mut times = vec![];
        for (seen, (step, score)) in frames.iter().copied().enumerate() {
            now += step;
            times.push(now);
            raised_at = raised_at.map(|raised: i64| raised.min(now));
            let Some(transition) = trigger.update(score, at(now)) else { continue };
            prop_assert_eq!(transition, expected);
            let agreed = |seen: usize| {
                let newest = &frames[(seen + 1).saturating_sub(usize::from(of))..=seen];
                let agreeing = newest.iter().filter(|(_, score)| match transition {
                    Transition::Raised => *score >= settings.threshold,
                    Transition::Cleared => *score < settings.clear_below,
                });
                agreeing.count() >= usize::from(k)
            };
            prop_assert!(agreed(seen));
            if transition == Transition::Raised {
                let mut since = (0..=seen).rev().take_while(|seen| agreed(*seen)).map(|seen| times[seen]);
                prop_assert!(since.any(|since| now - since >= i64::try_from(lasting).unwrap()));
                prop_assert!(raised_at.is_none_or(|raised| now - raised >= i64::try_from(cooldown).unwrap()));
                raised_at = Some(now);
            }
            expected = match transition {
                Transition::Raised => Transition::Cleared,
                Transition::Cleared => Transition::Raised,
            };
        }
    }

    /// A restart may come at any frame. Only whether the label is raised, and when it was raised last, is restored:
    /// raised and cleared still alternate, a cooldown is kept, and nothing is raised sooner than without the restart.
    #[test]
    fn a_restart_at_any_time_breaks_no_rule(
        frames in prop::collection::vec((0i64..20, 0.0f32..1.0, prop::bool::weighted(0.2)), 0..200),
        (of, k) in (1u8..=4).prop_flat_map(|of| (Just(of), 1..=of)),
        cooldown in 0u64..30,
        lasting in 0u64..20,
    ) {
        let settings = TriggerSettings {
            hold: Hold { frames: k, of },
            lasting: Duration::from_secs(lasting),
            cooldown: Duration::from_secs(cooldown),
            ..PLAIN
        };
        let mut trigger = Trigger::new(settings);
        let (mut now, mut raised, mut last_raised, mut since_restart) = (0, false, None, vec![]);
        for (step, score, restart) in frames {
            now += step;
            if restart {
                trigger = match last_raised {
                    Some(last) => Trigger::restore(settings, raised, at(last)),
                    // Without an alert nothing is stored.
                    None => Trigger::new(settings),
                };
                since_restart.clear();
            }
            prop_assert_eq!(trigger.is_raised(), raised);
            since_restart.push((now, score));
            let Some(transition) = trigger.update(score, at(now)) else { continue };
            prop_assert_eq!(transition == Transition::Raised, !raised);
            raised = !raised;
            let newest = since_restart.iter().rev().take(usize::from(of));
            let agreeing = newest.filter(|(_, score)| match transition {
                Transition::Raised => *score >= settings.threshold,
                Transition::Cleared => *score < settings.clear_below,
            });
            prop_assert!(agreeing.count() >= usize::from(k), "frames from before the restart do not count");
            if raised {
                let cooled = |last: i64| now - last >= i64::try_from(cooldown).unwrap();
                prop_assert!(last_raised.is_none_or(cooled));
                let first = since_restart.iter().find(|(_, score)| *score >= settings.threshold);
                prop_assert!(first.is_some_and(|(since, _)| now - since >= i64::try_from(lasting).unwrap()));
                last_raised = Some(now);
            }
        }
    }
}

const RISES: TriggerSettings = TriggerSettings { threshold: 0.2, clear_below: 0.1, rises: true, ..PLAIN };
const OVER: Duration = Duration::from_secs(600);

/// A trigger that has seen two minutes of quiet frames with this score.
fn quiet(score: f32) -> Trigger {
    let mut trigger = Trigger::new(RISES).with_baseline(Some(OVER), None);
    for second in -120..=0 {
        assert_eq!(trigger.update(score, at(second)), None);
    }
    trigger
}

fn known(trigger: &Trigger) -> f32 {
    trigger.baseline().and_then(Baseline::level).unwrap()
}

#[test]
fn a_rise_counts_from_any_baseline() {
    for (baseline, below, above, clear) in [(0.1, 0.25, 0.31, 0.19), (0.5, 0.65, 0.71, 0.59)] {
        let mut trigger = quiet(baseline);
        let transitions = [below, above, clear + 0.02, clear].map(|score| trigger.update(score, at(1)));
        assert_eq!(
            transitions,
            [None, Some(Transition::Raised), None, Some(Transition::Cleared)],
            "{baseline}"
        );
    }
}

#[test]
fn nothing_is_raised_before_the_baseline_is_known() {
    let mut trigger = Trigger::new(RISES).with_baseline(Some(OVER), None);
    for second in 0..120 {
        assert_eq!((trigger.levels(), trigger.update(0.9, at(second))), (None, None));
    }
    let mut without = Trigger::new(RISES);
    assert_eq!((0..500).find_map(|second| without.update(0.9, at(second))), None, "none is learnt");
}

#[test]
fn frames_of_a_raise_are_not_learnt() {
    let mut trigger = quiet(0.1);
    trigger = trigger.with_settings(TriggerSettings { hold: Hold { frames: 3, of: 3 }, ..RISES });
    let before = trigger.baseline();
    let transitions: Vec<_> = (1..600).map(|second| trigger.update(0.9, at(second))).collect();
    assert_eq!(transitions.iter().flatten().collect::<Vec<_>>(), [&Transition::Raised]);
    assert_eq!(transitions[2], Some(Transition::Raised));
    assert_eq!(trigger.baseline(), before);
    assert_eq!(trigger.update(0.1, at(600)), None, "1 of 3");
    assert_eq!(trigger.baseline(), before, "still raised");
}

#[test]
fn a_slow_drift_is_followed_and_a_fixed_threshold_is_not_needed() {
    let mut trigger = quiet(0.05);
    // From 0.05 to 0.65 in two hours; every ten minutes something happens.
    for second in 1..7200 {
        let base = 0.05 + 0.6 * second as f32 / 7200.0;
        let score = if second % 600 >= 590 { base + (1.0 - base) * 0.6 } else { base };
        let transitions = trigger.update(score, at(second));
        let expected = match second % 600 {
            590 => Some(Transition::Raised),
            0 => Some(Transition::Cleared),
            _ => None,
        };
        assert_eq!(transitions, expected, "{second}");
    }
}

#[test]
fn other_settings_keep_the_baseline_and_what_is_raised() {
    let mut trigger = quiet(0.3).with_settings(TriggerSettings { threshold: 0.4, clear_below: 0.2, ..RISES });
    assert_eq!([0.6, 0.71].map(|score| trigger.update(score, at(1))), [None, Some(Transition::Raised)]);
    let learnt = known(&trigger);
    let mut fixed = trigger.with_settings(PLAIN);
    assert_eq!(known(&fixed), learnt);
    assert_eq!([0.41, 0.39].map(|score| fixed.update(score, at(2))), [None, Some(Transition::Cleared)]);
    assert_eq!(known(&fixed.clone().with_baseline(Some(OVER * 2), fixed.baseline())), learnt);
    assert_eq!(fixed.clone().with_baseline(None, fixed.baseline()).baseline(), None);
}

#[test]
fn a_label_raised_without_a_baseline_is_cleared_near_its_old_threshold() {
    let mut raised = Trigger::restore(TriggerSettings::at(0.6), true, at(0))
        .with_settings(RISES)
        .with_baseline(Some(OVER), None);
    let transitions = [0.9, 0.55, 0.49].map(|score| raised.update(score, at(1)));
    assert_eq!(transitions, [None, None, Some(Transition::Cleared)]);
    assert_eq!(raised.update(0.9, at(2)), None, "the baseline is not known yet");
}

#[test]
fn outside_its_hours_a_label_learns_and_is_not_raised() {
    let learnt = rounding::rounded(0.3);
    let mut trigger = Trigger::new(RISES).with_baseline(Some(OVER), None);
    for second in 0..=120 {
        assert_eq!(trigger.update_inactive(0.3, at(second)), None);
    }
    assert_eq!(known(&trigger), learnt);
    assert_eq!(trigger.update_inactive(0.9, at(121)), None);
    assert_eq!(known(&trigger), learnt);
    assert_eq!(trigger.update(0.9, at(122)), Some(Transition::Raised));
    assert_eq!(trigger.update_inactive(0.3, at(123)), Some(Transition::Cleared));
}

#[test]
fn outside_its_hours_a_label_is_not_raised_by_earlier_frames_either() {
    let settings = TriggerSettings {
        hold: Hold { frames: 2, of: 3 },
        cooldown: Duration::from_secs(10),
        ..TriggerSettings::at(0.6)
    };
    let mut trigger = Trigger::restore(settings, false, at(0));
    assert_eq!([8, 9].map(|second| trigger.update(0.9, at(second))), [None, None], "the cooldown runs");
    assert_eq!(trigger.update_inactive(0.9, at(10)), None, "two of three agree, and it is over");
    assert_eq!(trigger.update(0.9, at(11)), Some(Transition::Raised));
}

proptest! {
    #[test]
    fn a_baseline_is_learnt_from_quiet_frames_alone(
        frames in prop::collection::vec((-20i64..90, 0.0f32..1.0), 0..300),
        (of, k) in (1u8..=5).prop_flat_map(|of| (Just(of), 1..=of)),
        rises: bool,
    ) {
        let settings = TriggerSettings { hold: Hold { frames: k, of }, rises, ..RISES };
        let mut trigger = Trigger::new(settings).with_baseline(Some(OVER), None);
        let (mut now, mut expected) = (0, Transition::Raised);
        for (step, score) in frames {
            now += step;
            let (before, levels, raised) = (trigger.baseline(), trigger.levels(), trigger.is_raised());
            let transitions = trigger.update(score, at(now));
            let agrees = levels.is_some_and(|levels| score >= levels.threshold);
            if raised || agrees || trigger.is_raised() {
                prop_assert_eq!(trigger.baseline(), before);
            } else {
                prop_assert!(trigger.baseline().is_some());
            }
            if let Some(transition) = transitions {
                prop_assert_eq!(transition, expected);
                prop_assert!(agrees || transition == Transition::Cleared || k < of);
                expected = match transition {
                    Transition::Raised => Transition::Cleared,
                    Transition::Cleared => Transition::Raised,
                };
            }
            prop_assert_eq!(levels.is_none(), rises && !raised && before.and_then(Baseline::level).is_none());
        }
    }
}

/// A clock that is set by a year, or that begins in 1970, must neither raise a label early nor silence it.
#[test]
fn a_clock_that_is_set_changes_neither_duration_nor_cooldown_nor_baseline() {
    const YEAR: i64 = 365 * 24 * 3600;
    let settings =
        TriggerSettings { lasting: Duration::from_secs(10), cooldown: Duration::from_secs(100), ..PLAIN };
    // The clock is set after the frame of second 5, and again during the cooldown.
    let frames: Vec<_> = (0..12)
        .map(|second| (second, 0.9))
        .chain([(12, 0.1)])
        .chain((13..130).map(|second| (second, 0.9)))
        .collect();
    let expected = states(settings, &frames);
    assert_eq!(expected.find('R'), Some(10));
    assert_eq!(expected.rfind('R'), Some(110), "after the cooldown");
    for year in [YEAR, -YEAR, 56 * YEAR] {
        let mut trigger = Trigger::new(settings).with_baseline(Some(Duration::from_secs(600)), None);
        let mut offset = 0;
        let mut found = String::new();
        for (second, score) in &frames {
            if [6, 40].contains(second) {
                offset += year;
                trigger.clock_was_set(SignedDuration::from_secs(year));
            }
            found.push(match trigger.update(*score, at(second + offset)) {
                Some(Transition::Raised) => 'R',
                Some(Transition::Cleared) => 'C',
                None => '.',
            });
        }
        assert_eq!(found, expected, "set by {year} s");
    }
    let far = Baseline::new(0.2, Timestamp::MAX).moved(SignedDuration::MAX).moved(SignedDuration::MIN);
    assert_eq!(far, Baseline::new(0.2, Timestamp::MIN), "beyond all times");
}
