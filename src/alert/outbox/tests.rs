use std::{fs, path::Path};

use rusqlite::Connection;
use uuid::Uuid;

use super::*;
use crate::clock::Reading;

const FILE: &str = "outbox.sqlite";

fn entry(number: u32) -> Entry {
    Entry {
        id: format!("id-{number}"),
        topic: format!("stakeout/door/porch/{number}/alert"),
        payload: format!("{{\"number\":{number}}}"),
        snapshot: number.is_multiple_of(2).then(|| Snapshot {
            topic: "stakeout/door/snapshot".to_owned(),
            jpeg: vec![0xff, 0xd8, number as u8],
        }),
        mark: None,
    }
}

fn head(outbox: &Outbox, sink: Sink) -> Option<(Seq, Arc<Entry>)> {
    outbox.read(sink, 0, 1).into_iter().next()
}

fn drain_for(outbox: &Outbox, sink: Sink) -> Vec<Entry> {
    let mut drained = Vec::new();
    while let Some((seq, entry)) = head(outbox, sink) {
        drained.push((*entry).clone());
        outbox.remove(sink, &[seq]);
    }
    drained
}

fn drain(outbox: &Outbox) -> Vec<Entry> {
    drain_for(outbox, Sink::Mqtt)
}

fn limited(folder: &Path, size: u64, snapshots: u64) -> Outbox {
    let limits = OutboxLimits { size, snapshots, ..OutboxLimits::default() };
    Outbox::with(folder, limits, &[Sink::Mqtt]).unwrap()
}

fn ids(entries: &[Entry]) -> Vec<&str> {
    entries.iter().map(|entry| &*entry.id).collect()
}

#[test]
fn only_the_owner_reads_the_files_of_the_outbox_whatever_the_umask_is() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let modes = || {
        let mode = |file: fs::DirEntry| {
            let mode = file.metadata().unwrap().permissions().mode() & 0o777;
            format!("{} {mode:o}", file.file_name().to_string_lossy())
        };
        let mut modes: Vec<_> =
            fs::read_dir(folder.path()).unwrap().map(|file| mode(file.unwrap())).collect();
        modes.sort();
        modes
    };
    let outbox = Outbox::open(folder.path()).unwrap();
    outbox.append(&entry(1));
    let files = modes();
    assert!(files.len() >= 2 && files.iter().all(|file| file.ends_with(" 600")), "new files: {files:?}");
    drop(outbox);
    // As an earlier version left them in a container.
    fs::write(folder.path().join("outbox.sqlite.damaged-1"), "alerts").unwrap();
    for file in fs::read_dir(folder.path()).unwrap() {
        fs::set_permissions(file.unwrap().path(), fs::Permissions::from_mode(0o644)).unwrap();
    }
    let outbox = Outbox::open(folder.path()).unwrap();
    assert_eq!(drain(&outbox), [entry(1)]);
    let files = modes();
    assert!(files.len() >= 2 && files.iter().all(|file| file.ends_with(" 600")), "older files: {files:?}");
}

#[test]
fn alerts_are_read_in_order_also_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("made/on/the/way");
    let outbox = Outbox::open(&state).unwrap();
    assert_eq!(head(&outbox, Sink::Mqtt), None);
    let entries = (0..4).map(entry).collect::<Vec<_>>();
    entries.iter().for_each(|entry| outbox.append(entry));
    let (first, _) = head(&outbox, Sink::Mqtt).unwrap();
    outbox.remove(Sink::Mqtt, &[first]);
    outbox.remove(Sink::Mqtt, &[first]);
    assert_eq!(outbox.waiting(), 3);
    drop(outbox);

    let outbox = Outbox::open(&state).unwrap();
    assert_eq!(outbox.waiting(), 3);
    assert_eq!(drain(&outbox), entries[1..]);
    assert_eq!(outbox.waiting(), 0);
    outbox.append(&entry(9));
    let (seq, _) = head(&outbox, Sink::Mqtt).unwrap();
    assert_eq!(seq, first + 4, "a number is never used twice");
}

