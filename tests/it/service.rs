//! The whole service: the built binary, a real broker, real files, the bundled model.

use std::fs;

use serde_json::Value;

use crate::common::{
    broker::{Broker, ReceivedMessage, Subscriber},
    proxy::Proxy,
    service::{Home, Service, sample, signal_process},
    stakeout,
};

const ALERT: &str = "home/inbox/objects/red_car/alert";

fn is(topic: &'static str, text: &'static str) -> impl Fn(&ReceivedMessage) -> bool {
    move |message| message.topic == topic && message.text() == text
}

fn topic(topic: &'static str) -> impl Fn(&ReceivedMessage) -> bool {
    move |message| message.topic == topic
}

fn online(subscriber: &Subscriber) -> Vec<ReceivedMessage> {
    subscriber.until("the source to be online", is("home/inbox/status", "online"))
}

#[test]
fn a_picture_in_the_folder_raises_an_alert_and_the_next_one_clears_it() {
    let broker = Broker::start();
    let subscriber = Subscriber::start(&broker);
    let home = Home::new(broker.port, "");
    let mut service = Service::start(&home);

    let start = online(&subscriber).iter().map(ReceivedMessage::line).collect::<Vec<_>>();
    let at = |line: &str| start.iter().position(|seen| seen == line).expect(line);
    let (state, service_online) =
        (at("r home/inbox/objects/blue_umbrella/state OFF"), at("r home/status online"));
    assert!(state < service_online, "what is retained is current when the service is online: {start:#?}");

    home.drop_picture("red-car.jpg", "1.jpg");
    let messages = subscriber.until_switched("home/inbox/objects/red_car", "ON");
    let place = |topic: &str| messages.iter().position(|message| message.topic == topic).expect(topic);
    let (alert, snapshot) = (&messages[place(ALERT)], &messages[place("home/inbox/snapshot")]);
    assert_eq!((alert.qos, alert.retain), (1, false));
    assert!(
        snapshot.retain && place("home/inbox/snapshot") < place(ALERT),
        "the snapshot precedes its alert"
    );
    let snapshot = stakeout::picture::decode(&snapshot.payload, stakeout::picture::Limits::of(1_000_000))
        .expect("the snapshot is a picture");
    let original = stakeout::picture::decode(
        &fs::read(sample("red-car.jpg")).unwrap(),
        stakeout::picture::Limits::of(1_000_000),
    )
    .unwrap();
    assert_eq!((snapshot.width, snapshot.height), (original.width, original.height));

    let json: Value = serde_json::from_slice(&alert.payload).unwrap();
    let path = home.path("inbox/1.jpg").display().to_string();
    for (key, expected) in [
        ("version", Value::from(1)),
        ("state", "raised".into()),
        ("source", "Inbox".into()),
        ("region", Value::Null),
        ("label_set", "objects".into()),
        ("label", "red car".into()),
        ("model", "bundled".into()),
        ("snapshot", "home/inbox/snapshot".into()),
    ] {
        assert_eq!(json[key], expected, "{key} in {json}");
    }
    assert_eq!(json["frame"]["origin"], Value::from(path));
    assert!(json["instance"].as_str().is_some_and(|name| !name.is_empty()), "{json}");
    assert!(json["score"].as_f64().unwrap() >= json["threshold"].as_f64().unwrap(), "{json}");
    let scores = json["scores"].as_object().unwrap();
    assert_eq!(scores.keys().collect::<Vec<_>>(), ["red car", "green tree", "Blue Umbrella", "background"]);
    let sum = scores.values().map(|score| score.as_f64().unwrap()).sum::<f64>();
    assert!((sum - 1.0).abs() < 1e-4, "softmax over the set and its background: {sum}");

    home.drop_picture("empty-wall.jpg", "2.jpg");
    let messages = subscriber.until_switched("home/inbox/objects/red_car", "OFF");
    let cleared = messages.iter().find(|message| message.topic == ALERT).expect("the alert is cleared");
    let cleared: Value = serde_json::from_slice(&cleared.payload).unwrap();
    assert_eq!((&cleared["state"], &cleared["snapshot"]), (&Value::from("cleared"), &Value::Null));
    assert_ne!(cleared["id"], json["id"]);

    service.signal("-TERM");
    let end = subscriber.until("the service is offline", is("home/status", "offline"));
    assert!(end.iter().any(is("home/inbox/status", "offline")), "{end:#?}");
    assert!(service.wait().success());
}

