//! A model: pictures and texts in, vectors of length 1 out. The only home of the tokenizer.
//!
//! A model knows no labels and no thresholds. Its text graph is loaded only while texts are encoded, since texts change with
//! the configuration and pictures arrive all day.

mod build;
mod context;
mod digest;
mod error;
mod export;
mod external_data;
mod facts;
mod family;
mod files;
mod graph;
pub mod hub;
mod layout;
mod origin;
pub mod preprocess;
mod scale;
mod text;
mod tokenizer;
mod vision;

use std::sync::{Arc, OnceLock};

pub use context::Options;
pub use error::ModelError;
pub use export::{ExportError, Exported, export};
pub use facts::ModelFacts;
pub use family::{Activation, Logits};
pub use files::ModelFiles;
pub use preprocess::Backend;
pub use text::TextEncoder;
pub use tokenizer::Tokens;

use self::{
    context::ModelContext,
    origin::{Origin, Tower},
    preprocess::Preprocessor,
    vision::Vision,
};
pub use crate::engine::onnx::{DeviceError, Runtime, RuntimeError};
use crate::{config::Device, engine::Engines, picture::Picture};

/// A loaded model: its vision graph, and everything that its text graph is loaded from.
pub struct Model {
    vision: Vision,
    text: TextEncoder,
    preprocessor: Preprocessor,
    logits: Logits,
    device: Device,
}

impl Model {
    /// Loads a model from its files.
    ///
    /// # Errors
    /// What is missing, in which file, and what was expected instead.
    pub fn load(
        engines: impl Into<Engines>,
        files: &ModelFiles,
        options: &Options,
    ) -> Result<Self, ModelError> {
        let engines = engines.into();
        let origin = Origin::find(files, &options.variant, !engines.needs_graph_files())?;
        let (config, preprocessing, preprocessor) = files.settings(origin.format(), options.backend)?;
        let (tokenizer, layout) = (OnceLock::new(), preprocessor.layout());
        let (files, options) = (files.clone(), options.clone());
        let context =
            ModelContext { engines, files, origin, options, config, tokenizer, layout, preprocessing };
        let (mut vision, device) = Vision::on_best_device(&context)?;
        let logits = scale::find(&context, &mut vision.graph)?;
        Ok(Self { vision, text: TextEncoder(Arc::new(context)), preprocessor, logits, device })
    }

    /// The most pictures in one run; never 0.
    #[must_use]
    pub fn max_batch(&self) -> usize {
        self.text.0.options.execution.max_batch.max(1)
    }

    /// The device that runs it; never `auto`.
    #[must_use]
    pub fn device(&self) -> Device {
        self.device
    }

    /// What is loaded, for people.
    #[must_use]
    pub fn facts(&self) -> ModelFacts {
        ModelFacts::of(&self.text.0, self.device)
    }

    /// The vectors of some pictures, each of length 1, from one run.
    ///
    /// # Errors
    /// The model failed, its answer is not a number, or its engine is unavailable.
    pub fn embed_pictures(&mut self, pictures: &[&Picture]) -> Result<Vec<Vec<f32>>, ModelError> {
        let mut values = Vec::with_capacity(self.preprocessor.tensor_len() * pictures.len());
        pictures.iter().for_each(|picture| self.preprocessor.append(picture, &mut values));
        self.embed_prepared(&values)
    }

    /// The vectors of pictures that [`Preprocessor::append`] has prepared, one after the other.
    ///
    /// # Errors
    /// As [`Self::embed_pictures`].
    pub fn embed_prepared(&mut self, pixel_values: &[f32]) -> Result<Vec<Vec<f32>>, ModelError> {
        self.vision.embed(pixel_values)
    }

    /// Checks whether a run could succeed now.
    ///
    /// # Errors
    /// [`ModelError::Unavailable`] while it could not.
    pub fn health(&mut self) -> Result<(), ModelError> {
        self.vision.graph.health()
    }

