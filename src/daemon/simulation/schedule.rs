//! What happens in one run of the simulation, as it derives from the seed. Pure.

use std::{collections::VecDeque, time::Duration};

use crate::faults::{Condition, Operation, Random};

/// The labels that raise alerts.
pub(super) const LABELS: u64 = 4;

/// The run that derives from a seed.
#[derive(Debug, Clone)]
pub(super) struct Schedule {
    pub(super) profile: Profile,
    pub(super) steps: VecDeque<Timed>,
}

/// What is the same throughout a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Profile {
    /// The outbox has room for some twenty alerts and a few snapshots.
    pub(super) small: bool,
    /// Devices are announced to Home Assistant.
    pub(super) home_assistant: bool,
    /// There is a webhook, too.
    pub(super) webhook: bool,
}

/// A step, and the time before it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timed {
    pub(super) after: Duration,
    pub(super) step: Step,
}

/// What happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Alerts of labels are raised or cleared with one write.
    Raise { alerts: u64 },
    /// The condition of the disk changes.
    Disk(Condition),
    /// The broker changes how it answers.
    Broker(Broker),
    /// The broker breaks the connection. If it forgets, it was restarted without its retained messages.
    Break { forgets: bool },
    /// The broker forbids alerts of this label, or allows them.
    Deny { label: u64, denied: bool },
    /// The quota at the broker is used up, or renewed.
    Quota { used_up: bool },
    /// The webhook does not work, or works again.
    Webhook { works: bool },
    /// The wall clock is set forward, or back.
    Clock { milliseconds: i64 },
    /// A time server sets it.
    Synchronise,
    /// The file of the outbox vanishes.
    Vanish(Vanishing),
    /// The service is killed, or the power is cut.
    Crash { power: bool },
    /// The same, at this later change of the disk; 1 is the next one.
    CrashAt { change: u64, power: bool },
    /// The service is stopped with SIGTERM.
    Stop,
}

/// What someone does to the files of the outbox while they are open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Vanishing {
    /// Deletes the database.
    Deleted,
    /// Renames it.
    Renamed,
    /// Deletes the state folder.
    WithFolder,
    /// Deletes its log.
    Log,
}

/// How a broker answers; all in per cent of the messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Broker {
    /// Whether connections are accepted.
    pub(super) up: bool,
    /// The connection breaks before the broker has the message.
    pub(super) loses: u64,
    /// It breaks after the broker has the message, and before the acknowledgement.
    pub(super) breaks: u64,
    /// The acknowledgement never comes.
    pub(super) silent: u64,
    /// The longest time to an acknowledgement, in milliseconds.
    pub(super) slow: u64,
}

impl Broker {
    /// One that works.
    pub(super) const FINE: Self = Self { up: true, loses: 0, breaks: 0, silent: 0, slow: 3 };
}

impl Schedule {
    pub(super) fn of(seed: u64) -> Self {
        let mut random = Random::new(seed, 1);
        let profile = Profile {
            small: random.percent(15),
            home_assistant: random.percent(15),
            webhook: random.percent(30),
        };
        let count = 4 + random.below(14);
        let steps = (0..count).map(|_| Timed { after: pause(&mut random), step: step(&mut random) });
        Self { profile, steps: steps.collect() }
    }
}

fn pause(random: &mut Random) -> Duration {
    let longest = random.pick(&[0, 5, 200, 200, 3_000]);
    Duration::from_millis(random.below(longest + 1))
}

fn step(random: &mut Random) -> Step {
    match random.below(100) {
        0..40 => Step::Raise {
            alerts: if random.percent(10) { 10 + random.below(30) } else { 1 + random.below(3) },
        },
        40..52 => Step::Disk(condition(random)),
        52..66 => Step::Broker(broker(random)),
        66..71 => Step::Break { forgets: random.percent(40) },
        71..75 => Step::Deny { label: random.below(LABELS), denied: random.percent(60) },
        75..77 => Step::Quota { used_up: random.percent(60) },
        77..80 => Step::Webhook { works: random.percent(40) },
        80..84 => Step::Clock { milliseconds: jump(random) },
        84 => Step::Synchronise,
        85..87 => Step::Vanish(random.pick(&[
            Vanishing::Deleted,
            Vanishing::Renamed,
            Vanishing::WithFolder,
            Vanishing::Log,
        ])),
        87..91 => Step::Crash { power: random.percent(60) },
        91..98 => Step::CrashAt { change: 1 + random.below(12), power: random.percent(60) },
        _ => Step::Stop,
    }
}

fn condition(random: &mut Random) -> Condition {
    random.pick(&[
        Condition::Works,
        Condition::Works,
        Condition::Full,
        Condition::Full,
        Condition::Fails(Operation::Write),
        Condition::Fails(Operation::Sync),
        Condition::Fails(Operation::Sync),
        Condition::Fails(Operation::Read),
        Condition::Fails(Operation::Open),
    ])
}

fn broker(random: &mut Random) -> Broker {
    let fine = Broker::FINE;
    random.pick(&[
        fine,
        fine,
        Broker { up: false, ..fine },
        Broker { up: false, ..fine },
        Broker { loses: 30, ..fine },
        Broker { breaks: 30, slow: 50, ..fine },
        Broker { loses: 10, breaks: 10, slow: 200, ..fine },
        Broker { silent: 5, ..fine },
        Broker { slow: 2_000, ..fine },
    ])
}

fn jump(random: &mut Random) -> i64 {
    const SECOND: i64 = 1_000;
    const DAY: i64 = 24 * 3_600 * SECOND;
    let size = random.pick(&[SECOND, 3_600 * SECOND, 8 * DAY, 365 * DAY, 20_000 * DAY]);
    if random.percent(50) { size } else { -size }
}
