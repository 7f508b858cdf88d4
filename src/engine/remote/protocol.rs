//! The messages and methods of the Open Inference Protocol over gRPC (version 2), as far as they are used.
//!
//! The numbers are those of the specification: package `inference` in `open_inference_grpc.proto`, published by the project
//! `kserve/open-inference-protocol`. Fields that have no use here are never sent, and are skipped when they are received. The messages
//! are written by hand, so that a build needs no compiler for the specification.

use prost::{Message, bytes::Bytes};

/// Whether the server answers requests.
pub const SERVER_READY: &str = "/inference.GRPCInferenceService/ServerReady";
/// Whether a model answers requests.
pub const MODEL_READY: &str = "/inference.GRPCInferenceService/ModelReady";
/// What a model takes and gives.
pub const MODEL_METADATA: &str = "/inference.GRPCInferenceService/ModelMetadata";
/// Runs a model.
pub const MODEL_INFER: &str = "/inference.GRPCInferenceService/ModelInfer";

/// The request of [`SERVER_READY`].
#[derive(Clone, PartialEq, Eq, Message)]
pub struct ServerReadyRequest {}

/// The answer of [`SERVER_READY`].
#[derive(Clone, PartialEq, Eq, Message)]
pub struct ServerReadyResponse {
    /// Whether it does.
    #[prost(bool, tag = "1")]
    pub ready: bool,
}

/// The request of [`MODEL_READY`].
#[derive(Clone, PartialEq, Eq, Message)]
pub struct ModelReadyRequest {
    /// The name of the model.
    #[prost(string, tag = "1")]
    pub name: String,
}

/// The answer of [`MODEL_READY`].
#[derive(Clone, PartialEq, Eq, Message)]
pub struct ModelReadyResponse {
    /// Whether it does.
    #[prost(bool, tag = "1")]
    pub ready: bool,
}

/// The request of [`MODEL_METADATA`].
#[derive(Clone, PartialEq, Eq, Message)]
pub struct ModelMetadataRequest {
    /// The name of the model.
    #[prost(string, tag = "1")]
    pub name: String,
}

/// The answer of [`MODEL_METADATA`].
#[derive(Clone, PartialEq, Eq, Message)]
pub struct ModelMetadataResponse {
    /// The name of the model.
    #[prost(string, tag = "1")]
    pub name: String,
    /// What runs it.
    #[prost(string, tag = "3")]
    pub platform: String,
    /// What it takes.
    #[prost(message, repeated, tag = "4")]
    pub inputs: Vec<TensorMetadata>,
    /// What it gives.
    #[prost(message, repeated, tag = "5")]
    pub outputs: Vec<TensorMetadata>,
}

/// An input or an output of a model.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct TensorMetadata {
    /// Its name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// The kind of its numbers: `FP32`.
    #[prost(string, tag = "2")]
    pub datatype: String,
    /// Its size in each dimension; -1 for any size.
    #[prost(int64, repeated, tag = "3")]
    pub shape: Vec<i64>,
}

/// The request of [`MODEL_INFER`].
#[derive(Clone, PartialEq, Message)]
pub struct ModelInferRequest {
    /// The name of the model.
    #[prost(string, tag = "1")]
    pub model_name: String,
    /// What the inputs look like.
    #[prost(message, repeated, tag = "5")]
    pub inputs: Vec<InferTensor>,
    /// The outputs that are wanted.
    #[prost(message, repeated, tag = "6")]
    pub outputs: Vec<RequestedOutput>,
    /// The numbers of each input, in the order of the inputs: little endian, the last dimension varying fastest.
    #[prost(bytes = "bytes", repeated, tag = "7")]
    pub raw_input_contents: Vec<Bytes>,
}

/// An input of a request, or an output of an answer.
#[derive(Clone, PartialEq, Message)]
pub struct InferTensor {
    /// Its name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// The kind of its numbers.
    #[prost(string, tag = "2")]
    pub datatype: String,
    /// Its size in each dimension.
    #[prost(int64, repeated, tag = "3")]
    pub shape: Vec<i64>,
    /// Its numbers, unless they are among the raw contents.
    #[prost(message, optional, tag = "5")]
    pub contents: Option<TensorContents>,
}

/// Numbers that are not raw.
#[derive(Clone, PartialEq, Message)]
pub struct TensorContents {
    /// Those of the kind `FP32`.
    #[prost(float, repeated, tag = "6")]
    pub fp32_contents: Vec<f32>,
}

/// An output that is wanted.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct RequestedOutput {
    /// Its name.
    #[prost(string, tag = "1")]
    pub name: String,
}

/// The answer of [`MODEL_INFER`].
#[derive(Clone, PartialEq, Message)]
pub struct ModelInferResponse {
    /// The name of the model.
    #[prost(string, tag = "1")]
    pub model_name: String,
    /// What the outputs look like.
    #[prost(message, repeated, tag = "5")]
    pub outputs: Vec<InferTensor>,
    /// The numbers of each output, in the order of the outputs; empty if they are in the outputs themselves.
    #[prost(bytes = "bytes", repeated, tag = "6")]
    pub raw_output_contents: Vec<Bytes>,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the specification numbers the fields: a mistake would be two sides that agree with each other only.
    #[test]
    fn the_bytes_of_a_request_are_those_of_the_specification() {
        let request = ModelInferRequest {
            model_name: "m".to_owned(),
            inputs: vec![InferTensor {
                name: "x".to_owned(),
                datatype: "FP32".to_owned(),
                shape: vec![1, 2],
                contents: None,
            }],
            outputs: vec![RequestedOutput { name: "y".to_owned() }],
            raw_input_contents: vec![Bytes::from_static(b"\x01\x02")],
        };
        let expected = [
            &b"\x0a\x01m"[..],
            b"\x2a\x0d\x0a\x01x\x12\x04FP32\x1a\x02\x01\x02",
            b"\x32\x03\x0a\x01y",
            b"\x3a\x02\x01\x02",
        ]
        .concat();
        assert_eq!(request.encode_to_vec(), expected);
    }

    #[test]
    fn fields_that_have_no_use_are_skipped() {
        // id (3) and parameters (4) of an answer, then a raw output (6).
        let bytes = b"\x1a\x02id\x22\x00\x32\x04abcd";
        let answer = ModelInferResponse::decode(&bytes[..]).unwrap();
        assert_eq!(answer.raw_output_contents, [Bytes::from_static(b"abcd")]);
    }
}
