//! The progress of long work on standard error: a bar on a terminal, lines of the log elsewhere.
//!
//! [`Download`] shows a model that is fetched, [`Counted`] how many of a number of things are done, and [`Playback`] how much of
//! the recordings was played.

use std::{
    io::{IsTerminal, stderr},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use indicatif::{BinaryBytes, ProgressBar, ProgressStyle};
use tracing::{info, warn};

use crate::{
    config::{Device, ModelRef},
    model::hub::{self, Event, Found, HubError},
    terminal,
};

/// The longest time between two lines of the log.
const LINE_EVERY: Duration = Duration::from_secs(10);
/// A download also writes a line after each of this number of parts of a file...
const PARTS: u64 = 10;
/// ...but not more often than this.
const NOT_BEFORE: Duration = Duration::from_secs(1);
/// Counted work that takes less than this shows no bar.
const BAR_AFTER: Duration = Duration::from_secs(2);

/// Finds a model, fetches the files that are missing, and shows that.
///
/// # Errors
/// The model is not on this machine and cannot be fetched.
pub fn find_or_pull(model: &ModelRef, device: Device) -> Result<Found, HubError> {
    let mut download = Download::new();
    hub::find_or_pull(model, device, &mut |event| download.show(event))
}

/// A bar that may be hidden.
#[derive(Clone, Default)]
struct Bar(Option<ProgressBar>);

impl Bar {
    fn new(length: u64, template: &str) -> Self {
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        Self(Some(ProgressBar::new(length).with_style(style)))
    }

    /// Calls `write`, which writes lines, while the bar is hidden.
    fn aside<T>(&self, write: impl FnOnce() -> T) -> T {
        match &self.0 {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }

    fn remove(&self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

/// Shows what [`hub::Hub::pull`] reports.
pub struct Download {
    terminal: bool,
    bar: Bar,
    file: Option<Transfer>,
}

/// A file that is being fetched.
struct Transfer {
    name: String,
    size: Option<u64>,
    /// Bytes that were on disk before; they do not count for the speed.
    before: u64,
    began: Instant,
    /// When a line was last written, and the part of the file at that time.
    written: Instant,
    written_part: u64,
}

impl Download {
    /// For standard error.
    #[must_use]
    pub fn new() -> Self {
        Self { terminal: stderr().is_terminal(), bar: Bar::default(), file: None }
    }

    /// Shows an event.
    pub fn show(&mut self, event: Event<'_>) {
        match event {
            Event::Chosen { variant, device } => {
                info!(variant, %device, "`variant: auto` chose this variant")
            }
            Event::FromWeights { id, variant } => {
                info!(
                    model = id,
                    variant,
                    "the hub has no ONNX files of this variant: the graphs are built from the weights"
                )
            }
            Event::Begins { file, have, size } => self.begin(file, have, size),
            Event::At(bytes) => self.at(bytes),
            Event::Ends { file } => self.end(file),
            Event::Damaged { file } => {
                self.bar.remove();
                warn!(file, "{file} in the cache is damaged: it is fetched again");
            }
            Event::OtherProcess { file } => info!(file, "another process fetches this file: waiting for it"),
            Event::Again { why, wait } => {
                self.bar.remove();
                warn!("{why}; trying again in {:.1} s", wait.as_secs_f64());
            }
        }
    }

    fn begin(&mut self, name: &str, have: u64, size: Option<u64>) {
        let now = Instant::now();
        self.bar.remove();
        self.bar = Bar::default();
        if self.terminal {
            let template = match size {
                Some(_) => {
                    "{msg}  {bar:30}  {binary_bytes} of {binary_total_bytes}, {binary_bytes_per_sec}, {eta} left"
                }
                None => "{msg}  {spinner}  {binary_bytes}, {binary_bytes_per_sec}",
            };
            self.bar = Bar::new(size.unwrap_or(0), template);
        }
        if let Bar(Some(bar)) = &self.bar {
            bar.set_message(terminal::one_line(name).into_owned());
            bar.set_position(have);
            bar.reset_eta();
        }
        let name = name.to_owned();
        let written_part = part(have, size);
        self.file = Some(Transfer { name, size, before: have, began: now, written: now, written_part });
    }

    fn at(&mut self, bytes: u64) {
        if let Bar(Some(bar)) = &self.bar {
            bar.set_position(bytes);
            return;
        }
        let Some(file) = self.file.as_mut().filter(|_| !self.terminal) else { return };
        let (waited, part) = (file.written.elapsed(), part(bytes, file.size));
        if waited >= LINE_EVERY || (waited >= NOT_BEFORE && part > file.written_part) {
            (file.written, file.written_part) = (Instant::now(), part);
            info!("fetching {}", file.line(bytes, file.began.elapsed()));
        }
    }

    fn end(&mut self, file: &str) {
        self.bar.remove();
        if let Some(transfer) = self.file.take() {
            let size = transfer.size.map_or(String::new(), |size| format!(", {}", human(size)));
            info!("fetched {file}{size}");
        }
    }
}

impl Default for Download {
    fn default() -> Self {
        Self::new()
    }
}

impl Transfer {
    fn line(&self, bytes: u64, took: Duration) -> String {
        let speed = bytes.saturating_sub(self.before) as f64 / took.as_secs_f64().max(0.001);
        let shown = human(speed as u64);
        match self.size.filter(|size| *size > 0) {
            None => format!("{}: {}, {shown}/s", self.name, human(bytes)),
            Some(size) => {
                let left = size.saturating_sub(bytes) as f64 / speed.max(1.0);
                let percent = bytes * 100 / size;
                format!("{}: {percent} % of {}, {shown}/s, {left:.0} s left", self.name, human(size))
            }
        }
    }
}

/// A number of bytes for people, such as `2.00 MiB`.
pub(crate) fn human(bytes: u64) -> String {
    BinaryBytes(bytes).to_string()
}

fn part(bytes: u64, size: Option<u64>) -> u64 {
    size.filter(|size| *size > 0).map_or(0, |size| bytes * PARTS / size)
}

/// Shows how many of a number of things are done.
pub struct Counted {
    terminal: bool,
    bar: Bar,
    what: &'static str,
    total: usize,
    done: usize,
    began: Instant,
    written: Instant,
}

impl Counted {
    /// For `total` pictures, or whatever `what` calls them.
    #[must_use]
    pub fn new(total: usize, what: &'static str) -> Self {
        let now = Instant::now();
        let bar = Bar::default();
        Self { terminal: stderr().is_terminal(), bar, what, total, done: 0, began: now, written: now }
    }

    /// Counts one more that is done.
    pub fn one_more(&mut self) {
        self.done += 1;
        if self.terminal {
            if self.bar.0.is_none() && self.began.elapsed() > BAR_AFTER {
                let what = self.what;
                let template = format!("{{bar:30}}  {{pos}} of {{len}} {what}, {{per_sec}}, {{eta}} left");
                let bar = Bar::new(self.total as u64, &template);
                self.bar = Bar(bar.0.map(|bar| bar.with_elapsed(self.began.elapsed())));
            }
            if let Bar(Some(bar)) = &self.bar {
                bar.set_position(self.done as u64);
            }
        } else if self.written.elapsed() >= LINE_EVERY {
            self.written = Instant::now();
            info!("{}", counted_line(self.done, self.total, self.what, self.began.elapsed()));
        }
    }

    /// Calls `write`, which writes lines, while the bar is hidden.
    pub fn aside<T>(&self, write: impl FnOnce() -> T) -> T {
        self.bar.aside(write)
    }

    /// Removes the bar.
    pub fn end(&self) {
        self.bar.remove();
    }
}

fn counted_line(done: usize, total: usize, what: &str, took: Duration) -> String {
    let speed = done as f64 / took.as_secs_f64().max(0.001);
    let left = total.saturating_sub(done) as f64 / speed.max(0.001);
    format!("{done} of {total} {what}, {speed:.1} a second, {left:.0} s left")
}

/// Shows how many bytes of the recordings were played. Clones share one bar.
#[derive(Clone)]
pub struct Playback {
    bar: Bar,
    total: u64,
    written: Arc<Mutex<Instant>>,
}

impl Playback {
    /// For recordings of `total` bytes.
    #[must_use]
    pub fn new(total: u64) -> Self {
        let bar = match stderr().is_terminal() {
            true => Bar::new(total, "{msg}  {bar:30}  {percent} %, {eta} left"),
            false => Bar::default(),
        };
        Self { bar, total, written: Arc::new(Mutex::new(Instant::now())) }
    }

    /// Shows that `bytes` were played, most recently those of `file`.
    pub fn at(&self, bytes: u64, file: &Path) {
        let name = file.file_name().unwrap_or(file.as_os_str()).to_string_lossy();
        if let Bar(Some(bar)) = &self.bar {
            bar.set_message(terminal::one_line(&name).into_owned());
            bar.set_position(bytes);
            return;
        }
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        if written.elapsed() >= LINE_EVERY {
            *written = Instant::now();
            info!("played {} %, now {name}", bytes * 100 / self.total.max(1));
        }
    }

    /// Calls `write`, which writes lines, while the bar is hidden.
    pub fn aside<T>(&self, write: impl FnOnce() -> T) -> T {
        self.bar.aside(write)
    }

    /// Removes the bar.
    pub fn end(&self) {
        self.bar.remove();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_a_download_has_percent_speed_and_time_left() {
        let now = Instant::now();
        let transfer = |size| Transfer {
            name: "onnx/model.onnx".to_owned(),
            size,
            before: 10 << 20,
            began: now,
            written: now,
            written_part: 0,
        };
        let line = |size| transfer(size).line(30 << 20, Duration::from_secs(10));
        assert_eq!(line(Some(100 << 20)), "onnx/model.onnx: 30 % of 100.00 MiB, 2.00 MiB/s, 35 s left");
        assert_eq!(line(None), "onnx/model.onnx: 30.00 MiB, 2.00 MiB/s");
        assert_eq!((part(29, Some(100)), part(30, Some(100)), part(5, None)), (2, 3, 0));
    }

    #[test]
    fn a_line_of_a_count_has_speed_and_time_left() {
        let line = counted_line(30, 90, "pictures", Duration::from_secs(10));
        assert_eq!(line, "30 of 90 pictures, 3.0 a second, 20 s left");
    }
}
