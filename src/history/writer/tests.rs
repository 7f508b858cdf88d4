use std::{collections::BTreeSet, fs, path::Path};

use rusqlite::Connection;

use super::*;
use crate::{
    alert::State,
    faults::{Condition, Disk, Fault, Operation, Random, sweep},
    history::{Reader, samples::alert, store::name_id},
    observe::{Observers, tests::observation},
    samples,
};

/// The simulated disk has no memory that processes share.
const ALONE: Mode = Mode { exclusive: true, durable: false };

/// A thread, and what it subscribes to.
struct Running {
    handle: Handle,
    observers: Observers,
    metrics: Arc<ServiceMetrics>,
    thread: thread::JoinHandle<()>,
}

impl Running {
    fn start(state_dir: &Path, mode: Mode) -> Self {
        let (writer, handle, observers, metrics) = writer(state_dir, mode);
        Self { handle, observers, metrics, thread: thread::spawn(|| writer.run(None)) }
    }

    fn flush(&self) -> Result<(), Error> {
        block_on(self.handle.flush(Duration::ZERO))
    }

    /// The service ends.
    fn end(self) {
        drop(self.observers);
        self.thread.join().unwrap();
    }

    fn lost(&self) -> u64 {
        value(&self.metrics, "stakeout_observations_lost_total{subscriber=\"history\"}")
    }
}

fn writer(state_dir: &Path, mode: Mode) -> (Writer, Handle, Observers, Arc<ServiceMetrics>) {
    let settings = HistorySettings { search: true, ..HistorySettings::default() };
    let config = Config { state_dir: state_dir.to_owned(), history: Some(settings), ..samples::config() };
    let metrics = Arc::new(ServiceMetrics::new(&config));
    let mut observers = Observers::new(Arc::new(config), Arc::clone(&metrics));
    let subscription = observers.subscribe(SUBSCRIBER);
    let (writer, handle) = Writer::new(settings, subscription, &metrics, mode).unwrap();
    (writer, handle, observers, metrics)
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

fn value(metrics: &Arc<ServiceMetrics>, series: &str) -> u64 {
    let page = metrics.page();
    let line = page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("{series} is missing in\n{page}")).parse().unwrap()
}

/// A frame of a source of its own, whose name is in the file if the frame is.
fn frame(source: &str) -> Observation {
    let seed = source.bytes().fold(7, |seed: u64, byte| seed.wrapping_mul(31).wrapping_add(u64::from(byte)));
    let mut random = Random::new(seed, 0);
    let embedding: Vec<f32> = (0..16).map(|_| random.below(1000) as f32 / 1000.0 - 0.5).collect();
    Observation { source: source.into(), embeddings: vec![embedding.into()], ..observation("1.jpg") }
}

fn names(connection: &Connection) -> BTreeSet<String> {
    let mut names = connection.prepare("SELECT text FROM names").unwrap();
    let names = names.query_map([], |row| row.get(0)).unwrap();
    names.map(Result::unwrap).collect()
}

fn names_in(state_dir: &Path) -> BTreeSet<String> {
    names(Reader::open(state_dir).unwrap().connection())
}

fn is_sound(connection: &Connection) -> bool {
    connection.query_row("PRAGMA integrity_check", [], |row| row.get::<_, String>(0)).unwrap() == "ok"
}

#[test]
fn what_was_observed_is_read_after_a_flush_and_after_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path(), store::MODE);
    running.observers.publish(frame("one"));
    running.flush().unwrap();
    assert!(names_in(folder.path()).contains("one"));
    assert!(value(&running.metrics, "stakeout_history_bytes_written_total") > 0);
    assert!(value(&running.metrics, "stakeout_history_bytes") > 0);
    running.observers.publish(frame("two"));
    let three = block_on(running.handle.change(|history| {
        assert!(names(history.connection()).contains("two"), "a change sees all that was observed before it");
        history.write(|transaction| name_id(transaction, "three")).unwrap()
    }));
    assert!(three.unwrap() > 0);
    running.observers.publish(frame("four"));
    running.end();
    let names = names_in(folder.path());
    assert!(["one", "two", "three", "four"].iter().all(|name| names.contains(*name)), "{names:?}");
}

