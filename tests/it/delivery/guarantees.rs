//! No raised alert is lost, whatever happens to the connection, the broker, the service and the disk.
//!
//! Short by default; `tools/prove_delivery.sh` sets `STAKEOUT_PROVE` to `long` and shows the figures that each test prints.

use std::{collections::BTreeSet, time::Instant};

use super::{mqtt3::mqtt3, *};
use crate::common::{
    PATIENCE,
    proxy::{Cut, Mode},
    service::{Home, Service},
};

/// A number of repetitions: `short`, or `long` in the long form.
pub(super) fn times(short: u32, long: u32) -> u32 {
    if std::env::var("STAKEOUT_PROVE").is_ok_and(|form| form == "long") { long } else { short }
}

/// The next pseudo-random number below `below`; the sequence is the same in each run.
pub(super) fn random(seed: &mut u64, below: u64) -> u64 {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*seed >> 33) % below
}

/// Checks that each of the alerts 1 to `raised` was delivered, and in order when repeats are ignored; prints the figures.
fn account(what: &str, raised: u32, delivered: &[u32]) {
    let mut first = Vec::new();
    let mut known = BTreeSet::new();
    for number in delivered {
        if known.insert(*number) {
            first.push(*number);
        }
    }
    let lost = (1..=raised).filter(|number| !known.contains(number)).collect::<Vec<_>>();
    println!(
        "{what}: raised {raised}, delivered {}, repeated {}, lost {}",
        known.len(),
        delivered.len() - known.len(),
        lost.len()
    );
    assert_eq!(lost, [0; 0], "{what}");
    assert!(first.is_sorted(), "{what}: in the order of raising");
}

/// The alerts that the broker has acknowledged, as the proxy saw it.
fn acknowledged(proxy: &Proxy) -> Vec<u32> {
    let digits = |payload: String| payload.chars().filter(char::is_ascii_digit).collect::<String>();
    let alerts = proxy.acknowledged().into_iter().filter(|(topic, _)| topic == ALERT);
    alerts.map(|(_, payload)| digits(payload).parse().unwrap()).collect()
}

#[test]
fn every_alert_survives_every_kind_of_bad_connection() {
    let (broker, setup) = (Broker::start(), Setup::new());
    let proxy = Proxy::start(broker.port);
    let connection = MqttConnection { keep_alive: Duration::from_secs(5), ..connection() };
    let publisher = setup.publish(&Mqtt { connection, ..mqtt(proxy.port) });
    let (mut seed, mut raised) = (7, 0);
    let mut raise = |count: u64| {
        for _ in 0..count {
            raised += 1;
            setup.append(raised, raised.is_multiple_of(7).then(|| vec![1; 5_000]));
        }
        raised
    };
    for round in 0..times(2, 10) {
        for cut in [Cut::BeforePublish, Cut::AfterPublish, Cut::BeforePuback] {
            proxy.cut(cut, i64::try_from(random(&mut seed, 12)).unwrap());
            raise(20);
            wait_until("the outbox is empty after a cut", || setup.outbox.waiting() == 0);
        }
        proxy.set_mode(Mode::Trickle);
        raise(5);
        wait_until("the outbox is empty over a slow connection", || setup.outbox.waiting() == 0);
        proxy.set_mode(Mode::Hold);
        let made = proxy.attempts();
        raise(10);
        if round == 0 {
            // Half-open, until the publisher notices it and connects again.
            wait_until("the publisher notices a half-open connection", || proxy.attempts() > made);
        }
        proxy.set_mode(Mode::Pass);
        wait_until("the outbox is empty after a half-open connection", || setup.outbox.waiting() == 0);
    }
    let raised = raise(0);
    assert_eq!(publisher.finish(), Farewell { waiting: 0, said: true });
    account("bad connections", raised, &acknowledged(&proxy));
}

#[test]
fn every_alert_survives_many_kills_of_the_broker() {
    broker_killed("broker killed", mqtt, times(3, 50));
}

