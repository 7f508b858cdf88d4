//! The messages that wait for their turn: bounded in number and in bytes, and fair between topics.
//!
//! Pure. A live source keeps the newest message of each topic, and each topic has its turn: who publishes a hundred
//! pictures a second is seen no more often than who publishes one. A shared one keeps every message in order. It refuses
//! to grow: what finds no room is told, so that it can be counted.

use std::collections::VecDeque;

use jiff::Timestamp;

use super::acks::Receipt;

/// So many messages wait at most.
const MOST: usize = 256;

/// A message that arrived.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) topic: String,
    pub(crate) payload: Vec<u8>,
    pub(crate) arrived: Timestamp,
    /// Acknowledges it when it is dropped.
    pub(crate) receipt: Option<Receipt>,
}

/// What is kept of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    /// Only the newest.
    Newest,
    /// Every one.
    All,
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Put {
    /// It waits.
    Waits,
    /// It waits in the place of an older one of its topic, which is gone.
    Replaced,
    /// It is gone.
    NoRoom,
}

/// The queue.
#[derive(Debug)]
pub(crate) struct Waiting {
    keep: Keep,
    messages: VecDeque<Message>,
    bytes: usize,
    most_bytes: usize,
}

impl Waiting {
    /// Nothing yet, and never more than `most_bytes` of payloads (one message always has room).
    pub(crate) fn new(keep: Keep, most_bytes: usize) -> Self {
        Self { keep, messages: VecDeque::new(), bytes: 0, most_bytes }
    }

    /// Takes a message in, if there is room for it.
    pub(crate) fn put(&mut self, message: Message) -> Put {
        let same = |waiting: &&mut Message| self.keep == Keep::Newest && waiting.topic == message.topic;
        let size = message.payload.len();
        if let Some(older) = self.messages.iter_mut().find(same) {
            let without = self.bytes - older.payload.len();
            if without > 0 && without + size > self.most_bytes {
                return Put::NoRoom;
            }
            // In its place, so that a topic does not lose its turn to its own newer pictures.
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

    /// Whether a message of at most so many bytes would wait.
    pub(crate) fn has_room(&self, size: usize) -> bool {
        self.messages.is_empty() || self.messages.len() < MOST && self.bytes + size <= self.most_bytes
    }

    /// The message whose turn it is.
    pub(crate) fn next(&mut self) -> Option<Message> {
        let message = self.messages.pop_front()?;
        self.bytes -= message.payload.len();
        Some(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(topic: &str, text: &str) -> Message {
        let (topic, payload) = (topic.to_owned(), text.as_bytes().to_vec());
        Message { topic, payload, arrived: Timestamp::UNIX_EPOCH, receipt: None }
    }

    fn all(waiting: &mut Waiting) -> Vec<String> {
        let text = |message: Message| String::from_utf8(message.payload).unwrap();
        std::iter::from_fn(|| waiting.next()).map(text).collect()
    }

    #[test]
    fn each_topic_has_its_turn_with_its_newest() {
        let mut waiting = Waiting::new(Keep::Newest, 100);
        let put = [("a", "a1"), ("a", "a2"), ("b", "b1"), ("a", "a3")];
        let put = put.map(|(topic, text)| waiting.put(message(topic, text)));
        assert_eq!(put, [Put::Waits, Put::Replaced, Put::Waits, Put::Replaced]);
        assert_eq!(waiting.next().unwrap().payload, b"a3");
        waiting.put(message("a", "a4"));
        assert_eq!(all(&mut waiting), ["b1", "a4"], "who had his turn is last again");
    }

    #[test]
    fn a_flood_on_one_topic_takes_nothing_from_another() {
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
        assert_eq!((flood, quiet), (50, 50), "one frame in two rounds, and each of them is seen");
    }

    #[test]
    fn it_never_grows_beyond_its_bounds() {
        let mut waiting = Waiting::new(Keep::Newest, 10);
        let put =
            [("a", "1234"), ("b", "1234"), ("c", "1234"), ("a", "123456"), ("a", "1234567"), ("c", "12")];
        let put = put.map(|(topic, text)| waiting.put(message(topic, text)));
        assert_eq!(put, [Put::Waits, Put::Waits, Put::NoRoom, Put::Replaced, Put::NoRoom, Put::NoRoom]);
        assert_eq!((waiting.bytes, waiting.has_room(0), waiting.has_room(1)), (10, true, false));
        assert_eq!(all(&mut waiting), ["123456", "1234"]);
        assert!(waiting.has_room(11));
        assert_eq!(waiting.put(message("a", "12345678901")), Put::Waits, "one always has room");
        assert_eq!(waiting.put(message("a", "123456789012")), Put::Replaced);
        assert_eq!((all(&mut waiting).len(), waiting.bytes), (1, 0));

        let put: Vec<_> = (0..1000).map(|number| waiting.put(message(&number.to_string(), ""))).collect();
        assert_eq!(put.iter().filter(|put| **put == Put::Waits).count(), MOST);
        assert!(!waiting.has_room(0));
    }

    #[test]
    fn a_shared_one_keeps_every_message_in_order() {
        let mut waiting = Waiting::new(Keep::All, 100);
        ["1", "2", "3"].into_iter().for_each(|text| assert_eq!(waiting.put(message("a", text)), Put::Waits));
        assert_eq!(all(&mut waiting), ["1", "2", "3"]);
    }
}
