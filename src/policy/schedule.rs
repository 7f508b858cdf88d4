//! Weekly schedules, for the times when a label may be raised: `22:00-06:00`, `mon-fri 08:00-18:00`, `sat,sun`, with a time
//! zone if it is not the machine's. Pure once it is parsed.

use std::fmt;

use jiff::{Timestamp, ToSpan as _, civil::Time, civil::Weekday, tz::TimeZone};
use serde::{Deserialize, Serialize};

use crate::yaml::{mask, names};

/// Spans of time that repeat every week.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Schedule(Vec<Span>);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "StoredSpan", into = "StoredSpan")]
struct Span {
    /// Starting with Monday.
    days: [bool; 7],
    /// The start, a time of the day.
    from: Time,
    /// The end, exclusive; a time not later than `from` is on the next day.
    to: Time,
    zone: TimeZone,
}

/// A span as it is stored: the time zone by its name, so that the same span is read back whatever its name looks like.
#[derive(Serialize, Deserialize)]
struct StoredSpan {
    days: [bool; 7],
    /// Hour and minute.
    from: (i8, i8),
    to: (i8, i8),
    /// `None` is the time zone of the machine.
    zone: Option<String>,
}

impl From<Span> for StoredSpan {
    fn from(span: Span) -> Self {
        let Span { days, from, to, zone } = span;
        let minutes = |time: Time| (time.hour(), time.minute());
        Self { days, from: minutes(from), to: minutes(to), zone: zone.iana_name().map(str::to_owned) }
    }
}

impl TryFrom<StoredSpan> for Span {
    type Error = String;

    fn try_from(stored: StoredSpan) -> Result<Self, String> {
        let time = |(hour, minute)| Time::new(hour, minute, 0, 0).map_err(|error| error.to_string());
        let zone = stored.zone.map_or_else(|| Ok(TimeZone::system()), |name| zone_of(&name))?;
        Ok(Self { days: stored.days, from: time(stored.from)?, to: time(stored.to)?, zone })
    }
}

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
/// What is shown instead of the name of a time zone without one.
const NAMELESS: &str = "in the machine's time zone";
const FORM: &str = "write hours, days or both: `22:00-06:00`, `sat,sun`, `mon-fri 08:00-18:00`; a time zone is last: \
                    `22:00-06:00 Europe/Berlin`";

impl Schedule {
    /// Reads `mon-fri 08:00-18:00`. The error is the remedy.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        span(text).map(|span| Self(vec![span]))
    }

    /// The union of several schedules.
    pub(crate) fn union(all: Vec<Self>) -> Self {
        Self(all.into_iter().flat_map(|schedule| schedule.0).collect())
    }

    /// Its spans as they can be typed: with the time zone, unless that of the machine has no name.
    pub fn parts(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(|span| span.to_string().trim_end_matches(NAMELESS).trim_end().to_owned())
    }

    /// Whether `at` is inside one of the spans.
    #[must_use]
    pub fn holds(&self, at: Timestamp) -> bool {
        self.0.iter().any(|span| span.holds(at))
    }
}

/// As it could be typed, with the time zone.
impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, span) in self.0.iter().enumerate() {
            write!(f, "{}{span}", if number == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let every_day = !self.days.contains(&false);
        let all_day = self.from == self.to && self.from == Time::midnight();
        if !every_day {
            write!(f, "{} ", days_text(self.days))?;
        }
        if every_day || !all_day {
            let to = if self.to == Time::midnight() {
                "24:00".to_owned()
            } else {
                self.to.strftime("%H:%M").to_string()
            };
            write!(f, "{}-{to} ", self.from.strftime("%H:%M"))?;
        }
        f.write_str(self.zone.iana_name().unwrap_or(NAMELESS))
    }
}

impl Span {
    fn holds(&self, at: Timestamp) -> bool {
        let local = self.zone.to_datetime(at);
        let (time, today) = (local.time(), local.date().weekday());
        let on = |day: Weekday| self.days[usize::from(day.to_monday_zero_offset().unsigned_abs())];
        if self.from < self.to {
            return on(today) && (self.from..self.to).contains(&time);
        }
        // After midnight a span belongs to the day on which it started.
        let yesterday = local.date().checked_sub(1.day()).map(|date| date.weekday());
        (on(today) && time >= self.from) || (time < self.to && yesterday.is_ok_and(on))
    }
}

