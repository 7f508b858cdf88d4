//! The board: what the broker should know right now, apart from alerts.
//!
//! Retained values, small, the newest alone counts: how each source is doing, whether each label is there. It refuses
//! anything that must arrive even when something newer follows; that is the [`outbox`](super::outbox)'s.

use std::{collections::BTreeMap, sync::Arc};

use tokio::sync::watch;

/// Topic to payload.
pub type Values = BTreeMap<String, Arc<str>>;

/// Where everybody writes what is true now. A clone writes on the same board.
#[derive(Debug, Clone)]
pub struct Board {
    values: Arc<watch::Sender<Values>>,
}

impl Board {
    /// A board with nothing on it.
    #[must_use]
    pub fn new() -> Self {
        Self { values: Arc::new(watch::Sender::new(Values::new())) }
    }

    /// Puts `payload` on the board. An empty one makes the broker forget the topic.
    ///
    /// Whoever tells of an alert (`ON`, `OFF`) appends it to the outbox first.
    pub fn set(&self, topic: &str, payload: &str) {
        self.values.send_if_modified(|values| {
            let news = values.get(topic).is_none_or(|old| **old != *payload);
            if news {
                values.insert(topic.to_owned(), payload.into());
            }
            news
        });
    }

    /// Takes the topic off the board: what the broker has stays there, and is somebody else's from now on.
    pub fn leave(&self, topic: &str) {
        self.values.send_if_modified(|values| values.remove(topic).is_some());
    }

    /// Follows the board, for the publisher.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Values> {
        let mut values = self.values.subscribe();
        // What is there already counts as news.
        values.mark_changed();
        values
    }
}

impl Default for Board {
    fn default() -> Self {
        Self::new()
    }
}

/// What is on the board and was not told yet.
pub(super) fn news(values: &Values, told: &Values) -> Values {
    values
        .iter()
        .filter(|(topic, payload)| told.get(*topic) != Some(*payload))
        .map(|(topic, payload)| (topic.clone(), Arc::clone(payload)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_changed_is_news() {
        let board = Board::new();
        board.set("a/state", "OFF");
        let mut seen = board.subscribe();
        assert!(seen.has_changed().unwrap(), "what was there before counts as news");
        let told = seen.borrow_and_update().clone();

        board.set("a/state", "OFF");
        assert!(!seen.has_changed().unwrap(), "the same again is no news");

        board.set("a/state", "ON");
        board.set("b/state", "OFF");
        board.set("a/state", "OFF");
        assert!(seen.has_changed().unwrap());
        let expected = Values::from([("b/state".to_owned(), "OFF".into())]);
        assert_eq!(news(&seen.borrow(), &told), expected, "a/state is back at what the broker was told");
    }
}
