//! Recordings for `replay` and `tune`: which files there are, when they were recorded, and their way through the model.
//!
//! A video has a clock of its own: it begins when its file says it did, else when its name says, else where the recording
//! before it ended. A picture is of the time in its name, else of the time when its file was last changed.
//! It refuses to decide anything on scores.

mod player;
mod times;

use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result, bail};
use jiff::{Timestamp, tz::TimeZone};

pub use self::player::play;
use crate::config::{Config, Decode, Source, SourceKind};

/// What files of videos are called.
const VIDEOS: &[&str] = &[
    "264", "265", "3gp", "asf", "avi", "dav", "flv", "h264", "h265", "hevc", "m2ts", "m4v", "mjpeg", "mjpg",
    "mkv", "mov", "mp4", "mpeg", "mpg", "mts", "ogv", "ts", "webm", "wmv",
];

/// Something that can be played.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// When it was captured, as far as that is known without opening it.
    pub time: Option<Timestamp>,
    /// Where it is.
    pub path: PathBuf,
    /// What it is.
    pub kind: Kind,
    /// Its size in bytes, to tell how much is left to do.
    pub bytes: u64,
}

/// What a file is played as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One frame.
    Picture,
    /// Many, on a clock of their own.
    Video,
}

/// How often a frame of a video is taken, and how it is decoded: as the source would.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sampling {
    /// One frame is taken in each such interval.
    pub every: Duration,
    /// Which frames are decoded.
    pub decode: Decode,
}

impl Sampling {
    /// As `source` does; a source that has no rate takes a frame a second.
    #[must_use]
    pub fn of(source: &Source) -> Self {
        match &source.kind {
            SourceKind::Stream(stream) => Self { every: stream.every, decode: stream.decode },
            SourceKind::Http(http) => Self { every: http.every, decode: Decode::Auto },
            _ => Self { every: Duration::from_secs(1), decode: Decode::Auto },
        }
    }
}

/// The source that recordings are taken for: the one that was named, or the only one.
///
/// # Errors
/// There is no such source, or several and none was named.
pub fn source<'c>(config: &'c Config, typed: Option<&str>) -> Result<&'c Source> {
    let names = || config.sources.iter().map(|source| source.name.as_str()).collect::<Vec<_>>().join(", ");
    match (typed, &config.sources[..]) {
        (Some(name), sources) => match sources.iter().find(|source| source.name == name) {
            Some(source) => Ok(source),
            None => bail!("there is no source {name}; there are: {}", names()),
        },
        (None, [only]) => Ok(only),
        (None, _) => bail!("say with --source which of these the recordings are taken for: {}", names()),
    }
}

/// Everything in `paths` that can be played: what is in a folder by time and name, the rest in the order typed.
///
/// # Errors
/// Something is not there, or cannot be looked at.
pub fn find(paths: &[PathBuf]) -> Result<Vec<Item>> {
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
            all.push(item(path, &zone).with_context(cannot)?);
        }
    }
    Ok(all)
}

fn collect(folder: &Path, zone: &TimeZone, found: &mut Vec<Item>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let (entry, hidden) =
            entry.map(|entry| (entry.path(), entry.file_name().as_encoded_bytes().starts_with(b".")))?;
        // A link to a folder is not followed: a recording has no cycles.
        let kind = fs::symlink_metadata(&entry)?.file_type();
        match (hidden, kind.is_dir()) {
            (true, _) => {}
            (false, true) => collect(&entry, zone, found)?,
            (false, false) => found.push(item(&entry, zone)?),
        }
    }
    Ok(())
}

fn item(path: &Path, zone: &TimeZone) -> io::Result<Item> {
    let metadata = fs::metadata(path)?;
    let kind = if is_video(path)? { Kind::Video } else { Kind::Picture };
    let named = path.file_name().and_then(|name| times::in_name(&name.to_string_lossy(), zone));
    let time = named.or_else(|| {
        // A video's file is changed last when the recording ends, or when it is copied.
        (kind == Kind::Picture).then(|| {
            let changed = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            Timestamp::try_from(changed).unwrap_or(Timestamp::UNIX_EPOCH)
        })
    });
    Ok(Item { time, path: path.to_owned(), kind, bytes: metadata.len() })
}

/// By its name, else by its first bytes.
fn is_video(path: &Path) -> io::Result<bool> {
    let extension = path.extension().map(|extension| extension.to_string_lossy().to_lowercase());
    if extension.is_some_and(|extension| VIDEOS.contains(&&*extension)) {
        return Ok(true);
    }
    let mut head = Vec::new();
    fs::File::open(path)?.take(12).read_to_end(&mut head)?;
    Ok(matches!(
        head.as_slice(),
        [_, _, _, _, b'f', b't', b'y', b'p', ..]
            | [0x1A, 0x45, 0xDF, 0xA3, ..]
            | [b'R', b'I', b'F', b'F', _, _, _, _, b'A', b'V', b'I', b' ']
    ))
}
