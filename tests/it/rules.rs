//! Rules over labels, and labels in other languages, with the built binary and a real broker.

use std::fs;

use serde_json::Value;

use crate::common::{
    broker::{Broker, ReceivedMessage, Subscriber},
    service::{Home, Service},
};

const LABELS: &str = "labels: { red car: 0.75, green tree: 0.75, Blue Umbrella: 0.75 }";
const RULE: &str = "home/inbox/objects/lonely_car";
const STATE: &str = "home/inbox/objects/lonely_car/state";
const ALERT: &str = "home/inbox/objects/lonely_car/alert";

fn is(topic: &'static str, text: &'static str) -> impl Fn(&ReceivedMessage) -> bool {
    move |message| message.topic == topic && message.text() == text
}

/// Saves a configuration with `labels` instead of the labels of [`Home`].
fn save(home: &Home, original: &str, labels: &str) {
    assert!(original.contains(LABELS));
    fs::write(home.path("new"), original.replace(LABELS, labels)).unwrap();
    fs::rename(home.path("new"), home.path("stakeout.yaml")).unwrap();
}

fn alerts(messages: &[ReceivedMessage]) -> Vec<Value> {
    let alerts = messages.iter().filter(|message| message.topic == ALERT);
    alerts.map(|alert| serde_json::from_slice(&alert.payload).unwrap()).collect()
}

#[test]
fn a_rule_alerts_and_stays_raised_over_a_reload_and_a_restart() {
    let broker = Broker::start();
    let subscriber = Subscriber::start(&broker);
    let home = Home::new(broker.port, "");
    let original = fs::read_to_string(home.path("stakeout.yaml")).unwrap();
    let rule = |when: &str| format!("{LABELS}\n    rules: {{ Lonely car: {when} }}");
    save(&home, &original, &rule("red car and not green tree"));
    let mut service = Service::start(&home);
    subscriber.until("its state", is(STATE, "OFF"));
    subscriber.until("the source to be online", is("home/inbox/status", "online"));

    home.drop_picture("red-car.jpg", "1.jpg");
    let seen = subscriber.until_switched(RULE, "ON");
    let [raised] = &alerts(&seen)[..] else { panic!("{seen:#?}") };
    assert_eq!((&raised["state"], &raised["label"]), (&"raised".into(), &"Lonely car".into()));
    assert_eq!((&raised["score"], &raised["threshold"]), (&Value::Null, &Value::Null));
    assert_eq!(
        (&raised["when"], &raised["snapshot"]),
        (&"red car and not green tree".into(), &"home/inbox/snapshot".into())
    );
    assert_eq!(raised["scores"].as_object().unwrap().keys().collect::<Vec<_>>(), ["red car", "green tree"]);

    save(&home, &original, &rule("red car and not Blue Umbrela"));
    let seen = subscriber.until("the mistake", |message| {
        message.topic == "home/config/status" && message.text().contains("did you mean `Blue Umbrella`?")
    });
    assert_eq!(alerts(&seen), [] as [Value; 0]);
    save(&home, &original, &rule("red car and not Blue Umbrella"));
    service.wait_for_log("the configuration has changed and is in force");
    service.stop();

    let service = Service::start(&home);
    let seen = subscriber.until("its state after the restart", is(STATE, "ON"));
    assert_eq!(alerts(&seen), [] as [Value; 0], "neither cleared nor raised again");
    service.wait_until_watching();
    home.drop_picture("red-car-far-away.jpg", "2.jpg");
    home.drop_picture("empty-wall.jpg", "3.jpg");
    let seen = subscriber.until_switched(RULE, "OFF");
    let [cleared] = &alerts(&seen)[..] else { panic!("{seen:#?}") };
    assert_eq!(
        (&cleared["state"], &cleared["when"]),
        (&"cleared".into(), &"red car and not Blue Umbrella".into())
    );

    save(&home, &original, LABELS);
    subscriber.until("its state to be deleted", is(STATE, ""));
    drop(service);
}

#[test]
fn a_label_can_have_a_name_in_any_language() {
    let broker = Broker::start();
    let subscriber = Subscriber::start(&broker);
    let home = Home::new(broker.port, "");
    let original = fs::read_to_string(home.path("stakeout.yaml")).unwrap();
    let labels = "labels: { 赤い車: { prompts: [red car], threshold: 0.75 }, Größe ß: 0.9, вишня: 0.9 }";
    save(&home, &original, &labels.replace(", вишня: 0.9", ""));
    let service = Service::start(&home);
    subscriber.until("the source to be online", is("home/inbox/status", "online"));
    home.drop_picture("red-car.jpg", "1.jpg");
    let seen = subscriber.until_switched("home/inbox/objects/赤い車", "ON");
    let alert = seen.iter().find(|message| message.topic == "home/inbox/objects/赤い車/alert").unwrap();
    let alert: Value = serde_json::from_slice(&alert.payload).unwrap();
    assert_eq!(
        (&alert["label"], alert["scores"]["Größe ß"].is_number()),
        (&"赤い車".into(), true),
        "{alert}"
    );

    save(&home, &original, labels);
    subscriber.until("the new label", is("home/inbox/objects/вишня/state", "OFF"));
    drop(service);
}
