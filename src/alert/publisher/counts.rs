//! Counts what the publisher did, for metrics.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::Notify;

use crate::metrics::Histogram;

/// What was done since the start.
#[derive(Debug, Default)]
pub struct Counts {
    /// Whether the broker is connected.
    pub connected: AtomicBool,
    /// Notified when that changes.
    pub connection_changed: Notify,
    /// The time from raising an alert to its acknowledgement.
    pub delivery: Histogram,
    /// Alerts that the broker acknowledged.
    pub published: AtomicU64,
    /// Heartbeats that the broker acknowledged.
    pub heartbeats: AtomicU64,
    /// Alerts that were sent again because no acknowledgement had come.
    pub repeated: AtomicU64,
    /// Times the broker refused an alert.
    pub refused: AtomicU64,
    /// Snapshots that were made smaller because the broker does not accept larger ones.
    pub snapshots_scaled: AtomicU64,
    /// Snapshots that were left out because the broker does not accept them in any size.
    pub snapshots_skipped: AtomicU64,
    /// Scores that were dropped because alerts went first or the broker was not connected.
    pub scores_dropped: AtomicU64,
}

/// Counts one more.
pub(super) fn add(count: &AtomicU64) {
    count.fetch_add(1, Ordering::Relaxed);
}
