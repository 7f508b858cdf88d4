//! How Home Assistant shows the service, its sources and labels: the section `home_assistant`, and that of a source and of a label.

use serde_json::{Value, json};

use crate::{
    policy::{Look, broker},
    yaml::{
        Address, address,
        fields::{Field, Form, Table, explain, specs},
        names,
        reader::{Reader, Section, Setting},
    },
};

/// The device classes of Home Assistant's binary sensors; a test compares them with Home Assistant's own list.
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

/// How the service is announced to Home Assistant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HomeAssistant {
    /// The first levels of the discovery topics.
    pub discovery_prefix: String,
    /// The name of the service.
    pub name: String,
    /// The area that Home Assistant proposes for the service.
    pub suggested_area: Option<String>,
    /// Where the service's device links to.
    pub configuration_url: Option<Address>,
}

/// How Home Assistant shows the device of a source; `None` is our default (the name), or nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeviceLook {
    /// Its name there.
    pub name: Option<String>,
    /// The area that Home Assistant proposes for it.
    pub suggested_area: Option<String>,
    /// Where it links to.
    pub configuration_url: Option<Address>,
}

/// The device class of a label's binary sensor, if none is configured: "Detected" and "Clear".
pub const DEVICE_CLASS: &str = "occupancy";
const AREA: &str = "The area that Home Assistant proposes when it sees the device for the first time.";
const LINK: Form = Form::like("an address such as `http://10.0.0.21/`");

/// The keys of `home_assistant`.
pub(super) const FIELDS: &[Field<HomeAssistant>] = &[
    Field::new(
        "discovery_prefix",
        broker::TOPIC_LEVELS,
        "The discovery prefix in Home Assistant's MQTT settings.",
        |it: &HomeAssistant| Some(json!(it.discovery_prefix)),
    )
    .default("homeassistant"),
    Field::new("name", Form::Text, "The name of the service in Home Assistant.", |it: &HomeAssistant| {
        Some(json!(it.name))
    })
    .default_is("mqtt.prefix")
    .example("stakeout"),
    Field::new("suggested_area", Form::Text, AREA, |it: &HomeAssistant| Some(json!(it.suggested_area)))
        .example("Hall"),
    Field::new(
        "configuration_url",
        LINK,
        "The page that the service's device in Home Assistant links to. It is published without a query, and without a path that looks like a \
         secret: every client of the broker can read it.",
        |it: &HomeAssistant| Some(json!(it.configuration_url.as_ref().map(ToString::to_string))),
    )
    .example("http://porch.lan:9464/"),
];
pub(super) const TABLE: Table = Table { title: "home_assistant", fields: || specs(FIELDS) };

/// The keys of a source's `home_assistant`.
const DEVICE_FIELDS: &[Field<DeviceLook>] = &[
    Field::new("name", Form::Text, "The name of its device in Home Assistant.", |it: &DeviceLook| {
        Some(json!(it.name))
    })
    .default_is("the name of the source")
    .example("Front door"),
    Field::new("suggested_area", Form::Text, AREA, |it: &DeviceLook| Some(json!(it.suggested_area)))
        .default_is("`area` of the source")
        .example("Porch"),
    Field::new(
        "configuration_url",
        LINK,
        "The page that its device in Home Assistant links to, for example the camera's own. It is published without a query, and without a \
         path that looks like a secret.",
        |it: &DeviceLook| Some(json!(it.configuration_url.as_ref().map(ToString::to_string))),
    )
    .example("http://10.0.0.21/"),
];
pub(super) const DEVICE: Table =
    Table { title: "sources.NAME.home_assistant", fields: || specs(DEVICE_FIELDS) };

/// The keys of a label's `home_assistant`.
pub(super) const LOOK_FIELDS: &[Field<Look>] = &[
    Field::new("name", Form::Text, "Its name in Home Assistant.", |it: &Look| Some(json!(it.name)))
        .default_is("the name of the label")
        .example("Parcel"),
    Field::new("icon", Form::like("the name of an icon such as `mdi:dog`"), "Its icon.", |it: &Look| {
        Some(json!(it.icon))
    })
    .example("mdi:package-variant"),
    Field::new(
        "device_class",
        Form::Words(DEVICE_CLASSES),
        "The device class of its binary sensor, and with it the words that Home Assistant shows.",
        |it: &Look| Some(json!(it.device_class.unwrap_or(DEVICE_CLASS))),
    )
    .default_is("occupancy: \"Detected\" and \"Clear\"")
    .example("occupancy"),
];
pub(super) const LOOK: Table =
    Table { title: "label_sets.NAME.labels.NAME.home_assistant", fields: || specs(LOOK_FIELDS) };

