//! The `home_assistant` section: whether Home Assistant is told what there is, where, and under which name.

use super::{
    HomeAssistant, broker,
    raw::Value,
    read::{Reader, Setting},
};

pub(super) const KEYS: &[&str] = &["discovery_prefix", "name"];
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
