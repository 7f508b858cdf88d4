//! Shows how far recordings were played: a bar on a terminal, a line now and then elsewhere.

use std::{
    io::{IsTerminal, stderr},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use indicatif::{ProgressBar, ProgressStyle};
use tracing::info;

use super::LINE_EVERY;

/// How far it is; its clones show the same.
#[derive(Clone)]
pub struct Playback {
    bar: Option<ProgressBar>,
    total: u64,
    said: Arc<Mutex<Instant>>,
}

impl Playback {
    /// Nothing of `total` bytes was played yet.
    #[must_use]
    pub fn new(total: u64) -> Self {
        let bar = stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{msg}  {bar:30}  {percent} %, {eta} left");
            ProgressBar::new(total).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        });
        Self { bar, total, said: Arc::new(Mutex::new(Instant::now())) }
    }

    /// So many bytes were played, the last ones of this file.
    pub fn at(&self, bytes: u64, file: &Path) {
        let name = file.file_name().unwrap_or(file.as_os_str()).to_string_lossy();
        if let Some(bar) = &self.bar {
            bar.set_message(name.into_owned());
            bar.set_position(bytes);
            return;
        }
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.elapsed() >= LINE_EVERY {
            *said = Instant::now();
            info!("played {} %, now {name}", bytes * 100 / self.total.max(1));
        }
    }

    /// Does something that writes lines, without the bar in their way.
    pub fn aside<T>(&self, write: impl FnOnce() -> T) -> T {
        match &self.bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }

    /// Takes the bar away.
    pub fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
