//! Delivery: the outbox, the board and the publisher with a real broker that comes, goes, refuses and forgets.

mod older;
mod power;
mod proofs;

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

/// The system's certificates are a matter of the whole process, so this test runs itself again in one of its own.
#[test]
fn mqtts_trusts_whom_the_system_trusts() {
    const PORT: &str = "STAKEOUT_TEST_TLS_PORT";
    if let Ok(port) = std::env::var(PORT) {
        let house = House::new();
        let publisher = house.publish(&Mqtt { tls: true, ..mqtt(port.parse().unwrap()) });
        house.append(1, None);
        wait_until("it is delivered or explained", || {
            house.outbox.waiting() == 0 || publisher.log().contains("nobody who is trusted has signed")
        });
        println!("waiting: {}", house.outbox.waiting());
        publisher.finish();
        return;
    }
    let settings = "allow_anonymous true\ncertfile {folder}/server.pem\nkeyfile {folder}/server.key";
    let broker = Broker::prepared(settings, certificates);
    for (roots, expected) in [("ca.pem", "waiting: 0"), ("other.pem", "waiting: 1")] {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "delivery::mqtts_trusts_whom_the_system_trusts", "--nocapture"])
            .env(PORT, broker.port.to_string())
            .env("SSL_CERT_FILE", broker.folder().join(roots))
            .env_remove("SSL_CERT_DIR")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains(expected), "{roots}: {said}");
    }
}

#[test]
fn a_broker_with_its_own_authority_that_asks_who_we_are() {
    let settings = "allow_anonymous true\ncafile {folder}/ca.pem\ncertfile {folder}/server.pem\n\
                    keyfile {folder}/server.key\nrequire_certificate true";
    let broker = Broker::prepared(settings, certificates);
    let file = |name: &str| broker.folder().join(name);
    let connect = |tls: TlsFiles| Mqtt {
        tls: true,
        connection: MqttConnection { tls, ..MqttConnection::default() },
        ..broker.mqtt()
    };
    let house = House::new();
    house.append(1, None);
    let known = TlsFiles { ca: Some(file("ca.pem")), ..TlsFiles::default() };
    let cases = [
        (
            TlsFiles { ca: Some(file("other.pem")), ..TlsFiles::default() },
            "name the PEM file of its CA in mqtt.tls.ca",
        ),
        (known.clone(), "the broker wants a certificate from us"),
    ];
    for (tls, words) in cases {
        let publisher = house.publish(&connect(tls));
        wait_until(words, || publisher.log().contains(words));
        publisher.finish();
        assert_eq!(house.outbox.waiting(), 1);
    }
    let plain = house.publish(&broker.mqtt());
    wait_until("plain text is of no use", || plain.log().contains("not connected"));
    plain.finish();
    let identity = Some((file("client.pem"), file("client.key")));
    let known = connect(TlsFiles { identity, ..known });
    for broker in [known.clone(), older::older(known)] {
        house.append(2, None);
        let publisher = house.publish(&broker);
        wait_until("it is delivered", || house.outbox.waiting() == 0);
        assert_eq!(publisher.finish(), Farewell { waiting: 0, said: true });
    }
}

#[test]
fn a_port_that_brokers_share_with_others_is_told_the_protocol() {
    use std::io::{BufRead as _, BufReader};

    let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
    certificates(folder.path());
    let mut command = Command::new("openssl");
    command.args(["s_server", "-cert", "server.pem", "-key", "server.key", "-alpn", "mqtt", "-accept"]);
    command.arg(format!("127.0.0.1:{port}")).current_dir(folder.path());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut server = command.spawn().expect("the tests need openssl");
    let tls = TlsFiles {
        ca: Some(folder.path().join("ca.pem")),
        alpn: vec!["mqtt".to_owned()],
        ..TlsFiles::default()
    };
    let connection = MqttConnection { tls, ..MqttConnection::default() };
    let house = House::new();
    let publisher = house.publish(&Mqtt { tls: true, connection, ..mqtt(port) });
    let mut lines = BufReader::new(server.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains("ALPN protocols selected: mqtt")), "it ends without a word of it");
    server.kill().unwrap();
    server.wait().unwrap();
    publisher.finish();
}

