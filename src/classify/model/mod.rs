//! The model: pictures and texts in, vectors of length 1 out. The only home of ONNX Runtime and of the tokenizer.
//!
//! It refuses to know what a label is, and to keep the text tower in memory: texts are encoded when the configuration
//! changes, pictures all day.

mod device;
mod device_error;
mod error;
mod family;
mod files;
mod graph;
mod heap;
mod runtime;
mod scale;
mod tokenizer;

use std::sync::{Arc, OnceLock};

use tracing::warn;

pub use device_error::DeviceError;
pub use error::ModelError;
pub use files::ModelFiles;
pub use runtime::{Runtime, RuntimeError};
pub use scale::Logits;
pub use tokenizer::Tokens;

use self::{
    family::{Family, ModelConfig},
    files::Graphs,
    graph::{Graph, Input, Rows},
    tokenizer::{Batch, TextTokenizer},
};
use super::{
    preprocess::{Backend, Preprocessor},
    score::Activation,
};
use crate::{
    config::{Device, Execution},
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

/// The vision tower, or a combined graph whose text half is fed with something short.
struct Vision {
    graph: Graph,
    output: &'static str,
    /// What the text half of a combined graph gets.
    filler: Option<Batch>,
    /// How many pictures the graph takes at once, where it fixes that.
    batch: Option<usize>,
}

impl Vision {
    /// The device that was asked for; for `auto` the best that is there, or the processor where that fails with this model.
    fn on_best_device(text: &TextFiles) -> Result<(Self, Device), ModelError> {
        let wanted = text.options.execution.device;
        let device = text.runtime.device(wanted)?;
        match Self::ready(text, device) {
            Err(why) if wanted == Device::Auto && device != Device::Cpu => {
                warn!(%why, "this model does not run on {device}; it runs on the processor");
                Ok((Self::ready(text, Device::Cpu)?, Device::Cpu))
            }
            vision => Ok((vision?, device)),
        }
    }

    /// Loaded, and on an accelerator run once with most pictures and once with one: what it compiles and takes of memory
    /// for these is done before the first frame, and what does not fit is known now.
    fn ready(text: &TextFiles, device: Device) -> Result<Self, ModelError> {
        let mut vision = Self::load(text, device)?;
        if device.is_accelerator() {
            let (width, height) = text.size;
            let one = 3 * width as usize * height as usize;
            for pictures in [text.options.execution.max_batch, 1] {
                let grey = vec![0.0; one * vision.batch.unwrap_or(pictures)];
                vision.run(&grey, text.size)?;
            }
        }
        Ok(vision)
    }

    fn load(text: &TextFiles, device: Device) -> Result<Self, ModelError> {
        let (file, needed, outputs): (_, &[&str], _) = match &text.graphs {
            Graphs::Split { vision, .. } => (vision, &["pixel_values"], text.family.image_outputs()),
            Graphs::Combined(file) => (file, &["pixel_values", "input_ids"], &["image_embeds"] as &[_]),
        };
        let graph = Graph::load(&text.runtime, &text.files, file, &text.options.execution, device)?;
        graph.check_inputs(needed)?;
        let output = graph.output(outputs)?;
        text.check_picture_size(&graph, file)?;
        let filler = match &text.graphs {
            Graphs::Split { .. } => None,
            Graphs::Combined(_) => Some(text.tokenizer()?.batch(&["a"], graph.fixed("input_ids", 1))?),
        };
        let batch = graph.fixed("pixel_values", 0).filter(|batch| *batch > 0);
        Ok(Self { graph, output, filler, batch })
    }

    fn run(&mut self, values: &[f32], (width, height): (u32, u32)) -> Result<Rows, ModelError> {
        let pictures = Input::Pictures { values, width, height };
        let [rows] = match &self.filler {
            None => self.graph.run(&[pictures], [self.output])?,
            Some(filler) => self.graph.run(&[pictures, Input::Texts(filler)], [self.output])?,
        };
        Ok(rows)
    }

    fn embed(&mut self, values: &[f32], (width, height): (u32, u32)) -> Result<Vec<Vec<f32>>, ModelError> {
        if values.is_empty() {
            return Ok(Vec::new());
        }
        let one = 3 * width as usize * height as usize;
        let at_once = self.batch.map_or(values.len(), |batch| batch * one);
        let mut vectors = Vec::new();
        for values in values.chunks(at_once) {
            let rows = match values.len() < at_once {
                false => self.run(values, (width, height))?,
                // A graph that fixes how many pictures it takes gets blank ones behind too few.
                true => {
                    let mut filled = values.to_vec();
                    filled.resize(at_once, 0.0);
                    let mut rows = self.run(&filled, (width, height))?;
                    rows.values.truncate(values.len() / one * rows.columns);
                    rows
                }
            };
            vectors.extend(normalised(&rows)?);
        }
        Ok(vectors)
    }
}

/// Encodes texts: loads the text tower for as long as it takes, and lets it go.
#[derive(Clone)]
pub struct TextEncoder(Arc<TextFiles>);

struct TextFiles {
    runtime: Runtime,
    files: ModelFiles,
    graphs: Graphs,
    options: Options,
    config: ModelConfig,
    family: Family,
    /// Read when the first text comes: where every vector is known, none does.
    tokenizer: OnceLock<TextTokenizer>,
    size: (u32, u32),
}

impl TextEncoder {
    /// The vectors of some texts, each of length 1. A text that is too long for the model is cut, with a warning.
    ///
    /// # Errors
    /// The text tower cannot be loaded, or failed.
    pub fn encode(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, ModelError> {
        let Self(this) = self;
        let (file, needed, outputs): (_, &[&str], _) = match &this.graphs {
            Graphs::Split { text, .. } => (text, &["input_ids"], this.family.text_outputs()),
            Graphs::Combined(file) => (file, &["pixel_values", "input_ids"], &["text_embeds"] as &[_]),
        };
        // On the processor, whatever runs the pictures: a text's vector, which is kept, then does not depend on it, and a GPU's
        // memory is left to the pictures.
        let mut graph = Graph::load(&this.runtime, &this.files, file, &this.options.execution, Device::Cpu)?;
        graph.check_inputs(needed)?;
        let output = graph.output(outputs)?;
        let (width, height) = this.size;
        let filler = match &this.graphs {
            Graphs::Split { .. } => None,
            Graphs::Combined(_) => Some(vec![0.0; 3 * width as usize * height as usize]),
        };
        let mut vectors = Vec::with_capacity(texts.len());
        // One by one: a text's vector then cannot depend on its neighbours, whatever the graph's precision.
        for text in texts {
            let batch = this.tokenizer()?.batch(&[text], graph.fixed("input_ids", 1))?;
            let [rows] = match &filler {
                None => graph.run(&[Input::Texts(&batch)], [output])?,
                Some(values) => {
                    graph.run(&[Input::Pictures { values, width, height }, Input::Texts(&batch)], [output])?
                }
            };
            vectors.extend(normalised(&rows)?);
        }
        Ok(vectors)
    }

    /// Tells apart what a text's vector depends on: the text tower's files and the tokenizer's.
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 32] {
        let graph = match &self.0.graphs {
            Graphs::Split { text, .. } => text,
            Graphs::Combined(file) => file,
        };
        let data = format!("{graph}_data");
        let others = ["config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"];
        self.0.files.fingerprint(&[&[graph.as_str(), &data], &others[..]].concat())
    }

    /// The tokens of a text.
    ///
    /// # Errors
    /// The tokenizer cannot make anything of the text.
    pub fn tokens(&self, text: &str) -> Result<Tokens, ModelError> {
        self.0.tokenizer()?.tokens(text)
    }
}

impl TextFiles {
    fn tokenizer(&self) -> Result<&TextTokenizer, ModelError> {
        if let Some(tokenizer) = self.tokenizer.get() {
            return Ok(tokenizer);
        }
        // Two threads at once would read it twice, and one answer is kept.
        let tokenizer = TextTokenizer::load(&self.files, self.config)?;
        Ok(self.tokenizer.get_or_init(|| tokenizer))
    }

    /// A graph that fixes the size of its pictures must get that size from the preprocessing.
    fn check_picture_size(&self, graph: &Graph, file: &str) -> Result<(), ModelError> {
        let (width, height) = self.size;
        let wanted = |dimension, size: u32| {
            graph.fixed("pixel_values", dimension).is_none_or(|fixed| fixed == size as usize)
        };
        if wanted(2, height) && wanted(3, width) {
            return Ok(());
        }
        let fixed = |dimension| graph.fixed("pixel_values", dimension).unwrap_or(0);
        Err(self.files.unusable(
            file,
            format!(
                "it takes pictures of {} x {}, and preprocessor_config.json makes them {width} x {height}",
                fixed(3),
                fixed(2)
            ),
        ))
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
        && let Ok(tokenizer) = TextTokenizer::load(&files, config)
    {
        let _ = tokenizer.batch(&["a photo of a cat", "", "\u{1F408} 猫"], None);
    }
}
