//! Shows how many of many things are done: a bar on a terminal, a line now and then elsewhere, and nothing for short work.

use std::{
    io::{IsTerminal, stderr},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};
use tracing::info;

use super::LINE_EVERY;

/// What takes less is done before anybody wonders.
const NOT_BEFORE: Duration = Duration::from_secs(2);

/// How many are done.
pub struct Counted {
    terminal: bool,
    bar: Option<ProgressBar>,
    what: &'static str,
    total: usize,
    done: usize,
    began: Instant,
    said: Instant,
}

impl Counted {
    /// Nothing of `total` pictures or other things is done yet.
    #[must_use]
    pub fn new(total: usize, what: &'static str) -> Self {
        let now = Instant::now();
        Self { terminal: stderr().is_terminal(), bar: None, what, total, done: 0, began: now, said: now }
    }

    /// One more is done.
    pub fn one_more(&mut self) {
        self.done += 1;
        if self.terminal {
            if self.bar.is_none() && self.began.elapsed() > NOT_BEFORE {
                self.bar = Some(self.new_bar());
            }
            if let Some(bar) = &self.bar {
                bar.set_position(self.done as u64);
            }
        } else if self.said.elapsed() >= LINE_EVERY {
            self.said = Instant::now();
            info!("{}", line(self.done, self.total, self.what, self.began.elapsed()));
        }
    }

    fn new_bar(&self) -> ProgressBar {
        let template = format!("{{bar:30}}  {{pos}} of {{len}} {}, {{per_sec}}, {{eta}} left", self.what);
        let style = ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar());
        ProgressBar::new(self.total as u64).with_style(style).with_elapsed(self.began.elapsed())
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

fn line(done: usize, total: usize, what: &str, took: Duration) -> String {
    let speed = done as f64 / took.as_secs_f64().max(0.001);
    let left = total.saturating_sub(done) as f64 / speed.max(0.001);
    format!("{done} of {total} {what}, {speed:.1} a second, {left:.0} s left")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_speed_and_time_left() {
        let told = line(30, 90, "pictures", Duration::from_secs(10));
        assert_eq!(told, "30 of 90 pictures, 3.0 a second, 20 s left");
    }
}
