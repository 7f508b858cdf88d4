//! Keeps the newest alerts in memory: those that are on disk, too, so that readers need not wait for the disk, and those that are
//! not, because the disk does not work.
//!
//! Memory is bounded. What is on disk is dropped first, then the snapshots of what is not, then the oldest alerts.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    disk::Row,
    entry::{Entry, Seq, Sink},
};

/// Limits of alerts that are on disk, too.
const COPIES: usize = 256;
const COPIED_BYTES: u64 = 4_000_000;
/// Limits of alerts that are only in memory.
const ONLY_IN_MEMORY: usize = 10_000;
const ONLY_IN_MEMORY_BYTES: u64 = 32_000_000;

/// The newest alerts, oldest first, without a gap.
#[derive(Debug)]
pub(super) struct Recent {
    kept: VecDeque<Kept>,
    bytes: u64,
    /// How many are only in memory.
    alone: usize,
    /// Waiting alerts with this number or a higher one are all here.
    from: Seq,
    most_alone: usize,
}

#[derive(Debug)]
struct Kept {
    row: Row,
    on_disk: bool,
    since: Instant,
}

/// How much was dropped.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Dropped {
    pub alerts: u64,
    pub snapshots: u64,
}

impl Recent {
    /// Empty; the first alert will have the number `next`.
    pub fn new(next: Seq) -> Self {
        Self { kept: VecDeque::new(), bytes: 0, alone: 0, from: next, most_alone: ONLY_IN_MEMORY }
    }

    /// Adds the newest alerts.
    pub fn push(&mut self, rows: Vec<Row>, on_disk: bool) -> Dropped {
        for row in rows {
            self.bytes += size(&row.entry);
            self.alone += usize::from(!on_disk);
            self.kept.push_back(Kept { row, on_disk, since: Instant::now() });
        }
        self.trim()
    }

    /// Alerts behind `after` that `sink` does not have yet; `None` if older ones may be on disk.
    pub fn read(&self, sink: Sink, after: Seq, most: usize) -> Option<Vec<(Seq, Arc<Entry>)>> {
        (after + 1 >= self.from).then(|| self.select(sink, after, most, |_| true))
    }

    /// The same, of those that are only in memory.
    pub fn read_only_in_memory(&self, sink: Sink, after: Seq, most: usize) -> Vec<(Seq, Arc<Entry>)> {
        self.select(sink, after, most, |kept| !kept.on_disk)
    }

    fn select(
        &self,
        sink: Sink,
        after: Seq,
        most: usize,
        wanted: impl Fn(&Kept) -> bool,
    ) -> Vec<(Seq, Arc<Entry>)> {
        let start = self.kept.partition_point(|kept| kept.row.seq <= after);
        let waits = |kept: &&Kept| kept.row.pending & sink.bit() != 0 && wanted(kept);
        let waiting = self.kept.range(start..).filter(waits).take(most);
        waiting.map(|kept| (kept.row.seq, Arc::clone(&kept.row.entry))).collect()
    }

    /// The alert with this number, if it is here and `sink` does not have it yet.
    pub fn get(&self, sink: Sink, seq: Seq) -> Option<Arc<Entry>> {
        let place = self.place(seq)?;
        let row = &self.kept[place].row;
        (row.pending & sink.bit() != 0).then(|| Arc::clone(&row.entry))
    }

    /// The time since this alert was added, if it is here.
    pub fn age(&self, seq: Seq) -> Option<Duration> {
        Some(self.kept[self.place(seq)?].since.elapsed())
    }

    /// Every alert that is here and that a sink does not have yet.
    pub fn rows(&self) -> Vec<Row> {
        self.kept.iter().filter(|kept| kept.row.pending != 0).map(|kept| kept.row.clone()).collect()
    }

    /// The counter of time of the oldest alert that is only in memory and that `sink` does not have yet.
    pub fn oldest_only_in_memory(&self, sink: Sink) -> Option<i64> {
        let waits = |kept: &&Kept| !kept.on_disk && kept.row.pending & sink.bit() != 0;
        self.kept.iter().find(waits).map(|kept| kept.row.elapsed)
    }