#[test]
fn every_alert_survives_many_kills_of_an_mqtt3_broker() {
    broker_killed("MQTT 3.1.1 broker killed", |port| mqtt3(mqtt(port)), times(3, 50));
}

fn broker_killed(what: &str, settings: impl Fn(u16) -> Mqtt, times: u32) {
    let (mut broker, setup) = (Broker::start(), Setup::new());
    let proxy = Proxy::start(broker.port);
    let publisher = setup.publish(&settings(proxy.port));
    let (mut seed, mut raised) = (3, 0);
    for _ in 0..times {
        let before = proxy.acknowledged().len();
        for _ in 0..40 + random(&mut seed, 40) {
            raised += 1;
            setup.append(raised, None);
        }
        // In the middle of the delivery.
        wait_until("some alerts are delivered", || proxy.acknowledged().len() > before);
        broker.restart();
        wait_until("the next broker receives most of the alerts", || setup.outbox.waiting() < 20);
    }
    // One more for the last broker: the one before it may have received all others.
    raised += 1;
    setup.append(raised, None);
    wait_until("all are delivered", || setup.outbox.waiting() == 0);
    assert_eq!(publisher.finish(), Farewell { waiting: 0, said: true });
    account(what, raised, &acknowledged(&proxy));
}

#[test]
fn a_backlog_is_delivered_in_order_and_live_alerts_follow_it() {
    let backlog = times(1_000, 10_000);
    let (broker, setup) = (Broker::start(), Setup::new());
    let proxy = Proxy::start(broker.port);
    for first in (1..=backlog).step_by(50) {
        setup.outbox.append_all((first..first + 50).map(|number| entry(ALERT, number, None)).collect());
    }
    let began = Instant::now();
    let publisher = setup.publish(&mqtt(proxy.port));
    let mut raised = backlog;
    // `wait_until` polls, and each poll raises a live alert.
    wait_until("the backlog is delivered", || {
        raised += 1;
        setup.append(raised, None);
        publisher.counts.published.load(Ordering::Relaxed) >= u64::from(backlog)
    });
    let drained = began.elapsed().as_secs_f64();
    let live = Instant::now();
    wait_until("the live alerts are delivered", || setup.outbox.waiting() == 0);
    let live = live.elapsed().as_secs_f64();
    println!(
        "backlog: {backlog} drained in {drained:.2} s ({:.0} a second); the {} raised meanwhile {live:.2} s later",
        f64::from(backlog) / drained,
        raised - backlog,
    );
    publisher.finish();
    account("backlog", raised, &acknowledged(&proxy));
}

#[test]
fn a_full_disk_stops_nothing_and_loses_nothing() {
    let Some(disk) = SmallDisk::mount("5m") else { return };
    let mut setup = Setup::in_folder(disk.path().join("state"));
    let publisher = setup.publish(&mqtt(free_port()));
    let filler = disk.path().join("filler");
    let mut raised = 0;
    let mut raise = |count: u32| {
        for _ in 0..count {
            raised += 1;
            setup.append(raised, Some(vec![raised as u8; 20_000]));
        }
        raised
    };
    raise(20);
    // Another program takes the rest of the disk.
    let error = fs::write(&filler, vec![0; 5_000_000]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
    let raised = raise(40);
    let in_memory = setup.outbox.status().borrow().in_memory.clone();
    assert!(in_memory.is_some(), "the disk is full");
    setup.outbox.tend();
    assert_eq!(setup.outbox.waiting(), u64::from(raised));

    fs::remove_file(&filler).unwrap();
    setup.outbox.tend();
    assert_eq!(*setup.outbox.status().borrow(), stakeout::alert::outbox::Status::default());
    publisher.finish();
    setup.restart();
    assert_eq!(setup.outbox.waiting(), u64::from(raised), "the alerts in memory were written to the disk");
    let broker = Broker::start();
    let proxy = Proxy::start(broker.port);
    let publisher = setup.publish(&mqtt(proxy.port));
    wait_until("all are delivered", || setup.outbox.waiting() == 0);
    publisher.finish();
    account("full disk", raised, &acknowledged(&proxy));
}

/// A small file system in memory; unmounted when it is dropped.
pub(super) struct SmallDisk(TempDir);

impl SmallDisk {
    /// `None`, reported as skipped, without the right to mount.
    pub(super) fn mount(size: &str) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]).arg(folder.path());
        if command.output().is_ok_and(|output| output.status.success()) {
            return Some(Self(folder));
        }
        skip("only root may mount a small file system");
        None
    }

    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.0.path()).status();
    }
}

