//! Runs the graphs of a model: tensors in, one row of numbers for each picture or text out.
//!
//! [`Engine`] is the seam between the service and what computes. [`onnx`] runs graphs in this process, and [`remote`] runs the graph
//! for pictures at a model server. An engine knows tensors and their names, and nothing of labels, prompts or preprocessing.

mod interface;
pub mod onnx;
pub mod plugins;
pub mod processor;
pub mod remote;
mod supervised;

use std::sync::Arc;

pub use interface::{
    Connection, Engine, EngineError, GraphContent, GraphSource, Input, InputInfo, Metadata, ProviderShare,
    Rows, Values,
};
pub use supervised::Supervised;

use self::{
    onnx::{DeviceError, OnnxGraph, Runtime, RuntimeError},
    remote::{RemoteGraph, VisionContract},
};
use crate::config::{Config, Device, Execution, ModelServer};

/// Opens graphs.
#[derive(Debug, Clone)]
pub enum Engines {
    /// In this process, with ONNX Runtime.
    Onnx(Runtime),
    /// The graph for pictures at a model server, all others in this process.
    Server(Runtime, Arc<ModelServer>),
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
        let runtime = Runtime::load(config.onnxruntime.as_deref())?;
        Ok(match &config.model_server {
            None => Self::Onnx(runtime),
            Some(server) => Self::Server(runtime, Arc::new(server.clone())),
        })
    }

    /// What runs the graphs of this machine, for the log.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Onnx(runtime) | Self::Server(runtime, _) => runtime.library(),
            #[cfg(test)]
            Self::Fake(_) => "fake",
        }
    }

    /// The model server that runs the graph for pictures, if one does.
    #[must_use]
    pub fn server(&self) -> Option<&ModelServer> {
        match self {
            Self::Server(_, server) => Some(server),
            _ => None,
        }
    }

    /// The same without the model server: this machine runs every graph.
    #[must_use]
    pub fn local(&self) -> Self {
        match self {
            Self::Onnx(runtime) | Self::Server(runtime, _) => Self::Onnx(runtime.clone()),
            #[cfg(test)]
            Self::Fake(engine) => Self::Fake(engine.local()),
        }
    }

    /// Opens the graph for pictures at the model server; `None`: this machine runs it.
    ///
    /// # Errors
    /// No server has the graph. While no server answers, the graph is open, and a run is [`EngineError::Unavailable`].
    pub fn open_at_server(&self, contract: &VisionContract) -> Option<Result<Box<dyn Engine>, EngineError>> {
        match self {
            Self::Server(_, server) => {
                Some(RemoteGraph::open(server, contract).map(|graph| -> Box<dyn Engine> { Box::new(graph) }))
            }
            _ => None,
        }
    }

    /// Opens a graph on `device` of this machine.
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
            Self::Onnx(runtime) | Self::Server(runtime, _) => {
                Ok(Box::new(OnnxGraph::open(runtime, source, execution, device)?))
            }
            #[cfg(test)]
            Self::Fake(engine) => Ok(Box::new(engine.on(device))),
        }
    }

    /// The names of the devices that it could use.
    #[must_use]
    pub fn providers(&self) -> Vec<&'static str> {
        match self {
            Self::Onnx(runtime) | Self::Server(runtime, _) => runtime.providers(),
            #[cfg(test)]
            Self::Fake(_) => vec!["CPU"],
        }
    }

    /// Whether the engine computes attention with one operator of its own on this device. On others, a graph with such an
    /// operator would be divided between the device and the processor.
    #[must_use]
    pub fn fuses_attention(&self, device: Device) -> bool {
        match self {
            Self::Onnx(_) | Self::Server(..) => matches!(device, Device::Cpu | Device::Cuda(_)),
            #[cfg(test)]
            Self::Fake(_) => false,
        }
    }

    /// A text that changes with what computes on this machine: results that are kept on disk depend on it.
    pub(crate) fn identity(&self) -> String {
        match self {
            Self::Onnx(runtime) | Self::Server(runtime, _) => {
                format!("{} {}", runtime.library(), runtime.build())
            }
            #[cfg(test)]
            Self::Fake(_) => "fake".to_owned(),
        }
    }

    /// Whether graphs are opened from the model's own files, which must then be complete.
    #[must_use]
    pub fn needs_graph_files(&self) -> bool {
        match self {
            Self::Onnx(_) | Self::Server(..) => true,
            #[cfg(test)]
            Self::Fake(_) => false,
        }
    }

    /// Whether a device belongs to a plugin that is on this machine. It is tried in another process before it is used here.
    #[must_use]
    pub fn needs_plugin(&self, device: Device) -> bool {
        match self {
            Self::Onnx(runtime) => runtime.needs_plugin(device),
            // Only texts are encoded here.
            Self::Server(..) => false,
            #[cfg(test)]
            Self::Fake(_) => false,
        }
    }

    /// The device of this machine for `wanted`; never `auto`.
    ///
    /// # Errors
    /// A device that was named does not work.
    pub fn device(&self, wanted: Device) -> Result<Device, DeviceError> {
        match self {
            Self::Onnx(runtime) => runtime.device(wanted),
            // Only texts are encoded here.
            Self::Server(..) => Ok(Device::Cpu),
            #[cfg(test)]
            Self::Fake(_) if wanted == Device::Cpu => Ok(Device::Cpu),
            #[cfg(test)]
            Self::Fake(engine) => Ok(engine.device),
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
        /// The same on the processor, if the other one is on another device.
        on_processor: Option<Arc<Mutex<Script>>>,
        /// The best device.
        pub(crate) device: Device,
        placement: Vec<ProviderShare>,
        /// The connection, if it is at a model server.
        connection: Option<Arc<Mutex<Connection>>>,
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
            let answer = Arc::new(Mutex::new(answer));
            let (placement, connection) = (Vec::new(), None);
            Self { metadata, answer, on_processor: None, device: Device::Cpu, placement, connection }
        }

        /// An engine whose best device is another one than the processor, on which `answer` answers.
        pub(crate) fn beside(
            self,
            answer: impl FnMut(&[f32]) -> Result<Vec<f32>, EngineError> + Send + 'static,
        ) -> Self {
            let on_processor: Arc<Mutex<Script>> = Arc::new(Mutex::new(answer));
            Self { on_processor: Some(on_processor), device: Device::WebGpu(0), ..self }
        }

        /// An engine at a model server with this connection. On this machine, `answer` answers.
        pub(crate) fn at_server(
            self,
            connection: &Arc<Mutex<Connection>>,
            answer: impl FnMut(&[f32]) -> Result<Vec<f32>, EngineError> + Send + 'static,
        ) -> Self {
            let connection = Some(Arc::clone(connection));
            Self { connection, device: Device::Cpu, ..self.beside(answer) }
        }

        /// The engine without the model server.
        pub(super) fn local(&self) -> Self {
            Self { connection: None, ..self.clone() }
        }

        /// This provider runs the graph on the best device.
        pub(crate) fn run_by(self, provider: &str) -> Self {
            Self { placement: vec![ProviderShare { provider: provider.to_owned(), nodes: 7 }], ..self }
        }

        /// The engine on a device.
        pub(super) fn on(&self, device: Device) -> Self {
            match (device, &self.on_processor) {
                (Device::Cpu, Some(answer)) if self.connection.is_none() => {
                    Self { answer: Arc::clone(answer), placement: Vec::new(), ..self.clone() }
                }
                _ => self.clone(),
            }
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
            self.health()?;
            let answers = (self.answer.lock().unwrap())(&firsts)?;
            Ok(vec![Rows { values: answers.iter().flat_map(|answer| [1.0, *answer]).collect(), columns: 2 }])
        }

        fn health(&mut self) -> Result<(), EngineError> {
            match self.connection() {
                Connection::Away => Err(EngineError::Unavailable("no server is left".to_owned())),
                _ => Ok(()),
            }
        }

        fn placement(&self) -> Vec<ProviderShare> {
            self.placement.clone()
        }

        fn connection(&self) -> Connection {
            self.connection.as_ref().map_or(Connection::Here, |connection| *connection.lock().unwrap())
        }

        fn distrust(&mut self, connection: u64, _: &str) {
            let mut own = self.connection.as_ref().unwrap().lock().unwrap();
            assert_eq!(*own, Connection::Open(connection));
            *own = Connection::Away;
        }
    }
}
