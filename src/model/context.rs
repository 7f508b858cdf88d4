//! What the vision graph, the text graph and the scale of one model share: the engine, the files and what they say.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use sha2::{Digest as _, Sha256};

use super::{
    error::ModelError,
    family::Logits,
    files::{ModelConfig, ModelFiles},
    graph::Graph,
    origin::{Origin, Tower},
    preprocess::{Backend, Layout},
    tokenizer::TextTokenizer,
};
use crate::{
    config::{Device, Execution},
    engine::{Engines, remote::VisionContract},
};

/// Raise it with each change of how texts are tokenized and padded, so that results of the old way are not used.
const PREPARATION: u32 = 2;

/// How a model is run.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Options {
    /// On which device, with how many threads.
    pub execution: Execution,
    /// The suffix of the graphs' names, such as `_fp16`; empty for full precision.
    pub variant: String,
    /// Scale and bias, where they are known and no file of the model holds them.
    pub logits: Option<Logits>,
    /// Which image library's rounding the preprocessing follows.
    pub backend: Backend,
    /// Whether a scale that had to be measured is kept on disk for the next start, and so are the vectors of the canary.
    pub remember: bool,
    /// The suffix of the graphs that the canary compares with; `None`: of the graphs that run.
    pub reference: Option<String>,
    /// The time that one run on another device than the processor may take; `None`: [`Options::LONGEST_RUN`].
    pub longest_run: Option<Duration>,
}

impl Options {
    /// No batch takes this long on a device that works. A part of the service that is silent for twice this time is stuck.
    pub const LONGEST_RUN: Duration = Duration::from_secs(60);
}

pub(super) struct ModelContext {
    pub(super) engines: Engines,
    pub(super) files: ModelFiles,
    pub(super) origin: Origin,
    pub(super) options: Options,
    pub(super) config: ModelConfig,
    /// Read for the first text. A start whose label vectors are all on disk never needs it.
    pub(super) tokenizer: OnceLock<TextTokenizer>,
    /// The form of the model's pictures.
    pub(super) layout: Layout,
    /// The file that says how pictures are prepared.
    pub(super) preprocessing: &'static str,
    /// The length of a text's vector, once it is known.
    pub(super) vector: Arc<OnceLock<usize>>,
}

impl ModelContext {
    pub(super) fn open(&self, tower: Tower, device: Device) -> Result<Graph, ModelError> {
        self.open_of(&self.origin, tower, device)
    }

    /// A graph that comes from elsewhere than those that run.
    pub(super) fn open_of(&self, origin: &Origin, tower: Tower, device: Device) -> Result<Graph, ModelError> {
        Graph::open(&self.engines, &self.files, origin, tower, &self.options.execution, device)
    }

    /// What the graph for pictures takes and gives at a model server.
    ///
    /// # Errors
    /// The graph takes patches, which servers are not asked for.
    pub(super) fn contract(&self) -> Result<VisionContract, ModelError> {
        match self.layout {
            Layout::Planes { width, height } => {
                let vector = Arc::clone(&self.vector);
                Ok(VisionContract { size: (width, height), outputs: self.config.family.image_outputs, vector })
            }
            Layout::Patches { .. } => Err(ModelError::Server(
                "the model takes patches of pictures of any form (NaFlex), which a model server cannot run: use a model of a \
                 fixed size, or remove `server` from `model`"
                    .to_owned(),
            )),
        }
    }

    pub(super) fn tokenizer(&self) -> Result<&TextTokenizer, ModelError> {
        if let Some(tokenizer) = self.tokenizer.get() {
            return Ok(tokenizer);
        }
        // Two threads may both read it; the first to finish wins.
        let tokenizer = TextTokenizer::load(&self.files, self.config)?;
        Ok(self.tokenizer.get_or_init(|| tokenizer))
    }

    /// A hash of everything that the results of a graph for given texts depend on: the graph with its weights, the settings of
    /// the model, the program and the engine.
    pub(super) fn fingerprint(&self, tower: Tower) -> [u8; 32] {
        self.fingerprint_of(&self.origin, tower)
    }

    /// The same for a graph that comes from elsewhere than those that run.
    pub(super) fn fingerprint_of(&self, origin: &Origin, tower: Tower) -> [u8; 32] {
        let mut hash = Sha256::new();
        // Another version may prepare texts in another way.
        hash.update(format!("{} {}\n{}\n", env!("CARGO_PKG_VERSION"), PREPARATION, self.engines.identity()));
        hash.update(origin.fingerprint(&self.files, tower));
        hash.finalize().into()
    }

    /// How many numbers one prepared picture has.
    pub(super) fn tensor_len(&self) -> usize {
        self.layout.values()
    }

    /// Checks that a graph that fixes the size of its pictures gets this size from the preprocessing.
    pub(super) fn check_picture_size(&self, graph: &Graph, tower: Tower) -> Result<(), ModelError> {
        let fixed = |dimension| graph.fixed("pixel_values", dimension);
        let fits = |dimension, size: usize| fixed(dimension).is_none_or(|fixed| fixed == size);
        let found = |dimension| fixed(dimension).map_or("any number".to_owned(), |fixed| fixed.to_string());
        let (takes, makes) = match self.layout {
            Layout::Planes { width, height } => {
                if fits(2, height as usize) && fits(3, width as usize) {
                    return Ok(());
                }
                let takes = format!("pictures of {} x {}", found(3), found(2));
                (takes, format!("makes them {width} x {height}"))
            }
            Layout::Patches { side, most } => {
                if fits(1, most as usize) && fits(2, self.layout.patch_values()) {
                    return Ok(());
                }
                let takes = format!("{} patches with {} numbers", found(1), found(2));
                (takes, format!("makes {most} patches of {side} x {side} pixels"))
            }
        };
        let reason = format!("it takes {takes}, and {} {makes}", self.preprocessing);
        Err(self.files.unusable(self.origin.name(tower), reason))
    }
}
