//! Reads the section `sources`, in the main file and in `sources.d`: the settings that all kinds of source have in common, and which kind
//! a source is. The settings of each kind are in its own module.

use std::{sync::LazyLock, time::Duration};

use serde_json::{Map, Value, json};

use super::{
    defaults::Defaults,
    home_assistant::{self, DeviceLook},
    label_sets::{LabelSets, Seen},
    masks,
    watched::{self, Watched},
};
use crate::{
    picture::mask::Polygon,
    policy::Label,
    source::kinds::{settings::KindKey, source_kind::SourceKind},
    yaml::{
        fields::{self, Field, Form, Spec, Table, explain, specs},
        mask, names,
        reader::{Reader, Section, Setting},
        tree::{Entry, Node, Value as Typed},
        value::{self, duration_text},
    },
};

/// A source of frames.
#[derive(Debug, Clone, PartialEq)]
pub struct Source {
    /// The name as it was typed.
    pub name: String,
    /// Its kind, with the settings of that kind.
    pub kind: SourceKind,
    /// Whether it is read. The labels of a source that is not are not raised.
    pub enabled: bool,
    /// Parts of the frame that are hidden before anything else reads their pixels.
    pub mask: Vec<Polygon>,
    /// Named parts of the frame that are scored separately; empty: the whole frame.
    pub regions: Vec<Region>,
    /// The names of the label sets to score.
    pub watch: Vec<String>,
    /// The labels and rules with other settings here: the name of the set, and the label with its settings here.
    pub adjusted: Vec<(String, Label)>,
    /// The same for what was set while the service runs: the settings in force, which the files do not have.
    pub controlled: Vec<(String, Label)>,
    /// Whether every score is published, also of frames that raise nothing.
    pub scores: bool,
    /// The time over which each label's score on quiet frames is estimated; `None`: it is not estimated.
    pub baseline: Option<Duration>,
    /// How Home Assistant shows its device.
    pub look: DeviceLook,
    /// Where it is, in words.
    pub location: Option<String>,
    /// The area that it belongs to.
    pub area: Option<String>,
}

impl Source {
    /// A label of the label set `set`, or the settings of a rule, as they are on this source.
    #[must_use]
    pub fn label<'c>(&'c self, set: &str, label: &'c Label) -> &'c Label {
        let mut here = self.controlled.iter().chain(&self.adjusted);
        here.find(|(of, here)| of == set && here.name == label.name).map_or(label, |(_, here)| here)
    }

    /// The source for `check --explain`.
    #[must_use]
    pub fn explain(&self) -> Map<String, Value> {
        self.kind.settings().explain().into_iter().chain(explain(FIELDS, self)).collect()
    }
}

/// A named part of the frame, in fractions of its width and height.
#[derive(Debug, Clone, PartialEq)]
pub struct Region {
    /// The name as it was typed.
    pub name: String,
    /// Left edge, 0 to 1.
    pub x: f64,
    /// Upper edge, 0 to 1.
    pub y: f64,
    /// Width, more than 0; `x + width` is at most 1.
    pub width: f64,
    /// Height, more than 0; `y + height` is at most 1.
    pub height: f64,
}

