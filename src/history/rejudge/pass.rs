//! Reads the stored scores of a source, and judges them with the triggers of the service.

use std::{collections::HashMap, sync::Arc};

use super::{
    changes::{self, Change, Changed},
    part::{self, LabelPart},
};
use crate::{
    history::{
        Reader,
        scores::{self, Chunk, FrameBuffer, StoredChunk, Window},
    },
    judge::{FrameScores, LabelSetup, LabelState, SetSetup, Setup, SourceJudge, Start, Turn},
    policy::LabelName,
};

/// Why scores cannot be judged again.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What was asked for is not stored, or is impossible.
    #[error("{0}")]
    Request(String),
    /// The history cannot be read.
    #[error("cannot read the history")]
    Read(#[from] rusqlite::Error),
}

pub(super) type Result<T> = std::result::Result<T, Error>;

/// How much was judged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rejudged {
    /// Frames.
    pub frames: u64,
    /// Places in which frames are missing: observations were lost, or the service was killed.
    pub gaps: u64,
    /// Chunks of frames that are damaged.
    pub damaged: u64,
}

impl Rejudged {
    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            frames: self.frames + other.frames,
            gaps: self.gaps + other.gaps,
            damaged: self.damaged + other.damaged,
        }
    }
}

/// What happens while scores are judged again.
pub enum Event<'e> {
    /// A label was raised or cleared by the frame.
    Turn(Moment<'e>, Turn),
    /// The frame was judged. The triggers are as they are after it.
    Judged(Moment<'e>, &'e SourceJudge),
}

/// A frame, and how it was judged.
#[derive(Clone, Copy)]
pub struct Moment<'e> {
    /// The settings with which it was judged.
    pub setup: &'e Arc<Setup>,
    /// Its time and scores.
    pub frame: &'e FrameScores<'e>,
}

/// Judges the stored scores of a source again, with these changes of the settings, and calls `each` for what happens in the window.
///
/// # Errors
/// The history cannot be read, or a change is impossible.
pub fn rejudge(
    reader: &Reader,
    source: &str,
    window: Window,
    changes: &[Change],
    mut each: impl FnMut(Event<'_>),
) -> Result<Rejudged> {
    judge_again(reader, source, window, None, [changes], |_, event| each(event))
}

/// Reads the stored scores of a source once, and judges them with each of several lists of changes. `each` receives the number of the
/// list, too. With `only`, everything that does not decide about this label is left out.
pub(super) fn judge_again<const N: usize>(
    reader: &Reader,
    source: &str,
    window: Window,
    only: Option<&LabelName>,
    changes: [&[Change]; N],
    mut each: impl FnMut(usize, Event<'_>),
) -> Result<Rejudged> {
    let needed = only.map(|name| -> Result<_> {
        let setups = scores::setups(reader.connection(), source, window)?;
        Ok(part::needed(setups.iter().map(AsRef::as_ref), name))
    });
    let (mut all, mut judged) = (changes.map(Rejudge::new), Rejudged::default());
    let mut views = Views { needed: needed.transpose()?, known: HashMap::new() };
    let (mut states, mut buffer) = (Vec::new(), FrameBuffer::default());
    scores::chunks::<Error>(reader.connection(), source, window, |chunk| {
        let read =
            chunk.and_then(|stored| Ok((Chunk::read(stored.bytes, stored.setup, &mut states)?, stored)));
        let Ok((chunk, StoredChunk { setup, .. })) = read else {
            judged.damaged += 1;
            return Ok(());
        };
        let View { setup, part } = views.of(setup);
        if let Some(part) = part {
            part.select(&mut states);
        }
        for rejudge in &mut all {
            rejudge.enter(setup, &chunk, &states)?;
        }
        let mut frames = 0;
        let judge = |frame: &FrameScores<'_>| {
            let is_inside = window.contains(frame.at);
            frames += u64::from(is_inside);
            for (number, rejudge) in all.iter_mut().enumerate() {
                let Some(Current { changed, judge, .. }) = &mut rejudge.current else { continue };
                let moment = Moment { setup: &changed.0, frame };
                judge.judge(frame, |turn| {
                    if is_inside {
                        each(number, Event::Turn(moment, turn));
                    }
                });
                if is_inside {
                    each(number, Event::Judged(moment, judge));
                }
            }
        };
        let read = match part {
            Some(part) => chunk.frames_of(&part.columns, &mut buffer, judge),
            None => chunk.frames(&mut buffer, judge),
        };
        judged.frames += frames;
        judged.damaged += u64::from(read.is_err());
        Ok(())
    })?;
    Ok(Rejudged { gaps: all.first().map_or(0, |rejudge| rejudge.gaps), ..judged })
}

/// How stored setups are judged: whole, or only the part that decides about one label.
struct Views {
    /// The labels that decide about the one; `None`: the setups are judged whole.
    needed: Option<Vec<LabelName>>,
    /// The view of each stored setup. These are kept alive by the entries, so no other one has the same address.
    known: HashMap<*const Setup, (Arc<Setup>, View)>,
}

/// A stored setup as it is judged.
struct View {
    setup: Arc<Setup>,
    /// `None`: all of it.
    part: Option<LabelPart>,
}

impl Views {
    fn of(&mut self, stored: &Arc<Setup>) -> &View {
        let view = || match &self.needed {
            None => View { setup: Arc::clone(stored), part: None },
            Some(needed) => {
                let part = LabelPart::of(stored, needed);
                View { setup: Arc::new(part.setup.clone()), part: Some(part) }
            }
        };
        &self.known.entry(Arc::as_ptr(stored)).or_insert_with(|| (Arc::clone(stored), view())).1
    }
}

struct Rejudge<'c> {
    changes: &'c [Change],
    /// The number of places in which frames are missing.
    gaps: u64,
    /// The changed setup of each recorded one. These are kept alive by the entries, so no other one has the same address.
    setups: HashMap<*const Setup, (Arc<Setup>, ChangedSetup)>,
    current: Option<Current>,
}

