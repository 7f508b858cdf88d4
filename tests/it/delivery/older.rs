//! Brokers that speak MQTT 3.1.1: the same promises, as far as that version has words for them.

use std::{io::Read as _, net::Shutdown};

use stakeout::config::MqttVersion;

use super::*;

/// The same broker, spoken to in MQTT 3.1.1.
pub fn older(broker: Mqtt) -> Mqtt {
    let connection = MqttConnection { version: MqttVersion::V311, ..broker.connection };
    Mqtt { connection, ..broker }
}

#[test]
fn an_older_broker_gets_everything_that_a_newer_one_does() {
    let (broker, house) = (Broker::start(), House::new());
    // In MQTT 3.1.1 nobody can ask a broker to keep what it has retained to itself; this one is of yesterday.
    publish_bytes(&broker, "homeassistant/status", b"online", &["-r"]);
    let subscriber = Subscriber::start(&broker);
    house.board.set(STATE, "OFF");
    let publisher = house.publish_and_announce(&older(broker.mqtt()), announcement());
    let device = |message: &Message| message.topic.contains("stakeout__door");
    let mut seen = subscriber.until("the last device", device);
    seen.retain(|message| !message.topic.starts_with("homeassistant"));
    assert_eq!(lines(&seen), ["r stakeout/status online", &format!("r {STATE} OFF")]);

    house.append(1, Some(vec![7; 1_000_000]));
    house.board.set(STATE, "ON");
    let seen = subscriber.until("the state", |message| message.topic == STATE);
    assert!(!seen.iter().any(device), "a birth that the broker kept is no news");
    let told =
        seen.iter().map(|message| (&*message.topic, message.retain, message.qos, message.payload.len()));
    assert_eq!(
        told.collect::<Vec<_>>(),
        [(SNAPSHOT, true, 1, 1_000_000), (ALERT, false, 1, 8), (STATE, true, 1, 2)]
    );
    wait_until("the outbox is empty", || house.outbox.waiting() == 0);
    publish(&broker, "homeassistant/status", "online");
    subscriber.until("the devices again", device);

    publisher.kill();
    assert_eq!(subscriber.next().line(), "r stakeout/status offline", "the last will");
    let log = fs::read_to_string(broker.folder().join("log")).unwrap();
    assert!(log.contains("as stakeout-test (p2,"), "protocol 2 is mosquitto's word for MQTT 3.1.1: {log}");
    let publisher = house.publish(&older(broker.mqtt()));
    subscriber.until("online", |message| message.line() == "r stakeout/status online");
    assert_eq!(publisher.finish(), Farewell { waiting: 0, said: true });
    subscriber.until("our own goodbye", |message| message.line() == "r stakeout/status offline");
}

#[test]
fn a_wrong_password_is_named_in_the_older_version_too() {
    let broker = Broker::prepared("password_file {folder}/passwords", |folder| {
        set_password(&folder.join("passwords"), "stakeout", "right");
    });
    let house = House::new();
    let publisher = house.publish(&older(login(broker.mqtt(), "stakeout", "hush-hush")));
    house.append(1, None);
    wait_until("the password is complained about", || {
        publisher.log().contains("does not accept the user `stakeout`")
    });
    assert!(!publisher.log().contains("hush-hush"), "{}", publisher.log());
    set_password(&broker.folder().join("passwords"), "stakeout", "hush-hush");
    broker.reload();
    wait_until("it is delivered", || house.outbox.waiting() == 0);
    publisher.finish();
}

/// A broker that takes no connection of the version it is spoken to in.
#[test]
fn a_broker_that_speaks_another_version_is_named_with_the_remedy() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let _ = (&stream).read(&mut [0; 1024]);
            // MQTT 3.1.1's answer: unacceptable protocol version.
            let _ = (&stream).write_all(&[0x20, 2, 0, 1]);
            let _ = stream.shutdown(Shutdown::Both);
        }
    });
    let house = House::new();
    for (broker, remedy) in [
        (mqtt(port), "set `version: 3.1.1` below `mqtt:`"),
        (older(mqtt(port)), "set `version: 5` below `mqtt:`"),
    ] {
        let publisher = house.publish(&broker);
        wait_until(remedy, || publisher.log().contains(remedy));
        assert_eq!(publisher.log().matches("not connected").count(), 1, "{}", publisher.log());
        publisher.finish();
    }
}
