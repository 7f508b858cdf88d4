//! The way of scores to the broker: short, bounded, and without a promise.
//!
//! It refuses to hold up anything. Scores that find the way taken are dropped and counted: newer ones follow.

use std::sync::{Arc, atomic::Ordering};

use tokio::sync::mpsc;

use super::{Counts, Publisher, link::Link};

/// So many messages wait at most while alerts go first.
const WAITING: usize = 16;

/// Where scores are put. A clone leads to the same place.
#[derive(Clone)]
pub struct ScoreSink {
    way: mpsc::Sender<Message>,
    counts: Arc<Counts>,
}

/// Where they come out.
pub(super) struct ScoreSource {
    way: mpsc::Receiver<Message>,
    /// Never used; as long as it is here the way does not end.
    _sink: ScoreSink,
}

pub(super) struct Message {
    topic: String,
    payload: String,
}

impl ScoreSink {
    /// Tells `payload` at `topic`, or nobody. Never waits.
    pub fn tell(&self, topic: String, payload: String) {
        if self.way.try_send(Message { topic, payload }).is_err() {
            dropped(&self.counts);
        }
    }
}

pub(super) fn score_way(counts: &Arc<Counts>) -> (ScoreSink, ScoreSource) {
    let (way, out) = mpsc::channel(WAITING);
    let sink = ScoreSink { way, counts: Arc::clone(counts) };
    (sink.clone(), ScoreSource { way: out, _sink: sink })
}

impl ScoreSource {
    pub(super) async fn next(&mut self) -> Message {
        match self.way.recv().await {
            Some(message) => message,
            // Cannot happen as long as we hold a sink.
            None => std::future::pending().await,
        }
    }
}

impl Publisher {
    /// What waited through an outage is no news.
    pub(super) fn forget_scores(&mut self) {
        while self.scores.way.try_recv().is_ok() {
            dropped(&self.counts);
        }
    }

    /// Sends scores if the connection has room right now.
    pub(super) fn offer_scores(&self, link: &Link, message: Message) {
        if !link.offer(&message.topic, message.payload.into_bytes()) {
            dropped(&self.counts);
        }
    }
}

/// The one count of scores that were left out for want of room.
fn dropped(counts: &Counts) {
    counts.scores_dropped.fetch_add(1, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_finds_the_way_taken_is_dropped_and_counted() {
        let counts = Arc::default();
        let (sink, mut source) = score_way(&counts);
        (0..20).for_each(|number| sink.tell("topic".to_owned(), number.to_string()));
        assert_eq!(counts.scores_dropped.load(Ordering::Relaxed), 4);
        let waiting = std::iter::from_fn(|| source.way.try_recv().ok()).map(|message| message.payload);
        assert_eq!(waiting.collect::<Vec<_>>(), (0..16).map(|number| number.to_string()).collect::<Vec<_>>());
    }
}
