//! Remembers what was announced to Home Assistant earlier, perhaps by a previous service, and withdraws it.
//!
//! Discovery messages are retained: what is no longer watched would be shown for ever if it were not withdrawn. An entity is
//! withdrawn by a message with nothing but its platform, followed by a message without it; a device by an empty message.
//! Pure: the publisher keeps the memory on disk.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::json;

use super::{Announcement, Device, Platforms};

/// The topics of devices, and the platforms of their entities by key. It is the content of the file. A clone shares the platforms.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Memory(BTreeMap<String, Arc<Platforms>>);

impl Memory {
    /// The memory after all of `announcement` was sent.
    #[must_use]
    pub fn of(announcement: &Announcement) -> Self {
        let device = |device: &Arc<Device>| (device.topic.clone(), Arc::clone(&device.platforms));
        Self(announcement.devices.iter().map(device).collect())
    }

    /// The memory after any part of `announcement` may have been sent, too.
    #[must_use]
    pub fn with(&self, announcement: &Announcement) -> Self {
        let mut both = self.clone();
        for (topic, platforms) in Self::of(announcement).0 {
            let known = both.0.entry(topic).or_insert_with(|| Arc::clone(&platforms));
            if *known != platforms {
                Arc::make_mut(known).extend((*platforms).clone());
            }
        }
        both
    }

    /// The messages that withdraw what is remembered and not part of `announcement`, which is to be sent after them.
    #[must_use]
    pub fn withdrawals(&self, announcement: &Announcement) -> Vec<(String, String)> {
        let devices = announcement.by_topic();
        let withdrawal = |(topic, known): (&String, &Arc<Platforms>)| {
            let payload = match devices.get(&**topic) {
                None => String::new(),
                Some(device) => device.without(known)?,
            };
            Some((topic.clone(), payload))
        };
        self.0.iter().filter_map(withdrawal).collect()
    }
}

impl Serialize for Memory {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(topic, platforms)| (topic, &**platforms)))
    }
}

impl<'de> Deserialize<'de> for Memory {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let devices = BTreeMap::<String, Platforms>::deserialize(deserializer)?;
        Ok(Self(devices.into_iter().map(|(topic, platforms)| (topic, Arc::new(platforms))).collect()))
    }
}

impl Device {
    /// The message that withdraws the `known` entities that this device no longer has: of them it holds nothing but the platform.
    /// `None` if the device has all.
    fn without(&self, known: &Arc<Platforms>) -> Option<String> {
        if *known == self.platforms {
            return None;
        }
        let mut gone = known.iter().filter(|(key, _)| !self.platforms.contains_key(*key)).peekable();
        gone.peek()?;
        let mut payload = self.payload.clone();
        let components = payload["cmps"].as_object_mut()?;
        components.extend(gone.map(|(key, platform)| (key.clone(), json!({ "p": platform }))));
        Some(json!(payload).to_string())
    }
}
