//! Ends temporary labels, at their time or with their first alert, and snoozes at their time.

use std::time::Duration;

use jiff::Timestamp;
use tokio::{
    task::spawn_blocking,
    time::{Instant, sleep_until},
};

use crate::{
    alert::{Alert, State},
    controls::ControlStore,
    observe::Subscription,
    watches::{Watch, Watches, next_end},
};

/// The longest pause between two checks: the clock may have been set.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Ends temporary labels and snoozes until the judge ends.
pub(super) async fn run(watches: Watches, controls: ControlStore, mut subscription: Subscription) {
    let (mut changes, mut set) = (watches.changes(), controls.changes());
    // Frames that arrive all the time do not put off a check.
    let mut due = Instant::now() + LONGEST_PAUSE;
    loop {
        let next = [next_end(&watches.list()), controls.list().next_end()].into_iter().flatten().min();
        let wake = due.min(Instant::now() + pause(next, Timestamp::now()));
        tokio::select! {
            observation = subscription.observations.recv() => {
                let Some(observation) = observation else { return };
                for label_set in observation.alerts.iter().filter_map(raised_set) {
                    end(&watches, move |watches| watches.raised(&label_set).into_iter().collect()).await;
                }
            }
            // Another one may end next. The senders are kept in `watches` and `controls`.
            _ = changes.changed() => {}
            _ = set.changed() => {}
            () = sleep_until(wake) => {
                due = Instant::now() + LONGEST_PAUSE;
                end(&watches, |watches| watches.expire(Timestamp::now())).await;
                end_snoozes(&controls).await;
            }
        }
    }
}

fn raised_set(alert: &Alert) -> Option<String> {
    (alert.state == State::Raised).then(|| alert.label_set.to_string())
}

/// The time until the next end, or until the next check.
fn pause(next: Option<Timestamp>, now: Timestamp) -> Duration {
    let left = next.map(|end| Duration::try_from(end.duration_since(now)).unwrap_or_default());
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

/// Ends the snoozes whose time is over, on another thread: it blocks for the disk.
async fn end_snoozes(controls: &ControlStore) {
    let controls = controls.clone();
    for control in spawn_blocking(move || controls.tick(Timestamp::now())).await.unwrap_or_default() {
        tracing::info!(name = control.target.to_string(), "a snooze has ended");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        config::controlled::Wish,
        observe::{Observers, ServiceMetrics},
        policy::{SetBy, Snooze, Target},
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
            let ends = ends.iter().map(|second| Timestamp::from_second(1_800_000_000 + second).unwrap());
            assert_eq!(pause(ends.min(), now), Duration::from_secs(expected), "{expected}");
        }
    }

    #[tokio::test]
    async fn one_whose_time_is_over_ends() {
        let (folder, config) = (tempfile::tempdir().unwrap(), Arc::new(samples::config()));
        let metrics = Arc::new(ServiceMetrics::new(&config));
        let (watches, controls) = (Watches::load(folder.path()), ControlStore::load(folder.path(), &config));
        let mut observers = Observers::new(config, metrics);
        let task = tokio::spawn(run(watches.clone(), controls.clone(), observers.subscribe("watches")));
        watches.add(watch(Timestamp::now())).unwrap();
        let (hour, begun) = (Duration::from_secs(3600), Timestamp::now() - Duration::from_secs(3600));
        let wish = Wish::Snooze(Snooze::For(hour));
        controls.wish(&Target::source("back"), wish, SetBy::Api, begun).unwrap();
        while !watches.list().is_empty() || !controls.list().is_empty() {
            tokio::task::yield_now().await;
        }
        drop(observers);
        task.await.unwrap();
    }
}