/// The keys that all kinds of source have.
const FIELDS: &[Field<Source>] = &[
    Field::new("enabled", Form::Switch, "false: it is not read, and its labels are not raised.", |it: &Source| {
        Some(json!(it.enabled))
    })
    .default("true"),
    Field::new(
        "mask",
        masks::FORM,
        "What is hidden: polygons that are filled with grey before anything is compared, scored, stored or sent. Each corner is x and y, as \
         fractions of the frame's width and height.",
        |it: &Source| Some(masks::shown(&it.mask)),
    )
    .example(masks::EXAMPLE),
    Field::new("regions", Form::Named(&Form::Fractions(4)), "Parts of the frame that are scored separately.", |it: &Source| {
        let regions = it.regions.iter();
        let regions = regions.map(|it| (it.name.clone(), json!([it.x, it.y, it.width, it.height])));
        Some(if it.regions.is_empty() { json!("the whole frame") } else { regions.collect::<Map<_, _>>().into() })
    })
    .default_is("the whole frame")
    .example("{ step: [0.2, 0.5, 0.6, 0.5] }"),
    Field::new(
        "grid",
        Form::like("a grid of columns and rows"),
        "Columns and rows of further regions, named r1c1 (row 1, column 1) to r2c2.",
        |it: &Source| Some(json!(grid_shown(&it.regions))),
    )
    .example("2x2"),
    Field::new(
        "watch",
        watched::FORM,
        "The label sets to score. As a mapping it also contains the settings of labels that are different on this source: \
         `watch: { porch: { person: 0.8, dog: { hold: 2 of 3 } }, street: }`. `prompts` and `home_assistant` cannot be different.",
        |it: &Source| Some(json!(it.watch)),
    )
    .required()
    .example("[porch]"),
    Field::new(
        "scores",
        Form::Switch,
        "true: publish every score, at most once a second, also of frames that raise nothing.",
        |it: &Source| Some(json!(it.scores)),
    )
    .default("false"),
    Field::new(
        "baseline",
        Form::Either(&[Form::Switch, Form::Mapping(&BASELINE)]),
        "true: estimate each label's score on quiet frames, for labels with a `rise`.",
        |it: &Source| Some(json!(it.baseline.map(|over| json!({ "over": duration_text(over) })))),
    )
    .default("false"),
    Field::new(
        "home_assistant",
        Form::Mapping(&home_assistant::DEVICE),
        "How Home Assistant shows its device.",
        |it: &Source| Some(home_assistant::explain_device(&it.look, &it.name)),
    ),
    Field::new("location", Form::Text, "Where it is, in words. Its alerts and the metrics have it.", |it: &Source| {
        Some(json!(it.location))
    })
    .example("north gate, mast 3"),
    Field::new(
        "area",
        Form::Text,
        "The area that it belongs to. Its alerts and the metrics have it, and Home Assistant proposes it for its device.",
        |it: &Source| Some(json!(it.area)),
    )
    .example("Yard"),
];

/// The same keys in `defaults`, where none is required.
static OPTIONAL: LazyLock<Vec<Spec>> = LazyLock::new(|| {
    let optional = |spec: &'static Spec| match spec.default {
        fields::Default::Required => Spec { default: fields::Default::None, ..*spec },
        _ => *spec,
    };
    specs(FIELDS).into_iter().map(optional).collect()
});

/// The names of the kinds in `defaults`: each has a mapping with the keys of its kind.
static KINDS: LazyLock<Vec<Spec>> = LazyLock::new(|| {
    let (default, form) = (fields::Default::None, Form::like("a mapping of its keys"));
    SourceKind::keys().map(|kind| Spec { key: kind.key, form, default, doc: "", example: "" }).collect()
});

const BASELINE_FIELDS: &[Field<Duration>] = &[Field::new(
    "over",
    Form::Duration(Duration::from_secs(10), Duration::from_secs(7 * 86_400)),
    "Older frames count little. No label rises in the first fifth of this time.",
    |over: &Duration| Some(json!(duration_text(*over))),
)
.default("10m")];
const BASELINE: Table = Table { title: "sources.NAME.baseline", fields: || specs(BASELINE_FIELDS) };

/// The form of `sources`.
pub(super) const FORM: Form = Form::Named(&Form::Kinds(kinds));

/// The form of `defaults`.
pub(super) const DEFAULTS: Form = Form::Defaults(kinds);

fn kinds() -> Vec<fields::Alternative> {
    SourceKind::keys()
        .map(|kind| fields::Alternative { key: kind.key, fields: [(kind.fields)(), specs(FIELDS)].concat() })
        .collect()
}

/// An example for a missing section.
pub(super) const EXAMPLE: &str =
    "sources:\n  inbox:\n    folder: /var/spool/stakeout/inbox\n    watch: [porch]";

/// The keys of all sources and of one kind, in `defaults`.
fn defaults_of(kind: &KindKey) -> Vec<&'static Spec> {
    (kind.fields)().into_iter().skip(1).chain(OPTIONAL.iter()).collect()
}

