//! The messages between the service and a decoder process: what is asked, what comes back, and how both become bytes.
//!
//! Pictures do not travel in messages: encoded bytes and pixels are in memory that both processes share ([`super::memory`]). A
//! picture may be made to take over the process that decodes it. So a message is checked completely when it is
//! parsed: its length, each word, each number, and that nothing follows.

use std::{
    io::{self, ErrorKind, Read, Write},
    time::Duration,
};

use crate::picture::{Limits, PictureError};

/// The most bytes of a message. The longest one is the text of an error.
const LONGEST: usize = 4096;
/// The most characters of a text from a decoder process.
const LONGEST_TEXT: usize = 500;
/// The longest edge of a picture; see `picture`.
const LONGEST_EDGE: u32 = 65_535;

/// The formats of pictures: an error names one of them.
const FORMATS: [&str; 9] = ["JPEG", "PNG", "GIF", "WebP", "BMP", "TIFF", "AVIF", "HEIC", "JPEG 2000"];
/// The name of a format that is not in the table.
const ANY_FORMAT: &str = "picture";

/// What the service asks for. Only the header says how much memory a picture takes, and the service decides whether it gets that
/// much. Most pictures take as much as the one before: then the first request is the only one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Request {
    /// Read the header of the picture of this many bytes at the start of the shared memory, and decode the picture if that takes at
    /// most `granted` bytes of memory.
    Begin { length: u64, limits: Limits, granted: u64 },
    /// Decode that picture: the service has taken the memory that it needs.
    Decode,
}

/// What a decoder process sends: once how its start went, then one answer for each request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ChildMessage {
    /// It has given up its rights and decodes.
    Ready(Layers),
    /// It could not give up its rights, for this reason.
    Refused(String),
    /// Decoding takes up to this many bytes of memory, more than was granted.
    Needed(u64),
    /// The pixels are at the start of the shared memory, as RGB without padding.
    Decoded(Decoded),
    /// The bytes are no usable picture.
    Failed(PictureError),
}

/// A decoded picture without its pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Decoded {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) transparent: Option<[u8; 3]>,
    /// The most bytes of memory that decoding took.
    pub(super) needed: u64,
}

/// The layers of isolation that a kernel may lack. The filter of system calls and the limits are not among them: without them no
/// picture is decoded in a process of its own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Layers {
    pub(super) landlock: bool,
    pub(super) namespaces: bool,
}

/// The bytes are not a valid message.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("an invalid message")]
pub(super) struct Malformed;

impl Request {
    pub(super) fn to_bytes(self) -> Vec<u8> {
        match self {
            Self::Begin { length, limits: Limits { max_pixels, memory }, granted } => {
                let numbers = [length, max_pixels, memory, granted].map(u64::to_le_bytes);
                [&[0], &numbers.concat()[..]].concat()
            }
            Self::Decode => vec![1],
        }
    }

    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut fields = Fields(bytes);
        let request = match fields.byte()? {
            0 => {
                let length = fields.u64()?;
                let limits = Limits { max_pixels: fields.u64()?, memory: fields.u64()? };
                Self::Begin { length, limits, granted: fields.u64()? }
            }
            1 => Self::Decode,
            _ => return Err(Malformed),
        };
        fields.end(request)
    }
}

impl ChildMessage {
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self {
            Self::Ready(Layers { landlock, namespaces }) => {
                bytes.extend([0, u8::from(*landlock), u8::from(*namespaces)]);
            }
            Self::Refused(why) => {
                bytes.push(1);
                push_text(&mut bytes, why);
            }
            Self::Decoded(Decoded { width, height, transparent, needed }) => {
                bytes.push(2);
                bytes.extend(width.to_le_bytes());
                bytes.extend(height.to_le_bytes());
                bytes.push(transparent.is_some().into());
                bytes.extend(transparent.unwrap_or_default());
                bytes.extend(needed.to_le_bytes());
            }
            Self::Failed(error) => {
                bytes.push(3);
                push_error(&mut bytes, error);
            }
            Self::Needed(needed) => {
                bytes.push(4);
                bytes.extend(needed.to_le_bytes());
            }
        }
        bytes
    }

    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut fields = Fields(bytes);
        let message = match fields.byte()? {
            0 => Self::Ready(Layers { landlock: fields.flag()?, namespaces: fields.flag()? }),
            1 => Self::Refused(fields.text()?),
            2 => Self::Decoded(decoded(&mut fields)?),
            3 => Self::Failed(error(&mut fields)?),
            4 => Self::Needed(fields.u64()?),
            _ => return Err(Malformed),
        };
        fields.end(message)
    }
}

impl Decoded {
    /// The bytes of its pixels. Both edges have at most 16 bits, so this cannot overflow.
    pub(super) fn bytes(self) -> u64 {
        u64::from(self.width) * u64::from(self.height) * 3
    }
}

