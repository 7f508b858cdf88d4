//! Translates the kernel's events about the watched folders into notices.
//!
//! Every folder is watched separately, by the scan, so that the watch is in place before the folder is read: what the scan
//! does not find, the kernel reports. The reader of the kernel's events never blocks: notices go into a bounded channel, and
//! if the channel is full, the notice is dropped and a scan requested instead. A scan is also requested when the kernel's
//! own queue overflows.

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

/// The number of moves that may be between the two events of one move: usually 0.
pub(crate) const MOVES: usize = 16;

/// An event below a watched folder.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Notice {
    /// A file was closed after writing, or a file or folder was moved in.
    Complete(PathBuf),
    /// A folder, a link, or a file that may still be written to.
    Created(PathBuf),
    /// A file is written to. Only a hint.
    Writing(PathBuf),
    /// The permissions or times of a file were set.
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
    lost: Arc<AtomicBool>,
}

impl Watch {
    /// Watches no folder yet, and holds `capacity` notices.
    pub(crate) fn new(capacity: usize) -> notify::Result<Self> {
        let (sender, notices) = mpsc::channel(capacity);
        let lost = Arc::new(AtomicBool::new(false));
        let mut forwarder = Forwarder { translator: Translator::default(), sender, lost: Arc::clone(&lost) };
        let watcher = notify::recommended_watcher(move |event| forwarder.forward(event))?;
        Ok(Self { watcher, notices, lost })
    }

    /// Watches one folder without those below it. A second call for the same folder has no effect.
    ///
    /// If the folder is exchanged for a link at this moment, the kernel reports what is behind the link. Such a notice has no effect:
    /// the file that it names is looked up below the watched folder, where no link is followed.
    pub(crate) fn folder(&mut self, path: &Path) -> notify::Result<()> {
        self.watcher.watch(path, RecursiveMode::NonRecursive)
    }

    /// The next notice.
    pub(crate) async fn next(&mut self) -> Option<Notice> {
        self.notices.recv().await
    }

    /// Whether an event was lost since the last call.
    pub(crate) fn lost_something(&self) -> bool {
        self.lost.swap(false, Ordering::AcqRel)
    }
}

/// The sending side of a [`Watch`], on the thread of `notify`.
struct Forwarder {
    translator: Translator,
    sender: mpsc::Sender<Notice>,
    lost: Arc<AtomicBool>,
}

impl Forwarder {
    fn forward(&mut self, event: notify::Result<Event>) {
        let Ok(event) = event else {
            return self.lost.store(true, Ordering::Release);
        };
        // The kernel's queue overflowed: such an event contains nothing else.
        if event.need_rescan() {
            tracing::debug!("the kernel's queue overflowed; scanning the whole folder");
            self.lost.store(true, Ordering::Release);
        }
        if let Some(notice) = self.translator.translate(event)
            && let Err(full) = self.sender.try_send(notice)
            // Dropped here. A lost hint has no effect, any other lost notice costs a scan.
            && !matches!(full.into_inner(), Notice::Writing(_))
        {
            self.lost.store(true, Ordering::Release);
        }
    }
}

/// Turns the events of `notify` into notices.
#[derive(Debug, Default)]
struct Translator {
    /// The old paths of the files that were moved last.
    moved: VecDeque<(usize, PathBuf)>,
    /// The file that was written to last: a series of writes is one notice.
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
                    self.moved.push_front((tracker, path.clone()));
                    self.moved.truncate(MOVES);
                }
                Some(Notice::Gone(path))
            }
            EventKind::Modify(ModifyKind::Name(RenameMode::To)) => {
                let old = self.moved.iter().position(|(moved, _)| Some(*moved) == tracker);
                match old.and_then(|place| self.moved.remove(place)) {
                    Some((_, from)) => Some(Notice::Renamed(from, path)),
                    None => Some(Notice::Complete(path)),
                }
            }
            // `Both` repeats `From` and `To`.
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
    fn a_rename_is_reported_with_both_paths() {
        let name = |mode| EventKind::Modify(ModifyKind::Name(mode));
        let data = EventKind::Modify(ModifyKind::Data(DataChange::Any));
        let close = EventKind::Access(AccessKind::Close(AccessMode::Write));
        let mut translator = Translator::default();
        let mut notice = |kind, path, tracker| translator.translate(event(kind, path, tracker));
        let path = PathBuf::from;

        assert_eq!(notice(data, "a", None), Some(Notice::Writing(path("a"))));
        assert_eq!(notice(data, "a", None), None, "a second write in a row");
        assert_eq!(notice(close, "a", None), Some(Notice::Complete(path("a"))));
        assert_eq!(notice(data, "a", None), Some(Notice::Writing(path("a"))), "opened once more");
        assert_eq!(notice(name(RenameMode::From), "a", Some(1)), Some(Notice::Gone(path("a"))));
        assert_eq!(notice(name(RenameMode::To), "b", Some(1)), Some(Notice::Renamed(path("a"), path("b"))));
        assert_eq!(notice(name(RenameMode::Both), "b", Some(1)), None);
        assert_eq!(notice(name(RenameMode::From), "b", Some(2)), Some(Notice::Gone(path("b"))));
        assert_eq!(notice(name(RenameMode::To), "c", Some(3)), Some(Notice::Complete(path("c"))), "moved in");
        assert_eq!(
            notice(name(RenameMode::To), "d", Some(2)),
            Some(Notice::Renamed(path("b"), path("d"))),
            "late"
        );
    }

    #[test]
    fn a_lost_event_requests_a_scan() {
        let data = || event(EventKind::Modify(ModifyKind::Data(DataChange::Any)), "a", None);
        let close = || event(EventKind::Access(AccessKind::Close(AccessMode::Write)), "a", None);
        let overflow = || Event::new(EventKind::Other).set_flag(Flag::Rescan);
        let failed = || notify::Error::generic("cannot read the events");
        let cases = [
            ("there is room", 2, vec![Ok(data()), Ok(close())], false, 2),
            ("no room", 1, vec![Ok(data()), Ok(close())], true, 1),
            ("no room for a hint", 1, vec![Ok(close()), Ok(data())], false, 1),
            ("the kernel's queue overflowed", 2, vec![Ok(overflow())], true, 0),
            ("the events could not be read", 2, vec![Err(failed())], true, 0),
        ];
        for (name, room, events, expected, count) in cases {
            let (sender, mut notices) = mpsc::channel(room);
            let lost = Arc::new(AtomicBool::new(false));
            let mut forwarder =
                Forwarder { translator: Translator::default(), sender, lost: Arc::clone(&lost) };
            events.into_iter().for_each(|event| forwarder.forward(event));
            assert_eq!(lost.load(Ordering::Acquire), expected, "{name}");
            assert_eq!(std::iter::from_fn(|| notices.try_recv().ok()).count(), count, "{name}");
        }
    }
}
