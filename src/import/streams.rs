//! Addresses of cameras as Frigate and go2rtc write them, and the settings of a source for them. Pure.

use serde_json::{Map, Value, json};

use crate::{config::draft::literal, yaml::address};

/// How a program writes that a value comes from its environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Syntax {
    /// `{FRIGATE_NAME}`.
    Frigate,
    /// `${NAME}` or `${NAME:default}`.
    Go2rtc,
}

/// What an address is for this program.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Input {
    /// The settings of a source.
    Source(Map<String, Value>),
    /// The name of another stream of go2rtc.
    Stream(String),
}

/// The schemes that only go2rtc knows, and why they are left out.
const FOREIGN: &[(&str, &str)] = &[
    ("onvif", "ask the camera for its stream: `stakeout init --onvif HOST --username USER`"),
    ("exec", "a program is no address: write the address that it reads"),
    ("echo", "a program is no address: write the address that it prints"),
    ("expr", "an expression is no address: write the address that it gives"),
];

impl Syntax {
    /// A text with references as in a configuration of this program.
    pub(super) fn references(self, text: &str) -> String {
        let (begin, is_of_frigate) = match self {
            Self::Frigate => ("{FRIGATE_", true),
            Self::Go2rtc => ("${", false),
        };
        let (mut result, mut rest) = (String::with_capacity(text.len() + 8), text);
        while let Some(at) = rest.find(begin) {
            let name =
                rest[at..].find('}').map(|end| &rest[at + if is_of_frigate { 1 } else { 2 }..at + end]);
            // A default of go2rtc has no counterpart.
            let name = name.map(|name| (name, name.split(':').next().unwrap_or_default()));
            match name {
                Some((whole, name)) if is_name(name) => {
                    result.push_str(&literal(&rest[..at]));
                    result.push_str(&format!("${{env:{name}}}"));
                    rest = &rest[at + whole.len() + if is_of_frigate { 2 } else { 3 }..];
                }
                _ => {
                    let (text, after) = rest.split_at(at + begin.len());
                    result.push_str(&literal(text));
                    rest = after;
                }
            }
        }
        result.push_str(&literal(rest));
        result
    }
}

/// The names of the environment variables that a text refers to.
pub(super) fn variables(text: &str) -> impl Iterator<Item = &str> {
    text.split("${env:").skip(1).filter_map(|rest| rest.split('}').next())
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
}

/// What an address is. An error says why it is left out.
pub(super) fn input(typed: &str, syntax: Syntax) -> Result<Input, String> {
    let typed = syntax.references(typed.trim());
    let (typed, is_ffmpeg) = match typed.strip_prefix("ffmpeg:") {
        Some(rest) => (rest, true),
        None => (&*typed, false),
    };
    // `#backchannel=0`: parameters for go2rtc.
    let address = typed.split('#').next().unwrap_or_default();
    let Some((scheme, rest)) = address.split_once("://") else {
        return without_scheme(address, is_ffmpeg);
    };
    let is_picture = || {
        let path = rest.split(['?', '#']).next().unwrap_or_default().to_lowercase();
        [".jpg", ".jpeg", "snapshot.cgi"].iter().any(|end| path.ends_with(end))
    };
    let (key, address) = match scheme {
        "rtsp" | "rtsps" => ("rtsp", address.to_owned()),
        // go2rtc: TLS whose certificate is not checked.
        "rtspx" => ("rtsp", format!("rtsps://{rest}")),
        "http" | "https" if is_picture() => ("http", address.to_owned()),
        "http" | "https" | "rtmp" | "rtmps" | "srt" | "udp" | "tcp" => ("video", address.to_owned()),
        _ => {
            let known = FOREIGN.iter().find(|(foreign, _)| *foreign == scheme);
            let why = known.map_or("write the address of an RTSP or HTTP stream", |(_, why)| *why);
            return Err(format!("`{scheme}://` is not supported: {why}"));
        }
    };
    let schemes = ["rtsp", "rtsps", "http", "https", "rtmp", "rtmps", "srt", "udp", "tcp"];
    address::parse(&filled(&address), &schemes).map_err(|(what, remedy)| format!("{what}: {remedy}"))?;
    let mut settings = Map::from_iter([(key.to_owned(), json!(address))]);
    if scheme == "rtspx" {
        settings.insert("tls".to_owned(), json!({ "verify": false }));
    }
    Ok(Input::Source(settings))
}

