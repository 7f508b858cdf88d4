//! The stream source: RTSP cameras, and recordings and addresses that FFmpeg opens.
//!
//! **Which frames.** One in each `every` of the stream's own time. Where key frames come often enough for that (it is
//! measured, again and again), nothing else is decoded, and of the key frames only those that are due; otherwise all are
//! decoded that are due or that others build on, and only those that are due converted; what stands before a key frame that
//! comes as soon as a frame is due is not ([`rest`]). Nothing is scored that comes before the first key frame, that the
//! decoder mended, that lost a packet on its way ([`packet_loss`]), or that builds on such a frame: after any damage it waits for
//! the next whole key frame.
//!
//! **Time.** `captured_at` is when the frame's packet arrived, by our own clock: what cameras say of the time is not to be
//! trusted, and how long a frame was under way is not known.
//!
//! **What did not change** since the last scored frame is not scored again (`unchanged: repeat`, see [`unchanged`]): the same
//! picture is handed on once more, which whoever scores knows by that.
//!
//! [`unchanged`]: crate::source::unchanged
//!
//! **Never stuck.** Every call of FFmpeg ends when the word to stop comes or a deadline passes: 10 s to open, then
//! `stall_after` for the next packet. Only looking up a host's name waits as long as the system does. A stream that
//! brings packets and no whole frame is left, too: `stall_after` beyond the distance of its key frames, or after a minute
//! where that is not known yet.
//!
//! **Its end.** The end of a camera is a loss. A recording that was played to its end is done: its source is offline, and
//! nothing is played again. It is played as it was recorded, or (`pace: full`) as fast as its frames are scored, without
//! skipping one. It is a recording if it is a file or says how long it is; one that stands still on its way begins anew.
//!
//! It refuses sound, and to tell what FFmpeg prints: that may hold a password. `rtsps` encrypts and does not check
//! the certificate: those of cameras are their own.

mod convert;
mod decoder;
pub mod deferred_packets;
mod device;
mod error;
mod hardware;
mod input;
pub mod packet_loss;
mod playing;
mod probe;
mod recording;
pub mod settings;

use self::{
    decoder::Decoder,
    input::Opened,
    playing::{Ended, Playing},
};
pub use self::{
    error::StreamError,
    probe::{Ffmpeg, StreamProbe, ffmpeg, probe},
    recording::Recording,
};
use crate::{
    config::{Hwaccel, Region, Stream},
    source::{Cause, Causes, Context, Status},
};

pub(crate) const CAUSES: Causes = Causes {
    skipped: &[Cause::BeforeKeyFrame, Cause::NotDecoded],
    failed: &[&[
        Cause::DamagedFrame,
        Cause::DamagedPacket,
        Cause::LostPacket,
        Cause::NotDecoded,
        Cause::NotFetched,
    ]],
};

/// A stream source, with what it remembers over its failures.
pub struct StreamSource {
    settings: Stream,
    /// What is looked at for changes.
    regions: Vec<Region>,
    origin: String,
    /// A recording was played to its end.
    done: bool,
    /// What stood in the way of the hardware that was asked for, as it was told.
    told: Option<String>,
    /// The hardware brought no whole frame: it is not asked again.
    without_hardware: bool,
}

impl StreamSource {
    /// A source that did not open anything yet.
    #[must_use]
    pub fn new(settings: &Stream, regions: &[Region]) -> Self {
        let origin = input::shown(&settings.input);
        Self {
            origin,
            settings: settings.clone(),
            regions: regions.to_vec(),
            done: false,
            told: None,
            without_hardware: false,
        }
    }

    /// Delivers frames until it is told to stop.
    ///
    /// # Errors
    /// When the stream cannot be opened, ends, or stands still.
    pub async fn run_once(&mut self, context: &Context) -> Result<(), StreamError> {
        if !self.done {
            let Some(opened) = Opened::open(&self.settings, &self.origin, context)? else { return Ok(()) };
            let decoder = Decoder::new(&opened, self.hwaccel(), &self.origin)?;
            self.tell_without(&decoder, context);
            let mut playing = Playing::new(self, opened, decoder, context);
            let ended = playing.play().await;
            let on_hardware = matches!(playing.decoder.hardware(), Ok(Some(_)));
            if on_hardware && matches!(ended, Err(StreamError::NoWholeFrame(_))) {
                tracing::warn!(
                    source = &*context.name,
                    "the hardware decodes nothing whole: the processor does from now on"
                );
                self.without_hardware = true;
            }
            match ended? {
                Ended::Stopped => return Ok(()),
                Ended::Done => self.done = true,
            }
            context.report(Status::Offline);
            tracing::info!(source = &*context.name, "the recording is over: {}", context.counts.snapshot());
        }
        context.stop.cancelled().await;
        Ok(())
    }

    fn hwaccel(&self) -> Hwaccel {
        if self.without_hardware { Hwaccel::None } else { self.settings.hwaccel }
    }

    /// Says once why the processor decodes although it was asked for otherwise.
    fn tell_without(&mut self, decoder: &Decoder, context: &Context) {
        if let Err(why) = decoder.hardware()
            && self.told.as_deref() != Some(why)
        {
            tracing::warn!(
                source = &*context.name,
                why,
                "no `hwaccel: {}` here: the processor decodes",
                self.settings.hwaccel.as_str()
            );
            self.told = Some(why.to_owned());
        }
    }
}
