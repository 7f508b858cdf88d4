//! Reads YAML: the tree, the values in it, field descriptors, and errors with the place of each mistake.

pub(crate) mod address;
mod edits;
mod elsewhere;
pub mod error;
pub(crate) mod fields;
mod interpolate;
pub(crate) mod lines;
pub(crate) mod mask;
pub(crate) mod names;
mod publishable;
pub(crate) mod reader;
mod recovery;
mod syntax;
pub(crate) mod tree;
pub(crate) mod value;

pub use self::{
    address::Address,
    error::Places,
    mask::Secret,
    publishable::{Publishable, publishable},
};