/// A device, the name of another stream, or a program.
fn without_scheme(address: &str, is_ffmpeg: bool) -> Result<Input, String> {
    let device = address.strip_prefix("device?").filter(|_| is_ffmpeg);
    if let Some(parameters) = device {
        let number = parameters.split('&').find_map(|part| part.strip_prefix("video="));
        return match number.filter(|number| !number.is_empty()) {
            Some(path) if path.starts_with('/') => Ok(file(path)),
            Some(number) if number.bytes().all(|digit| digit.is_ascii_digit()) => {
                Ok(file(&format!("/dev/video{number}")))
            }
            _ => Err("the device has no number: write `video: /dev/video0`".to_owned()),
        };
    }
    match address.split_once(':') {
        Some((scheme, _)) => {
            let known = FOREIGN.iter().find(|(foreign, _)| *foreign == scheme);
            let why = known.map_or("write the address of an RTSP or HTTP stream", |(_, why)| *why);
            Err(format!("`{scheme}:` is not supported: {why}"))
        }
        None if address.starts_with('/') => Ok(file(address)),
        None if is_ffmpeg && !address.is_empty() => Ok(Input::Stream(address.to_owned())),
        None => Err("it is no address".to_owned()),
    }
}

fn file(path: &str) -> Input {
    Input::Source(Map::from_iter([("video".to_owned(), json!(path))]))
}

/// A text whose references have values.
fn filled(text: &str) -> String {
    let (mut result, mut rest) = (String::with_capacity(text.len()), text);
    while let Some((before, reference)) = rest.split_once("${") {
        result.push_str(before);
        result.push('x');
        rest = reference.split_once('}').map_or("", |(_, after)| after);
    }
    result.push_str(rest);
    result
}

/// Whether an address looks like that of a low-resolution stream, as makers of cameras write them.
pub(super) fn is_low_resolution(address: &str) -> bool {
    const SIGNS: &[&str] = &[
        "subtype=1",
        "subtype=2",
        "substream",
        "sub_stream",
        "_sub",
        "/sub",
        "=sub",
        "stream2",
        "stream=1",
        "ch0_1",
        "/102",
        "/202",
        "/302",
        "/402",
        "profile2",
        "minor",
    ];
    let address = address.to_lowercase();
    let rest = address.split_once("://").map_or(&*address, |(_, rest)| rest);
    let path = rest.find('/').map_or("", |at| &rest[at..]);
    SIGNS.iter().any(|sign| path.contains(sign))
}

