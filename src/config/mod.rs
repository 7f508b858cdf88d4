//! The configuration, valid: immutable, comparable, with its secrets masked.
//!
//! What was typed is `raw`; what is wrong with it is [`error`]. This module holds only what passed, so nobody
//! else ever checks a number or a name again. It refuses to know what a model or a broker is.
//!
//! The way of a file: `load` finds and reads it, `raw` makes a tree of it in which everything knows its place, and
//! `build` (with `label_sets`, `sources` and `broker`) makes values of the tree through `read`, which keeps every mistake.
//! [`watch`] says when to do so again.

mod address;
mod broker;
mod build;
mod cameras;
mod delivery;
mod device;
pub mod edit;
mod home_assistant;
mod listen;
mod load;
mod model;
mod mqtt_source;
pub mod read_label;
pub mod read_label_sets;
pub mod read_rules;
pub mod read_sources;
mod schema;
pub mod source_settings;
mod templates;
pub mod watch;
mod watched;

#[cfg(test)]
mod tests;

use std::path::PathBuf;

use crate::policy::LabelSet;

pub use self::{
    address::Address,
    broker::{MqttConnection, MqttVersion, TlsFiles},
    delivery::{Command, OutboxLimits, Webhook},
    device::{Device, Execution, OpenVino},
    listen::Listen,
    load::{Loaded, load, look},
    model::{HubModel, ModelRef, Variant, is_plain_path},
    schema::{markdown as schema_in_words, schema},
    source_settings::{
        After, Decode, Existing, Folder, Http, Hwaccel, Input, JsonPlaces, MqttSource, Pace, Region, Source,
        SourceKind, Stream, Transport, Unchanged,
    },
};

/// Everything the service needs to know, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The model that scores the frames.
    pub model: ModelRef,
    /// How the model is run.
    pub execution: Execution,
    /// The ONNX Runtime shared library, where it was named.
    pub onnxruntime: Option<PathBuf>,
    /// The broker.
    pub mqtt: Mqtt,
    /// A web server that is told of alerts, too.
    pub webhook: Option<Webhook>,
    /// A program that is told of alerts, too.
    pub command: Option<Command>,
    /// How much may wait in the outbox.
    pub outbox: OutboxLimits,
    /// How Home Assistant is told what there is; `None` where it is not.
    pub home_assistant: Option<HomeAssistant>,
    /// Where the service answers who asks how it is doing; `None` where it does not.
    pub listen: Option<Listen>,
    /// Where the outbox and other things that must survive live.
    pub state_dir: PathBuf,
    /// Pictures that would decode to more pixels are refused.
    pub max_pixels: u64,
    /// Label sets, in the order typed (the main file first, then `rules.d` by file name).
    pub label_sets: Vec<LabelSet>,
    /// Sources, in the order typed.
    pub sources: Vec<Source>,
}

impl Config {
    /// Every label set on every source that watches it.
    pub fn watches(&self) -> impl Iterator<Item = (&Source, &LabelSet)> {
        let watched = |name: &String| self.label_sets.iter().find(|label_set| label_set.name == *name);
        self.sources
            .iter()
            .flat_map(move |source| source.watch.iter().filter_map(watched).map(move |set| (source, set)))
    }
}

/// The broker and how to talk to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mqtt {
    /// Host name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// `mqtts://`
    pub tls: bool,
    /// User name, where the broker asks for one.
    pub username: Option<String>,
    /// Password.
    pub password: Option<Secret>,
    /// The first levels of every topic.
    pub prefix: String,
    /// The name under which the broker knows this connection.
    pub client_id: String,
    /// How the connection is made.
    pub connection: MqttConnection,
}

/// How Home Assistant is told what there is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HomeAssistant {
    /// The first levels of the topics where it looks.
    pub discovery_prefix: String,
    /// What it calls the service.
    pub name: String,
}

/// Text that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps `text`.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The text itself, for the one place that sends it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}
