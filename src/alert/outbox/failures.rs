//! The newest failure of each sink, for people. It is kept in memory only.

use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use super::Sink;

/// Why a sink did not accept alerts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The cause, for people.
    pub cause: String,
    /// When it happened last.
    pub at: Timestamp,
    /// The sink has accepted alerts since.
    pub is_over: bool,
}

/// The newest failure of each sink.
#[derive(Debug, Default)]
pub(super) struct Failures(Mutex<[Option<Failure>; Sink::ALL.len()]>);

impl Failures {
    /// `sink` failed at `at`.
    pub(super) fn set(&self, sink: Sink, cause: &str, at: Timestamp) {
        self.lock()[sink.index()] = Some(Failure { cause: cause.to_owned(), at, is_over: false });
    }

    /// `sink` works.
    pub(super) fn end(&self, sink: Sink) {
        if let Some(failure) = &mut self.lock()[sink.index()] {
            failure.is_over = true;
        }
    }

    /// The newest failure of `sink` since the start.
    pub(super) fn of(&self, sink: Sink) -> Option<Failure> {
        self.lock()[sink.index()].clone()
    }

    fn lock(&self) -> MutexGuard<'_, [Option<Failure>; Sink::ALL.len()]> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_sink_has_its_newest_failure() {
        let failures = Failures::default();
        let at = |second| Timestamp::from_second(second).unwrap();
        failures.end(Sink::Mqtt);
        assert_eq!(failures.of(Sink::Mqtt), None);
        failures.set(Sink::Mqtt, "refused", at(1));
        failures.set(Sink::Mqtt, "no answer", at(2));
        let failure = Failure { cause: "no answer".to_owned(), at: at(2), is_over: false };
        assert_eq!(failures.of(Sink::Mqtt), Some(failure.clone()));
        failures.end(Sink::Mqtt);
        assert_eq!(failures.of(Sink::Mqtt), Some(Failure { is_over: true, ..failure }));
        assert_eq!(failures.of(Sink::Webhook), None, "another sink");
    }
}
