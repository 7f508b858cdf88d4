//! The kind of source that is MQTT topics: `mqtt` and what it takes.
//!
//! It refuses to look whether a broker is there, and whether anything is published to the topics.

use super::{JsonPlaces, MqttSource, broker};
use crate::{
    policy::{NamePattern, TopicFilter},
    yaml::{
        reader::{Reader, Section, Setting},
        tree::Value,
        value,
    },
};

pub(super) const JSON_KEYS: &[&str] = &["picture", "time", "name"];
pub(super) const KEYS: &[&str] =
    &["name", "json", "retained", "share", "max_packet", "max_sources", "broker"];

/// Room for the snapshot of any camera.
const MAX_PACKET: u32 = 8 << 20;
/// What MQTT itself allows.
const LARGEST_PACKET: u32 = 268_435_455;
const MAX_SOURCES: u64 = 64;
const EXAMPLE: &str = "mqtt: frigate/+/person/snapshot";

pub(super) fn read(reader: &mut Reader<'_>, at: &Setting<'_>, section: &Section<'_>) -> Option<MqttSource> {
    let filters = filters(reader, at);
    let json = section.get("json").map(|at| json(reader, &at));
    let name = section.get("name").map(|at| {
        let pattern = reader.parsed(&at, "a name with a place such as `frigate-{1}`", NamePattern::parse);
        pattern.filter(|pattern| suits(reader, &at, pattern, filters.as_deref(), json.as_ref()))
    });
    let truths = [("true", true), ("false", false)];
    let retained = section.get("retained").map_or(Some(false), |at| reader.word(&at, &truths));
    let share = section.get("share").map(|at| reader.parsed(&at, "the name of a group", share));
    if let (Some(at), Some(true), Some(_)) = (section.get("retained"), retained, &share) {
        let remedy = "a broker gives retained messages to no shared subscription: remove one of the two";
        reader.problem(at.key, "`retained` does not go with `share`", remedy);
    }
    let max_packet = section.get("max_packet").map_or(Some(MAX_PACKET), |at| packet(reader, &at));
    let max_sources = section.get("max_sources").map_or(Some(MAX_SOURCES), |at| {
        reader.parsed(&at, "a whole number from 1 to 1000", |text| {
            let known = value::whole(text).filter(|number| (1..=1000).contains(number));
            known.ok_or_else(|| "each is a source of its own, with its topics and its triggers".to_owned())
        })
    });
    let broker = section.get("broker").map(|at| broker::read(reader, &at));

    let json = json.map_or(Some(None), |json| json.map(Some))?;
    let by_json = || json.as_ref().and_then(|json| json.name.as_ref()).map(|_| NamePattern::of_json());
    Some(MqttSource {
        filters: filters?,
        name: name.map_or_else(|| Some(by_json()), |name| name.map(Some))?,
        json,
        retained: retained?,
        share: share.map_or(Some(None), |share| share.map(Some))?,
        max_packet: max_packet?,
        max_sources: usize::try_from(max_sources?).unwrap_or(usize::MAX),
        broker: broker.map_or(Some(None), |broker| broker.map(Some))?,
    })
}

/// One filter, or a list of them.
fn filters(reader: &mut Reader<'_>, at: &Setting<'_>) -> Option<Vec<TopicFilter>> {
    const EXPECTED: &str = "a topic, perhaps with `+` or `#`";
    match &at.node.value {
        Value::List(items) if !items.is_empty() => {
            let items = reader.items(at, items);
            let filters: Vec<_> =
                items.iter().map(|item| reader.parsed(item, EXPECTED, TopicFilter::parse)).collect();
            filters.into_iter().collect()
        }
        Value::List(_) => {
            reader.problem(at.span(), "`mqtt` is empty", format!("name a topic: `{EXAMPLE}`"));
            None
        }
        _ => reader.parsed(at, EXPECTED, TopicFilter::parse).map(|filter| vec![filter]),
    }
}

