//! Proofs of what is promised: nothing that was raised is lost, whatever becomes of the connection, the broker, the
//! service and the disk.
//!
//! Short by default; `tools/prove_delivery.sh` sets `STAKEOUT_PROVE` to `long` and shows the figures that each prints.

use super::{older::older, *};
use crate::common::{
    proxy::{Cut, Mode},
    service::{Home, Service},
};

/// How often something is done in the short form and in the long one.
pub(super) fn times(short: u32, long: u32) -> u32 {
    if std::env::var("STAKEOUT_PROVE").is_ok_and(|form| form == "long") { long } else { short }
}

/// A number that looks random, and is the same each time.
pub(super) fn random(seed: &mut u64, below: u64) -> u64 {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*seed >> 33) % below
}

/// What became of alerts 1 to `raised`: each was delivered, the first time in order; prints the figures.
fn account(what: &str, raised: u32, delivered: &[u32]) {
    let mut first = Vec::new();
    let mut known = std::collections::BTreeSet::new();
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
    assert!(first.is_sorted(), "{what}: in the order in which they were raised");
}

/// The alerts that the broker acknowledged, as the wire saw it.
fn acknowledged(wire: &Proxy) -> Vec<u32> {
    let digits = |payload: String| payload.chars().filter(char::is_ascii_digit).collect::<String>();
    let alerts = wire.acknowledged().into_iter().filter(|(topic, _)| topic == ALERT);
    alerts.map(|(_, payload)| digits(payload).parse().unwrap()).collect()
}

#[test]
fn every_alert_survives_every_kind_of_bad_wire() {
    let (broker, house) = (Broker::start(), House::new());
    let wire = Proxy::start(0, broker.port);
    let connection = MqttConnection { keep_alive: Duration::from_secs(5), ..MqttConnection::default() };
    let publisher = house.publish(&Mqtt { connection, ..mqtt(wire.port) });
    let (mut seed, mut raised) = (7, 0);
    let mut raise = |count: u64| {
        for _ in 0..count {
            raised += 1;
            house.append(raised, raised.is_multiple_of(7).then(|| vec![1; 5_000]));
        }
        raised
    };
    for round in 0..times(2, 10) {
        for cut in [Cut::BeforePublish, Cut::AfterPublish, Cut::BeforePuback] {
            wire.cut(cut, i64::try_from(random(&mut seed, 12)).unwrap());
            raise(20);
            wait_until("the outbox is empty after a cut", || house.outbox.waiting() == 0);
        }
        wire.set_mode(Mode::Trickle);
        raise(5);
        wait_until("the outbox is empty in spite of trickling", || house.outbox.waiting() == 0);
        wire.set_mode(Mode::Hold);
        let made = wire.made();
        raise(10);
        if round == 0 {
            // Half-open, until the publisher notices by itself and tries again.
            wait_until("a half-open connection is noticed", || wire.made() > made);
        }
        wire.set_mode(Mode::Pass);
        wait_until("the outbox is empty after standing still", || house.outbox.waiting() == 0);
    }
    let raised = raise(0);
    assert_eq!(publisher.finish(), Farewell { waiting: 0, said: true });
    account("bad wires", raised, &acknowledged(&wire));
}

#[test]
fn every_alert_survives_a_broker_that_is_killed_over_and_over() {
    broker_killed("broker killed", mqtt, times(3, 50));
}

#[test]
fn every_alert_survives_an_older_broker_that_is_killed_over_and_over() {
    broker_killed("MQTT 3.1.1 broker killed", |port| older(mqtt(port)), times(3, 50));
}

fn broker_killed(what: &str, spoken_to: impl Fn(u16) -> Mqtt, often: u32) {
    let (mut broker, house) = (Broker::start(), House::new());
    let wire = Proxy::start(0, broker.port);
    let publisher = house.publish(&spoken_to(wire.port));
    let (mut seed, mut raised) = (3, 0);
    for _ in 0..often {
        let before = wire.acknowledged().len();
        for _ in 0..40 + random(&mut seed, 40) {
            raised += 1;
            house.append(raised, None);
        }
        // Somewhere in the middle of it.
        wait_until("some are under way", || wire.acknowledged().len() > before);
        broker.restart();
        wait_until("they are delivered to the next broker", || house.outbox.waiting() < 20);
    }
    // One more, which the last broker must take: the one before may have had all others.
    raised += 1;
    house.append(raised, None);
    wait_until("all are delivered", || house.outbox.waiting() == 0);
    assert_eq!(publisher.finish(), Farewell { waiting: 0, said: true });
    account(what, raised, &acknowledged(&wire));
}

