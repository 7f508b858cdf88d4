//! Measures the time from closing a file to receiving its alert: `cargo bench --bench latency`.
//!
//! It runs the release binary with the bundled model, and a real Mosquitto and `mosquitto_sub` on this machine. Between the pictures it
//! measures the bare model on ready tensors of the same pictures, with the same number of threads. It prints a table, and has no pass
//! or fail.

#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on panics")]

#[allow(dead_code, reason = "the benchmark uses its part of what the tests share")]
#[path = "../tests/it/common/mod.rs"]
mod common;

use std::{
    fs::{self, File},
    io::Write as _,
    thread,
    time::{Duration, Instant},
};

use stakeout::{
    config::{Device, Execution, ModelRef},
    model::{Model, Options, Runtime, hub},
    picture::{self, Limits, Picture},
};

use common::{
    broker::{Broker, Subscriber},
    service::{Home, Service, sample},
};

/// The pictures that count, and those before them that do not.
const PICTURES: usize = 200;
const WARM_UP: usize = 10;
const THREADS: usize = 2;
const PAUSE: Duration = Duration::from_millis(50);
const MAX_PIXELS: u64 = 100_000_000;

fn main() {
    println!(
        "{PICTURES} pictures each, {THREADS} model threads, from closing the file to the alert at a subscriber:\n"
    );
    println!(
        "| picture | file to alert, median | 99th percentile | bare model, median | 99th percentile | peak memory |"
    );
    println!("|---|---|---|---|---|---|");
    let originals = ["red-car.jpg", "green-tree.jpg", "blue-umbrella.jpg"];
    let small = originals.map(|name| fs::read(sample(name)).unwrap());
    measure("400 x 300", &small);
    measure("1920 x 1080", &small.map(|jpeg| enlarged(&jpeg, 1920, 1080)));
}

/// Prints one row. Each picture raises another alert than the previous picture.
fn measure(name: &str, pictures: &[Vec<u8>]) {
    let broker = Broker::start();
    // A subscriber of alerts does not receive pictures.
    let subscriber = Subscriber::with(&broker, &["-T", "home/+/snapshot"]);
    let home = Home::new(broker.port, &format!("threads: {THREADS}\n"));
    let service = Service::start(&home);
    subscriber.until("the source to be online", |message| {
        message.topic == "home/inbox/status" && message.text() == "online"
    });

    let runtime = Runtime::load(None).unwrap();
    let options = Options {
        execution: Execution { threads: Some(THREADS), ..Execution::default() },
        ..Options::default()
    };
    let mut model =
        Model::load(&runtime, &hub::find(&ModelRef::Bundled, Device::Cpu).unwrap().files, &options).unwrap();

    let (mut whole, mut bare) = (Vec::new(), Vec::new());
    for (number, jpeg) in pictures.iter().cycle().take(WARM_UP + PICTURES).enumerate() {
        let mut file = File::create(home.path("inbox").join(format!("{number}.jpg"))).unwrap();
        file.write_all(jpeg).unwrap();
        let closed = Instant::now();
        drop(file);
        subscriber.until("its alert", |message| {
            message.topic.ends_with("/alert") && message.text().contains(r#""state":"raised""#)
        });
        whole.push(closed.elapsed());
        // The states follow the alert. A camera is not faster than this pause.
        thread::sleep(PAUSE);

        let picture = picture::decode(jpeg, Limits::of(MAX_PIXELS)).unwrap();
        let mut tensor = Vec::new();
        model.preprocessor().append(&picture, &mut tensor);
        let started = Instant::now();
        model.embed_prepared(&tensor).unwrap();
        bare.push(started.elapsed());
    }
    let [whole, bare] = [whole, bare].map(|times| percentiles(&times[WARM_UP..]));
    println!(
        "| {name} | {} | {} | {} | {} | {} MB |",
        whole.0,
        whole.1,
        bare.0,
        bare.1,
        service.peak_memory() / 1024
    );
}

/// Median and 99th percentile, as text.
fn percentiles(times: &[Duration]) -> (String, String) {
    let mut times = times.to_vec();
    times.sort();
    let at =
        |percent: usize| format!("{:.1} ms", times[(times.len() - 1) * percent / 100].as_secs_f64() * 1000.0);
    (at(50), at(99))
}

/// The same picture in the size of a camera: every pixel is repeated.
fn enlarged(jpeg: &[u8], width: u32, height: u32) -> Vec<u8> {
    let small = picture::decode(jpeg, Limits::of(MAX_PIXELS)).unwrap();
    let pixels = small.rgb();
    let source = |x: u32, y: u32| {
        let (x, y) = (x * small.width / width, y * small.height / height);
        let start = (y * small.width + x) as usize * 3;
        pixels[start..start + 3].iter().copied()
    };
    let rgb =
        (0..height).flat_map(|y| (0..width).map(move |x| (x, y))).flat_map(|(x, y)| source(x, y)).collect();
    Picture::of_rgb(width, height, rgb).to_jpeg(90).unwrap()
}
