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
    clip::MOST_CLIPS,
    error::FolderError,
    inventory::Inventory,
    pace::Pace,
    pending::{self, Evidence},
    seen::{Verdict, Version},
    settings::{After, Existing, Folder, Links},
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
    start_with(&Folder { existing, after, ..Folder::at(folder.path()) }, pace, None)
}

fn start_with(settings: &Folder, pace: Pace, state_dir: Option<PathBuf>) -> Running {
    let settings = settings.clone();
    let (sender, frames) = mpsc::channel(SLOTS);
    let (status, mut online) = status::channel(Status::Offline);
    let (stop, counts) = (CancellationToken::new(), Arc::new(Counts::default()));
    let context = Context {
        frames: sender,
        slots: Arc::new(Semaphore::new(SLOTS)),
        stop: stop.clone(),
        status,
        counts: Arc::clone(&counts),
        state_dir,
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
    let mut running =
        start_with(&Folder { links: Links::Follow, ..Folder::at(folder.path()) }, hurried(), None);
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

#[test]
fn lost_frames_and_waiting_clips_leave_nothing_behind_however_many_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let mut running = start(&folder, Existing::Skip, After::Delete, hurried());
    for number in 0..30 {
        fs::write(folder.path().join(number.to_string()), jpeg(8)).unwrap();
        drop(running.next()); // lost: it is never done
    }
    let (_, in_flight) = running.stop();
    assert!(in_flight.len() <= SLOTS, "{in_flight:?}");

    let context = Context::detached("inbox", Limits::of(1_000_000));
    let mut source = FolderSource::new(&Folder::at(folder.path()));
    source.begin(&context).unwrap();
    let add = |source: &mut FolderSource, name: &str| {
        let path = folder.path().join(name);
        fs::write(&path, "a clip of another kind").unwrap();
        let version = Version::of(&fs::metadata(&path).unwrap());
        source.inventory.pending.notice(&path, version, Evidence::Complete, tokio::time::Instant::now());
    };
    add(&mut source, "first.mp4");
    let (path, candidate) = std::iter::from_fn(|| source.inventory.pending.pop())
        .find(|(path, _)| path.ends_with("first.mp4"))
        .unwrap();
    for number in 0..MOST_CLIPS {
        source.waiting_clips.push_back((folder.path().join(format!("{number}.mp4")), candidate));
    }
    let mut file = source.open(&path).unwrap().file;
    assert!(source.takes_as_clip(&path, candidate, &mut file, &context));
    assert!(source.clips_left_out, "a scan finds it when there is room");
    assert_eq!((source.waiting_clips.len(), source.in_flight.len()), (MOST_CLIPS, 0));
    assert_eq!(source.inventory.seen.judge(&path, candidate.version), Verdict::New);
}

#[test]
fn files_that_cannot_be_moved_are_scored_once() {
    let folder = tempfile::tempdir().unwrap();
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("file"), "").unwrap();
    let to = outside.path().join("file/is no folder");
    let mut running = start(&folder, Existing::Skip, After::Move(to), hurried());
    fs::write(folder.path().join("a"), jpeg(8)).unwrap();
    assert_eq!(running.name(), "a");
    fs::write(folder.path().join("b"), jpeg(9)).unwrap();
    assert_eq!(running.name(), "b");
    let marker = running.names_until_marker(&folder);
    assert_eq!(marker, [""; 0]);
    running.stop();
}

/// A member of the group exchanges a sub-folder and the pictures in it for links to the state folder while pictures arrive.
#[test]
fn the_state_folder_survives_everything_that_is_done_to_the_watched_folder() {
    let world = tempfile::tempdir().unwrap();
    let at = |path: &str| world.path().join(path);
    for path in ["inbox/sub", "state"] {
        fs::create_dir_all(at(path)).unwrap();
    }
    // Pictures, so that following a link would send, delete and move them.
    let private = jpeg(77);
    for name in ["a.jpg", "b.jpg"] {
        fs::write(at("state").join(name), &private).unwrap();
    }
    for (after, links) in [
        (After::Delete, Links::Ignore),
        (After::Move(at("inbox/done")), Links::Ignore),
        (After::Delete, Links::Follow),
        (After::Move(at("done")), Links::Follow),
    ] {
        let settings = Folder { after, links, existing: Existing::Process, ..Folder::at(at("inbox")) };
        let patience = pending::Patience { settle: Duration::from_millis(1), ..hurried().patience };
        let pace = Pace { patience, scan: Duration::from_millis(5), scan_again: Duration::ZERO, ..hurried() };
        let mut running = start_with(&settings, pace, Some(at("state")));
        for round in 0..300 {
            let (sub, aside) = (at("inbox/sub"), at("inbox/aside"));
            fs::write(sub.join("a.jpg"), jpeg(8 + round % 8)).unwrap();
            fs::rename(&sub, &aside).unwrap();
            symlink(at("state"), &sub).unwrap();
            let _ = fs::remove_file(aside.join("b.jpg"));
            let _ = symlink(at("state/b.jpg"), aside.join("b.jpg"));
            while let Ok(frame) = running.frames.try_recv() {
                assert_ne!(frame.picture.width, 77, "a private picture was sent: {links:?}");
                frame.slot.done();
            }
            fs::remove_file(&sub).unwrap();
            fs::rename(&aside, &sub).unwrap();
        }
        fs::write(at("inbox/last.jpg"), jpeg(50)).unwrap();
        while !running.name().ends_with("last.jpg") {}
        running.stop();
        for name in ["a.jpg", "b.jpg"] {
            assert_eq!(fs::read(at("state").join(name)).unwrap(), private, "{name} {links:?}");
        }
        let left =
            fs::read_dir(at("state")).unwrap().map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>();
        let folders = left.iter().filter(|name| name.to_string_lossy().starts_with("folder-")).count();
        assert_eq!(left.len(), 2 + folders, "nothing was moved there: {left:?}");
    }
}

#[test]
fn a_folder_in_the_state_folder_is_not_watched_and_nothing_is_moved_there() {
    let world = tempfile::tempdir().unwrap();
    let at = |path: &str| world.path().join(path);
    for path in ["state/inbox", "inbox"] {
        fs::create_dir_all(at(path)).unwrap();
    }
    symlink(at("state"), at("alias")).unwrap();
    let to_state = |to: &str| After::Move(at(to));
    let cases = [
        ("state", After::Keep, false),
        ("state/inbox", After::Keep, false),
        ("alias/inbox", After::Delete, false),
        ("inbox", to_state("state/done"), false),
        ("inbox", to_state("alias/done/deep"), false),
        ("inbox", to_state("done"), true),
    ];
    for (folder, after, is_good) in cases {
        let settings = Folder { after: after.clone(), ..Folder::at(at(folder)) };
        let context = Context { state_dir: Some(at("state")), ..Context::detached("inbox", Limits::of(1)) };
        let begun = FolderSource::new(&settings).begin(&context);
        assert_eq!(begun.is_ok(), is_good, "{folder} {after:?}");
        if let Err(error) = begun {
            assert!(matches!(error, FolderError::InStateFolder(_)), "{error}");
        }
    }
}
