//! Reads any bytes as the response of a hub, or of an impostor of it.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| stakeout::model::hub::fuzz(bytes));
