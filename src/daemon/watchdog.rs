//! The watchdog: notifies systemd every few seconds while every part makes progress, and publishes the topics `stats` and
//! `<source>/stats` once a minute.
//!
//! It runs on the main thread, so its notification proves that this thread makes progress, too. When a part is stuck it logs
//! that and stops notifying systemd, which then restarts the service.

use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, task::spawn_blocking, time::Instant};

use super::signals;
use crate::{
    alert::{Topics, board::Board},
    observe::metrics::{HistoryCounts, ServiceMetrics, Throughput},
};

/// The time between two notifications.
const TICK: Duration = Duration::from_secs(5);
/// The ticks between two status lines of `systemctl status`.
const STATUS_TICKS: u64 = 2;
/// The ticks between two publications of the topics.
const STATS_TICKS: u64 = 12;

/// Runs until it is dropped.
pub(super) async fn run(metrics: Arc<ServiceMetrics>, board: Board, topics: watch::Receiver<Topics>) {
    let began = Instant::now();
    let (mut status_rate, mut stats_rate, mut reported) =
        (Throughput::default(), Throughput::default(), Vec::new());
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let (mut scored_per_second, mut history_stalled) = (0.0, false);
    for tick in 0_u64.. {
        loop {
            tokio::select! {
                _ = ticks.tick() => break,
                // At once: `systemctl status` just after a connect must not say that the broker is away.
                () = metrics.state_changed() => notify_status(&metrics, &reported, scored_per_second),
            }
        }
        let stuck = metrics.stuck();
        report(&stuck, &reported);
        history_stalled = report_history(&metrics, history_stalled);
        let (summary, now) = (metrics.summary(), began.elapsed());
        if tick.is_multiple_of(STATUS_TICKS) {
            scored_per_second = status_rate.since_previous(now, summary.scored());
            notify_status(&metrics, &stuck, scored_per_second);
        }
        let due = tick.is_multiple_of(STATS_TICKS);
        let topics = topics.borrow().clone();
        for (source, message) in metrics.source_stats(now, due) {
            board.set(&topics.source_stats(&source), &message);
        }
        if due {
            let per_second = stats_rate.since_previous(now, summary.scored());
            board.set(&topics.stats(), &summary.to_json(per_second));
        }
        reported = stuck;
        let metrics = Arc::clone(&metrics);
        // It blocks for the disk. A slow disk delays only the age of the oldest alert on the metrics page.
        drop(spawn_blocking(move || metrics.check_outbox()));
    }
}

/// Sets the line of `systemctl status`.
fn notify_status(metrics: &ServiceMetrics, stuck: &[String], per_second: f64) {
    signals::notify_status(&match stuck {
        [] => metrics.summary().status_line(per_second),
        stuck => format!("stuck: {}", stuck.join(", ")),
    });
}

/// Notifies systemd unless a part is stuck, and logs what changed since the `reported` parts.
fn report(stuck: &[String], reported: &[String]) {
    if stuck.is_empty() {
        signals::feed_watchdog();
        if !reported.is_empty() {
            tracing::info!("every part makes progress again");
        }
    } else if stuck != reported {
        let parts = stuck.join(", ");
        tracing::error!(
            parts,
            "stuck: it has work and makes no progress; systemd restarts the service if this lasts"
        );
    }
}

/// Logs when the disk of the history begins to hang, and when it works again. Returns whether it hangs. The service goes on: only the
/// history waits for it.
fn report_history(metrics: &ServiceMetrics, was_stalled: bool) -> bool {
    let is_stalled = metrics.history().is_some_and(HistoryCounts::is_stalled);
    match (was_stalled, is_stalled) {
        (false, true) => tracing::error!(
            "the disk of the history does not answer: nothing is remembered until it does, alerts are not affected"
        ),
        (true, false) => tracing::info!("the disk of the history answers again"),
        _ => {}
    }
    is_stalled
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use tokio::{sync::watch, time::sleep};

    use super::*;
    use crate::{alert::board::Values, samples};

    fn value(values: &watch::Receiver<Values>, topic: &str) -> Option<String> {
        values.borrow().get(topic).map(ToString::to_string)
    }

    #[tokio::test(start_paused = true)]
    async fn stats_are_published_once_a_minute_and_a_first_frame_within_seconds() {
        let (metrics, board) = (Arc::new(ServiceMetrics::new(&samples::config())), Board::new());
        metrics.report_sources(["back"].into_iter());
        let (values, topics) = (board.subscribe(), watch::Sender::new(Topics::new("home")));
        tokio::spawn(run(Arc::clone(&metrics), board, topics.subscribe()));
        sleep(Duration::from_secs(1)).await;
        assert!(value(&values, "home/stats").is_some(), "at once");
        assert_eq!(value(&values, "home/back/stats"), None, "no frame yet");

        metrics.count_frame("back", Timestamp::UNIX_EPOCH, Duration::ZERO);
        sleep(TICK).await;
        let first = value(&values, "home/back/stats").unwrap();
        assert!(first.starts_with(r#"{"frames":1,"#), "{first}");
        metrics.count_frame("back", Timestamp::UNIX_EPOCH, Duration::ZERO);
        sleep(TICK * 10).await;
        assert_eq!(value(&values, "home/back/stats"), Some(first), "the minute is not over");
        sleep(TICK).await;
        let second = value(&values, "home/back/stats").unwrap();
        assert!(second.starts_with(r#"{"frames":2,"#), "{second}");
    }
}
