//! The model: pictures and texts in, vectors of length 1 out. The only home of ONNX Runtime and of the tokenizer.
//!
//! It refuses to know what a label is, and to keep the text tower in memory: texts are encoded when the configuration
//! changes, pictures all day.

mod error;
mod family;
mod files;
mod graph;
mod runtime;
mod scale;
mod tokenizer;

use std::sync::Arc;

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
use crate::picture::Picture;

/// How a model is run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// Threads for one run; `None` is one for each processor.
    pub threads: Option<usize>,
    /// The suffix of the graphs' names, such as `_fp16`; empty for full precision.
    pub variant: String,
    /// Whose preprocessing is followed.
    pub backend: Backend,
}

/// A loaded model: its vision tower, and what its text tower needs to be loaded for a while.
pub struct Model {
    vision: Vision,
    text: TextEncoder,
    preprocessor: Preprocessor,
    family: Family,
    logits: Logits,
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
        let tokenizer = TextTokenizer::load(files, config)?;
        let logits =
            scale::find(runtime, files, &graphs, options, config.family, &tokenizer, preprocessor.size())?;
        let text = TextEncoder(Arc::new(TextFiles {
            runtime: runtime.clone(),
            files: files.clone(),
            graphs,
            options: options.clone(),
            family: config.family,
            tokenizer,
            size: preprocessor.size(),
        }));
        let vision = Vision::load(&text.0)?;
        Ok(Self { vision, text, preprocessor, family: config.family, logits })
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
    fn load(text: &TextFiles) -> Result<Self, ModelError> {
        let (file, needed, outputs): (_, &[&str], _) = match &text.graphs {
            Graphs::Split { vision, .. } => (vision, &["pixel_values"], text.family.image_outputs()),
            Graphs::Combined(file) => (file, &["pixel_values", "input_ids"], &["image_embeds"] as &[_]),
        };
        let graph = Graph::load(&text.runtime, &text.files, file, &text.options)?;
        graph.check_inputs(needed)?;
        let output = graph.output(outputs)?;
        text.check_picture_size(&graph, file)?;
        let filler = match &text.graphs {
            Graphs::Split { .. } => None,
            Graphs::Combined(_) => Some(text.tokenizer.batch(&["a"], graph.fixed("input_ids", 1))?),
        };
        let batch = graph.fixed("pixel_values", 0).filter(|batch| *batch > 0);
        Ok(Self { graph, output, filler, batch })
    }

    fn embed(&mut self, values: &[f32], (width, height): (u32, u32)) -> Result<Vec<Vec<f32>>, ModelError> {
        if values.is_empty() {
            return Ok(Vec::new());
        }
        let one = 3 * width as usize * height as usize;
        let mut vectors = Vec::new();
        for values in values.chunks(self.batch.map_or(values.len(), |batch| batch * one)) {
            let pictures = Input::Pictures { values, width, height };
            let [rows] = match &self.filler {
                None => self.graph.run(&[pictures], [self.output])?,
                Some(filler) => self.graph.run(&[pictures, Input::Texts(filler)], [self.output])?,
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
    family: Family,
    tokenizer: TextTokenizer,
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
        let mut graph = Graph::load(&this.runtime, &this.files, file, &this.options)?;
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
            let batch = this.tokenizer.batch(&[text], graph.fixed("input_ids", 1))?;
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

    /// The tokens of a text.
    ///
    /// # Errors
    /// The tokenizer cannot make anything of the text.
    pub fn tokens(&self, text: &str) -> Result<Tokens, ModelError> {
        self.0.tokenizer.tokens(text)
    }
}

impl TextFiles {
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
