//! Acknowledges the messages of a shared subscription in the order in which they arrived, each after it was handled.
//!
//! If the connection breaks, the broker delivers unacknowledged messages again, to this machine or another of the group. So
//! a picture is acknowledged only after it was scored and its alerts are on disk, or if it cannot be used.

use std::collections::VecDeque;

use tokio::sync::mpsc;

/// Represents one message. If the receipt is dropped, the message is not acknowledged: the broker delivers it again, to another
/// machine, or to this one after a new connection.
#[derive(Debug)]
pub(crate) struct Receipt {
    id: u16,
    done: mpsc::Sender<u16>,
}

impl Receipt {
    /// The message was handled: it is acknowledged, unless its connection is closed. Then its identifier is no longer valid.
    pub(crate) fn acknowledge(self) {
        // The channel has room for every message in flight.
        let _ = self.done.try_send(self.id);
    }
}

/// The messages of one connection that are not acknowledged yet.
#[derive(Debug)]
pub(crate) struct Acks {
    sender: mpsc::Sender<u16>,
    outstanding: VecDeque<(u16, bool)>,
}

impl Acks {
    /// No messages, and at most `most` in flight. The identifiers of handled messages arrive at the receiver.
    pub(crate) fn new(most: usize) -> (Self, mpsc::Receiver<u16>) {
        let (sender, done) = mpsc::channel(most);
        (Self { sender, outstanding: VecDeque::new() }, done)
    }

    /// Whether every message is acknowledged.
    pub(crate) fn is_empty(&self) -> bool {
        self.outstanding.is_empty()
    }

    /// Records a message that arrived.
    pub(crate) fn receipt(&mut self, id: u16) -> Receipt {
        self.outstanding.push_back((id, false));
        Receipt { id, done: self.sender.clone() }
    }

    /// Records that this message was handled. The messages to acknowledge now, in the order that MQTT requires.
    pub(crate) fn done(&mut self, id: u16) -> Vec<u16> {
        if let Some(message) = self.outstanding.iter_mut().find(|message| message.0 == id && !message.1) {
            message.1 = true;
        }
        let ready = self.outstanding.iter().take_while(|message| message.1).count();
        self.outstanding.drain(..ready).map(|message| message.0).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acknowledged_in_the_order_of_arrival() {
        let (mut acks, mut done) = Acks::new(4);
        let [one, two, three] = [7, 8, 9].map(|id| acks.receipt(id));
        two.acknowledge();
        assert_eq!(acks.done(done.try_recv().unwrap()), [0; 0], "the first is not handled");
        one.acknowledge();
        assert_eq!(acks.done(done.try_recv().unwrap()), [7, 8]);
        three.acknowledge();
        assert_eq!(acks.done(done.try_recv().unwrap()), [9]);
        assert_eq!(acks.done(9), [0; 0], "once");
        drop(acks.receipt(10));
        assert!(done.try_recv().is_err(), "a receipt that is dropped acknowledges nothing");
    }

    #[test]
    fn a_receipt_of_an_old_connection_has_no_effect() {
        let (mut acks, done) = Acks::new(1);
        let receipt = acks.receipt(1);
        drop(done);
        receipt.acknowledge();
    }
}
