//! The kinds of source that are cameras and recordings: `rtsp`, `video` and `http`.
//!
//! It refuses to look whether anything is there: a camera may well be off while its configuration is checked.

use std::time::Duration;

use super::{Address, Decode, Http, Hwaccel, Input, Pace, Secret, Stream, Transport, Unchanged, address};
use crate::yaml::{
    reader::{Reader, Section, Setting},
    value,
};

pub(super) const RTSP_KEYS: &[&str] = &[
    "username",
    "password",
    "every",
    "decode",
    "hwaccel",
    "transport",
    "stall_after",
    "unchanged",
    "at_least_every",
];
pub(super) const VIDEO_KEYS: &[&str] = &[
    "username",
    "password",
    "every",
    "decode",
    "hwaccel",
    "pace",
    "stall_after",
    "unchanged",
    "at_least_every",
];
pub(super) const HTTP_KEYS: &[&str] =
    &["username", "password", "every", "timeout", "unchanged", "at_least_every"];

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86_400);

pub(super) fn rtsp(reader: &mut Reader<'_>, at: &Setting<'_>, section: &Section<'_>) -> Option<Stream> {
    let address = address(reader, at, section, &["rtsp", "rtsps"]);
    stream(reader, section, address.map(Input::Rtsp))
}

/// A path, or an address that FFmpeg knows.
pub(super) fn video(reader: &mut Reader<'_>, at: &Setting<'_>, section: &Section<'_>) -> Option<Stream> {
    const SCHEMES: &[&str] =
        &["http", "https", "rtmp", "rtmps", "rtsp", "rtsps", "tcp", "udp", "rtp", "srt", "mmsh"];
    let text = reader.text(at);
    let input = text.and_then(|text| {
        if text.contains("://") {
            return address(reader, at, section, SCHEMES).map(Input::Url);
        }
        for key in ["username", "password"] {
            if let Some(at) = section.get(key) {
                let message = format!("`{key}` does not belong to a file");
                reader.problem(at.key, message, "remove it, or name an address: `video: https://HOST/PATH`");
            }
        }
        reader.resolve_path(at, &text).map(Input::File)
    });
    stream(reader, section, input)
}

pub(super) fn http(reader: &mut Reader<'_>, at: &Setting<'_>, section: &Section<'_>) -> Option<Http> {
    let address = address(reader, at, section, &["http", "https"]);
    let every = duration(reader, section, "every", SECOND, Duration::from_millis(50), DAY);
    let timeout = duration(reader, section, "timeout", 10 * SECOND, Duration::from_millis(100), 300 * SECOND);
    let unchanged = unchanged(reader, section, true);
    Some(Http { address: address?, every: every?, timeout: timeout?, unchanged: unchanged? })
}

/// What streams take besides their input; what does not suit the kind was refused before.
fn stream(reader: &mut Reader<'_>, section: &Section<'_>, input: Option<Input>) -> Option<Stream> {
    let decodes = [("auto", Decode::Auto), ("key_frames", Decode::KeyFrames), ("all", Decode::All)];
    let every = duration(reader, section, "every", SECOND, Duration::from_millis(20), DAY);
    let decode = word(reader, section, "decode", &decodes);
    let hwaccel = word(reader, section, "hwaccel", &Hwaccel::ALL.map(|hwaccel| (hwaccel.as_str(), hwaccel)));
    let transport = word(reader, section, "transport", &[("tcp", Transport::Tcp), ("udp", Transport::Udp)]);
    let pace = word(reader, section, "pace", &[("real", Pace::Real), ("full", Pace::Full)]);
    let stall_after = duration(reader, section, "stall_after", 20 * SECOND, SECOND, DAY);
    // Of a recording every frame is wanted: nobody plays one to save time.
    let is_recording = matches!(&input, Some(Input::File(path)) if !path.starts_with("/dev"));
    let unchanged = unchanged(reader, section, !is_recording);
    Some(Stream {
        input: input?,
        every: every?,
        decode: decode?,
        hwaccel: hwaccel?,
        transport: transport?,
        pace: pace?,
        stall_after: stall_after?,
        unchanged: unchanged?,
    })
}

/// What becomes of frames that did not change; `repeat` is the default.
fn unchanged(reader: &mut Reader<'_>, section: &Section<'_>, repeat: bool) -> Option<Unchanged> {
    let words = [("repeat", true), ("score", false)];
    let repeat = section.get("unchanged").map_or(Some(repeat), |at| reader.word(&at, &words));
    let at_least_every = duration(reader, section, "at_least_every", 30 * SECOND, SECOND, DAY);
    if let (Some(false), Some(at)) = (repeat, section.get("at_least_every")) {
        let message = "`at_least_every` says nothing where every frame is scored";
        reader.problem(at.key, message, "remove it, or write `unchanged: repeat`");
    }
    let at_least_every = at_least_every?;
    Some(if repeat? { Unchanged::Repeat { at_least_every } } else { Unchanged::Score })
}

/// One of a few words; the first is the default.
fn word<T: Clone>(
    reader: &mut Reader<'_>,
    section: &Section<'_>,
    key: &str,
    words: &[(&str, T)],
) -> Option<T> {
    section.get(key).map_or_else(|| Some(words[0].1.clone()), |at| reader.word(&at, words))
}

/// An address with its user and password, which may stand in it or in keys of their own, but not in both.
fn address(
    reader: &mut Reader<'_>,
    at: &Setting<'_>,
    section: &Section<'_>,
    schemes: &[&str],
) -> Option<Address> {
    let text = reader.text(at);
    let (username_at, password_at) = (section.get("username"), section.get("password"));
    let username = username_at.as_ref().map(|at| reader.text(at));
    let password = password_at.as_ref().map(|at| reader.text(at).map(Secret::new));
    let address = match address::parse(&text?, schemes) {
        Ok(address) => address,
        Err((message, remedy)) => {
            // What a reference stood for may be secret: only what was typed is shown, and that by the excerpt.
            reader.problem(at.span(), message, remedy);
            return None;
        }
    };
    let twice = match address.login() {
        Some(_) if username.is_some() => Some(("a user", "username")),
        Some((_, inside)) if !inside.is_empty() && password.is_some() => Some(("a password", "password")),
        _ => None,
    };
    if let Some((what, key)) = twice {
        let remedy = "leave it in one place: `username:` and `password:` take every character as it is";
        reader.problem(at.span(), format!("the address holds {what}, and there is `{key}`, too"), remedy);
        return None;
    }
    if let (Some(at), None, None) = (&password_at, &username_at, address.login()) {
        reader.problem(at.key, "there is a `password` without a `username`", "add `username:`");
    }
    let username = username.map_or(Some(None), |username| username.map(Some));
    let password = password.map_or(Some(None), |password| password.map(Some));
    Some(address.with_login(username?, password?))
}

fn duration(
    reader: &mut Reader<'_>,
    section: &Section<'_>,
    key: &str,
    default: Duration,
    least: Duration,
    most: Duration,
) -> Option<Duration> {
    let Some(at) = section.get(key) else { return Some(default) };
    reader.parsed(&at, "a duration", |text| match value::duration(text)? {
        given if (least..=most).contains(&given) => Ok(given),
        _ => Err(format!("at least {} and at most {}", words(least), words(most))),
    })
}

fn words(duration: Duration) -> String {
    match duration.as_millis() {
        86_400_000 => "1d".to_owned(),
        milliseconds if milliseconds.is_multiple_of(1000) => format!("{}s", milliseconds / 1000),
        milliseconds => format!("{milliseconds}ms"),
    }
}
