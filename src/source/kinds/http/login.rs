//! Who asks a camera for its picture: HTTP's basic and digest authentication (RFC 7617, RFC 7616).
//!
//! Nothing is told before the camera asks for it, so a camera that takes digests never sees the password. What it asked for
//! is remembered, so that the question is answered before it is put again.
//!
//! It refuses to look at the answer of the camera beyond the question that is in it.

use http_auth::{PasswordClient, PasswordParams};
use ureq::http::{HeaderMap, Uri, header};

/// A user, a password, and how the camera wants to hear of them.
pub(crate) struct Login {
    username: String,
    password: String,
    /// What is asked for: path and query.
    path: String,
    asked: Option<PasswordClient>,
}

impl Login {
    pub(crate) fn new(username: &str, password: &str, url: &str) -> Self {
        let path = url.parse::<Uri>().ok().and_then(|url| Some(url.path_and_query()?.to_string()));
        Self {
            username: username.to_owned(),
            password: password.to_owned(),
            path: path.unwrap_or_else(|| "/".to_owned()),
            asked: None,
        }
    }

    /// The value of `Authorization` for the next request; `None` as long as nobody asked.
    pub(crate) fn authorization(&mut self) -> Option<String> {
        let Self { username, password, path, asked } = self;
        let told = PasswordParams { username, password, uri: path, method: "GET", body: Some(&[]) };
        asked.as_mut()?.respond(&told).ok()
    }

    /// Takes in what a 401 asks for; false if that is nothing we can answer. Of several the first digest is taken.
    pub(crate) fn hears(&mut self, headers: &HeaderMap) -> bool {
        let questions =
            headers.get_all(header::WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
        self.asked =
            questions.fold(PasswordClient::builder(), |all, value| all.challenges(value)).build().ok();
        self.asked.is_some()
    }
}

#[cfg(test)]
mod tests {
    use ureq::http::HeaderValue;

    use super::*;

    #[test]
    fn the_best_question_that_can_be_answered_is_answered() {
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
        for (questions, expected) in cases {
            let mut login = Login::new("me", "hunter2", "http://h/a.jpg?b=c");
            assert_eq!(login.authorization(), None, "nobody asked yet");
            let mut headers = HeaderMap::new();
            for question in questions {
                headers.append(header::WWW_AUTHENTICATE, HeaderValue::from_str(question).unwrap());
            }
            assert_eq!(login.hears(&headers), expected.is_some(), "{questions:?}");
            let said = login.authorization().unwrap_or_default();
            assert!(said.starts_with(expected.unwrap_or_default()), "{questions:?}: {said}");
            assert!(!said.contains("hunter2"));
            if said.starts_with("Digest") {
                assert!(said.contains("uri=\"/a.jpg?b=c\"") && said.contains("nc=00000001"), "{said}");
                assert!(login.authorization().unwrap().contains("nc=00000002"), "each time another one");
            }
        }
    }
}
