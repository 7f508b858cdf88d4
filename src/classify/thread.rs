//! The thread that owns the model: takes the waiting frames as one batch, scores them, and sends the scores on.
//!
//! The pictures of the frames are prepared by another thread meanwhile ([`super::prepare`]). A frame keeps its slot while
//! the engine is unavailable; a frame that the model rejects is dropped and counted. Pictures that people search by are encoded
//! between two batches: at most one while frames wait. So does the canary run; a frame that the device failed on is scored again
//! on the processor.

use std::{
    io,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use tokio::sync::{
    mpsc::{Receiver, Sender},
    watch,
};
use tracing::{debug, error, warn};

use super::{
    Scored,
    embed::embed_each,
    guard::{Guard, GuardedModel},
    idle::{IdleModel, IdlePictures, More},
    pictures::PictureRequest,
    prepare::{self, Prepared, PreparedFrame, Work},
    progress::{Counts, Progress},
    repeats::{Batch, Repeats},
    vector_request::VectorRequest,
    watchlist::{Scale, Watchlist},
};
use crate::{
    backoff::{Backoff, jitter},
    frame::Frame,
    model::{Model, ModelError},
    prefetch::{Prefetch, Waited},
};

/// The receiver of the scores was dropped while frames still came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the receiver of the scores is gone")]
pub struct ReceiverGone;

/// Starts the threads. They end when `frames` is closed and every frame in it was scored. The model's thread reads the
/// newest watchlist before each batch, so a frame that is sent after a watchlist is never scored with an older one. A client waits for
/// each request in `pictures`, so a request does not wait for all frames: while both wait, requests and frames take turns. While idle,
/// the model embeds pictures that are sent through the returned [`IdleModel`].
///
/// # Errors
/// The operating system has no thread left.
pub fn spawn(
    model: impl Into<GuardedModel>,
    watchlist: watch::Receiver<Arc<Watchlist>>,
    frames: Receiver<Frame>,
    pictures: Receiver<PictureRequest>,
    scored: Sender<Scored>,
    progress: Arc<Progress>,
) -> io::Result<(thread::JoinHandle<Result<Counts, ReceiverGone>>, IdleModel)> {
    let GuardedModel { model, guard } = model.into();
    let (idle, can_wait) = IdleModel::channel(model.preprocessor().clone());
    let work = Work::new(frames, Some(pictures));
    let thread = start((model, guard), watchlist, work, scored, progress, (false, Some(can_wait)))?;
    Ok((thread, idle))
}

/// Starts the threads, which wait until a batch is full: the same frames are then always in the same batches, whose scores
/// are equal to the last bit. For recordings; a camera's frame would wait for the camera's next frames.
///
/// # Errors
/// As [`spawn`].
pub fn spawn_in_full_batches(
    model: Model,
    watchlist: watch::Receiver<Arc<Watchlist>>,
    frames: Receiver<Frame>,
    scored: Sender<Scored>,
) -> io::Result<thread::JoinHandle<Result<Counts, ReceiverGone>>> {
    let work = Work::new(frames, None);
    start((model, None), watchlist, work, scored, Arc::default(), (true, None))
}

fn start(
    (mut model, guard): (Model, Option<Guard>),
    watchlist: watch::Receiver<Arc<Watchlist>>,
    work: Work,
    scored: Sender<Scored>,
    progress: Arc<Progress>,
    (full_batches, idle): (bool, Option<IdlePictures>),
) -> io::Result<thread::JoinHandle<Result<Counts, ReceiverGone>>> {
    let max_batch = model.max_batch();
    let preprocessor = model.preprocessor().clone();
    let frames = prepare::spawn(preprocessor, watchlist.clone(), work, max_batch, Arc::clone(&progress))?;
    thread::Builder::new().name("model".to_owned()).spawn(move || {
        let worker = Worker::new(&mut model, watchlist, progress, max_batch, full_batches);
        Worker { idle, guard, ..worker }.run(frames, &scored)
    })
}

/// Does in this thread what [`spawn`] does in one of its own, with at most `max_batch` pictures in one run of the model.
///
/// # Errors
/// The operating system has no thread left; the inner error: the receiver of the scores was dropped.
pub fn score_all(
    model: &mut Model,
    watchlist: watch::Receiver<Arc<Watchlist>>,
    frames: Receiver<Frame>,
    scored: &Sender<Scored>,
    max_batch: usize,
) -> io::Result<Result<Counts, ReceiverGone>> {
    let (preprocessor, progress) = (model.preprocessor().clone(), Arc::<Progress>::default());
    let max_batch = max_batch.max(1);
    let work = Work::new(frames, None);
    let frames = prepare::spawn(preprocessor, watchlist.clone(), work, max_batch, Arc::clone(&progress))?;
    Ok(Worker::new(model, watchlist, progress, max_batch, false).run(frames, scored))
}

struct Worker<'a> {
    model: &'a mut Model,
    max_batch: usize,
    watchlist: watch::Receiver<Arc<Watchlist>>,
    repeats: Repeats,
    counts: Counts,
    full_batches: bool,
    progress: Arc<Progress>,
    /// The picture that ended the newest batch. It is encoded after that batch.
    held: Option<VectorRequest>,
    /// Pictures for the time without frames; `None`: there are none any more.
    idle: Option<IdlePictures>,
    /// The canary; `None`: the model needs none.
    guard: Option<Guard>,
    /// Sleeps between two attempts while the engine is unavailable.
    sleep: fn(Duration),
}

