//! The EXIF and XMP blocks of a picture: which way is up, and when it was captured.
//!
//! Everything follows the reference, Pillow's `Image.getexif` and `ImageOps.exif_transpose`:
//!
//! - EXIF decides if it has an orientation, whatever number type that is stored in. Otherwise XMP decides.
//! - An EXIF block whose header is unreadable hides XMP.
//! - An orientation outside of 2 to 8 leaves the picture as it is.

use std::borrow::Cow;

use image::metadata::Orientation;
use jiff::{
    Timestamp,
    civil::{Date, DateTime, Time},
    tz::{Offset, TimeZone},
};

use super::{
    ifd::{Directory, Tiff},
    pixels::Picture,
    turn::Turn,
};

pub(super) const ORIENTATION: u16 = 274;
const XMP: u16 = 700;
const EXIF_DIRECTORY: u16 = 0x8769;
const DATE_TIME_ORIGINAL: u16 = 0x9003;
const OFFSET_TIME_ORIGINAL: u16 = 0x9011;
const SUB_SEC_TIME_ORIGINAL: u16 = 0x9291;

/// The bytes before an EXIF block in JPEG segments and some other containers.
pub(super) const PREFIX: &[u8] = b"Exif\0\0";

/// The blocks of a picture, as its container holds them.
#[derive(Debug, Default)]
pub(super) struct Metadata<'b> {
    /// The EXIF block, with or without [`PREFIX`]; of a TIFF, the file.
    pub(super) exif: Option<Cow<'b, [u8]>>,
    /// The XMP packet.
    pub(super) xmp: Option<Cow<'b, [u8]>>,
}

impl<'b> Metadata<'b> {
    /// The blocks of a TIFF file.
    pub(super) fn of_tiff(bytes: &'b [u8]) -> Self {
        let xmp = Tiff::new(bytes).and_then(|file| file.first().bytes(XMP));
        Self { exif: Some(bytes.into()), xmp: xmp.map(Cow::from) }
    }
}

impl Metadata<'_> {
    /// How the pixels are turned upright.
    pub(super) fn orientation(&self) -> Orientation {
        let from_exif = match self.exif() {
            Exif::Unreadable => return Orientation::NoTransforms,
            Exif::Directory(_, directory) if directory.has(ORIENTATION) => {
                Some(directory.number(ORIENTATION).unwrap_or(1.0))
            }
            Exif::Directory(..) | Exif::Missing => None,
        };
        let number = from_exif.or_else(|| in_xmp(self.xmp.as_deref()?).map(f64::from));
        let whole = (1_u8..=8).find(|whole| number == Some(f64::from(*whole)));
        whole.and_then(Orientation::from_exif).unwrap_or(Orientation::NoTransforms)
    }

    /// When the picture was captured (EXIF `DateTimeOriginal`). A time without an offset is read in `zone`.
    pub(super) fn captured_at(&self, zone: &TimeZone) -> Option<Timestamp> {
        let Exif::Directory(file, first) = self.exif() else { return None };
        let directory = file.directory(first.number(EXIF_DIRECTORY)? as u64);
        let text = |tag| directory.text(tag).map(str::trim);
        let time = date_time(text(DATE_TIME_ORIGINAL)?, text(SUB_SEC_TIME_ORIGINAL))?;
        match text(OFFSET_TIME_ORIGINAL).and_then(offset) {
            Some(offset) => offset.to_timestamp(time).ok(),
            None => zone.to_timestamp(time).ok(),
        }
    }

    fn exif(&self) -> Exif<'_> {
        let Some(block) = self.exif.as_deref() else { return Exif::Missing };
        let block = block.strip_prefix(PREFIX).unwrap_or(block);
        let block = block.strip_prefix(PREFIX).unwrap_or(block);
        if block.is_empty() {
            return Exif::Missing;
        }
        match Tiff::new(block) {
            Some(file) => Exif::Directory(file, file.first()),
            None => Exif::Unreadable,
        }
    }
}

enum Exif<'b> {
    Missing,
    Unreadable,
    Directory(Tiff<'b>, Directory<'b>),
}