/// The name of a stream that is the local restream of go2rtc, as Frigate documents it.
pub(super) fn restream(address: &str) -> Option<&str> {
    let rest = address.trim().strip_prefix("rtsp://")?;
    let (host, path) = rest.split_once('/')?;
    let is_local = ["127.0.0.1:8554", "localhost:8554"].contains(&host);
    let name = path.split(['?', '#']).next().unwrap_or_default();
    (is_local && !name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_those_of_this_program() {
        for (syntax, typed, expected) in [
            (
                Syntax::Frigate,
                "rtsp://{FRIGATE_USER}:{FRIGATE_PW}@h/s",
                "rtsp://${env:FRIGATE_USER}:${env:FRIGATE_PW}@h/s",
            ),
            (Syntax::Frigate, "a{b}${c}", "a{b}$${c}"),
            (Syntax::Frigate, "{FRIGATE_", "{FRIGATE_"),
            (Syntax::Frigate, "{FRIGATE_A B}", "{FRIGATE_A B}"),
            (Syntax::Go2rtc, "rtsp://me:${PW}@h/s", "rtsp://me:${env:PW}@h/s"),
            (Syntax::Go2rtc, "${PW:secret}", "${env:PW}"),
            (Syntax::Go2rtc, "a${b c}", "a$${b c}"),
            (Syntax::Go2rtc, "a${", "a$${"),
        ] {
            assert_eq!(syntax.references(typed), expected, "{typed}");
        }
        assert_eq!(variables("rtsp://${env:A}:${env:B}@h").collect::<Vec<_>>(), ["A", "B"]);
    }

    #[test]
    fn each_kind_of_address() {
        let settings = |value: Value| Ok(Input::Source(value.as_object().cloned().unwrap_or_default()));
        for (typed, expected) in [
            (
                "rtsp://viewer:{FRIGATE_PW}@10.0.0.2:554/s?a=1",
                settings(json!({ "rtsp": "rtsp://viewer:${env:FRIGATE_PW}@10.0.0.2:554/s?a=1" })),
            ),
            ("rtsp://10.0.0.2/s#backchannel=0", settings(json!({ "rtsp": "rtsp://10.0.0.2/s" }))),
            (
                "rtspx://10.0.0.2:7441/x",
                settings(json!({ "rtsp": "rtsps://10.0.0.2:7441/x", "tls": { "verify": false } })),
            ),
            (
                "http://me:pw@h/cgi-bin/snapshot.cgi?channel=1",
                settings(json!({ "http": "http://me:pw@h/cgi-bin/snapshot.cgi?channel=1" })),
            ),
            ("http://h/a.JPG", settings(json!({ "http": "http://h/a.JPG" }))),
            ("http://h/flv?port=1935", settings(json!({ "video": "http://h/flv?port=1935" }))),
            ("rtmp://h/live", settings(json!({ "video": "rtmp://h/live" }))),
            ("ffmpeg:rtsp://h/s#video=h264#rotate=90", settings(json!({ "rtsp": "rtsp://h/s" }))),
            ("ffmpeg:device?video=1&video_size=1280x720", settings(json!({ "video": "/dev/video1" }))),
            ("/dev/video0", settings(json!({ "video": "/dev/video0" }))),
            ("ffmpeg:front#audio=opus", Ok(Input::Stream("front".to_owned()))),
        ] {
            assert_eq!(input(typed, Syntax::Frigate), expected, "{typed}");
        }
        for (typed, why) in [
            ("onvif://me:pw@h", "stakeout init --onvif"),
            ("exec:ffmpeg -i x {output}", "a program is no address"),
            ("homekit://h?pin=1", "`homekit://` is not supported"),
            ("ffmpeg:device?x=1", "no number"),
            ("front", "no address"),
            ("rtsp://", "no usable host"),
        ] {
            let error = input(typed, Syntax::Go2rtc).unwrap_err();
            assert!(error.contains(why) && !error.contains("pw"), "{typed}: {error}");
        }
    }

    #[test]
    fn the_low_resolution_stream_is_known_by_its_address() {
        for (address, expected) in [
            ("rtsp://h/cam/realmonitor?channel=1&subtype=1", true),
            ("rtsp://h/cam/realmonitor?channel=1&subtype=0", false),
            ("rtsp://h/Streaming/Channels/102", true),
            ("rtsp://h/Streaming/Channels/101", false),
            ("rtsp://h/h264Preview_01_sub", true),
            ("rtsp://sub.lan/stream1", false),
            ("rtsp://h/stream2", true),
            ("rtsp://h", false),
        ] {
            assert_eq!(is_low_resolution(address), expected, "{address}");
        }
    }

    #[test]
    fn a_restream_is_known_by_its_place() {
        assert_eq!(restream("rtsp://127.0.0.1:8554/back?video=copy"), Some("back"));
        assert_eq!(restream("rtsp://localhost:8554/back"), Some("back"));
        assert_eq!(restream("rtsp://10.0.0.2:8554/back"), None);
        assert_eq!(restream("rtsp://127.0.0.1:8554/"), None);
    }
}
