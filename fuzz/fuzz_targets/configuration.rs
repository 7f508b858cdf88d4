//! Reads any bytes as a configuration: it is valid, or its problems have a text.

#![no_main]

use std::{fs, sync::LazyLock};

use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;

static FOLDER: LazyLock<TempDir> =
    LazyLock::new(|| TempDir::new().expect("a temporary folder can be created"));

fuzz_target!(|bytes: &[u8]| {
    let file = FOLDER.path().join("stakeout.yaml");
    fs::write(&file, bytes).expect("the temporary folder is writable");
    match stakeout::config::load(&file) {
        Ok(loaded) => assert_eq!(loaded.config, loaded.config.clone()),
        Err(problems) => assert!(!problems.to_string().is_empty()),
    }
});
