//! Who has signed in: one-time codes for links, sessions of browsers, the tokens of the configuration, and the limits of attempts.
//!
//! The unix socket needs none of this: the permissions of its file decide who may connect, and who may connect can make a code.
//! `web` decides which request needs what.

mod attempts;
mod codes;
mod digest;
mod sessions;

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use self::{
    attempts::{Attempts, Limit},
    codes::Codes,
    digest::{Digest, random},
    sessions::Sessions,
};
use super::{
    error::{Error, Kind},
    role::Role,
};
use crate::{
    config::{Listen, Secret},
    state_file::StateFile,
};

/// The file of the sessions in the state folder.
const FILE: &str = "sessions.json";
/// The length of a code in a link, in bytes: it cannot be guessed.
const CODE: usize = 16;
/// The length of a cookie, in bytes.
const COOKIE: usize = 32;
/// The length of the part of the cookie's name that differs from service to service, in bytes.
const ID: usize = 4;
/// Tokens that a peer may type wrongly.
const EACH: Limit = Limit { at_once: 10, every: Duration::from_secs(6) };
/// Tokens that all peers together may type wrongly.
const TOTAL: Limit = Limit { at_once: 60, every: Duration::from_secs(1) };
/// Requests with a wrong token that a peer may send.
const REQUESTS: Limit = Limit { at_once: 30, every: Duration::from_secs(1) };

/// A client of the network, for the limits of attempts. `None`: this machine, and everyone behind a proxy on it. Of IPv6 only the
/// network counts.
pub type Peer = Option<IpAddr>;

/// Where the console of a service is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsoleAddress {
    /// The address at which the service listens.
    pub address: SocketAddr,
    /// Whether it speaks TLS there.
    pub is_tls: bool,
    /// The address that people use instead.
    pub base_url: Option<String>,
}

/// Who has signed in, and who may.
#[derive(Debug)]
pub struct Access {
    state: Mutex<State>,
    /// Locked before `state`, so that an older state never replaces a newer one.
    file: Mutex<StateFile>,
}

#[derive(Debug)]
struct State {
    codes: Codes,
    sessions: Sessions,
    /// For sessions with open connections: cancelled when the session ends.
    open: BTreeMap<Digest, CancellationToken>,
    sign_ins: Attempts<Peer>,
    requests: Attempts<Peer>,
    tokens: Vec<(Secret, Role)>,
    place: Option<ConsoleAddress>,
}

/// What a person signs in with.
#[derive(Debug)]
pub enum Proof {
    /// The code of a link.
    Code(Secret),
    /// The token of the configuration.
    Token(Secret),
}

/// A browser that has just signed in.
#[derive(Debug)]
pub struct SignedIn {
    /// The name of the cookie.
    pub name: String,
    /// The value of the cookie.
    pub cookie: Secret,
    /// What it may do.
    pub role: Role,
    /// How long.
    pub lasts: Duration,
}

/// A session that was shown by a request.
#[derive(Debug, Clone)]
pub struct Session {
    /// What the browser may do.
    pub role: Role,
    /// When the session ends.
    pub until: Timestamp,
    /// Cancelled when the session is ended before that.
    pub ended: CancellationToken,
}

/// Why a token gives no right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// It is wrong.
    Wrong,
    /// There were too many wrong ones. The next one is read after this time.
    TooMany(Duration),
}

impl Access {
    /// The sessions that are kept in this folder.
    #[must_use]
    pub fn load(state_dir: &Path) -> Self {
        let (file, sessions) = StateFile::load(state_dir, FILE, "browsers have to sign in again");
        let state = State {
            codes: Codes::default(),
            sessions,
            open: BTreeMap::new(),
            sign_ins: Attempts::new(EACH, Some(TOTAL)),
            requests: Attempts::new(REQUESTS, None),
            tokens: Vec::new(),
            place: None,
        };
        Self { state: Mutex::new(state), file: Mutex::new(file) }
    }

    /// The service listens as `listen` says. Sessions of tokens that are not configured any more end.
    pub fn configure(&self, listen: Option<&Listen>) {
        let mut state = self.state();
        let token = |token: Option<&Secret>, role| token.cloned().map(|token| (token, role));
        let change = token(listen.and_then(|it| it.token.as_ref()), Role::Change);
        let view = token(listen.and_then(|it| it.view_token.as_ref()), Role::View);
        state.tokens = change.into_iter().chain(view).collect();
        state.place = listen.map(|it| ConsoleAddress {
            address: it.address,
            is_tls: it.tls.is_some(),
            base_url: it.base_url.as_ref().map(ToString::to_string),
        });
        let tokens: Vec<_> =
            state.tokens.iter().map(|(token, role)| (Digest::of(token.reveal()), *role)).collect();
        if state.sessions.keep_tokens(&tokens) {
            drop(state);
            self.save();
        }
    }

