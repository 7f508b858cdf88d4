//! The `sources` section. What cameras take is in `cameras`, what topics take in `mqtt_source`.

use std::{
    path::{Component, Path, PathBuf},
    time::Duration,
};

use super::{
    After, Existing, Folder, Region, Source, SourceKind, cameras, mqtt_source,
    read_label_sets::{LabelSets, Topics},
    watched::{self, Watched},
};
use crate::{
    yaml::names,
    yaml::{
        mask,
        reader::{Reader, Section, Setting},
        tree::{Node, Value},
        value,
    },
};

/// The kinds, and what only they take.
pub(super) const KINDS: &[(&str, &[&str])] = &[
    ("folder", &["existing", "after", "poll"]),
    ("rtsp", cameras::RTSP_KEYS),
    ("video", cameras::VIDEO_KEYS),
    ("http", cameras::HTTP_KEYS),
    ("mqtt", mqtt_source::KEYS),
];
/// What every kind takes.
pub(super) const COMMON: &[&str] = &["regions", "grid", "watch", "scores", "baseline"];
/// What `baseline` takes as a mapping.
pub(super) const BASELINE_KEYS: &[&str] = &["over"];
/// The time over which a baseline is estimated where none is typed.
const OVER: Duration = Duration::from_secs(600);
pub(super) const KEYS: &[&str] = &[
    "folder",
    "existing",
    "after",
    "poll",
    "rtsp",
    "video",
    "http",
    "username",
    "password",
    "every",
    "decode",
    "hwaccel",
    "transport",
    "pace",
    "stall_after",
    "timeout",
    "unchanged",
    "at_least_every",
    "mqtt",
    "name",
    "json",
    "retained",
    "share",
    "max_packet",
    "max_sources",
    "broker",
    "regions",
    "grid",
    "watch",
    "scores",
    "baseline",
];
/// What is missing is shown with this.
pub(super) const EXAMPLE: &str =
    "sources:\n  inbox:\n    folder: /var/lib/stakeout/inbox\n    watch: [porch]";

pub(super) fn read(reader: &mut Reader<'_>, at: &Setting<'_>, sets: &LabelSets) -> Vec<Source> {
    let mut topics = Topics::default();
    let mut sources = vec![];
    for source in reader.named(at, &format!("say where frames come from:\n{EXAMPLE}")) {
        topics.check(reader, "source", source.name, source.key);
        sources.extend(read_source(reader, &source, sets));
    }
    sources
}

fn read_source(reader: &mut Reader<'_>, at: &Setting<'_>, sets: &LabelSets) -> Option<Source> {
    let remedy = format!("describe it like this:\n{EXAMPLE}");
    let section = reader.section(at, KEYS, &remedy)?;
    let kind = kind(reader, at, &section);
    let mut regions = section.get("regions").map_or_else(Vec::new, |at| regions(reader, &at));
    if let Some(at) = section.get("grid") {
        grid(reader, &at, &mut regions);
    }
    let watch = match section.get("watch") {
        Some(at) => watched::read(reader, &at, sets),
        None if section.lacks("watch") => {
            let message = format!("the source `{}` has no `watch`", mask::shown(at.name));
            let example = mask::shown(sets.names.first().map_or("porch", String::as_str));
            reader.problem(at.key, message, format!("list the label sets to score: `watch: [{example}]`"));
            Watched::default()
        }
        None => Watched::default(),
    };
    let scores =
        section.get("scores").map_or(Some(false), |at| reader.word(&at, &[("true", true), ("false", false)]));
    let baseline = section.get("baseline").map_or(Some(None), |at| baseline(reader, &at));
    let Watched { sets: watch, adjusted } = watch;
    let name = at.name.to_owned();
    Some(Source { name, kind: kind?, regions, watch, adjusted, scores: scores?, baseline: baseline? })
}

/// `true`, `false`, or `{ over: 10m }`.
fn baseline(reader: &mut Reader<'_>, at: &Setting<'_>) -> Option<Option<Duration>> {
    const LONGEST: Duration = Duration::from_secs(7 * 86_400);
    match &at.node.value {
        Value::Mapping(_) => {
            let section = reader.section(at, BASELINE_KEYS, "")?;
            let over = section.get("over").map_or(Some(OVER), |at| {
                reader.parsed(&at, "a duration", |text| match value::duration(text)? {
                    over if (Duration::from_secs(10)..=LONGEST).contains(&over) => Ok(over),
                    _ => Err("at least 10s and at most 7d".to_owned()),
                })
            });
            over.map(Some)
        }
        Value::Text(text) if value::duration(text).is_ok() => {
            let remedy = format!("did you mean `baseline: {{ over: {} }}`?", mask::shown(text));
            reader.must_be(at, "`true`, `false` or a mapping", remedy);
            None
        }
        _ => reader.word(at, &[("true", Some(OVER)), ("false", None)]),
    }
}

