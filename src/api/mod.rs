//! The API: what a service remembers and sees, for programs over HTTP and for the commands over a unix socket.
//!
//! A file for each verb has its request, its answer and the function that answers it. [`routes`] lists all of them. Commands use
//! [`Client`]: the running service if there is one, else the store. `web` serves the verbs; this room opens no listener.

pub mod access;
pub mod alerts;
pub mod ask;
pub mod ask_picture;
pub mod bundle;
pub mod checks;
pub mod client;
pub mod config;
pub mod config_check;
pub mod config_edit;
pub mod config_preview;
pub mod config_save;
pub mod config_versions;
pub mod configuration;
pub mod control;
pub mod doctor;
pub mod effective;
pub mod enable;
pub mod entry;
pub mod error;
pub mod events;
pub mod explain;
pub mod filter;
pub mod forget;
pub mod mark;
pub mod me;
pub mod mqtt;
mod mqtt_control;
pub mod near_misses;
pub mod newest;
pub mod openapi;
pub mod pictures;
pub mod query;
mod rate;
pub mod rejudge;
pub mod replay;
pub mod role;
pub mod routes;
pub mod schema;
pub mod scores;
pub mod search;
pub mod search_picture;
pub mod service;
pub mod set;
pub mod sign_in;
pub mod snooze;
pub mod socket;
pub mod sources;
pub mod states;
pub mod suggest;
pub mod support_bundle;
pub mod system;
pub mod time;
pub mod timeline;
pub mod truth;
pub mod try_source;
pub mod try_words;
pub mod verb;
pub mod watch_for;

pub use self::{
    client::Client,
    configuration::Configuration,
    error::{Error, Kind},
    role::Role,
    service::{Live, Service, Tools},
    time::Time,
    verb::{Answer, Method, Verb},
};
