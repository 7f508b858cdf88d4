//! Black-box tests: the built binary with a real broker and real files. One binary, because linking many is slow.

mod check;
#[allow(dead_code, reason = "each group of tests uses its part")]
mod common;
