//! One decoder process, as the service sees it: its start, one picture at a time, and its end.
//!
//! Nothing that the process sends is trusted. A process that breaks a rule of the messages, or takes too long, is killed.

use std::{
    ffi::OsString,
    fmt,
    io::{self, ErrorKind},
    os::{
        fd::OwnedFd,
        unix::{
            net::UnixStream,
            process::{CommandExt as _, ExitStatusExt as _},
        },
    },
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        mpsc::{SyncSender, sync_channel},
    },
    thread,
    time::Duration,
};

use rustix::{
    io::Errno,
    process::{Pid, WaitId, WaitIdOptions, waitid},
};

use super::{
    memory::SharedMemory,
    protocol::{self, ChildMessage, Decoded, Layers, Request},
};
use crate::picture::{LONGEST, Limits, MAX_BYTES, Picture, PictureError};

/// The hidden command that is a decoder process.
const COMMAND: &str = "decoder";
/// The option of [`COMMAND`] with its memory limit.
const MEMORY: &str = "--memory";

/// The time limit of one picture. The decoder's own limit is much shorter, so only a process that hangs reaches this one.
const LONGEST_WAIT: Duration = LONGEST.saturating_mul(3);
/// The time limit of the start, which takes milliseconds on an idle machine.
const LONGEST_START: Duration = Duration::from_secs(60);
/// The time within which a killed process ends, unless the kernel holds it.
const LONGEST_END: Duration = Duration::from_secs(5);
/// The stack of the thread that waits for the end of a process.
const SMALL_STACK: usize = 256 << 10;

/// How decoder processes are started.
#[derive(Debug, Clone)]
pub struct Program {
    /// The program, which is [`Program::RUNNING`] outside of tests.
    pub path: PathBuf,
    /// The memory limit of one process in bytes, besides what the program itself uses; `None`: what the limits of its pictures
    /// require.
    pub memory: Option<u64>,
}

impl Program {
    /// The program that is running, also after an upgrade has replaced its file.
    pub const RUNNING: &'static str = "/proc/self/exe";
}

/// What a process is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Room {
    /// The bytes of shared memory: for the encoded bytes of a picture, and then for its pixels.
    pub(super) shared: u64,
    /// The memory limit.
    pub(super) memory: u64,
}

impl Room {
    /// The room for a picture of `encoded` bytes.
    pub(super) fn new(program: &Program, encoded: usize, limits: Limits) -> Self {
        let encoded = MAX_BYTES.max(encoded as u64);
        // Decoders compute what they need; libraries and the allocator take some more.
        let memory = limits.memory.saturating_add(limits.memory / 2).saturating_add(encoded);
        Self {
            shared: limits.max_pixels.saturating_mul(3).max(encoded),
            memory: program.memory.unwrap_or(memory),
        }
    }

    /// Whether a process with this room can decode a picture that needs `other`.
    pub(super) fn holds(self, other: Self) -> bool {
        self.shared >= other.shared && self.memory >= other.memory
    }
}

/// A running decoder process. It is killed when this is dropped.
pub(super) struct Process {
    socket: UnixStream,
    memory: SharedMemory,
    room: Room,
    life: Arc<Life>,
    pub(super) layers: Layers,
    /// The bytes of memory that its last picture took, as it reported them.
    needed: u64,
}

/// What became of a picture.
#[derive(Debug)]
pub enum Outcome {
    /// It is decoded.
    Decoded(Picture),
    /// Only its header was read: decoding takes up to this many bytes of memory, the decoded picture included.
    Needs(u64),
}

/// Why no process was started.
#[derive(Debug, thiserror::Error)]
pub(super) enum StartError {
    /// Too little of something: it may work later.
    #[error("cannot start a decoder process: {0}")]
    Lack(io::Error),
    /// It will not work on this system.
    #[error("{0}")]
    Impossible(String),
}

/// A process ended instead of answering.
#[derive(Debug)]
pub(super) struct Ended {
    /// How it ended, for people.
    pub(super) how: String,
}