fn decoded(fields: &mut Fields<'_>) -> Result<Decoded, Malformed> {
    let (width, height) = (fields.u32()?, fields.u32()?);
    let (is_some, colour, needed) = (fields.flag()?, fields.array::<3>()?, fields.u64()?);
    let valid = 1..=LONGEST_EDGE;
    if !valid.contains(&width) || !valid.contains(&height) {
        return Err(Malformed);
    }
    Ok(Decoded { width, height, transparent: is_some.then_some(colour), needed })
}

fn push_error(bytes: &mut Vec<u8>, error: &PictureError) {
    let format = |bytes: &mut Vec<u8>, format: &str| {
        let known = FORMATS.iter().position(|known| *known == format);
        bytes.push(known.and_then(|number| u8::try_from(number).ok()).unwrap_or(u8::MAX));
    };
    match error {
        PictureError::Empty => bytes.push(0),
        PictureError::NotAPicture => bytes.push(1),
        PictureError::Truncated { format: name } => {
            bytes.push(2);
            format(bytes, name);
        }
        PictureError::Corrupt { format: name, reason } => {
            bytes.push(3);
            format(bytes, name);
            push_text(bytes, reason);
        }
        PictureError::Unsupported { format: name, reason } => {
            bytes.push(4);
            format(bytes, name);
            push_text(bytes, reason);
        }
        PictureError::TooLarge { width, height, max_pixels } => {
            bytes.push(5);
            bytes.extend([width, height, max_pixels].into_iter().flat_map(|number| number.to_le_bytes()));
        }
        PictureError::TooSlow { format: name, longest } => {
            bytes.push(6);
            format(bytes, name);
            bytes.extend(longest.as_secs().to_le_bytes());
        }
        PictureError::NeedsMemory { needed, memory } => {
            bytes.push(8);
            bytes.extend([needed, memory].into_iter().flat_map(|number| number.to_le_bytes()));
        }
        // A decoder process encodes nothing and starts no other one, so it has no other errors.
        PictureError::Encode { reason } | PictureError::DecoderEnded { how: reason } => {
            bytes.push(7);
            push_text(bytes, reason);
        }
    }
}

fn error(fields: &mut Fields<'_>) -> Result<PictureError, Malformed> {
    Ok(match fields.byte()? {
        0 => PictureError::Empty,
        1 => PictureError::NotAPicture,
        2 => PictureError::Truncated { format: fields.format()? },
        3 => PictureError::Corrupt { format: fields.format()?, reason: fields.text()? },
        4 => PictureError::Unsupported { format: fields.format()?, reason: fields.text()? },
        5 => {
            PictureError::TooLarge { width: fields.u64()?, height: fields.u64()?, max_pixels: fields.u64()? }
        }
        6 => PictureError::TooSlow {
            format: fields.format()?,
            longest: Duration::from_secs(fields.u64()?.min(86_400)),
        },
        7 => PictureError::Encode { reason: fields.text()? },
        8 => PictureError::NeedsMemory { needed: fields.u64()?, memory: fields.u64()? },
        _ => return Err(Malformed),
    })
}

/// Appends a text, cut to a length that fits into a message.
fn push_text(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend(text.chars().take(LONGEST_TEXT).collect::<String>().into_bytes());
}

/// Sends one message.
pub(super) fn send(socket: &mut impl Write, message: &[u8]) -> io::Result<()> {
    let length = u32::try_from(message.len()).ok().filter(|length| *length as usize <= LONGEST);
    let length = length.ok_or(ErrorKind::InvalidInput)?;
    // In one piece: a reader wakes up once.
    socket.write_all(&[&length.to_le_bytes(), message].concat())
}

/// Receives one message; `None` if the other end closed the socket before it.
pub(super) fn receive(socket: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 4];
    let first = loop {
        match socket.read(&mut length) {
            // A signal interrupts a read that has a time limit.
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            first => break first?,
        }
    };
    if first == 0 {
        return Ok(None);
    }
    socket.read_exact(&mut length[first..])?;
    let length = u32::from_le_bytes(length) as usize;
    if length > LONGEST {
        return Err(ErrorKind::InvalidData.into());
    }
    let mut message = vec![0; length];
    socket.read_exact(&mut message)?;
    Ok(Some(message))
}

/// The rest of a message.
struct Fields<'b>(&'b [u8]);

