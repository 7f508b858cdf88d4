//! Identifiers of replayed alerts.

use jiff::Timestamp;
use uuid::{Builder, Uuid};

/// Identifiers that are the same in every replay: made from the alert's time and its number.
#[derive(Default)]
pub struct Ids {
    count: u64,
}

impl Ids {
    /// The next one, for an alert of this time.
    pub fn next(&mut self, time: Timestamp) -> Uuid {
        self.count += 1;
        let mut number = [0; 10];
        number[2..].copy_from_slice(&self.count.to_be_bytes());
        let milliseconds = u64::try_from(time.as_millisecond()).unwrap_or(0);
        Builder::from_unix_timestamp_millis(milliseconds, &number).into_uuid()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_unique_and_the_same_in_every_replay() {
        let time: Timestamp = "2026-11-23T08:00:00Z".parse().unwrap();
        let (mut once, mut again) = (Ids::default(), Ids::default());
        let [first, second] = [once.next(time), once.next(time)];
        assert_ne!(first, second);
        assert_eq!([again.next(time), again.next(time)], [first, second]);
        assert_eq!(first.get_version_num(), 7);
        assert_eq!(once.next("1960-01-01T00:00:00Z".parse().unwrap()).get_version_num(), 7);
    }
}
