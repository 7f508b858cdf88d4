//! The stream source: RTSP cameras, and recordings and addresses that FFmpeg opens.
//!
//! **Which frames.** One in each `every` of the stream's own time. If key frames are frequent enough for that (this is
//! measured continuously), only the key frames that are due are decoded. Otherwise every frame is decoded that is due or
//! that others depend on, and only frames that are due are converted; frames before a key frame that arrives as soon as a
//! frame is due are not decoded ([`deferred_packets`]). Frames before the first key frame, damaged frames, frames with lost
//! packets ([`packet_loss`]) and frames that depend on them are never scored: after damage the source waits for the next
//! intact key frame. A camera that refreshes its picture in parts has no key frames: then every frame is decoded, and the first
//! one is scored when FFmpeg's decoder says that a refresh is complete (`decoder`).
//!
//! **Time.** `captured_at` is when the last packet of the frame arrived, by the clock of this machine: the clocks of cameras are
//! not reliable, and the delay of the network is not known. A frame of an RTSP camera is decoded as soon as it is complete,
//! and not when the next one begins (`access_units`).
//!
//! **Unchanged frames** are not scored again (`unchanged: repeat`, see [`unchanged`]): the last scored picture is sent once
//! more, by which the model's thread recognises it.
//!
//! [`unchanged`]: crate::source::unchanged
//!
//! **Time-outs.** Every call of FFmpeg ends with the stop signal or at a deadline: `open_timeout`, then `stall_after` for the
//! next packet. Only the lookup of a host name takes as long as the system allows. A stream with packets and no intact frame
//! is closed, too: after the interval of its key frames plus `stall_after`, or after a minute if the interval is not known. If
//! the packets form no frame at all, it is closed after `stall_after` plus a minute.
//!
//! **The end of a stream.** The end of a camera's stream is a failure. A recording is played once to its end, then its
//! source is offline. It is played as it was recorded, or (`pace: full`) as fast as its frames are scored, without skipping
//! any. An input is a recording if it is a file or declares a duration. A recording that stalls is played again from its
//! start.
//!
//! **Limits.** `max_pixels` and `memory` limit what a decoder may allocate, not only what is scored: a small file can declare
//! frames of a gigabyte. This holds for the search for the properties of an input, too, which decodes some frames.
//!
//! Audio is ignored. FFmpeg's log is never printed: it may hold an address with its query. Logins, redirects and TLS are not FFmpeg's:
//! see `relay`. What an input may name and FFmpeg may open for it is in `allowed`.

mod access_units;
mod allowed;
mod connect;
mod convert;
mod deadline;
mod decoder;
pub mod deferred_packets;
mod device;
pub mod error;
mod hardware;
mod input;
mod open;
pub mod packet_loss;
mod playing;
pub mod probe;
mod reader;
pub mod recording;
mod relay;
mod schedule;
pub mod settings;
mod transport;
mod upright;

use std::sync::Arc;

use self::{
    decoder::Decoder,
    error::StreamError,
    input::Opened,
    open::Memory,
    playing::{Ended, Playing},
    settings::{Hwaccel, Stream},
    transport::Outcome,
};
use crate::{
    config::Region,
    picture::Picture,
    source::{
        cause::{Cause, Causes},
        context::{Context, Status},
        kind::{Failure, Kind, Probe, Surroundings},
    },
};

/// A stream source, with the state that it keeps over its failures.
pub struct StreamSource {
    settings: Stream,
    /// The parts of the frame that are compared.
    regions: Vec<Region>,
    origin: String,
    /// A recording was played to its end.
    done: bool,
    /// Why the requested hardware does not decode, as it was logged.
    logged: Option<String>,
    /// The hardware delivered no intact frame: it is not used again.
    without_hardware: bool,
    memory: Memory,
}

impl Kind for StreamSource {
    type Settings = Stream;

    const CAUSES: Causes = Causes {
        skipped: &[Cause::BeforeKeyFrame, Cause::NotDecoded],
        failed: &[&[
            Cause::DamagedFrame,
            Cause::DamagedPacket,
            Cause::LostPacket,
            Cause::NotDecoded,
            Cause::NotFetched,
        ]],
    };

    fn new(settings: &Stream, regions: &[Region]) -> Self {
        Self {
            origin: settings.input.shown(),
            settings: settings.clone(),
            regions: regions.to_vec(),
            done: false,
            logged: None,
            without_hardware: false,
            memory: Memory::new(settings),
        }
    }

    async fn run_once(&mut self, context: &Context) -> Result<(), Failure> {
        if !self.done {
            match self.play(context).await? {
                Ended::Stopped => return Ok(()),
                Ended::Done => self.done = true,
            }
            context.report(Status::Offline);
            tracing::info!(source = &*context.name, "the recording is over: {}", context.counts.snapshot());
        }
        context.stop.cancelled().await;
        Ok(())
    }

    fn probe(settings: &Stream, surroundings: &Surroundings<'_>) -> Probe {
        probe::probe(settings, surroundings.limits)
    }

    fn picture(settings: &Stream, surroundings: &Surroundings<'_>) -> Option<Result<Arc<Picture>, String>> {
        let picture = probe::picture(settings, surroundings.limits);
        Some(picture.map(Arc::from).map_err(|error| error.to_string()))
    }
}

impl StreamSource {
    /// Opens the stream and plays it to its end.
    async fn play(&mut self, context: &Context) -> Result<Ended, StreamError> {
        let opened = Opened::open(&self.settings, &self.origin, context, &mut self.memory)?;
        let Some(opened) = opened else {
            return Ok(Ended::Stopped);
        };
        let hwaccel = if self.without_hardware { Hwaccel::None } else { self.settings.hwaccel };
        let limits = context.limits();
        // Held while the stream is open. A camera never waits for it.
        let _share = context.decoders.memory().for_stream(opened.memory(&self.origin, limits)?);
        let decoder = Decoder::new(&opened, hwaccel, &self.origin, limits)?;
        self.log_missing_hardware(&decoder, context);
        let mut playing =
            Playing::new((&self.settings, &self.regions), &self.origin, opened, decoder, context);
        let ended = playing.play().await;
        let silent = matches!(ended, Err(StreamError::Stalled { .. })) && !playing.opened.has_delivered();
        let outcome = if silent { Outcome::Silent } else { Outcome::Delivered };
        let on_hardware = matches!(playing.decoder.hardware(), Ok(Some(_)));
        if on_hardware && matches!(ended, Err(StreamError::NoIntactFrame(_))) {
            tracing::warn!(
                source = &*context.name,
                "the hardware decodes no intact frame: the processor decodes instead"
            );
            self.without_hardware = true;
        }
        self.memory.transports.record(outcome);
        ended
    }

    /// Logs once why the processor decodes although hardware was requested.
    fn log_missing_hardware(&mut self, decoder: &Decoder, context: &Context) {
        if let Err(why) = decoder.hardware()
            && self.logged.as_deref() != Some(why)
        {
            tracing::warn!(
                source = &*context.name,
                why,
                "no `hwaccel: {}` here: the processor decodes",
                self.settings.hwaccel.as_str()
            );
            self.logged = Some(why.to_owned());
        }
    }
}
