//! Decides which of many similar lines are written: each kind has an allowance, which a burst uses up and which refills
//! slowly (a token bucket). Pure: the caller passes the time. The number of kinds is bounded.

use std::{collections::HashMap, hash::Hash, time::Duration};

/// Lines of a kind that are written at once.
pub(super) const BURST: u32 = 50;
/// After a burst, one line is written per interval.
const REFILL: Duration = Duration::from_secs(5);
/// The most kinds that are remembered. Kinds with a full allowance need not be.
const KINDS: usize = 4096;

/// The allowances of all kinds of lines.
#[derive(Debug)]
pub(super) struct Allowances<K> {
    kinds: HashMap<K, Allowance>,
}

#[derive(Debug)]
struct Allowance {
    left: u32,
    /// When there were `left` lines; the allowance has grown since.
    since: Duration,
    suppressed: u64,
    /// The text of the first suppressed line.
    like: String,
}

impl<K> Default for Allowances<K> {
    fn default() -> Self {
        Self { kinds: HashMap::new() }
    }
}

impl<K: Eq + Hash> Allowances<K> {
    /// Whether a line of this kind is to be written. A suppressed line is counted; `like` gives the text of the first one.
    pub(super) fn admit(&mut self, kind: K, now: Duration, like: impl FnOnce() -> String) -> bool {
        if self.kinds.len() >= KINDS && !self.kinds.contains_key(&kind) {
            self.kinds.retain(|_, allowance| allowance.suppressed > 0 || allowance.at(now).0 < BURST);
            if self.kinds.len() >= KINDS {
                // Better one line too many than a kind that is never seen.
                return true;
            }
        }
        let allowance = self.kinds.entry(kind).or_insert(Allowance {
            left: BURST,
            since: now,
            suppressed: 0,
            like: String::new(),
        });
        (allowance.left, allowance.since) = allowance.at(now);
        if allowance.left > 0 {
            allowance.left -= 1;
            return true;
        }
        if allowance.suppressed == 0 {
            allowance.like = like();
        }
        allowance.suppressed += 1;
        false
    }

    /// Whether lines were suppressed since the last report.
    pub(super) fn any_suppressed(&self) -> bool {
        self.kinds.values().any(|allowance| allowance.suppressed > 0)
    }

    /// For each kind, the number of lines suppressed since the last call, and the text of the first of them.
    pub(super) fn take_suppressed(&mut self) -> Vec<(&K, u64, String)> {
        let kinds = self.kinds.iter_mut().filter(|(_, allowance)| allowance.suppressed > 0);
        kinds
            .map(|(kind, allowance)| {
                (kind, std::mem::take(&mut allowance.suppressed), std::mem::take(&mut allowance.like))
            })
            .collect()
    }
}

impl Allowance {
    /// The lines left at `now`, and since when.
    fn at(&self, now: Duration) -> (u32, Duration) {
        let grown = now.saturating_sub(self.since).as_nanos() / REFILL.as_nanos();
        let left = u32::try_from(grown).unwrap_or(BURST).saturating_add(self.left);
        if left >= BURST {
            return (BURST, now);
        }
        (left, self.since + REFILL * (left - self.left))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIKE: fn() -> String = || "like this".to_owned();

    #[test]
    fn a_burst_is_written_and_then_a_line_now_and_then() {
        let mut allowances = Allowances::default();
        let written = |allowances: &mut Allowances<&str>, kind, second: u64, lines: u32| {
            (0..lines).filter(|_| allowances.admit(kind, Duration::from_secs(second), LIKE)).count()
        };
        for (name, kind, second, lines, expected) in [
            ("a few", "a", 0, 10, 10),
            ("the rest of the burst", "a", 1, 1000, 40),
            ("another kind has its own", "b", 1, 60, 50),
            ("nothing yet", "a", 4, 10, 0),
            ("one more", "a", 5, 10, 1),
            ("not two", "a", 9, 10, 0),
            ("three intervals later", "a", 20, 10, 3),
            ("all of it again, and not more", "a", 100_000, 1000, 50),
        ] {
            assert_eq!(written(&mut allowances, kind, second, lines), expected, "{name}");
        }
        let mut suppressed = allowances.take_suppressed();
        suppressed.sort();
        let like = LIKE();
        assert_eq!(suppressed, [(&"a", 960 + 10 + 9 + 10 + 7 + 950, like.clone()), (&"b", 10, like)]);
        assert!(allowances.take_suppressed().is_empty() && !allowances.any_suppressed(), "reported once");
    }

    #[test]
    fn the_number_of_kinds_is_bounded_and_no_count_is_lost() {
        let mut allowances = Allowances::default();
        for _ in 0..=BURST {
            allowances.admit(usize::MAX, Duration::ZERO, LIKE);
        }
        for kind in 0..3 * KINDS {
            assert!(allowances.admit(kind, Duration::from_secs(10 * kind as u64), LIKE));
        }
        assert!(allowances.kinds.len() <= KINDS);
        for kind in 0..3 * KINDS {
            assert!(allowances.admit(kind, Duration::from_secs(1_000_000), LIKE), "all of them at once");
        }
        assert!(allowances.kinds.len() <= KINDS);
        assert_eq!(allowances.take_suppressed(), [(&usize::MAX, 1, LIKE())]);
    }
}
