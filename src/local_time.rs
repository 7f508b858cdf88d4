//! Times for people: everywhere in the local time zone, with the zone.

use jiff::{Timestamp, tz::TimeZone};

/// A date and a time in the zone, to the second, with its distance from UTC: `2026-11-23 09:15:30 +01:00`.
///
/// ```
/// use jiff::tz::TimeZone;
/// let time = "2026-11-23T08:15:30.125Z".parse().unwrap();
/// assert_eq!(stakeout::local_time::in_zone(time, &TimeZone::UTC), "2026-11-23 08:15:30 +00:00");
/// ```
#[must_use]
pub fn in_zone(time: Timestamp, zone: &TimeZone) -> String {
    time.to_zoned_datetime(zone.clone()).strftime("%Y-%m-%d %H:%M:%S %:z").to_string()
}

/// The same for the machine's zone.
#[must_use]
pub fn local(time: Timestamp) -> String {
    in_zone(time, &TimeZone::system())
}

/// A time for a line of the log, to the microsecond, in the machine's zone: `2026-11-23T09:15:30.125000+01:00`.
#[must_use]
pub fn of_log(time: Timestamp) -> String {
    time.to_zoned_datetime(TimeZone::system()).strftime("%Y-%m-%dT%H:%M:%S%.6f%:z").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_their_zone() {
        let zone = TimeZone::fixed(jiff::tz::offset(2));
        let time = "2026-11-23T23:15:30.999Z".parse().unwrap();
        assert_eq!(in_zone(time, &zone), "2026-11-24 01:15:30 +02:00");
        let log = of_log(time);
        assert_eq!(log.parse::<Timestamp>().unwrap(), time, "{log}");
    }
}
