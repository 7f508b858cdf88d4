//! The folder source with real files: every file exactly once, whole, whatever happens to the folder.
//!
//! A positive fact is waited for with a generous deadline. That something is never sent is shown by a marker that is
//! made later and takes the slowest way in (a hard link, which has to settle).

#![allow(clippy::unwrap_used, reason = "these are tests")]

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Write,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::Arc,
    thread::{JoinHandle, sleep},
    time::{Duration, Instant, SystemTime},
};

use stakeout::{
    config::{After, Existing, Folder, Source, SourceKind},
    frame::Frame,
    source::{Context, Counts, SLOTS, Status, kinds::folder::FolderSource, spawn},
};
use tempfile::TempDir;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;

const DEADLINE: Duration = Duration::from_secs(20);
/// The last by name among files of the same age.
const MARKER: &str = "zz-marker.png";

/// A PNG that is told apart by its width.
fn png(width: u32) -> Vec<u8> {
    let pixel = |x: u32, y: u32| [x, y, x * y].map(|value| (value % 251) as u8);
    let pixels = (0..16).flat_map(|y| (0..width).flat_map(move |x| pixel(x, y))).collect::<Vec<_>>();
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, 16);
    encoder.set_color(png::ColorType::Rgb);
    encoder.write_header().unwrap().write_image_data(&pixels).unwrap();
    bytes
}

/// A folder to watch, and one beside it on the same file system.
struct Place {
    _both: TempDir,
    inbox: PathBuf,
    outside: PathBuf,
}

fn place() -> Place {
    let both = tempfile::tempdir().unwrap();
    let (inbox, outside) = (both.path().join("inbox"), both.path().join("outside"));
    fs::create_dir(&inbox).unwrap();
    fs::create_dir(&outside).unwrap();
    Place { _both: both, inbox, outside }
}

fn settings(path: &Path) -> Folder {
    Folder { path: path.to_path_buf(), existing: Existing::Skip, after: After::Keep, poll: None }
}

fn context() -> (Context, mpsc::Receiver<Frame>, watch::Receiver<Status>) {
    let (frames, received) = mpsc::channel(SLOTS);
    let (status, seen_status) = watch::channel(Status::Offline);
    let context = Context {
        begun: CancellationToken::new(),
        name: "inbox".into(),
        frames,
        slots: Arc::new(Semaphore::new(SLOTS)),
        stop: CancellationToken::new(),
        status,
        counts: Arc::new(Counts::default()),
        max_pixels: 1_000_000,
        topics: None,
    };
    (context, received, seen_status)
}

/// A running source.
struct Running {
    frames: mpsc::Receiver<Frame>,
    status: watch::Receiver<Status>,
    stop: CancellationToken,
    counts: Arc<Counts>,
    thread: Option<JoinHandle<()>>,
}

/// Starts a source without waiting for anything.
fn launch(folder: Folder) -> Running {
    let (context, frames, status) = context();
    let (stop, counts) = (context.stop.clone(), Arc::clone(&context.counts));
    let source = Source {
        name: "inbox".to_owned(),
        kind: SourceKind::Folder(folder),
        regions: Vec::new(),
        watch: Vec::new(),
        adjusted: Vec::new(),
        scores: false,
        baseline: None,
    };
    let thread = Some(spawn(&source, context).unwrap());
    Running { frames, status, stop, counts, thread }
}

/// Starts a source and waits until it watches.
fn start(folder: Folder) -> Running {
    let running = launch(folder);
    running.wait_for(Status::Online);
    running
}

impl Running {
    fn wait_for(&self, status: Status) {
        wait_until(&format!("status {}", status.as_str()), || *self.status.borrow() == status);
    }

    /// The next frame.
    fn next(&mut self) -> Frame {
        let deadline = Instant::now() + DEADLINE;
        loop {
            match self.frames.try_recv() {
                Ok(frame) => return frame,
                Err(_) => assert!(Instant::now() < deadline, "no frame: {}", self.counts.snapshot()),
            }
            sleep(Duration::from_millis(2));
        }
    }

