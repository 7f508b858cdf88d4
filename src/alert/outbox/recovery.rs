//! What the outbox does when its disk fails, when its file vanishes, and when both work again.
//!
//! While alerts cannot be written they are kept in memory. [`Outbox::tend`] tries again every second, so that each failure ends
//! here: the file is opened or made again, and what is in memory is written to it.

use std::{path::PathBuf, sync::atomic::Ordering, time::Duration};

use super::{
    File, Outbox, Seq, Sink,
    disk::{Disk, Error, Opened, Order},
    recent::Dropped,
    warn_in_memory,
};
use crate::storage::{FilesState, is_damaged};

impl Outbox {
    /// Handles an error of the disk. A damaged file is replaced at once; anything else is tried again by [`Self::tend`].
    pub(super) fn fail(&self, file: &mut File, error: &rusqlite::Error) {
        let why = match file.disk.take() {
            Some(damaged) if is_damaged(error) => match damaged.replace(&file.path, &error.to_string()) {
                Ok((disk, aside)) => {
                    self.use_disk(file, disk, Some(aside));
                    return;
                }
                Err(error) => {
                    file.unread = true;
                    error.with_causes()
                }
            },
            disk => {
                file.disk = disk;
                error.to_string()
            }
        };
        self.keep_in_memory(file, why);
    }

    /// Checks whether the file is still at its path. If it is not, its content is moved to a new file at once.
    pub(super) fn check_place(&self, file: &mut File) {
        let Some(disk) = &file.disk else { return };
        let unknown = match disk.files_state(&file.path) {
            FilesState::InPlace => None,
            FilesState::Unknown(error) => Some(error.to_string()),
            FilesState::Gone | FilesState::WithoutLog => return self.recover(file),
        };
        self.status.send_if_modified(|status| {
            let changed = status.unchecked != unknown;
            if changed && let Some(why) = &unknown {
                tracing::error!(file = %file.path.display(), why, "it is unknown whether the outbox is still in its place");
            }
            status.unchecked.clone_from(&unknown);
            changed
        });
    }

    /// Tries to use the disk again, and writes to it what is only in memory.
    pub(super) fn recover(&self, file: &mut File) {
        let found = match self.open_again(file) {
            Ok(found) => found,
            Err(error) => return self.keep_in_memory(file, error.with_causes()),
        };
        match self.write_all(file) {
            Ok(alerts) => {
                if found {
                    self.recent().forget_copies(file.next);
                }
                (file.undeleted, file.marks) = Default::default();
                if std::mem::take(&mut file.unread) {
                    self.rewound.fetch_add(1, Ordering::Relaxed);
                    self.wake();
                }
                if file.failing.take().is_some() {
                    self.status.send_modify(|status| status.in_memory = None);
                    tracing::info!(file = %file.path.display(), alerts, "the disk works again: the alerts in memory were written to it");
                }
                self.prune(file);
            }
            Err(error) => {
                tracing::debug!(%error, "the disk does not work yet");
                self.fail(file, &error);
            }
        }
    }

    /// Writes what is only in memory, and deletes what was delivered meanwhile. Returns how many alerts were written.
    fn write_all(&self, file: &mut File) -> rusqlite::Result<usize> {
        let rows = self.recent().only_in_memory();
        let Some(disk) = &mut file.disk else { return Ok(0) };
        disk.settle()?;
        disk.append(&rows, Some(&file.elapsed))?;
        // They are in the file, also if what follows fails: they must not be written again, and are deleted there when they are
        // delivered.
        self.recent().all_on_disk();
        disk.write_marks(&file.marks)?;
        for sink in Sink::ALL {
            let of_sink = |(other, seq): &(Sink, Seq)| (*other == sink).then_some(*seq);
            let delivered = file.undeleted.iter().filter_map(of_sink).collect::<Vec<_>>();
            if !delivered.is_empty() {
                disk.remove(sink, &delivered)?;
            }
        }
        Ok(rows.len())
    }

