//! Reads YAML into values: the tree, the reader, and errors that show where.

pub mod error;
pub mod interpolate;
pub mod mask;
pub mod names;
pub mod places;
pub mod reader;
pub mod syntax;
pub mod tree;
pub mod value;

pub use self::{places::Places, reader::Surroundings};