impl<'a> Worker<'a> {
    fn new(
        model: &'a mut Model,
        watchlist: watch::Receiver<Arc<Watchlist>>,
        progress: Arc<Progress>,
        max_batch: usize,
        full_batches: bool,
    ) -> Self {
        let (repeats, counts) = (Repeats::default(), Counts::default());
        let (held, idle, guard, sleep) = (None, None, None, thread::sleep);
        Self {
            model,
            max_batch,
            watchlist,
            repeats,
            counts,
            full_batches,
            progress,
            held,
            idle,
            guard,
            sleep,
        }
    }

    fn run(
        mut self,
        mut frames: Prefetch<Prepared>,
        scored: &Sender<Scored>,
    ) -> Result<Counts, ReceiverGone> {
        while let Some(batch) = self.next_batch(&mut frames) {
            let progress = Arc::clone(&self.progress);
            let _at_work = progress.pulse.work();
            batch.iter().for_each(|prepared| progress.queue.observe(prepared.frame.slot.age()));
            let began = Instant::now();
            let answers = self.score_batch(batch, scored);
            progress.batch_ended(self.counts, began.elapsed());
            for answer in answers? {
                scored.blocking_send(answer).map_err(|_| ReceiverGone)?;
            }
        }
        frames.join();
        Ok(self.counts)
    }

    /// Waits for the next frame and adds the frames that are ready, or all that fit if batches are to be full. A picture before the first
    /// frame is encoded at once. A later one ends the batch, because the frames in it must not wait for a second picture.
    fn next_batch(&mut self, frames: &mut Prefetch<Prepared>) -> Option<Vec<PreparedFrame>> {
        if let Some(picture) = self.held.take() {
            self.encode(picture);
        }
        let mut batch = Vec::new();
        while batch.len() < self.max_batch {
            let next = match (batch.is_empty(), self.full_batches) {
                (true, _) => self.wait_for_next(frames),
                (false, true) => frames.wait(),
                (false, false) => frames.take_ready(),
            };
            let Some(next) = next else { break };
            self.progress.pulse.taken();
            match next {
                Prepared::Frame(frame) => batch.push(frame),
                Prepared::Picture(picture) if batch.is_empty() => self.encode(picture),
                Prepared::Picture(picture) => {
                    self.held = Some(picture);
                    break;
                }
            }
        }
        (!batch.is_empty()).then_some(batch)
    }

    fn encode(&mut self, picture: VectorRequest) {
        let at_work = self.progress.pulse.work();
        picture.answer(self.model);
        drop(at_work);
        self.leave_lost_device();
    }

    /// Waits for the next frame or picture, and embeds pictures that can wait meanwhile. The canary runs when it is due.
    fn wait_for_next(&mut self, frames: &mut Prefetch<Prepared>) -> Option<Prepared> {
        loop {
            self.check_device();
            let rest = self.idle.as_ref().map(|idle| idle.rest);
            let due = self.guard.as_ref().and_then(Guard::until_due);
            let Some(longest) = rest.into_iter().chain(due).min() else { return frames.wait() };
            match frames.wait_for(longest) {
                Waited::Item(next) => return Some(next),
                Waited::Ended => return None,
                // A frame is nearly ready.
                Waited::Nothing if self.progress.prepare.is_working() => continue,
                Waited::Nothing => {}
            }
            // Without frames, nothing else would notice it.
            self.progress.engine.report(&self.model.health());
            let Some(idle) = self.idle.as_mut().filter(|idle| idle.rest <= longest) else { continue };
            if idle.embed_next(self.model, &self.progress.pulse) == More::Never {
                self.idle = None;
            }
            self.leave_lost_device();
        }
    }

