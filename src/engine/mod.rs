//! Runs the graph of a model.

pub mod onnx;
