//! Announces devices to Home Assistant (MQTT device discovery): one for the service and one for each source, with an entity for
//! each topic that is published.
//!
//! Pure: a configuration becomes messages. The publisher sends them, and [`memory`] knows what must be withdrawn.
//!
//! Identifiers do not change while the names stay: a device's identifier consists of the prefix and the source's topic level, and
//! an entity's identifier is its topic. Names that are not ASCII are transliterated in identifiers, as Home Assistant does it. Two
//! services collide if their prefixes differ only in letters that no topic level can have.

pub mod memory;

use serde_json::{Map, Value, json};

use super::{OFFLINE, ONLINE, State, Topics};
use crate::{
    config::{Config, HomeAssistant, Source},
    policy::{Label, LabelSet},
    topic::names::Level,
};

/// The topic of Home Assistant's birth message, whatever the discovery prefix.
pub const BIRTH_TOPIC: &str = "homeassistant/status";
/// The birth message, published when Home Assistant has started.
pub const BIRTH: &str = "online";

/// Turns an alert into an event: the same JSON, with the type that an event must have.
const ALERT_TO_EVENT: &str = "{{ dict(value_json, event_type=value_json.state) | to_json }}";
/// A stalled source is unavailable.
const SOURCE_TO_AVAILABILITY: &str = "{{ 'online' if value == 'online' else 'offline' }}";

/// Every discovery message of a configuration; none if `home_assistant` is not configured.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Announcement {
    devices: Vec<Device>,
}

/// One discovery message.
#[derive(Debug, Clone, PartialEq)]
struct Device {
    topic: String,
    payload: Map<String, Value>,
}

impl Announcement {
    /// The announcement of `config`.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        let Some(settings) = &config.home_assistant else { return Self::default() };
        let (topics, ids) = (Topics::of(config), Topics::identifiers(config));
        let builder = Builder { config, settings, topics, ids };
        let sources = config.sources.iter().map(|source| builder.source(source));
        // The service is first: the others refer to it.
        Self { devices: std::iter::once(builder.service()).chain(sources).collect() }
    }

    /// Whether there is nothing to announce.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.devices.is_empty()
    }

    /// Topics and payloads, in the order in which they are to be sent.
    pub fn messages(&self) -> impl Iterator<Item = (String, String)> {
        self.devices.iter().map(|device| (device.topic.clone(), json!(device.payload).to_string()))
    }
}

struct Builder<'a> {
    config: &'a Config,
    settings: &'a HomeAssistant,
    topics: Topics,
    /// The topics as identifiers.
    ids: Topics,
}