impl Fields<'_> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (first, rest) = self.0.split_first_chunk::<N>().ok_or(Malformed)?;
        self.0 = rest;
        Ok(*first)
    }

    fn byte(&mut self) -> Result<u8, Malformed> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn flag(&mut self) -> Result<bool, Malformed> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Malformed),
        }
    }

    fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_le_bytes)
    }

    fn format(&mut self) -> Result<&'static str, Malformed> {
        let number = self.byte()?;
        Ok(FORMATS.get(usize::from(number)).copied().unwrap_or(ANY_FORMAT))
    }

    /// The text at the end of a message. It is logged and published, so it keeps no character that controls a terminal or the
    /// direction of writing.
    fn text(&mut self) -> Result<String, Malformed> {
        let text = std::str::from_utf8(std::mem::take(&mut self.0)).map_err(|_| Malformed)?;
        let is_shown = |char: &char| {
            !char.is_control()
                && !matches!(char, '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{FEFF}')
        };
        Ok(text.chars().filter(is_shown).take(LONGEST_TEXT).collect())
    }

    /// `value`, if nothing follows it.
    fn end<T>(self, value: T) -> Result<T, Malformed> {
        if self.0.is_empty() { Ok(value) } else { Err(Malformed) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn messages() -> Vec<ChildMessage> {
        let errors = [
            PictureError::Empty,
            PictureError::NotAPicture,
            PictureError::Truncated { format: "TIFF" },
            PictureError::Corrupt { format: "JPEG 2000", reason: "a reason".to_owned() },
            PictureError::Unsupported { format: "AVIF", reason: String::new() },
            PictureError::TooLarge { width: 1 << 40, height: 2, max_pixels: 3 },
            PictureError::TooSlow { format: "PNG", longest: Duration::from_secs(20) },
            PictureError::Encode { reason: "another".to_owned() },
            PictureError::NeedsMemory { needed: 1 << 50, memory: 2 },
        ];
        let picture = |transparent| {
            ChildMessage::Decoded(Decoded { width: 640, height: 65_535, transparent, needed: 1 << 40 })
        };
        let others = [
            ChildMessage::Ready(Layers { landlock: true, namespaces: false }),
            ChildMessage::Refused("seccomp: not permitted".to_owned()),
            picture(None),
            picture(Some([1, 2, 3])),
            ChildMessage::Needed(1 << 60),
        ];
        errors.into_iter().map(ChildMessage::Failed).chain(others).collect()
    }

    #[test]
    fn a_message_arrives_as_it_was_sent() {
        let mut sent = Vec::new();
        for message in messages() {
            send(&mut sent, &message.to_bytes()).unwrap();
        }
        let mut read = &sent[..];
        for message in messages() {
            assert_eq!(ChildMessage::parse(&receive(&mut read).unwrap().unwrap()), Ok(message));
        }
        assert!(receive(&mut read).unwrap().is_none());
        let limits = Limits { max_pixels: 7, memory: 1 << 34 };
        for request in [Request::Begin { length: 1 << 33, limits, granted: 1 << 35 }, Request::Decode] {
            assert_eq!(Request::parse(&request.to_bytes()), Ok(request));
        }
    }

    #[test]
    fn a_message_that_is_cut_or_longer_or_has_wrong_numbers_is_rejected() {
        for message in messages() {
            let bytes = message.to_bytes();
            // A text has no length of its own.
            let has_text = matches!(
                &message,
                ChildMessage::Refused(_)
                    | ChildMessage::Failed(
                        PictureError::Corrupt { .. }
                            | PictureError::Unsupported { .. }
                            | PictureError::Encode { .. }
                    )
            );
            assert_eq!(ChildMessage::parse(&[&bytes[..], &[0xFF]].concat()), Err(Malformed), "{message:?}");
            if !has_text {
                assert_eq!(ChildMessage::parse(&bytes[..bytes.len() - 1]), Err(Malformed), "{message:?}");
            }
        }
        let size = |width, height| {
            ChildMessage::Decoded(Decoded { width, height, transparent: None, needed: 3 }).to_bytes()
        };
        for wrong in [size(0, 1), size(1, 0), size(65_536, 1), size(1, u32::MAX), vec![9], vec![0, 2, 0]] {
            assert_eq!(ChildMessage::parse(&wrong), Err(Malformed), "{wrong:?}");
        }
        assert!(receive(&mut &[0xFF; 8][..]).is_err(), "a length of 4 GB allocates nothing");
        assert!(receive(&mut &[2, 0, 0, 0, 1][..]).is_err(), "cut off");
        assert!(receive(&mut &[2, 0][..]).is_err(), "cut off in its length");
    }

    #[test]
    fn a_text_loses_what_would_control_a_terminal_and_what_is_too_long() {
        let text = |text: &str| match ChildMessage::parse(&[&[1], text.as_bytes()].concat()).unwrap() {
            ChildMessage::Refused(text) => text,
            other => panic!("{other:?}"),
        };
        assert_eq!(text("a\x1b[31mred\n\u{202E}b\u{7f}é"), "a[31mredbé");
        assert_eq!(text(&"é".repeat(2000)).chars().count(), LONGEST_TEXT);
        let long = ChildMessage::Refused("x".repeat(100_000));
        assert!(send(&mut Vec::new(), &long.to_bytes()).is_ok());
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..64), first in 0u8..5) {
            let _ = ChildMessage::parse(&bytes);
            let _ = ChildMessage::parse(&[&[first], &bytes[..]].concat());
            let _ = Request::parse(&bytes);
            let _ = receive(&mut &bytes[..]);
        }
    }
}
