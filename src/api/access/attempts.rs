//! Limits attempts to guess a token: for each peer, and in total. Pure.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// The most peers that are remembered. One more replaces the peer with the fewest recent attempts.
const MOST_PEERS: usize = 1024;

/// How many attempts are allowed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limit {
    /// At once.
    pub(super) at_once: u32,
    /// One more each time that this has passed.
    pub(super) every: Duration,
}

/// The recent attempts of each peer `P`.
#[derive(Debug)]
pub(super) struct Attempts<P> {
    each: Limit,
    total: Option<Limit>,
    /// For each peer, when all of its attempts are allowed again.
    peers: BTreeMap<P, Instant>,
    /// The same for all peers together; `None` before the first attempt.
    all: Option<Instant>,
}

impl Limit {
    /// When all attempts are allowed again after one more attempt `now`; an error with the time to wait if it is not allowed.
    fn after_one(self, free: Option<Instant>, now: Instant) -> Result<Instant, Duration> {
        let free = free.map_or(now, |free| free.max(now)) + self.every;
        let latest = now + self.every * self.at_once;
        if free <= latest { Ok(free) } else { Err(free - latest) }
    }
}

impl<P: Ord + Copy> Attempts<P> {
    /// No attempt yet.
    pub(super) fn new(each: Limit, total: Option<Limit>) -> Self {
        Self { each, total, peers: BTreeMap::new(), all: None }
    }

    /// Counts an attempt before it is carried out.
    ///
    /// # Errors
    /// It is not allowed before this time has passed. It is not counted then.
    pub(super) fn begin(&mut self, peer: P, now: Instant) -> Result<(), Duration> {
        let of_peer = self.each.after_one(self.peers.get(&peer).copied(), now)?;
        let of_all = self.total.map(|total| total.after_one(self.all, now)).transpose()?;
        self.peers.retain(|_, free| *free > now);
        if self.peers.len() >= MOST_PEERS && !self.peers.contains_key(&peer) {
            let least = self.peers.iter().min_by_key(|(_, free)| **free).map(|(peer, _)| *peer);
            least.map(|least| self.peers.remove(&least));
        }
        self.peers.insert(peer, of_peer);
        self.all = of_all;
        Ok(())
    }

    /// The attempt that was counted last was a right one: it does not count.
    pub(super) fn forgive(&mut self, peer: P) {
        if let Some(free) = self.peers.get_mut(&peer) {
            *free = free.checked_sub(self.each.every).unwrap_or(*free);
        }
        if let (Some(all), Some(total)) = (&mut self.all, self.total) {
            *all = all.checked_sub(total.every).unwrap_or(*all);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EACH: Limit = Limit { at_once: 3, every: Duration::from_secs(10) };
    const TOTAL: Limit = Limit { at_once: 5, every: Duration::from_secs(1) };

    /// How many of 20 attempts of this peer are allowed.
    fn allowed(attempts: &mut Attempts<u32>, peer: u32, now: Instant) -> usize {
        (0..20).filter(|_| attempts.begin(peer, now).is_ok()).count()
    }

    #[test]
    fn attempts_are_limited_for_each_peer_and_in_total() {
        let (mut attempts, start) = (Attempts::new(EACH, Some(TOTAL)), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        for (what, peer, now, expected) in [
            ("at once", 1, after(0), 3),
            ("at once, of another peer, and in total", 2, after(0), 2),
            ("in total", 3, after(0), 0),
            ("one more a second in total", 3, after(1), 1),
            ("one more in ten seconds for a peer", 1, after(10), 1),
            ("after a long time", 1, after(1000), 3),
        ] {
            assert_eq!(allowed(&mut attempts, peer, now), expected, "{what}");
        }
        assert_eq!(attempts.begin(1, after(1000)), Err(Duration::from_secs(10)), "the time to wait");
    }

    #[test]
    fn right_attempts_do_not_count() {
        let (mut attempts, now) = (Attempts::new(EACH, Some(TOTAL)), Instant::now());
        for _ in 0..100 {
            assert_eq!(attempts.begin(1, now), Ok(()));
            attempts.forgive(1);
        }
        assert_eq!(allowed(&mut attempts, 1, now), 3);
    }

    #[test]
    fn the_memory_for_peers_is_bounded() {
        let (mut attempts, now) = (Attempts::new(EACH, None), Instant::now());
        assert_eq!(allowed(&mut attempts, 0, now), 3);
        for peer in 1..2000 {
            assert_eq!(attempts.begin(peer, now), Ok(()));
        }
        assert_eq!(attempts.peers.len(), MOST_PEERS);
        assert_eq!(allowed(&mut attempts, 0, now), 0, "who tries most is not forgotten");
        attempts.begin(0, now + EACH.every * 10).unwrap();
        assert_eq!(attempts.peers.len(), 1, "who has stopped is forgotten");
    }
}
