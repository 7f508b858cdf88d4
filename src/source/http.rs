//! The HTTP source: a picture that a camera gives to whoever asks, asked for again and again.
//!
//! A picture that did not change is passed over: the camera says so itself (ETag, Last-Modified), or its bytes are those
//! of the last one. While no slot is free the camera is not even asked. `captured_at` is when the answer was complete:
//! cameras take the picture when they are asked, and the clock inside one is not to be trusted.
//!
//! A single picture that is damaged or cut off is counted and passed over; several in a row mean that the address does
//! not lead to a picture. It refuses to go on then, like after any answer that is no picture; `source` tries again.
//!
//! It refuses proxies (cameras are near), more than a few redirects, to send its password to another host, and pictures
//! of more than 32 MiB.

mod fetch;

use std::{
    hash::{DefaultHasher, Hasher},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use tokio::time::{MissedTickBehavior, interval};

pub use self::fetch::HttpError;
use self::fetch::{Answer, Camera, Stamp};
use super::{Context, Status, live::Handed};
use crate::{
    config::Http,
    picture::{self, PictureError},
};

/// So many unusable pictures in a row are more than bad luck.
const UNUSABLE_IN_A_ROW: u32 = 3;

/// An HTTP source, with what it remembers over its failures.
pub struct HttpSource {
    settings: Http,
    origin: String,
    last: Option<Last>,
}

/// The last picture that was taken.
struct Last {
    content: u64,
    stamp: Stamp,
}

impl HttpSource {
    /// A source that did not ask yet.
    #[must_use]
    pub fn new(http: &Http) -> Self {
        Self { origin: http.address.to_string(), settings: http.clone(), last: None }
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
            let Some((bytes, stamp)) = self.ask(&camera, context).await? else { continue };
            if context.stop.is_cancelled() {
                return Ok(());
            }
            let captured_at = Timestamp::now();
            context.counts.seen();
            match picture::decode(&bytes, context.max_pixels) {
                Ok(picture) => {
                    unusable = 0;
                    self.last = Some(Last { content: content(&bytes), stamp });
                    context.report(Status::Online);
                    if let Handed::NobodyListens = context.hand_on(picture, &self.origin, captured_at, slot) {
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

    /// A new picture; `None` if there is none, or if it was told to stop.
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
        let unchanged = |bytes: &[u8]| self.last.as_ref().is_some_and(|last| last.content == content(bytes));
        match answer? {
            Answer::Picture { bytes, stamp } if !unchanged(&bytes) => return Ok(Some((bytes, stamp))),
            Answer::Picture { .. } | Answer::Unchanged => {}
        }
        context.counts.skipped("unchanged");
        context.report(Status::Online);
        Ok(None)
    }

    fn unusable(&self, error: PictureError, in_a_row: u32, context: &Context) -> Result<(), HttpError> {
        context.counts.failed(error.cause());
        if in_a_row >= UNUSABLE_IN_A_ROW {
            return Err(HttpError::NoPicture(self.origin.clone(), error));
        }
        tracing::debug!(source = &*context.name, cause = %error, "passed over an answer that is no usable picture");
        Ok(())
    }
}

fn content(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish()
}
