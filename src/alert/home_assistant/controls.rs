//! The entities with which Home Assistant sets something: switches, numbers, lists and buttons. They exist only with
//! `mqtt: { commands: true }`, and are shown as the configuration of their device.

use serde_json::{Value, json};

use crate::{
    alert::control_topics::{OFF, ON},
    policy::TriggerSettings,
};

/// The choices of a snooze. Each is the payload that asks for it.
pub(super) const SNOOZES: [&str; 8] = ["off", "15m", "30m", "1h", "4h", "8h", "until 07:00", "until 18:00"];
/// The least threshold that can be chosen, and the distance of two: scores of some models are low.
const LEAST: f32 = 0.001;
const STEP: f64 = 0.001;
/// The attributes of a snooze: when it ends.
const SNOOZE_ATTRIBUTES: &str = "{{ {'until': value_json.until, 'asked': value_json.asked} | to_json }}";

/// What every entity has.
pub(super) struct Entity {
    /// The name for people.
    pub(super) name: String,
    /// Its identifier.
    pub(super) unique_id: String,
    /// A proposal for its name in automations.
    pub(super) entity_id: String,
    /// The topic of its state, if it has one. It is set by a message to the same topic with `/set`.
    pub(super) topic: String,
    /// When it is available.
    pub(super) availability: Value,
}

impl Entity {
    /// Its keys, with those of `more`.
    fn with(&self, platform: &str, more: &Value) -> Value {
        let mut entity = json!({
            "p": platform,
            "name": self.name,
            "unique_id": self.unique_id,
            "default_entity_id": self.entity_id,
            "entity_category": "config",
            "availability": self.availability,
        });
        for (key, value) in more.as_object().into_iter().flatten() {
            entity[key] = value.clone();
        }
        entity
    }

    fn with_state(&self, platform: &str, more: &Value) -> Value {
        let mut entity = self.with(platform, more);
        entity["state_topic"] = json!(self.topic);
        entity["command_topic"] = json!(format!("{}/set", self.topic));
        entity
    }

    /// Whether a source is read, or a label is judged.
    pub(super) fn switch(&self) -> Value {
        self.with_state("switch", &json!({ "payload_on": ON, "payload_off": OFF }))
    }

    /// The threshold of a label, or its rise.
    pub(super) fn number(&self, trigger: &TriggerSettings) -> Value {
        let clear = if trigger.clear_follows() { LEAST } else { trigger.clear_below };
        // 0.4 and not 0.400000006.
        let least = clear.min(trigger.threshold).to_string().parse::<f64>().unwrap_or(STEP);
        self.with_state("number", &json!({ "min": least, "max": 1, "step": STEP, "mode": "box" }))
    }

    /// How long alerts are held back. A snooze that is none of the choices is shown as unknown, with its end as an attribute.
    pub(super) fn snooze(&self, is_shown: bool) -> Value {
        let choices = SNOOZES.map(|choice| format!("'{choice}'")).join(", ");
        let mut select = self.with_state(
            "select",
            &json!({
                "options": SNOOZES,
                "value_template": format!(
                    "{{{{ value_json.asked if value_json.asked in [{choices}] else 'None' }}}}"
                ),
                "json_attributes_topic": self.topic,
                "json_attributes_template": SNOOZE_ATTRIBUTES,
            }),
        );
        if !is_shown {
            select["enabled_by_default"] = json!(false);
        }
        select
    }

    /// Publishes the newest picture of a source.
    pub(super) fn button(&self) -> Value {
        self.with("button", &json!({ "command_topic": self.topic }))
    }

    /// The picture that the button has asked for.
    pub(super) fn picture(&self) -> Value {
        let mut picture =
            self.with("image", &json!({ "image_topic": self.topic, "content_type": "image/jpeg" }));
        // It is something to look at, and nothing to set.
        if let Some(picture) = picture.as_object_mut() {
            picture.shift_remove("entity_category");
        }
        picture
    }
}
