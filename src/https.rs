//! Connection options of HTTP clients, for everything that uses HTTP or HTTPS.
//!
//! TLS is rustls with ring and the system's root certificates, as for MQTT. Proxies are those of the environment (`HTTPS_PROXY`,
//! `NO_PROXY`). The client does not retry, and a status is no error: the caller knows what a 404 means.

use std::{sync::Arc, time::Duration};

use rustls::crypto::ring;
use ureq::{
    Agent,
    config::ConfigBuilder,
    tls::{Certificate, RootCerts, TlsConfig, TlsProvider},
    typestate::AgentScope,
};

/// Options of a client that gives up after `timeout`, measured from the look-up of the name to the last byte.
#[must_use]
pub fn options(timeout: Duration) -> ConfigBuilder<AgentScope> {
    let roots = rustls_native_certs::load_native_certs().certs;
    let roots = roots.iter().map(|root| Certificate::from_der(root).to_owned());
    let tls = TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .unversioned_rustls_crypto_provider(Arc::new(ring::default_provider()))
        .root_certs(RootCerts::from(roots))
        .build();
    Agent::config_builder()
        .tls_config(tls)
        .timeout_global(Some(timeout))
        .http_status_as_error(false)
        .user_agent(concat!("stakeout/", env!("CARGO_PKG_VERSION")))
}
