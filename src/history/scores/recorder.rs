//! Records the scores of observations: one open chunk for each source in memory, written when the next checkpoint of the source arrives
//! (once a minute), when another setup is in force, when the clock was set, and at the end. A kill loses the open chunks.

use std::{
    collections::HashMap,
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::SignedDuration;
use rusqlite::Transaction;

use super::{
    chunk::{ChunkWriter, Rounding},
    table,
};
use crate::{
    judge::{Assessment, Checkpoint, FrameScores, Setup, SourceJudge, Start},
    observe::Observation,
};

/// A source without frames for this time is forgotten. Its next frame has a checkpoint, because that is longer than between two of them.
const FORGOTTEN: Duration = Duration::from_secs(600);

/// The open chunks.
#[derive(Debug, Default)]
pub struct ScoreRecorder {
    sources: HashMap<Arc<str>, OpenSource>,
    /// Space for the scores of a frame.
    stored: Vec<Option<f32>>,
}

/// A source whose triggers are known.
struct OpenSource {
    setup: Arc<Setup>,
    /// The identifier of the setup in the file, once it is there.
    setup_id: Option<i64>,
    /// The triggers, which judge the scores as they are stored. They decide as those of the service did.
    judge: SourceJudge,
    /// The number of the next frame.
    next: u64,
    chunk: Option<ChunkWriter>,
    /// When the newest frame was added.
    used: Instant,
}

impl ScoreRecorder {
    /// Adds a frame to the open chunk of its source, and writes the chunk if it is complete.
    ///
    /// # Errors
    /// The disk does not work.
    pub fn record(
        &mut self,
        transaction: &Transaction<'_>,
        observation: &Observation,
    ) -> rusqlite::Result<()> {
        let source = &observation.source;
        let known = self.sources.remove(source);
        let follows = known.as_ref().is_some_and(|known| known.next == observation.number);
        let mut open = match (&observation.checkpoint, known) {
            (Some(checkpoint), Some(mut known)) => {
                known.close(transaction, source)?;
                known.check(checkpoint, source, follows);
                OpenSource::new(checkpoint, Some(&known))
            }
            (Some(checkpoint), None) => OpenSource::new(checkpoint, None),
            (None, Some(known)) if follows => known,
            // An observation was lost. The next one with a checkpoint begins again.
            (None, Some(mut known)) => return known.close(transaction, source),
            (None, None) => return Ok(()),
        };
        if open.chunk.as_ref().is_some_and(ChunkWriter::is_full) {
            open.close(transaction, source)?;
        }
        open.add(observation, follows, &mut self.stored);
        self.sources.insert(Arc::clone(source), open);
        Ok(())
    }

    /// Writes all open chunks. The next frames begin new ones.
    ///
    /// # Errors
    /// The disk does not work.
    pub fn flush(&mut self, transaction: &Transaction<'_>) -> rusqlite::Result<()> {
        self.sources.iter_mut().try_for_each(|(source, open)| open.close(transaction, source))?;
        self.sources.retain(|_, open| open.used.elapsed() < FORGOTTEN);
        Ok(())
    }
}

impl fmt::Debug for OpenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenSource")
            .field("next", &self.next)
            .field("chunk", &self.chunk)
            .finish_non_exhaustive()
    }
}

impl OpenSource {
    fn new(checkpoint: &Checkpoint, before: Option<&Self>) -> Self {
        let same = before.filter(|before| Arc::ptr_eq(&before.setup, &checkpoint.setup));
        let mut judge = SourceJudge::new(&checkpoint.setup);
        judge.resume(&checkpoint.states, |_| true);
        Self {
            setup: Arc::clone(&checkpoint.setup),
            setup_id: same.and_then(|same| same.setup_id),
            judge,
            next: 0,
            chunk: None,
            used: Instant::now(),
        }
    }

    fn add(&mut self, observation: &Observation, follows: bool, stored: &mut Vec<Option<f32>>) {
        let at = observation.captured_at;
        let chunk = self.chunk.get_or_insert_with(|| match &observation.checkpoint {
            Some(checkpoint) => ChunkWriter::new(checkpoint, follows, at),
            // The chunk before was written in between.
            None => {
                let checkpoint = Checkpoint {
                    setup: Arc::clone(&self.setup),
                    states: self.judge.states().collect(),
                    clock_set_by: SignedDuration::ZERO,
                    start: Start::Continued,
                };
                ChunkWriter::new(&checkpoint, true, at)
            }
        });
        let sets: Vec<_> = self.setup.sets.iter().map(|set| is_scored(observation, &set.name)).collect();
        let scores = scores(&self.setup, &observation.assessments);
        let scores = scores.zip(self.judge.levels().map(Rounding::Levels));
        chunk.add(at, scores, &sets, stored);
        self.judge.judge(&FrameScores { at, scores: stored, sets: &sets }, |_| {});
        (self.next, self.used) = (observation.number + 1, Instant::now());
    }

    fn close(&mut self, transaction: &Transaction<'_>, source: &str) -> rusqlite::Result<()> {
        let Some(chunk) = self.chunk.take() else { return Ok(()) };
        let setup = match self.setup_id {
            Some(id) => id,
            None => *self.setup_id.insert(table::setup_id(transaction, &self.setup)?),
        };
        table::insert(transaction, source, setup, chunk)
    }

    /// Whether the triggers here decided as those of the service. If not, `replay --history` is wrong until this checkpoint.
    fn check(&self, checkpoint: &Checkpoint, source: &str, follows: bool) {
        let comparable = follows
            && Arc::ptr_eq(&self.setup, &checkpoint.setup)
            && checkpoint.start == Start::Continued
            && checkpoint.clock_set_by.is_zero();
        if comparable && !self.judge.states().eq(checkpoint.states.iter().copied()) {
            tracing::error!(source, "stored scores judged again differ from the service: please report this");
        }
    }
}

/// Whether the label set was scored in this frame.
fn is_scored(observation: &Observation, set: &str) -> bool {
    observation.sets.iter().any(|scored| *scored.label_set == *set)
}

/// The score that each label of the setup received; `None` if the frame has none, because the configuration changed while it was in
/// flight.
fn scores<'s>(setup: &'s Setup, assessments: &'s [Assessment]) -> impl Iterator<Item = Option<f32>> + 's {
    let mut likely = 0;
    setup.labels().map(move |(set, label)| {
        let is_it =
            |it: &&Assessment| it.when.is_none() && *it.label == *label.name && *it.label_set == *set.name;
        let found = assessments.get(likely).filter(is_it);
        let found = found.or_else(|| assessments.iter().find(is_it));
        likely += 1;
        found.map(|assessment| assessment.score)
    })
}
