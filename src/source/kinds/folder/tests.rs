//! The folder source with other intervals and limits: for what takes minutes, or needs very many files.

use std::{
    collections::BTreeSet,
    fs::{self, File, FileTimes},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, Instant, SystemTime},
};

use tempfile::TempDir;
use tokio::sync::{Semaphore, mpsc, watch as status};
use tokio_util::sync::CancellationToken;

use super::{
    error::FolderError,
    inventory::Inventory,
    pace::Pace,
    pending,
    settings::{After, Existing, Folder},
    source::FolderSource,
};
use crate::{
    frame::Frame,
    picture::{Limits, Picture},
    source::{Context, Counts, SLOTS, Status},
};

const DEADLINE: Duration = Duration::from_secs(120);

fn jpeg(width: u32) -> Vec<u8> {
    let rgb = vec![0; width as usize * 3];
    Picture::of_rgb(width, 1, rgb).to_jpeg(90).unwrap()
}

/// Scans everything ten times a second.
fn hurried() -> Pace {
    let scan = Duration::from_millis(100);
    Pace { scan, scan_again: scan, ..Pace::of(None) }
}

struct Running {
    frames: mpsc::Receiver<Frame>,
    stop: CancellationToken,
    counts: Arc<Counts>,
    thread: thread::JoinHandle<(Inventory, Vec<PathBuf>)>,
}

