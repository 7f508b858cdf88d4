//! The publisher with a broker in memory, and a clock that moves on only when everything waits.

use std::{io::Write, sync::Mutex};

use tokio::{
    task::JoinHandle,
    time::{sleep_until, timeout},
};

use super::*;
use crate::{
    alert::{
        home_assistant::Announcement,
        outbox::{Entry, Snapshot},
    },
    config::{Config, HomeAssistant},
    mqtt::{
        connection::{Event, PubAckReason, Received},
        fake::{self, Peer, Request},
    },
    samples,
};

const SECOND: Duration = Duration::from_secs(1);
const GRACE: Duration = Duration::from_secs(5);
const STATUS: &str = "stakeout/status";

/// A publisher that runs, and the broker that the test plays.
struct Play {
    outbox: Arc<Outbox>,
    board: Board,
    broker: fake::Broker,
    counts: Arc<Counts>,
    scores: ScoreSender,
    announcer: Announcer,
    stop: CancellationToken,
    running: JoinHandle<Farewell>,
    log: Log,
    _log: tracing::subscriber::DefaultGuard,
    folder: tempfile::TempDir,
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Play {
    fn new() -> Self {
        Self::announcing(None)
    }

    fn announcing(announcement: Option<Announcement>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let outbox = Arc::new(Outbox::open(folder.path()).unwrap());
        let settings = Mqtt { prefix: "stakeout".to_owned(), ..samples::config().mqtt };
        let (options, broker) = fake::broker();
        let board = Board::new();
        let mut publisher = Publisher::new(&settings, Arc::clone(&outbox), &board).unwrap();
        publisher.options = options;
        let announces = announcement.is_some();
        let announcer = Announcer::new(announcement.unwrap_or_default());
        if announces {
            publisher = publisher.announcing(&announcer, folder.path());
        }
        let (log, stop) = (Log::default(), CancellationToken::new());
        let (counts, scores) = (publisher.counts(), publisher.scores());
        let writer = log.clone();
        let lines = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
        let _log = tracing::subscriber::set_default(lines);
        let running = tokio::spawn(publisher.run(stop.clone(), GRACE));
        Self { outbox, board, broker, counts, scores, announcer, stop, running, log, _log, folder }
    }

    /// Accepts the next connection.
    async fn connect(&mut self) -> Peer {
        let peer = self.broker.accept().await;
        peer.send(Event::Connected { max_packet: None }).await;
        peer
    }

    /// Accepts the next connection, and `online`.
    async fn accept(&mut self) -> Peer {
        let mut peer = self.connect().await;
        online(&mut peer).await;
        peer
    }

    /// The same for a service that announces devices.
    async fn accept_announcer(&mut self) -> Peer {
        let mut peer = self.connect().await;
        subscribed(&mut peer).await;
        online(&mut peer).await;
        peer
    }

    fn append(&self, number: u32, jpeg: Option<Vec<u8>>) {
        self.append_to("alert", number, jpeg);
    }

    fn append_to(&self, topic: &str, number: u32, jpeg: Option<Vec<u8>>) {
        let snapshot = jpeg.map(|jpeg| Snapshot { topic: "snapshot".to_owned(), jpeg });
        let payload = number.to_string();
        self.outbox.append(&Entry {
            id: payload.clone(),
            topic: topic.to_owned(),
            payload,
            snapshot,
            mark: None,
        });
    }

    fn log(&self) -> String {
        String::from_utf8(self.log.0.lock().unwrap().clone()).unwrap()
    }

    async fn logged(&self, words: &str) {
        while !self.log().contains(words) {
            sleep(Duration::from_millis(1)).await;
        }
    }

    async fn finish(self) -> Farewell {
        self.stop.cancel();
        self.running.await.unwrap()
    }
}

/// Accepts `online`.
async fn online(peer: &mut Peer) {
    assert_eq!(answer(peer, PubAckReason::Success).await, (STATUS.to_owned(), "online".to_owned()));
}

/// Accepts the subscription to Home Assistant's birth message.
async fn subscribed(peer: &mut Peer) {
    assert_eq!(peer.next().await, Some(Request::Subscribe("homeassistant/status".to_owned())));
}

/// Home Assistant publishes its birth message or its last will.
async fn home_assistant(peer: &Peer, payload: &str) {
    let (topic, payload) = (b"homeassistant/status".to_vec(), payload.into());
    peer.send(Event::Received(Received { topic, payload, retain: false, id: None, reply_to: None })).await;
}

/// Accepts everything until a message to `topic`, while Home Assistant publishes what `says` lists by second. Returns the time until
/// the message.
async fn time_until(peer: &mut Peer, topic: &str, says: &[(u64, &str)]) -> Duration {
    let (began, mut says) = (Instant::now(), says.iter().peekable());
    loop {
        let due = says.peek().map(|(second, _)| began + *second as u32 * SECOND);
        tokio::select! {
            request = peer.next() => match request {
                Some(Request::Publish { topic: sent, id, .. }) => {
                    peer.send(Event::Acknowledged(id, PubAckReason::Success)).await;
                    if sent == topic {
                        return began.elapsed();
                    }
                }
                other => panic!("no message but {other:?}"),
            },
            () = sleep_until(due.unwrap_or(began)), if due.is_some() => {
                let Some((_, payload)) = says.next() else { continue };
                home_assistant(peer, payload).await;
            }
        }
    }
}

/// The contents of the next alerts. Everything is accepted, other messages, too.
async fn alerts(peer: &mut Peer, count: usize) -> Vec<String> {
    let mut contents = Vec::new();
    while contents.len() < count {
        let (topic, content) = answer(peer, PubAckReason::Success).await;
        if topic.ends_with("/alert") {
            contents.push(content);
        }
    }
    contents
}

/// Whether `time` is this number of seconds, or the time of some messages more.
fn is_about(time: Duration, seconds: u32) -> bool {
    (seconds * SECOND..seconds * SECOND + SECOND / 2).contains(&time)
}

/// Answers the next message, and returns its topic and content.
async fn answer(peer: &mut Peer, reason: PubAckReason) -> (String, String) {
    match peer.next().await {
        Some(Request::Publish { topic, payload, id, .. }) => {
            peer.send(Event::Acknowledged(id, reason)).await;
            (topic, String::from_utf8_lossy(&payload).into_owned())
        }
        other => panic!("no message but {other:?}"),
    }
}

/// Acknowledges the next messages, and returns their contents.
async fn accepted(peer: &mut Peer, messages: usize) -> Vec<String> {
    let mut contents = Vec::new();
    for _ in 0..messages {
        contents.push(answer(peer, PubAckReason::Success).await.1);
    }
    contents
}

#[tokio::test(start_paused = true)]
async fn a_session_publishes_online_the_board_the_alerts_and_offline() {
    let mut play = Play::new();
    play.board.set("state", "OFF");
    play.append(1, Some(vec![1, 2, 3]));
    let mut peer = play.connect().await;
    assert_eq!(answer(&mut peer, PubAckReason::Success).await, ("state".to_owned(), "OFF".to_owned()));
    online(&mut peer).await;
    let (topic, _) = answer(&mut peer, PubAckReason::Success).await;
    assert_eq!(topic, "snapshot");
    assert_eq!(answer(&mut peer, PubAckReason::Success).await, ("alert".to_owned(), "1".to_owned()));
    play.append(2, None);
    assert_eq!(accepted(&mut peer, 1).await, ["2"], "an append wakes the publisher");
    play.board.set("state", "ON");
    assert_eq!(accepted(&mut peer, 1).await, ["ON"]);
    assert!(play.counts.connected.load(Ordering::Relaxed));

    play.stop.cancel();
    assert_eq!(answer(&mut peer, PubAckReason::Success).await, (STATUS.to_owned(), "offline".to_owned()));
    assert_eq!(peer.next().await, Some(Request::Disconnect));
    assert_eq!(play.finish().await, Farewell { waiting: 0, said: true });
}

#[tokio::test(start_paused = true)]
async fn what_was_not_acknowledged_when_the_connection_broke_is_sent_again_and_nothing_else() {
    let mut play = Play::new();
    (1..=20).for_each(|number| play.append(number, None));
    let mut peer = play.accept().await;
    assert_eq!(accepted(&mut peer, 3).await, ["1", "2", "3"]);
    // The rest of the window is in flight now.
    for _ in 4..=15 {
        peer.published().await;
    }
    drop(peer);
    let mut peer = play.accept().await;
    let contents = accepted(&mut peer, 17).await;
    assert_eq!(contents, (4..=20).map(|number| number.to_string()).collect::<Vec<_>>());
    assert_eq!(play.counts.repeated.load(Ordering::Relaxed), 12, "4 to 15");
    let finish = tokio::spawn(play.finish());
    assert_eq!(accepted(&mut peer, 1).await, ["offline"]);
    assert_eq!(finish.await.unwrap(), Farewell { waiting: 0, said: true });
}

#[tokio::test(start_paused = true)]
async fn connecting_is_tried_after_longer_and_longer_delays_and_logged_once_a_minute() {
    let mut play = Play::new();
    let began = Instant::now();
    let mut at = Vec::new();
    for _ in 0..9 {
        drop(play.broker.accept().await);
        at.push(began.elapsed());
    }
    let delays: Vec<_> = at.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64()).collect();
    for (delay, full) in delays.iter().zip([1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]) {
        assert!((full / 2.0..=full + 0.01).contains(delay), "{delays:?}");
    }
    // Two minutes have passed at the most.
    let lines = play.log().matches("not connected; alerts wait on disk").count();
    let minutes = at[8].as_secs() as usize / 60;
    assert!((1..=minutes + 1).contains(&lines), "{lines} lines in {:?}", at[8]);
    let _peer = play.accept().await;
    play.logged("the broker is back").await;
    assert!(play.log().contains("away_s="), "{}", play.log());
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_accepted_alerts_is_called_again_after_the_first_delay() {
    let mut play = Play::new();
    for number in 1..=6 {
        play.append(number, None);
        let mut peer = play.accept().await;
        assert_eq!(accepted(&mut peer, 1).await, [number.to_string()]);
        while play.counts.published.load(Ordering::Relaxed) < u64::from(number) {
            sleep(Duration::from_millis(1)).await;
        }
        drop(peer);
        let broke = Instant::now();
        if number == 6 {
            let _peer = play.broker.accept().await;
            assert!(broke.elapsed() <= SECOND, "{:?}", broke.elapsed());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_broker_ends_the_session_after_a_minute() {
    let mut play = Play::new();
    play.append(1, None);
    let mut peer = play.accept().await;
    let (topic, _) = peer.published().await;
    assert_eq!(topic, "alert");
    let _peer = timeout(62 * SECOND, play.broker.accept()).await.expect("a new connection");
    assert!(play.log().contains("has not acknowledged a message for 60 s"), "{}", play.log());
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_was_never_connected_is_not_waited_for_at_the_end() {
    let mut play = Play::new();
    play.append(1, None);
    drop(play.broker.accept().await);
    // The next connection is never answered.
    let _peer = play.broker.accept().await;
    let stopped = Instant::now();
    assert_eq!(play.finish().await, Farewell { waiting: 1, said: false });
    assert_eq!(stopped.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_does_not_answer_gets_the_grace_period_and_no_more() {
    let mut play = Play::new();
    play.append(1, None);
    let mut peer = play.accept().await;
    peer.published().await;
    let stopped = Instant::now();
    assert_eq!(play.finish().await, Farewell { waiting: 1, said: false });
    let took = stopped.elapsed();
    assert!((GRACE..GRACE + SECOND / 10).contains(&took), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn when_the_grace_period_is_nearly_over_no_more_alerts_are_sent() {
    let mut play = Play::new();
    (1..=200).for_each(|number| play.append(number, None));
    let mut peer = play.accept().await;
    play.stop.cancel();
    let stopped = Instant::now();
    let mut alerts = 0;
    let last = loop {
        sleep(Duration::from_millis(50)).await;
        let (topic, content) = answer(&mut peer, PubAckReason::Success).await;
        if topic == STATUS {
            break content;
        }
        alerts += 1;
    };
    assert_eq!(last, "offline");
    let took = stopped.elapsed();
    assert!((GRACE - SECOND..GRACE).contains(&took), "{took:?}: what is in flight is waited for");
    assert_eq!(play.finish().await, Farewell { waiting: 200 - alerts, said: true });
}

#[tokio::test(start_paused = true)]
async fn a_refused_alert_is_offered_again_and_logged_once() {
    let mut play = Play::new();
    play.append(1, None);
    let mut peer = play.accept().await;
    for _ in 0..3 {
        assert_eq!(answer(&mut peer, PubAckReason::NotAuthorized).await.1, "1");
    }
    assert_eq!(accepted(&mut peer, 1).await, ["1"]);
    play.logged("accepts alerts to this topic again").await;
    assert_eq!(play.log().matches("the broker refuses an alert").count(), 1, "{}", play.log());
    assert_eq!(play.counts.refused.load(Ordering::Relaxed), 3);
    while play.outbox.waiting() > 0 {
        sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_busy_board_waits_for_alerts_but_not_for_long() {
    let mut play = Play::new();
    let mut peer = play.accept().await;
    play.logged("connected to the broker").await;
    (1..=200).for_each(|number| play.append(number, None));
    play.board.set("state", "ON");
    let mut before = 0;
    loop {
        sleep(Duration::from_millis(50)).await;
        let (topic, _) = answer(&mut peer, PubAckReason::Success).await;
        if topic == "state" {
            break;
        }
        before += 1;
    }
    assert!((1..200).contains(&before), "after {before} alerts");
}

fn announcement() -> Announcement {
    Announcement::of(&announced_config())
}

fn announced_config() -> Config {
    let home_assistant = HomeAssistant {
        discovery_prefix: "homeassistant".to_owned(),
        name: "stakeout".to_owned(),
        suggested_area: None,
        configuration_url: None,
    };
    Config { home_assistant: Some(home_assistant), ..samples::config() }
}

const ALERT: &str = "home/back/porch/person/alert";

#[tokio::test(start_paused = true)]
async fn alerts_after_a_connect_wait_for_home_assistant_and_not_for_long() {
    /// A name, what Home Assistant publishes and when, and the seconds that an alert waits.
    type Case = (&'static str, &'static [(u64, &'static str)], u32);
    let cases: [Case; 4] = [
        ("it publishes nothing", &[], 15),
        ("its birth message", &[(5, "online")], 5),
        ("its birth message before discovery was out for 2 s", &[(0, "online")], 2),
        ("its last will", &[(3, "offline")], 15),
    ];
    for (case, says, seconds) in cases {
        let mut play = Play::announcing(Some(announcement()));
        play.append_to(ALERT, 1, None);
        let mut peer = play.accept_announcer().await;
        let time = time_until(&mut peer, ALERT, says).await;
        assert!(is_about(time, seconds), "{case}: {time:?}");
    }
    let mut play = Play::announcing(Some(Announcement::default()));
    play.append_to(ALERT, 1, None);
    let time = time_until(&mut play.accept().await, ALERT, &[]).await;
    assert!(is_about(time, 0), "without Home Assistant: {time:?}");
}

#[tokio::test(start_paused = true)]
async fn alerts_wait_while_home_assistant_is_offline_and_keep_their_order() {
    let mut play = Play::announcing(Some(announcement()));
    play.append_to(ALERT, 1, None);
    let mut peer = play.accept_announcer().await;
    time_until(&mut peer, ALERT, &[(1, "online")]).await;
    for (says, seconds) in [(&[(4, "online")][..], 4), (&[], 15)] {
        home_assistant(&peer, "offline").await;
        // Long after its last will.
        sleep(40 * SECOND).await;
        play.append_to(ALERT, 2, Some(vec![1]));
        play.append_to(ALERT, 3, None);
        let time = time_until(&mut peer, "snapshot", says).await;
        assert!(is_about(time, seconds), "{says:?}: {time:?}");
        assert_eq!(alerts(&mut peer, 2).await, ["2", "3"]);
        time_until(&mut peer, "homeassistant/device/home__back/config", &[(0, "online")]).await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_alert_of_a_new_device_waits_for_its_discovery_and_others_do_not() {
    let mut config = announced_config();
    let mut play = Play::announcing(Some(Announcement::of(&config)));
    let mut peer = play.accept_announcer().await;
    play.append_to(ALERT, 1, None);
    time_until(&mut peer, ALERT, &[(1, "online")]).await;

    config.sources.push(samples::source("new", &["porch"]));
    play.announcer.announce(Announcement::of(&config));
    play.append_to("home/new/porch/person/alert", 2, Some(vec![1]));
    play.append_to(ALERT, 3, None);
    let time = time_until(&mut peer, ALERT, &[]).await;
    assert!(is_about(time, 0), "{time:?}");
    time_until(&mut peer, "homeassistant/device/home__new/config", &[]).await;
    let time = time_until(&mut peer, "snapshot", &[]).await;
    assert!(is_about(time, 2), "{time:?}");
    assert_eq!(alerts(&mut peer, 1).await, ["2"]);
}

#[tokio::test(start_paused = true)]
async fn alerts_that_wait_for_home_assistant_are_sent_when_the_service_stops() {
    let mut play = Play::announcing(Some(announcement()));
    play.append_to(ALERT, 1, None);
    let mut peer = play.accept_announcer().await;
    time_until(&mut peer, "homeassistant/device/home__back/config", &[]).await;
    play.stop.cancel();
    assert_eq!(accepted(&mut peer, 2).await, ["1", "offline"]);
}

#[tokio::test(start_paused = true)]
async fn a_device_is_withdrawn_before_its_topics_are_cleared() {
    let mut config = announced_config();
    let mut play = Play::announcing(Some(Announcement::of(&config)));
    play.board.set("home/back/status", "online");
    let mut peer = play.connect().await;
    let device = "homeassistant/device/home__back/config";
    subscribed(&mut peer).await;
    time_until(&mut peer, device, &[]).await;

    config.sources.pop();
    play.board.set("home/back/status", "");
    play.announcer.announce(Announcement::of(&config));
    assert_eq!(answer(&mut peer, PubAckReason::Success).await, (device.to_owned(), String::new()));
    let time = time_until(&mut peer, "home/back/status", &[]).await;
    assert!(is_about(time, 2), "{time:?}");
}

#[tokio::test(start_paused = true)]
async fn devices_are_announced_after_the_board_and_withdrawn_when_they_are_gone() {
    let announcement = announcement();
    let expected: Vec<_> = announcement.messages().collect();
    let mut play = Play::announcing(Some(announcement));
    play.board.set("state", "OFF");
    let mut peer = play.connect().await;
    subscribed(&mut peer).await;
    assert_eq!(accepted(&mut peer, 1).await, ["OFF"], "before the service is online");
    online(&mut peer).await;
    for message in &expected {
        assert_eq!(answer(&mut peer, PubAckReason::Success).await, *message);
    }
    let file = play.folder.path().join("home_assistant.json");
    assert!(
        std::fs::read_to_string(&file).unwrap().contains(&expected[0].0),
        "what may be retained is on disk"
    );

    home_assistant(&peer, "online").await;
    assert_eq!(answer(&mut peer, PubAckReason::Success).await, expected[0]);
}

#[tokio::test(start_paused = true)]
async fn only_what_changes_is_announced() {
    let mut config = announced_config();
    let first = Announcement::of(&config);
    let mut play = Play::announcing(Some(first.clone()));
    let mut peer = play.accept_announcer().await;
    for message in first.messages() {
        assert_eq!(answer(&mut peer, PubAckReason::Success).await, message);
    }
    config.sources.push(samples::source("new", &["porch"]));
    let second = first.with(&config, &config.sources[2], None);
    assert_eq!(second, Announcement::of(&config));
    play.announcer.announce(second.clone());
    let topic = |source: &str| format!("homeassistant/device/home__{source}/config");
    assert_eq!(answer(&mut peer, PubAckReason::Success).await.0, topic("new"));

    config.sources[2] = samples::source("newer", &["porch"]);
    let third = second.with(&config, &config.sources[2], Some("new"));
    assert_eq!(third, Announcement::of(&config));
    play.announcer.announce(third);
    assert_eq!(answer(&mut peer, PubAckReason::Success).await, (topic("new"), String::new()), "withdrawn");
    assert_eq!(answer(&mut peer, PubAckReason::Success).await.0, topic("newer"));
    play.board.set("state", "ON");
    assert_eq!(answer(&mut peer, PubAckReason::Success).await.0, "state", "and nothing else");
    // A device that was not accepted is announced again with the next change.
    config.sources[2].scores = true;
    let fourth = Announcement::of(&config);
    play.announcer.announce(fourth.clone());
    assert_eq!(answer(&mut peer, PubAckReason::NotAuthorized).await.0, topic("newer"));
    config.sources.push(samples::source("last", &["porch"]));
    play.announcer.announce(fourth.with(&config, &config.sources[3], None));
    let next =
        [answer(&mut peer, PubAckReason::Success).await.0, answer(&mut peer, PubAckReason::Success).await.0];
    assert_eq!(next, [topic("newer"), topic("last")]);
}

#[tokio::test(start_paused = true)]
async fn a_device_on_which_the_broker_hangs_up_is_left_out_after_three_tries() {
    let announcement = announcement();
    let topics: Vec<_> = announcement.messages().map(|(topic, _)| topic).collect();
    let mut play = Play::announcing(Some(announcement));
    for _ in 0..3 {
        let mut peer = play.accept_announcer().await;
        assert_eq!(peer.published().await.0, topics[0]);
    }
    let mut peer = play.accept_announcer().await;
    assert_eq!(answer(&mut peer, PubAckReason::Success).await.0, topics[1], "the others are announced");
    assert!(play.log().contains("the connection broke 3 times"), "{}", play.log());
}

#[tokio::test(start_paused = true)]
async fn scores_are_sent_at_most_once_and_those_of_an_outage_are_dropped() {
    let mut play = Play::new();
    play.scores.send("scores".to_owned(), "old".to_owned());
    let mut peer = play.accept().await;
    play.logged("connected to the broker").await;
    assert_eq!(play.counts.scores_dropped.load(Ordering::Relaxed), 1);
    play.scores.send("scores".to_owned(), "new".to_owned());
    assert_eq!(peer.next().await, Some(Request::Offer("scores".to_owned())));
}

#[tokio::test(start_paused = true)]
async fn a_heartbeat_is_sent_after_the_alerts_before_it_and_is_not_retained() {
    let mut play = Play::new();
    let mut peer = play.accept().await;
    play.append(1, None);
    play.outbox.beat(jiff::Timestamp::UNIX_EPOCH);
    play.append(2, None);
    let (alert, id) = peer.published().await;
    assert_eq!(alert, "alert");
    // The first alert has no answer yet: the heartbeat does not overtake it.
    assert!(timeout(SECOND * 5, peer.published()).await.is_err());
    peer.send(Event::Acknowledged(id, PubAckReason::Success)).await;
    let mut seen = Vec::new();
    while seen.len() < 2 {
        let Some(Request::Publish { topic, payload, retain, id }) = peer.next().await else {
            panic!("{seen:?}")
        };
        peer.send(Event::Acknowledged(id, PubAckReason::Success)).await;
        assert!(!retain, "{topic}");
        seen.push((topic, String::from_utf8(payload).unwrap()));
    }
    seen.sort();
    assert_eq!(seen[0], ("alert".to_owned(), "2".to_owned()));
    assert_eq!(
        seen[1],
        (
            "stakeout/heartbeat".to_owned(),
            r#"{"time":"1970-01-01T00:00:00.000Z","every_s":null,"waiting":1,"outbox":"disk"}"#.to_owned()
        )
    );
    let counted =
        || (play.counts.heartbeats.load(Ordering::Relaxed), play.counts.published.load(Ordering::Relaxed));
    while counted() != (1, 2) {
        sleep(Duration::from_millis(1)).await;
    }
    sleep(SECOND).await;
    assert_eq!(counted(), (1, 2), "a heartbeat counts as no alert");
}

#[tokio::test(start_paused = true)]
async fn a_heartbeat_of_an_outage_is_sent_once_and_only_the_newest() {
    let mut play = Play::new();
    for second in 0..3 {
        play.outbox.beat(jiff::Timestamp::from_second(second).unwrap());
    }
    let mut peer = play.accept().await;
    let (topic, payload) = answer(&mut peer, PubAckReason::Success).await;
    assert_eq!(topic, "stakeout/heartbeat");
    assert!(payload.contains("00:00:02"), "{payload}");
    assert!(timeout(SECOND * 60, peer.published()).await.is_err());
}
