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
pub(crate) const MOVES: usize = 16;

/// Something happened below a watched folder.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Notice {
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
pub(crate) struct Watch {
    watcher: RecommendedWatcher,
    notices: mpsc::Receiver<Notice>,
    rescan: Arc<AtomicBool>,
}

impl Watch {
    /// Watches nothing yet, and holds `capacity` notices.
    pub(crate) fn new(capacity: usize) -> notify::Result<Self> {
        let (sender, notices) = mpsc::channel(capacity);
        let rescan = Arc::new(AtomicBool::new(false));
        let mut teller = Teller { translator: Translator::default(), sender, lost: Arc::clone(&rescan) };
        let watcher = notify::recommended_watcher(move |told| teller.tell(told))?;
        Ok(Self { watcher, notices, rescan })
    }

    /// Watches one folder, without those below it. Doing so again does no harm.
    pub(crate) fn folder(&mut self, path: &Path) -> notify::Result<()> {
        self.watcher.watch(path, RecursiveMode::NonRecursive)
    }

    /// The next notice.
    pub(crate) async fn next(&mut self) -> Option<Notice> {
        self.notices.recv().await
    }

    /// Whether something was lost since the last call.
    pub(crate) fn lost_something(&self) -> bool {
        self.rescan.swap(false, Ordering::AcqRel)
    }
}

/// The other end of a [`Watch`], on the thread of `notify`.
struct Teller {
    translator: Translator,
    sender: mpsc::Sender<Notice>,
    lost: Arc<AtomicBool>,
}

impl Teller {
    fn tell(&mut self, told: notify::Result<Event>) {
        let Ok(event) = told else {
            return self.lost.store(true, Ordering::Release);
        };
        // The kernel's queue ran over: such an event tells nothing else.
        if event.need_rescan() {
            tracing::debug!("the kernel's queue ran over; looking at the whole folder");
            self.lost.store(true, Ordering::Release);
        }
        if let Some(notice) = self.translator.translate(event)
            && let Err(full) = self.sender.try_send(notice)
            // Dropped here. A hint costs nothing, anything else a look at everything.
            && !matches!(full.into_inner(), Notice::Writing(_))
        {
            self.lost.store(true, Ordering::Release);
        }
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
    fn whatever_is_lost_asks_for_a_look() {
        let data = || event(EventKind::Modify(ModifyKind::Data(DataChange::Any)), "a", None);
        let close = || event(EventKind::Access(AccessKind::Close(AccessMode::Write)), "a", None);
        let overflow = || Event::new(EventKind::Other).set_flag(Flag::Rescan);
        let failed = || notify::Error::generic("cannot read the events");
        let cases = [
            ("there is room", 2, vec![Ok(data()), Ok(close())], false, 2),
            ("no room", 1, vec![Ok(data()), Ok(close())], true, 1),
            ("no room for a hint", 1, vec![Ok(close()), Ok(data())], false, 1),
            ("the kernel's queue ran over", 2, vec![Ok(overflow())], true, 0),
            ("the events could not be read", 2, vec![Err(failed())], true, 0),
        ];
        for (name, room, events, lost, told) in cases {
            let (sender, mut notices) = mpsc::channel(room);
            let rescan = Arc::new(AtomicBool::new(false));
            let mut teller = Teller { translator: Translator::default(), sender, lost: Arc::clone(&rescan) };
            events.into_iter().for_each(|event| teller.tell(event));
            assert_eq!(rescan.load(Ordering::Acquire), lost, "{name}");
            assert_eq!(std::iter::from_fn(|| notices.try_recv().ok()).count(), told, "{name}");
        }
    }
}
