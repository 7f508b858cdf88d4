//! The board: retained values, such as the status of each source and the state of each label. Only the newest value counts.
//!
//! What must arrive even when something newer follows belongs in the [`outbox`](super::outbox).

use std::{collections::BTreeMap, sync::Arc};

use tokio::sync::watch;

/// Topic to payload.
pub type Values = BTreeMap<String, Arc<str>>;

/// Values to publish, written by any thread. A clone writes to the same board.
#[derive(Debug, Clone)]
pub struct Board {
    values: Arc<watch::Sender<Values>>,
}

impl Board {
    /// An empty board.
    #[must_use]
    pub fn new() -> Self {
        Self { values: Arc::new(watch::Sender::new(Values::new())) }
    }

    /// Sets the value of `topic`. An empty `payload` makes the broker delete its retained value.
    ///
    /// The state of a label (`ON`, `OFF`) is set after its alert was appended to the outbox.
    pub fn set(&self, topic: &str, payload: &str) {
        self.values.send_if_modified(|values| {
            let changed = values.get(topic).is_none_or(|old| **old != *payload);
            if changed {
                values.insert(topic.to_owned(), payload.into());
            }
            changed
        });
    }

    /// Takes `topic` off the board. The broker keeps its retained value.
    pub fn remove(&self, topic: &str) {
        self.values.send_if_modified(|values| values.remove(topic).is_some());
    }

    /// Follows the board, for the publisher. Values that are set already count as changed.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Values> {
        let mut values = self.values.subscribe();
        values.mark_changed();
        values
    }
}

impl Default for Board {
    fn default() -> Self {
        Self::new()
    }
}

/// The values that differ from what was published. Both are walked through once: there may be ten thousands of them.
pub(super) fn changed(values: &Values, published: &Values) -> Values {
    let mut published = published.iter().peekable();
    let differs = |(topic, payload): &(&String, &Arc<str>)| {
        while published.next_if(|(known, _)| known < topic).is_some() {}
        published.peek().is_none_or(|(known, sent)| known != topic || sent != payload)
    };
    values.iter().filter(differs).map(|(topic, payload)| (topic.clone(), Arc::clone(payload))).collect()
}

/// Forgets what was published of topics that are no longer on the board.
pub(super) fn forget_removed(values: &Values, published: &mut Values) {
    let mut topics = values.keys().peekable();
    published.retain(|topic, _| {
        while topics.next_if(|known| *known < topic).is_some() {}
        topics.peek().is_some_and(|known| *known == topic)
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_changed_values_are_published_again() {
        let board = Board::new();
        board.set("a/state", "OFF");
        let mut seen = board.subscribe();
        assert!(seen.has_changed().unwrap(), "what was set before counts as changed");
        let published = seen.borrow_and_update().clone();

        board.set("a/state", "OFF");
        assert!(!seen.has_changed().unwrap(), "the same value again is no change");

        board.set("a/state", "ON");
        board.set("b/state", "OFF");
        board.set("a/state", "OFF");
        assert!(seen.has_changed().unwrap());
        let expected = Values::from([("b/state".to_owned(), "OFF".into())]);
        assert_eq!(changed(&seen.borrow(), &published), expected, "a/state has the published value again");
    }

    #[test]
    fn what_is_taken_off_the_board_is_forgotten() {
        let values = |topics: &str| -> Values {
            topics.chars().map(|topic| (topic.to_string(), "x".into())).collect()
        };
        for (on_the_board, before, after) in [
            ("ace", "abcdef", "ace"),
            ("", "ab", ""),
            ("ab", "", ""),
            ("bd", "ace", ""),
            ("abc", "abc", "abc"),
        ] {
            let mut published = values(before);
            forget_removed(&values(on_the_board), &mut published);
            assert_eq!(published, values(after), "{on_the_board}, {before}");
            let added: String = changed(&values(on_the_board), &published).into_keys().collect();
            let expected: String = on_the_board.chars().filter(|topic| !before.contains(*topic)).collect();
            assert_eq!(added, expected, "{on_the_board}, {before}");
        }
    }
}
