//! What the tests share: where the reference data lies, and where the built binary is.

pub mod broker;
pub mod camera;
pub mod hub;
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

/// The binary under test, with caches of its own: what one version of it kept must not answer for the next.
pub fn stakeout() -> std::process::Command {
    static CACHE: std::sync::OnceLock<PathBuf> = std::sync::OnceLock::new();
    let cache = CACHE.get_or_init(|| {
        let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache");
        let _ = std::fs::remove_dir_all(&cache);
        cache
    });
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_stakeout"));
    command.env("XDG_CACHE_HOME", cache).env_remove("CACHE_DIRECTORY");
    command
}
