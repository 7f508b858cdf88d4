//! The queue of messages: bounded in number and in bytes, and fair between topics. Pure.
//!
//! A live source keeps the newest message of each topic, and the topics take turns: a topic with a hundred pictures a second
//! is served as often as a topic with one. A shared source keeps every message in order.

use std::collections::VecDeque;

use jiff::Timestamp;

use super::acks::Receipt;

/// The largest number of messages.
const MOST: usize = 256;

/// A message with a picture.
#[derive(Debug)]
pub(crate) struct PictureMessage {
    pub(crate) topic: String,
    pub(crate) payload: Vec<u8>,
    pub(crate) arrived: Timestamp,
    /// For a message of a shared source.
    pub(crate) receipt: Option<Receipt>,
}

/// Which messages of a topic are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    /// The newest.
    Newest,
    /// Every message.
    All,
}

/// The result of adding a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Put {
    /// It waits.
    Waits,
    /// It replaced an older message of its topic.
    Replaced,
    /// It was dropped.
    NoRoom,
}

/// The queue.
#[derive(Debug)]
pub(crate) struct Waiting {
    keep: Keep,
    messages: VecDeque<PictureMessage>,
    bytes: usize,
    most_bytes: usize,
}

impl Waiting {
    /// An empty queue for at most `most_bytes` of payloads (one message always has room).
    pub(crate) fn new(keep: Keep, most_bytes: usize) -> Self {
        Self { keep, messages: VecDeque::new(), bytes: 0, most_bytes }
    }

    /// Adds a message if there is room.
    pub(crate) fn put(&mut self, message: PictureMessage) -> Put {
        let same =
            |waiting: &&mut PictureMessage| self.keep == Keep::Newest && waiting.topic == message.topic;
        let size = message.payload.len();
        if let Some(older) = self.messages.iter_mut().find(same) {
            let without = self.bytes - older.payload.len();
            if without > 0 && without + size > self.most_bytes {
                return Put::NoRoom;
            }
            // At the same position, so that a topic keeps its turn.
            *older = message;
            self.bytes = without + size;
            return Put::Replaced;
        }
        if !self.has_room(size) {
            return Put::NoRoom;
        }
        self.bytes += size;
        self.messages.push_back(message);
        Put::Waits
    }

    /// Whether a message of `size` bytes has room.
    pub(crate) fn has_room(&self, size: usize) -> bool {
        self.messages.is_empty() || self.messages.len() < MOST && self.bytes + size <= self.most_bytes
    }

    /// Takes the next message.
    pub(crate) fn next(&mut self) -> Option<PictureMessage> {
        let message = self.messages.pop_front()?;
        self.bytes -= message.payload.len();
        Some(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(topic: &str, text: &str) -> PictureMessage {
        let (topic, payload) = (topic.to_owned(), text.as_bytes().to_vec());
        PictureMessage { topic, payload, arrived: Timestamp::UNIX_EPOCH, receipt: None }
    }

    fn all(waiting: &mut Waiting) -> Vec<String> {
        let text = |message: PictureMessage| String::from_utf8(message.payload).unwrap();
        std::iter::from_fn(|| waiting.next()).map(text).collect()
    }

    #[test]
    fn topics_take_turns_with_their_newest_message() {
        let mut waiting = Waiting::new(Keep::Newest, 100);
        let put = [("a", "a1"), ("a", "a2"), ("b", "b1"), ("a", "a3")];
        let put = put.map(|(topic, text)| waiting.put(message(topic, text)));
        assert_eq!(put, [Put::Waits, Put::Replaced, Put::Waits, Put::Replaced]);
        assert_eq!(waiting.next().unwrap().payload, b"a3");
        waiting.put(message("a", "a4"));
        assert_eq!(all(&mut waiting), ["b1", "a4"], "after its turn a topic is last again");
    }

    #[test]
    fn a_flood_on_one_topic_does_not_delay_another() {
        let mut waiting = Waiting::new(Keep::Newest, 1000);
        let (mut flood, mut quiet) = (0, 0);
        for round in 0..100 {
            for _ in 0..50 {
                waiting.put(message("flood", "x"));
            }
            if round % 2 == 0 {
                waiting.put(message("quiet", "y"));
            }
            match &*waiting.next().unwrap().topic {
                "flood" => flood += 1,
                _ => quiet += 1,
            }
        }
        assert_eq!((flood, quiet), (50, 50), "one message in two rounds, and each is taken");
    }

    #[test]
    fn the_queue_keeps_its_bounds() {
        let mut waiting = Waiting::new(Keep::Newest, 10);
        let put =
            [("a", "1234"), ("b", "1234"), ("c", "1234"), ("a", "123456"), ("a", "1234567"), ("c", "12")];
        let put = put.map(|(topic, text)| waiting.put(message(topic, text)));
        assert_eq!(put, [Put::Waits, Put::Waits, Put::NoRoom, Put::Replaced, Put::NoRoom, Put::NoRoom]);
        assert_eq!((waiting.bytes, waiting.has_room(0), waiting.has_room(1)), (10, true, false));
        assert_eq!(all(&mut waiting), ["123456", "1234"]);
        assert!(waiting.has_room(11));
        assert_eq!(waiting.put(message("a", "12345678901")), Put::Waits, "one message always has room");
        assert_eq!(waiting.put(message("a", "123456789012")), Put::Replaced);
        assert_eq!((all(&mut waiting).len(), waiting.bytes), (1, 0));

        let put: Vec<_> = (0..1000).map(|number| waiting.put(message(&number.to_string(), ""))).collect();
        assert_eq!(put.iter().filter(|put| **put == Put::Waits).count(), MOST);
        assert!(!waiting.has_room(0));
    }

    #[test]
    fn a_shared_source_keeps_every_message_in_order() {
        let mut waiting = Waiting::new(Keep::All, 100);
        ["1", "2", "3"].into_iter().for_each(|text| assert_eq!(waiting.put(message("a", text)), Put::Waits));
        assert_eq!(all(&mut waiting), ["1", "2", "3"]);
    }
}