impl Builder<'_> {
    fn service(&self) -> Device {
        let status = json!({
            "p": "binary_sensor",
            "name": "Connection",
            "unique_id": self.ids.status(),
            "default_entity_id": self.entity_id("binary_sensor", "connection"),
            "device_class": "connectivity",
            "entity_category": "diagnostic",
            "state_topic": self.topics.status(),
            "payload_on": ONLINE,
            "payload_off": OFFLINE,
        });
        let about = json!({
            "identifiers": [self.device_id(None)],
            "name": self.settings.name,
            "manufacturer": "stakeout",
            "model": "stakeout service",
            "sw_version": env!("CARGO_PKG_VERSION"),
        });
        self.device(None, about, None, Map::from_iter([("status".to_owned(), status)]))
    }

    fn source(&self, source: &Source) -> Device {
        let about = json!({
            "identifiers": [self.device_id(Some(&source.name))],
            "name": source.name,
            "manufacturer": "stakeout",
            "model": "stakeout source",
            "via_device": self.device_id(None),
        });
        let availability = json!([
            { "topic": self.topics.status() },
            { "topic": self.topics.source_status(&source.name), "value_template": SOURCE_TO_AVAILABILITY },
        ]);
        let mut components = Map::from_iter([
            ("status".to_owned(), self.source_status(&source.name)),
            ("frame_rate".to_owned(), self.frame_rate(&source.name)),
            ("last_frame".to_owned(), self.last_frame(&source.name)),
            ("snapshot".to_owned(), self.snapshot(&source.name)),
        ]);
        for (_, label_set) in self.config.watches().filter(|(watcher, _)| watcher.name == source.name) {
            for label in label_set.alerting() {
                components.extend(Watched { builder: self, source, label_set, label }.components());
            }
        }
        self.device(Some(&source.name), about, Some(availability), components)
    }

    fn device(
        &self,
        source: Option<&str>,
        about: Value,
        availability: Option<Value>,
        components: Map<String, Value>,
    ) -> Device {
        let topic = format!("{}/device/{}/config", self.settings.discovery_prefix, self.device_id(source));
        let origin = json!({
            "name": "stakeout",
            "sw_version": env!("CARGO_PKG_VERSION"),
            "support_url": env!("CARGO_PKG_REPOSITORY"),
        });
        let mut payload = Map::from_iter([("dev".to_owned(), about), ("o".to_owned(), origin)]);
        if let Some(availability) = availability {
            payload.insert("availability".to_owned(), availability);
            payload.insert("availability_mode".to_owned(), json!("all"));
        }
        payload.insert("cmps".to_owned(), Value::Object(components));
        Device { topic, payload }
    }

    /// Shows why the other entities are unavailable, so it is available without its source.
    fn source_status(&self, source: &str) -> Value {
        json!({
            "p": "sensor",
            "name": "Status",
            "unique_id": self.ids.source_status(source),
            "default_entity_id": self.source_entity_id("sensor", source, "status"),
            "device_class": "enum",
            "options": [ONLINE, OFFLINE, "stalled"],
            "entity_category": "diagnostic",
            "state_topic": self.topics.source_status(source),
            "availability": [{ "topic": self.topics.status() }],
        })
    }

    fn frame_rate(&self, source: &str) -> Value {
        let topic = self.topics.source_stats(source);
        json!({
            "p": "sensor",
            "name": "Frame rate",
            "unique_id": format!("{}/per_second", self.ids.source_stats(source)),
            "default_entity_id": self.source_entity_id("sensor", source, "frame_rate"),
            "unit_of_measurement": "fps",
            "state_class": "measurement",
            "suggested_display_precision": 1,
            "entity_category": "diagnostic",
            "state_topic": topic,
            "value_template": "{{ value_json.per_second }}",
        })
    }

    /// Of interest above all while the source is offline, so it is available without its source.
    fn last_frame(&self, source: &str) -> Value {
        let topic = self.topics.source_stats(source);
        json!({
            "p": "sensor",
            "name": "Last frame",
            "unique_id": format!("{}/last_frame", self.ids.source_stats(source)),
            "default_entity_id": self.source_entity_id("sensor", source, "last_frame"),
            "device_class": "timestamp",
            "entity_category": "diagnostic",
            "state_topic": topic,
            "value_template": "{{ value_json.last_frame }}",
            "availability": [{ "topic": self.topics.status() }],
        })
    }

    fn snapshot(&self, source: &str) -> Value {
        json!({
            "p": "image",
            "name": "Snapshot",
            "unique_id": self.ids.snapshot(source),
            "default_entity_id": self.source_entity_id("image", source, "snapshot"),
            "image_topic": self.topics.snapshot(source),
            "content_type": "image/jpeg",
        })
    }

    /// Made of letters that Home Assistant accepts in a topic. A topic level never has two `_` in a row.
    fn device_id(&self, source: Option<&str>) -> String {
        let service = Level::alone(&self.config.mqtt.prefix).id;
        source.map_or(service.clone(), |source| format!("{service}__{}", self.ids.source(source)))
    }

    /// Only a proposal: people rename their entities.
    fn entity_id(&self, platform: &str, levels: &str) -> String {
        let levels = format!("{}/{levels}", Level::alone(&self.config.mqtt.prefix).id);
        // Home Assistant accepts `_` only between letters.
        let words: Vec<_> = levels.split(['_', '-', '/']).filter(|word| !word.is_empty()).collect();
        format!("{platform}.{}", words.join("_"))
    }

    fn source_entity_id(&self, platform: &str, source: &str, what: &str) -> String {
        self.entity_id(platform, &format!("{}/{what}", self.ids.source(source)))
    }
}