/// The keys of `defaults`.
fn all_defaults() -> Vec<&'static Spec> {
    let own = SourceKind::keys().flat_map(|kind| (kind.fields)().into_iter().skip(1));
    let mut keys = Vec::<&'static Spec>::new();
    for spec in OPTIONAL.iter().chain(own).chain(KINDS.iter()) {
        if !keys.iter().any(|known| known.key == spec.key) {
            keys.push(spec);
        }
    }
    keys
}

/// The sources of all files so far.
#[derive(Default)]
pub(super) struct Sources {
    pub sources: Vec<Source>,
    defaults: Defaults,
    seen: Seen,
}

impl Sources {
    /// Reads `defaults`, before any source.
    pub fn read_defaults(&mut self, reader: &mut Reader<'_>, at: &Setting<'_>) {
        let kinds = SourceKind::keys().map(|kind| (kind, defaults_of(kind)));
        self.defaults = Defaults::read(reader, at, all_defaults(), kinds, foreign_key);
    }

    /// The sources, after all files are read.
    pub fn complete(self, reader: &mut Reader<'_>) -> Vec<Source> {
        self.defaults.check_unused(reader, &all_defaults());
        self.sources
    }

    /// Reads the `sources` of one file.
    pub fn read(&mut self, reader: &mut Reader<'_>, at: &Setting<'_>, sets: &LabelSets) {
        // A new service watches nothing yet: it is set up in the console.
        if at.is_empty_mapping() {
            return;
        }
        for source in reader.named(at, &format!("describe where frames come from:\n{EXAMPLE}")) {
            self.seen.check(reader, "source", source.name, source.key);
            self.sources.extend(read_source(reader, &source, sets, &mut self.defaults));
        }
    }
}

fn read_source(
    reader: &mut Reader<'_>,
    at: &Setting<'_>,
    sets: &LabelSets,
    defaults: &mut Defaults,
) -> Option<Source> {
    let kind = kind_of(reader, at);
    let keys = kind.map_or_else(|| OPTIONAL.iter().collect(), defaults_of);
    let (node, inherited) = defaults.applied(at.node, kind.map_or("", |kind| kind.key), &keys);
    let at = &Setting { node: &node, ..at.clone() };
    let own = kind.map_or_else(
        || SourceKind::keys().flat_map(|kind| (kind.fields)()).collect(),
        |kind| (kind.fields)(),
    );
    let section =
        reader.section_with(at, "the source ", [own, specs(FIELDS)].concat(), |key| match kind {
            Some(kind) => foreign_key(kind, key),
            None => misplaced(at, key),
        })?;
    let section = section.with_inherited(inherited);
    let settings = kind.and_then(|kind| SourceKind::read(reader, &section.get(kind.key)?, &section));
    let enabled = section.read(reader, "enabled", Reader::switch);
    let mask = section.optional(reader, "mask", masks::read);
    let mut regions = section.get("regions").map_or_else(Vec::new, |at| regions(reader, &at));
    if let Some(at) = section.get("grid") {
        grid(reader, &at, &mut regions);
    }
    let watch = section.read(reader, "watch", |reader, at| Some(watched::read(reader, at, sets)));
    let scores = section.read(reader, "scores", Reader::switch);
    let baseline = section.read(reader, "baseline", baseline);
    let look = section.optional(reader, "home_assistant", home_assistant::device);
    let location = section.optional(reader, "location", Reader::text);
    let area = section.optional(reader, "area", Reader::text);
    let (settings, mut look) = (settings?, look?.unwrap_or_default());
    if let (Some(_), Some(_), Some(at)) =
        (&look.name, settings.settings().name_pattern(), section.get("home_assistant"))
    {
        let message = "all sources that `name` makes would have the same name in Home Assistant";
        reader.problem(at.key, message, "remove `name` from `home_assistant`");
    }
    let (name, Watched { sets: watch, adjusted }) = (at.name.to_owned(), watch?);
    let (enabled, mask, scores, baseline) = (enabled?, mask?.unwrap_or_default(), scores?, baseline?);
    let (location, area) = (location?, area?);
    look.suggested_area = look.suggested_area.or_else(|| area.clone());
    let controlled = Vec::new();
    Some(Source {
        name,
        kind: settings,
        enabled,
        mask,
        regions,
        watch,
        adjusted,
        controlled,
        scores,
        baseline,
        look,
        location,
        area,
    })
}