#[test]
fn alerts_of_an_outage_arrive_after_it_in_order() {
    let broker = Broker::start();
    let proxy = Proxy::start(broker.port);
    proxy.set_open(false);
    let home = Home::new(proxy.port, "");
    let service = Service::start(&home);
    service.wait_until_watching();
    for (number, picture) in ["red-car.jpg", "empty-wall.jpg", "green-tree.jpg"].into_iter().enumerate() {
        home.drop_picture(picture, &format!("{number}.jpg"));
        service.wait_for_log(&format!("{number}.jpg"));
    }

    let subscriber = Subscriber::start(&broker);
    proxy.set_open(true);
    let messages = subscriber.until("the last alert", topic("home/inbox/objects/green_tree/alert"));
    let alerts = messages.iter().filter(|message| message.topic.ends_with("/alert"));
    let alerts = alerts.map(|alert| serde_json::from_slice::<Value>(&alert.payload).unwrap());
    let alerts = alerts.map(|json| format!("{} {}", json["label"], json["state"])).collect::<Vec<_>>();
    assert_eq!(alerts, ["\"red car\" \"raised\"", "\"red car\" \"cleared\"", "\"green tree\" \"raised\""]);
}

#[test]
fn waiting_alerts_survive_a_kill() {
    let broker = Broker::start();
    let proxy = Proxy::start(broker.port);
    proxy.set_open(false);
    let home = Home::new(proxy.port, "");
    let mut service = Service::start(&home);
    service.wait_until_watching();
    home.drop_picture("red-car.jpg", "1.jpg");
    service.wait_for_log("raised");
    service.signal("-KILL");
    service.wait();

    let subscriber = Subscriber::start(&broker);
    proxy.set_open(true);
    let _again = Service::start(&home);
    let messages = subscriber.until("the alert", topic(ALERT));
    assert!(messages.iter().any(topic("home/inbox/snapshot")));
}

#[test]
fn a_raised_label_stays_raised_over_a_restart() {
    const STATE: &str = "home/inbox/objects/red_car/state";
    let broker = Broker::start();
    let subscriber = Subscriber::start(&broker);
    let home = Home::new(broker.port, "");
    let mut service = Service::start(&home);
    online(&subscriber);
    home.drop_picture("red-car.jpg", "1.jpg");
    subscriber.until("the alert", topic(ALERT));
    service.stop();
    drop(subscriber);

    let subscriber = Subscriber::start(&broker);
    let _again = Service::start(&home);
    let seen = online(&subscriber);
    let states = seen.iter().filter(|message| message.topic == STATE).map(ReceivedMessage::text);
    assert!(states.clone().count() > 0 && states.clone().all(|state| state == "ON"), "{seen:#?}");
    home.drop_picture("red-car.jpg", "2.jpg");
    home.drop_picture("empty-wall.jpg", "3.jpg");
    let seen = subscriber.until("the alert", topic(ALERT));
    let alert: Value = serde_json::from_slice(&seen.last().unwrap().payload).unwrap();
    assert_eq!(alert["state"], "cleared", "it was not raised a second time");
}

#[test]
fn a_broken_file_is_logged_and_the_service_continues() {
    let broker = Broker::start();
    let subscriber = Subscriber::start(&broker);
    let home = Home::new(broker.port, "max_pixels: 400000\n");
    let mut service = Service::start(&home);
    online(&subscriber);

    let whole = fs::read(sample("green-tree.jpg")).unwrap();
    let broken: [(&str, &[u8]); 3] =
        [("empty.jpg", b""), ("words.jpg", b"no picture at all"), ("half.jpg", &whole[..whole.len() / 2])];
    for (name, bytes) in broken {
        fs::write(home.path("inbox").join(name), bytes).unwrap();
    }
    home.drop_picture("red-car.jpg", "good.jpg");
    subscriber.until("the alert of the good file", topic(ALERT));
    for (name, _) in broken {
        service.wait_for_log(name);
    }
    service.signal("-INT");
    assert!(service.wait().success());
}

/// While the service is stopped, more changes happen in its folder than the kernel keeps notifications for.
#[test]
fn files_are_found_exactly_once_after_the_notification_queue_has_overflowed() {
    const PICTURES: usize = 20;
    let broker = Broker::start();
    let subscriber = Subscriber::start(&broker);
    let home = Home::new(broker.port, "");
    let mut service = Service::with(&home, &[("RUST_LOG", "stakeout=debug")]);
    online(&subscriber);

    service.signal("-STOP");
    let room = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
    for number in 0..room.trim().parse::<usize>().unwrap() {
        // Two names in turn: the kernel merges equal events in a row. Each write is two events, opened and closed.
        fs::write(home.path("inbox").join([".odd", ".even"][number % 2]), "").unwrap();
    }
    for number in 0..PICTURES {
        home.drop_picture("empty-wall.jpg", &format!("{number}.jpg"));
    }
    service.signal("-CONT");

    service.wait_for_log("the kernel's queue overflowed");
    for number in 0..PICTURES {
        service.wait_for_log(&format!("/{number}.jpg"));
    }
    home.drop_picture("red-car.jpg", "later.jpg");
    subscriber.until("the alert of a later file", topic(ALERT));
    service.stop();
    let sent = format!("{} sent", PICTURES + 1);
    assert!(service.log().contains(&sent), "{sent:?} is missing in {}", service.log());
}

