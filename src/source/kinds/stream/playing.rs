//! An open stream: from its packets to the frames that are handed on.
//!
//! It refuses to open anything, and to decide what follows when it ends.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use ffmpeg_next::Packet;
use jiff::Timestamp;
use tokio::sync::OwnedSemaphorePermit;

use super::{
    StreamSource,
    convert::{self, Converter},
    decoder::{Decoder, Need},
    deferred_packets::Rest,
    error::StreamError,
    input::{Next, Opened},
};
use crate::{
    config::{Decode, Hwaccel, Pace, Region, Stream},
    picture::Picture,
    source::{
        Cause, Context, Status, StreamInfo,
        handover::Content,
        sampler::{Clock, Decoded, KeyFrames, Sampler, choose},
        unchanged::{Grey, LastScored, Looked},
    },
};

/// What goes on while a stream is open.
pub(crate) struct Playing<'a> {
    settings: &'a Stream,
    regions: &'a [Region],
    origin: &'a str,
    context: &'a Context,
    opened: Opened,
    pub(crate) decoder: Decoder,
    rest: Rest,
    converter: Converter,
    clock: Clock,
    sampler: Sampler,
    key_frames: KeyFrames,
    decoded: Decoded,
    last_scored: LastScored,
    /// The picture that was handed on last.
    shown: Option<Arc<Picture>>,
    began: Instant,
    last_whole: Instant,
}

/// Why playing ended without an error.
pub(crate) enum Ended {
    Stopped,
    /// The recording is over.
    Done,
}

impl<'a> Playing<'a> {
    pub(crate) fn new(
        source: &'a StreamSource,
        opened: Opened,
        decoder: Decoder,
        context: &'a Context,
    ) -> Self {
        let now = Instant::now();
        let StreamSource { settings, regions, origin, .. } = source;
        Self {
            settings,
            regions,
            origin,
            context,
            last_scored: LastScored::new(settings.unchanged),
            shown: None,
            decoder,
            rest: Rest::default(),
            converter: Converter::default(),
            clock: Clock::new(opened.played, opened.frame_time()),
            sampler: Sampler::new(settings.every),
            key_frames: KeyFrames::default(),
            decoded: choose(settings.decode, None, settings.every),
            began: now,
            last_whole: now,
            opened,
        }
    }

    /// The loop: a packet, and perhaps a frame of it.
    pub(crate) async fn play(&mut self) -> Result<Ended, StreamError> {
        loop {
            let (packet, is_damaged) = match self.opened.next(self.origin, self.context)? {
                Next::Packet(packet, is_damaged) => (packet, is_damaged),
                Next::Stopped => return Ok(Ended::Stopped),
                Next::End => return self.finish().await,
            };
            let arrived = Timestamp::now();
            let now = self.clock.advance(self.opened.stamp(&packet), self.began.elapsed());
            if packet.is_key() {
                self.key_frames.record(now);
            }
            self.follow(now)?;
            if self.opened.is_recording() && self.settings.pace == Pace::Real && !self.wait_for(now).await {
                return Ok(Ended::Stopped);
            }

            // In a recording nobody waits for a frame, so nothing can be late.
            if !self.opened.is_recording()
                && self.last_whole.elapsed() > self.key_frames.limit(self.settings.stall_after)
            {
                return Err(StreamError::NoWholeFrame(self.origin.to_owned()));
            }
            if is_damaged {
                self.rest.take();
                self.decoder.start_over(Cause::LostPacket, &self.context.counts);
                continue;
            }
            let only_key_frames = self.decoded == Decoded::KeyFrames;
            if only_key_frames && !(packet.is_key() && self.sampler.is_due(now)) {
                self.context.counts.skipped(Cause::NotDecoded);
                if packet.is_key() {
                    self.last_whole = Instant::now();
                }
                continue;
            }
            if !only_key_frames && self.is_needless(&packet, now) {
                self.rest.keep(packet);
                self.last_whole = Instant::now();
                continue;
            }
            let counts = Arc::clone(&self.context.counts);
            let whole = counts.decoding(|| self.decode(&packet, now));
            if !self.frame(whole, now, arrived).await? {
                return Ok(Ended::Stopped);
            }
        }
    }

    /// Whether nobody needs the packet if the next key frame comes when it is expected.
    fn is_needless(&self, packet: &Packet, now: Duration) -> bool {
        let expected = self.key_frames.expected().filter(|_| self.settings.decode == Decode::Auto);
        !packet.is_key()
            && self.rest.has_room(packet)
            && expected.is_some_and(|expected| self.sampler.can_wait_for(expected, now))
    }

    /// Decodes a packet, and before it what turned out to be needed. Whether there is a new whole frame.
    fn decode(&mut self, packet: &Packet, now: Duration) -> bool {
        let (counts, kept, mut whole) = (&self.context.counts, self.rest.take(), false);
        if packet.is_key() {
            kept.iter().for_each(|_| counts.skipped(Cause::NotDecoded));
            if !kept.is_empty() {
                self.decoder.begin_anew();
            }
        } else {
            for kept in &kept {
                whole |= self.decoder.feed(kept, Need::Others, counts);
            }
        }
        let need = match self.decoded {
            Decoded::KeyFrames => Need::Alone,
            Decoded::All if self.sampler.is_due(now) => Need::Frame,
            Decoded::All => Need::Others,
        };
        self.decoder.feed(packet, need, counts) || whole
    }

