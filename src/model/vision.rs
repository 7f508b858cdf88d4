//! The vision tower: pictures that are ready in, vectors out, on the device that was asked for. Refuses to prepare them.

use tracing::warn;

use super::{ModelError, files::Graphs, normalised, text::TextFiles, tokenizer::Batch};
use crate::{
    config::Device,
    engine::onnx::graph::{Graph, Input, Rows},
};

/// The vision tower, or a combined graph whose text half is fed with something short.
pub(crate) struct Vision {
    pub(crate) graph: Graph,
    output: &'static str,
    /// What the text half of a combined graph gets.
    filler: Option<Batch>,
    /// How many pictures the graph takes at once, where it fixes that.
    pub(crate) batch: Option<usize>,
}

impl Vision {
    /// The device that was asked for; for `auto` the best that is there, or the processor where that fails with this model.
    pub(crate) fn on_best_device(text: &TextFiles) -> Result<(Self, Device), ModelError> {
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

    pub(crate) fn embed(
        &mut self,
        values: &[f32],
        (width, height): (u32, u32),
    ) -> Result<Vec<Vec<f32>>, ModelError> {
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