/// The kind of a source: the one whose key it has.
fn kind_of(reader: &mut Reader<'_>, at: &Setting<'_>) -> Option<&'static KindKey> {
    let Typed::Mapping(entries) = &at.node.value else { return None };
    let has = |kind: &&'static KindKey| entries.iter().any(|entry| entry.key == kind.key);
    let kinds: Vec<_> = SourceKind::keys().filter(has).collect();
    match kinds[..] {
        [kind] => Some(kind),
        [] => {
            let known: Vec<_> = SourceKind::keys().map(|kind| kind.key).collect();
            // A key that is only misspelt, or called so in other software, is reported as unknown.
            let misspelt = |entry: &Entry| {
                names::nearest(&entry.key, known.iter().copied()).is_some()
                    || misplaced(at, &entry.key).is_some()
            };
            if !entries.iter().any(misspelt) {
                let message = format!(
                    "the source `{}` has no key for where its frames come from",
                    mask::shown(at.name)
                );
                let examples: Vec<_> =
                    SourceKind::keys().map(|kind| format!("`{}`", (kind.fields)()[0].line())).collect();
                reader.problem(at.key, message, format!("add one of these: {}", examples.join(", ")));
            }
            None
        }
        [first, ..] => {
            for entry in entries.iter().filter(|entry| kinds[1..].iter().any(|kind| kind.key == entry.key)) {
                let message =
                    format!("a source has one kind, and this one has `{}` and `{}`", first.key, entry.key);
                reader.problem(entry.key_span, message, "make two sources of it");
            }
            None
        }
    }
}

/// The message and the remedy for an unknown key of a source without a kind, whose value is an address or a path:
/// `url: rtsp://...`.
fn misplaced(at: &Setting<'_>, key: &str) -> Option<(String, String)> {
    let Typed::Mapping(entries) = &at.node.value else { return None };
    let known = SourceKind::keys().flat_map(|kind| (kind.fields)()).chain(specs(FIELDS));
    if known.map(|spec| spec.key).any(|known| known == key) {
        return None;
    }
    let Typed::Text(value) = &entries.iter().find(|entry| entry.key == key)?.value.value else { return None };
    let scheme = value.split_once("://").map_or("", |(scheme, _)| scheme);
    let is_picture =
        value.split('?').next().is_some_and(|path| path.ends_with(".jpg") || path.ends_with(".jpeg"));
    let kind = match scheme {
        "rtsp" | "rtsps" => "rtsp",
        "http" | "https" if is_picture || ["still_image_url", "snapshot_url", "snapshot"].contains(&key) => {
            "http"
        }
        "http" | "https" | "rtmp" | "rtmps" | "srt" | "udp" | "tcp" => "video",
        "" if value.starts_with("/dev/video") => "video",
        "" if value.starts_with(['/', '.', '~']) => "folder",
        _ => return None,
    };
    let message = format!("unknown key `{}`", mask::shown_entry(key));
    Some((message, format!("here it is `{kind}`: write `{kind}: {}`", mask::shown(value))))
}

/// The message and the remedy for a key of another kind.
fn foreign_key(kind: &KindKey, key: &str) -> Option<(String, String)> {
    let is_known = SourceKind::keys().flat_map(|kind| (kind.fields)()).any(|spec| spec.key == key);
    is_known.then(|| {
        let hint = (kind.foreign)(key).map(str::to_owned);
        let own: Vec<_> = [(kind.fields)(), specs(FIELDS)].concat().iter().map(|spec| spec.key).collect();
        (
            format!("`{key}` is not a key of a source of the kind `{}`", kind.key),
            hint.unwrap_or_else(|| format!("remove it; this kind has {}", names::list(&own[1..], "and"))),
        )
    })
}

