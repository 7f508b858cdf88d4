//! The whole way, black box: the built binary, a real broker, real files, the bundled model.

use std::{fs, time::Duration};

use serde_json::Value;

use crate::common::{
    broker::{Broker, Message, Subscriber, free_port},
    service::{Home, Service, sample, signal_process},
    stakeout,
};

const ALERT: &str = "home/inbox/objects/red_car/alert";

fn is(topic: &'static str, text: &'static str) -> impl Fn(&Message) -> bool {
    move |message| message.topic == topic && message.text() == text
}

fn topic(topic: &'static str) -> impl Fn(&Message) -> bool {
    move |message| message.topic == topic
}

fn online(subscriber: &Subscriber) -> Vec<Message> {
    subscriber.until("the source to be online", is("home/inbox/status", "online"))
}

#[test]
fn a_picture_that_is_dropped_into_a_folder_raises_an_alert_and_the_next_clears_it() {
    let broker = Broker::start();
    let subscriber = Subscriber::start(&broker);
    let home = Home::new(broker.port, "");
    let mut service = Service::start(&home);

    let start = online(&subscriber).iter().map(Message::line).collect::<Vec<_>>();
    assert_eq!(start[0], "r home/status online", "{start:#?}");
    assert!(start.contains(&"r home/inbox/objects/blue_umbrella/state OFF".to_owned()), "{start:#?}");

    home.drop_picture("red-car.jpg", "1.jpg");
    let messages = subscriber.until("the state", is("home/inbox/objects/red_car/state", "ON"));
    let alert = messages.iter().find(|message| message.topic == ALERT).expect("an alert before its state");
    assert_eq!((alert.qos, alert.retain), (1, false));
    // What was told at the start goes on for a while after the source is online.
    let first = messages
        .iter()
        .find(|message| !["home/outbox/status", "home/stats"].contains(&&*message.topic))
        .unwrap();
    assert_eq!((&*first.topic, first.retain), ("home/inbox/snapshot", true), "the snapshot comes first");
    let snapshot = stakeout::picture::decode(&first.payload, 1_000_000).expect("the snapshot is a picture");
    let original = stakeout::picture::decode(&fs::read(sample("red-car.jpg")).unwrap(), 1_000_000).unwrap();
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
    assert!(json["score"].as_f64().unwrap() >= json["threshold"].as_f64().unwrap(), "{json}");
    let scores = json["scores"].as_object().unwrap();
    assert_eq!(scores.keys().collect::<Vec<_>>(), ["red car", "green tree", "Blue Umbrella", "background"]);
    let sum = scores.values().map(|score| score.as_f64().unwrap()).sum::<f64>();
    assert!((sum - 1.0).abs() < 1e-4, "softmax over the set and its background: {sum}");

    home.drop_picture("empty-wall.jpg", "2.jpg");
    let messages = subscriber.until("the state", is("home/inbox/objects/red_car/state", "OFF"));
    let cleared = messages.iter().find(|message| message.topic == ALERT).expect("it is cleared");
    let cleared: Value = serde_json::from_slice(&cleared.payload).unwrap();
    assert_eq!((&cleared["state"], &cleared["snapshot"]), (&Value::from("cleared"), &Value::Null));
    assert_ne!(cleared["id"], json["id"]);

    service.signal("-TERM");
    let end = subscriber.until("the last word", is("home/status", "offline"));
    assert!(end.iter().any(is("home/inbox/status", "offline")), "{end:#?}");
    assert!(service.wait().0.success());
}

#[test]
fn alerts_of_an_outage_arrive_after_it_in_order() {
    let port = free_port();
    let home = Home::new(port, "");
    let service = Service::start(&home);
    service.wait_for_words("watching the folder");
    for (number, picture) in ["red-car.jpg", "empty-wall.jpg", "green-tree.jpg"].into_iter().enumerate() {
        home.drop_picture(picture, &format!("{number}.jpg"));
        service.wait_for_words(&format!("{number}.jpg"));
    }

    let broker = Broker::start_on(port);
    let subscriber = Subscriber::start(&broker);
    let messages = subscriber.until("the last alert", topic("home/inbox/objects/green_tree/alert"));
    let alerts = messages.iter().filter(|message| message.topic.ends_with("/alert"));
    let told = alerts.map(|alert| serde_json::from_slice::<Value>(&alert.payload).unwrap());
    let told = told.map(|json| format!("{} {}", json["label"], json["state"])).collect::<Vec<_>>();
    assert_eq!(told, ["\"red car\" \"raised\"", "\"red car\" \"cleared\"", "\"green tree\" \"raised\""]);
}

#[test]
fn what_waits_in_the_outbox_survives_a_kill() {
    let port = free_port();
    let home = Home::new(port, "");
    let mut service = Service::start(&home);
    service.wait_for_words("watching the folder");
    home.drop_picture("red-car.jpg", "1.jpg");
    service.wait_for_words("raised");
    service.signal("-KILL");
    service.wait();

    let broker = Broker::start_on(port);
    let subscriber = Subscriber::start(&broker);
    let _again = Service::start(&home);
    let messages = subscriber.until("the alert", topic(ALERT));
    assert!(messages.iter().any(topic("home/inbox/snapshot")));
}