    /// The names of the next frames, which go the whole way.
    fn names(&mut self, count: usize) -> Vec<String> {
        (0..count).map(|_| self.name()).collect()
    }

    fn name(&mut self) -> String {
        let frame = self.next();
        let name = Path::new(&frame.origin).file_name().unwrap().to_str().unwrap().to_owned();
        frame.slot.done();
        name
    }

    /// The names of all frames until a marker, made now in `place`, was sent.
    fn names_until_marker(&mut self, place: &Place) -> Vec<String> {
        let made = place.outside.join(MARKER);
        fs::write(&made, png(1)).unwrap();
        fs::hard_link(&made, place.inbox.join(MARKER)).unwrap();
        let mut names = Vec::new();
        loop {
            match self.name() {
                name if name == MARKER => break,
                name => names.push(name),
            }
        }
        fs::remove_file(made).unwrap();
        let _ = fs::remove_file(place.inbox.join(MARKER)); // the source may do it, too
        names.sort();
        names
    }

    fn failures(&self) -> BTreeMap<&'static str, u64> {
        self.counts.snapshot().failed
    }
}

impl Drop for Running {
    /// Stops the source, which takes no second whatever it is doing.
    fn drop(&mut self) {
        self.stop.cancel();
        let told = Instant::now();
        let ended = self.thread.take().unwrap().join();
        if !std::thread::panicking() {
            ended.unwrap();
            assert!(told.elapsed() < Duration::from_secs(1), "stopped after {:?}", told.elapsed());
            assert_eq!(*self.status.borrow(), Status::Offline);
        }
    }
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain for: {what}");
        sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_written_file_becomes_a_frame_with_its_path_and_time() {
    let place = place();
    let mut running = start(settings(&place.inbox));
    let path = place.inbox.join("a picture without an extension");
    fs::write(&path, png(40)).unwrap();
    let frame = running.next();
    assert_eq!(&*frame.source, "inbox");
    assert_eq!(frame.origin, path.display().to_string());
    assert_eq!((frame.picture.width, frame.picture.height), (40, 16));
    let modified = jiff::Timestamp::try_from(fs::metadata(&path).unwrap().modified().unwrap()).unwrap();
    assert_eq!(frame.captured_at, modified);

    let future = File::create(place.inbox.join("from the future")).unwrap();
    (&future).write_all(&png(41)).unwrap();
    future.set_modified(SystemTime::now() + Duration::from_secs(3600)).unwrap();
    drop(future);
    assert!(running.next().captured_at <= jiff::Timestamp::now());
}

#[test]
fn a_file_is_never_taken_half_written() {
    let place = place();
    let mut running = start(settings(&place.inbox));
    let bytes = png(40);
    let (half, rest) = bytes.split_at(bytes.len() / 2);
    let mut slow = File::create(place.inbox.join("slow.png")).unwrap();
    slow.write_all(half).unwrap();
    assert_eq!(running.names_until_marker(&place), [""; 0]);
    assert_eq!(running.counts.snapshot().seen, 1, "only the marker was looked at");
    slow.write_all(rest).unwrap();
    drop(slow);
    assert_eq!(running.names_until_marker(&place), ["slow.png"]);
    assert!(running.failures().is_empty());
}

#[test]
fn a_file_that_was_found_half_written_is_tried_again_when_it_is_closed() {
    let place = place();
    let mut running = start(settings(&place.inbox));
    let camera = place.outside.join("camera");
    fs::create_dir(&camera).unwrap();
    let bytes = png(40);
    let mut slow = File::create(camera.join("slow.png")).unwrap();
    slow.write_all(&bytes[..bytes.len() / 2]).unwrap();
    fs::rename(camera, place.inbox.join("camera")).unwrap();
    assert_eq!(running.names_until_marker(&place), [""; 0]);
    slow.write_all(&bytes[bytes.len() / 2..]).unwrap();
    drop(slow);
    assert_eq!(running.names_until_marker(&place), ["slow.png"]);
    assert!(running.failures().is_empty());
}

#[test]
fn files_moved_in_renamed_and_linked_are_taken_once() {
    let place = place();
    let mut running = start(settings(&place.inbox));
    let (inside, outside) = (|name: &str| place.inbox.join(name), |name: &str| place.outside.join(name));
    for name in ["moved.png", "hard.png", "soft.png"] {
        fs::write(outside(name), png(10)).unwrap();
    }
    fs::rename(outside("moved.png"), inside("moved.png")).unwrap();
    fs::hard_link(outside("hard.png"), inside("hard.png")).unwrap();
    symlink(outside("soft.png"), inside("soft.png")).unwrap();
    symlink(outside("nowhere.png"), inside("broken.png")).unwrap();
    for (number, temporary) in [".rsync.png.Xy12", "browser.crdownload", "tool.PART"].into_iter().enumerate()
    {
        fs::write(inside(temporary), png(20)).unwrap();
        fs::rename(inside(temporary), inside(&format!("final-{number}.png"))).unwrap();
    }
    // An unknown temporary name may be taken before or after the rename, but once.
    fs::write(inside("unknown-temporary"), png(30)).unwrap();
    fs::rename(inside("unknown-temporary"), inside("unknown-final")).unwrap();
    fs::write(inside(".hidden.png"), png(10)).unwrap();

    let names = running.names_until_marker(&place);
    let (unknown, known): (Vec<_>, Vec<_>) = names.into_iter().partition(|name| name.starts_with("unknown"));
    assert_eq!(known, ["final-0.png", "final-1.png", "final-2.png", "hard.png", "moved.png", "soft.png"]);
    assert_eq!(unknown.len(), 1, "{unknown:?}");
    fs::rename(inside("moved.png"), inside("renamed.png")).unwrap();
    assert_eq!(running.names_until_marker(&place), [""; 0], "renamed inside the folder");
    assert!(running.failures().is_empty());
}

#[test]
fn a_rewritten_file_is_taken_again() {
    let place = place();
    let mut running = start(settings(&place.inbox));
    let path = place.inbox.join("snapshot.png");
    for width in [10, 20, 20, 30] {
        fs::write(&path, png(width)).unwrap();
        let frame = running.next();
        assert_eq!(frame.picture.width, width);
        frame.slot.done();
    }
    // Replaced by another file.
    fs::write(place.outside.join("new"), png(40)).unwrap();
    fs::rename(place.outside.join("new"), &path).unwrap();
    assert_eq!(running.names_until_marker(&place), ["snapshot.png"]);
    File::open(&path).unwrap();
    assert_eq!(running.names_until_marker(&place), [""; 0], "only read");
}

#[test]
fn files_in_folders_that_were_just_made_are_taken_once() {
    let place = place();
    let mut running = start(settings(&place.inbox));
    let mut expected = Vec::new();
    for number in 0..50 {
        let folder = place.inbox.join(format!("{number}/deep/deeper"));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(format!("{number:02}.png")), png(10)).unwrap();
        expected.push(format!("{number:02}.png"));
    }
    assert_eq!(running.names_until_marker(&place), expected);
    fs::write(place.inbox.join("7/deep/deeper/later.png"), png(10)).unwrap();
    fs::rename(place.inbox.join("8"), place.inbox.join("renamed")).unwrap();
    assert_eq!(running.names_until_marker(&place), ["later.png"], "a renamed folder brings nothing new");
    fs::write(place.inbox.join("renamed/deep/x.png"), png(10)).unwrap();
    assert_eq!(running.names_until_marker(&place), ["x.png"]);
}