fn span(text: &str) -> Result<Span, String> {
    let (mut days, mut hours, mut zone) = (None, None, None);
    for word in text.split_whitespace() {
        if word.contains(':') && hours.is_none() && zone.is_none() {
            hours = Some(hours_of(word)?);
        } else if days.is_none() && hours.is_none() && zone.is_none() && !is_zone(word) {
            days = Some(days_of(word)?);
        } else if zone.is_none() {
            zone = Some(zone_of(word)?);
        } else {
            return Err(FORM.to_owned());
        }
    }
    if days.is_none() && hours.is_none() {
        return Err(FORM.to_owned());
    }
    let (from, to) = hours.unwrap_or((Time::midnight(), Time::midnight()));
    Ok(Span { days: days.unwrap_or([true; 7]), from, to, zone: zone.unwrap_or_else(TimeZone::system) })
}

fn is_zone(word: &str) -> bool {
    word.contains('/') || ["UTC", "GMT"].contains(&word)
}

/// `22:00-06:00`; `24:00` is the end of the day.
fn hours_of(word: &str) -> Result<(Time, Time), String> {
    let time = |text: &str| {
        let (hour, minute) = text.split_once(':')?;
        let number = |text: &str| (1..=2).contains(&text.len()).then(|| text.parse::<i8>().ok())?;
        match (number(hour)?, number(minute).filter(|_| minute.len() == 2)?) {
            (24, 0) => Some(Time::midnight()),
            (hour, minute) => Time::new(hour, minute, 0, 0).ok(),
        }
    };
    let (from, to) = word.split_once(['-', '–']).ok_or_else(|| FORM.to_owned())?;
    match (time(from), time(to)) {
        (Some(a), Some(b)) if a == b && from != "00:00" && from != "0:00" => {
            Err("it starts and ends at the same time: leave the hours out for the whole day".to_owned())
        }
        (Some(from), Some(to)) => Ok((from, to)),
        _ => Err("hours are from `00:00` to `24:00`: `22:00-06:00`".to_owned()),
    }
}

/// Days as they are typed: three or more in a row as `mon-fri`, others as `sat,sun`. Not for every day of the week.
fn days_text(days: [bool; 7]) -> String {
    let starts = (0..7).filter(|day| days[*day] && !days[(day + 6) % 7]);
    let runs = starts.map(|first| {
        let length = (0..7).take_while(|more| days[(first + more) % 7]).count();
        match length {
            1 => DAYS[first].to_owned(),
            2 => format!("{},{}", DAYS[first], DAYS[(first + 1) % 7]),
            _ => format!("{}-{}", DAYS[first], DAYS[(first + length - 1) % 7]),
        }
    });
    runs.collect::<Vec<_>>().join(",")
}

/// `mon-fri`, `sat,sun`, `daily`.
fn days_of(word: &str) -> Result<[bool; 7], String> {
    let word = word.to_lowercase();
    if ["daily", "every-day"].contains(&&*word) {
        return Ok([true; 7]);
    }
    let day = |text: &str| {
        // `monday` is the same as `mon`.
        let known = |day: &&str| text.len() >= 3 && format!("{}day", long(day)).starts_with(text);
        DAYS.iter().position(known).ok_or_else(|| match names::nearest(text, DAYS) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => FORM.to_owned(),
        })
    };
    let mut days = [false; 7];
    for part in word.split(',').filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (mut at, last) = (day(first)?, day(last)?);
        days[at] = true;
        while at != last {
            at = (at + 1) % 7;
            days[at] = true;
        }
    }
    if days.contains(&true) { Ok(days) } else { Err(FORM.to_owned()) }
}

/// The full name without `day`.
fn long(day: &str) -> &str {
    match day {
        "tue" => "tues",
        "wed" => "wednes",
        "thu" => "thurs",
        "sat" => "satur",
        day => day,
    }
}

