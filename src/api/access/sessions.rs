//! The sessions of signed-in browsers, as they are kept in the state folder: digests, never the cookies themselves. Pure.

use serde::{Deserialize, Serialize};

use super::digest::Digest;
use crate::api::role::Role;

/// A session ends this many seconds after its sign-in: 30 days.
pub(super) const LASTS: i64 = 30 * 24 * 3600;
/// The most sessions. A newer one replaces the oldest.
pub(super) const MOST: usize = 64;

/// All sessions, the oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sessions {
    /// A part of the cookie's name, so that two services on one machine do not overwrite each other's cookies. Empty before the first
    /// sign-in.
    #[serde(default)]
    pub(super) id: String,
    /// The sessions.
    #[serde(default)]
    sessions: Vec<Session>,
}

/// A browser that has signed in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Session {
    /// The digest of the cookie.
    digest: Digest,
    /// What the browser may do.
    pub(super) role: Role,
    /// The end, in seconds since 1970.
    pub(super) until: i64,
    /// The digest of the token that was typed; `None`: the browser followed a link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    token: Option<Digest>,
}

impl Sessions {
    /// Adds a session that starts now. Returns the digests of the sessions that end by that.
    pub(super) fn add(&mut self, digest: Digest, role: Role, token: Option<Digest>, now: i64) -> Vec<Digest> {
        let mut ended = self.keep(|session| session.until > now);
        if self.sessions.len() >= MOST {
            ended.push(self.sessions.remove(0).digest);
        }
        self.sessions.push(Session { digest, role, until: now.saturating_add(LASTS), token });
        ended
    }

    /// The session with this digest that has not ended.
    pub(super) fn find(&self, digest: &Digest, now: i64) -> Option<&Session> {
        self.sessions.iter().find(|session| session.digest == *digest && session.until > now)
    }

    /// Ends one session. Returns whether it existed.
    pub(super) fn remove(&mut self, digest: &Digest) -> bool {
        !self.keep(|session| session.digest != *digest).is_empty()
    }

    /// Ends all sessions, and returns their digests.
    pub(super) fn clear(&mut self) -> Vec<Digest> {
        self.keep(|_| false)
    }

    /// Ends the sessions of tokens that are not configured any more, or whose role has changed. Returns whether there were any.
    pub(super) fn keep_tokens(&mut self, configured: &[(Digest, Role)]) -> bool {
        let is_configured = |session: &Session| {
            session
                .token
                .as_ref()
                .is_none_or(|token| configured.iter().any(|it| it.0 == *token && it.1 == session.role))
        };
        !self.keep(is_configured).is_empty()
    }

    /// Keeps what `is_kept` says, and returns the digests of the others.
    fn keep(&mut self, is_kept: impl Fn(&Session) -> bool) -> Vec<Digest> {
        let all = std::mem::take(&mut self.sessions).into_iter();
        let (kept, ended): (Vec<_>, Vec<_>) = all.partition(is_kept);
        self.sessions = kept;
        ended.into_iter().map(|session| session.digest).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(number: usize) -> Digest {
        Digest::of(&number.to_string())
    }

    #[test]
    fn a_session_has_an_end() {
        let mut sessions = Sessions::default();
        assert!(sessions.add(digest(1), Role::View, None, 1000).is_empty());
        for (now, is_valid) in [(0, true), (1000, true), (999 + LASTS, true), (1000 + LASTS, false)] {
            assert_eq!(sessions.find(&digest(1), now).is_some(), is_valid, "{now}");
        }
        assert_eq!(sessions.find(&digest(2), 1000), None);
        assert_eq!(sessions.add(digest(2), Role::Change, None, 1000 + LASTS), [digest(1)], "it has ended");
        assert!(sessions.remove(&digest(2)) && !sessions.remove(&digest(2)));
    }

    #[test]
    fn the_oldest_session_makes_room() {
        let mut sessions = Sessions::default();
        (0..MOST).for_each(|number| drop(sessions.add(digest(number), Role::Change, None, 0)));
        assert_eq!(sessions.add(digest(MOST), Role::Change, None, 0), [digest(0)]);
        assert_eq!(sessions.clear().len(), MOST);
    }

    #[test]
    fn a_changed_token_ends_its_sessions_and_no_others() {
        let (old, new) = (Digest::of("old"), Digest::of("new"));
        let mut sessions = Sessions::default();
        sessions.add(digest(1), Role::Change, None, 0);
        sessions.add(digest(2), Role::Change, Some(old.clone()), 0);
        sessions.add(digest(3), Role::View, Some(new.clone()), 0);
        assert!(!sessions.clone().keep_tokens(&[(old, Role::Change), (new.clone(), Role::View)]));
        assert!(sessions.keep_tokens(&[(new.clone(), Role::View)]));
        let left = |sessions: &Sessions| [1, 2, 3].map(|number| sessions.find(&digest(number), 1).is_some());
        assert_eq!(left(&sessions), [true, false, true]);
        assert!(sessions.keep_tokens(&[(new, Role::Change)]), "it was the token for looking");
        assert_eq!(left(&sessions), [true, false, false]);
    }

    #[test]
    fn sessions_survive_as_text_without_their_cookies() {
        let mut sessions = Sessions { id: "0a1b2c3d".to_owned(), ..Sessions::default() };
        sessions.add(Digest::of("the cookie"), Role::View, Some(Digest::of("the token")), 5);
        let text = serde_json::to_string(&sessions).unwrap();
        assert!(!text.contains("the cookie") && !text.contains("the token"), "{text}");
        assert_eq!(serde_json::from_str::<Sessions>(&text).unwrap(), sessions);
    }
}
