//! The settings of a source by its kind, and the table of how the configuration reads and explains each kind.
//!
//! A new kind is a folder with its code and its `settings.rs`, a variant of [`SourceKind`] and a row in `KINDS`.

use serde_json::{Map, Value};

use super::{
    camera::Unchanged,
    folder::settings::{self as folder, Folder},
    http::settings::{self as http, Http},
    mqtt::settings::{self as mqtt, MqttSource},
    stream::settings::{self as stream, Input, Stream},
};
use crate::{
    policy::Mqtt,
    yaml::{
        fields::{Spec, explain, specs},
        reader::{Reader, Section, Setting},
    },
};

/// The settings of a source by its kind.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::large_enum_variant, reason = "there are few sources, and they are created once")]
pub enum SourceKind {
    /// Pictures that appear in a folder.
    Folder(Folder),
    /// A camera's stream or a recording.
    Stream(Stream),
    /// A picture that is requested at an interval.
    Http(Http),
    /// Pictures that are published to MQTT topics.
    Mqtt(MqttSource),
}

impl SourceKind {
    /// The host and the port of its TCP connection, if it makes one.
    #[must_use]
    pub fn door(&self) -> Option<(String, u16)> {
        match self {
            Self::Stream(Stream { input: Input::Rtsp(address) | Input::Url(address), .. })
            | Self::Http(Http { address, .. }) => address.door(),
            _ => None,
        }
    }

    /// The key that makes a source one of this kind.
    #[must_use]
    pub fn key(&self) -> &'static str {
        KINDS.iter().find(|kind| (kind.explain)(self).is_some()).map_or("", |kind| kind.key)
    }

    /// Whether a reload waits until the source is watched. Other kinds begin when a server answers.
    #[must_use]
    pub fn begins_at_once(&self) -> bool {
        matches!(self, Self::Folder(_))
    }

    /// Whether the source itself needs the regions, to detect what did not change.
    #[must_use]
    pub fn compares_regions(&self) -> bool {
        let unchanged = match self {
            Self::Stream(stream) => stream.unchanged,
            Self::Http(http) => http.unchanged,
            _ => return false,
        };
        unchanged != Unchanged::Score
    }

    /// Reports settings that the source's broker does not support; `usual` is the broker of the alerts.
    pub(crate) fn check_broker(&self, reader: &mut Reader<'_>, name: &str, usual: Option<&Mqtt>) {
        if let Self::Mqtt(settings) = self {
            mqtt::check_share(reader, name, settings, usual);
        }
    }
}

/// How the configuration reads and explains a kind.
pub(crate) struct KindOfSource {
    /// The key that makes a source one of this kind.
    pub key: &'static str,
    /// Its own keys; `key` is the first.
    pub fields: fn() -> Vec<&'static Spec>,
    /// Reads its settings: the value of `key`, and the section with all keys.
    pub read: fn(&mut Reader<'_>, &Setting<'_>, &Section<'_>) -> Option<SourceKind>,
    /// Its settings for `check --explain`; `None` for those of another kind.
    pub explain: fn(&SourceKind) -> Option<Map<String, Value>>,
    /// The remedy for a key of another kind, where there is a better one than to remove it.
    pub foreign: fn(&str) -> Option<&'static str>,
}

/// All kinds, in the order in which they are documented.
pub(crate) const KINDS: &[KindOfSource] = &[
    KindOfSource {
        key: "folder",
        fields: || specs(folder::FIELDS),
        read: |reader, at, section| folder::read(reader, at, section).map(SourceKind::Folder),
        explain: |kind| match kind {
            SourceKind::Folder(folder) => Some(explain(folder::FIELDS, folder)),
            _ => None,
        },
        foreign: |key| {
            let remedy = "remove it, because every picture in a folder is scored; `poll:` checks the folder at an interval";
            (key == "every").then_some(remedy)
        },
    },
    KindOfSource {
        key: "rtsp",
        fields: stream::rtsp_fields,
        read: |reader, at, section| stream::rtsp(reader, at, section).map(SourceKind::Stream),
        explain: |kind| match kind {
            SourceKind::Stream(stream) if matches!(stream.input, Input::Rtsp(_)) => Some(stream.explain()),
            _ => None,
        },
        foreign: |_| None,
    },
    KindOfSource {
        key: "video",
        fields: stream::video_fields,
        read: |reader, at, section| stream::video(reader, at, section).map(SourceKind::Stream),
        explain: |kind| match kind {
            SourceKind::Stream(stream) if !matches!(stream.input, Input::Rtsp(_)) => Some(stream.explain()),
            _ => None,
        },
        foreign: |_| None,
    },
    KindOfSource {
        key: "http",
        fields: || specs(http::FIELDS),
        read: |reader, at, section| http::read(reader, at, section).map(SourceKind::Http),
        explain: |kind| match kind {
            SourceKind::Http(http) => Some(explain(http::FIELDS, http)),
            _ => None,
        },
        foreign: |_| None,
    },
    KindOfSource {
        key: "mqtt",
        fields: || specs(mqtt::FIELDS),
        read: |reader, at, section| mqtt::read(reader, at, section).map(SourceKind::Mqtt),
        explain: |kind| match kind {
            SourceKind::Mqtt(mqtt) => Some(explain(mqtt::FIELDS, mqtt)),
            _ => None,
        },
        foreign: |_| None,
    },
];
