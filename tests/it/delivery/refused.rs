//! What a broker does not take: a password, a topic, a size, too much.

use super::*;

#[test]
fn a_wrong_password_is_named_and_what_waits_is_sent_once_it_is_right() {
    let broker = Broker::prepared("password_file {folder}/passwords", |folder| {
        set_password(&folder.join("passwords"), "stakeout", "right");
        set_password(&folder.join("passwords"), "viewer", "viewer");
    });
    let house = House::new();
    let publisher = house.publish(&login(broker.mqtt(), "stakeout", "hush-hush"));
    house.append(1, None);
    wait_until("the password is complained about", || publisher.log().contains("not connected"));
    let log = publisher.log();
    let url = format!("mqtt://127.0.0.1:{}", broker.port);
    for part in [&url, "does not accept the user `stakeout`", "check mqtt.username and mqtt.password"] {
        assert!(log.contains(part), "{part} is not in {log}");
    }
    assert!(!log.contains("hush-hush"), "{log}");

    let subscriber = Subscriber::with(&broker, &["-u", "viewer", "-P", "viewer"]);
    set_password(&broker.folder().join("passwords"), "stakeout", "hush-hush");
    broker.reload();
    let seen = subscriber.until("the alert", |message| message.topic == ALERT);
    assert_eq!(alerts(&seen), [1]);
    publisher.finish();
}

#[test]
fn an_alert_that_the_broker_forbids_waits_and_is_named_and_others_go_past_it() {
    let rules = |folder: &Path, rules: &str| {
        fs::write(folder.join("rules"), format!("topic read #\n{rules}\n")).unwrap()
    };
    let broker = Broker::prepared("allow_anonymous true\nacl_file {folder}/rules", |folder| {
        rules(
            folder,
            "topic write stakeout/status\ntopic write stakeout/+/+/+/state\ntopic write stakeout/back/#",
        );
    });
    let house = House::new();
    let subscriber = Subscriber::start(&broker);
    let publisher = house.publish(&broker.mqtt());
    house.append(1, Some(vec![0; 10]));
    wait_until("the refusal is named", || publisher.log().contains("the broker refuses an alert"));
    let log = publisher.log();
    assert!(log.contains(ALERT) && log.contains("does not allow us to publish there"), "{log}");
    assert!(log.contains("the snapshot was left out"), "{log}");
    assert!(log.contains("let this user write there in the broker's access rules"), "{log}");
    house.board.set(STATE, "ON");
    let seen = subscriber.until("the state goes on", |message| message.topic == STATE);
    assert_eq!(alerts(&seen), [0; 0]);
    (2..=3).for_each(|number| house.append(number, None));
    let other = Topics::new("stakeout").alert("back", "porch", "package");
    house.append_at(&other, 4);
    subscriber.until("an alert that is allowed", |message| message.topic == other);
    wait_until("it left", || house.outbox.waiting() == 3);

    rules(broker.folder(), "topic write stakeout/#");
    broker.reload();
    let seen = subscriber.until("the last alert", |message| message.text() == "{\"id\":3}");
    assert_eq!(alerts(&seen), [1, 2, 3]);
    assert_eq!(publisher.log().matches("the broker refuses an alert").count(), 1, "{}", publisher.log());
    assert_eq!(publisher.finish(), Farewell { waiting: 0, said: true });
}

/// A picture that no compression makes small.
fn noise(width: u32, height: u32) -> Vec<u8> {
    let mut seed = 1_u32;
    let mut rgb = vec![0; (width * height * 3) as usize];
    rgb.iter_mut().for_each(|value| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        *value = (seed >> 24) as u8;
    });
    stakeout::picture::Picture::of_rgb(width, height, rgb).to_jpeg(85).unwrap()
}

#[test]
fn a_connection_that_breaks_once_leaves_a_picture_as_it_is() {
    let (broker, house) = (Broker::start(), House::new());
    let wire = Proxy::start(0, broker.port);
    let subscriber = Subscriber::start(&broker);
    // Of `online` it passes, of the picture it does not.
    wire.lose_acknowledgement_after(1);
    let picture = noise(320, 240);
    house.append(1, Some(picture.clone()));
    let publisher = house.publish(&mqtt(wire.port));
    let seen = subscriber.until("the alert", |message| message.text() == "{\"id\":1}");
    let pictures = seen.iter().filter(|message| message.topic == SNAPSHOT).collect::<Vec<_>>();
    assert_eq!(pictures.len(), 2);
    assert!(pictures.iter().all(|message| message.payload == picture));
    assert_eq!(wire.made(), 2);
    assert_eq!(publisher.counts.snapshots_scaled.load(Ordering::Relaxed), 0);
    publisher.finish();
}

