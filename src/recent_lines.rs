//! The newest lines of the log, which the service keeps in memory for people who look at it or ask for help.
//!
//! Their number and their length are limited: the oldest lines are dropped. Lines about labels are only counted, because they say what
//! cameras saw.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;
use tracing::Level;

/// The most lines that are kept.
pub const MOST: usize = 2000;
/// The longest text of a line that is kept, in bytes.
const LONGEST: usize = 2048;

/// A line of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecentLine {
    /// When it was logged.
    pub at: Timestamp,
    /// How serious it is.
    pub level: Level,
    /// What people read, without the time and the level.
    pub text: String,
}

/// The newest lines. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct RecentLines(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    lines: VecDeque<RecentLine>,
    dropped: u64,
    about_labels: u64,
}

/// The newest lines at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recent {
    /// The lines, the oldest first.
    pub lines: Vec<RecentLine>,
    /// Older lines that were dropped.
    pub dropped: u64,
    /// Lines about labels, which are not kept.
    pub about_labels: u64,
}

impl RecentLines {
    /// Keeps a line. A long text is cut.
    pub fn push(&self, at: Timestamp, level: Level, mut text: String) {
        if text.len() > LONGEST {
            text.truncate(text.floor_char_boundary(LONGEST));
            text.push('…');
        }
        let mut kept = self.lock();
        if kept.lines.len() >= MOST {
            kept.lines.pop_front();
            kept.dropped += 1;
        }
        kept.lines.push_back(RecentLine { at, level, text });
    }

    /// Counts a line about a label.
    pub fn count_label(&self) {
        self.lock().about_labels += 1;
    }

    /// All lines that are kept.
    #[must_use]
    pub fn all(&self) -> Recent {
        let kept = self.lock();
        Recent {
            lines: kept.lines.iter().cloned().collect(),
            dropped: kept.dropped,
            about_labels: kept.about_labels,
        }
    }

    /// The newest warnings and errors, the newest first, `most` of them at most.
    #[must_use]
    pub fn problems(&self, most: usize) -> Vec<RecentLine> {
        let kept = self.lock();
        kept.lines.iter().rev().filter(|line| line.level <= Level::WARN).take(most).cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_lines_are_kept_and_long_ones_cut() {
        let lines = RecentLines::default();
        let at = Timestamp::UNIX_EPOCH;
        lines.push(at, Level::ERROR, "ä".repeat(LONGEST));
        assert_eq!(lines.all().lines[0].text, "ä".repeat(LONGEST / 2) + "…");
        for number in 0..MOST + 1 {
            let level = if number.is_multiple_of(2) { Level::INFO } else { Level::WARN };
            lines.push(at, level, number.to_string());
        }
        lines.count_label();
        let Recent { lines: all, dropped, about_labels } = lines.all();
        assert_eq!((all.len(), dropped, about_labels), (MOST, 2, 1));
        assert_eq!((&*all[0].text, &*all[MOST - 1].text), ("1", &*MOST.to_string()));
        let problems = lines.problems(2).into_iter().map(|line| line.text).collect::<Vec<_>>();
        assert_eq!(problems, ["1999", "1997"], "only warnings and errors");
    }
}
