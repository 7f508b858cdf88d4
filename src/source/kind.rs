//! What every kind of source provides: one run, its error causes, and a probe for `doctor`.

use std::sync::Arc;

use super::{
    access::Access,
    cause::Causes,
    context::{Context, Status},
};
use crate::{
    config::Region,
    picture::{Limits, Picture},
    policy::Mqtt,
    sandbox::Sandbox,
};

/// A kind of source, with the state that it keeps over its failures.
pub(crate) trait Kind: Sized {
    /// The settings of this kind.
    type Settings;

    /// The causes that this kind can report.
    const CAUSES: Causes;

    /// A source that has not started. `regions` are the parts of the frame that are scored.
    fn new(settings: &Self::Settings, regions: &[Region]) -> Self;

    /// Delivers frames until the stop signal (`Ok`) or a failure. The caller retries.
    async fn run_once(&mut self, context: &Context) -> Result<(), Failure>;

    /// Finishes after the stop signal.
    fn end(&mut self, _context: &Context) {}

    /// Checks whether a source with these settings would deliver frames. May block for some seconds.
    fn probe(settings: &Self::Settings, surroundings: &Surroundings<'_>) -> Probe;

    /// One picture, for people who set up a source with these settings, or why there is none. `None`: a source of this kind cannot be
    /// requested for a picture. May block for some seconds.
    fn picture(
        _settings: &Self::Settings,
        _surroundings: &Surroundings<'_>,
    ) -> Option<Result<Arc<Picture>, String>> {
        None
    }
}

/// Why a source cannot continue, and what follows.
#[derive(Debug)]
pub struct Failure {
    /// The cause, for people.
    pub cause: anyhow::Error,
    /// The status until the next try.
    pub status: Status,
    /// Someone has to correct something first: the pause before the next try is long.
    pub refused: bool,
}

impl Failure {
    pub(crate) fn offline(cause: impl Into<anyhow::Error>) -> Self {
        Self { cause: cause.into(), status: Status::Offline, refused: false }
    }
}

/// What a probe needs besides the settings.
#[derive(Debug, Clone, Copy)]
pub struct Surroundings<'a> {
    /// The limits of one picture.
    pub limits: Limits,
    /// Decodes the pictures of cameras.
    pub sandbox: &'a Sandbox,
    /// The broker of sources without a broker of their own.
    pub broker: &'a Mqtt,
    /// The user who runs the service, and may read other files than the caller.
    pub access: &'a Access,
}

pub(crate) use super::kinds::settings::CAMERA_REMEDY;

/// The remedies of probes that do not know the cause.
pub(crate) const GENERAL_REMEDIES: [&str; 2] = [CAMERA_REMEDY, BROKER_REMEDY];
/// What to do about a broker that does not answer.
pub(crate) const BROKER_REMEDY: &str = "check `broker` of this source";

/// The result of a probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// Whether the source would deliver frames.
    pub outcome: Outcome,
    /// What the probe found.
    pub message: String,
    /// What to do; empty if nothing.
    pub remedy: String,
}

/// How a probe ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The source would deliver frames.
    Good,
    /// The source would deliver frames, and could be improved.
    Note,
    /// The source would deliver no frames, or not all.
    Failed,
}

impl Probe {
    pub(crate) fn good(message: impl Into<String>) -> Self {
        Self { outcome: Outcome::Good, message: message.into(), remedy: String::new() }
    }

    pub(crate) fn note(message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { outcome: Outcome::Note, message: message.into(), remedy: remedy.into() }
    }

    pub(crate) fn failed(message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { outcome: Outcome::Failed, message: message.into(), remedy: remedy.into() }
    }
}
