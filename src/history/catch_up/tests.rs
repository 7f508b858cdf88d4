//! With a model thread whose engine is scripted, and the thread of the history.

use tokio::sync::mpsc;

use super::*;
use crate::{
    classify::{self, PictureEncoding, ReceiverGone, Scored, Watchlist, labels::LabelVectors},
    engine::{EngineError, Engines, fake::FakeEngine},
    frame::Frame,
    history::{
        self, History,
        pictures::store_for_test,
        search::{Found, Search, search},
    },
    model::{Model, ModelFiles, Options},
    observe::{Observers, ServiceMetrics},
    picture::Picture,
    policy::{HistorySettings, Scoring},
    samples,
};

/// The parts of a service that has no frames.
struct Service {
    catch_up: CatchUp,
    metrics: Arc<ServiceMetrics>,
    model: std::thread::JoinHandle<Result<classify::Counts, ReceiverGone>>,
    frames: mpsc::Sender<Frame>,
    observers: Observers,
    config: Config,
    _scored: mpsc::Receiver<Scored>,
    _watchlist: watch::Sender<Arc<Watchlist>>,
}

impl Service {
    fn start(state_dir: &Path, search: bool) -> Self {
        Self::with_engine(state_dir, search, FakeEngine::new(|pictures| Ok(pictures.to_vec())))
    }

    fn with_engine(state_dir: &Path, search: bool, engine: FakeEngine) -> Self {
        let settings = HistorySettings { search, ..HistorySettings::default() };
        let config = Config { state_dir: state_dir.to_owned(), history: Some(settings), ..samples::config() };
        let metrics = Arc::new(ServiceMetrics::new(&config));
        let mut observers = Observers::new(Arc::new(config.clone()), Arc::clone(&metrics));
        let subscription = observers.subscribe(history::SUBSCRIBER);
        let (history, _) = history::spawn(settings, subscription, &metrics).unwrap();

        let model = Model::load(Engines::Fake(engine), &ModelFiles::bundled(), &Options::default()).unwrap();
        let scoring = Scoring::Cosine;
        let nothing = LabelVectors { name: "set".into(), labels: vec![], background: vec![], scoring };
        let (list, watchlist) = watch::channel(Arc::new(Watchlist::of_one("none", &[], nothing)));
        let ((frames, to_model), (scored, to_judge)) = (mpsc::channel(1), mpsc::channel(1));
        let (_, pictures) = PictureEncoding::channel();
        let (model, idle) =
            classify::spawn(model, watchlist, to_model, pictures, scored, Arc::default()).unwrap();
        let catch_up = CatchUp {
            state_dir: state_dir.to_owned(),
            model: idle,
            history,
            decoders: Decoders::unrecorded(100_000_000),
            config: observers.config(),
            counts: metrics.add_history(),
        };
        let (_scored, _watchlist) = (to_judge, list);
        Self { catch_up, metrics, model, frames, observers, config, _scored, _watchlist }
    }

    fn counts(&self) -> [u64; 2] {
        let counts = self.metrics.history().unwrap();
        [&counts.to_embed, &counts.embedded].map(|count| count.load(Ordering::Relaxed))
    }
}

fn jpeg(level: u8) -> Vec<u8> {
    Picture::of_rgb(64, 36, vec![level; 64 * 36 * 3]).to_jpeg(75).unwrap()
}

/// Stores pictures of the source `Front Door` since an hour ago, one for each second: older ones than `keep` would be deleted.
fn store(state_dir: &Path, pictures: &[Vec<u8>]) -> Vec<i64> {
    let mut history = History::open(state_dir).unwrap();
    let start = jiff::Timestamp::now().as_millisecond() - 3_600_000;
    let stored = history.write(|transaction| {
        let store = |(second, jpeg): (i64, &Vec<u8>)| {
            store_for_test(transaction, "Front Door", start + 1000 * second, jpeg.clone())
        };
        Ok((1..).zip(pictures).map(store).collect())
    });
    stored.unwrap()
}

fn embedded(state_dir: &Path) -> Found {
    let reader = Reader::open(state_dir).unwrap();
    let vectors = [vec![1.0, 0.0]];
    let all = Search { vectors: &vectors, model: "bundled", source: None, since: None, until: None, top: 20 };
    search(reader.connection(), &all).unwrap()
}

#[tokio::test]
async fn stored_pictures_are_embedded_and_damaged_ones_are_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let damaged = jpeg(90)[..40].to_vec();
    let too_large = Picture::of_rgb(400, 300, vec![9; 400 * 300 * 3]).to_jpeg(75).unwrap();
    store(folder.path(), &[jpeg(30), damaged, jpeg(200), too_large, b"no picture".to_vec()]);
    let service = Service::start(folder.path(), true);
    assert_eq!(service.catch_up.embed_while_on().await, Ok(()));
    assert_eq!(service.counts(), [0, 2]);
    let found = embedded(folder.path());
    assert_eq!((found.vectors, found.sources), (2, 1));
    assert!(found.matches.iter().all(|it| it.source == "Front Door"), "{found:?}");

    assert_eq!(service.catch_up.embed_while_on().await, Ok(()));
    assert_eq!((service.counts(), embedded(folder.path()).vectors), ([0, 2], 2), "each is embedded once");
}

