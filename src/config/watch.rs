//! Watches the files of a configuration and reports when their content changes.
//!
//! The content is compared every few seconds, and earlier if the kernel reports an event, so that no change is missed on a file
//! system without events. A file may be written in place, replaced by a rename, or reached through symbolic links that are
//! swapped (as Kubernetes does with `..data`): every folder on the path to the file and through the links is watched.
//!
//! The files are not parsed here. Several changes in a row are one report.

use std::{
    collections::{BTreeSet, VecDeque},
    ffi::OsString,
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    io,
    path::{Component, Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use notify::{
    Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _,
    event::{AccessKind, AccessMode},
};
use tokio::sync::mpsc;

use super::load;
use crate::shortage::Shortage;

/// The longest time between two comparisons.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// A change is reported after the files stay the same for this time, because an editor may save several files, or one in steps.
const QUIET: Duration = Duration::from_millis(100);
/// The longest delay of a report.
const LONGEST_DELAY: Duration = Duration::from_secs(1);
/// The shortest time between two comparisons, for folders with many events.
const SHORTEST_PAUSE: Duration = Duration::from_millis(20);
/// As many links as the kernel itself follows.
const MOST_LINKS: usize = 40;
/// How often the files are read again because they change meanwhile. The watcher reports later changes.
const MOST_READINGS: usize = 5;

/// The watcher's connection to the thread that reads the files.
#[derive(Debug)]
pub struct Reader {
    /// Each message requests a reading.
    pub reports: mpsc::Sender<()>,
    /// The content that was read last.
    pub read: ReadContent,
}

/// The content of the files at the newest reading. The watcher compares the files with it and not only with its own last report:
/// a file may change between a report and the reading, and change back after it.
#[derive(Debug, Clone, Default)]
pub struct ReadContent(Arc<Mutex<Option<u64>>>);

impl ReadContent {
    /// Reads the files of the configuration `path` with `read`, and again if they change meanwhile.
    pub fn of<T>(&self, path: &Path, read: impl Fn() -> T) -> T {
        let (mut before, mut result) = (contents(path), read());
        for _ in 1..MOST_READINGS {
            let after = contents(path);
            if after == before {
                break;
            }
            (before, result) = (after, read());
        }
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = before;
        result
    }

    fn is_not(&self, content: u64) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|read| read != content)
    }
}

/// Requests a report although no file may have changed.
#[derive(Debug, Clone)]
pub struct Ask {
    requested: Arc<AtomicBool>,
    wake: SyncSender<()>,
}

impl Ask {
    /// Requests a report.
    pub fn look(&self) {
        self.requested.store(true, Ordering::Release);
        // Full: the thread wakes up anyway, and sees the request.
        let _ = self.wake.try_send(());
    }
}

/// Starts the thread `config-watch`, which sends reports to `reader`: one at the start (the files may have changed since they
/// were read), then one after each change. A report is dropped if the channel is full: the receiver of the report in it will see
/// this change, too. The thread ends soon after the channel is closed.
///
/// # Errors
/// The operating system cannot start a thread.
pub fn watch(path: &Path, reader: Reader) -> io::Result<Ask> {
    let (wake, woken) = sync_channel(1);
    let ask = Ask { requested: Arc::default(), wake };
    let mut watcher = Watcher {
        kernel: kernel(ask.wake.clone()),
        path: path.to_owned(),
        folders: BTreeSet::new(),
        unwatched: BTreeSet::new(),
        reported: None,
        ask: ask.clone(),
        woken,
        reader,
        pause: LONGEST_PAUSE,
    };
    let work = move || {
        while watcher.look().is_some() {
            watcher.wait();
        }
    };
    thread::Builder::new().name("config-watch".to_owned()).spawn(work)?;
    Ok(ask)
}

struct Watcher {
    path: PathBuf,
    kernel: Option<RecommendedWatcher>,
    /// The folders that the kernel watches.
    folders: BTreeSet<PathBuf>,
    /// The folders that it does not watch, such as a `sources.d` that does not exist; each is logged once.
    unwatched: BTreeSet<PathBuf>,
    /// The content at the last report.
    reported: Option<u64>,
    /// Also keeps `woken` open where the kernel does not watch.
    ask: Ask,
    woken: Receiver<()>,
    reader: Reader,
    pause: Duration,
}

