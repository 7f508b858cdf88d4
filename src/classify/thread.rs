//! The thread that owns the model: takes the frames that wait as one batch, and tells what it saw in each. Their pictures were
//! made ready for the model by another thread meanwhile ([`Ahead`]).

use std::{collections::HashMap, io, sync::Arc, thread, time::Instant};

use tokio::sync::{
    mpsc::{Receiver, Sender},
    watch,
};
use tracing::{debug, error, warn};

use super::{
    Scored, SetScores,
    prefetch::{Ahead, Ready},
    progress::Progress,
    repeats::{Batch, Repeats},
    watchlist::{Scale, Watch, Watchlist},
};
use crate::{
    frame::Frame,
    model::{Model, ModelError},
    picture::Picture,
};

/// What the thread has done when it ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Frames that the model scored.
    pub scored: u64,
    /// Frames that showed the same picture as one before them, and got its scores.
    pub repeated: u64,
    /// Frames that the model could not score.
    pub failed: u64,
    /// Frames of a source that is not watched any more.
    pub unwatched: u64,
}

/// Whoever took the scores is gone, while frames still come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("nobody takes the scores any more")]
pub struct NobodyListens;

/// Starts the threads. They end when `frames` is closed and everything in it was scored. Before each batch the model's looks for a
/// newer watchlist; a frame that is sent after a watchlist is never scored with an older one. In `progress` others see how it
/// gets on.
///
/// # Errors
/// The operating system has no thread left.
pub fn spawn(
    model: Model,
    watchlist: watch::Receiver<Arc<Watchlist>>,
    frames: Receiver<Frame>,
    scored: Sender<Scored>,
    progress: Arc<Progress>,
) -> io::Result<thread::JoinHandle<Result<Counts, NobodyListens>>> {
    start(model, watchlist, frames, scored, progress, false)
}

/// Likewise, but waits until a batch is full: the same frames are then always the same batches, whose scores are the same to the
/// last bit. For recordings; a camera's frame would wait for frames of tomorrow.
///
/// # Errors
/// As [`spawn`].
pub fn spawn_in_full_batches(
    model: Model,
    watchlist: watch::Receiver<Arc<Watchlist>>,
    frames: Receiver<Frame>,
    scored: Sender<Scored>,
) -> io::Result<thread::JoinHandle<Result<Counts, NobodyListens>>> {
    start(model, watchlist, frames, scored, Arc::default(), true)
}

fn start(
    mut model: Model,
    watchlist: watch::Receiver<Arc<Watchlist>>,
    frames: Receiver<Frame>,
    scored: Sender<Scored>,
    progress: Arc<Progress>,
    full_batches: bool,
) -> io::Result<thread::JoinHandle<Result<Counts, NobodyListens>>> {
    let max_batch = model.max_batch();
    let preprocessor = model.preprocessor().clone();
    let frames = Ahead::spawn(preprocessor, watchlist.clone(), frames, max_batch, Arc::clone(&progress))?;
    thread::Builder::new().name("model".to_owned()).spawn(move || {
        Worker::new(&mut model, watchlist, progress, max_batch, full_batches).run(frames, &scored)
    })
}

/// What the threads do: scores until `frames` is closed, at most `max_batch` pictures in one run of the model.
///
/// # Errors
/// The operating system has no thread left; within, whoever took the scores is gone.
pub fn score_all(
    model: &mut Model,
    watchlist: watch::Receiver<Arc<Watchlist>>,
    frames: Receiver<Frame>,
    scored: &Sender<Scored>,
    max_batch: usize,
) -> io::Result<Result<Counts, NobodyListens>> {
    let (preprocessor, progress) = (model.preprocessor().clone(), Arc::<Progress>::default());
    let at_most = max_batch.max(1);
    let frames = Ahead::spawn(preprocessor, watchlist.clone(), frames, at_most, Arc::clone(&progress))?;
    Ok(Worker::new(model, watchlist, progress, max_batch, false).run(frames, scored))
}

struct Worker<'a> {
    model: &'a mut Model,
    max_batch: usize,
    scale: Scale,
    watchlist: watch::Receiver<Arc<Watchlist>>,
    counts: Counts,
    full_batches: bool,
    progress: Arc<Progress>,
}

