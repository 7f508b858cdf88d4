//! The settings of an `mqtt` source.
//!
//! Whether the broker can be reached, and whether anything is published to the topics, is not checked.

use serde_json::{Map, Value, json};

use crate::{
    policy::{
        NamePattern, TopicFilter,
        broker::{self, Mqtt, MqttVersion},
    },
    source::kinds::settings::{KindKey, Settings},
    tls::Trust,
    yaml::{
        fields::{Field, Form, Table, explain, specs},
        mask,
        reader::{Reader, Section, Setting},
    },
};

/// An `mqtt` source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MqttSettings {
    /// The topics to subscribe to.
    pub filters: Vec<TopicFilter>,
    /// The names of the sources that the topics become; `None`: one source of all topics.
    pub name: Option<NamePattern>,
    /// The payload is JSON with the picture in it; `None`: the payload is the picture.
    pub json: Option<JsonPlaces>,
    /// Whether retained pictures count.
    pub retained: bool,
    /// The group of machines that share the pictures.
    pub share: Option<String>,
    /// The largest packet, in bytes; the broker does not send larger ones.
    pub max_packet: u32,
    /// The most sources from `name`.
    pub max_sources: usize,
    /// The broker; `None`: that of the alerts.
    pub broker: Option<Mqtt>,
}

/// Places in a JSON payload (RFC 6901).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonPlaces {
    /// The picture, as base64 or a data URL.
    pub picture: String,
    /// The time of the capture.
    pub time: Option<String>,
    /// The name of the source.
    pub name: Option<String>,
}

impl MqttSettings {
    /// Whether several machines share the pictures.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.share.is_some()
    }

    /// The name of the source of a picture at `topic`; `payload_name` is the name in its payload. `None` if topics do not name
    /// sources, or this one has no valid name.
    #[must_use]
    pub fn source_name(&self, topic: &str, payload_name: Option<&str>) -> Option<String> {
        let captured = self.filters.iter().find_map(|filter| filter.captures(topic))?;
        self.name.as_ref()?.name(&captured, payload_name)
    }
}

const TOPIC: Form = Form::like("a topic, with or without `+` and `#`");
const POINTER: Form = Form::like("a JSON pointer such as `/image`");

/// The keys of an mqtt source.
pub(crate) const FIELDS: &[Field<MqttSettings>] = &[
    Field::new(
        "mqtt",
        Form::OneOrMore(&TOPIC),
        "A topic, with or without + and #, or a list of them. The payload is a picture (JPEG, PNG, WebP, ...), its base64, or JSON \
         (see `json`).",
        |it: &MqttSettings| Some(json!(it.filters.iter().map(ToString::to_string).collect::<Vec<_>>())),
    )
    .example("frigate/+/person/snapshot"),
    Field::new(
        "name",
        Form::like("a name with a placeholder such as `frigate-{1}`"),
        "Makes each name a source of its own, which appears with its first picture. {1} is the text of the first + or #, {name} the \
         name in the payload (see `json`).",
        |it: &MqttSettings| Some(json!(it.name.as_ref().map(ToString::to_string))),
    )
    .default_is("one source of all topics")
    .example("frigate-{1}"),
    Field::new(
        "json",
        Form::Either(&[POINTER, Form::Mapping(&JSON)]),
        "The place of the picture in a JSON payload (RFC 6901), or several places.",
        |it: &MqttSettings| Some(json!(it.json.as_ref().map(|json| explain(JSON_FIELDS, json)))),
    )
    .default_is("the payload is the picture")
    .example("/image"),
    Field::new("retained", Form::Switch, "true: retained pictures count, too.", |it: &MqttSettings| Some(json!(it.retained)))
        .default("false"),
    Field::new(
        "share",
        Form::like("the name of a group"),
        "Machines with the same group share the pictures: each picture is scored by one of them.",
        |it: &MqttSettings| Some(json!(it.share)),
    )
    .example("farm"),
    Field::new(
        "max_packet",
        // MQTT allows no larger packet.
        Form::Size(1024, 268_435_455),
        "The largest packet: the broker does not send larger ones.",
        |it: &MqttSettings| Some(json!(it.max_packet)),
    )
    .default("8MiB"),
    Field::new("max_sources", Form::Whole(1, 1000), "The most sources from `name`.", |it: &MqttSettings| Some(json!(it.max_sources)))
        .default("64"),
    Field::new("broker", Form::Mapping(&broker::TABLE), "The broker, with the keys of `mqtt`.", |it: &MqttSettings| {
        Some(json!(it.broker.as_ref().map(|broker| explain(broker::FIELDS, broker))))
    })
    .default_is("the broker of the alerts")
    .example("{ url: mqtt://cameras.lan }"),
];

const JSON_FIELDS: &[Field<JsonPlaces>] = &[
    Field::new("picture", POINTER, "The picture, as base64 or a data URL.", |it: &JsonPlaces| {
        Some(json!(it.picture))
    })
    .required()
    .example("/image"),
    Field::new(
        "time",
        POINTER,
        "The time of the capture: RFC 3339, or seconds or milliseconds since 1970.",
        |it: &JsonPlaces| Some(json!(it.time)),
    )
    .default_is("the time of arrival")
    .example("/time"),
    Field::new(
        "name",
        POINTER,
        "The name for {name}; without `name` in the source it is the whole name.",
        |it: &JsonPlaces| Some(json!(it.name)),
    )
    .example("/camera"),
];
const JSON: Table = Table { title: "sources.NAME.json", fields: || specs(JSON_FIELDS) };

/// The key that names this kind.
pub(crate) const KEYS: &[KindKey] = &[KindKey { key: "mqtt", fields: || specs(FIELDS), foreign: |_| None }];

