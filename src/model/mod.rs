//! The model: pictures and texts in, vectors of length 1 out. The only home of ONNX Runtime and of the tokenizer.
//!
//! It refuses to know what a label is, and to keep the text tower in memory: texts are encoded when the configuration
//! changes, pictures all day.

pub mod bundled;
pub(crate) mod error;
pub(crate) mod family;
pub(crate) mod files;
pub mod hub;
pub mod preprocess;
pub(crate) mod scale;
pub(crate) mod text;
pub(crate) mod tokenizer;
pub(crate) mod vision;

use std::sync::{Arc, OnceLock};

pub use crate::engine::onnx::device_error::DeviceError;
pub use crate::engine::onnx::runtime::{Runtime, RuntimeError};
pub use error::ModelError;
pub use files::ModelFiles;
pub use scale::Logits;
pub use text::TextEncoder;
pub use tokenizer::Tokens;

use self::{
    family::{Family, ModelConfig},
    files::Graphs,
    preprocess::{Backend, Preprocessor},
    text::TextFiles,
    vision::Vision,
};
use crate::{
    classify::score::Activation,
    config::{Device, Execution},
    engine::onnx::graph::{Graph, Rows},
    picture::Picture,
};

/// How a model is run.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Options {
    /// On which device, with how many threads.
    pub execution: Execution,
    /// The suffix of the graphs' names, such as `_fp16`; empty for full precision.
    pub variant: String,
    /// Scale and bias, where they are known and no file of the model holds them.
    pub logits: Option<Logits>,
    /// Whose preprocessing is followed.
    pub backend: Backend,
    /// A scale that had to be measured is kept on disk for the next start.
    pub remember: bool,
}

/// A loaded model: its vision tower, and what its text tower needs to be loaded for a while.
pub struct Model {
    vision: Vision,
    text: TextEncoder,
    preprocessor: Preprocessor,
    family: Family,
    logits: Logits,
    device: Device,
}

impl Model {
    /// Loads a model from its files.
    ///
    /// # Errors
    /// In words for people: what is missing, in which file, and what was expected instead.
    pub fn load(runtime: &Runtime, files: &ModelFiles, options: &Options) -> Result<Self, ModelError> {
        let graphs = Graphs::find(files, &options.variant)?;
        let config = ModelConfig::read(files)?;
        let settings = files.read("preprocessor_config.json")?.unwrap_or_default();
        let preprocessor = Preprocessor::from_json(&settings, options.backend)
            .map_err(|error| ModelError::Setting { place: files.place(), error })?;
        let text = TextEncoder(Arc::new(TextFiles {
            runtime: runtime.clone(),
            files: files.clone(),
            graphs,
            options: options.clone(),
            config,
            family: config.family,
            tokenizer: OnceLock::new(),
            size: preprocessor.size(),
        }));
        let (mut vision, device) = Vision::on_best_device(&text.0)?;
        let logits = scale::find(&text.0, &mut vision.graph)?;
        Ok(Self { vision, text, preprocessor, family: config.family, logits, device })
    }

    /// At most so many pictures should be given to one run; never 0.
    #[must_use]
    pub fn max_batch(&self) -> usize {
        self.text.0.options.execution.max_batch.max(1)
    }

    /// Where it runs: never `auto`.
    #[must_use]
    pub fn device(&self) -> Device {
        self.device
    }

    /// The vectors of some pictures, each of length 1, from one run.
    ///
    /// # Errors
    /// The model failed, or answered with something that is no number.
    pub fn embed_pictures(&mut self, pictures: &[&Picture]) -> Result<Vec<Vec<f32>>, ModelError> {
        let mut values = Vec::with_capacity(self.preprocessor.tensor_len() * pictures.len());
        pictures.iter().for_each(|picture| self.preprocessor.append(picture, &mut values));
        self.embed_prepared(&values)
    }

    /// Likewise, of pictures that [`Preprocessor::append`] has prepared: the bare model.
    ///
    /// # Errors
    /// As [`Self::embed_pictures`].
    pub fn embed_prepared(&mut self, pixel_values: &[f32]) -> Result<Vec<Vec<f32>>, ModelError> {
        self.vision.embed(pixel_values, self.preprocessor.size())
    }

    /// The vision tower in a session and nothing else, which is what a start costs at least. It goes when the answer goes.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn load_session(
        runtime: &Runtime,
        files: &ModelFiles,
        options: &Options,
    ) -> Result<impl Sized + use<>, ModelError> {
        let graphs = Graphs::find(files, &options.variant)?;
        let device = runtime.device(options.execution.device)?;
        Graph::load(runtime, files, graphs.vision(), &options.execution, device)
    }

    /// How many bytes of files the vision tower has: its graph, and weights that are kept beside it.
    #[must_use]
    pub fn vision_bytes(&self) -> u64 {
        self.text.0.files.graph_bytes(self.text.0.graphs.vision())
    }

    /// The part that encodes texts; it can be taken to another thread.
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
        self.family.activation()
    }
}

/// Every row divided by its length.
fn normalised(rows: &Rows) -> Result<Vec<Vec<f32>>, ModelError> {
    rows.values
        .chunks_exact(rows.columns.max(1))
        .map(|row| {
            let length = row.iter().map(|value| value * value).sum::<f32>().sqrt();
            if !(length.is_finite() && length > 0.0) {
                return Err(ModelError::Run("it answered with something that is no number".to_owned()));
            }
            Ok(row.iter().map(|value| value / length).collect())
        })
        .collect()
}

/// The texts of a model's folder, for the fuzzer: kind, tokenizer, scale and bias. Graphs are ONNX Runtime's to read.
#[cfg(fuzzing)]
pub fn fuzz(folder: &std::path::Path) {
    let files = ModelFiles::Folder(folder.to_owned());
    let _ = scale::written(&files);
    if let Ok(config) = ModelConfig::read(&files)
        && let Ok(tokenizer) = tokenizer::TextTokenizer::load(&files, config)
    {
        let _ = tokenizer.batch(&["a photo of a cat", "", "\u{1F408} 猫"], None);
    }
}