/// Whether every place of the pattern can stand for something.
fn suits(
    reader: &mut Reader<'_>,
    at: &Setting<'_>,
    pattern: &NamePattern,
    filters: Option<&[TopicFilter]>,
    json: Option<&Option<JsonPlaces>>,
) -> bool {
    let asked = pattern.wildcards();
    let poor = filters.into_iter().flatten().find(|filter| filter.wildcards() < asked);
    if let Some(filter) = poor {
        let message = format!(
            "`name` asks for `{{{asked}}}`, and `{}` has fewer wildcards",
            crate::yaml::mask::shown(filter.as_str())
        );
        reader.problem(at.span(), message, "`{1}` is what the first `+` or `#` of the topic stands for");
    }
    // Where `json` itself is wrong, that is said already.
    let nameless = match json {
        None => true,
        Some(json) => json.as_ref().is_some_and(|json| json.name.is_none()),
    };
    let nameless = nameless && pattern.asks_json();
    if nameless {
        let remedy = "say where it stands in the payload: `json: { picture: /image, name: /camera }`";
        reader.problem(at.span(), "`name` asks for `{name}`, and nothing says where that is", remedy);
    }
    poor.is_none() && !nameless
}

/// `/image`, or a mapping of places.
fn json(reader: &mut Reader<'_>, at: &Setting<'_>) -> Option<JsonPlaces> {
    const EXAMPLE: &str = "say where the picture stands: `json: { picture: /image, time: /time }`";
    let mut pointer = |at: &Setting<'_>| reader.parsed(at, "a JSON pointer like `/image`", pointer);
    if matches!(at.node.value, Value::Text(_)) {
        return Some(JsonPlaces { picture: pointer(at)?, time: None, name: None });
    }
    let section = reader.section(at, JSON_KEYS, EXAMPLE)?;
    let mut optional = |key| match section.get(key) {
        Some(at) => reader.parsed(&at, "a JSON pointer like `/image`", self::pointer).map(Some),
        None => Some(None),
    };
    let (time, name, picture) = (optional("time"), optional("name"), optional("picture"));
    if section.lacks("picture") {
        reader.problem(at.key, "`json` has no `picture`", EXAMPLE);
    }
    Some(JsonPlaces { picture: picture??, time: time?, name: name? })
}

/// RFC 6901.
fn pointer(text: &str) -> Result<String, String> {
    if !text.starts_with('/') {
        return Err(format!("each step begins with `/`: did you mean `/{}`?", text.replace('.', "/")));
    }
    let mut escapes = text.split('~').skip(1);
    if escapes.any(|rest| !rest.starts_with(['0', '1'])) {
        return Err("in a JSON pointer `~` is written `~0`, and a `/` within a key `~1`".to_owned());
    }
    Ok(text.to_owned())
}

fn share(text: &str) -> Result<String, String> {
    if text.contains(['/', '+', '#']) || text.chars().any(char::is_control) || text.len() > 200 {
        return Err(
            "one word without `/`, `+` and `#`, the same on every machine that takes its part".to_owned()
        );
    }
    Ok(text.to_owned())
}

/// `8MB`, `512KB`, or bytes.
fn packet(reader: &mut Reader<'_>, at: &Setting<'_>) -> Option<u32> {
    reader.parsed(at, "a size such as `8MB`", |text| {
        let units = [("KB", 1_000), ("MB", 1_000_000), ("KiB", 1 << 10), ("MiB", 1 << 20), ("", 1)];
        let bytes = units.iter().find_map(|(unit, factor)| {
            value::whole(text.strip_suffix(unit)?.trim_end())?.checked_mul(*factor)
        });
        let bytes = bytes.and_then(|bytes| u32::try_from(bytes).ok());
        bytes.filter(|bytes| (1024..=LARGEST_PACKET).contains(bytes)).ok_or_else(|| {
            "write a whole number with a unit, KB or MB; at least 1024 bytes, at most 256 MiB".to_owned()
        })
    })
}
