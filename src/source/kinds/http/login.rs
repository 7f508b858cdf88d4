//! HTTP's basic and digest authentication at a camera (RFC 7617, RFC 7616).
//!
//! Nothing is sent before the camera's challenge, so a camera with digest authentication never receives the password. The
//! challenge is kept for the following requests.

use http_auth::{PasswordClient, PasswordParams};
use ureq::http::{HeaderMap, Uri, header};

/// A user, a password, and the challenge of the camera.
pub(crate) struct Login {
    username: String,
    password: String,
    /// Path and query of the request.
    path: String,
    challenge: Option<PasswordClient>,
}

impl Login {
    pub(crate) fn new(username: &str, password: &str, url: &str) -> Self {
        let path = url.parse::<Uri>().ok().and_then(|url| Some(url.path_and_query()?.to_string()));
        Self {
            username: username.to_owned(),
            password: password.to_owned(),
            path: path.unwrap_or_else(|| "/".to_owned()),
            challenge: None,
        }
    }

    /// The value of `Authorization` for the next request; `None` before the first challenge.
    pub(crate) fn authorization(&mut self) -> Option<String> {
        let Self { username, password, path, challenge } = self;
        let parameters = PasswordParams { username, password, uri: path, method: "GET", body: Some(&[]) };
        challenge.as_mut()?.respond(&parameters).ok()
    }

    /// Keeps the challenge of a 401 response; false if none is supported. The first digest is preferred.
    pub(crate) fn accept_challenge(&mut self, headers: &HeaderMap) -> bool {
        let challenges =
            headers.get_all(header::WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
        self.challenge =
            challenges.fold(PasswordClient::builder(), |all, value| all.challenges(value)).build().ok();
        self.challenge.is_some()
    }
}

#[cfg(test)]
mod tests {
    use ureq::http::HeaderValue;

    use super::*;

    #[test]
    fn the_best_supported_challenge_is_answered() {
        let digest = "Digest realm=\"cam\", qop=\"auth\", algorithm=MD5, nonce=\"abc\"";
        let newer = "Digest realm=\"cam\", qop=\"auth\", algorithm=SHA-256, nonce=\"abc\"";
        let unknown = "Digest realm=\"cam\", qop=\"auth\", algorithm=SHA-1024, nonce=\"abc\"";
        let both = format!("Basic realm=\"cam\", {digest}");
        let cases: [(&[&str], Option<&str>); 8] = [
            (&["Basic realm=\"cam\""], Some("Basic bWU6aHVudGVyMg==")),
            (&[digest], Some("Digest username=\"me\"")),
            (&["Basic realm=\"cam\"", digest], Some("Digest username=\"me\"")),
            (&[&both], Some("Digest username=\"me\"")),
            (&[unknown, newer], Some("Digest username=\"me\"")),
            (&[unknown], None),
            (&["NTLM"], None),
            (&[], None),
        ];
        for (challenges, expected) in cases {
            let mut login = Login::new("me", "hunter2", "http://h/a.jpg?b=c");
            assert_eq!(login.authorization(), None, "no challenge yet");
            let mut headers = HeaderMap::new();
            for challenge in challenges {
                headers.append(header::WWW_AUTHENTICATE, HeaderValue::from_str(challenge).unwrap());
            }
            assert_eq!(login.accept_challenge(&headers), expected.is_some(), "{challenges:?}");
            let answer = login.authorization().unwrap_or_default();
            assert!(answer.starts_with(expected.unwrap_or_default()), "{challenges:?}: {answer}");
            assert!(!answer.contains("hunter2"));
            if answer.starts_with("Digest") {
                assert!(answer.contains("uri=\"/a.jpg?b=c\"") && answer.contains("nc=00000001"), "{answer}");
                assert!(login.authorization().unwrap().contains("nc=00000002"), "each time another one");
            }
        }
    }
}
