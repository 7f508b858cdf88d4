//! Why an MQTT source receives nothing, for people.

use crate::{
    mqtt::{self, failure::Explanation},
    source::kind::Failure,
};

/// Why an MQTT source cannot continue.
#[derive(Debug, thiserror::Error)]
pub enum MqttError {
    /// No broker is configured.
    #[error("no broker is configured")]
    NoBroker,
    /// The settings of the connection are invalid.
    #[error(transparent)]
    Options(#[from] mqtt::Error),
    /// The connection failed.
    #[error("no pictures from {broker}: {}", trouble.text)]
    Broken {
        /// The address of the broker.
        broker: String,
        /// The cause.
        trouble: Explanation,
    },
    /// The broker's access rules forbid the subscription.
    #[error("{broker} refuses the subscription to `{filter}` ({why}): check its access rules for this user")]
    Refused {
        /// The address of the broker.
        broker: String,
        /// The topic filter.
        filter: String,
        /// The broker's reason.
        why: String,
    },
}

impl From<MqttError> for Failure {
    fn from(error: MqttError) -> Self {
        let refused = match &error {
            MqttError::NoBroker | MqttError::Options(_) | MqttError::Refused { .. } => true,
            MqttError::Broken { trouble, .. } => trouble.login,
        };
        Self { refused, ..Self::offline(error) }
    }
}
