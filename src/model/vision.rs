//! The vision graph: prepared pictures in, vectors out, on the device that the configuration asks for.

use tracing::warn;

use super::{
    context::{ModelContext, Options},
    error::ModelError,
    graph::{Graph, GraphInput, unit_rows},
    layout::Local,
    origin::{Origin, Tower},
    preprocess::Layout,
    tokenizer::TokenBatch,
};
use crate::{config::Device, engine::Rows};

/// The vision graph, or a combined graph whose text half is fed with a short text.
pub(super) struct Vision {
    pub(super) graph: Graph,
    output: &'static str,
    /// The text for the text half of a combined graph.
    filler: Option<TokenBatch>,
    /// The number of pictures in a run, where the graph fixes it.
    batch: Option<usize>,
    layout: Layout,
}

impl Vision {
    /// Loads the graph on the named device. For `auto` that is the best device of this machine, or the processor if the
    /// model does not run on the best device. With a model server the graph is there, and the device of this machine is the processor.
    pub(super) fn on_best_device(context: &ModelContext) -> Result<(Self, Device), ModelError> {
        if let Some(vision) = Self::at_server(context) {
            return Ok((vision?, Device::Cpu));
        }
        let wanted = context.options.execution.device;
        let device = context.engines.device(wanted)?;
        match Self::ready(context, device) {
            Err(why) if wanted == Device::Auto && device != Device::Cpu => {
                warn!(%why, "this model does not run on {device}; it runs on the processor");
                Ok((Self::ready(context, Device::Cpu)?, Device::Cpu))
            }
            vision => Ok((vision?, device)),
        }
    }

    /// The graph at the model server; `None`: this machine runs it.
    fn at_server(context: &ModelContext) -> Option<Result<Self, ModelError>> {
        context.engines.server()?;
        let vision = |graph: Graph| {
            let output = graph.output(context.config.family.image_outputs)?;
            Ok(Self { graph, output, filler: None, batch: None, layout: context.layout })
        };
        let graph = match context.contract() {
            Ok(contract) => Graph::at_server(&context.engines, &context.files, &contract)?,
            Err(error) => Err(error),
        };
        Some(graph.and_then(vision))
    }

    /// Loads a graph on the processor, whatever the configuration asks for: the one of the reference if its files are on this
    /// machine, otherwise the one that runs on another device.
    pub(super) fn on_processor(context: &ModelContext) -> Result<Self, ModelError> {
        let reference = context.options.reference.as_deref().filter(|_| context.engines.needs_graph_files());
        let origin = reference.and_then(|suffix| Origin::find(&context.files, suffix, Local::Both).ok());
        Self::load(context, origin.as_ref().unwrap_or(&context.origin), Device::Cpu)
    }

    /// Loads the graph. On an accelerator it also runs once with a full batch and once with one picture: these sizes are
    /// then compiled and allocated before the first frame, and an error for lack of memory comes now.
    fn ready(context: &ModelContext, device: Device) -> Result<Self, ModelError> {
        let mut vision = Self::load(context, &context.origin, device)?;
        if device.is_accelerator() {
            for pictures in [context.options.execution.max_batch, 1] {
                vision.run(&vec![0.0; context.tensor_len() * vision.batch.unwrap_or(pictures)])?;
            }
            // Only now: compiling takes as long as it takes.
            let longest = context.options.longest_run.unwrap_or(Options::LONGEST_RUN);
            vision.graph = vision.graph.supervised(longest)?;
        }
        Ok(vision)
    }

    fn load(context: &ModelContext, origin: &Origin, device: Device) -> Result<Self, ModelError> {
        let combined = origin.is_combined();
        let pictures = context.layout.inputs();
        let pictures_and_texts = [pictures, &["input_ids"]].concat();
        let (needed, outputs): (&[_], &[_]) = match combined {
            false => (pictures, context.config.family.image_outputs),
            true => (&pictures_and_texts, &["image_embeds"]),
        };
        let graph = context.open_of(origin, Tower::Vision, device)?;
        graph.check_inputs(needed)?;
        let output = graph.output(outputs)?;
        context.check_picture_size(&graph, Tower::Vision)?;
        let filler = match combined {
            false => None,
            true => {
                let texts = graph.fixed("input_ids", 0).filter(|texts| *texts > 0).unwrap_or(1);
                Some(context.tokenizer()?.batch(&["a"], graph.fixed("input_ids", 1))?.repeated(texts))
            }
        };
        let batch = graph.fixed("pixel_values", 0).filter(|batch| *batch > 0);
        Ok(Self { graph, output, filler, batch, layout: context.layout })
    }

    /// The number of pictures in a run, where the graph fixes it.
    pub(super) fn batch(&self) -> Option<usize> {
        self.batch
    }

    fn run(&mut self, values: &[f32]) -> Result<Rows, ModelError> {
        let pictures = GraphInput::Pictures { values, layout: self.layout };
        let [rows] = match &self.filler {
            None => self.graph.run(&[pictures], [self.output])?,
            Some(filler) => self.graph.run(&[pictures, GraphInput::Texts(filler)], [self.output])?,
        };
        Ok(rows)
    }

    /// One vector of length 1 for each picture, in order.
    pub(super) fn embed(&mut self, values: &[f32]) -> Result<Vec<Vec<f32>>, ModelError> {
        if values.is_empty() {
            return Ok(Vec::new());
        }
        let tensor_len = self.layout.values();
        let at_once = self.batch.map_or(values.len(), |batch| batch * tensor_len);
        let mut vectors = Vec::new();
        for values in values.chunks(at_once) {
            let pictures = values.len() / tensor_len;
            let rows = match values.len() < at_once {
                false => self.run(values)?,
                // A graph that fixes the number of pictures gets blank ones after the real ones.
                true => {
                    let mut filled = values.to_vec();
                    filled.resize(at_once, 0.0);
                    let mut rows = self.run(&filled)?;
                    rows.values.truncate(pictures * rows.columns);
                    rows
                }
            };
            let rows = unit_rows(&rows)?;
            if rows.len() != pictures {
                let found = rows.len();
                return Err(ModelError::Run(format!("it gave {found} vectors for {pictures} pictures")));
            }
            vectors.extend(rows);
        }
        Ok(vectors)
    }
}
