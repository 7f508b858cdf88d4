//! Values out of the text of a scalar: numbers, durations, sizes. Pure; an error is the remedy.

use std::time::Duration;

/// The longest duration that is accepted: beyond a year somebody mistyped.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// A finite number. Rust's own reading is wider than YAML's: no `inf`, no `nan`.
pub(crate) fn number(text: &str) -> Option<f64> {
    let starts = text.trim_start_matches(['+', '-']).starts_with(|c: char| c.is_ascii_digit() || c == '.');
    text.replace('_', "").parse::<f64>().ok().filter(|number| starts && number.is_finite())
}

/// A whole number; `_` may group its digits.
pub(crate) fn whole(text: &str) -> Option<u64> {
    text.starts_with(|c: char| c.is_ascii_digit()).then(|| text.replace('_', "").parse().ok())?
}

/// What somebody may have meant who typed `text` where a number from 0 to 1 is expected.
pub(crate) fn fraction_meant(text: &str) -> Option<String> {
    let percent = text.strip_suffix('%').map(str::trim_end);
    let value = number(&percent.unwrap_or(text).replace(',', "."))?;
    let meant = if percent.is_some() || value >= 2.0 { value / 100.0 } else { value };
    (meant > 0.0 && meant <= 1.0).then(|| format!("did you mean `{meant}`?"))
}

/// `500ms`, `5s`, `1m30s`, `2h`, `1d`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    const UNITS: [(&str, u64); 5] =
        [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
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
        let (_, factor) =
            *UNITS.iter().find(|(name, _)| *name == &rest[digits..unit]).ok_or_else(|| FORM.to_owned())?;
        if factor >= last_unit {
            return Err("begin with the largest unit, and name each once: `1h30m`".to_owned());
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

/// `512KB`, `100MB`, `1GB`, `64MiB`, or bytes.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    const UNITS: [(&str, u64); 7] = [
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
        ("KB", 1_000),
        ("MB", 1_000_000),
        ("GB", 1_000_000_000),
        ("", 1),
    ];
    let number =
        |(unit, factor): &(&str, u64)| whole(text.strip_suffix(unit)?.trim_end())?.checked_mul(*factor);
    UNITS
        .iter()
        .find_map(number)
        .ok_or_else(|| "write a whole number with a unit, KB, MB or GB: `500MB`".to_owned())
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
    fn what_was_meant_by_a_fraction() {
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
    }
}
