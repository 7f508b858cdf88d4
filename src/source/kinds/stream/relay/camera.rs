//! The camera that a relay leads to, and why a connection to it fails.

use crate::source::kinds::{
    camera::Redirects,
    login::{Origin, Refusal, SharedLogin, lock},
};

/// The camera at the far end of a relay.
#[derive(Clone)]
pub(crate) struct Camera {
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Host and port as they are in the address.
    pub(crate) authority: String,
    /// The scheme of the address.
    pub(crate) scheme: String,
    pub(crate) is_tls: bool,
    pub(crate) redirects: Redirects,
    /// User and password, with what the camera has asked for so far.
    pub(crate) login: Option<SharedLogin>,
}

/// Why a connection through the relay failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The connection was not made, or broke; for people.
    Connection(String),
    /// The camera's challenge is not answered.
    Login(Refusal),
    /// The camera redirects to this place, which is not followed.
    Redirected(String),
}

impl Camera {
    /// The value of `Authorization` for a request; `None` if the camera has not asked for it.
    pub(super) fn authorization(&self, method: &str, uri: &str) -> Option<Vec<u8>> {
        lock(self.login.as_ref()?).authorization(&self.place(), method, uri)
    }

    /// Keeps the challenge of a response; `None` if there is no login.
    pub(super) fn accept<'h>(
        &self,
        challenges: impl Iterator<Item = &'h str>,
    ) -> Option<Result<(), Refusal>> {
        let login = self.login.as_ref()?;
        Some(lock(login).accept(&self.place(), challenges.map(str::as_bytes)))
    }

    /// The place that the login is for.
    fn place(&self) -> Origin {
        Origin { origin: format!("{}://{}", self.scheme, self.authority), is_tls: self.is_tls }
    }
}

/// For tests: a camera with a login.
#[cfg(test)]
pub(super) fn sample(scheme: &str, authority: &str, redirects: Redirects) -> Camera {
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port.parse().unwrap()),
        _ => (authority, if scheme.starts_with("rtsp") { 554 } else { 80 }),
    };
    Camera {
        host: host.trim_matches(['[', ']']).to_owned(),
        port,
        authority: authority.to_owned(),
        scheme: scheme.to_owned(),
        is_tls: scheme.ends_with('s'),
        redirects,
        login: Some(crate::source::kinds::login::shared(("me", "hunter2"))),
    }
}
