//! Extracts the picture from a message: plain, as base64, as a data URL, or one of these inside JSON, with the time and the
//! name beside it. Pure.
//!
//! Any client may publish anything: only the requested parts of a payload are built, however deep or wide its JSON is.

use std::{borrow::Cow, fmt};

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use jiff::{SignedDuration, Timestamp, civil::DateTime};
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::settings::JsonPlaces;
use crate::source::cause::Cause;

/// Padding is often left out.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
/// A time that is further in the future is wrong.
const MOST_AHEAD: SignedDuration = SignedDuration::from_secs(60);
/// Characters of a wrong time in an error.
const LONGEST_EXCERPT: usize = 40;

/// The content of a message.
#[derive(Debug, PartialEq)]
pub(crate) struct Found<'p> {
    /// The bytes of the picture, not decoded.
    pub(crate) picture: Cow<'p, [u8]>,
    /// When it was captured, if a place of the time is configured.
    pub(crate) time: Option<Result<Timestamp, TimeError>>,
    /// The name of its source, if the message has one.
    pub(crate) name: Option<String>,
}

/// Why the time of a message cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TimeError {
    /// There is nothing at the pointer.
    #[error("its JSON has no time at `{0}`: the time of arrival is used")]
    Missing(String),
    /// It has no time zone.
    #[error(
        "its time `{0}` has no time zone, so the time of arrival is used: add `Z` or an offset such as `+01:00`"
    )]
    NoZone(String),
    /// It is nothing that is known.
    #[error(
        "its time `{0}` is neither RFC 3339 nor seconds or milliseconds since 1970, so the time of arrival is used"
    )]
    Unknown(String),
    /// It is in the future.
    #[error(
        "its time {0} is in the future, so the time of arrival is used: compare the clocks of the sender and of this machine"
    )]
    Future(Timestamp),
}

/// Why a message holds no picture.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PayloadError {
    /// The payload is not JSON.
    #[error("it is not JSON ({0})")]
    NotJson(String),
    /// There is no text at the pointer.
    #[error("its JSON has no text at `{0}`")]
    NoPicture(String),
    /// The payload is text and not base64.
    #[error("the picture is text, and not base64")]
    NotBase64,
}

impl PayloadError {
    /// The cause to count it by.
    pub(crate) fn cause(&self) -> Cause {
        match self {
            Self::NotJson(_) => Cause::NotJson,
            Self::NoPicture(_) => Cause::NoPicture,
            Self::NotBase64 => Cause::NotBase64,
        }
    }
}

/// Reads a message.
pub(crate) fn read<'p>(payload: &'p [u8], places: Option<&JsonPlaces>) -> Result<Found<'p>, PayloadError> {
    let Some(places) = places else {
        let picture = if is_text(payload) { Cow::Owned(unpack(payload)?) } else { Cow::Borrowed(payload) };
        return Ok(Found { picture, time: None, name: None });
    };
    let Some(Leaf::Text(picture)) = at(payload, &places.picture)? else {
        return Err(PayloadError::NoPicture(places.picture.clone()));
    };
    let time = match &places.time {
        None => None,
        Some(place) => {
            let found = at(payload, place)?.ok_or_else(|| TimeError::Missing(place.clone()));
            Some(found.and_then(|leaf| leaf.as_time()))
        }
    };
    let name = places.name.as_ref().map(|place| at(payload, place)).transpose()?.flatten();
    Ok(Found {
        picture: Cow::Owned(unpack(picture.as_bytes())?),
        time,
        name: name.map(|name| name.to_string()),
    })
}

/// When a picture was captured: the `given` time if it can be used and is not later than `arrived`; and why it is not used.
pub(crate) fn captured_at(
    given: Option<Result<Timestamp, TimeError>>,
    arrived: Timestamp,
) -> (Timestamp, Option<TimeError>) {
    match given {
        None => (arrived, None),
        Some(Err(error)) => (arrived, Some(error)),
        Some(Ok(given)) if given.duration_since(arrived) > MOST_AHEAD => {
            (arrived, Some(TimeError::Future(given)))
        }
        Some(Ok(given)) => (given, None),
    }
}

