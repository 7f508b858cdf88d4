//! The canary: fixed pictures whose vectors prove, again and again, that a device computes right.
//!
//! The pictures pass through the session that scores frames. Their vectors are compared with those of the reference: the graph of
//! full precision on the processor, which is run once for each model and then kept on disk. A device that computes wrong gives
//! vectors and no errors, so nothing else notices it.

pub mod pictures;
pub mod verdict;

use std::{path::PathBuf, time::Duration};

use sha2::{Digest as _, Sha256};
use tracing::debug;

use self::{
    pictures::TEXTS,
    verdict::{DeviceAnswer, Expected, Fault, Figures, Reference},
};
use super::{Model, ModelError, preprocess::Preprocessor};
use crate::{cache, config::Device, picture::Picture};

/// The number of models whose vectors are kept on disk.
const MOST_KEPT: usize = 32;
/// A device that seems slow is measured again: something else may have used the machine.
const TRIES: usize = 3;

/// The pictures as a model reads them, and what their vectors must be.
#[derive(Debug, Clone)]
pub struct Canary {
    /// The prepared pictures.
    pictures: Vec<Vec<f32>>,
    reference: Reference,
    expected: Expected,
}

/// The result of one run.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// The device computes right.
    Passed(Figures),
    /// It does not.
    Failed(Fault),
    /// The engine cannot be reached, which is reported elsewhere.
    Away,
}

impl Canary {
    /// The canary of a model. `None`: the model is the reference. The first time for a model, this runs the reference.
    ///
    /// # Errors
    /// The reference cannot be loaded or run.
    pub fn of(model: &Model) -> Result<Option<Self>, ModelError> {
        let prepared = prepare(model.preprocessor());
        let place = kept_at(model, &prepared).filter(|_| model.remembers());
        let kept = place.as_ref().and_then(|path| serde_json::from_slice(&cache::read(path)?).ok());
        let reference = match kept.filter(|kept: &Reference| kept.pictures.len() == prepared.len()) {
            Some(kept) if is_compared(model) => kept,
            _ => {
                let Some(mut reference) = model.reference()? else { return Ok(None) };
                let vectors = vectors_of(&mut reference, &prepared)?;
                keep(place, &vectors);
                vectors
            }
        };
        Ok(Some(Self::comparing(model, prepared, reference)))
    }

    fn comparing(model: &Model, pictures: Vec<Vec<f32>>, reference: Reference) -> Self {
        let expected = Expected {
            logits: model.logits(),
            activation: model.activation(),
            off_processor: model.device().is_accelerator(),
            usual: None,
        };
        Self { pictures, reference, expected }
    }

    /// The same, where one picture has usually taken this time.
    #[must_use]
    pub fn usually(mut self, usual: Duration) -> Self {
        self.expected.usual = Some(usual);
        self
    }

    /// Runs the pictures through the model, one by one. The first run that passes sets the usual time. `now` is the time since any
    /// fixed moment.
    pub fn run(&mut self, model: &mut Model, now: impl Fn() -> Duration) -> Outcome {
        let mut outcome = Outcome::Away;
        for _ in 0..TRIES {
            outcome = self.run_once(model, &now);
            if !matches!(outcome, Outcome::Failed(Fault::Slow { .. })) {
                break;
            }
        }
        if let Outcome::Passed(figures) = outcome {
            self.expected.usual.get_or_insert(figures.took);
        }
        outcome
    }

    fn run_once(&self, model: &mut Model, now: impl Fn() -> Duration) -> Outcome {
        let (mut vectors, mut took) = (Vec::with_capacity(self.pictures.len()), Duration::MAX);
        for picture in &self.pictures {
            let began = now();
            let answer = model.embed_prepared(picture);
            took = took.min(now().saturating_sub(began));
            match answer {
                Ok(answer) => vectors.push(answer.into_iter().next()),
                Err(ModelError::NotANumber) => vectors.push(None),
                Err(ModelError::Unavailable(_)) => return Outcome::Away,
                Err(ModelError::Lost(why)) => return Outcome::Failed(Fault::Lost(why)),
                Err(error) => return Outcome::Failed(Fault::Failed(error.to_string())),
            }
        }
        let answer = DeviceAnswer { vectors, took, placement: model.placement() };
        match verdict::judge(&self.reference, &answer, &self.expected) {
            Ok(figures) => Outcome::Passed(figures),
            Err(fault) => Outcome::Failed(fault),
        }
    }
}

