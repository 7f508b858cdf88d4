//! Sources that are cameras and recordings, with real servers and real files.
//!
//! A positive fact is waited for with a generous deadline; times are only compared where they are the point.

#![allow(clippy::unwrap_used, reason = "these are tests")]

mod footage;
mod http;
mod rtsp;
mod told;
mod trouble;
mod unchanged;
mod video;

use std::{
    sync::Arc,
    thread::{JoinHandle, sleep},
    time::{Duration, Instant},
};

use stakeout::{
    config,
    frame::Frame,
    source::{Context, Counts, SLOTS, Status, spawn},
};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::common::broker::wait_until;

const DEADLINE: Duration = Duration::from_secs(20);

/// A running source.
struct Running {
    frames: mpsc::Receiver<Frame>,
    status: watch::Receiver<Status>,
    stop: CancellationToken,
    counts: Arc<Counts>,
    thread: JoinHandle<()>,
}

/// Starts the source that these lines describe: `rtsp: ...` and so on, separated by commas.
fn start(described: &str) -> Running {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("stakeout.yaml");
    let text = format!(
        "mqtt: {{ url: mqtt://h }}\nlabel_sets: {{ porch: {{ labels: [a, b] }} }}\nsources: {{ door: {{ {described}, watch: [porch] }} }}"
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
        counts: Arc::new(Counts::default()),
        max_pixels: 10_000_000,
        topics: None,
    };
    let (stop, counts) = (context.stop.clone(), Arc::clone(&context.counts));
    let thread = spawn(&config.sources[0], context).unwrap();
    Running { frames, status: seen_status, stop, counts, thread }
}

impl Running {
    /// The next frame.
    fn next(&mut self) -> Frame {
        self.within(DEADLINE).unwrap_or_else(|| panic!("no frame: {}", self.counts.snapshot()))
    }

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

    fn wait_for(&self, status: Status) {
        wait_until(&format!("status {}", status.as_str()), || *self.status.borrow() == status);
    }

    /// How often something was left out for this cause.
    fn skipped(&self, cause: &str) -> u64 {
        self.counts.snapshot().skipped.get(cause).copied().unwrap_or_default()
    }

    /// Stops it; how long that took.
    fn stop(self) -> Duration {
        let told = Instant::now();
        self.stop.cancel();
        self.thread.join().unwrap();
        told.elapsed()
    }
}
