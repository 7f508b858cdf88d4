//! Refusals of a broker: a password, a topic, a size, a quota.

use super::*;

#[test]
fn a_wrong_password_is_reported_and_waiting_alerts_are_sent_when_it_is_right() {
    let broker = Broker::prepared("password_file {folder}/passwords", |folder| {
        set_password(&folder.join("passwords"), "stakeout", "right");
        set_password(&folder.join("passwords"), "viewer", "viewer");
    });
    let setup = Setup::new();
    let publisher = setup.publish(&login(broker.mqtt(), "stakeout", "hush-hush"));
    setup.append(1, None);
    wait_until("the wrong password is logged", || publisher.log().contains("not connected"));
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
fn a_forbidden_alert_is_reported_and_waits_while_others_overtake_it() {
    let rules = |folder: &Path, rules: &str| {
        fs::write(folder.join("rules"), format!("topic read #\n{rules}\n")).unwrap()
    };
    let broker = Broker::prepared("allow_anonymous true\nacl_file {folder}/rules", |folder| {
        rules(
            folder,
            "topic write stakeout/status\ntopic write stakeout/+/+/+/state\ntopic write stakeout/back/#",
        );
    });
    let setup = Setup::new();
    let subscriber = Subscriber::start(&broker);
    let publisher = setup.publish(&broker.mqtt());
    setup.append(1, Some(vec![0; 10]));
    wait_until("the refusal is logged", || publisher.log().contains("the broker refuses an alert"));
    let log = publisher.log();
    assert!(log.contains(ALERT) && log.contains("does not allow us to publish there"), "{log}");
    assert!(log.contains("the snapshot was left out"), "{log}");
    assert!(log.contains("let this user write there in the broker's access rules"), "{log}");
    setup.board.set(STATE, "ON");
    let seen = subscriber.until("the state", |message| message.topic == STATE);
    assert_eq!(alerts(&seen), [0; 0]);
    (2..=3).for_each(|number| setup.append(number, None));
    let other = Topics::new("stakeout").alert("back", "porch", "package");
    setup.append_at(&other, 4);
    subscriber.until("an allowed alert", |message| message.topic == other);
    wait_until("the outbox has only the forbidden alerts", || setup.outbox.waiting() == 3);

    rules(broker.folder(), "topic write stakeout/#");
    broker.reload();
    let seen = subscriber.until("the last alert", |message| message.text() == "{\"id\":3}");
    assert_eq!(alerts(&seen), [1, 2, 3]);
    assert_eq!(publisher.log().matches("the broker refuses an alert").count(), 1, "{}", publisher.log());
    assert_eq!(publisher.finish(), Farewell { waiting: 0, said: true });
}

/// A picture that cannot be compressed.
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
fn one_broken_connection_does_not_shrink_a_snapshot() {
    let (broker, setup) = (Broker::start(), Setup::new());
    let proxy = Proxy::start(broker.port);
    let subscriber = Subscriber::start(&broker);
    // The acknowledgement of `online` passes, the one of the snapshot is lost.
    proxy.lose_acknowledgement_after(1);
    let picture = noise(320, 240);
    setup.append(1, Some(picture.clone()));
    let publisher = setup.publish(&mqtt(proxy.port));
    let seen = subscriber.until("the alert", |message| message.text() == "{\"id\":1}");
    let pictures = seen.iter().filter(|message| message.topic == SNAPSHOT).collect::<Vec<_>>();
    assert_eq!(pictures.len(), 2);
    assert!(pictures.iter().all(|message| message.payload == picture));
    assert_eq!(proxy.attempts(), 2);
    assert_eq!(publisher.counts.snapshots_scaled.load(Ordering::Relaxed), 0);
    publisher.finish();
}

#[test]
fn a_snapshot_too_large_for_the_broker_is_shrunk_or_left_out_and_its_alert_is_sent() {
    // The first broker announces its limit in CONNACK; the others close the connection.
    let mqtt5: fn(Mqtt) -> Mqtt = |broker| broker;
    let cases = [
        ("max_packet_size 20000", mqtt5),
        ("message_size_limit 20000", mqtt5),
        ("max_packet_size 20000", mqtt3::mqtt3),
    ];
    for (limit, version) in cases {
        let broker = Broker::with(&format!("allow_anonymous true\n{limit}"));
        let (setup, subscriber) = (Setup::new(), Subscriber::start(&broker));
        let publisher = setup.publish(&version(broker.mqtt()));
        let large = noise(320, 240);
        assert!(large.len() > 40_000, "{}", large.len());
        setup.append(1, Some(large));
        // No picture, so it cannot be shrunk.
        setup.append(2, Some(vec![0; 30_000]));
        setup.append(3, Some(vec![0; 10_000]));
        let seen = subscriber.until("the last alert", |message| message.text() == "{\"id\":3}");
        assert_eq!(alerts(&seen), [1, 2, 3], "{limit}");
        let pictures = seen.iter().filter(|message| message.topic == SNAPSHOT).collect::<Vec<_>>();
        assert_eq!(pictures.len(), 2, "{limit}");
        assert!(
            stakeout::picture::decode(&pictures[0].payload, stakeout::picture::Limits::of(100_000)).is_ok(),
            "{limit}"
        );
        assert_eq!(publisher.counts.snapshots_scaled.load(Ordering::Relaxed), 1, "{limit}");
        assert_eq!(publisher.counts.snapshots_skipped.load(Ordering::Relaxed), 1, "{limit}");
        assert!(publisher.log().contains("the snapshot was left out"), "{limit}: {}", publisher.log());
        publisher.finish();
    }
}

#[test]
fn messages_have_a_content_type_and_an_expiry() {
    use std::io::{BufRead as _, BufReader};

    let (broker, setup) = (Broker::start(), Setup::new());
    let port = broker.port.to_string();
    let mut command = Command::new("stdbuf");
    command.args(["-oL", "mosquitto_sub", "-h", "127.0.0.1", "-p", &port, "-V", "5", "-q", "1", "-d"]);
    command.args(["-t", "stakeout/#", "-F", "MESSAGE %t|%C|%E"]).stdout(Stdio::piped());
    let mut subscriber = command.spawn().unwrap();
    let mut lines = BufReader::new(subscriber.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.starts_with("Subscribed")));
    let connection = MqttConnection { message_expiry: Some(Duration::from_secs(3600)), ..connection() };
    let publisher = setup.publish(&Mqtt { connection, ..broker.mqtt() });
    setup.append(1, Some(vec![1; 10]));
    let mut messages = lines.filter_map(|line| line.strip_prefix("MESSAGE ").map(str::to_owned));
    let received = [messages.next().unwrap(), messages.next().unwrap(), messages.next().unwrap()];
    assert_eq!(
        received,
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
fn alerts_wait_for_a_used_up_quota_which_is_reported() {
    const QUOTA_EXCEEDED: u8 = 0x97;
    let (broker, setup) = (Broker::start(), Setup::new());
    let proxy = Proxy::start(broker.port);
    let publisher = setup.publish(&mqtt(proxy.port));
    wait_until("the publisher is connected", || publisher.counts.connected.load(Ordering::Relaxed));
    proxy.answer(Some(QUOTA_EXCEEDED));
    (1..=3).for_each(|number| setup.append(number, None));
    wait_until("the quota is logged", || publisher.log().contains("(its quota)"));
    assert!(publisher.log().contains("raise this user's quota at the broker"), "{}", publisher.log());
    assert_eq!(setup.outbox.waiting(), 3, "no alert overtakes another");
    proxy.answer(None);
    wait_until("all are delivered after the quota is renewed", || setup.outbox.waiting() == 0);
    let alerts = proxy.acknowledged().into_iter().filter(|(topic, _)| topic == ALERT);
    let order = alerts.map(|(_, payload)| payload).collect::<Vec<_>>();
    assert_eq!(order, ["{\"id\":1}", "{\"id\":2}", "{\"id\":3}"]);
    assert_eq!(publisher.finish(), Farewell { waiting: 0, said: true });
}
