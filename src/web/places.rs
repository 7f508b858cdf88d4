//! Decides which connection is closed when there are too many. It opens and closes none itself.
//!
//! A new connection always gets a place, so no number of silent clients keeps another client out: the oldest connection that
//! has not shown the token makes room. Connections of this machine have places of their own, so other machines cannot keep
//! the health check of a container out.

use std::{collections::BTreeMap, net::IpAddr};

/// The most connections of this machine.
const MOST_OF_THIS_MACHINE: usize = 16;
/// The most connections of all other machines.
const MOST_OF_OTHERS: usize = 48;
/// The most connections of one other machine.
const MOST_OF_ONE: usize = 8;

/// Who is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Peer {
    /// A program of this machine.
    ThisMachine,
    /// Another machine, by its address. Of IPv6 only the network counts: one machine may use all addresses of its network.
    Other(IpAddr),
}

impl Peer {
    /// The client at `peer` of a connection to `own`.
    pub(super) fn of(peer: IpAddr, own: IpAddr) -> Self {
        match peer.to_canonical() {
            peer if peer.is_loopback() || peer == own.to_canonical() => Self::ThisMachine,
            IpAddr::V6(address) => Self::Other(IpAddr::V6((address.to_bits() >> 64 << 64).into())),
            address => Self::Other(address),
        }
    }
}

/// The open connections, by their numbers, which grow with time. `C` closes a connection.
#[derive(Debug)]
pub(super) struct Places<C> {
    next: u64,
    open: BTreeMap<u64, Place<C>>,
}

#[derive(Debug)]
struct Place<C> {
    peer: Peer,
    /// Its request had the token and is being answered.
    is_trusted: bool,
    closer: C,
}

impl<C> Places<C> {
    /// No connection.
    pub(super) fn new() -> Self {
        Self { next: 0, open: BTreeMap::new() }
    }

    /// Gives a place to a new connection: its number, and what closes the connection that has to make room.
    pub(super) fn enter(&mut self, peer: Peer, closer: C) -> (u64, Option<C>) {
        let makes_room = match peer {
            Peer::ThisMachine => self.full(MOST_OF_THIS_MACHINE, |other| other == Peer::ThisMachine),
            Peer::Other(_) => self
                .full(MOST_OF_ONE, |other| other == peer)
                .or_else(|| self.full(MOST_OF_OTHERS, |other| other != Peer::ThisMachine)),
        };
        let closed = makes_room.and_then(|number| self.open.remove(&number));
        let number = self.next;
        self.next += 1;
        self.open.insert(number, Place { peer, is_trusted: false, closer });
        (number, closed.map(|place| place.closer))
    }

    /// The connection has shown the token. It makes room only if no other connection can.
    pub(super) fn trust(&mut self, number: u64) {
        if let Some(place) = self.open.get_mut(&number) {
            place.is_trusted = true;
        }
    }

    /// The connection has its answer.
    pub(super) fn answered(&mut self, number: u64) {
        if let Some(place) = self.open.get_mut(&number) {
            place.is_trusted = false;
        }
    }

    /// The connection is closed.
    pub(super) fn remove(&mut self, number: u64) {
        self.open.remove(&number);
    }

    /// What closes the connection that is needed least, because the process has no descriptor left.
    pub(super) fn make_room(&mut self) -> Option<C> {
        let number = self.least(|_| true)?;
        self.open.remove(&number).map(|place| place.closer)
    }

    /// The connection that makes room if at least `most` connections are of these peers.
    fn full(&self, most: usize, counts: impl Fn(Peer) -> bool) -> Option<u64> {
        let count = self.open.values().filter(|place| counts(place.peer)).count();
        if count >= most { self.least(counts) } else { None }
    }

