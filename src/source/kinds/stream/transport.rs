//! Decides over which transport an RTSP camera is tried next. Pure.
//!
//! Unless the configuration names a transport, TCP is tried first, because it loses nothing. A camera that refuses it, or that
//! accepts it and then sends nothing, is tried over UDP, and the other way round.

use super::settings::Transport;

/// How a connection over one transport went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Packets arrived.
    Delivered,
    /// The camera accepted the transport, and no packet arrived.
    Silent,
    /// The camera answered, and the stream could not be opened over this transport.
    Refused,
    /// It failed for a reason that another transport cannot help: no answer, a wrong password, a wrong address.
    Unrelated,
}

/// The transports of one camera.
#[derive(Debug, Clone)]
pub(crate) struct Transports {
    configured: Option<Transport>,
    next: Transport,
}

impl Transports {
    pub(crate) fn new(configured: Option<Transport>) -> Self {
        Self { configured, next: configured.unwrap_or(Transport::Tcp) }
    }

    /// The transport of the next connection.
    pub(crate) fn next(&self) -> Transport {
        self.next
    }

    /// Records how the connection over [`Self::next`] went. Whether the next connection uses another transport.
    pub(crate) fn record(&mut self, outcome: Outcome) -> bool {
        let changes = self.configured.is_none() && matches!(outcome, Outcome::Silent | Outcome::Refused);
        if changes {
            self.next = self.next.other();
        }
        changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Outcome::{Delivered, Refused, Silent, Unrelated};
    use Transport::{Tcp, Udp};

    #[test]
    fn which_transport_is_tried() {
        /// A name, what is configured, the outcomes, and what is tried.
        type Case = (&'static str, Option<Transport>, &'static [Outcome], &'static [Transport]);
        let cases: [Case; 6] = [
            ("it works", None, &[Delivered, Delivered], &[Tcp, Tcp, Tcp]),
            ("TCP is refused", None, &[Refused, Delivered, Delivered], &[Tcp, Udp, Udp, Udp]),
            ("nothing arrives over TCP", None, &[Silent, Delivered], &[Tcp, Udp, Udp]),
            ("neither works", None, &[Refused, Silent, Refused], &[Tcp, Udp, Tcp, Udp]),
            ("the camera is off", None, &[Unrelated, Unrelated], &[Tcp, Tcp, Tcp]),
            ("configured", Some(Udp), &[Refused, Silent, Delivered], &[Udp, Udp, Udp, Udp]),
        ];
        for (name, configured, outcomes, expected) in cases {
            let mut transports = Transports::new(configured);
            let mut tried = vec![transports.next()];
            for outcome in outcomes {
                transports.record(*outcome);
                tried.push(transports.next());
            }
            assert_eq!(tried, expected, "{name}");
        }
    }
}
