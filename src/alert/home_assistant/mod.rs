//! Announces devices to Home Assistant (MQTT device discovery): one for the service and one for each source, with an entity for
//! each topic that is published.
//!
//! Pure: a configuration becomes messages. The publisher sends them, and [`memory`] knows what must be withdrawn.
//!
//! Identifiers do not change while the names stay: a device's identifier consists of the prefix and the source's topic level, and
//! an entity's identifier is its topic. Names that are not ASCII are transliterated in identifiers, as Home Assistant does it. Two
//! services collide if their prefixes differ only in letters that no topic level can have.

mod controls;
pub mod memory;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use serde_json::{Map, Value, json};

use self::controls::Entity;
use super::{OFFLINE, ONLINE, State, Topics};
use crate::{
    config::{Address, Config, DEVICE_CLASS, HomeAssistant, Source},
    policy::{Label, LabelSet, SettingKind, Target},
    topic::names::Level,
};

/// The topic of Home Assistant's birth message, whatever the discovery prefix.
pub const BIRTH_TOPIC: &str = "homeassistant/status";
/// The birth message, published when Home Assistant has started or has connected again.
pub const BIRTH: &str = "online";
/// Home Assistant's last will, on the same topic.
pub const LAST_WILL: &str = "offline";

/// Turns an alert into an event: the same JSON, with the type that an event must have.
const ALERT_TO_EVENT: &str = "{{ dict(value_json, event_type=value_json.state) | to_json }}";
/// Without heartbeats for this number of intervals, the service counts as out of reach.
const MISSED_HEARTBEATS: u64 = 3;
/// Whether there is a problem, from the status of the outbox.
const STORAGE_TO_PROBLEM: &str =
    "{{ 'OFF' if value_json.state == 'ok' and value_json.state_files is not defined else 'ON' }}";
/// Alerts whose texts have fewer bytes are events as they are. Home Assistant stores no attributes of more than 16,384 bytes.
const SMALL_ALERT: usize = 6_000;
/// An event has the highest scores of a large alert, as many as fit in this number of bytes ...
const SCORES_OF_EVENT: usize = 6_000;
/// ... besides this many characters of every other text.
const TEXT_OF_EVENT: usize = 500;
/// The bytes of a score besides its label's name.
const SCORE: usize = 16;
/// The `problems` of an invalid configuration, cut for the same reason: a character may have four bytes.
const CONFIG_ATTRIBUTES: &str = "{{ {'problems': (value_json.problems | default(''))[:3500], \
    'after_restart': value_json.after_restart | default([])} | to_json }}";
/// An empty message, which is published when the source is well again, has no attributes.
const PROBLEM_ATTRIBUTES: &str = "{{ value if value else '{}' }}";
/// A stalled source is unavailable. One that is switched off is not: its labels are clear.
const SOURCE_TO_AVAILABILITY: &str = "{{ 'online' if value in ['online', 'disabled'] else 'offline' }}";

/// Every discovery message of a configuration; none if `home_assistant` is not configured. A clone shares the messages.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Announcement {
    devices: Vec<Arc<Device>>,
}

/// One discovery message.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Device {
    topic: String,
    payload: Map<String, Value>,
    /// The platforms of its entities, by their keys.
    platforms: Arc<Platforms>,
}

/// The platforms of a device's entities, by their keys.
type Platforms = BTreeMap<String, String>;

