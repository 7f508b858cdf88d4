//! Plays an open stream: from its packets to the frames that are sent.
//!
//! What happens to a packet is decided in [`super::schedule`].

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::OwnedSemaphorePermit;

use super::{
    convert::Converter,
    decoder::Decoder,
    deferred_packets::DeferredPackets,
    error::StreamError,
    input::{Arrived, Next, Opened},
    schedule::{Need, PacketState, Schedule, Step},
    settings::{Hwaccel, Pace, Stream},
};
use crate::{
    config::Region,
    frame::Slot,
    picture::mask::Masked,
    source::{
        cause::Cause,
        context::{Context, Status},
        handover::Content,
        info::StreamInfo,
        sampler::{Clock, Decoded},
        unchanged::{FrameLayout, Grey, LastScored},
    },
};

/// The state of an open stream.
pub(crate) struct Playing<'a> {
    settings: &'a Stream,
    regions: &'a [Region],
    origin: &'a str,
    context: &'a Context,
    pub(crate) opened: Opened,
    pub(crate) decoder: Decoder,
    deferred: DeferredPackets,
    converter: Converter,
    clock: Clock,
    schedule: Schedule,
    last_scored: LastScored,
    /// The picture that was sent last.
    last_sent: Option<Masked>,
    began: Instant,
}

/// Why playing ended without a failure.
pub(crate) enum Ended {
    /// By the stop signal.
    Stopped,
    /// The recording is over.
    Done,
}

impl<'a> Playing<'a> {
    pub(crate) fn new(
        (settings, regions): (&'a Stream, &'a [Region]),
        origin: &'a str,
        opened: Opened,
        decoder: Decoder,
        context: &'a Context,
    ) -> Self {
        Self {
            settings,
            regions,
            origin,
            context,
            last_scored: LastScored::new(settings.unchanged),
            last_sent: None,
            decoder,
            deferred: DeferredPackets::default(),
            converter: Converter::new(opened.view(), Arc::clone(&context.mask)),
            clock: Clock::new(opened.played, opened.frame_time()),
            schedule: Schedule::new(settings, opened.is_recording()),
            began: Instant::now(),
            opened,
        }
    }

    /// The loop: a packet, and perhaps its frame.
    pub(crate) async fn play(&mut self) -> Result<Ended, StreamError> {
        loop {
            let arrived = match self.opened.next(self.origin, self.context)? {
                Next::Packet(arrived) => arrived,
                Next::Stopped => return Ok(Ended::Stopped),
                Next::End(_) => return self.finish().await,
            };
            let elapsed = self.began.elapsed();
            let packet = &arrived.packet;
            let now = self.clock.advance(self.opened.stamp(packet), elapsed);
            let can_be_deferred = self.deferred.has_room(packet);
            let state =
                PacketState { is_key: packet.is_key(), is_damaged: arrived.is_damaged, can_be_deferred };
            let decoded = self.schedule.decoded();
            let step = self.schedule.packet(state, now, elapsed);
            self.switch(decoded, now)?;
            if self.opened.is_recording() && self.settings.pace == Pace::Real && !self.wait_for(now).await {
                return Ok(Ended::Stopped);
            }
            match step {
                Step::Close => return Err(StreamError::NoIntactFrame(self.origin.to_owned())),
                Step::Discard => {
                    self.deferred.take();
                    self.decoder.discard(Cause::LostPacket, &self.context.counts);
                }
                Step::Skip => self.context.counts.skipped(Cause::NotDecoded),
                Step::Defer => self.deferred.keep(arrived),
                Step::Decode(need) => {
                    let counts = Arc::clone(&self.context.counts);
                    let intact = counts.decoding(|| self.decode(arrived, need));
                    let decoded = self.schedule.decoded();
                    self.schedule.decoded_packet(need, intact, self.decoder.has_partial_keys(), now);
                    if !intact && let Some(cause) = self.decoder.exceeded() {
                        return Err(StreamError::NotConverted { address: self.origin.to_owned(), cause });
                    }
                    if !self.frame(intact, now).await? {
                        return Ok(Ended::Stopped);
                    }
                    self.switch(decoded, now)?;
                }
            }
        }
    }

    /// Decodes a packet, and before it the deferred packets if they are needed. Whether there is a new intact frame.
    fn decode(&mut self, mut arrived: Arrived, need: Need) -> bool {
        let (counts, deferred, mut intact) = (&self.context.counts, self.deferred.take(), false);
        if arrived.packet.is_key() {
            deferred.iter().for_each(|_| counts.skipped(Cause::NotDecoded));
            if !deferred.is_empty() {
                self.decoder.reset();
            }
        } else {
            for mut deferred in deferred {
                intact |= self.decoder.feed(&mut deferred.packet, deferred.at, Need::Others, counts);
            }
        }
        self.decoder.feed(&mut arrived.packet, arrived.at, need, counts) || intact
    }

    /// Sends the last frames of a recording, which the decoder still holds.
    async fn finish(&mut self) -> Result<Ended, StreamError> {
        let intact = self.decoder.drain(&self.context.counts);
        let now = self.clock.advance(None, self.began.elapsed());
        self.frame(intact, now).await?;
        Ok(Ended::Done)
    }

