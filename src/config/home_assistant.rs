//! The `home_assistant` section: whether Home Assistant is told what there is, where, and under which name; and that of a
//! label: how it looks there.

use super::{HomeAssistant, broker};
use crate::{
    policy::Look,
    yaml::names,
    yaml::{
        reader::{Reader, Setting},
        tree::Value,
    },
};

pub(super) const KEYS: &[&str] = &["discovery_prefix", "name"];
pub(super) const LOOK_KEYS: &[&str] = &["name", "icon", "device_class"];
/// What Home Assistant lets a binary sensor be; a test holds it to Home Assistant's own list.
pub(super) const DEVICE_CLASSES: &[&str] = &[
    "battery",
    "battery_charging",
    "carbon_monoxide",
    "cold",
    "connectivity",
    "door",
    "garage_door",
    "gas",
    "heat",
    "light",
    "lock",
    "moisture",
    "motion",
    "moving",
    "occupancy",
    "opening",
    "plug",
    "power",
    "presence",
    "problem",
    "running",
    "safety",
    "smoke",
    "sound",
    "tamper",
    "update",
    "vibration",
    "window",
];
/// Where Home Assistant looks unless told otherwise.
const DISCOVERY_PREFIX: &str = "homeassistant";

/// `false`, `true`, or a mapping, which means `true`. The service is called `name` unless another one was typed.
pub(super) fn read(reader: &mut Reader<'_>, at: &Setting<'_>, name: &str) -> Option<Option<HomeAssistant>> {
    let default = HomeAssistant { discovery_prefix: DISCOVERY_PREFIX.to_owned(), name: name.to_owned() };
    if !matches!(at.node.value, Value::Mapping(_)) {
        return reader.word(at, &[("false", None), ("true", Some(default))]);
    }
    let section = reader.section(at, KEYS, "")?;
    let discovery_prefix = match section.get("discovery_prefix") {
        Some(at) => reader.parsed(&at, "levels of a topic like `homeassistant`", broker::prefix),
        None => Some(default.discovery_prefix),
    };
    let name = section.get("name").map_or(Some(default.name), |at| reader.text(&at));
    Some(Some(HomeAssistant { discovery_prefix: discovery_prefix?, name: name? }))
}

/// The `home_assistant` of a label.
pub(super) fn look(reader: &mut Reader<'_>, at: &Setting<'_>) -> Option<Look> {
    let section = reader.section(
        at,
        LOOK_KEYS,
        "write it like this:\nhome_assistant: { icon: mdi:package-variant }",
    )?;
    // Each may be left out: `None` is what was typed and is wrong, which was told.
    let name = section.get("name").map_or(Some(None), |at| reader.text(&at).map(Some));
    let icon = section
        .get("icon")
        .map_or(Some(None), |at| reader.parsed(&at, "the name of an icon like `mdi:dog`", icon).map(Some));
    let device_class = section.get("device_class").map_or(Some(None), |at| {
        reader.parsed(&at, "a device class of Home Assistant's binary sensors", device_class).map(Some)
    });
    Some(Look { name: name?, icon: icon?, device_class: device_class? })
}

/// A collection and a name in it. Home Assistant asks for the `:`.
fn icon(text: &str) -> Result<String, String> {
    let is_word = |word: &str| {
        !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
    };
    match text.split_once(':') {
        Some((collection, name)) if is_word(collection) && is_word(name) => Ok(text.to_owned()),
        None if is_word(text) => Err(format!("did you mean `mdi:{text}`?")),
        _ => Err("a collection, `:` and a name in small letters: `mdi:package-variant`".to_owned()),
    }
}

fn device_class(text: &str) -> Result<&'static str, String> {
    let known = DEVICE_CLASSES.iter().find(|class| **class == text);
    known.copied().ok_or_else(|| match names::nearest(text, DEVICE_CLASSES.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "common ones: motion, occupancy, presence, problem, safety, smoke, door, window".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_device_classes_are_home_assistants() {
        let schemas = include_str!("../../tests/it/home_assistant/schemas.json");
        let schemas: serde_json::Value = serde_json::from_str(schemas).unwrap();
        assert_eq!(serde_json::json!(DEVICE_CLASSES), schemas["device_classes"]["binary_sensor"]);
    }

    #[test]
    fn icons() {
        let cases = [
            ("mdi:dog", None),
            ("phu:car-2", None),
            ("dog", Some("did you mean `mdi:dog`?")),
            ("mdi:", Some("a collection, `:` and a name in small letters: `mdi:package-variant`")),
            ("Mdi:Dog", Some("a collection, `:` and a name in small letters: `mdi:package-variant`")),
        ];
        for (text, remedy) in cases {
            assert_eq!(icon(text).err().as_deref(), remedy, "{text}");
        }
    }
}