impl<'a> Worker<'a> {
    fn new(
        model: &'a mut Model,
        watchlist: watch::Receiver<Arc<Watchlist>>,
        progress: Arc<Progress>,
        max_batch: usize,
        full_batches: bool,
    ) -> Self {
        let (scale, max_batch) = (Scale::of(model), max_batch.max(1));
        Self { model, max_batch, scale, watchlist, counts: Counts::default(), full_batches, progress }
    }

    fn run(mut self, frames: Ahead, scored: &Sender<Scored>) -> Result<Counts, NobodyListens> {
        let mut repeats = Repeats::default();
        while let Some(first) = frames.wait() {
            let mut batch = vec![first];
            let full = self.full_batches;
            let next = || if full { frames.wait() } else { frames.take() };
            batch.extend(std::iter::from_fn(next).take(self.max_batch - 1));
            let progress = Arc::clone(&self.progress);
            let _at_work = progress.pulse.work();
            batch.iter().for_each(|ready| progress.queue.observe(ready.frame.slot.age()));
            let began = Instant::now();
            // Only now: a source that just started is on the list that was there before its first frame.
            let watchlist = Arc::clone(&self.watchlist.borrow());
            let (batch, prepared) = Prepared::of(batch, &watchlist);
            let batch = self.counts.watched(batch, &watchlist);
            let Batch { known, fresh, waiting } = repeats.part(batch, &watchlist);
            let repeated = (known.len() + waiting.len()) as u64;
            let Self { model, max_batch, scale, counts, .. } = &mut self;
            let run = |model: &mut Model, values: &[f32]| {
                let vectors = model.embed_prepared(values);
                // Many regions are many runs.
                progress.pulse.beat();
                vectors
            };
            let mut sets =
                |frames: &[Frame]| sets(model, *max_batch, *scale, &watchlist, &prepared, frames, run);
            let answers = counts.score(fresh, &mut sets);
            let (answers, lost) = repeats.join(answers, waiting);
            counts.repeated += repeated - lost.len() as u64;
            // Dropped: what they show could not be scored, which was said of the first of them.
            counts.failed += lost.len() as u64;
            progress.tell(counts);
            progress.batch.observe(began.elapsed());
            for answer in known.into_iter().chain(answers) {
                scored.blocking_send(answer).map_err(|_| NobodyListens)?;
            }
        }
        frames.end();
        Ok(self.counts)
    }
}

/// What the pictures of a batch are to the model, by source and place in memory; their frames keep them there.
struct Prepared(HashMap<(Arc<str>, *const Picture), Vec<f32>>);

impl Prepared {
    /// The frames, and what was prepared of them for this watchlist.
    fn of(batch: Vec<Ready>, watchlist: &Arc<Watchlist>) -> (Vec<Frame>, Self) {
        let mut prepared = HashMap::new();
        let frames = batch.into_iter().map(|mut ready| {
            if let Some(values) = ready.prepared(watchlist) {
                prepared.insert(Self::key(&ready.frame), values);
            }
            ready.frame
        });
        let frames = frames.collect();
        (frames, Self(prepared))
    }

    fn get(&self, frame: &Frame) -> Option<&[f32]> {
        self.0.get(&Self::key(frame)).map(Vec::as_slice)
    }

    fn key(frame: &Frame) -> (Arc<str>, *const Picture) {
        (Arc::clone(&frame.source), Arc::as_ptr(&frame.picture))
    }
}

impl Counts {
    /// Without the frames of sources that are not on the list.
    fn watched(&mut self, batch: Vec<Frame>, watchlist: &Watchlist) -> Vec<Frame> {
        let is_watched = |frame: &Frame| watchlist.watch(&frame.source).is_some();
        let (watched, unwatched) = batch.into_iter().partition::<Vec<_>, _>(is_watched);
        // Dropped: their source was removed while they were under way, and nobody asks for their scores. The slot goes
        // back without `done`, so a file stays where it is.
        for frame in unwatched {
            debug!(
                source = &*frame.source,
                origin = frame.origin,
                "its source is not watched any more; dropped"
            );
            self.unwatched += 1;
        }
        watched
    }

