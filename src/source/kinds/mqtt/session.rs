//! One connection of an MQTT source: received messages wait, are decoded, and are sent under the name of their source.
//!
//! A new name takes a while to be admitted. Pictures with other names do not wait for it: the first picture of a new name waits
//! aside, and further ones are skipped.

use std::{
    cell::{Cell, RefCell},
    ops::ControlFlow,
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, mpsc, oneshot},
    time::{Instant, timeout},
};

use super::{
    acks::{Acks, Receipt},
    error::MqttError,
    names::Names,
    payload::{self, Found},
    settings::MqttSettings,
    waiting::{PictureMessage, Put, Waiting},
};
use crate::{
    frame::{Frame, Slot},
    mqtt::{
        connection::{Client, Connection, Event, Filter, Received},
        failure,
    },
    picture::mask::Masked,
    source::{
        cause::Cause,
        context::{Admission, Appeared, Context, SLOTS, Status},
        decoders::{Decoded, NotDecoded},
        kinds::settings::Settings as _,
    },
};

/// At the end: the limits for frames in flight to be scored, for acknowledgements, and for the disconnect packet to be sent.
const SETTLE: Duration = Duration::from_secs(3);
const ACKNOWLEDGE: Duration = Duration::from_millis(50);
const DISCONNECT: Duration = Duration::from_secs(1);
/// After this time a name is requested again, if too many were new at the same time.
const REQUEST_AGAIN: Duration = Duration::from_secs(1);
/// The pictures with new names that wait for their turn, besides the one whose name is requested. They hold slots of the source.
const STRANGERS: usize = 1;

/// One connection.
pub(crate) struct Session<'a> {
    pub(crate) settings: &'a MqttSettings,
    pub(crate) names: &'a RefCell<Names>,
    pub(crate) context: &'a Context,
    pub(crate) client: Client,
    pub(crate) broker: String,
    pub(crate) waiting: RefCell<Waiting>,
    pub(crate) arrived: Notify,
    pub(crate) taken: Notify,
    pub(crate) acks: RefCell<Acks>,
    pub(crate) acknowledged: Notify,
    /// No name is requested before this time.
    pub(crate) request_at: Cell<Option<Instant>>,
}

/// A picture that is ready to be sent under a name.
struct Ready {
    name: String,
    topic: String,
    captured_at: Timestamp,
    picture: Masked,
    slot: Slot,
}

/// The source that a picture belongs to.
enum Owner {
    Known(Arc<str>),
    /// The name is not requested yet.
    New(String),
    /// There is none, which is counted.
    None,
}