#[test]
fn an_appended_alert_is_on_the_disk_and_not_only_in_the_process() {
    let (folder, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let outbox = Outbox::open(folder.path()).unwrap();
    (0..3).for_each(|number| outbox.append(&entry(number)));
    outbox.remove(Sink::Mqtt, &[head(&outbox, Sink::Mqtt).unwrap().0]);
    // The files as they are while the process still runs: what a power cut would leave.
    for file in fs::read_dir(folder.path()).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
    }
    assert_eq!(drain(&Outbox::open(copy.path()).unwrap()), [entry(1), entry(2)]);
}

#[test]
fn above_the_limit_the_oldest_is_dropped_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let one = entry(1).size();
    let outbox = limited(folder.path(), 3 * one, u64::MAX);
    (0..5).for_each(|number| outbox.append(&entry(number)));
    assert_eq!((outbox.waiting(), outbox.dropped()), (3, 2));
    assert_eq!(drain(&outbox), [entry(2), entry(3), entry(4)]);
}

#[test]
fn snapshots_have_a_limit_of_their_own_and_their_alerts_stay() {
    let folder = tempfile::tempdir().unwrap();
    let outbox = limited(folder.path(), u64::MAX, 7);
    // Every second one has a picture of three bytes.
    (0..8).for_each(|number| outbox.append(&entry(number)));
    assert_eq!(outbox.status().borrow().snapshots_dropped, 2);
    drop(outbox);
    let outbox = limited(folder.path(), u64::MAX, 7);
    let left = drain(&outbox);
    assert_eq!(
        left.iter().map(|entry| entry.snapshot.is_some()).collect::<Vec<_>>(),
        [false, false, false, false, true, false, true, false]
    );
}

/// Clocks that a test sets.
#[derive(Clone)]
struct Clocks(Arc<Mutex<Reading>>);

impl Clocks {
    fn at(wall: i64, synchronised: bool) -> Self {
        let boot = Uuid::from_u128(1);
        Self(Arc::new(Mutex::new(Reading { boot, up: HOUR, wall, synchronised })))
    }

    fn set(&self, change: impl FnOnce(&mut Reading)) {
        change(&mut self.0.lock().unwrap());
    }

    fn pass(&self, milliseconds: i64) {
        self.set(|now| (now.up, now.wall) = (now.up + milliseconds, now.wall + milliseconds));
    }

    /// The machine is off for this long; its clock is set right at the start.
    fn restart(&self, milliseconds: i64) {
        self.set(|now| {
            now.boot = Uuid::from_u128(now.boot.as_u128() + 1);
            (now.up, now.wall) = (0, now.wall + milliseconds);
        });
    }

    fn open(&self, folder: &Path) -> Outbox {
        let clocks = self.clone();
        let clock = Clock::of(move || *clocks.0.lock().unwrap());
        Outbox::with_clock(folder, OutboxLimits::default(), &[Sink::Mqtt], clock).unwrap()
    }
}

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;
const YEAR: i64 = 365 * DAY;
const NOON: i64 = 1_800_000_000_000;

/// The outbox is tended as after a minute.
fn tend_and_prune(outbox: &Outbox) {
    outbox.file().pruned -= 2 * PRUNE;
    outbox.tend();
}