fn start(folder: &TempDir, existing: Existing, after: After, pace: Pace) -> Running {
    let settings = Folder { existing, after, ..Folder::at(folder.path()) };
    let (sender, frames) = mpsc::channel(SLOTS);
    let (status, mut online) = status::channel(Status::Offline);
    let (stop, counts) = (CancellationToken::new(), Arc::new(Counts::default()));
    let context = Context {
        frames: sender,
        slots: Arc::new(Semaphore::new(SLOTS)),
        stop: stop.clone(),
        status,
        counts: Arc::clone(&counts),
        ..Context::detached("inbox", Limits::of(1_000_000))
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let thread = thread::spawn(move || {
        let mut source = FolderSource::with_pace(&settings, pace);
        runtime.block_on(source.run_once(&context)).unwrap();
        source.end(&context);
        (source.inventory, source.in_flight.into_keys().collect())
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let began = online.wait_for(|status| *status == Status::Online);
    drop(runtime.block_on(async { tokio::time::timeout(DEADLINE, began).await.unwrap().unwrap() }));
    Running { frames, stop, counts, thread }
}

impl Running {
    fn next(&mut self) -> Frame {
        let deadline = Instant::now() + DEADLINE;
        loop {
            match self.frames.try_recv() {
                Ok(frame) => return frame,
                Err(_) => assert!(Instant::now() < deadline, "no frame: {}", self.counts.snapshot()),
            }
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// The name of the next frame's file; the frame counts as scored.
    fn name(&mut self) -> String {
        let frame = self.next();
        let name = Path::new(&frame.origin).file_name().unwrap().to_str().unwrap().to_owned();
        frame.slot.done();
        name
    }

    /// The names of all files until a marker that is linked now and taken a few scans later.
    /// Its name sorts behind files of the same age.
    fn names_until_marker(&mut self, folder: &TempDir) -> Vec<String> {
        let outside = tempfile::tempdir_in(folder.path().parent().unwrap()).unwrap();
        fs::write(outside.path().join("made"), jpeg(1)).unwrap();
        let marker = folder.path().join("zz-marker");
        fs::hard_link(outside.path().join("made"), &marker).unwrap();
        let mut names = Vec::new();
        loop {
            match self.name() {
                name if name == "zz-marker" => break,
                name => names.push(name),
            }
        }
        let _ = fs::remove_file(marker); // the source may delete it first
        names
    }

    fn stop(self) -> (Inventory, Vec<PathBuf>) {
        self.stop.cancel();
        self.thread.join().unwrap()
    }
}

#[test]
fn files_of_dropped_notices_are_found_by_a_scan_and_none_is_sent_twice() {
    let folder = tempfile::tempdir().unwrap();
    // Only a lost notice may cause a scan.
    let patience = pending::Patience { long: Duration::from_secs(2), ..hurried().patience };
    let pace = Pace { notices: 1, scan_again: Duration::from_millis(100), patience, ..Pace::of(None) };
    let mut running = start(&folder, Existing::Skip, After::Keep, pace);
    let bytes = jpeg(8);
    let mut expected = BTreeSet::new();
    for number in 0..300 {
        let below = folder.path().join(format!("{}", number % 7));
        fs::create_dir_all(&below).unwrap();
        fs::write(below.join(number.to_string()), &bytes).unwrap();
        expected.insert(number.to_string());
    }
    let names = (0..300).map(|_| running.name()).collect::<BTreeSet<_>>();
    assert_eq!(names, expected);
    assert_eq!(running.names_until_marker(&folder), [""; 0]);
    running.stop();
}

#[test]
fn more_files_than_may_wait_are_all_sent_and_the_oldest_first() {
    let folder = tempfile::tempdir().unwrap();
    for number in 0..50 {
        let path = folder.path().join(format!("{number:02}"));
        fs::write(&path, jpeg(8)).unwrap();
        let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 - number);
        File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();
    }
    let patience = pending::Patience { settle: Duration::from_millis(20), ..hurried().patience };
    let mut running = start(
        &folder,
        Existing::Process,
        After::Keep,
        Pace { files: 8, scan: DEADLINE, patience, ..hurried() },
    );
    let names = (0..50).map(|_| running.name()).collect::<Vec<_>>();
    assert_eq!(names.first().map(String::as_str), Some("49"));
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), 50, "{names:?}");
    assert_eq!(running.names_until_marker(&folder), [""; 0]);
    running.stop();
}

#[test]
fn a_time_that_is_set_after_closing_makes_no_new_version() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("done");
    let patience = pending::Patience { long: Duration::from_secs(1), ..hurried().patience };
    let pace = Pace { patience, ..hurried() };
    let mut running = start(&folder, Existing::Skip, After::Move(target.clone()), pace);
    // The frame is done before the new time is found, while the file is read, and after that. The kernel reports a change
    // of the time of modification alone like a write that is never closed.
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
    let modified = FileTimes::new().set_modified(time);
    for (markers, times) in
        [(0, modified.set_accessed(time)), (1, modified.set_accessed(time)), (3, modified)]
    {
        let name = format!("copied-{markers}");
        let path = folder.path().join(&name);
        fs::write(&path, jpeg(8)).unwrap();
        let frame = running.next();
        File::open(&path).unwrap().set_times(times).unwrap();
        for _ in 0..markers {
            assert_eq!(running.names_until_marker(&folder), [""; 0]);
        }
        frame.slot.done();
        let deadline = Instant::now() + DEADLINE;
        while path.exists() {
            assert!(Instant::now() < deadline, "{name} is still the file that was taken");
            thread::sleep(Duration::from_millis(5));
        }
        assert!(target.join(&name).exists());
    }
    assert_eq!(running.names_until_marker(&folder), [""; 0]);
    running.stop();
}

#[test]
fn the_target_of_a_link_is_checked() {
    let (folder, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let target = outside.path().join("later");
    symlink(&target, folder.path().join("link")).unwrap();
    let mut running = start(&folder, Existing::Skip, After::Keep, hurried());
    for width in [8, 9] {
        fs::write(&target, jpeg(width)).unwrap();
        let frame = running.next();
        assert_eq!(frame.picture.width, width);
        frame.slot.done();
    }
    running.stop();
}

#[test]
fn the_state_of_removed_files_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("sub")).unwrap();
    fs::write(folder.path().join("old"), jpeg(8)).unwrap();
    let mut running = start(&folder, Existing::Skip, After::Delete, hurried());
    for number in 0..20 {
        fs::write(folder.path().join(format!("sub/{number}")), jpeg(8)).unwrap();
        running.name();
    }
    fs::write(folder.path().join("broken"), "").unwrap();
    fs::remove_file(folder.path().join("old")).unwrap();
    assert_eq!(running.names_until_marker(&folder), [""; 0]);
    fs::remove_file(folder.path().join("broken")).unwrap();
    assert_eq!(running.names_until_marker(&folder), [""; 0]);
    let (inventory, in_flight) = running.stop();
    assert!(in_flight.is_empty(), "{in_flight:?}");
    assert!(inventory.seen.len() <= 1, "the marker at most");
}

#[test]
fn files_are_not_moved_onto_themselves() {
    let folder = tempfile::tempdir().unwrap();
    let settings = Folder { after: After::Move(folder.path().join(".")), ..Folder::at(folder.path()) };
    let context = Context::detached("inbox", Limits::of(1));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let error = runtime.block_on(FolderSource::new(&settings).run_once(&context)).unwrap_err();
    assert!(matches!(error, FolderError::MovesIntoItself(_)), "{error}");
}
