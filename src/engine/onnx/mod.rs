//! Runs graphs in this process, with ONNX Runtime. The only home of `ort`.

mod device;
mod device_error;
mod graph;
mod plugin;
mod plugin_api;
mod runtime;
mod work;

pub use device_error::DeviceError;
pub(super) use graph::OnnxGraph;
pub use plugin::{DeviceKind, PluginDevice};
pub use runtime::{Runtime, RuntimeError};
pub use work::finish;
