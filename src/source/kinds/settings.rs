//! What the settings of every kind of source provide.

use std::{path::Path, time::Duration};

use serde_json::{Map, Value};

use super::camera::{Decode, Unchanged};
use crate::{
    policy::{Mqtt, NamePattern},
    tls::Trust,
    yaml::fields::Spec,
};

/// What to do about a camera that does not answer.
pub(crate) const CAMERA_REMEDY: &str =
    "check that the camera is on, that this machine reaches it, and its address, user and password";

/// A key that names a kind of source.
pub(crate) struct KindKey {
    /// The key.
    pub(crate) key: &'static str,
    /// The keys of this kind; `key` is the first.
    pub(crate) fields: fn() -> Vec<&'static Spec>,
    /// The remedy for a key of another kind, where there is a better one than to remove it.
    pub(crate) foreign: fn(&str) -> Option<&'static str>,
}

/// What the settings of every kind of source provide.
pub trait Settings {
    /// The key that names the kind in the configuration. Also the value of the metric label `kind`.
    fn key(&self) -> &'static str;

    /// The settings in force, for `check --explain`.
    fn explain(&self) -> Map<String, Value>;

    /// Host and port that the source connects to over TCP, if it does.
    fn tcp_address(&self) -> Option<(String, u16)> {
        None
    }

    /// Host and port that the source connects to with TLS, if it does, and how the certificate is checked.
    fn tls(&self) -> Option<(String, u16, &Trust)> {
        None
    }

    /// Where the source sends a password so that others on the network can read it, if it does; for people.
    fn sends_readable_secret_to(&self) -> Option<String> {
        None
    }

    /// The passwords that the source sends. They are hidden wherever something is given to strangers.
    fn secrets(&self) -> Vec<&str> {
        vec![]
    }

    /// What happens to unchanged frames. Unless they are scored, the source compares the regions of the frame.
    fn unchanged(&self) -> Unchanged {
        Unchanged::Score
    }

    /// The interval in which one frame is taken, and which frames are decoded.
    fn sampling(&self) -> (Duration, Decode) {
        (Duration::from_secs(1), Decode::Auto)
    }

    /// How the names of sources are derived from what arrives, if they are.
    fn name_pattern(&self) -> Option<&NamePattern> {
        None
    }

    /// The topics that the source subscribes to.
    fn subscriptions(&self) -> Vec<String> {
        vec![]
    }

    /// The files and folders of this machine that the source reads, deletes or writes, with their keys.
    fn paths(&self) -> Vec<(&'static str, &Path)> {
        vec![]
    }

    /// Whether the source reads only files of this machine: it needs no credentials, and starts without the answer of
    /// another machine.
    fn is_local(&self) -> bool {
        false
    }

    /// What to do when the source fails, where the error does not say it better.
    fn remedy(&self) -> &'static str {
        CAMERA_REMEDY
    }

    /// A setting that does not work with the broker; `usual` is the broker of the alerts. Its key, the message and the remedy.
    fn conflict(&self, _usual: Option<&Mqtt>) -> Option<(&'static str, &'static str, &'static str)> {
        None
    }
}
