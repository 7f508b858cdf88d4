//! HTTP's basic and digest authentication at a camera (RFC 7617, RFC 7616).
//!
//! Nothing is sent before the camera's challenge, so a camera with digest authentication never receives the password. The
//! challenge is kept for the following requests.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use ureq::http::{HeaderMap, HeaderValue, Uri, header};
use uuid::Uuid;

use super::{
    challenge::{self, Challenge},
    digest::{Digest, Request},
};

/// A user, a password, and the challenge of the camera.
pub(crate) struct Login {
    username: String,
    password: String,
    /// Path and query of the request.
    path: String,
    challenge: Option<Method>,
}

/// How the camera wants to be answered.
enum Method {
    Basic,
    /// With the number of answers so far.
    Digest(Digest, u32),
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
    pub(crate) fn authorization(&mut self) -> Option<HeaderValue> {
        let Self { username, password, path: uri, challenge } = self;
        let answer = match challenge.as_mut()? {
            Method::Basic => {
                let login = BASE64_STANDARD.encode(format!("{username}:{password}"));
                format!("Basic {login}").into_bytes()
            }
            Method::Digest(digest, count) => {
                *count = count.saturating_add(1);
                let cnonce = Uuid::now_v7().simple().to_string();
                digest.answer(Request { username, password, uri, cnonce: &cnonce, count: *count })
            }
        };
        HeaderValue::from_bytes(&answer).ok()
    }

    /// Whether there is a challenge to answer.
    pub(crate) fn has_challenge(&self) -> bool {
        self.challenge.is_some()
    }

    /// Keeps the challenge of a 401 response; false if none is supported. The first digest is preferred.
    pub(crate) fn accept_challenge(&mut self, headers: &HeaderMap) -> bool {
        let values = headers.get_all(header::WWW_AUTHENTICATE).iter();
        let challenges: Vec<Challenge> =
            values.flat_map(|value| challenge::parse(value.as_bytes())).collect();
        let digest = challenges.iter().find_map(Digest::of).map(|digest| Method::Digest(digest, 0));
        let basic =
            || challenges.iter().any(|challenge| challenge.scheme == "basic").then_some(Method::Basic);
        self.challenge = digest.or_else(basic);
        self.challenge.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_supported_challenge_is_answered() {
        let digest = "Digest realm=\"cam\", qop=\"auth\", algorithm=MD5, nonce=\"abc\"";
        let newer = "Digest realm=\"cam\", qop=\"auth\", algorithm=SHA-256, nonce=\"abc\"";
        let unknown = "Digest realm=\"cam\", qop=\"auth\", algorithm=SHA-1024, nonce=\"abc\"";
        let both = format!("Basic realm=\"cam\", {digest}");
        let (basic, digests) = (Some("Basic bWU6aHVudGVyMg=="), Some("Digest username=\"me\""));
        let cases: [(&[&str], Option<&str>); 13] = [
            (&["Basic realm=\"cam\""], basic),
            (&["Basic"], basic),
            (&["Basic realm=My Camera"], basic),
            (&["basic, realm="], basic),
            (&[digest], digests),
            (&["Basic realm=\"cam\"", digest], digests),
            (&[&both], digests),
            (&[unknown, newer], digests),
            (&["Digest realm=\"cam\" nonce=\"abc\" qop=\"auth,auth-int\""], digests),
            (&[unknown], None),
            (&["Digest realm=\"cam\""], None),
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
            let mut answer =
                || login.authorization().map_or(String::new(), |answer| answer.to_str().unwrap().to_owned());
            let first = answer();
            assert!(first.starts_with(expected.unwrap_or_default()), "{challenges:?}: {first}");
            assert!(!first.contains("hunter2"));
            if first.starts_with("Digest") {
                assert!(first.contains("uri=\"/a.jpg?b=c\"") && first.contains("nc=00000001"), "{first}");
                assert!(!first.contains("auth-int"), "cameras offer it and do not implement it: {first}");
                assert!(answer().contains("nc=00000002"), "each time another one");
            }
        }
    }

    #[test]
    fn a_realm_in_any_encoding_is_returned_as_it_is() {
        let mut headers = HeaderMap::new();
        let challenge = HeaderValue::from_bytes(b"Digest realm=\"Cam\xE9ra\", nonce=\"1\"").unwrap();
        headers.append(header::WWW_AUTHENTICATE, challenge);
        let mut login = Login::new("me", "hunter2", "http://h/");
        assert!(login.accept_challenge(&headers));
        let answer = login.authorization().unwrap();
        assert!(answer.as_bytes().windows(14).any(|part| part == b"realm=\"Cam\xE9ra\"".as_slice()));
    }
}
