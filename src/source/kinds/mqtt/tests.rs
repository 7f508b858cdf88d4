//! A source against a broker in memory, with paused time.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{Semaphore, mpsc, oneshot, watch},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{
    frame::Frame,
    mqtt::{
        connection::{Event, Received},
        fake::{self, Peer, Request},
    },
    picture::{Limits, Memory, Use},
    policy::NamePattern,
    samples,
    source::{
        context::{Admission, Appeared, ForTopics, Status},
        counts::Counts,
    },
};

const PICTURE: &[u8] =
    include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/models/bundled/samples/red-car.jpg"));
/// Only a source that hangs reaches it; time is paused.
const LIMIT: Duration = Duration::from_secs(3600);

/// A source that is connected, and the broker's end of the connection.
struct Running {
    frames: mpsc::Receiver<Frame>,
    /// The names that the source requests.
    appeared: mpsc::Receiver<Appeared>,
    status: watch::Receiver<Status>,
    counts: Arc<Counts>,
    memory: Arc<Memory>,
    stop: CancellationToken,
    peer: Peer,
    ended: tokio::task::JoinHandle<Result<(), MqttError>>,
}

impl Running {
    async fn start(settings: MqttSettings) -> Self {
        let (sender, frames) = mpsc::channel(SLOTS);
        let (status, seen) = watch::channel(Status::Offline);
        let (appears, appeared) = mpsc::channel(1);
        let topics = ForTopics { broker: samples::config().mqtt, id: "door".to_owned(), appeared: appears };
        let (stop, counts) =
            (CancellationToken::new(), Arc::new(Counts::new(MqttSource::CAUSES, Arc::default())));
        let context = Context {
            frames: sender,
            slots: Arc::new(Semaphore::new(SLOTS)),
            stop: stop.clone(),
            status,
            counts: Arc::clone(&counts),
            topics: Some(topics),
            ..Context::detached("door", Limits::of(10_000_000))
        };
        let memory = Arc::clone(context.decoders.memory());
        let (options, mut broker) = fake::broker();
        let ended = tokio::task::spawn_local(async move {
            let source = MqttSource::new(&settings, &[]);
            source.work(&context, options, "mqtt://h".to_owned(), None).await
        });
        let peer = broker.accept().await;
        peer.send(Event::Connected { max_packet: None }).await;
        Self { frames, appeared, status: seen, counts, memory, stop, peer, ended }
    }

    /// The next request of a name, which must be this one.
    async fn requested(&mut self, name: &str) -> oneshot::Sender<Admission> {
        let appeared = timeout(LIMIT, self.appeared.recv()).await.expect("a name is requested").unwrap();
        assert_eq!(appeared.name, name);
        appeared.answer
    }

