//! What is wrong with the files that a graph is built from.

/// A file from which no graph can be built, and why. The text names the tensor or the key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}: {problem}")]
pub(crate) struct BuildError {
    /// The file, relative to the model's folder.
    pub file: String,
    /// The rest of a sentence about the file: "... cannot be used: PROBLEM".
    pub problem: String,
}

impl BuildError {
    pub(super) fn new(file: &str, problem: impl Into<String>) -> Self {
        Self { file: file.to_owned(), problem: problem.into() }
    }
}