#[test]
fn alerts_are_dropped_when_they_have_waited_for_too_long() {
    let (folder, clocks) = (tempfile::tempdir().unwrap(), Clocks::at(NOON, true));
    let outbox = clocks.open(folder.path());
    outbox.append(&entry(0));
    clocks.pass(5 * DAY);
    outbox.append(&entry(1));
    assert_eq!(outbox.oldest(Sink::Mqtt), Some(Duration::from_secs(5 * 24 * 3600)));
    clocks.pass(2 * DAY + HOUR);
    tend_and_prune(&outbox);
    assert_eq!((outbox.waiting(), outbox.dropped()), (1, 1));
    let read = outbox.peek(Sink::Mqtt, 0, 10).unwrap_or_else(|| outbox.read(Sink::Mqtt, 0, 10));
    assert_eq!(read.len(), 1, "the dropped one is not delivered from memory either");
    assert!(outbox.is_dropped(read[0].0 - 1) && !outbox.is_dropped(read[0].0));
    drop(outbox);
    // The service does not run for two days, then the machine is off for two.
    clocks.pass(2 * DAY);
    let outbox = clocks.open(folder.path());
    assert_eq!(outbox.waiting(), 1);
    drop(outbox);
    clocks.restart(3 * DAY);
    let outbox = clocks.open(folder.path());
    assert_eq!((outbox.waiting(), outbox.dropped()), (0, 1));
}

#[test]
fn a_wrong_clock_drops_nothing() {
    type Change = fn(&Clocks);
    let changes: [(&str, Change); 7] = [
        ("a year ahead", |clocks| clocks.set(|now| now.wall += YEAR)),
        ("a year behind", |clocks| clocks.set(|now| now.wall -= YEAR)),
        ("in 1970", |clocks| clocks.set(|now| (now.wall, now.synchronised) = (0, false))),
        ("far in the future", |clocks| clocks.set(|now| now.wall = i64::MAX)),
        ("a year ahead after a start of the machine, and not synchronised", |clocks| {
            clocks.restart(YEAR);
            clocks.set(|now| now.synchronised = false);
        }),
        ("a year behind after a start of the machine", |clocks| clocks.restart(-YEAR)),
        ("in 1970 after a start of the machine", |clocks| {
            clocks.restart(0);
            clocks.set(|now| (now.wall, now.synchronised) = (0, false));
        }),
    ];
    for (what, change) in changes {
        for restarts in [false, true] {
            let (folder, clocks) = (tempfile::tempdir().unwrap(), Clocks::at(NOON, true));
            let mut outbox = clocks.open(folder.path());
            (0..59).for_each(|number| outbox.append(&entry(number)));
            change(&clocks);
            if restarts {
                drop(outbox);
                outbox = clocks.open(folder.path());
            }
            tend_and_prune(&outbox);
            outbox.append(&entry(59));
            // And back.
            clocks.set(|now| (now.wall, now.synchronised) = (NOON + HOUR, true));
            tend_and_prune(&outbox);
            drop(outbox);
            let outbox = clocks.open(folder.path());
            assert_eq!((outbox.waiting(), outbox.dropped()), (60, 0), "{what}, restarts: {restarts}");
            assert_eq!(drain(&outbox).len(), 60, "{what}, restarts: {restarts}");
        }
    }
}

#[test]
fn alerts_of_a_version_without_the_counter_of_time_are_as_old_as_the_newest() {
    let (folder, clocks) = (tempfile::tempdir().unwrap(), Clocks::at(NOON, true));
    (0..2).for_each(|number| clocks.open(folder.path()).append(&entry(number)));
    let connection = Connection::open(folder.path().join(FILE)).unwrap();
    connection.execute_batch("DROP TABLE clock; ALTER TABLE alerts DROP COLUMN elapsed").unwrap();
    drop(connection);
    clocks.pass(YEAR);
    let outbox = clocks.open(folder.path());
    assert_eq!((outbox.waiting(), outbox.dropped()), (2, 0));
    clocks.pass(6 * DAY);
    tend_and_prune(&outbox);
    assert_eq!(outbox.waiting(), 2);
    clocks.pass(2 * DAY);
    tend_and_prune(&outbox);
    assert_eq!((outbox.waiting(), outbox.dropped()), (0, 2));
}

