//! What a measurement uses: the model and its execution, the picture and the labels.

use std::path::PathBuf;

use anyhow::{Context, Result};

use super::test_image;
use crate::{
    classify::{
        Watchlist,
        labels::{self, LabelVectors, VectorCache},
    },
    config::{Execution, ModelRef},
    model::{
        Model, Options, Runtime,
        hub::{self, Found},
    },
    picture::{self, Limits},
    policy::LabelSet,
};

/// The name of the source whose frames are scored.
pub(super) const SOURCE: &str = "bench";

/// What is measured.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The model.
    pub model: ModelRef,
    /// How the model runs; `max_batch` is ignored.
    pub execution: Execution,
    /// The ONNX Runtime library; `None`: the first one in the usual places.
    pub onnxruntime: Option<PathBuf>,
    /// The number of labels.
    pub labels: u16,
    /// The picture; `None`: a test image.
    pub picture: Option<PathBuf>,
    /// The most pixels of the picture. Its memory is not limited.
    pub max_pixels: u64,
    /// The batches to try.
    pub batches: Vec<u16>,
}

impl Setup {
    pub(super) fn find(&self, runtime: &Runtime) -> Result<Found> {
        Ok(hub::find(&self.model, runtime.device(self.execution.device)?)?)
    }

    pub(super) fn options(&self, found: &Found) -> Options {
        let max_batch = self.batches().into_iter().max().unwrap_or(1);
        Options { execution: Execution { max_batch, ..self.execution }, ..found.options() }
    }

    /// Loads the model and encodes the labels, or reads their vectors from the disk.
    pub(super) fn load(&self) -> Result<(Found, Model, Vec<String>, LabelVectors)> {
        let runtime = Runtime::load(self.onnxruntime.as_deref())?;
        let found = self.find(&runtime)?;
        let model = Model::load(&runtime, &found.files, &self.options(&found))?;
        let names = test_image::labels(usize::from(self.labels));
        let set = LabelSet::untriggered("the command line", &"{}".parse()?, &names);
        let sets = labels::encode(&[set], model.text(), &VectorCache::of_user())?;
        let vectors = sets.into_iter().next().context("the labels have no vectors")?;
        Ok((found, model, names, vectors))
    }

    /// The bytes of the picture.
    ///
    /// # Errors
    /// The file cannot be read, or is no picture.
    pub fn jpeg(&self) -> Result<Vec<u8>> {
        match &self.picture {
            Some(file) => picture::read_file(file).with_context(|| file.display().to_string()),
            None => Ok(test_image::picture(1920, 1080).to_jpeg(90)?),
        }
    }

    /// The limits of the picture.
    #[must_use]
    pub fn limits(&self) -> Limits {
        Limits { max_pixels: self.max_pixels, memory: u64::MAX }
    }

    /// The batches to try, each once and always with 1.
    pub(super) fn batches(&self) -> Vec<usize> {
        let mut batches: Vec<usize> = self.batches.iter().copied().map(usize::from).chain([1]).collect();
        batches.sort_unstable();
        batches.dedup();
        batches
    }
}

/// A watchlist of one source with these labels.
pub(super) fn watchlist(names: &[String], vectors: LabelVectors) -> Watchlist {
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    Watchlist::of_one(SOURCE, &names, vectors)
}
