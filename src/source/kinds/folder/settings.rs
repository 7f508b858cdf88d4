//! The settings of a `folder` source.

pub mod location;
pub mod patterns;

use std::{
    path::{Component, Path, PathBuf},
    time::Duration,
};

use serde_json::{Map, Value, json};

pub use self::patterns::{PathPattern, Patterns};
use crate::{
    source::kinds::{
        camera::{DAY, Decode},
        settings::{KindKey, Settings},
    },
    yaml::{
        fields::{Field, Form, Shape, Table, explain, specs, word_of, words},
        names,
        reader::{Reader, Section, Setting},
        value::duration_text,
    },
};

/// A folder source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folder {
    /// The folder; its sub-folders are watched too.
    pub path: PathBuf,
    /// What happens to files that are there at the start.
    pub existing: Existing,
    /// What happens to a file after its frame is scored and its alerts are on disk.
    pub after: After,
    /// The interval of checks of the whole folder (for network file systems); `None`: the kernel reports new files.
    pub poll: Option<Duration>,
    /// What happens to symbolic links.
    pub links: Links,
    /// What happens to video files.
    pub clips: Clips,
    /// One frame of a clip is scored in each such interval of its own time.
    pub every: Duration,
    /// Which files are taken, and which folders are scanned.
    pub patterns: Patterns,
}

impl Folder {
    /// A folder with the defaults of every other key.
    #[must_use]
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            existing: Existing::Skip,
            after: After::Keep,
            poll: None,
            links: Links::Ignore,
            clips: Clips::Play,
            every: Duration::from_secs(1),
            patterns: Patterns::default(),
        }
    }
}

/// What happens to symbolic links in the watched folder. The folder itself may always be one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Links {
    /// They are ignored: nothing outside of the folder is read, deleted or moved.
    Ignore,
    /// Pictures and folders that they lead to are part of the folder.
    Follow,
}

impl Links {
    const WORDS: [(&str, Self); 2] = [("ignore", Self::Ignore), ("follow", Self::Follow)];
}

/// What happens to video files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clips {
    /// They are played.
    Play,
    /// They are ignored.
    Ignore,
}

impl Clips {
    const WORDS: [(&str, Self); 2] = [("play", Self::Play), ("ignore", Self::Ignore)];
}

/// What happens to files that are there at the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// They are ignored.
    Skip,
    /// They are processed like new ones.
    Process,
}

impl Existing {
    const WORDS: [(&str, Self); 2] = [("skip", Self::Skip), ("process", Self::Process)];
}

/// What happens to a file afterwards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum After {
    /// It is kept.
    Keep,
    /// It is deleted.
    Delete,
    /// It is moved into this folder.
    Move(PathBuf),
}

/// Whether the file is deleted.
const DELETE: [(&str, bool); 2] = [("keep", false), ("delete", true)];

const PATTERN: Form =
    Form::Shaped(Shape { expected: "a pattern of names such as `*.jpg`", name: "pattern", pattern: "" });

/// The keys of a folder source.
pub(crate) const FIELDS: &[Field<Folder>] = &[
    Field::new("folder", Form::Path, "The folder; its sub-folders are watched, too.", |it: &Folder| {
        Some(json!(it.path.display().to_string()))
    })
    .example("/var/spool/stakeout/inbox"),
    Field::new(
        "existing",
        Form::Words(&words(&Existing::WORDS)),
        "What happens to files that are there when the folder is watched for the first time: they are skipped, or processed \
         like new ones. Later starts process what arrived meanwhile.",
        |it: &Folder| Some(json!(word_of(&Existing::WORDS, &it.existing))),
    )
    .default("skip"),
    Field::new(
        "after",
        Form::Either(&[Form::Words(&words(&DELETE)), Form::Mapping(&MOVE)]),
        "What happens to a file after its alerts are on disk.",
        |it: &Folder| {
            Some(match &it.after {
                After::Keep => json!("keep"),
                After::Delete => json!("delete"),
                After::Move(to) => json!({"move": to.display().to_string()}),
            })
        },
    )
    .default("keep"),
    Field::new(
        "poll",
        Form::Duration(Duration::from_millis(100), Duration::from_secs(86_400)),
        "The interval of checks of the whole folder, for network file systems.",
        |it: &Folder| {
            Some(it.poll.map_or(json!("the kernel reports new files"), |poll| json!(duration_text(poll))))
        },
    )
    .default_is("the kernel reports new files")
    .example("5s"),
    Field::new(
        "links",
        Form::Words(&words(&Links::WORDS)),
        "What happens to symbolic links in the folder: they are ignored, or the pictures and folders that they lead to are part of it, \
         also for `after`. Then everyone who can create files in the folder decides which files of this machine are scored and \
         published.",
        |it: &Folder| Some(json!(word_of(&Links::WORDS, &it.links))),
    )
    .default("ignore"),
    Field::new(
        "clips",
        Form::Words(&words(&Clips::WORDS)),
        "What happens to video files: they are played, or ignored.",
        |it: &Folder| Some(json!(word_of(&Clips::WORDS, &it.clips))),
    )
    .default("play"),
    Field::new(
        "every",
        Form::Duration(Duration::from_millis(20), DAY),
        "One frame of a video file is scored in each such interval of its own time. Every picture is scored.",
        |it: &Folder| Some(json!(duration_text(it.every))),
    )
    .default("1s"),
    Field::new(
        "include",
        Form::OneOrMore(&PATTERN),
        "Only files that match one of these patterns are taken. A pattern with `/` is a path from the folder; one without \
         matches the names of files and sub-folders.",
        |it: &Folder| {
            let [include, _] = it.patterns.texts();
            Some(if include.is_empty() { json!("all files") } else { json!(include) })
        },
    )
    .default_is("all files")
    .example("[\"*.jpg\"]"),
    Field::new(
        "exclude",
        Form::OneOrMore(&PATTERN),
        "Files and sub-folders that match one of these patterns are left alone, in addition to the default: `.*`, `*.tmp`, \
         `*.part`, `*.upload`, `@eaDir`, `#recycle` and others. `!PATTERN` takes an earlier pattern back.",
        |it: &Folder| {
            let [_, exclude] = it.patterns.texts();
            Some(json!(exclude))
        },
    )
    .default_is("hidden names, names of incomplete files, and a NAS's own folders")
    .example("[\"*thumb*\", archive/]"),
];

