//! Any bytes as what a hub, or who stands in its place, answers.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| stakeout::model::hub::fuzz(bytes));