#[test]
fn each_sink_has_its_own_pace_and_a_removed_one_is_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let all = |sinks: &[Sink]| Outbox::with(folder.path(), OutboxLimits::default(), sinks).unwrap();
    let outbox = all(&[Sink::Mqtt, Sink::Webhook]);
    (0..4).for_each(|number| outbox.append(&entry(number)));
    assert_eq!(drain(&outbox).len(), 4);
    assert_eq!((outbox.waiting(), outbox.waiting_for(Sink::Webhook)), (0, 4));
    let (first, _) = head(&outbox, Sink::Webhook).unwrap();
    outbox.remove(Sink::Webhook, &[first]);
    drop(outbox);

    let outbox = all(&[Sink::Mqtt, Sink::Webhook, Sink::Command]);
    assert_eq!(outbox.waiting_for(Sink::Command), 0, "it was not configured when they were raised");
    let left = drain_for(&outbox, Sink::Webhook);
    assert_eq!(ids(&left), ["id-1", "id-2", "id-3"]);
    assert!(left.iter().all(|entry| entry.snapshot.is_none()), "snapshots are for the broker");
    outbox.append(&entry(4));
    assert_eq!(drain(&outbox), [entry(4)]);
    drop(outbox);
    let outbox = all(&[Sink::Mqtt]);
    assert_eq!(Sink::ALL.map(|sink| outbox.waiting_for(sink)), [0; 3]);
}

#[test]
fn with_a_full_disk_alerts_wait_in_memory_and_are_written_later() {
    let folder = tempfile::tempdir().unwrap();
    let outbox = Outbox::open(folder.path()).unwrap();
    outbox.append(&entry(0));
    let set_most_pages = |pages| outbox.file().disk.as_ref().unwrap().set_most_pages(pages);
    set_most_pages(1);
    let large = |number| Entry { payload: format!("\"{}\"", "x".repeat(20_000)), ..entry(number) };
    (1..4).for_each(|number| outbox.append(&large(number)));
    let status = outbox.status().borrow().clone();
    assert!(status.in_memory.as_deref().is_some_and(|why| why.contains("full")), "{status:?}");
    assert_eq!(outbox.waiting(), 4);
    let seen = outbox.read(Sink::Mqtt, 0, 10);
    assert_eq!(seen.len(), 1, "first what is on disk");
    let rest = outbox.peek(Sink::Mqtt, seen[0].0, 10).unwrap();
    assert_eq!(rest.iter().map(|(_, entry)| &*entry.id).collect::<Vec<_>>(), ["id-1", "id-2", "id-3"]);
    outbox.remove(Sink::Mqtt, &[rest[0].0]);
    outbox.tend();
    assert!(outbox.status().borrow().in_memory.is_some(), "it is still full");

    set_most_pages(1_000_000);
    outbox.tend();
    assert_eq!(*outbox.status().borrow(), Status::default());
    drop(outbox);
    let outbox = Outbox::open(folder.path()).unwrap();
    assert_eq!(drain(&outbox), [entry(0), large(2), large(3)]);
}

#[test]
fn memory_is_bounded_and_drops_snapshots_before_alerts_and_the_oldest_first() {
    let folder = tempfile::tempdir().unwrap();
    let outbox = Outbox::open(folder.path()).unwrap();
    outbox.append(&entry(0));
    outbox.file().disk.as_ref().unwrap().set_most_pages(1);
    let jpeg = vec![7; 10_000_000];
    let picture = |number| {
        let snapshot = Snapshot { topic: "t".to_owned(), jpeg: jpeg.clone() };
        Entry { snapshot: Some(snapshot), ..entry(number) }
    };
    (1..=5).for_each(|number| outbox.append(&picture(number)));
    let kept = outbox.recent().only_in_memory();
    let pictures = kept.iter().map(|row| row.entry.snapshot.is_some()).collect::<Vec<_>>();
    assert_eq!(pictures, [false, false, true, true, true]);
    outbox.recent().set_most_alone(3);
    outbox.append(&entry(6));
    let status = outbox.status().borrow().clone();
    assert_eq!((status.dropped, status.snapshots_dropped), (3, 2));
    assert_eq!(outbox.waiting(), 4, "one on disk and three in memory");
}