const MOVE_FIELDS: &[Field<PathBuf>] =
    &[Field::new("move", Form::Path, "The folder that files are moved into.", |to: &PathBuf| {
        Some(json!(to.display().to_string()))
    })
    .required()
    .example("FOLDER")];
const MOVE: Table = Table { title: "sources.NAME.after", fields: || specs(MOVE_FIELDS) };

/// The key that names this kind.
pub(crate) const KEYS: &[KindKey] = &[KindKey { key: "folder", fields: || specs(FIELDS), foreign: |_| None }];

/// What to do about a folder that cannot be watched.
pub(crate) const REMEDY: &str = "create the folder, and make it readable for the user who runs the service; under systemd also check \
                                 `ProtectHome=`";

impl Settings for Folder {
    fn key(&self) -> &'static str {
        "folder"
    }

    fn explain(&self) -> Map<String, Value> {
        explain(FIELDS, self)
    }

    fn sampling(&self) -> (Duration, Decode) {
        (self.every, Decode::Auto)
    }

    fn paths(&self) -> Vec<(&'static str, &Path)> {
        let after = if let After::Move(to) = &self.after { Some(("after.move", &**to)) } else { None };
        [("folder", &*self.path)].into_iter().chain(after).collect()
    }

    fn is_local(&self) -> bool {
        true
    }

    fn remedy(&self) -> &'static str {
        REMEDY
    }
}

pub(crate) fn read(reader: &mut Reader<'_>, at: &Setting<'_>, section: &Section<'_>) -> Option<Folder> {
    let path = location::read(reader, at);
    let existing = section.read(reader, "existing", |reader, at| reader.word(at, &Existing::WORDS));
    let after = section.read(reader, "after", after);
    let poll = section.optional(reader, "poll", Reader::duration);
    let links = section.read(reader, "links", |reader, at| reader.word(at, &Links::WORDS));
    let clips = section.read(reader, "clips", |reader, at| reader.word(at, &Clips::WORDS));
    let every = section.read(reader, "every", Reader::duration);
    let include = patterns(reader, section, "include", PathPattern::including);
    let exclude = patterns(reader, section, "exclude", PathPattern::parse);
    if let (Some(path), Some(After::Move(to)), Some(at)) = (&path, &after, section.get("after"))
        && plain(to) == plain(path)
    {
        let remedy = "name another folder, for example one below it: files in it are not scored again";
        reader.problem(at.span(), "pictures would be moved into the folder that is watched", remedy);
    }
    let patterns = Patterns::new(include?, exclude?);
    Some(Folder {
        path: path?,
        existing: existing?,
        after: after?,
        poll: poll?,
        links: links?,
        clips: clips?,
        every: every?,
        patterns,
    })
}

/// Reads one pattern or a list; empty if the key is absent.
fn patterns(
    reader: &mut Reader<'_>,
    section: &Section<'_>,
    key: &str,
    parse: fn(&str) -> Result<PathPattern, String>,
) -> Option<Vec<PathPattern>> {
    let list =
        |reader: &mut Reader<'_>, at: &Setting<'_>| reader.list(at, |reader, at| reader.parsed(at, parse));
    section.optional(reader, key, list).map(Option::unwrap_or_default)
}

/// The path without `..`, as far as that is possible without the disk.
fn plain(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut plain, part| {
        match part {
            Component::ParentDir => drop(plain.pop()),
            _ => plain.push(part),
        }
        plain
    })
}

/// Reads `keep`, `delete`, or `{ move: FOLDER }`.
fn after(reader: &mut Reader<'_>, at: &Setting<'_>) -> Option<After> {
    if at.is_mapping() {
        return reader.section(at, &MOVE)?.read(reader, "move", location::read).map(After::Move);
    }
    reader.parsed(at, |text| match DELETE.iter().find(|(word, _)| *word == text) {
        Some((_, false)) => Ok(After::Keep),
        Some((_, true)) => Ok(After::Delete),
        None if text.starts_with("move") => Err("add the folder: `after: { move: FOLDER }`".to_owned()),
        None => Err(names::nearest(text, words(&DELETE))
            .map_or("write `after: keep`".to_owned(), |word| format!("did you mean `{word}`?"))),
    })
}