fn zone_of(word: &str) -> Result<TimeZone, String> {
    TimeZone::get(word).map_err(|_| {
        format!("this machine knows no time zone `{}`: write one such as `Europe/Berlin`", mask::shown(word))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(text: &str, local: &str) -> bool {
        let schedule = Schedule::parse(text).unwrap();
        schedule.holds(local.parse().unwrap())
    }

    #[test]
    fn weekly_spans() {
        // 2026-11-23 is a Monday.
        let cases = [
            ("22:00-06:00 UTC", "2026-11-23T22:00:00Z", true),
            ("22:00-06:00 UTC", "2026-11-24T05:59:59Z", true),
            ("22:00-06:00 UTC", "2026-11-24T06:00:00Z", false),
            ("22:00-06:00 UTC", "2026-11-23T21:59:59Z", false),
            ("mon 22:00-06:00 UTC", "2026-11-24T03:00:00Z", true),
            ("mon 22:00-06:00 UTC", "2026-11-23T03:00:00Z", false),
            ("Monday-Friday 08:00-18:00 UTC", "2026-11-27T12:00:00Z", true),
            ("mon-fri 08:00-18:00 UTC", "2026-11-28T12:00:00Z", false),
            ("fri-mon UTC", "2026-11-23T12:00:00Z", true),
            ("fri-mon UTC", "2026-11-24T00:00:00Z", false),
            ("sat,sun UTC", "2026-11-29T23:59:59Z", true),
            ("daily 00:00-24:00 UTC", "2026-11-25T00:00:00Z", true),
            ("18:00-24:00 UTC", "2026-11-25T23:59:59Z", true),
            ("18:00-24:00 UTC", "2026-11-25T00:00:00Z", false),
            ("22:00-23:00 Europe/Berlin", "2026-11-23T21:30:00Z", true),
            ("22:00-23:00 Europe/Berlin", "2026-07-23T21:30:00Z", false),
        ];
        for (text, at, expected) in cases {
            assert_eq!(holds(text, at), expected, "{text} at {at}");
            let schedule = Schedule::parse(text).unwrap();
            assert_eq!(Schedule::parse(&schedule.to_string()), Ok(schedule.clone()), "{text}");
            assert_eq!(schedule.parts().collect::<Vec<_>>(), [schedule.to_string()], "{text}");
            let stored = serde_json::to_string(&schedule).unwrap();
            assert_eq!(serde_json::from_str::<Schedule>(&stored).unwrap(), schedule, "{stored}");
        }
        let shown = [
            ("Monday-Tuesday UTC", "mon,tue UTC"),
            ("mon,tue,wed,thu,fri 08:00-18:00 UTC", "mon-fri 08:00-18:00 UTC"),
            ("fri-mon UTC", "fri-mon UTC"),
            ("mon,wed-fri,sun UTC", "wed-fri,sun,mon UTC"),
            ("daily UTC", "00:00-24:00 UTC"),
        ];
        for (text, expected) in shown {
            assert_eq!(Schedule::parse(text).unwrap().to_string(), expected, "{text}");
        }
    }

    #[test]
    fn the_night_when_the_clocks_change() {
        // Central Europe goes back from 3:00 to 2:00 on 2026-10-25: 2:30 occurs twice, and both count.
        for at in ["2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z"] {
            assert!(holds("02:00-03:00 Europe/Berlin", at), "{at}");
        }
    }

    #[test]
    fn invalid_spans_have_a_remedy() {
        let cases = [
            ("22-6", "write hours"),
            ("25:00-26:00", "from `00:00` to `24:00`"),
            ("22:00-6", "from `00:00` to `24:00`"),
            ("08:00-08:00", "same time"),
            ("mno 08:00-09:00", "did you mean `mon`?"),
            ("08:00-09:00 Mars/Base", "no time zone `Mars/Base`"),
            ("night", "write hours"),
            ("UTC", "write hours"),
            (",", "write hours"),
            ("", "write hours"),
        ];
        for (text, words) in cases {
            let remedy = Schedule::parse(text).unwrap_err();
            assert!(remedy.contains(words), "{text}: {remedy}");
        }
    }
}
