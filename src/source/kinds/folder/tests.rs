//! The folder source at another pace: what takes minutes, or more files than a test should make.

use std::{
    collections::BTreeSet,
    fs::{self, File, FileTimes},
    os::unix::fs::symlink,
    sync::Arc,
    thread,
    time::Duration,
};

use tempfile::TempDir;
use tokio::sync::{Semaphore, watch as status};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{frame::Frame, picture::Picture, source::Counts};

const DEADLINE: Duration = Duration::from_secs(120);

fn jpeg(width: u32) -> Vec<u8> {
    let rgb = vec![0; width as usize * 3];
    Picture::of_rgb(width, 1, rgb).to_jpeg(90).unwrap()
}

/// Looks at everything ten times a second.
fn hurried() -> Pace {
    let look = Duration::from_millis(100);
    Pace { look, look_again: look, ..Pace::of(None) }
}

struct Running {
    frames: mpsc::Receiver<Frame>,
    stop: CancellationToken,
    counts: Arc<Counts>,
    thread: thread::JoinHandle<FolderSource>,
}

fn start(folder: &TempDir, existing: Existing, after: After, pace: Pace) -> Running {
    let settings = Folder { path: folder.path().to_path_buf(), existing, after, poll: None };
    let (sender, frames) = mpsc::channel(SLOTS);
    let (status, mut online) = status::channel(Status::Offline);
    let (stop, counts) = (CancellationToken::new(), Arc::new(Counts::default()));
    let context = Context {
        begun: CancellationToken::new(),
        name: "inbox".into(),
        frames: sender,
        slots: Arc::new(Semaphore::new(SLOTS)),
        stop: stop.clone(),
        status,
        counts: Arc::clone(&counts),
        max_pixels: 1_000_000,
        topics: None,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let thread = thread::spawn(move || {
        let mut source = FolderSource::with_pace(&settings, pace);
        runtime.block_on(source.run_once(&context)).unwrap();
        source.end(&context);
        source
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

    /// The name of the next frame's file; the frame goes the whole way.
    fn name(&mut self) -> String {
        let frame = self.next();
        let name = Path::new(&frame.origin).file_name().unwrap().to_str().unwrap().to_owned();
        frame.slot.done();
        name
    }

    /// Everything that comes until a marker that is linked now; a few looks later.
    /// Its name is the last among files of the same age.
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
        let _ = fs::remove_file(marker); // the source may do it, too
        names
    }

    fn stop(self) -> FolderSource {
        self.stop.cancel();
        self.thread.join().unwrap()
    }
}

#[test]
fn notices_that_found_no_room_are_found_by_a_look_and_nothing_comes_twice() {
    let folder = tempfile::tempdir().unwrap();
    // Only what was lost may bring a look.
    let patience = pending::Patience { long: Duration::from_secs(2), ..hurried().patience };
    let pace = Pace { notices: 1, look_again: Duration::from_millis(100), patience, ..Pace::of(None) };
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
fn more_files_than_may_wait_come_all_the_same_and_oldest_first() {
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
        Pace { files: 8, look: DEADLINE, patience, ..hurried() },
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
    // The frame is done before the new time was found, while it is looked into, and after that. The kernel tells the
    // time of modification alone like a write that is never closed.
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
fn what_a_link_leads_to_is_looked_at() {
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
fn what_is_gone_is_forgotten() {
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
    let source = running.stop();
    assert!(source.under_way.is_empty(), "{:?}", source.under_way);
    assert!(source.inventory.seen.len() <= 1, "the marker at most");
}

#[test]
fn files_are_not_moved_onto_themselves() {
    let folder = tempfile::tempdir().unwrap();
    let settings = Folder {
        path: folder.path().to_path_buf(),
        existing: Existing::Skip,
        after: After::Move(folder.path().join(".")),
        poll: None,
    };
    let (frames, _received) = mpsc::channel(1);
    let context = Context {
        begun: CancellationToken::new(),
        name: "inbox".into(),
        frames,
        slots: Arc::new(Semaphore::new(1)),
        stop: CancellationToken::new(),
        status: status::channel(Status::Offline).0,
        counts: Arc::default(),
        max_pixels: 1,
        topics: None,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let error = runtime.block_on(FolderSource::new(&settings).run_once(&context)).unwrap_err();
    assert!(matches!(error, FolderError::MovesIntoItself(_)), "{error}");
}
