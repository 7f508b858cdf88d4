//! The thread that owns the model: takes the frames that wait as one batch, and tells what it saw in each.

use std::{borrow::Cow, collections::HashMap, io, sync::Arc, thread};

use tokio::sync::mpsc::{Receiver, Sender};
use tracing::{error, warn};

use super::{Classifier, RegionScores, Scored, SetScores, model::ModelError};
use crate::{config, frame::Frame, picture::Picture};

/// At most so many pictures go through the model in one run: more would not be faster, only later.
const MAX_BATCH: usize = 8;

/// What the thread has done when it ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Frames that were scored.
    pub scored: u64,
    /// Frames that the model could not score.
    pub failed: u64,
}

/// Whoever took the scores is gone, while frames still come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("nobody takes the scores any more")]
pub struct NobodyListens;

/// Starts the thread. It ends when `frames` is closed and everything in it was scored.
///
/// # Errors
/// The operating system has no thread left.
///
/// # Panics
/// A source watches a label set that `classifier` does not have: a valid configuration rules that out.
pub fn spawn(
    classifier: Classifier,
    sources: &[config::Source],
    frames: Receiver<Frame>,
    scored: Sender<Scored>,
) -> io::Result<thread::JoinHandle<Result<Counts, NobodyListens>>> {
    let watches =
        sources.iter().map(|source| (source.name.as_str().into(), Watch::of(source, &classifier))).collect();
    let worker = Worker { classifier, watches, counts: Counts::default() };
    thread::Builder::new().name("model".to_owned()).spawn(move || worker.run(frames, &scored))
}

/// What is scored of the frames of one source.
struct Watch {
    /// None at all is the whole frame.
    regions: Vec<(Arc<str>, config::Region)>,
    /// The numbers of the label sets.
    sets: Vec<usize>,
}

struct Worker {
    classifier: Classifier,
    watches: HashMap<Arc<str>, Watch>,
    counts: Counts,
}

impl Worker {
    fn run(mut self, mut frames: Receiver<Frame>, scored: &Sender<Scored>) -> Result<Counts, NobodyListens> {
        while let Some(first) = frames.blocking_recv() {
            let mut batch = vec![first];
            batch.extend(std::iter::from_fn(|| frames.try_recv().ok()).take(MAX_BATCH - 1));
            for answer in self.score(batch) {
                scored.blocking_send(answer).map_err(|_| NobodyListens)?;
            }
        }
        Ok(self.counts)
    }

    /// All frames at once; if that fails one by one, so that one bad frame does not take the others with it.
    fn score(&mut self, batch: Vec<Frame>) -> Vec<Scored> {
        let reason = match self.sets(&batch) {
            Ok(sets) => return self.answers(batch, sets),
            Err(reason) => reason,
        };
        if batch.len() > 1 {
            warn!(%reason, frames = batch.len(), "a batch failed; its frames are tried one by one");
            return batch.into_iter().flat_map(|frame| self.score(vec![frame])).collect();
        }
        // Dropped: a frame that the model cannot score now will not be scored by waiting, and behind it others wait.
        // Its slot goes back to the source without `done`, so a file stays where it is.
        for frame in batch {
            error!(%reason, source = &*frame.source, origin = frame.origin, "the frame could not be scored and is dropped");
            self.counts.failed += 1;
        }
        Vec::new()
    }

    fn answers(&mut self, batch: Vec<Frame>, sets: Vec<Vec<SetScores>>) -> Vec<Scored> {
        self.counts.scored += batch.len() as u64;
        batch.into_iter().zip(sets).map(|(frame, sets)| Scored { frame, sets }).collect()
    }

    /// For each frame the scores of each label set that its source watches.
    fn sets(&mut self, batch: &[Frame]) -> Result<Vec<Vec<SetScores>>, ModelError> {
        let watch = |frame: &Frame| {
            self.watches.get(&frame.source).ok_or_else(|| {
                ModelError::Run(format!("it was not told what to look for in frames of {}", frame.source))
            })
        };
        let watches = batch.iter().map(watch).collect::<Result<Vec<_>, _>>()?;
        let parts: Vec<Vec<Cow<'_, Picture>>> =
            batch.iter().zip(&watches).map(|(frame, watch)| watch.parts(&frame.picture)).collect();
        let pictures: Vec<&Picture> = parts.iter().flatten().map(AsRef::as_ref).collect();
        let mut vectors = Vec::with_capacity(pictures.len());
        for pictures in pictures.chunks(MAX_BATCH) {
            vectors.extend(self.classifier.embed(pictures)?);
        }
        let mut vectors = vectors.as_slice();
        let mut answers = Vec::with_capacity(batch.len());
        for (watch, parts) in watches.iter().zip(&parts) {
            let (own, others) = vectors.split_at(parts.len());
            vectors = others;
            answers.push(watch.sets.iter().map(|set| watch.scores(&self.classifier, *set, own)).collect());
        }
        Ok(answers)
    }
}

impl Watch {
    fn of(source: &config::Source, classifier: &Classifier) -> Self {
        let number = |name: &String| {
            classifier
                .set(name)
                .expect("a valid configuration lets a source watch only label sets that it has")
        };
        Self {
            regions: source
                .regions
                .iter()
                .map(|region| (region.name.as_str().into(), region.clone()))
                .collect(),
            sets: source.watch.iter().map(number).collect(),
        }
    }

    /// The parts of a picture that are scored each by itself.
    fn parts<'a>(&self, picture: &'a Picture) -> Vec<Cow<'a, Picture>> {
        if self.regions.is_empty() {
            return vec![Cow::Borrowed(picture)];
        }
        self.regions.iter().map(|(_, region)| Cow::Owned(cut(picture, region))).collect()
    }

    fn scores(&self, classifier: &Classifier, set: usize, vectors: &[Vec<f32>]) -> SetScores {
        let names =
            self.regions.iter().map(|(name, _)| Some(Arc::clone(name))).chain(std::iter::repeat(None));
        let region = |(region, vector): (_, &Vec<f32>)| {
            let scores = classifier.scores(set, vector);
            RegionScores { region, labels: scores.labels, background: scores.background }
        };
        SetScores {
            label_set: Arc::clone(&classifier.sets()[set].name),
            regions: names.zip(vectors).map(region).collect(),
        }
    }
}

/// The region of a picture, to whole pixels.
fn cut(picture: &Picture, region: &config::Region) -> Picture {
    let pixel = |fraction: f64, size: u32| (fraction.clamp(0.0, 1.0) * f64::from(size)).round() as u32;
    let (left, right) = (pixel(region.x, picture.width), pixel(region.x + region.width, picture.width));
    let (top, bottom) = (pixel(region.y, picture.height), pixel(region.y + region.height, picture.height));
    picture.crop(left, top, right - left, bottom - top)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_is_cut_to_whole_pixels() {
        let picture = Picture { width: 10, height: 4, rgb: (0..120).collect(), transparent: None };
        let region = |x, y, width, height| config::Region { name: String::new(), x, y, width, height };
        let size = |region| {
            let part = cut(&picture, &region);
            (part.width, part.height, part.rgb[0])
        };
        assert_eq!(size(region(0.0, 0.0, 1.0, 1.0)), (10, 4, 0));
        assert_eq!(size(region(0.5, 0.5, 0.5, 0.5)), (5, 2, 75));
        assert_eq!(size(region(0.9, 0.75, 0.1, 0.25)), (1, 1, 117));
        assert_eq!(size(region(0.999, 0.999, 0.001, 0.001)), (1, 1, 117), "never nothing");
    }
}
