//! ONNX Runtime in this process.

pub mod device;
pub mod device_error;
pub mod graph;
pub mod heap;
pub mod runtime;
