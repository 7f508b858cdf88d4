//! Alerts, scores and changes of state as they happen, for clients that stay connected (server-sent events).
//!
//! Each client has a bounded queue. A client that reads too slowly loses events, and receives their number. Neither it nor the number
//! of clients holds up anything else.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::error::{Error, Kind};
use crate::observe::{
    Observation, Subscription,
    scores::{Limiter, Scores},
};

/// The most clients at a time: fewer than the connections of one machine, so that other requests of it are answered.
const MOST_CLIENTS: usize = 12;
/// The events that wait for one client at most.
const QUEUE: usize = 256;

/// Which events a client wants.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Only events of these sources; all sources if there is none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<String>,
    /// Only events of these kinds; alerts and scores if there is none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kinds: Vec<EventKind>,
}

/// A kind of event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum EventKind {
    /// A label was raised or cleared. The data is the JSON that is published over MQTT.
    Alert,
    /// The scores of a label set on a source, at most once a second. The data is the JSON that is published over MQTT.
    Scores,
    /// The status or the problem of a source changed. Sent for each source at the beginning.
    Source,
    /// The broker was connected or lost, the configuration changed, became valid or invalid, or the number of sources that deliver frames
    /// changed. Sent once at the beginning.
    Service,
    /// The connection is open: at the beginning, and whenever nothing else was sent for 15 seconds. The data is `{}`. Clients that do not
    /// want it receive a comment instead, which browsers do not pass on.
    Beat,
}

impl EventKind {
    fn word(self) -> &'static str {
        match self {
            Self::Alert => "alert",
            Self::Scores => "scores",
            Self::Source => "source",
            Self::Service => "service",
            Self::Beat => "beat",
        }
    }

    /// Whether clients that name no kind receive it.
    fn is_usual(self) -> bool {
        matches!(self, Self::Alert | Self::Scores)
    }

    /// Whether it is a change of state.
    fn is_state(self) -> bool {
        matches!(self, Self::Source | Self::Service)
    }
}

/// The clients.
#[derive(Default)]
pub struct Events {
    clients: Mutex<Vec<Client>>,
    /// The number of clients that there were.
    subscribed: AtomicU64,
}

struct Client {
    wants: Request,
    queue: mpsc::Sender<Arc<str>>,
    lost: Arc<AtomicU64>,
}

/// What one client receives.
pub struct EventStream {
    queue: mpsc::Receiver<Arc<str>>,
    lost: Arc<AtomicU64>,
    wants_beats: bool,
}

impl Events {
    /// Adds a client.
    ///
    /// # Errors
    /// There are too many clients.
    pub fn subscribe(&self, wants: Request) -> Result<EventStream, Error> {
        let mut clients = self.lock();
        clients.retain(|client| !client.queue.is_closed());
        if clients.len() >= MOST_CLIENTS {
            let what = format!("{MOST_CLIENTS} clients receive events already");
            return Err(Error::new(Kind::Unavailable, what).remedy("Close one of them, and try again."));
        }
        let ((queue, receive), lost) = (mpsc::channel(QUEUE), Arc::default());
        let wants_beats = wants.kinds.contains(&EventKind::Beat);
        clients.push(Client { wants, queue, lost: Arc::clone(&lost) });
        self.subscribed.fetch_add(1, Ordering::Relaxed);
        Ok(EventStream { queue: receive, lost, wants_beats })
    }

    /// The number of clients that receive events now.
    #[must_use]
    pub fn clients(&self) -> usize {
        self.lock().iter().filter(|client| !client.queue.is_closed()).count()
    }

    /// Publishes what `subscription` brings, until the judge ends. Then every stream ends.
    pub async fn follow(&self, mut subscription: Subscription) {
        let mut limiter = Limiter::default();
        while let Some(observation) = subscription.observations.recv().await {
            self.publish(&observation, &mut limiter);
        }
        self.lock().clear();
    }