/// How a label called `name` is shown, for `check --explain`.
pub(super) fn explain_look(look: &Look, name: &str) -> Value {
    let named = Look { name: Some(look.name.as_deref().unwrap_or(name).to_owned()), ..look.clone() };
    explain(LOOK_FIELDS, &named).into()
}

/// How the device of a source called `name` is shown, for `check --explain`.
pub(super) fn explain_device(look: &DeviceLook, name: &str) -> Value {
    let named = DeviceLook { name: Some(look.name.as_deref().unwrap_or(name).to_owned()), ..look.clone() };
    explain(DEVICE_FIELDS, &named).into()
}

/// Reads `false`, `true`, or a mapping, which means `true`. `name` is the default name of the service.
pub(super) fn read(reader: &mut Reader<'_>, at: &Setting<'_>, name: &str) -> Option<Option<HomeAssistant>> {
    if !at.is_mapping() && !reader.switch(at)? {
        return Some(None);
    }
    let section = if at.is_mapping() { reader.section(at, &TABLE)? } else { Section::empty(&TABLE) };
    let discovery_prefix =
        section.read(reader, "discovery_prefix", |reader, at| reader.parsed(at, broker::prefix));
    let typed = section.optional(reader, "name", Reader::text);
    let suggested_area = section.optional(reader, "suggested_area", Reader::text);
    let configuration_url = section.optional(reader, "configuration_url", link);
    let name = typed?.unwrap_or_else(|| name.to_owned());
    Some(Some(HomeAssistant {
        discovery_prefix: discovery_prefix?,
        name,
        suggested_area: suggested_area?,
        configuration_url: configuration_url?,
    }))
}

/// Reads the `home_assistant` of a source.
pub(super) fn device(reader: &mut Reader<'_>, at: &Setting<'_>) -> Option<DeviceLook> {
    let section = reader.section(at, &DEVICE)?;
    let name = section.optional(reader, "name", Reader::text);
    let suggested_area = section.optional(reader, "suggested_area", Reader::text);
    let configuration_url = section.optional(reader, "configuration_url", link);
    Some(DeviceLook { name: name?, suggested_area: suggested_area?, configuration_url: configuration_url? })
}

/// Reads an address for people. Home Assistant ignores the whole device if it is invalid.
fn link(reader: &mut Reader<'_>, at: &Setting<'_>) -> Option<Address> {
    reader.parsed(at, |text| {
        // Home Assistant finds no host in `http:///page`; the parser would take the path for one.
        if text.contains(":///") {
            return Err("write a host after `://`: `http://10.0.0.21/`".to_owned());
        }
        let address =
            address::parse(text, &["http", "https", "homeassistant"]).map_err(|(_, remedy)| remedy)?;
        match address.login() {
            None => Ok(address),
            Some(_) => {
                Err("remove user and password: everyone who reads the broker's messages could see them"
                    .to_owned())
            }
        }
    })
}

/// Reads the `home_assistant` of a label.
pub(super) fn look(reader: &mut Reader<'_>, at: &Setting<'_>) -> Option<Look> {
    let section = reader.section(at, &LOOK)?;
    let name = section.optional(reader, "name", Reader::text);
    let icon = section.optional(reader, "icon", |reader, at| reader.parsed(at, icon));
    let device_class = section.optional(reader, "device_class", |reader, at| reader.parsed(at, device_class));
    Some(Look { name: name?, icon: icon?, device_class: device_class? })
}

/// Reads an icon: a collection and a name in it. Home Assistant requires the `:`.
fn icon(text: &str) -> Result<String, String> {
    let is_word = |word: &str| {
        !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
    };
    match text.split_once(':') {
        Some((collection, name)) if is_word(collection) && is_word(name) => Ok(text.to_owned()),
        None if is_word(text) => Err(format!("did you mean `mdi:{text}`?")),
        _ => Err("write a collection, `:` and a name in lower case: `mdi:package-variant`".to_owned()),
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
    fn the_device_classes_are_those_of_home_assistant() {
        let schemas = include_str!("../../tests/it/home_assistant/schemas.json");
        let schemas: Value = serde_json::from_str(schemas).unwrap();
        assert_eq!(json!(DEVICE_CLASSES), schemas["device_classes"]["binary_sensor"]);
    }

    #[test]
    fn the_default_device_class_is_one() {
        assert!(DEVICE_CLASSES.contains(&DEVICE_CLASS));
    }

    #[test]
    fn icons() {
        let cases = [
            ("mdi:dog", None),
            ("phu:car-2", None),
            ("dog", Some("did you mean `mdi:dog`?")),
            ("mdi:", Some("write a collection, `:` and a name in lower case: `mdi:package-variant`")),
            ("Mdi:Dog", Some("write a collection, `:` and a name in lower case: `mdi:package-variant`")),
        ];
        for (text, remedy) in cases {
            assert_eq!(icon(text).err().as_deref(), remedy, "{text}");
        }
    }
}