    /// The oldest connection without the token, or else the oldest one.
    fn least(&self, counts: impl Fn(Peer) -> bool) -> Option<u64> {
        let candidates = self.open.iter().filter(|(_, place)| counts(place.peer));
        candidates.min_by_key(|(number, place)| (place.is_trusted, **number)).map(|(number, _)| *number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(address: &str) -> Peer {
        Peer::of(address.parse().unwrap(), "10.0.0.1".parse().unwrap())
    }

    #[test]
    fn peers() {
        for (address, expected) in [
            ("127.0.0.1", Peer::ThisMachine),
            ("127.1.2.3", Peer::ThisMachine),
            ("::1", Peer::ThisMachine),
            ("::ffff:127.0.0.1", Peer::ThisMachine),
            ("10.0.0.1", Peer::ThisMachine),
            ("10.0.0.2", Peer::Other("10.0.0.2".parse().unwrap())),
            ("::ffff:10.0.0.2", Peer::Other("10.0.0.2".parse().unwrap())),
            ("2001:db8:1:2:3:4:5:6", Peer::Other("2001:db8:1:2::".parse().unwrap())),
        ] {
            assert_eq!(peer(address), expected, "{address}");
        }
    }

    /// What is closed when each of these peers connects: the number of the connection.
    fn closed(places: &mut Places<u64>, peers: impl IntoIterator<Item = Peer>) -> Vec<Option<u64>> {
        peers.into_iter().map(|peer| places.enter(peer, places.next).1).collect()
    }

    #[test]
    fn the_oldest_connection_of_the_same_client_makes_room() {
        let (here, there) = (peer("::1"), peer("10.0.0.2"));
        for (peer, most) in [(here, MOST_OF_THIS_MACHINE), (there, MOST_OF_ONE)] {
            let mut places = Places::new();
            assert_eq!(closed(&mut places, vec![peer; most]), vec![None; most]);
            assert_eq!(closed(&mut places, [peer, peer]), [Some(0), Some(1)]);
            places.remove(2);
            assert_eq!(closed(&mut places, [peer, peer]), [None, Some(3)]);
        }
    }

    #[test]
    fn other_machines_do_not_take_the_places_of_this_one() {
        let mut places = Places::new();
        let others = (0..MOST_OF_OTHERS).map(|number| peer(&format!("10.1.0.{number}")));
        assert_eq!(closed(&mut places, others), vec![None; MOST_OF_OTHERS]);
        let this = vec![Peer::ThisMachine; MOST_OF_THIS_MACHINE];
        assert_eq!(closed(&mut places, this), vec![None; MOST_OF_THIS_MACHINE]);
        assert_eq!(closed(&mut places, [peer("10.2.0.1")]), [Some(0)], "the oldest of the others");
        let first_of_this = u64::try_from(MOST_OF_OTHERS).unwrap();
        assert_eq!(closed(&mut places, [Peer::ThisMachine]), [Some(first_of_this)]);
    }

    #[test]
    fn a_connection_with_the_token_makes_room_last() {
        let mut places = Places::new();
        closed(&mut places, vec![peer("10.0.0.2"); MOST_OF_ONE]);
        [0, 1].into_iter().for_each(|number| places.trust(number));
        assert_eq!(closed(&mut places, vec![peer("10.0.0.2"); 2]), [Some(2), Some(3)]);
        places.answered(1);
        assert_eq!(closed(&mut places, [peer("10.0.0.2")]), [Some(1)]);
        (4..11).for_each(|number| places.trust(number));
        assert_eq!(closed(&mut places, [peer("10.0.0.2")]), [Some(0)], "all of them have shown it");
    }

    #[test]
    fn without_descriptors_the_oldest_connection_is_closed() {
        let mut places = Places::new();
        assert_eq!(places.make_room(), None);
        closed(&mut places, [peer("::1"), peer("10.0.0.2"), peer("10.0.0.3")]);
        places.trust(0);
        assert_eq!([places.make_room(), places.make_room(), places.make_room()], [Some(1), Some(2), Some(0)]);
    }
}
