//! Faults for tests: a [`Disk`] whose operations fail or that loses power, clocks that can be set, and delays that can be repeated.
//!
//! The code under test is the one that runs in production. Its files are real files in a temporary folder, so that renaming and
//! deleting them works as always. SQLite reaches them through [`vfs`], state files through `atomic_file`; each operation
//! in the folder of a [`Disk`] asks [`hit`] before it is carried out. Everything random derives from one seed.

mod clock;
mod disk;
mod random;
mod sweep;
mod vfs;

pub(crate) use self::{
    clock::Clock,
    disk::{Condition, Disk, Fault, Operation, hit},
    random::{Random, is_simulated, jitter, simulate},
    sweep::{OPERATIONS, faults, sweep},
};
