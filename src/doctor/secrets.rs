//! Finds passwords that others can read: on the network, in the files of the configuration, and in messages that the broker keeps.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use super::finding::Finding;
use crate::{
    config::{Config, Loaded},
    yaml::Address,
};

/// The bit of a file that lets everyone read it.
const EVERYONE_READS: u32 = 0o004;

/// A note for each password that others can read. Nothing is contacted.
#[must_use]
pub fn exposed_secrets(loaded: &Loaded) -> Vec<Finding> {
    let mode = |path: &Path| fs::metadata(path).map_or(0, |metadata| metadata.permissions().mode());
    let files = loaded.secret_files.iter().filter(|path| mode(path) & EVERYONE_READS != 0);
    on_the_network(&loaded.config)
        .into_iter()
        .chain(files.map(|path| file(path)))
        .chain(links(&loaded.config))
        .collect()
}

/// The same for a configuration in force, without its files.
pub(super) fn of_config(config: &Config) -> Vec<Finding> {
    on_the_network(config).into_iter().chain(links(config)).collect()
}

/// Passwords that are sent without encryption to other machines.
fn on_the_network(config: &Config) -> Vec<Finding> {
    let broker = config.mqtt.sends_a_readable_secret().then(|| {
        let remedy = "use `mqtts://`, which most brokers support, or a network without other machines";
        readable(format!("password of the broker {}", config.mqtt.url()), remedy)
    });
    let sources = config.sources.iter().filter_map(|source| {
        let address = source.kind.settings().sends_readable_secret_to()?;
        let remedy = "use its address with TLS (`https://`, `rtsps://`, `mqtts://`) if it has one, digest authentication in the camera, \
                      and a network of its own for cameras";
        Some(readable(format!("password of the source {} at {address}", source.name), remedy))
    });
    let webhook = config.webhook.as_ref().filter(|webhook| {
        let is_secret = webhook.token.is_some() || webhook.address.has_secret();
        is_secret && webhook.address.is_readable_by_others()
    });
    let webhook = webhook.map(|webhook| {
        readable(format!("secret of the webhook {}", webhook.address), "use an address with `https://`")
    });
    let servers = config.model_server.iter().flat_map(|server| server.readable_tokens());
    let servers = servers.map(|server| {
        let remedy = "use an address with `grpcs://`, or a network without other machines";
        readable(format!("token of the model server {server}"), remedy)
    });
    broker.into_iter().chain(sources).chain(webhook).chain(servers).collect()
}

fn readable(what: String, remedy: &str) -> Finding {
    let message =
        "it may be sent without encryption to another machine, so that others on the network can read it";
    Finding::note(what, message, remedy)
}

/// A file that everyone can read.
fn file(path: &Path) -> Finding {
    Finding::note(
        format!("permissions of {}", path.display()),
        "everyone on this machine can read it, and a password is typed in it",
        "let only root and the service read it: `chown root:stakeout FILE && chmod 640 FILE`; or write `${file:PATH}` or \
         `${credential:NAME}` instead of the password",
    )
}

/// Links in Home Assistant that are published without a part of them.
fn links(config: &Config) -> Vec<Finding> {
    let service = config
        .home_assistant
        .as_ref()
        .and_then(|it| Some(("the service".to_owned(), it.configuration_url.as_ref()?)));
    let sources = config.sources.iter().filter_map(|source| {
        Some((format!("the source {}", source.name), source.look.configuration_url.as_ref()?))
    });
    let is_cut = |address: &Address| address.reveal() != address.public();
    let cut = service.into_iter().chain(sources).filter(|(_, address)| is_cut(address));
    cut.map(|(of, address)| {
        Finding::note(
            format!("configuration_url of {of}"),
            format!(
                "it is published as {}: every client of the broker can read it, and the rest may be a secret",
                address.public()
            ),
            "remove that part of the address",
        )
    })
    .collect()
}