    /// Waits until this number of pictures was skipped because their names are not admitted.
    async fn skipped(&self, expected: u64) {
        let skipped = || self.counts.snapshot().skipped["not_admitted"];
        while skipped() < expected {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(skipped(), expected);
    }

    /// The next request of the source.
    async fn request(&mut self) -> Option<Request> {
        timeout(LIMIT, self.peer.next()).await.expect("a request")
    }

    async fn frame(&mut self) -> Frame {
        timeout(LIMIT, self.frames.recv()).await.expect("a frame").unwrap()
    }

    /// Publishes a message that waits for an acknowledgement if it has an `id`.
    async fn publish(&self, topic: &str, payload: &[u8], id: Option<u16>) {
        let (topic, payload) = (topic.as_bytes().to_vec(), payload.to_vec());
        self.peer.send(Event::Received(Received { topic, payload, retain: false, id, reply_to: None })).await;
    }

    async fn subscribed(&mut self, expected: &str) {
        assert_eq!(self.request().await, Some(Request::Subscribe(expected.to_owned())));
        self.peer.send(Event::Subscribed(vec![None])).await;
        timeout(LIMIT, self.status.wait_for(|status| *status == Status::Online)).await.unwrap().unwrap();
    }
}

/// Runs a test on one thread: a source is not `Send`.
async fn locally(test: impl Future<Output = ()>) {
    tokio::task::LocalSet::new().run_until(test).await;
}

#[tokio::test(start_paused = true)]
async fn a_live_source_skips_bad_messages_and_acknowledges_nothing() {
    locally(async {
        let mut source = Running::start(samples::topics("yard/+", None)).await;
        source.subscribed("yard/+").await;
        source.publish("yard/left", b"no picture", Some(7)).await;
        source.publish("yard/right", PICTURE, None).await;
        let frame = source.frame().await;
        assert_eq!((&*frame.source, &*frame.origin, frame.picture.width), ("door", "yard/right", 400));
        assert_eq!(source.counts.snapshot().failed["not_base64"], 1);
        source.stop.cancel();
        assert_eq!(source.request().await, Some(Request::Disconnect), "nothing was acknowledged");
        timeout(LIMIT, source.ended).await.unwrap().unwrap().unwrap();
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn pictures_of_known_names_do_not_wait_for_new_ones() {
    locally(async {
        let mut source = Running::start(samples::topics("yard/+", Some("{1}"))).await;
        source.subscribed("yard/+").await;
        source.publish("yard/known", PICTURE, None).await;
        source.requested("known").await.send(Admission::Admitted("known".into())).unwrap();
        assert_eq!(&*source.frame().await.source, "known");

        source.publish("yard/new", PICTURE, None).await;
        let answer = source.requested("new").await;
        for _ in 0..10 {
            source.publish("yard/known", PICTURE, None).await;
            assert_eq!(&*source.frame().await.source, "known", "while the new name is not admitted");
        }
        // One more stranger waits for its turn, and others are skipped.
        for name in ["a", "b", "c"] {
            source.publish(&format!("yard/{name}"), PICTURE, None).await;
        }
        source.skipped(2).await;
        answer.send(Admission::Admitted("new".into())).unwrap();
        assert_eq!(&*source.frame().await.origin, "yard/new");
        source.requested("a").await.send(Admission::Refused("too many".to_owned())).unwrap();
        source.skipped(3).await;
        source.publish("yard/known", PICTURE, None).await;
        assert_eq!(&*source.frame().await.source, "known");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_name_is_requested_again_after_a_while_if_too_many_were_new() {
    locally(async {
        let mut source = Running::start(samples::topics("yard/+", Some("{1}"))).await;
        source.subscribed("yard/+").await;
        source.publish("yard/a", PICTURE, None).await;
        source.requested("a").await.send(Admission::Later).unwrap();
        source.skipped(1).await;
        // No other name is requested meanwhile.
        source.publish("yard/b", PICTURE, None).await;
        source.skipped(2).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        source.publish("yard/a", PICTURE, None).await;
        source.requested("a").await.send(Admission::Admitted("a".into())).unwrap();
        assert_eq!(&*source.frame().await.source, "a");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_refused_subscription_and_a_broken_connection_end_the_session() {
    locally(async {
        let mut source = Running::start(samples::topics("yard/+", None)).await;
        source.request().await;
        source.peer.send(Event::Subscribed(vec![Some("NotAuthorized".to_owned())])).await;
        let ended = timeout(LIMIT, source.ended).await.unwrap().unwrap();
        assert!(matches!(ended, Err(MqttError::Refused { filter, .. }) if filter == "yard/+"));
        assert_eq!(*source.status.borrow(), Status::Offline);

        let mut source = Running::start(samples::topics("yard/+", None)).await;
        source.subscribed("yard/+").await;
        drop(source.peer);
        let ended = timeout(LIMIT, source.ended).await.unwrap().unwrap();
        assert!(matches!(ended, Err(MqttError::Broken { .. })));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_shared_source_acknowledges_in_order_what_is_scored() {
    locally(async {
        let settings = MqttSettings { share: Some("farm".to_owned()), ..samples::topics("yard/#", None) };
        let mut source = Running::start(settings).await;
        source.subscribed("$share/farm/yard/#").await;
        for id in 1..=3 {
            source.publish("yard/a", PICTURE, Some(id)).await;
        }
        source.publish("yard/a", b"no picture", Some(4)).await;
        let (first, second, third) = (source.frame().await, source.frame().await, source.frame().await);
        [third, second, first].into_iter().for_each(|frame| frame.slot.done());
        for id in 1..=4 {
            assert_eq!(source.request().await, Some(Request::Acknowledge(id)), "in the order of arrival");
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_shared_source_that_stops_waits_for_its_frames_and_leaves_the_rest_to_others() {
    locally(async {
        let settings = MqttSettings { share: Some("farm".to_owned()), ..samples::topics("yard/#", None) };
        let mut source = Running::start(settings).await;
        source.subscribed("$share/farm/yard/#").await;
        for id in 1..=6 {
            source.publish("yard/a", PICTURE, Some(id)).await;
        }
        let mut held = Vec::new();
        while held.len() < SLOTS {
            held.push(source.frame().await);
        }
        source.stop.cancel();
        tokio::time::sleep(Duration::from_secs(1)).await;
        held.into_iter().for_each(|frame| frame.slot.done());
        for id in 1..=4 {
            assert_eq!(source.request().await, Some(Request::Acknowledge(id)));
        }
        assert_eq!(source.request().await, Some(Request::Disconnect), "two messages were never taken");
        timeout(LIMIT, source.ended).await.unwrap().unwrap().unwrap();
    })
    .await;
}

/// The broker must deliver it again: to another machine of the group, or to this one after its next start.
#[tokio::test(start_paused = true)]
async fn a_shared_picture_that_is_not_scored_before_the_end_is_not_acknowledged() {
    locally(async {
        let settings = MqttSettings { share: Some("farm".to_owned()), ..samples::topics("yard/#", None) };
        let mut source = Running::start(settings.clone()).await;
        source.subscribed("$share/farm/yard/#").await;
        source.publish("yard/a", PICTURE, Some(1)).await;
        let lost = source.frame().await;
        source.stop.cancel();
        drop(lost);
        assert_eq!(source.request().await, Some(Request::Disconnect), "its frame was lost");

        let mut source = Running::start(settings.clone()).await;
        source.subscribed("$share/farm/yard/#").await;
        let used = source.memory.share(Use::Picture, source.memory.total(), || true);
        source.publish("yard/a", PICTURE, Some(1)).await;
        while source.memory.usage().waiting == 0 {
            tokio::task::yield_now().await; // the paused time does not advance meanwhile
        }
        source.stop.cancel();
        assert_eq!(source.request().await, Some(Request::Disconnect), "it was not decoded yet");
        drop(used);

        let settings = MqttSettings { name: NamePattern::parse("{1}").ok(), ..settings };
        let mut source = Running::start(settings).await;
        source.subscribed("$share/farm/yard/#").await;
        source.publish("yard/a", PICTURE, Some(1)).await;
        drop(source.requested("a").await);
        source.publish("yard/a", PICTURE, Some(2)).await;
        drop(source.requested("a").await);
        source.stop.cancel();
        assert_eq!(
            source.request().await,
            Some(Request::Disconnect),
            "no one answered whether its name is free"
        );
    })
    .await;
}

/// Otherwise it would use a place in flight for ever.
#[tokio::test(start_paused = true)]
async fn a_shared_picture_that_cannot_be_scored_is_acknowledged() {
    locally(async {
        let settings = MqttSettings {
            share: Some("farm".to_owned()),
            name: NamePattern::parse("{1}").ok(),
            ..samples::topics("yard/#", None)
        };
        let mut source = Running::start(settings).await;
        source.subscribed("$share/farm/yard/#").await;
        source.publish("yard/a", PICTURE, Some(1)).await;
        source.requested("a").await.send(Admission::Admitted("a".into())).unwrap();
        source.frame().await.slot.give_up();
        assert_eq!(source.request().await, Some(Request::Acknowledge(1)), "the model rejects it");
        source.publish("yard/b", PICTURE, Some(2)).await;
        source.requested("b").await.send(Admission::Refused("too many".to_owned())).unwrap();
        assert_eq!(source.request().await, Some(Request::Acknowledge(2)), "its name is rejected");
        source.publish("yard/b", PICTURE, Some(3)).await;
        assert_eq!(source.request().await, Some(Request::Acknowledge(3)), "its name was rejected");
        source.publish("yard/a", b"no picture", Some(4)).await;
        assert_eq!(source.request().await, Some(Request::Acknowledge(4)), "no picture");
    })
    .await;
}

/// A frame that is never scored must not hold up the end of the service.
#[tokio::test(start_paused = true)]
async fn a_frame_in_flight_delays_the_end_for_some_seconds_only() {
    locally(async {
        let settings = MqttSettings { share: Some("farm".to_owned()), ..samples::topics("yard/#", None) };
        let mut source = Running::start(settings).await;
        source.subscribed("$share/farm/yard/#").await;
        source.publish("yard/a", PICTURE, Some(1)).await;
        let frame = source.frame().await;
        let stopped = tokio::time::Instant::now();
        source.stop.cancel();
        assert_eq!(source.request().await, Some(Request::Disconnect));
        let waited = stopped.elapsed();
        assert!((Duration::from_secs(3)..Duration::from_secs(5)).contains(&waited), "{waited:?}");
        drop(frame);
    })
    .await;
}
