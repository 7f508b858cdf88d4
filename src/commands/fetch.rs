//! Pictures from web addresses, for commands that take them beside files. It refuses to keep anything, and to try again.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ureq::Agent;

use crate::https;

const TIMEOUT: Duration = Duration::from_secs(30);
/// As large as a file may be in a watched folder; a server that sends for ever is left here.
const MAX_BYTES: u64 = 256 * 1024 * 1024;

/// Whether `image` is a web address and not a file.
pub(super) fn is_address(image: &str) -> bool {
    ["http://", "https://"].iter().any(|scheme| image.starts_with(scheme))
}

/// The bytes at `address`.
///
/// # Errors
/// No answer in time, another status than success, or more than [`MAX_BYTES`].
pub(super) fn get(address: &str) -> Result<Vec<u8>> {
    let agent: Agent = https::options(TIMEOUT).build().into();
    let mut response = agent.get(address).call().context("it cannot be fetched")?;
    let status = response.status();
    ensure!(status.is_success(), "it cannot be fetched: the server answers {status}");
    let body = response.body_mut().with_config().limit(MAX_BYTES);
    body.read_to_vec().context("it cannot be fetched")
}
