//! What the kernel tells about the watched folders, in our words.
//!
//! Every folder is watched by itself, by our own look, so that the watch is in place before the folder is read: what the
//! look does not find, the kernel tells. It refuses to decide, and never blocks the kernel's reader: notices go into a
//! bounded channel, and one that finds it full is dropped and a rescan asked for instead. The same is asked for when the
//! kernel's own queue overflows.

use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use notify::{
    Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher,
    event::{AccessKind, AccessMode, CreateKind, ModifyKind, RenameMode},
};
use tokio::sync::mpsc;

/// So many moves may be between the two events of one move: usually none is.
pub(super) const MOVES: usize = 16;

/// Something happened below a watched folder.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Notice {
    /// A file was closed after writing, or a file or folder was moved in.
    Complete(PathBuf),
    /// A folder, a link, or a file that may still be written to.
    Created(PathBuf),
    /// A file is being written to. Only a hint.
    Writing(PathBuf),
    /// Its permissions or times were set.
    Attributes(PathBuf),
    /// Deleted or moved away.
    Gone(PathBuf),
    /// Moved inside the folder; [`Notice::Gone`] came before.
    Renamed(PathBuf, PathBuf),
}

/// The kernel's watches on a folder and those below it.
#[derive(Debug)]
pub(super) struct Watch {
    watcher: RecommendedWatcher,
    notices: mpsc::Receiver<Notice>,
    rescan: Arc<AtomicBool>,
}

impl Watch {
    /// Watches nothing yet, and holds `capacity` notices.
    pub(super) fn new(capacity: usize) -> notify::Result<Self> {
        let (sender, notices) = mpsc::channel(capacity);
        let rescan = Arc::new(AtomicBool::new(false));
        let mut translator = Translator::default();
        let lost = Arc::clone(&rescan);
        let watcher = notify::recommended_watcher(move |told: notify::Result<Event>| {
            let Ok(event) = told else {
                lost.store(true, Ordering::Release);
                return;
            };
            if event.need_rescan() {
                lost.store(true, Ordering::Release);
            }
            if let Some(notice) = translator.translate(event)
                && let Err(dropped) = sender.try_send(notice)
                && !matches!(dropped.into_inner(), Notice::Writing(_))
            {
                lost.store(true, Ordering::Release);
            }
        })?;
        Ok(Self { watcher, notices, rescan })
    }

    /// Watches one folder, without those below it. Doing so again does no harm.
    pub(super) fn folder(&mut self, path: &Path) -> notify::Result<()> {
        self.watcher.watch(path, RecursiveMode::NonRecursive)
    }

    /// The next notice.
    pub(super) async fn next(&mut self) -> Option<Notice> {
        self.notices.recv().await
    }

    /// Whether something was lost since the last call.
    pub(super) fn lost_something(&self) -> bool {
        self.rescan.swap(false, Ordering::AcqRel)
    }
}

/// Turns the events of `notify` into notices.
#[derive(Debug, Default)]
struct Translator {
    /// Where the files that were moved last came from.
    left: VecDeque<(usize, PathBuf)>,
    /// The file that was written to last: a thousand writes in a row are one notice.
    written: Option<PathBuf>,
}

impl Translator {
    fn translate(&mut self, mut event: Event) -> Option<Notice> {
        if matches!(event.kind, EventKind::Access(AccessKind::Open(_))) {
            return None;
        }
        let tracker = event.tracker();
        let path = event.paths.pop()?;
        if matches!(event.kind, EventKind::Modify(ModifyKind::Data(_))) {
            if self.written.as_ref() == Some(&path) {
                return None;
            }
            self.written = Some(path.clone());
            return Some(Notice::Writing(path));
        }
        self.written = None;
        match event.kind {
            EventKind::Access(AccessKind::Close(AccessMode::Write)) => Some(Notice::Complete(path)),
            EventKind::Create(CreateKind::Folder | CreateKind::File) => Some(Notice::Created(path)),
            EventKind::Modify(ModifyKind::Metadata(_)) => Some(Notice::Attributes(path)),
            EventKind::Remove(_) => Some(Notice::Gone(path)),
            EventKind::Modify(ModifyKind::Name(RenameMode::From)) => {
                if let Some(tracker) = tracker {
                    self.left.push_front((tracker, path.clone()));
                    self.left.truncate(MOVES);
                }
                Some(Notice::Gone(path))
            }
            EventKind::Modify(ModifyKind::Name(RenameMode::To)) => {
                let left = self.left.iter().position(|(left, _)| Some(*left) == tracker);
                match left.and_then(|place| self.left.remove(place)) {
                    Some((_, from)) => Some(Notice::Renamed(from, path)),
                    None => Some(Notice::Complete(path)),
                }
            }
            // `Both` repeats what `From` and `To` said.
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use notify::event::{DataChange, Flag};

    use super::*;

    fn event(kind: EventKind, path: &str, tracker: Option<usize>) -> Event {
        let event = Event::new(kind).add_path(PathBuf::from(path));
        match tracker {
            Some(tracker) => event.set_tracker(tracker),
            None => event,
        }
    }

    #[test]
    fn a_rename_is_told_with_where_it_came_from() {
        let name = |mode| EventKind::Modify(ModifyKind::Name(mode));
        let data = EventKind::Modify(ModifyKind::Data(DataChange::Any));
        let close = EventKind::Access(AccessKind::Close(AccessMode::Write));
        let mut translator = Translator::default();
        let mut told = |kind, path, tracker| translator.translate(event(kind, path, tracker));
        let path = PathBuf::from;

        assert_eq!(told(data, "a", None), Some(Notice::Writing(path("a"))));
        assert_eq!(told(data, "a", None), None, "a second write in a row");
        assert_eq!(told(close, "a", None), Some(Notice::Complete(path("a"))));
        assert_eq!(told(data, "a", None), Some(Notice::Writing(path("a"))), "opened once more");
        assert_eq!(told(name(RenameMode::From), "a", Some(1)), Some(Notice::Gone(path("a"))));
        assert_eq!(told(name(RenameMode::To), "b", Some(1)), Some(Notice::Renamed(path("a"), path("b"))));
        assert_eq!(told(name(RenameMode::Both), "b", Some(1)), None);
        assert_eq!(told(name(RenameMode::From), "b", Some(2)), Some(Notice::Gone(path("b"))));
        assert_eq!(told(name(RenameMode::To), "c", Some(3)), Some(Notice::Complete(path("c"))), "moved in");
        assert_eq!(
            told(name(RenameMode::To), "d", Some(2)),
            Some(Notice::Renamed(path("b"), path("d"))),
            "late"
        );
    }

    #[test]
    fn an_overflow_of_the_kernel_has_no_path_and_is_no_notice() {
        let overflow = Event::new(EventKind::Other).set_flag(Flag::Rescan);
        assert!(overflow.need_rescan());
        assert_eq!(Translator::default().translate(overflow), None);
    }
}
