//! Measures searches of stored embeddings: `cargo bench --bench search`, or with the numbers of vectors after `--`.
//!
//! It fills a history with vectors of 768 dimensions as ten cameras have them: all vectors of a camera are similar, events of two
//! minutes share their content, and queries are far from all vectors, like words. It measures the insertion of a frame, and searches
//! on one thread, each with a reader of its own, as in the service. The exact answer is computed in full precision while the vectors are
//! made. The baseline is a bare scan: reading the same blocks from SQLite, and counting their bits. It prints a table, and has no pass or
//! fail. Besides the time that passes, it prints the time of the processor, which other processes of the machine hardly change. A million
//! vectors take ten minutes and one gigabyte of disk.

#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on panics")]

use std::{
    env, fs,
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant},
};

use rustix::time::{ClockId, clock_gettime};
use stakeout::{
    classify::score::dot,
    history::{
        History, Reader,
        search::{Search, search},
        vectors::Recorder,
    },
};

const DIMENSIONS: usize = 768;
const SOURCES: usize = 10;
/// The frames of an event, which are a second apart.
const EVENT: usize = 120;
/// Between the starts of two events, in milliseconds: they cannot be joined.
const APART: i64 = 3 * 3_600_000;
const START: i64 = 1_767_225_600_000;
/// The directions in which the pictures of a camera differ.
const DIRECTIONS: usize = 64;
const QUERIES: usize = 20;
const TOP: usize = 20;
/// How often each query is searched.
const ROUNDS: usize = 3;
/// The frames that are written in one transaction.
const BATCH: usize = 600;

fn main() {
    let numbers: Vec<usize> = env::args().filter_map(|argument| argument.parse().ok()).collect();
    let numbers = if numbers.is_empty() { vec![100_000, 1_000_000] } else { numbers };
    println!(
        "| vectors | insertion | file | first search | search, median | 95th percentile | of the processor, 95th percentile | memory \
         | recall@{TOP} | bare scan, median |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    numbers.into_iter().for_each(measure);
}

/// Prints one row.
fn measure(vectors: usize) {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let mut history = History::open(folder.path()).unwrap();
    let mut random = Random(7);
    let cameras: Vec<_> = (0..SOURCES).map(|number| Camera::new(number, &mut random)).collect();
    let queries: Vec<_> = (0..QUERIES).map(|number| cameras[number % SOURCES].query(&mut random)).collect();
    let (insertion, exact) = fill(&mut history, vectors, &cameras, &queries, &mut random);
    let file: u64 =
        fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum();

    let before = forget_peak();
    let (mut times, mut processor) = (Vec::new(), Vec::new());
    for query in std::iter::repeat_n(&queries, ROUNDS).flatten() {
        let (started, worked) = (Instant::now(), processor_time());
        let reader = Reader::open(folder.path()).unwrap();
        black_box(search(reader.connection(), &of(std::slice::from_ref(query))).unwrap());
        drop(reader);
        times.push(started.elapsed());
        processor.push(processor_time().saturating_sub(worked));
    }
    let memory = peak().saturating_sub(before);
    let first = times[0];
    times.sort();
    processor.sort();
    let recall = recall(&history, &cameras, &queries, &exact);
    let mut scans: Vec<_> = (0..QUERIES).map(|_| bare_scan(&history)).collect();
    scans.sort();
    let milliseconds = |time: Duration| format!("{:.1} ms", time.as_secs_f64() * 1000.0);
    println!(
        "| {vectors} | {:.3} ms | {} MB | {} | {} | {} | {} | {} MB | {recall:.3} | {} |",
        insertion.as_secs_f64() * 1000.0 / vectors as f64,
        file / 1_000_000,
        milliseconds(first),
        milliseconds(times[times.len() / 2]),
        milliseconds(times[times.len() * 95 / 100]),
        milliseconds(processor[processor.len() * 95 / 100]),
        memory / 1024,
        milliseconds(scans[scans.len() / 2]),
    );
}

fn of(vectors: &[Vec<f32>]) -> Search<'_> {
    Search { vectors, model: "clip", source: None, since: None, until: None, top: TOP }
}

/// How many of the best events in full precision are found. Each query is searched on the camera that it was made for: within one
/// camera the order by lift is that of similarities.
fn recall(history: &History, cameras: &[Camera], queries: &[Vec<f32>], exact: &[Vec<i64>]) -> f64 {
    let (mut found, mut expected) = (0, 0);
    for (number, (query, exact)) in queries.iter().zip(exact).enumerate() {
        let source = Some(&*cameras[number % cameras.len()].name);
        let on_camera = Search { source, ..of(std::slice::from_ref(query)) };
        let answer = search(history.connection(), &on_camera).unwrap();
        let events: Vec<_> = answer.matches.iter().map(|it| event_of(it.time)).collect();
        found += exact.iter().filter(|event| events.contains(event)).count();
        expected += exact.len();
    }
    f64::from(found as u32) / f64::from(expected as u32)
}

/// A camera, a time, and an embedding.
type Frame = (Arc<str>, i64, Arc<[f32]>);

