//! An HTTP client: connection options only, for everything that fetches something by HTTP or HTTPS.
//!
//! TLS is rustls with ring and the system's root certificates, as for MQTT; proxies are the environment's
//! (`HTTPS_PROXY`, `NO_PROXY`). It refuses to retry, and to turn a status into an error: what a 404 means is the caller's to say.

use std::{sync::Arc, time::Duration};

use rustls::crypto::ring;
use ureq::{
    Agent,
    config::ConfigBuilder,
    tls::{Certificate, RootCerts, TlsConfig, TlsProvider},
    typestate::AgentScope,
};

/// Options of a client that gives up after `timeout`, from the look-up of the name to the last byte.
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
