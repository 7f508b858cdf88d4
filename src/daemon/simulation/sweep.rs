//! The fault sweep of delivery: lets each operation of the disk and each connection fail, in two lives of the service.

use std::{collections::VecDeque, time::Duration};

use super::{
    life,
    schedule::{Profile, Step, Timed},
    world::{Done, World},
};
use crate::faults::{Fault, faults};

/// What fails.
#[derive(Debug, Clone, Copy)]
enum Failing {
    Nothing,
    Disk(Fault),
    /// The connection with this number; also all later ones.
    Connection(u64, bool),
}

/// Two lives: alerts with and without snapshots, a connection that breaks, a kill, and a restart after a regular stop.
fn steps() -> VecDeque<Timed> {
    let each = [
        Step::Raise { alerts: 3 },
        Step::Raise { alerts: 1 },
        Step::Break { forgets: false },
        Step::Raise { alerts: 2 },
        Step::Crash { power: false },
        Step::Raise { alerts: 1 },
        Step::Break { forgets: true },
        Step::Raise { alerts: 2 },
        Step::Stop,
        Step::Raise { alerts: 1 },
    ];
    each.into_iter().map(|step| Timed { after: Duration::from_millis(1_200), step }).collect()
}

/// Runs the steps, then lets everything work. Returns what the service had done until then, or what is wrong.
fn run(failing: Failing) -> Result<Done, String> {
    let world = World::new(1, &Profile { small: false, home_assistant: true, webhook: true });
    match failing {
        Failing::Nothing => {}
        Failing::Disk(fault) => world.disk.set_fault(Some(fault)),
        Failing::Connection(nth, permanent) => world.broker().refuses = Some((nth, permanent)),
    }
    life::live(&world, steps());
    life::check_disk(&world);
    let (wrong, trace) = world.outcome();
    if wrong.is_empty() {
        return Ok(world.done());
    }
    Err(format!("{failing:?}:\n  {}\n{}", wrong.join("\n  "), trace.join("\n")))
}

#[test]
fn no_fault_of_disk_or_network_loses_an_alert_or_ends_the_service() {
    let Done { operations, connects } = run(Failing::Nothing).unwrap();
    let connections = (1..=connects).flat_map(|nth| [false, true].map(|all| Failing::Connection(nth, all)));
    let each: Vec<_> = faults(operations).into_iter().map(Failing::Disk).chain(connections).collect();
    assert!(each.len() > 300 && connects > 4, "{operations:?} {connects}");
    let wrong: Vec<_> = each.iter().filter_map(|failing| run(*failing).err()).collect();
    let heads: Vec<_> = wrong.iter().filter_map(|wrong| wrong.lines().next()).collect();
    let first = wrong.first().map_or("", String::as_str);
    assert!(wrong.is_empty(), "{} of {}:\n{}\nthe first: {first}", wrong.len(), each.len(), heads.join("\n"));
}
