//! What a client may do, so that a page hides what is not possible. `web` answers it: only `web` knows the client.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{role::Role, time::Time};

/// What the client may do, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Me {
    /// What the client may do; `null`: it has not signed in.
    pub role: Option<Role>,
    /// How the client has shown who it is.
    pub by: By,
    /// The session ends then; absent without a session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Time>,
    /// Whether a token can be typed to sign in: the configuration has one.
    pub has_token: bool,
}

/// How a client has shown who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// It uses the unix socket.
    Socket,
    /// It has sent a token.
    Token,
    /// It is a browser that has signed in.
    Session,
    /// Home Assistant has shown it the page of the add-on.
    HomeAssistant,
    /// Not at all.
    Nothing,
}