impl Watcher {
    /// Compares the files with the last report; `None` if the receiver is gone.
    fn look(&mut self) -> Option<()> {
        // First, so that the kernel reports a change just after the comparison.
        self.follow();
        let requested = self.ask.requested.swap(false, Ordering::AcqRel);
        // Without a descriptor to read them, the files count as unchanged until the next comparison.
        let is_news = self
            .settled()
            .is_some_and(|now| self.reported.replace(now) != Some(now) || self.reader.read.is_not(now));
        if is_news || requested {
            // Full: see above.
            let _ = self.reader.reports.try_send(());
        }
        (!self.reader.reports.is_closed()).then_some(())
    }

    /// Makes the kernel watch the current folders, including those that were deleted and created again.
    fn follow(&mut self) {
        let Some(kernel) = &mut self.kernel else { return };
        let folders = folders(&self.path);
        for gone in self.folders.difference(&folders) {
            // The folder may be deleted, and its watch with it.
            let _ = kernel.unwatch(gone);
        }
        self.unwatched.retain(|folder| folders.contains(folder));
        for folder in &folders {
            match kernel.watch(folder, RecursiveMode::NonRecursive) {
                Ok(()) => drop(self.unwatched.remove(folder)),
                // Once: a log that is written into a watched folder would otherwise cause the next line itself.
                Err(error) if self.unwatched.insert(folder.clone()) => {
                    tracing::debug!(folder = %folder.display(), %error, "the kernel does not watch this folder; it is checked every few seconds");
                }
                Err(_) => {}
            }
        }
        self.folders = folders;
    }

    /// The content of the files; `None` if it is not known for now. After a change, waits until they stay the same.
    fn settled(&self) -> Option<u64> {
        let (began, mut now) = (Instant::now(), contents(&self.path)?);
        while self.reported.is_some_and(|reported| reported != now) && began.elapsed() < LONGEST_DELAY {
            thread::sleep(QUIET);
            let before = std::mem::replace(&mut now, contents(&self.path)?);
            if now == before {
                break;
            }
        }
        Some(now)
    }

    /// Waits for an event, a request or the end of the longest pause.
    fn wait(&self) {
        if self.woken.recv_timeout(self.pause).is_ok() {
            thread::sleep(SHORTEST_PAUSE);
        }
    }
}

/// The kernel's watcher; without one (for example, if the machine has too many) the files are compared every few seconds.
fn kernel(wake: SyncSender<()>) -> Option<RecommendedWatcher> {
    let notify = move |event: notify::Result<Event>| {
        // An error means that the queue overflowed: any file may have changed.
        if event.map_or(true, |event| matters(event.kind)) {
            // Full: the thread wakes up anyway.
            let _ = wake.try_send(());
        }
    };
    notify::recommended_watcher(notify)
        .inspect_err(|error| {
            tracing::warn!(%error, "the kernel does not watch the configuration; it is checked every few seconds");
        })
        .ok()
}

/// Whether an event can change the content of a file. Files are opened and read by this thread itself.
fn matters(event: EventKind) -> bool {
    !matches!(event, EventKind::Access(access) if access != AccessKind::Close(AccessMode::Write))
}

/// A hash of the content of the files; `None` if one of them cannot be opened for now.
fn contents(main: &Path) -> Option<u64> {
    let mut hash = DefaultHasher::new();
    let mut file = |path: &Path| {
        path.hash(&mut hash);
        match load::read_bytes(path) {
            Err(error) if error.shortage().is_some() => return None,
            read => read.map_err(|error| error.to_string()).hash(&mut hash),
        }
        Some(())
    };
    file(main)?;
    match load::included(main) {
        Ok(included) => included.iter().try_for_each(|path| file(path))?,
        Err(error) if Shortage::of_io(&error).is_some() => return None,
        // The reader of the files reports it.
        Err(_) => {}
    }
    Some(hash.finish())
}