/// What differs between two announcements: the alert topics of the devices.
#[derive(Debug, PartialEq, Eq)]
pub struct Difference<'a> {
    /// Of devices that are new or different.
    pub added: Vec<&'a str>,
    /// Of devices that are gone or were different.
    pub removed: Vec<&'a str>,
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
        Self { devices: std::iter::once(builder.service()).chain(sources).map(Arc::new).collect() }
    }

    /// This announcement with `source`, which is one of the sources of `config`, and without the source `gone`.
    #[must_use]
    pub fn with(&self, config: &Config, source: &Source, gone: Option<&str>) -> Self {
        let Some(settings) = &config.home_assistant else { return Self::default() };
        let (topics, ids) = (Topics::of(config), Topics::identifiers(config));
        let builder = Builder { config, settings, topics, ids };
        let (new, gone) = (builder.source(source), gone.map(|gone| builder.topic(Some(gone))));
        let stays = |device: &&Arc<Device>| device.topic != new.topic && gone.as_ref() != Some(&device.topic);
        let mut devices: Vec<_> = self.devices.iter().filter(stays).cloned().collect();
        devices.push(Arc::new(new));
        Self { devices }
    }

    /// What this announcement changes, if `before` was known.
    #[must_use]
    pub fn difference<'a>(&'a self, before: &'a Self) -> Difference<'a> {
        let (old, new) = (before.by_topic(), self.by_topic());
        let changed = |devices: &'a [Arc<Device>], others: &HashMap<&str, &Arc<Device>>| -> Vec<&'a str> {
            let devices = devices.iter().filter(|device| others.get(&*device.topic) != Some(device));
            devices.flat_map(|device| device.alert_topics()).collect()
        };
        Difference { added: changed(&self.devices, &old), removed: changed(&before.devices, &new) }
    }

    fn by_topic(&self) -> HashMap<&str, &Arc<Device>> {
        self.devices.iter().map(|device| (&*device.topic, device)).collect()
    }

    /// Whether there is nothing to announce.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.devices.is_empty()
    }

    /// The topics of all alerts that Home Assistant receives.
    pub fn alert_topics(&self) -> impl Iterator<Item = &str> {
        self.devices.iter().flat_map(|device| device.alert_topics())
    }

    /// The topics of the alerts of one device, by the topic of its discovery message.
    pub fn alert_topics_of<'a>(&'a self, topic: &'a str) -> impl Iterator<Item = &'a str> {
        let devices = self.devices.iter().filter(move |device| device.topic == topic);
        devices.flat_map(|device| device.alert_topics())
    }

    /// Topics and payloads, in the order in which they are to be sent.
    pub fn messages(&self) -> impl Iterator<Item = (String, String)> {
        self.devices.iter().map(|device| device.message())
    }

    /// Those of the messages that `sent` does not have.
    pub fn messages_besides(&self, sent: &Self) -> Vec<(String, String)> {
        let sent = sent.by_topic();
        let devices = self.devices.iter().filter(|device| sent.get(&*device.topic) != Some(device));
        devices.map(|device| device.message()).collect()
    }

    /// Remembers in `self` that the device with this topic is as in `other`, or gone if `other` does not have it.
    pub fn take_over(&mut self, topic: &str, other: &Self) {
        self.devices.retain(|device| device.topic != topic);
        self.devices.extend(other.devices.iter().find(|device| device.topic == topic).cloned());
    }
}

impl Device {
    fn new(topic: String, payload: Map<String, Value>) -> Self {
        let platform = |component: &Value| component["p"].as_str().unwrap_or_default().to_owned();
        let components = payload["cmps"].as_object().into_iter().flatten();
        let platforms = components.map(|(key, component)| (key.clone(), platform(component))).collect();
        Self { topic, payload, platforms: Arc::new(platforms) }
    }

    fn message(&self) -> (String, String) {
        (self.topic.clone(), json!(self.payload).to_string())
    }

    fn alert_topics(&self) -> impl Iterator<Item = &str> {
        let components = self.payload["cmps"].as_object().into_iter().flat_map(Map::values);
        components
            .filter(|component| component["p"] == "event")
            .filter_map(|event| event["state_topic"].as_str())
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
        let mut about = json!({
            "identifiers": [self.device_id(None)],
            "name": self.settings.name,
            "manufacturer": "stakeout",
            "model": "stakeout service",
            "sw_version": env!("CARGO_PKG_VERSION"),
        });
        place(&mut about, self.settings.suggested_area.as_deref(), self.settings.configuration_url.as_ref());
        let (stats, outbox) = (self.topics.stats(), self.topics.outbox_status());
        let mut components = Map::from_iter([
            ("status".to_owned(), self.connection()),
            ("config".to_owned(), self.configuration()),
            ("waiting".to_owned(), self.count(&stats, "alerts.waiting", "Waiting alerts", "measurement")),
            ("dropped".to_owned(), self.count(&outbox, "dropped", "Dropped alerts", "total_increasing")),
            ("storage".to_owned(), self.storage()),
            ("model".to_owned(), self.model()),
        ]);
        if let Some(every) = self.config.mqtt.connection.heartbeat {
            components.insert("heartbeat".to_owned(), self.heartbeat(every));
        }
        self.device(None, about, None, components)
    }