/// A broker at whose port nobody speaks TLS hears nothing but TLS, however often it is tried.
#[test]
fn tls_never_falls_back_to_plain_text() {
    use std::io::Read as _;

    const HANDSHAKE: u8 = 0x16;
    let folder = tempfile::tempdir().unwrap();
    certificates(folder.path());
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let tls = TlsFiles { ca: Some(folder.path().join("ca.pem")), ..TlsFiles::default() };
    let connection = MqttConnection { tls, ..MqttConnection::default() };
    let house = House::new();
    house.append(1, None);
    let port = listener.local_addr().unwrap().port();
    let publisher = house.publish(&Mqtt { tls: true, connection, ..login(mqtt(port), "me", "hush-hush") });
    for _ in 0..3 {
        let (mut stream, _) = listener.accept().unwrap();
        let mut said = [0; 4096];
        let length = stream.read(&mut said).unwrap();
        assert_eq!(said[0], HANDSHAKE);
        assert!(!said[..length].windows(4).any(|bytes| bytes == b"hush" || bytes == b"MQTT"));
        stream.write_all(&[0x20, 2, 0, 0, 0, 0, 0, 0]).unwrap();
    }
    wait_until("it is said", || publisher.log().contains("the broker does not speak TLS at this port"));
    publisher.finish();
    assert_eq!(house.outbox.waiting(), 1);
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

#[test]
fn alerts_go_over_web_sockets() {
    let newer: fn(Mqtt) -> Mqtt = |broker| broker;
    for version in [newer, older::older] {
        let (broker, house) = (Broker::start(), House::new());
        let subscriber = Subscriber::start(&broker);
        let port = web_socket(broker.port);
        let connection = MqttConnection { websocket: Some("/mqtt".to_owned()), ..MqttConnection::default() };
        let publisher = house.publish(&version(Mqtt { connection, ..mqtt(port) }));
        house.append(1, Some(vec![7; 100_000]));
        let seen = subscriber.until("the alert", |message| message.topic == ALERT);
        assert_eq!(seen.iter().find(|message| message.topic == SNAPSHOT).unwrap().payload.len(), 100_000);
        assert_eq!(publisher.finish(), Farewell { waiting: 0, said: true });
    }
}

/// A port that speaks WebSockets with one client, and plainly with the broker at `upstream`.
fn web_socket(upstream: u16) -> u16 {
    use std::{io::Read, net::TcpStream};
    use tungstenite::{
        Message,
        handshake::server::{Request, Response},
    };

    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        #[allow(clippy::result_large_err, reason = "the library wants it so")]
        let handshake = |request: &Request, mut response: Response| {
            assert_eq!(request.uri().path(), "/mqtt");
            let protocol = request.headers()["Sec-WebSocket-Protocol"].clone();
            response.headers_mut().insert("Sec-WebSocket-Protocol", protocol);
            Ok(response)
        };
        let mut socket = tungstenite::accept_hdr(stream, handshake).unwrap();
        // One thread for both ways, so neither may wait for long.
        socket.get_ref().set_read_timeout(Some(Duration::from_millis(5))).unwrap();
        let mut broker = TcpStream::connect(("127.0.0.1", upstream)).unwrap();
        broker.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
        let is_early = |error: &std::io::Error| {
            matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut)
        };
        let mut bytes = vec![0; 65_536];
        loop {
            match socket.read() {
                Ok(Message::Binary(packet)) => broker.write_all(&packet).unwrap(),
                Ok(_) => {}
                Err(tungstenite::Error::Io(error)) if is_early(&error) => {}
                Err(_) => return,
            }
            match broker.read(&mut bytes) {
                Ok(0) => return,
                Ok(length) => {
                    let packet = bytes[..length].to_vec();
                    if socket.send(Message::Binary(packet.into())).is_err() {
                        return;
                    }
                }
                Err(error) if is_early(&error) => {}
                Err(_) => return,
            }
        }
    });
    port
}

/// A CA, certificates of a server and of a client that it signed, and another CA.
fn certificates(folder: &Path) {
    let script = "
        ca='-x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2'
        openssl req $ca -subj /CN=ca -keyout ca.key -out ca.pem
        openssl req $ca -subj /CN=other -keyout other.key -out other.pem
        openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=broker -keyout server.key -out server.csr
        printf 'subjectAltName=IP:127.0.0.1' > san
        openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile san -out server.pem
        openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=stakeout -keyout client.key -out client.csr
        openssl x509 -req -in client.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile san -out client.pem";
    let output = Command::new("sh").args(["-ec", script]).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "the tests need openssl: {}", String::from_utf8_lossy(&output.stderr));
}

const GRACE: Duration = Duration::from_secs(5);

