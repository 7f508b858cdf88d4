//! What an engine is: the trait, the tensors that go in and come out, and the two ways to fail.

use std::{borrow::Cow, path::PathBuf};

/// A graph that is ready to run.
pub trait Engine: Send {
    /// The names and shapes of the graph's inputs, and the names of its outputs.
    fn metadata(&self) -> &Metadata;

    /// Runs the graph once and returns the outputs of these names, in this order.
    ///
    /// # Errors
    /// [`EngineError::Unavailable`] asks the caller to wait and to run the same inputs again. [`EngineError::Rejected`] is
    /// final for these inputs.
    fn run(&mut self, inputs: &[Input<'_>], outputs: &[&str]) -> Result<Vec<Rows>, EngineError>;

    /// Checks whether a run could succeed now, without running the graph.
    ///
    /// # Errors
    /// [`EngineError::Unavailable`] while it could not.
    fn health(&mut self) -> Result<(), EngineError>;

    /// Which execution providers run the graph. Empty: the engine does not say it.
    fn placement(&self) -> Vec<ProviderShare> {
        Vec::new()
    }

    /// Where the next answers come from.
    fn connection(&self) -> Connection {
        Connection::Here
    }

    /// Reports that the answers of a connection are wrong, and why. Its server is not used for a while.
    fn distrust(&mut self, _connection: u64, _why: &str) {}
}

/// Where the answers of an engine come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connection {
    /// This process.
    Here,
    /// A server. Each connection has another number, also to the same server.
    Open(u64),
    /// No server can be used now.
    Away,
}

/// The part of a graph that one execution provider runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderShare {
    /// The name of the provider.
    pub provider: String,
    /// How many nodes of the graph it runs.
    pub nodes: usize,
}

impl ProviderShare {
    /// The provider that runs what no other one does.
    pub const PROCESSOR: &'static str = "CPUExecutionProvider";
}

/// Why a graph gave no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// The engine cannot be reached or is overloaded. The same inputs may succeed later, so nothing is dropped.
    #[error("the engine is unavailable: {0}")]
    Unavailable(String),
    /// The engine refused these inputs or failed on them. Another try would end the same way.
    #[error("{0}")]
    Rejected(String),
    /// The engine hangs or has crashed. It never answers again; another engine may.
    #[error("the engine is lost: {0}")]
    Lost(String),
}

/// What a graph takes and gives.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metadata {
    /// The inputs.
    pub inputs: Vec<InputInfo>,
    /// The names of the outputs.
    pub outputs: Vec<String>,
}

/// An input of a graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputInfo {
    /// Its name.
    pub name: String,
    /// Its size in each dimension; `None` where the graph takes any size.
    pub shape: Vec<Option<usize>>,
}

impl Metadata {
    /// Whether the graph has an input of this name.
    #[must_use]
    pub fn has_input(&self, name: &str) -> bool {
        self.inputs.iter().any(|input| input.name == name)
    }

    /// The size that the graph fixes for a dimension of an input.
    #[must_use]
    pub fn fixed_size(&self, input: &str, dimension: usize) -> Option<usize> {
        *self.inputs.iter().find(|info| info.name == input)?.shape.get(dimension)?
    }
}

/// A tensor for the input of this name. Its first dimension is the number of pictures or texts.
#[derive(Debug, Clone)]
pub struct Input<'a> {
    /// The name of the input.
    pub name: &'static str,
    /// The size in each dimension.
    pub shape: Vec<usize>,
    /// The numbers, the last dimension varying fastest.
    pub values: Values<'a>,
}

/// The numbers of a tensor. The engine converts them to the width that the graph asks for.
#[derive(Debug, Clone)]
pub enum Values<'a> {
    /// Pixels.
    Floats(Cow<'a, [f32]>),
    /// Token ids and masks.
    Integers(Cow<'a, [i64]>),
}

/// An output: a matrix with one row for each picture or text.
#[derive(Debug, Clone, PartialEq)]
pub struct Rows {
    /// The numbers, row by row.
    pub values: Vec<f32>,
    /// How many numbers a row has.
    pub columns: usize,
}

/// A graph to open.
#[derive(Debug, Clone)]
pub struct GraphSource {
    /// Where its content is.
    pub content: GraphContent,
    /// A name that changes with the graph and its weights, for what an engine keeps on disk.
    pub key: String,
}

/// Where the content of a graph is.
#[derive(Debug, Clone)]
pub enum GraphContent {
    /// In a file. Weights may be kept in files beside it.
    File(PathBuf),
    /// In memory.
    Bytes(Cow<'static, [u8]>),
    /// In memory, except for the weights: those are in files of a folder, at the places that the graph names.
    BytesOfFolder(Vec<u8>, PathBuf),
}
