//! How much time has certainly passed for the alerts that wait: their age does not depend on the clock being right.
//!
//! A counter of milliseconds that is kept beside the alerts. Each alert has the counter of the moment in which it was raised; the
//! difference is its age. The counter advances with the time since the start of the machine, which no setting of the clock
//! changes. Only how long the machine was off is not known from that. It is added if a time server had set the clock before, and
//! has set it since; otherwise the time that the machine was off does not count, and alerts are kept for longer.
//!
//! Pure: the caller reads the clocks and keeps the counter on disk.

use crate::clock::Reading;

/// The counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Elapsed {
    /// Milliseconds since some fixed moment.
    pub total: i64,
    /// The clocks when it was advanced last.
    pub last: Reading,
    /// The machine was off since then, and for how long is not known yet.
    pub gap: Option<Gap>,
}

/// The clocks before the machine was off, when the time of day was right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gap {
    /// The time of day: milliseconds since 1970.
    pub wall: i64,
    /// The counter.
    pub total: i64,
}

impl Elapsed {
    /// A counter that begins now.
    pub fn new(now: Reading) -> Self {
        Self { total: 0, last: now, gap: None }
    }

    /// Advances to `now`.
    pub fn advance(&mut self, now: Reading) {
        match now.since(&self.last) {
            Some(passed) => self.add(passed),
            None => {
                if self.last.synchronised {
                    self.gap.get_or_insert(Gap { wall: self.last.wall, total: self.total });
                }
                self.add(now.up.max(0));
            }
        }
        if now.synchronised
            && let Some(gap) = self.gap.take()
        {
            let counted = self.total.saturating_sub(gap.total);
            self.add(now.wall.saturating_sub(gap.wall).saturating_sub(counted).max(0));
        }
        self.last = now;
    }

    fn add(&mut self, milliseconds: i64) {
        self.total = self.total.saturating_add(milliseconds);
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const HOUR: i64 = 3_600_000;
    const YEAR: i64 = 365 * 24 * HOUR;
    const NOON: i64 = 1_800_000_000_000;

    /// How far the counter advances over these readings: boot, hours since its start, time of day, whether that is known to be
    /// right.
    fn counted(readings: &[(u128, i64, i64, bool)]) -> i64 {
        let reading = |&(boot, up, wall, synchronised): &(u128, i64, i64, bool)| Reading {
            boot: Uuid::from_u128(boot),
            up: up * HOUR,
            wall,
            synchronised,
        };
        let mut elapsed = Elapsed::new(reading(&readings[0]));
        readings[1..].iter().for_each(|now| elapsed.advance(reading(now)));
        elapsed.total
    }

    #[test]
    fn a_table_of_clocks() {
        let at = |hours: i64| NOON + hours * HOUR;
        for (what, readings, hours) in [
            ("an hour", vec![(1, 5, at(0), true), (1, 6, at(1), true)], 1),
            ("the clock is a year ahead", vec![(1, 5, at(0), true), (1, 6, at(1) + YEAR, true)], 1),
            ("the clock is a year behind", vec![(1, 5, at(0), true), (1, 6, at(1) - YEAR, true)], 1),
            ("there and back", vec![(1, 5, at(0), true), (1, 6, YEAR, false), (1, 7, at(2), true)], 2),
            ("the machine slept for a day", vec![(1, 5, at(0), true), (1, 29, at(24), true)], 24),
            (
                "the machine was off for ten hours",
                vec![(1, 5, at(0), true), (2, 1, at(11), true), (2, 2, at(12), true)],
                12,
            ),
            (
                "the same, and the clock is set an hour after the start",
                vec![(1, 5, at(0), true), (2, 1, 0, false), (2, 2, at(12), true)],
                12,
            ),
            (
                "the same, and it is off twice before that",
                vec![(1, 5, at(0), true), (2, 1, 0, false), (3, 1, HOUR, false), (3, 2, at(12), true)],
                12,
            ),
            ("no clock after it was off", vec![(1, 5, at(0), true), (2, 1, at(0) + YEAR, false)], 1),
            ("no clock before it was off", vec![(1, 5, 0, false), (2, 1, at(0), true)], 1),
            (
                "the clock is behind after it was off",
                vec![(1, 5, at(0), true), (2, 1, at(0) - YEAR, true)],
                1,
            ),
        ] {
            assert_eq!(counted(&readings), hours * HOUR, "{what}");
        }
    }

    #[test]
    fn no_reading_makes_it_overflow() {
        let extremes = [i64::MIN, -1, 0, i64::MAX];
        for wall in extremes {
            for up in extremes {
                let reading =
                    |boot, up, wall| Reading { boot: Uuid::from_u128(boot), up, wall, synchronised: true };
                let mut elapsed = Elapsed { total: i64::MAX - 1, ..Elapsed::new(reading(1, up, wall)) };
                for other in extremes {
                    elapsed.advance(reading(2, other, wall));
                    elapsed.advance(reading(1, up, other));
                }
            }
        }
    }
}
