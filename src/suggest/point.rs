//! A score at a time.

use jiff::Timestamp;

/// One frame's score.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// When the frame was captured.
    pub time: Timestamp,
    /// The label's score, the highest of its regions. For a rule over labels, 1 while its condition is met and 0 otherwise.
    pub score: f32,
}

/// Start and end.
pub type Interval = (Timestamp, Timestamp);
