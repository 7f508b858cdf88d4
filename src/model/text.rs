//! The text graph: texts in, vectors out. It is loaded for each call, since texts change only with the configuration.

use std::sync::Arc;

use super::{
    context::ModelContext,
    error::ModelError,
    graph::{GraphInput, unit_rows},
    origin::Tower,
    tokenizer::Tokens,
};
use crate::config::Device;

/// Encodes texts. Clones share one tokenizer.
#[derive(Clone)]
pub struct TextEncoder(pub(super) Arc<ModelContext>);

impl TextEncoder {
    /// The vectors of some texts, each of length 1. A text that is too long for the model is cut, with a warning.
    ///
    /// # Errors
    /// The text graph cannot be loaded, or it failed.
    pub fn encode(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, ModelError> {
        let Self(context) = self;
        let combined = context.origin.is_combined();
        let pictures_and_texts = [context.layout.inputs(), &["input_ids"]].concat();
        let (needed, outputs): (&[_], &[_]) = match combined {
            false => (&["input_ids"], context.config.family.text_outputs),
            true => (&pictures_and_texts, &["text_embeds"]),
        };
        // On the processor, whatever runs the pictures: the vectors are kept on disk, so they must not depend on the device,
        // and the memory of a GPU is free for pictures.
        let mut graph = context.open(Tower::Text, Device::Cpu)?;
        graph.check_inputs(needed)?;
        let output = graph.output(outputs)?;
        let layout = context.layout;
        // A graph may fix the number of texts and pictures.
        let fixed = |input| graph.fixed(input, 0).filter(|rows| *rows > 0).unwrap_or(1);
        let (copies, pictures) = (fixed("input_ids"), fixed("pixel_values"));
        // A combined graph needs a picture, too.
        let blank = vec![0.0; if combined { context.tensor_len() * pictures } else { 0 }];
        let picture = combined.then_some(GraphInput::Pictures { values: &blank, layout });
        let mut vectors = Vec::with_capacity(texts.len());
        // One text per run: a text's vector then cannot depend on other texts, whatever the graph's precision.
        for text in texts {
            let batch = context.tokenizer()?.batch(&[text], graph.fixed("input_ids", 1))?.repeated(copies);
            let inputs: Vec<_> = picture.into_iter().chain([GraphInput::Texts(&batch)]).collect();
            let [rows] = graph.run(&inputs, [output])?;
            vectors.extend(unit_rows(&rows)?.into_iter().take(1));
        }
        self.uses(&vectors);
        Ok(vectors)
    }

    /// The caller uses vectors that were encoded earlier. A model server must give vectors of the same length.
    pub fn uses(&self, vectors: &[Vec<f32>]) {
        if let Some(vector) = vectors.first() {
            // All vectors of a model have the same length.
            let _ = self.0.vector.set(vector.len());
        }
    }

    /// A hash of everything that a text's vector depends on, except for the text itself.
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 32] {
        self.0.fingerprint(Tower::Text)
    }

    /// The tokens of a text.
    ///
    /// # Errors
    /// The text cannot be tokenized.
    pub fn tokens(&self, text: &str) -> Result<Tokens, ModelError> {
        self.0.tokenizer()?.tokens(text)
    }
}
