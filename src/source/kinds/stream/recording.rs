//! Reads a recording frame by frame, for callers that do not wait: one frame in each `every`, as fast as it is decoded.
//!
//! The frames are those of a `video` source with `pace: full`. Time is the position in the recording.

use std::{path::Path, sync::Arc, time::Duration};

use jiff::Timestamp;

use super::{
    convert::Converter,
    decoder::Decoder,
    error::StreamError,
    input::{Arrived, Next, Opened},
    open::Memory,
    schedule::{PacketState, Schedule, Step},
    settings::{Hwaccel, Input, Pace, Stream},
};
use crate::{
    picture::{
        Limits, Share,
        mask::{Masked, Polygon},
    },
    source::{
        cause::Cause,
        context::Context,
        counts::{Counts, Snapshot},
        kinds::camera::{Decode, Redirects, Unchanged},
        sampler::Clock,
    },
    tls::Trust,
};

/// A file that cannot be read for this time is on a disk that does not answer.
const STALL_AFTER: Duration = Duration::from_secs(60);

/// An open recording.
pub struct Recording {
    origin: String,
    context: Context,
    opened: Opened,
    decoder: Decoder,
    converter: Converter,
    clock: Clock,
    schedule: Schedule,
    over: bool,
    /// Why it ended before its end.
    damage: Option<String>,
    /// The newest position.
    reached: Duration,
    /// The counters of the source that plays it: they show that it makes progress.
    watched: Option<Arc<Counts>>,
    /// The memory of the decoder.
    _share: Share,
}

impl Recording {
    /// Opens the file at `path`. One frame is taken from each period `every`, and hides what `mask` covers.
    ///
    /// # Errors
    /// It is no recording, or has no video that can be decoded.
    pub fn open(
        path: &Path,
        every: Duration,
        decode: Decode,
        limits: Limits,
        mask: Arc<[Polygon]>,
    ) -> Result<Self, StreamError> {
        let context = Context { mask, ..Context::detached(&path.display().to_string(), limits) };
        let opened = Self::open_in(path, path, every, decode, context, None)?;
        Ok(opened.expect("only this function has the token of the stop signal"))
    }

    /// Like [`Self::open`], for a source: its stop signal ends every call as if the recording were over. The errors name the file as
    /// `shown`.
    ///
    /// # Errors
    /// It is no recording, or has no video that can be decoded, or the stop signal was given.
    pub(crate) fn open_for(
        source: &Context,
        path: &Path,
        shown: &Path,
        every: Duration,
    ) -> Result<Self, StreamError> {
        let context = Context {
            stop: source.stop.clone(),
            decoders: Arc::clone(&source.decoders),
            mask: Arc::clone(&source.mask),
            ..Context::detached(&shown.display().to_string(), source.limits())
        };
        let opened = Self::open_in(path, shown, every, Decode::Auto, context, Some(&source.counts))?;
        let stopped = || StreamError::NotOpened {
            address: shown.display().to_string(),
            cause: "the source was stopped".to_owned(),
        };
        opened.ok_or_else(stopped)
    }

    /// `None` after the stop signal.
    fn open_in(
        path: &Path,
        shown: &Path,
        every: Duration,
        decode: Decode,
        context: Context,
        watched: Option<&Arc<Counts>>,
    ) -> Result<Option<Self>, StreamError> {
        let settings = Stream {
            input: Input::File(path.to_owned()),
            every,
            decode,
            hwaccel: Hwaccel::None,
            transport: None,
            redirects: Redirects::SameHost,
            tls: Trust::System,
            pace: Pace::Full,
            open_timeout: STALL_AFTER,
            stall_after: STALL_AFTER,
            unchanged: Unchanged::Score,
        };
        let origin = shown.display().to_string();
        let opened = Opened::open(&settings, &origin, &context, &mut Memory::new(&settings))?;
        let Some(opened) = opened else { return Ok(None) };
        let limits = context.limits();
        let counts = watched.unwrap_or(&context.counts);
        let share = context.clip_share(opened.memory(&origin, limits)?, counts);
        let Some(share) = share else { return Ok(None) };
        Ok(Some(Self {
            decoder: Decoder::new(&opened, Hwaccel::None, &origin, limits)?,
            converter: Converter::new(opened.view(), Arc::clone(&context.mask)),
            clock: Clock::new(opened.played, opened.frame_time()),
            schedule: Schedule::new(&settings, true),
            context,
            opened,
            origin,
            over: false,
            damage: None,
            reached: Duration::ZERO,
            watched: watched.cloned(),
            _share: share,
        }))
    }

    /// After its end: why a part of it is missing, if that is so.
    pub(crate) fn damage(&self) -> Option<String> {
        const TOLERANCE: Duration = Duration::from_secs(2);
        if let Some(damage) = &self.damage {
            return Some(damage.clone());
        }
        let length = self.length()?;
        let is_short = self.reached + TOLERANCE + length / 10 < length;
        let (reached, length) = (self.reached.as_secs_f64(), length.as_secs_f64());
        is_short.then(|| format!("it ends after {reached:.1} s of {length:.1} s"))
    }

    /// When it was recorded, if the file says so.
    #[must_use]
    pub fn began(&self) -> Option<Timestamp> {
        self.opened.began()
    }

    /// Its duration, if the file says so.
    #[must_use]
    pub fn length(&self) -> Option<Duration> {
        self.opened.length()
    }

    /// The frames that were skipped or failed, by cause.
    #[must_use]
    pub fn counts(&self) -> Snapshot {
        self.context.counts.snapshot()
    }

    /// The next frame that is due, and its position in the recording; `None` at the end.
    ///
    /// # Errors
    /// The file cannot be read any further, or its frames cannot be converted to pictures.
    pub fn next_frame(&mut self) -> Result<Option<(Duration, Masked)>, StreamError> {
        while !self.over {
            if let Some(watched) = &self.watched {
                watched.pulse().beat();
            }
            let (intact, now) = match self.opened.next(&self.origin, &self.context)? {
                Next::Packet(Arrived { mut packet, at, .. }) => {
                    let now = self.clock.advance(self.opened.stamp(&packet), Duration::ZERO);
                    self.reached = now;
                    let is_key = packet.is_key();
                    let state = PacketState { is_key, is_damaged: false, can_be_deferred: false };
                    let Step::Decode(need) = self.schedule.packet(state, now, Duration::ZERO) else {
                        self.context.counts.skipped(Cause::NotDecoded);
                        continue;
                    };
                    let intact = self.decoder.feed(&mut packet, at, need, &self.context.counts);
                    let has_partial_keys = self.decoder.has_partial_keys();
                    self.schedule.decoded_packet(need, intact, has_partial_keys, now);
                    (intact, now)
                }
                end @ (Next::End(_) | Next::Stopped) => {
                    self.over = true;
                    if matches!(end, Next::End(true)) {
                        self.damage = Some("its rest cannot be read".to_owned());
                    }
                    let intact = self.decoder.drain(&self.context.counts);
                    (intact, self.clock.advance(None, Duration::ZERO))
                }
            };
            let not_converted = |cause| StreamError::NotConverted { address: self.origin.clone(), cause };
            if !intact && let Some(cause) = self.decoder.exceeded() {
                return Err(not_converted(cause));
            }
            if !intact || !self.schedule.intact_frame(now, Duration::ZERO) {
                continue;
            }
            let picture = self.converter.picture(self.decoder.frame(), self.context.limits());
            return picture.map(|picture| Some((now, picture))).map_err(not_converted);
        }
        Ok(None)
    }
}