#[tokio::test]
async fn a_picture_that_was_forgotten_meanwhile_is_not_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let ids = store(folder.path(), &[jpeg(30)]);
    let service = Service::start(folder.path(), true);
    let picture = |id| EmbeddedPicture {
        id,
        source: "Front Door".into(),
        time: jiff::Timestamp::now().as_millisecond(),
        views: vec![(None, [0.6, 0.8].into())],
    };
    let recorded = service.catch_up.history.record_embedded(vec![picture(ids[0] + 1), picture(ids[0])], true);
    assert_eq!(recorded.await.unwrap(), 1);
    assert_eq!(embedded(folder.path()).vectors, 1);
}

#[tokio::test]
async fn nothing_is_embedded_without_search_or_when_the_model_has_ended() {
    let folder = tempfile::tempdir().unwrap();
    store(folder.path(), &[jpeg(30), jpeg(60)]);
    let off = Service::start(folder.path(), false);
    assert_eq!(off.catch_up.embed_while_on().await, Err(Ended::SwitchedOff));
    assert_eq!((off.counts(), embedded(folder.path()).vectors), ([0, 0], 0));
    drop(off);

    let folder = tempfile::tempdir().unwrap();
    store(folder.path(), &[jpeg(30)]);
    let Service { catch_up, model, frames, observers: _observers, _scored, _watchlist, .. } =
        Service::start(folder.path(), true);
    drop(frames);
    model.join().unwrap().unwrap();
    assert_eq!(catch_up.embed_while_on().await, Err(Ended::Stopping));
    catch_up.run().await;
}

#[tokio::test(start_paused = true)]
async fn a_list_that_cannot_be_read_is_read_again_later() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    store(folder.path(), &[jpeg(30), jpeg(60)]);
    std::fs::write(other.path().join("history.db"), "damaged".repeat(1000)).unwrap();
    let link = other.path().join("state");
    std::os::unix::fs::symlink(other.path(), &link).unwrap();
    let mut service = Service::start(folder.path(), true);
    service.catch_up.state_dir = link.clone();
    let (metrics, running) = (Arc::clone(&service.metrics), tokio::spawn(service.catch_up.run()));
    let embedded = || metrics.history().unwrap().embedded.load(Ordering::Relaxed);
    // Time passes only when nothing is left to do: it was tried more than once.
    tokio::time::sleep(3 * RETRY).await;
    assert!(embedded() == 0 && !running.is_finished());
    std::fs::remove_file(&link).unwrap();
    std::os::unix::fs::symlink(folder.path(), &link).unwrap();
    while embedded() < 2 {
        tokio::time::sleep(RETRY).await;
    }
    running.abort();
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_is_unavailable_is_tried_again_until_search_is_switched_off() {
    let folder = tempfile::tempdir().unwrap();
    store(folder.path(), &[jpeg(30), jpeg(60)]);
    let (asked, mut asks) = mpsc::unbounded_channel();
    let engine = FakeEngine::new(move |_| {
        let _ = asked.send(());
        Err(EngineError::Unavailable("the server is away".to_owned()))
    });
    let mut service = Service::with_engine(folder.path(), true, engine);
    let catch_up = service.catch_up;
    let counts = Arc::clone(&catch_up.counts);
    let running = tokio::spawn(async move { catch_up.embed_while_on().await });
    for _ in 0..3 {
        asks.recv().await.unwrap();
    }
    assert_eq!(counts.to_embed.load(Ordering::Relaxed), 2);
    let settings = HistorySettings { search: false, ..HistorySettings::default() };
    service.config.history = Some(settings);
    service.observers.reload(&Arc::new(service.config));
    assert_eq!(running.await.unwrap(), Err(Ended::SwitchedOff));
    assert_eq!(counts.to_embed.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn pictures_are_embedded_while_those_before_are_committed() {
    let folder = tempfile::tempdir().unwrap();
    store(folder.path(), &[jpeg(30), jpeg(60), jpeg(90), jpeg(120), jpeg(150)]);
    let service = Service::start(folder.path(), true);
    assert_eq!(service.catch_up.embed_while_on().await, Ok(()));
    assert_eq!((service.counts(), embedded(folder.path()).vectors), ([0, 5], 5));
}

#[test]
fn errors_after_which_a_picture_is_read_again() {
    let statement = |code| {
        anyhow::Error::from(Error::Statement(rusqlite::Error::SqliteFailure(
            rusqlite::ffi::Error::new(code),
            None,
        )))
    };
    let in_use = Error::InUse { path: "history.db".into() };
    for (error, expected) in [
        (statement(rusqlite::ffi::SQLITE_BUSY), true),
        (statement(rusqlite::ffi::SQLITE_IOERR), true),
        (statement(rusqlite::ffi::SQLITE_CORRUPT), false),
        (in_use.into(), true),
        (Error::Damaged { path: "history.db".into(), why: "it is no database".to_owned() }.into(), false),
        (anyhow::anyhow!("it was deleted"), false),
    ] {
        assert_eq!(may_pass(&error), expected, "{error:?}");
    }
}
