//! Measures how fast this machine scores pictures, along the same path as frames in the service.
//!
//! What depends on a fresh process (start-up, peak memory) is measured in processes of their own: this program, started again
//! with the hidden option `--part`.

mod measure;
mod parts;
mod path;
mod report;
mod setup;
mod test_image;

pub use self::{
    measure::{Measured, measure},
    parts::{BenchPart, measure_part},
    report::{json, table},
    setup::Setup,
};