    /// All frames at once; if that fails one by one, so that one bad frame does not take the others with it.
    fn score(
        &mut self,
        batch: Vec<Frame>,
        sets: &mut impl FnMut(&[Frame]) -> Result<Vec<Seen>, ModelError>,
    ) -> Vec<Scored> {
        if batch.is_empty() {
            return Vec::new();
        }
        let reason = match sets(&batch) {
            Ok(sets) => {
                self.scored += batch.len() as u64;
                let scored = |(frame, (sets, embeddings))| Scored { frame, sets, embeddings };
                return batch.into_iter().zip(sets).map(scored).collect();
            }
            Err(reason) => reason,
        };
        if batch.len() > 1 {
            warn!(%reason, frames = batch.len(), "a batch failed; its frames are tried one by one");
            return batch.into_iter().flat_map(|frame| self.score(vec![frame], sets)).collect();
        }
        // Dropped: a frame that the model cannot score now will not be scored by waiting, and behind it others wait.
        // Its slot goes back to the source without `done`, so a file stays where it is.
        for frame in batch {
            error!(%reason, source = &*frame.source, origin = frame.origin, "the frame could not be scored and is dropped");
            self.failed += 1;
        }
        Vec::new()
    }
}

/// The scores of a frame, and the embeddings they were made of.
type Seen = (Vec<SetScores>, Vec<Arc<[f32]>>);

/// For each frame the scores of each label set that its source watches.
fn sets(
    model: &mut Model,
    max_batch: usize,
    scale: Scale,
    watchlist: &Watchlist,
    prepared: &Prepared,
    frames: &[Frame],
    mut run: impl FnMut(&mut Model, &[f32]) -> Result<Vec<Vec<f32>>, ModelError>,
) -> Result<Vec<Seen>, ModelError> {
    let watch = |frame: &Frame| {
        let unknown = || format!("it was not told what to look for in frames of {}", frame.source);
        watchlist.watch(&frame.source).ok_or_else(|| ModelError::Run(unknown()))
    };
    let watches = frames.iter().map(watch).collect::<Result<Vec<&Watch>, _>>()?;
    let one = model.preprocessor().tensor_len();
    let parts: usize = watches.iter().map(|watch| watch.count()).sum();
    let mut values = Vec::with_capacity(one * parts);
    for (frame, watch) in frames.iter().zip(&watches) {
        match prepared.get(frame) {
            Some(ready) => values.extend_from_slice(ready),
            // Seldom: the watchlist is newer than what was prepared.
            None => watch
                .parts(&frame.picture)
                .iter()
                .for_each(|part| model.preprocessor().append(part, &mut values)),
        }
    }
    let mut vectors = Vec::with_capacity(parts);
    for values in values.chunks(one * max_batch) {
        vectors.extend(run(model, values)?);
    }
    let mut vectors = vectors.as_slice();
    let mut answers = Vec::with_capacity(frames.len());
    for watch in watches {
        let (own, others) = vectors.split_at(watch.count());
        vectors = others;
        answers.push((
            watchlist.scores(watch, scale, own),
            own.iter().map(|vector| vector.as_slice().into()).collect(),
        ));
    }
    Ok(answers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Slot;

    fn frame(origin: &str) -> Frame {
        Frame {
            source: "inbox".into(),
            origin: origin.to_owned(),
            captured_at: jiff::Timestamp::UNIX_EPOCH,
            picture: Picture::of_rgb(1, 1, vec![0; 3]).into(),
            slot: Slot::free(),
        }
    }

    #[test]
    fn a_frame_that_cannot_be_scored_is_counted_and_takes_nobody_with_it() {
        let mut counts = Counts::default();
        let mut sets = |frames: &[Frame]| match frames.iter().any(|frame| frame.origin == "bad") {
            true => Err(ModelError::Run("no".to_owned())),
            false => Ok(vec![Seen::default(); frames.len()]),
        };
        let scored = counts.score(["one", "bad", "two"].map(frame).into(), &mut sets);
        let origins = scored.iter().map(|scored| scored.frame.origin.as_str()).collect::<Vec<_>>();
        assert_eq!(origins, ["one", "two"]);
        assert_eq!(counts, Counts { scored: 2, failed: 1, ..Counts::default() });
    }
}