#[test]
fn a_picture_that_is_too_large_for_the_broker_is_made_smaller_and_its_alert_comes_in_any_case() {
    // One says so when we connect; the other hangs up, and so does the first where it has no word for it.
    let newer: fn(Mqtt) -> Mqtt = |broker| broker;
    let cases = [
        ("max_packet_size 20000", newer),
        ("message_size_limit 20000", newer),
        ("max_packet_size 20000", older::older),
    ];
    for (limit, version) in cases {
        let broker = Broker::with(&format!("allow_anonymous true\n{limit}"));
        let (house, subscriber) = (House::new(), Subscriber::start(&broker));
        let publisher = house.publish(&version(broker.mqtt()));
        let large = noise(320, 240);
        assert!(large.len() > 40_000, "{}", large.len());
        house.append(1, Some(large));
        // Nothing that could be made smaller.
        house.append(2, Some(vec![0; 30_000]));
        house.append(3, Some(vec![0; 10_000]));
        let seen = subscriber.until("the last alert", |message| message.text() == "{\"id\":3}");
        assert_eq!(alerts(&seen), [1, 2, 3], "{limit}");
        let pictures = seen.iter().filter(|message| message.topic == SNAPSHOT).collect::<Vec<_>>();
        assert_eq!(pictures.len(), 2, "{limit}");
        assert!(stakeout::picture::decode(&pictures[0].payload, 100_000).is_ok(), "{limit}");
        assert_eq!(publisher.counts.snapshots_scaled.load(Ordering::Relaxed), 1, "{limit}");
        assert_eq!(publisher.counts.snapshots_skipped.load(Ordering::Relaxed), 1, "{limit}");
        assert!(publisher.log().contains("the snapshot was left out"), "{limit}: {}", publisher.log());
        publisher.finish();
    }
}

#[test]
fn a_message_says_what_it_is_and_when_it_expires() {
    use std::io::{BufRead as _, BufReader};

    let (broker, house) = (Broker::start(), House::new());
    let port = broker.port.to_string();
    let mut command = Command::new("stdbuf");
    command.args(["-oL", "mosquitto_sub", "-h", "127.0.0.1", "-p", &port, "-V", "5", "-q", "1", "-d"]);
    command.args(["-t", "stakeout/#", "-F", "MESSAGE %t|%C|%E"]).stdout(Stdio::piped());
    let mut subscriber = command.spawn().unwrap();
    let mut heard = BufReader::new(subscriber.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert!(heard.any(|line| line.starts_with("Subscribed")));
    let connection =
        MqttConnection { message_expiry: Some(Duration::from_secs(3600)), ..MqttConnection::default() };
    let publisher = house.publish(&Mqtt { connection, ..broker.mqtt() });
    house.append(1, Some(vec![1; 10]));
    let mut messages = heard.filter_map(|line| line.strip_prefix("MESSAGE ").map(str::to_owned));
    let told = [messages.next().unwrap(), messages.next().unwrap(), messages.next().unwrap()];
    assert_eq!(
        told,
        [
            format!("{STATUS}|text/plain|"),
            format!("{SNAPSHOT}|image/jpeg|3600"),
            format!("{ALERT}|application/json|3600")
        ]
    );
    subscriber.kill().unwrap();
    subscriber.wait().unwrap();
    publisher.finish();
}

#[test]
fn a_quota_that_is_used_up_is_named_and_waited_for() {
    const QUOTA_EXCEEDED: u8 = 0x97;
    let (broker, house) = (Broker::start(), House::new());
    let wire = Proxy::start(0, broker.port);
    let publisher = house.publish(&mqtt(wire.port));
    wait_until("connected", || publisher.counts.connected.load(Ordering::Relaxed));
    wire.answer(Some(QUOTA_EXCEEDED));
    (1..=3).for_each(|number| house.append(number, None));
    wait_until("the quota is named", || publisher.log().contains("(its quota)"));
    assert!(publisher.log().contains("raise this user's quota at the broker"), "{}", publisher.log());
    assert_eq!(house.outbox.waiting(), 3, "nothing goes past it");
    wire.answer(None);
    wait_until("it is renewed", || house.outbox.waiting() == 0);
    let alerts = wire.acknowledged().into_iter().filter(|(topic, _)| topic == ALERT);
    let order = alerts.map(|(_, payload)| payload).collect::<Vec<_>>();
    assert_eq!(order, ["{\"id\":1}", "{\"id\":2}", "{\"id\":3}"]);
    assert_eq!(publisher.finish(), Farewell { waiting: 0, said: true });
}
