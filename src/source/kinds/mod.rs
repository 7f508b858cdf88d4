//! The kinds of sources, one folder each. `settings` has the row of each kind for the configuration.

pub mod camera;
pub mod folder;
pub mod http;
pub mod mqtt;
pub mod settings;
pub mod stream;