#[test]
fn a_folder_that_is_moved_in_brings_its_files_and_one_that_is_moved_out_none() {
    let place = place();
    let mut running = start(settings(&place.inbox));
    let (outside, inside) = (place.outside.join("day/camera"), place.inbox.join("day/camera"));
    fs::create_dir_all(&outside).unwrap();
    for name in ["1.png", "2.png"] {
        fs::write(outside.join(name), png(10)).unwrap();
    }
    fs::rename(place.outside.join("day"), place.inbox.join("day")).unwrap();
    assert_eq!(running.names_until_marker(&place), ["1.png", "2.png"]);
    fs::write(inside.join("3.png"), png(10)).unwrap();
    assert_eq!(running.names_until_marker(&place), ["3.png"]);
    fs::rename(place.inbox.join("day"), place.outside.join("day")).unwrap();
    fs::write(outside.join("4.png"), png(10)).unwrap();
    assert_eq!(running.names_until_marker(&place), [""; 0]);
}

#[test]
fn links_to_folders_are_followed_and_cycles_end() {
    let place = place();
    let (real, linked) = (place.inbox.join("real"), place.outside.join("linked"));
    fs::create_dir(&real).unwrap();
    fs::create_dir(&linked).unwrap();
    fs::write(real.join("a.png"), png(10)).unwrap();
    fs::write(linked.join("b.png"), png(10)).unwrap();
    symlink(&linked, place.inbox.join("link")).unwrap();
    symlink(&place.inbox, real.join("cycle")).unwrap();
    symlink(&real, place.inbox.join("0 again")).unwrap();
    symlink("myself", place.inbox.join("myself")).unwrap();
    let mut running = start(Folder { existing: Existing::Process, ..settings(&place.inbox) });
    assert_eq!(running.names_until_marker(&place), ["a.png", "b.png"]);

    fs::write(linked.join("c.png"), png(10)).unwrap();
    let later = place.outside.join("later");
    fs::create_dir(&later).unwrap();
    fs::write(later.join("d.png"), png(10)).unwrap();
    symlink(&later, place.inbox.join("later")).unwrap();
    symlink(&place.inbox, later.join("cycle")).unwrap();
    assert_eq!(running.names_until_marker(&place), ["c.png", "d.png"]);
    fs::write(later.join("e.png"), png(10)).unwrap();
    assert_eq!(running.names_until_marker(&place), ["e.png"]);
}

