//! The kinds of sources, one folder each.

pub mod folder;
pub mod http;
pub mod mqtt;
pub mod stream;