    /// Runs the canary when it is due.
    fn check_device(&mut self) {
        let Some(guard) = &mut self.guard else { return };
        let _at_work = guard.is_due(self.model).then(|| self.progress.pulse.work());
        guard.check_if_due(self.model, &self.progress);
    }

    /// Moves the model to the processor if the device was lost on a picture that is no frame: the caller received its error.
    fn leave_lost_device(&mut self) {
        let Some(guard) = &mut self.guard else { return };
        if let Err(error @ ModelError::Lost(_)) = self.model.health() {
            let _at_work = self.progress.pulse.work();
            guard.suspects(self.model, &error, &self.progress);
        }
    }

    fn score_batch(
        &mut self,
        batch: Vec<PreparedFrame>,
        scored: &Sender<Scored>,
    ) -> Result<Vec<Scored>, ReceiverGone> {
        // Read only now: a source that just started is on the list that was published before its first frame.
        let watchlist = Arc::clone(&self.watchlist.borrow());
        let batch = self.watched(batch, &watchlist);
        let Batch { known, fresh, waiting } = self.repeats.split(batch, &watchlist);
        let repeated = (known.len() + waiting.len()) as u64;
        let fresh = self.score_fresh(fresh, &watchlist, scored)?;
        let (joined, lost) = self.repeats.join(fresh, waiting);
        self.counts.repeated += repeated - lost.len() as u64;
        // The picture could not be scored, which was logged for the first frame with it.
        self.counts.failed += lost.len() as u64;
        lost.into_iter().for_each(|frame| frame.slot.give_up());
        Ok(known.into_iter().chain(joined).collect())
    }

    /// The frames whose source is on the list.
    fn watched(&mut self, batch: Vec<PreparedFrame>, watchlist: &Watchlist) -> Vec<PreparedFrame> {
        let is_watched = |prepared: &PreparedFrame| watchlist.watch(&prepared.frame.source).is_some();
        let (watched, unwatched) = batch.into_iter().partition::<Vec<_>, _>(is_watched);
        // Their source was removed after they were sent, and their scores are not needed. A file stays in its folder.
        for PreparedFrame { frame, .. } in unwatched {
            debug!(
                source = &*frame.source,
                origin = frame.origin,
                "its source is not watched any more; dropped"
            );
            self.counts.unwatched += 1;
            frame.slot.give_up();
        }
        watched
    }

    /// Scores frames with the model, in order. A frame is dropped if the model rejects one of its parts.
    fn score_fresh(
        &mut self,
        frames: Vec<PreparedFrame>,
        watchlist: &Arc<Watchlist>,
        scored: &Sender<Scored>,
    ) -> Result<Vec<Scored>, ReceiverGone> {
        let mut values = Vec::new();
        for frame in &frames {
            frame.append_to(&mut values, watchlist, self.model.preprocessor());
        }
        let (progress, sleep, guard) = (&self.progress, self.sleep, &mut self.guard);
        let run = |model: &mut Model, values: &[f32]| {
            let answer = embed_when_available(model, guard.as_mut(), values, progress, (scored, sleep));
            let is_to_blame = match (&answer, guard.as_mut()) {
                (Err(error), Some(guard)) => guard.suspects(model, error, progress),
                _ => false,
            };
            if !is_to_blame {
                return answer;
            }
            // The processor, or another server, runs the model now.
            progress.pulse.beat();
            embed_when_available(model, guard.as_mut(), values, progress, (scored, sleep))
        };
        let mut embeddings = embed_each(self.model, &values, self.max_batch, run).into_iter();
        if scored.is_closed() {
            return Err(ReceiverGone);
        }
        let scale = Scale::of(self.model);
        let mut answers = Vec::with_capacity(frames.len());
        for PreparedFrame { frame, .. } in frames {
            let watch = watchlist.watch(&frame.source).expect("`watched` keeps only frames on the list");
            let parts: Vec<_> = embeddings.by_ref().take(watch.count()).collect();
            match parts.into_iter().collect::<Result<Vec<_>, ModelError>>() {
                Ok(embeddings) => {
                    self.counts.scored += 1;
                    let sets = watchlist.scores(watch, scale, &embeddings);
                    answers.push(Scored { frame, sets, embeddings });
                }
                // The model would reject it again, and other frames wait. A file stays in its folder.
                Err(reason) => {
                    self.counts.failed += 1;
                    let source = &*frame.source;
                    error!(%reason, source, origin = frame.origin, "the frame could not be scored and is dropped");
                    frame.slot.give_up();
                }
            }
        }
        Ok(answers)
    }
}