    /// The last frames of a recording, which the decoder still holds.
    async fn finish(&mut self) -> Result<Ended, StreamError> {
        let whole = self.decoder.drain(&self.context.counts);
        let now = self.clock.advance(None, self.began.elapsed());
        self.frame(whole, now, Timestamp::now()).await?;
        Ok(Ended::Done)
    }

    /// Follows the stream in what is decoded.
    fn follow(&mut self, now: Duration) -> Result<(), StreamError> {
        let interval = self.key_frames.interval(now);
        let decoded = choose(self.settings.decode, interval, self.settings.every);
        if decoded != self.decoded {
            self.decoded = decoded;
            if decoded == Decoded::KeyFrames {
                // Of those it holds one at a time.
                self.decoder = self.decoder.afresh(&self.opened, self.origin)?;
            }
            let what = if decoded == Decoded::All { "every frame" } else { "key frames only" };
            let interval = interval.map_or(f64::NAN, |interval| interval.as_secs_f64());
            tracing::info!(
                source = &*self.context.name,
                "decoding {what}: there is a key frame every {interval:.1} s"
            );
        }
        Ok(())
    }

    /// Says what the stream is and what is decoded of it, where that is news.
    fn tell(&self, now: Duration) {
        let frame = self.decoder.frame();
        let hwaccel = self.decoder.hardware().ok().flatten().unwrap_or(Hwaccel::None);
        let info = StreamInfo {
            codec: self.opened.codec(),
            size: (frame.width(), frame.height()),
            rate: self.opened.rate(),
            key_frames: self.key_frames.interval(now),
            decode: if self.decoded == Decoded::All { "all" } else { "key_frames" },
            hwaccel: hwaccel.as_str(),
        };
        self.context.counts.stream.send_if_modified(|told| {
            let is_news = told.as_ref().is_none_or(|told| info.is_news(told));
            if is_news {
                *told = Some(info);
            }
            is_news
        });
    }

    /// Waits until a recording is at this time; false when it was told to stop.
    async fn wait_for(&self, now: Duration) -> bool {
        let wait = (self.began + now).saturating_duration_since(Instant::now());
        if wait.is_zero() {
            return true;
        }
        tokio::select! {
            () = self.context.stop.cancelled() => false,
            () = tokio::time::sleep(wait) => true,
        }
    }

    /// Takes the decoder's newest frame if it is `whole` and due; false when it was told to stop.
    async fn frame(&mut self, whole: bool, now: Duration, arrived: Timestamp) -> Result<bool, StreamError> {
        if !whole {
            return Ok(true);
        }
        self.last_whole = Instant::now();
        self.context.report(Status::Online);
        if !self.sampler.is_due(now) {
            return Ok(true);
        }
        self.sampler.take(now);
        self.context.counts.seen();
        self.tell(now);
        let slot = match self.slot().await {
            Some(Ok(slot)) => slot,
            Some(Err(Skipped)) => return Ok(true),
            None => return Ok(false),
        };
        if !self.decoder.fetch(&self.context.counts) {
            return Ok(true);
        }
        let (content, picture) = match self.repeated(now) {
            (Some(same), _) => (Content::Repeated, same),
            (None, parts) => {
                let picture = self.picture()?;
                if self.last_scored.is_asked() {
                    let size = (picture.width as usize, picture.height as usize);
                    let parts = parts.unwrap_or_else(|| self.looked().picture(&picture));
                    self.last_scored.scored(size, parts, now);
                    self.shown = Some(Arc::clone(&picture));
                }
                (Content::New, picture)
            }
        };
        Ok(self.context.send(content, picture, self.origin, arrived, slot).is_continue())
    }

    /// The picture that was handed on last, if the decoder's newest frame still shows it; and what was looked at.
    ///
    /// A frame without a plane of brightness is made a picture first, which costs more.
    fn repeated(&self, now: Duration) -> (Option<Arc<Picture>>, Option<Vec<Grey>>) {
        let looked = self.looked();
        let luma = convert::luma(self.decoder.frame()).filter(|_| self.last_scored.is_asked());
        let Some(parts) = luma.and_then(|(plane, stride)| looked.luma(plane, stride)) else {
            return (None, None);
        };
        let same = self.shown.as_ref().filter(|_| self.last_scored.is_repeated(looked.size, &parts, now));
        (same.map(Arc::clone), Some(parts))
    }

    fn looked(&self) -> Looked<'_> {
        let frame = self.decoder.frame();
        Looked { size: (frame.width() as usize, frame.height() as usize), regions: self.regions }
    }

    fn picture(&mut self) -> Result<Arc<Picture>, StreamError> {
        let picture = self.converter.picture(self.decoder.frame(), self.context.max_pixels);
        let not_converted = |cause| StreamError::NotConverted { address: self.origin.to_owned(), cause };
        picture.map(Arc::new).map_err(not_converted)
    }

    /// A slot, waited for only where no time passes; `None` when it was told to stop.
    async fn slot(&self) -> Option<Result<OwnedSemaphorePermit, Skipped>> {
        if !(self.opened.is_recording() && self.settings.pace == Pace::Full) {
            return Some(self.context.free_slot().ok_or(Skipped));
        }
        tokio::select! {
            () = self.context.stop.cancelled() => None,
            slot = self.context.slots.clone().acquire_owned() => Some(Ok(slot.ok()?)),
        }
    }
}

/// No slot was free.
struct Skipped;
