//! Black-box tests: the built binary with a real broker and real files. One binary, because linking many is slow.

#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

mod bundled;
mod classify;
#[allow(dead_code, reason = "each group of tests uses its part")]
mod common;
mod model_errors;
mod model_thread;
mod parity;