    fn connection(&self) -> Value {
        json!({
            "p": "binary_sensor",
            "name": "Connection",
            "unique_id": self.ids.status(),
            "default_entity_id": self.entity_id("binary_sensor", "connection"),
            "device_class": "connectivity",
            "entity_category": "diagnostic",
            "state_topic": self.topics.status(),
            "payload_on": ONLINE,
            "payload_off": OFFLINE,
        })
    }

    /// A problem while the configuration on disk is invalid.
    fn configuration(&self) -> Value {
        let topic = self.topics.config_status();
        json!({
            "p": "binary_sensor",
            "name": "Configuration",
            "unique_id": topic,
            "default_entity_id": self.entity_id("binary_sensor", "configuration"),
            "device_class": "problem",
            "entity_category": "diagnostic",
            "state_topic": topic,
            "value_template": "{{ 'ON' if value_json.state == 'invalid' else 'OFF' }}",
            "json_attributes_topic": topic,
            "json_attributes_template": CONFIG_ATTRIBUTES,
            "availability": self.of_service(),
        })
    }

    /// A problem while alerts or other state cannot be kept on disk.
    fn storage(&self) -> Value {
        let topic = self.topics.outbox_status();
        json!({
            "p": "binary_sensor",
            "name": "Storage",
            "unique_id": topic,
            "default_entity_id": self.entity_id("binary_sensor", "storage"),
            "device_class": "problem",
            "entity_category": "diagnostic",
            "state_topic": topic,
            "value_template": STORAGE_TO_PROBLEM,
            "json_attributes_topic": self.topics.service_problem(),
            "json_attributes_template": PROBLEM_ATTRIBUTES,
            "availability": self.of_service(),
        })
    }

    /// A problem while the device that should run the model does not compute right.
    fn model(&self) -> Value {
        let topic = self.topics.model();
        json!({
            "p": "binary_sensor",
            "name": "Model",
            "unique_id": topic,
            "default_entity_id": self.entity_id("binary_sensor", "model"),
            "device_class": "problem",
            "entity_category": "diagnostic",
            "state_topic": topic,
            "value_template": "{{ 'OFF' if value_json.state == 'ok' else 'ON' }}",
            "json_attributes_topic": topic,
            "json_attributes_template": PROBLEM_ATTRIBUTES,
            "availability": self.of_service(),
        })
    }

    /// The newest heartbeat. It becomes unavailable when heartbeats stop, whichever part of the way is broken.
    fn heartbeat(&self, every: Duration) -> Value {
        let topic = self.topics.heartbeat();
        json!({
            "p": "sensor",
            "name": "Heartbeat",
            "unique_id": topic,
            "default_entity_id": self.entity_id("sensor", "heartbeat"),
            "device_class": "timestamp",
            "entity_category": "diagnostic",
            "state_topic": topic,
            "value_template": "{{ value_json.time }}",
            "expire_after": every.as_secs() * MISSED_HEARTBEATS,
            "availability": self.of_service(),
        })
    }

    /// A number of alerts: the value at `path` in the JSON of `topic`.
    fn count(&self, topic: &str, path: &str, name: &str, state_class: &str) -> Value {
        json!({
            "p": "sensor",
            "name": name,
            "unique_id": format!("{topic}/{}", path.replace('.', "/")),
            "default_entity_id": self.entity_id("sensor", &name.to_lowercase().replace(' ', "_")),
            "unit_of_measurement": "alerts",
            "state_class": state_class,
            "entity_category": "diagnostic",
            "state_topic": topic,
            "value_template": format!("{{{{ value_json.{path} }}}}"),
            "availability": self.of_service(),
        })
    }

    /// The availability of entities that do not depend on their source.
    fn of_service(&self) -> Value {
        json!([{ "topic": self.topics.status() }])
    }

