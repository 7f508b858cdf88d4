//! What is set while the service runs: over MQTT, through the API and by commands. Each effect, what survives, and what is refused.

use std::{fs, process::Output};

use serde_json::{Value, json};

use crate::common::{
    broker::{Broker, ReceivedMessage, Subscriber, publish, publish_bytes, retained},
    service::{Home, Service},
    stakeout, wait_until,
};

const CAR: &str = "home/inbox/objects/red_car";
const NEAR_MISS: &str = "home/inbox/objects/red_car/near_miss";

/// A service that takes commands, and a subscriber that has seen it come online.
struct World {
    // Fields are dropped in this order: the service before its broker.
    service: Service,
    subscriber: Subscriber,
    home: Home,
    broker: Broker,
}

impl World {
    fn start(keys: &str) -> Self {
        let broker = Broker::start();
        let subscriber = Subscriber::start(&broker);
        let home = Home::new(broker.port, "");
        let world_keys = format!("prefix: home, near_misses: true, {keys}");
        edit(&home, "prefix: home", world_keys.trim_end_matches(", "));
        let service = Service::start(&home);
        let mut world = Self { service, subscriber, home, broker };
        world.is_ready();
        world
    }

    /// Waits until the service takes requests.
    fn is_ready(&mut self) {
        self.service.wait_until_watching();
        self.until("home/inbox/status", "online");
    }

    fn restart(&mut self) {
        self.service.stop();
        self.subscriber.so_far(&self.broker);
        self.service = Service::start(&self.home);
        self.is_ready();
    }

    /// Waits until this is published, and returns everything before it.
    fn until(&self, topic: &str, text: &str) -> Vec<ReceivedMessage> {
        let is = |message: &ReceivedMessage| message.topic == topic && message.text() == text;
        self.subscriber.until(&format!("{topic} {text}"), is)
    }

    /// Publishes a request, and waits for the state that it causes.
    fn set(&self, topic: &str, payload: &str, state: &str) {
        publish(&self.broker, &format!("{topic}/set"), payload);
        self.until(topic, state);
    }

    fn command(&self, arguments: &[&str]) -> Output {
        let mut command = stakeout();
        command.args(arguments).arg("--config").arg(self.home.path("stakeout.yaml"));
        command.output().unwrap()
    }