impl Process {
    /// Starts a process, and waits until it has given up its rights.
    pub(super) fn start(program: &Program, room: Room) -> Result<Self, StartError> {
        let memory = SharedMemory::new(room.shared).map_err(of_system)?;
        let (socket, theirs) = UnixStream::pair().map_err(of_system)?;
        let pixels = memory.descriptor().map_err(of_system)?;
        let life = Life::start(command(program, room, theirs.into(), pixels))?;
        let mut process = Self { socket, memory, room, life, layers: Layers::default(), needed: 0 };
        match process.receive(LONGEST_START) {
            Ok(ChildMessage::Ready(layers)) => process.layers = layers,
            Ok(ChildMessage::Refused(why)) => {
                return Err(StartError::Impossible(format!("this system does not allow it: {why}")));
            }
            Ok(_) => return Err(StartError::Impossible("another version of the program answers".to_owned())),
            Err(Failed::Late) => return Err(StartError::Lack(ErrorKind::TimedOut.into())),
            Err(failed) => return Err(process.failed_start(failed)),
        }
        Ok(process)
    }

    pub(super) fn room(&self) -> Room {
        self.room
    }

    pub(super) fn has_ended(&self) -> bool {
        self.life.status().is_some()
    }

    /// The bytes of memory that its last picture took; 0 before the first one.
    pub(super) fn needed(&self) -> u64 {
        self.needed
    }

    /// Passes a picture to the process, which decodes it if that takes at most `granted` bytes of memory. The picture may be unusable.
    /// After [`Ended`] the process can only be dropped.
    pub(super) fn begin(
        &mut self,
        bytes: &[u8],
        limits: Limits,
        granted: u64,
    ) -> Result<Result<Outcome, PictureError>, Ended> {
        let begun = self.begun(bytes, limits, granted).map_err(|failed| self.ended(failed))?;
        self.return_memory();
        Ok(begun)
    }

    /// Decodes the picture that needed more than was granted. As [`Self::begin`].
    pub(super) fn decode(&mut self, limits: Limits) -> Result<Result<Picture, PictureError>, Ended> {
        let granted = self.needed;
        let decoded = self.request(Request::Decode).and_then(|answer| match answer {
            ChildMessage::Failed(error) => Ok(Err(error)),
            ChildMessage::Decoded(decoded) => self.picture(decoded, limits, granted).map(Ok),
            _ => Err(Failed::Invalid),
        });
        let decoded = decoded.map_err(|failed| self.ended(failed))?;
        self.return_memory();
        Ok(decoded)
    }

    fn begun(
        &mut self,
        bytes: &[u8],
        limits: Limits,
        granted: u64,
    ) -> Result<Result<Outcome, PictureError>, Failed> {
        self.memory.write(bytes).map_err(Failed::Memory)?;
        match self.request(Request::Begin { length: bytes.len() as u64, limits, granted })? {
            ChildMessage::Failed(error) => Ok(Err(error)),
            ChildMessage::Needed(needed) if needed > granted && needed <= limits.memory => {
                self.needed = needed;
                Ok(Ok(Outcome::Needs(needed)))
            }
            ChildMessage::Decoded(decoded) => {
                Ok(Ok(Outcome::Decoded(self.picture(decoded, limits, granted)?)))
            }
            _ => Err(Failed::Invalid),
        }
    }

    /// The picture in the shared memory.
    fn picture(&mut self, decoded: Decoded, limits: Limits, granted: u64) -> Result<Picture, Failed> {
        if !is_within(decoded, limits, granted) {
            return Err(Failed::Invalid);
        }
        self.needed = decoded.needed;
        let pixels = self.memory.read(decoded.bytes()).map_err(Failed::Memory)?;
        let picture = Picture::of_rgb(decoded.width, decoded.height, pixels);
        Ok(Picture { transparent: decoded.transparent, ..picture })
    }

    /// Returns memory after a large picture: both sides have a copy of what was in it.
    fn return_memory(&self) {
        // The kernel may be short of memory for this; then the memory stays for the next picture.
        let _ = self.memory.shrink();
    }

    fn request(&mut self, request: Request) -> Result<ChildMessage, Failed> {
        protocol::send(&mut self.socket, &request.to_bytes())?;
        self.receive(LONGEST_WAIT)
    }

    fn ended(&self, failed: Failed) -> Ended {
        let how = match failed {
            Failed::Late => {
                format!("killed, because it did not finish within {} seconds", LONGEST_WAIT.as_secs())
            }
            Failed::Invalid => "killed, because its answer was invalid".to_owned(),
            Failed::Memory(error) => format!("killed, because the shared memory failed: {error}"),
            Failed::Closed => self.life.end(),
        };
        Ended { how }
    }

