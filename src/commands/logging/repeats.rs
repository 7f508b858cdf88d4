//! Which of many similar lines are written: each kind has a supply that a burst uses up and that fills again slowly.
//!
//! Pure: the caller brings the clock. It refuses to know what a line says, and to hold more kinds than it can bear.

use std::{collections::HashMap, hash::Hash, time::Duration};

/// So many lines of a kind are written at once.
pub(super) const BURST: u32 = 50;
/// After that one in each such interval.
const REFILL: Duration = Duration::from_secs(5);
/// So many kinds are told apart. Those that have their whole supply need not be remembered.
const KINDS: usize = 4096;

/// The supplies of all kinds.
#[derive(Debug)]
pub(super) struct Repeats<K> {
    kinds: HashMap<K, Supply>,
}

#[derive(Debug)]
struct Supply {
    left: u32,
    /// When the supply was as large as `left`; it has grown since.
    then: Duration,
    held_back: u64,
    /// What the first line that was held back said.
    like: String,
}

impl<K> Default for Repeats<K> {
    fn default() -> Self {
        Self { kinds: HashMap::new() }
    }
}

impl<K: Eq + Hash> Repeats<K> {
    /// Whether a line of this kind is written. If it is not it is counted, and `like` is asked what it says if it is the
    /// first.
    pub(super) fn admit(&mut self, kind: K, now: Duration, like: impl FnOnce() -> String) -> bool {
        if self.kinds.len() >= KINDS && !self.kinds.contains_key(&kind) {
            self.kinds.retain(|_, supply| supply.held_back > 0 || supply.at(now).0 < BURST);
            if self.kinds.len() >= KINDS {
                // Rather a line too many than one of a kind that nobody has heard of.
                return true;
            }
        }
        let supply = self.kinds.entry(kind).or_insert(Supply {
            left: BURST,
            then: now,
            held_back: 0,
            like: String::new(),
        });
        (supply.left, supply.then) = supply.at(now);
        if supply.left > 0 {
            supply.left -= 1;
            return true;
        }
        if supply.held_back == 0 {
            supply.like = like();
        }
        supply.held_back += 1;
        false
    }

    /// Whether there is something to tell.
    pub(super) fn any_held_back(&self) -> bool {
        self.kinds.values().any(|supply| supply.held_back > 0)
    }

    /// How many lines of each kind were held back since this was asked last, and what the first of them said.
    pub(super) fn held_back(&mut self) -> Vec<(&K, u64, String)> {
        let kinds = self.kinds.iter_mut().filter(|(_, supply)| supply.held_back > 0);
        kinds
            .map(|(kind, supply)| {
                (kind, std::mem::take(&mut supply.held_back), std::mem::take(&mut supply.like))
            })
            .collect()
    }
}

impl Supply {
    /// What is there at `now`, and since when.
    fn at(&self, now: Duration) -> (u32, Duration) {
        let grown = now.saturating_sub(self.then).as_nanos() / REFILL.as_nanos();
        let left = u32::try_from(grown).unwrap_or(BURST).saturating_add(self.left);
        if left >= BURST {
            return (BURST, now);
        }
        (left, self.then + REFILL * (left - self.left))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIKE: fn() -> String = || "like this".to_owned();

    #[test]
    fn a_burst_is_written_and_then_a_line_now_and_then() {
        let mut repeats = Repeats::default();
        let written = |repeats: &mut Repeats<&str>, kind, second: u64, lines: u32| {
            (0..lines).filter(|_| repeats.admit(kind, Duration::from_secs(second), LIKE)).count()
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
            assert_eq!(written(&mut repeats, kind, second, lines), expected, "{name}");
        }
        let mut held_back = repeats.held_back();
        held_back.sort();
        let like = LIKE();
        assert_eq!(held_back, [(&"a", 960 + 10 + 9 + 10 + 7 + 950, like.clone()), (&"b", 10, like)]);
        assert!(repeats.held_back().is_empty() && !repeats.any_held_back(), "told once");
    }

    #[test]
    fn it_does_not_grow_without_end_and_loses_no_count() {
        let mut repeats = Repeats::default();
        for _ in 0..=BURST {
            repeats.admit(usize::MAX, Duration::ZERO, LIKE);
        }
        for kind in 0..3 * KINDS {
            assert!(repeats.admit(kind, Duration::from_secs(10 * kind as u64), LIKE));
        }
        assert!(repeats.kinds.len() <= KINDS);
        for kind in 0..3 * KINDS {
            assert!(repeats.admit(kind, Duration::from_secs(1_000_000), LIKE), "all of them at once");
        }
        assert!(repeats.kinds.len() <= KINDS);
        assert_eq!(repeats.held_back(), [(&usize::MAX, 1, LIKE())]);
    }
}