/// The orientation in an XMP packet: the first digit that directly follows `tiff:Orientation="` or `tiff:Orientation>`.
fn in_xmp(packet: &[u8]) -> Option<u8> {
    const NAME: &[u8] = b"tiff:Orientation";
    packet.windows(NAME.len()).enumerate().filter(|(_, name)| *name == NAME).find_map(|(at, _)| match &packet
        [at + NAME.len()..]
    {
        [b'=', b'"', digit, ..] | [b'>', digit, ..] if digit.is_ascii_digit() => Some(digit - b'0'),
        _ => None,
    })
}

/// `2026:11:23 08:15:30`, with the digits of a fraction.
fn date_time(text: &str, fraction: Option<&str>) -> Option<DateTime> {
    let number = |range: std::ops::Range<usize>| -> Option<i16> {
        let digits = text.get(range)?;
        digits.bytes().all(|digit| digit.is_ascii_digit()).then(|| digits.parse().ok())?
    };
    let small = |range| i8::try_from(number(range)?).ok();
    let year = number(0..4).filter(|year| (1990..2200).contains(year))?;
    let date = Date::new(year, small(5..7)?, small(8..10)?).ok()?;
    let digits = fraction.unwrap_or_default();
    let digits =
        digits.get(..digits.len().min(9)).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_digit()));
    let nanosecond = format!("{:0<9}", digits.unwrap_or_default()).parse().ok()?;
    let time = Time::new(small(11..13)?, small(14..16)?, small(17..19)?, nanosecond).ok()?;
    Some(date.to_datetime(time))
}

/// `+09:00`, `-03:30` or `Z`.
fn offset(text: &str) -> Option<Offset> {
    let (sign, rest) = match text.as_bytes() {
        b"Z" => return Some(Offset::UTC),
        [b'+', ..] => (1, &text[1..]),
        [b'-', ..] => (-1, &text[1..]),
        _ => return None,
    };
    let (hours, minutes) = rest.split_once(':')?;
    let number = |text: &str| text.parse::<u8>().ok().map(i32::from);
    let seconds = number(hours)? * 3600 + number(minutes)? * 60;
    Offset::from_seconds(sign * seconds).ok()
}

/// Turns a picture upright.
pub(super) fn upright(picture: Picture, orientation: Orientation) -> Picture {
    picture.turned(Turn::of_orientation(orientation))
}

#[cfg(test)]
mod tests {
    use super::{super::ifd::tests::little, *};

    fn turned(exif: Option<&[u8]>, xmp: Option<&str>) -> u8 {
        let metadata = Metadata { exif: exif.map(Cow::from), xmp: xmp.map(|xmp| xmp.as_bytes().into()) };
        metadata.orientation().to_exif()
    }