fn prepare(preprocessor: &Preprocessor) -> Vec<Vec<f32>> {
    let prepare = |picture: &Picture| {
        let mut values = Vec::with_capacity(preprocessor.tensor_len());
        preprocessor.append(picture, &mut values);
        values
    };
    pictures::pictures().iter().map(prepare).collect()
}

/// Whether the model is another one than its reference.
fn is_compared(model: &Model) -> bool {
    model.device() != Device::Cpu || model.variant() != model.reference_variant()
}

fn vectors_of(reference: &mut Model, prepared: &[Vec<f32>]) -> Result<Reference, ModelError> {
    let vector =
        |picture: &Vec<f32>| Ok(reference.embed_prepared(picture)?.into_iter().next().unwrap_or_default());
    let pictures = prepared.iter().map(vector).collect::<Result<Vec<_>, ModelError>>()?;
    // The vectors alone show most faults.
    let texts = reference.text().encode(&TEXTS).unwrap_or_else(|error| {
        debug!(%error, "the canary compares vectors and no scores");
        Vec::new()
    });
    Ok(Reference { pictures, texts })
}

/// The file with the vectors of the reference. Its name changes with the reference and the pictures.
fn kept_at(model: &Model, prepared: &[Vec<f32>]) -> Option<PathBuf> {
    let mut hash = Sha256::new();
    hash.update(model.vision_fingerprint(model.reference_variant()));
    prepared.iter().flatten().for_each(|value| hash.update(value.to_le_bytes()));
    TEXTS.iter().for_each(|text| hash.update(text));
    let name = cache::hex(&hash.finalize()[..16]);
    Some(cache::folder()?.join("canary").join(name).with_extension("json"))
}

fn keep(place: Option<PathBuf>, reference: &Reference) {
    let Some(path) = place else { return };
    let written = serde_json::to_vec(reference).map_err(std::io::Error::other);
    if let Err(error) = written.and_then(|bytes| cache::write(&path, &bytes, MOST_KEPT)) {
        debug!(path = %path.display(), %error, "the vectors of the canary cannot be kept");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        engine::{EngineError, Engines, fake::FakeEngine},
        model::{ModelFiles, Options},
    };

    fn model(engine: FakeEngine) -> Model {
        Model::load(Engines::Fake(engine), &ModelFiles::bundled(), &Options::default()).unwrap()
    }

    fn echo(pictures: &[f32]) -> Result<Vec<f32>, EngineError> {
        Ok(pictures.to_vec())
    }

    fn run(engine: FakeEngine) -> Outcome {
        let mut model = model(engine);
        let mut canary = Canary::of(&model).unwrap().unwrap();
        canary.run(&mut model, || Duration::ZERO)
    }

    #[test]
    fn the_reference_needs_no_canary() {
        assert!(Canary::of(&model(FakeEngine::new(echo))).unwrap().is_none());
    }

    #[test]
    fn a_device_is_compared_with_the_processor() {
        assert!(matches!(run(FakeEngine::new(echo).beside(echo)), Outcome::Passed(_)));
        let used = FakeEngine::new(echo).beside(echo).run_by("Gpu");
        assert!(matches!(run(used), Outcome::Passed(_)));
        let not_used = FakeEngine::new(echo).beside(echo).run_by("CPUExecutionProvider");
        assert!(matches!(run(not_used), Outcome::Failed(Fault::NotUsed(_))));
    }

    #[test]
    fn a_device_that_seems_slow_is_measured_again() {
        let mut model = model(FakeEngine::new(echo).beside(echo));
        let mut canary = Canary::of(&model).unwrap().unwrap().usually(Duration::from_secs(1));
        let (time, reads) = (std::cell::Cell::new(Duration::ZERO), std::cell::Cell::new(0));
        // Each reading of the clock is a step later: until the eighth a large one.
        let now = || {
            reads.set(reads.get() + 1);
            let step = if reads.get() <= 8 { 60 } else { 1 };
            time.set(time.get() + Duration::from_secs(step));
            time.get()
        };
        assert!(matches!(canary.run(&mut model, now), Outcome::Passed(_)));
        let always = || {
            time.set(time.get() + Duration::from_secs(60));
            time.get()
        };
        let slow = canary.run(&mut model, always);
        assert!(matches!(slow, Outcome::Failed(Fault::Slow { .. })), "{slow:?}");
    }
}
