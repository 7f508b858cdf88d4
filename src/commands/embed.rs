//! The vectors of pictures: reads, decodes and prepares pictures on threads of their own while the model runs.
//!
//! A picture that cannot be read or scored has an error in its place, and the others go on.

use std::{
    num::NonZero,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow};

use super::pictures::Item;
use crate::{
    classify::Classifier,
    model::preprocess::Preprocessor,
    picture::{self, Limits, Memory, Use},
    prefetch::Prefetch,
};

/// More threads would prepare more than any model takes.
const MOST_THREADS: usize = 4;

/// Calls `each` with the vector of every picture, in order. A picture beyond the limits is an error; those that are decoded at
/// once need no more memory together than one may. Batches depend on
/// nothing but the order of the pictures.
///
/// Returns the time that the model itself took.
///
/// # Errors
/// The threads cannot be started, or `each` fails, which ends the work.
pub(super) fn embed(
    classifier: &mut Classifier,
    items: &Arc<[Item]>,
    limits: Limits,
    mut each: impl FnMut(&Classifier, usize, Result<Arc<[f32]>>) -> Result<()>,
) -> Result<Duration> {
    let at_once = classifier.model().max_batch();
    // Half of the processors: the model uses the others.
    let processors = thread::available_parallelism().map_or(1, NonZero::get);
    let threads = (processors / 2).clamp(1, MOST_THREADS);
    let memory = Memory::new(limits.memory);
    let makers = (0..threads).map(|first| {
        let memory = Arc::clone(&memory);
        let (items, preprocessor) = (Arc::clone(items), classifier.model().preprocessor().clone());
        (first..items.len())
            .step_by(threads)
            .map(move |number| prepared(&items[number], (limits, &memory), &preprocessor))
    });
    let mut prepared = Prefetch::spawn("pictures", makers, 2 * at_once)?;
    let (mut number, mut took) = (0, Duration::ZERO);
    loop {
        let batch: Vec<_> = (0..at_once).map_while(|_| prepared.wait()).collect();
        if batch.is_empty() {
            prepared.join();
            return Ok(took);
        }
        let began = Instant::now();
        let vectors = embed_batch(classifier, batch);
        took += began.elapsed();
        for vector in vectors {
            each(classifier, number, vector)?;
            number += 1;
        }
    }
}

/// The vectors of the pictures that could be read, and the errors of the others.
fn embed_batch(classifier: &mut Classifier, batch: Vec<Result<Vec<f32>>>) -> Vec<Result<Arc<[f32]>>> {
    let together = batch.iter().flatten().map(Vec::as_slice).collect::<Vec<_>>().concat();
    let mut vectors = classifier.embed_each(&together).into_iter();
    let mut vector = || Ok(vectors.next().ok_or_else(|| anyhow!("the model gave no answer"))??);
    batch.into_iter().map(|picture| picture.and_then(|_| vector())).collect()
}

/// The model's input for a picture.
fn prepared(
    item: &Item,
    (limits, memory): (Limits, &Arc<Memory>),
    preprocessor: &Preprocessor,
) -> Result<Vec<f32>> {
    let bytes = item.read()?;
    let needed = picture::needed(&bytes, limits)?;
    let _share = memory.share(Use::Picture, needed, || true);
    let picture = picture::decode(&bytes, limits)?;
    drop(bytes);
    let mut values = Vec::with_capacity(preprocessor.tensor_len());
    preprocessor.append(&picture, &mut values);
    Ok(values)
}