#[test]
fn a_full_disk_loses_and_counts_observations_and_delays_no_one() {
    let disk = Disk::new(Random::new(1, 0));
    let running = Running::start(disk.path(), ALONE);
    running.observers.publish(frame("before"));
    running.flush().unwrap();
    disk.set(Condition::Full);
    // The log may have space for the first ones.
    let mut number = 0;
    while running.flush().is_ok() {
        running.observers.publish(frame(&format!("full {number}")));
        number += 1;
        assert!(number < 10_000, "the disk is full");
    }
    assert_eq!(value(&running.metrics, "stakeout_history_failing"), 1);
    let lost = running.lost();
    for number in 0..100 {
        // Never waits.
        running.observers.publish(frame(&format!("lost {number}")));
    }
    assert!(running.flush().is_err() && running.lost() > lost);
    disk.set(Condition::Works);
    running.flush().unwrap();
    running.observers.publish(frame("after"));
    running.flush().unwrap();
    assert_eq!(value(&running.metrics, "stakeout_history_failing"), 0);
    running.end();
    let history = History::open_as(disk.path(), ALONE).unwrap();
    assert!(is_sound(history.connection()));
    let names = names(history.connection());
    assert!(names.contains("before") && names.contains("after"), "{names:?}");
}

#[test]
fn a_folder_that_cannot_be_used_is_used_as_soon_as_it_can_be() {
    let folder = tempfile::tempdir().unwrap();
    let state_dir = folder.path().join("state");
    fs::write(&state_dir, "a file instead of the folder").unwrap();
    let running = Running::start(&state_dir, store::MODE);
    running.observers.publish(frame("lost"));
    let error = running.flush().unwrap_err().to_string();
    assert!(error.contains("state_dir"), "{error}");
    assert_eq!(value(&running.metrics, "stakeout_history_failing"), 1);
    fs::remove_file(&state_dir).unwrap();
    running.flush().unwrap();
    running.observers.publish(frame("kept"));
    running.flush().unwrap();
    let names = names_in(&state_dir);
    assert!(names.contains("kept") && !names.contains("lost"), "{names:?}");
    assert_eq!((running.lost(), value(&running.metrics, "stakeout_history_failing")), (1, 0));
    running.end();
}

#[test]
fn a_damaged_file_is_renamed_and_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = store::path(folder.path());
    for round in 1..=2 {
        fs::write(&path, format!("damaged {round}").repeat(1000)).unwrap();
        let running = Running::start(folder.path(), store::MODE);
        running.observers.publish(frame("kept"));
        running.flush().unwrap();
        assert!(names_in(folder.path()).contains("kept"));
        running.end();
        fs::remove_file(&path).unwrap();
        let aside = storage::files_set_aside(&path).unwrap();
        assert_eq!(aside.len(), 1, "only the newest is kept: {aside:?}");
        assert!(fs::read_to_string(&aside[0]).unwrap().starts_with(&format!("damaged {round}")));
    }
}

