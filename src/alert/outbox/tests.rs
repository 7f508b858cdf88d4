use std::path::Path;

use rusqlite::Connection;

use super::*;

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

#[test]
fn old_alerts_are_dropped_unless_their_age_is_unknown() {
    let folder = tempfile::tempdir().unwrap();
    let outbox = Outbox::open(folder.path()).unwrap();
    (0..3).for_each(|number| outbox.append(&entry(number)));
    drop(outbox);
    let connection = Connection::open(folder.path().join(FILE)).unwrap();
    let week = 7 * 24 * 3600 * 1000;
    connection.execute("UPDATE alerts SET created = created - ?1 WHERE seq = 1", [week + 60_000]).unwrap();
    // As if the clock had never been set.
    connection.execute("UPDATE alerts SET created = 1000 WHERE seq = 2", []).unwrap();
    drop(connection);
    let outbox = Outbox::open(folder.path()).unwrap();
    assert_eq!((outbox.dropped(), outbox.waiting()), (1, 2));
    assert_eq!(drain(&outbox), [entry(1), entry(2)]);
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

#[test]
fn errors_name_the_place_and_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let error = Outbox::open(&file.join("state")).unwrap_err().to_string();
    assert!(error.contains("file/state") && error.contains("state_dir"), "{error}");

    fs::create_dir(folder.path().join(FILE)).unwrap();
    let error = Outbox::open(folder.path()).unwrap_err().to_string();
    assert!(error.contains("cannot open the outbox") && error.contains(FILE), "{error}");
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
