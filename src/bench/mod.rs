//! Measures how fast this machine scores pictures.

pub mod measure;
pub mod memory;
pub mod parts;
pub mod report;
pub mod test_image;
