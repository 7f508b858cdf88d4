//! Reads any bytes as a message on an input topic: the topic, a line break, the payload.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| stakeout::source::fuzz_mqtt(bytes));