#[test]
fn a_burst_of_a_thousand_files_is_taken_exactly_once_within_the_slots() {
    let place = place();
    let mut running = start(settings(&place.inbox));
    let bytes = png(8);
    let names = (0..1000).map(|number| format!("{number:04}.png")).collect::<Vec<_>>();
    for name in &names {
        fs::write(place.inbox.join(name), &bytes).unwrap();
    }
    // Nothing is done yet: the source waits for its slots, and loses nothing by it.
    let held = (0..SLOTS).map(|_| running.next()).collect::<Vec<_>>();
    assert!(running.frames.try_recv().is_err());
    let mut taken = held.iter().map(|frame| frame.origin.clone()).collect::<Vec<_>>();
    held.into_iter().for_each(|frame| frame.slot.done());
    while taken.len() < names.len() {
        let frame = running.next();
        taken.push(frame.origin.clone());
        frame.slot.done();
    }
    assert_eq!(running.names_until_marker(&place), [""; 0]);
    taken.sort();
    let expected = names.iter().map(|name| place.inbox.join(name).display().to_string());
    assert!(taken.into_iter().eq(expected));
}

#[test]
fn a_folder_that_is_not_there_yet_is_waited_for() {
    let place = place();
    let (folder, made) = (place.inbox.join("deep/later"), place.outside.join("later"));
    fs::create_dir(place.inbox.join("deep")).unwrap();
    fs::create_dir(&made).unwrap();
    fs::write(made.join("a.png"), png(10)).unwrap();
    let (context, mut frames, status) = context();
    let mut source = FolderSource::new(&settings(&folder));
    let appears = async {
        assert_eq!(*status.borrow(), Status::Offline);
        fs::rename(&made, &folder).unwrap();
        let moved = Instant::now();
        // Its files are new, whatever `existing` says.
        assert_eq!(frames.recv().await.unwrap().picture.width, 10);
        assert!(moved.elapsed() < Duration::from_secs(5), "{:?}", moved.elapsed());
        assert_eq!(*status.borrow(), Status::Online);
        fs::write(folder.join("b.png"), png(20)).unwrap();
        assert_eq!(frames.recv().await.unwrap().picture.width, 20);
        context.stop.cancel();
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    // The source comes first: it has looked, and found nothing, before the folder appears.
    let both = async { tokio::join!(biased; source.run_once(&context), appears) };
    let (ended, ()) = runtime.block_on(async { tokio::time::timeout(DEADLINE, both).await }).unwrap();
    ended.unwrap();
}

#[test]
fn a_folder_that_is_removed_and_made_again_is_watched_again() {
    let place = place();
    let folder = place.inbox.join("watched");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("a.png"), png(10)).unwrap();
    let mut running = start(settings(&folder));
    // At once: nothing but the inode, which may even be the same, tells the one from the other.
    fs::remove_dir_all(&folder).unwrap();
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("a.png"), png(20)).unwrap();
    assert_eq!(running.name(), "a.png");
    fs::write(folder.join("b.png"), png(10)).unwrap();
    assert_eq!(running.name(), "b.png");
    // And with a pause.
    fs::rename(&folder, place.outside.join("away")).unwrap();
    running.wait_for(Status::Offline);
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("c.png"), png(10)).unwrap();
    assert_eq!(running.name(), "c.png");
    running.wait_for(Status::Online);
}

