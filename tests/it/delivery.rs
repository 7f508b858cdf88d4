//! Delivery: the outbox, the board and the publisher with a real broker that comes, goes, refuses and forgets.

mod house;
mod older;
mod power;
mod proofs;
mod refused;
mod transport;

use std::{
    fs,
    io::Write,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use stakeout::{
    alert::{
        Topics,
        board::Board,
        home_assistant::Announcement,
        outbox::{Entry, Outbox, Snapshot},
        publisher::{Announcer, Counts, Farewell, Publisher, ScoreSink},
    },
    config::{Mqtt, MqttConnection, TlsFiles},
};
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use self::house::*;
use crate::common::{
    broker::{
        Broker, Message, Subscriber, free_port, login, mqtt, publish, publish_bytes, set_password, wait_until,
    },
    proxy::Proxy,
};

const ALERT: &str = "stakeout/door/porch/package/alert";
const STATE: &str = "stakeout/door/porch/package/state";
const SNAPSHOT: &str = "stakeout/door/snapshot";
const STATUS: &str = "stakeout/status";

#[test]
fn a_picture_goes_before_its_alert_and_retained_is_what_must_be() {
    let (broker, house) = (Broker::start(), House::new());
    let subscriber = Subscriber::start(&broker);
    house.board.set(STATE, "OFF");
    let publisher = house.publish(&broker.mqtt());
    let seen = subscriber.until("the board", |message| message.topic == STATE);
    assert_eq!(lines(&seen), ["r stakeout/status online", &format!("r {STATE} OFF")]);

    let jpeg = vec![0xff; 2_000_000];
    house.append(1, Some(jpeg.clone()));
    house.board.set(STATE, "ON");
    let seen = subscriber.until("the state", |message| message.topic == STATE);
    let expected =
        [(SNAPSHOT, true, jpeg), (ALERT, false, b"{\"id\":1}".to_vec()), (STATE, true, b"ON".to_vec())];
    assert_eq!(
        seen,
        expected.map(|(topic, retain, payload)| Message { topic: topic.to_owned(), payload, qos: 1, retain })
    );
    wait_until("the outbox is empty", || house.outbox.waiting() == 0);
    assert_eq!(publisher.counts.published.load(Ordering::Relaxed), 1);

    assert_eq!(publisher.finish(), Farewell { waiting: 0, said: true });
    assert_eq!(lines(&subscriber.rest(Duration::from_millis(500))), ["r stakeout/status offline"]);
}

#[test]
fn the_last_will_speaks_for_a_process_that_is_gone() {
    let (broker, house) = (Broker::start(), House::new());
    let subscriber = Subscriber::start(&broker);
    let publisher = house.publish(&broker.mqtt());
    assert_eq!(subscriber.next().line(), "r stakeout/status online");
    publisher.kill();
    assert_eq!(subscriber.next().line(), "r stakeout/status offline");
    drop(subscriber);
    assert_eq!(Subscriber::start(&broker).next().line(), "r stakeout/status offline", "it is retained");
}

#[test]
fn what_was_raised_while_the_broker_was_away_arrives_in_order() {
    let (house, port) = (House::new(), free_port());
    let publisher = house.publish(&mqtt(port));
    (1..=5).for_each(|number| house.append(number, Some(vec![number as u8; 1000])));
    house.board.set(STATE, "ON");
    house.board.set(STATE, "OFF");
    wait_until("it is said that the broker is away", || publisher.log().contains("not connected"));
    thread::sleep(Duration::from_millis(1500));
    assert_eq!(
        publisher.log().matches("not connected").count(),
        1,
        "once a minute is enough: {}",
        publisher.log()
    );
    assert_eq!(house.outbox.waiting(), 5);

    let broker = Broker::start();
    let subscriber = Subscriber::start(&broker);
    let _wire = Proxy::start(port, broker.port);
    let seen = subscriber.until("the last alert", |message| message.text() == "{\"id\":5}");
    assert_eq!(lines(&seen[..2]), ["r stakeout/status online", &format!("r {STATE} OFF")]);
    let topics = seen[2..].iter().map(|message| message.topic.as_str()).collect::<Vec<_>>();
    assert_eq!(topics, [SNAPSHOT, ALERT].repeat(5));
    assert_eq!(alerts(&seen), [1, 2, 3, 4, 5]);
    let log = publisher.log();
    assert!(log.contains("the broker is back") && log.contains("away_s="), "{log}");
    assert_eq!(publisher.finish(), Farewell { waiting: 0, said: true });
}

#[test]
fn nothing_is_lost_when_the_broker_dies_and_forgets_everything() {
    let (mut broker, house) = (Broker::start(), House::new());
    let wire = Proxy::start(0, broker.port);
    let before = Subscriber::start(&broker);
    house.board.set(STATE, "ON");
    let publisher = house.publish(&mqtt(wire.port));
    (1..=40).for_each(|number| house.append(number, None));
    // What the broker has acknowledged it passes on first; what it would lose of that is not ours to keep.
    let seen = before.until("what was raised so far", |message| message.text() == "{\"id\":40}");
    // Their acknowledgements have come, too: what has none is sent again.
    while publisher.counts.published.load(Ordering::Relaxed) < 40 {
        thread::sleep(Duration::from_millis(1));
    }
    wire.set_open(false);
    broker.kill();
    (41..=50).for_each(|number| house.append(number, None));
    house.board.set(STATE, "OFF");

    broker.restart();
    let after = Subscriber::start(&broker);
    wire.set_open(true);
    let seen_after = after.until("the last alert", |message| message.text() == "{\"id\":50}");
    assert_eq!(lines(&seen_after[..2]), ["r stakeout/status online", &format!("r {STATE} OFF")]);

    let mut numbers = alerts(&seen);
    numbers.extend(alerts(&seen_after));
    let repeats = publisher.counts.repeated.load(Ordering::Relaxed);
    assert!(repeats <= 1, "only what was under way is sent again, not {repeats}");
    numbers.dedup();
    assert_eq!(numbers, (1..=50).collect::<Vec<_>>());
    assert_eq!(publisher.finish(), Farewell { waiting: 0, said: true });
}

/// Scores, and Home Assistant starting over and over, as fast as they come.
#[test]
fn nothing_that_goes_beside_alerts_holds_them_up() {
    const ALERTS: u32 = 300;
    const STARTS: usize = 300;
    let (broker, house) = (Broker::start(), House::new());
    let subscriber = Subscriber::start(&broker);
    let publisher = house.publish_and_announce(&broker.mqtt(), announcement());
    subscriber.until("the last device", |message| message.topic.contains("stakeout__door"));

    let port = broker.port.to_string();
    let mut starts = Command::new("mosquitto_pub");
    starts.args(["-h", "127.0.0.1", "-p", &port, "-t", "homeassistant/status", "-l"]);
    let mut starts = starts.stdin(Stdio::piped()).spawn().unwrap();
    starts.stdin.take().unwrap().write_all("online\n".repeat(STARTS).as_bytes()).unwrap();
    let (done, scores) = (Arc::new(AtomicBool::new(false)), publisher.scores.clone());
    let flood = thread::spawn({
        let done = Arc::clone(&done);
        move || {
            while !done.load(Ordering::Relaxed) {
                scores.tell("stakeout/door/porch/scores".to_owned(), "{}".to_owned());
                thread::sleep(Duration::from_micros(20));
            }
        }
    });
    (1..=ALERTS).for_each(|number| house.append(number, None));
    let last = format!("{{\"id\":{ALERTS}}}");
    let seen = subscriber.until("the last alert", |message| message.text() == last);
    let rest = subscriber.until("scores", |message| message.topic.ends_with("/scores"));
    done.store(true, Ordering::Relaxed);
    flood.join().unwrap();
    assert!(starts.wait().unwrap().success());

    assert_eq!(alerts(&seen), (1..=ALERTS).collect::<Vec<_>>());
    assert_eq!(publisher.counts.repeated.load(Ordering::Relaxed), 0);
    assert!(publisher.counts.scores_dropped.load(Ordering::Relaxed) > 0, "what finds no room is dropped");
    let scores = rest.last().unwrap();
    assert_eq!((scores.qos, scores.retain), (0, false));
    assert!(!publisher.log().contains("not connected"), "{}", publisher.log());
    assert_eq!(publisher.finish(), Farewell { waiting: 0, said: true });
}

/// What there is to tell of one source with forty labels.
fn announcement() -> Announcement {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("stakeout.yaml");
    let labels = (0..40).map(|number| format!("thing {number}")).collect::<Vec<_>>().join(", ");
    let text = format!(
        "mqtt: {{ url: mqtt://broker }}\nhome_assistant: true\nlabel_sets: {{ porch: {{ labels: [{labels}] }} }}\n\
         sources: {{ door: {{ folder: inbox, watch: [porch] }} }}\n"
    );
    fs::write(&path, text).unwrap();
    Announcement::of(&stakeout::config::load(&path).unwrap().config)
}

#[test]
fn an_alert_whose_acknowledgement_is_lost_comes_again_with_the_same_id() {
    let (broker, house) = (Broker::start(), House::new());
    let wire = Proxy::start(0, broker.port);
    let subscriber = Subscriber::start(&broker);
    // Of `online` it passes, of the first alert it does not.
    wire.lose_acknowledgement_after(1);
    (1..=2).for_each(|number| house.append(number, None));
    let publisher = house.publish(&mqtt(wire.port));
    let seen = subscriber.until("the last alert", |message| message.text() == "{\"id\":2}");
    assert_eq!(alerts(&seen), [1, 1, 2]);
    assert_eq!(publisher.counts.repeated.load(Ordering::Relaxed), 1);
    assert_eq!(publisher.finish(), Farewell { waiting: 0, said: true });
    assert_eq!(publisher_status(&broker), "offline");
}

#[test]
fn alerts_outlive_the_process_that_raised_them() {
    let (broker, mut house) = (Broker::start(), House::new());
    let nobody = free_port();
    let publisher = house.publish(&mqtt(nobody));
    (1..=3).for_each(|number| house.append(number, None));
    wait_until("it is said that the broker is away", || publisher.log().contains("not connected"));
    let told = Instant::now();
    assert_eq!(publisher.finish(), Farewell { waiting: 3, said: false });
    assert!(
        told.elapsed() < Duration::from_secs(2),
        "a broker that is away is not waited for: {:?}",
        told.elapsed()
    );

    house.restart();
    let subscriber = Subscriber::start(&broker);
    let publisher = house.publish(&broker.mqtt());
    let seen = subscriber.until("the last alert", |message| message.text() == "{\"id\":3}");
    assert_eq!(alerts(&seen), [1, 2, 3]);
    publisher.finish();
}

#[test]
fn whoever_stops_publishes_what_is_left_first() {
    let (broker, house) = (Broker::start(), House::new());
    let subscriber = Subscriber::start(&broker);
    let publisher = house.publish(&broker.mqtt());
    subscriber.until("online", |message| message.topic == STATUS);
    (1..=50).for_each(|number| house.append(number, Some(vec![0; 10_000])));
    house.board.set(STATE, "OFF");
    assert_eq!(publisher.finish(), Farewell { waiting: 0, said: true });
    let seen = subscriber.until("offline", |message| message.text() == "offline");
    assert_eq!(alerts(&seen), (1..=50).collect::<Vec<_>>());
    assert!(lines(&seen).contains(&format!("r {STATE} OFF")));
}

#[test]
fn a_broker_that_never_answers_does_not_hold_up_the_end() {
    let (house, silent) = (House::new(), TcpListener::bind(("127.0.0.1", 0)).unwrap());
    let publisher = house.publish(&mqtt(silent.local_addr().unwrap().port()));
    house.append(1, None);
    let (_connection, _) = silent.accept().unwrap();
    let told = Instant::now();
    assert_eq!(publisher.finish(), Farewell { waiting: 1, said: false });
    assert!(told.elapsed() < GRACE + Duration::from_secs(1), "{:?}", told.elapsed());
}
