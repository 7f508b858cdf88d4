//! The folder source with real files: every file exactly once, complete, whatever happens to the folder.
//!
//! A later marker file shows that a file is not sent: the marker is a hard link, which takes the source the longest to accept.

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
    config::{After, DeviceLook, Existing, Folder, Links, PathPattern, Patterns, Source, SourceKind},
    frame::Frame,
    picture::MEMORY,
    source::{Context, Counts, Decoders, SLOTS, Status, kinds::folder::FolderSource, spawn},
};
use tempfile::TempDir;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::common::{PATIENCE, join, wait_until};

/// The last file by name among files of the same age.
const MARKER: &str = "zz-marker.png";

/// A PNG of this width.
fn png(width: u32) -> Vec<u8> {
    let pixel = |x: u32, y: u32| [x, y, x * y].map(|value| (value % 251) as u8);
    let pixels = (0..16).flat_map(|y| (0..width).flat_map(move |x| pixel(x, y))).collect::<Vec<_>>();
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, 16);
    encoder.set_color(png::ColorType::Rgb);
    encoder.write_header().unwrap().write_image_data(&pixels).unwrap();
    bytes
}

/// A folder to watch, and another folder on the same file system.
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
    Folder::at(path)
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
        problem: watch::channel(None).0,
        remedy: "",
        counts: Arc::new(Counts::default()),
        max_pixels: 1_000_000,
        mask: Arc::default(),
        decoders: Decoders::unrecorded(MEMORY),
        state_dir: None,
        topics: None,
    };
    (context, received, seen_status)
}

/// A running source.
struct Running {
    frames: mpsc::Receiver<Frame>,
    status: watch::Receiver<Status>,
    stop: CancellationToken,
    begun: CancellationToken,
    counts: Arc<Counts>,
    thread: Option<JoinHandle<()>>,
}

/// Starts a source and does not wait.
fn launch(folder: Folder) -> Running {
    launch_with(folder, None)
}

/// Starts a source that remembers what it handled in `state_dir`, and waits until it watches its folder.
fn restart(folder: Folder, state_dir: &Path) -> Running {
    let running = launch_with(folder, Some(state_dir.to_path_buf()));
    running.wait_for(Status::Online);
    running
}

fn launch_with(folder: Folder, state_dir: Option<PathBuf>) -> Running {
    let (mut context, frames, status) = context();
    context.state_dir = state_dir;
    let (stop, begun, counts) = (context.stop.clone(), context.begun.clone(), Arc::clone(&context.counts));
    let source = Source {
        name: "inbox".to_owned(),
        kind: SourceKind::Folder(folder),
        enabled: true,
        mask: Vec::new(),
        regions: Vec::new(),
        watch: Vec::new(),
        adjusted: Vec::new(),
        controlled: Vec::new(),
        scores: false,
        baseline: None,
        look: DeviceLook::default(),
        location: None,
        area: None,
    };
    let thread = Some(spawn(&source, context).unwrap());
    Running { frames, status, stop, begun, counts, thread }
}

/// Starts a source and waits until it watches its folder.
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
        let end = Instant::now() + PATIENCE;
        loop {
            match self.frames.try_recv() {
                Ok(frame) => return frame,
                Err(_) => assert!(Instant::now() < end, "no frame: {}", self.counts.snapshot()),
            }
            sleep(Duration::from_millis(2));
        }
    }

    /// The file names of the next frames, which are marked as done.
    fn names(&mut self, count: usize) -> Vec<String> {
        (0..count).map(|_| self.name()).collect()
    }

    fn name(&mut self) -> String {
        let frame = self.next();
        let name = Path::new(&frame.origin).file_name().unwrap().to_str().unwrap().to_owned();
        frame.slot.done();
        name
    }

    /// The file names of all frames before a marker that is created now in `place`.
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
        let _ = fs::remove_file(place.inbox.join(MARKER)); // the source may remove it first
        names.sort();
        names
    }

    fn failures(&self) -> BTreeMap<&'static str, u64> {
        self.counts.snapshot().failed
    }
}