#[test]
fn polling_needs_no_notices() {
    let place = place();
    fs::write(place.inbox.join("old.png"), png(10)).unwrap();
    let poll = Some(Duration::from_millis(150));
    let mut running = start(Folder { poll, ..settings(&place.inbox) });
    fs::create_dir(place.inbox.join("sub")).unwrap();
    fs::write(place.inbox.join("sub/a.png"), png(10)).unwrap();
    let bytes = png(40);
    let mut slow = File::create(place.inbox.join("slow.png")).unwrap();
    slow.write_all(&bytes[..bytes.len() / 2]).unwrap();
    assert_eq!(running.name(), "a.png");
    slow.write_all(&bytes[bytes.len() / 2..]).unwrap();
    drop(slow);
    assert_eq!(running.name(), "slow.png");
    fs::write(place.inbox.join("sub/a.png"), png(20)).unwrap();
    assert_eq!(running.next().picture.width, 20, "rewritten");
    fs::rename(place.inbox.join("sub"), place.inbox.join("renamed")).unwrap();
    assert_eq!(running.names_until_marker(&place), [""; 0], "renamed unobserved");
    fs::remove_dir_all(&place.inbox).unwrap();
    running.wait_for(Status::Offline);
    fs::create_dir(&place.inbox).unwrap();
    fs::write(place.inbox.join("b.png"), png(10)).unwrap();
    assert_eq!(running.name(), "b.png");
    assert!(running.failures().is_empty());
}

#[test]
fn existing_files_are_skipped_or_processed_oldest_first() {
    let place = place();
    fs::create_dir(place.inbox.join("sub")).unwrap();
    for (name, age) in [("b.png", 10), ("sub/oldest.png", 30), ("a.png", 10), ("middle.png", 20)] {
        fs::write(place.inbox.join(name), png(10)).unwrap();
        let file = File::options().write(true).open(place.inbox.join(name)).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 - age)).unwrap();
    }
    let mut skips = start(settings(&place.inbox));
    assert_eq!(skips.names_until_marker(&place), [""; 0]);
    drop(skips);
    let mut processes = start(Folder { existing: Existing::Process, ..settings(&place.inbox) });
    assert_eq!(processes.names(4), ["oldest.png", "middle.png", "a.png", "b.png"]);
    assert_eq!(processes.names_until_marker(&place), [""; 0]);
}

#[test]
fn broken_files_are_counted_by_cause_and_stop_nothing() {
    let place = place();
    let inside = |name: &str| place.inbox.join(name);
    let mut running = start(Folder { after: After::Delete, ..settings(&place.inbox) });
    fs::write(inside("empty.png"), "").unwrap();
    fs::write(inside("text.png"), "no picture at all").unwrap();
    fs::write(inside("truncated.png"), &png(40)[..100]).unwrap();
    fs::write(inside("bomb.png"), png(65_000)).unwrap();
    fs::write(inside("good.png"), png(10)).unwrap();
    // None of these is a file, and the pipe would block whoever opens it.
    std::process::Command::new("mkfifo").arg(inside("pipe.png")).status().unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(inside("socket.png")).unwrap();
    symlink("/dev/zero", inside("device.png")).unwrap();
    assert_eq!(running.name(), "good.png");
    let expected = BTreeMap::from([("empty", 1), ("not_a_picture", 1), ("too_large", 1), ("truncated", 1)]);
    wait_until("every cause", || running.failures() == expected);
    wait_until("the deletion", || !inside("good.png").exists());
    assert!(inside("truncated.png").exists(), "what failed stays");

    fs::write(inside("text.png"), png(20)).unwrap();
    assert_eq!(running.names_until_marker(&place), ["text.png"], "mended");
    assert_eq!(running.counts.snapshot().failed, expected, "each was told once");
}

