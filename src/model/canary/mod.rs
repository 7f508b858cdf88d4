//! The canary: fixed pictures whose vectors prove, again and again, that a device computes right.
//!
//! The pictures pass through the session that scores frames. Their vectors are compared with those of the reference: the graph of
//! full precision on the processor, which is run once for each model and then kept on disk. A device that computes wrong gives
//! vectors and no errors, so nothing else notices it. A model server is checked in the same way. If only the server has the graph for
//! pictures, its answers are compared with its first one.

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
use crate::{cache, engine::Connection, picture::Picture};

/// The number of models whose vectors are kept on disk.
const MOST_KEPT: usize = 32;
/// A device that seems slow is measured again: something else may have used the machine.
const TRIES: usize = 3;

/// The pictures as a model reads them, and what their vectors must be.
#[derive(Debug, Clone)]
pub struct Canary {
    /// The prepared pictures.
    pictures: Vec<Vec<f32>>,
    /// `None`: this machine does not have the graph, and nothing was answered yet.
    reference: Option<Reference>,
    expected: Expected,
    /// Whether the time of a picture is compared with an earlier one. Other machines keep a model server busy.
    is_timed: bool,
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
        if !model.has_reference() {
            return Ok(Some(Self::comparing(model, prepared, None)));
        }
        let place = kept_at(model, &prepared).filter(|_| model.remembers());
        let kept = place.as_ref().and_then(|path| serde_json::from_slice(&cache::read(path)?).ok());
        let reference = match kept.filter(|kept: &Reference| kept.pictures.len() == prepared.len()) {
            Some(kept) if model.is_compared() => kept,
            _ => {
                let Some(mut reference) = model.reference()? else { return Ok(None) };
                let vectors = vectors_of(&mut reference, &prepared)?;
                keep(place, &vectors);
                vectors
            }
        };
        Ok(Some(Self::comparing(model, prepared, Some(reference))))
    }

    fn comparing(model: &Model, pictures: Vec<Vec<f32>>, reference: Option<Reference>) -> Self {
        let expected = Expected {
            logits: model.logits(),
            activation: model.activation(),
            off_processor: model.device().is_accelerator(),
            usual: None,
        };
        Self { pictures, reference, expected, is_timed: model.connection() == Connection::Here }
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
        if let Outcome::Passed(figures) = outcome
            && self.is_timed
        {
            self.expected.usual.get_or_insert(figures.took);
        }
        outcome
    }

    fn run_once(&mut self, model: &mut Model, now: impl Fn() -> Duration) -> Outcome {
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
        match self.judge(model, &answer) {
            Ok(figures) => Outcome::Passed(figures),
            Err(fault) => Outcome::Failed(fault),
        }
    }

    fn judge(&mut self, model: &Model, answer: &DeviceAnswer) -> Result<Figures, Fault> {
        let reference = match &mut self.reference {
            Some(reference) => reference,
            first => {
                let pictures = verdict::judge_first(answer, self.pictures.len())?;
                first.insert(Reference { pictures, texts: vectors_of_texts(model) })
            }
        };
        verdict::judge(reference, answer, &self.expected)
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

fn vectors_of(reference: &mut Model, prepared: &[Vec<f32>]) -> Result<Reference, ModelError> {
    let vector =
        |picture: &Vec<f32>| Ok(reference.embed_prepared(picture)?.into_iter().next().unwrap_or_default());
    let pictures = prepared.iter().map(vector).collect::<Result<Vec<_>, ModelError>>()?;
    Ok(Reference { pictures, texts: vectors_of_texts(reference) })
}

/// The vectors of the texts; none if the model cannot encode them: the vectors of pictures alone show most faults.
fn vectors_of_texts(model: &Model) -> Vec<Vec<f32>> {
    model.text().encode(&TEXTS).unwrap_or_else(|error| {
        debug!(%error, "the canary compares vectors and no scores");
        Vec::new()
    })
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
    use std::sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    };

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

    /// A server with these answers; its graph is on this machine, too.
    fn server(answer: impl FnMut(&[f32]) -> Result<Vec<f32>, EngineError> + Send + 'static) -> Model {
        let connection = Arc::new(Mutex::new(Connection::Open(1)));
        model(FakeEngine::new(answer).at_server(&connection, echo))
    }

    #[test]
    fn a_server_is_compared_with_this_machine() {
        let shifted = |pictures: &[f32]| Ok(pictures.iter().map(|answer| 1.0 - answer).collect());
        for (mut model, passes) in [(server(echo), true), (server(shifted), false)] {
            let mut canary = Canary::of(&model).unwrap().unwrap();
            let outcome = canary.run(&mut model, || Duration::ZERO);
            assert_eq!(matches!(outcome, Outcome::Passed(_)), passes, "{outcome:?}");
        }
    }

    #[test]
    fn a_server_that_alone_has_the_graph_is_compared_with_its_first_answer() {
        let runs = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&runs);
        // Since the third check, the answers are others.
        let mut model = server(move |pictures| match count.fetch_add(1, Ordering::Relaxed) {
            0..8 => Ok(pictures.to_vec()),
            _ => Ok(pictures.iter().map(|answer| 1.0 - answer).collect()),
        });
        let mut canary = Canary::comparing(&model, prepare(model.preprocessor()), None);
        // A busy server is slow, and right.
        let time = std::cell::Cell::new(Duration::ZERO);
        let now = || {
            time.set(time.get() * 3 + Duration::from_secs(1));
            time.get()
        };
        let outcomes = [(); 3].map(|()| canary.run(&mut model, now));
        let [Outcome::Passed(_), Outcome::Passed(_), Outcome::Failed(Fault::Wrong(_) | Fault::Inexact(_))] =
            &outcomes
        else {
            panic!("{outcomes:?}")
        };
        assert_eq!(runs.load(Ordering::Relaxed), 3 * canary.pictures.len());
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
