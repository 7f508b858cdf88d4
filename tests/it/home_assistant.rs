//! Home Assistant finds everything by itself, and scores: the built binary with a real broker.

use std::{fs, time::Duration};

use serde_json::Value;

use crate::common::{
    broker::{Broker, Message, Subscriber, kept, publish, set_password, wait_until},
    service::{Home, Service, sample},
};

const SERVICE: &str = "homeassistant/device/home/config";
const INBOX: &str = "homeassistant/device/home__inbox/config";

fn topic(topic: &'static str) -> impl Fn(&Message) -> bool {
    move |message| message.topic == topic
}

fn payload(message: &Message) -> Value {
    serde_json::from_slice(&message.payload).unwrap_or_else(|_| panic!("JSON in {}", message.line()))
}

/// Changes what is in the configuration, as an editor would.
fn edit(home: &Home, from: &str, to: &str) {
    let text = fs::read_to_string(home.path("stakeout.yaml")).unwrap();
    assert!(text.contains(from), "{from:?} is not in {text}");
    fs::write(home.path("stakeout.yaml"), text.replace(from, to)).unwrap();
}

fn online(subscriber: &Subscriber) -> Vec<Message> {
    subscriber.until("the source to be online", |message| message.line() == "r home/inbox/status online")
}

fn stop(mut service: Service) {
    service.signal("-TERM");
    assert!(service.wait().0.success());
}

#[test]
fn it_is_told_what_there_is_and_told_again_when_it_starts() {
    let broker = Broker::start();
    let subscriber = Subscriber::start(&broker);
    let home = Home::new(broker.port, "home_assistant: true\n");
    let service = Service::start(&home);
    let seen = subscriber.until("the source's device", topic(INBOX));
    let (service_told, told) = (seen.iter().find(|message| message.topic == SERVICE), seen.last().unwrap());
    assert_eq!(payload(service_told.expect("the service before its sources"))["dev"]["name"], "home");
    assert!(told.retain && told.qos == 1);
    let payload = payload(told);
    assert_eq!((&payload["dev"]["name"], &payload["dev"]["via_device"]), (&"Inbox".into(), &"home".into()));
    let component = &payload["cmps"]["objects/blue_umbrella/state"];
    assert_eq!((&component["name"], &component["p"]), (&"Blue Umbrella".into(), &"binary_sensor".into()));
    assert_eq!(component["state_topic"], "home/inbox/objects/blue_umbrella/state");

    publish(&broker, "homeassistant/status", "offline");
    assert!(!subscriber.rest(Duration::from_millis(300)).iter().any(topic(INBOX)), "only a start is news");
    for _ in 0..2 {
        publish(&broker, "homeassistant/status", "online");
        let again = subscriber.until("the same again", topic(INBOX));
        assert_eq!(again.last().unwrap().payload, told.payload);
        assert!(again.iter().any(topic(SERVICE)));
    }
    home.drop_picture("red-car.jpg", "1.jpg");
    subscriber.until("alerts all the same", topic("home/inbox/objects/red_car/alert"));
    stop(service);
}

#[test]
fn it_is_told_again_by_each_session_and_listened_to_in_each() {
    let mut broker = Broker::start();
    let home = Home::new(broker.port, "home_assistant: { discovery_prefix: ha, name: Eyes }\n");
    let service = Service::start(&home);
    service.wait_for_words("connected to the broker");
    broker.restart();
    let subscriber = Subscriber::start(&broker);
    let told = "ha/device/home__inbox/config";
    subscriber.until("what the broker has forgotten", topic(told));
    publish(&broker, "homeassistant/status", "online");
    subscriber.until("it again", topic(told));
    stop(service);
}

