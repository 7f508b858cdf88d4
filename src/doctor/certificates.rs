//! The certificates that servers present, so that a user can pin one by copy and paste.

use std::time::Duration;

use crate::tls::{self, Trust};

/// The limit for each step of a connection.
const LIMIT: Duration = Duration::from_secs(5);

/// What to add to the finding about a server: the fingerprint of its certificate, and whether it is checked. Empty without TLS, and
/// if there is no certificate to read: then the connection itself has failed, and its finding says why.
pub(super) fn of(server: Option<(&str, u16, &Trust)>) -> String {
    let Some((host, port, trust)) = server else { return String::new() };
    let Ok(fingerprint) = tls::inspect(host.trim_matches(['[', ']']), port, LIMIT) else {
        return String::new();
    };
    let note = match trust {
        Trust::Unverified => "\nthe certificate is not checked (`verify: false`); to check it:",
        Trust::Pinned(_) => "\nthe certificate is pinned:",
        Trust::System | Trust::Ca(_) => "\nto accept only this certificate:",
    };
    format!("{note} `tls: {{ fingerprint: {fingerprint} }}`")
}
