//! Finds recordings: which files are videos and pictures, and when they were captured as far as the pictures, their names
//! and the file system record it.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::SystemTime,
};

use anyhow::{Context, Result};
use jiff::{Timestamp, tz::TimeZone};

use crate::{
    picture,
    source::{clips::is_video, file_times, kinds::folder::settings::Patterns},
};

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

/// What can be played.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub recordings: Vec<Recording>,
    /// Folders, pictures and videos in folders that cannot be read, and why.
    pub unreadable: Vec<(PathBuf, io::Error)>,
}

/// The recordings in `paths`: those of a folder sorted by time and name, the paths themselves in the order typed. Of a folder,
/// files that are neither pictures nor videos are skipped, and so are links to folders, links to nothing, and what a watched
/// folder leaves alone by default.
///
/// # Errors
/// One of `paths` does not exist or cannot be read. What is in a folder causes no error.
pub(super) fn find(paths: &[PathBuf]) -> Result<Found> {
    let zone = TimeZone::system();
    let mut all = Found::default();
    for path in paths {
        let cannot = || format!("cannot read {}", path.display());
        if fs::metadata(path).with_context(cannot)?.is_dir() {
            fs::read_dir(path).with_context(cannot)?;
            let mut folder = Found::default();
            collect(path, &zone, &mut folder);
            folder.recordings.sort_by(|a, b| (a.time, &a.path).cmp(&(b.time, &b.path)));
            all.recordings.append(&mut folder.recordings);
            all.unreadable.append(&mut folder.unreadable);
        } else {
            all.recordings.push(recording(path, &zone).with_context(cannot)?);
        }
    }
    Ok(all)
}

fn collect(folder: &Path, zone: &TimeZone, found: &mut Found) {
    let entries = fs::read_dir(folder).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    let entries = match entries {
        Ok(entries) => entries,
        Err(error) => return found.unreadable.push((folder.to_owned(), error)),
    };
    let patterns = Patterns::default();
    for entry in entries {
        let path = entry.path();
        // Links to folders are not followed: they may form cycles.
        let is_folder = fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_dir());
        if !patterns.take(Path::new(&entry.file_name()), is_folder) {
            continue;
        }
        if is_folder {
            collect(&path, zone, found);
            continue;
        }
        match in_folder(&path, zone) {
            Ok(Some(recording)) => found.recordings.push(recording),
            Ok(None) => {}
            Err(error) => found.unreadable.push((path, error)),
        }
    }
}

/// The recording in an entry of a folder that is no folder itself; `None` if it is something else.
fn in_folder(path: &Path, zone: &TimeZone) -> io::Result<Option<Recording>> {
    let metadata = match fs::metadata(path) {
        // A link to nothing, or a file that was just removed.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        metadata => metadata?,
    };
    // Pipes and devices are not opened.
    if !metadata.is_file() || !(picture::is_picture_file(path) || is_video(path).unwrap_or(false)) {
        return Ok(None);
    }
    recording(path, zone).map(Some)
}

