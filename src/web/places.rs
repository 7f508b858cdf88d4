//! Decides which connection is closed when there are too many. It opens and closes none itself.
//!
//! A new connection always gets a place, so no number of silent clients keeps another client out: the oldest connection that
//! has not shown who it is makes room. Connections of this machine have places of their own, so other machines cannot keep
//! the health check of a container out.
//!
//! A connection whose request has shown who its client is (by a token, a sign-in, or the supervisor of Home Assistant) moves to places of
//! its own, and no silent client takes one of these. Many people may share an address: behind a proxy, behind the supervisor, or in one
//! network of IPv6.

use std::{collections::BTreeMap, net::IpAddr};

/// The most connections of this machine that have not shown who they are.
const MOST_OF_THIS_MACHINE: usize = 16;
/// The same for all other machines.
const MOST_OF_OTHERS: usize = 48;
/// The same for one other machine.
const MOST_OF_ONE: usize = 8;
/// The same for a proxy, and for a peer that has shown who it is on another connection: browsers open several at once.
const MOST_OF_KNOWN: usize = 32;
/// The most connections of one peer that have shown who they are.
const MOST_TRUSTED_OF_ONE: usize = 64;
/// The same for all peers.
const MOST_TRUSTED: usize = 96;

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

/// The peers that the configuration names as proxies, which forward requests of many people.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Proxies {
    /// Any peer may be a proxy: the address that people use is that of one.
    pub(super) any: bool,
    /// The supervisor of Home Assistant, if it is believed.
    pub(super) supervisor: Option<IpAddr>,
}

impl Proxies {
    fn contains(self, peer: Peer) -> bool {
        self.any || matches!(peer, Peer::Other(address) if self.supervisor == Some(address))
    }
}

/// The open connections, by their numbers, which grow with time. `C` closes a connection.
#[derive(Debug)]
pub(super) struct Places<C> {
    next: u64,
    open: BTreeMap<u64, Place<C>>,
    proxies: Proxies,
}

#[derive(Debug)]
struct Place<C> {
    peer: Peer,
    /// Its request has shown who its client is.
    is_trusted: bool,
    stage: Stage,
    closer: C,
}

/// What a connection does. The first ones make room before the others, among those that have shown who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    /// It has its answer, and its client may close it.
    Answered,
    /// Its request arrives, or is being answered.
    Asking,
    /// It receives events as they happen.
    Following,
}

impl<C> Places<C> {
    /// No connection.
    pub(super) fn new(proxies: Proxies) -> Self {
        Self { next: 0, open: BTreeMap::new(), proxies }
    }

    /// Gives a place to a new connection: its number, and what closes the connection that has to make room.
    pub(super) fn enter(&mut self, peer: Peer, closer: C) -> (u64, Option<C>) {
        let most = self.most(peer);
        let makes_room = self.full(most, |other| !other.is_trusted && other.peer == peer).or_else(|| {
            let is_other = |peer: Peer| matches!(peer, Peer::Other(_));
            is_other(peer)
                .then(|| self.full(MOST_OF_OTHERS, |other| !other.is_trusted && is_other(other.peer)))
                .flatten()
        });
        let closed = makes_room.and_then(|number| self.open.remove(&number));
        let number = self.next;
        self.next += 1;
        self.open.insert(number, Place { peer, is_trusted: false, stage: Stage::Asking, closer });
        (number, closed.map(|place| place.closer))
    }

    /// The most connections of a peer that have not shown who they are.
    fn most(&self, peer: Peer) -> usize {
        let is_known = || self.open.values().any(|place| place.is_trusted && place.peer == peer);
        match peer {
            _ if self.proxies.contains(peer) || is_known() => MOST_OF_KNOWN,
            Peer::ThisMachine => MOST_OF_THIS_MACHINE,
            Peer::Other(_) => MOST_OF_ONE,
        }
    }

    /// The connection has shown who its client is. Returns what closes the connection that has to make room.
    pub(super) fn trust(&mut self, number: u64) -> Option<C> {
        let peer = self.open.get(&number).filter(|place| !place.is_trusted)?.peer;
        let makes_room = self
            .full(MOST_TRUSTED_OF_ONE, |other| other.is_trusted && other.peer == peer)
            .or_else(|| self.full(MOST_TRUSTED, |other| other.is_trusted));
        if let Some(place) = self.open.get_mut(&number) {
            place.is_trusted = true;
        }
        makes_room.and_then(|number| self.open.remove(&number)).map(|place| place.closer)
    }

