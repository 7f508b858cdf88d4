//! Measures what the sandbox costs for each frame: `cargo bench --bench sandbox`.
//!
//! It decodes pictures in this process and in a decoder process of the release binary, in turn, and scores them with the bundled model. It
//! prints a table, and has no pass or fail. The goal is at most 5 % of a frame's time.

#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on panics")]

use std::{
    fs,
    hint::black_box,
    path::Path,
    time::{Duration, Instant},
};

use stakeout::{
    config::{Device, Execution, ModelRef},
    model::{Model, Options, Runtime, hub},
    picture::{self, Limits, MAX_PIXELS, Picture},
    sandbox::{Program, Sandbox},
};

/// The rounds that count, and those before them that do not.
const ROUNDS: usize = 60;
const WARM_UP: usize = 5;

/// The default limits of a picture.
fn limits() -> Limits {
    Limits::of(MAX_PIXELS)
}

fn main() {
    let program = Program { path: env!("CARGO_BIN_EXE_stakeout").into(), memory: None };
    let sandbox = Sandbox::start(program, limits());
    let runtime = Runtime::load(None).unwrap();
    let options =
        Options { execution: Execution { threads: Some(1), ..Execution::default() }, ..Options::default() };
    let files = hub::find(&ModelRef::Bundled, Device::Cpu).unwrap().files;
    let mut model = Model::load(&runtime, &files, &options).unwrap();
    println!("{:?}; {ROUNDS} rounds, medians:\n", sandbox.state());
    println!(
        "| picture | decoded in the service | in the sandbox | preparing and scoring | more, of a frame's time |"
    );
    println!("|---|---|---|---|---|");
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/bundled/samples/red-car.jpg");
    let small = picture::decode(&fs::read(sample).unwrap(), limits()).unwrap();
    for (width, height) in [(400, 300), (1280, 720), (1920, 1080), (3840, 2160)] {
        measure(&sandbox, &mut model, &enlarged(&small, width, height));
    }
}

/// Prints one row.
fn measure(sandbox: &Sandbox, model: &mut Model, jpeg: &[u8]) {
    let (mut here, mut there, mut scoring) = (Vec::new(), Vec::new(), Vec::new());
    let mut size = (0, 0);
    for round in 0..WARM_UP + ROUNDS {
        let (picture, decoded) = timed(|| picture::decode(jpeg, limits()).unwrap());
        size = (picture.width, picture.height);
        let (_, sandboxed) = timed(|| sandbox.decode("bench", jpeg, limits(), &|| true).unwrap());
        let (_, scored) = timed(|| {
            let preprocessor = model.preprocessor();
            let mut values = Vec::with_capacity(preprocessor.tensor_len());
            preprocessor.append(&picture, &mut values);
            model.embed_prepared(&values).unwrap()
        });
        if round >= WARM_UP {
            here.push(decoded);
            there.push(sandboxed);
            scoring.push(scored);
        }
    }
    let [here, there, scoring] = [here, there, scoring].map(median);
    let share = (there - here) / (here + scoring) * 100.0;
    let (width, height) = size;
    println!(
        "| {width} x {height}, {} KB | {here:.2} ms | {there:.2} ms | {scoring:.2} ms | {share:+.1} % |",
        jpeg.len() / 1000
    );
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let began = Instant::now();
    let done = black_box(work());
    (done, began.elapsed())
}

/// In milliseconds.
fn median(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64() * 1e3
}

/// The picture in another size, as JPEG.
fn enlarged(picture: &Picture, width: u32, height: u32) -> Vec<u8> {
    let rgb = picture.rgb();
    let pixel = |x: u32, y: u32| {
        let (x, y) = (x * picture.width / width, y * picture.height / height);
        let start = (y as usize * picture.width as usize + x as usize) * 3;
        [rgb[start], rgb[start + 1], rgb[start + 2]]
    };
    let pixels = (0..height).flat_map(|y| (0..width).flat_map(move |x| pixel(x, y))).collect();
    Picture::of_rgb(width, height, pixels).to_jpeg(90).unwrap()
}
