//! One connection of an MQTT source: what arrives waits, is opened, and is handed on under its source's name.
//!
//! It refuses to connect again, and to read what a payload means: that is [`payload`](super::payload)'s.

use std::{cell::RefCell, ops::ControlFlow, sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, mpsc, oneshot},
    time::timeout,
};

use super::{
    GOODBYE, MqttError, MqttSource, REFUSED, SETTLE,
    acks::Acks,
    payload::{self, Found},
    waiting::{Message, Put, Waiting},
};
use crate::{
    frame::{Frame, Slot},
    mqtt::{
        self,
        connection::{Client, Connection, Event, Received},
    },
    picture::{self, Picture},
    source::{Admission, Appeared, Cause, Context, SLOTS, Status},
};

/// One connection.
pub(crate) struct Session<'a> {
    pub(crate) source: &'a MqttSource,
    pub(crate) context: &'a Context,
    pub(crate) client: Client,
    pub(crate) broker: String,
    pub(crate) waiting: RefCell<Waiting>,
    pub(crate) arrived: Notify,
    pub(crate) taken: Notify,
    pub(crate) acks: RefCell<Acks>,
    pub(crate) acknowledged: Notify,
}

impl Session<'_> {
    /// Connects and keeps the packets flowing, until the connection breaks or our goodbye is sent.
    pub(crate) async fn pump(&self, mut connection: Connection, user: Option<&str>) -> Result<(), MqttError> {
        loop {
            if self.source.is_shared() {
                self.room().await;
            }
            let event = connection.poll().await.map_err(|error| MqttError::Broken {
                broker: self.broker.clone(),
                trouble: mqtt::failure::explain(&error, user),
            })?;
            match event {
                // Also where the broker knew us: the filters may have changed since.
                Event::Connected { .. } => {
                    // There is room, and the filters are valid.
                    let _ = self.client.subscribe(&self.source.subscriptions());
                }
                Event::Subscribed(refusals) => self.subscribed(refusals)?,
                Event::Received(received) => self.arrived(received),
                Event::Disconnected => return Ok(()),
                Event::Sent(_) | Event::Acknowledged(..) | Event::Other => {}
            }
        }
    }

    /// Returns when one more message has room, or when nobody takes any out any more. Nobody needs the connection for taking
    /// one out, so this does not last; and what is not read waits at the broker, of which nothing may be dropped.
    async fn room(&self) {
        let most = self.source.settings.max_packet as usize;
        while !self.waiting.borrow().has_room(most) {
            tokio::select! {
                () = self.taken.notified() => {}
                () = self.context.stop.cancelled() => return,
            }
        }
    }

    fn subscribed(&self, refusals: Vec<Option<String>>) -> Result<(), MqttError> {
        for (why, filter) in refusals.into_iter().zip(self.source.subscriptions()) {
            if let Some(why) = why {
                return Err(MqttError::Refused { broker: self.broker.clone(), filter: filter.path, why });
            }
        }
        self.context.report(Status::Online);
        Ok(())
    }

    /// Takes a message in. Never waits: the connection lives by its pump.
    fn arrived(&self, received: Received) {
        let counts = &self.context.counts;
        let Received { topic, payload, retain, id } = received;
        let id = id.filter(|_| self.source.is_shared());
        let receipt = id.map(|id| self.acks.borrow_mut().receipt(id));
        if retain && !self.source.settings.retained {
            counts.skipped(Cause::Retained);
            return;
        }
        // MQTT wants topics to be UTF-8, and a broker may not look.
        let Ok(topic) = String::from_utf8(topic) else {
            counts.failed(Cause::NotUtf8);
            return;
        };
        counts.seen();
        if self.context.stop.is_cancelled()
            && let Some(receipt) = receipt
        {
            // Nobody takes it out any more.
            receipt.withhold();
            return;
        }
        let message = Message { topic, payload, arrived: Timestamp::now(), receipt };
        match self.waiting.borrow_mut().put(message) {
            Put::Waits => {}
            // The two places where a picture is dropped for want of time; each is missed by nobody for long.
            Put::Replaced => counts.skipped(Cause::NewerCame),
            Put::NoRoom => counts.skipped(Cause::NoRoom),
        }
        self.arrived.notify_one();
    }

    /// Passes on what nobody needs any more.
    pub(crate) async fn acknowledge(&self, mut done: mpsc::Receiver<u16>) {
        // It ends with us, who hold a sender, or with the connection.
        while let Some(id) = done.recv().await {
            // Not while this waits: what arrives adds to it.
            let ready = self.acks.borrow_mut().done(id);
            for id in ready {
                // One that is lost would count as under way for ever, so it waits for room, which the pump makes.
                if self.client.acknowledge(id).await.is_err() {
                    return;
                }
            }
            self.acknowledged.notify_one();
        }
    }

    /// Takes messages until it is told to stop; then waits for what is under way, and says goodbye.
    pub(crate) async fn work(&self) {
        tokio::select! {
            () = self.context.stop.cancelled() => {}
            () = self.take_all() => {}
        }
        if self.source.is_shared() {
            // What waits is given again, to another or to us; what is under way is ours.
            let all = u32::try_from(SLOTS).unwrap_or(u32::MAX);
            let _ = timeout(SETTLE, self.context.slots.acquire_many(all)).await;
            let _ = timeout(Duration::from_millis(50), self.acknowledged.notified()).await;
        }
        if self.client.disconnect().is_ok() {
            // The pump ends when it is sent.
            tokio::time::sleep(GOODBYE).await;
        }
    }

    /// Returns when nobody takes frames any more.
    async fn take_all(&self) {
        loop {
            let Ok(slot) = self.context.slots.clone().acquire_owned().await else { return };
            let message = self.next().await;
            if self.take(message, slot).await.is_break() {
                return;
            }
        }
    }

    async fn next(&self) -> Message {
        loop {
            if let Some(message) = self.waiting.borrow_mut().next() {
                self.taken.notify_one();
                return message;
            }
            self.arrived.notified().await;
        }
    }

    /// From a message to its frame.
    async fn take(&self, message: Message, slot: OwnedSemaphorePermit) -> ControlFlow<()> {
        let counts = &self.context.counts;
        let Message { topic, payload, arrived, receipt } = message;
        let unusable = |cause: Cause, why: &dyn std::fmt::Display| {
            counts.failed(cause);
            tracing::debug!(source = &*self.context.name, topic, cause = %why, "passed over a message");
            ControlFlow::Continue(())
        };
        let (places, max_pixels) = (self.source.settings.json.clone(), self.context.max_pixels);
        let timer = Arc::clone(counts);
        // Beside this thread, so that a large picture does not hold up the connection.
        let read = tokio::task::spawn_blocking(move || {
            let Found { picture, time, name } = payload::read(&payload, places.as_ref())
                .map_err(|error| (error.cause(), error.to_string()))?;
            let picture = timer.decoding(|| picture::decode(&picture, max_pixels));
            let picture = picture.map_err(|error| (Cause::from(&error), error.to_string()))?;
            Ok::<_, (Cause, String)>((picture, payload::captured_at(time, arrived), name))
        });
        let (picture, captured_at, said) = match read.await {
            Ok(Ok(read)) => read,
            Ok(Err((cause, why))) => return unusable(cause, &why),
            Err(_) => return unusable(Cause::DecoderPanic, &"the decoder failed"),
        };
        let Some(source) = self.name(&topic, said.as_deref()).await else { return ControlFlow::Continue(()) };
        let slot = Slot::new(slot).on_done(move || drop(receipt));
        self.hand_on(source, topic, captured_at, picture, slot).await
    }

    async fn hand_on(
        &self,
        source: Arc<str>,
        origin: String,
        captured_at: Timestamp,
        picture: Picture,
        slot: Slot,
    ) -> ControlFlow<()> {
        let frame = Frame { source, origin, captured_at, picture: Arc::new(picture), slot };
        // The channel has a place for every slot of every source.
        match self.context.frames.send(frame).await {
            Ok(()) => self.context.counts.sent(),
            Err(_) => return ControlFlow::Break(()),
        }
        ControlFlow::Continue(())
    }

    /// The source that a message belongs to; `None`, counted, if it has none.
    async fn name(&self, topic: &str, said: Option<&str>) -> Option<Arc<str>> {
        let counts = &self.context.counts;
        let Some(name) = self.source.settings.source_name(topic, said) else {
            if self.source.settings.name.is_none() {
                return Some(Arc::clone(&self.context.name));
            }
            counts.failed(Cause::NoName);
            return None;
        };
        let known = self.source.names.borrow().get(&name).cloned();
        let answer = match known {
            Some(answer) => answer,
            None => self.ask(name, topic).await,
        };
        if answer.is_none() {
            counts.skipped(Cause::NotAdmitted);
        }
        answer
    }

    /// Asks whether there may be a source of this name.
    async fn ask(&self, name: String, topic: &str) -> Option<Arc<str>> {
        let (answer, answered) = oneshot::channel();
        let (source, topic) = (Arc::clone(&self.context.name), topic.to_owned());
        let appeared = Appeared { source, name: name.clone(), topic: topic.clone(), answer };
        self.context.topics.as_ref()?.appeared.send(appeared).await.ok()?;
        let admission = answered.await.ok()?;
        let answer = match admission {
            Admission::Admitted(source) => Some(source),
            Admission::Refused(why) => {
                tracing::warn!(
                    source = &*self.context.name,
                    topic,
                    name,
                    why,
                    "pictures of this topic are passed over"
                );
                None
            }
        };
        let mut names = self.source.names.borrow_mut();
        if names.len() >= REFUSED + self.source.settings.max_sources {
            names.retain(|_, answer| answer.is_some());
        }
        names.insert(name, answer.clone());
        answer
    }
}