    fn source(&self, source: &Source) -> Device {
        let mut about = json!({
            "identifiers": [self.device_id(Some(&source.name))],
            "name": source.look.name.as_deref().unwrap_or(&source.name),
            "manufacturer": "stakeout",
            "model": "stakeout source",
            "via_device": self.device_id(None),
        });
        place(&mut about, source.look.suggested_area.as_deref(), source.look.configuration_url.as_ref());
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
        if self.config.mqtt.commands {
            components
                .extend(self.source_controls(&source.name, source.kind.settings().name_pattern().is_some()));
        }
        for label_set in self.config.watched_by(source) {
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
        // Of every subscription: an alert must not be lost on its last way.
        payload.insert("qos".to_owned(), json!(1));
        payload.insert("cmps".to_owned(), Value::Object(components));
        Device::new(self.topic(source), payload)
    }

    /// The topic of the message of a source, or of the service.
    fn topic(&self, source: Option<&str>) -> String {
        format!("{}/device/{}/config", self.settings.discovery_prefix, self.device_id(source))
    }

    /// Shows that the source is unavailable, and why, so it is available without its source.
    fn source_status(&self, source: &str) -> Value {
        json!({
            "p": "sensor",
            "name": "Status",
            "unique_id": self.ids.source_status(source),
            "default_entity_id": self.source_entity_id("sensor", source, "status"),
            "device_class": "enum",
            "options": [ONLINE, OFFLINE, "stalled", "disabled"],
            "entity_category": "diagnostic",
            "state_topic": self.topics.source_status(source),
            "json_attributes_topic": self.topics.source_problem(source),
            "json_attributes_template": PROBLEM_ATTRIBUTES,
            "availability": self.of_service(),
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
            "availability": self.of_service(),
        })
    }

    /// The last picture stays while its source is offline.
    fn snapshot(&self, source: &str) -> Value {
        json!({
            "p": "image",
            "name": "Snapshot",
            "unique_id": self.ids.snapshot(source),
            "default_entity_id": self.source_entity_id("image", source, "snapshot"),
            "image_topic": self.topics.snapshot(source),
            "content_type": "image/jpeg",
            "availability": self.of_service(),
        })
    }

    /// What is set for a source. One that topics have named cannot be switched off alone.
    fn source_controls(&self, source: &str, is_dynamic: bool) -> Vec<(String, Value)> {
        let target = Target::source(source);
        let control = |kind: SettingKind, platform: &str, name: &str| Entity {
            name: name.to_owned(),
            unique_id: self.ids.setting(&target, kind),
            entity_id: self.source_entity_id(platform, source, kind.word()),
            topic: self.topics.setting(&target, kind),
            availability: self.of_service(),
        };
        let enabled = (!is_dynamic).then(|| control(SettingKind::Enabled, "switch", "Enabled").switch());
        let snooze = control(SettingKind::Snooze, "select", "Snooze").snooze(true);
        let button = Entity {
            name: "Take a picture".to_owned(),
            unique_id: format!("{}/get", self.ids.snapshot(source)),
            entity_id: self.source_entity_id("button", source, "take_picture"),
            topic: format!("{}/get", self.topics.snapshot(source)),
            availability: self.of_service(),
        };
        let picture = Entity {
            name: "Picture on request".to_owned(),
            unique_id: self.ids.requested_snapshot(source),
            entity_id: self.source_entity_id("image", source, "requested_picture"),
            topic: self.topics.requested_snapshot(source),
            availability: self.of_service(),
        };
        let enabled = enabled.map(|enabled| ("enabled".to_owned(), enabled));
        let others =
            [("snooze", snooze), ("take_picture", button.button()), ("requested_picture", picture.picture())];
        enabled.into_iter().chain(others.map(|(key, entity)| (key.to_owned(), entity))).collect()
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

/// Adds where the device is and what it links to.
fn place(device: &mut Value, area: Option<&str>, link: Option<&Address>) {
    if let Some(area) = area {
        device["suggested_area"] = json!(area);
    }
    if let Some(link) = link {
        // The message is retained, and every client of the broker can read it.
        device["configuration_url"] = json!(link.public());
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
        let is_rule = self.label_set.labels.iter().all(|label| label.name != self.label.name);
        // A rule over labels has no score.
        if self.source.scores && !is_rule {
            components.push(self.component("score", self.score()));
        }
        if self.builder.config.mqtt.commands {
            components.push(self.component("enabled", self.control(SettingKind::Enabled, "switch").switch()));
            if !is_rule {
                let trigger = &self.source.label(&self.label_set.name, self.label).trigger;
                let threshold = self.control(SettingKind::Threshold, "number").number(trigger);
                components.push(self.component("threshold", threshold));
            }
            // Most people snooze a source. This one is there for those who look for it.
            let snooze = self.control(SettingKind::Snooze, "select").snooze(false);
            components.push(self.component("snooze", snooze));
        }
        components
    }

    /// What is set for the label.
    fn control(&self, kind: SettingKind, platform: &str) -> Entity {
        let target = Target::label(&self.source.name, &self.label_set.name, &self.label.name);
        let rises = self.source.label(&self.label_set.name, self.label).trigger.rises;
        let what = match kind {
            SettingKind::Threshold if rises => "rise",
            other => other.word(),
        };
        Entity {
            name: format!("{} {what}", self.name()),
            unique_id: self.builder.ids.setting(&target, kind),
            entity_id: self.entity_id(platform, Some(kind.word())),
            topic: self.builder.topics.setting(&target, kind),
            availability: self.builder.of_service(),
        }
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
        json!({
            "p": "binary_sensor",
            "name": self.name(),
            "unique_id": of(&self.builder.ids),
            "default_entity_id": self.entity_id("binary_sensor", None),
            "state_topic": of(&self.builder.topics),
            "payload_on": State::Raised.switch(),
            "payload_off": State::Cleared.switch(),
            "device_class": self.label.look.device_class.unwrap_or(DEVICE_CLASS),
        })
    }

    /// An alert may be delivered while its source is offline, so the event does not depend on it.
    fn alert(&self) -> Value {
        let of = |topics: &Topics| topics.alert(&self.source.name, &self.label_set.name, &self.label.name);
        json!({
            "p": "event",
            "name": format!("{} alert", self.name()),
            "unique_id": of(&self.builder.ids),
            "default_entity_id": self.entity_id("event", Some("alert")),
            "state_topic": of(&self.builder.topics),
            "event_types": [State::Raised.word(), State::Cleared.word()],
            "value_template": self.event_template(),
            "availability": self.builder.of_service(),
        })
    }

    /// The template that turns an alert into an event. Large alerts are cut, see [`SMALL_ALERT`].
    fn event_template(&self) -> String {
        let rule = self.label_set.rules.iter().find(|rule| rule.settings.name == self.label.name);
        let when = rule.map(|rule| rule.when.text().to_owned());
        let message = self.label.message.as_ref().map(ToString::to_string);
        let sets = self.builder.config.label_sets.iter();
        // A rule may name labels of other sets: `set/label`.
        let names = sets.flat_map(|set| set.labels.iter().map(|label| set.name.len() + label.name.len()));
        let longest = names.clone().max().unwrap_or(0) + SCORE;
        let scores = longest * self.label_set.labels.len();
        let texts = [&when, &message].into_iter().flatten().map(String::len).sum::<usize>();
        if scores + texts <= SMALL_ALERT {
            return ALERT_TO_EVENT.to_owned();
        }
        let cut = |key: &str| format!(", {key}=value_json.{key}[:{TEXT_OF_EVENT}]");
        format!(
            "{{{{ dict(value_json, event_type=value_json.state, scores=dict((value_json.scores.items() \
             | selectattr('1', 'number') | sort(attribute='1', reverse=true) | list)[:{}]), \
             frame=dict(value_json.frame, origin=value_json.frame.origin[:{TEXT_OF_EVENT}]){}{}) | to_json }}}}",
            SCORES_OF_EVENT / longest,
            when.map_or(String::new(), |_| cut("when")),
            message.map_or(String::new(), |_| cut("message")),
        )
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
        let sets = self.builder.config.watched_by(self.source);
        let namesakes = sets.filter(|set| set.alerting().any(|label| label.name == self.label.name));
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