#[test]
fn the_last_will_reports_a_killed_service() {
    let broker = Broker::start();
    let subscriber = Subscriber::start(&broker);
    let home = Home::new(broker.port, "");
    let service = Service::start(&home);
    online(&subscriber);
    service.signal("-KILL");
    subscriber.until("the last will", is("home/status", "offline"));
}

#[test]
fn a_second_signal_or_a_deadline_ends_a_service_that_cannot_finish() {
    let broker = Broker::start();
    let subscriber = Subscriber::start(&broker);
    let home = Home::new(broker.port, "");
    let start = || {
        let service = Service::start(&home);
        (service, online(&subscriber))
    };

    let (mut impatient, _) = start();
    signal_process(broker.process(), "-STOP");
    // An alert that the broker does not acknowledge.
    home.drop_picture("red-car.jpg", "1.jpg");
    impatient.wait_for_log("raised");
    impatient.signal("-TERM");
    impatient.wait_for_log("stopping");
    impatient.signal("-TERM");
    let status = impatient.wait();
    assert_eq!(status.code(), Some(1), "work was left: {}", impatient.log());
    assert!(impatient.log().contains("stopped at once by a second signal (SIGTERM)"), "{}", impatient.log());
    signal_process(broker.process(), "-CONT");

    let (mut patient, seen) = start();
    if !seen.iter().any(topic(ALERT)) {
        subscriber.until("the alert that the first service left", topic(ALERT));
    }
    signal_process(broker.process(), "-STOP");
    home.drop_picture("empty-wall.jpg", "2.jpg");
    home.drop_picture("red-car.jpg", "3.jpg");
    patient.wait_for_log("3.jpg");
    patient.signal("-TERM");
    patient.wait();
    signal_process(broker.process(), "-CONT");
}

/// One message with the cause and the remedy, and the exit code on which systemd acts.
#[test]
fn an_error_at_the_start_is_logged_once_with_the_remedy() {
    let nothing = tempfile::tempdir().unwrap();
    let nothing = nothing.path().to_str().unwrap();
    let text = format!("{nothing}/libonnxruntime.so");
    fs::write(&text, "no library").unwrap();
    type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], i32, &'a [&'a str]);
    let cases: [Case; 4] = [
        (
            "",
            &[("ORT_DYLIB_PATH", "/missing/libonnxruntime.so")],
            1,
            &["ONNX Runtime", "/missing/libonnxruntime.so"],
        ),
        ("", &[("ORT_DYLIB_PATH", &text)], 1, &["ONNX Runtime", &text]),
        ("model: ./nowhere\n", &[], 1, &["nowhere"]),
        ("treshold: 1\n", &[], 78, &["treshold", "stakeout.yaml:3:1"]),
    ];
    for (extra, environment, code, parts) in cases {
        let home = Home::new(1, extra);
        let mut service = Service::with(&home, environment);
        let status = service.wait();
        let log = service.log();
        assert_eq!(status.code(), Some(code), "{log}");
        for part in parts {
            assert!(log.contains(part), "{part:?} is missing in {log}");
        }
        assert_eq!(log.matches("error").count(), 1, "{log}");
    }
}

#[test]
fn wrong_usage_exits_64_and_help_goes_to_standard_output() {
    let wrong = stakeout().args(["run", "--nonsense"]).output().unwrap();
    assert_eq!((wrong.status.code(), wrong.stdout.is_empty()), (Some(64), true));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("--nonsense"));
    let help = stakeout().arg("--help").output().unwrap();
    assert!(help.status.success() && String::from_utf8_lossy(&help.stdout).contains("classify"));
}

/// By default, published builds of ONNX Runtime write a telemetry database to the cache folder.
#[test]
fn no_telemetry_is_written() {
    let home = tempfile::tempdir().unwrap();
    // ONNX Runtime is in the data folder of the user, which is below HOME by default.
    let data = std::env::var_os("XDG_DATA_HOME").map_or_else(
        || std::path::Path::new(&std::env::var_os("HOME").unwrap()).join(".local/share"),
        Into::into,
    );
    let output = stakeout()
        .args(["classify", "--label", "a red car"])
        .arg(sample("red-car.jpg"))
        .env("HOME", home.path())
        .env("XDG_DATA_HOME", data)
        .env_remove("XDG_CACHE_HOME")
        .env_remove("ORT_DISABLE_TELEMETRY")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let cache = fs::read_dir(home.path().join(".cache"));
    let files = cache.into_iter().flatten().map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>();
    assert!(files.iter().all(|name| name == "stakeout"), "{files:?}");
}
