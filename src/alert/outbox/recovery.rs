//! What the outbox does when the disk cannot do its part, and when too much waits: the newest alerts stay in memory until
//! they can be written, a damaged file is replaced, and the oldest alerts are dropped. Refuses to try again by itself.

use std::{
    path::{Path, PathBuf},
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use rusqlite::ErrorCode;

use super::{
    File, Outbox,
    disk::{Disk, Row},
    entry::{Seq, Sink},
    now,
    recent::Dropped,
    status::Status,
};
use crate::config::OutboxLimits;

/// What is lost for want of room is said at once, and then so often.
const REMIND: Duration = Duration::from_secs(60);

impl Outbox {
    /// Whether `rows` are on the disk now.
    pub(super) fn write(&self, file: &mut File, rows: &[Row]) -> bool {
        if file.failing.is_some() {
            return false;
        }
        let written =
            |file: &mut File| file.disk.as_mut().map_or(Ok(false), |disk| disk.append(rows).map(|()| true));
        match written(file) {
            Ok(written) => written,
            Err(error) => {
                self.fail(file, &error);
                // A damaged file was replaced just now.
                file.failing.is_none() && written(file).unwrap_or(false)
            }
        }
    }

    /// The disk does not do what it should. A damaged file is replaced at once; all else is tried again later.
    pub(super) fn fail(&self, file: &mut File, error: &rusqlite::Error) {
        let is_damaged =
            matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase));
        let why = match file.disk.take() {
            Some(damaged) if is_damaged => match damaged.replace(&file.path, &error.to_string()) {
                Ok((disk, aside)) => {
                    self.reopened(file, disk, Some(aside));
                    return;
                }
                Err(error) => {
                    file.unread = true;
                    format!("{:#}", anyhow::anyhow!(error))
                }
            },
            disk => {
                file.disk = disk;
                error.to_string()
            }
        };
        if file.failing.is_none() {
            warn_in_memory(&file.path, &why);
            self.status.send_modify(|status| status.in_memory = Some(why.clone()));
        }
        file.failing = Some(why);
    }

    pub(super) fn reopened(&self, file: &mut File, mut disk: Disk, aside: Option<PathBuf>) {
        file.next = disk.next().map_or(file.next, |next| file.next.max(next));
        let _ = disk.forget_others(self.sinks);
        file.disk = Some(disk);
        file.unread = true;
        self.recent().forget_copies(file.next);
        if let Some(aside) = aside {
            self.status.send_modify(|status| status.set_aside = Some(aside.display().to_string()));
        }
    }

    /// Tries to bring onto the disk what is in memory alone.
    pub(super) fn recover(&self, file: &mut File) {
        if file.disk.is_none() {
            match Disk::open_or_replace(&file.path) {
                Ok((disk, aside)) => self.reopened(file, disk, aside),
                Err(error) => {
                    tracing::debug!(
                        error = format!("{:#}", anyhow::anyhow!(error)),
                        "the disk does not work yet"
                    );
                    return;
                }
            }
        }
        let rows = self.recent().alone();
        let Some(disk) = &mut file.disk else { return };
        let mut done = disk.append(&rows);
        for sink in Sink::ALL {
            let of_sink = |(other, seq): &(Sink, Seq)| (*other == sink).then_some(*seq);
            let told = file.unremoved.iter().filter_map(of_sink).collect::<Vec<_>>();
            if done.is_ok() && !told.is_empty() {
                done = disk.remove(sink, &told);
            }
        }
        match done {
            Ok(()) => {
                self.recent().all_on_disk();
                (file.failing, file.unremoved) = (None, Vec::new());
                if std::mem::take(&mut file.unread) {
                    self.rewound.fetch_add(1, Ordering::Relaxed);
                    self.wake();
                }
                self.status.send_modify(|status| status.in_memory = None);
                tracing::info!(file = %file.path.display(), alerts = rows.len(), "the disk works again: the alerts in memory are on it");
                self.prune(file);
            }
            Err(error) => {
                tracing::debug!(%error, "the disk does not work yet");
                self.fail(file, &error);
            }
        }
    }

    /// Holds the file to its limits.
    pub(super) fn prune(&self, file: &mut File) {
        file.pruned = Instant::now();
        let OutboxLimits { size, snapshots, age } = self.limits;
        let Some(disk) = file.disk.as_mut().filter(|_| file.failing.is_none()) else { return };
        let pruned = disk
            .drop_oldest(size, age, now())
            .and_then(|alerts| Ok(Dropped { alerts, snapshots: disk.drop_snapshots(snapshots)? }));
        match pruned {
            Ok(dropped) => self.lost(file, &dropped),
            Err(error) => self.fail(file, &error),
        }
    }

    /// Counts and tells what was lost by intention.
    pub(super) fn lost(&self, file: &mut File, dropped: &Dropped) {
        if *dropped == Dropped::default() {
            return;
        }
        self.status.send_modify(|status| {
            status.dropped += dropped.alerts;
            status.snapshots_dropped += dropped.snapshots;
        });
        let now = Instant::now();
        if file.reminded.is_none_or(|last| now.duration_since(last) >= REMIND) {
            file.reminded = Some(now);
            let Status { dropped, snapshots_dropped, .. } = *self.status.borrow();
            tracing::error!(
                dropped,
                snapshots_dropped,
                "the outbox is full, or alerts waited for too long: the oldest were dropped (all since the start are counted \
                 here); see `outbox` in the configuration for its limits"
            );
        }
    }
}

pub(super) fn warn_in_memory(path: &Path, why: &str) {
    tracing::error!(
        file = %path.display(),
        why,
        "alerts cannot be written to disk: they are kept in memory and delivered from there, and lost if stakeout ends before; \
         see that the disk works and is not full"
    );
}

/// Whether waiting may help: nobody has to be asked to change anything in how the service is set up.
pub(super) fn is_no_room(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DiskFull | ErrorCode::SystemIoFailure))
}