impl Drop for Running {
    /// Stops the source, whatever it is doing.
    fn drop(&mut self) {
        self.stop.cancel();
        if !std::thread::panicking() {
            join("the source ends", self.thread.take().unwrap());
            assert_eq!(*self.status.borrow(), Status::Offline);
        }
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
    assert_eq!(running.counts.snapshot().seen, 1, "only the marker was opened");
    slow.write_all(rest).unwrap();
    drop(slow);
    assert_eq!(running.names_until_marker(&place), ["slow.png"]);
    assert!(running.failures().is_empty());
}

#[test]
fn a_half_written_file_in_a_moved_folder_is_taken_when_it_is_closed() {
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
    let mut running = start(Folder { links: Links::Follow, ..settings(&place.inbox) });
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
    // A file with an unknown temporary name may be taken before or after the rename, but only once.
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
fn files_in_new_folders_are_taken_once() {
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
    assert_eq!(running.names_until_marker(&place), ["later.png"], "a renamed folder has no new files");
    fs::write(place.inbox.join("renamed/deep/x.png"), png(10)).unwrap();
    assert_eq!(running.names_until_marker(&place), ["x.png"]);
}

#[test]
fn a_folder_moved_in_adds_its_files_and_a_folder_moved_out_adds_none() {
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
fn links_to_folders_are_followed_on_request_and_cycles_end() {
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
    let follow = Folder { existing: Existing::Process, links: Links::Follow, ..settings(&place.inbox) };
    let mut running = start(follow);
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
fn links_are_ignored_whenever_and_however_they_appear() {
    for poll in [None, Some(Duration::from_millis(100))] {
        for after in [After::Keep, After::Delete] {
            let place = place();
            let private = place.outside.join("private.png");
            fs::create_dir(place.outside.join("deep")).unwrap();
            fs::write(place.outside.join("deep/private.png"), png(77)).unwrap();
            fs::write(&private, png(77)).unwrap();
            fs::create_dir(place.inbox.join("sub")).unwrap();
            let link_all = |suffix: &str| {
                for (target, link) in [
                    (&*private, format!("file-{suffix}.png")),
                    (&*place.outside, format!("folder-{suffix}")),
                    (&*place.outside.join("deep"), format!("sub/folder-{suffix}")),
                    (Path::new("../../outside/private.png"), format!("sub/relative-{suffix}.png")),
                ] {
                    symlink(target, place.inbox.join(link)).unwrap();
                }
            };
            link_all("existing");
            let state = tempfile::tempdir().unwrap();
            let settings = || {
                let after = after.clone();
                Folder { after, poll, existing: Existing::Process, ..settings(&place.inbox) }
            };
            let mut running = restart(settings(), state.path());
            link_all("new");
            fs::write(place.inbox.join("sub/real.png"), png(10)).unwrap();
            assert_eq!(running.names_until_marker(&place), ["real.png"]);
            drop(running);
            // A folder that becomes a link, and what a restart finds.
            fs::rename(place.inbox.join("sub"), place.outside.join("was-sub")).unwrap();
            symlink(place.outside.join("was-sub"), place.inbox.join("sub")).unwrap();
            fs::write(place.outside.join("was-sub/behind.png"), png(77)).unwrap();
            let mut running = restart(settings(), state.path());
            fs::write(place.outside.join("deep/written.png"), png(77)).unwrap();
            fs::write(place.inbox.join("second.png"), png(10)).unwrap();
            assert_eq!(running.names_until_marker(&place), ["second.png"]);
            assert!(running.failures().is_empty(), "links are no failures: {:?}", running.failures());
            for kept in ["private.png", "deep/private.png", "deep/written.png", "was-sub/behind.png"] {
                assert!(place.outside.join(kept).exists(), "{kept} {after:?}");
            }
        }
    }
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
    // No frame is done yet: the source waits for its slots, and loses nothing.
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
fn a_folder_that_does_not_exist_yet_is_watched_when_it_appears() {
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
        // Its files are new, whatever `existing` is.
        assert_eq!(frames.recv().await.unwrap().picture.width, 10);
        assert_eq!(*status.borrow(), Status::Online);
        fs::write(folder.join("b.png"), png(20)).unwrap();
        assert_eq!(frames.recv().await.unwrap().picture.width, 20);
        context.stop.cancel();
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    // The source is polled first: it finds no folder before the folder appears.
    let both = async { tokio::join!(biased; source.run_once(&context), appears) };
    let (ended, ()) = runtime.block_on(async { tokio::time::timeout(PATIENCE, both).await }).unwrap();
    ended.unwrap();
}

#[test]
fn a_folder_that_is_removed_and_created_again_is_watched_again() {
    let place = place();
    let folder = place.inbox.join("watched");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("a.png"), png(10)).unwrap();
    let mut running = start(settings(&folder));
    // Without a pause: the two folders differ only in their inode, and even that may be the same.
    fs::remove_dir_all(&folder).unwrap();
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("a.png"), png(20)).unwrap();
    assert_eq!(running.name(), "a.png");
    fs::write(folder.join("b.png"), png(10)).unwrap();
    assert_eq!(running.name(), "b.png");
    // With a pause.
    fs::rename(&folder, place.outside.join("away")).unwrap();
    running.wait_for(Status::Offline);
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("c.png"), png(10)).unwrap();
    assert_eq!(running.name(), "c.png");
    running.wait_for(Status::Online);
}

#[test]
fn polling_needs_no_notifications() {
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
    assert_eq!(running.names_until_marker(&place), [""; 0], "renamed between two polls");
    fs::remove_dir_all(&place.inbox).unwrap();
    running.wait_for(Status::Offline);
    fs::create_dir(&place.inbox).unwrap();
    fs::write(place.inbox.join("b.png"), png(10)).unwrap();
    assert_eq!(running.name(), "b.png");
    // Between the two halves of slow.png a slow machine may find it unchanged for long enough to try it.
    assert!(running.failures().keys().all(|cause| *cause == "truncated"), "{:?}", running.failures());
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
fn what_arrives_while_the_source_is_stopped_is_taken_and_nothing_twice() {
    for existing in [Existing::Skip, Existing::Process] {
        let (place, state) = (place(), tempfile::tempdir().unwrap());
        let inside = |name: &str| place.inbox.join(name);
        let settings = || Folder { existing, ..settings(&place.inbox) };
        fs::write(inside("old.png"), png(10)).unwrap();
        let mut running = restart(settings(), state.path());
        let first: &[&str] = if existing == Existing::Skip { &[] } else { &["old.png"] };
        assert_eq!(running.names_until_marker(&place), first, "{existing:?}");
        for name in ["a.png", "b.png", "c.png", "d.png"] {
            fs::write(inside(name), png(20)).unwrap();
            assert_eq!(running.name(), name);
        }
        fs::write(inside("broken.png"), "no picture").unwrap();
        wait_until("the broken file is reported", || running.failures().len() == 1);
        drop(running);

        fs::write(inside("arrived.png"), png(30)).unwrap();
        fs::rename(inside("a.png"), inside("renamed.png")).unwrap();
        fs::write(inside("b.png"), png(40)).unwrap();
        fs::remove_file(inside("c.png")).unwrap();
        fs::write(inside("d.png.part"), png(50)).unwrap();
        let mut running = restart(settings(), state.path());
        assert_eq!(running.names_until_marker(&place), ["arrived.png", "b.png"], "{existing:?}");
        fs::rename(inside("d.png.part"), inside("e.png")).unwrap();
        assert_eq!(
            running.names_until_marker(&place),
            ["e.png"],
            "an upload that went on during the restart"
        );
        assert!(running.failures().is_empty(), "a broken file is not reported again");
        drop(running);

        let mut running = restart(settings(), state.path());
        assert_eq!(running.names_until_marker(&place), [""; 0], "{existing:?}");
        drop(running);
        let files: Vec<_> = fs::read_dir(state.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        let [file] = &files[..] else { panic!("{files:?}") };
        fs::write(file, "{ damaged").unwrap();
        let mut running = restart(settings(), state.path());
        let mut again: Vec<&str> = match existing {
            Existing::Skip => vec![],
            Existing::Process => vec!["arrived.png", "b.png", "d.png", "e.png", "old.png", "renamed.png"],
        };
        again.sort_unstable();
        assert_eq!(running.names_until_marker(&place), again, "as at the first start");
    }
}

/// A kill loses the frames in flight: their files are taken again. Those that were scored are not.
#[test]
fn after_a_kill_only_files_in_flight_are_taken_again() {
    let (place, state) = (place(), tempfile::tempdir().unwrap());
    let saved = || -> BTreeMap<String, String> {
        let entries = fs::read_dir(state.path()).unwrap().map(|entry| entry.unwrap());
        let name = |entry: &fs::DirEntry| entry.file_name().into_string().unwrap();
        // Not the temporary file that replaces it.
        let files = entries.filter(|entry| name(entry).ends_with(".json"));
        files.map(|entry| (name(&entry), fs::read_to_string(entry.path()).unwrap())).collect()
    };
    let mut running = restart(settings(&place.inbox), state.path());
    let first = saved();
    assert_eq!(first.len(), 1, "written when the folder is watched");
    fs::write(place.inbox.join("scored.png"), png(10)).unwrap();
    assert_eq!(running.name(), "scored.png");
    wait_until("the scored file is remembered", || saved() != first);
    let scored = saved();
    fs::write(place.inbox.join("in flight.png"), png(20)).unwrap();
    let in_flight = running.next();
    // The state of a third file is written while the second one is in flight.
    fs::write(place.inbox.join("third.png"), png(30)).unwrap();
    assert_eq!(running.name(), "third.png");
    wait_until("the third file is remembered", || saved() != scored);
    let at_the_kill = saved();
    drop(in_flight);
    drop(running);
    for (name, content) in at_the_kill {
        fs::write(state.path().join(name), content).unwrap();
    }
    let mut running = restart(settings(&place.inbox), state.path());
    assert_eq!(running.names_until_marker(&place), ["in flight.png"]);
}

#[test]
fn a_folder_that_is_away_during_a_restart_has_no_new_files_when_it_is_back() {
    let (place, state) = (place(), tempfile::tempdir().unwrap());
    let (share, away) = (place.inbox.join("share"), place.outside.join("away"));
    fs::create_dir(&share).unwrap();
    let mut running = restart(settings(&share), state.path());
    fs::write(share.join("a.png"), png(10)).unwrap();
    assert_eq!(running.name(), "a.png");
    drop(running);
    // An empty mount point instead of the share.
    fs::rename(&share, &away).unwrap();
    fs::create_dir(&share).unwrap();
    let mut running = restart(settings(&share), state.path());
    fs::remove_dir(&share).unwrap();
    running.wait_for(Status::Offline);
    fs::write(away.join("new.png"), png(20)).unwrap();
    fs::rename(&away, &share).unwrap();
    assert_eq!(running.name(), "new.png");
    fs::write(share.join("zz.png"), png(30)).unwrap();
    assert_eq!(running.name(), "zz.png", "the old file was not taken before it");
}

#[test]
fn patterns_select_files_and_protect_folders() {
    let (place, state) = (place(), tempfile::tempdir().unwrap());
    let inside = |name: &str| place.inbox.join(name);
    for folder in ["@eaDir/a.jpg", "#recycle", "front", "archive"] {
        fs::create_dir_all(inside(folder)).unwrap();
    }
    let write = |names: &[&str]| names.iter().for_each(|name| fs::write(inside(name), png(10)).unwrap());
    write(&["@eaDir/a.jpg/SYNOPHOTO.jpg", "#recycle/b.jpg", "archive/c.jpg"]);
    let patterns = |include: &[&str]| {
        let include = include.iter().map(|text| PathPattern::including(text).unwrap()).collect();
        Patterns::new(include, vec![PathPattern::parse("archive/").unwrap()])
    };
    let with = |patterns: Patterns, after: After| Folder { patterns, after, ..settings(&place.inbox) };
    let include = patterns(&["front/*.png", "*.jpg", MARKER]);
    let mut running = restart(with(include, After::Delete), state.path());
    write(&["#recycle/d.jpg", "archive/e.jpg", "@eaDir/a.jpg/f.jpg", "g.png", "front/h.PNG", "i.JPG"]);
    write(&["j.jpg.upload", "k.jpg.tmp", ".l.jpg"]);
    fs::rename(inside("j.jpg.upload"), inside("j.jpg")).unwrap();
    assert_eq!(running.names_until_marker(&place), ["h.PNG", "i.JPG", "j.jpg"]);
    wait_until("taken files are deleted", || !inside("j.jpg").exists());
    for kept in
        ["@eaDir/a.jpg/SYNOPHOTO.jpg", "#recycle/d.jpg", "archive/e.jpg", "g.png", "k.jpg.tmp", ".l.jpg"]
    {
        assert!(inside(kept).exists(), "{kept}");
    }
    drop(running);
    // A file that the earlier patterns left out exists already: it is no arrival.
    write(&["arrived.jpg"]);
    let mut running = restart(with(patterns(&[]), After::Keep), state.path());
    assert_eq!(running.names_until_marker(&place), ["arrived.jpg"]);
}

#[test]
fn a_source_counts_broken_files_by_cause_and_continues() {
    let place = place();
    let inside = |name: &str| place.inbox.join(name);
    let mut running = start(Folder { after: After::Delete, ..settings(&place.inbox) });
    fs::write(inside("empty.png"), "").unwrap();
    fs::write(inside("text.png"), "no picture at all").unwrap();
    fs::write(inside("truncated.png"), &png(40)[..100]).unwrap();
    fs::write(inside("bomb.png"), png(65_000)).unwrap();
    fs::write(inside("good.png"), png(10)).unwrap();
    // None of these is a regular file, and opening the pipe would block.
    std::process::Command::new("mkfifo").arg(inside("pipe.png")).status().unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(inside("socket.png")).unwrap();
    symlink("/dev/zero", inside("device.png")).unwrap();
    assert_eq!(running.name(), "good.png");
    let expected = BTreeMap::from([("empty", 1), ("not_a_picture", 1), ("too_large", 1), ("truncated", 1)]);
    wait_until("every cause is counted", || running.failures() == expected);
    wait_until("the file is deleted", || !inside("good.png").exists());
    assert!(inside("truncated.png").exists(), "a broken file is not deleted");

    fs::write(inside("text.png"), png(20)).unwrap();
    assert_eq!(running.names_until_marker(&place), ["text.png"], "repaired");
    assert_eq!(running.counts.snapshot().failed, expected, "each was counted once");
}

#[test]
fn a_file_is_deleted_when_its_frame_is_done_and_not_before() {
    let place = place();
    let mut running = start(Folder { after: After::Delete, ..settings(&place.inbox) });
    let inside = |name: &str| place.inbox.join(name);
    let mut in_flight = |name: &str| {
        fs::write(inside(name), png(10)).unwrap();
        running.next()
    };
    let (lost, changed, done) = (in_flight("lost.png"), in_flight("changed.png"), in_flight("done.png"));
    drop(lost);
    // Rewritten while its frame was in flight: the new version belongs to the next frame.
    fs::write(inside("changed.png"), png(20)).unwrap();
    let newer = running.next();
    changed.slot.done();
    assert!(inside("done.png").exists());
    done.slot.done();
    wait_until("the file is deleted", || !inside("done.png").exists());
    assert!(inside("changed.png").exists() && inside("lost.png").exists());
    newer.slot.done();
    wait_until("the file is deleted", || !inside("changed.png").exists());
    fs::write(inside("done.png"), png(10)).unwrap();
    assert_eq!(running.name(), "done.png", "the same name again");

    // A frame that is done after the source ended still deletes its file.
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
        wait_until("the file is moved", || !place.inbox.join("a.png").exists());
    }
    fs::write(target.join("put there by hand.png"), png(40)).unwrap();
    assert_eq!(running.names_until_marker(&place), [""; 0]);
    for (name, width) in [("a.png", 10), ("a-1.png", 20), ("a-2.png", 30)] {
        assert_eq!(fs::read(target.join(name)).unwrap(), png(width), "{name}");
    }
}

#[test]
fn a_waiting_source_stops() {
    let place = place();
    // For the folder...
    drop(launch(settings(&place.inbox.join("nowhere"))));
    // ...for files...
    drop(start(settings(&place.inbox)));
    // ...for a slot.
    let mut running = start(settings(&place.inbox));
    for number in 0..2 * SLOTS {
        fs::write(place.inbox.join(number.to_string()), png(10)).unwrap();
    }
    let held = (0..SLOTS).map(|_| running.next()).collect::<Vec<_>>();
    drop(running);
    drop(held);
}

#[test]
fn a_path_that_is_not_a_folder_is_reported_with_the_remedy_and_watched_when_it_becomes_one() {
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
    wait_until("the source has found that it is not a folder", || running.begun.is_cancelled());
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    running.wait_for(Status::Online);
    fs::write(path.join("a.png"), png(10)).unwrap();
    assert_eq!(running.name(), "a.png");
}
