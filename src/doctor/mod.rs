//! Checks everything that can be wrong around the service, and says for each thing how it is and what to do.
//!
//! A failed check does not hide the next one. Two things change: one file is written into the state folder and removed again, and
//! the check of the broker's sessions leaves a session at the broker and a small file in the state folder (`sessions`).
//! [`run`] is for the command, and [`run_in_service`] for a running service.

mod certificates;
mod delivery_checks;
mod device;
mod finding;
mod machine;
mod secrets;
mod servers;
mod service;
mod sessions;
mod sources;

use std::path::Path;

use anyhow::{Context as _, Result};

pub use self::{
    finding::{Finding, State},
    secrets::exposed_secrets,
    service::run_in_service,
};
use crate::{
    classify::{Classifier, LoadError},
    config::{self, Config, Loaded, ModelRef},
    model::{
        ModelError,
        hub::{self, HubError},
    },
    mqtt,
    sandbox::{self, Sandbox},
    source::Access,
    trial,
};

/// Runs all checks for the configuration at `path`, and calls `report` with each finding as soon as it is known. Folders are
/// checked with the rights of `user` if root runs this.
///
/// # Errors
/// `report` fails, or the system gives no runtime.
pub fn run(path: &Path, user: &str, mut report: impl FnMut(Finding) -> Result<()>) -> Result<()> {
    let loaded = match config::look(path) {
        Ok(loaded) => {
            report(Finding::ok("configuration", summary(&loaded.config)))?;
            Some(loaded)
        }
        Err(problems) => {
            let remedy = "correct these first; what depends on them is not checked";
            report(Finding::failed("configuration", problems.to_string(), remedy))?;
            None
        }
    };
    loaded.iter().flat_map(exposed_secrets).try_for_each(&mut report)?;
    let rights = Access::of(user);
    machine::findings(&rights).into_iter().try_for_each(&mut report)?;
    let libraries = device::findings(loaded.as_ref().map(|loaded| &loaded.config));
    let can_load = device::has_runtime(&libraries);
    libraries.into_iter().try_for_each(&mut report)?;
    let Some(Loaded { mut config, unseen, .. }) = loaded else { return Ok(()) };
    if can_load {
        model_findings(&config, unseen)?.into_iter().try_for_each(&mut report)?;
    }
    report(machine::state_dir(&config.state_dir, &rights))?;
    if unseen {
        report(credentials())?;
        // A camera may lock out a client with a wrong password.
        config.sources.retain(|source| source.kind.settings().is_local());
    } else {
        broker_findings(&config)?.into_iter().try_for_each(&mut report)?;
    }
    let sandbox = Sandbox::configured(config.sandbox, config.limits());
    report(sandbox_finding(&sandbox))?;
    delivery_checks::findings(&config, &rights).into_iter().try_for_each(&mut report)?;
    sources::findings(&config, &rights, &sandbox).into_iter().try_for_each(&mut report)
}

/// The contents of a valid configuration in one line, such as `1 source, 1 label set, 3 labels`.
#[must_use]
pub fn summary(config: &Config) -> String {
    let labels = config.label_sets.iter().map(|set| set.labels.len()).sum();
    let rules = config.label_sets.iter().map(|set| set.rules.len()).sum::<usize>();
    let counts = [
        (config.sources.len(), "source"),
        (config.label_sets.len(), "label set"),
        (labels, "label"),
        (rules, "rule"),
    ];
    // Most configurations have no rules.
    let shown = if rules == 0 { &counts[..3] } else { &counts };
    let words = |(count, thing): &(usize, &str)| match count {
        1 => format!("1 {thing}"),
        count => format!("{count} {thing}s"),
    };
    shown.iter().map(words).collect::<Vec<_>>().join(", ")
}

