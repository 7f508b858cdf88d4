//! The configuration: finds and reads its files, and assembles one valid, immutable [`Config`] with masked secrets.
//!
//! `load` reads the files, `yaml` parses them into trees, `assemble` and the modules of the sections turn the trees into values
//! and collect every mistake. Each section is a table of field descriptors (`yaml::fields`), from which the reader's checks, the
//! JSON Schema (`schema`), the reference page (`reference_page`) and `check --explain` are derived. [`watch`] reports when the
//! files change, and [`edit`] changes settings of labels in place.

pub mod additions;
mod assemble;
pub mod changes;
pub mod controlled;
mod defaults;
mod delivery;
mod device;
pub mod draft;
pub mod edit;
mod home_assistant;
mod http_endpoint;
mod label_sets;
mod labels;
mod load;
pub mod main_file;
mod masked;
mod masks;
mod model;
mod model_server;
pub mod plan;
mod publishable;
mod reference_page;
mod rules;
mod schema;
mod source_checks;
mod sources;
pub mod state;
mod templates;
pub mod versions;
pub mod watch;
mod watched;

#[cfg(test)]
mod tests;

pub use self::{
    assemble::Config,
    delivery::{Command, OutboxLimits, Webhook},
    device::{CustomPlugin, Device, Execution, OpenVino, Precision},
    home_assistant::{DEVICE_CLASS, DeviceLook, HomeAssistant},
    http_endpoint::{BaseUrl, Listen},
    label_sets::explain as explain_label_set,
    labels::keys as label_keys,
    load::{Loaded, Replaced, USUAL_PLACES, listen, load, load_with, look, look_with, state_dir},
    masked::masked,
    model::{HubModel, ModelRef, Variant, is_plain_path},
    model_server::{ModelServer, ServerAddress, usual_name},
    publishable::publishable,
    reference_page::markdown as reference_page,
    schema::schema,
    sources::{Region, Source},
};
pub use crate::{
    policy::{HistoryPictures, HistorySettings, Mqtt, MqttConnection, MqttVersion, TlsFiles},
    source::kinds::{
        camera::{Decode, Unchanged},
        folder::settings::{After, Clips, Existing, Folder, Links, PathPattern, Patterns},
        http::settings::Http,
        mqtt::settings::{JsonPlaces, MqttSettings},
        source_kind::SourceKind,
        stream::settings::{Hwaccel, Input, Pace, Stream, Transport},
    },
    tls::{Fingerprint, ServerFiles, Trust},
    yaml::{Address, Secret},
};
