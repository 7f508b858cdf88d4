//! The text tower: texts in, vectors out. Refuses to stay in memory.

use std::sync::{Arc, OnceLock};

use super::{
    ModelError, ModelFiles, Options, Runtime, Tokens,
    family::{Family, ModelConfig},
    files::Graphs,
    normalised,
    tokenizer::TextTokenizer,
};
use crate::{
    config::Device,
    engine::onnx::graph::{Graph, Input},
};

/// Encodes texts: loads the text tower for as long as it takes, and lets it go.
#[derive(Clone)]
pub struct TextEncoder(pub(crate) Arc<TextFiles>);

pub(crate) struct TextFiles {
    pub(crate) runtime: Runtime,
    pub(crate) files: ModelFiles,
    pub(crate) graphs: Graphs,
    pub(crate) options: Options,
    pub(crate) config: ModelConfig,
    pub(crate) family: Family,
    /// Read when the first text comes: where every vector is known, none does.
    pub(crate) tokenizer: OnceLock<TextTokenizer>,
    pub(crate) size: (u32, u32),
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
    pub(crate) fn tokenizer(&self) -> Result<&TextTokenizer, ModelError> {
        if let Some(tokenizer) = self.tokenizer.get() {
            return Ok(tokenizer);
        }
        // Two threads at once would read it twice, and one answer is kept.
        let tokenizer = TextTokenizer::load(&self.files, self.config)?;
        Ok(self.tokenizer.get_or_init(|| tokenizer))
    }

    /// A graph that fixes the size of its pictures must get that size from the preprocessing.
    pub(crate) fn check_picture_size(&self, graph: &Graph, file: &str) -> Result<(), ModelError> {
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