/// Whether the pictures of cameras are decoded in processes of their own.
fn sandbox_finding(sandbox: &Sandbox) -> Finding {
    let what = "sandbox";
    match sandbox.state() {
        sandbox::State::On(layers) => Finding::ok(
            what,
            format!("pictures are decoded in processes without files and network ({})", layers.join(", ")),
        ),
        sandbox::State::Off => Finding::note(
            what,
            "off: pictures are decoded in the service, and a faulty one can end it or take it over",
            "remove `sandbox: off` from the configuration",
        ),
        sandbox::State::Impossible(why) => Finding::note(
            what,
            format!("pictures are decoded in the service, because {why}"),
            "allow the system call seccomp, in a container or a unit of your own; the service's unit allows it",
        ),
    }
}

/// The finding for credentials that only the service can read.
fn credentials() -> Finding {
    Finding::note(
        "credentials",
        "only the service itself can read them, so neither the broker nor cameras were checked",
        "check as the service: `systemd-run --pipe --wait -p User=stakeout -p StateDirectory=stakeout \
         -p CacheDirectory=stakeout -p LoadCredential=NAME:FILE stakeout doctor`",
    )
}

/// Checks the model, the label sets against it, and each model server. `unseen`: the token of the servers may be missing.
fn model_findings(config: &Config, unseen: bool) -> Result<Vec<Finding>> {
    let what = format!("model {}", config.model.name());
    if let Err(HubError::NotCached { missing, .. }) = hub::find(&config.model, config.execution.device) {
        let state = if missing.is_empty() { "yet" } else { "completely" };
        let pull = config.model.pull_command(config.execution.device);
        return Ok(vec![Finding::note(
            what,
            format!("not on this machine {state}"),
            format!("`stakeout run` fetches it when it starts, `{pull}` now"),
        )]);
    }
    match Classifier::load(&trial::without_plugin(config)) {
        Ok(classifier) => {
            let servers = if unseen { Vec::new() } else { classifier.model().survey_servers()? };
            let loads = Finding::ok(what, "it loads, and suits the label sets");
            Ok(std::iter::once(loads).chain(servers::findings(config, servers)).collect())
        }
        // The servers reject the stand-in for a token.
        Err(LoadError::Model(ModelError::Server(_))) if unseen => Ok(Vec::new()),
        Err(error) => Ok(vec![wrong_model(what, config, &error)]),
    }
}

fn wrong_model(what: String, config: &Config, error: &LoadError) -> Finding {
    let otherwise = match (error, &config.model) {
        (LoadError::Labels(_), _) => "`stakeout check` shows the line of the configuration",
        (LoadError::Runtime(_), _) => "correct what is reported for ONNX Runtime first",
        (LoadError::Model(ModelError::Server(_)), _) => {
            "serve the graph that `stakeout models serve` writes; see docs/scale-out.md"
        }
        (_, ModelRef::Bundled) => "install the program again: its own model is damaged",
        (_, ModelRef::Folder(..)) => "copy the files of the model again, or name another folder",
        (_, ModelRef::Hub(_)) => {
            "`stakeout models verify` checks its files, and `stakeout models pull` fetches them again"
        }
    };
    Finding::of_error(what, &error.to_string(), otherwise)
}

/// Checks the connection to the broker and, if there is one, whether it keeps sessions.
fn broker_findings(config: &Config) -> Result<Vec<Finding>> {
    let connection = broker(config)?;
    let is_usable = connection.state == State::Ok;
    let sessions = is_usable.then(|| sessions::finding(config)).transpose()?;
    Ok(std::iter::once(connection).chain(sessions).collect())
}

fn broker(config: &Config) -> Result<Finding> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime")?;
    let what = format!("broker {}", mqtt::url(&config.mqtt));
    let broker = &config.mqtt;
    let certificate =
        || certificates::of(broker.tls.then_some((&*broker.host, broker.port, &broker.connection.tls.trust)));
    Ok(match runtime.block_on(mqtt::check_connection(&config.mqtt)) {
        Ok(None) => Finding::ok(what, format!("accepts the connection{}", certificate())),
        Ok(Some(lacks)) => {
            let remedy = "see docs/topics.md: alerts need QoS 1 and retained messages";
            Finding::failed(what, format!("{lacks}{}", certificate()), remedy)
        }
        Err(why) => {
            let otherwise = "check that it runs, and that `mqtt.url` is its address";
            Finding::of_error(what, &why.text, otherwise)
        }
    })
}
