//! What a user asks for: label sets, conditions, templates, schedules. Pure types with behaviour.

pub mod condition;
pub mod labels;
pub mod message;
pub mod schedule;
pub mod template;
pub mod topic_filter;

pub use self::{
    condition::{Condition, LabelName},
    labels::{Hold, Label, LabelRule, LabelSet, Levels, Look, TriggerSettings, Scoring, Severity},
    message::{Facts, AlertMessage},
    schedule::Schedule,
    template::{Template, TemplateError},
    topic_filter::{NamePattern, TopicFilter},
};
