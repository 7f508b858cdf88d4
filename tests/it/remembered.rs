//! What the service remembers of alerts and near misses, and the marks of people, with the built binary: from a running service and from
//! the file that it leaves.

use std::{fs, process::Output};

use serde_json::Value;

use crate::common::{
    broker::{Broker, Subscriber, free_port},
    service::{Home, Service},
    stakeout, wait_until,
};

fn run(home: &Home, command: &str, arguments: &[&str]) -> Output {
    let mut process = stakeout();
    process.args([command, "--config"]).arg(home.path("stakeout.yaml")).args(arguments);
    process.env("TZ", "UTC").output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What a command prints that must succeed.
fn printed(home: &Home, command: &str, arguments: &[&str]) -> String {
    let output = run(home, command, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

/// The JSON lines of `stakeout alerts`.
fn entries(home: &Home, arguments: &[&str]) -> Vec<Value> {
    let lines = printed(home, "alerts", &[arguments, &["--json"]].concat());
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The JSON lines once there are as many as that.
fn entries_when(home: &Home, count: usize, arguments: &[&str]) -> Vec<Value> {
    let mut found = Vec::new();
    wait_until(&format!("{count} entries are remembered"), || {
        found = entries(home, arguments);
        found.len() >= count
    });
    found
}

fn started(broker: &Broker, home: &Home) -> Service {
    let subscriber = Subscriber::start(broker);
    let service = Service::start(home);
    subscriber.until("the source to be online", |message| message.line() == "r home/inbox/status online");
    service
}

#[test]
fn an_alert_is_remembered_with_its_picture_and_a_mark_survives_the_service() {
    let broker = Broker::start();
    let home = Home::new(broker.port, "");
    let mut service = started(&broker, &home);
    home.drop_picture("red-car.jpg", "1.jpg");
    let running = entries_when(&home, 1, &["--last", "1"]);
    let alert = &running[0];
    for (key, expected) in
        [("source", "Inbox"), ("label_set", "objects"), ("label", "red car"), ("state", "raised")]
    {
        assert_eq!(alert[key], expected, "{alert}");
    }
    assert!(
        alert["scores"]["red car"].as_f64().unwrap() >= 0.75 && alert["scores"]["background"].is_number()
    );
    assert!(alert["reason"].as_str().unwrap().contains("threshold 0.75"), "{alert}");
    assert!(alert["picture"].is_string() && alert["mark"].is_null(), "{alert}");

    let id = alert["id"].as_str().unwrap();
    let short = &id[id.len() - 8..];
    let marked = printed(&home, "mark", &[short, "wrong"]);
    assert!(marked.starts_with("wrong: alert of red car on Inbox at 20"), "{marked}");
    let folder = home.path("pictures");
    let pictures = ["--last", "1", "--pictures", folder.to_str().unwrap()];
    let table = printed(&home, "alerts", &pictures);
    let [headings, row] = table.lines().collect::<Vec<_>>()[..] else { panic!("{table}") };
    assert!(headings.starts_with("time ") && headings.ends_with("  id"), "{table}");
    assert!(row.contains("  raised  wrong  ") && row.ends_with(short), "{table}");
    let names: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(names.len(), 1, "{names:?}");
    assert!(fs::read(&names[0]).unwrap().starts_with(&[0xFF, 0xD8, 0xFF]), "a JPEG");

    service.stop();
    let stopped = entries(&home, &["--last", "1"]);
    let unmarked = |mut alert: Value| {
        alert["mark"] = Value::Null;
        alert
    };
    assert_eq!(stopped[0]["mark"], "wrong");
    assert_eq!(unmarked(stopped[0].clone()), *alert, "the same without the service");
    assert_eq!(printed(&home, "mark", &[]), "objects/red car: 0 right, 1 wrong\n");
    printed(&home, "mark", &[id, "right"]);
    assert_eq!(printed(&home, "mark", &[]), "objects/red car: 1 right, 0 wrong\n");
    printed(&home, "mark", &[id, "undo"]);
    let again = run(&home, "mark", &[id, "undo"]);
    assert_eq!(again.status.code(), Some(1), "{}", text(&again.stderr));
    assert_eq!(entries(&home, &["--since", "1h", "--label", "red car"]).len(), 1);
    assert_eq!(entries(&home, &["--since", "1h", "--label", "green tree"]).len(), 0);
    assert_eq!(entries(&home, &["--until", "1h"]).len(), 0, "nothing is that old");
}

#[test]
fn a_near_miss_is_remembered_with_the_gate_that_held_it_and_can_be_marked() {
    let broker = Broker::start();
    let home = Home::new(broker.port, "");
    let path = home.path("stakeout.yaml");
    let typed = fs::read_to_string(&path).unwrap();
    let held = "red car: { threshold: 0.75, hold: 2 of 2 }";
    fs::write(&path, typed.replace("red car: 0.75", held)).unwrap();
    let mut service = started(&broker, &home);
    home.drop_picture("red-car.jpg", "1.jpg");
    let near = |home: &Home| entries_when(home, 1, &["--last", "5", "--near-misses"]);
    let found = near(&home);
    let [near_miss] = &found[..] else { panic!("{found:?}") };
    assert_eq!((&near_miss["state"], &near_miss["label"]), (&"near_miss".into(), &"red car".into()));
    assert_eq!(near_miss["held_by"]["gate"], "hold", "{near_miss}");
    assert_eq!(near_miss["reason"], "hold: 1 of 2 so far");
    assert!(
        near_miss["score"].as_f64() >= near_miss["threshold"].as_f64() && near_miss["picture"].is_string()
    );
    assert_eq!(entries(&home, &["--last", "5"]).len(), 0, "it is no alert");

    let id = near_miss["id"].as_str().unwrap();
    assert!(printed(&home, "mark", &[id, "right"]).starts_with("right: near miss of red car on Inbox"));
    service.stop();
    assert_eq!(near(&home)[0]["mark"], "right");
    let table = printed(&home, "alerts", &["--last", "5", "--near-misses"]);
    assert!(table.contains("near miss  right") && table.contains("  hold: 1 of 2 so far"), "{table}");

    // A moment has no identifier.
    let moment = ["--source", "inbox", "--label", "red car", "--at", "90m"];
    let marked = printed(&home, "mark", &[&moment[..], &["wrong"]].concat());
    assert!(marked.starts_with("wrong: moment of red car on Inbox at 20"), "{marked}");
    assert_eq!(printed(&home, "mark", &[]), "objects/red car: 1 right, 1 wrong\n");
}

#[test]
fn wrong_arguments_are_reported() {
    let home = Home::new(free_port(), "");
    let cases: [(&str, &[&str], i32, &str); 9] = [
        ("alerts", &["--last", "0"], 64, "--last"),
        ("alerts", &["--last", "1", "--follow"], 64, "--follow"),
        ("alerts", &["--near-misses"], 64, "--last"),
        ("alerts", &["--since", "soon"], 64, "`7d`"),
        ("alerts", &["--last", "1", "--source", "Gate"], 64, "Inbox"),
        ("mark", &["0123abcd"], 64, "stakeout mark ID right"),
        ("mark", &["0123abcd", "maybe"], 64, "maybe"),
        ("mark", &["0123abcd", "right"], 1, "no alert"),
        (
            "mark",
            &["--source", "Inbox", "--label", "red car", "--at", "90m", "maybe"],
            64,
            "the verdicts are",
        ),
    ];
    for (command, arguments, code, word) in cases {
        let output = run(&home, command, arguments);
        let log = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {log}");
        assert!(log.contains(word), "{arguments:?}: {log}");
    }
    let none = run(&home, "alerts", &["--last", "1"]);
    assert!(none.status.success() && none.stdout.is_empty(), "{}", text(&none.stderr));

    let path = home.path("stakeout.yaml");
    fs::write(&path, fs::read_to_string(&path).unwrap() + "history: off\n").unwrap();
    for (command, arguments, code) in
        [("alerts", &["--last", "1"][..], 0), ("mark", &["0123abcd", "right"], 1)]
    {
        let output = run(&home, command, arguments);
        assert_eq!(output.status.code(), Some(code));
        assert!(text(&output.stderr).contains("`history: off`"), "{}", text(&output.stderr));
    }
}
