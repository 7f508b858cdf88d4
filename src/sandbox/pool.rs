//! The decoder processes of the service: one for each source that needs one, started when it is needed, and ended when it is idle.
//!
//! A process decodes for one source only. So a picture that takes over a decoder cannot change the pictures of another camera, and a
//! source whose pictures are slow delays no other one.

use std::{
    sync::{
        Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use super::{
    child::LONGEST_IDLE,
    error::DecodeError,
    process::{Ended, Outcome, Process, Program, Room, StartError},
};
use crate::{
    backoff::{Backoff, jitter},
    picture::{Limits, Picture, PictureError},
};

/// The most processes. With more sources of pictures, a process of another source is ended to start a new one.
const MOST: usize = 32;
/// A process that was idle for this time is not used again: after [`LONGEST_IDLE`] it ends.
const IDLE: Duration = LONGEST_IDLE.saturating_sub(Duration::from_secs(60));
/// How often a wait checks whether it still makes sense.
const STEP: Duration = Duration::from_millis(100);

/// The delays after a failed start: what the system lacks may be back soon.
const START_AGAIN: Backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(10));

/// The processes.
pub(super) struct Pool {
    program: Program,
    seats: Mutex<Seats>,
    changed: Condvar,
    ended: AtomicU64,
}

/// The processes that are idle, and how many there are in all.
#[derive(Default)]
struct Seats {
    idle: Vec<Idle<Process>>,
    all: usize,
}

/// An idle process.
struct Idle<P> {
    process: P,
    /// The source that it decoded for; `None`: no picture yet.
    source: Option<String>,
    since: Instant,
}

/// What a source does to get a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Choice {
    /// It uses this idle process.
    Use(usize),
    /// It starts a process.
    Start,
    /// It ends this idle process and starts another one.
    Replace(usize),
    /// It waits until a process is idle.
    Wait,
}

impl Pool {
    pub(super) fn new(program: Program) -> Self {
        Self { program, seats: Mutex::default(), changed: Condvar::new(), ended: AtomicU64::new(0) }
    }

    /// Starts a process that belongs to no source yet, for pictures within `limits`.
    pub(super) fn start(&self, limits: Limits) -> Result<Lease<'_>, StartError> {
        self.seats().all += 1;
        // Returns the seat if the start fails.
        let mut lease = Lease { pool: self, source: None, process: None };
        lease.process = Some(Process::start(&self.program, Room::new(&self.program, 0, limits))?);
        Ok(lease)
    }

    /// The number of processes that are idle, and of those that start or decode.
    pub(super) fn processes(&self) -> (usize, usize) {
        let mut seats = self.seats();
        // Otherwise their memory is kept until the next picture.
        let useless = seats.take_useless(Instant::now());
        let processes = (seats.idle.len(), seats.all - seats.idle.len());
        drop(seats);
        drop(useless);
        processes
    }

    /// The number of processes that ended instead of answering.
    pub(super) fn ended(&self) -> u64 {
        self.ended.load(Ordering::Relaxed)
    }

    /// A process for a picture of `source` of `encoded` bytes. Waits for one while `go_on` says so.
    pub(super) fn lease(
        &self,
        source: &str,
        encoded: usize,
        limits: Limits,
        go_on: &dyn Fn() -> bool,
    ) -> Result<Lease<'_>, DecodeError> {
        let (room, mut backoff) = (Room::new(&self.program, encoded, limits), START_AGAIN);
        loop {
            let mut lease = self.seat(source, room, go_on).ok_or(DecodeError::Stopped)?;
            if lease.process.is_some() {
                return Ok(lease);
            }
            match Process::start(&self.program, room) {
                Ok(process) => {
                    lease.process = Some(process);
                    return Ok(lease);
                }
                Err(error) => {
                    drop(lease);
                    let pause = backoff.failed(jitter());
                    tracing::warn!(source, "{error}; the picture waits, and the next try is in {pause:.1?}");
                    wait(pause, go_on).ok_or(DecodeError::Stopped)?;
                }
            }
        }
    }

    /// A seat for `source`, with an idle process or without one.
    fn seat(&self, source: &str, room: Room, go_on: &dyn Fn() -> bool) -> Option<Lease<'_>> {
        let mut seats = self.seats();
        loop {
            // They are dropped without the lock.
            let useless = seats.take_useless(Instant::now());
            let choice = choose(&seats.idle, seats.all, source, |process| process.room().holds(room));
            let process = match choice {
                Choice::Use(number) => Some(seats.idle.swap_remove(number)),
                Choice::Replace(number) => {
                    drop(seats.idle.swap_remove(number));
                    None
                }
                Choice::Start => {
                    seats.all += 1;
                    None
                }
                Choice::Wait => {
                    drop(useless);
                    if !go_on() {
                        return None;
                    }
                    let waited = self.changed.wait_timeout(seats, STEP);
                    seats = waited.unwrap_or_else(PoisonError::into_inner).0;
                    continue;
                }
            };
            drop(seats);
            drop(useless);
            let process = process.map(|idle| idle.process);
            return Some(Lease { pool: self, source: Some(source.to_owned()), process });
        }
    }

    fn seats(&self) -> MutexGuard<'_, Seats> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seats {
    /// Removes processes that have ended, or were idle for long.
    fn take_useless(&mut self, now: Instant) -> Vec<Idle<Process>> {
        let is_useless =
            |idle: &mut Idle<Process>| idle.process.has_ended() || now.duration_since(idle.since) >= IDLE;
        let useless: Vec<_> = self.idle.extract_if(.., is_useless).collect();
        self.all -= useless.len();
        useless
    }
}

