//! Says when the files of a configuration should be looked at again.
//!
//! What counts is what the files hold, never what happened to them: the kernel's notices only make the next comparison
//! come early, and one comes every few seconds anyway, so that nothing is missed on a file system that tells nothing.
//! Hence a file may be written in place, replaced by a rename or reached through symbolic links that are swapped (as
//! Kubernetes does with `..data`): every folder on the way, to the file and through the links, is watched.
//!
//! It refuses to parse, to say what changed, and to decide whether it is any good. Many changes in a row are one word.

use std::{
    collections::{BTreeSet, VecDeque},
    ffi::OsString,
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    io,
    path::{Component, Path, PathBuf},
    sync::{
        Arc,
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

/// The files are compared this often, whatever the kernel tells.
const ANYWAY: Duration = Duration::from_secs(2);
/// A change counts when the files then stay the same for this long: whoever saves several, or one in several steps, is
/// given the time...
const QUIET: Duration = Duration::from_millis(100);
/// ...but not longer than this.
const PATIENCE: Duration = Duration::from_secs(1);
/// A folder in which much happens (it may hold other things) is not looked at more often than this.
const BREATH: Duration = Duration::from_millis(20);
/// As many links as the kernel itself follows.
const MOST_LINKS: usize = 40;

/// Asks for a look although no file may have changed.
#[derive(Debug, Clone)]
pub struct Ask {
    asked: Arc<AtomicBool>,
    stir: SyncSender<()>,
}

impl Ask {
    /// Asks; the look comes soon.
    pub fn look(&self) {
        self.asked.store(true, Ordering::Release);
        // Full: it is awake already, and sees that it was asked.
        let _ = self.stir.try_send(());
    }
}

/// Starts the thread `config-watch`, which sends into `look_again`: once at the start (the files may have changed since
/// they were read), then whenever they changed. A word that finds the channel full is dropped: the one in it was not
/// taken yet, so whoever takes it will see this change, too. The thread ends soon after `look_again` is closed.
///
/// # Errors
/// The operating system has no thread left.
pub fn watch(path: &Path, look_again: mpsc::Sender<()>) -> io::Result<Ask> {
    let (stir, stirred) = sync_channel(1);
    let ask = Ask { asked: Arc::default(), stir };
    let mut watcher = Watcher {
        kernel: kernel(ask.stir.clone()),
        path: path.to_owned(),
        folders: BTreeSet::new(),
        told: None,
        ask: ask.clone(),
        stirred,
        look_again,
        anyway: ANYWAY,
    };
    let work = move || {
        while watcher.look().is_some() {
            watcher.pause();
        }
    };
    thread::Builder::new().name("config-watch".to_owned()).spawn(work)?;
    Ok(ask)
}

struct Watcher {
    path: PathBuf,
    kernel: Option<RecommendedWatcher>,
    /// What the kernel was asked to watch.
    folders: BTreeSet<PathBuf>,
    /// What the files held when a look was last asked for.
    told: Option<u64>,
    /// Also keeps `stirred` open where the kernel tells nothing.
    ask: Ask,
    stirred: Receiver<()>,
    look_again: mpsc::Sender<()>,
    anyway: Duration,
}

impl Watcher {
    /// Compares the files with what they were; `None` when nobody wants to know any more.
    fn look(&mut self) -> Option<()> {
        // First, so that the kernel tells what the comparison just misses.
        self.follow();
        let now = self.settled();
        let asked = self.ask.asked.swap(false, Ordering::AcqRel);
        if self.told.replace(now) != Some(now) || asked {
            // Full: see above.
            let _ = self.look_again.try_send(());
        }
        (!self.look_again.is_closed()).then_some(())
    }

    /// Has the kernel watch the folders that matter now. Doing so again for a folder that was made anew is the point.
    fn follow(&mut self) {
        let Some(kernel) = &mut self.kernel else { return };
        let folders = folders(&self.path);
        for gone in self.folders.difference(&folders) {
            // It may be gone altogether, and its watch with it.
            let _ = kernel.unwatch(gone);
        }
        for folder in &folders {
            if let Err(error) = kernel.watch(folder, RecursiveMode::NonRecursive) {
                tracing::debug!(folder = %folder.display(), %error, "not watched; looked at every few seconds");
            }
        }
        self.folders = folders;
    }

    /// What the files hold. If that is news, it is waited for until nobody changes them any more.
    fn settled(&self) -> u64 {
        let (began, mut now) = (Instant::now(), contents(&self.path));
        while self.told.is_some_and(|told| told != now) && began.elapsed() < PATIENCE {
            thread::sleep(QUIET);
            let before = std::mem::replace(&mut now, contents(&self.path));
            if now == before {
                break;
            }
        }
        now
    }

    /// Until something stirs, or it is time for a look anyway.
    fn pause(&self) {
        if self.stirred.recv_timeout(self.anyway).is_ok() {
            thread::sleep(BREATH);
        }
    }
}

/// The kernel's watcher; without one (too many on this machine, say) the files are only compared every few seconds.
fn kernel(stir: SyncSender<()>) -> Option<RecommendedWatcher> {
    let tell = move |event: notify::Result<Event>| {
        // An error is a queue that ran over: anything may have happened.
        if event.map_or(true, |event| matters(event.kind)) {
            // Full: it wakes up anyway.
            let _ = stir.try_send(());
        }
    };
    notify::recommended_watcher(tell)
        .inspect_err(|error| {
            tracing::warn!(%error, "the kernel watches no configuration; it is looked at every few seconds");
        })
        .ok()
}

/// Whether a file may hold something else after this. That files are opened and read is our own doing.
fn matters(event: EventKind) -> bool {
    !matches!(event, EventKind::Access(access) if access != AccessKind::Close(AccessMode::Write))
}

/// A number for what the files hold; the same number is the same configuration.
fn contents(main: &Path) -> u64 {
    let mut hash = DefaultHasher::new();
    let mut file = |path: &Path| {
        path.hash(&mut hash);
        load::read_bytes(path).map_err(|error| error.kind()).hash(&mut hash);
    };
    file(main);
    if let Ok(rules) = load::rules(main) {
        rules.iter().for_each(|path| file(path));
    }
    hash.finish()
}

/// The folders in which a change can change what the files hold.
fn folders(main: &Path) -> BTreeSet<PathBuf> {
    let mut folders = BTreeSet::new();
    follow(main, &mut folders);
    let rules = load::rules(main).unwrap_or_default();
    follow(&load::rules_folder(main).join("any.yaml"), &mut folders);
    rules.iter().for_each(|path| follow(path, &mut folders));
    folders
}

/// Adds the folder in which `path` ends, and those of all the symbolic links on the way to it.
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
            // A root takes the place of everything before it.
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
    fn every_folder_on_the_way_matters() {
        let home = tempfile::tempdir().unwrap();
        let home = home.path().canonicalize().unwrap();
        for folder in ["etc", "etc/rules.d", "etc/..one", "elsewhere", "real"] {
            fs::create_dir(home.join(folder)).unwrap();
        }
        fs::write(home.join("etc/..one/stakeout.yaml"), "").unwrap();
        symlink("..one", home.join("etc/..data")).unwrap();
        symlink("..data/stakeout.yaml", home.join("etc/stakeout.yaml")).unwrap();
        symlink(home.join("elsewhere/extra.yaml"), home.join("etc/rules.d/extra.yaml")).unwrap();
        symlink("../etc", home.join("real/link")).unwrap();

        let found = |main: &str| {
            let folders = folders(&home.join(main)).into_iter();
            let shown = folders.map(|folder| folder.strip_prefix(&home).unwrap().display().to_string());
            shown.collect::<Vec<_>>()
        };
        assert_eq!(found("etc/stakeout.yaml"), ["elsewhere", "etc", "etc/..one", "etc/rules.d"]);
        assert_eq!(
            found("real/link/stakeout.yaml"),
            ["elsewhere", "etc", "etc/..one", "etc/rules.d", "real"],
            "also where a folder is a link"
        );
        assert_eq!(found("nowhere/stakeout.yaml"), ["nowhere", "nowhere/rules.d"], "what may come");
        symlink("round", home.join("round")).unwrap();
        assert!(!found("round/stakeout.yaml").is_empty(), "a link to itself ends");
    }

    #[test]
    fn only_what_can_change_a_file_wakes_it() {
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

    /// Looks that were asked for within some pauses, with or without the kernel.
    fn asks(with_kernel: bool, change: impl FnOnce(&Path)) -> usize {
        let home = tempfile::tempdir().unwrap();
        let main = home.path().join("stakeout.yaml");
        fs::write(&main, "one").unwrap();
        let (sender, mut asked) = mpsc::channel(1);
        let (stir, stirred) = sync_channel(1);
        let mut watcher = Watcher {
            kernel: with_kernel.then(|| kernel(stir.clone()).unwrap()),
            path: main,
            folders: BTreeSet::new(),
            told: None,
            ask: Ask { asked: Arc::default(), stir },
            stirred,
            look_again: sender,
            anyway: Duration::from_millis(300),
        };
        watcher.look().unwrap();
        asked.try_recv().expect("the first look is always asked for");
        change(home.path());
        let mut count = 0;
        for _ in 0..4 {
            watcher.pause();
            watcher.look().unwrap();
            count += usize::from(asked.try_recv().is_ok());
        }
        drop(asked);
        assert_eq!(watcher.look(), None, "nobody listens");
        count
    }

    #[test]
    fn a_change_is_told_once_whether_the_kernel_tells_or_not() {
        let write = |home: &Path| fs::write(home.join("stakeout.yaml"), "two").unwrap();
        let rules = |home: &Path| {
            fs::create_dir(home.join("rules.d")).unwrap();
            fs::write(home.join("rules.d/more.yaml"), "more").unwrap();
        };
        let touch = |home: &Path| fs::write(home.join("stakeout.yaml"), "one").unwrap();
        let other = |home: &Path| fs::write(home.join("neighbour"), "").unwrap();
        for with_kernel in [true, false] {
            assert_eq!(asks(with_kernel, write), 1, "{with_kernel}");
            assert_eq!(asks(with_kernel, rules), 1, "{with_kernel}");
            assert_eq!(asks(with_kernel, touch), 0, "{with_kernel}: the same again");
            assert_eq!(asks(with_kernel, other), 0, "{with_kernel}: none of ours");
        }
    }
}
