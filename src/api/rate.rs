//! Limits the rate of requests. Pure: the caller passes the time.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// The requests of the last window.
#[derive(Debug)]
pub(super) struct Rate {
    requests: VecDeque<Instant>,
    most_answered: usize,
    most_refused: usize,
    window: Duration,
}

/// What happens to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decision {
    Answer,
    Refuse,
    Drop,
}

impl Rate {
    /// In a window this number of requests is answered, then this number is refused, and more are dropped.
    pub(super) fn new(most_answered: usize, most_refused: usize, window: Duration) -> Self {
        Self { requests: VecDeque::new(), most_answered, most_refused, window }
    }

    pub(super) fn decide(&mut self, now: Instant) -> Decision {
        let is_old = |first: &Instant| now.saturating_duration_since(*first) >= self.window;
        while self.requests.front().is_some_and(is_old) {
            self.requests.pop_front();
        }
        let decision = match self.requests.len() {
            count if count < self.most_answered => Decision::Answer,
            count if count < self.most_answered + self.most_refused => Decision::Refuse,
            _ => return Decision::Drop,
        };
        self.requests.push_back(now);
        decision
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_limited() {
        let (mut rate, start) = (Rate::new(10, 10, Duration::from_secs(10)), Instant::now());
        let mut decide = |second| rate.decide(start + Duration::from_secs(second));
        assert!((0..10).all(|_| decide(0) == Decision::Answer));
        assert!((0..10).all(|_| decide(5) == Decision::Refuse));
        assert_eq!(decide(9), Decision::Drop);
        assert!((0..10).all(|_| decide(10) == Decision::Refuse), "the refused ones count, too");
        assert_eq!(decide(14), Decision::Drop);
        assert_eq!(decide(15), Decision::Refuse);
        assert_eq!(decide(30), Decision::Answer);
    }
}
