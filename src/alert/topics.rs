//! Builds the topics to which everything is published.

use crate::topic::topic_level;

/// Builds topics from the prefix and names as typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topics {
    prefix: String,
}

impl Topics {
    /// Topics under `prefix`.
    #[must_use]
    pub fn new(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned() }
    }

    /// The service: `online` or `offline`.
    #[must_use]
    pub fn status(&self) -> String {
        format!("{}/status", self.prefix)
    }

    /// Whether the configuration is valid.
    #[must_use]
    pub fn config_status(&self) -> String {
        format!("{}/config/status", self.prefix)
    }

    /// The status of the outbox.
    #[must_use]
    pub fn outbox_status(&self) -> String {
        format!("{}/outbox/status", self.prefix)
    }

    /// Figures of the service.
    #[must_use]
    pub fn stats(&self) -> String {
        format!("{}/stats", self.prefix)
    }

    /// The status of a source.
    #[must_use]
    pub fn source_status(&self, source: &str) -> String {
        format!("{}/{}/status", self.prefix, topic_level(source))
    }

    /// The format of a source's stream, and what is decoded.
    #[must_use]
    pub fn source_info(&self, source: &str) -> String {
        format!("{}/{}/info", self.prefix, topic_level(source))
    }

    /// Figures of a source.
    #[must_use]
    pub fn source_stats(&self, source: &str) -> String {
        format!("{}/{}/stats", self.prefix, topic_level(source))
    }

    /// The alerts of a label on a source.
    #[must_use]
    pub fn alert(&self, source: &str, label_set: &str, label: &str) -> String {
        self.label(source, label_set, label, "alert")
    }

    /// The state of a label on a source: `ON` or `OFF`.
    #[must_use]
    pub fn state(&self, source: &str, label_set: &str, label: &str) -> String {
        self.label(source, label_set, label, "state")
    }

    /// A filter for the alerts of these names, or of all.
    #[must_use]
    pub fn alerts(&self, source: Option<&str>, label: Option<&str>) -> String {
        let level = |name: Option<&str>| name.map_or("+".to_owned(), topic_level);
        format!("{}/{}/+/{}/alert", self.prefix, level(source), level(label))
    }

    /// Every score of a label set on a source.
    #[must_use]
    pub fn scores(&self, source: &str, label_set: &str) -> String {
        format!("{}/{}/{}/scores", self.prefix, topic_level(source), topic_level(label_set))
    }

    /// The frame that raised the newest alert of a source.
    #[must_use]
    pub fn snapshot(&self, source: &str) -> String {
        format!("{}/{}/snapshot", self.prefix, topic_level(source))
    }

    fn label(&self, source: &str, label_set: &str, label: &str, what: &str) -> String {
        let (source, label_set, label) = (topic_level(source), topic_level(label_set), topic_level(label));
        format!("{}/{source}/{label_set}/{label}/{what}", self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_topics() {
        let topics = Topics::new("home/stakeout");
        assert_eq!(topics.status(), "home/stakeout/status");
        assert_eq!(topics.config_status(), "home/stakeout/config/status");
        assert_eq!(topics.outbox_status(), "home/stakeout/outbox/status");
        assert_eq!(topics.source_status("Front Door"), "home/stakeout/front_door/status");
        assert_eq!(
            topics.alert("front-door", "porch", "a dog"),
            "home/stakeout/front-door/porch/a_dog/alert"
        );
        assert_eq!(topics.state("front-door", "porch", "+/#"), "home/stakeout/front-door/porch/_/state");
        assert_eq!(topics.scores("front-door", "Porch"), "home/stakeout/front-door/porch/scores");
        assert_eq!(topics.alerts(None, None), "home/stakeout/+/+/+/alert");
        assert_eq!(topics.alerts(Some("Door 1"), Some("a dog")), "home/stakeout/door_1/+/a_dog/alert");
        assert_eq!(topics.snapshot("Garage 2"), "home/stakeout/garage_2/snapshot");
    }
}
