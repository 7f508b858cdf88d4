//! An outbox, a board and a publisher, connected as the daemon connects them; the publisher has its own thread.

use super::*;

/// How long a stopped publisher may work: longer than a test waits, so a publisher that waits in vain fails the test.
pub const GRACE: Duration = Duration::from_secs(600);

/// An outbox and a board.
pub struct Setup {
    pub folder: PathBuf,
    pub _temporary: Option<TempDir>,
    pub outbox: Arc<Outbox>,
    pub board: Board,
}

impl Setup {
    pub fn new() -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let setup = Self::in_folder(temporary.path().to_owned());
        Self { _temporary: Some(temporary), ..setup }
    }

    pub fn in_folder(folder: PathBuf) -> Self {
        let outbox = Arc::new(Outbox::open(&folder).unwrap());
        Self { folder, _temporary: None, outbox, board: Board::new() }
    }

    /// Opens the outbox again, as the next process does.
    pub fn restart(&mut self) {
        let elsewhere = Arc::new(Outbox::open(tempfile::tempdir().unwrap().path()).unwrap());
        let outbox = std::mem::replace(&mut self.outbox, elsewhere);
        assert_eq!(Arc::strong_count(&outbox), 1, "no publisher uses it");
        drop(outbox);
        self.outbox = Arc::new(Outbox::open(&self.folder).unwrap());
        self.board = Board::new();
    }

    pub fn append(&self, number: u32, jpeg: Option<Vec<u8>>) {
        self.append_with(ALERT, number, jpeg);
    }

    pub fn append_at(&self, topic: &str, number: u32) {
        self.append_with(topic, number, None);
    }

    pub fn append_with(&self, topic: &str, number: u32, jpeg: Option<Vec<u8>>) {
        self.outbox.append(&entry(topic, number, jpeg));
    }

    pub fn publish(&self, broker: &Mqtt) -> RunningPublisher {
        self.publish_with(broker, Announcement::default(), GRACE)
    }

    pub fn publish_with(
        &self,
        broker: &Mqtt,
        announcement: Announcement,
        grace: Duration,
    ) -> RunningPublisher {
        let publisher = Publisher::new(broker, Arc::clone(&self.outbox), &self.board).unwrap();
        let publisher = publisher.announcing(&Announcer::new(announcement), &self.folder);
        let scores = publisher.scores();
        let (counts, stop, log) = (publisher.counts(), CancellationToken::new(), Log::default());
        let (kill, killed) = oneshot::channel::<()>();
        let (stopped, written) = (stop.clone(), log.clone());
        let thread = thread::spawn(move || {
            let subscriber =
                tracing_subscriber::fmt().with_ansi(false).with_writer(move || written.clone()).finish();
            let _log = tracing::subscriber::set_default(subscriber);
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                tokio::select! {
                    farewell = publisher.run(stopped, grace) => Some(farewell),
                    _ = killed => None,
                }
            })
        });
        RunningPublisher { thread, stop, kill, scores, counts, log }
    }
}

pub fn entry(topic: &str, number: u32, jpeg: Option<Vec<u8>>) -> Entry {
    Entry {
        id: number.to_string(),
        topic: topic.to_owned(),
        payload: format!("{{\"id\":{number}}}"),
        snapshot: jpeg.map(|jpeg| Snapshot { topic: SNAPSHOT.to_owned(), jpeg }),
        mark: None,
    }
}

/// A publisher on its own thread.
pub struct RunningPublisher {
    pub thread: JoinHandle<Option<Farewell>>,
    pub stop: CancellationToken,
    pub kill: oneshot::Sender<()>,
    pub scores: ScoreSender,
    pub counts: Arc<Counts>,
    pub log: Log,
}

impl RunningPublisher {
    pub fn log(&self) -> String {
        String::from_utf8(self.log.0.lock().unwrap().clone()).unwrap()
    }

    pub fn finish(self) -> Farewell {
        self.stop.cancel();
        join("the publisher ends", self.thread).expect("it was not killed")
    }

    /// Ends the publisher as a killed process ends: the connection closes without a DISCONNECT.
    pub fn kill(self) {
        self.kill.send(()).unwrap();
        join("the publisher is dropped", self.thread);
    }
}

#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

pub fn lines(messages: &[ReceivedMessage]) -> Vec<String> {
    messages.iter().map(ReceivedMessage::line).collect()
}

/// The numbers of the alerts, in the order of arrival.
pub fn alerts(messages: &[ReceivedMessage]) -> Vec<u32> {
    let number = |message: &ReceivedMessage| {
        assert!(!message.retain && message.qos == 1, "{message:?}");
        message.text().trim_matches(|letter: char| !letter.is_ascii_digit()).parse().unwrap()
    };
    messages.iter().filter(|message| message.topic == ALERT).map(number).collect()
}

pub fn publisher_status(broker: &Broker) -> String {
    let seen = Subscriber::start(broker).until("the retained status", |message| message.topic == STATUS);
    seen.last().unwrap().text().to_owned()
}
