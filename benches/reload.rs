//! `cargo bench --bench reload`: how long it takes from saving the configuration until new labels are watched.
//!
//! The binary with the bundled model and a real Mosquitto. The end of the time is when a subscriber has received the
//! state of every new label: the next frame is scored with them. No label was there before, so each has to be encoded.
//! It prints a table; it judges nothing.

#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on panics")]

#[allow(dead_code, reason = "the benchmark uses its part of what the tests share")]
#[path = "../tests/it/common/mod.rs"]
mod common;

use std::{
    fmt::Write as _,
    fs,
    time::{Duration, Instant},
};

use common::{
    broker::{Broker, Subscriber},
    service::{Home, LABEL_SETS, Service},
};

const TIMES: usize = 20;

fn main() {
    println!("| new labels | from saving to watching, median | longest of {TIMES} |");
    println!("|---|---|---|");
    for labels in [1, 10] {
        measure(labels);
    }
}

/// One row.
fn measure(labels: usize) {
    let broker = Broker::start();
    let subscriber = Subscriber::start(&broker);
    let home = Home::new(broker.port, "");
    let _service = Service::start(&home);
    subscriber.until("the source to be online", |message| {
        message.topic == "home/inbox/status" && message.text() == "online"
    });
    let original = fs::read_to_string(home.path("stakeout.yaml")).unwrap();
    let mut times = (0..TIMES)
        .map(|time| {
            // What came with the time before, which takes the labels of the one before it away.
            subscriber.rest(Duration::from_millis(700));
            let mut more = String::from("labels: { ");
            (0..labels).for_each(|label| write!(more, "thing {time} of kind {label}: 0.9, ").unwrap());
            assert!(LABEL_SETS.contains("labels: { "));
            fs::write(home.path("new"), original.replace("labels: { ", &more)).unwrap();
            let saved = Instant::now();
            fs::rename(home.path("new"), home.path("stakeout.yaml")).unwrap();
            for _ in 0..labels {
                subscriber.until("the state of a new label", |message| {
                    message.topic.contains(&format!("/thing_{time}_")) && message.text() == "OFF"
                });
            }
            saved.elapsed()
        })
        .collect::<Vec<_>>();
    times.sort();
    println!("| {labels} | {} ms | {} ms |", times[TIMES / 2].as_millis(), times[TIMES - 1].as_millis());
}
