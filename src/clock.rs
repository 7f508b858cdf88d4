//! The clocks of the machine: the time of day, whether it is known to be right, and the time since the machine was started.
//!
//! The time of day may be wrong and may jump: a machine without a battery starts in the past, people set the clock, a time server
//! corrects it. The time since the start of the machine never jumps, and it goes on while the machine sleeps. What must
//! not depend on a wrong clock is measured with it.

use std::{
    fs,
    path::Path,
    sync::{Arc, LazyLock},
    time::Instant,
};

use rustix::time::{ClockId, Timespec, clock_gettime};
use uuid::Uuid;

/// A change of the time of day by less than this is a small correction, in milliseconds.
const STEP: i64 = 2_000;
/// systemd's time service creates this file when a time server has answered.
const SYNCHRONISED: &str = "/run/systemd/timesync/synchronized";

/// The clocks at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// Identifies the run of the machine since it was started.
    pub boot: Uuid,
    /// Milliseconds since the machine was started, including those in which it slept.
    pub up: i64,
    /// The time of day: milliseconds since 1970.
    pub wall: i64,
    /// A time server has set the time of day.
    pub synchronised: bool,
}

impl Reading {
    /// The milliseconds since `earlier`; `None` if the machine was started again since then.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Option<i64> {
        (self.boot == earlier.boot && self.up >= earlier.up).then(|| self.up.saturating_sub(earlier.up))
    }

    /// By how many milliseconds the time of day was set since `earlier`, forward or, if negative, back; 0 if it was not set. `None`
    /// if the machine was started again since then.
    #[must_use]
    pub fn step_since(&self, earlier: &Self) -> Option<i64> {
        let step = self.wall.saturating_sub(earlier.wall).saturating_sub(self.since(earlier)?);
        Some(if step.saturating_abs() < STEP { 0 } else { step })
    }
}

/// Reads the clocks. Tests and simulations pass their own.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Reading + Send + Sync>);

impl Clock {
    /// The clocks of this machine.
    #[must_use]
    pub fn system() -> Self {
        Self::of(read)
    }

    /// Clocks that `read` returns.
    #[must_use]
    pub fn of(read: impl Fn() -> Reading + Send + Sync + 'static) -> Self {
        Self(Arc::new(read))
    }

    /// The clocks now.
    #[must_use]
    pub fn read(&self) -> Reading {
        (self.0)()
    }
}

impl std::fmt::Debug for Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Clock({:?})", self.read())
    }
}

/// What the time is counted from.
enum Start {
    /// The start of the machine.
    Machine(Uuid),
    /// The start of the process: `/proc` does not identify that of the machine.
    Process(Uuid, Instant),
}

static START: LazyLock<Start> = LazyLock::new(|| {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id");
    match boot.ok().and_then(|boot| boot.trim().parse().ok()) {
        Some(boot) => Start::Machine(boot),
        None => Start::Process(Uuid::now_v7(), Instant::now()),
    }
});

impl Start {
    /// Milliseconds since then.
    fn elapsed(&self) -> i64 {
        match self {
            Self::Machine(_) => uptime(),
            Self::Process(_, start) => i64::try_from(start.elapsed().as_millis()).unwrap_or(i64::MAX),
        }
    }
}

fn read() -> Reading {
    let now = || jiff::Timestamp::now().as_millisecond();
    let (Start::Machine(boot) | Start::Process(boot, _)) = &*START;
    let (mut up, mut wall) = (START.elapsed(), now());
    // A process that is stopped between the two would see a step.
    for _ in 0..3 {
        let after = START.elapsed();
        if after - up < STEP / 4 {
            break;
        }
        (up, wall) = (after, now());
    }
    Reading { boot: *boot, up, wall, synchronised: is_synchronised() }
}

/// Milliseconds since the machine was started. This opens no file, so it also works while the process has too many open files.
/// Otherwise the alerts that wait would seem as old as the machine.
fn uptime() -> i64 {
    let Timespec { tv_sec, tv_nsec } = clock_gettime(ClockId::Boottime);
    tv_sec.saturating_mul(1000).saturating_add(tv_nsec / 1_000_000)
}

/// Whether a time server has set the time of day.
fn is_synchronised() -> bool {
    // The supplied unit forbids every call that could set the clock, and with it the one that asks.
    kernel_is_synchronised().unwrap_or_else(|| Path::new(SYNCHRONISED).exists())
}

/// What the kernel knows about it; `None` if the question is not allowed.
fn kernel_is_synchronised() -> Option<bool> {
    // SAFETY: every field of `timex` is a number, for which zeros are valid. `modes` is 0: the call changes nothing, and fills in
    // the structure, which outlives it.
    #[allow(unsafe_code)]
    let state = unsafe {
        let mut timex: libc::timex = std::mem::zeroed();
        libc::adjtimex(&raw mut timex)
    };
    (state >= 0).then_some(state != libc::TIME_ERROR)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(boot: u128, up: i64, wall: i64) -> Reading {
        Reading { boot: Uuid::from_u128(boot), up, wall, synchronised: false }
    }

    #[test]
    fn a_table_of_readings() {
        const YEAR: i64 = 365 * 24 * 3600 * 1000;
        let earlier = at(1, 50_000, 1_000_000);
        for (what, now, since, step) in [
            ("time passes", at(1, 60_000, 1_010_000), Some(10_000), Some(0)),
            ("a small correction", at(1, 60_000, 1_010_500), Some(10_000), Some(0)),
            ("set forward", at(1, 60_000, 1_010_000 + YEAR), Some(10_000), Some(YEAR)),
            ("set back", at(1, 60_000, 1_010_000 - YEAR), Some(10_000), Some(-YEAR)),
            ("the machine slept", at(1, 50_000 + YEAR, 1_000_000 + YEAR), Some(YEAR), Some(0)),
            ("started again", at(2, 10_000, 1_010_000), None, None),
            ("a container was started again", at(1, 10_000, 1_010_000), None, None),
            ("beyond all bounds", at(1, 60_000, i64::MAX), Some(10_000), Some(i64::MAX - 1_010_000)),
        ] {
            assert_eq!((now.since(&earlier), now.step_since(&earlier)), (since, step), "{what}");
        }
    }

    #[test]
    fn the_time_since_the_start_is_that_of_the_kernel() {
        // `25841.87 6113.97`: seconds since the start, and seconds in which processors were idle.
        let kernel = || {
            let text = fs::read_to_string("/proc/uptime").unwrap();
            text.split_whitespace().next().unwrap().parse::<f64>().unwrap() * 1000.0
        };
        let (before, read, after) = (kernel(), uptime() as f64, kernel());
        // The text has hundredths of a second.
        assert!(before - 10.0 <= read && read <= after + 10.0, "{before} {read} {after}");
    }

    #[test]
    fn the_clocks_of_this_machine_are_read() {
        let (first, second) = (Clock::system().read(), Clock::system().read());
        assert_eq!(first.boot, second.boot);
        assert!(second.since(&first).is_some() && second.wall > 1_577_836_800_000, "{first:?} {second:?}");
    }
}
