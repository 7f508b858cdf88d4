//! Parity: the same numbers as in every recorded case of the reference.

mod checkpoints;
mod chinese_clip;
mod preprocess;
pub(crate) mod published;
mod rebuilt;
mod scores;

use std::{fs, path::Path};

use serde_json::Value;
use sha2::{Digest, Sha256};

fn json(path: &Path) -> Value {
    let text = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Fails with all deviations.
fn assert_none(deviations: &[String]) {
    assert!(deviations.is_empty(), "{} deviations:\n{}", deviations.len(), deviations.join("\n"));
}

/// A number or a list of numbers.
fn numbers(value: &Value) -> Vec<f32> {
    let number = |value: &Value| value.as_f64().unwrap_or_else(|| panic!("{value} is no number")) as f32;
    value.as_array().map_or_else(|| vec![number(value)], |values| values.iter().map(number).collect())
}
