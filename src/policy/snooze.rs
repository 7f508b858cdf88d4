//! Snoozes as people write them: `1h`, `until 07:00`, `off`. Pure once it is parsed: the caller passes the time and the time zone.

use std::{fmt, time::Duration};

use jiff::{Timestamp, civil::Time, tz::TimeZone};

use crate::yaml::value::{duration, duration_text};

/// The shortest and the longest snooze.
pub const SNOOZES: [Duration; 2] = [Duration::from_secs(60), Duration::from_secs(31 * 24 * 3600)];

const FORM: &str = "write how long, such as `1h`, or `until 07:00`, or `off`";

/// For how long labels are to be snoozed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Snooze {
    /// Not any longer.
    Off,
    /// For this time.
    For(Duration),
    /// Until this time of the day comes next.
    Until(Time),
}

impl Snooze {
    /// Reads `1h`, `until 07:00` or `off`. The error is the remedy.
    ///
    /// # Errors
    /// It is none of these, or too short or too long.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let lower = text.to_lowercase();
        if lower == "off" {
            return Ok(Self::Off);
        }
        if let Some(time) = lower.strip_prefix("until").filter(|rest| rest.starts_with(char::is_whitespace)) {
            return time_of_day(time.trim()).map(Self::Until);
        }
        if time_of_day(&lower).is_ok() {
            return Err(format!("did you mean `until {lower}`?"));
        }
        if !text.starts_with(|first: char| first.is_ascii_digit()) {
            return Err(FORM.to_owned());
        }
        let length = duration(text)?;
        let [shortest, longest] = SNOOZES;
        if length < shortest || length > longest {
            let [shortest, longest] = SNOOZES.map(duration_text);
            return Err(format!("write a time from {shortest} to {longest}, or `off`"));
        }
        Ok(Self::For(length))
    }

    /// When a snooze that begins at `now` ends; `None`: there is none.
    #[must_use]
    pub fn end(self, now: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        match self {
            Self::Off => None,
            // A month is not past the end of time.
            Self::For(length) => Some(now.checked_add(length).unwrap_or(Timestamp::MAX)),
            Self::Until(time) => next(time, now, zone),
        }
    }
}

/// As it can be typed.
impl fmt::Display for Snooze {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::For(length) => f.write_str(&duration_text(*length)),
            Self::Until(time) => write!(f, "until {}", time.strftime("%H:%M")),
        }
    }
}

/// The next time after `now` at which clocks in the zone show `time`. Where the clocks are moved forward over it, the first time
/// after that.
fn next(time: Time, now: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
    let today = zone.to_datetime(now).date();
    let tomorrow = today.tomorrow().ok()?;
    let mut ends =
        [today, tomorrow].into_iter().filter_map(|day| zone.to_timestamp(day.to_datetime(time)).ok());
    ends.find(|end| *end > now)
}

/// `07:00`, `7:05`.
fn time_of_day(text: &str) -> Result<Time, String> {
    let number = |text: &str| {
        let is_number = (1..=2).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| text.parse::<i8>().ok())?
    };
    let time = text.split_once(':').filter(|(_, minute)| minute.len() == 2).and_then(|(hour, minute)| {
        let hour = number(hour)?;
        // The end of the day is the beginning of the next one.
        Time::new(if text == "24:00" { 0 } else { hour }, number(minute)?, 0, 0).ok()
    });
    time.ok_or_else(|| "write a time from `00:00` to `24:00`: `until 07:00`".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_of_texts() {
        for (text, expected) in [
            ("off", Ok("off")),
            (" OFF ", Ok("off")),
            ("15m", Ok("15m")),
            ("90m", Ok("1h30m")),
            ("31d", Ok("31d")),
            ("until 07:00", Ok("until 07:00")),
            ("Until  7:05", Ok("until 07:05")),
            ("until 24:00", Ok("until 00:00")),
            ("07:00", Err("did you mean `until 07:00`?")),
            ("until 25:00", Err("write a time from `00:00` to `24:00`: `until 07:00`")),
            ("until 7", Err("write a time from `00:00` to `24:00`: `until 07:00`")),
            ("until +7:00", Err("write a time from `00:00` to `24:00`: `until 07:00`")),
            ("untilnoon", Err(FORM)),
            ("59s", Err("write a time from 1m to 31d, or `off`")),
            ("32d", Err("write a time from 1m to 31d, or `off`")),
            ("0", Err("write a time from 1m to 31d, or `off`")),
            ("5", Err("a duration needs a unit: `5s` for seconds, `5m` for minutes")),
            ("", Err(FORM)),
            ("for ever", Err(FORM)),
        ] {
            let read = Snooze::parse(text).map(|snooze| snooze.to_string());
            assert_eq!(read.as_deref().map_err(|error| &**error), expected, "{text}");
        }
    }

    #[test]
    fn a_table_of_ends() {
        let berlin = TimeZone::get("Europe/Berlin").unwrap();
        for (now, text, end) in [
            ("2026-11-27T21:30:00Z", "1h", Some("2026-11-27T22:30:00Z")),
            ("2026-11-27T21:30:00Z", "off", None),
            ("2026-11-27T21:30:00Z", "until 07:00", Some("2026-11-28T06:00:00Z")),
            ("2026-11-27T05:59:59Z", "until 07:00", Some("2026-11-27T06:00:00Z")),
            ("2026-11-27T06:00:00Z", "until 07:00", Some("2026-11-28T06:00:00Z")),
            // In the night in which the clocks are moved forward there is no 02:30.
            ("2027-03-27T22:00:00Z", "until 02:30", Some("2027-03-28T01:30:00Z")),
            ("2026-10-24T21:00:00Z", "until 07:00", Some("2026-10-25T06:00:00Z")),
        ] {
            let ends = Snooze::parse(text).unwrap().end(now.parse().unwrap(), &berlin);
            assert_eq!(ends, end.map(|end| end.parse().unwrap()), "{now} {text}");
        }
    }
}
