//! Brokers that speak MQTT 3.1.1: the same guarantees, as far as that version can express them.

use std::{io::Read as _, net::Shutdown};

use stakeout::config::MqttVersion;

use super::*;

/// `broker`, with MQTT 3.1.1.
pub fn mqtt3(broker: Mqtt) -> Mqtt {
    let connection = MqttConnection { version: MqttVersion::V311, ..broker.connection };
    Mqtt { connection, ..broker }
}

#[test]
fn an_mqtt3_broker_receives_what_an_mqtt5_broker_receives() {
    let (broker, setup) = (Broker::start(), Setup::new());
    // An MQTT 3.1.1 client cannot refuse retained messages. This birth message is an old one.
    publish_bytes(&broker, "homeassistant/status", b"online", &["-r"]);
    let subscriber = Subscriber::start(&broker);
    setup.board.set(STATE, "OFF");
    let publisher = setup.publish_with(&mqtt3(broker.mqtt()), announcement(), GRACE);
    let device = |message: &ReceivedMessage| message.topic.contains("stakeout__door");
    let mut seen = subscriber.until("the last device", device);
    seen.retain(|message| !message.topic.starts_with("homeassistant"));
    assert_eq!(lines(&seen), [&*format!("r {STATE} OFF"), "r stakeout/status online"]);

    setup.append(1, Some(vec![7; 1_000_000]));
    let mut seen = subscriber.until("the alert", |message| message.topic == ALERT);
    setup.board.set(STATE, "ON");
    seen.extend(subscriber.until("the state", |message| message.topic == STATE));
    assert!(!seen.iter().any(device), "a retained birth message is ignored");
    let received =
        seen.iter().map(|message| (&*message.topic, message.retain, message.qos, message.payload.len()));
    assert_eq!(
        received.collect::<Vec<_>>(),
        [(SNAPSHOT, true, 1, 1_000_000), (ALERT, false, 1, 8), (STATE, true, 1, 2)]
    );
    wait_until("the outbox is empty", || setup.outbox.waiting() == 0);
    publish(&broker, "homeassistant/status", "online");
    subscriber.until("the devices again", device);

    publisher.kill();
    assert_eq!(subscriber.next().line(), "r stakeout/status offline", "the last will");
    let log = broker.log();
    assert!(log.contains("as stakeout-test (p2,"), "mosquitto calls MQTT 3.1.1 protocol 2: {log}");
    let publisher = setup.publish(&mqtt3(broker.mqtt()));
    subscriber.until("online", |message| message.line() == "r stakeout/status online");
    assert_eq!(publisher.finish(), Farewell { waiting: 0, said: true });
    subscriber.until("the publisher's own offline", |message| message.line() == "r stakeout/status offline");
}

#[test]
fn a_wrong_password_is_reported_by_an_mqtt3_broker_too() {
    let broker = Broker::prepared("password_file {folder}/passwords", |folder| {
        set_password(&folder.join("passwords"), "stakeout", "right");
    });
    let setup = Setup::new();
    let publisher = setup.publish(&mqtt3(login(broker.mqtt(), "stakeout", "hush-hush")));
    setup.append(1, None);
    wait_until("the wrong password is logged", || {
        publisher.log().contains("does not accept the user `stakeout`")
    });
    assert!(!publisher.log().contains("hush-hush"), "{}", publisher.log());
    set_password(&broker.folder().join("passwords"), "stakeout", "hush-hush");
    broker.reload();
    wait_until("it is delivered", || setup.outbox.waiting() == 0);
    publisher.finish();
}

/// A broker that refuses the protocol version of the client.
#[test]
fn a_broker_with_another_protocol_version_is_reported_with_the_remedy() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let _ = (&stream).read(&mut [0; 1024]);
            // CONNACK of MQTT 3.1.1: unacceptable protocol version.
            let _ = (&stream).write_all(&[0x20, 2, 0, 1]);
            let _ = stream.shutdown(Shutdown::Both);
        }
    });
    let setup = Setup::new();
    for (broker, remedy) in [
        (mqtt(port), "set `version: 3.1.1` below `mqtt:`"),
        (mqtt3(mqtt(port)), "set `version: 5` below `mqtt:`"),
    ] {
        let publisher = setup.publish(&broker);
        wait_until(remedy, || publisher.log().contains(remedy));
        assert_eq!(publisher.log().matches("not connected").count(), 1, "{}", publisher.log());
        publisher.finish();
    }
}
