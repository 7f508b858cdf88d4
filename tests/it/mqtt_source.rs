//! Pictures from MQTT topics, with the built binary and a real broker.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    time::Instant,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use stakeout::picture::{self, Picture};

mod hostile;

use crate::common::{
    broker::{Broker, Publisher, ReceivedMessage, Subscriber, publish_bytes, retained, set_password},
    service::{Home, Service, sample},
    wait_until,
};

fn jpeg(name: &str) -> Vec<u8> {
    fs::read(sample(name)).unwrap()
}

fn pixels(name: &str) -> Picture {
    picture::decode(&jpeg(name), picture::Limits::of(10_000_000)).unwrap()
}

fn png(name: &str) -> Vec<u8> {
    let picture = pixels(name);
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, picture.width, picture.height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.write_header().unwrap().write_image_data(&picture.rgb()).unwrap();
    bytes
}

fn webp(name: &str) -> Vec<u8> {
    let picture = pixels(name);
    let mut bytes = Vec::new();
    let encoder = image::codecs::webp::WebPEncoder::new_lossless(&mut bytes);
    encoder.encode(&picture.rgb(), picture.width, picture.height, image::ExtendedColorType::Rgb8).unwrap();
    bytes
}

/// The next raised alert.
fn raised(subscriber: &Subscriber) -> Value {
    let is_raise = |message: &ReceivedMessage| {
        message.topic.ends_with("/alert") && message.text().contains(r#""state":"raised""#)
    };
    let seen = subscriber.until("a raised alert", is_raise);
    serde_json::from_slice(&seen.last().unwrap().payload).unwrap()
}

fn online(subscriber: &Subscriber, source: &str) {
    let line = format!("r home/{source}/status online");
    subscriber.until("the source to be online", |message| message.line() == line);
}

#[test]
fn a_picture_in_every_format_is_scored() {
    let broker = Broker::start();
    let subscriber = Subscriber::start(&broker);
    let home =
        Home::with_sources(broker.port, "home", "  cams: { mqtt: [cams/+, other], watch: [objects] }\n");
    let _service = Service::start(&home);
    online(&subscriber, "cams");
    let formats = [
        ("cams/jpeg", "red car", jpeg("red-car.jpg")),
        ("cams/png", "green tree", png("green-tree.jpg")),
        ("cams/webp", "red car", webp("red-car.jpg")),
        ("other", "green tree", BASE64_STANDARD.encode(jpeg("green-tree.jpg")).into_bytes()),
        (
            "cams/url",
            "red car",
            format!("data:image/png;base64,{}", BASE64_STANDARD.encode(png("red-car.jpg"))).into_bytes(),
        ),
    ];
    for (topic, label, payload) in formats {
        publish_bytes(&broker, "cams/noise", b"no picture", &[]);
        publish_bytes(&broker, topic, &payload, &[]);
        let alert = raised(&subscriber);
        assert_eq!(
            (&alert["label"], &alert["source"], &alert["frame"]["origin"]),
            (&json!(label), &json!("cams"), &json!(topic))
        );
    }
}

#[test]
fn each_unusable_message_is_logged_with_its_topic_and_cause() {
    let broker = Broker::start();
    let subscriber = Subscriber::start(&broker);
    let sources = "  cams: { mqtt: cams/+, watch: [objects] }
  named: { mqtt: events/+, json: { picture: /image, time: /time, name: /camera }, name: \"frig-{name}\", watch: [objects] }
";
    let home = Home::with_sources(broker.port, "home", sources);
    let service = Service::start(&home);
    wait_until("both are connected", || {
        let retained = retained(&broker);
        ["cams", "named"].iter().all(|source| {
            retained.iter().any(|message| message.line() == format!("r home/{source}/status online"))
        })
    });

    publish_bytes(&broker, "cams/one", b"no picture", &[]);
    service.wait_for_log("cams: skipped a message that is no usable picture: cams/one: ");
    let picture = BASE64_STANDARD.encode(jpeg("red-car.jpg"));
    let event =
        |camera: &str, time: &str| json!({ "image": picture, "time": time, "camera": camera }).to_string();
    publish_bytes(&broker, "events/a", event("", "2026-11-27T08:00:00Z").as_bytes(), &[]);
    service.wait_for_log("named: skipped a message that is no usable picture: events/a: ");
    publish_bytes(&broker, "events/b", event("door", "2026-11-27T08:00:00").as_bytes(), &[]);
    service.wait_for_log("named: used a message with a defect: events/b: ");
    assert_eq!(raised(&subscriber)["source"], "frig-door");
}

#[test]
fn retained_pictures_are_ignored_unless_requested() {
    let broker = Broker::start();
    publish_bytes(&broker, "cams/old", &jpeg("red-car.jpg"), &["-r"]);
    let subscriber = Subscriber::start(&broker);
    let sources = "  new: { mqtt: cams/+, watch: [objects] }\n  kept: { mqtt: cams/+, retained: true, watch: [objects] }\n";
    let home = Home::with_sources(broker.port, "home", sources);
    let mut service = Service::start(&home);
    assert_eq!(raised(&subscriber)["source"], "kept");
    wait_until("both are connected", || {
        let retained = retained(&broker);
        ["new", "kept"].iter().all(|source| {
            retained.iter().any(|message| message.line() == format!("r home/{source}/status online"))
        })
    });
    // A picture that is published as retained during the subscription is new.
    publish_bytes(&broker, "cams/now", &jpeg("red-car.jpg"), &["-r"]);
    assert_eq!(raised(&subscriber)["frame"]["origin"], "cams/now");
    service.stop();
}

#[test]
fn each_matched_name_is_a_separate_source_also_after_a_restart() {
    let broker = Broker::start();
    let home = Home::with_sources(
        broker.port,
        "home",
        "  door: { folder: inbox, watch: [objects] }\n  frigate:\n    mqtt: frigate/+/+/snapshot\n    name: Cam {1}\n    \
         json: { picture: /after/image, time: /time }\n    max_sources: 2\n    watch: [objects]\n",
    );
    let text = fs::read_to_string(home.path("stakeout.yaml")).unwrap();
    fs::write(
        home.path("stakeout.yaml"),
        text.replace("state_dir: state", "state_dir: state\nhome_assistant: true"),
    )
    .unwrap();
    let subscriber = Subscriber::start(&broker);
    let mut service = Service::start(&home);
    online(&subscriber, "frigate");

    let event = |picture: &str| {
        let image = BASE64_STANDARD.encode(jpeg(picture));
        json!({ "after": { "image": image }, "time": 1_795_421_730.5 }).to_string().into_bytes()
    };
    publish_bytes(&broker, "frigate/yard/person/snapshot", &event("red-car.jpg"), &[]);
    let mut seen =
        subscriber.until("the alert", |message| message.topic == "home/cam_yard/objects/red_car/alert");
    let alert: Value = serde_json::from_slice(&seen.last().unwrap().payload).unwrap();
    assert_eq!(
        (&alert["source"], &alert["snapshot"]),
        (&json!("Cam yard"), &json!("home/cam_yard/snapshot"))
    );
    assert_eq!(alert["frame"]["captured_at"], "2026-11-23T08:15:30.500Z");
    // Alerts do not wait for the board: these messages arrive before or after the alert.
    for line in ["r home/cam_yard/status online", "r home/cam_yard/objects/green_tree/state OFF"] {
        subscriber.also(&mut seen, line, |message| message.line() == line);
    }
    // Another topic with the same name belongs to the same source; another name has its own triggers.
    publish_bytes(&broker, "frigate/yard/car/snapshot", &event("green-tree.jpg"), &[]);
    let alert = raised(&subscriber);
    assert_eq!((&alert["source"], &alert["label"]), (&json!("Cam yard"), &json!("green tree")));
    publish_bytes(&broker, "frigate/gate/person/snapshot", &event("red-car.jpg"), &[]);
    assert_eq!(raised(&subscriber)["source"], "Cam gate");
    publish_bytes(&broker, "frigate/third/person/snapshot", &event("red-car.jpg"), &[]);
    service.wait_for_log("raise max_sources");
    service.stop();
    drop(subscriber);

    // After a restart the sources exist before their next picture.
    let subscriber = Subscriber::start(&broker);
    let mut service = Service::start(&home);
    let device = "homeassistant/device/home__cam_gate/config";
    let mut missing =
        BTreeSet::from(["home/cam_yard/status online", "home/cam_gate/status online", "the device"]);
    while !missing.is_empty() {
        let message = subscriber.next();
        missing.remove(&*format!("{} {}", message.topic, message.text()));
        if message.topic == device {
            assert!(!message.payload.is_empty(), "the device was removed");
            missing.remove("the device");
        }
    }
    service.stop();
}

/// Anyone who may publish pictures can invent names.
#[test]
fn invented_names_appear_slowly_and_hold_up_nothing() {
    let broker = Broker::start();
    let home = Home::with_sources(
        broker.port,
        "home",
        "  door: { folder: inbox, watch: [objects] }\n  cams: { mqtt: cams/+, name: 'cam-{1}', max_sources: 1000, watch: [objects] }\n",
    );
    let text = fs::read_to_string(home.path("stakeout.yaml")).unwrap();
    let text = text.replace("state_dir: state", "state_dir: state\nhome_assistant: true");
    fs::write(home.path("stakeout.yaml"), text).unwrap();
    // Not the pictures: there may be thousands of them, and the broker discards what a subscriber reads too slowly.
    let subscriber = Subscriber::of(&broker, "home/#");
    let mut service = Service::start(&home);
    let mut seen =
        subscriber.until("the folder to be online", |message| message.line() == "r home/door/status online");
    subscriber.also(&mut seen, "the topics", |message| message.line() == "r home/cams/status online");
    let began = Instant::now();
    let (mut publisher, picture, mut names) = (Publisher::connect(broker.port), jpeg("red-car.jpg"), 0);
    // A machine that takes longer than a second for each name never has too many.
    wait_until("too many names are new, or more of them than at once have appeared", || {
        for _ in 0..20 {
            publisher.publish(&format!("cams/{names}"), &picture);
            names += 1;
        }
        publisher.settle();
        let log = service.log();
        log.contains("many names are new at the same time")
            || log.matches("a source has appeared").count() >= 40
    });
    // A camera that was there before, and a source that has nothing to do with it.
    home.drop_picture("red-car.jpg", "1.jpg");
    publisher.publish("cams/0", &jpeg("empty-wall.jpg"));
    let is_of = |message: &ReceivedMessage, source: &str| {
        message.topic == format!("home/{source}/objects/red_car/alert")
    };
    let mut seen = subscriber.until("the alert of the folder", |message| is_of(message, "door"));
    subscriber.also(&mut seen, "an alert of a new name", |message| is_of(message, "cam-0"));

    let appeared = service.log().matches("a source has appeared").count();
    let most = 33 + usize::try_from(began.elapsed().as_secs()).unwrap();
    assert!((32..=most).contains(&appeared), "{appeared} of {names} names, {most} at most");
    service.stop();
    let log = service.log();
    assert!(log.contains("not_admitted"), "{log}");
    // After a restart they are there, and each has topics of its own.
    let sources: Value = serde_json::from_slice(&fs::read(home.path("state/sources.json")).unwrap()).unwrap();
    assert_eq!(
        sources["cams"].as_array().unwrap().len(),
        service.log().matches("a source has appeared").count()
    );
}

#[test]
fn pictures_and_alerts_with_mqtt_3_1_1() {
    let broker = Broker::start();
    publish_bytes(&broker, "cams/old", &jpeg("green-tree.jpg"), &["-r"]);
    let subscriber = Subscriber::start(&broker);
    let sources = "  cams: { mqtt: cams/+, max_packet: 64KB, watch: [objects] }\n";
    let home = Home::with_sources(broker.port, "home, version: 3.1.1", sources);
    let mut service = Service::start(&home);
    online(&subscriber, "cams");
    publish_bytes(&broker, "cams/1", &jpeg("red-car.jpg"), &[]);
    let alert = raised(&subscriber);
    assert_eq!((&alert["label"], &alert["frame"]["origin"]), (&json!("red car"), &json!("cams/1")));

    // MQTT 3.1.1 has no limit that a client could announce.
    publish_bytes(&broker, "cams/large", &vec![0; 100_000], &[]);
    service.wait_for_log("which is more than we take");
    // The source connects again at once, and its status does not change. What is published meanwhile is lost.
    let mut seen = Vec::new();
    wait_until("a picture on the new connection raises an alert", || {
        publish_bytes(&broker, "cams/2", &jpeg("green-tree.jpg"), &[]);
        seen.extend(subscriber.so_far(&broker));
        seen.iter().any(|message| message.topic == "home/cams/objects/green_tree/alert")
    });
    let alert = seen.iter().find(|message| message.topic == "home/cams/objects/green_tree/alert").unwrap();
    assert_eq!(serde_json::from_str::<Value>(alert.text()).unwrap()["frame"]["origin"], "cams/2");
    assert!(seen.iter().all(|message| message.line() != "r home/cams/status offline"), "{seen:?}");
    service.stop();
    let log = broker.log();
    assert!(log.contains("-from-cams (p2,"), "{log}");
}

#[test]
fn pictures_from_another_broker_than_the_one_for_alerts() {
    let settings = "allow_anonymous false\npassword_file {folder}/passwords\nacl_file {folder}/acl";
    let cameras = Broker::prepared(settings, |folder| {
        set_password(&folder.join("passwords"), "eye", "secret");
        fs::write(folder.join("acl"), "user eye\ntopic readwrite cams/#\n").unwrap();
    });
    let alerts = Broker::start();
    let subscriber = Subscriber::start(&alerts);
    let broker =
        format!("broker: {{ url: mqtt://127.0.0.1:{}, username: eye, password: secret }}", cameras.port);
    let home = Home::with_sources(
        alerts.port,
        "home",
        &format!("  cams: {{ mqtt: cams/+, {broker}, watch: [objects] }}\n"),
    );
    let service = Service::start(&home);
    online(&subscriber, "cams");
    publish_bytes(&cameras, "cams/1", &jpeg("red-car.jpg"), &["-u", "eye", "-P", "secret"]);
    assert_eq!(raised(&subscriber)["source"], "cams");

    let text = fs::read_to_string(home.path("stakeout.yaml")).unwrap();
    fs::write(home.path("stakeout.yaml"), text.replace("password: secret", "password: wrong")).unwrap();
    service.wait_for_log("does not accept the user `eye`");
    subscriber.until("the source to be offline", |message| message.line() == "r home/cams/status offline");
}

/// How often each topic was scored, by the logs of the services.
fn scored(services: &[&Service]) -> BTreeMap<String, usize> {
    let mut scored = BTreeMap::new();
    for service in services {
        for line in service.log().lines().filter(|line| line.contains(": scored (")) {
            if let Some((_, rest)) = line.split_once("origin=") {
                let topic = rest.trim_start_matches('"').split(['"', ',', ')']).next().unwrap();
                *scored.entry(topic.to_owned()).or_default() += 1;
            }
        }
    }
    scored
}

#[test]
fn several_machines_share_the_pictures() {
    const EACH: usize = 90;
    let broker = Broker::with("allow_anonymous true\nmax_queued_messages 0");
    let homes = ["one", "two", "three"].map(|prefix| {
        let sources = "  work: { mqtt: work/+, share: farm, watch: [objects] }\n";
        Home::with_sources(broker.port, prefix, sources)
    });
    let log = [("RUST_LOG", "info,stakeout=debug")];
    let subscriber = Subscriber::start(&broker);
    let mut services = homes.each_ref().map(|home| Service::with(home, &log));
    let mut online = BTreeSet::new();
    while online.len() < 3 {
        let message = subscriber.next();
        if message.line().ends_with("/work/status online") {
            online.insert(message.topic);
        }
    }
    let red_car = jpeg("red-car.jpg");
    let mut publisher = Publisher::connect(broker.port);
    let mut publish = |from: usize| {
        (from..from + EACH).for_each(|number| publisher.publish(&format!("work/{number}"), &red_car));
        publisher.settle();
    };

    publish(0);
    let all = |services: &[&Service], count: usize| {
        wait_until("every picture is scored", || scored(services).len() == count);
    };
    all(&services.each_ref(), EACH);
    let times = scored(&services.each_ref());
    assert!(times.values().all(|times| *times == 1), "each picture by one machine: {times:?}");
    for service in &services {
        assert!(!scored(&[service]).is_empty(), "each machine scores a part");
    }

    // One machine is killed while messages for it are in flight, and starts again.
    services[0].signal("-STOP");
    publish(EACH);
    services[0].signal("-KILL");
    let _ = services[0].wait();
    publish(2 * EACH);
    let again = Service::with(&homes[0], &log);
    let services = [&services[0], &services[1], &services[2], &again];
    all(&services, 3 * EACH);
    let times = scored(&services);
    let twice = times.values().filter(|times| **times > 1).count();
    assert!(twice <= 4, "only pictures that were in flight to the killed machine: {times:?}");
    assert!(scored(&[&again]).len() >= EACH / 6, "its unfinished pictures are not lost");
}

/// Mosquitto 2.0 sends more messages than the receive maximum of the client allows.
#[test]
fn shared_pictures_without_a_free_slot_wait_at_the_broker() {
    const PICTURES: usize = 500;
    let broker = Broker::with("allow_anonymous true\nmax_queued_messages 0");
    let home =
        Home::with_sources(broker.port, "home", "  work: { mqtt: work/+, share: farm, watch: [objects] }\n");
    let subscriber = Subscriber::start(&broker);
    let mut service = Service::with(&home, &[("RUST_LOG", "info,stakeout=debug")]);
    online(&subscriber, "work");
    // The messages gather while the service is stopped.
    service.signal("-STOP");
    let (mut publisher, red_car) = (Publisher::connect(broker.port), jpeg("red-car.jpg"));
    (0..PICTURES).for_each(|number| publisher.publish(&format!("work/{number}"), &red_car));
    publisher.settle();
    service.signal("-CONT");
    wait_until("every picture is scored", || scored(&[&service]).len() == PICTURES);
    assert!(scored(&[&service]).values().all(|times| *times == 1));
    service.stop();
}
