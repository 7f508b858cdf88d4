//! Builds the topics to which everything is published.

use std::sync::Arc;

use crate::{
    config::Config,
    policy::{SettingKind, Target},
    topic::names::{Level, Names},
};

/// Builds topics from the prefix and names as typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topics {
    prefix: String,
    names: Arc<Names>,
    /// Whether they are identifiers of Home Assistant.
    identifiers: bool,
}

impl Topics {
    /// Topics under `prefix`, for the topics of the service and for names that are alone.
    #[must_use]
    pub fn new(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned(), names: Arc::default(), identifiers: false }
    }

    /// The topics of a configuration.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        Self { names: Arc::clone(&config.names), ..Self::new(&config.mqtt.prefix) }
    }

    /// The topics of a configuration as identifiers of Home Assistant: each name is transliterated.
    #[must_use]
    pub fn identifiers(config: &Config) -> Self {
        Self::of(config).as_identifiers()
    }

    /// These topics as identifiers of Home Assistant.
    #[must_use]
    pub fn as_identifiers(self) -> Self {
        Self { identifiers: true, ..self }
    }

    /// The level of a source.
    #[must_use]
    pub fn source(&self, source: &str) -> String {
        self.part(self.names.source(source))
    }

    /// The level of a label, or of a rule over labels.
    #[must_use]
    pub fn label_level(&self, label_set: &str, label: &str) -> String {
        self.part(self.names.label(label_set, label))
    }

    /// The levels of a label set and of one of its labels.
    #[must_use]
    pub fn label_of_set(&self, label_set: &str, label: &str) -> String {
        let set = self.part(self.names.label_set(label_set));
        format!("{set}/{}", self.label_level(label_set, label))
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

    /// Why alerts and other state cannot be kept on disk.
    #[must_use]
    pub fn service_problem(&self) -> String {
        format!("{}/problem", self.prefix)
    }

    /// Whether the device that runs the model computes right.
    #[must_use]
    pub fn model(&self) -> String {
        format!("{}/model", self.prefix)
    }

    /// The heartbeats of the service.
    #[must_use]
    pub fn heartbeat(&self) -> String {
        format!("{}/heartbeat", self.prefix)
    }

    /// Figures of the service.
    #[must_use]
    pub fn stats(&self) -> String {
        format!("{}/stats", self.prefix)
    }

    /// The status of a source.
    #[must_use]
    pub fn source_status(&self, source: &str) -> String {
        format!("{}/{}/status", self.prefix, self.source(source))
    }

    /// Why a source delivers no frames.
    #[must_use]
    pub fn source_problem(&self, source: &str) -> String {
        format!("{}/{}/problem", self.prefix, self.source(source))
    }

    /// The format of a source's stream, and what is decoded.
    #[must_use]
    pub fn source_info(&self, source: &str) -> String {
        format!("{}/{}/info", self.prefix, self.source(source))
    }

    /// Figures of a source.
    #[must_use]
    pub fn source_stats(&self, source: &str) -> String {
        format!("{}/{}/stats", self.prefix, self.source(source))
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

    /// The near misses of a label on a source.
    #[must_use]
    pub fn near_miss(&self, source: &str, label_set: &str, label: &str) -> String {
        self.label(source, label_set, label, "near_miss")
    }

    /// A filter for all alerts.
    #[must_use]
    pub fn all_alerts(&self) -> String {
        format!("{}/+/+/+/alert", self.prefix)
    }

    /// Every score of a label set on a source.
    #[must_use]
    pub fn scores(&self, source: &str, label_set: &str) -> String {
        let label_set = self.part(self.names.label_set(label_set));
        format!("{}/{}/{label_set}/scores", self.prefix, self.source(source))
    }

    /// The state of a setting that can be set while the service runs. A message to the same topic with `/set` sets it.
    #[must_use]
    pub fn setting(&self, target: &Target, kind: SettingKind) -> String {
        let (source, what) = (&target.source, kind.word());
        match &target.label {
            Some(name) => self.label(source, &name.label_set, &name.label, what),
            None => format!("{}/{}/{what}", self.prefix, self.source(source)),
        }
    }

    /// The newest picture of a source when it was asked for.
    #[must_use]
    pub fn requested_snapshot(&self, source: &str) -> String {
        format!("{}/now", self.snapshot(source))
    }

    /// Questions about the newest frame.
    #[must_use]
    pub fn ask(&self) -> String {
        format!("{}/ask", self.prefix)
    }

    /// Verdicts on alerts.
    #[must_use]
    pub fn mark(&self) -> String {
        format!("{}/mark", self.prefix)
    }

    /// The frame that raised the newest alert of a source.
    #[must_use]
    pub fn snapshot(&self, source: &str) -> String {
        format!("{}/{}/snapshot", self.prefix, self.source(source))
    }

    fn part(&self, level: Level) -> String {
        if self.identifiers { level.id } else { level.topic }
    }

    fn label(&self, source: &str, label_set: &str, label: &str, what: &str) -> String {
        format!("{}/{}/{}/{what}", self.prefix, self.source(source), self.label_of_set(label_set, label))
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
        assert_eq!(topics.service_problem(), "home/stakeout/problem");
        assert_eq!(topics.model(), "home/stakeout/model");
        assert_eq!(topics.heartbeat(), "home/stakeout/heartbeat");
        assert_eq!(topics.source_status("Front Door"), "home/stakeout/front_door/status");
        assert_eq!(
            topics.alert("front-door", "porch", "a dog"),
            "home/stakeout/front-door/porch/a_dog/alert"
        );
        assert_eq!(topics.state("front-door", "porch", "+/#"), "home/stakeout/front-door/porch/_/state");
        assert_eq!(
            topics.near_miss("front-door", "porch", "a dog"),
            "home/stakeout/front-door/porch/a_dog/near_miss"
        );
        assert_eq!(topics.scores("front-door", "Porch"), "home/stakeout/front-door/porch/scores");
        assert_eq!(topics.all_alerts(), "home/stakeout/+/+/+/alert");
        assert_eq!(topics.snapshot("Garage 2"), "home/stakeout/garage_2/snapshot");
        assert_eq!(topics.requested_snapshot("Garage 2"), "home/stakeout/garage_2/snapshot/now");
        let (garage, dog) = (Target::source("Garage 2"), Target::label("garage", "Porch", "a dog"));
        assert_eq!(topics.setting(&garage, SettingKind::Snooze), "home/stakeout/garage_2/snooze");
        assert_eq!(
            topics.setting(&dog, SettingKind::Threshold),
            "home/stakeout/garage/porch/a_dog/threshold"
        );
        assert_eq!((topics.ask(), topics.mark()), ("home/stakeout/ask".into(), "home/stakeout/mark".into()));
    }
}
