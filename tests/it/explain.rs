//! `stakeout explain`, with the built binary: from a running service, from what it remembers, and for a picture.

use std::{fs, process::Output};

use serde_json::Value;

use crate::common::{
    broker::{Broker, Subscriber, free_port},
    service::{Home, Service, sample},
    stakeout, wait_until,
};

/// A home whose red car must be seen on two frames, and whose green tree counts only at night.
fn home(port: u16) -> Home {
    let home = Home::new(port, "");
    let path = home.path("stakeout.yaml");
    let text = fs::read_to_string(&path).unwrap();
    let labels = "{ red car: { threshold: 0.75, hold: 2 of 2 }, \
                  green tree: { threshold: 0.75, active: 22:00-06:00 UTC }, Blue Umbrella: 0.75 }\n    \
                  rules: { parked: { when: red car and not green tree } }";
    fs::write(path, text.replace("{ red car: 0.75, green tree: 0.75, Blue Umbrella: 0.75 }", labels))
        .unwrap();
    home
}

fn explain(home: &Home, arguments: &[&str]) -> Output {
    let mut command = stakeout();
    command.args(["explain", "--config"]).arg(home.path("stakeout.yaml")).args(arguments);
    command.env("TZ", "UTC").output().unwrap()
}

fn answer(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The first answer for which `holds` is true.
fn until(home: &Home, what: &str, arguments: &[&str], holds: impl Fn(&str) -> bool) -> String {
    let mut text = String::new();
    wait_until(what, || {
        let output = explain(home, arguments);
        text = String::from_utf8_lossy(&output.stdout).into_owned();
        output.status.success() && holds(&text)
    });
    text
}

/// The lines of a label: its own, and those of its gates.
fn lines<'t>(text: &'t str, label: &str) -> Vec<&'t str> {
    let mut lines = text.lines().skip_while(|line| !line.starts_with(label));
    let first = lines.next().unwrap_or_else(|| panic!("{label} is missing in:\n{text}"));
    std::iter::once(first).chain(lines.take_while(|line| line.starts_with(' '))).map(str::trim).collect()
}

#[test]
fn the_running_service_and_then_its_memory_say_why_there_was_no_alert() {
    let broker = Broker::start();
    let home = home(broker.port);
    let subscriber = Subscriber::start(&broker);
    let mut service = Service::start(&home);
    subscriber.until("the source to be online", |message| message.line() == "r home/inbox/status online");
    let before = until(&home, "the service answers", &["inbox"], |_| true);
    assert_eq!(before, "no frame of Inbox was scored since the service started\n");

    home.drop_picture("red-car.jpg", "1.jpg");
    let text = until(&home, "the frame is explained", &["inbox"], |text| text.contains("objects/"));
    assert!(text.starts_with("newest frame of Inbox: 20"), "{text}");
    let car = lines(&text, "objects/red car");
    assert!(car[0].contains("0.75  not raised"), "{text}");
    assert_eq!(car[1..], ["held by hold: 1 of 2 so far", "passed  threshold"], "{text}");
    let umbrella = lines(&text, "objects/Blue Umbrella");
    assert_eq!(umbrella[1..], ["held by threshold: the score is below it"], "{text}");
    let rule = lines(&text, "objects/parked");
    let expected = ["when    red car and not green tree", "held by condition: red car is not known yet"];
    assert_eq!(rule[1..], expected, "{text}");

    home.drop_picture("red-car.jpg", "2.jpg");
    subscriber.until("the alert", |message| message.topic == "home/inbox/objects/red_car/alert");
    let json: Value =
        serde_json::from_str(&answer(&explain(&home, &["Inbox/objects/red car", "--json"]))).unwrap();
    assert_eq!((&json["from"], &json["source"]), (&"service".into(), &"Inbox".into()));
    let [car] = &json["labels"].as_array().unwrap()[..] else { panic!("{json}") };
    assert_eq!(
        (&car["label"], &car["raised"], &car["held_by"]),
        (&"red car".into(), &true.into(), &Value::Null)
    );
    assert!(car["raised_since"].is_string() && car["score"].as_f64().unwrap() > 0.75, "{json}");

    service.stop();
    let text = answer(&explain(&home, &["inbox/objects/red car"]));
    assert!(text.contains("from the history"), "{text}");
    assert!(lines(&text, "objects/red car")[0].contains("raised since"), "{text}");
    let long_ago = explain(&home, &["inbox", "--at", "2020-01-01"]);
    let error = String::from_utf8_lossy(&long_ago.stderr);
    assert_eq!(long_ago.status.code(), Some(1), "{error}");
    assert!(error.contains("the history has nothing of `Inbox` around 2020-01-01"), "{error}");
}