    /// Adapts the decoder if the schedule now decodes other frames than `before`.
    fn switch(&mut self, before: Decoded, now: Duration) -> Result<(), StreamError> {
        if self.schedule.decoded() == before {
            return Ok(());
        }
        let all = self.schedule.decoded() == Decoded::All;
        if !all {
            // For key frames the decoder holds one frame at a time.
            self.decoder = self.decoder.recreate(&self.opened, self.origin)?;
        }
        let source = &*self.context.name;
        if all && self.schedule.has_partial_keys() {
            tracing::info!(
                source,
                "decoding every frame: the camera refreshes its picture in parts, without whole key frames"
            );
            return Ok(());
        }
        let what = if all { "every frame" } else { "key frames only" };
        let interval =
            self.schedule.key_frame_interval(now).map_or(f64::NAN, |interval| interval.as_secs_f64());
        tracing::info!(source, "decoding {what}: there is a key frame every {interval:.1} s");
        Ok(())
    }

    /// Publishes the properties of the stream if they changed.
    fn publish_info(&self, now: Duration) {
        let frame = self.decoder.frame();
        let hwaccel = self.decoder.hardware().ok().flatten().unwrap_or(Hwaccel::None);
        let info = StreamInfo {
            codec: self.opened.codec(),
            size: self.converter.shown_size(frame),
            rate: self.opened.rate().or(self.decoder.rate()),
            key_frames: self.schedule.key_frame_interval(now),
            decode: if self.schedule.decoded() == Decoded::All { "all" } else { "key_frames" },
            hwaccel: hwaccel.as_str(),
        };
        self.context.counts.stream.send_if_modified(|published| {
            let is_news = published.as_ref().is_none_or(|published| info.is_news(published));
            if is_news {
                *published = Some(info);
            }
            is_news
        });
    }

    /// Waits until a recording reaches this time; false after the stop signal.
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

    /// Sends the decoder's newest frame if it is `intact` and due; false if the source is to end.
    async fn frame(&mut self, intact: bool, now: Duration) -> Result<bool, StreamError> {
        if !intact {
            return Ok(true);
        }
        self.context.report(Status::Online);
        if !self.schedule.intact_frame(now, self.began.elapsed()) {
            return Ok(true);
        }
        self.context.counts.seen();
        self.publish_info(now);
        let slot = match self.slot().await {
            Some(Ok(slot)) => slot,
            Some(Err(Skipped)) => return Ok(true),
            None => return Ok(false),
        };
        if !self.decoder.fetch(&self.context.counts) {
            return Ok(true);
        }
        let (content, picture) = self.content(now)?;
        let arrived = self.decoder.arrived();
        Ok(self.context.send(content, picture, self.origin, arrived, Slot::new(slot)).is_continue())
    }

    /// The picture to send: the last one again if the decoder's newest frame looks like it.
    ///
    /// A frame without a plane of brightness, or which is turned, is converted first, which takes longer.
    fn content(&mut self, now: Duration) -> Result<(Content, Masked), StreamError> {
        let stored = self.luma_parts();
        if let Some((size, parts)) = &stored
            && let Some(last) = self.repeated(*size, parts, now)
        {
            return Ok((Content::Repeated, last));
        }
        let picture = self.converter.picture(self.decoder.frame(), self.context.limits());
        let not_converted = |cause| StreamError::NotConverted { address: self.origin.to_owned(), cause };
        let picture = picture.map_err(not_converted)?;
        if !self.last_scored.is_compared() {
            return Ok((Content::New, picture));
        }
        let (size, parts) = match stored {
            Some(stored) => stored,
            None => {
                let size = (picture.width as usize, picture.height as usize);
                let parts = FrameLayout { size, regions: self.regions }.picture(&picture);
                if let Some(last) = self.repeated(size, &parts, now) {
                    return Ok((Content::Repeated, last));
                }
                (size, parts)
            }
        };
        self.last_scored.scored(size, parts, now);
        self.last_sent = Some(picture.clone());
        Ok((Content::New, picture))
    }

    /// The last picture, if a frame with these parts looks like it.
    fn repeated(&self, size: (usize, usize), parts: &[Grey], now: Duration) -> Option<Masked> {
        let last = self.last_sent.as_ref()?;
        self.last_scored.is_repeated(size, parts, now).then(|| last.clone())
    }

    /// The size and the parts of the decoder's newest frame that are compared, if they can be without a conversion.
    fn luma_parts(&self) -> Option<((usize, usize), Vec<Grey>)> {
        let frame = self.decoder.frame();
        let (plane, stride) = self.converter.luma(frame).filter(|_| self.last_scored.is_compared())?;
        let size = (frame.width() as usize, frame.height() as usize);
        Some((size, FrameLayout { size, regions: self.regions }.luma(&plane, stride)?))
    }

    /// A slot. A recording that is played as fast as possible waits for one; `None` after the stop signal.
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