fn kind(reader: &mut Reader<'_>, at: &Setting<'_>, section: &Section<'_>) -> Option<SourceKind> {
    const REMEDY: &str = "name a folder, a camera, a recording or a topic: `folder: /path/to/pictures`, `rtsp: rtsp://HOST/PATH`, \
                          `http: http://HOST/snapshot.jpg`, `video: /path/to/recording.mp4` or `mqtt: frigate/+/person/snapshot`";
    let kinds: Vec<_> = KINDS.iter().filter_map(|(kind, own)| Some((section.get(kind)?, *own))).collect();
    let [(kind, own), others @ ..] = &kinds[..] else {
        if !KINDS.iter().all(|(kind, _)| section.lacks(kind)) {
            return None;
        }
        let message =
            format!("the source `{}` does not say where its frames come from", mask::shown(at.name));
        reader.problem(at.key, message, REMEDY);
        return None;
    };
    for (other, _) in others {
        let message = format!("a source has one kind, and this one has `{}` and `{}`", kind.name, other.name);
        reader.problem(other.key, message, "make two sources of it");
    }
    if !others.is_empty() {
        return None;
    }
    foreign_keys(reader, kind.name, own, section);
    match kind.name {
        "rtsp" => cameras::rtsp(reader, kind, section).map(SourceKind::Stream),
        "video" => cameras::video(reader, kind, section).map(SourceKind::Stream),
        "http" => cameras::http(reader, kind, section).map(SourceKind::Http),
        "mqtt" => mqtt_source::read(reader, kind, section).map(SourceKind::Mqtt),
        _ => folder(reader, kind, section).map(SourceKind::Folder),
    }
}

/// What another kind takes and this one does not.
fn foreign_keys(reader: &mut Reader<'_>, kind: &str, own: &[&str], section: &Section<'_>) {
    for key in KEYS.iter().filter(|key| **key != kind && !own.contains(key) && !COMMON.contains(key)) {
        let Some(at) = section.get(key) else { continue };
        let (message, remedy) = match (kind, *key) {
            ("folder", "every") => (
                "`every` does not belong to a folder".to_owned(),
                "every picture in a folder is scored: remove it, or use `poll:` to look at the folder at an interval"
                    .to_owned(),
            ),
            _ => (
                format!("`{key}` does not belong to a source of the kind `{kind}`"),
                format!("remove it; this kind takes {}", names::list(&[own, COMMON].concat(), "and")),
            ),
        };
        reader.problem(at.key, message, remedy);
    }
}

fn folder(reader: &mut Reader<'_>, at: &Setting<'_>, section: &Section<'_>) -> Option<Folder> {
    let path = reader.path(at);
    let existing = match section.get("existing") {
        Some(at) => reader.word(&at, &[("skip", Existing::Skip), ("process", Existing::Process)]),
        None => Some(Existing::Skip),
    };
    let poll = section.get("poll").map(|at| {
        reader.parsed(&at, "a duration", |text| match value::duration(text)? {
            interval if (100..=86_400_000).contains(&interval.as_millis()) => Ok(interval),
            _ => Err("at least 100ms and at most 1d".to_owned()),
        })
    });
    let after_setting = section.get("after");
    let after = after_setting.as_ref().map_or(Some(After::Keep), |at| after(reader, at));
    if let (Some(path), Some(After::Move(to)), Some(at)) = (&path, &after, &after_setting)
        && plain(to) == plain(path)
    {
        let remedy =
            "name another folder, for example one below it: what was moved there is not scored again";
        reader.problem(at.span(), "pictures would be moved into the folder that is watched", remedy);
    }
    Some(Folder {
        path: path?,
        existing: existing?,
        after: after?,
        poll: poll.map_or(Some(None), |poll| poll.map(Some))?,
    })
}

/// The path without `..`, as far as that can be told without looking at the disk.
fn plain(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut plain, part| {
        match part {
            Component::ParentDir => drop(plain.pop()),
            _ => plain.push(part),
        }
        plain
    })
}

