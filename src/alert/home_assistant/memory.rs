//! Remembers what was announced to Home Assistant earlier, perhaps by a previous service, and withdraws it.
//!
//! Discovery messages are retained: what is no longer watched would be shown for ever if it were not withdrawn. An entity is
//! withdrawn by a message with nothing but its platform, followed by a message without it; a device by an empty message.
//! Pure: the publisher keeps the memory on disk.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Announcement, Device};

/// The topics of devices, and the platforms of their entities by key. It is the content of the file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory(BTreeMap<String, BTreeMap<String, String>>);

impl Memory {
    /// The memory after all of `announcement` was sent.
    #[must_use]
    pub fn of(announcement: &Announcement) -> Self {
        Self(announcement.devices.iter().map(|device| (device.topic.clone(), device.platforms())).collect())
    }

    /// The memory after any part of `announcement` may have been sent, too.
    #[must_use]
    pub fn with(&self, announcement: &Announcement) -> Self {
        let mut both = self.clone();
        for (topic, platforms) in Self::of(announcement).0 {
            both.0.entry(topic).or_default().extend(platforms);
        }
        both
    }

    /// The messages that withdraw what is remembered and not part of `announcement`, which is to be sent after them.
    #[must_use]
    pub fn withdrawals(&self, announcement: &Announcement) -> Vec<(String, String)> {
        let withdrawal = |(topic, known): (&String, &BTreeMap<String, String>)| {
            let payload = match announcement.devices.iter().find(|device| device.topic == *topic) {
                None => String::new(),
                Some(device) => device.without(known)?,
            };
            Some((topic.clone(), payload))
        };
        self.0.iter().filter_map(withdrawal).collect()
    }
}

impl Device {
    fn platforms(&self) -> BTreeMap<String, String> {
        let platform = |component: &Value| component["p"].as_str().unwrap_or_default().to_owned();
        let components = self.payload["cmps"].as_object().into_iter().flatten();
        components.map(|(key, component)| (key.clone(), platform(component))).collect()
    }

    /// The message that withdraws the `known` entities that this device no longer has: of them it holds nothing but the platform.
    /// `None` if the device has all.
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
