//! Basic and digest authentication at a camera, over HTTP and RTSP (RFC 7617, RFC 7616).
//!
//! Nothing is sent before the camera's challenge, so a camera with digest authentication never receives the password. The challenge is
//! kept for the following requests to the same place. A camera that has asked for digest once is never answered with basic on a
//! connection without TLS: someone between would only have to ask for it to read the password. A [`Login`] remembers that as long as
//! its source exists.

mod challenge;
mod digest;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

use self::{
    challenge::Challenge,
    digest::{Digest, Request},
};
use crate::{https::basic_authorization, yaml::Secret};

/// A user, a password, and the challenge of the camera.
pub(crate) struct Login {
    username: String,
    password: Secret,
    /// The newest challenge, and the place that has sent it.
    challenge: Option<(Origin, Method)>,
    has_asked_for_digest: bool,
}

/// The login of a source, which all of its connections use. It outlives them: a camera is never answered more carelessly than before.
pub(crate) type SharedLogin = Arc<Mutex<Login>>;

/// A login that nothing has asked for yet.
pub(crate) fn shared(login: (&str, &str)) -> SharedLogin {
    Arc::new(Mutex::new(Login::new(login)))
}

/// The login, for one request.
pub(crate) fn lock(login: &SharedLogin) -> MutexGuard<'_, Login> {
    login.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where a request is sent to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Origin {
    /// Scheme, host and port.
    pub(crate) origin: String,
    pub(crate) is_tls: bool,
}

/// How the camera wants to be answered.
enum Method {
    Basic,
    /// With the number of answers so far.
    Digest(Digest, u32),
}

/// Why a challenge is not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// There is none.
    NoMethod,
    /// Its method is not supported.
    Unsupported,
    /// The camera has asked for digest, and basic would send the password so that others can read it.
    Downgrade,
}

impl Refusal {
    /// What to do, for people.
    pub(crate) fn remedy(self) -> &'static str {
        match self {
            Self::NoMethod => "it does not name a method of authentication",
            Self::Unsupported => {
                "it supports neither basic nor digest authentication; set the camera to one of them"
            }
            Self::Downgrade => {
                "it asks for basic authentication after it has asked for digest, so the password was not sent: check that this is your \
                 camera, and use an address with TLS; if you have changed the camera yourself, restart stakeout"
            }
        }
    }
}

impl Login {
    pub(crate) fn new((username, password): (&str, &str)) -> Self {
        Self {
            username: username.to_owned(),
            password: Secret::new(password.to_owned()),
            challenge: None,
            has_asked_for_digest: false,
        }
    }

    /// The value of `Authorization` for the next request; `None` before the first challenge of this place. `uri` is what follows the
    /// method in the request.
    pub(crate) fn authorization(&mut self, place: &Origin, method: &str, uri: &str) -> Option<Vec<u8>> {
        let Self { username, password, challenge, .. } = self;
        let (username, password) = (&**username, password.reveal());
        Some(match challenge.as_mut().filter(|(known, _)| known == place).map(|(_, method)| method)? {
            Method::Basic => basic_authorization((username, password)).into_bytes(),
            Method::Digest(digest, count) => {
                *count = count.saturating_add(1);
                let cnonce = Uuid::now_v7().simple().to_string();
                digest.answer(Request { username, password, method, uri, cnonce: &cnonce, count: *count })
            }
        })
    }