    fn receive(&mut self, longest: Duration) -> Result<ChildMessage, Failed> {
        self.socket.set_read_timeout(Some(longest))?;
        match protocol::receive(&mut self.socket)? {
            Some(message) => ChildMessage::parse(&message).map_err(|_| Failed::Invalid),
            None => Err(Failed::Closed),
        }
    }

    /// Why a process ended before it was ready.
    fn failed_start(&self, failed: Failed) -> StartError {
        let how = match failed {
            Failed::Invalid => "another version of the program answers".to_owned(),
            Failed::Memory(_) | Failed::Closed | Failed::Late => self.life.end(),
        };
        // Someone killed it, or the machine is out of memory.
        if self.life.status().and_then(|status| status.signal()) == Some(libc::SIGKILL) {
            return StartError::Lack(io::Error::other(how));
        }
        StartError::Impossible(format!("a decoder process ends at its start: {how}"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.life.kill();
    }
}

/// Whether the pixels of a picture are within its limits, and its memory within the `granted` bytes that the service took for it.
fn is_within(decoded: Decoded, limits: Limits, granted: u64) -> bool {
    decoded.bytes() <= limits.max_pixels.saturating_mul(3).min(decoded.needed) && decoded.needed <= granted
}

/// Why there is no answer.
enum Failed {
    /// Not within the time limit.
    Late,
    /// The bytes are no valid answer.
    Invalid,
    /// The shared memory cannot be written or read.
    Memory(io::Error),
    /// The socket is closed: the process has ended, or ends now.
    Closed,
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => Self::Late,
            ErrorKind::InvalidData => Self::Invalid,
            _ => Self::Closed,
        }
    }
}

/// The command of a decoder process. It inherits no variable but the one that may be needed to find its libraries.
fn command(program: &Program, room: Room, socket: OwnedFd, pixels: OwnedFd) -> Command {
    let mut command = Command::new(&program.path);
    command.arg0("stakeout").arg(COMMAND).arg(MEMORY).arg(room.memory.to_string());
    let libraries = "LD_LIBRARY_PATH";
    let kept: Option<OsString> = std::env::var_os(libraries);
    command.env_clear().envs(kept.map(|value| (libraries, value)));
    // Without a `pre_exec`, so that the standard library does not copy the page tables of a service with gigabytes of weights.
    command.stdin(socket).stdout(pixels).stderr(Stdio::null());
    command
}

fn of_system(error: io::Error) -> StartError {
    let lacks =
        [libc::EAGAIN, libc::EINTR, libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM, libc::ETXTBSY];
    if error.raw_os_error().is_some_and(|code| lacks.contains(&code)) {
        StartError::Lack(error)
    } else {
        StartError::Impossible(format!("cannot start a decoder process: {error}"))
    }
}

/// A process from its start until its end is known to the kernel and to the service, so that no zombie stays.
struct Life {
    child: Mutex<Child>,
    status: Mutex<Option<ExitStatus>>,
    ended: Condvar,
}

impl Life {
    /// Starts the process on a thread that lives as long as the process: the kernel kills the process when that thread ends,
    /// however the service ends.
    fn start(mut command: Command) -> Result<Arc<Self>, StartError> {
        let (started, start) = sync_channel(1);
        let wait = move || {
            let spawned = command.spawn();
            // Its descriptors belong to the process alone now: the socket closes when the process ends.
            drop(command);
            match spawned {
                Ok(child) => Self::follow(child, &started),
                // The receiver waits for it.
                Err(error) => drop(started.send(Err(error))),
            }
        };
        let thread = thread::Builder::new().name("sandbox".to_owned()).stack_size(SMALL_STACK).spawn(wait);
        thread.map_err(of_system)?;
        let started = start.recv().map_err(|_| StartError::Lack(io::Error::other("its thread ended")))?;
        started.map_err(of_system)
    }

    /// Waits for the end of the process.
    fn follow(child: Child, started: &SyncSender<io::Result<Arc<Self>>>) {
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let life = Arc::new(Self { child: child.into(), status: Mutex::default(), ended: Condvar::new() });
        let _ = started.send(Ok(Arc::clone(&life)));
        // Without the lock, and without removing the process yet: until then its number cannot belong to another one.
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        while pid.is_some_and(|pid| matches!(waitid(WaitId::Pid(pid), options), Err(Errno::INTR))) {}
        let status = lock(&life.child).wait();
        *lock(&life.status) = status.ok();
        life.ended.notify_all();
    }

    fn status(&self) -> Option<ExitStatus> {
        *lock(&self.status)
    }

