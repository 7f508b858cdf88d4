//! Acknowledges the messages of a shared subscription in the order in which they arrived, each after it was handled.
//!
//! If the connection breaks, the broker delivers unacknowledged messages again, to this machine or another of the group. So
//! a picture is acknowledged only after it was scored and its alerts are on disk, or if it cannot be used.

use std::collections::VecDeque;

use tokio::sync::mpsc;

/// Represents one message. When the receipt is dropped, the message is acknowledged, unless its connection is closed: then
/// its identifier is no longer valid.
#[derive(Debug)]
pub(crate) struct Receipt {
    id: u16,
    done: mpsc::Sender<u16>,
    withheld: bool,
}

impl Receipt {
    /// The message is not acknowledged: the broker delivers it again, to another machine, or to this one after a new
    /// connection.
    pub(crate) fn withhold(mut self) {
        self.withheld = true;
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        if !self.withheld {
            // The channel has room for every message in flight.
            let _ = self.done.try_send(self.id);
        }
    }
}

/// The messages of one connection that are not acknowledged yet.
#[derive(Debug)]
pub(crate) struct Acks {
    sender: mpsc::Sender<u16>,
    outstanding: VecDeque<(u16, bool)>,
}

impl Acks {
    /// No messages, and at most `most` in flight. The identifiers of dropped receipts arrive at the receiver.
    pub(crate) fn new(most: usize) -> (Self, mpsc::Receiver<u16>) {
        let (sender, done) = mpsc::channel(most);
        (Self { sender, outstanding: VecDeque::new() }, done)
    }

    /// Records a message that arrived.
    pub(crate) fn receipt(&mut self, id: u16) -> Receipt {
        self.outstanding.push_back((id, false));
        Receipt { id, done: self.sender.clone(), withheld: false }
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
        drop(two);
        assert_eq!(acks.done(done.try_recv().unwrap()), [0; 0], "the first is not handled");
        drop(one);
        assert_eq!(acks.done(done.try_recv().unwrap()), [7, 8]);
        drop(three);
        assert_eq!(acks.done(done.try_recv().unwrap()), [9]);
        assert_eq!(acks.done(9), [0; 0], "once");
        acks.receipt(10).withhold();
        assert!(done.try_recv().is_err());
    }

    #[test]
    fn a_receipt_of_an_old_connection_has_no_effect() {
        let (mut acks, done) = Acks::new(1);
        let receipt = acks.receipt(1);
        drop(done);
        drop(receipt);
    }
}