#[test]
fn a_file_that_is_damaged_while_it_is_open_is_replaced_and_readable_alerts_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let outbox = Outbox::open(folder.path()).unwrap();
    (0..3).for_each(|number| outbox.append(&entry(number)));
    // What SQLite says when a page is not what it should be.
    let damage =
        rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT), None);
    outbox.fail(&mut outbox.file(), &damage);
    let status = outbox.status().borrow().clone();
    assert_eq!(status.in_memory, None);
    assert!(status.set_aside.as_deref().is_some_and(|file| Path::new(file).exists()), "{status:?}");
    outbox.append(&entry(3));
    let left = drain(&outbox);
    assert_eq!(ids(&left), ["id-0", "id-1", "id-2", "id-3"]);
}

#[test]
fn a_file_of_the_first_format_is_migrated() {
    let folder = tempfile::tempdir().unwrap();
    let connection = Connection::open(folder.path().join(FILE)).unwrap();
    connection
        .execute_batch(
            "CREATE TABLE alerts (seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL, topic TEXT NOT NULL,
                 payload TEXT NOT NULL, snapshot_topic TEXT, snapshot BLOB) STRICT;
             PRAGMA user_version = 1;
             INSERT INTO alerts VALUES (7, 'id-2', 'stakeout/door/porch/2/alert', '{\"number\":2}',
                 'stakeout/door/snapshot', x'ffd802');
             INSERT INTO alerts VALUES (8, 'id-3', 'stakeout/door/porch/3/alert', '{\"number\":3}', NULL, NULL);",
        )
        .unwrap();
    drop(connection);
    let outbox = Outbox::open(folder.path()).unwrap();
    outbox.append(&entry(5));
    assert_eq!(drain(&outbox), [entry(2), entry(3), entry(5)]);
}

#[test]
fn a_damaged_file_is_renamed_and_never_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FILE);
    let big = Entry { payload: "x".repeat(100_000), ..entry(1) };
    for round in 1..=2 {
        Outbox::open(folder.path()).unwrap().append(&big);
        let mut bytes = fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        // Once its pages are wrong, once its beginning.
        let wrong = if round == 1 { 4096..middle } else { 0..100 };
        bytes[wrong].fill(0x5a);
        fs::write(&path, &bytes).unwrap();

        let outbox = Outbox::open(folder.path()).unwrap();
        assert_eq!(outbox.waiting(), 0);
        outbox.append(&entry(7));
        assert_eq!(drain(&outbox), [entry(7)]);
        let aside = folder.path().join(format!("{FILE}.damaged-{round}"));
        assert!(
            fs::read(aside).unwrap()[4096..] == bytes[4096..],
            "every page is still there to be repaired"
        );
    }
}

#[test]
fn the_file_is_small_again_when_nothing_waits() {
    let folder = tempfile::tempdir().unwrap();
    let outbox = Outbox::open(folder.path()).unwrap();
    let snapshot = Snapshot { topic: "t".to_owned(), jpeg: vec![7; 100_000] };
    for number in 0..20 {
        outbox.append(&Entry { snapshot: Some(snapshot.clone()), ..entry(number) });
    }
    drain(&outbox);
    drop(outbox);
    let size = fs::metadata(folder.path().join(FILE)).unwrap().len();
    assert!(size < 100_000, "{size} bytes are still taken");
}

/// What the next start finds if the process is killed now.
fn after_a_kill(state: &Path) -> Vec<String> {
    let copy = tempfile::tempdir().unwrap();
    for file in fs::read_dir(state).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
    }
    drain(&Outbox::open(copy.path()).unwrap()).into_iter().map(|entry| entry.id).collect()
}

fn numbered(numbers: impl IntoIterator<Item = u32>) -> Vec<String> {
    numbers.into_iter().map(|number| format!("id-{number}")).collect()
}