    /// Kills the process, unless it has ended.
    fn kill(&self) {
        // It fails only for a process that is gone.
        let _ = lock(&self.child).kill();
    }

    /// How the process ended, for people. A process that closed its socket and goes on is killed.
    fn end(&self) -> String {
        self.kill();
        let status = lock(&self.status);
        let waited = self.ended.wait_timeout_while(status, LONGEST_END, |status| status.is_none());
        let (status, _) = waited.unwrap_or_else(PoisonError::into_inner);
        status.map_or_else(|| "the kernel does not end it".to_owned(), how)
    }
}

/// How a process ended, for people.
fn how(status: ExitStatus) -> String {
    let (name, why) = match status.signal() {
        Some(libc::SIGSYS) => ("SIGSYS", "it used a system call that decoding does not need"),
        Some(libc::SIGABRT) => {
            ("SIGABRT", "it reached its memory limit, or a decoder found an inconsistency")
        }
        Some(libc::SIGKILL) => ("SIGKILL", "by someone, or because the machine ran out of memory"),
        Some(libc::SIGSEGV) => ("SIGSEGV", "a fault in a decoder"),
        Some(libc::SIGBUS) => ("SIGBUS", "a fault in a decoder"),
        Some(libc::SIGILL) => ("SIGILL", "a fault in a decoder"),
        Some(libc::SIGFPE) => ("SIGFPE", "a fault in a decoder"),
        Some(libc::SIGTRAP) => ("SIGTRAP", "a fault in a decoder"),
        Some(libc::SIGTERM) => ("SIGTERM", "by someone"),
        Some(signal) => return format!("killed by signal {signal}"),
        None => return status.code().map_or("unknown".to_owned(), |code| format!("exit code {code}")),
    };
    format!("killed by {name} ({why})")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process").field("layers", &self.layers).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_a_process_ended() {
        // The lower seven bits are a signal, the next byte an exit code.
        let cases = [
            (31, "killed by SIGSYS (it used a system call that decoding does not need)"),
            (6, "killed by SIGABRT (it reached its memory limit, or a decoder found an inconsistency)"),
            (9, "killed by SIGKILL (by someone, or because the machine ran out of memory)"),
            (11, "killed by SIGSEGV (a fault in a decoder)"),
            (11 | 0x80, "killed by SIGSEGV (a fault in a decoder)"),
            (42, "killed by signal 42"),
            (3 << 8, "exit code 3"),
            (0, "exit code 0"),
        ];
        for (status, expected) in cases {
            assert_eq!(how(ExitStatus::from_raw(status)), expected);
        }
    }

    #[test]
    fn a_picture_that_is_larger_than_reported_or_allowed_is_rejected() {
        // The memory as reported, the memory that was granted, and `max_pixels`.
        let cases = [
            (120, 120, 40, true),
            (120, 500, 40, true),
            (120, 119, 40, false),
            (119, 120, 40, false),
            (120, 120, 39, false),
            (0, 0, 40, false),
            (u64::MAX, 120, 40, false),
            (u64::MAX, u64::MAX, u64::MAX, true),
        ];
        for (needed, granted, max_pixels, expected) in cases {
            let decoded = Decoded { width: 10, height: 4, transparent: None, needed };
            let limits = Limits { max_pixels, memory: u64::MAX };
            assert_eq!(is_within(decoded, limits, granted), expected, "{needed} {granted} {max_pixels}");
        }
    }

    #[test]
    fn a_program_that_is_missing_or_is_another_one_is_impossible_and_a_lack_is_not() {
        let start = |path: &str| {
            let program = Program { path: path.into(), memory: None };
            Process::start(&program, Room { shared: 1 << 20, memory: 1 << 20 }).unwrap_err()
        };
        for (path, expected) in
            [("/missing", "No such file"), ("/bin/true", "exit code 0"), ("/bin/false", "exit code 1")]
        {
            let error = start(path);
            assert!(matches!(&error, StartError::Impossible(why) if why.contains(expected)), "{error}");
        }
        // It answers with the request.
        let error = start("/bin/cat");
        assert!(matches!(error, StartError::Impossible(_)), "{error}");
        for code in [libc::EMFILE, libc::ENFILE, libc::ENOMEM, libc::EAGAIN] {
            assert!(matches!(of_system(io::Error::from_raw_os_error(code)), StartError::Lack(_)));
        }
    }
}
