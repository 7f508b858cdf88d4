//! Runs the graphs of a model: tensors in, one row of numbers for each picture or text out.
//!
//! [`Engine`] is the seam between the service and what computes. [`onnx`] runs graphs in this process; a model server would
//! be another module and another variant of [`Engines`]. An engine knows tensors and their names, and nothing of labels,
//! prompts or preprocessing.

mod interface;
pub mod onnx;

pub use interface::{
    Engine, EngineError, GraphContent, GraphSource, Input, InputInfo, Metadata, Rows, Values,
};

use self::onnx::{DeviceError, OnnxGraph, Runtime, RuntimeError};
use crate::config::{Config, Device, Execution};

/// Opens graphs.
#[derive(Debug, Clone)]
pub enum Engines {
    /// In this process, with ONNX Runtime.
    Onnx(Runtime),
    /// Engines that a unit test scripts.
    #[cfg(test)]
    Fake(fake::FakeEngine),
}

impl Engines {
    /// The engines that a configuration asks for.
    ///
    /// # Errors
    /// ONNX Runtime is missing or cannot be used.
    pub fn load(config: &Config) -> Result<Self, RuntimeError> {
        Ok(Self::Onnx(Runtime::load(config.onnxruntime.as_deref())?))
    }

    /// What runs the graphs, for the log.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Onnx(runtime) => runtime.library(),
            #[cfg(test)]
            Self::Fake(_) => "fake",
        }
    }

    /// Opens a graph on `device`.
    ///
    /// # Errors
    /// The graph is damaged, the device refuses it, or the engine is unavailable.
    pub fn open(
        &self,
        source: &GraphSource,
        execution: &Execution,
        device: Device,
    ) -> Result<Box<dyn Engine>, EngineError> {
        match self {
            Self::Onnx(runtime) => Ok(Box::new(OnnxGraph::open(runtime, source, execution, device)?)),
            #[cfg(test)]
            Self::Fake(engine) => Ok(Box::new(engine.clone())),
        }
    }

    /// The names of the devices that it could use.
    #[must_use]
    pub fn providers(&self) -> Vec<&'static str> {
        match self {
            Self::Onnx(runtime) => runtime.providers(),
            #[cfg(test)]
            Self::Fake(_) => vec!["CPU"],
        }
    }

    /// Whether the engine computes attention with one operator of its own on this device. On others, a graph with such an
    /// operator would be divided between the device and the processor.
    #[must_use]
    pub fn fuses_attention(&self, device: Device) -> bool {
        match self {
            Self::Onnx(_) => matches!(device, Device::Cpu | Device::Cuda(_)),
            #[cfg(test)]
            Self::Fake(_) => false,
        }
    }

    /// A text that changes with what computes: results that are kept on disk depend on it.
    pub(crate) fn identity(&self) -> String {
        match self {
            Self::Onnx(runtime) => format!("{} {}", runtime.library(), runtime.build()),
            #[cfg(test)]
            Self::Fake(_) => "fake".to_owned(),
        }
    }

    /// Whether graphs are opened from the model's own files, which must then be complete.
    #[must_use]
    pub fn needs_graph_files(&self) -> bool {
        match self {
            Self::Onnx(_) => true,
            #[cfg(test)]
            Self::Fake(_) => false,
        }
    }

    /// The device for `wanted`; never `auto`.
    ///
    /// # Errors
    /// A device that was named does not work.
    pub fn device(&self, wanted: Device) -> Result<Device, DeviceError> {
        match self {
            Self::Onnx(runtime) => runtime.device(wanted),
            #[cfg(test)]
            Self::Fake(_) => Ok(Device::Cpu),
        }
    }
}

impl From<&Runtime> for Engines {
    fn from(runtime: &Runtime) -> Self {
        Self::Onnx(runtime.clone())
    }
}

/// An engine whose answers a unit test decides.
#[cfg(test)]
pub(crate) mod fake {
    use std::sync::{Arc, Mutex};

    use super::*;

    type Script = dyn FnMut(&[f32]) -> Result<Vec<f32>, EngineError> + Send;

    /// A vision graph. Its clones share the script.
    #[derive(Clone)]
    pub struct FakeEngine {
        metadata: Metadata,
        /// One number for each picture, from the first number of each picture's tensor.
        answer: Arc<Mutex<Script>>,
    }

    impl FakeEngine {
        pub(crate) fn new(
            answer: impl FnMut(&[f32]) -> Result<Vec<f32>, EngineError> + Send + 'static,
        ) -> Self {
            let shape = vec![None, Some(3), None, None];
            let metadata = Metadata {
                inputs: vec![InputInfo { name: "pixel_values".to_owned(), shape }],
                outputs: vec!["image_embeds".to_owned()],
            };
            Self { metadata, answer: Arc::new(Mutex::new(answer)) }
        }
    }

    impl std::fmt::Debug for FakeEngine {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("FakeEngine")
        }
    }

    impl Engine for FakeEngine {
        fn metadata(&self) -> &Metadata {
            &self.metadata
        }

        /// Rows `[1, answer]`: they keep the answer, whatever they are divided by.
        fn run(&mut self, inputs: &[Input<'_>], _outputs: &[&str]) -> Result<Vec<Rows>, EngineError> {
            let [Input { shape, values: Values::Floats(values), .. }] = inputs else {
                panic!("a vision graph takes pictures: {inputs:?}")
            };
            let size: usize = shape[1..].iter().product();
            let firsts: Vec<f32> = values.chunks(size).map(|picture| picture[0]).collect();
            assert_eq!(firsts.len(), shape[0]);
            let answers = (self.answer.lock().unwrap())(&firsts)?;
            Ok(vec![Rows { values: answers.iter().flat_map(|answer| [1.0, *answer]).collect(), columns: 2 }])
        }

        fn health(&mut self) -> Result<(), EngineError> {
            Ok(())
        }
    }
}
