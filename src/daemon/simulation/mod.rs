//! The seeded simulation: runs the outbox, the publisher and a sink against a virtual disk, network and clock, and checks that no
//! alert is lost.
//!
//! It drives the code of the service: `daemon::delivery` with the real outbox, publisher and maintenance. A [`Schedule`] of faults
//! derives from one number, the seed. The disk fails, fills and loses power; the broker refuses, breaks, forgets and is slow; the
//! clock jumps; the service is killed at any write, and stopped. Then everything works, and [`Ledger`] checks:
//!
//! - each alert that was raised was delivered at least once, or is counted as dropped;
//! - alerts of one topic were delivered first in the order in which they were raised;
//! - no alert was delivered that was not raised, and none with another content;
//! - nothing waits any more: outbox, board and gauges agree with what the broker has.
//!
//! An alert that was raised while the outbox reported that it cannot write may be lost with the process: it is excused.
//!
//! `STAKEOUT_SIMULATION_SEED=N cargo test --lib simulation:: -- --nocapture` repeats the schedule N and prints what happened.
//! `STAKEOUT_PROVE=long` runs 100,000 schedules instead of 2,000, and `STAKEOUT_SIMULATION_SCHEDULES=N` runs N.
//!
//! One seed leads to one run: there is one thread, time moves on only when all tasks wait, and where several events are awaited they
//! have an order (`biased`).

mod broker;
mod ledger;
mod life;
mod schedule;
mod sweep;
mod world;

use std::{
    env,
    fmt::Write as _,
    num::NonZero,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use self::{
    ledger::Ledger,
    schedule::{Profile, Schedule, Step, Timed},
    world::World,
};

/// The schedules of one run of the gate.
const SCHEDULES: u64 = 2_000;
/// Those of the long form (`tools/prove_simulation.sh`).
const LONG: u64 = 100_000;
/// The schedules that are run twice.
const REPEATED: u64 = 20;

/// A schedule after which something is wrong.
#[derive(Debug)]
struct Failed {
    seed: u64,
    wrong: Vec<String>,
    schedule: Schedule,
    trace: Vec<String>,
}

/// Runs one schedule. Returns what happened.
fn run(seed: u64) -> Result<Vec<String>, Box<Failed>> {
    let schedule = Schedule::of(seed);
    let world = World::new(seed, &schedule.profile);
    life::live(&world, schedule.steps.clone());
    // It costs as much as a life.
    if seed.is_multiple_of(4) {
        life::check_disk(&world);
    }
    let (wrong, trace) = world.outcome();
    if wrong.is_empty() { Ok(trace) } else { Err(Box::new(Failed { seed, wrong, schedule, trace })) }
}

impl Failed {
    fn report(&self) -> String {
        let mut report = format!("schedule {} ({:?}):\n", self.seed, self.schedule.profile);
        for wrong in &self.wrong {
            let _ = writeln!(report, "  wrong: {wrong}");
        }
        report.push_str("steps:\n");
        for Timed { after, step } in &self.schedule.steps {
            let _ = writeln!(report, "  after {} ms: {step:?}", after.as_millis());
        }
        report.push_str("what happened:\n");
        for line in &self.trace {
            let _ = writeln!(report, "  {line}");
        }
        let _ = write!(
            report,
            "repeat it with: STAKEOUT_SIMULATION_SEED={} cargo test --lib simulation:: -- --nocapture",
            self.seed
        );
        report
    }
}

fn number(variable: &str) -> Option<u64> {
    let text = env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} must be a number, not {text:?}")))
}

#[test]
fn no_schedule_of_faults_loses_an_alert() {
    if let Some(seed) = number("STAKEOUT_SIMULATION_SEED") {
        match run(seed) {
            Ok(trace) => println!("schedule {seed}: nothing is wrong\n{}", trace.join("\n")),
            Err(failed) => panic!("{}", failed.report()),
        }
        return;
    }
    let usual = if env::var("STAKEOUT_PROVE").is_ok_and(|form| form == "long") { LONG } else { SCHEDULES };
    let schedules = number("STAKEOUT_SIMULATION_SCHEDULES").unwrap_or(usual);
    let (next, failures) = (AtomicU64::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, NonZero::get) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= schedules {
                        break;
                    }
                    if let Err(failed) = run(seed) {
                        failures.lock().unwrap().push(failed);
                    }
                }
            });
        }
    });
    let mut failures = failures.into_inner().unwrap();
    failures.sort_by_key(|failed| failed.seed);
    if let Some(first) = failures.first() {
        let seeds: Vec<_> = failures.iter().map(|failed| failed.seed).collect();
        panic!("{} of {schedules} schedules fail: {seeds:?}\nthe first: {}", failures.len(), first.report());
    }
}

#[test]
fn one_seed_leads_to_one_run() {
    for seed in 0..REPEATED {
        let [first, second] = [run(seed), run(seed)].map(|run| run.unwrap_or_else(|failed| failed.trace));
        assert_eq!(first, second, "schedule {seed}");
    }
}
