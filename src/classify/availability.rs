//! Whether the engine of the model can be used now: reported by the model's thread, and read by the parts that publish it.

use std::sync::atomic::{AtomicBool, Ordering};

use jiff::Timestamp;
use tokio::sync::{Notify, watch};
use tracing::info;

use crate::model::ModelError;

/// Whether the engine can be used.
#[derive(Debug, Default)]
pub struct Availability {
    away: watch::Sender<Option<Away>>,
    is_away: AtomicBool,
    changed: Notify,
}

/// Why frames wait, or are skipped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Away {
    /// The cause, for people.
    pub cause: String,
    /// When the engine could not be used for the first time since it was well.
    pub since: Timestamp,
}

impl Availability {
    /// Reports the result of a check or of a run. Only [`ModelError::Unavailable`] says that the engine cannot be used.
    pub(super) fn report<T>(&self, result: &Result<T, ModelError>) {
        let cause = match result {
            Err(ModelError::Unavailable(cause)) => Some(cause),
            _ => None,
        };
        // This is called many times a second.
        if cause.is_none() && !self.is_away.load(Ordering::Relaxed) {
            return;
        }
        let was_away = self.is_away.swap(cause.is_some(), Ordering::Relaxed);
        self.away.send_if_modified(|away| {
            let since = |before: &Option<Away>| before.as_ref().map_or_else(Timestamp::now, |it| it.since);
            let now = cause.map(|cause| Away { cause: cause.clone(), since: since(away) });
            let is_new = *away != now;
            *away = now;
            is_new
        });
        if was_away != cause.is_some() {
            self.changed.notify_one();
        }
        if was_away && cause.is_none() {
            info!("the engine is available again: frames are scored");
        }
    }

    /// Why the engine cannot be used; `None` while it can.
    #[must_use]
    pub fn away(&self) -> Option<Away> {
        self.away.borrow().clone()
    }

    /// Follows [`Self::away`].
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Option<Away>> {
        self.away.subscribe()
    }

    /// Waits until the engine goes away or is back, other than before. For one caller.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unavailable(cause: &str) -> Result<(), ModelError> {
        Err(ModelError::Unavailable(cause.to_owned()))
    }

    #[tokio::test(start_paused = true)]
    async fn an_engine_is_away_until_a_check_or_a_run_succeeds() {
        let availability = Availability::default();
        let mut followed = availability.subscribe();
        availability.report(&Ok(()));
        assert_eq!((availability.away(), followed.has_changed().unwrap()), (None, false));

        availability.report(&unavailable("refused"));
        let first = availability.away().unwrap();
        assert_eq!((&*first.cause, followed.has_changed().unwrap()), ("refused", true));
        availability.changed().await;
        availability.report(&unavailable("no answer"));
        let second = availability.away().unwrap();
        assert_eq!((&*second.cause, second.since), ("no answer", first.since));
        assert_eq!(followed.borrow_and_update().clone(), Some(second.clone()));
        availability.report(&unavailable("no answer"));
        assert!(!followed.has_changed().unwrap(), "nothing is new");

        let rejected: Result<(), _> = Err(ModelError::Run("bad picture".to_owned()));
        availability.report(&rejected);
        assert_eq!(availability.away(), None, "an engine that rejects a picture is there");
        availability.changed().await;
    }
}
