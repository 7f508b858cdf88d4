//! Delivery: the outbox, the board and the publisher with a real broker that starts, dies, refuses and forgets.

mod guarantees;
mod mqtt3;
mod power;
mod refused;
mod setup;
mod state_folder;
mod transport;
mod wrong_clock;

use std::{
    collections::BTreeSet,
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
    time::Duration,
};

use stakeout::{
    alert::{
        Topics,
        board::Board,
        home_assistant::Announcement,
        outbox::{Entry, Outbox, Snapshot},
        publisher::{Announcer, Counts, Farewell, Publisher, ScoreSender},
    },
    config::{Mqtt, MqttConnection, TlsFiles, Trust},
};
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use self::setup::*;
use crate::common::{
    accept,
    broker::{
        Broker, ReceivedMessage, Subscriber, connection, free_port, login, mqtt, publish, publish_bytes,
        set_password,
    },
    join,
    proxy::Proxy,
    skip, wait_until,
};

const ALERT: &str = "stakeout/door/porch/package/alert";
const STATE: &str = "stakeout/door/porch/package/state";
const SNAPSHOT: &str = "stakeout/door/snapshot";
const STATUS: &str = "stakeout/status";

#[test]
fn a_snapshot_precedes_its_alert_and_the_right_messages_are_retained() {
    let (broker, setup) = (Broker::start(), Setup::new());
    let subscriber = Subscriber::start(&broker);
    setup.board.set(STATE, "OFF");
    let publisher = setup.publish(&broker.mqtt());
    let seen = subscriber.until("the service to be online", |message| message.topic == STATUS);
    assert_eq!(lines(&seen), [&*format!("r {STATE} OFF"), "r stakeout/status online"]);

    let jpeg = vec![0xff; 2_000_000];
    setup.append(1, Some(jpeg.clone()));
    let mut seen = subscriber.until("the alert", |message| message.topic == ALERT);
    setup.board.set(STATE, "ON");
    seen.extend(subscriber.until("the state", |message| message.topic == STATE));
    let expected =
        [(SNAPSHOT, true, jpeg), (ALERT, false, b"{\"id\":1}".to_vec()), (STATE, true, b"ON".to_vec())];
    assert_eq!(
        seen,
        expected.map(|(topic, retain, payload)| ReceivedMessage {
            topic: topic.to_owned(),
            payload,
            qos: 1,
            retain
        })
    );
    wait_until("the outbox is empty", || setup.outbox.waiting() == 0);
    assert_eq!(publisher.counts.published.load(Ordering::Relaxed), 1);

    assert_eq!(publisher.finish(), Farewell { waiting: 0, said: true });
    assert_eq!(lines(&subscriber.so_far(&broker)), ["r stakeout/status offline"]);
}

#[test]
fn the_last_will_reports_a_process_that_was_killed() {
    let (broker, setup) = (Broker::start(), Setup::new());
    let subscriber = Subscriber::start(&broker);
    let publisher = setup.publish(&broker.mqtt());
    assert_eq!(subscriber.next().line(), "r stakeout/status online");
    publisher.kill();
    assert_eq!(subscriber.next().line(), "r stakeout/status offline");
    drop(subscriber);
    assert_eq!(Subscriber::start(&broker).next().line(), "r stakeout/status offline", "it is retained");
}

#[test]
fn alerts_of_an_outage_arrive_in_order() {
    let (broker, setup) = (Broker::start(), Setup::new());
    let proxy = Proxy::start(broker.port);
    proxy.set_open(false);
    let publisher = setup.publish(&mqtt(proxy.port));
    (1..=5).for_each(|number| setup.append(number, Some(vec![number as u8; 1000])));
    setup.board.set(STATE, "ON");
    setup.board.set(STATE, "OFF");
    wait_until("the outage is logged", || publisher.log().contains("not connected"));
    // One line a minute, and the pauses between attempts are shorter than a minute.
    wait_until("it was tried four times", || proxy.attempts() >= 4);
    assert!(publisher.log().matches("not connected").count() < 4, "{}", publisher.log());
    assert_eq!(setup.outbox.waiting(), 5);

    let subscriber = Subscriber::start(&broker);
    proxy.set_open(true);
    let seen = subscriber.until("the last alert", |message| message.text() == "{\"id\":5}");
    assert_eq!(lines(&seen[..2]), [&*format!("r {STATE} OFF"), "r stakeout/status online"]);
    let topics = seen[2..].iter().map(|message| message.topic.as_str()).collect::<Vec<_>>();
    assert_eq!(topics, [SNAPSHOT, ALERT].repeat(5));
    assert_eq!(alerts(&seen), [1, 2, 3, 4, 5]);
    let log = publisher.log();
    assert!(log.contains("the broker is back") && log.contains("away_s="), "{log}");
    assert_eq!(publisher.finish(), Farewell { waiting: 0, said: true });
}