/// `keep`, `delete`, or `{ move: FOLDER }`.
fn after(reader: &mut Reader<'_>, at: &Setting<'_>) -> Option<After> {
    const EXPECTED: &str = "`keep`, `delete` or a mapping `{ move: FOLDER }`";
    match &at.node.value {
        Value::Mapping(_) => {
            let section = reader.section(at, &["move"], "")?;
            match section.get("move") {
                Some(at) => reader.path(&at).map(After::Move),
                None => {
                    reader.must_be(at, EXPECTED, "write `after: { move: FOLDER }`");
                    None
                }
            }
        }
        _ => reader.parsed(at, EXPECTED, |text| match text {
            "keep" => Ok(After::Keep),
            "delete" => Ok(After::Delete),
            _ if text.starts_with("move") => Err("say where to: `after: { move: FOLDER }`".to_owned()),
            _ => Err(names::nearest(text, ["keep", "delete"])
                .map_or("write `after: keep`".to_owned(), |word| format!("did you mean `{word}`?"))),
        }),
    }
}

fn regions(reader: &mut Reader<'_>, at: &Setting<'_>) -> Vec<Region> {
    const EXAMPLE: &str = "name each part of the frame: `regions: { step: [0.2, 0.5, 0.6, 0.5] }`";
    reader.named(at, EXAMPLE).iter().filter_map(|at| region(reader, at)).collect()
}

/// `2x2`, columns and rows: so many more regions of the same size, named by row and column.
fn grid(reader: &mut Reader<'_>, at: &Setting<'_>, regions: &mut Vec<Region>) {
    const MOST: u32 = 8;
    let size = reader.parsed(at, "a grid of columns and rows", |text| {
        let number = |text: &str| text.parse().ok().filter(|number| (1..=MOST).contains(number));
        let size = text.split_once('x').and_then(|(columns, rows)| Some((number(columns)?, number(rows)?)));
        match size {
            Some((1, 1)) => Err("1x1 is the whole frame: leave the grid out".to_owned()),
            Some(size) => Ok(size),
            None => Err(format!("for example 3x2, at most {MOST}x{MOST}")),
        }
    });
    let Some((columns, rows)) = size else { return };
    let (width, height) = (1.0 / f64::from(columns), 1.0 / f64::from(rows));
    for (row, column) in (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column))) {
        let name = format!("r{}c{}", row + 1, column + 1);
        if regions.iter().any(|region| region.name == name) {
            let message = format!("the grid makes a region `{name}`, and there is one of this name");
            reader.problem(at.key, message, "give the region another name");
            return;
        }
        let (x, y) = (f64::from(column) * width, f64::from(row) * height);
        regions.push(Region { name, x, y, width: width.min(1.0 - x), height: height.min(1.0 - y) });
    }
}

/// `[x, y, width, height]`, in fractions of the frame.
fn region(reader: &mut Reader<'_>, at: &Setting<'_>) -> Option<Region> {
    /// Fractions are typed in decimals: 0.7 + 0.3 must be allowed to be a little more than 1.
    const EPSILON: f64 = 1e-6;
    let numbers: Option<Vec<f64>> = match &at.node.value {
        Value::List(items) => items.iter().map(fraction).collect(),
        _ => None,
    };
    let Some(&[x, y, width, height]) = numbers.as_deref() else {
        let message =
            format!("the region `{}` must be a list of x, y, width and height", mask::shown(at.name));
        let remedy = "four numbers, fractions of the frame's width and height: `[0.2, 0.5, 0.6, 0.5]`";
        reader.problem(at.span(), message, remedy);
        return None;
    };
    let outside = [x, y, width, height].iter().any(|number| !(0.0..=1.0).contains(number));
    if outside {
        let remedy = "write fractions of the frame's width and height, not pixels: `[0.2, 0.5, 0.6, 0.5]`";
        reader.problem(
            at.span(),
            format!("the region `{}` has numbers outside 0 to 1", mask::shown(at.name)),
            remedy,
        );
    } else if width == 0.0 || height == 0.0 {
        let message = format!("the region `{}` has no size", mask::shown(at.name));
        reader.problem(at.span(), message, "the third and fourth numbers are its width and height");
    } else if x + width > 1.0 + EPSILON || y + height > 1.0 + EPSILON {
        let remedy = "x + width and y + height are at most 1: the third and fourth numbers are sizes, not another corner";
        reader.problem(at.span(), format!("the region `{}` leaves the frame", mask::shown(at.name)), remedy);
    } else {
        let (width, height) = (width.min(1.0 - x), height.min(1.0 - y));
        return Some(Region { name: at.name.to_owned(), x, y, width, height });
    }
    None
}

fn fraction(node: &Node) -> Option<f64> {
    match &node.value {
        Value::Text(text) => value::number(text),
        _ => None,
    }
}