    fn publish(&self, observation: &Observation, limiter: &mut Limiter) {
        let mut clients = self.lock();
        clients.retain(|client| !client.queue.is_closed());
        // Texts are only made if someone reads them.
        let wanted = |kind| clients.iter().any(|client| client.wants(kind, &observation.source));
        if wanted(EventKind::Alert) {
            for alert in &observation.alerts {
                let id = alert.id.to_string();
                send(&clients, EventKind::Alert, &observation.source, Some(&id), &alert.to_json());
            }
        }
        if wanted(EventKind::Scores) {
            for set in &observation.sets {
                if limiter.allows(&observation.source, &set.label_set, observation.judged_at) {
                    let data = Scores::of(observation, set).to_json();
                    send(&clients, EventKind::Scores, &observation.source, None, &data);
                }
            }
        }
    }

    /// The number of clients that there were, if one of them wants changes of state.
    pub(super) fn wanting_states(&self) -> Option<u64> {
        let mut clients = self.lock();
        clients.retain(|client| !client.queue.is_closed());
        let wanted = clients.iter().flat_map(|client| &client.wants.kinds).any(|kind| kind.is_state());
        wanted.then(|| self.subscribed.load(Ordering::Relaxed))
    }

    /// Sends a change of state of a source, or with an empty name, of the service.
    pub(super) fn send_state(&self, kind: EventKind, source: &str, data: &str) {
        send(&self.lock(), kind, source, None, data);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Client>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Client {
    fn wants(&self, kind: EventKind, source: &str) -> bool {
        let Request { sources, kinds } = &self.wants;
        let is_wanted = if kinds.is_empty() { kind.is_usual() } else { kinds.contains(&kind) };
        let of_all = sources.is_empty() || kind == EventKind::Service;
        is_wanted && (of_all || sources.iter().any(|name| name == source))
    }
}

fn send(clients: &[Client], kind: EventKind, source: &str, id: Option<&str>, data: &str) {
    let text: Arc<str> = event(kind.word(), id, data).into();
    for client in clients.iter().filter(|client| client.wants(kind, source)) {
        if client.queue.try_send(Arc::clone(&text)).is_err() {
            client.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// One event in the format of server-sent events. `data` has no line breaks: it is JSON.
fn event(kind: &str, id: Option<&str>, data: &str) -> String {
    let id = id.map_or_else(String::new, |id| format!("id: {id}\n"));
    format!("event: {kind}\n{id}data: {data}\n\n")
}

impl EventStream {
    /// The next event, in the format of server-sent events. `None` when the service stops.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<String>> {
        self.queue.poll_recv(context).map(|next| {
            let next = next?;
            // Before what follows the gap is unknown; that there was one is what a client must know.
            Some(match self.lost.swap(0, Ordering::Relaxed) {
                0 => next.to_string(),
                lost => event("lost", None, &format!("{{\"lost\":{lost}}}")) + &next,
            })
        })
    }

    /// What keeps the connection open: an event for clients that want it, else a comment.
    #[must_use]
    pub fn beat(&self) -> String {
        if self.wants_beats { event(EventKind::Beat.word(), None, "{}") } else { ": \n\n".to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::Timestamp;

    use super::*;
    use crate::{
        classify::{RegionScores, SetScores},
        picture::Picture,
    };

    fn observation(source: &str, second: i64) -> Observation {
        let set = SetScores {
            label_set: "porch".into(),
            labels: ["package".into()].into(),
            regions: vec![RegionScores { region: None, labels: vec![0.25], background: None }],
        };
        Observation {
            judged_at: Timestamp::from_second(second).unwrap(),
            number: 0,
            checkpoint: None,
            source: source.into(),
            origin: "1.jpg".to_owned(),
            captured_at: Timestamp::UNIX_EPOCH,
            duration: Duration::ZERO,
            picture: Picture::of_rgb(2, 1, vec![0; 6]).into(),
            sets: vec![set],
            embeddings: vec![],
            alerts: vec![],
            assessments: vec![],
        }
    }

    fn next(stream: &mut EventStream) -> Option<String> {
        let mut context = Context::from_waker(std::task::Waker::noop());
        match stream.poll_next(&mut context) {
            Poll::Ready(next) => next,
            Poll::Pending => None,
        }
    }

    #[test]
    fn a_client_receives_what_it_wants() {
        let (events, mut limiter) = (Events::default(), Limiter::default());
        let wants = |sources: &[&str], kinds: &[EventKind]| Request {
            sources: sources.iter().map(ToString::to_string).collect(),
            kinds: kinds.to_vec(),
        };
        let mut all = events.subscribe(Request::default()).unwrap();
        let mut back = events.subscribe(wants(&["back"], &[])).unwrap();
        let mut alerts = events.subscribe(wants(&[], &[EventKind::Alert])).unwrap();
        events.publish(&observation("door", 1), &mut limiter);
        events.publish(&observation("door", 1), &mut limiter);
        let expected = concat!(
            "event: scores\n",
            r#"data: {"time":"1970-01-01T00:00:00.000Z","source":"door","label_set":"porch","region":null,"#,
            r#""scores":{"package":0.25}}"#,
            "\n\n",
        );
        assert_eq!(next(&mut all).as_deref(), Some(expected));
        assert_eq!(next(&mut all), None, "once a second");
        assert_eq!((next(&mut back), next(&mut alerts)), (None, None));
        assert_eq!(events.wanting_states(), None, "no one wants changes of state");
        let mut states =
            events.subscribe(wants(&["back"], &[EventKind::Source, EventKind::Service])).unwrap();
        assert_eq!(events.wanting_states(), Some(4));
        for (kind, source) in
            [(EventKind::Source, "door"), (EventKind::Source, "back"), (EventKind::Service, "")]
        {
            events.send_state(kind, source, "{}");
        }
        assert_eq!(next(&mut states).as_deref(), Some("event: source\ndata: {}\n\n"), "of `back`");
        assert_eq!(next(&mut states).as_deref(), Some("event: service\ndata: {}\n\n"));
        assert_eq!((next(&mut all), next(&mut states)), (None, None), "kinds that no one named");
        assert_eq!(states.beat(), ": \n\n", "a comment");
        let beats = events.subscribe(wants(&[], &[EventKind::Beat])).unwrap();
        assert_eq!(beats.beat(), "event: beat\ndata: {}\n\n");
        events.publish(&observation("back", 1), &mut limiter);
        assert!(next(&mut back).is_some_and(|event| event.contains(r#""source":"back""#)));
    }

    #[test]
    fn a_slow_client_loses_events_and_receives_their_number() {
        let (events, mut limiter) = (Events::default(), Limiter::default());
        let mut slow = events.subscribe(Request::default()).unwrap();
        let lost = 7;
        for second in 0..i64::try_from(QUEUE).unwrap() + lost {
            events.publish(&observation("door", second), &mut limiter);
        }
        let first = next(&mut slow).unwrap();
        assert!(first.starts_with("event: lost\ndata: {\"lost\":7}\n\nevent: scores\n"), "{first}");
        let rest = std::iter::from_fn(|| next(&mut slow)).collect::<Vec<_>>();
        assert_eq!(rest.len(), QUEUE - 1);
        assert!(rest.iter().all(|event| event.starts_with("event: scores\n")));
    }

    #[test]
    fn there_is_a_limit_of_clients_and_one_that_left_makes_room() {
        let events = Events::default();
        let mut streams: Vec<_> =
            (0..MOST_CLIENTS).map(|_| events.subscribe(Request::default()).unwrap()).collect();
        let refused = events.subscribe(Request::default()).err().unwrap();
        assert_eq!(refused.kind, Kind::Unavailable);
        streams.pop();
        assert!(events.subscribe(Request::default()).is_ok());
        events.lock().clear();
        let mut context = Context::from_waker(std::task::Waker::noop());
        assert!(matches!(streams[0].poll_next(&mut context), Poll::Ready(None)), "the service stops");
    }
}
