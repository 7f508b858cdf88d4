//! The state folder vanishes, or cannot be used from the start: the service notices it, reports it, and loses no alert. Heartbeats
//! show subscribers that the path of the alerts works.

use serde_json::Value;

use super::{
    guarantees::{SmallDisk, alert_in},
    *,
};
use crate::{
    common::service::{Home, Service},
    metrics::value,
};

/// Raises and clears a label `count` times, and waits until that is logged.
pub(super) fn raise(home: &Home, service: &Service, name: &str, count: usize) {
    let alerts = || service.log().lines().filter_map(alert_in).count();
    let before = alerts();
    for number in 0..count {
        let picture = if number.is_multiple_of(2) { "red-car.jpg" } else { "empty-wall.jpg" };
        home.drop_picture(picture, &format!("{name}-{number}.jpg"));
        wait_until("an alert is logged", || alerts() == before + number + 1);
    }
}

/// The alerts among these messages, by state and picture.
pub(super) fn delivered(messages: &[ReceivedMessage]) -> BTreeSet<(String, String)> {
    let alerts = messages.iter().filter(|message| message.topic.ends_with("/alert"));
    let alert = |message: &ReceivedMessage| {
        let alert = serde_json::from_slice::<Value>(&message.payload).unwrap();
        let picture = alert["frame"]["origin"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
        (alert["state"].as_str().unwrap().to_owned(), picture)
    };
    alerts.map(alert).collect()
}

/// The broker is away, the state folder is deleted, and the service is killed.
#[test]
fn alerts_survive_a_state_folder_that_is_deleted_while_the_service_runs() {
    let mut broker = Broker::start();
    let http = free_port();
    let home = Home::new(broker.port, &format!("listen: 127.0.0.1:{http}\n"));
    let service = Service::start(&home);
    service.wait_until_watching();
    wait_until("the topics are saved", || home.path("state/topics.json").exists());
    broker.kill();
    raise(&home, &service, "before", 4);
    assert_eq!(value(http, "stakeout_outbox_on_disk"), Some(1.0));

    for round in 1..=2 {
        // In one step: the service would write into a folder that is being deleted.
        let gone = home.path(&format!("gone{round}"));
        fs::rename(home.path("state"), &gone).unwrap();
        fs::remove_dir_all(gone).unwrap();
        if round == 1 {
            // Without an alert, the maintenance notices it.
            service.wait_for_log("the outbox was deleted, renamed or replaced while it was open");
        }
        raise(&home, &service, &format!("after{round}"), 4);
        assert_eq!(value(http, "stakeout_outbox_vanished_total"), Some(f64::from(round)));
        assert_eq!(value(http, "stakeout_outbox_on_disk"), Some(1.0));
        for file in ["topics.json", "names.json"] {
            wait_until("the other state files are there again", || home.path("state").join(file).exists());
        }
    }
    let restored = || value(http, "stakeout_state_files_restored_total").unwrap();
    wait_until("they are counted", || restored() >= 4.0);
    service.signal("-KILL");
    let mut service = service;
    service.wait();
    let logged: BTreeSet<_> = service.log().lines().filter_map(alert_in).collect();
    assert_eq!(logged.len(), 12);

    broker.restart();
    let subscriber = Subscriber::start(&broker);
    let mut service = Service::start(&home);
    let last = |message: &ReceivedMessage| {
        message.topic.ends_with("/alert") && message.text().contains("after2-3.jpg")
    };
    let seen = subscriber.until("the last alert", last);
    assert!(delivered(&seen).is_superset(&logged), "{:?} of {logged:?}", delivered(&seen));
    service.stop();
}

/// A state folder that cannot be written is reported, alerts are delivered, and everything is written as soon as it can be.
fn starts_without_state(state: &Path, makes_usable: impl FnOnce()) {
    let broker = Broker::start();
    let subscriber = Subscriber::start(&broker);
    let home = Home::new(broker.port, "");
    let config = home.path("stakeout.yaml");
    let text = fs::read_to_string(&config).unwrap();
    let text = text.replace("state_dir: state", &format!("state_dir: {}", state.display()));
    fs::write(&config, text).unwrap();
    let mut service = Service::start(&home);
    let status = |message: &ReceivedMessage| message.topic == "home/outbox/status";
    let seen = subscriber.until("the status of the outbox", status);
    let memory: Value = serde_json::from_slice(&seen.last().unwrap().payload).unwrap();
    assert_eq!(memory["state"], "memory", "{memory}");
    let problem = |message: &ReceivedMessage| message.topic == "home/problem" && !message.payload.is_empty();
    let problem = seen
        .into_iter()
        .find(problem)
        .unwrap_or_else(|| subscriber.until("the problem", problem).pop().unwrap());
    let problem: Value = serde_json::from_slice(&problem.payload).unwrap();
    let cause = problem["cause"].as_str().unwrap();
    assert!(cause.contains("in memory only") && cause.contains(state.to_str().unwrap()), "{problem}");
    assert!(problem["remedy"].as_str().unwrap().contains("state_dir"), "{problem}");

    service.wait_until_watching();
    home.drop_picture("red-car.jpg", "1.jpg");
    subscriber.until("an alert", |message| message.topic == "home/inbox/objects/red_car/alert");
    makes_usable();
    subscriber.until("the problem is gone", |message| {
        message.topic == "home/problem" && message.payload.is_empty()
    });
    assert!(state.join("outbox.sqlite").exists());
    wait_until("the other files are written", || state.join("names.json").exists());
    service.stop();
}

#[test]
fn a_state_folder_that_is_a_file_does_not_prevent_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    fs::write(&state, "").unwrap();
    starts_without_state(&state, || fs::remove_file(&state).unwrap());
}

#[test]
fn a_read_only_state_folder_does_not_prevent_the_start() {
    let Some(disk) = SmallDisk::mount("5m") else { return };
    let remount = |how: &str| {
        let mut command = Command::new("mount");
        command.args(["-o", &format!("remount,{how}")]).arg(disk.path());
        assert!(command.status().unwrap().success());
    };
    remount("ro");
    starts_without_state(&disk.path().join("state"), || remount("rw"));
}

#[test]
fn heartbeats_reach_a_subscriber_while_alerts_would() {
    let broker = Broker::start();
    let subscriber = Subscriber::start(&broker);
    let home = Home::new(broker.port, "");
    let config = home.path("stakeout.yaml");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("prefix: home }", "prefix: home, heartbeat: 5s }")).unwrap();
    let mut service = Service::start(&home);
    let heartbeat = |message: &ReceivedMessage| message.topic == "home/heartbeat";
    let mut times = BTreeSet::new();
    for _ in 0..2 {
        let message = subscriber.until("a heartbeat", heartbeat).pop().unwrap();
        assert!(!message.retain && message.qos == 1, "{message:?}");
        let json: Value = serde_json::from_slice(&message.payload).unwrap();
        let expected = [Value::from(5), Value::from(0), Value::from("disk")];
        let found = ["every_s", "waiting", "outbox"].map(|key| json[key].clone());
        assert_eq!(found, expected);
        times.insert(json["time"].as_str().unwrap().to_owned());
    }
    assert_eq!(times.len(), 2, "each has its own time: {times:?}");
    // The broker forgets it: who connects later receives no old one.
    let late = Subscriber::start(&broker);
    let seen = late.until("a heartbeat", heartbeat);
    assert!(!times.contains(
        serde_json::from_slice::<Value>(&seen.last().unwrap().payload).unwrap()["time"].as_str().unwrap()
    ));
    service.stop();
}