/// A label on a source, or a rule over labels.
struct Watched<'a> {
    builder: &'a Builder<'a>,
    source: &'a Source,
    label_set: &'a LabelSet,
    label: &'a Label,
}

impl Watched<'_> {
    /// Keyed by their topics below the source's, which are unique.
    fn components(&self) -> Vec<(String, Value)> {
        let mut components =
            vec![self.component("state", self.state()), self.component("alert", self.alert())];
        // A rule over labels has no score.
        if self.source.scores && self.label_set.labels.iter().any(|label| label.name == self.label.name) {
            components.push(self.component("score", self.score()));
        }
        components
    }

    fn component(&self, what: &str, mut component: Value) -> (String, Value) {
        if let Some(icon) = &self.label.look.icon {
            component["icon"] = json!(icon);
        }
        let levels = self.builder.ids.label_of_set(&self.label_set.name, &self.label.name);
        (format!("{levels}/{what}"), component)
    }

    fn state(&self) -> Value {
        let of = |topics: &Topics| topics.state(&self.source.name, &self.label_set.name, &self.label.name);
        let mut state = json!({
            "p": "binary_sensor",
            "name": self.name(),
            "unique_id": of(&self.builder.ids),
            "default_entity_id": self.entity_id("binary_sensor", None),
            "state_topic": of(&self.builder.topics),
            "payload_on": State::Raised.switch(),
            "payload_off": State::Cleared.switch(),
        });
        if let Some(class) = self.label.look.device_class {
            state["device_class"] = json!(class);
        }
        state
    }

    fn alert(&self) -> Value {
        let of = |topics: &Topics| topics.alert(&self.source.name, &self.label_set.name, &self.label.name);
        json!({
            "p": "event",
            "name": format!("{} alert", self.name()),
            "unique_id": of(&self.builder.ids),
            "default_entity_id": self.entity_id("event", Some("alert")),
            "state_topic": of(&self.builder.topics),
            "event_types": [State::Raised.word(), State::Cleared.word()],
            "value_template": ALERT_TO_EVENT,
        })
    }

    fn score(&self) -> Value {
        let of = |topics: &Topics| topics.scores(&self.source.name, &self.label_set.name);
        // All labels of the set share one topic, which alone would not be unique.
        let ids = &self.builder.ids;
        let unique_id = format!("{}/{}", of(ids), ids.label_level(&self.label_set.name, &self.label.name));
        json!({
            "p": "sensor",
            "name": format!("{} score", self.name()),
            "unique_id": unique_id,
            "default_entity_id": self.entity_id("sensor", Some("score")),
            "entity_category": "diagnostic",
            "state_class": "measurement",
            "suggested_display_precision": 2,
            "state_topic": of(&self.builder.topics),
            // A text in a template is quoted and escaped as in JSON.
            "value_template": format!("{{{{ value_json.scores[{}] }}}}", json!(self.label.name)),
        })
    }

    /// The configured name; otherwise the label's, with its label set if the source has another label of this name.
    fn name(&self) -> String {
        if let Some(name) = &self.label.look.name {
            return name.clone();
        }
        let namesakes = self.builder.config.watches().filter(|(watcher, label_set)| {
            watcher.name == self.source.name
                && label_set.alerting().any(|label| label.name == self.label.name)
        });
        match namesakes.count() {
            0 | 1 => self.label.name.clone(),
            _ => format!("{} {}", self.label_set.name, self.label.name),
        }
    }

    fn entity_id(&self, platform: &str, what: Option<&str>) -> String {
        let ids = &self.builder.ids;
        let label = ids.label_of_set(&self.label_set.name, &self.label.name);
        let levels = format!("{}/{label}/{}", ids.source(&self.source.name), what.unwrap_or_default());
        self.builder.entity_id(platform, &levels)
    }
}

#[cfg(test)]
mod tests;
