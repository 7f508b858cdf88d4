//! Decodes pictures from strangers in processes that can do nothing else: no files, no network, no secrets, no other process.
//!
//! Pictures are decoded by libjpeg-turbo, FFmpeg and several Rust crates, from bytes that anyone may have made who can write to a
//! watched folder, a camera or a topic. A fault in a decoder then takes over, or ends, a process without rights: the service
//! counts the picture as failed, starts another process and continues.
//!
//! The processes are this program with a hidden command ([`serve`]). [`Sandbox`] is the only entry for sources: it decodes in the
//! service if the sandbox is off, or if the system does not allow one.
//!
//! Not here: video. FFmpeg reads streams and clips in the service, because it needs the network, credentials and video hardware
//! for them, and keeps its state from frame to frame.

mod child;
mod confine;
mod error;
mod filter;
mod memory;
mod pool;
mod process;
mod protocol;

use std::fmt;

pub use self::{
    child::serve,
    error::DecodeError,
    process::{Outcome, Program},
};
use self::{
    pool::{Lease, Pool},
    process::{Process, StartError},
    protocol::Layers,
};
use crate::picture::{self, Limits, Picture, PictureError};

/// Where pictures are decoded.
pub struct Sandbox {
    /// `None`: in the service itself.
    pool: Option<Pool>,
    state: State,
}

/// Whether pictures are decoded in processes of their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// They are. The names of the layers that isolate them.
    On(Vec<&'static str>),
    /// The configuration switches it off.
    Off,
    /// This system does not allow it, for this reason.
    Impossible(String),
}

/// A picture that is ready to be decoded.
pub struct Job<'s> {
    bytes: &'s [u8],
    limits: Limits,
    /// The bytes of memory that decoding takes; `None`: its header was not read yet.
    needed: Option<u64>,
    /// The process that decodes it; `None`: this one.
    lease: Option<Lease<'s>>,
}

impl Job<'_> {
    /// The bytes of memory that decoding probably takes: as many as for the last picture of the source. 0 if that is unknown.
    #[must_use]
    pub fn expected(&self) -> u64 {
        let process = self.lease.as_ref().and_then(Lease::process);
        self.needed.or(process.map(Process::needed)).unwrap_or(0)
    }

    /// Decodes the picture if that takes at most `granted` bytes of memory, the decoded picture included. Otherwise only its header
    /// is read. A later call that grants what it needs decodes it.
    ///
    /// # Errors
    /// The bytes are no usable picture, or ended the process that decoded them.
    pub fn decode_within(&mut self, granted: u64) -> Result<Outcome, PictureError> {
        let needed = match (self.needed, &mut self.lease) {
            (Some(needed), _) => needed,
            (None, None) => picture::needed(self.bytes, self.limits)?,
            (None, Some(lease)) => match lease.begin(self.bytes, self.limits, granted)? {
                Outcome::Needs(needed) => needed,
                decoded @ Outcome::Decoded(_) => return Ok(decoded),
            },
        };
        self.needed = Some(needed);
        if needed > granted {
            return Ok(Outcome::Needs(needed));
        }
        let decoded = match &mut self.lease {
            None => picture::decode(self.bytes, self.limits),
            Some(lease) => lease.decode(self.limits),
        };
        decoded.map(Outcome::Decoded)
    }
}

impl Sandbox {
    /// Pictures are decoded in this process.
    #[must_use]
    pub fn off() -> Self {
        Self { pool: None, state: State::Off }
    }

    /// On or off, as the configuration says: this program decodes in other processes, or in this one.
    #[must_use]
    pub fn configured(on: bool, limits: Limits) -> Self {
        if on {
            Self::start(Program { path: Program::RUNNING.into(), memory: None }, limits)
        } else {
            Self::off()
        }
    }