/// Whether a payload is text: every picture has a byte that no text has.
fn is_text(payload: &[u8]) -> bool {
    !payload.is_empty() && payload.iter().all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace())
}

/// Decodes base64, optionally with line breaks, in the variant for URLs, or as a data URL.
fn unpack(text: &[u8]) -> Result<Vec<u8>, PayloadError> {
    let text = text.trim_ascii();
    let text = match text.strip_prefix(b"data:") {
        // The media type before the comma is ignored: the picture itself has its format.
        Some(url) => url.iter().position(|byte| *byte == b',').map_or(text, |comma| &url[comma + 1..]),
        None => text,
    };
    let letters = text.iter().filter(|byte| !byte.is_ascii_whitespace()).map(|byte| match byte {
        b'-' => b'+',
        b'_' => b'/',
        byte => *byte,
    });
    BASE64.decode(letters.collect::<Vec<u8>>()).map_err(|_| PayloadError::NotBase64)
}

/// A text or a number in JSON.
#[derive(Debug, PartialEq)]
enum Leaf<'p> {
    Text(Cow<'p, str>),
    Number(f64),
}

impl Leaf<'_> {
    /// RFC 3339, or seconds, milliseconds, microseconds or nanoseconds since 1970, distinguished by their size.
    fn as_time(&self) -> Result<Timestamp, TimeError> {
        const UNITS: [(f64, f64); 3] = [(1e17, 1e9), (1e14, 1e6), (1e11, 1e3)];
        let unknown = || TimeError::Unknown(self.excerpt());
        let number = match self {
            Self::Text(text) => match text.trim().parse::<Timestamp>() {
                Ok(time) => return Ok(time),
                Err(_) if text.trim().parse::<DateTime>().is_ok() => {
                    return Err(TimeError::NoZone(self.excerpt()));
                }
                Err(_) => text.trim().parse().map_err(|_| unknown())?,
            },
            Self::Number(number) => *number,
        };
        let unit = UNITS.iter().find(|(from, _)| number.abs() >= *from).map_or(1.0, |(_, unit)| *unit);
        let since = SignedDuration::try_from_secs_f64(number / unit).map_err(|_| unknown())?;
        Timestamp::from_duration(since).map_err(|_| unknown())
    }

    /// The first characters, for an error.
    fn excerpt(&self) -> String {
        self.to_string().chars().filter(|letter| !letter.is_control()).take(LONGEST_EXCERPT).collect()
    }
}

impl fmt::Display for Leaf<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Number(number) => write!(f, "{number}"),
        }
    }
}

/// The text or number at `pointer` (RFC 6901); `None` if there is nothing, or a list or an object.
fn at<'p>(payload: &'p [u8], pointer: &str) -> Result<Option<Leaf<'p>>, PayloadError> {
    let steps = pointer.split('/').skip(1);
    let steps = steps.map(|step| step.replace("~1", "/").replace("~0", "~")).collect::<Vec<_>>();
    let not_json = |error: serde_json::Error| PayloadError::NotJson(error.to_string());
    let mut json = serde_json::Deserializer::from_slice(payload);
    let leaf = Seek(&steps).deserialize(&mut json).map_err(not_json)?;
    json.end().map_err(not_json)?;
    Ok(leaf)
}

/// Follows the steps of a pointer while the JSON is read, and ignores the rest.
struct Seek<'s>(&'s [String]);

