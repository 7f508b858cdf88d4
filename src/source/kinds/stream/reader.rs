//! Reads the payloads of an RTSP stream on a thread of its own.
//!
//! FFmpeg blocks until the next packet arrives, and a stream whose read was interrupted is not usable any more. So this thread
//! blocks, and the thread that decodes takes the payloads from a channel, where it can wait for any time.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use ffmpeg_next::{self as ffmpeg, Packet, error::EAGAIN, format::context};
use jiff::Timestamp;

use super::packet_loss;

/// Payloads that may wait: some milliseconds of the largest streams. A camera waits beyond that.
const AHEAD: usize = 256;
/// The pause after a read that found nothing.
const NOTHING_YET: Duration = Duration::from_millis(5);

/// The payload of an RTP packet.
pub(crate) struct Payload {
    pub(crate) packet: Packet,
    /// Packets before this one were lost.
    pub(crate) is_after_gap: bool,
    /// When it was read.
    pub(crate) arrived: Timestamp,
}

/// What the reader found.
pub(crate) enum Found {
    /// A payload of the video.
    Payload(Payload),
    /// Nothing within the time of the caller.
    Nothing,
    /// The stream ended, or cannot be read.
    Ended(ffmpeg::Error),
}

/// The thread that reads. It ends when this is dropped.
pub(crate) struct Reader {
    payloads: Option<Receiver<Result<Payload, ffmpeg::Error>>>,
    /// Ends the thread, and its current call of FFmpeg.
    close: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Reader {
    /// Reads the stream `video` of `input`, whose calls end when `close` is set.
    ///
    /// # Errors
    /// The system refuses another thread.
    pub(crate) fn start(
        input: context::Input,
        video: usize,
        close: Arc<AtomicBool>,
        source: &str,
    ) -> io::Result<Self> {
        let (send, payloads) = sync_channel(AHEAD);
        let closed = Arc::clone(&close);
        let work = move || read(input, video, &closed, &send);
        let thread = thread::Builder::new().name(format!("read-{source}")).spawn(work)?;
        Ok(Self { payloads: Some(payloads), close, thread: Some(thread) })
    }

    /// The next payload; waits for it at most `wait`.
    pub(crate) fn next(&self, wait: Duration) -> Found {
        let payloads = self.payloads.as_ref().expect("it is only taken when the reader is dropped");
        match payloads.recv_timeout(wait) {
            Ok(Ok(payload)) => Found::Payload(payload),
            Ok(Err(error)) => Found::Ended(error),
            Err(RecvTimeoutError::Timeout) => Found::Nothing,
            Err(RecvTimeoutError::Disconnected) => Found::Ended(ffmpeg::Error::Eof),
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.close.store(true, Ordering::Relaxed);
        // A thread that waits for room in the channel ends by this.
        drop(self.payloads.take());
        if let Some(thread) = self.thread.take() {
            // A panic was already reported, and the stream is closed either way.
            let _ = thread.join();
        }
    }
}

fn read(
    mut input: context::Input,
    video: usize,
    close: &AtomicBool,
    payloads: &SyncSender<Result<Payload, ffmpeg::Error>>,
) {
    packet_loss::reset();
    // FFmpeg checks the flag only while it waits. Other streams and calls that find nothing send nothing to the channel.
    while !close.load(Ordering::Relaxed) {
        let mut packet = Packet::empty();
        let read = match packet.read(&mut input) {
            Ok(()) if packet.stream() != video || packet.size() == 0 => continue,
            Ok(()) => {
                let is_after_gap = packet_loss::take_gap();
                Ok(Payload { packet, is_after_gap, arrived: Timestamp::now() })
            }
            Err(ffmpeg::Error::Other { errno: EAGAIN }) => {
                thread::sleep(NOTHING_YET);
                continue;
            }
            Err(error) => Err(error),
        };
        let is_over = read.is_err();
        if payloads.send(read).is_err() || is_over {
            return;
        }
    }
}
