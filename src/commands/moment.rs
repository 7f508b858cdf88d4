//! Reads the moments that people type after options such as `--since`, `--until` and `--at`.

use jiff::{
    SignedDuration, Timestamp, ToSpan as _,
    civil::{Date, DateTime, Time},
    tz::TimeZone,
};

use crate::yaml::value;

/// The forms of a moment, for `--help`.
pub(super) const FORMS: &str = "TIME|AGO";

/// A moment in the machine's time zone, as the parser of an option. It is the start of the second or minute that was typed.
pub(super) fn parse(text: &str) -> Result<Timestamp, String> {
    read(text.trim(), Timestamp::now(), &TimeZone::system())
}

/// The moment that `text` means at `now` in `zone`. The error is the remedy.
fn read(text: &str, now: Timestamp, zone: &TimeZone) -> Result<Timestamp, String> {
    let local = |time: DateTime| zone.to_timestamp(time).ok();
    let today = now.to_zoned_datetime(zone.clone()).date();
    let found = match text {
        "now" => Some(now),
        "today" => local(today.to_datetime(Time::midnight())),
        "yesterday" => today.yesterday().ok().and_then(|day| local(day.to_datetime(Time::midnight()))),
        _ => ago(text, now)
            .or_else(|| with_offset(text))
            // A day is its midnight.
            .or_else(|| text.parse::<DateTime>().ok().and_then(local))
            .or_else(|| newest_at(text.parse().ok()?, today, now, local)),
    };
    found.ok_or_else(|| {
        "write how long ago (`90m`, `7d`), a time of today (`08:15`), a day (`2026-11-23`), or both \
         (`2026-11-23 08:15:30`); local time, unless it ends in an offset (`+01:00`) or `Z`"
            .to_owned()
    })
}

/// `7d`: seven days before `now`.
fn ago(text: &str, now: Timestamp) -> Option<Timestamp> {
    let ago = SignedDuration::try_from(value::duration(text).ok()?).ok()?;
    now.checked_sub(ago).ok()
}

/// RFC 3339, and times as the commands print them: `2026-11-23 09:15:30 +01:00`.
fn with_offset(text: &str) -> Option<Timestamp> {
    text.parse().ok().or_else(|| Timestamp::strptime("%Y-%m-%d %H:%M:%S %:z", text).ok())
}

/// The newest moment with this time of the day that is not in the future.
fn newest_at(
    time: Time,
    today: Date,
    now: Timestamp,
    local: impl Fn(DateTime) -> Option<Timestamp>,
) -> Option<Timestamp> {
    let days = [today, today.checked_sub(1.day()).ok()?];
    days.into_iter().filter_map(|day| local(day.to_datetime(time))).find(|moment| *moment <= now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_in_every_form_that_people_type() {
        let zone = TimeZone::fixed(jiff::tz::offset(1));
        let now = "2026-11-23T08:15:30.5Z".parse().unwrap();
        let cases = [
            ("now", "2026-11-23T08:15:30.5Z"),
            ("90m", "2026-11-23T06:45:30.5Z"),
            ("7d", "2026-11-16T08:15:30.5Z"),
            ("today", "2026-11-22T23:00:00Z"),
            ("yesterday", "2026-11-21T23:00:00Z"),
            ("2026-11-20", "2026-11-19T23:00:00Z"),
            ("2026-11-20 07:05", "2026-11-20T06:05:00Z"),
            ("2026-11-20T07:05:09", "2026-11-20T06:05:09Z"),
            ("2026-11-20T07:05:09.25Z", "2026-11-20T07:05:09.25Z"),
            ("2026-11-20T07:05:09+02:00", "2026-11-20T05:05:09Z"),
            ("2026-11-23 09:15:30 +01:00", "2026-11-23T08:15:30Z"),
            ("08:15", "2026-11-23T07:15:00Z"),
            ("09:15:30", "2026-11-23T08:15:30Z"),
            // Today it has not been that late yet.
            ("22:10", "2026-11-22T21:10:00Z"),
        ];
        for (text, expected) in cases {
            assert_eq!(read(text, now, &zone), Ok(expected.parse().unwrap()), "{text}");
        }
        for wrong in ["", "soon", "7", "7 weeks", "25:00", "2026-13-01", "-5m", "2026-11-20 07:05 CET"] {
            let error = read(wrong, now, &zone).unwrap_err();
            assert!(error.contains("`7d`"), "{wrong}: {error}");
        }
    }
}
