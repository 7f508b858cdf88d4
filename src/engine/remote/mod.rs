//! Runs the graph for pictures at a model server, over the Open Inference Protocol (gRPC): NVIDIA Triton, OpenVINO Model Server,
//! KServe, MLServer and others speak it. The only home of `tonic` and `prost`.
//!
//! `graph` is the engine. `pool` connects to the servers and checks them, `roster` decides which of them is used, and `link` is a
//! connection to one of them. `survey` is for `stakeout doctor`. Preprocessing, texts and scores stay on this machine.

mod answer;
mod connect;
mod contract;
mod failure;
mod graph;
mod link;
mod numbers;
mod pool;
pub mod protocol;
mod roster;
mod survey;

pub use contract::VisionContract;
pub(super) use graph::RemoteGraph;
pub use survey::survey;
