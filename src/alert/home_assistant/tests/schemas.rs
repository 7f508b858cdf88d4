//! Home Assistant's own schemas of discovery messages, as `tools/home_assistant_schemas.py` reads them out of its source.
//!
//! Home Assistant silently ignores unknown keys of an entity, so a misspelt key would not be noticed; and it ignores a whole
//! message that lacks one required key.

use std::{collections::BTreeSet, sync::LazyLock};

use serde_json::Value;

static SCHEMAS: LazyLock<Value> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../../../../tests/it/home_assistant/schemas.json")).unwrap()
});

/// Panics where Home Assistant would refuse `payload`, or ignore a part of it.
pub(super) fn check(topic: &str, payload: &Value) {
    let message = table(topic, &SCHEMAS["message"], &SCHEMAS["abbreviations"], payload);
    table(topic, &SCHEMAS["device"], &SCHEMAS["device_abbreviations"], &message["device"]);
    table(topic, &SCHEMAS["origin"], &SCHEMAS["origin_abbreviations"], &message["origin"]);
    availability(topic, &message["availability"]);
    for (key, component) in message["components"].as_object().unwrap() {
        let at = format!("{topic}: {key}");
        let platform = component["p"].as_str().expect("every entity names its platform");
        let mut component = component.clone();
        component.as_object_mut().unwrap().remove("p");
        let component = table(&at, &SCHEMAS["platforms"][platform], &SCHEMAS["abbreviations"], &component);
        assert!(component["unique_id"].is_string(), "{at}: a device's entities must have one");
        availability(&at, &component["availability"]);
        for (key, known) in [
            ("device_class", &SCHEMAS["device_classes"][platform]),
            ("entity_category", &SCHEMAS["entity_category"]),
            ("state_class", &SCHEMAS["state_class"]),
        ] {
            let value = &component[key];
            assert!(value.is_null() || known.as_array().unwrap().contains(value), "{at}: {key} {value}");
        }
        assert!(component["icon"].as_str().is_none_or(|icon| icon.contains(':')), "{at}");
    }
}

fn availability(at: &str, entries: &Value) {
    for entry in entries.as_array().into_iter().flatten() {
        table(at, &SCHEMAS["availability"], &SCHEMAS["abbreviations"], entry);
    }
}

/// `object` with its keys in full; they are known, none is missing, and of keys that exclude each other there is one at most.
fn table(at: &str, schema: &Value, abbreviations: &Value, object: &Value) -> Value {
    let full = |key: &String| abbreviations[key].as_str().unwrap_or(key).to_owned();
    let object = object.as_object().unwrap_or_else(|| panic!("{at}: {object} is no object"));
    let object: serde_json::Map<String, Value> =
        object.iter().map(|(key, value)| (full(key), value.clone())).collect();
    let names = |list: &Value| -> BTreeSet<String> {
        list.as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect()
    };
    let keys: BTreeSet<String> = object.keys().cloned().collect();
    let (required, optional) = (names(&schema["required"]), names(&schema["optional"]));
    let missing: Vec<_> = required.difference(&keys).collect();
    assert!(missing.is_empty(), "{at}: {missing:?} must be there");
    let unknown: Vec<_> =
        keys.iter().filter(|key| !required.contains(*key) && !optional.contains(*key)).collect();
    assert!(
        unknown.is_empty(),
        "{at}: Home Assistant {} does not know {unknown:?}",
        SCHEMAS["homeassistant"]
    );
    for group in schema["one_of"].as_array().unwrap() {
        let given = names(group).intersection(&keys).count();
        // An image comes from one of two topics; that something is available need not be sent.
        let least = usize::from(names(group).contains("image_topic"));
        assert!((least..=1).contains(&given), "{at}: one of {group}");
    }
    Value::Object(object)
}

#[test]
#[should_panic(expected = "does not know")]
fn a_misspelt_key_is_found() {
    table(
        "x",
        &SCHEMAS["origin"],
        &SCHEMAS["origin_abbreviations"],
        &serde_json::json!({ "name": "a", "swv": "1" }),
    );
}

#[test]
#[should_panic(expected = "must be there")]
fn a_missing_key_is_found() {
    table(
        "x",
        &SCHEMAS["platforms"]["event"],
        &SCHEMAS["abbreviations"],
        &serde_json::json!({ "stat_t": "a" }),
    );
}
