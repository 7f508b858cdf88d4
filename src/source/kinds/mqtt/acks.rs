//! Acknowledgements of a shared subscription: each message is acknowledged when nobody needs it any more, in the order in
//! which they came.
//!
//! What is not acknowledged when the connection breaks is given again, to us or to another of the group: so a picture
//! counts as taken only when it was scored and its alerts are on disk, or when it is known to be of no use.

use std::collections::VecDeque;

use tokio::sync::mpsc;

/// Stands for one message. When it is dropped, wherever that is, the message is acknowledged; unless its connection is
/// gone, with which its number has lost its meaning.
#[derive(Debug)]
pub(crate) struct Receipt {
    id: u16,
    done: mpsc::Sender<u16>,
    withheld: bool,
}

impl Receipt {
    /// The message is not acknowledged, and is given again: to another, or to us after a new connection.
    pub(crate) fn withhold(mut self) {
        self.withheld = true;
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        if !self.withheld {
            // There is a place for every message that may be under way.
            let _ = self.done.try_send(self.id);
        }
    }
}

/// Which messages of one connection are not acknowledged yet.
#[derive(Debug)]
pub(crate) struct Acks {
    sender: mpsc::Sender<u16>,
    outstanding: VecDeque<(u16, bool)>,
}

impl Acks {
    /// None yet; no more than `most` may be under way. Receipts that are dropped come out at the other end.
    pub(crate) fn new(most: usize) -> (Self, mpsc::Receiver<u16>) {
        let (sender, done) = mpsc::channel(most);
        (Self { sender, outstanding: VecDeque::new() }, done)
    }

    /// A message has come.
    pub(crate) fn receipt(&mut self, id: u16) -> Receipt {
        self.outstanding.push_back((id, false));
        Receipt { id, done: self.sender.clone(), withheld: false }
    }

    /// Nobody needs this message any more. What may be acknowledged now, in order: MQTT asks for that.
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
        assert_eq!(acks.done(done.try_recv().unwrap()), [0; 0], "the first is still needed");
        drop(one);
        assert_eq!(acks.done(done.try_recv().unwrap()), [7, 8]);
        drop(three);
        assert_eq!(acks.done(done.try_recv().unwrap()), [9]);
        assert_eq!(acks.done(9), [0; 0], "once");
        acks.receipt(10).withhold();
        assert!(done.try_recv().is_err());
    }

    #[test]
    fn a_receipt_of_an_old_connection_means_nothing() {
        let (mut acks, done) = Acks::new(1);
        let receipt = acks.receipt(1);
        drop(done);
        drop(receipt);
    }
}
