//! What the client of a request may do. `web` decides it for each request: by the socket, the token or the sign-in.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a client may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Read everything but secrets.
    View,
    /// Read and change.
    Change,
}
