//! What the client of a request may do. `web` decides it for each request: by the socket, the token or the sign-in. Pure.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a client may do. The later role includes the earlier one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Read everything but secrets.
    View,
    /// Read and change.
    #[default]
    Change,
}

impl Role {
    /// Its word in answers and messages.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::View => "view",
            Self::Change => "change",
        }
    }

    /// Whether a client with this role may do what needs `needed`.
    #[must_use]
    pub fn may(self, needed: Self) -> bool {
        self >= needed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_change_may_also_look() {
        for (role, needed, may) in [
            (Role::View, Role::View, true),
            (Role::View, Role::Change, false),
            (Role::Change, Role::View, true),
            (Role::Change, Role::Change, true),
        ] {
            assert_eq!(role.may(needed), may, "{role:?} {needed:?}");
        }
        for role in [Role::View, Role::Change] {
            assert_eq!(serde_json::to_value(role).unwrap(), role.word());
        }
    }
}
