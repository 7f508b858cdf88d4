//! TLS of every client: which certificate a server must have, and what is wrong when there is no connection. And of the one server, the
//! HTTP endpoint: the certificate that it presents.
//!
//! The broker, HTTP cameras, streams and the webhook have one policy ([`Trust`]) and one place that turns it into the settings
//! of rustls ([`client_config`]). Certificates are verified unless the user says otherwise. A file that cannot be used is an
//! error: nothing is ever sent in plain text instead.

mod certificate;
mod client;
mod explain;
mod fingerprint;
mod inspect;
mod server;
mod verifier;

pub use self::{
    client::{Error, Identity, Trust, client_config},
    explain::{explain, explain_io},
    fingerprint::Fingerprint,
    inspect::{check, connect, inspect},
    server::{Server, ServerFiles},
};