impl Session<'_> {
    /// Connects and handles packets, until the connection breaks or the disconnect packet is sent.
    pub(crate) async fn pump(&self, mut connection: Connection, user: Option<&str>) -> Result<(), MqttError> {
        loop {
            if self.settings.is_shared() {
                self.room().await;
            }
            let event = connection.poll().await.map_err(|error| MqttError::Broken {
                broker: self.broker.clone(),
                trouble: failure::explain(&error, user),
            })?;
            match event {
                // Also in a resumed session: the filters may have changed since.
                Event::Connected { .. } => {
                    // The queue has room, and the filters are valid.
                    let _ = self.client.subscribe(&self.subscriptions());
                }
                Event::Subscribed(refusals) => self.subscribed(refusals)?,
                Event::Received(received) => self.arrived(received),
                Event::Disconnected => return Ok(()),
                Event::Sent(_) | Event::Acknowledged(..) | Event::Other => {}
            }
        }
    }

    /// Returns when one more message has room, or after the stop signal. Taking a message out does not need the connection,
    /// so this ends soon; meanwhile messages wait at the broker, because none of a shared source may be dropped.
    async fn room(&self) {
        let most = self.settings.max_packet as usize;
        while !self.waiting.borrow().has_room(most) {
            tokio::select! {
                () = self.taken.notified() => {}
                () = self.context.stop.cancelled() => return,
            }
        }
    }

    fn subscriptions(&self) -> Vec<Filter> {
        // A lost live picture is soon replaced by a newer one; but every shared picture counts.
        let at_least_once = self.settings.is_shared();
        let filter = |path| Filter { path, at_least_once, retained: self.settings.retained };
        self.settings.subscriptions().into_iter().map(filter).collect()
    }

    fn subscribed(&self, refusals: Vec<Option<String>>) -> Result<(), MqttError> {
        for (why, filter) in refusals.into_iter().zip(self.subscriptions()) {
            if let Some(why) = why {
                return Err(MqttError::Refused { broker: self.broker.clone(), filter: filter.path, why });
            }
        }
        self.context.report(Status::Online);
        Ok(())
    }

    /// Adds a message to the queue. Never waits: the connection needs its pump.
    fn arrived(&self, received: Received) {
        let counts = &self.context.counts;
        let Received { topic, payload, retain, id, .. } = received;
        let id = id.filter(|_| self.settings.is_shared());
        let receipt = id.map(|id| self.acks.borrow_mut().receipt(id));
        if retain && !self.settings.retained {
            counts.skipped(Cause::Retained);
            return acknowledge(receipt);
        }
        // MQTT requires topics in UTF-8, but a broker may not check that.
        let topic = match String::from_utf8(topic) {
            Ok(topic) => topic,
            Err(error) => {
                let shown = String::from_utf8_lossy(error.as_bytes());
                let why = "its topic is not UTF-8";
                self.context.unusable(("message", &shown), Cause::NotUtf8, &why, None);
                return acknowledge(receipt);
            }
        };
        counts.seen();
        if self.context.stop.is_cancelled() && receipt.is_some() {
            // No one takes it out after the stop signal. The broker delivers it again.
            return;
        }
        let message = PictureMessage { topic, payload, arrived: Timestamp::now(), receipt };
        match self.waiting.borrow_mut().put(message) {
            Put::Waits => {}
            // A picture is dropped here if others are newer, or if too many wait. A shared one always has room: see `room`.
            Put::Replaced => counts.skipped(Cause::NewerCame),
            Put::NoRoom => counts.skipped(Cause::NoRoom),
        }
        self.arrived.notify_one();
    }

    /// Sends the acknowledgements of messages that were handled.
    pub(crate) async fn acknowledge(&self, mut done: mpsc::Receiver<u16>) {
        // `self` holds a sender, so this ends with the session or with the connection.
        while let Some(id) = done.recv().await {
            // Not borrowed over the wait below: arriving messages are added.
            let ready = self.acks.borrow_mut().done(id);
            for id in ready {
                // A lost acknowledgement would use a place in flight for ever, so this waits for room, which the pump makes.
                if self.client.acknowledge(id).await.is_err() {
                    return;
                }
            }
            self.acknowledged.notify_one();
        }
    }

    /// Takes messages until the stop signal; then waits for the frames in flight, and disconnects.
    pub(crate) async fn work(&self) {
        let (strangers, waiting) = mpsc::channel(STRANGERS);
        tokio::select! {
            () = self.context.stop.cancelled() => {}
            () = self.take_all(&strangers) => {}
            () = self.admit_all(waiting) => {}
        }
        if self.settings.is_shared() {
            // The broker delivers waiting messages again; frames in flight are finished here.
            let all = u32::try_from(SLOTS).unwrap_or(u32::MAX);
            let _ = timeout(SETTLE, self.context.slots.acquire_many(all)).await;
            let _ = timeout(ACKNOWLEDGE, self.all_acknowledged()).await;
        }
        if self.client.disconnect().is_ok() {
            // The pump ends when the packet is sent.
            tokio::time::sleep(DISCONNECT).await;
        }
    }

    /// Returns when every message is acknowledged. Those that were not scored never are.
    async fn all_acknowledged(&self) {
        while !self.acks.borrow().is_empty() {
            self.acknowledged.notified().await;
        }
    }

    /// Returns when the receiver of the frames is gone.
    async fn take_all(&self, strangers: &mpsc::Sender<Ready>) {
        loop {
            let Ok(slot) = self.context.slots.clone().acquire_owned().await else { return };
            let message = self.next().await;
            if self.take(message, slot, strangers).await.is_break() {
                return;
            }
        }
    }

    /// Requests the names of `strangers`, one after the other, and sends the pictures. Returns when the receiver of the frames is
    /// gone.
    async fn admit_all(&self, mut strangers: mpsc::Receiver<Ready>) {
        while let Some(stranger) = strangers.recv().await {
            if self.admit(stranger).await.is_break() {
                return;
            }
        }
    }

    async fn admit(&self, ready: Ready) -> ControlFlow<()> {
        // Another picture of this name may have been before it.
        let known = self.names.borrow().get(&ready.name);
        let answer = match known {
            Some(answer) => Some(answer),
            None => self.request(&ready.name, &ready.topic).await,
        };
        match answer {
            Some(Some(source)) => self.send(source, ready).await,
            Some(None) => {
                self.context.counts.skipped(Cause::NotAdmitted);
                ready.slot.give_up();
                ControlFlow::Continue(())
            }
            // The service stops. The broker delivers a shared message again.
            None => ControlFlow::Continue(()),
        }
    }

    async fn next(&self) -> PictureMessage {
        loop {
            if let Some(message) = self.waiting.borrow_mut().next() {
                self.taken.notify_one();
                return message;
            }
            self.arrived.notified().await;
        }
    }

    /// Decodes a message and sends its frame.
    async fn take(
        &self,
        message: PictureMessage,
        slot: OwnedSemaphorePermit,
        strangers: &mpsc::Sender<Ready>,
    ) -> ControlFlow<()> {
        let PictureMessage { topic, payload, arrived, receipt } = message;
        let unusable = |receipt, cause: Cause, why: &dyn std::fmt::Display| {
            self.context.unusable(("message", &topic), cause, why, None);
            acknowledge(receipt);
            ControlFlow::Continue(())
        };
        let (places, decoder) = (self.settings.json.clone(), self.context.picture_decoder());
        let origin = topic.clone();
        // On another thread, so that a large picture does not delay the connection.
        let read = tokio::task::spawn_blocking(move || {
            let Found { picture, time, name } = payload::read(&payload, places.as_ref())
                .map_err(|error| Some((error.cause(), error.to_string())))?;
            let decoded = decoder.decode(&picture, &origin).map_err(|error| match &error {
                NotDecoded::Picture(cause) => Some((Cause::from(cause), error.to_string())),
                NotDecoded::Crashed => Some((Cause::Crashed, error.to_string())),
                NotDecoded::Stopped => None,
            })?;
            Ok::<_, Option<(Cause, String)>>((decoded, payload::captured_at(time, arrived), name))
        });
        let (Decoded { picture, share }, (captured_at, defect), given) = match read.await {
            Ok(Ok(read)) => read,
            Ok(Err(Some((cause, why)))) => return unusable(receipt, cause, &why),
            // The decoders have stopped. The broker delivers a shared message again.
            Ok(Err(None)) => return ControlFlow::Continue(()),
            Err(_) => {
                return unusable(receipt, Cause::DecoderPanic, &"a bug in the program; please report it");
            }
        };
        if let Some(defect) = defect {
            self.context.defective(("message", &topic), &defect);
        }
        let owner = self.owner(&topic, given.as_deref());
        let slot = Slot::new(slot).with_memory(share).on_end(move |_| acknowledge(receipt));
        let ready = |name| Ready { name, topic, captured_at, picture, slot };
        match owner {
            Owner::Known(source) => self.send(source, ready(String::new())).await,
            // Each picture of a shared source counts, and their order does.
            Owner::New(name) if self.settings.is_shared() => self.admit(ready(name)).await,
            Owner::New(name) => {
                // Dropped here: a newer picture of this name follows, and others do not wait for the name.
                if strangers.try_send(ready(name)).is_err() {
                    self.context.counts.skipped(Cause::NotAdmitted);
                }
                ControlFlow::Continue(())
            }
            Owner::None => {
                ready(String::new()).slot.give_up();
                ControlFlow::Continue(())
            }
        }
    }

    async fn send(&self, source: Arc<str>, ready: Ready) -> ControlFlow<()> {
        let Ready { topic: origin, captured_at, picture, slot, .. } = ready;
        let frame = Frame { source, origin, captured_at, picture, slot };
        // The channel has room for every slot of every source.
        match self.context.frames.send(frame).await {
            Ok(()) => self.context.counts.sent(),
            Err(_) => return ControlFlow::Break(()),
        }
        ControlFlow::Continue(())
    }

    /// The source that a message belongs to.
    fn owner(&self, topic: &str, given: Option<&str>) -> Owner {
        let Some(name) = self.settings.source_name(topic, given) else {
            if self.settings.name.is_none() {
                return Owner::Known(Arc::clone(&self.context.name));
            }
            let why = self.nameless(given);
            self.context.unusable(("message", &topic), Cause::NoName, &why, None);
            return Owner::None;
        };
        match self.names.borrow().get(&name) {
            Some(Some(source)) => Owner::Known(source),
            None if !self.is_too_early() => Owner::New(name),
            Some(None) | None => {
                self.context.counts.skipped(Cause::NotAdmitted);
                Owner::None
            }
        }
    }

    /// Whether no name is requested for now.
    fn is_too_early(&self) -> bool {
        self.request_at.get().is_some_and(|at| at > Instant::now())
    }

    /// Why a message gives no name, for people.
    fn nameless(&self, given: Option<&str>) -> String {
        let place = self.settings.json.as_ref().and_then(|json| json.name.as_deref());
        match (given, place) {
            (Some(given), Some(place)) if given.trim().is_empty() => {
                format!("its name at `{place}` is empty")
            }
            (None, Some(place)) => format!("its JSON has no name at `{place}`"),
            _ => "it gives no valid name of a source: a name has 1 to 200 bytes, and no control characters"
                .to_owned(),
        }
    }

    /// Requests to send frames under a new name. Returns the source, or `Some(None)` if there is none for now; `None` if the service
    /// stops.
    async fn request(&self, name: &str, topic: &str) -> Option<Option<Arc<str>>> {
        if self.is_too_early() {
            return Some(None);
        }
        let (answer, answered) = oneshot::channel();
        let (source, name) = (Arc::clone(&self.context.name), name.to_owned());
        let appeared = Appeared { source, name: name.clone(), topic: topic.to_owned(), answer };
        self.context.topics.as_ref()?.appeared.send(appeared).await.ok()?;
        let admission = answered.await.ok()?;
        let answer = match admission {
            Admission::Admitted(source) => Some(source),
            Admission::Later => {
                self.request_at.set(Some(Instant::now() + REQUEST_AGAIN));
                let source = &*self.context.name;
                tracing::warn!(
                    source,
                    topic,
                    name,
                    "many names are new at the same time; pictures of this one are skipped for now"
                );
                return Some(None);
            }
            Admission::Refused(why) => {
                tracing::warn!(
                    source = &*self.context.name,
                    topic,
                    name,
                    why,
                    "pictures of this topic are skipped"
                );
                None
            }
        };
        self.names.borrow_mut().insert(name, answer.clone());
        Some(answer)
    }
}

/// A message was handled, or cannot be used. That of a live source has no receipt.
fn acknowledge(receipt: Option<Receipt>) {
    if let Some(receipt) = receipt {
        receipt.acknowledge();
    }
}
