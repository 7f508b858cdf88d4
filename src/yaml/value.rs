//! Reads and writes the values that a text can hold: numbers, durations, sizes. Pure; an error is the remedy.

use std::{fmt::Write, time::Duration};

/// Each unit of a duration in milliseconds, the largest first.
const DURATION_UNITS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];
/// Each unit of a size in bytes.
const SIZE_UNITS: [(&str, u64); 6] = [
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
];
/// The longest duration that is accepted: more than a year is a typing mistake.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// A finite number. Rust's own parser also accepts `inf` and `nan`, which YAML does not.
pub fn number(text: &str) -> Option<f64> {
    let starts = text.trim_start_matches(['+', '-']).starts_with(|c: char| c.is_ascii_digit() || c == '.');
    text.replace('_', "").parse::<f64>().ok().filter(|number| starts && number.is_finite())
}

/// A whole number; `_` may group its digits.
pub fn whole(text: &str) -> Option<u64> {
    text.starts_with(|c: char| c.is_ascii_digit()).then(|| text.replace('_', "").parse().ok())?
}

/// The number from 0 to 1 that `text` probably means: `70`, `70 %` and `0,7` are 0.7.
pub fn fraction_meant(text: &str) -> Option<String> {
    let percent = text.strip_suffix('%').map(str::trim_end);
    let value = number(&percent.unwrap_or(text).replace(',', "."))?;
    let meant = if percent.is_some() || value >= 2.0 { value / 100.0 } else { value };
    (meant > 0.0 && meant <= 1.0).then(|| format!("did you mean `{meant}`?"))
}

/// `500ms`, `5s`, `1m30s`, `2h`, `1d`.
pub fn duration(text: &str) -> Result<Duration, String> {
    const FORM: &str = "write a whole number with a unit, ms, s, m, h or d: `500ms`, `5s`, `1m30s`";
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    if whole(text).is_some() {
        return Err(format!("a duration needs a unit: `{text}s` for seconds, `{text}m` for minutes"));
    }
    let (mut rest, mut total, mut last_unit) = (text, 0_u64, u64::MAX);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let unit = rest[digits..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |at| digits + at);
        let (_, factor) = *DURATION_UNITS
            .iter()
            .find(|(name, _)| *name == &rest[digits..unit])
            .ok_or_else(|| FORM.to_owned())?;
        if factor >= last_unit {
            return Err("start with the largest unit, and use each unit once: `1h30m`".to_owned());
        }
        let Ok(count) = rest[..digits].parse::<u64>() else { return Err(FORM.to_owned()) };
        total = total.saturating_add(count.saturating_mul(factor));
        (rest, last_unit) = (&rest[unit..], factor);
    }
    let total = Duration::from_millis(total);
    if text.is_empty() {
        Err(FORM.to_owned())
    } else if total > LONGEST {
        Err("at most 365d".to_owned())
    } else {
        Ok(total)
    }
}

/// A duration as it is typed: `1h30m`, `500ms`, `0s`.
pub fn duration_text(duration: Duration) -> String {
    let (mut text, mut rest) = (String::new(), duration.as_millis());
    for (unit, length) in DURATION_UNITS {
        let length = u128::from(length);
        if rest >= length {
            // Writing to a string cannot fail.
            let _ = write!(text, "{}{unit}", rest / length);
            rest %= length;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

/// `512KB`, `100MB`, `1GB`, `64MiB`, or bytes.
pub fn size(text: &str) -> Result<u64, String> {
    let number =
        |(unit, factor): &(&str, u64)| whole(text.strip_suffix(unit)?.trim_end())?.checked_mul(*factor);
    let bytes = SIZE_UNITS.iter().chain(&[("", 1)]).find_map(number);
    bytes.ok_or_else(|| "write a whole number with a unit, KB, MB or GB: `500MB`".to_owned())
}

/// A size as it is typed, in the largest unit that leaves a whole number: `100MB`, `8MiB`, `1023`.
pub fn size_text(bytes: u64) -> String {
    let mut units = SIZE_UNITS.iter().filter(|(_, unit)| bytes >= *unit && bytes.is_multiple_of(*unit));
    units.next().map_or(bytes.to_string(), |(name, unit)| format!("{}{name}", bytes / unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        let cases = [
            ("0.7", Some(0.7)),
            (".7", Some(0.7)),
            ("1", Some(1.0)),
            ("1e-3", Some(0.001)),
            ("-0.5", Some(-0.5)),
            ("nan", None),
            (".nan", None),
            (".inf", None),
            ("infinity", None),
            ("1e999", None),
            ("0,7", None),
            ("", None),
            ("-", None),
        ];
        for (text, expected) in cases {
            assert_eq!(number(text), expected, "{text}");
        }
        assert_eq!(whole("100_000"), Some(100_000));
        assert_eq!([whole("-1"), whole("+1"), whole("1.0"), whole("_1"), whole("")], [None; 5]);
    }

    #[test]
    fn a_fraction_in_another_form_is_recognised() {
        assert_eq!(fraction_meant("70").unwrap(), "did you mean `0.7`?");
        assert_eq!(fraction_meant("70 %").unwrap(), "did you mean `0.7`?");
        assert_eq!(fraction_meant("0,7").unwrap(), "did you mean `0.7`?");
        assert_eq!(["lots", "700", "1.5", "-1"].map(fraction_meant), [None, None, None, None]);
    }

    #[test]
    fn durations() {
        let cases = [
            ("0", Some(0)),
            ("0s", Some(0)),
            ("500ms", Some(500)),
            ("5s", Some(5000)),
            ("1m30s", Some(90_000)),
            ("1h", Some(3_600_000)),
            ("2d12h", Some(216_000_000)),
            ("365d", Some(31_536_000_000)),
            ("366d", None),
            ("99999999999999999999d", None),
            ("5", None),
            ("", None),
            ("m", None),
            ("5 m", None),
            ("5min", None),
            ("1.5h", None),
            ("30s1m", None),
            ("1s1s", None),
            ("-5s", None),
            ("５s", None),
        ];
        for (text, milliseconds) in cases {
            assert_eq!(duration(text).ok(), milliseconds.map(Duration::from_millis), "{text}");
        }
        for (milliseconds, text) in
            [(0, "0s"), (500, "500ms"), (5_400_000, "1h30m"), (61_001, "1m1s1ms"), (86_400_000, "1d")]
        {
            assert_eq!(duration_text(Duration::from_millis(milliseconds)), text);
        }
    }

    #[test]
    fn sizes() {
        let cases = [
            ("0", Some(0)),
            ("1_000", Some(1000)),
            ("512KB", Some(512_000)),
            ("64 MiB", Some(64 << 20)),
            ("1GB", Some(1_000_000_000)),
            ("2GiB", Some(2 << 30)),
            ("", None),
            ("MB", None),
            ("-1MB", None),
            ("1.5GB", None),
            ("1TB", None),
            ("99999999999999GB", None),
        ];
        for (text, bytes) in cases {
            assert_eq!(size(text).ok(), bytes, "{text}");
        }
        for (bytes, text) in
            [(1_000_000_000, "1GB"), (8 << 20, "8MiB"), (1_500_000, "1500KB"), (1023, "1023"), (0, "0")]
        {
            assert_eq!(size_text(bytes), text);
        }
    }
}