    /// Where the console is; `None`: the service does not listen.
    pub fn place(&self) -> Option<ConsoleAddress> {
        self.state().place.clone()
    }

    /// Whether a token can be typed.
    pub fn has_token(&self) -> bool {
        !self.state().tokens.is_empty()
    }

    /// A new code for a link, and how long it is valid.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn code(&self, role: Role) -> Result<(String, Duration), Error> {
        let code = random(CODE).map_err(|error| no_random(&error))?;
        self.state().codes.add(Digest::of(&code), role, Instant::now());
        Ok((code, codes::LASTS))
    }

    /// Signs a browser in. Blocks for the disk.
    ///
    /// # Errors
    /// The code or the token is wrong, or there were too many attempts.
    pub fn sign_in(&self, proof: &Proof, peer: Peer) -> Result<SignedIn, Error> {
        let (role, token) = self.prove(proof, peer)?;
        let cookie = random(COOKIE).map_err(|error| no_random(&error))?;
        let id = random(ID).map_err(|error| no_random(&error))?;
        let mut state = self.state();
        if state.sessions.id.is_empty() {
            state.sessions.id = id;
        }
        let name = cookie_name(&state.sessions.id);
        let ended = state.sessions.add(Digest::of(&cookie), role, token, Timestamp::now().as_second());
        state.close(&ended);
        drop(state);
        self.save();
        let lasts = Duration::from_secs(sessions::LASTS.unsigned_abs());
        Ok(SignedIn { name, cookie: Secret::new(cookie), role, lasts })
    }

    /// The role that a proof gives, and the digest of the token.
    fn prove(&self, proof: &Proof, peer: Peer) -> Result<(Role, Option<Digest>), Error> {
        let (mut state, now) = (self.state(), Instant::now());
        match proof {
            // A right code always counts: no attack on the tokens keeps out who has a link. A code is too long to be guessed.
            Proof::Code(code) => match state.codes.take(&Digest::of(code.reveal()), now) {
                Some(role) => Ok((role, None)),
                None => {
                    state.sign_ins.begin(peer, now).map_err(too_many)?;
                    Err(Error::new(
                        Kind::Unauthorized,
                        "this link was used already, or is older than five minutes",
                    )
                    .remedy("Run `stakeout console` again."))
                }
            },
            Proof::Token(token) => {
                // Before the token is compared: who guesses must not learn that the next guess was right.
                state.sign_ins.begin(peer, now).map_err(too_many)?;
                let Some(role) = state.role_of(token.reveal()) else {
                    return Err(Error::new(Kind::Unauthorized, "the token is wrong")
                        .remedy("Type the value of `listen.token`, or run `stakeout console` for a link."));
                };
                state.sign_ins.forgive(peer);
                Ok((role, Some(Digest::of(token.reveal()))))
            }
        }
    }

    /// The role of a token that a request sent.
    ///
    /// # Errors
    /// The token is wrong, or this peer has sent too many wrong ones. Programs of this machine are limited, too: a proxy on it, which
    /// the service need not know, sends the guesses of everyone. The health check then uses the unix socket.
    pub fn role_of_token(&self, token: &str, peer: Peer) -> Result<Role, Refused> {
        self.state().role_of_token(token, peer, Instant::now())
    }

    /// The name of the cookie; `None` before the first sign-in.
    pub fn cookie_name(&self) -> Option<String> {
        let state = self.state();
        (!state.sessions.id.is_empty()).then(|| cookie_name(&state.sessions.id))
    }

    /// The session of a cookie.
    pub fn session(&self, cookie: &str) -> Option<Session> {
        let mut state = self.state();
        let digest = Digest::of(cookie);
        let found = state.sessions.find(&digest, Timestamp::now().as_second())?;
        let (role, until) = (found.role, Timestamp::from_second(found.until).unwrap_or(Timestamp::MAX));
        let ended = state.open.entry(digest).or_default().clone();
        Some(Session { role, until, ended })
    }

    /// Ends the session of a cookie. Blocks for the disk.
    pub fn sign_out(&self, cookie: &str) -> bool {
        let digest = Digest::of(cookie);
        let mut state = self.state();
        let existed = state.sessions.remove(&digest);
        state.close(&[digest]);
        drop(state);
        if existed {
            self.save();
        }
        existed
    }

    /// Ends all sessions, and returns their number. Blocks for the disk.
    pub fn sign_out_all(&self) -> usize {
        let mut state = self.state();
        let ended = state.sessions.clear();
        state.close(&ended);
        drop(state);
        self.save();
        ended.len()
    }

    fn save(&self) {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let sessions = self.state().sessions.clone();
        file.save(&sessions);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn role_of_token(&mut self, token: &str, peer: Peer, now: Instant) -> Result<Role, Refused> {
        // Before the token is compared: who guesses must not learn that the next guess was right.
        self.requests.begin(peer, now).map_err(Refused::TooMany)?;
        let role = self.role_of(token).ok_or(Refused::Wrong)?;
        self.requests.forgive(peer);
        Ok(role)
    }

    fn role_of(&self, token: &str) -> Option<Role> {
        let sent = Digest::of(token);
        let found = self.tokens.iter().find(|(token, _)| Digest::of(token.reveal()) == sent);
        found.map(|(_, role)| *role)
    }

    /// Closes the connections of sessions that have ended.
    fn close(&mut self, ended: &[Digest]) {
        for digest in ended {
            if let Some(open) = self.open.remove(digest) {
                open.cancel();
            }
        }
    }
}

