//! Home Assistant discovery and published scores, with the built binary and a real broker.

use std::{fs, time::Instant};

use serde_json::Value;

use crate::common::{
    broker::{Broker, ReceivedMessage, Subscriber, publish, retained, set_password},
    service::{Home, Service, sample},
    wait_until,
};

const SERVICE: &str = "homeassistant/device/home/config";
const INBOX: &str = "homeassistant/device/home__inbox/config";

fn topic(topic: &'static str) -> impl Fn(&ReceivedMessage) -> bool {
    move |message| message.topic == topic
}

fn payload(message: &ReceivedMessage) -> Value {
    serde_json::from_slice(&message.payload).unwrap_or_else(|_| panic!("JSON in {}", message.line()))
}

/// Replaces text in the configuration.
fn edit(home: &Home, from: &str, to: &str) {
    let text = fs::read_to_string(home.path("stakeout.yaml")).unwrap();
    assert!(text.contains(from), "{from:?} is not in {text}");
    fs::write(home.path("stakeout.yaml"), text.replace(from, to)).unwrap();
}

fn online(subscriber: &Subscriber) -> Vec<ReceivedMessage> {
    subscriber.until("the source to be online", |message| message.line() == "r home/inbox/status online")
}

fn stop(mut service: Service) {
    service.stop();
}

#[test]
fn devices_are_announced_and_announced_again_when_home_assistant_starts() {
    let broker = Broker::start();
    let subscriber = Subscriber::start(&broker);
    let home = Home::new(broker.port, "home_assistant: true\n");
    let service = Service::start(&home);
    let seen = subscriber.until("the source's device", topic(INBOX));
    let (of_service, device) = (seen.iter().find(|message| message.topic == SERVICE), seen.last().unwrap());
    assert_eq!(payload(of_service.expect("the service before its sources"))["dev"]["name"], "home");
    assert!(device.retain && device.qos == 1);
    let payload = payload(device);
    assert_eq!((&payload["dev"]["name"], &payload["dev"]["via_device"]), (&"Inbox".into(), &"home".into()));
    let component = &payload["cmps"]["objects/blue_umbrella/state"];
    assert_eq!((&component["name"], &component["p"]), (&"Blue Umbrella".into(), &"binary_sensor".into()));
    assert_eq!(component["state_topic"], "home/inbox/objects/blue_umbrella/state");

    service.wait_until_watching();
    // The broker acknowledges this alert after it has passed on `offline`.
    publish(&broker, "homeassistant/status", "offline");
    home.drop_picture("red-car.jpg", "1.jpg");
    let mut all = subscriber.until("an alert", topic("home/inbox/objects/red_car/alert"));
    for _ in 0..2 {
        publish(&broker, "homeassistant/status", "online");
        let again = subscriber.until("the same devices", topic(INBOX));
        assert_eq!(again.last().unwrap().payload, device.payload);
        assert!(again.iter().any(topic(SERVICE)));
        all.extend(again);
    }
    home.drop_picture("empty-wall.jpg", "2.jpg");
    all.extend(subscriber.until("another alert", topic("home/inbox/objects/red_car/alert")));
    stop(service);
    all.extend(subscriber.so_far(&broker));
    let announced = all.into_iter().filter(topic(INBOX)).count();
    assert_eq!(announced, 2, "once for each `online`, and not for `offline`");
}

#[test]
fn devices_are_announced_and_starts_noticed_in_each_session() {
    let mut broker = Broker::start();
    let home = Home::new(broker.port, "home_assistant: { discovery_prefix: ha, name: Eyes }\n");
    let service = Service::start(&home);
    service.wait_for_log("connected to the broker");
    broker.restart();
    let subscriber = Subscriber::start(&broker);
    let device = "ha/device/home__inbox/config";
    subscriber.until("the device, which the broker has forgotten", topic(device));
    publish(&broker, "homeassistant/status", "online");
    subscriber.until("the device again", topic(device));
    stop(service);
}

#[test]
fn changes_of_the_configuration_are_announced_at_once() {
    let broker = Broker::start();
    let subscriber = Subscriber::start(&broker);
    let home = Home::new(broker.port, "home_assistant: true\n");
    let service = Service::start(&home);
    subscriber.until("the source's device", topic(INBOX));

    service.wait_until_watching();
    edit(&home, "green tree: 0.75", "yellow fish: 0.75");
    let seen = subscriber.until("the device without it", |message| {
        message.topic == INBOX && !message.text().contains("green")
    });
    let device = payload(seen.last().unwrap());
    assert!(device["cmps"]["objects/yellow_fish/state"].is_object(), "{device}");

    edit(&home, "watch: [objects] }", "watch: [objects], scores: true }");
    subscriber.until("the sensors of the scores", |message| {
        message.topic == INBOX && message.text().contains("home/inbox/objects/scores")
    });
    home.drop_picture("empty-wall.jpg", "1.jpg");
    subscriber.until("the scores", topic("home/inbox/objects/scores"));
    stop(service);
}

