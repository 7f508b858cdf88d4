//! A broker in memory for unit tests. The test plays the broker itself; there is no socket and no clock.

use tokio::sync::mpsc;

use super::{
    connection::{Event, Filter, Message, Options, Unsent},
    failure::ConnectionFailure,
};

/// More than any test leaves unread.
const ROOM: usize = 1000;

/// What a client asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// To publish a message at least once.
    Publish {
        /// Its topic.
        topic: String,
        /// Its content.
        payload: Vec<u8>,
        /// Whether it is to be retained.
        retain: bool,
        /// Its packet identifier.
        id: u16,
    },
    /// To publish a message at most once, to this topic.
    Offer(String),
    /// To subscribe to this topic.
    Subscribe(String),
    /// To acknowledge a message with this identifier.
    Acknowledge(u16),
    /// To end the connection.
    Disconnect,
}

/// Where clients connect to.
#[derive(Debug, Clone)]
pub struct Address(mpsc::Sender<Peer>);

/// The broker, as the test plays it.
pub struct Broker(mpsc::Receiver<Peer>);

/// The broker's end of one connection. The connection breaks when it is dropped.
#[derive(Debug)]
pub struct Peer {
    requests: mpsc::Receiver<Request>,
    events: mpsc::Sender<Event>,
}

/// The client's sending side.
#[derive(Debug, Clone)]
pub struct Client(mpsc::Sender<Request>);

/// The client's side that is polled.
pub struct Events {
    requests: mpsc::Receiver<Request>,
    peer: mpsc::Sender<Request>,
    events: mpsc::Receiver<Event>,
    connected: bool,
    next_id: u16,
}

/// A broker, and the options to connect to it.
pub fn broker() -> (Options, Broker) {
    let (address, connections) = mpsc::channel(ROOM);
    (Options::Fake(Address(address)), Broker(connections))
}

impl Broker {
    /// Waits for the next connection.
    pub async fn accept(&mut self) -> Peer {
        self.next().await.expect("the client still has the address")
    }

    /// Waits for the next connection; `None` if no client has the address any more.
    pub async fn next(&mut self) -> Option<Peer> {
        self.0.recv().await
    }
}

impl Address {
    pub(super) fn connect(&self, room: usize) -> (Client, Events) {
        let (client, requests) = mpsc::channel(room);
        let (peer, received) = mpsc::channel(ROOM);
        let (sender, events) = mpsc::channel(ROOM);
        // Without a broker the sender is dropped, and the connection breaks.
        let _ = self.0.try_send(Peer { requests: received, events: sender });
        (Client(client), Events { requests, peer, events, connected: false, next_id: 1 })
    }
}

impl Peer {
    /// Sends an event to the client.
    pub async fn send(&self, event: Event) {
        let _ = self.events.send(event).await;
    }

    /// Waits for the next request; `None` if the client is gone.
    pub async fn next(&mut self) -> Option<Request> {
        self.requests.recv().await
    }

    /// Waits for a message, and returns its topic and packet identifier.
    pub async fn published(&mut self) -> (String, u16) {
        match self.next().await {
            Some(Request::Publish { topic, id, .. }) => (topic, id),
            other => panic!("no message but {other:?}"),
        }
    }
}

impl Client {
    pub(super) fn publish(&self, message: Message<'_>, payload: Vec<u8>) -> Result<(), Unsent> {
        let (topic, retain) = (message.topic.to_owned(), message.retain);
        if topic.contains(['+', '#']) {
            return Err(Unsent);
        }
        self.request(Request::Publish { topic, payload, retain, id: 0 })
    }

    pub(super) fn subscribe(&self, filters: &[Filter]) -> Result<(), Unsent> {
        filters.iter().try_for_each(|filter| self.request(Request::Subscribe(filter.path.clone())))
    }

    pub(super) fn request(&self, request: Request) -> Result<(), Unsent> {
        self.0.try_send(request).map_err(|_| Unsent)
    }
}

impl Events {
    pub(super) async fn poll(&mut self) -> Result<Event, ConnectionFailure> {
        let mut request = tokio::select! {
            biased;
            event = self.events.recv() => {
                let event = event.ok_or_else(aborted)?;
                self.connected |= matches!(event, Event::Connected { .. });
                return Ok(event);
            }
            // The client's half lives longer than this one.
            Some(request) = self.requests.recv(), if self.connected => request,
        };
        let event = match &mut request {
            Request::Publish { id, .. } => {
                *id = self.next_id;
                self.next_id += 1;
                Event::Sent(*id)
            }
            Request::Offer(_) => Event::Sent(0),
            Request::Disconnect => Event::Disconnected,
            Request::Subscribe(_) | Request::Acknowledge(_) => Event::Other,
        };
        self.peer.try_send(request).map_err(|_| aborted())?;
        Ok(event)
    }
}

fn aborted() -> ConnectionFailure {
    use rumqttc::v5::{ConnectionError, StateError};

    ConnectionFailure::v5(ConnectionError::MqttState(StateError::ConnectionAborted), true)
}