#[test]
fn a_file_that_vanishes_is_noticed_and_nothing_is_lost() {
    type Damage = fn(&Path, &Path);
    let damages: [(&str, Damage); 8] = [
        ("the folder is deleted", |state, _| fs::remove_dir_all(state).unwrap()),
        ("the folder is renamed", |state, away| fs::rename(state, away).unwrap()),
        ("the folder is replaced", |state, away| {
            fs::rename(state, away).unwrap();
            fs::create_dir(state).unwrap();
        }),
        ("the file is deleted", |state, _| fs::remove_file(state.join(FILE)).unwrap()),
        ("the file is renamed", |state, _| fs::rename(state.join(FILE), state.join("away")).unwrap()),
        ("the file is replaced by an empty one", |state, _| {
            fs::write(state.join("new"), "").unwrap();
            fs::rename(state.join("new"), state.join(FILE)).unwrap();
        }),
        ("the log is deleted", |state, _| fs::remove_file(state.join("outbox.sqlite-wal")).unwrap()),
        ("the file is replaced by something else", |state, _| {
            fs::write(state.join("new"), "no database").unwrap();
            fs::rename(state.join("new"), state.join(FILE)).unwrap();
        }),
    ];
    for (what, damage) in damages {
        let folder = tempfile::tempdir().unwrap();
        let (state, away) = (folder.path().join("state"), folder.path().join("away"));
        let outbox = Outbox::open(&state).unwrap();
        (0..3).for_each(|number| outbox.append(&entry(number)));
        damage(&state, &away);
        outbox.append(&entry(3));
        assert_eq!(after_a_kill(&state), numbered(0..4), "{what}: noticed by the next append");
        assert_eq!(outbox.status().borrow().vanished, 1, "{what}");
        assert!(outbox.status().borrow().is_on_disk() && outbox.rewound() > 0, "{what}");

        let _ = fs::remove_dir_all(&away);
        damage(&state, &away);
        outbox.tend();
        assert_eq!(after_a_kill(&state), numbered(0..4), "{what}: noticed by the maintenance");
        outbox.remove(Sink::Mqtt, &[head(&outbox, Sink::Mqtt).unwrap().0]);
        outbox.append(&entry(4));
        assert_eq!(outbox.waiting(), 4, "{what}");
        assert_eq!(drain(&outbox), (1..5).map(entry).collect::<Vec<_>>(), "{what}: with their pictures");
        assert_eq!(outbox.status().borrow().vanished, 2, "{what}: once each time");
    }
}

#[test]
fn an_outbox_that_replaces_the_open_one_is_delivered_too() {
    let folder = tempfile::tempdir().unwrap();
    let (state, other) = (folder.path().join("state"), folder.path().join("other"));
    let outbox = Outbox::open(&state).unwrap();
    (0..3).for_each(|number| outbox.append(&entry(number)));
    {
        let other = Outbox::open(&other).unwrap();
        // A backup: some of the same alerts, and others.
        [2, 0, 7, 8].into_iter().for_each(|number| other.append(&entry(number)));
    }
    fs::rename(other.join(FILE), state.join(FILE)).unwrap();
    outbox.tend();
    assert_eq!(outbox.waiting(), 5);
    outbox.append(&entry(3));
    let expected = [0, 1, 2, 7, 8, 3].map(entry);
    assert_eq!(drain(&outbox), expected, "own alerts keep their order; each is there once");
    assert_eq!(outbox.waiting(), 0);
}