impl Settings for MqttSettings {
    fn key(&self) -> &'static str {
        "mqtt"
    }

    fn explain(&self) -> Map<String, Value> {
        explain(FIELDS, self)
    }

    fn tls(&self) -> Option<(String, u16, &Trust)> {
        let broker = self.broker.as_ref().filter(|broker| broker.tls)?;
        Some((broker.host.clone(), broker.port, &broker.connection.tls.trust))
    }

    fn sends_readable_secret_to(&self) -> Option<String> {
        let broker = self.broker.as_ref().filter(|broker| broker.sends_a_readable_secret())?;
        Some(broker.url())
    }

    fn secrets(&self) -> Vec<&str> {
        self.broker.iter().flat_map(|broker| broker.secrets()).collect()
    }

    fn remedy(&self) -> &'static str {
        "check that the broker is on, that this machine reaches it, its address, user and password, and that its access rules let \
         this user read the topics"
    }

    fn name_pattern(&self) -> Option<&NamePattern> {
        self.name.as_ref()
    }

    fn subscriptions(&self) -> Vec<String> {
        let path = |filter: &TopicFilter| match &self.share {
            Some(group) => format!("$share/{group}/{filter}"),
            None => filter.to_string(),
        };
        self.filters.iter().map(path).collect()
    }

    fn conflict(&self, usual: Option<&Mqtt>) -> Option<(&'static str, &'static str, &'static str)> {
        let broker = self.broker.as_ref().or(usual)?;
        (self.is_shared() && broker.connection.version == MqttVersion::V311).then_some((
            "share",
            "MQTT 3.1.1 has no `share`",
            "remove it, or write `version: 5` for its broker if the broker supports that",
        ))
    }
}

pub(crate) fn read(reader: &mut Reader<'_>, at: &Setting<'_>, section: &Section<'_>) -> Option<MqttSettings> {
    let filters = reader.list(at, |reader, at| reader.parsed(at, TopicFilter::parse));
    let json = section.optional(reader, "json", json);
    let name = section.optional(reader, "name", |reader, at| {
        let pattern = reader.parsed(at, NamePattern::parse)?;
        suits(reader, at, &pattern, filters.as_deref(), json.as_ref()).then_some(pattern)
    });
    let retained = section.read(reader, "retained", Reader::switch);
    let share = section.optional(reader, "share", |reader, at| reader.parsed(at, share));
    if let (Some(at), Some(true), Some(_)) = (section.get("retained"), retained, section.get("share")) {
        let remedy = "remove one of them: a broker does not send retained messages to shared subscriptions";
        reader.problem(at.key, "`retained` and `share` exclude each other", remedy);
    }
    let max_packet = section.read(reader, "max_packet", Reader::size);
    let max_sources = section.read(reader, "max_sources", Reader::whole);
    let broker = section.optional(reader, "broker", broker::read);
    let json = json?;
    let by_json = || json.as_ref()?.name.as_ref().map(|_| NamePattern::of_json());
    Some(MqttSettings {
        filters: filters?,
        name: name?.or_else(by_json),
        json,
        retained: retained?,
        share: share?,
        max_packet: max_packet?,
        max_sources: max_sources?,
        broker: broker?,
    })
}

/// Whether every placeholder of the pattern has a text.
fn suits(
    reader: &mut Reader<'_>,
    at: &Setting<'_>,
    pattern: &NamePattern,
    filters: Option<&[TopicFilter]>,
    json: Option<&Option<JsonPlaces>>,
) -> bool {
    let used = pattern.wildcards();
    let poor = filters.into_iter().flatten().find(|filter| filter.wildcards() < used);
    if let Some(filter) = poor {
        let message =
            format!("`name` has `{{{used}}}`, but `{}` has fewer wildcards", mask::shown(filter.as_str()));
        reader.problem(at.span(), message, "`{1}` is the text of the first `+` or `#` of the topic");
    }
    // An invalid `json` is reported already.
    let nameless =
        pattern.uses_json() && json.is_some_and(|json| json.as_ref().is_none_or(|json| json.name.is_none()));
    if nameless {
        let remedy = "add its place in the payload: `json: { picture: /image, name: /camera }`";
        reader.problem(
            at.span(),
            "`name` has `{name}`, but the place of the name in the payload is missing",
            remedy,
        );
    }
    poor.is_none() && !nameless
}

/// Reads `/image`, or a mapping of places.
fn json(reader: &mut Reader<'_>, at: &Setting<'_>) -> Option<JsonPlaces> {
    let place = |reader: &mut Reader<'_>, at: &Setting<'_>| reader.parsed(at, pointer);
    if !at.is_mapping() {
        return Some(JsonPlaces { picture: place(reader, at)?, time: None, name: None });
    }
    let section = reader.section(at, &JSON)?;
    let picture = section.read(reader, "picture", place);
    let time = section.optional(reader, "time", place);
    let name = section.optional(reader, "name", place);
    Some(JsonPlaces { picture: picture?, time: time?, name: name? })
}

/// Reads a JSON pointer (RFC 6901).
fn pointer(text: &str) -> Result<String, String> {
    if !text.starts_with('/') {
        return Err(format!("each step starts with `/`: did you mean `/{}`?", text.replace('.', "/")));
    }
    let mut escapes = text.split('~').skip(1);
    if escapes.any(|rest| !rest.starts_with(['0', '1'])) {
        return Err("in a JSON pointer write `~0` for `~`, and `~1` for a `/` within a key".to_owned());
    }
    Ok(text.to_owned())
}

fn share(text: &str) -> Result<String, String> {
    if text.contains(['/', '+', '#']) || text.chars().any(char::is_control) || text.len() > 200 {
        return Err(
            "use one word without `/`, `+` and `#`, the same on every machine of the group".to_owned()
        );
    }
    Ok(text.to_owned())
}