/// Reads `true`, `false`, or `{ over: 10m }`.
fn baseline(reader: &mut Reader<'_>, at: &Setting<'_>) -> Option<Option<Duration>> {
    let section = match &at.node.value {
        Typed::Mapping(_) => reader.section(at, &BASELINE)?,
        Typed::Text(text) if value::duration(text).is_ok() => {
            reader.wrong(at, format!("did you mean `baseline: {{ over: {} }}`?", mask::shown(text)));
            return None;
        }
        _ if reader.switch(at)? => Section::empty(&BASELINE),
        _ => return Some(None),
    };
    section.read(reader, "over", Reader::duration).map(Some)
}

fn regions(reader: &mut Reader<'_>, at: &Setting<'_>) -> Vec<Region> {
    const EXAMPLE: &str = "name each part of the frame: `regions: { step: [0.2, 0.5, 0.6, 0.5] }`";
    reader.named(at, EXAMPLE).iter().filter_map(|at| region(reader, at)).collect()
}

/// Reads `2x2`, columns and rows, and adds regions of the same size, named by row and column.
fn grid(reader: &mut Reader<'_>, at: &Setting<'_>, regions: &mut Vec<Region>) {
    const MOST: u32 = 8;
    let size = reader.parsed(at, |text| {
        let number = |text: &str| text.parse().ok().filter(|number| (1..=MOST).contains(number));
        let size = text.split_once('x').and_then(|(columns, rows)| Some((number(columns)?, number(rows)?)));
        match size {
            Some((1, 1)) => Err("remove it: 1x1 is the whole frame".to_owned()),
            Some(size) => Ok(size),
            None => Err(format!("write for example 3x2, at most {MOST}x{MOST}")),
        }
    });
    let Some((columns, rows)) = size else { return };
    let (width, height) = (1.0 / f64::from(columns), 1.0 / f64::from(rows));
    for (row, column) in (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column))) {
        let name = format!("r{}c{}", row + 1, column + 1);
        if regions.iter().any(|region| region.name == name) {
            let message = format!("the grid has a region `{name}`, and there is another one with this name");
            reader.problem(at.key, message, "rename the other region");
            return;
        }
        let (x, y) = (f64::from(column) * width, f64::from(row) * height);
        regions.push(Region { name, x, y, width: width.min(1.0 - x), height: height.min(1.0 - y) });
    }
}

/// The grid whose cells are among the regions: `3x2`.
fn grid_shown(regions: &[Region]) -> Option<String> {
    let cell = |region: &Region| {
        let (row, column) = region.name.strip_prefix('r')?.split_once('c')?;
        Some((row.parse::<usize>().ok()?, column.parse::<usize>().ok()?))
    };
    let cells: Vec<_> = regions.iter().filter_map(cell).collect();
    let (rows, columns) = (cells.iter().map(|cell| cell.0).max()?, cells.iter().map(|cell| cell.1).max()?);
    (cells.len() > 1 && rows.checked_mul(columns) == Some(cells.len())).then(|| format!("{columns}x{rows}"))
}

/// Reads `[x, y, width, height]`, in fractions of the frame.
fn region(reader: &mut Reader<'_>, at: &Setting<'_>) -> Option<Region> {
    /// Decimals are not exact: 0.7 + 0.3 may be a little more than 1.
    const EPSILON: f64 = 1e-6;
    let numbers: Option<Vec<f64>> = match &at.node.value {
        Typed::List(items) => items.iter().map(fraction).collect(),
        _ => None,
    };
    let Some(&[x, y, width, height]) = numbers.as_deref() else {
        let message =
            format!("the region `{}` must be a list of x, y, width and height", mask::shown(at.name));
        let remedy = "write four fractions of the frame's width and height: `[0.2, 0.5, 0.6, 0.5]`";
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
        reader.problem(
            at.span(),
            format!("the region `{}` is partly outside the frame", mask::shown(at.name)),
            remedy,
        );
    } else {
        let (width, height) = (width.min(1.0 - x), height.min(1.0 - y));
        return Some(Region { name: at.name.to_owned(), x, y, width, height });
    }
    None
}

fn fraction(node: &Node) -> Option<f64> {
    match &node.value {
        Typed::Text(text) => value::number(text),
        _ => None,
    }
}
