//! A model: pictures and texts in, vectors of length 1 out. The only home of the tokenizer.
//!
//! A model knows no labels and no thresholds. Its text graph is loaded only while texts are encoded, since texts change with
//! the configuration and pictures arrive all day.

mod build;
pub mod canary;
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
mod serving;
mod text;
mod tokenizer;
mod vision;

use std::{
    io,
    path::Path,
    sync::{Arc, OnceLock},
};

pub use context::Options;
pub use error::ModelError;
pub use export::{ExportError, Exported, export};
pub use facts::ModelFacts;
pub use family::{Activation, Logits};
pub use files::ModelFiles;
pub use preprocess::Backend;
pub use serving::ServingError;
pub use text::TextEncoder;
pub use tokenizer::Tokens;

use self::{
    context::ModelContext,
    layout::Local,
    origin::{Origin, Tower},
    preprocess::Preprocessor,
    vision::Vision,
};
pub use crate::engine::onnx::{DeviceError, Runtime, RuntimeError};
use crate::{
    config::{Device, Execution, Precision},
    engine::{Connection, Engines, ProviderShare, remote},
    picture::Picture,
};

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
        let origin = Origin::find(files, &options.variant, local_graphs(&engines))?;
        let (config, preprocessing, preprocessor) = files.settings(origin.format(), options.backend)?;
        let (tokenizer, layout) = (OnceLock::new(), preprocessor.layout());
        let (files, options) = (files.clone(), options.clone());
        let vector = Arc::default();
        let context = ModelContext {
            engines,
            files,
            origin,
            options,
            config,
            tokenizer,
            layout,
            preprocessing,
            vector,
        };
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

    /// The suffix of the names of its graphs, such as `_fp16`; empty for full precision.
    #[must_use]
    pub fn variant(&self) -> &str {
        &self.text.0.options.variant
    }

    /// Which execution providers run the vision graph. Empty: the engine does not say it.
    #[must_use]
    pub fn placement(&self) -> Vec<ProviderShare> {
        self.vision.graph.placement()
    }

    /// Where the next vectors come from.
    #[must_use]
    pub fn connection(&self) -> Connection {
        self.vision.graph.connection()
    }

    /// Reports that the vectors from a connection are wrong, and why. Its server is not used for a while.
    pub fn distrust(&mut self, connection: u64, why: &str) {
        self.vision.graph.distrust(connection, why);
    }

    /// Loads the model that this one is compared with: the reference's graphs on the processor. `None`: it is this one.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn reference(&self) -> Result<Option<Self>, ModelError> {
        let (context, variant) = (&self.text.0, self.reference_variant());
        if !self.is_compared() {
            return Ok(None);
        }
        let execution = Execution {
            device: Device::Cpu,
            precision: Precision::Auto,
            gpu_memory: None,
            ..context.options.execution
        };
        let options =
            Options { execution, variant: variant.to_owned(), reference: None, ..context.options.clone() };
        Self::load(context.engines.local(), &context.files, &options).map(Some)
    }

    /// Continues on the processor. What the other device had loaded is released when that device lets go of it.
    ///
    /// # Errors
    /// The graph cannot be loaded on the processor.
    pub fn fall_back(&mut self) -> Result<(), ModelError> {
        self.vision = Vision::on_processor(&self.text.0)?;
        self.device = Device::Cpu;
        Ok(())
    }

    /// The suffix of the graphs that the canary compares with.
    fn reference_variant(&self) -> &str {
        let options = &self.text.0.options;
        options.reference.as_ref().unwrap_or(&options.variant)
    }

    /// Whether the model is another one than its reference.
    fn is_compared(&self) -> bool {
        self.connection() != Connection::Here
            || self.device != Device::Cpu
            || self.variant() != self.reference_variant()
    }

    /// Whether the reference's graphs are on this machine.
    fn has_reference(&self) -> bool {
        let context = &self.text.0;
        context.files.has_graphs(self.reference_variant(), local_graphs(&context.engines.local()))
    }

    /// A hash of everything that the vectors of pictures depend on, except for the pictures and the device.
    fn vision_fingerprint(&self, suffix: &str) -> [u8; 32] {
        let context = &self.text.0;
        let origin = Origin::find(&context.files, suffix, local_graphs(&context.engines.local()));
        context.fingerprint_of(origin.as_ref().unwrap_or(&context.origin), Tower::Vision)
    }

    /// Whether results of the model are kept on disk.
    fn remembers(&self) -> bool {
        self.text.0.options.remember
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

    /// Checks each model server, in the order of the configuration; empty if this machine runs the pictures. An error says why a server
    /// cannot be used, for people.
    ///
    /// # Errors
    /// The system gives no runtime.
    pub fn survey_servers(&self) -> io::Result<Vec<Result<(), String>>> {
        let context = &self.text.0;
        match context.engines.server() {
            Some(server) => match context.contract() {
                Ok(contract) => remote::survey(server, &contract),
                Err(error) => Ok(server.servers.iter().map(|_| Err(error.to_string())).collect()),
            },
            None => Ok(Vec::new()),
        }
    }

    /// The number of pictures in a run, if the graph for pictures fixes it.
    #[must_use]
    pub fn fixed_batch(&self) -> Option<usize> {
        self.vision.batch()
    }

    /// Writes the graph for pictures, with its weights, into `folder`, for a model server.
    ///
    /// # Errors
    /// There is no graph for pictures alone that a server can run, or a file cannot be written.
    pub fn copy_vision_graph(&self, folder: &Path) -> Result<(), ServingError> {
        let context = &self.text.0;
        context.contract()?;
        serving::write_vision(&context.files, &context.origin, folder)
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
        let origin = Origin::find(files, &options.variant, Local::Both)?;
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

/// Which graphs these engines open on this machine.
fn local_graphs(engines: &Engines) -> Local {
    match (engines.server(), engines.needs_graph_files()) {
        (Some(_), _) => Local::Text,
        (None, true) => Local::Both,
        (None, false) => Local::Neither,
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
pub fn fuzz(folder: &Path) {
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