    /// Loads the vision graph and nothing else: the least that a start can cost. The result frees it when it is dropped.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn load_session(
        runtime: &Runtime,
        files: &ModelFiles,
        options: &Options,
    ) -> Result<impl Sized + use<>, ModelError> {
        let origin = Origin::find(files, &options.variant, false)?;
        let device = runtime.device(options.execution.device)?;
        let engines = runtime.into();
        graph::Graph::open(&engines, files, &origin, Tower::Vision, &options.execution, device)
    }

    /// The size of the vision graph in bytes, including its weights.
    #[must_use]
    pub fn vision_bytes(&self) -> u64 {
        self.text.0.origin.bytes(&self.text.0.files, Tower::Vision)
    }

    /// The part that encodes texts; its clones can be moved to other threads.
    #[must_use]
    pub fn text(&self) -> &TextEncoder {
        &self.text
    }

    /// How pictures are prepared.
    #[must_use]
    pub fn preprocessor(&self) -> &Preprocessor {
        &self.preprocessor
    }

    /// How similarities become logits.
    #[must_use]
    pub fn logits(&self) -> Logits {
        self.logits
    }

    /// How logits become scores.
    #[must_use]
    pub fn activation(&self) -> Activation {
        self.text.0.config.family.activation
    }
}

/// Builds the graphs that follow from a configuration and a weight file, for the fuzzer. The configuration also says how pictures
/// and texts are prepared, and the weight file is read as a vocabulary, too.
#[cfg(fuzzing)]
pub fn fuzz_build(config: &[u8], weights: &[u8]) {
    build::fuzz(config, weights);
    tokenizer::fuzz(weights);
    let Ok(config) = serde_json::from_slice(config) else { return };
    let _ = tokenizer::open_clip::OpenClipText::read(&config);
    if let Ok(preprocessor) = Preprocessor::of_open_clip(&config) {
        let mut tensor = Vec::new();
        preprocessor.append(&Picture::of_rgb(3, 2, vec![128; 18]), &mut tensor);
        assert_eq!(tensor.len(), preprocessor.tensor_len());
    }
}

/// Reads the texts of a model's folder for the fuzzer: family, tokenizer, scale and bias. ONNX Runtime reads the graphs.
#[cfg(fuzzing)]
pub fn fuzz(folder: &std::path::Path) {
    let files = ModelFiles::Folder(folder.to_owned());
    let _ = scale::written(&files);
    if let Ok(config) = files::ModelConfig::read(&files, build::Format::Transformers)
        && let Ok(tokenizer) = tokenizer::TextTokenizer::load(&files, config)
    {
        let _ = tokenizer.batch(&["a photo of a cat", "", "\u{1F408} 猫"], None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::fake::FakeEngine;

    #[test]
    fn an_engine_with_its_own_graphs_needs_only_the_other_files() {
        let folder = tempfile::tempdir().unwrap();
        let files = ModelFiles::Folder(folder.path().to_owned());
        let load = || {
            let engine = FakeEngine::new(|pictures| Ok(pictures.to_vec()));
            Model::load(Engines::Fake(engine), &files, &Options::default())
        };
        let ModelError::Incomplete { missing, .. } = load().err().unwrap() else {
            panic!("files are missing")
        };
        let needed = ["config.json", "preprocessor_config.json", "tokenizer.json"];
        assert_eq!(missing, needed);

        for name in needed.iter().chain(&["stakeout.json"]) {
            let content = ModelFiles::bundled().read(name).unwrap().unwrap();
            std::fs::write(folder.path().join(name), content).unwrap();
        }
        let mut model = load().unwrap();
        assert_eq!((model.device(), model.health()), (Device::Cpu, Ok(())));
        let vectors = model.embed_pictures(&[&Picture::of_rgb(1, 1, vec![255; 3])]).unwrap();
        let length = vectors[0].iter().map(|value| value * value).sum::<f32>();
        assert!((length - 1.0).abs() < 1e-6, "{vectors:?}");
    }
}