    /// Keeps the challenge of a 401 response, which are the values of its headers `WWW-Authenticate`. The first digest is preferred.
    ///
    /// # Errors
    /// There is no challenge that may be answered.
    pub(crate) fn accept<'h>(
        &mut self,
        place: &Origin,
        headers: impl IntoIterator<Item = &'h [u8]>,
    ) -> Result<(), Refusal> {
        let challenges: Vec<Challenge> = headers.into_iter().flat_map(challenge::parse).collect();
        self.has_asked_for_digest |= challenges.iter().any(|challenge| challenge.scheme == "digest");
        let digest = challenges.iter().find_map(Digest::of).map(|digest| Method::Digest(digest, 0));
        let offers_basic = challenges.iter().any(|challenge| challenge.scheme == "basic");
        let method = match digest {
            Some(digest) => Ok(digest),
            None if !offers_basic && challenges.is_empty() => Err(Refusal::NoMethod),
            None if !offers_basic => Err(Refusal::Unsupported),
            None if self.has_asked_for_digest && !place.is_tls => Err(Refusal::Downgrade),
            None => Ok(Method::Basic),
        };
        // A refused challenge replaces the one before it: that is not valid any more.
        self.challenge = None;
        self.challenge = Some((place.clone(), method?));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(is_tls: bool) -> Origin {
        let scheme = if is_tls { "https" } else { "http" };
        Origin { origin: format!("{scheme}://h"), is_tls }
    }

    fn accept(login: &mut Login, is_tls: bool, challenges: &[&str]) -> Result<(), Refusal> {
        login.accept(&place(is_tls), challenges.iter().map(|challenge| challenge.as_bytes()))
    }

    fn answer(login: &mut Login, is_tls: bool) -> String {
        let answer = login.authorization(&place(is_tls), "GET", "/a.jpg?b=c");
        answer.map_or(String::new(), |answer| String::from_utf8(answer).unwrap())
    }

    const DIGEST: &str = "Digest realm=\"cam\", qop=\"auth\", algorithm=MD5, nonce=\"abc\"";
    const UNKNOWN: &str = "Digest realm=\"cam\", qop=\"auth\", algorithm=SHA-1024, nonce=\"abc\"";
    const BASIC: &str = "Basic realm=\"cam\"";

    #[test]
    fn the_best_supported_challenge_is_answered() {
        let newer = "Digest realm=\"cam\", qop=\"auth\", algorithm=SHA-256, nonce=\"abc\"";
        let both = format!("{BASIC}, {DIGEST}");
        let (basic, digests) = (Ok("Basic bWU6aHVudGVyMg=="), Ok("Digest username=\"me\""));
        let cases: [(&[&str], Result<&str, Refusal>); 14] = [
            (&[BASIC], basic),
            (&["Basic"], basic),
            (&["Basic realm=My Camera"], basic),
            (&["basic, realm="], basic),
            (&[DIGEST], digests),
            (&[BASIC, DIGEST], digests),
            (&[&both], digests),
            (&[UNKNOWN, newer], digests),
            (&["Digest realm=\"cam\" nonce=\"abc\" qop=\"auth,auth-int\""], digests),
            (&[UNKNOWN], Err(Refusal::Unsupported)),
            (&["Digest realm=\"cam\""], Err(Refusal::Unsupported)),
            (&["NTLM"], Err(Refusal::Unsupported)),
            (&[UNKNOWN, BASIC], Err(Refusal::Downgrade)),
            (&[], Err(Refusal::NoMethod)),
        ];
        for (challenges, expected) in cases {
            let mut login = Login::new(("me", "hunter2"));
            assert_eq!(answer(&mut login, false), "", "no challenge yet");
            assert_eq!(accept(&mut login, false, challenges), expected.map(drop), "{challenges:?}");
            let first = answer(&mut login, false);
            assert!(first.starts_with(expected.unwrap_or_default()), "{challenges:?}: {first}");
            assert!(!first.contains("hunter2"));
            if first.starts_with("Digest") {
                assert!(first.contains("uri=\"/a.jpg?b=c\"") && first.contains("nc=00000001"), "{first}");
                assert!(!first.contains("auth-int"), "cameras offer it and do not implement it: {first}");
                assert!(answer(&mut login, false).contains("nc=00000002"), "each time another one");
            }
            assert_eq!(answer(&mut login, true), "", "only the place that has asked is answered");
        }
    }

    #[test]
    fn a_camera_that_asked_for_digest_never_receives_the_password() {
        for first in [DIGEST, UNKNOWN] {
            let mut login = Login::new(("me", "hunter2"));
            let _ = accept(&mut login, false, &[first]);
            assert_eq!(accept(&mut login, false, &[BASIC]), Err(Refusal::Downgrade), "{first}");
            assert_eq!(answer(&mut login, false), "", "{first}");
            assert_eq!(accept(&mut login, false, &[DIGEST]), Ok(()));
            assert!(answer(&mut login, false).starts_with("Digest "), "{first}");
            assert_eq!(accept(&mut login, false, &[BASIC]), Err(Refusal::Downgrade), "{first}");
            // With TLS, others cannot read it.
            assert_eq!(accept(&mut login, true, &[BASIC]), Ok(()));
            assert!(answer(&mut login, true).starts_with("Basic "), "{first}");
            assert_eq!(answer(&mut login, false), "", "{first}");
        }
    }

    #[test]
    fn a_realm_in_any_encoding_is_returned_as_it_is() {
        let mut login = Login::new(("me", "hunter2"));
        login.accept(&place(false), [&b"Digest realm=\"Cam\xE9ra\", nonce=\"1\""[..]]).unwrap();
        let answer = login.authorization(&place(false), "GET", "/").unwrap();
        assert!(answer.windows(14).any(|part| part == b"realm=\"Cam\xE9ra\"".as_slice()));
    }
}