#[test]
fn nothing_is_lost_when_the_broker_dies_and_forgets_everything() {
    let (mut broker, setup) = (Broker::start(), Setup::new());
    let proxy = Proxy::start(broker.port);
    let before = Subscriber::start(&broker);
    setup.board.set(STATE, "ON");
    let publisher = setup.publish(&mqtt(proxy.port));
    (1..=40).for_each(|number| setup.append(number, None));
    // The broker passes messages on before it acknowledges them; those that it loses later are not the publisher's concern.
    let seen = before.until("the alerts raised so far", |message| message.text() == "{\"id\":40}");
    // An alert without an acknowledgement is sent again.
    wait_until("all are acknowledged", || publisher.counts.published.load(Ordering::Relaxed) == 40);
    proxy.set_open(false);
    broker.kill();
    (41..=50).for_each(|number| setup.append(number, None));
    setup.board.set(STATE, "OFF");

    broker.restart();
    let after = Subscriber::start(&broker);
    proxy.set_open(true);
    let seen_after = after.until("the last alert", |message| message.text() == "{\"id\":50}");
    assert_eq!(lines(&seen_after[..2]), [&*format!("r {STATE} OFF"), "r stakeout/status online"]);

    // Alerts that were in flight when the broker died are sent again, and no alert that it had acknowledged.
    assert_eq!(alerts(&seen), (1..=40).collect::<Vec<_>>());
    assert_eq!(alerts(&seen_after), (41..=50).collect::<Vec<_>>());
    let repeated = publisher.counts.repeated.load(Ordering::Relaxed);
    assert!(repeated <= 10, "{repeated} alerts were sent again, but at most 10 were in flight");
    assert_eq!(publisher.finish(), Farewell { waiting: 0, said: true });
}

/// Scores as fast as possible, and many restarts of Home Assistant.
#[test]
fn scores_and_home_assistant_do_not_delay_alerts() {
    const ALERTS: u32 = 300;
    const STARTS: usize = 300;
    let (broker, setup) = (Broker::start(), Setup::new());
    let subscriber = Subscriber::start(&broker);
    let publisher = setup.publish_with(&broker.mqtt(), announcement(), GRACE);
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
                scores.send("stakeout/door/porch/scores".to_owned(), "{}".to_owned());
                thread::sleep(Duration::from_micros(20));
            }
        }
    });
    (1..=ALERTS).for_each(|number| setup.append(number, None));
    let last = format!("{{\"id\":{ALERTS}}}");
    let seen = subscriber.until("the last alert", |message| message.text() == last);
    let rest = subscriber.until("scores", |message| message.topic.ends_with("/scores"));
    let dropped = || publisher.counts.scores_dropped.load(Ordering::Relaxed);
    wait_until("scores without room are dropped", || dropped() > 0);
    done.store(true, Ordering::Relaxed);
    flood.join().unwrap();
    assert!(starts.wait().unwrap().success());

    assert_eq!(alerts(&seen), (1..=ALERTS).collect::<Vec<_>>());
    assert_eq!(publisher.counts.repeated.load(Ordering::Relaxed), 0);
    let scores = rest.last().unwrap();
    assert_eq!((scores.qos, scores.retain), (0, false));
    assert!(!publisher.log().contains("not connected"), "{}", publisher.log());
    assert_eq!(publisher.finish(), Farewell { waiting: 0, said: true });
}

/// The Home Assistant devices of one source with forty labels.
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
fn an_alert_whose_acknowledgement_is_lost_is_sent_again_with_the_same_id() {
    let (broker, setup) = (Broker::start(), Setup::new());
    let proxy = Proxy::start(broker.port);
    let subscriber = Subscriber::start(&broker);
    // The acknowledgement of `online` passes, the one of the first alert is lost.
    proxy.lose_acknowledgement_after(1);
    (1..=2).for_each(|number| setup.append(number, None));
    let publisher = setup.publish(&mqtt(proxy.port));
    let seen = subscriber.until("the last alert", |message| message.text() == "{\"id\":2}");
    assert_eq!(alerts(&seen), [1, 1, 2]);
    assert_eq!(publisher.counts.repeated.load(Ordering::Relaxed), 1);
    assert_eq!(publisher.finish(), Farewell { waiting: 0, said: true });
    assert_eq!(publisher_status(&broker), "offline");
}

#[test]
fn alerts_survive_the_process_that_raised_them() {
    let (broker, mut setup) = (Broker::start(), Setup::new());
    let publisher = setup.publish(&mqtt(free_port()));
    (1..=3).for_each(|number| setup.append(number, None));
    wait_until("the outage is logged", || publisher.log().contains("not connected"));
    // Without waiting for the broker: that would last as long as `GRACE`, which is longer than this test waits.
    assert_eq!(publisher.finish(), Farewell { waiting: 3, said: false });

    setup.restart();
    let subscriber = Subscriber::start(&broker);
    let publisher = setup.publish(&broker.mqtt());
    let seen = subscriber.until("the last alert", |message| message.text() == "{\"id\":3}");
    assert_eq!(alerts(&seen), [1, 2, 3]);
    publisher.finish();
}

#[test]
fn a_stop_publishes_the_remaining_alerts_first() {
    let (broker, setup) = (Broker::start(), Setup::new());
    let subscriber = Subscriber::start(&broker);
    let publisher = setup.publish(&broker.mqtt());
    subscriber.until("online", |message| message.topic == STATUS);
    (1..=50).for_each(|number| setup.append(number, Some(vec![0; 10_000])));
    setup.board.set(STATE, "OFF");
    assert_eq!(publisher.finish(), Farewell { waiting: 0, said: true });
    let seen = subscriber.until("offline", |message| message.text() == "offline");
    assert_eq!(alerts(&seen), (1..=50).collect::<Vec<_>>());
    assert!(lines(&seen).contains(&format!("r {STATE} OFF")));
}

#[test]
fn a_broker_that_never_answers_does_not_prevent_the_end() {
    let (setup, silent) = (Setup::new(), TcpListener::bind(("127.0.0.1", 0)).unwrap());
    let broker = mqtt(silent.local_addr().unwrap().port());
    let publisher = setup.publish_with(&broker, Announcement::default(), Duration::from_secs(1));
    setup.append(1, None);
    let _connection = accept(&silent);
    assert_eq!(publisher.finish(), Farewell { waiting: 1, said: false });
}