#[test]
fn a_file_that_vanishes_while_it_is_open_is_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = store::path(folder.path());
    let other = folder.path().join("other");
    fs::create_dir(&other).unwrap();
    drop(History::open(&other).unwrap());
    let running = Running::start(folder.path(), store::MODE);
    let remove_all = || {
        for file in [path.clone(), storage::log_of(&path), storage::index_of(&path)] {
            fs::remove_file(file).unwrap();
        }
    };
    let cases: [(&str, &dyn Fn()); 5] = [
        ("deleted", &remove_all),
        ("deleted without its log", &|| fs::remove_file(&path).unwrap()),
        ("replaced", &|| {
            remove_all();
            fs::copy(store::path(&other), &path).unwrap();
        }),
        ("without its log", &|| fs::remove_file(storage::log_of(&path)).unwrap()),
        ("without the index of its log", &|| fs::remove_file(storage::index_of(&path)).unwrap()),
    ];
    for (what, damage) in cases {
        running.observers.publish(frame(&format!("before {what}")));
        running.flush().unwrap();
        damage();
        running.observers.publish(frame(what));
        running.flush().unwrap();
        let names = names_in(folder.path());
        assert!(names.contains(what), "{what}: {names:?}");
        let kept = names.contains(&format!("before {what}"));
        assert_eq!(kept, what.starts_with("without"), "{what}: what was deleted stays deleted");
        assert!(is_sound(Reader::open(folder.path()).unwrap().connection()), "{what}");
    }
    assert_eq!(running.lost(), 0);
    running.end();
}

/// Records four frames, one after the other, on this thread.
fn record_four(disk: &Disk) {
    let (mut writer, _handle, observers, _metrics) = writer(disk.path(), ALONE);
    for source in ["one", "two", "three", "four"] {
        writer.retry = Instant::now();
        writer.record(Entry::Observation(Arc::new(frame(source))), true);
        writer.tend();
    }
    writer.flush();
    drop((writer, observers));
}

#[test]
fn no_fault_damages_the_file_or_ends_the_thread() {
    let faults = sweep(
        |disk| drop(History::open_as(disk.path(), ALONE).unwrap()),
        |disk| record_four(disk),
        |disk, fault: Option<Fault>| {
            let history = History::open_as(disk.path(), ALONE).unwrap();
            assert!(is_sound(history.connection()), "{fault:?}");
            let found = names(history.connection());
            assert!(fault.is_some() || found.contains("one") && found.contains("four"), "{found:?}");
            drop(history);
            record_four(disk);
            let history = History::open_as(disk.path(), ALONE).unwrap();
            let found = names(history.connection());
            assert!(found.contains("four"), "{fault:?}: it goes on when the disk works: {found:?}");
        },
    );
    assert!(faults > 40, "{faults}");
}

#[test]
fn a_kill_or_a_power_cut_at_any_change_of_the_disk_leaves_a_sound_file() {
    let mut deaths = 0;
    for change in 1.. {
        let disk = Disk::new(Random::new(change, 0));
        drop(History::open_as(disk.path(), ALONE).unwrap());
        disk.set_death(Some(change));
        record_four(&disk);
        if !disk.is_dead() {
            break;
        }
        deaths += 1;
        disk.revive(change % 2 == 0);
        let history = History::open_as(disk.path(), ALONE).unwrap();
        assert!(is_sound(history.connection()), "{change}");
        drop(history);
        record_four(&disk);
        let history = History::open_as(disk.path(), ALONE).unwrap();
        assert!(names(history.connection()).contains("four"), "{change}");
    }
    assert!(deaths > 20 && disk_operations_are_counted(), "{deaths}");
}

/// The disk that is simulated is the one that is used.
fn disk_operations_are_counted() -> bool {
    let disk = Disk::new(Random::new(1, 0));
    record_four(&disk);
    disk.count(Operation::Write) > 10 && disk.count(Operation::Sync) > 0
}

#[test]
fn a_clock_that_is_set_forward_deletes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (mut writer, ..) = writer(folder.path(), store::MODE);
    let at = |up: i64, wall: i64, synchronised| Reading { up, wall, synchronised, ..writer.started };
    let started = at(0, 1_000_000, false);
    let cases = [
        (at(5_000, 1_005_000, false), 1_005_000),
        (at(5_000, 900_000_000, false), 1_005_000),
        (at(5_000, 900_000_000, true), 900_000_000),
        (at(5_000, 500_000, false), 500_000),
    ];
    writer.started = started;
    for (reading, expected) in cases {
        writer.clock = Clock::of(move || reading);
        assert_eq!(writer.now(), expected, "{reading:?}");
    }
}