#[test]
fn a_backlog_drains_in_order_and_live_alerts_come_right_behind_it() {
    let backlog = times(1_000, 10_000);
    let (broker, house) = (Broker::start(), House::new());
    let wire = Proxy::start(0, broker.port);
    for first in (1..=backlog).step_by(50) {
        house.outbox.append_all((first..first + 50).map(|number| entry(ALERT, number, None)).collect());
    }
    let began = Instant::now();
    let publisher = house.publish(&mqtt(wire.port));
    let mut raised = backlog;
    let mut drained = None;
    while drained.is_none() {
        raised += 1;
        house.append(raised, None);
        thread::sleep(Duration::from_millis(5));
        let done = publisher.counts.published.load(Ordering::Relaxed);
        drained = (done >= u64::from(backlog)).then(|| began.elapsed());
        assert!(began.elapsed() < Duration::from_secs(60), "{done} of {backlog} are delivered");
    }
    let live = Instant::now();
    wait_until("the live ones are delivered", || house.outbox.waiting() == 0);
    let (drained, live) = (drained.unwrap().as_secs_f64(), live.elapsed().as_secs_f64());
    println!(
        "backlog: {backlog} drained in {drained:.2} s ({:.0} a second); the {} raised meanwhile {live:.2} s later",
        f64::from(backlog) / drained,
        raised - backlog,
    );
    publisher.finish();
    account("backlog", raised, &acknowledged(&wire));
}

#[test]
fn a_small_disk_that_fills_up_stops_nothing_and_loses_nothing() {
    let Some(disk) = SmallDisk::mount("5m") else { return };
    let (house, nobody) = (House::in_folder(disk.path().join("state")), free_port());
    let publisher = house.publish(&mqtt(nobody));
    let filler = disk.path().join("filler");
    let mut raised = 0;
    let mut raise = |count: u32| {
        for _ in 0..count {
            raised += 1;
            house.append(raised, Some(vec![raised as u8; 20_000]));
        }
        raised
    };
    raise(20);
    // As if somebody else took what is left.
    let error = fs::write(&filler, vec![0; 5_000_000]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
    let raised = raise(40);
    let in_memory = house.outbox.status().borrow().in_memory.clone();
    assert!(in_memory.is_some(), "the disk is full");
    house.outbox.tend();
    assert_eq!(house.outbox.waiting(), u64::from(raised));

    fs::remove_file(&filler).unwrap();
    house.outbox.tend();
    assert_eq!(*house.outbox.status().borrow(), stakeout::alert::outbox::Status::default());
    publisher.finish();
    let mut house = house;
    house.restart();
    assert_eq!(house.outbox.waiting(), u64::from(raised), "what was in memory is on disk now");
    let broker = Broker::start();
    let wire = Proxy::start(0, broker.port);
    let publisher = house.publish(&mqtt(wire.port));
    wait_until("all are delivered", || house.outbox.waiting() == 0);
    publisher.finish();
    account("full disk", raised, &acknowledged(&wire));
}

/// A file system in memory; unmounted when it is dropped.
struct SmallDisk(TempDir);

impl SmallDisk {
    /// `None`, said aloud, where we may not mount anything.
    fn mount(size: &str) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]).arg(folder.path());
        if command.output().is_ok_and(|output| output.status.success()) {
            return Some(Self(folder));
        }
        eprintln!("skipped: only root may mount a small file system");
        None
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.0.path()).status();
    }
}

/// What the service showed as raised or cleared, or as published, is delivered, however often it is killed.
#[test]
fn what_a_service_showed_before_it_was_killed_is_delivered() {
    let broker = Broker::start();
    let subscriber = Subscriber::start(&broker);
    let home = Home::new(broker.port, "");
    let (mut seed, mut shown) = (11, std::collections::BTreeSet::new());
    let rounds = times(3, 200);
    for round in 0..rounds {
        let mut service = Service::start(&home);
        service.wait_for_words("watching the folder");
        let mut left = 20 + random(&mut seed, 400);
        for picture in 0_u32.. {
            let sample = if picture.is_multiple_of(2) { "red-car.jpg" } else { "empty-wall.jpg" };
            home.drop_picture(sample, &format!("{round}-{picture}.jpg"));
            let pause = random(&mut seed, 20).min(left);
            thread::sleep(Duration::from_millis(pause));
            left -= pause;
            if left == 0 {
                break;
            }
        }
        service.signal("-KILL");
        service.wait();
        shown.extend(service.said().lines().filter_map(told));
    }
    let mut last = Service::start(&home);
    last.wait_for_words("watching the folder");
    home.drop_picture("green-tree.jpg", "last.jpg");
    let seen =
        subscriber.until("the last alert", |message| message.text().contains("last.jpg\",\"captured_at"));
    last.signal("-TERM");
    last.wait();
    let mut delivered = std::collections::BTreeSet::new();
    let mut count = 0;
    for message in seen.iter().filter(|message| message.topic.ends_with("/alert")) {
        let alert = serde_json::from_slice::<serde_json::Value>(&message.payload).unwrap();
        let picture = alert["frame"]["origin"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
        delivered.insert((alert["state"].as_str().unwrap().to_owned(), picture));
        count += 1;
    }
    let lost = shown.difference(&delivered).collect::<Vec<_>>();
    println!(
        "service killed {rounds} times: shown {}, delivered {}, repeated {}, lost {}",
        shown.len(),
        delivered.len(),
        count - delivered.len(),
        lost.len()
    );
    assert!(lost.is_empty(), "{lost:?}");
    assert!(!shown.is_empty(), "something was shown before it was killed");
}

/// `raised` or `cleared`, and the name of the picture, if the line says so.
fn told(line: &str) -> Option<(String, String)> {
    let state = ["raised", "cleared"].into_iter().find(|state| line.contains(&format!(" {state} ")))?;
    let end = line.find(".jpg")?;
    let start = line[..end].rfind('/')? + 1;
    Some((state.to_owned(), format!("{}.jpg", &line[start..end])))
}