#[test]
fn devices_removed_while_the_service_was_stopped_are_deleted() {
    let broker = Broker::start();
    let home = Home::new(broker.port, "home_assistant: true\n");
    edit(&home, "sources:\n", "sources:\n  Yard: { folder: yard, watch: [objects] }\n");
    fs::create_dir(home.path("yard")).unwrap();
    let subscriber = Subscriber::start(&broker);
    let service = Service::start(&home);
    let mut seen = subscriber.until("the first device", topic("homeassistant/device/home__yard/config"));
    seen.extend(subscriber.until("the last device", topic(INBOX)));
    wait_until("the announced devices are saved", || home.path("state/home_assistant.json").exists());
    let online = |message: &ReceivedMessage| message.line() == "r home/yard/status online";
    subscriber.also(&mut seen, "the source to be online", online);
    fs::copy(sample("red-car.jpg"), home.path("upload")).unwrap();
    fs::rename(home.path("upload"), home.path("yard/1.jpg")).unwrap();
    let mut seen = subscriber.until("an alert with its snapshot", topic("home/yard/objects/red_car/alert"));
    subscriber.also(&mut seen, "the frame counts", topic("home/yard/stats"));
    let stats = payload(seen.iter().find(|message| message.topic == "home/yard/stats").unwrap());
    assert_eq!(stats["frames"], 1);
    assert!(stats["per_second"].as_f64().is_some_and(|rate| rate > 0.0), "{stats}");
    assert!(stats["last_frame"].as_str().is_some_and(|time| time.ends_with('Z')), "{stats}");
    stop(service);
    let of_yard = |message: &&ReceivedMessage| message.topic.starts_with("home/yard/");
    assert_eq!(
        retained(&broker).iter().filter(of_yard).count(),
        6,
        "status, stats, snapshot and three states: {:#?}",
        retained(&broker)
    );

    edit(&home, "green tree: 0.75, ", "");
    edit(&home, "  Yard: { folder: yard, watch: [objects] }\n", "");
    let subscriber = Subscriber::start(&broker);
    let service = Service::start(&home);
    let seen = subscriber
        .until("the service's device", |message| message.topic == INBOX && !message.text().contains("green"));
    let inbox: Vec<_> = seen.iter().filter(|message| message.topic == INBOX).map(payload).collect();
    let [.., farewell, after] = &inbox[..] else { panic!("two messages: {inbox:#?}") };
    let removed = |payload: &Value| payload["cmps"]["objects/green_tree/state"].to_string();
    assert_eq!((&*removed(farewell), &*removed(after)), (r#"{"p":"binary_sensor"}"#, "null"));
    assert!(after["cmps"]["objects/red_car/state"].is_object());
    let yard = seen.iter().rfind(|message| message.topic.contains("home__yard")).unwrap();
    assert!(yard.payload.is_empty(), "{yard:?}");

    // Once: what the broker has acknowledged is removed from the file.
    let memory = || fs::read_to_string(home.path("state/home_assistant.json")).unwrap();
    wait_until("the deletion is saved", || !memory().contains("green") && !memory().contains("yard"));
    stop(service);
    let all = retained(&broker);
    let left: Vec<_> =
        all.iter().filter(|message| of_yard(message) || message.topic.contains("green")).collect();
    assert!(left.is_empty() && all.len() > 3, "{left:#?}");
    let topics = fs::read_to_string(home.path("state/topics.json")).unwrap();
    assert!(topics.contains("home/inbox/snapshot") && !topics.contains("yard"), "{topics}");

    edit(&home, "home_assistant: true", "home_assistant: false");
    let subscriber = Subscriber::start(&broker);
    let service = Service::start(&home);
    let gone = |message: &ReceivedMessage| message.topic == INBOX && message.payload.is_empty();
    subscriber.until("the deletion of the device", gone);
    wait_until("the file is empty", || memory() == "{}");
    drop(subscriber);
    assert!(!retained(&broker).iter().any(|message| message.topic.starts_with("homeassistant")));
    stop(service);
}

#[test]
fn a_broker_that_forbids_discovery_still_receives_alerts() {
    let settings = "allow_anonymous false\npassword_file {folder}/passwords\nacl_file {folder}/acl";
    let broker = Broker::prepared(settings, |folder| {
        set_password(&folder.join("passwords"), "eye", "secret");
        fs::write(folder.join("acl"), "user eye\ntopic readwrite home/#\n").unwrap();
    });
    let subscriber = Subscriber::with(&broker, &["-u", "eye", "-P", "secret"]);
    let home = Home::new(broker.port, "home_assistant: true\n");
    edit(&home, "prefix: home", "prefix: home, username: eye, password: secret");
    let service = Service::start(&home);
    online(&subscriber);
    service.wait_for_log("the broker refuses an announcement to Home Assistant");
    home.drop_picture("red-car.jpg", "1.jpg");
    subscriber.until("the alert", topic("home/inbox/objects/red_car/alert"));
    stop(service);
}

#[test]
fn alerts_survive_a_broker_that_disconnects_because_of_discovery() {
    let broker = Broker::with("allow_anonymous true\nmessage_size_limit 3000");
    let subscriber = Subscriber::start(&broker);
    let home = Home::new(broker.port, "home_assistant: true\n");
    let service = Service::start(&home);
    subscriber.until("the small device", topic(SERVICE));
    service.wait_for_log("a device is not announced to Home Assistant");
    publish(&broker, "homeassistant/status", "online");
    subscriber.until("the device again, on the new connection", topic(SERVICE));
    stop(service);
}

#[test]
fn an_alert_waits_for_the_birth_message_of_home_assistant() {
    let broker = Broker::start();
    let subscriber = Subscriber::start(&broker);
    let home = Home::new(broker.port, "home_assistant: true\n");
    let service = Service::start(&home);
    subscriber.also(&mut online(&subscriber), "the device", topic(INBOX));
    home.drop_picture("red-car.jpg", "1.jpg");
    let alert = "home/inbox/objects/red_car/alert";
    let mut seen = subscriber.until("the state, which waits for no one", |message| {
        message.line() == "r home/inbox/objects/red_car/state ON"
    });
    publish(&broker, "homeassistant/status", "online");
    subscriber.also(&mut seen, "the alert", topic(alert));
    let place = |wanted: &str| seen.iter().position(|message| message.topic == wanted).expect(wanted);
    assert!(place("homeassistant/status") < place(alert), "{seen:#?}");
    stop(service);
}

#[test]
fn after_a_kill_the_status_of_a_source_is_refreshed_before_the_service_is_online() {
    let broker = Broker::start();
    let home = Home::new(broker.port, "home_assistant: true\n");
    let subscriber = Subscriber::start(&broker);
    let mut service = Service::start(&home);
    online(&subscriber);
    service.signal("-KILL");
    service.wait();
    subscriber.until("the last will", |message| message.line() == "r home/status offline");
    let service = Service::start(&home);
    let seen = subscriber.until("the service", |message| message.line() == "r home/status online");
    assert!(seen.iter().any(|message| message.line() == "r home/inbox/status offline"), "{seen:#?}");
    stop(service);
}

#[test]
fn a_source_that_fails_says_why_until_it_is_well() {
    let broker = Broker::start();
    let home = Home::new(broker.port, "");
    edit(&home, "sources:\n", "sources:\n  Yard: { folder: yard, watch: [objects] }\n");
    let subscriber = Subscriber::start(&broker);
    let service = Service::start(&home);
    let of_yard = |message: &ReceivedMessage| message.topic == "home/yard/problem";
    let seen = subscriber.until("the problem", |message| of_yard(message) && !message.payload.is_empty());
    let problem = payload(seen.last().unwrap());
    assert!(seen.last().unwrap().retain);
    let text = |key: &str| problem[key].as_str().unwrap().to_owned();
    assert!(text("cause").ends_with("yard does not exist") && text("remedy").contains("create"), "{problem}");
    assert!(text("since").ends_with('Z'), "{problem}");
    fs::create_dir(home.path("yard")).unwrap();
    subscriber.until("the end of the problem", |message| of_yard(message) && message.payload.is_empty());
    stop(service);
    assert!(!retained(&broker).iter().any(of_yard), "nothing is left");
}

#[test]
fn scores_are_published_if_the_source_asks_for_them() {
    let broker = Broker::start();
    let subscriber = Subscriber::start(&broker);
    let home = Home::new(broker.port, "home_assistant: true\n");
    edit(&home, "watch: [objects] }", "watch: [objects], scores: true }");
    let service = Service::start(&home);
    subscriber.also(&mut online(&subscriber), "the device", topic(INBOX));
    let began = Instant::now();
    for number in 0..10 {
        home.drop_picture("empty-wall.jpg", &format!("{number}.jpg"));
    }
    home.drop_picture("red-car.jpg", "last.jpg");
    let seen = subscriber.until("the alert of the last picture", topic("home/inbox/objects/red_car/alert"));
    let scores: Vec<_> = seen.iter().filter(|message| message.topic == "home/inbox/objects/scores").collect();
    let seconds = began.elapsed().as_secs() as usize;
    assert!((1..=seconds + 2).contains(&scores.len()), "at most one a second: {scores:#?}");
    assert_eq!((scores[0].retain, scores[0].qos), (false, 0));
    let json = payload(scores[0]);
    assert_eq!((&json["source"], &json["label_set"]), (&"Inbox".into(), &"objects".into()));
    let keys: Vec<_> = json["scores"].as_object().unwrap().keys().collect();
    assert_eq!(keys, ["red car", "green tree", "Blue Umbrella", "background"]);
    stop(service);
}
