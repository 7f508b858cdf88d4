//! Carries scores to the broker through a short queue, at most once: what finds no room is dropped and counted.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::{
    counts::{Counts, add},
    link::Link,
};

/// How many messages wait at most while alerts go first.
const WAITING: usize = 16;

/// The sending end, for any number of threads.
#[derive(Clone)]
pub struct ScoreSender {
    queue: mpsc::Sender<ScoreMessage>,
    counts: Arc<Counts>,
}

/// The publisher's end.
pub(super) struct ScoreReceiver {
    queue: mpsc::Receiver<ScoreMessage>,
    /// Keeps the queue open.
    sender: ScoreSender,
}

pub(super) struct ScoreMessage {
    topic: String,
    payload: String,
}

impl ScoreSender {
    /// Publishes `payload` to `topic`, or drops it. Never waits.
    pub fn send(&self, topic: String, payload: String) {
        if self.queue.try_send(ScoreMessage { topic, payload }).is_err() {
            add(&self.counts.scores_dropped);
        }
    }
}

impl ScoreReceiver {
    pub fn new(counts: &Arc<Counts>) -> Self {
        let (sender, queue) = mpsc::channel(WAITING);
        Self { queue, sender: ScoreSender { queue: sender, counts: Arc::clone(counts) } }
    }

    pub fn sender(&self) -> ScoreSender {
        self.sender.clone()
    }

    /// Waits for the next message.
    pub async fn next(&mut self) -> ScoreMessage {
        self.queue.recv().await.expect("the queue is open as long as its sender is kept here")
    }

    /// Drops what waited through an outage: it is out of date.
    pub fn clear(&mut self) {
        while self.queue.try_recv().is_ok() {
            add(&self.sender.counts.scores_dropped);
        }
    }

    /// Sends a message if the connection has room right now.
    pub fn offer(&self, link: &Link, message: ScoreMessage) {
        if !link.offer(&message.topic, message.payload.into_bytes()) {
            add(&self.sender.counts.scores_dropped);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;

    #[test]
    fn what_finds_the_queue_full_or_waits_through_an_outage_is_dropped_and_counted() {
        let counts = Arc::default();
        let mut scores = ScoreReceiver::new(&counts);
        let sender = scores.sender();
        (0..20).for_each(|number| sender.send("topic".to_owned(), number.to_string()));
        assert_eq!(counts.scores_dropped.load(Ordering::Relaxed), 4);
        assert_eq!(scores.queue.try_recv().unwrap().payload, "0", "the oldest are kept");
        scores.clear();
        assert_eq!(counts.scores_dropped.load(Ordering::Relaxed), 4 + 15);
    }
}
