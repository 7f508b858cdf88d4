//! Finds recordings: which files are videos and pictures, and when they were captured as far as their names and the file system
//! record it.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::SystemTime,
};

use anyhow::{Context, Result};
use jiff::{Timestamp, tz::TimeZone};

use crate::source::{clips::is_video, file_times};

/// A file that can be played.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Recording {
    /// When it was captured, as far as that is known without opening it.
    pub time: Option<Timestamp>,
    pub path: PathBuf,
    pub kind: RecordingKind,
    /// Its size in bytes, for the progress bar.
    pub bytes: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RecordingKind {
    /// One frame.
    Picture,
    /// Many frames, on a clock of their own.
    Video,
}

/// The recordings in `paths`: those of a folder sorted by time and name, the paths themselves in the order typed.
///
/// # Errors
/// A path does not exist or cannot be read.
pub(super) fn find(paths: &[PathBuf]) -> Result<Vec<Recording>> {
    let zone = TimeZone::system();
    let mut all = Vec::new();
    for path in paths {
        let cannot = || format!("cannot read {}", path.display());
        if fs::metadata(path).with_context(cannot)?.is_dir() {
            let mut folder = Vec::new();
            collect(path, &zone, &mut folder).with_context(cannot)?;
            folder.sort_by(|a, b| (a.time, &a.path).cmp(&(b.time, &b.path)));
            all.append(&mut folder);
        } else {
            all.push(recording(path, &zone).with_context(cannot)?);
        }
    }
    Ok(all)
}

fn collect(folder: &Path, zone: &TimeZone, found: &mut Vec<Recording>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let (entry, hidden) =
            entry.map(|entry| (entry.path(), entry.file_name().as_encoded_bytes().starts_with(b".")))?;
        // Links to folders are not followed: they may form cycles.
        let kind = fs::symlink_metadata(&entry)?.file_type();
        match (hidden, kind.is_dir()) {
            (true, _) => {}
            (false, true) => collect(&entry, zone, found)?,
            (false, false) => found.push(recording(&entry, zone)?),
        }
    }
    Ok(())
}

fn recording(path: &Path, zone: &TimeZone) -> io::Result<Recording> {
    let metadata = fs::metadata(path)?;
    let kind = if is_video(path)? { RecordingKind::Video } else { RecordingKind::Picture };
    let named = path.file_name().and_then(|name| file_times::in_name(&name.to_string_lossy(), zone));
    let time = named.or_else(|| {
        // Not for videos: their files change last when the recording ends, or when they are copied.
        (kind == RecordingKind::Picture).then(|| {
            let changed = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            Timestamp::try_from(changed).unwrap_or(Timestamp::UNIX_EPOCH)
        })
    });
    Ok(Recording { time, path: path.to_owned(), kind, bytes: metadata.len() })
}
