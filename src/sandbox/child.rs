//! The decoder process: gives up its rights, then decodes what the service asks for, until the service closes the socket.
//!
//! Standard input is the socket, standard output the shared memory, and standard error /dev/null. So the service starts this
//! process without code between `fork` and `exec`, and no other descriptor is needed.

use std::{
    fs::File,
    io::{self, ErrorKind},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::{fs::FileExt, net::UnixStream},
    },
    time::Duration,
};

use rustix::fs::{FileType, SealFlags, fcntl_get_seals, fstat};

use super::{
    confine,
    protocol::{self, ChildMessage, Decoded, Request},
};
use crate::picture::{self, Limits};

/// Memory that the process keeps between pictures. Frames of a camera then use the same memory again.
const KEPT: usize = 32 << 20;

/// The process ends when it was idle for this time.
pub(super) const LONGEST_IDLE: Duration = Duration::from_secs(300);

/// Decodes pictures for the service with at most `memory` bytes, until the service closes the socket.
///
/// # Errors
/// The process was not started by the service, or the socket fails.
pub fn serve(memory: u64) -> io::Result<()> {
    let (stdin, stdout) = (io::stdin(), io::stdout());
    if !is_called_by_service(stdin.as_fd(), stdout.as_fd()) {
        let why = "this command is for the service itself: it decodes pictures in a process without rights";
        return Err(io::Error::new(ErrorKind::InvalidInput, why));
    }
    confine::close_inherited();
    let mut socket = UnixStream::from(stdin.as_fd().try_clone_to_owned()?);
    let pixels = File::from(stdout.as_fd().try_clone_to_owned()?);
    socket.set_read_timeout(Some(LONGEST_IDLE))?;
    ignore_stop_signals();
    keep_memory();
    match confine::confine(memory) {
        Ok(layers) => protocol::send(&mut socket, &ChildMessage::Ready(layers).to_bytes())?,
        Err(error) => {
            return protocol::send(&mut socket, &ChildMessage::Refused(error.to_string()).to_bytes());
        }
    }
    let mut picture = Encoded { bytes: Vec::new(), limits: Limits { max_pixels: 0, memory: 0 }, needed: 0 };
    loop {
        let message = match protocol::receive(&mut socket) {
            Ok(Some(message)) => message,
            Ok(None) => return Ok(()),
            // A picture that needs more memory may have to wait for it.
            Err(error) if error.kind() == ErrorKind::WouldBlock && !picture.bytes.is_empty() => continue,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        let answer = match Request::parse(&message).map_err(io::Error::other)? {
            Request::Begin { length, limits, granted } => picture.begin(&pixels, length, limits, granted)?,
            Request::Decode => picture.decode(&pixels)?,
        };
        protocol::send(&mut socket, &answer.to_bytes())?;
    }
}

/// The picture that the service asks about.
struct Encoded {
    bytes: Vec<u8>,
    limits: Limits,
    /// The most bytes of memory that decoding takes.
    needed: u64,
}

impl Encoded {
    fn begin(
        &mut self,
        memory: &File,
        length: u64,
        limits: Limits,
        granted: u64,
    ) -> io::Result<ChildMessage> {
        self.limits = limits;
        self.bytes.resize(usize::try_from(length).map_err(io::Error::other)?, 0);
        memory.read_exact_at(&mut self.bytes, 0)?;
        match picture::needed(&self.bytes, limits) {
            Ok(needed) => self.needed = needed,
            Err(error) => {
                self.bytes.clear();
                return Ok(ChildMessage::Failed(error));
            }
        }
        if self.needed > granted { Ok(ChildMessage::Needed(self.needed)) } else { self.decode(memory) }
    }

    fn decode(&mut self, memory: &File) -> io::Result<ChildMessage> {
        let decoded = picture::decode(&self.bytes, self.limits);
        self.bytes.clear();
        self.bytes.shrink_to(KEPT);
        let picture = match decoded {
            Ok(picture) => picture,
            Err(error) => return Ok(ChildMessage::Failed(error)),
        };
        let (width, height, transparent) = (picture.width, picture.height, picture.transparent);
        memory.write_all_at(&picture.into_rgb(), 0)?;
        Ok(ChildMessage::Decoded(Decoded { width, height, transparent, needed: self.needed }))
    }
}

/// A socket and sealed memory: no shell and no other program passes these.
fn is_called_by_service(stdin: BorrowedFd<'_>, stdout: BorrowedFd<'_>) -> bool {
    fstat(stdin).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Socket)
        && fcntl_get_seals(stdout).is_ok_and(|seals| seals.contains(SealFlags::SEAL))
}

/// A terminal and systemd send these to all processes of the service. This one has to finish its picture: it ends when the service
/// closes the socket.
#[allow(unsafe_code)]
fn ignore_stop_signals() {
    for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGTERM] {
        // SAFETY: ignoring a signal runs no code.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
}

/// Keeps freed memory for the next picture instead of returning it: the kernel clears each new page, which takes longer
/// than copying it.
#[allow(unsafe_code)]
fn keep_memory() {
    #[cfg(target_env = "gnu")]
    for parameter in [libc::M_MMAP_THRESHOLD, libc::M_TRIM_THRESHOLD] {
        // SAFETY: mallopt takes two numbers, under the allocator's own lock.
        unsafe { libc::mallopt(parameter, KEPT as libc::c_int) };
    }
}