/// How `source` gets a process that `fits` its picture, when `all` processes are running.
fn choose<P>(idle: &[Idle<P>], all: usize, source: &str, fits: impl Fn(&P) -> bool) -> Choice {
    let own = |idle: &Idle<P>| idle.source.as_deref() == Some(source);
    let position = |is: &dyn Fn(&Idle<P>) -> bool| idle.iter().position(is);
    if let Some(number) = position(&|idle| own(idle) && fits(&idle.process)) {
        return Choice::Use(number);
    }
    // Its memory is too small since `max_pixels` was raised.
    if let Some(number) = position(&own) {
        return Choice::Replace(number);
    }
    if let Some(number) = position(&|idle| idle.source.is_none() && fits(&idle.process)) {
        return Choice::Use(number);
    }
    if all < MOST {
        return Choice::Start;
    }
    let oldest = idle.iter().enumerate().min_by_key(|(_, idle)| idle.since);
    oldest.map_or(Choice::Wait, |(number, _)| Choice::Replace(number))
}

/// Waits while `go_on` says so; `None` if it does not.
fn wait(pause: Duration, go_on: &dyn Fn() -> bool) -> Option<()> {
    let until = Instant::now() + pause;
    loop {
        let rest = until.saturating_duration_since(Instant::now());
        if rest.is_zero() {
            return Some(());
        }
        if !go_on() {
            return None;
        }
        std::thread::sleep(rest.min(STEP));
    }
}

/// A seat of the pool. The process returns to the idle ones if it still works.
pub(super) struct Lease<'p> {
    pool: &'p Pool,
    source: Option<String>,
    process: Option<Process>,
}

impl Lease<'_> {
    /// The process; `None` if it has ended.
    pub(super) fn process(&self) -> Option<&Process> {
        self.process.as_ref()
    }

    /// Passes a picture to the process, which decodes it if that takes at most `granted` bytes of memory.
    pub(super) fn begin(
        &mut self,
        bytes: &[u8],
        limits: Limits,
        granted: u64,
    ) -> Result<Outcome, PictureError> {
        self.ask(|process| process.begin(bytes, limits, granted))
    }

    /// Decodes the picture that needed more than was granted.
    pub(super) fn decode(&mut self, limits: Limits) -> Result<Picture, PictureError> {
        self.ask(|process| process.decode(limits))
    }

    fn ask<T>(
        &mut self,
        work: impl FnOnce(&mut Process) -> Result<Result<T, PictureError>, Ended>,
    ) -> Result<T, PictureError> {
        let process = self.process.as_mut();
        let process = process.ok_or_else(|| PictureError::DecoderEnded { how: "earlier".to_owned() })?;
        work(process).unwrap_or_else(|ended| {
            self.process = None;
            self.pool.ended.fetch_add(1, Ordering::Relaxed);
            Err(PictureError::DecoderEnded { how: ended.how })
        })
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        let mut seats = self.pool.seats();
        match self.process.take() {
            Some(process) => {
                let source = self.source.take();
                seats.idle.push(Idle { process, source, since: Instant::now() });
            }
            None => seats.all -= 1,
        }
        drop(seats);
        self.pool.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_process_a_source_uses() {
        let began = Instant::now();
        // Source, size, and seconds since the beginning when it became idle.
        type Seat = (Option<&'static str>, u64, u64);
        let cases: &[(&str, &[Seat], usize, Choice)] = &[
            ("the first picture", &[], 0, Choice::Start),
            ("its own", &[(Some("yard"), 9, 0), (Some("door"), 9, 0)], 2, Choice::Use(1)),
            ("its own before an unused one", &[(None, 9, 0), (Some("door"), 9, 0)], 2, Choice::Use(1)),
            ("its own is too small", &[(Some("door"), 4, 0)], 1, Choice::Replace(0)),
            ("an unused one", &[(Some("yard"), 9, 0), (None, 9, 0)], 2, Choice::Use(1)),
            ("an unused one that is too small", &[(None, 4, 0)], 1, Choice::Start),
            ("only others", &[(Some("yard"), 9, 0)], 1, Choice::Start),
            ("its own are at work", &[], 5, Choice::Start),
            ("no room", &[(Some("yard"), 9, 7), (Some("barn"), 9, 3)], MOST, Choice::Replace(1)),
            ("all are at work", &[], MOST, Choice::Wait),
        ];
        for (name, idle, all, expected) in cases {
            let idle: Vec<_> = idle
                .iter()
                .map(|(source, size, seconds)| Idle {
                    process: *size,
                    source: source.map(str::to_owned),
                    since: began + Duration::from_secs(*seconds),
                })
                .collect();
            assert_eq!(choose(&idle, *all, "door", |size| *size >= 5), *expected, "{name}");
        }
    }

    #[test]
    fn a_picture_waits_while_no_process_starts_and_the_source_runs() {
        let pool = Pool::new(Program { path: "/missing".into(), memory: None });
        let asked = AtomicU64::new(0);
        let go_on = || asked.fetch_add(1, Ordering::Relaxed) < 5;
        let lease = pool.lease("door", 6, Limits::of(10), &go_on).map(drop);
        assert!(matches!(lease, Err(DecodeError::Stopped)), "{lease:?}");
        assert_eq!((asked.into_inner(), pool.processes(), pool.ended()), (6, (0, 0), 0));
    }
}
