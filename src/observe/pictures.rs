//! Keeps a small JPEG of the newest frame of each source, for the page Live.
//!
//! To make a picture small costs milliseconds. While the pictures of a source are requested, one is made twice a second at most;
//! otherwise one in ten seconds. One picture is made at a time, beside everything else. Frames that arrive while too many
//! pictures wait are left out.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use tokio::{
    sync::{mpsc, watch},
    task::spawn_blocking,
    time::timeout,
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
/// Pictures that wait to be made small, besides the one that is being made. Each is a whole frame in memory.
const WAITING: usize = 2;
/// The client of a request wants newer pictures for this time.
const WANTED: Duration = Duration::from_secs(30);
/// The least time between two pictures of a source while they are wanted, and otherwise.
const PAUSE: Duration = Duration::from_millis(500);
const LONG_PAUSE: Duration = Duration::from_secs(10);
/// How long a request waits for a picture that is being made.
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
    sources: Mutex<HashMap<Arc<str>, Kept>>,
    /// Changes when a picture was made.
    made: watch::Sender<()>,
}

/// The small picture of one source.
#[derive(Debug, Default)]
struct Kept {
    picture: Option<Arc<SmallPicture>>,
    /// The frame that it shows, or that is being made small. A source whose view does not change sends the same one again.
    of: Weak<Picture>,
    /// When its picture was requested last.
    requested: Option<Instant>,
    /// When the newest picture was begun.
    begun: Option<Instant>,
    /// A picture is being made, or waits for that.
    pending: bool,
}

/// A frame that becomes a small picture.
#[derive(Debug)]
pub(super) struct Job {
    source: Arc<str>,
    captured_at: Timestamp,
    picture: Arc<Picture>,
    before: Option<Arc<SmallPicture>>,
}

/// The jobs of [`NewestPictures::make`].
pub(super) fn jobs() -> (mpsc::Sender<Job>, mpsc::Receiver<Job>) {
    mpsc::channel(WAITING)
}

impl NewestPictures {
    /// The newest small picture of a source, `None` if it has had no frame. Waits a moment for one that is being made. More of them are
    /// made for half a minute after that.
    pub async fn of(&self, source: &Arc<str>) -> Option<Arc<SmallPicture>> {
        let mut made = self.0.made.subscribe();
        let wait = async {
            while self.request(source) {
                if made.changed().await.is_err() {
                    break;
                }
            }
        };
        // What is there after that is shown.
        let _ = timeout(PATIENCE, wait).await;
        self.lock().get(source)?.picture.clone()
    }

    /// Whether a picture of the source is being made.
    fn request(&self, source: &Arc<str>) -> bool {
        let mut sources = self.lock();
        let kept = sources.entry(Arc::clone(source)).or_default();
        kept.requested = Some(Instant::now());
        kept.pending
    }

    /// Has a frame made small if it is time for that. Never waits.
    pub(super) fn offer(&self, observation: &Observation, jobs: &mpsc::Sender<Job>) {
        let now = Instant::now();
        let mut sources = self.lock();
        let kept = sources.entry(Arc::clone(&observation.source)).or_default();
        let age = |time: Option<Instant>| time.map(|time| now.saturating_duration_since(time));
        let is_shown = std::ptr::eq(kept.of.as_ptr(), Arc::as_ptr(&observation.picture));
        if kept.pending || is_shown || !is_due(age(kept.requested), age(kept.begun)) {
            return;
        }
        let job = Job {
            source: Arc::clone(&observation.source),
            captured_at: observation.captured_at,
            picture: Arc::clone(&observation.picture),
            before: kept.picture.clone(),
        };
        // Without room, a later frame is made small.
        if jobs.try_send(job).is_ok() {
            (kept.pending, kept.begun) = (true, Some(now));
            kept.of = Arc::downgrade(&observation.picture);
        }
    }

    /// Makes the pictures small, one after the other, until no one can add jobs any more.
    pub(super) async fn make(&self, mut jobs: mpsc::Receiver<Job>) {
        while let Some(job) = jobs.recv().await {
            let source = Arc::clone(&job.source);
            let made = match spawn_blocking(move || small(&job)).await {
                Ok(Ok(picture)) => Some(Arc::new(picture)),
                Ok(Err(error)) => {
                    tracing::warn!(source = &*source, %error, "there is no small picture of a frame");
                    None
                }
                // The service ends.
                Err(_) => None,
            };
            if let Some(kept) = self.lock().get_mut(&source) {
                kept.pending = false;
                kept.picture = made.or(kept.picture.take());
            }
            self.0.made.send_replace(());
        }
    }