/// The folders in which a change can affect the content of the files.
fn folders(main: &Path) -> BTreeSet<PathBuf> {
    let mut folders = BTreeSet::new();
    follow(main, &mut folders);
    let included = load::included(main).unwrap_or_default();
    for folder in load::included_folders(main) {
        follow(&folder.join("any.yaml"), &mut folders);
    }
    included.iter().for_each(|path| follow(path, &mut folders));
    folders
}

/// Adds the folder of `path`, and those of all symbolic links in its path.
fn follow(path: &Path, folders: &mut BTreeSet<PathBuf>) {
    let Ok(path) = std::path::absolute(path) else { return };
    let names = |path: &Path| path.components().map(|part| part.as_os_str().to_owned()).collect::<Vec<_>>();
    let mut ahead: VecDeque<OsString> = names(&path).into();
    let (mut at, mut links) = (PathBuf::new(), 0);
    while let Some(name) = ahead.pop_front() {
        match Path::new(&name).components().next() {
            Some(Component::ParentDir) => {
                at.pop();
                continue;
            }
            Some(Component::CurDir) | None => continue,
            // A root replaces everything before it.
            Some(_) => {}
        }
        match fs::read_link(at.join(&name)) {
            Ok(target) if links < MOST_LINKS => {
                links += 1;
                folders.insert(at.clone());
                for name in names(&target).into_iter().rev() {
                    ahead.push_front(name);
                }
            }
            // No link, or nothing there, or too many links.
            _ => at.push(name),
        }
    }
    folders.extend(at.parent().map(Path::to_path_buf));
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use notify::event::{CreateKind, DataChange, ModifyKind, RenameMode};

    use super::*;

    #[test]
    fn every_folder_of_the_path_is_watched() {
        let home = tempfile::tempdir().unwrap();
        let home = home.path().canonicalize().unwrap();
        for folder in ["etc", "etc/rules.d", "etc/sources.d", "etc/..one", "elsewhere", "real"] {
            fs::create_dir(home.join(folder)).unwrap();
        }
        fs::write(home.join("etc/..one/stakeout.yaml"), "").unwrap();
        symlink("..one", home.join("etc/..data")).unwrap();
        symlink("..data/stakeout.yaml", home.join("etc/stakeout.yaml")).unwrap();
        symlink(home.join("elsewhere/extra.yaml"), home.join("etc/rules.d/extra.yaml")).unwrap();
        symlink(home.join("elsewhere/yard.yaml"), home.join("etc/sources.d/yard.yaml")).unwrap();
        symlink("../etc", home.join("real/link")).unwrap();

        let found = |main: &str| {
            let folders = folders(&home.join(main)).into_iter();
            let shown = folders.map(|folder| folder.strip_prefix(&home).unwrap().display().to_string());
            shown.collect::<Vec<_>>()
        };
        assert_eq!(
            found("etc/stakeout.yaml"),
            ["elsewhere", "etc", "etc/..one", "etc/rules.d", "etc/sources.d"]
        );
        assert_eq!(
            found("real/link/stakeout.yaml"),
            ["elsewhere", "etc", "etc/..one", "etc/rules.d", "etc/sources.d", "real"],
            "also where a folder is a link"
        );
        assert_eq!(
            found("nowhere/stakeout.yaml"),
            ["nowhere", "nowhere/rules.d", "nowhere/sources.d"],
            "they may be created"
        );
        symlink("round", home.join("round")).unwrap();
        assert!(!found("round/stakeout.yaml").is_empty(), "a link to itself ends");
    }

    #[test]
    fn only_events_that_can_change_a_file_wake_it() {
        let cases = [
            (EventKind::Access(AccessKind::Open(AccessMode::Any)), false),
            (EventKind::Access(AccessKind::Close(AccessMode::Read)), false),
            (EventKind::Access(AccessKind::Close(AccessMode::Write)), true),
            (EventKind::Modify(ModifyKind::Data(DataChange::Any)), true),
            (EventKind::Modify(ModifyKind::Name(RenameMode::To)), true),
            (EventKind::Create(CreateKind::File), true),
            (EventKind::Other, true),
        ];
        for (event, expected) in cases {
            assert_eq!(matters(event), expected, "{event:?}");
        }
    }

    /// The number of reports in some pauses, with or without the kernel.
    fn reports(with_kernel: bool, change: impl FnOnce(&Path)) -> usize {
        let home = tempfile::tempdir().unwrap();
        let main = home.path().join("stakeout.yaml");
        fs::write(&main, "one").unwrap();
        let (sender, mut asked) = mpsc::channel(1);
        let (wake, woken) = sync_channel(1);
        let mut watcher = Watcher {
            kernel: with_kernel.then(|| kernel(wake.clone()).unwrap()),
            path: main,
            folders: BTreeSet::new(),
            unwatched: BTreeSet::new(),
            reported: None,
            ask: Ask { requested: Arc::default(), wake },
            woken,
            reader: Reader { reports: sender, read: ReadContent::default() },
            pause: Duration::from_millis(300),
        };
        watcher.look().unwrap();
        asked.try_recv().expect("the first report is always sent");
        change(home.path());
        let mut count = 0;
        for _ in 0..4 {
            watcher.wait();
            watcher.look().unwrap();
            count += usize::from(asked.try_recv().is_ok());
        }
        drop(asked);
        assert_eq!(watcher.look(), None, "the receiver is gone");
        count
    }

    #[test]
    fn a_change_is_reported_once_with_and_without_the_kernel() {
        let write = |home: &Path| fs::write(home.join("stakeout.yaml"), "two").unwrap();
        let rules = |home: &Path| {
            fs::create_dir(home.join("rules.d")).unwrap();
            fs::write(home.join("rules.d/more.yaml"), "more").unwrap();
        };
        let sources = |home: &Path| {
            fs::create_dir(home.join("sources.d")).unwrap();
            fs::write(home.join("sources.d/more.yaml"), "more").unwrap();
        };
        let touch = |home: &Path| fs::write(home.join("stakeout.yaml"), "one").unwrap();
        let other = |home: &Path| fs::write(home.join("neighbour"), "").unwrap();
        for with_kernel in [true, false] {
            assert_eq!(reports(with_kernel, write), 1, "{with_kernel}");
            assert_eq!(reports(with_kernel, rules), 1, "{with_kernel}");
            assert_eq!(reports(with_kernel, sources), 1, "{with_kernel}");
            assert_eq!(reports(with_kernel, touch), 0, "{with_kernel}: the same again");
            assert_eq!(reports(with_kernel, other), 0, "{with_kernel}: another file");
        }
    }

    #[test]
    fn a_file_that_changes_back_after_it_was_read_is_reported() {
        let home = tempfile::tempdir().unwrap();
        let main = home.path().join("stakeout.yaml");
        let write = |text: &str| fs::write(&main, text).unwrap();
        write("one");
        let ((sender, mut asked), (wake, woken), read) =
            (mpsc::channel(1), sync_channel(1), ReadContent::default());
        let mut watcher = Watcher {
            kernel: None,
            path: main.clone(),
            folders: BTreeSet::new(),
            unwatched: BTreeSet::new(),
            reported: None,
            ask: Ask { requested: Arc::default(), wake },
            woken,
            reader: Reader { reports: sender, read: read.clone() },
            pause: Duration::ZERO,
        };
        let mut is_reported = || {
            watcher.look().unwrap();
            asked.try_recv().is_ok()
        };
        assert!(is_reported());
        write("two");
        assert_eq!(read.of(&main, || fs::read_to_string(&main).unwrap()), "two");
        write("one");
        assert!(is_reported(), "the watcher never saw the other content, but the reader did");
        assert_eq!(read.of(&main, || fs::read_to_string(&main).unwrap()), "one");
        assert!(!is_reported());

        let texts = std::cell::RefCell::new(vec!["four", "three"]);
        let changing = || {
            let text = fs::read_to_string(&main).unwrap();
            texts.borrow_mut().pop().map(write);
            text
        };
        assert_eq!(read.of(&main, changing), "four", "read again until it stays the same");
        assert!(is_reported());
        assert!(!is_reported());
    }
}