    /// Alerts on disk up to this one were dropped there.
    pub fn drop_copies(&mut self, last: Seq) {
        while self.kept.front().is_some_and(|kept| kept.on_disk && kept.row.seq <= last) {
            self.pop();
        }
    }

    /// `sink` has these alerts. Returns those that are on disk, too.
    pub fn remove(&mut self, sink: Sink, seqs: &[Seq]) -> Vec<Seq> {
        let mut on_disk = Vec::with_capacity(seqs.len());
        for &seq in seqs {
            match self.place(seq).map(|place| &mut self.kept[place]) {
                Some(kept) => {
                    kept.row.pending &= !sink.bit();
                    if kept.on_disk {
                        on_disk.push(seq);
                    }
                }
                None => on_disk.push(seq),
            }
        }
        self.drop_delivered();
        on_disk
    }

    /// The alerts that are only in memory.
    pub fn only_in_memory(&self) -> Vec<Row> {
        self.kept.iter().filter(|kept| !kept.on_disk).map(|kept| kept.row.clone()).collect()
    }

    /// How many alerts that are only in memory wait for `sink`.
    pub fn waiting_only_in_memory(&self, sink: Sink) -> u64 {
        if self.alone == 0 {
            return 0;
        }
        let waits = |kept: &&Kept| !kept.on_disk && kept.row.pending & sink.bit() != 0;
        self.kept.iter().filter(waits).count() as u64
    }

    /// Everything was written to the disk.
    pub fn all_on_disk(&mut self) {
        self.kept.iter_mut().for_each(|kept| kept.on_disk = true);
        self.alone = 0;
        self.trim();
    }

    /// The file was replaced: what should be on disk may be missing there.
    pub fn forget_copies(&mut self, next: Seq) {
        while self.kept.front().is_some_and(|kept| kept.on_disk) {
            self.pop();
        }
        self.from = self.kept.front().map_or(next, |kept| kept.row.seq);
    }

    fn place(&self, seq: Seq) -> Option<usize> {
        self.kept.binary_search_by_key(&seq, |kept| kept.row.seq).ok()
    }

    /// Drops the oldest alerts that every sink has.
    fn drop_delivered(&mut self) {
        while self.kept.front().is_some_and(|kept| kept.row.pending == 0) {
            self.pop();
        }
    }

    fn trim(&mut self) -> Dropped {
        let mut dropped = Dropped::default();
        while self.kept.front().is_some_and(|kept| kept.on_disk)
            && (self.kept.len() - self.alone > COPIES || self.bytes > COPIED_BYTES)
        {
            self.pop();
        }
        // The one place where alerts that are only in memory are dropped: memory must not run out.
        if self.bytes > ONLY_IN_MEMORY_BYTES {
            for kept in self.kept.iter_mut().filter(|kept| !kept.on_disk) {
                let size = kept.row.entry.snapshot_size();
                if size > 0 {
                    kept.row.entry = Arc::new(Entry { snapshot: None, ..(*kept.row.entry).clone() });
                    self.bytes -= size;
                    dropped.snapshots += 1;
                }
                if self.bytes <= ONLY_IN_MEMORY_BYTES {
                    break;
                }
            }
        }
        while self.alone > self.most_alone || (self.bytes > ONLY_IN_MEMORY_BYTES && self.alone > 1) {
            self.pop();
            dropped.alerts += 1;
        }
        dropped
    }

    fn pop(&mut self) {
        if let Some(kept) = self.kept.pop_front() {
            self.bytes = self.bytes.saturating_sub(size(&kept.row.entry));
            self.alone -= usize::from(!kept.on_disk);
            self.from = kept.row.seq + 1;
        }
    }

    /// Limits the alerts that are only in memory.
    #[cfg(test)]
    pub fn set_most_alone(&mut self, most: usize) {
        self.most_alone = most;
    }
}

fn size(entry: &Entry) -> u64 {
    entry.size() + entry.snapshot_size()
}
