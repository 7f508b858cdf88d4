//! Why an MQTT source gets nothing, in words for people.

use crate::mqtt::{self, failure::Explanation};

/// Why an MQTT source cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum MqttError {
    /// Nobody said which.
    #[error("there is no broker to listen to")]
    NoBroker,
    /// There is no way to connect.
    #[error(transparent)]
    Options(#[from] mqtt::Error),
    /// The connection did not come about, or broke.
    #[error("no pictures from {broker}: {}", trouble.text)]
    Broken {
        /// The broker as people know it.
        broker: String,
        /// What happened.
        trouble: Explanation,
    },
    /// Its access rules forbid it.
    #[error("{broker} does not let us read `{filter}` ({why}): see its access rules for this user")]
    Refused {
        /// The broker as people know it.
        broker: String,
        /// What was to be read.
        filter: String,
        /// The broker's reason.
        why: String,
    },
}

impl MqttError {
    /// Whether somebody has to put something right before it can work.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::NoBroker | Self::Options(_) | Self::Refused { .. } => true,
            Self::Broken { trouble, .. } => trouble.login,
        }
    }
}