fn recording(path: &Path, zone: &TimeZone) -> io::Result<Recording> {
    let metadata = fs::metadata(path)?;
    let kind = if is_video(path)? { RecordingKind::Video } else { RecordingKind::Picture };
    let named = path.file_name().and_then(|name| file_times::in_name(&name.to_string_lossy(), zone));
    let captured = match kind {
        RecordingKind::Picture => picture::captured_at_of_file(path, zone),
        RecordingKind::Video => None,
    };
    let time = captured.or(named).or_else(|| {
        // Not for videos: their files change last when the recording ends, or when they are copied.
        (kind == RecordingKind::Picture).then(|| {
            let changed = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            Timestamp::try_from(changed).unwrap_or(Timestamp::UNIX_EPOCH)
        })
    });
    Ok(Recording { time, path: path.to_owned(), kind, bytes: metadata.len() })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    /// A JPEG header with an EXIF block that has this `DateTimeOriginal`, in local time of an offset.
    fn jpeg(time: &str, offset: &str) -> Vec<u8> {
        let text = |text: &str| [text.as_bytes(), b"\0"].concat();
        let (time, offset) = (text(time), text(offset));
        let mut block = b"II*\0\x08\0\0\0\x01\0\x69\x87\x04\0\x01\0\0\0\x1A\0\0\0\0\0\0\0".to_vec();
        block.extend(b"\x02\0");
        let after = 26 + 2 + 2 * 12 + 4;
        for (tag, data, at) in [(0x9003_u16, &time, after), (0x9011, &offset, after + time.len())] {
            block.extend(tag.to_le_bytes());
            block.extend(b"\x02\0");
            block.extend((data.len() as u32).to_le_bytes());
            block.extend((at as u32).to_le_bytes());
        }
        block.extend([0; 4]);
        block.extend(time.iter().chain(&offset));
        let segment = [&b"Exif\0\0"[..], &block].concat();
        [&b"\xFF\xD8\xFF\xE1"[..], &(segment.len() as u16 + 2).to_be_bytes(), &segment, b"\xFF\xD9"].concat()
    }

    #[test]
    fn one_bad_entry_of_a_folder_ends_nothing_and_other_files_are_skipped() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("sub")).unwrap();
        fs::create_dir(at("@eaDir")).unwrap();
        for (name, content) in [
            ("b.jpg", &b"no picture"[..]),
            ("sub/a.png", b""),
            ("clip.mkv", b""),
            ("clip without extension", b"\x1A\x45\xDF\xA3"),
            ("photo", b"\0\0\0\x1Cftypheic\0\0\0\0mif1heic"),
            ("notes.txt", b"no picture"),
            (".hidden.jpg", b""),
            ("@eaDir/thumbnail.jpg", b""),
            ("upload.jpg.part", b"\xFF\xD8\xFF\xE0"),
        ] {
            fs::write(at(name), content).unwrap();
        }
        symlink(at("nothing.jpg"), at("dangling.jpg")).unwrap();
        symlink(folder.path(), at("sub/up")).unwrap();
        symlink(at("b.jpg"), at("linked.jpg")).unwrap();
        fs::set_permissions(at("notes.txt"), fs::Permissions::from_mode(0o000)).unwrap();
        let found = find(&[folder.path().to_owned()]).unwrap();
        let mut names: Vec<_> = found
            .recordings
            .iter()
            .map(|found| (found.path.strip_prefix(folder.path()).unwrap().display().to_string(), found.kind))
            .collect();
        names.sort_by(|a, b| a.0.cmp(&b.0));
        use RecordingKind::{Picture, Video};
        let expected = [
            ("b.jpg", Picture),
            ("clip without extension", Video),
            ("clip.mkv", Video),
            ("linked.jpg", Picture),
            ("photo", Picture),
            ("sub/a.png", Picture),
        ];
        assert_eq!(names, expected.map(|(name, kind)| (name.to_owned(), kind)));
        assert!(found.unreadable.is_empty());
        assert!(find(&[at("missing")]).is_err(), "a path that was typed");
    }

    #[test]
    fn the_time_in_a_picture_comes_before_that_in_its_name_and_of_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let time = |name: &str, content: &[u8]| {
            let path = folder.path().join(name);
            fs::write(&path, content).unwrap();
            recording(&path, &TimeZone::UTC).unwrap().time.map(|time| time.to_string())
        };
        let captured = jpeg("2026:11:23 08:15:30", "+09:00");
        assert_eq!(time("2020-01-01_00-00-00.jpg", &captured).as_deref(), Some("2026-11-22T23:15:30Z"));
        assert_eq!(time("2020-01-01_00-00-00.png", b"").as_deref(), Some("2020-01-01T00:00:00Z"));
        let unset = jpeg("0000:00:00 00:00:00", "+00:00");
        assert_eq!(time("2020-01-01_00-00-01.jpg", &unset).as_deref(), Some("2020-01-01T00:00:01Z"));
        assert!(time("a.jpg", &unset) > Some("2026".to_owned()), "the last change");
    }
}
