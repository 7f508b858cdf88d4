//! Measures the time from saving the configuration until new labels take effect: `cargo bench --bench reload [-- MODEL_FOLDER]`.
//!
//! It runs the binary with the bundled model (or the one in the folder) and a real Mosquitto. The time ends when a subscriber has received
//! the state of every new label: the next frame is scored with them. Every label is new, so each must be encoded. For comparison
//! it measures the text encoder alone with the same number of texts, in this process and while the service is idle. The text tower is
//! loaded and unloaded for them, as in the service. It prints a table, and has no pass or fail.

#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on panics")]

#[allow(dead_code, reason = "the benchmark uses its part of what the tests share")]
#[path = "../tests/it/common/mod.rs"]
mod common;

use std::{
    fmt::Write as _,
    fs, thread,
    time::{Duration, Instant},
};

use common::{
    broker::{Broker, Subscriber},
    service::{Home, LABEL_SETS, Service},
};
use stakeout::{
    config::{Device, ModelRef, Variant},
    model::{Model, Options, Runtime, hub},
};

const TIMES: usize = 20;

fn main() {
    // Cargo adds `--bench`.
    let folder = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let folder = folder.map(|folder| fs::canonicalize(folder).unwrap());
    let model = folder.clone().map_or(ModelRef::Bundled, |folder| ModelRef::Folder(folder, Variant::Auto));
    let found = hub::find(&model, Device::Auto).unwrap();
    let model =
        Model::load(&Runtime::load(None).unwrap(), &found.files, &Options { ..found.options() }).unwrap();
    let setting = folder.map_or(String::new(), |folder| format!("model: {}\n", folder.display()));

    println!(
        "| new labels | saved until in effect, median | longest of {TIMES} | the text encoder alone, median |"
    );
    println!("|---|---|---|---|");
    for labels in [1, 10] {
        measure(&model, &setting, labels);
    }
}

/// The median time that the text encoder needs for `labels` texts.
fn alone(model: &Model, labels: usize) -> Duration {
    let mut times = (0..TIMES)
        .map(|time| {
            let texts = (0..labels).map(|label| format!("a photo of thing {time} of kind {label}"));
            let texts = texts.collect::<Vec<_>>();
            let texts = texts.iter().map(String::as_str).collect::<Vec<_>>();
            let began = Instant::now();
            model.text().encode(&texts).unwrap();
            began.elapsed()
        })
        .collect::<Vec<_>>();
    times.sort();
    times[TIMES / 2]
}

/// Prints one row.
fn measure(model: &Model, setting: &str, labels: usize) {
    let broker = Broker::start();
    let subscriber = Subscriber::start(&broker);
    let home = Home::new(broker.port, setting);
    let _service = Service::start(&home);
    subscriber.until("the source to be online", |message| {
        message.topic == "home/inbox/status" && message.text() == "online"
    });
    let original = fs::read_to_string(home.path("stakeout.yaml")).unwrap();
    let mut times = (0..TIMES)
        .map(|time| {
            // The service still removes the labels of the change before the previous one.
            thread::sleep(Duration::from_millis(700));
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
    let [median, longest, alone] =
        [times[TIMES / 2], times[TIMES - 1], alone(model, labels)].map(|time| time.as_millis());
    println!("| {labels} | {median} ms | {longest} ms | {alone} ms |");
}