#[test]
fn a_near_miss_is_published_and_logged() {
    let broker = Broker::start();
    let home = home(broker.port);
    let path = home.path("stakeout.yaml");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(path, text.replace("prefix: home", "prefix: home, near_misses: true")).unwrap();
    let subscriber = Subscriber::start(&broker);
    let service = Service::start(&home);
    subscriber.until("the source to be online", |message| message.line() == "r home/inbox/status online");
    home.drop_picture("red-car.jpg", "1.jpg");
    let topic = "home/inbox/objects/red_car/near_miss";
    let seen = subscriber.until("the near miss", |message| message.topic.ends_with("/near_miss"));
    let near_miss = seen.last().unwrap();
    assert_eq!((&*near_miss.topic, near_miss.retain), (topic, false));
    let json: Value = serde_json::from_str(near_miss.text()).unwrap();
    assert_eq!((&json["source"], &json["label"]), (&"Inbox".into(), &"red car".into()));
    assert_eq!((&json["reason"], &json["held_by"]["gate"]), (&"hold: 1 of 2 so far".into(), &"hold".into()));
    assert!(json["score"].as_f64() > json["threshold"].as_f64(), "{json}");
    service.wait_for_log("`red car` was nearly raised: hold: 1 of 2 so far");
    assert!(!seen.iter().any(|message| message.topic.ends_with("/alert")), "{seen:#?}");
}

#[test]
fn a_picture_is_explained_without_a_service() {
    let home = home(free_port());
    let (car, tree) = (sample("red-car.jpg"), sample("green-tree.jpg"));
    let noon = ["--at", "2026-11-23 12:00", "--picture"];
    let text = answer(&explain(&home, &[&noon[..], &[car.to_str().unwrap()]].concat()));
    assert!(text.starts_with("as a frame of Inbox at 2026-11-23 12:00:00 +00:00\n\n"), "{text}");
    assert_eq!(lines(&text, "objects/red car")[1..], ["held by hold: 1 of 2 so far", "passed  threshold"]);

    let only_tree = ["inbox/objects/green tree"];
    let text = answer(&explain(&home, &[&noon[..], &[tree.to_str().unwrap()], &only_tree].concat()));
    assert!(!text.contains("red car"), "{text}");
    let tree_lines = lines(&text, "objects/green tree");
    assert_eq!(
        tree_lines[1..],
        ["held by active: 22:00-06:00 UTC, now outside", "passed  threshold"],
        "{text}"
    );
    let night = ["--at", "2026-11-23 23:00", "--picture", tree.to_str().unwrap(), "--json"];
    let json: Value = serde_json::from_str(&answer(&explain(&home, &night))).unwrap();
    let raised: Vec<_> =
        json["labels"].as_array().unwrap().iter().filter(|label| label["raised"] == true).collect();
    assert_eq!((raised.len(), &raised[0]["label"]), (1, &"green tree".into()), "{json}");

    let folder = explain(&home, &["--picture", home.path("inbox").to_str().unwrap()]);
    let error = String::from_utf8_lossy(&folder.stderr);
    assert_eq!(folder.status.code(), Some(1));
    assert!(error.contains("is not one picture: `stakeout replay` plays videos and folders"), "{error}");
}

#[test]
fn names_that_do_not_exist_are_wrong_usage() {
    let home = home(free_port());
    for (target, expected) in [
        ("inbx", "there is no source `inbx`; did you mean `Inbox`?"),
        ("inbox/object", "`Inbox` watches no label set `object`; did you mean `objects`?"),
        ("inbox/objects/red cat", "`objects` has no label `red cat`; did you mean `red car`?"),
    ] {
        let output = explain(&home, &[target]);
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), error.trim()), (Some(64), &*format!("error: {expected}")));
    }
}
