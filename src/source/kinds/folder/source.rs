//! The folder source at work: waits for the folder, watches it, and takes its files.

use std::{
    collections::{HashMap, VecDeque},
    fs,
    io::{self, ErrorKind},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::{
    sync::{OwnedSemaphorePermit, mpsc},
    time::{Instant, sleep_until},
};

use super::{
    after::{Finisher, Taken},
    clip::{Clip, MOST_CLIPS, WaitingClips},
    error::FolderError,
    inventory::Inventory,
    memory::{Memory, Recalled},
    pace::Pace,
    pending::Pending,
    private,
    seen::{self, Seen},
    settings::{After, Clips, Existing, Folder, Links, Patterns},
    tree::Tree,
    watch::{Notice, Watch},
};
use crate::{
    descriptors::{self, Identity},
    shortage::Shortage,
    source::{
        context::{Context, SLOTS, Status},
        patience::Patience,
    },
};

/// The identity of a folder: path and inode may both be reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct RootId(Identity, Option<SystemTime>);

/// Why the work on a folder ended without a failure.
enum Ended {
    /// By the stop signal.
    Stopped,
    /// The folder was removed or replaced.
    FolderLost,
}

/// A folder source, with the state that it keeps over its failures.
pub struct FolderSource {
    pub(super) root: PathBuf,
    pub(super) existing: Existing,
    pub(super) patterns: Patterns,
    pub(super) after: After,
    pub(super) polls: bool,
    pub(super) links: Links,
    /// Deletes or moves what was taken; `None` before the folder was opened.
    pub(super) finisher: Option<Arc<Finisher>>,
    pub(super) clips: Clips,
    /// One frame of a clip is scored in each such interval.
    pub(super) every: Duration,
    pub(super) pace: Pace,
    pub(super) inventory: Inventory,
    pub(super) watch: Option<Watch>,
    /// What is remembered over restarts; `None` before the start, and without a state folder.
    pub(super) memory: Option<Memory>,
    /// The patterns before the restart, until the files that they left out are skipped.
    pub(super) earlier_patterns: Option<Patterns>,
    /// There are more files than can be remembered, which was logged.
    pub(super) full: bool,
    /// The first scan is done, now or before the restart: every file that appears later is new.
    pub(super) began: bool,
    pub(super) next_scan: Instant,
    /// The earliest time of the next scan, even after lost notices.
    pub(super) earliest_scan: Instant,
    pub(super) next_check: Instant,
    /// The clip that is played.
    pub(super) playing: Option<Clip>,
    pub(super) waiting_clips: WaitingClips,
    /// There was no room for a clip: a scan finds it when there is room again.
    pub(super) clips_left_out: bool,
    /// The next frame is that of a picture, if one is ready.
    pub(super) picture_is_next: bool,
    /// Clips that wait or are played, and files whose frames are in flight: the path when the file was taken, and its path now. At most
    /// [`MOST_CLIPS`] and one for each slot.
    pub(super) in_flight: HashMap<PathBuf, PathBuf>,
    /// The files whose frames were sent last and are not scored, newest first.
    pub(super) unscored: VecDeque<PathBuf>,
    /// Files whose frames are scored. If the channel is full, the sender finishes the file.
    pub(super) done_sender: mpsc::Sender<Taken>,
    pub(super) done: mpsc::Receiver<Taken>,
}

impl FolderSource {
    /// A source that has not started.
    #[must_use]
    pub fn new(folder: &Folder) -> Self {
        Self::with_pace(folder, Pace::of(folder.poll))
    }

    pub(super) fn with_pace(folder: &Folder, pace: Pace) -> Self {
        // Without a current folder, the path is used as typed.
        let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
        let root = absolute(&folder.path);
        let after = match &folder.after {
            After::Move(target) => After::Move(absolute(target)),
            other => other.clone(),
        };
        let except = if let After::Move(target) = &after { Some(target.clone()) } else { None };
        let polls = folder.poll.is_some();
        let (seen, pending) = (Seen::new(!polls, seen::MOST), Pending::new(pace.patience));
        let patterns = folder.patterns.clone();
        let now = Instant::now();
        let (done_sender, done) = mpsc::channel(2 * SLOTS);
        Self {
            inventory: Inventory::new(root.clone(), patterns.clone(), except, seen, pending, pace.files),
            root,
            existing: folder.existing,
            patterns,
            after,
            polls,
            links: folder.links,
            finisher: None,
            clips: folder.clips,
            every: folder.every,
            pace,
            watch: None,
            memory: None,
            earlier_patterns: None,
            full: false,
            began: false,
            next_scan: now,
            earliest_scan: now,
            next_check: now,
            playing: None,
            waiting_clips: WaitingClips::new(),
            clips_left_out: false,
            picture_is_next: true,
            in_flight: HashMap::new(),
            unscored: VecDeque::with_capacity(SLOTS),
            done_sender,
            done,
        }
    }

    /// Delivers frames until the stop signal.
    ///
    /// # Errors
    /// The folder cannot be watched. A missing folder is no error: the source waits for it.
    pub async fn run_once(&mut self, context: &Context) -> Result<(), FolderError> {
        self.recall(context);
        while let Some(root) = self.folder_appears(context).await? {
            self.inventory.seen.enter(root.0.numbers());
            self.begin(context)?;
            context.report(Status::Online);
            if matches!(self.work(root, context).await?, Ended::Stopped) {
                break;
            }
        }
        Ok(())
    }

    /// Finishes the files whose frames are scored. The file of a frame in flight is finished where the frame ends.
    pub fn end(&mut self, context: &Context) {
        self.done.close();
        while let Ok(taken) = self.done.try_recv() {
            self.finish(taken, context);
        }
        if let Some(memory) = &mut self.memory {
            if !self.unscored.is_empty() {
                self.inventory.seen.changed(); // the frames in flight are still scored
            }
            memory.save(&self.inventory.seen, []);
        }
    }

    /// Reads what was handled before the restart, once.
    fn recall(&mut self, context: &Context) {
        let Some(state_dir) = context.state_dir.as_deref().filter(|_| self.memory.is_none()) else { return };
        let (root, seen) = (&self.root, &mut self.inventory.seen);
        let (memory, recalled) =
            Memory::load(state_dir, &context.name, root, &self.patterns, self.existing, seen);
        self.memory = Some(memory);
        if let Some(Recalled { earlier_patterns }) = recalled {
            self.began = true;
            self.earlier_patterns = earlier_patterns;
        }
    }

    /// Writes what is remembered over restarts, if that is due.
    fn remember(&mut self, now: Instant) {
        if let Some(memory) = &mut self.memory
            && memory.due(&self.inventory.seen).is_some_and(|due| due <= now)
        {
            memory.save(&self.inventory.seen, self.unscored.iter().map(PathBuf::as_path));
        }
    }

    /// Waits for the folder; `None` after the stop signal.
    async fn folder_appears(&mut self, context: &Context) -> Result<Option<RootId>, FolderError> {
        let (mut logged, mut patience) = (false, Patience::default());
        loop {
            if let Some(root) = self.find_folder()? {
                return Ok(Some(root));
            }
            self.began = true; // no file existed before the start
            let was_online = *context.status.borrow() == Status::Online;
            if !(patience.failed(false, Status::Offline, Instant::now().into_std()) && was_online) {
                context.report(Status::Offline);
                context.fail(&format!("the folder {} does not exist", self.root.display()));
            }
            if !std::mem::replace(&mut logged, true) {
                tracing::warn!(source = &*context.name, path = %self.root.display(), "waiting for the folder to appear");
            }
            tokio::select! {
                () = context.stop.cancelled() => return Ok(None),
                () = tokio::time::sleep(self.pace.check) => {}
            }
        }
    }

    fn find_folder(&self) -> Result<Option<RootId>, FolderError> {
        let path = self.root.clone();
        match fs::metadata(&path) {
            Ok(metadata) if metadata.is_dir() => {
                Ok(Some(RootId(Identity::of(&metadata), metadata.created().ok())))
            }
            Ok(_) => Err(FolderError::NotAFolder(path)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) if error.kind() == ErrorKind::NotADirectory => Err(FolderError::NotAFolder(path)),
            Err(cause) => Err(FolderError::Unreadable { path, cause }),
        }
    }

    /// Sets the watches and scans for the first time.
    pub(super) fn begin(&mut self, context: &Context) -> Result<(), FolderError> {
        let tree = self.open_folder(context)?;
        private::recover(&tree, &context.name);
        self.finisher = Some(Arc::new(Finisher::new(self.after.clone(), Arc::clone(&tree), !self.polls)));
        self.inventory.enter(tree);
        if self.existing == Existing::Skip && (!self.began || self.earlier_patterns.is_some()) {
            self.inventory.skip_existing(self.earlier_patterns.as_ref(), context)?;
        }
        (self.began, self.earlier_patterns) = (true, None);
        self.watch = None; // frees the old watches before it takes new ones
        if !self.polls {
            let watch = Watch::new(self.pace.notices);
            let refused = |error| {
                FolderError::of_watch(&self.root, error)
                    .unwrap_or_else(|| FolderError::Watch(self.root.clone(), "it was removed".to_owned()))
            };
            self.watch = Some(watch.map_err(refused)?);
        }
        self.scan(context)?;
        self.remember(Instant::now());
        tracing::info!(source = &*context.name, path = %self.root.display(), "watching the folder");
        Ok(())
    }

    /// Opens the folder, unless its files could end up in the state folder or in itself.
    fn open_folder(&self, context: &Context) -> Result<Arc<Tree>, FolderError> {
        let unreadable = |cause: io::Error| match (self.root.clone(), Shortage::of_io(&cause)) {
            (path, Some(shortage)) => FolderError::NotNow { path, shortage },
            (path, None) => FolderError::Unreadable { path, cause },
        };
        let tree = Tree::open(&self.root, self.links, context.state_dir.as_deref()).map_err(unreadable)?;
        if tree.is_in_state(tree.root()).map_err(|error| unreadable(error.into()))? {
            return Err(FolderError::InStateFolder(self.root.clone()));
        }
        if let After::Move(target) = &self.after {
            if Identity::at(target).is_ok_and(|target| target == tree.id()) {
                return Err(FolderError::MovesIntoItself(self.root.clone()));
            }
            if context
                .state_dir
                .as_deref()
                .is_some_and(|state_dir| descriptors::leads_into(target, state_dir))
            {
                return Err(FolderError::InStateFolder(target.clone()));
            }
        }
        Ok(Arc::new(tree))
    }

    fn scan(&mut self, context: &Context) -> Result<(), FolderError> {
        let started = Instant::now();
        self.clips_left_out = false;
        self.inventory.scan_all(self.watch.as_mut(), context)?;
        if self.inventory.seen.is_full() && !std::mem::replace(&mut self.full, true) {
            tracing::warn!(
                source = &*context.name, path = %self.root.display(),
                "the folder has more than {} files: older files that are copied into it may count as handled. Delete or move \
                 files with `after`",
                seen::MOST
            );
        }
        let ended = Instant::now();
        // A folder that takes long to scan is scanned less often: at most a fifth of the time.
        let rest = (ended - started) * 4;
        self.next_scan = ended + self.pace.scan.max(rest);
        self.earliest_scan = ended + self.pace.scan_again.max(rest);
        Ok(())
    }

    /// The loop: handles whatever happens first, and takes the oldest complete file when a slot is free.
    async fn work(&mut self, root: RootId, context: &Context) -> Result<Ended, FolderError> {
        self.next_check = Instant::now() + self.pace.check;
        loop {
            if context.stop.is_cancelled() {
                return Ok(Ended::Stopped);
            }
            while let Ok(taken) = self.done.try_recv() {
                self.finish(taken, context);
            }
            let now = Instant::now();
            if self.inventory.root_lost || now >= self.next_check {
                self.next_check = now + self.pace.check;
                if self.inventory.root_lost || self.find_folder()? != Some(root) {
                    self.inventory.root_lost = false;
                    return Ok(Ended::FolderLost);
                }
            }
            if self.watch.as_ref().is_some_and(Watch::lost_something)
                || self.inventory.has_room_again()
                || self.clips_left_out && self.waiting_clips.len() <= MOST_CLIPS / 2
            {
                self.inventory.scan_again = true;
            }
            if self.inventory.scan_again {
                self.next_scan = self.next_scan.min(self.earliest_scan);
            }
            if now >= self.next_scan {
                self.scan(context)?;
            }
            self.inventory.pending.wake(now);
            self.remember(now);

            let wake = self.next_check.min(self.next_scan);
            let write = self.memory.as_ref().and_then(|memory| memory.due(&self.inventory.seen));
            let wake = write.map_or(wake, |due| due.min(wake));
            let wake = self.inventory.pending.next_due().map_or(wake, |due| due.min(wake));
            tokio::select! {
                () = context.stop.cancelled() => return Ok(Ended::Stopped),
                () = sleep_until(wake) => {}
                Some(taken) = self.done.recv() => self.finish(taken, context),
                notice = next_notice(self.watch.as_mut()) => self.notice(notice, context)?,
                permit = context.slots.clone().acquire_owned(), if self.has_frame() => {
                    // A closed semaphore or channel: the service ends.
                    let Ok(permit) = permit else { return Ok(Ended::Stopped) };
                    if self.next_frame(permit, context).await.is_none() {
                        return Ok(Ended::Stopped);
                    }
                }
            }
        }
    }

    fn has_frame(&self) -> bool {
        self.playing.is_some() || self.inventory.pending.has_ready()
    }

    /// Sends a frame: of pictures and of a clip in turn, so that a long clip delays no picture.
    async fn next_frame(&mut self, permit: OwnedSemaphorePermit, context: &Context) -> Option<()> {
        let is_picture =
            self.inventory.pending.has_ready() && (self.picture_is_next || self.playing.is_none());
        self.picture_is_next = !is_picture;
        if is_picture { self.take(permit, context).await } else { self.play_on(permit, context).await }
    }

    fn notice(&mut self, notice: Option<Notice>, context: &Context) -> Result<(), FolderError> {
        let (Some(notice), Some(watch)) = (notice, self.watch.as_mut()) else {
            return Err(FolderError::Watch(self.root.clone(), "the watcher ended".to_owned()));
        };
        if let Notice::Renamed(from, to) = &notice
            && let Some(path) = self.in_flight.values_mut().find(|path| *path == from)
        {
            path.clone_from(to);
        }
        self.inventory.notice(notice, watch, context)
    }
}

/// The next notice; never, if the folder is polled.
async fn next_notice(watch: Option<&mut Watch>) -> Option<Notice> {
    match watch {
        Some(watch) => watch.next().await,
        None => std::future::pending().await,
    }
}