#[test]
fn while_another_service_has_the_file_alerts_stay_in_memory() {
    let folder = tempfile::tempdir().unwrap();
    let outbox = Outbox::open(folder.path()).unwrap();
    outbox.append(&entry(0));
    fs::remove_file(folder.path().join(FILE)).unwrap();
    let other = Outbox::open(folder.path()).unwrap();
    outbox.tend();
    outbox.append(&entry(1));
    let status = outbox.status().borrow().clone();
    assert!(status.in_memory.as_deref().is_some_and(|why| why.contains("another stakeout")), "{status:?}");
    assert_eq!(outbox.waiting(), 2);
    other.append(&entry(9));
    drop(other);
    outbox.tend();
    assert!(outbox.status().borrow().is_on_disk());
    let mut left = drain(&outbox);
    left.sort_by(|a, b| a.id.cmp(&b.id));
    assert_eq!(left, [0, 1, 9].map(entry));
}

#[test]
fn a_folder_that_cannot_be_made_again_is_tried_until_it_can() {
    let folder = tempfile::tempdir().unwrap();
    let (state, away) = (folder.path().join("state"), folder.path().join("away"));
    let outbox = Outbox::open(&state).unwrap();
    outbox.append(&entry(0));
    fs::rename(&state, &away).unwrap();
    fs::write(&state, "a file").unwrap();
    for number in 1..3 {
        outbox.append(&entry(number));
        outbox.tend();
        assert!(!outbox.status().borrow().is_on_disk());
    }
    assert_eq!(outbox.waiting(), 3);
    outbox.remove(Sink::Mqtt, &[head(&outbox, Sink::Mqtt).unwrap().0]);
    fs::remove_file(&state).unwrap();
    outbox.tend();
    assert!(outbox.status().borrow().is_on_disk());
    assert_eq!(after_a_kill(&state), numbered(1..3));
    assert_eq!(drain(&outbox), [entry(1), entry(2)]);
}

#[test]
fn an_unusable_folder_at_the_start_is_no_reason_not_to_start() {
    let folder = tempfile::tempdir().unwrap();
    let (state, usable) = (folder.path().join("state"), folder.path().join("usable"));
    let raised = |number: u32| Entry {
        mark: Some(Mark { topic: format!("{number}/state"), raised: true }),
        ..entry(number)
    };
    {
        // What an earlier run left.
        let outbox = Outbox::open(&usable).unwrap();
        (0..3).for_each(|number| outbox.append(&entry(number)));
    }
    type Damage = fn(&Path);
    let damages: [(&str, Damage); 2] = [
        ("the folder is a file", |state| fs::write(state, "").unwrap()),
        ("the file is a folder", |state| fs::create_dir_all(state.join(FILE)).unwrap()),
    ];
    for (what, damage) in damages {
        damage(&state);
        let outbox = Outbox::open(&state).unwrap();
        let status = outbox.status().borrow().clone();
        let why = status.in_memory.clone().unwrap_or_default();
        assert!(
            why.contains("state") && why.contains("state_dir"),
            "{what}: the place and the remedy: {why}"
        );
        (3..6).for_each(|number| outbox.append(&raised(number)));
        assert_eq!((outbox.waiting(), outbox.marks().len()), (3, 0), "{what}");
        // One is delivered before the disk works.
        let (first, _) = head(&outbox, Sink::Mqtt).unwrap();
        outbox.remove(Sink::Mqtt, &[first]);
        outbox.tend();
        assert!(!outbox.status().borrow().is_on_disk(), "{what}");

        fs::remove_file(&state).or_else(|_| fs::remove_dir_all(&state)).unwrap();
        fs::create_dir(&state).unwrap();
        fs::copy(usable.join(FILE), state.join(FILE)).unwrap();
        let before = outbox.rewound();
        outbox.tend();
        assert!(outbox.status().borrow().is_on_disk() && outbox.rewound() > before, "{what}");
        assert_eq!(outbox.marks().len(), 3, "{what}: also that of the delivered alert");
        outbox.append(&entry(6));
        let expected = numbered([0, 1, 2, 4, 5, 6]);
        assert_eq!(after_a_kill(&state), expected, "{what}: the older ones first");
        assert_eq!(ids(&drain(&outbox)), expected, "{what}");
        drop(outbox);
        fs::remove_dir_all(&state).unwrap();
    }
}

