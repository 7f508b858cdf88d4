//! What Home Assistant was told earlier, perhaps by a service that has ended since, and how it is taken back.
//!
//! Discovery messages are retained: what is no longer watched would be shown for ever if nobody remembered it. An
//! entity goes by a message in which nothing but its platform is left of it, followed by one without it; a device goes
//! by an empty message. Pure: keeping it on disk is the publisher's.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{Announcement, Device};

/// The topics of devices, and the platforms of their entities by key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Memory(BTreeMap<String, BTreeMap<String, String>>);

impl Memory {
    /// What is known when all of `announcement` was told.
    #[must_use]
    pub fn of(announcement: &Announcement) -> Self {
        Self(announcement.devices.iter().map(|device| (device.topic.clone(), device.platforms())).collect())
    }

    /// What may be known when any part of `announcement` was told, too.
    #[must_use]
    pub fn with(&self, announcement: &Announcement) -> Self {
        let mut both = self.clone();
        for (topic, platforms) in Self::of(announcement).0 {
            both.0.entry(topic).or_default().extend(platforms);
        }
        both
    }

    /// The messages that take back what is known and not part of `announcement`. All of that is to be sent after them.
    #[must_use]
    pub fn farewells(&self, announcement: &Announcement) -> Vec<(String, String)> {
        let farewell = |(topic, known): (&String, &BTreeMap<String, String>)| {
            let payload = match announcement.devices.iter().find(|device| device.topic == *topic) {
                None => String::new(),
                Some(device) => device.without(known)?,
            };
            Some((topic.clone(), payload))
        };
        self.0.iter().filter_map(farewell).collect()
    }

    /// For the disk.
    #[must_use]
    pub fn to_json(&self) -> String {
        json!(self.0).to_string()
    }

    /// What [`Memory::to_json`] wrote; `None` if this is something else.
    #[must_use]
    pub fn from_json(text: &str) -> Option<Self> {
        let devices: Map<String, Value> = serde_json::from_str(text).ok()?;
        let devices = devices.iter().map(|(topic, known)| Some((topic.clone(), platforms(known)?)));
        devices.collect::<Option<_>>().map(Self)
    }
}

fn platforms(known: &Value) -> Option<BTreeMap<String, String>> {
    let known = known.as_object()?.iter();
    known.map(|(key, platform)| Some((key.clone(), platform.as_str()?.to_owned()))).collect()
}

impl Device {
    fn platforms(&self) -> BTreeMap<String, String> {
        let platform = |component: &Value| component["p"].as_str().unwrap_or_default().to_owned();
        let components = self.payload["cmps"].as_object().into_iter().flatten();
        components.map(|(key, component)| (key.clone(), platform(component))).collect()
    }

    /// This device, with nothing but the platform left of those `known` that it no longer has. `None` if it has all.
    fn without(&self, known: &BTreeMap<String, String>) -> Option<String> {
        let own = self.platforms();
        let mut gone = known.iter().filter(|(key, _)| !own.contains_key(*key)).peekable();
        gone.peek()?;
        let mut payload = self.payload.clone();
        let components = payload["cmps"].as_object_mut()?;
        components.extend(gone.map(|(key, platform)| (key.clone(), json!({ "p": platform }))));
        Some(json!(payload).to_string())
    }
}
