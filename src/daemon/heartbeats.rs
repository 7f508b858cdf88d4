//! Creates heartbeats at a fixed interval. Each takes the path of the alerts: the judge's thread puts it into the outbox behind the
//! alerts, and the publisher sends it after them. So a subscriber that misses heartbeats knows that alerts do not arrive either,
//! whichever part is broken.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval},
};

use crate::observe::ServiceMetrics;

/// Creates heartbeats until the judge's thread ends.
pub(super) async fn run(every: Duration, metrics: Arc<ServiceMetrics>, to_judge: mpsc::Sender<()>) {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        // A part that is stuck, such as the model, is needed for alerts, too.
        let healthy = metrics.stuck().is_empty();
        // One that waits is enough: the judge's thread is busy or hangs.
        if healthy && matches!(to_judge.try_send(()), Err(mpsc::error::TrySendError::Closed(()))) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{Instant, sleep};

    use super::*;
    use crate::samples;

    #[tokio::test(start_paused = true)]
    async fn heartbeats_stop_while_a_part_is_stuck_and_do_not_pile_up() {
        const EVERY: Duration = Duration::from_secs(60);
        let metrics = Arc::new(ServiceMetrics::new(&samples::config()));
        let (to_judge, mut beats) = mpsc::channel(1);
        let running = tokio::spawn(run(EVERY, Arc::clone(&metrics), to_judge));
        let began = Instant::now();
        for beat in 0..3 {
            assert_eq!(beats.recv().await, Some(()));
            assert_eq!(began.elapsed(), EVERY * beat);
        }
        sleep(EVERY * 5).await;
        assert!(beats.try_recv().is_ok() && beats.try_recv().is_err(), "one waits for a judge that is busy");

        let working = metrics.judge.work();
        metrics.judge.age(Duration::from_secs(3600));
        sleep(EVERY * 5).await;
        assert!(beats.try_recv().is_err(), "a part is stuck");
        drop(working);
        assert_eq!(beats.recv().await, Some(()));
        drop(beats);
        sleep(EVERY * 2).await;
        assert!(running.is_finished());
    }
}
