//! Keeps a small JPEG of the newest frame of each source, for the page Live.
//!
//! To make a picture small costs milliseconds. While the pictures of a source are requested, one is made twice a second at most;
//! otherwise one in ten seconds. One picture is made at a time, beside everything else. A frame that arrives during such a pause
//! waits for its end, or until a newer frame of its source takes its place. So a source that sends nothing more has a picture of its
//! last frame.

use std::{
    cmp::Reverse,
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use jiff::Timestamp;
use tokio::{
    sync::{Notify, watch},
    task::spawn_blocking,
    time::{Instant, timeout},
};

use super::Observation;
use crate::{
    model::preprocess::thumbnail,
    picture::{Picture, PictureError},
    source::unchanged::{FrameLayout, Grey},
};

/// The longer side of a picture, in pixels.
pub const LONGEST: u32 = 640;
/// The JPEG quality.
const QUALITY: u8 = 80;
/// The most bytes of whole frames that wait and that no other part keeps. Above it, frames are made small before they wait.
const MOST_WHOLE: u64 = 64 << 20;
/// The client of a request wants newer pictures for this time.
const WANTED: Duration = Duration::from_secs(30);
/// The least time between two pictures of a source while they are wanted, and otherwise.
const PAUSE: Duration = Duration::from_millis(500);
const LONG_PAUSE: Duration = Duration::from_secs(10);
/// How long a request waits for the picture of the newest frame.
const PATIENCE: Duration = Duration::from_secs(10);

/// A small picture of a frame.
#[derive(Debug)]
pub struct SmallPicture {
    /// When the frame was captured.
    pub captured_at: Timestamp,
    /// What is different from the small picture before: left edge, upper edge, width and height, as fractions of the frame.
    pub changed: Option<[f64; 4]>,
    /// The picture.
    pub jpeg: Vec<u8>,
    /// How its brightness is compared.
    grey: Option<Grey>,
}

/// The small pictures of all sources, for any number of threads. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct NewestPictures(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    sources: Mutex<Sources>,
    /// A frame waits, or a picture is requested.
    changed: Notify,
    /// Changes when a picture was made, or when none has to be made any more.
    made: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct Sources {
    kept: HashMap<Arc<str>, Kept>,
    /// The number of the newest frame, of all sources.
    number: u64,
}

/// The small picture of one source.
#[derive(Debug, Default)]
struct Kept {
    picture: Option<Arc<SmallPicture>>,
    /// The number of the frame that was made small last.
    shown: u64,
    /// The picture of that frame, or of the one that is being made small. A source whose view does not change sends the same one
    /// again.
    of: Weak<Picture>,
    /// The number of the frame that is being made small.
    making: Option<u64>,
    /// A newer frame, which is made small after the pause.
    due: Option<DueFrame>,
    /// When its picture was requested last.
    requested: Option<Instant>,
    /// When the newest picture was begun.
    begun: Option<Instant>,
}

/// A frame that waits to be made small.
#[derive(Debug, Clone)]
struct DueFrame {
    number: u64,
    captured_at: Timestamp,
    /// The picture of the frame.
    of: Weak<Picture>,
    /// The same picture, or a smaller one.
    picture: Arc<Picture>,
}

/// What decides which waiting frame is next.
#[derive(Debug, Clone, Copy, Default)]
struct Waiting {
    /// The time since the newest request.
    requested: Option<Duration>,
    /// The time since the last picture was begun.
    begun: Option<Duration>,
    /// The bytes that would be free if the frame became smaller.
    whole: u64,
}

/// What is done next.
#[derive(Debug, PartialEq, Eq)]
enum Step<S> {
    /// The picture of this source is made.
    Make(S),
    /// The waiting frame of this source becomes smaller.
    Shrink(S),
    /// Nothing for this time, or until something changes.
    Wait(Option<Duration>),
}

/// A frame that becomes a small picture.
#[derive(Debug)]
struct Job {
    source: Arc<str>,
    frame: DueFrame,
    before: Option<Arc<SmallPicture>>,
}

impl NewestPictures {
    /// The small picture of the newest frame of a source, `None` if it has had no frame. Waits until that picture is made. More of them
    /// are made for half a minute after that.
    pub async fn of(&self, source: &Arc<str>) -> Option<Arc<SmallPicture>> {
        let mut made = self.0.made.subscribe();
        let number = self.request(source);
        let wait = async {
            while self.lock().kept.get(source).is_some_and(|kept| kept.is_behind(number)) {
                if made.changed().await.is_err() {
                    break;
                }
            }
        };
        // What is there after that is shown.
        let _ = timeout(PATIENCE, wait).await;
        self.lock().kept.get(source)?.picture.clone()
    }

    /// Notes that a picture of the source is wanted. Returns the number of its newest frame.
    fn request(&self, source: &Arc<str>) -> u64 {
        let mut sources = self.lock();
        let kept = sources.kept.entry(Arc::clone(source)).or_default();
        kept.requested = Some(Instant::now());
        let newest = kept.due.as_ref().map(|due| due.number).or(kept.making).unwrap_or(kept.shown);
        drop(sources);
        // The pause is shorter now.
        self.0.changed.notify_one();
        newest
    }

    /// Has a frame made small when it is time for that. Never waits.
    pub(super) fn offer(&self, observation: &Observation) {
        let mut sources = self.lock();
        sources.number += 1;
        let number = sources.number;
        let kept = sources.kept.entry(Arc::clone(&observation.source)).or_default();
        let is_same = |of: &Weak<Picture>| std::ptr::eq(of.as_ptr(), Arc::as_ptr(&observation.picture));
        if is_same(&kept.of) {
            if kept.due.take().is_some() {
                self.0.made.send_replace(());
            }
        } else if !kept.due.as_ref().is_some_and(|due| is_same(&due.of)) {
            let (captured_at, picture) = (observation.captured_at, Arc::clone(&observation.picture));
            kept.due = Some(DueFrame { number, captured_at, of: Arc::downgrade(&picture), picture });
            self.0.changed.notify_one();
        }
    }

    /// Makes the pictures small, one after the other, until the future is dropped.
    pub(super) async fn make(&self) {
        loop {
            match self.next(MOST_WHOLE) {
                Step::Make(job) => {
                    let (source, number) = (Arc::clone(&job.source), job.frame.number);
                    // Without a result the service ends.
                    let made = spawn_blocking(move || job.small()).await.ok().flatten();
                    self.made(&source, number, made);
                }
                Step::Shrink(Job { source, frame, .. }) => {
                    let (number, picture) = (frame.number, frame.picture);
                    let shrunk = spawn_blocking(move || thumbnail(&picture, LONGEST)).await;
                    self.shrunk(&source, number, shrunk.ok());
                }
                Step::Wait(None) => self.0.changed.notified().await,
                Step::Wait(Some(time)) => {
                    // Whatever has happened, the next step is decided again.
                    let _ = timeout(time, self.0.changed.notified()).await;
                }
            }
        }
    }

    /// Begins the next step.
    fn next(&self, most_whole: u64) -> Step<Job> {
        let now = Instant::now();
        let mut sources = self.lock();
        let waiting = sources.kept.iter().filter_map(|(name, kept)| Some((name, kept.waiting(now)?)));
        let next = step(waiting, most_whole).map(Arc::clone);
        let mut job = |source: Arc<str>, is_made: bool| {
            let kept = sources.kept.get_mut(&source)?;
            let frame = if is_made { kept.begin(now)? } else { kept.due.clone()? };
            Some(Job { source, frame, before: kept.picture.clone() })
        };
        match next {
            Step::Make(source) => job(source, true).map_or(Step::Wait(None), Step::Make),
            Step::Shrink(source) => job(source, false).map_or(Step::Wait(None), Step::Shrink),
            Step::Wait(time) => Step::Wait(time),
        }
    }

    /// The picture of the frame with this number is made, or cannot be.
    fn made(&self, source: &Arc<str>, number: u64, picture: Option<SmallPicture>) {
        if let Some(kept) = self.lock().kept.get_mut(source).filter(|kept| kept.making == Some(number)) {
            (kept.making, kept.shown) = (None, number);
            kept.picture = picture.map(Arc::new).or(kept.picture.take());
        }
        self.0.made.send_replace(());
    }

    /// The waiting frame with this number is smaller now.
    fn shrunk(&self, source: &Arc<str>, number: u64, picture: Option<Picture>) {
        let mut sources = self.lock();
        let due = sources.kept.get_mut(source).and_then(|kept| kept.due.as_mut());
        if let (Some(due), Some(picture)) = (due.filter(|due| due.number == number), picture) {
            due.picture = picture.into();
        }
    }

    /// Forgets the pictures of all other sources.
    pub(super) fn retain(&self, is_source: impl Fn(&str) -> bool) {
        self.lock().kept.retain(|name, _| is_source(name));
        self.0.made.send_replace(());
    }

    fn lock(&self) -> MutexGuard<'_, Sources> {
        self.0.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    /// Whether the frame with this number, or one after it, becomes the picture soon.
    fn is_behind(&self, number: u64) -> bool {
        self.shown < number && (self.making.is_some() || self.due.is_some())
    }

    /// `None`: no frame waits.
    fn waiting(&self, now: Instant) -> Option<Waiting> {
        let due = self.due.as_ref()?;
        let age = |time: Instant| now.saturating_duration_since(time);
        let is_whole = due.picture.width.max(due.picture.height) > LONGEST;
        // A camera keeps the picture that it has sent last.
        let is_alone = Arc::strong_count(&due.picture) == 1;
        let whole = if is_whole && is_alone { due.picture.bytes() } else { 0 };
        Some(Waiting { requested: self.requested.map(age), begun: self.begun.map(age), whole })
    }

    /// The picture of the waiting frame is made.
    fn begin(&mut self, now: Instant) -> Option<DueFrame> {
        let frame = self.due.take()?;
        (self.making, self.begun) = (Some(frame.number), Some(now));
        self.of = Weak::clone(&frame.of);
        Some(frame)
    }
}

impl Waiting {
    fn is_wanted(&self) -> bool {
        self.requested.is_some_and(|ago| ago < WANTED)
    }

    /// The rest of the pause before the picture is made.
    fn pause(&self) -> Duration {
        let pause = if self.is_wanted() { PAUSE } else { LONG_PAUSE };
        self.begun.map_or(Duration::ZERO, |ago| pause.saturating_sub(ago))
    }
}

impl<S> Step<S> {
    fn map<T>(self, change: impl FnOnce(S) -> T) -> Step<T> {
        match self {
            Self::Make(source) => Step::Make(change(source)),
            Self::Shrink(source) => Step::Shrink(change(source)),
            Self::Wait(time) => Step::Wait(time),
        }
    }
}

/// What is done next for the sources whose frames wait. Pictures that are wanted are first, and then those that are the oldest.
fn step<S>(waiting: impl Iterator<Item = (S, Waiting)>, most_whole: u64) -> Step<S> {
    let waiting: Vec<_> = waiting.collect();
    let whole: u64 = waiting.iter().map(|(_, it)| it.whole).sum();
    let pause = waiting.iter().map(|(_, it)| it.pause()).min();
    let order = |it: &Waiting| (it.pause(), !it.is_wanted(), Reverse(it.begun.unwrap_or(Duration::MAX)));
    let found = match pause {
        Some(Duration::ZERO) => {
            waiting.into_iter().min_by_key(|(_, it)| order(it)).map(|it| Step::Make(it.0))
        }
        Some(_) if whole > most_whole => {
            waiting.into_iter().max_by_key(|(_, it)| it.whole).map(|it| Step::Shrink(it.0))
        }
        _ => None,
    };
    found.unwrap_or(Step::Wait(pause))
}

impl Job {
    /// `None`: the frame cannot be encoded.
    fn small(&self) -> Option<SmallPicture> {
        let made = small(&self.frame, self.before.as_deref());
        made.inspect_err(|error| {
            tracing::warn!(source = &*self.source, %error, "there is no small picture of a frame");
        })
        .ok()
    }
}

fn small(frame: &DueFrame, before: Option<&SmallPicture>) -> Result<SmallPicture, PictureError> {
    let picture = thumbnail(&frame.picture, LONGEST);
    let layout = FrameLayout { size: (picture.width as usize, picture.height as usize), regions: &[] };
    let grey = layout.picture(&picture).into_iter().next();
    let before = before.and_then(|before| before.grey.as_ref());
    let changed = before.zip(grey.as_ref()).and_then(|(before, now)| before.changed_area(now));
    Ok(SmallPicture { captured_at: frame.captured_at, changed, jpeg: picture.to_jpeg(QUALITY)?, grey })
}

#[cfg(test)]
mod tests {
    use tokio::{task::JoinHandle, time::sleep};

    use super::*;
    use crate::{observe::tests::observation, picture::is_picture};

    const HOUR: Duration = Duration::from_secs(3600);

    fn seconds(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    fn grey(level: u8) -> Arc<Picture> {
        Picture::of_rgb(1280, 720, vec![level; 1280 * 720 * 3]).into()
    }

    /// Pictures that are made in the background.
    fn making() -> (NewestPictures, JoinHandle<()>) {
        let pictures = NewestPictures::default();
        let maker = pictures.clone();
        (pictures, tokio::spawn(async move { maker.make().await }))
    }

    fn offer(pictures: &NewestPictures, source: &Arc<str>, second: i64, picture: &Arc<Picture>) {
        let captured_at = Timestamp::from_second(second).unwrap();
        let (source, picture) = (Arc::clone(source), Arc::clone(picture));
        pictures.offer(&Observation { source, captured_at, picture, ..observation("1.jpg") });
    }

    /// When the frame of the picture was captured, in seconds; no request is made.
    fn kept(pictures: &NewestPictures, source: &Arc<str>) -> Option<i64> {
        let sources = pictures.lock();
        Some(sources.kept.get(source)?.picture.as_ref()?.captured_at.as_second())
    }

    async fn requested(pictures: &NewestPictures, source: &Arc<str>) -> Option<i64> {
        pictures.of(source).await.map(|picture| picture.captured_at.as_second())
    }

    #[test]
    fn the_pause_before_a_picture() {
        for (requested, begun, expected) in [
            (None, None, 0.0),
            (None, Some(0.0), 10.0),
            (None, Some(9.5), 0.5),
            (None, Some(10.0), 0.0),
            (Some(1.0), Some(0.25), 0.25),
            (Some(1.0), Some(0.5), 0.0),
            (Some(29.0), Some(1.0), 0.0),
            (Some(30.0), Some(1.0), 9.0),
            (Some(1.0), Some(9000.0), 0.0),
        ] {
            let waiting = Waiting { requested: requested.map(seconds), begun: begun.map(seconds), whole: 0 };
            assert_eq!(waiting.pause(), seconds(expected), "{requested:?} {begun:?}");
        }
    }

    #[test]
    fn the_next_step() {
        let frame = |requested: Option<f64>, begun: Option<f64>, whole| Waiting {
            requested: requested.map(seconds),
            begun: begun.map(seconds),
            whole,
        };
        let (ready, ready_long_ago) = (frame(None, Some(11.0), 0), frame(None, Some(20.0), 0));
        let (wanted, first) = (frame(Some(1.0), Some(0.5), 0), frame(None, None, 0));
        let pausing = |begun, whole| frame(None, Some(begun), whole);
        for (case, waiting, expected) in [
            ("nothing waits", vec![], Step::Wait(None)),
            ("a pause", vec![pausing(4.0, 0)], Step::Wait(Some(seconds(6.0)))),
            ("the shortest pause", vec![pausing(4.0, 0), pausing(7.0, 0)], Step::Wait(Some(seconds(3.0)))),
            ("what is ready", vec![pausing(4.0, 0), ready], Step::Make(1)),
            ("what is the oldest", vec![ready, ready_long_ago], Step::Make(1)),
            ("what has no picture yet", vec![ready_long_ago, first], Step::Make(1)),
            ("what is wanted", vec![first, ready_long_ago, wanted], Step::Make(2)),
            ("all that fits", vec![pausing(4.0, 50), pausing(5.0, 50)], Step::Wait(Some(seconds(5.0)))),
            ("too much is whole", vec![pausing(4.0, 50), pausing(5.0, 51)], Step::Shrink(1)),
            ("ready before small", vec![pausing(4.0, 500), ready], Step::Make(1)),
        ] {
            assert_eq!(step((0..).zip(waiting), 100), expected, "{case}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_source_whose_pictures_are_requested_has_one_of_its_newest_frame() {
        let (pictures, making) = making();
        let source: Arc<str> = "Front Door".into();
        assert_eq!(requested(&pictures, &source).await, None, "no frame yet");
        let first = grey(40);
        offer(&pictures, &source, 1, &first);
        let shown = pictures.of(&source).await.unwrap();
        assert_eq!((shown.captured_at.as_second(), shown.changed), (1, None));
        assert!(is_picture(&shown.jpeg) && shown.jpeg.len() < 10_000);

        let began = Instant::now();
        offer(&pictures, &source, 2, &first);
        assert_eq!(requested(&pictures, &source).await, Some(1), "it is the same picture");
        assert_eq!(began.elapsed(), Duration::ZERO, "nothing is made");
        let mut rgb = vec![40; 1280 * 720 * 3];
        for y in 200..400 {
            rgb[(y * 1280 + 640) * 3..(y * 1280 + 960) * 3].fill(220);
        }
        offer(&pictures, &source, 3, &grey(90));
        offer(&pictures, &source, 4, &Picture::of_rgb(1280, 720, rgb).into());
        let shown = pictures.of(&source).await.unwrap();
        assert_eq!(shown.captured_at.as_second(), 4);
        assert!(began.elapsed() >= PAUSE && began.elapsed() < PAUSE * 2, "{:?}", began.elapsed());
        let [x, _, width, _] = shown.changed.unwrap();
        assert!((x - 0.5).abs() < 0.03 && (width - 0.25).abs() < 0.05, "{x} {width}");

        pictures.retain(|name| name != "Front Door");
        assert!(pictures.lock().kept.is_empty());
        making.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_frame_of_a_source_is_shown_also_if_no_one_looks() {
        let (pictures, making) = making();
        let (source, mut made) = (Arc::from("Inbox"), pictures.0.made.subscribe());
        let began = Instant::now();
        let mut shown = vec![];
        offer(&pictures, &source, 1, &grey(1));
        made.changed().await.unwrap();
        shown.push(kept(&pictures, &source));
        for second in 2..6 {
            sleep(Duration::from_secs(1)).await;
            offer(&pictures, &source, second, &grey(second as u8));
        }
        made.changed().await.unwrap();
        shown.push(kept(&pictures, &source));
        assert_eq!(shown, [Some(1), Some(5)], "the frames between them have no picture");
        let elapsed = began.elapsed();
        assert!(elapsed >= LONG_PAUSE && elapsed < LONG_PAUSE + PAUSE, "{elapsed:?}");
        // Nothing more is made.
        assert!(timeout(HOUR, made.changed()).await.is_err());
        making.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_ends_the_long_pause() {
        let (pictures, making) = making();
        let source: Arc<str> = "Inbox".into();
        let mut made = pictures.0.made.subscribe();
        offer(&pictures, &source, 1, &grey(1));
        made.changed().await.unwrap();
        offer(&pictures, &source, 2, &grey(2));
        let began = Instant::now();
        assert_eq!(requested(&pictures, &source).await, Some(2));
        assert!(began.elapsed() < PAUSE * 2, "{:?}", began.elapsed());
        making.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn forty_sources_with_one_frame_each_have_their_pictures() {
        let (pictures, making) = making();
        let sources: Vec<Arc<str>> = (0..40).map(|number| format!("cam-{number}").into()).collect();
        for source in &sources {
            offer(&pictures, source, 1, &Picture::of_rgb(8, 8, vec![7; 192]).into());
        }
        for source in sources.iter().rev() {
            assert_eq!(requested(&pictures, source).await, Some(1), "{source}");
        }
        making.abort();
    }

    #[test]
    fn frames_that_wait_become_small_if_all_of_them_are_too_large() {
        let pictures = NewestPictures::default();
        let (source, large) = (Arc::from("Inbox"), grey(1));
        offer(&pictures, &source, 1, &large);
        let Step::Make(job) = pictures.next(0) else { panic!("it is the first frame") };
        let made = job.small();
        pictures.made(&source, job.frame.number, made);
        drop(job);
        let newer = grey(2);
        offer(&pictures, &source, 2, &newer);
        assert!(matches!(pictures.next(0), Step::Wait(Some(_))), "another part keeps it, too");
        drop(newer);
        let bytes = large.bytes();
        assert!(matches!(pictures.next(bytes), Step::Wait(Some(_))), "it is not too large");
        let Step::Shrink(job) = pictures.next(bytes - 1) else { panic!("it is too large") };
        // A newer frame has arrived meanwhile.
        let small = thumbnail(&job.frame.picture, LONGEST);
        pictures.shrunk(&source, job.frame.number + 1, Some(small.clone()));
        let width = || pictures.lock().kept[&source].due.as_ref().unwrap().picture.width;
        assert_eq!(width(), 1280);
        pictures.shrunk(&source, job.frame.number, Some(small));
        assert_eq!(width(), LONGEST);
        assert!(matches!(pictures.next(0), Step::Wait(Some(_))), "it is small");
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_ends_when_its_frame_is_repeated_or_its_source_is_removed() {
        let (pictures, making) = making();
        let source: Arc<str> = "Gate".into();
        let first = grey(1);
        offer(&pictures, &source, 1, &first);
        assert_eq!(requested(&pictures, &source).await, Some(1));
        for is_removed in [false, true] {
            offer(&pictures, &source, 2, &grey(2));
            let mut request = Box::pin(requested(&pictures, &source));
            let began = Instant::now();
            assert!(timeout(Duration::ZERO, &mut request).await.is_err(), "it waits for the pause");
            if is_removed {
                pictures.retain(|_| false);
            } else {
                offer(&pictures, &source, 3, &first);
            }
            assert_eq!(request.await, (!is_removed).then_some(1));
            assert!(began.elapsed() < PAUSE, "{:?}", began.elapsed());
        }
        making.abort();
    }
}