    /// Makes sure that the open file is the one at the path. Returns whether alerts of another run were found in it.
    fn open_again(&self, file: &mut File) -> Result<bool, Error> {
        let place = file.disk.as_ref().map(|disk| disk.files_state(&file.path));
        match place {
            Some(FilesState::InPlace | FilesState::Unknown(_)) => return Ok(false),
            Some(FilesState::Gone) => return self.relocate(file),
            Some(FilesState::WithoutLog) => {
                let broken = |source| Error::Open { path: file.path.clone(), source };
                file.disk.as_ref().map_or(Ok(()), Disk::checkpoint).map_err(broken)?;
                // It must be closed before it is opened again: it is locked.
                file.disk = None;
                self.report_vanished(file, "the log of the outbox", 0, 0);
            }
            None => {}
        }
        let Opened { mut disk, aside, .. } = Disk::open_for(&file.path, self.sinks, Duration::ZERO)?;
        let mut found = false;
        if !file.known {
            let first = file.first;
            let lowest = disk.renumber(Order::Before(first), &file.elapsed);
            let lowest = lowest.map_err(|source| Error::Open { path: file.path.clone(), source })?;
            found = lowest < first;
        }
        self.use_disk(file, disk, aside);
        Ok(found)
    }

    /// Moves the content of a file that vanished to a new one.
    fn relocate(&self, file: &mut File) -> Result<bool, Error> {
        let Some(old) = &file.disk else { return Ok(false) };
        let kept = self.recent().rows();
        let moved = old.relocate(&file.path, &kept, file.next, &file.elapsed)?;
        self.report_vanished(file, "the outbox", moved.found, moved.lost);
        self.use_disk(file, moved.disk, moved.aside);
        Ok(moved.found > 0)
    }

    fn report_vanished(&self, file: &File, what: &str, found: u64, lost: u64) {
        self.status.send_modify(|status| {
            status.vanished += 1;
            status.dropped += lost;
            status.unchecked = None;
        });
        tracing::error!(
            file = %file.path.display(), found, lost,
            "{what} was deleted, renamed or replaced while it was open: what waits was written to a new file; let no other program \
             change the state folder"
        );
    }

    /// Uses a file that was opened again or replaced.
    fn use_disk(&self, file: &mut File, mut disk: Disk, aside: Option<PathBuf>) {
        file.next = disk.next().map_or(file.next, |next| file.next.max(next));
        let _ = disk.keep_sinks(self.sinks);
        file.disk = Some(disk);
        (file.known, file.unread) = (true, true);
        self.recent().forget_copies(file.next);
        if let Some(aside) = aside {
            self.status.send_modify(|status| status.set_aside = Some(aside.display().to_string()));
        }
    }

    /// Keeps alerts in memory until the disk works. Logged once.
    fn keep_in_memory(&self, file: &mut File, why: String) {
        if file.failing.is_none() {
            warn_in_memory(&file.path, &why);
        } else {
            tracing::debug!(why, "the disk does not work yet");
        }
        if file.failing.as_ref() != Some(&why) {
            self.status.send_modify(|status| status.in_memory = Some(why.clone()));
        }
        file.failing = Some(why);
    }

    /// Drops what exceeds the limits of the file.
    pub(super) fn prune(&self, file: &mut File) {
        file.pruned = file.elapsed.total;
        let oldest = file.elapsed.total.saturating_sub(milliseconds(self.limits.age));
        let Some(disk) = file.disk.as_mut().filter(|_| file.failing.is_none()) else { return };
        let pruned = disk
            .drop_oldest(self.limits.size, oldest)
            .and_then(|(alerts, last)| Ok((alerts, last, disk.drop_snapshots(self.limits.snapshots)?)));
        match pruned {
            Ok((alerts, last, snapshots)) => {
                if let Some(last) = last {
                    self.recent().drop_copies(last);
                    self.dropped_to.fetch_max(last, Ordering::Relaxed);
                }
                self.dropped_some(file, &Dropped { alerts, snapshots });
            }
            Err(error) => self.fail(file, &error),
        }
    }
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