impl<'p> DeserializeSeed<'p> for Seek<'_> {
    type Value = Option<Leaf<'p>>;

    fn deserialize<D: Deserializer<'p>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'p> Visitor<'p> for Seek<'_> {
    type Value = Option<Leaf<'p>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'p>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(key) = map.next_key_seed(Key)? {
            match self.0 {
                [step, rest @ ..] if *step == *key => found = map.next_value_seed(Seek(rest))?,
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(found)
    }

    fn visit_seq<A: SeqAccess<'p>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let (mut found, mut place) = (None, 0_usize);
        loop {
            match self.0 {
                [step, rest @ ..] if step.parse() == Ok(place) => match list.next_element_seed(Seek(rest))? {
                    Some(leaf) => found = leaf,
                    None => return Ok(found),
                },
                _ => {
                    if list.next_element::<IgnoredAny>()?.is_none() {
                        return Ok(found);
                    }
                }
            }
            place += 1;
        }
    }

    fn visit_borrowed_str<E>(self, text: &'p str) -> Result<Self::Value, E> {
        Ok(self.0.is_empty().then_some(Leaf::Text(Cow::Borrowed(text))))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(self.0.is_empty().then(|| Leaf::Text(Cow::Owned(text.to_owned()))))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Self::Value, E> {
        Ok(self.0.is_empty().then_some(Leaf::Number(number)))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
        self.visit_f64(number as f64)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Self::Value, E> {
        self.visit_f64(number as f64)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
}

/// A key of an object.
struct Key;

impl<'p> DeserializeSeed<'p> for Key {
    type Value = Cow<'p, str>;

    fn deserialize<D: Deserializer<'p>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_str(self)
    }
}

impl<'p> Visitor<'p> for Key {
    type Value = Cow<'p, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_str<E>(self, text: &'p str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn places(picture: &str) -> JsonPlaces {
        JsonPlaces { picture: picture.to_owned(), time: Some("/t".to_owned()), name: Some("/n".to_owned()) }
    }

    #[test]
    fn a_picture_is_plain_or_text() {
        let jpeg = [0xFF, 0xD8, 0xFF, 0xE0, 0, 0x10, b'J', b'F'];
        let forms: [&[u8]; 7] = [
            &jpeg,
            b"/9j/4AAQSkY=",
            b"/9j/4AAQSkY",
            b" _9j_4AAQSkY \n",
            b"/9j/\r\n4AAQ\r\nSkY=\r\n",
            b"data:image/jpeg;base64,/9j/4AAQSkY=",
            b"data:,/9j/4AAQSkY=",
        ];
        for form in forms {
            assert_eq!(&*read(form, None).unwrap().picture, jpeg, "{:?}", String::from_utf8_lossy(form));
        }
        for text in [&b"no picture!"[..], b"data:image/png", b"{\"a\": 1}", b"a=b"] {
            assert_eq!(read(text, None), Err(PayloadError::NotBase64), "{}", String::from_utf8_lossy(text));
        }
        assert_eq!(&*read(b"", None).unwrap().picture, b"", "the decoder rejects it");
    }

    #[test]
    fn json_with_a_pointer() {
        let json = br#"{"a": {"b/c": [0, {"~": "aGk="}]}, "t": "2026-11-23T08:15:30Z", "n": "Yard"}"#;
        let found = read(json, Some(&places("/a/b~1c/1/~0"))).unwrap();
        assert_eq!((&*found.picture, found.name.as_deref()), (&b"hi"[..], Some("Yard")));
        assert_eq!(found.time.unwrap().unwrap().to_string(), "2026-11-23T08:15:30Z");

        for place in ["/x", "/a", "/a/b~1c/2", "/a/b~1c/0", "/t/0", "/a/b~1c/x"] {
            let error = read(json, Some(&places(place))).unwrap_err();
            assert_eq!(error, PayloadError::NoPicture(place.to_owned()));
        }
        for broken in [&b"{"[..], b"", b"\xff", b"{} {}", b"[1,]", br#"{"a":"\ud800"}"#, b"{\"a\": \"\xff\"}"]
        {
            let error = read(broken, Some(&places("/a"))).unwrap_err();
            assert_eq!(error.cause(), Cause::NotJson, "{}", String::from_utf8_lossy(broken));
        }
        assert_eq!(read(br#"{"a": "!"}"#, Some(&places("/a"))).unwrap_err().cause(), Cause::NotBase64);
        let number = read(br#"{"a": "aGk=", "n": 7}"#, Some(&places("/a"))).unwrap();
        let missing = Some(Err(TimeError::Missing("/t".to_owned())));
        assert_eq!((number.name.as_deref(), number.time), (Some("7"), missing));
    }

    #[test]
    fn deep_and_wide_json_is_read_quickly() {
        for open in ["[", "{\"x\":"] {
            let deep = format!("{{\"d\": {}", open.repeat(1_000_000));
            assert_eq!(read(deep.as_bytes(), Some(&places("/a"))).unwrap_err().cause(), Cause::NotJson);
        }
        let wide = format!("{{\"d\": [{}0], \"a\": \"aGk=\"}}", "0,".repeat(1_000_000));
        assert_eq!(&*read(wide.as_bytes(), Some(&places("/a"))).unwrap().picture, b"hi");
    }

    #[test]
    fn times() {
        let cases = [
            (Leaf::Number(1_795_421_730.0), Some("2026-11-23T08:15:30Z")),
            (Leaf::Number(1_795_421_730.5), Some("2026-11-23T08:15:30.5Z")),
            (Leaf::Number(1_795_421_730_500.0), Some("2026-11-23T08:15:30.5Z")),
            (Leaf::Number(1_795_421_730_500_000.0), Some("2026-11-23T08:15:30.5Z")),
            (Leaf::Text("1795421730".into()), Some("2026-11-23T08:15:30Z")),
            (Leaf::Text("2026-11-23T09:15:30+01:00".into()), Some("2026-11-23T08:15:30Z")),
            (Leaf::Text(" 2026-11-23 08:15:30Z ".into()), Some("2026-11-23T08:15:30Z")),
            (Leaf::Text("yesterday".into()), None),
            (Leaf::Text("nan".into()), None),
            (Leaf::Text("".into()), None),
            (Leaf::Number(f64::INFINITY), None),
            (Leaf::Number(1e300), None),
        ];
        for (leaf, expected) in cases {
            let time = leaf.as_time();
            assert_eq!(time.as_ref().ok().map(ToString::to_string).as_deref(), expected, "{leaf:?}");
            assert!(matches!(time, Ok(_) | Err(TimeError::Unknown(_))), "{leaf:?}");
        }
        for zoneless in ["2026-11-23T08:15:30", "2026-11-23 08:15:30.5", "2026-11-23"] {
            let error = Leaf::Text(zoneless.into()).as_time();
            assert_eq!(error, Err(TimeError::NoZone(zoneless.to_owned())), "local time of whom?");
        }
        let long = Leaf::Text("x\n".repeat(1000).into()).as_time();
        assert_eq!(long, Err(TimeError::Unknown("x".repeat(LONGEST_EXCERPT))));
        let at = |second: i64| Timestamp::from_second(1_795_421_730 + second).unwrap();
        let unknown = || TimeError::Unknown(String::new());
        let cases = [
            (None, at(0), None),
            (Some(Ok(at(-3600))), at(-3600), None),
            (Some(Ok(at(59))), at(59), None),
            (Some(Ok(at(61))), at(0), Some(TimeError::Future(at(61)))),
            (Some(Err(unknown())), at(0), Some(unknown())),
        ];
        for (given, expected, defect) in cases {
            assert_eq!(captured_at(given, at(0)), (expected, defect));
        }
    }

    proptest! {
        #[test]
        fn no_payload_panics(payload in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&payload, None);
            let _ = read(&payload, Some(&places("/a")));
        }

        #[test]
        fn no_text_panics(text in r#"[\[\]{}":,a0-9e.\\/ -]{0,80}"#) {
            let _ = read(text.as_bytes(), None);
            let _ = read(text.as_bytes(), Some(&places("/a/0")));
        }
    }
}
