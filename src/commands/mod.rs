//! One file a sub-command, each thin.

pub mod classify;