    /// The connection receives events as they happen.
    pub(super) fn follows(&mut self, number: u64) {
        self.set(number, Stage::Following);
    }

    /// The connection has its answer.
    pub(super) fn answered(&mut self, number: u64) {
        self.set(number, Stage::Answered);
    }

    fn set(&mut self, number: u64, stage: Stage) {
        if let Some(place) = self.open.get_mut(&number) {
            place.stage = stage;
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

    /// The connection that makes room if at least `most` of these connections are open.
    fn full(&self, most: usize, counts: impl Fn(&Place<C>) -> bool) -> Option<u64> {
        let count = self.open.values().filter(|place| counts(place)).count();
        if count >= most { self.least(counts) } else { None }
    }

    /// The oldest connection that has not shown who it is. If all have, the oldest one of the first stage that there is.
    fn least(&self, counts: impl Fn(&Place<C>) -> bool) -> Option<u64> {
        let candidates = self.open.iter().filter(|(_, place)| counts(place));
        let order = |place: &Place<C>| place.is_trusted.then_some(place.stage);
        candidates.min_by_key(|(number, place)| (order(place), **number)).map(|(number, _)| *number)
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

    fn places() -> Places<u64> {
        Places::new(Proxies::default())
    }

    /// What is closed when each of these peers connects: the number of the connection.
    fn closed(places: &mut Places<u64>, peers: impl IntoIterator<Item = Peer>) -> Vec<Option<u64>> {
        peers.into_iter().map(|peer| places.enter(peer, places.next).1).collect()
    }

    /// A connection of a client that shows at once who it is: its number, and what is closed for it.
    fn trusted(places: &mut Places<u64>, peer: Peer) -> (u64, [Option<u64>; 2]) {
        let (number, closed) = places.enter(peer, places.next);
        (number, [closed, places.trust(number)])
    }

    #[test]
    fn the_oldest_connection_of_the_same_client_makes_room() {
        let (here, there) = (peer("::1"), peer("10.0.0.2"));
        for (peer, most) in [(here, MOST_OF_THIS_MACHINE), (there, MOST_OF_ONE)] {
            let mut places = places();
            assert_eq!(closed(&mut places, vec![peer; most]), vec![None; most]);
            assert_eq!(closed(&mut places, [peer, peer]), [Some(0), Some(1)]);
            places.remove(2);
            assert_eq!(closed(&mut places, [peer, peer]), [None, Some(3)]);
        }
    }

    #[test]
    fn other_machines_do_not_take_the_places_of_this_one() {
        let mut places = places();
        let others = (0..MOST_OF_OTHERS).map(|number| peer(&format!("10.1.0.{number}")));
        assert_eq!(closed(&mut places, others), vec![None; MOST_OF_OTHERS]);
        let this = vec![Peer::ThisMachine; MOST_OF_THIS_MACHINE];
        assert_eq!(closed(&mut places, this), vec![None; MOST_OF_THIS_MACHINE]);
        assert_eq!(closed(&mut places, [peer("10.2.0.1")]), [Some(0)], "the oldest of the others");
        let first_of_this = u64::try_from(MOST_OF_OTHERS).unwrap();
        assert_eq!(closed(&mut places, [Peer::ThisMachine]), [Some(first_of_this)]);
    }

    #[test]
    fn silent_connections_per_peer() {
        let supervisor = "172.30.32.2";
        let ingress = Proxies { any: false, supervisor: Some(supervisor.parse().unwrap()) };
        let base_url = Proxies { any: true, supervisor: None };
        let none = Proxies::default();
        for (proxies, address, has_trusted, most) in [
            (none, "::1", false, MOST_OF_THIS_MACHINE),
            (none, "10.0.0.2", false, MOST_OF_ONE),
            (none, supervisor, false, MOST_OF_ONE),
            (none, "::1", true, MOST_OF_KNOWN),
            (none, "2001:db8:1:2::7", true, MOST_OF_KNOWN),
            (ingress, supervisor, false, MOST_OF_KNOWN),
            (ingress, "10.0.0.2", false, MOST_OF_ONE),
            (base_url, "::1", false, MOST_OF_KNOWN),
            (base_url, "10.0.0.2", false, MOST_OF_KNOWN),
        ] {
            let mut places = Places::new(proxies);
            let first = if has_trusted { trusted(&mut places, peer(address)).0 + 1 } else { 0 };
            let silent = closed(&mut places, vec![peer(address); most + 1]);
            let expected = [vec![None; most], vec![Some(first)]].concat();
            assert_eq!(silent, expected, "{address} {proxies:?} {has_trusted}");
        }
    }

    #[test]
    fn silent_clients_close_no_connection_that_has_shown_who_it_is() {
        for there in [Peer::ThisMachine, peer("10.0.0.2")] {
            let mut places = places();
            let (known, _) = trusted(&mut places, there);
            places.answered(known);
            let silent = (0..500).map(|number| if number % 2 == 0 { there } else { peer("10.9.0.1") });
            assert!(!closed(&mut places, silent).contains(&Some(known)));
            // And they keep no new one out.
            assert_eq!(trusted(&mut places, there).1[1], None);
        }
    }

    #[test]
    fn two_clients_with_forty_cards_each_share_an_address() {
        for there in [Peer::ThisMachine, peer("172.30.32.2"), peer("2001:db8:1:2::7")] {
            let mut places = places();
            let streams = [0, 1].map(|_| {
                let (number, closed) = trusted(&mut places, there);
                places.follows(number);
                assert_eq!(closed, [None, None]);
                number
            });
            // A browser asks for four at once, and a proxy passes on all of them before it reads the answers.
            for _card in 0..40 {
                let asking = [(); 8].map(|()| {
                    let (number, closed) = trusted(&mut places, there);
                    assert_eq!(closed, [None, None]);
                    number
                });
                asking.into_iter().for_each(|number| places.remove(number));
            }
            // Something that asks for all of them at once loses the oldest requests, and no stream.
            let lost: Vec<_> = (0..80).filter_map(|_| trusted(&mut places, there).1[1]).collect();
            assert_eq!(lost.len(), 80 + 2 - MOST_TRUSTED_OF_ONE);
            assert!(lost.is_sorted() && !lost.iter().any(|lost| streams.contains(lost)), "{lost:?}");
        }
    }

    #[test]
    fn connections_that_have_shown_who_they_are_make_room_in_order() {
        let (mut places, there) = (places(), peer("10.0.0.2"));
        let open: Vec<u64> = (0..MOST_TRUSTED_OF_ONE).map(|_| trusted(&mut places, there).0).collect();
        places.follows(open[0]);
        places.answered(open[5]);
        assert_eq!(trusted(&mut places, there).1, [None, Some(open[5])], "what has its answer");
        assert_eq!(trusted(&mut places, there).1, [None, Some(open[1])], "the oldest request");
        places.open.values_mut().for_each(|place| place.stage = Stage::Following);
        assert_eq!(trusted(&mut places, there).1, [None, Some(open[0])], "the oldest stream");
        // Another machine has its own, until all of them are too many.
        let others: Vec<_> = (0..MOST_TRUSTED - MOST_TRUSTED_OF_ONE + 1)
            .map(|number| trusted(&mut places, peer(&format!("10.1.0.{number}"))).1[1])
            .collect();
        let (last, before) = others.split_last().unwrap();
        assert!(before.iter().all(Option::is_none), "{before:?}");
        assert!(last.is_some());
        let last = places.next - 1;
        assert_eq!(places.trust(last), None, "it has shown it already");
        assert_eq!(places.trust(open[5]), None, "it is closed");
    }

    #[test]
    fn without_descriptors_the_oldest_connection_is_closed() {
        let mut places = places();
        assert_eq!(places.make_room(), None);
        closed(&mut places, [peer("::1"), peer("10.0.0.2"), peer("10.0.0.3"), peer("10.0.0.4")]);
        [0, 3].into_iter().for_each(|number| assert_eq!(places.trust(number), None));
        places.follows(0);
        assert_eq!([(); 5].map(|()| places.make_room()), [Some(1), Some(2), Some(3), Some(0), None]);
    }
}