/// The transactions in the log that changed something: each ends with a page that says so.
fn commits(state_dir: &Path) -> usize {
    let log = fs::read(storage::log_of(&store::path(state_dir))).unwrap();
    let number = |at: usize| u32::from_be_bytes(log[at..at + 4].try_into().unwrap());
    let frames = (32..log.len()).step_by(24 + number(8) as usize);
    // Others are of an older log.
    frames.filter(|at| log[at + 8..at + 16] == log[16..24] && number(at + 4) > 0).count()
}

/// A thread that has begun a transaction with this observation, and the number of commits before. What was written is enough for it to commit
/// after a minute.
fn begun(state_dir: &Path, first: Observation) -> (Running, usize) {
    let (mut writer, handle, observers, metrics) = writer(state_dir, store::MODE);
    writer.tend();
    writer.pace.spend(u64::MAX, Instant::now());
    let commits = commits(state_dir);
    let first = Event::Entry(Entry::Observation(Arc::new(first)));
    let thread = thread::spawn(|| writer.run(Some(first)));
    (Running { handle, observers, metrics, thread }, commits)
}

const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn readers_that_see_enough_cause_no_commit_and_others_one() {
    let folder = tempfile::tempdir().unwrap();
    let (running, before) = begun(folder.path(), frame("one"));
    for _ in 0..50 {
        block_on(running.handle.flush(HOUR)).unwrap();
    }
    running.observers.publish(frame("two"));
    block_on(running.handle.flush(HOUR)).unwrap();
    assert_eq!(commits(folder.path()), before);
    assert!(!names_in(folder.path()).contains("one"));
    running.flush().unwrap();
    let names = names_in(folder.path());
    assert!(names.contains("one") && names.contains("two"), "{names:?}");
    let written = commits(folder.path());
    assert!((before + 1..=before + 2).contains(&written), "one more if the second frame was in the queue");
    for age in [HOUR, Duration::ZERO] {
        block_on(running.handle.flush(age)).unwrap();
    }
    assert_eq!(commits(folder.path()), written, "nothing is left to be written");
    running.end();
}

#[test]
fn a_reader_sees_an_alert_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let alert = alert("one", State::Raised, 1, 0);
    let (running, before) = begun(folder.path(), Observation { alerts: vec![alert], ..frame("one") });
    block_on(running.handle.flush(HOUR)).unwrap();
    assert_eq!(commits(folder.path()), before + 1);
    assert!(names_in(folder.path()).contains("one"));
    running.end();
}

#[test]
fn vectors_of_stored_pictures_are_committed_with_what_is_observed_or_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let (running, before) = begun(folder.path(), frame("one"));
    let (handle, none) = (running.handle.clone(), Vec::new);
    let recorded = async {
        tokio::join!(handle.record_embedded(none(), false), handle.record_embedded(none(), false), async {
            handle.flush(HOUR).await.unwrap();
            assert_eq!(commits(folder.path()), before);
            handle.flush(Duration::ZERO).await
        })
    };
    let (first, second, flushed) = block_on(recorded);
    assert_eq!((first.unwrap(), second.unwrap(), flushed.is_ok()), (0, 0, true));
    assert_eq!(commits(folder.path()), before + 1);
    assert_eq!(block_on(handle.record_embedded(none(), true)).unwrap(), 0, "nothing follows");
    running.end();
}

#[test]
fn which_readers_see_enough() {
    let start = Instant::now();
    let after = |seconds| start + Duration::from_secs(seconds);
    for (written, age, now, expected) in [
        (Some(0), 10, 0, true),
        (Some(0), 10, 9, true),
        (Some(0), 10, 10, false),
        (Some(0), 0, 0, false),
        (Some(5), 10, 14, true),
        (None, 10, 0, false),
    ] {
        let found = sees_enough(written.map(after), Duration::from_secs(age), after(now));
        assert_eq!(found, expected, "{written:?} {age} {now}");
    }
}
