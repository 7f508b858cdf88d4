//! What the service remembers of the past, and for how long: the section `history`.

use std::time::Duration;

use serde_json::{Value, json};

use crate::yaml::{
    fields::{Field, Form, ON_OFF, Table, explain, specs, word_of, words},
    reader::{Reader, Section, Setting},
    value::duration_text,
};

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
const MB: u64 = 1_000_000;
const GB: u64 = 1_000_000_000;
const TB: u64 = 1_000_000_000_000;

/// What the history holds, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HistorySettings {
    /// The age at which an entry is deleted.
    pub keep: Duration,
    /// The most bytes on disk. When there are more, the oldest entries are deleted.
    pub max_size: u64,
    /// Which frames are kept as small pictures.
    pub pictures: HistoryPictures,
    /// Whether embeddings of frames and regions are kept, so that frames can be found again by words.
    pub search: bool,
    /// Whether near misses are kept.
    pub near_misses: bool,
}

/// The frames that are kept as small pictures.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum HistoryPictures {
    /// Frames with an alert or a near miss.
    #[default]
    Alerts,
    /// These, and frames that differ from the frame before.
    Changes,
    /// None.
    Off,
}

impl HistoryPictures {
    const WORDS: [(&str, Self); 3] =
        [("alerts", Self::Alerts), ("changes", Self::Changes), ("off", Self::Off)];

    /// The word for it in the configuration.
    #[must_use]
    pub fn word(self) -> &'static str {
        word_of(&Self::WORDS, &self)
    }
}

impl Default for HistorySettings {
    fn default() -> Self {
        Self {
            keep: 30 * DAY,
            max_size: 2 * GB,
            pictures: HistoryPictures::default(),
            search: false,
            near_misses: true,
        }
    }
}

/// The keys of `history`.
const FIELDS: &[Field<HistorySettings>] = &[
    Field::new(
        "keep",
        Form::Duration(HOUR, Duration::from_secs(365 * 86_400)),
        "Older entries are deleted. People's marks are kept.",
        |it: &HistorySettings| Some(json!(duration_text(it.keep))),
    )
    .default("30d"),
    Field::new(
        "max_size",
        Form::Size(10 * MB, TB),
        "The most bytes on disk. The oldest entries are deleted first, which is counted.",
        |it: &HistorySettings| Some(json!(it.max_size)),
    )
    .default("2GB"),
    Field::new(
        "pictures",
        Form::Words(&words(&HistoryPictures::WORDS)),
        "The frames that are kept as small pictures (the longer side has 320 pixels). alerts: those with an alert or a near miss; changes: \
         also those that differ from the frame before; off: none.",
        |it: &HistorySettings| Some(json!(it.pictures.word())),
    )
    .default("alerts"),
    Field::new(
        "search",
        Form::Switch,
        "true: keep the embeddings of frames and regions, so that `stakeout search` finds frames by words or by a picture. Off by default, \
         because anyone who can read them can search what the cameras saw.",
        |it: &HistorySettings| Some(json!(it.search)),
    )
    .default("false"),
    Field::new(
        "near_misses",
        Form::Switch,
        "Keep the moments that nearly raised a label, with what held the label back.",
        |it: &HistorySettings| Some(json!(it.near_misses)),
    )
    .default("true"),
];
const TABLE: Table = Table { title: "history", fields: || specs(FIELDS) };
/// `on`, `off`, or the settings.
pub(crate) const FORM: Form = Form::Either(&[Form::Words(&words(&ON_OFF)), Form::Mapping(&TABLE)]);

/// Reads `on`, `off`, or a mapping, which means `on`. The inner `None` is `off`.
pub(crate) fn read(reader: &mut Reader<'_>, at: &Setting<'_>) -> Option<Option<HistorySettings>> {
    if !at.is_mapping() && !reader.word(at, &ON_OFF)? {
        return Some(None);
    }
    let section = if at.is_mapping() { reader.section(at, &TABLE)? } else { Section::empty(&TABLE) };
    let keep = section.read(reader, "keep", Reader::duration);
    let max_size = section.read(reader, "max_size", Reader::size);
    let pictures = section.read(reader, "pictures", |reader, at| reader.word(at, &HistoryPictures::WORDS));
    let search = section.read(reader, "search", Reader::switch);
    let near_misses = section.read(reader, "near_misses", Reader::switch);
    Some(Some(HistorySettings {
        keep: keep?,
        max_size: max_size?,
        pictures: pictures?,
        search: search?,
        near_misses: near_misses?,
    }))
}

/// The settings for `check --explain`.
pub(crate) fn shown(history: Option<&HistorySettings>) -> Value {
    history.map_or(json!("off"), |it| explain(FIELDS, it).into())
}
