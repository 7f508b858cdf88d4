//! Posts alerts to a web server: one request each, with the JSON of the alert as its body.
//!
//! Redirects are not followed: a body that is meant for one server is not sent to another.

use std::fmt::Write as _;

use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use tokio::task::spawn_blocking;

use super::schedule::Failure;
use crate::{
    alert::outbox::Entry,
    config::{Address, Secret, Webhook},
    https::{self, Client},
};

/// The header with the signature, in the form that GitHub uses.
const SIGNATURE: &str = "X-Stakeout-Signature-256";
/// The header with the alert's identifier.
const ID: &str = "X-Stakeout-Id";

/// Where alerts are posted.
pub(super) struct Endpoint {
    client: Client,
    /// Without user and password.
    address: Address,
    authorization: Option<Secret>,
    secret: Option<Secret>,
}

impl Endpoint {
    pub(super) fn new(settings: &Webhook) -> Self {
        let bearer = settings.token.as_ref().map(|token| format!("Bearer {}", token.reveal()));
        let authorization = bearer.or_else(|| settings.address.login().map(https::basic_authorization));
        Self {
            client: Client::new(https::options(settings.timeout).max_redirects(0).build(), &settings.tls),
            address: settings.address.without_login(),
            authorization: authorization.map(Secret::new),
            secret: settings.secret.clone(),
        }
    }

    pub(super) async fn post(&self, entry: &Entry) -> Result<(), Failure> {
        let signature =
            self.secret.as_ref().map(|secret| signature(secret.reveal(), entry.payload.as_bytes()));
        let mut headers = vec![("Content-Type", "application/json".to_owned()), (ID, entry.id.clone())];
        headers.extend(self.authorization.as_ref().map(|value| ("Authorization", value.reveal().to_owned())));
        headers.extend(signature.map(|value| (SIGNATURE, value)));
        let (client, address, body) = (self.client.clone(), self.address.clone(), entry.payload.clone());
        // The client blocks, and must not block the runtime.
        let send = move || {
            client.send(|agent| {
                let request =
                    headers.iter().fold(agent.post(&*address.reveal()), |request, (name, value)| {
                        request.header(*name, value)
                    });
                request.send(&body)
            })
        };
        match spawn_blocking(send).await {
            Ok(Ok(response)) => evaluate(response.status().as_u16()),
            Ok(Err(error)) => Err(Failure::Unavailable(https::explain(&error, "server"))),
            Err(_) => Err(Failure::Unavailable("the request ended in a panic".to_owned())),
        }
    }
}

/// What the status of an answer means.
fn evaluate(status: u16) -> Result<(), Failure> {
    let hint = match status {
        200..=299 => return Ok(()),
        300..=399 => ": give `webhook.url` the address that it redirects to",
        // The next alert would be rejected, too.
        401 | 403 => ": see `webhook.token` and `webhook.secret`",
        404 | 405 | 408 | 425 | 429 => "",
        400..=499 => return Err(Failure::Refused(format!("it answers {status}"))),
        _ => "",
    };
    Err(Failure::Unavailable(format!("it answers {status}{hint}")))
}

/// `sha256=` and the HMAC-SHA256 (RFC 2104) of the body in hexadecimal.
fn signature(secret: &str, body: &[u8]) -> String {
    let mut mac =
        Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC accepts a key of any length");
    mac.update(body);
    let mut text = "sha256=".to_owned();
    for byte in mac.finalize().into_bytes() {
        // Writing to a `String` cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4231, test case 2.
    #[test]
    fn the_signature_equals_that_of_the_standard() {
        let expected = "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(signature("Jefe", b"what do ya want for nothing?"), expected);
    }

    #[test]
    fn a_status_means_accepted_unavailable_or_refused() {
        for accepted in [200, 201, 204] {
            assert_eq!(evaluate(accepted), Ok(()), "{accepted}");
        }
        for unavailable in [301, 401, 403, 404, 408, 429, 500, 502, 503] {
            assert!(matches!(evaluate(unavailable), Err(Failure::Unavailable(_))), "{unavailable}");
        }
        for refused in [400, 410, 413, 422] {
            assert!(matches!(evaluate(refused), Err(Failure::Refused(_))), "{refused}");
        }
    }
}
