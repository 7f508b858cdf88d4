//! `cargo bench --bench delivery`: how long it takes from a score to the broker's acknowledgement of its alert.
//!
//! A real Mosquitto on this machine, at 1, 100 and 1,000 alerts a second; beside it, in the same run, a bare `rumqttc`
//! client that publishes the same texts with QoS 1. Once with the outbox in memory (/dev/shm), beside a client that keeps
//! nothing; once on this disk, where each alert is synced, beside a client that appends the text to a file there and syncs it
//! before it publishes. They take turns, so that a machine that is busy for a while is busy for all of them. It prints a
//! table with the ratios at the median; it judges nothing. Takes two minutes.

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

/// Alerts a second, and how many of them in a round.
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
        "a second", "", "milliseconds", "to bare", "to bare synced"
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

/// Calls `each` at this rate, with the number of the alert; says when each was.
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

/// `folder`: where each text is brought onto the disk first.
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
    let told = stop.clone();
    let running = thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(publisher.run(told, Duration::from_secs(5)))
    });
    let entry = |number: usize| Entry {
        id: number.to_string(),
        topic: TOPIC.to_owned(),
        payload: payload(number),
        snapshot: None,
        mark: None,
    };
    // Connected, and everything has been used once.
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

/// When each alert was acknowledged. Both kinds are looked at in the same way, which takes its time.
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

/// Both are in the order of the alerts.
fn between(began: &[Instant], acknowledged: &[Instant]) -> Vec<Duration> {
    began.iter().zip(acknowledged).map(|(began, acknowledged)| acknowledged.duration_since(*began)).collect()
}

/// Of sorted times the one at this part of them, in milliseconds.
fn at(times: &[Duration], part: f64) -> f64 {
    times[((times.len() - 1) as f64 * part) as usize].as_secs_f64() * 1000.0
}