#[test]
fn numbers_of_alerts_in_memory_do_not_depend_on_the_clock() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    // Twice in a row: the file has the numbers of the first time then.
    for round in 0..2 {
        let clocks = Clocks::at(if round == 0 { YEAR } else { 0 }, false);
        fs::rename(&state, folder.path().join("away")).unwrap_or_default();
        fs::write(&state, "").unwrap();
        let outbox = clocks.open(&state);
        (0..2).for_each(|number| outbox.append(&entry(2 * round + number)));
        fs::remove_file(&state).unwrap();
        fs::rename(folder.path().join("away"), &state).unwrap_or_default();
        outbox.tend();
        assert!(outbox.status().borrow().is_on_disk());
        let order: Vec<_> = (0..2 * round + 2).collect();
        assert_eq!(after_a_kill(&state), numbered(order), "round {round}");
    }
}

#[test]
fn a_heartbeat_follows_the_alerts_that_were_raised_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let outbox = Outbox::open(folder.path()).unwrap();
    assert_eq!(outbox.take_heartbeat(|_| true), None);
    outbox.append(&entry(0));
    outbox.beat(Timestamp::UNIX_EPOCH);
    let (last, _) = head(&outbox, Sink::Mqtt).unwrap();
    assert_eq!(outbox.take_heartbeat(|after| after < last), None, "it waits");
    let later = Timestamp::MAX;
    outbox.beat(later);
    let heartbeat = outbox.take_heartbeat(|after| after == last).unwrap();
    assert_eq!((heartbeat.time, heartbeat.waiting), (later, 1), "only the newest");
    assert_eq!(outbox.take_heartbeat(|_| true), None, "once");
}

#[test]
fn a_second_process_cannot_open_the_outbox_and_a_newer_format_is_not_touched() {
    let folder = tempfile::tempdir().unwrap();
    let outbox = Outbox::open(folder.path()).unwrap();
    let error = Outbox::open(folder.path()).unwrap_err();
    assert!(matches!(error, Error::InUse { .. }), "{error:?}");
    drop(outbox);

    let connection = Connection::open(folder.path().join(FILE)).unwrap();
    connection.execute_batch("PRAGMA user_version = 3").unwrap();
    drop(connection);
    let error = Outbox::open(folder.path()).unwrap_err();
    assert!(matches!(error, Error::Newer { found: 3, .. }), "{error:?}");
}

#[test]
fn the_state_of_a_label_outlives_its_alerts() {
    let folder = tempfile::tempdir().unwrap();
    let outbox = Outbox::open(folder.path()).unwrap();
    let marked = |number: u32, label: &str, raised: bool| Entry {
        mark: Some(Mark { topic: format!("{label}/state"), raised }),
        ..entry(number)
    };
    assert_eq!(outbox.marks(), []);
    outbox.append_all(vec![marked(1, "a", true), marked(2, "b", true), marked(3, "a", false)]);
    outbox.append(&marked(4, "c", true));
    drain(&outbox);
    drop(outbox);

    let outbox = Outbox::open(folder.path()).unwrap();
    let mark = |label: &str, raised, number| (format!("{label}/state"), raised, entry(number).payload);
    assert_eq!(outbox.marks(), [mark("a", false, 1), mark("b", true, 2), mark("c", true, 4)]);
    outbox.forget_marks(&["b/state".to_owned()]);
    outbox.append(&marked(5, "a", true));
    assert_eq!(outbox.marks(), [mark("a", true, 5), mark("c", true, 4)]);

    outbox.move_marks(&[("c/state".to_owned(), "d/state".to_owned())]);
    assert_eq!(outbox.marks(), [mark("a", true, 5), mark("d", true, 4)]);
    outbox.move_marks(&[("a/state".to_owned(), "d/state".to_owned())]);
    assert_eq!(outbox.marks(), [mark("d", true, 4)], "what is there already is newer");
}
