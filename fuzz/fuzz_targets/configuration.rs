//! Any bytes as the configuration: it is valid, or all that is wrong with it can be told.

#![no_main]

use std::{fs, sync::LazyLock};

use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;

static FOLDER: LazyLock<TempDir> = LazyLock::new(|| TempDir::new().expect("there is a folder for temporary files"));

fuzz_target!(|bytes: &[u8]| {
    let file = FOLDER.path().join("stakeout.yaml");
    fs::write(&file, bytes).expect("the folder is ours");
    match stakeout::config::load(&file) {
        Ok(loaded) => assert_eq!(loaded.config, loaded.config.clone()),
        Err(problems) => assert!(!problems.to_string().is_empty()),
    }
});