fn cookie_name(id: &str) -> String {
    format!("stakeout-{id}")
}

fn too_many(wait: Duration) -> Error {
    let seconds = wait.as_secs() + 1;
    Error::new(Kind::TooMany, "there were too many attempts to sign in").remedy(format!(
        "Try again in {seconds} s, or run `stakeout console` on the machine: its links always work."
    ))
}

fn no_random(error: &std::io::Error) -> Error {
    Error::new(Kind::Failed, format!("the system has no random numbers: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "0123456789abcdef";
    const VIEW: &str = "abcdef0123456789";
    const ELSEWHERE: Peer = Some(IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7)));

    fn listen(token: Option<&str>, view_token: Option<&str>) -> Listen {
        let secret = |text: &str| Secret::new(text.to_owned());
        Listen {
            token: token.map(secret),
            view_token: view_token.map(secret),
            ..Listen::at("127.0.0.1:9464".parse().unwrap())
        }
    }

    fn token(text: &str) -> Proof {
        Proof::Token(Secret::new(text.to_owned()))
    }

    fn link(code: &str) -> Proof {
        Proof::Code(Secret::new(code.to_owned()))
    }

    #[test]
    fn a_link_signs_in_once_with_its_role() {
        let folder = tempfile::tempdir().unwrap();
        let access = Access::load(folder.path());
        for role in [Role::View, Role::Change] {
            let (code, lasts) = access.code(role).unwrap();
            assert_eq!((code.len(), lasts.as_secs()), (32, 300));
            let signed_in = access.sign_in(&link(&code), None).unwrap();
            assert_eq!(signed_in.role, role);
            assert_eq!(access.session(signed_in.cookie.reveal()).unwrap().role, role);
            let error = access.sign_in(&link(&code), None).unwrap_err();
            assert_eq!(error.kind, Kind::Unauthorized);
            assert!(
                error.to_string().contains("used already") && error.to_string().contains("stakeout console")
            );
        }
    }

    #[test]
    fn tokens_give_their_roles() {
        let folder = tempfile::tempdir().unwrap();
        let access = Access::load(folder.path());
        access.configure(Some(&listen(Some(TOKEN), Some(VIEW))));
        for (sent, role) in
            [(TOKEN, Some(Role::Change)), (VIEW, Some(Role::View)), ("", None), ("0123456789abcde", None)]
        {
            assert_eq!(access.role_of_token(sent, ELSEWHERE).ok(), role, "{sent}");
            assert_eq!(access.sign_in(&token(sent), ELSEWHERE).ok().map(|it| it.role), role, "{sent}");
        }
        access.configure(None);
        assert_eq!(access.role_of_token(TOKEN, None), Err(Refused::Wrong), "none is configured");
        assert!(!access.has_token());
    }

    #[test]
    fn guesses_are_limited_and_keep_no_link_out() {
        let folder = tempfile::tempdir().unwrap();
        let access = Access::load(folder.path());
        access.configure(Some(&listen(Some(TOKEN), None)));
        let refused = (0..100).find_map(|_| {
            let error = access.sign_in(&token("wrong"), ELSEWHERE).unwrap_err();
            (error.kind == Kind::TooMany).then_some(error)
        });
        let refused = refused.expect("guesses are limited");
        assert!(refused.to_string().contains("stakeout console"), "{refused}");
        assert_eq!(
            access.sign_in(&token(TOKEN), ELSEWHERE).unwrap_err().kind,
            Kind::TooMany,
            "a right guess, too"
        );
        let (code, _) = access.code(Role::Change).unwrap();
        assert!(access.sign_in(&link(&code), ELSEWHERE).is_ok(), "a link always works");
        assert!(access.sign_in(&token(TOKEN), None).is_ok(), "another peer is not affected");
    }

    #[test]
    fn requests_with_wrong_tokens_are_limited_for_every_peer() {
        const SECOND: Peer = Some(IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 8)));
        for (what, guesser, other) in [
            ("another machine", ELSEWHERE, None),
            ("another machine, beside another one", ELSEWHERE, SECOND),
            ("this machine, and everyone behind a proxy on it", None, ELSEWHERE),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let access = Access::load(folder.path());
            access.configure(Some(&listen(Some(TOKEN), None)));
            let start = Instant::now();
            let ask = |token, peer, after| {
                access.state().role_of_token(token, peer, start + Duration::from_secs(after))
            };
            let too_many = Err(Refused::TooMany(REQUESTS.every));
            for _ in 0..100 {
                assert_eq!(ask(TOKEN, guesser, 0), Ok(Role::Change), "{what}: right tokens do not count");
            }
            for guess in 0..100 {
                let expected = if guess < REQUESTS.at_once { Err(Refused::Wrong) } else { too_many };
                assert_eq!(ask("wrong", guesser, 0), expected, "{what}: {guess}");
            }
            assert_eq!(ask(TOKEN, guesser, 0), too_many, "{what}: who guesses learns nothing");
            assert_eq!(ask(TOKEN, other, 0), Ok(Role::Change), "{what}: no one else is affected");
            let later = [ask("wrong", guesser, 1), ask("wrong", guesser, 1), ask(TOKEN, guesser, 2)];
            assert_eq!(
                later,
                [Err(Refused::Wrong), too_many, Ok(Role::Change)],
                "{what}: one more each second"
            );
            let (code, _) = access.code(Role::Change).unwrap();
            assert!(access.sign_in(&link(&code), guesser).is_ok(), "{what}: a link always works");
        }
    }

    #[test]
    fn sessions_survive_a_restart_until_they_are_ended() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let access = Access::load(folder.path());
        assert_eq!(access.cookie_name(), None);
        let sign_in = |access: &Access| {
            let (code, _) = access.code(Role::View).unwrap();
            access.sign_in(&link(&code), None).unwrap()
        };
        let (first, second) = (sign_in(&access), sign_in(&access));
        assert_eq!((Some(&first.name), &first.name), (access.cookie_name().as_ref(), &second.name));
        let file = folder.path().join(FILE);
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(
            !std::fs::read_to_string(&file).unwrap().contains(first.cookie.reveal()),
            "only its digest is kept"
        );

        let again = Access::load(folder.path());
        assert_eq!(again.cookie_name(), Some(first.name.clone()));
        let session = again.session(first.cookie.reveal()).unwrap();
        assert!(
            session.role == Role::View && session.until > Timestamp::now() && !session.ended.is_cancelled()
        );
        assert!(again.sign_out(first.cookie.reveal()) && !again.sign_out(first.cookie.reveal()));
        assert!(session.ended.is_cancelled(), "its connections are closed");
        assert!(
            again.session(first.cookie.reveal()).is_none() && again.session(second.cookie.reveal()).is_some()
        );
        assert_eq!((again.sign_out_all(), again.sign_out_all()), (1, 0));
        assert!(Access::load(folder.path()).session(second.cookie.reveal()).is_none());
    }

    #[test]
    fn another_token_ends_the_sessions_of_the_former_one() {
        let folder = tempfile::tempdir().unwrap();
        let access = Access::load(folder.path());
        access.configure(Some(&listen(Some(TOKEN), None)));
        let signed_in = access.sign_in(&token(TOKEN), None).unwrap();
        let again = Access::load(folder.path());
        again.configure(Some(&listen(Some(TOKEN), Some(VIEW))));
        assert!(again.session(signed_in.cookie.reveal()).is_some());
        again.configure(Some(&listen(Some("another-token-now"), None)));
        assert!(again.session(signed_in.cookie.reveal()).is_none());
    }
}