    /// Every expected value is that of Pillow 13.
    #[test]
    fn orientations_are_those_of_the_reference() {
        /// A name, the EXIF block, the XMP text, and the orientation.
        type Case<'c> = (&'c str, Option<&'c [u8]>, Option<&'c str>, u8);
        let block = |kind: u16, value: &[u8]| little(&[(ORIENTATION, kind, value)]);
        let short = block(3, &[6, 0]);
        let twice = [PREFIX, PREFIX, &short].concat();
        let other = little(&[(271, 2, b"x\0")]);
        const ATTRIBUTE: &str = r#"<x tiff:Orientation="8"/>"#;
        let cases: &[Case] = &[
            ("nothing", None, None, 1),
            ("short", Some(&short), None, 6),
            ("long", Some(&block(4, &[6, 0, 0, 0])), None, 6),
            ("signed short", Some(&block(8, &[6, 0])), None, 6),
            ("signed byte", Some(&block(6, &[6])), None, 6),
            ("float", Some(&block(11, &6_f32.to_le_bytes())), None, 6),
            ("rational", Some(&block(5, &[6, 0, 0, 0, 1, 0, 0, 0])), None, 6),
            ("bytes are no number, and hide XMP", Some(&block(1, &[6])), Some(ATTRIBUTE), 1),
            ("so does a text", Some(&block(2, b"6\0")), Some(ATTRIBUTE), 1),
            ("two values: the first", Some(&block(3, &[6, 0, 3, 0])), None, 6),
            ("a fraction", Some(&block(5, &[13, 0, 0, 0, 2, 0, 0, 0])), None, 1),
            ("0 hides XMP", Some(&block(3, &[0, 0])), Some(ATTRIBUTE), 1),
            ("1 hides XMP", Some(&block(3, &[1, 0])), Some(ATTRIBUTE), 1),
            ("9 is none", Some(&block(3, &[9, 0])), None, 1),
            ("a prefix", Some(&twice), None, 6),
            ("EXIF before XMP", Some(&short), Some(ATTRIBUTE), 6),
            ("no orientation in EXIF", Some(&other), Some(ATTRIBUTE), 8),
            ("an empty block", Some(PREFIX), Some(ATTRIBUTE), 8),
            ("a cut block", Some(&short[..8]), Some(ATTRIBUTE), 8),
            ("an unreadable block", Some(b"Exif\0\0garbage!"), Some(ATTRIBUTE), 1),
            ("attribute", None, Some(ATTRIBUTE), 8),
            ("element", None, Some("<tiff:Orientation>5</tiff:Orientation>"), 5),
            (
                "the first one with a digit",
                None,
                Some("tiff:Orientation= tiff:Orientation=\"x tiff:Orientation>3 tiff:Orientation>6"),
                3,
            ),
            ("single quotes are not read", None, Some("tiff:Orientation='6'"), 1),
        ];
        for (name, exif, xmp, expected) in cases {
            assert_eq!(turned(*exif, *xmp), *expected, "{name}");
        }
    }

    #[test]
    fn the_time_of_capture_is_read() {
        let zone = TimeZone::fixed(jiff::tz::offset(1));
        let captured = |date: &str, sub: Option<&str>, offset: Option<&str>| {
            let text = |text: &str| [text.as_bytes(), b"\0"].concat();
            let (date, sub, offset) = (text(date), sub.map(text), offset.map(text));
            let mut entries: Vec<(u16, u16, &[u8])> = vec![(DATE_TIME_ORIGINAL, 2, &date)];
            entries.extend(sub.iter().map(|sub| (SUB_SEC_TIME_ORIGINAL, 2, &sub[..])));
            entries.extend(offset.iter().map(|offset| (OFFSET_TIME_ORIGINAL, 2, &offset[..])));
            // The directory of the camera follows the first one, whose only entry is its place.
            let mut file = little(&[(EXIF_DIRECTORY, 4, &26_u32.to_le_bytes())]);
            assert_eq!(file.len(), 26);
            // The offsets in it count from the start of the file.
            let mut inner = little(&entries).split_off(8);
            for (entry, (_, _, value)) in entries.iter().enumerate() {
                let place = 2 + 12 * entry + 8;
                if value.len() > 4 {
                    let offset = u32::from_le_bytes(inner[place..place + 4].try_into().unwrap()) + 18;
                    inner[place..place + 4].copy_from_slice(&offset.to_le_bytes());
                }
            }
            file.append(&mut inner);
            let metadata = Metadata { exif: Some(file.into()), xmp: None };
            metadata.captured_at(&zone).map(|time| time.to_string())
        };
        let cases = [
            ("2026:11:23 08:15:30", None, None, Some("2026-11-23T07:15:30Z")),
            ("2026:11:23 08:15:30", Some("5"), None, Some("2026-11-23T07:15:30.5Z")),
            ("2026:11:23 08:15:30", Some("012345"), Some("+09:00"), Some("2026-11-22T23:15:30.012345Z")),
            ("2026:11:23 08:15:30", Some("x"), Some("-03:30"), Some("2026-11-23T11:45:30Z")),
            ("2026:11:23 08:15:30", None, Some("   :  "), Some("2026-11-23T07:15:30Z")),
            // Neither is an offset.
            ("2026:11:23 08:15:30", None, Some("+9999999:00"), Some("2026-11-23T07:15:30Z")),
            ("2026:11:23 08:15:30", None, Some("+09:-99"), Some("2026-11-23T07:15:30Z")),
            ("2026-11-23 08:15:30", None, Some("Z"), Some("2026-11-23T08:15:30Z")),
            ("0000:00:00 00:00:00", None, None, None),
            ("    :  :     :  :  ", None, None, None),
            ("2026:11:23", None, None, None),
            ("2026:13:23 08:15:30", None, None, None),
        ];
        for (date, sub, offset, expected) in cases {
            assert_eq!(captured(date, sub, offset).as_deref(), expected, "{date} {sub:?} {offset:?}");
        }
    }
}
