//! Ends temporary labels: at their time, or with their first alert.

use std::time::Duration;

use jiff::Timestamp;
use tokio::{task::spawn_blocking, time::sleep};

use crate::{
    alert::{Alert, State},
    observe::Subscription,
    watches::{Watch, Watches, next_end},
};

/// The longest pause between two checks: the clock may have been set.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Ends temporary labels until the judge ends.
pub(super) async fn run(watches: Watches, mut subscription: Subscription) {
    let mut changes = watches.changes();
    loop {
        let pause = pause(&watches.list(), Timestamp::now());
        tokio::select! {
            observation = subscription.observations.recv() => {
                let Some(observation) = observation else { return };
                for label_set in observation.alerts.iter().filter_map(raised_set) {
                    end(&watches, move |watches| watches.raised(&label_set).into_iter().collect()).await;
                }
            }
            // Another one may end next. The sender is kept in `watches`.
            _ = changes.changed() => {}
            () = sleep(pause) => end(&watches, |watches| watches.expire(Timestamp::now())).await,
        }
    }
}

fn raised_set(alert: &Alert) -> Option<String> {
    (alert.state == State::Raised).then(|| alert.label_set.to_string())
}

/// The time until the next of them ends, or until the next check.
fn pause(watches: &[Watch], now: Timestamp) -> Duration {
    let left = next_end(watches).map(|end| Duration::try_from(end.duration_since(now)).unwrap_or_default());
    left.unwrap_or(LONGEST_PAUSE).min(LONGEST_PAUSE)
}

/// Ends some of them on another thread: it blocks for the disk.
async fn end(watches: &Watches, end: impl FnOnce(&Watches) -> Vec<Watch> + Send + 'static) {
    let watches = watches.clone();
    // It fails only if the other thread panics; the next check ends them then.
    for Watch { id, text, source, .. } in spawn_blocking(move || end(&watches)).await.unwrap_or_default() {
        tracing::info!(id, text, source, "a temporary label has ended");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        observe::{Observers, ServiceMetrics},
        samples,
    };

    fn watch(until: Timestamp) -> Watch {
        let (text, source) = ("a dog".to_owned(), "back".to_owned());
        Watch { id: 0, text, source, until, once: false, threshold: 0.5 }
    }

    #[test]
    fn a_check_is_due_at_the_next_end() {
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        for (ends, expected) in
            [(&[][..], 30), (&[10][..], 10), (&[90, 7][..], 7), (&[90][..], 30), (&[-5][..], 0)]
        {
            let watches: Vec<_> = ends
                .iter()
                .map(|second| watch(Timestamp::from_second(1_800_000_000 + second).unwrap()))
                .collect();
            assert_eq!(pause(&watches, now), Duration::from_secs(expected), "{ends:?}");
        }
    }

    #[tokio::test]
    async fn one_whose_time_is_over_ends() {
        let (folder, config) = (tempfile::tempdir().unwrap(), Arc::new(samples::config()));
        let metrics = Arc::new(ServiceMetrics::new(&config));
        let mut observers = Observers::new(config, metrics);
        let watches = Watches::load(folder.path());
        let task = tokio::spawn(run(watches.clone(), observers.subscribe("watches")));
        watches.add(watch(Timestamp::now())).unwrap();
        while !watches.list().is_empty() {
            tokio::task::yield_now().await;
        }
        drop(observers);
        task.await.unwrap();
    }
}