/// The changed setup, and which labels are affected.
type ChangedSetup = (Arc<Setup>, Arc<[bool]>);

/// The triggers at the end of the newest chunk.
struct Current {
    recorded: Arc<Setup>,
    changed: ChangedSetup,
    judge: SourceJudge,
}

impl<'c> Rejudge<'c> {
    fn new(changes: &'c [Change]) -> Self {
        Self { changes, gaps: 0, setups: HashMap::new(), current: None }
    }

    /// Brings the triggers into their states before the first frame of a chunk, which was recorded with this setup.
    fn enter(&mut self, recorded: &Arc<Setup>, chunk: &Chunk<'_>, states: &[LabelState]) -> Result<()> {
        let is_gap = !chunk.follows && chunk.start == Start::Continued;
        self.gaps += u64::from(is_gap && self.current.is_some());
        let before = self.current.take().filter(|_| chunk.start != Start::Added).map(|mut before| {
            if !chunk.clock_set_by.is_zero() {
                before.judge.clock_was_set(chunk.clock_set_by);
            }
            if chunk.start == Start::Restarted {
                before.judge.restarted();
            }
            before
        });
        let current = match before {
            Some(mut before) if Arc::ptr_eq(&before.recorded, recorded) => {
                before.judge.resume(states, |at| !before.changed.1[at]);
                before
            }
            before => {
                let changed = self.changed(recorded)?;
                follow(before, recorded, changed, states)
            }
        };
        self.current = Some(current);
        Ok(())
    }

    fn changed(&mut self, recorded: &Arc<Setup>) -> Result<ChangedSetup> {
        if let Some((_, changed)) = self.setups.get(&Arc::as_ptr(recorded)) {
            return Ok(changed.clone());
        }
        let Changed { setup, affected } = changes::apply(self.changes, recorded).map_err(Error::Request)?;
        let changed: ChangedSetup = (Arc::new(setup), affected.into());
        self.setups.insert(Arc::as_ptr(recorded), (Arc::clone(recorded), changed.clone()));
        Ok(changed)
    }
}

/// The triggers of another setup. Labels that are affected continue from `before`, if it has them.
fn follow(
    before: Option<Current>,
    recorded: &Arc<Setup>,
    changed: ChangedSetup,
    states: &[LabelState],
) -> Current {
    // The recorded state, as a reload of the configuration would change it.
    let mut judge = SourceJudge::new(recorded);
    judge.resume(states, |_| true);
    let mut judge = SourceJudge::after(Some(judge), &changed.0);
    if let Some(Current { changed: (known, _), judge: carried, .. }) = before {
        let is_known: Vec<_> = changed.0.all().map(|label| has(&known, label)).collect();
        let states: Vec<_> = judge.states().collect();
        judge = SourceJudge::after(Some(carried), &changed.0);
        judge.resume(&states, |at| !changed.1[at] || !is_known[at]);
    }
    Current { recorded: Arc::clone(recorded), changed, judge }
}

fn has(setup: &Setup, (set, label): (&SetSetup, &LabelSetup)) -> bool {
    setup.all().any(|(known_set, known)| known_set.name == set.name && known.name == label.name)
}
