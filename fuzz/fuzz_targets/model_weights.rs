//! Reads any bytes as the configuration of a model, in the reference's format and in OpenCLIP's, and as a weight file or the index of
//! several; then builds the graphs that follow from them. A zero byte separates the two parts of the input.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    let weights = bytes.get(end + 1..).unwrap_or_default();
    stakeout::model::fuzz_build(&bytes[..end], weights);
});