    /// Starts a first process and lets it decode a test picture. If the system does not allow that, pictures are decoded in this
    /// process. `limits` are the usual ones of a picture.
    #[must_use]
    pub fn start(program: Program, limits: Limits) -> Self {
        let pool = Pool::new(program);
        match try_out(&pool, limits) {
            Ok(layers) => Self { pool: Some(pool), state: State::On(layers) },
            Err(why) => Self { pool: None, state: State::Impossible(why) },
        }
    }

    /// Whether pictures are decoded in processes of their own.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Prepares to decode a picture of `source`. If no process can be started now, the picture waits while `go_on` says so.
    ///
    /// # Errors
    /// The bytes are no usable picture, or `go_on` said no.
    pub fn begin<'s>(
        &'s self,
        source: &str,
        bytes: &'s [u8],
        limits: Limits,
        go_on: &dyn Fn() -> bool,
    ) -> Result<Job<'s>, DecodeError> {
        // Bytes of no known format need no process.
        picture::check_head(bytes)?;
        let Some(pool) = &self.pool else {
            return Ok(Job { bytes, limits, needed: Some(picture::needed(bytes, limits)?), lease: None });
        };
        let lease = pool.lease(source, bytes.len(), limits, go_on)?;
        Ok(Job { bytes, limits, needed: None, lease: Some(lease) })
    }

    /// Decodes a picture of `source`, as [`picture::decode`] does. As [`Self::begin`] and [`Job::decode_within`].
    ///
    /// # Errors
    /// As those two.
    pub fn decode(
        &self,
        source: &str,
        bytes: &[u8],
        limits: Limits,
        go_on: &dyn Fn() -> bool,
    ) -> Result<Picture, DecodeError> {
        match self.begin(source, bytes, limits, go_on)?.decode_within(limits.memory)? {
            Outcome::Decoded(picture) => Ok(picture),
            Outcome::Needs(needed) => Err(PictureError::NeedsMemory { needed, memory: limits.memory }.into()),
        }
    }

    /// The number of processes that are idle, and of those that start or decode.
    #[must_use]
    pub fn processes(&self) -> (usize, usize) {
        self.pool.as_ref().map_or((0, 0), Pool::processes)
    }

    /// The number of processes that ended instead of decoding a picture.
    #[must_use]
    pub fn ended(&self) -> u64 {
        self.pool.as_ref().map_or(0, Pool::ended)
    }
}

/// Starts a process, and compares what it decodes with what this process decodes. The names of its layers.
fn try_out(pool: &Pool, limits: Limits) -> Result<Vec<&'static str>, String> {
    const SIDE: u32 = 16;
    let own = Limits::of(u64::from(SIDE * SIDE));
    let colours = (0..SIDE * SIDE * 3).map(|number| (number * 5 % 256) as u8).collect();
    let jpeg = Picture::of_rgb(SIDE, SIDE, colours).to_jpeg(90).map_err(|error| error.to_string())?;
    let expected = picture::decode(&jpeg, own).map_err(|error| error.to_string())?;
    let mut lease = match pool.start(limits) {
        Ok(lease) => lease,
        // Later it may work.
        Err(StartError::Lack(_)) => return Ok(names(Layers::default())),
        Err(StartError::Impossible(why)) => return Err(why),
    };
    let layers = lease.process().map(|process| process.layers).unwrap_or_default();
    match lease.begin(&jpeg, own, own.memory) {
        Ok(Outcome::Decoded(picture)) if picture == expected => Ok(names(layers)),
        Ok(_) => Err("a test picture is decoded differently".to_owned()),
        Err(error) => Err(format!("a test picture is not decoded: {error}")),
    }
}

/// The layers in words.
fn names(layers: Layers) -> Vec<&'static str> {
    let optional = [(layers.landlock, "Landlock"), (layers.namespaces, "namespaces")];
    let optional = optional.into_iter().filter_map(|(has, name)| has.then_some(name));
    ["limits", "seccomp"].into_iter().chain(optional).collect()
}

impl fmt::Debug for Sandbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sandbox").field("state", &self.state).finish_non_exhaustive()
    }
}
