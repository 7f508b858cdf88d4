//! What the tests share: where the reference data lies, and where the built binary is.

pub mod broker;
pub mod camera;
pub mod proxy;

pub mod service;

use std::path::{Path, PathBuf};

/// The reference data; `None` (said aloud) on a machine that has none. In CI its absence is a failure.
pub fn fixtures(folder: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/fixtures").join(folder);
    if path.is_dir() {
        return Some(path);
    }
    assert!(std::env::var_os("CI").is_none(), "the reference data {} must be there in CI", path.display());
    eprintln!("skipped: there is no reference data at {}", path.display());
    None
}

/// The binary under test.
pub fn stakeout() -> std::process::Command {
    std::process::Command::new(env!("CARGO_BIN_EXE_stakeout"))
}