/// What the daemon has: an outbox and a board.
struct House {
    folder: PathBuf,
    _temporary: Option<TempDir>,
    outbox: Arc<Outbox>,
    board: Board,
}

impl House {
    fn new() -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let house = Self::in_folder(temporary.path().to_owned());
        Self { _temporary: Some(temporary), ..house }
    }

    fn in_folder(folder: PathBuf) -> Self {
        let outbox = Arc::new(Outbox::open(&folder).unwrap());
        Self { folder, _temporary: None, outbox, board: Board::new() }
    }

    /// As another process would find it.
    fn restart(&mut self) {
        let elsewhere = Arc::new(Outbox::open(tempfile::tempdir().unwrap().path()).unwrap());
        let outbox = std::mem::replace(&mut self.outbox, elsewhere);
        assert_eq!(Arc::strong_count(&outbox), 1, "the publisher has let go of it");
        drop(outbox);
        self.outbox = Arc::new(Outbox::open(&self.folder).unwrap());
        self.board = Board::new();
    }

    fn append(&self, number: u32, jpeg: Option<Vec<u8>>) {
        self.append_with(ALERT, number, jpeg);
    }

    fn append_at(&self, topic: &str, number: u32) {
        self.append_with(topic, number, None);
    }

    fn append_with(&self, topic: &str, number: u32, jpeg: Option<Vec<u8>>) {
        self.outbox.append(&entry(topic, number, jpeg));
    }

    fn publish(&self, broker: &Mqtt) -> Publishing {
        self.publish_and_announce(broker, Announcement::default())
    }

    fn publish_and_announce(&self, broker: &Mqtt, announcement: Announcement) -> Publishing {
        let publisher = Publisher::new(broker, Arc::clone(&self.outbox), &self.board).unwrap();
        let publisher = publisher.announcing(&Announcer::new(announcement), &self.folder);
        let scores = publisher.scores();
        let (counts, stop, log) = (publisher.counts(), CancellationToken::new(), Log::default());
        let (kill, killed) = oneshot::channel::<()>();
        let (told, written) = (stop.clone(), log.clone());
        let thread = thread::spawn(move || {
            let subscriber =
                tracing_subscriber::fmt().with_ansi(false).with_writer(move || written.clone()).finish();
            let _log = tracing::subscriber::set_default(subscriber);
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                tokio::select! {
                    farewell = publisher.run(told, GRACE) => Some(farewell),
                    _ = killed => None,
                }
            })
        });
        Publishing { thread, stop, kill, scores, counts, log }
    }
}

fn entry(topic: &str, number: u32, jpeg: Option<Vec<u8>>) -> Entry {
    Entry {
        id: number.to_string(),
        topic: topic.to_owned(),
        payload: format!("{{\"id\":{number}}}"),
        snapshot: jpeg.map(|jpeg| Snapshot { topic: SNAPSHOT.to_owned(), jpeg }),
        mark: None,
    }
}

/// A publisher on its own thread.
struct Publishing {
    thread: JoinHandle<Option<Farewell>>,
    stop: CancellationToken,
    kill: oneshot::Sender<()>,
    scores: ScoreSink,
    counts: Arc<Counts>,
    log: Log,
}

impl Publishing {
    fn log(&self) -> String {
        String::from_utf8(self.log.0.lock().unwrap().clone()).unwrap()
    }

    fn finish(self) -> Farewell {
        self.stop.cancel();
        wait_until("the publisher ends", || self.thread.is_finished());
        self.thread.join().unwrap().expect("nobody killed it")
    }

    /// As if the process were gone: the connection closes without a word.
    fn kill(self) {
        self.kill.send(()).unwrap();
        wait_until("the publisher is gone", || self.thread.is_finished());
    }
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn lines(messages: &[Message]) -> Vec<String> {
    messages.iter().map(Message::line).collect()
}

/// The numbers of the alerts, in the order in which they came.
fn alerts(messages: &[Message]) -> Vec<u32> {
    let number = |message: &Message| {
        assert!(!message.retain && message.qos == 1, "{message:?}");
        message.text().trim_matches(|letter: char| !letter.is_ascii_digit()).parse().unwrap()
    };
    messages.iter().filter(|message| message.topic == ALERT).map(number).collect()
}

fn publisher_status(broker: &Broker) -> String {
    let seen = Subscriber::start(broker).until("the retained status", |message| message.topic == STATUS);
    seen.last().unwrap().text().to_owned()
}