/// Runs the model. While its engine is unavailable, waits and runs the same pictures again, until the receiver of the scores
/// is gone. The heart beats meanwhile: the engine's absence is no fault of this thread.
fn embed_when_available(
    model: &mut Model,
    mut guard: Option<&mut Guard>,
    values: &[f32],
    progress: &Progress,
    (scored, sleep): (&Sender<Scored>, fn(Duration)),
) -> Result<Vec<Vec<f32>>, ModelError> {
    let mut embed = |model: &mut Model| {
        if let Some(guard) = &mut guard {
            guard.admit(model, progress)?;
        }
        model.embed_prepared(values)
    };
    let mut backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(5));
    let mut answer = embed(model);
    progress.engine.report(&answer);
    while let Err(reason @ ModelError::Unavailable(_)) = &answer
        && !scored.is_closed()
    {
        let delay = backoff.failed(jitter());
        warn!(%reason, ?delay, "the frames wait for the engine");
        sleep(delay);
        progress.pulse.beat();
        answer = model.health().and_then(|()| embed(model));
        progress.engine.report(&answer);
    }
    progress.pulse.beat();
    answer
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    };

    use tokio::sync::mpsc;

    use super::*;
    use crate::{
        classify::{IdleError, PictureEncoding, PictureEncodingError, PreparedPicture, labels::LabelVectors},
        engine::{Connection, EngineError, Engines, fake::FakeEngine},
        frame::Slot,
        model::{ModelFiles, Options, canary::Canary},
        picture::Picture,
        policy::Scoring,
    };

    /// The red of a picture that the fake engine rejects.
    const REJECTED: u8 = 13;

    /// What a fake engine was asked: the numbers of pictures in each run.
    type Runs = Arc<Mutex<Vec<usize>>>;

    /// An engine that is unavailable for the first `absent` runs and then rejects every run with a picture of red
    /// [`REJECTED`]. Its answer for a picture is the picture's first number.
    fn engine(absent: usize) -> (FakeEngine, Runs) {
        let runs = Runs::default();
        let log = Arc::clone(&runs);
        let preprocessor = model(FakeEngine::new(|_| Ok(vec![]))).preprocessor().clone();
        let mut rejected = Vec::new();
        preprocessor.append(&picture(REJECTED), &mut rejected);
        let engine = FakeEngine::new(move |pictures| {
            let mut runs = log.lock().unwrap();
            runs.push(pictures.len());
            if runs.len() <= absent {
                return Err(EngineError::Unavailable("connection refused".to_owned()));
            }
            match pictures.contains(&rejected[0]) {
                true => Err(EngineError::Rejected("bad picture".to_owned())),
                false => Ok(pictures.to_vec()),
            }
        });
        (engine, runs)
    }

    fn model(engine: FakeEngine) -> Model {
        Model::load(Engines::Fake(engine), &ModelFiles::bundled(), &Options::default()).unwrap()
    }

    fn picture(red: u8) -> Picture {
        Picture::of_rgb(1, 1, vec![red, 0, 0])
    }

    fn frame(red: u8) -> Frame {
        Frame {
            source: "inbox".into(),
            origin: red.to_string(),
            captured_at: jiff::Timestamp::UNIX_EPOCH,
            picture: picture(red).into(),
            slot: Slot::free(),
        }
    }

    /// A list on which the source of [`frame`] watches one label.
    fn watchlist() -> watch::Receiver<Arc<Watchlist>> {
        let vectors = LabelVectors {
            name: "set".into(),
            labels: vec![Arc::from([1.0_f32, 0.0])],
            background: vec![],
            scoring: Scoring::Cosine,
        };
        watch::channel(Arc::new(Watchlist::of_one("inbox", &["a"], vectors))).1
    }

    /// Scores one frame for each of `reds`, in batches of `max_batch`; returns the origins that arrived and the counts.
    fn score(engine: FakeEngine, reds: &[u8], max_batch: usize) -> (Vec<String>, Counts) {
        let (frames, receiver) = mpsc::channel(reds.len());
        for red in reds {
            frames.blocking_send(frame(*red)).unwrap();
        }
        drop(frames);
        let (sender, mut scored) = mpsc::channel(reds.len());
        let mut model = model(engine);
        let (watchlist, progress) = (watchlist(), Arc::<Progress>::default());
        let prepared = prepare::spawn(
            model.preprocessor().clone(),
            watchlist.clone(),
            Work::new(receiver, None),
            max_batch,
            Arc::clone(&progress),
        );
        let mut worker = Worker::new(&mut model, watchlist, progress, max_batch, true);
        worker.sleep = |_| ();
        let counts = worker.run(prepared.unwrap(), &sender).unwrap();
        drop(sender);
        let origins = std::iter::from_fn(|| scored.blocking_recv()).map(|scored| {
            assert_eq!((scored.sets.len(), scored.embeddings.len()), (1, 1));
            scored.frame.origin
        });
        (origins.collect(), counts)
    }

    #[test]
    fn a_picture_is_encoded_between_frames_and_also_without_frames() {
        let (engine, _) = engine(0);
        let ((frames, receiver), (sender, mut scored)) = (mpsc::channel(4), mpsc::channel(4));
        let (encoding, pictures) = PictureEncoding::channel();
        let (model, _) =
            spawn(model(engine), watchlist(), receiver, pictures, sender, Arc::default()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let encoded = || runtime.block_on(encoding.encode(picture(7).into()));
        let before = encoded().unwrap();
        assert!((before.iter().map(|value| value * value).sum::<f32>() - 1.0).abs() < 1e-5);
        frames.blocking_send(frame(1)).unwrap();
        assert_eq!(scored.blocking_recv().unwrap().frame.origin, "1");
        assert_eq!(encoded().unwrap(), before);
        let rejected = runtime.block_on(encoding.encode(picture(REJECTED).into()));
        assert!(matches!(rejected, Err(PictureEncodingError::Model(ModelError::Run(_)))), "{rejected:?}");
        drop(frames);
        assert_eq!(model.join().unwrap().unwrap().scored, 1);
        assert_eq!(encoded(), Err(PictureEncodingError::Stopping));
    }

    #[test]
    fn a_picture_after_a_frame_ends_the_batch_and_is_encoded_before_the_next_one() {
        // What is ready: frames and pictures. Expected: the pictures that are encoded before each batch, and the frames in it.
        for (ready, expected) in [
            ("", ""),
            ("FFFF", "3 1"),
            ("PF", "P1"),
            ("FP", "1 P0"),
            ("FPFPF", "1 P1 P1"),
            ("FFPFFFF", "2 P3 1"),
            ("FFFP", "3 P0"),
            ("PPFPPF", "PP1 PP1"),
        ] {
            let (engine, runs) = engine(0);
            let mut model = model(engine);
            let (mut items, mut replies) = (Vec::new(), Vec::new());
            for item in ready.chars() {
                let (reply, answered) = tokio::sync::oneshot::channel();
                replies.push(answered);
                let prepared = PreparedPicture::of(&picture(1), model.preprocessor());
                items.push(match item {
                    'F' => Prepared::Frame(PreparedFrame::unprepared(frame(1))),
                    _ => Prepared::Picture(VectorRequest::new(prepared, reply)),
                });
            }
            let mut frames = Prefetch::spawn("test", [items.into_iter()], 3).unwrap();
            // Full batches: what the worker takes does not depend on the speed of the other thread.
            let mut worker = Worker::new(&mut model, watchlist(), Arc::default(), 3, true);
            let mut steps = Vec::new();
            loop {
                let batch = worker.next_batch(&mut frames);
                let encoded = std::mem::take(&mut *runs.lock().unwrap()).len();
                if batch.is_none() && encoded == 0 {
                    break;
                }
                steps.push(format!("{}{}", "P".repeat(encoded), batch.map_or(0, |batch| batch.len())));
            }
            assert_eq!(steps.join(" "), expected, "{ready}");
        }
    }

    #[test]
    fn endless_pictures_pass_each_frame_once_at_most() {
        const SEARCHED: u8 = 200;
        let mut searched = Vec::new();
        model(FakeEngine::new(|_| Ok(vec![]))).preprocessor().append(&picture(SEARCHED), &mut searched);
        let order = Arc::<Mutex<String>>::default();
        let log = Arc::clone(&order);
        let engine = FakeEngine::new(move |pictures| {
            let kinds = pictures.iter().map(|first| if *first == searched[0] { 'P' } else { 'F' });
            log.lock().unwrap().extend(kinds);
            Ok(pictures.to_vec())
        });
        let ((frames, receiver), (sender, mut scored)) = (mpsc::channel(6), mpsc::channel(6));
        (1..=6).for_each(|red| frames.try_send(frame(red)).unwrap());
        drop(frames);
        let (encoding, pictures) = PictureEncoding::channel();
        let clients = thread::spawn(move || {
            let client = async || {
                while encoding.encode(picture(SEARCHED).into()).await != Err(PictureEncodingError::Stopping) {
                }
            };
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            runtime.block_on(async { tokio::join!(client(), client(), client(), client()) });
        });
        let (model, _) =
            spawn(model(engine), watchlist(), receiver, pictures, sender, Arc::default()).unwrap();
        let origins: Vec<_> =
            std::iter::from_fn(|| scored.blocking_recv()).map(|it| it.frame.origin).collect();
        assert_eq!(origins, ["1", "2", "3", "4", "5", "6"]);
        assert_eq!(model.join().unwrap().unwrap().scored, 6, "the thread ends while pictures still come");
        clients.join().unwrap();
        let order = order.lock().unwrap();
        let until_last = &order[..=order.rfind('F').unwrap()];
        assert!(!until_last.contains("PP"), "{order}");
    }

    #[test]
    fn frames_wait_for_an_engine_that_is_unavailable() {
        for absent in [0, 1, 3] {
            let (engine, runs) = engine(absent);
            let (origins, counts) = score(engine, &[1, 2, 3, 4, 5], 2);
            assert_eq!(origins, ["1", "2", "3", "4", "5"], "every frame once, in order");
            assert_eq!(counts, Counts { scored: 5, ..Counts::default() });
            let expected = [vec![2; absent], vec![2, 2, 1]].concat();
            assert_eq!(*runs.lock().unwrap(), expected, "the same batch is run again");
        }
    }

    #[test]
    fn pictures_that_can_wait_are_embedded_while_there_are_no_frames() {
        let (engine, runs) = engine(0);
        let (_list, watchlist) = watch::channel(Arc::new(Watchlist::none()));
        let ((frames, receiver), (sender, _scored)) = (mpsc::channel(1), mpsc::channel(1));
        let (_, pictures) = PictureEncoding::channel();
        let (thread, idle) =
            spawn(model(engine), watchlist, receiver, pictures, sender, Arc::default()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let embed = |red| runtime.block_on(idle.embed(idle.prepare(&picture(red))));
        assert_eq!(embed(1).unwrap().len(), 2);
        assert!(matches!(embed(REJECTED), Err(IdleError::Model(ModelError::Run(_)))));
        assert_eq!(embed(2).unwrap().len(), 2);
        assert_eq!(*runs.lock().unwrap(), [1, 1, 1]);
        drop(frames);
        assert_eq!(thread.join().unwrap(), Ok(Counts::default()));
        assert_eq!((embed(3), idle.has_ended()), (Err(IdleError::Stopping), true));
    }

    #[test]
    fn frames_and_the_end_come_before_pictures_that_can_wait() {
        let (engine, runs) = engine(0);
        let mut model = model(engine);
        let (idle, mut pictures) = IdleModel::channel(model.preprocessor().clone());
        // As after a picture that took this long.
        pictures.rest = Duration::from_secs(3600);
        let (_list, watchlist) = watch::channel(Arc::new(Watchlist::none()));
        let frame = || Frame {
            source: "none".into(),
            origin: "1.jpg".to_owned(),
            captured_at: jiff::Timestamp::UNIX_EPOCH,
            picture: picture(1).into(),
            slot: Slot::free(),
        };
        let ready: Vec<_> = (0..3).map(|_| Prepared::Frame(PreparedFrame::unprepared(frame()))).collect();
        let mut frames = Prefetch::spawn("test", [ready.into_iter()], 1).unwrap();
        let waiting = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(idle.embed(idle.prepare(&picture(9))))
        });
        let mut worker = Worker::new(&mut model, watchlist, Arc::default(), 1, false);
        worker.idle = Some(pictures);
        assert_eq!(std::iter::from_fn(|| worker.wait_for_next(&mut frames)).count(), 3);
        drop(worker);
        assert_eq!((waiting.join().unwrap(), runs.lock().unwrap().len()), (Err(IdleError::Stopping), 0));
    }

    /// What a device does when it fails.
    #[derive(Debug, Clone, Copy, PartialEq)]
    enum Failure {
        None,
        NotANumber,
        Constant,
        Slow,
        Hangs,
        Crashes,
    }

    /// A device whose failure a test switches on, and a clock that moves when the test or a slow device moves it.
    #[derive(Clone)]
    struct Device {
        failure: Arc<Mutex<Failure>>,
        clock: Arc<AtomicU64>,
    }

    const EVERY: Duration = Duration::from_secs(3600);

    impl Device {
        fn new() -> Self {
            Self { failure: Arc::new(Mutex::new(Failure::None)), clock: Arc::default() }
        }

        /// The clock moves by this time.
        fn pass(&self, time: Duration) {
            let milliseconds = u64::try_from(time.as_millis()).unwrap();
            self.clock.fetch_add(milliseconds, Ordering::Relaxed);
        }

        /// A model on this device, run by this provider, with its guard. The processor of the machine works.
        fn model(&self, provider: &str) -> (Model, Guard) {
            let device = self.clone();
            let answer = move |pictures: &[f32]| {
                device.pass(Duration::from_millis(10));
                let failure = *device.failure.lock().unwrap();
                match failure {
                    Failure::None => {}
                    Failure::NotANumber => return Ok(vec![f32::NAN; pictures.len()]),
                    Failure::Constant => return Ok(vec![0.5; pictures.len()]),
                    Failure::Slow => device.pass(Duration::from_secs(1)),
                    Failure::Hangs => loop {
                        thread::park();
                    },
                    Failure::Crashes => panic!("a crash that a test wants"),
                }
                Ok(pictures.to_vec())
            };
            let engine = FakeEngine::new(answer).beside(|pictures| Ok(pictures.to_vec())).run_by(provider);
            let options = Options { longest_run: Some(Duration::from_millis(200)), ..Options::default() };
            let model = Model::load(Engines::Fake(engine), &ModelFiles::bundled(), &options).unwrap();
            let canary = Canary::of(&model).unwrap().unwrap();
            let clock = Arc::clone(&self.clock);
            let now = move || Duration::from_millis(clock.load(Ordering::Relaxed));
            (model, Guard::new(canary, EVERY, Arc::new(now)))
        }
    }

    #[test]
    fn each_failure_of_a_device_is_reported_within_one_interval() {
        for (failure, provider, expected) in [
            (Failure::None, "Gpu", None),
            (Failure::None, "CPUExecutionProvider", Some("not_used")),
            (Failure::NotANumber, "Gpu", Some("not_a_number")),
            (Failure::Constant, "Gpu", Some("constant")),
            (Failure::Slow, "Gpu", Some("slow")),
            (Failure::Hangs, "Gpu", Some("lost")),
            (Failure::Crashes, "Gpu", Some("lost")),
        ] {
            let device = Device::new();
            let (mut model, guard) = device.model(provider);
            assert!(model.device().is_accelerator());
            let progress = Arc::<Progress>::default();
            let mut worker = Worker::new(&mut model, watchlist(), Arc::clone(&progress), 4, true);
            worker.guard = Some(guard);
            let fault = || progress.canary.state().problem.map(|problem| problem.fault.word());
            if failure != Failure::None {
                worker.check_device();
                assert_eq!(
                    (progress.canary.passed(), fault()),
                    (1, None),
                    "{failure:?}: it works at the start"
                );
                *device.failure.lock().unwrap() = failure;
                worker.check_device();
                assert_eq!((progress.canary.passed(), fault()), (1, None), "{failure:?}: it is not due");
                device.pass(EVERY);
            }
            worker.check_device();
            assert_eq!(fault(), expected, "{failure:?}");
            let state = progress.canary.state();
            assert_eq!(state.word(), if expected.is_some() { "fallback" } else { "ok" }, "{failure:?}");
            assert_eq!(worker.model.device().is_accelerator(), expected.is_none(), "{failure:?}");
            // Later checks change nothing: the processor needs none.
            device.pass(EVERY);
            worker.check_device();
            let failed: u64 = progress.canary.failed().iter().map(|(_, count)| count).sum();
            assert_eq!(failed, u64::from(expected.is_some()), "{failure:?}");
        }
    }

    #[test]
    fn no_frame_is_lost_when_a_device_fails_between_two_checks() {
        for failure in [Failure::NotANumber, Failure::Hangs, Failure::Crashes] {
            let device = Device::new();
            let (mut model, guard) = device.model("Gpu");
            let (progress, slots) = (Arc::<Progress>::default(), 5);
            let (frames, receiver) = mpsc::channel(slots);
            (0..slots).for_each(|red| frames.try_send(frame(u8::try_from(red).unwrap())).unwrap());
            drop(frames);
            let (sender, mut scored) = mpsc::channel(slots);
            let prepared = prepare::spawn(
                model.preprocessor().clone(),
                watchlist(),
                Work::new(receiver, None),
                2,
                Arc::clone(&progress),
            );
            let mut worker = Worker::new(&mut model, watchlist(), Arc::clone(&progress), 2, true);
            worker.guard = Some(guard);
            worker.check_device();
            device.pass(PAUSE_BEFORE_SUSPICION);
            *device.failure.lock().unwrap() = failure;
            let counts = worker.run(prepared.unwrap(), &sender).unwrap();
            drop(sender);
            let origins: Vec<_> =
                std::iter::from_fn(|| scored.blocking_recv()).map(|it| it.frame.origin).collect();
            assert_eq!(origins, ["0", "1", "2", "3", "4"], "{failure:?}: every frame once, in order");
            assert_eq!(counts, Counts { scored: 5, ..Counts::default() }, "{failure:?}");
            assert_eq!(progress.canary.state().word(), "fallback", "{failure:?}");
        }
    }

    /// A check was made a little while before.
    const PAUSE_BEFORE_SUSPICION: Duration = Duration::from_secs(60);

    #[test]
    fn frames_wait_while_the_answers_of_a_server_are_wrong() {
        let (connection, is_wrong) =
            (Arc::new(Mutex::new(Connection::Open(1))), Arc::new(AtomicBool::new(true)));
        let wrong = Arc::clone(&is_wrong);
        let answer = move |pictures: &[f32]| match wrong.load(Ordering::Relaxed) {
            true => Ok(vec![0.5; pictures.len()]),
            false => Ok(pictures.to_vec()),
        };
        let engine = FakeEngine::new(answer).at_server(&connection, |pictures| Ok(pictures.to_vec()));
        let mut model = model(engine);
        let progress = Arc::<Progress>::default();
        let (frames, receiver) = mpsc::channel(5);
        (0..5).for_each(|red| frames.try_send(frame(red)).unwrap());
        drop(frames);
        let (sender, mut scored) = mpsc::channel(5);
        let prepared = prepare::spawn(
            model.preprocessor().clone(),
            watchlist(),
            Work::new(receiver, None),
            2,
            Arc::clone(&progress),
        );
        let guard = Guard::new(Canary::of(&model).unwrap().unwrap(), EVERY, Arc::new(|| Duration::ZERO));
        let mut worker = Worker::new(&mut model, watchlist(), Arc::clone(&progress), 2, true);
        worker.guard = Some(guard);
        worker.sleep = |_| thread::sleep(Duration::from_millis(1));
        let corrected = thread::spawn({
            let progress = Arc::clone(&progress);
            move || {
                while progress.engine.away().is_none() {
                    thread::sleep(Duration::from_millis(1));
                }
                assert_eq!(progress.canary.state().word(), "failed");
                is_wrong.store(false, Ordering::Relaxed);
                *connection.lock().unwrap() = Connection::Open(2);
            }
        });
        let counts = worker.run(prepared.unwrap(), &sender).unwrap();
        drop(sender);
        corrected.join().unwrap();
        let origins: Vec<_> =
            std::iter::from_fn(|| scored.blocking_recv()).map(|it| it.frame.origin).collect();
        assert_eq!(origins, ["0", "1", "2", "3", "4"], "every frame once, in order");
        assert_eq!(counts, Counts { scored: 5, ..Counts::default() });
        assert_eq!((progress.canary.state().word(), progress.canary.passed()), ("ok", 1));
        let failed: Vec<_> = progress.canary.failed().into_iter().filter(|(_, count)| *count > 0).collect();
        assert_eq!(failed, [("constant", 1)]);
    }

    #[test]
    fn only_the_rejected_frame_is_dropped_and_counted() {
        let (engine, runs) = engine(0);
        let (origins, counts) = score(engine, &[1, REJECTED, 3, 4], 3);
        assert_eq!(origins, ["1", "3", "4"]);
        assert_eq!(counts, Counts { scored: 3, failed: 1, ..Counts::default() });
        assert_eq!(
            *runs.lock().unwrap(),
            [3, 1, 1, 1, 1],
            "the batch, its frames one by one, the next batch"
        );
    }

    #[test]
    fn a_frame_is_rejected_after_the_engine_became_available() {
        let (engine, _) = engine(2);
        let (origins, counts) = score(engine, &[REJECTED, 2], 2);
        assert_eq!(origins, ["2"]);
        assert_eq!(counts, Counts { scored: 1, failed: 1, ..Counts::default() });
    }

    #[test]
    fn waiting_ends_when_the_receiver_of_the_scores_is_gone() {
        let absent = FakeEngine::new(|_| Err(EngineError::Unavailable("connection refused".to_owned())));
        let mut model = model(absent);
        let values = vec![0.0; model.preprocessor().tensor_len()];
        let (sender, receiver) = mpsc::channel(1);
        static SLEPT: AtomicU64 = AtomicU64::new(0);
        drop(receiver);
        let sleep = |_| {
            SLEPT.fetch_add(1, Ordering::Relaxed);
        };
        let progress = Progress::default();
        let answer = embed_when_available(&mut model, None, &values, &progress, (&sender, sleep));
        assert_eq!(progress.engine.away().map(|away| away.cause), Some("connection refused".to_owned()));
        assert_eq!(answer, Err(ModelError::Unavailable("connection refused".to_owned())));
        assert_eq!(SLEPT.load(Ordering::Relaxed), 0);
    }
}
