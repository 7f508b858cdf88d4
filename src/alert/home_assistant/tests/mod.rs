//! Checks the messages byte for byte, and against Home Assistant's schemas.

use std::collections::{BTreeSet, HashSet};

use super::{memory::Memory, *};
use crate::{alert::control_topics, policy::Snooze};

mod schemas;

const SMALL: &str = "
mqtt: { url: mqtt://broker }
home_assistant: { name: The eyes }
label_sets: { porch: { labels: [package, person] } }
sources: { Front Door: { folder: inbox, watch: [porch], scores: true } }
";

/// Names that people type.
const ODD: &str = r#"
mqtt: { url: mqtt://broker, prefix: Haus/eye 1, heartbeat: 90s }
home_assistant: { discovery_prefix: ha/all }
label_sets:
  porch: { background: [nothing], labels: [a "dog", 'it''s \ }} mine', 猫, person] }
  Größe: { labels: { person: ~, "+/#": { home_assistant: { name: Parcel, icon: "mdi:package", device_class: occupancy } } }, rules: { wer?: person and not "+/#" } }
sources:
  Door (left): { folder: a, watch: [porch, Größe], scores: true }
  back: { folder: b, watch: [Größe] }
"#;

fn config(text: &str) -> Config {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("stakeout.yaml");
    std::fs::write(&path, text).unwrap();
    crate::config::load(&path).unwrap_or_else(|problems| panic!("{problems}")).config
}

fn announcement(text: &str) -> Announcement {
    Announcement::of(&config(text))
}

fn messages(announcement: &Announcement) -> Vec<(String, Value)> {
    let parsed = |(topic, payload): (String, String)| (topic, serde_json::from_str(&payload).unwrap());
    announcement.messages().map(parsed).collect()
}

#[test]
fn the_messages_of_a_small_configuration() {
    let sent: Map<String, Value> = messages(&announcement(SMALL)).into_iter().collect();
    let sent = serde_json::to_string_pretty(&sent).unwrap();
    let expected = include_str!("expected.json").replace("VERSION", env!("CARGO_PKG_VERSION"));
    assert_eq!(sent, expected.trim_end(), "\n{sent}");
}

#[test]
fn a_rule_over_labels_is_shown_as_a_label_without_a_score() {
    let text = SMALL.replace(
        "labels: [package, person]",
        "labels: [package, person], rules: { thief: { when: person and not package, home_assistant: { icon: mdi:alert } } }",
    );
    let sent = messages(&announcement(&text));
    let components = sent[1].1["cmps"].as_object().unwrap();
    let of_rule = components.keys().filter(|key| key.starts_with("porch/thief/")).collect::<Vec<_>>();
    assert_eq!(of_rule, ["porch/thief/state", "porch/thief/alert"]);
    assert!(components.contains_key("porch/person/score"), "the labels have one");
    let state = &components["porch/thief/state"];
    assert_eq!(
        (&state["name"], &state["icon"], &state["state_topic"]),
        (&json!("thief"), &json!("mdi:alert"), &json!("stakeout/front_door/porch/thief/state"))
    );
}

/// `text` with commands.
fn with_commands(text: &str) -> String {
    text.replace("url: mqtt://broker", "url: mqtt://broker, commands: true")
}

#[test]
fn what_can_be_set_is_shown_as_configuration_only_with_commands() {
    let text = with_commands(SMALL).replace(
        "labels: [package, person]",
        "labels: { package: { threshold: 0.6, clear_below: 0.4 }, person: }, rules: { thief: person and not package }",
    );
    let sent = messages(&announcement(&text));
    let components = sent[1].1["cmps"].as_object().unwrap();
    let config: Vec<_> = components.iter().filter(|(_, it)| it["entity_category"] == "config").collect();
    let config: Vec<_> = config
        .iter()
        .map(|(key, it)| format!("{key}: {} {}", it["p"].as_str().unwrap(), it["name"].as_str().unwrap()))
        .collect();
    let expected = [
        "enabled: switch Enabled",
        "snooze: select Snooze",
        "take_picture: button Take a picture",
        "porch/package/enabled: switch package enabled",
        "porch/package/threshold: number package threshold",
        "porch/package/snooze: select package snooze",
        "porch/person/enabled: switch person enabled",
        "porch/person/threshold: number person threshold",
        "porch/person/snooze: select person snooze",
        "porch/thief/enabled: switch thief enabled",
        "porch/thief/snooze: select thief snooze",
    ];
    assert_eq!(config, expected);
    let least = |label: &str| components[&format!("porch/{label}/threshold")]["min"].clone();
    assert_eq!((least("package"), least("person")), (json!(0.4), json!(0.001)));
    let snooze = &components["snooze"];
    assert_eq!(
        (&snooze["state_topic"], &snooze["command_topic"], &snooze["enabled_by_default"]),
        (&json!("stakeout/front_door/snooze"), &json!("stakeout/front_door/snooze/set"), &Value::Null)
    );
    assert_eq!(components["porch/thief/snooze"]["enabled_by_default"], json!(false));
    assert_eq!(components["requested_picture"]["image_topic"], "stakeout/front_door/snapshot/now");
    sent.iter().for_each(|(topic, payload)| schemas::check(topic, payload));

    let without = messages(&announcement(SMALL));
    let mut components = without.iter().flat_map(|(_, sent)| sent["cmps"].as_object().unwrap().values());
    assert!(components.all(|component| component["entity_category"] != "config"));
}

#[test]
fn every_choice_of_a_snooze_is_understood_and_shown() {
    for choice in controls::SNOOZES {
        assert_eq!(Snooze::parse(choice).map(|snooze| snooze.to_string()).as_deref(), Ok(choice));
    }
}

#[test]
fn every_control_is_one_that_the_service_reads_and_publishes() {
    let config = config(&with_commands(ODD));
    let topics = Topics::of(&config);
    let mut known: BTreeSet<String> =
        control_topics::commands(&config, &config, &topics).into_keys().collect();
    known.extend(control_topics::states(&config, &config, &topics).into_keys());
    let mut named = BTreeSet::new();
    let with = messages(&Announcement::of(&config));
    for (topic, payload) in &with {
        collect_topics(payload, &mut named);
        schemas::check(topic, payload);
        for (key, component) in payload["cmps"].as_object().unwrap() {
            check_component(key, component);
        }
    }
    let mut others = BTreeSet::new();
    messages(&announcement(ODD)).iter().for_each(|(_, payload)| collect_topics(payload, &mut others));
    assert_eq!(named.difference(&others).cloned().collect::<BTreeSet<_>>(), known);

    // Switched off, they are withdrawn.
    let withdrawn = Memory::of(&Announcement::of(&config)).withdrawals(&announcement(ODD));
    assert!(withdrawn[0].1.contains(r#""enabled":{"p":"switch"}"#), "{withdrawn:?}");
}

#[test]
fn a_heartbeat_expires_after_three_intervals() {
    let service = &messages(&announcement(ODD))[0].1["cmps"];
    assert_eq!(service["heartbeat"]["expire_after"], json!(270));
    assert!(
        messages(&announcement(SMALL))[0].1["cmps"].get("heartbeat").is_none(),
        "only if it is configured"
    );
}

#[test]
fn nothing_is_announced_unless_configured() {
    let silent = announcement(&SMALL.replace("{ name: The eyes }", "false"));
    assert!(silent.is_empty() && silent.messages().next().is_none());
}

#[test]
fn every_message_matches_home_assistants_rules() {
    let is_id = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c));
    let mut unique = HashSet::new();
    for (topic, payload) in messages(&announcement(SMALL)).into_iter().chain(messages(&announcement(ODD))) {
        let levels: Vec<_> = topic.rsplitn(4, '/').collect();
        let [config, id, device, prefix] = levels[..] else { panic!("{topic}") };
        assert!(config == "config" && device == "device" && is_id(id), "{topic}");
        assert!(["homeassistant", "ha/all"].contains(&prefix), "{topic}");
        assert_eq!(payload["dev"]["identifiers"], json!([id]), "{topic}");
        assert!(payload["dev"]["name"].is_string() && payload["o"]["name"].is_string());
        assert!(payload["o"]["support_url"].as_str().unwrap().starts_with("https://"));
        assert_eq!(
            payload["availability"].is_array(),
            payload["availability_mode"] == "all" && payload["dev"]["via_device"].is_string(),
            "{topic}"
        );
        for (key, component) in payload["cmps"].as_object().unwrap() {
            assert!(unique.insert(component["unique_id"].to_string()), "{key} has no identifier of its own");
            check_component(key, component);
        }
        schemas::check(&topic, &payload);
    }
}

/// Checks what Home Assistant's schemas do not express.
fn check_component(key: &str, component: &Value) {
    let platform = component["p"].as_str().unwrap();
    let (domain, name) = component["default_entity_id"].as_str().unwrap().split_once('.').unwrap();
    let is_slug = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    let is_slug = is_slug && !name.contains("__") && !name.ends_with('_');
    assert!(domain == platform && is_slug, "{key}: {domain}.{name}");
    if component["device_class"] == "enum" {
        assert!(component["options"].is_array() && component["state_class"].is_null(), "{key}");
    }
    if platform == "event" {
        assert!(component["value_template"].as_str().unwrap().contains("event_type="), "{key}");
    }
}

#[test]
fn a_label_looks_as_configured() {
    let sent = messages(&announcement(ODD));
    let component = |key: &str| &sent[1].1["cmps"][key];
    let state = component("grosse/_/state");
    assert_eq!(
        (&state["name"], &state["icon"], &state["device_class"]),
        (&json!("Parcel"), &json!("mdi:package"), &json!("occupancy"))
    );
    let alert = component("grosse/_/alert");
    assert_eq!((&alert["name"], &alert["icon"]), (&json!("Parcel alert"), &json!("mdi:package")));
    assert_eq!((&alert["device_class"], &component("porch/mao/state")["icon"]), (&Value::Null, &Value::Null));
    assert_eq!(
        component("porch/mao/state")["device_class"],
        "occupancy",
        "`Detected` and `Clear` by default"
    );
}

#[test]
fn devices_are_placed_and_named_as_configured() {
    let text = SMALL
        .replace("name: The eyes", "name: The eyes, suggested_area: Hall, configuration_url: 'http://eyes.lan:9464/'")
        .replace(
            "scores: true",
            "scores: true, home_assistant: { name: The door, suggested_area: Porch, configuration_url: 'http://10.0.0.21/' }",
        );
    let sent = messages(&announcement(&text));
    let device = |at: usize, key: &str| sent[at].1["dev"][key].clone();
    let shown = |at| ["name", "suggested_area", "configuration_url"].map(|key| device(at, key));
    assert_eq!(shown(0), ["The eyes", "Hall", "http://eyes.lan:9464/"]);
    assert_eq!(shown(1), ["The door", "Porch", "http://10.0.0.21/"]);
    sent.iter().for_each(|(topic, payload)| schemas::check(topic, payload));
    let plain = &messages(&announcement(SMALL))[1].1["dev"];
    assert!(plain.get("suggested_area").is_none() && plain.get("configuration_url").is_none(), "{plain}");
}

#[test]
fn an_alert_and_its_picture_are_shown_while_their_source_is_offline() {
    for (topic, payload) in messages(&announcement(ODD)) {
        assert_eq!(payload["qos"], 1, "{topic}");
        for (key, component) in payload["cmps"].as_object().unwrap() {
            let availability = component["availability"].as_array().map(Vec::len);
            match component["p"].as_str().unwrap() {
                "event" | "image" => assert_eq!(availability, Some(1), "{topic}: {key}: only the service"),
                "binary_sensor" if key.ends_with("/state") => {
                    assert_eq!(availability, None, "{key}: also the source")
                }
                _ => {}
            }
        }
    }
}

#[test]
fn the_attributes_of_a_large_alert_are_cut() {
    let event = |text: &str| {
        messages(&announcement(text))[1].1["cmps"]["porch/person/alert"]["value_template"].clone()
    };
    assert_eq!(event(SMALL), ALERT_TO_EVENT);
    let labels: Vec<_> = (0..300).map(|number| format!("label number {number}")).collect();
    let many = event(&SMALL.replace("package", &labels.join(", ")));
    // 6,000 bytes: the longest name is `label number 299`, in a set with a name of 5 letters.
    assert!(many.as_str().unwrap().contains("[:162]"), "{many}");
    let long = "x".repeat(SMALL_ALERT);
    let verbose =
        event(&SMALL.replace("[package, person]", &format!("{{ package:, person: {{ message: {long} }} }}")));
    assert!(verbose.as_str().unwrap().contains("message=value_json.message[:500]"), "{verbose}");
}

#[test]
fn every_topic_is_one_that_is_published() {
    let config = config(ODD);
    let topics = Topics::of(&config);
    let mut published =
        BTreeSet::from([topics.status(), topics.config_status(), topics.outbox_status(), topics.stats()]);
    published.extend([topics.service_problem(), topics.model(), topics.heartbeat()]);
    for source in &config.sources {
        let name = &source.name;
        published.extend([topics.source_status(name), topics.source_problem(name)]);
        published.extend([topics.source_stats(name), topics.snapshot(name)]);
    }
    for (source, label_set) in config.watches() {
        published.extend(source.scores.then(|| topics.scores(&source.name, &label_set.name)));
        for label in label_set.alerting() {
            published.insert(topics.alert(&source.name, &label_set.name, &label.name));
            published.insert(topics.state(&source.name, &label_set.name, &label.name));
        }
    }
    let mut named = BTreeSet::new();
    for (_, payload) in messages(&Announcement::of(&config)) {
        collect_topics(&payload, &mut named);
    }
    assert_eq!(named, published, "and nothing that is published is left out");
}

fn collect_topics(value: &Value, topics: &mut BTreeSet<String>) {
    match value {
        Value::Object(entries) => {
            for (key, value) in entries {
                match value {
                    Value::String(topic) if key.ends_with("topic") => drop(topics.insert(topic.clone())),
                    _ => collect_topics(value, topics),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect_topics(item, topics)),
        _ => {}
    }
}

#[test]
fn names_are_as_typed_and_a_template_survives_them() {
    let sent = messages(&announcement(ODD));
    let door = &sent[1].1;
    assert_eq!(
        (&door["dev"]["name"], &door["dev"]["via_device"]),
        (&json!("Door (left)"), &json!("haus_eye_1"))
    );
    let component = |key: &str| &door["cmps"][key];
    assert_eq!(component("porch/mao/state")["name"], "猫");
    assert_eq!(component("porch/person/state")["name"], "porch person", "another label set has one, too");
    assert_eq!(component("porch/a_dog_/score")["value_template"], r#"{{ value_json.scores["a \"dog\""] }}"#);
    assert_eq!(
        component("porch/it_s_mine/score")["value_template"],
        r#"{{ value_json.scores["it's \\ }} mine"] }}"#
    );
    assert_eq!(sent[2].1["cmps"]["grosse/person/state"]["name"], "person", "here it is the only one");
}

#[test]
fn removed_devices_and_entities_are_withdrawn_and_others_are_not() {
    let old = announcement(ODD);
    let memory = Memory::of(&old);
    assert_eq!(memory.withdrawals(&old), [], "nothing changed");
    let text = serde_json::to_string(&memory).unwrap();
    assert_eq!(serde_json::from_str::<Memory>(&text).unwrap(), memory, "as it is on the disk");

    let less =
        ODD.replace(", 猫, person]", ", person]").replace("  back: { folder: b, watch: [Größe] }\n", "");
    let new = announcement(&less);
    let withdrawals = memory.withdrawals(&new);
    let [(back, nothing), (door, payload)] = &withdrawals[..] else { panic!("{withdrawals:#?}") };
    assert_eq!((&**back, &**nothing), ("ha/all/device/haus_eye_1__back/config", ""));
    assert_eq!(door, "ha/all/device/haus_eye_1__door_left_/config");
    let payload: Value = serde_json::from_str(payload).unwrap();
    let gone: Vec<_> = ["state", "alert", "score"].map(|what| format!("porch/mao/{what}")).into();
    let left: Vec<_> = gone.iter().map(|key| payload["cmps"][key].to_string()).collect();
    assert_eq!(left, [r#"{"p":"binary_sensor"}"#, r#"{"p":"event"}"#, r#"{"p":"sensor"}"#]);
    let stays = new.messages().find(|(topic, _)| topic == door).unwrap().1;
    assert!(!gone.iter().any(|key| stays.contains(key.as_str())), "the next message is without them");

    let both = Memory::of(&new).with(&old);
    assert_eq!(both, memory, "while it is being sent, what was announced earlier is not forgotten");
    let all_gone = memory.withdrawals(&Announcement::default());
    assert!(all_gone.len() == 3 && all_gone.iter().all(|(_, payload)| payload.is_empty()), "{all_gone:?}");
}

#[test]
fn a_file_with_something_else_is_no_memory() {
    for text in ["", "[]", "{", r#"{"topic":1}"#, r#"{"topic":{"key":1}}"#] {
        assert!(serde_json::from_str::<Memory>(text).is_err(), "{text}");
    }
    assert_eq!(serde_json::from_str::<Memory>("{}").unwrap(), Memory::default());
}