/// Writes all vectors. Returns the time that this took without making them, and for each query the best events of its camera in full
/// precision.
fn fill(
    history: &mut History,
    vectors: usize,
    cameras: &[Camera],
    queries: &[Vec<f32>],
    random: &mut Random,
) -> (Duration, Vec<Vec<i64>>) {
    let mut recorder = Recorder::new("clip");
    let mut insertion = Duration::ZERO;
    let mut similarities: Vec<Vec<(i64, f32)>> = vec![Vec::new(); queries.len()];
    let mut frames: Vec<Frame> = Vec::with_capacity(BATCH);
    let mut write = |frames: &mut Vec<Frame>| {
        let started = Instant::now();
        history
            .write(|transaction| {
                frames.iter().try_for_each(|(source, time, vector)| {
                    recorder.record_frame(transaction, source, *time, [(None, vector)])
                })
            })
            .unwrap();
        insertion += started.elapsed();
        frames.clear();
    };
    let of_camera = vectors / cameras.len();
    for event in 0..of_camera.div_ceil(EVENT) {
        for (number, camera) in cameras.iter().enumerate() {
            let content = camera.content(random);
            let start = START + event as i64 * APART;
            let count = EVENT.min(of_camera - event * EVENT);
            // The queries that were made for this camera.
            let mut own: Vec<_> =
                queries.iter().zip(&mut similarities).skip(number).step_by(cameras.len()).collect();
            own.iter_mut().for_each(|(_, similarities)| similarities.push((event_of(start), f32::MIN)));
            for frame in 0..count {
                let vector = camera.frame(&content, random);
                for (query, similarities) in &mut own {
                    let best = similarities.last_mut().unwrap();
                    best.1 = best.1.max(dot(query, &vector));
                }
                frames.push((Arc::clone(&camera.name), start + frame as i64 * 1000, vector.into()));
                if frames.len() == BATCH {
                    write(&mut frames);
                }
            }
        }
    }
    write(&mut frames);
    (insertion, similarities.into_iter().map(best_events).collect())
}

/// The best events of a query, by their times.
fn best_events(mut events: Vec<(i64, f32)>) -> Vec<i64> {
    events.sort_by(|a, b| b.1.total_cmp(&a.1));
    events.into_iter().take(TOP).map(|(event, _)| event).collect()
}

fn event_of(time: i64) -> i64 {
    (time - START) / APART
}

/// Reads all blocks, and counts their bits.
fn bare_scan(history: &History) -> Duration {
    let started = Instant::now();
    let mut select = history.connection().prepare("SELECT content FROM vector_blocks").unwrap();
    let mut rows = select.query([]).unwrap();
    let mut bits = 0_u64;
    while let Some(row) = rows.next().unwrap() {
        let bytes = row.get_ref(0).unwrap().as_blob().unwrap();
        bits += bytes
            .as_chunks::<8>()
            .0
            .iter()
            .map(|word| u64::from(u64::from_le_bytes(*word).count_ones()))
            .sum::<u64>();
    }
    black_box(bits);
    started.elapsed()
}

/// A camera, whose pictures are all similar.
struct Camera {
    name: Arc<str>,
    centre: Vec<f32>,
    directions: Vec<Vec<f32>>,
}

impl Camera {
    fn new(number: usize, random: &mut Random) -> Self {
        Self {
            name: format!("camera-{number}").into(),
            centre: random.unit_vector(),
            directions: (0..DIRECTIONS).map(|_| random.unit_vector()).collect(),
        }
    }

    /// The content of an event: a difference in some directions, in the first ones most.
    fn content(&self, random: &mut Random) -> Vec<f32> {
        let mut content = self.centre.clone();
        for (number, direction) in self.directions.iter().enumerate() {
            let weight = random.normal() * 0.35 / (1.0 + number as f32).sqrt();
            content.iter_mut().zip(direction).for_each(|(sum, value)| *sum += weight * value);
        }
        content
    }

    fn frame(&self, content: &[f32], random: &mut Random) -> Vec<f32> {
        let noise = 0.1 / (DIMENSIONS as f32).sqrt();
        unit(content.iter().map(|value| value + noise * random.normal()).collect())
    }

    /// Words for something that this camera sees: mostly unlike all pictures.
    fn query(&self, random: &mut Random) -> Vec<f32> {
        let mut query = random.unit_vector();
        for direction in self.directions.iter().take(16) {
            let weight = 0.12 * random.normal();
            query.iter_mut().zip(direction).for_each(|(sum, value)| *sum += weight * value);
        }
        unit(query)
    }
}

fn unit(vector: Vec<f32>) -> Vec<f32> {
    let length = dot(&vector, &vector).sqrt();
    vector.into_iter().map(|value| value / length).collect()
}

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Nearly normal, with deviation 1.
    fn normal(&mut self) -> f32 {
        let bits = self.next();
        let sum: u64 = (0..4).map(|part| bits >> (16 * part) & 0xffff).sum();
        (sum as f32 / 65536.0 - 2.0) * 3.0_f32.sqrt()
    }

    fn unit_vector(&mut self) -> Vec<f32> {
        unit((0..DIMENSIONS).map(|_| self.normal()).collect())
    }
}

/// Makes the kernel forget the peak of this process's memory, and returns its memory in KiB.
fn forget_peak() -> u64 {
    let _ = fs::write("/proc/self/clear_refs", "5");
    status("VmRSS:")
}

/// The time that this thread has worked.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap())
}

/// The peak of this process's memory, in KiB.
fn peak() -> u64 {
    status("VmHWM:")
}

fn status(field: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
