//! Shows a download: a bar on a terminal, lines of the log elsewhere. What is played is shown by [`Playback`],
//! what is counted by [`Counted`].

mod counted;
mod playback;

use std::{
    io::{IsTerminal, stderr},
    time::{Duration, Instant},
};

use indicatif::{BinaryBytes, ProgressBar, ProgressStyle};
use tracing::{info, warn};

pub use self::{counted::Counted, playback::Playback};
use crate::{
    config::{Device, ModelRef},
    model::hub::{self, Event, Found, HubError},
};

/// A line at least this often...
const LINE_EVERY: Duration = Duration::from_secs(10);
/// ...and at each of so many parts of a file, but not more often than people read.
const PARTS: u64 = 10;
const NOT_BEFORE: Duration = Duration::from_secs(1);

/// Finds a model, and fetches what is missing, for everybody to see.
///
/// # Errors
/// It is not here and cannot be fetched.
pub fn find_or_pull(model: &ModelRef, device: Device) -> Result<Found, HubError> {
    let mut progress = Progress::new();
    hub::find_or_pull(model, device, &mut |event| progress.tell(event))
}

/// What is being fetched.
pub struct Progress {
    terminal: bool,
    bar: Option<ProgressBar>,
    file: Option<Transfer>,
}

/// One file on its way.
struct Transfer {
    name: String,
    size: Option<u64>,
    /// Bytes that were there before, and when it began: what the speed is made of.
    before: u64,
    began: Instant,
    said: Instant,
    said_part: u64,
}

impl Progress {
    /// For standard error, whatever it is.
    #[must_use]
    pub fn new() -> Self {
        Self { terminal: stderr().is_terminal(), bar: None, file: None }
    }

    /// Shows what happens.
    pub fn tell(&mut self, event: Event<'_>) {
        match event {
            Event::Chosen { variant, device } => info!(variant, %device, "`variant: auto` is this one"),
            Event::Begins { file, have, size } => self.begin(file, have, size),
            Event::At(bytes) => self.at(bytes),
            Event::Ends { file } => self.end(file),
            Event::OtherProcess { file } => info!(file, "another process fetches this file: waiting for it"),
            Event::Again { why, wait } => {
                self.pause();
                warn!("{why}; trying again in {:.1} s", wait.as_secs_f64());
            }
        }
    }

    fn begin(&mut self, name: &str, have: u64, size: Option<u64>) {
        let now = Instant::now();
        self.pause();
        if self.terminal {
            let bar =
                ProgressBar::new(size.unwrap_or(0)).with_style(style(size)).with_message(name.to_owned());
            bar.set_position(have);
            bar.reset_eta();
            self.bar = Some(bar);
        }
        let said_part = part(have, size);
        self.file =
            Some(Transfer { name: name.to_owned(), size, before: have, began: now, said: now, said_part });
    }

    fn at(&mut self, bytes: u64) {
        if let Some(bar) = &self.bar {
            bar.set_position(bytes);
            return;
        }
        let Some(file) = self.file.as_mut().filter(|_| !self.terminal) else { return };
        let (waited, part) = (file.said.elapsed(), part(bytes, file.size));
        if waited >= LINE_EVERY || (waited >= NOT_BEFORE && part > file.said_part) {
            (file.said, file.said_part) = (Instant::now(), part);
            info!("fetching {}", file.line(bytes, file.began.elapsed()));
        }
    }

    fn end(&mut self, file: &str) {
        self.pause();
        if let Some(transfer) = self.file.take() {
            let size = transfer.size.map_or(String::new(), |size| format!(", {}", human(size)));
            info!("fetched {file}{size}");
        }
    }

    /// Makes room for a line.
    fn pause(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

impl Default for Progress {
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

/// Bytes in words for people.
pub(super) fn human(bytes: u64) -> String {
    BinaryBytes(bytes).to_string()
}

fn part(bytes: u64, size: Option<u64>) -> u64 {
    size.filter(|size| *size > 0).map_or(0, |size| bytes * PARTS / size)
}

fn style(size: Option<u64>) -> ProgressStyle {
    let template = match size {
        Some(_) => {
            "{msg}  {bar:30}  {binary_bytes} of {binary_total_bytes}, {binary_bytes_per_sec}, {eta} left"
        }
        None => "{msg}  {spinner}  {binary_bytes}, {binary_bytes_per_sec}",
    };
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_percent_speed_and_time_left() {
        let now = Instant::now();
        let transfer = |size| Transfer {
            name: "onnx/model.onnx".to_owned(),
            size,
            before: 10 << 20,
            began: now,
            said: now,
            said_part: 0,
        };
        let line = |size| transfer(size).line(30 << 20, Duration::from_secs(10));
        assert_eq!(line(Some(100 << 20)), "onnx/model.onnx: 30 % of 100.00 MiB, 2.00 MiB/s, 35 s left");
        assert_eq!(line(None), "onnx/model.onnx: 30.00 MiB, 2.00 MiB/s");
        assert_eq!((part(29, Some(100)), part(30, Some(100)), part(5, None)), (2, 3, 0));
    }
}
