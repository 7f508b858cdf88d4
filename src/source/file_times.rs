//! Reads the time in a file's name, in the forms that cameras and recorders write. Pure.

use jiff::{Timestamp, civil::DateTime, tz::TimeZone};

/// Separators between two numbers of a time.
const SEPARATORS: &[u8] = b"-_:.,T ";

/// The first date with a time of day in `name`: `2026-11-23_08-15-30`, `20261123T081530Z`, `door 20261123081530.500`.
/// Cameras write local time, so it is read in `zone` unless a `Z` follows.
#[must_use]
pub fn in_name(name: &str, zone: &TimeZone) -> Option<Timestamp> {
    let bytes = name.as_bytes();
    let begins = |at: usize| bytes[at].is_ascii_digit() && (at == 0 || !bytes[at - 1].is_ascii_digit());
    (0..bytes.len()).filter(|at| begins(*at)).find_map(|at| read(&bytes[at..], zone))
}

fn read(bytes: &[u8], zone: &TimeZone) -> Option<Timestamp> {
    let (year, rest) = number(bytes, 4)?;
    let (month, rest) = number(after(rest), 2)?;
    let (day, rest) = number(after(rest), 2)?;
    let (hour, rest) = number(after(rest), 2)?;
    let (minute, rest) = number(after(rest), 2)?;
    let (second, rest) = number(after(rest), 2)?;
    // Milliseconds follow a point, unless the point starts the extension.
    let (millisecond, rest) = match rest {
        [b'.', digits @ ..] if number(digits, 3).is_some_and(|(_, rest)| !starts_with_digit(rest)) => {
            number(digits, 3)?
        }
        _ => (0, rest),
    };
    if starts_with_digit(rest) || !(1990..2200).contains(&year) {
        return None;
    }
    let small = |value: i16| i8::try_from(value).ok();
    let nanosecond = i32::from(millisecond) * 1_000_000;
    let time = DateTime::new(
        year,
        small(month)?,
        small(day)?,
        small(hour)?,
        small(minute)?,
        small(second)?,
        nanosecond,
    )
    .ok()?;
    let utc = matches!(rest, [b'Z', after @ ..] if !after.first().is_some_and(u8::is_ascii_alphanumeric));
    let zone = if utc { &TimeZone::UTC } else { zone };
    zone.to_timestamp(time).ok()
}

/// A number with this number of digits, and the bytes after it.
fn number(bytes: &[u8], digits: usize) -> Option<(i16, &[u8])> {
    let (digits, rest) = bytes.split_at_checked(digits)?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some((std::str::from_utf8(digits).ok()?.parse().ok()?, rest))
}

/// The bytes after a separator, if there is one.
fn after(bytes: &[u8]) -> &[u8] {
    match bytes {
        [first, rest @ ..] if SEPARATORS.contains(first) => rest,
        _ => bytes,
    }
}

fn starts_with_digit(bytes: &[u8]) -> bool {
    bytes.first().is_some_and(u8::is_ascii_digit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_from_names() {
        let cases = [
            ("2026-11-23_08-15-30.jpg", Some("2026-11-23T07:15:30Z")),
            ("front_20261123_081530.mp4", Some("2026-11-23T07:15:30Z")),
            ("20261123T081530Z.jpg", Some("2026-11-23T08:15:30Z")),
            ("cam1-20261123081530.500.jpg", Some("2026-11-23T07:15:30.5Z")),
            ("2026-11-23 08:15:30_001.jpg", Some("2026-11-23T07:15:30Z")),
            ("12_20261123-081530_x.png", Some("2026-11-23T07:15:30Z")),
            ("2026-11-23T08:15:30Zoo.jpg", Some("2026-11-23T07:15:30Z")),
            ("20261323_081530.jpg", None),
            ("20261123_256000.jpg", None),
            ("120261123081530.jpg", None),
            ("202611230815301.jpg", None),
            ("00010203040506.jpg", None),
            ("2026-11-23.jpg", None),
            ("a.jpg", None),
            ("", None),
            ("猫20261123081530.jpg", Some("2026-11-23T07:15:30Z")),
        ];
        let zone = TimeZone::fixed(jiff::tz::offset(1));
        for (name, expected) in cases {
            let expected = expected.map(|time| time.parse::<Timestamp>().unwrap());
            assert_eq!(in_name(name, &zone), expected, "{name}");
        }
    }
}
