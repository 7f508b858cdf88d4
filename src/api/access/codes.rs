//! The one-time codes of sign-in links: short-lived, each for one sign-in. Pure.

use std::time::{Duration, Instant};

use super::digest::Digest;
use crate::api::role::Role;

/// A code is valid for this time.
pub(super) const LASTS: Duration = Duration::from_secs(5 * 60);
/// The most codes. A newer one replaces the oldest.
const MOST: usize = 16;

/// The codes that were not used yet, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Codes(Vec<Code>);

#[derive(Debug)]
struct Code {
    digest: Digest,
    role: Role,
    until: Instant,
}

impl Codes {
    /// Adds a code for a sign-in with this role.
    pub(super) fn add(&mut self, digest: Digest, role: Role, now: Instant) {
        self.0.retain(|code| code.until > now);
        if self.0.len() >= MOST {
            self.0.remove(0);
        }
        self.0.push(Code { digest, role, until: now + LASTS });
    }

    /// Uses a code up. Its role; `None` if there is no such code.
    pub(super) fn take(&mut self, digest: &Digest, now: Instant) -> Option<Role> {
        self.0.retain(|code| code.until > now);
        let place = self.0.iter().position(|code| code.digest == *digest)?;
        Some(self.0.remove(place).role)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_used_once_and_within_its_time() {
        let (mut codes, start) = (Codes::default(), Instant::now());
        let digest = |number: usize| Digest::of(&number.to_string());
        codes.add(digest(1), Role::View, start);
        codes.add(digest(2), Role::Change, start);
        assert_eq!(codes.take(&digest(3), start), None);
        assert_eq!(codes.take(&digest(1), start), Some(Role::View));
        assert_eq!(codes.take(&digest(1), start), None, "used");
        assert_eq!(codes.take(&digest(2), start + LASTS), None, "out of time");
        codes.add(digest(2), Role::Change, start);
        assert_eq!(codes.take(&digest(2), start + LASTS - Duration::from_millis(1)), Some(Role::Change));
    }

    #[test]
    fn the_oldest_code_makes_room() {
        let (mut codes, start) = (Codes::default(), Instant::now());
        let digest = |number: usize| Digest::of(&number.to_string());
        (0..=MOST).for_each(|number| codes.add(digest(number), Role::Change, start));
        assert_eq!(codes.0.len(), MOST);
        assert_eq!(codes.take(&digest(0), start), None);
        assert_eq!(codes.take(&digest(1), start), Some(Role::Change));
    }
}
