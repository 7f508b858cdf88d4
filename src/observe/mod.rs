//! What follows the judge and may lose: scores over MQTT, metrics.

pub mod metrics;
pub mod score_publisher;
pub mod scores;
