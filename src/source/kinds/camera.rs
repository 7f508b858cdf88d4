//! Settings that cameras and recordings have in common: an address with its login, and what happens to unchanged frames.

use std::{path::Path, time::Duration};

use serde_json::{Value, json};

use crate::yaml::{
    Address, address,
    fields::{Form, word_of, words},
    reader::{Reader, Section, Setting},
    value::duration_text,
};

pub(super) const DAY: Duration = Duration::from_secs(86_400);

/// The extensions of video files.
const VIDEOS: &[&str] = &[
    "264", "265", "3gp", "asf", "avi", "dav", "flv", "h264", "h265", "hevc", "m2ts", "m4v", "mjpeg", "mjpg",
    "mkv", "mov", "mp4", "mpeg", "mpg", "mts", "ogv", "ts", "webm", "wmv",
];

/// Whether a file has the extension of a video.
pub(crate) fn has_video_name(path: &Path) -> bool {
    let extension = path.extension().map(|extension| extension.to_string_lossy().to_lowercase());
    extension.is_some_and(|extension| VIDEOS.contains(&&*extension))
}

/// What happens to a frame that looks like the last scored one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unchanged {
    /// It is scored like any other.
    Score,
    /// It has the last scores again.
    Repeat {
        /// A frame is scored at least this often.
        at_least_every: Duration,
    },
}

/// Which frames of a stream are decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decode {
    /// Only the key frames if they are frequent enough, otherwise all.
    Auto,
    /// Only the key frames.
    KeyFrames,
    /// All.
    All,
}

impl Decode {
    pub(super) const WORDS: [(&str, Self); 3] =
        [("auto", Self::Auto), ("key_frames", Self::KeyFrames), ("all", Self::All)];
}

/// Which redirects of a camera are followed. The login is never sent to another host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Redirects {
    /// Those to its own host, and not from TLS to plain text.
    SameHost,
    /// All.
    AnyHost,
}

impl Redirects {
    const WORDS: [(&str, Self); 2] = [("same_host", Self::SameHost), ("any_host", Self::AnyHost)];

    /// `redirects` for `check --explain`.
    pub(super) fn shown(self) -> Option<Value> {
        Some(json!(word_of(&Self::WORDS, &self)))
    }
}

/// The form of `redirects`, and its meaning.
pub(super) const REDIRECTS: Form = Form::Words(&words(&Redirects::WORDS));
pub(super) const REDIRECTS_DOC: &str = "same_host: a redirect to another host is an error, and so is one from TLS to plain text. any_host: \
                                        it is followed. User and password are never sent to another host.";

/// Reads `redirects`.
pub(super) fn redirects(reader: &mut Reader<'_>, at: &Setting<'_>) -> Option<Redirects> {
    reader.word(at, &Redirects::WORDS)
}

/// The meaning of `username` and `password`.
pub(super) const USERNAME: &str = "The user name, if the address requires one and does not contain it.";
pub(super) const PASSWORD: &str = "The password. User and password can also be in the address, percent-encoded: \
                                   rtsp://viewer:${env:CAM_PASSWORD}@10.0.0.21/stream2";

/// Whether unchanged frames repeat the scores.
const REPEAT: [(&str, bool); 2] = [("repeat", true), ("score", false)];

/// The forms of `unchanged` and `at_least_every`.
pub(super) const UNCHANGED: Form = Form::Words(&words(&REPEAT));
pub(super) const AT_LEAST_EVERY: Form = Form::Duration(Duration::from_secs(1), DAY);

impl Unchanged {
    /// `unchanged` for `check --explain`.
    pub(super) fn shown(self) -> Option<Value> {
        Some(json!(if self == Self::Score { "score" } else { "repeat" }))
    }

    /// `at_least_every` for `check --explain`.
    pub(super) fn interval_shown(self) -> Option<Value> {
        match self {
            Self::Score => None,
            Self::Repeat { at_least_every } => Some(json!(duration_text(at_least_every))),
        }
    }
}

/// Reads `unchanged` and `at_least_every`; `repeat` says what holds if `unchanged` is absent.
pub(super) fn unchanged(reader: &mut Reader<'_>, section: &Section<'_>, repeat: bool) -> Option<Unchanged> {
    let typed = section.optional(reader, "unchanged", |reader, at| reader.word(at, &REPEAT));
    let at_least_every = section.read(reader, "at_least_every", Reader::duration);
    let repeat = typed?.unwrap_or(repeat);
    if let (false, Some(at)) = (repeat, section.own("at_least_every")) {
        let remedy = "remove it, or write `unchanged: repeat`";
        reader.problem(at.key, "`at_least_every` has no effect: every frame is scored", remedy);
    }
    let at_least_every = at_least_every?;
    Some(if repeat { Unchanged::Repeat { at_least_every } } else { Unchanged::Score })
}

/// Reads an address. User and password are in the address or in keys of their own, but not in both. A source with a user in its address
/// takes neither of them from defaults.
pub(super) fn address(
    reader: &mut Reader<'_>,
    at: &Setting<'_>,
    section: &Section<'_>,
    schemes: &[&str],
) -> Option<Address> {
    let text = reader.text(at);
    let username = section.optional(reader, "username", Reader::text);
    let password = section.optional(reader, "password", Reader::secret);
    let address = match address::parse(&text?, schemes) {
        Ok(address) => address,
        Err((message, remedy)) => {
            // The text of a reference may be secret: only the excerpt shows the value, as it was typed.
            reader.problem(at.span(), message, remedy);
            return None;
        }
    };
    let taken = |key: &str| match address.login() {
        Some(_) => section.own(key),
        None => section.get(key),
    };
    let (username_at, password_at) = (taken("username"), taken("password"));
    let twice = match address.login() {
        Some(_) if username_at.is_some() => Some(("a user", "username")),
        Some((_, inside)) if !inside.is_empty() && password_at.is_some() => Some(("a password", "password")),
        _ => None,
    };
    if let Some((what, key)) = twice {
        let remedy = "remove one of them: `username:` and `password:` take every character as it is";
        reader.problem(at.span(), format!("the address has {what}, and there is `{key}` as well"), remedy);
        return None;
    }
    let is_alone = username_at.is_none() && address.login().is_none();
    if let (true, Some(at)) = (is_alone, section.own("password")) {
        reader.problem(at.key, "there is a `password` without a `username`", "add `username:`");
    }
    if address.has_secret() {
        reader.note_secret(at);
    }
    let username = username?.filter(|_| username_at.is_some());
    let password = password?.filter(|_| password_at.is_some() && !is_alone);
    for (key, is_used) in [("username", username.is_some()), ("password", password.is_some())] {
        if let (false, Some(at)) = (is_used, section.get(key)) {
            reader.unused(&at);
        }
    }
    Some(address.with_login(username, password))
}