#[test]
fn a_file_is_deleted_when_its_frame_is_done_and_not_before() {
    let place = place();
    let mut running = start(Folder { after: After::Delete, ..settings(&place.inbox) });
    let inside = |name: &str| place.inbox.join(name);
    let mut under_way = |name: &str| {
        fs::write(inside(name), png(10)).unwrap();
        running.next()
    };
    let (lost, changed, done) = (under_way("lost.png"), under_way("changed.png"), under_way("done.png"));
    drop(lost);
    // Rewritten while its frame was under way: this version is another frame's.
    fs::write(inside("changed.png"), png(20)).unwrap();
    let newer = running.next();
    changed.slot.done();
    assert!(inside("done.png").exists());
    done.slot.done();
    wait_until("the deletion", || !inside("done.png").exists());
    assert!(inside("changed.png").exists() && inside("lost.png").exists());
    newer.slot.done();
    wait_until("the deletion", || !inside("changed.png").exists());
    fs::write(inside("done.png"), png(10)).unwrap();
    assert_eq!(running.name(), "done.png", "the same name once more");

    // A frame that goes its way after the source ended still has its file finished.
    fs::write(inside("last.png"), png(10)).unwrap();
    let last = running.next();
    drop(running);
    last.slot.done();
    assert!(!inside("last.png").exists());
    assert!(inside("lost.png").exists());
}

#[test]
fn files_are_moved_into_a_folder_inside_and_never_taken_from_it() {
    let place = place();
    let target = place.inbox.join("done");
    let after = After::Move(target.clone());
    let mut running = start(Folder { after, existing: Existing::Process, ..settings(&place.inbox) });
    for width in [10, 20, 30] {
        fs::write(place.inbox.join("a.png"), png(width)).unwrap();
        assert_eq!(running.name(), "a.png");
        wait_until("the move", || !place.inbox.join("a.png").exists());
    }
    fs::write(target.join("put there by hand.png"), png(40)).unwrap();
    assert_eq!(running.names_until_marker(&place), [""; 0]);
    for (name, width) in [("a.png", 10), ("a-1.png", 20), ("a-2.png", 30)] {
        assert_eq!(fs::read(target.join(name)).unwrap(), png(width), "{name}");
    }
}

#[test]
fn it_stops_at_once_while_it_waits() {
    let place = place();
    // For the folder...
    drop(launch(settings(&place.inbox.join("nowhere"))));
    // ...for files...
    drop(start(settings(&place.inbox)));
    // ...for a slot (`Running` measures).
    let mut running = start(settings(&place.inbox));
    for number in 0..2 * SLOTS {
        fs::write(place.inbox.join(number.to_string()), png(10)).unwrap();
    }
    let held = (0..SLOTS).map(|_| running.next()).collect::<Vec<_>>();
    drop(running);
    drop(held);
}

#[test]
fn a_path_that_is_no_folder_is_told_with_its_remedy_and_watched_when_it_becomes_one() {
    let place = place();
    let path = place.inbox.join("file");
    fs::write(&path, "").unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    for below in [path.clone(), path.join("below")] {
        let (context, _frames, _status) = context();
        let error = runtime.block_on(FolderSource::new(&settings(&below)).run_once(&context)).unwrap_err();
        let expected =
            format!("{} is not a folder: name the folder that holds the pictures", below.display());
        assert_eq!(error.to_string(), expected);
    }
    let mut running = launch(settings(&path));
    sleep(Duration::from_millis(100));
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    running.wait_for(Status::Online);
    fs::write(path.join("a.png"), png(10)).unwrap();
    assert_eq!(running.name(), "a.png");
}