#[test]
fn what_is_removed_or_asked_for_while_the_service_runs_is_told_at_once() {
    let broker = Broker::start();
    let subscriber = Subscriber::start(&broker);
    let home = Home::new(broker.port, "home_assistant: true\n");
    let service = Service::start(&home);
    subscriber.until("the source's device", topic(INBOX));

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
fn what_was_removed_while_the_service_was_down_is_taken_back() {
    let broker = Broker::start();
    let home = Home::new(broker.port, "home_assistant: true\n");
    edit(&home, "sources:\n", "sources:\n  Yard: { folder: yard, watch: [objects] }\n");
    fs::create_dir(home.path("yard")).unwrap();
    let subscriber = Subscriber::start(&broker);
    let service = Service::start(&home);
    let mut seen = subscriber.until("the first device", topic("homeassistant/device/home__yard/config"));
    seen.extend(subscriber.until("the last device", topic(INBOX)));
    wait_until("it is remembered", || home.path("state/home_assistant.json").exists());
    let online = |message: &Message| message.line() == "r home/yard/status online";
    subscriber.also(&mut seen, "the source to be online", online);
    fs::copy(sample("red-car.jpg"), home.path("upload")).unwrap();
    fs::rename(home.path("upload"), home.path("yard/1.jpg")).unwrap();
    let mut seen = subscriber.until("an alert with its snapshot", topic("home/yard/objects/red_car/alert"));
    subscriber.also(&mut seen, "its frames", topic("home/yard/stats"));
    let stats = payload(seen.iter().find(|message| message.topic == "home/yard/stats").unwrap());
    assert_eq!(stats["frames"], 1);
    assert!(stats["per_second"].as_f64().is_some_and(|rate| rate > 0.0), "{stats}");
    assert!(stats["last_frame"].as_str().is_some_and(|time| time.ends_with('Z')), "{stats}");
    stop(service);
    let kept = || kept(&broker);
    let of_yard = |message: &&Message| message.topic.starts_with("home/yard/");
    assert_eq!(
        kept().iter().filter(of_yard).count(),
        6,
        "status, stats, snapshot and three states: {:#?}",
        kept()
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

    // Once is enough: the file forgets what the broker has acknowledged.
    let memory = || fs::read_to_string(home.path("state/home_assistant.json")).unwrap();
    wait_until("it is forgotten", || !memory().contains("green") && !memory().contains("yard"));
    stop(service);
    let all = kept();
    let left: Vec<_> =
        all.iter().filter(|message| of_yard(message) || message.topic.contains("green")).collect();
    assert!(left.is_empty() && all.len() > 3, "{left:#?}");
    let topics = fs::read_to_string(home.path("state/topics.json")).unwrap();
    assert!(topics.contains("home/inbox/snapshot") && !topics.contains("yard"), "{topics}");

    edit(&home, "home_assistant: true", "home_assistant: false");
    let subscriber = Subscriber::start(&broker);
    let service = Service::start(&home);
    let gone = |message: &Message| message.topic == INBOX && message.payload.is_empty();
    subscriber.until("no device", gone);
    wait_until("all is forgotten", || memory() == "{}");
    drop(subscriber);
    assert!(!kept().iter().any(|message| message.topic.starts_with("homeassistant")));
    stop(service);
}

#[test]
fn a_broker_that_forbids_it_still_gets_alerts() {
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
    service.wait_for_words("Home Assistant cannot be told");
    home.drop_picture("red-car.jpg", "1.jpg");
    subscriber.until("the alert", topic("home/inbox/objects/red_car/alert"));
    stop(service);
}

#[test]
fn a_broker_that_hangs_up_on_it_is_not_lost_for_alerts() {
    let broker = Broker::with("allow_anonymous true\nmessage_size_limit 1500");
    let subscriber = Subscriber::start(&broker);
    let home = Home::new(broker.port, "home_assistant: true\n");
    let service = Service::start(&home);
    subscriber.until("the small device", topic(SERVICE));
    service.wait_for_words("Home Assistant is not told of this");
    publish(&broker, "homeassistant/status", "online");
    subscriber.until("the connection lasts", topic(SERVICE));
    stop(service);
}

#[test]
fn scores_are_told_to_who_asks_for_them() {
    let broker = Broker::start();
    let subscriber = Subscriber::start(&broker);
    let home = Home::new(broker.port, "home_assistant: true\n");
    edit(&home, "watch: [objects] }", "watch: [objects], scores: true }");
    let service = Service::start(&home);
    subscriber.also(&mut online(&subscriber), "the device", topic(INBOX));
    for number in 0..10 {
        home.drop_picture("empty-wall.jpg", &format!("{number}.jpg"));
    }
    home.drop_picture("red-car.jpg", "last.jpg");
    let seen = subscriber.until("the alert of the last one", topic("home/inbox/objects/red_car/alert"));
    let scores: Vec<_> = seen.iter().filter(|message| message.topic == "home/inbox/objects/scores").collect();
    assert!((1..=3).contains(&scores.len()), "at most one a second: {scores:#?}");
    assert_eq!((scores[0].retain, scores[0].qos), (false, 0));
    let json = payload(scores[0]);
    assert_eq!((&json["source"], &json["label_set"]), (&"Inbox".into(), &"objects".into()));
    let keys: Vec<_> = json["scores"].as_object().unwrap().keys().collect();
    assert_eq!(keys, ["red car", "green tree", "Blue Umbrella", "background"]);
    stop(service);
}