#[test]
fn a_label_that_is_raised_stays_so_over_a_restart() {
    const STATE: &str = "home/inbox/objects/red_car/state";
    let broker = Broker::start();
    let subscriber = Subscriber::start(&broker);
    let home = Home::new(broker.port, "");
    let mut service = Service::start(&home);
    online(&subscriber);
    home.drop_picture("red-car.jpg", "1.jpg");
    subscriber.until("the alert", topic(ALERT));
    service.signal("-TERM");
    assert!(service.wait().0.success());
    drop(subscriber);

    let subscriber = Subscriber::start(&broker);
    let _again = Service::start(&home);
    let told = online(&subscriber);
    let states = told.iter().filter(|message| message.topic == STATE).map(Message::text);
    assert!(states.clone().count() > 0 && states.clone().all(|state| state == "ON"), "{told:#?}");
    home.drop_picture("red-car.jpg", "2.jpg");
    home.drop_picture("empty-wall.jpg", "3.jpg");
    let told = subscriber.until("the alert", topic(ALERT));
    let alert: Value = serde_json::from_slice(&told.last().unwrap().payload).unwrap();
    assert_eq!(alert["state"], "cleared", "it was not raised a second time");
}

#[test]
fn a_broken_file_is_named_with_its_cause_and_stops_nothing() {
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
    subscriber.until("the alert of the good one", topic(ALERT));
    for (name, _) in broken {
        service.wait_for_words(name);
    }
    service.signal("-INT");
    assert!(service.wait().0.success());
}

/// While it stands still, more happens in its folder than the kernel keeps; nothing is missed and nothing comes twice.
#[test]
fn what_the_kernel_had_no_room_to_tell_is_found_all_the_same() {
    const PICTURES: usize = 20;
    let broker = Broker::start();
    let subscriber = Subscriber::start(&broker);
    let home = Home::new(broker.port, "");
    let mut service = Service::with(&home, &[("RUST_LOG", "stakeout=debug")]);
    online(&subscriber);

    service.signal("-STOP");
    let room = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
    for number in 0..room.trim().parse::<usize>().unwrap() {
        // Two by turns: the kernel folds what is the same twice in a row. Opened and closed, so two events each.
        fs::write(home.path("inbox").join([".odd", ".even"][number % 2]), "").unwrap();
    }
    for number in 0..PICTURES {
        home.drop_picture("empty-wall.jpg", &format!("{number}.jpg"));
    }
    service.signal("-CONT");

    service.wait_for_words("the kernel's queue ran over");
    for number in 0..PICTURES {
        service.wait_for_words(&format!("/{number}.jpg"));
    }
    home.drop_picture("red-car.jpg", "later.jpg");
    subscriber.until("the alert of a later one", topic(ALERT));
    service.signal("-TERM");
    assert!(service.wait().0.success());
    let sent = format!("{} sent", PICTURES + 1);
    assert!(service.said().contains(&sent), "{sent:?} is missing in {}", service.said());
}

#[test]
fn the_last_will_speaks_for_a_service_that_was_killed() {
    let broker = Broker::start();
    let subscriber = Subscriber::start(&broker);
    let home = Home::new(broker.port, "");
    let service = Service::start(&home);
    online(&subscriber);
    service.signal("-KILL");
    subscriber.until("the last will", is("home/status", "offline"));
}

#[test]
fn a_second_signal_ends_it_at_once_and_a_deadline_ends_it_anyway() {
    let broker = Broker::start();
    let subscriber = Subscriber::start(&broker);
    let home = Home::new(broker.port, "");
    let start = || {
        let service = Service::start(&home);
        (service, online(&subscriber))
    };

    let (mut impatient, _) = start();
    signal_process(broker.process(), "-STOP");
    // Something for the broker to acknowledge, which it does not.
    home.drop_picture("red-car.jpg", "1.jpg");
    impatient.wait_for_words("raised");
    impatient.signal("-TERM");
    impatient.wait_for_words("stopping");
    impatient.signal("-TERM");
    let (status, took) = impatient.wait();
    assert_eq!(status.code(), Some(1), "work was left: {}", impatient.said());
    assert!(took < Duration::from_secs(3), "{took:?}");
    signal_process(broker.process(), "-CONT");

    let (mut patient, told) = start();
    if !told.iter().any(topic(ALERT)) {
        subscriber.until("what the first one left", topic(ALERT));
    }
    signal_process(broker.process(), "-STOP");
    home.drop_picture("empty-wall.jpg", "2.jpg");
    home.drop_picture("red-car.jpg", "3.jpg");
    patient.wait_for_words("3.jpg");
    patient.signal("-TERM");
    let (_, took) = patient.wait();
    assert!(took < Duration::from_secs(15), "{took:?}");
    signal_process(broker.process(), "-CONT");
}

/// One message that names the thing and the remedy, and the exit code that systemd acts on.
#[test]
fn what_hinders_the_start_is_said_once_with_its_remedy() {
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
    for (extra, environment, code, words) in cases {
        let home = Home::new(1, extra);
        let mut service = Service::with(&home, environment);
        let (status, _) = service.wait();
        let said = service.said();
        assert_eq!(status.code(), Some(code), "{said}");
        for word in words {
            assert!(said.contains(word), "{word:?} is missing in {said}");
        }
        assert_eq!(said.matches("error").count(), 1, "{said}");
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

/// Published builds of ONNX Runtime keep a database for their maker below the cache folder unless they are told not to.
#[test]
fn nothing_is_kept_for_anybody_else() {
    let home = tempfile::tempdir().unwrap();
    // Found by the search in the user's data folder, which is below HOME by default.
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
    let kept = cache.into_iter().flatten().map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>();
    assert!(kept.iter().all(|name| name == "stakeout"), "{kept:?}");
}
