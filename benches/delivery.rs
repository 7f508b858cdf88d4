//! Measures the time from a score to the broker's acknowledgement of its alert: `cargo bench --bench delivery`.
//!
//! It runs a real Mosquitto on this machine, at 1, 100 and 1,000 alerts per second. In the same run a bare `rumqttc` client publishes
//! the same texts with QoS 1. The outbox is measured in memory (/dev/shm), compared with a client that stores nothing, and on
//! disk, where each alert is synced, compared with a client that appends the text to a file and syncs it before it publishes. They take
//! turns, so other work on the machine affects all of them. It prints a table with the ratios of the medians, and has no pass or fail.
//! It takes two minutes.

#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on panics")]

#[allow(dead_code, reason = "the benchmark uses its part of what the tests share")]
#[path = "../tests/it/common/mod.rs"]
mod common;

use std::{
    fs::File,
    io::Write as _,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rumqttc::{
    Outgoing,
    v5::{
        Client, Event, MqttOptions,
        mqttbytes::{QoS, v5::Packet},
    },
};
use stakeout::alert::{
    board::Board,
    outbox::{Entry, Outbox},
    publisher::Publisher,
};
use tokio_util::sync::CancellationToken;

use common::broker::Broker;

/// Alerts per second, and the number of alerts in a round.
const LOADS: [(u32, usize); 3] = [(1, 8), (100, 300), (1_000, 2_000)];
const ROUNDS: usize = 3;
const TOPIC: &str = "stakeout/door/porch/package/alert";

fn main() {
    let broker = Broker::start();
    println!(
        "from score to acknowledgement, milliseconds: median / 99th percentile, and the ratio at the median"
    );
    println!(
        "{:>8}  {:<14}  {:>15}  {:>7}  {:>14}",
        "per second", "", "milliseconds", "to bare", "to bare synced"
    );
    let memory = tempfile::tempdir_in("/dev/shm").unwrap();
    let disk = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    for (rate, count) in LOADS {
        let mut figures = [const { Vec::new() }; 4];
        for _ in 0..ROUNDS {
            figures[0].extend(bare(&broker, rate, count, None));
            figures[1].extend(ours(&broker, rate, count, memory.path()));
            figures[2].extend(bare(&broker, rate, count, Some(disk.path())));
            figures[3].extend(ours(&broker, rate, count, disk.path()));
        }
        let [bare, _, synced, _] = figures.each_mut().map(|times| {
            times.sort();
            at(times, 0.5)
        });
        let names = ["bare", "outbox, memory", "bare, synced", "outbox, disk"];
        for (name, times) in names.iter().zip(&figures) {
            let (median, slow) = (at(times, 0.5), at(times, 0.99));
            let both = format!("{median:.2} / {slow:.2}");
            println!("{rate:>8}  {name:<14}  {both:>15}  {:>7.2}  {:>14.2}", median / bare, median / synced);
        }
    }
}

fn payload(number: usize) -> String {
    format!("{{\"version\":1,\"id\":\"{number}\",\"text\":\"{}\"}}", "x".repeat(500))
}

/// Calls `each` at this rate, with the number of the alert; returns the time of each call.
fn at_rate(rate: u32, count: usize, mut each: impl FnMut(usize)) -> Vec<Instant> {
    let (start, pause) = (Instant::now(), Duration::from_secs(1) / rate);
    let mut began = Vec::with_capacity(count);
    for number in 0..count {
        let due = start + pause * u32::try_from(number).unwrap();
        thread::sleep(due.saturating_duration_since(Instant::now()));
        began.push(Instant::now());
        each(number);
    }
    began
}

/// A bare client. With `folder`, each text is first written and synced to a file in it.
fn bare(broker: &Broker, rate: u32, count: usize, folder: Option<&Path>) -> Vec<Duration> {
    let mut file = folder.map(|folder| File::create(folder.join("synced")).unwrap());
    let mut options = MqttOptions::new("bare", "127.0.0.1", broker.port);
    let mut network = rumqttc::NetworkOptions::new();
    network.set_tcp_nodelay(true);
    options.set_network_options(network).set_outgoing_inflight_upper_limit(16);
    let (client, mut connection) = Client::new(options, 1_000);
    let (connected, ready) = mpsc::channel();
    let acknowledged = Arc::new(AtomicU64::new(0));
    let done = Arc::clone(&acknowledged);
    let listener = thread::spawn(move || {
        for event in connection.iter() {
            match event.unwrap() {
                Event::Incoming(Packet::ConnAck(_)) => connected.send(()).unwrap(),
                Event::Incoming(Packet::PubAck(_)) => drop(done.fetch_add(1, Ordering::Relaxed)),
                Event::Outgoing(Outgoing::Disconnect) => break,
                _ => {}
            }
        }
    });
    ready.recv().unwrap();
    let watcher = watch(count, move || acknowledged.load(Ordering::Relaxed));
    let began = at_rate(rate, count, |number| {
        let text = payload(number);
        if let Some(file) = &mut file {
            file.write_all(text.as_bytes()).unwrap();
            file.sync_data().unwrap();
        }
        client.publish(TOPIC, QoS::AtLeastOnce, false, text).unwrap();
    });
    let times = between(&began, &watcher.join().unwrap());
    client.disconnect().unwrap();
    listener.join().unwrap();
    times
}

fn ours(broker: &Broker, rate: u32, count: usize, folder: &Path) -> Vec<Duration> {
    let outbox = Arc::new(Outbox::open(folder).unwrap());
    let publisher = Publisher::new(&broker.mqtt(), Arc::clone(&outbox), &Board::new()).unwrap();
    let (counts, stop) = (publisher.counts(), CancellationToken::new());
    let stopped = stop.clone();
    let running = thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(publisher.run(stopped, Duration::from_secs(5)))
    });
    let entry = |number: usize| Entry {
        id: number.to_string(),
        topic: TOPIC.to_owned(),
        payload: payload(number),
        snapshot: None,
        mark: None,
    };
    // Wait for the connection; the first alert also warms everything up.
    outbox.append(&entry(0));
    while counts.published.load(Ordering::Relaxed) == 0 {
        thread::sleep(Duration::from_millis(1));
    }
    let watcher = watch(count, move || counts.published.load(Ordering::Relaxed) - 1);
    let began = at_rate(rate, count, |number| outbox.append(&entry(number)));
    let times = between(&began, &watcher.join().unwrap());
    stop.cancel();
    running.join().unwrap();
    times
}

/// Returns when each alert was acknowledged. Both kinds of client are polled in the same way, which costs some time.
fn watch(count: usize, done: impl Fn() -> u64 + Send + 'static) -> JoinHandle<Vec<Instant>> {
    thread::spawn(move || {
        let mut acknowledged = Vec::with_capacity(count);
        while acknowledged.len() < count {
            let done = usize::try_from(done()).unwrap();
            acknowledged.resize(done.max(acknowledged.len()), Instant::now());
            thread::sleep(Duration::from_micros(20));
        }
        acknowledged
    })
}

/// The time from each start to its acknowledgement; both lists have the order of the alerts.
fn between(began: &[Instant], acknowledged: &[Instant]) -> Vec<Duration> {
    began.iter().zip(acknowledged).map(|(began, acknowledged)| acknowledged.duration_since(*began)).collect()
}

/// The quantile `part` (0 to 1) of sorted times, in milliseconds.
fn at(times: &[Duration], part: f64) -> f64 {
    times[((times.len() - 1) as f64 * part) as usize].as_secs_f64() * 1000.0
}
