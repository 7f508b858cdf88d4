//! Tells systemd every few seconds that everything gets on with its work, and what that is; the topics `stats` and
//! `<source>/stats` once a minute.
//!
//! Its being called at all shows that the main thread moves. It refuses to end anything by itself: when a part is stuck it
//! says so and is silent towards systemd, which ends the service and starts it again.

use std::{sync::Arc, time::Duration};

use tokio::{task::spawn_blocking, time::Instant};

use super::signals;
use crate::{
    alert::{Topics, board::Board},
    observe::metrics::{Figures, Rate},
};

/// So often systemd is told.
const TICK: Duration = Duration::from_secs(5);
/// So many ticks until the words that `systemctl status` shows change.
const WORDS: u64 = 2;
/// So many ticks until the topics are told.
const STATS: u64 = 12;

/// Goes on for as long as the service watches.
pub(super) async fn tell(figures: Arc<Figures>, board: Board, topics: Topics) {
    let began = Instant::now();
    let (mut words, mut stats, mut said) = (Rate::default(), Rate::default(), Vec::new());
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    for tick in 0_u64.. {
        ticks.tick().await;
        let stuck = figures.stuck();
        if stuck.is_empty() {
            signals::feed_watchdog();
        } else if stuck != said {
            let parts = stuck.join(", ");
            tracing::error!(
                parts,
                "stuck: at work, and not moving; systemd will start the service again if this stays"
            );
        }
        if stuck.is_empty() && !said.is_empty() {
            tracing::info!("what was stuck moves again");
        }
        let summary = figures.summary();
        if tick.is_multiple_of(WORDS) {
            let per_second = words.since(began.elapsed(), summary.scored);
            let words = match &stuck[..] {
                [] => summary.words(per_second),
                stuck => format!("stuck: {}", stuck.join(", ")),
            };
            signals::tell_systemd_status(&words);
        }
        if tick.is_multiple_of(STATS) {
            board.set(&topics.stats(), &summary.to_json(stats.since(began.elapsed(), summary.scored)));
        }
        for (source, told) in figures.source_stats(began.elapsed(), tick.is_multiple_of(STATS)) {
            board.set(&topics.source_stats(&source), &told);
        }
        said = stuck;
        let figures = Arc::clone(&figures);
        // It blocks for the disk, and if it does so for long nobody waits for it but the next look.
        drop(spawn_blocking(move || figures.look_at_outbox()));
    }
}
