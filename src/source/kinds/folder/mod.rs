//! The folder source: a frame for every picture that appears in a folder or below it.
//!
//! **When a file is taken.** When it is closed after writing, or moved into the folder. A file that was only found
//! (by a scan, or as a link) is taken when it did not change for half a second; if it is being written to, not before it is
//! closed. A writer may only pause, so a file that is no picture is not reported at once: it is tried again
//! when it changes or is closed, and once more after some seconds (2 after a close, 10 without one). Only then is it
//! reported, counted, and ignored until it changes. Older files first.
//!
//! **Nothing missed, nothing twice.** A file's path and version (inode, size, time of modification) decide, never the
//! number of events. A file that is rewritten under the same name is taken again (`touch` does that, too); a file that is
//! renamed inside the folder is not. Hard links are files of their own. A tool that sets the time of a file after closing it
//! makes no new version, unless the folder is polled.
//! A scan of the whole folder finds whatever the kernel or this source had no room for: soon after an overflow, and every
//! minute in any case.
//!
//! **Restarts.** What was handled is remembered on disk: what arrives while the service is stopped is new, and nothing is
//! taken again. `existing` decides about files that exist when the folder is watched for the first time.
//!
//! **The folder itself.** It may be missing at start, be removed, created again or mounted over: its path is checked every
//! second. The files of a folder that appears later are new, except for those that are remembered from an earlier time.
//!
//! **Network file systems** report no changes: with `poll` the folder is only scanned, and a file is complete when two
//! scans saw the same. Inodes make no version there, because some of these file systems invent them.
//!
//! **Links** are ignored, unless the source follows them (`links: follow`): then the pictures and folders that they lead to are part
//! of the folder, links to files are files of their own, and the target of a link is checked every minute. Everything below the
//! folder is opened by descriptor (`tree`), so a path that is exchanged for a link at any moment leads nowhere. The state folder of
//! the service is never part of a folder.
//!
//! **Afterwards.** A file is deleted or moved when its frame was scored and its alerts are on disk, and only if it is
//! still the file that was taken. Until that is certain, it is in a hidden folder that only the service enters (`private`). Nothing
//! is ever overwritten: `a.jpg` becomes `a-1.jpg`. A file that failed stays in its place, and so does a file that could not be moved,
//! which is logged and counted.
//!
//! **Clips.** A video file is played (`play`) unless `clips: ignore` is set. It is no picture by its content, and a video by its
//! extension or its content. At most 64 clips wait; a scan finds the others when there is room again.
//!
//! **Never taken:** files and folders that `include` and `exclude` leave out (by default hidden names, names of incomplete
//! files and the folders of a NAS), anything but regular files, pictures of more than 256 MiB, and files in the folder into which
//! `after` moves.

mod after;
mod clip;
mod deliver;
mod error;
mod inventory;
mod memory;
mod names;
mod pace;
mod pending;
mod play;
mod private;
mod probe;
mod scan;
mod seen;
pub mod settings;
mod settle;
pub mod source;
mod take;
#[cfg(test)]
mod tests;
mod tree;
mod watch;

use self::settings::Folder;
pub use self::source::FolderSource;
use crate::{
    config::Region,
    source::{
        cause::{self, Cause, Causes},
        context::Context,
        kind::{Failure, Kind, Probe, Surroundings},
    },
};

impl Kind for FolderSource {
    type Settings = Folder;

    const CAUSES: Causes = Causes {
        skipped: &[],
        failed: &[
            cause::PICTURE,
            &[Cause::After, Cause::TooManyBytes, Cause::Unreadable, Cause::UnreadableFolder],
        ],
    };

    fn new(settings: &Folder, _: &[Region]) -> Self {
        Self::new(settings)
    }

    async fn run_once(&mut self, context: &Context) -> Result<(), Failure> {
        Ok(self.run_once(context).await?)
    }

    fn end(&mut self, context: &Context) {
        self.end(context);
    }

    fn probe(settings: &Folder, surroundings: &Surroundings<'_>) -> Probe {
        probe::probe(settings, surroundings.access)
    }
}
