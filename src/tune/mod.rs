//! Suggests thresholds from recordings.

pub mod advice;
pub mod findings;
pub mod grade;
pub mod page;
pub mod report;
pub mod rivals;
pub mod truth;
