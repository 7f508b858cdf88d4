//! Streams, recordings and HTTP pictures as sources, with real servers and real files.

#![allow(clippy::unwrap_used, reason = "these are tests")]

mod failures;
mod hostile;
mod http;
mod odd;
mod reports;
mod rtsp;
mod tls;
mod unchanged;
mod upright;
mod video;

use std::{
    sync::Arc,
    thread::{JoinHandle, sleep},
    time::{Duration, Instant},
};

use stakeout::{
    config,
    frame::Frame,
    picture::MEMORY,
    source::{Context, Counts, Decoders, SLOTS, Status, spawn},
};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::common::{PATIENCE, join, wait_until};

/// A running source.
struct Running {
    frames: mpsc::Receiver<Frame>,
    status: watch::Receiver<Status>,
    stop: CancellationToken,
    counts: Arc<Counts>,
    thread: JoinHandle<()>,
}

/// Starts a source with these settings: `rtsp: ...` and so on, separated by commas.
fn start(settings: &str) -> Running {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("stakeout.yaml");
    let text = format!(
        "mqtt: {{ url: mqtt://h }}\nlabel_sets: {{ porch: {{ labels: [a, b] }} }}\nsources: {{ door: {{ {settings}, watch: [porch] }} }}"
    );
    std::fs::write(&file, text).unwrap();
    let config = config::load(&file).unwrap_or_else(|problems| panic!("{problems}")).config;

    let (sender, frames) = mpsc::channel(SLOTS);
    let (status, seen_status) = watch::channel(Status::Offline);
    let context = Context {
        begun: CancellationToken::new(),
        name: "door".into(),
        frames: sender,
        slots: Arc::new(Semaphore::new(SLOTS)),
        stop: CancellationToken::new(),
        status,
        problem: watch::channel(None).0,
        remedy: "",
        counts: Arc::new(Counts::default()),
        max_pixels: 10_000_000,
        mask: Arc::default(),
        decoders: Decoders::unrecorded(MEMORY),
        state_dir: None,
        topics: None,
    };
    let (stop, counts) = (context.stop.clone(), Arc::clone(&context.counts));
    let thread = spawn(&config.sources[0], context).unwrap();
    Running { frames, status: seen_status, stop, counts, thread }
}

impl Running {
    /// The next frame.
    fn next(&mut self) -> Frame {
        self.within(PATIENCE).unwrap_or_else(|| panic!("no frame: {}", self.counts.snapshot()))
    }

    /// The next frame, if it arrives within `time`.
    fn within(&mut self, time: Duration) -> Option<Frame> {
        let end = Instant::now() + time;
        loop {
            match self.frames.try_recv() {
                Ok(frame) => return Some(frame),
                Err(_) if Instant::now() >= end => return None,
                Err(_) => sleep(Duration::from_millis(2)),
            }
        }
    }

    /// Whether a frame waits to be taken.
    fn has_frame(&self) -> bool {
        !self.frames.is_empty()
    }

    /// Drops the frames that wait.
    fn discard_frames(&mut self) {
        while self.frames.try_recv().is_ok() {}
    }

    fn wait_for(&self, status: Status) {
        wait_until(&format!("status {}", status.as_str()), || *self.status.borrow() == status);
    }

    /// The number of frames or packets skipped for this cause.
    fn skipped(&self, cause: &str) -> u64 {
        self.counts.snapshot().skipped.get(cause).copied().unwrap_or_default()
    }

    /// Stops the source. Tests give it time-outs longer than [`PATIENCE`], so a source that waits for one fails the test.
    fn stop(self) {
        self.stop.cancel();
        join("the source ends", self.thread);
    }
}

/// Stops all sources at once.
fn stop_all(sources: Vec<Running>) {
    sources.iter().for_each(|source| source.stop.cancel());
    sources.into_iter().for_each(Running::stop);
}
