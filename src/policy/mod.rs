//! What a user asks for: label sets with their templates, conditions, messages and schedules, what was set while the service
//! runs, topic filters, brokers, and the history.
//!
//! Immutable types with behaviour, each with the parser of its own text. No files, no clock.

pub mod broker;
pub mod condition;
pub mod controls;
pub mod history;
pub mod labels;
pub mod message;
mod placeholders;
pub mod schedule;
pub mod snooze;
pub mod template;
pub(crate) mod tls;
pub mod topic_filter;

pub use self::{
    broker::{Mqtt, MqttConnection, MqttVersion, TlsFiles},
    condition::{Condition, LabelName},
    controls::{Control, Controls, SetBy, Setting, SettingKind, Target},
    history::{HistoryPictures, HistorySettings},
    labels::{Hold, Label, LabelRule, LabelSet, Levels, Look, Scoring, Silence, TriggerSettings},
    message::{AlertMessage, Facts, Severity},
    schedule::Schedule,
    snooze::Snooze,
    template::{Template, TemplateError},
    topic_filter::{NamePattern, TopicFilter},
};
