//! Names in every script, and names that topics would spell alike: each is a source or a label of its own.

use std::fs;

use serde_json::Value;

use crate::common::{
    broker::{Broker, ReceivedMessage, Subscriber, publish_bytes, retained},
    service::{Home, Service, sample},
    stakeout,
};

fn online(subscriber: &Subscriber, source: &str) {
    let line = format!("r home/{source}/status online");
    subscriber.until("the source to be online", |message| message.line() == line);
}

fn raised(subscriber: &Subscriber) -> (String, Value) {
    let is_raise = |message: &ReceivedMessage| {
        message.topic.ends_with("/alert") && message.text().contains(r#""state":"raised""#)
    };
    let seen = subscriber.until("a raised alert", is_raise);
    let alert = seen.last().unwrap();
    (alert.topic.clone(), serde_json::from_slice(&alert.payload).unwrap())
}

/// The topic level of the retained status of each source but `known`.
fn other_sources(broker: &Broker, known: &[&str]) -> Vec<String> {
    let levels = retained(broker).into_iter().filter_map(|message| {
        let level = message.topic.strip_prefix("home/")?.strip_suffix("/status")?.to_owned();
        (!message.payload.is_empty() && !level.contains('/')).then_some(level)
    });
    let service = ["config", "outbox"];
    levels.filter(|level| !known.contains(&&**level) && !service.contains(&&**level)).collect()
}

#[test]
fn two_cameras_with_names_outside_ascii_are_two_sources() {
    let broker = Broker::start();
    let sources = "  frig: { mqtt: frigate/+/person/snapshot, name: 'frig-{1}', watch: [objects] }\n";
    let home = Home::with_sources(broker.port, "home", sources);
    let subscriber = Subscriber::start(&broker);
    let mut service = Service::start(&home);
    online(&subscriber, "frig");
    for (camera, picture) in [("前门", "empty-wall.jpg"), ("后门", "red-car.jpg")] {
        let picture = fs::read(sample(picture)).unwrap();
        publish_bytes(&broker, &format!("frigate/{camera}/person/snapshot"), &picture, &[]);
    }
    let (topic, alert) = raised(&subscriber);
    assert_eq!((&alert["source"], &*topic), (&"frig-后门".into(), "home/frig-后门/objects/red_car/alert"));
    assert_eq!(alert["snapshot"], "home/frig-后门/snapshot");
    service.stop();
    let sources = other_sources(&broker, &[]);
    assert!(["frig-前门", "frig-后门"].iter().all(|name| sources.iter().any(|it| it == name)), "{sources:?}");
}

#[test]
fn a_configuration_in_chinese_has_topics_and_entities_of_its_own() {
    let broker = Broker::start();
    let home = Home::new(broker.port, "home_assistant: true\n");
    let text = fs::read_to_string(home.path("stakeout.yaml")).unwrap();
    let text = text
        .replace("  objects:\n", "  物体:\n")
        .replace("red car: 0.75", "红色汽车: { prompts: [red car], threshold: 0.75 }");
    let text = text.replace(
        "  Inbox: { folder: inbox, watch: [objects] }\n",
        "  院子: { folder: inbox, watch: [物体] }\n  车库: { folder: other, watch: [物体] }\n",
    );
    fs::write(home.path("stakeout.yaml"), &text).unwrap();
    fs::create_dir(home.path("other")).unwrap();
    let check =
        stakeout().args(["check", "--offline", "--config"]).arg(home.path("stakeout.yaml")).output().unwrap();
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stderr));

    let subscriber = Subscriber::start(&broker);
    let mut service = Service::start(&home);
    let mut seen = subscriber
        .until("the device", |message| message.topic == "homeassistant/device/home__yuan_zi/config");
    let device: Value = serde_json::from_slice(&seen.last().unwrap().payload).unwrap();
    let state = &device["cmps"]["wu_ti/hong_se_qi_che/state"];
    assert_eq!(
        (&state["unique_id"], &state["default_entity_id"], &state["state_topic"], &state["name"]),
        (
            &"home/yuan_zi/wu_ti/hong_se_qi_che/state".into(),
            &"binary_sensor.home_yuan_zi_wu_ti_hong_se_qi_che".into(),
            &"home/院子/物体/红色汽车/state".into(),
            &"红色汽车".into()
        )
    );
    let line = "r home/院子/status online";
    subscriber.also(&mut seen, line, |message| message.line() == line);
    home.drop_picture("red-car.jpg", "1.jpg");
    let (topic, alert) = raised(&subscriber);
    assert_eq!((&alert["source"], &*topic), (&"院子".into(), "home/院子/物体/红色汽车/alert"));
    service.stop();
}

#[test]
fn a_source_keeps_its_topics_when_one_with_the_same_spelling_is_added() {
    let broker = Broker::start();
    let home = Home::with_sources(broker.port, "home", "  Front Door: { folder: inbox, watch: [objects] }\n");
    let subscriber = Subscriber::start(&broker);
    let mut service = Service::start(&home);
    online(&subscriber, "front_door");
    let text = fs::read_to_string(home.path("stakeout.yaml")).unwrap();
    fs::create_dir(home.path("other")).unwrap();
    // Before the other one in the file: the order does not matter.
    let both =
        text.replace("  Front Door:", "  front_door: { folder: other, watch: [objects] }\n  Front Door:");
    fs::write(home.path("new"), both).unwrap();
    fs::rename(home.path("new"), home.path("stakeout.yaml")).unwrap();
    let seen = subscriber.until("the new source to be online", |message| {
        message.topic.starts_with("home/front_door_") && message.line().ends_with("/status online")
    });
    let stats = seen.last().unwrap().topic.replace("/status", "/stats");
    home.drop_picture("red-car.jpg", "1.jpg");
    let (topic, alert) = raised(&subscriber);
    assert_eq!((&alert["source"], &*topic), (&"Front Door".into(), "home/front_door/objects/red_car/alert"));
    fs::copy(sample("green-tree.jpg"), home.path("upload")).unwrap();
    fs::rename(home.path("upload"), home.path("other/1.jpg")).unwrap();
    subscriber.until("the figures of the new source", |message| message.topic == stats);
    service.stop();

    // After a restart, too, although now both are there from the start.
    let levels = other_sources(&broker, &[]);
    assert_eq!(levels.len(), 2, "{levels:?}");
    let subscriber = Subscriber::start(&broker);
    let mut service = Service::start(&home);
    online(&subscriber, "front_door");
    service.stop();
    assert_eq!(other_sources(&broker, &[]), levels);
}