    fn json(&self, arguments: &[&str]) -> Vec<Value> {
        let output = self.command(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", error(&output));
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Shows a picture, with a name that no other one has.
    fn show(&self, picture: &str, name: &str) {
        self.home.drop_unique_picture(picture, name);
    }

    /// The retained value of a topic, as a new subscriber receives it.
    fn retained(&self, topic: &str) -> Option<String> {
        let found = retained(&self.broker).into_iter().find(|message| message.topic == topic);
        found.map(|message| message.text().to_owned())
    }
}

fn edit(home: &Home, from: &str, to: &str) {
    let file = home.path("stakeout.yaml");
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.contains(from), "{from}");
    fs::write(home.path("new"), text.replace(from, to)).unwrap();
    fs::rename(home.path("new"), file).unwrap();
}

fn error(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Waits until the service has subscribed to the requests.
fn takes_commands(world: &World) {
    world.service.wait_for_log("receiving requests");
}

#[test]
fn a_source_is_switched_off_and_on() {
    let world = World::start("commands: true");
    takes_commands(&world);
    world.show("red-car.jpg", "1.jpg");
    world.subscriber.until_switched(CAR, "ON");
    publish(&world.broker, "home/inbox/enabled/set", "OFF");
    let mut seen = world.subscriber.until_switched(CAR, "OFF");
    let cleared = seen.iter().find(|message| message.topic.ends_with("/alert")).unwrap();
    let cleared: Value = serde_json::from_slice(&cleared.payload).unwrap();
    assert_eq!((&cleared["state"], &cleared["reason"]), (&json!("cleared"), &json!("disabled")));
    for (topic, text) in [("home/inbox/enabled", "OFF"), ("home/inbox/status", "disabled")] {
        world.subscriber.also(&mut seen, topic, |message| message.topic == topic && message.text() == text);
    }
    let problem =
        seen.iter().find(|message| message.topic == "home/inbox/problem" && !message.payload.is_empty());
    assert_eq!(problem, None, "a source that is switched off has no problem");

    publish(&world.broker, "home/inbox/enabled/set", "on");
    let mut seen = Vec::new();
    for (topic, text) in [("home/inbox/enabled", "ON"), ("home/inbox/status", "online")] {
        world.subscriber.also(&mut seen, topic, |message| message.topic == topic && message.text() == text);
    }
    world.show("red-car.jpg", "2.jpg");
    world.subscriber.until_switched(CAR, "ON");
}

#[test]
fn a_label_is_switched_off_and_on() {
    let world = World::start("commands: true");
    takes_commands(&world);
    world.set(&format!("{CAR}/enabled"), "OFF", "OFF");
    world.show("red-car.jpg", "1.jpg");
    world.show("green-tree.jpg", "2.jpg");
    let seen = world.subscriber.until_switched("home/inbox/objects/green_tree", "ON");
    assert!(!seen.iter().any(|message| message.topic == format!("{CAR}/alert")), "{seen:#?}");
    let explained = world.command(&["explain", "Inbox/objects/red car"]);
    let text = String::from_utf8(explained.stdout).unwrap();
    assert!(text.contains("held by enabled: it is switched off"), "{text}");
    assert!(text.contains("enabled false, set over MQTT at 20"), "{text}");
    world.set(&format!("{CAR}/enabled"), "ON", "ON");
    world.show("red-car.jpg", "3.jpg");
    world.subscriber.until_switched(CAR, "ON");
}

#[test]
fn a_threshold_that_was_set_survives_a_restart_until_the_file_changes_it() {
    let mut world = World::start("commands: true");
    takes_commands(&world);
    let threshold = format!("{CAR}/threshold");
    world.set(&threshold, "0.9999", "0.9999");
    world.show("red-car.jpg", "1.jpg");
    world.show("green-tree.jpg", "2.jpg");
    let seen = world.subscriber.until_switched("home/inbox/objects/green_tree", "ON");
    assert!(!seen.iter().any(|message| message.topic == format!("{CAR}/alert")), "{seen:#?}");

    let explained = world.command(&["check", "--offline", "--explain"]);
    let text = String::from_utf8(explained.stdout).unwrap();
    assert!(
        text.contains("threshold 0.9999, set over MQTT at 20") && text.contains("; 0.75 in the file"),
        "{text}"
    );

    world.restart();
    assert_eq!(world.retained(&threshold).as_deref(), Some("0.9999"));
    // Another setting in the file leaves it alone.
    edit(&world.home, "green tree: 0.75", "green tree: 0.76");
    world.until("home/inbox/objects/green_tree/threshold", "0.76");
    assert_eq!(world.retained(&threshold).as_deref(), Some("0.9999"));
    edit(&world.home, "red car: 0.75", "red car: 0.7");
    world.until(&threshold, "0.7");
    world.service.wait_for_log("the configuration was changed, and wins over what was set");
    world.restart();
    assert_eq!(world.retained(&threshold).as_deref(), Some("0.7"));
    world.show("red-car.jpg", "3.jpg");
    world.subscriber.until_switched(CAR, "ON");
}

#[test]
fn held_alerts_of_a_snooze_are_near_misses() {
    let mut world = World::start("commands: true");
    takes_commands(&world);
    publish(&world.broker, "home/inbox/snooze/set", "1h");
    let is_state = |message: &ReceivedMessage| {
        message.topic == "home/inbox/snooze" && message.text().contains(r#""asked":"1h""#)
    };
    let seen = world.subscriber.until("the state of the snooze", is_state);
    let state: Value = serde_json::from_slice(&seen.last().unwrap().payload).unwrap();
    assert!(state["until"].as_str().unwrap().ends_with('Z'), "{state}");

    world.show("red-car.jpg", "1.jpg");
    let seen = world.subscriber.until("the near miss", |message| message.topic == NEAR_MISS);
    assert!(!seen.iter().any(|message| message.topic.ends_with("/alert")), "{seen:#?}");
    let near_miss: Value = serde_json::from_slice(&seen.last().unwrap().payload).unwrap();
    assert_eq!(
        (&near_miss["held_by"]["gate"], &near_miss["passed"]),
        (&json!("snooze"), &json!(["threshold"]))
    );
    assert!(near_miss["reason"].as_str().unwrap().starts_with("snooze: until 20"), "{near_miss}");

    world.restart();
    takes_commands(&world);
    let state = world.retained("home/inbox/snooze").unwrap();
    assert!(state.contains(r#""asked":"1h""#), "it survives a restart: {state}");
    world.set("home/inbox/snooze", "off", r#"{"until":null,"asked":"off"}"#);
    world.show("red-car.jpg", "2.jpg");
    world.subscriber.until_switched(CAR, "ON");
}

#[test]
fn one_label_is_snoozed() {
    let world = World::start("commands: true");
    takes_commands(&world);
    publish(&world.broker, &format!("{CAR}/snooze/set"), "until 07:00");
    let is_state = |message: &ReceivedMessage| {
        message.topic == format!("{CAR}/snooze") && message.text().contains(r#""asked":"until 07:00""#)
    };
    world.subscriber.until("the state of the snooze", is_state);
    world.show("red-car.jpg", "1.jpg");
    world.show("green-tree.jpg", "2.jpg");
    let seen = world.subscriber.until_switched("home/inbox/objects/green_tree", "ON");
    assert!(!seen.iter().any(|message| message.topic == format!("{CAR}/alert")), "{seen:#?}");
}

#[test]
fn a_picture_is_published_when_it_is_asked_for() {
    let world = World::start("commands: true");
    takes_commands(&world);
    publish(&world.broker, "home/inbox/snapshot/get", "");
    world.service.wait_for_log("a picture was asked for over MQTT, and there was no frame since the start");
    world.show("green-tree.jpg", "1.jpg");
    world.subscriber.until_switched("home/inbox/objects/green_tree", "ON");
    publish(&world.broker, "home/inbox/snapshot/get", "");
    let seen = world.subscriber.until("the picture", |message| message.topic == "home/inbox/snapshot/now");
    let picture = seen.last().unwrap();
    assert!(picture.retain && picture.payload.starts_with(&[0xFF, 0xD8, 0xFF]), "{}", picture.payload.len());
}

#[test]
fn an_alert_is_marked_over_mqtt() {
    let world = World::start("commands: true");
    takes_commands(&world);
    world.show("red-car.jpg", "1.jpg");
    let seen = world.subscriber.until_switched(CAR, "ON");
    let alert = seen.iter().find(|message| message.topic == format!("{CAR}/alert")).unwrap();
    let alert: Value = serde_json::from_slice(&alert.payload).unwrap();
    let marks = || {
        let output = world.command(&["mark"]);
        assert!(output.status.success(), "{}", error(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(!marks().contains("red car"), "{}", marks());
    let verdict = json!({ "id": alert["id"], "verdict": "wrong" }).to_string();
    // The history is written beside the alert: until then nothing has this identifier.
    wait_until("the alert is marked", || {
        publish(&world.broker, "home/mark", &verdict);
        marks().contains("red car")
    });
}

#[test]
fn what_is_invalid_is_logged_with_what_to_do_and_changes_nothing() {
    let world = World::start("commands: true");
    takes_commands(&world);
    let before = retained(&world.broker);
    let long = "9".repeat(100);
    for (topic, payload, what) in [
        ("home/inbox/enabled/set", "maybe", "is neither on nor off. Publish `ON` or `OFF`."),
        (
            "home/inbox/objects/red_car/threshold/set",
            "70",
            "is not a score above 0 and up to 1. did you mean `0.7`?",
        ),
        (
            "home/inbox/objects/red_car/threshold/set",
            &*long,
            "the payload has 100 bytes, and 64 are allowed.",
        ),
        (
            "home/inbox/snooze/set",
            "for ever",
            "is no snooze. write how long, such as `1h`, or `until 07:00`, or `off`",
        ),
        ("home/garage/enabled/set", "OFF", "no source and no label has this topic."),
        ("home/inbox/objects/wolf/snooze/set", "1h", "no source and no label has this topic."),
        ("home/mark", "right", "the request is not JSON"),
    ] {
        publish(&world.broker, topic, payload);
        world.service.wait_for_log(what);
    }
    publish_bytes(&world.broker, "home/inbox/enabled/set", b"\xff\xfe", &[]);
    world.service.wait_for_log("the payload is not text");
    assert_eq!(retained(&world.broker), before, "no state has changed");
    assert!(world.json(&["set", "--json"]).is_empty());
}

#[test]
fn a_retained_request_is_an_old_one_and_is_ignored() {
    let mut world = World::start("commands: true, version: 3.1.1");
    takes_commands(&world);
    // It reaches the service that is connected as a new message, and is applied.
    publish_bytes(&world.broker, "home/inbox/objects/red_car/threshold/set", b"0.9", &["-r"]);
    world.until(&format!("{CAR}/threshold"), "0.9");
    world.set(&format!("{CAR}/threshold"), "0.8", "0.8");
    world.restart();
    takes_commands(&world);
    // When a later request has been carried out, the retained one would have been.
    world.set("home/inbox/objects/green_tree/threshold", "0.6", "0.6");
    assert_eq!(world.retained(&format!("{CAR}/threshold")).as_deref(), Some("0.8"));
}

#[test]
fn without_commands_nothing_is_read_and_no_state_is_published() {
    let world = World::start("");
    publish(&world.broker, "home/inbox/enabled/set", "OFF");
    publish(&world.broker, &format!("{CAR}/threshold/set"), "0.9");
    world.show("red-car.jpg", "1.jpg");
    let seen = world.subscriber.until_switched(CAR, "ON");
    let is_control = |message: &ReceivedMessage| {
        ["/enabled", "/threshold", "/snooze", "/now"].iter().any(|end| message.topic.ends_with(end))
    };
    assert_eq!(seen.iter().find(|message| is_control(message)), None);
    assert!(!retained(&world.broker).iter().any(is_control));
    // Commands and the API set the same, without MQTT.
    let set = world.json(&["disable", "Inbox", "--label", "red car", "--json"]);
    assert_eq!((&set[0]["changed"], &set[0]["set"]["by"]), (&json!(true), &json!("command")));
    world.subscriber.until_switched(CAR, "OFF");
}

#[test]
fn states_are_removed_when_commands_are_switched_off() {
    let mut world = World::start("commands: true");
    assert_eq!(world.retained("home/inbox/enabled").as_deref(), Some("ON"));
    edit(&world.home, "commands: true", "commands: false");
    world.restart();
    wait_until("the states are removed", || world.retained("home/inbox/enabled").is_none());
    assert_eq!(world.retained(&format!("{CAR}/threshold")), None);
}

#[test]
fn commands_set_list_and_undo() {
    let world = World::start("commands: true");
    takes_commands(&world);
    let set = world.json(&["set", "inbox", "--label", "red car", "--threshold", "0.9", "--json"]);
    assert_eq!((&set[0]["set"]["value"], &set[0]["set"]["file"]), (&json!("0.9"), &json!("0.75")));
    world.until(&format!("{CAR}/threshold"), "0.9");
    world.json(&["snooze", "Inbox", "--label", "objects/green tree", "1h", "--json"]);
    world.json(&["snooze", "Inbox", "until", "07:00", "--json"]);
    let listed = world.command(&["set"]);
    let text = String::from_utf8(listed.stdout).unwrap();
    let lines: Vec<_> = text.lines().collect();
    let [threshold, tree, inbox] = &lines[..] else { panic!("{text}") };
    assert!(threshold.starts_with("Inbox/objects/red car  threshold 0.9, set by a command at 20"), "{text}");
    assert!(tree.starts_with("Inbox/objects/green tree  snoozed until 20"), "{text}");
    assert!(inbox.starts_with("Inbox  snoozed until 20"), "{text}");

    let back = world.command(&["set", "Inbox", "--label", "red car", "--threshold", "0.75"]);
    assert_eq!(String::from_utf8(back.stdout).unwrap(), "Inbox/red car  threshold as in the configuration\n");
    world.until(&format!("{CAR}/threshold"), "0.75");
    for arguments in [&["snooze", "Inbox", "off"][..], &["snooze", "Inbox", "--label", "green tree", "off"]] {
        assert!(world.command(arguments).status.success());
    }
    assert!(world.json(&["set", "--json"]).is_empty());

    for (arguments, text) in [
        (&["disable", "Garage"][..], "there is no source `Garage`; known: `Inbox`"),
        (&["disable", "Inbox", "--label", "wolf"], "`Inbox` watches no label"),
        (&["snooze", "Inbox", "forever"], "is no snooze"),
        (
            &["set", "Inbox", "--label", "red car", "--threshold", "7"],
            "7 is not a number above 0 and up to 1",
        ),
        (&["set", "Inbox", "--label", "red car"], "--threshold"),
    ] {
        let output = world.command(arguments);
        assert_eq!(output.status.code(), Some(64), "{arguments:?}: {}", error(&output));
        assert!(error(&output).contains(text), "{arguments:?}: {}", error(&output));
    }
}

#[test]
fn a_command_without_a_service_says_so() {
    let broker = Broker::start();
    let home = Home::new(broker.port, "");
    let mut command = stakeout();
    command.args(["snooze", "Inbox", "1h", "--config"]).arg(home.path("stakeout.yaml"));
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", error(&output));
    assert!(error(&output).contains("no service"), "{}", error(&output));
}

#[test]
fn a_source_that_the_file_switches_off_is_switched_on_from_outside() {
    let broker = Broker::start();
    let subscriber = Subscriber::start(&broker);
    let home = Home::new(broker.port, "");
    edit(&home, "prefix: home", "prefix: home, commands: true");
    edit(&home, "folder: inbox", "folder: inbox, enabled: false");
    let service = Service::start(&home);
    let is = |topic: &'static str, text: &'static str| {
        move |message: &ReceivedMessage| message.topic == topic && message.text() == text
    };
    subscriber.until("the source to be off", is("home/inbox/status", "disabled"));
    service.wait_for_log("receiving requests");
    publish(&broker, "home/inbox/enabled/set", "ON");
    subscriber.until("the source to be on", is("home/inbox/status", "online"));
    home.drop_picture("red-car.jpg", "1.jpg");
    subscriber.until_switched(CAR, "ON");
}