/// Every alert that the service has logged is delivered, however often the service is killed.
#[test]
fn alerts_that_a_killed_service_has_logged_are_delivered() {
    let broker = Broker::start();
    let subscriber = Subscriber::start(&broker);
    let home = Home::new(broker.port, "");
    let (mut seed, mut logged) = (11, BTreeSet::new());
    let rounds = times(3, 1000);
    for round in 0..rounds {
        let mut service = Service::start(&home);
        service.wait_until_watching();
        // Killed at a random moment, but not before the first alert: a slow machine needs longer for it.
        let (mut left, began) = (20 + random(&mut seed, 400), Instant::now());
        for picture in 0_u32.. {
            let sample = if picture.is_multiple_of(2) { "red-car.jpg" } else { "empty-wall.jpg" };
            home.drop_unique_picture(sample, &format!("{round}-{picture}.jpg"));
            if left == 0 && service.log().lines().any(|line| alert_in(line).is_some()) {
                break;
            }
            assert!(began.elapsed() < PATIENCE, "no alert: {}", service.log());
            // More pictures than can be scored would only delay the alert.
            let pause = if left == 0 { 100 } else { 1 + random(&mut seed, 20) };
            thread::sleep(Duration::from_millis(pause));
            left = left.saturating_sub(pause);
        }
        service.signal("-KILL");
        service.wait();
        assert_eq!(integrity(&home.path("state/history.db")), "ok", "after kill {round}");
        logged.extend(service.log().lines().filter_map(alert_in));
    }
    let mut last = Service::start(&home);
    last.wait_until_watching();
    home.drop_picture("green-tree.jpg", "last.jpg");
    let seen =
        subscriber.until("the last alert", |message| message.text().contains("last.jpg\",\"captured_at"));
    last.stop();
    let database = rusqlite::Connection::open(home.path("state/history.db")).unwrap();
    let remembered = database.query_row("SELECT count(*) FROM alerts", [], |row| row.get::<_, u32>(0));
    assert!(remembered.unwrap() > 0, "the history goes on after each kill");
    let mut delivered = BTreeSet::new();
    let mut count = 0;
    for message in seen.iter().filter(|message| message.topic.ends_with("/alert")) {
        let alert = serde_json::from_slice::<serde_json::Value>(&message.payload).unwrap();
        let picture = alert["frame"]["origin"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
        delivered.insert((alert["state"].as_str().unwrap().to_owned(), picture));
        count += 1;
    }
    let lost = logged.difference(&delivered).collect::<Vec<_>>();
    println!(
        "service killed {rounds} times: shown {}, delivered {}, repeated {}, lost {}",
        logged.len(),
        delivered.len(),
        count - delivered.len(),
        lost.len()
    );
    assert!(lost.is_empty(), "{lost:?}");
}

/// What SQLite says about a database that a process may have left in the middle of a change.
fn integrity(database: &Path) -> String {
    let connection = rusqlite::Connection::open(database).unwrap();
    connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap()
}

/// `raised` or `cleared` and the name of the picture, if the log line reports an alert.
pub(super) fn alert_in(line: &str) -> Option<(String, String)> {
    let state = ["raised", "cleared"].into_iter().find(|state| line.contains(&format!(" {state} ")))?;
    let end = line.find(".jpg")?;
    let start = line[..end].rfind('/')? + 1;
    Some((state.to_owned(), format!("{}.jpg", &line[start..end])))
}
