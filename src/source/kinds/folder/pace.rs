//! How fast a folder source goes. The numbers are told in the description of the folder source.

use std::time::Duration;

use super::pending::Patience;

/// How fast things go, and how much may wait.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    pub(crate) patience: Patience,
    /// Between two looks at everything, at least.
    pub(crate) look: Duration,
    /// Between something lost and the look that finds it, at least: during a flood one look would follow another.
    pub(crate) look_again: Duration,
    /// Between two looks whether the folder is still the same one.
    pub(crate) check: Duration,
    /// Notices of the kernel that may wait: as many as the kernel itself holds.
    pub(crate) notices: usize,
    /// Files that may wait; some 300 bytes each.
    pub(crate) files: usize,
}

impl Pace {
    pub(crate) fn of(poll: Option<Duration>) -> Self {
        let second = Duration::from_secs(1);
        let patience = match poll {
            None => Patience { settle: second / 2, short: second * 2, long: second * 10 },
            Some(poll) => {
                let long = (poll * 2).max(second * 2);
                Patience { settle: poll, short: long, long }
            }
        };
        let look = poll.unwrap_or(second * 60);
        Self { patience, look, look_again: second / 2, check: second, notices: 16_384, files: 10_000 }
    }
}