    /// Forgets the pictures of all other sources.
    pub(super) fn retain(&self, is_source: impl Fn(&str) -> bool) {
        self.lock().retain(|name, _| is_source(name));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, Kept>> {
        self.0.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a frame is made small, by the time since the newest request, and since the last picture was begun.
fn is_due(requested: Option<Duration>, begun: Option<Duration>) -> bool {
    let is_wanted = requested.is_some_and(|ago| ago < WANTED);
    let pause = if is_wanted { PAUSE } else { LONG_PAUSE };
    begun.is_none_or(|ago| ago >= pause)
}

fn small(job: &Job) -> Result<SmallPicture, PictureError> {
    let picture = thumbnail(&job.picture, LONGEST);
    let layout = FrameLayout { size: (picture.width as usize, picture.height as usize), regions: &[] };
    let grey = layout.picture(&picture).into_iter().next();
    let before = job.before.as_ref().and_then(|before| before.grey.as_ref());
    let changed = before.zip(grey.as_ref()).and_then(|(before, now)| before.changed_area(now));
    Ok(SmallPicture { captured_at: job.captured_at, changed, jpeg: picture.to_jpeg(QUALITY)?, grey })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{observe::tests::observation, picture::is_picture};

    fn grey(level: u8) -> Arc<Picture> {
        Picture::of_rgb(1280, 720, vec![level; 1280 * 720 * 3]).into()
    }

    #[test]
    fn pictures_are_made_when_they_are_due() {
        let seconds = |seconds: f64| Some(Duration::from_secs_f64(seconds));
        for (requested, begun, expected) in [
            (None, None, true),
            (None, seconds(9.9), false),
            (None, seconds(10.0), true),
            (seconds(1.0), seconds(0.4), false),
            (seconds(1.0), seconds(0.5), true),
            (seconds(29.0), seconds(1.0), true),
            (seconds(30.0), seconds(1.0), false),
        ] {
            assert_eq!(is_due(requested, begun), expected, "{requested:?} {begun:?}");
        }
    }

    #[tokio::test]
    async fn a_source_whose_pictures_are_requested_has_one_of_its_newest_frame() {
        let pictures = NewestPictures::default();
        let (sender, receiver) = jobs();
        let making = tokio::spawn({
            let pictures = pictures.clone();
            async move { pictures.make(receiver).await }
        });
        let source: Arc<str> = "Front Door".into();
        assert!(pictures.of(&source).await.is_none(), "no frame yet");
        let offer = |second: i64, picture: &Arc<Picture>| {
            let captured_at = Timestamp::from_second(second).unwrap();
            let picture = Arc::clone(picture);
            pictures.offer(&Observation { captured_at, picture, ..observation("1.jpg") }, &sender);
        };
        // Until the picture of this frame is made.
        let shown = async |second: i64| loop {
            let shown = pictures.of(&source).await;
            if let Some(shown) = shown.filter(|shown| shown.captured_at.as_second() == second) {
                return shown;
            }
        };
        let set_begun = |begun| pictures.lock().get_mut(&source).unwrap().begun = Some(begun);
        let first = grey(40);
        offer(1, &first);
        let shown_first = shown(1).await;
        assert_eq!(shown_first.changed, None);
        assert!(is_picture(&shown_first.jpeg) && shown_first.jpeg.len() < 10_000);

        set_begun(Instant::now() + Duration::from_secs(3600));
        offer(2, &grey(40));
        assert_eq!(pictures.of(&source).await.unwrap().captured_at.as_second(), 1, "too soon");
        set_begun(Instant::now().checked_sub(PAUSE).unwrap());
        offer(3, &first);
        assert_eq!(pictures.of(&source).await.unwrap().captured_at.as_second(), 1, "it is the same picture");
        let mut rgb = vec![40; 1280 * 720 * 3];
        for y in 200..400 {
            rgb[(y * 1280 + 640) * 3..(y * 1280 + 960) * 3].fill(220);
        }
        offer(4, &Picture::of_rgb(1280, 720, rgb).into());
        let [x, _, width, _] = shown(4).await.changed.unwrap();
        assert!((x - 0.5).abs() < 0.03 && (width - 0.25).abs() < 0.05, "{x} {width}");

        pictures.retain(|name| name != "Front Door");
        assert!(pictures.lock().is_empty());
        drop(sender);
        making.await.unwrap();
    }
}
