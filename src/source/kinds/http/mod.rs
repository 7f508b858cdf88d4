//! The HTTP source: a picture that a camera gives to whoever asks, asked for again and again.
//!
//! A picture that did not change is not scored again: the camera says so itself (ETag, Last-Modified), its bytes are those
//! of the last one, or it looks the same (`unchanged: repeat`). Then the last one is handed on once more. While no slot is free the camera is not even asked. `captured_at` is when the answer was complete:
//! cameras take the picture when they are asked, and the clock inside one is not to be trusted.
//!
//! A single picture that is damaged or cut off is counted and passed over; several in a row mean that the address does
//! not lead to a picture. It refuses to go on then, like after any answer that is no picture; `source` tries again.
//!
//! It refuses proxies (cameras are near), more than a few redirects, to send its password to another host, and pictures
//! of more than 32 MiB.

mod fetch;
mod login;
pub mod settings;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use tokio::time::{MissedTickBehavior, interval};

pub use self::fetch::HttpError;
use self::fetch::{Answer, Camera, Stamp};
use crate::{
    config::{Http, Region},
    picture::{self, Picture, PictureError},
    source::{
        Cause, Causes, Context, Status, cause,
        handover::Content,
        unchanged::{LastScored, Looked},
    },
};

pub(crate) const CAUSES: Causes = Causes { skipped: &[], failed: &[cause::PICTURE] };

/// So many unusable pictures in a row are more than bad luck.
const UNUSABLE_IN_A_ROW: u32 = 3;

/// An HTTP source, with what it remembers over its failures.
pub struct HttpSource {
    settings: Http,
    regions: Vec<Region>,
    origin: String,
    last: Option<Last>,
    last_scored: LastScored,
    began: Instant,
}

/// The last picture that was taken.
struct Last {
    content: u64,
    stamp: Stamp,
    /// The one that was handed on to be scored: this one, or one that looked like it.
    shown: Arc<Picture>,
}

impl HttpSource {
    /// A source that did not ask yet.
    #[must_use]
    pub fn new(http: &Http, regions: &[Region]) -> Self {
        Self {
            origin: http.address.to_string(),
            regions: regions.to_vec(),
            last: None,
            last_scored: LastScored::new(http.unchanged),
            settings: http.clone(),
            began: Instant::now(),
        }
    }

    /// Delivers frames until it is told to stop.
    ///
    /// # Errors
    /// When the camera gives no picture, and why.
    pub async fn run_once(&mut self, context: &Context) -> Result<(), HttpError> {
        let camera = Arc::new(Camera::new(&self.settings));
        let mut due = interval(self.settings.every.max(Duration::from_millis(1)));
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut unusable = 0;
        loop {
            tokio::select! {
                () = context.stop.cancelled() => return Ok(()),
                _ = due.tick() => {}
            }
            let Some(slot) = context.free_slot() else { continue };
            let answer = self.ask(&camera, context).await?;
            if context.stop.is_cancelled() {
                return Ok(());
            }
            let captured_at = Timestamp::now();
            let Some((bytes, stamp)) = answer else {
                let Some(last) = &self.last else { continue };
                let same = Arc::clone(&last.shown);
                if context.send(Content::Repeated, same, &self.origin, captured_at, slot).is_break() {
                    return Ok(());
                }
                continue;
            };
            context.counts.seen();
            match context.counts.decoding(|| picture::decode(&bytes, context.max_pixels)) {
                Ok(picture) => {
                    unusable = 0;
                    context.report(Status::Online);
                    let (content, shown) = self.compare(picture);
                    self.last =
                        Some(Last { content: picture::hash(&bytes), stamp, shown: Arc::clone(&shown) });
                    if context.send(content, shown, &self.origin, captured_at, slot).is_break() {
                        return Ok(());
                    }
                }
                Err(error) => {
                    unusable += 1;
                    self.unusable(error, unusable, context)?;
                }
            }
        }
    }

    /// Another picture; `None` if it is still the last one, or if it was told to stop.
    async fn ask(
        &self,
        camera: &Arc<Camera>,
        context: &Context,
    ) -> Result<Option<(Vec<u8>, Stamp)>, HttpError> {
        let (asked, stamp) = (Arc::clone(camera), self.last.as_ref().map(|last| last.stamp.clone()));
        // Blocking, and beside this thread only so that a camera that hangs does not hold up the end.
        let answer = tokio::task::spawn_blocking(move || asked.ask(&stamp.unwrap_or_default()));
        let answer = tokio::select! {
            () = context.stop.cancelled() => return Ok(None),
            answer = answer => answer.map_err(|_| HttpError::Broken)?,
        };
        let unchanged =
            |bytes: &[u8]| self.last.as_ref().is_some_and(|last| last.content == picture::hash(bytes));
        match answer? {
            Answer::Picture { bytes, stamp } if !unchanged(&bytes) => return Ok(Some((bytes, stamp))),
            Answer::Picture { .. } | Answer::Unchanged => {}
        }
        context.report(Status::Online);
        Ok(None)
    }

    /// The picture to send: if this one looks like the last scored one, that is sent again.
    fn compare(&mut self, picture: Picture) -> (Content, Arc<Picture>) {
        if self.last_scored.is_asked() {
            let (size, now) = ((picture.width as usize, picture.height as usize), self.began.elapsed());
            let parts = Looked { size, regions: &self.regions }.picture(&picture);
            if let Some(last) = &self.last
                && self.last_scored.is_repeated(size, &parts, now)
            {
                return (Content::Repeated, Arc::clone(&last.shown));
            }
            self.last_scored.scored(size, parts, now);
        }
        (Content::New, Arc::new(picture))
    }

    fn unusable(&self, error: PictureError, in_a_row: u32, context: &Context) -> Result<(), HttpError> {
        context.counts.failed(Cause::from(&error));
        if in_a_row >= UNUSABLE_IN_A_ROW {
            return Err(HttpError::NoPicture(self.origin.clone(), error));
        }
        tracing::debug!(source = &*context.name, cause = %error, "passed over an answer that is no usable picture");
        Ok(())
    }
}

/// Asks for one picture, and says how many pixels it has from left to right and from top to bottom.
///
/// # Errors
/// There is none, and why. It blocks for as long as the settings allow.
pub fn probe(settings: &Http, max_pixels: u64) -> Result<(u32, u32), HttpError> {
    let no_picture = |cause| HttpError::NoPicture(settings.address.to_string(), cause);
    match Camera::new(settings).ask(&Stamp::default())? {
        Answer::Picture { bytes, .. } => {
            let picture = picture::decode(&bytes, max_pixels).map_err(no_picture)?;
            Ok((picture.width, picture.height))
        }
        // Nobody asked whether it changed.
        Answer::Unchanged => Err(HttpError::Status(settings.address.to_string(), 304)),
    }
}
