//! The HTTP source: requests a picture from a camera again and again.
//!
//! An unchanged picture is not scored again: the camera reports it as unchanged (ETag, Last-Modified), its bytes are those
//! of the last one, or it looks the same (`unchanged: repeat`). Then the last one is sent once more. While no slot is free,
//! no request is made. `captured_at` is when the response was complete: cameras take the picture when they receive the
//! request, and their clocks are not reliable.
//!
//! A damaged picture is counted, and is a failure like any response without a picture. The caller tries again, and decides whether
//! the failure changes the status of the source.
//!
//! Proxies are not used (cameras are near), a few redirects are followed (on the camera's host, unless `redirects` says otherwise), the
//! password is never sent to another host, and pictures of more than 32 MiB are rejected.

mod fetch;
pub mod settings;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use tokio::time::{MissedTickBehavior, interval};

use self::{
    fetch::{Camera, HttpError, Response, Validators, login_of},
    settings::Http,
};
use crate::{
    config::Region,
    frame::Slot,
    picture::{self, Picture, PictureError, mask::Masked},
    sandbox::DecodeError,
    source::{
        cause::{self, Cause, Causes},
        context::{Context, Status},
        decoders::{Decoded, NotDecoded},
        handover::Content,
        kind::{CAMERA_REMEDY, Failure, Kind, Probe, Surroundings},
        kinds::login::SharedLogin,
        unchanged::{FrameLayout, LastScored},
    },
};

/// The time limit of a probe until a decoder process can be started.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);

/// An HTTP source, with the state that it keeps over its failures.
pub struct HttpSource {
    settings: Http,
    regions: Vec<Region>,
    origin: String,
    /// Keeps its connection over failures of other kinds.
    camera: Arc<Camera>,
    login: Option<SharedLogin>,
    last: Option<Last>,
    last_scored: LastScored,
    began: Instant,
}

/// The last picture that was received.
struct Last {
    hash: u64,
    validators: Validators,
    /// The picture that was sent to be scored: this one, or one that looks like it.
    sent: Masked,
}

impl Kind for HttpSource {
    type Settings = Http;

    const CAUSES: Causes = Causes { skipped: &[], failed: &[cause::PICTURE] };

    fn new(settings: &Http, regions: &[Region]) -> Self {
        let login = login_of(settings);
        Self {
            origin: settings.address.to_string(),
            regions: regions.to_vec(),
            last: None,
            last_scored: LastScored::new(settings.unchanged),
            camera: Arc::new(Camera::new(settings, login.clone())),
            login,
            settings: settings.clone(),
            began: Instant::now(),
        }
    }

    async fn run_once(&mut self, context: &Context) -> Result<(), Failure> {
        let ended = self.poll(context).await;
        if matches!(ended, Err(HttpError::Unreachable { .. })) {
            // Files with certificates are read again.
            self.camera = Arc::new(Camera::new(&self.settings, self.login.clone()));
        }
        Ok(ended?)
    }

    fn probe(settings: &Http, surroundings: &Surroundings<'_>) -> Probe {
        match picture(settings, surroundings) {
            Ok(Picture { width, height, .. }) => {
                Probe::good(format!("delivers pictures of {width}x{height}"))
            }
            Err(error) => Probe::failed(error.to_string(), CAMERA_REMEDY),
        }
    }

    fn picture(settings: &Http, surroundings: &Surroundings<'_>) -> Option<Result<Arc<Picture>, String>> {
        Some(picture(settings, surroundings).map(Arc::new).map_err(|error| error.to_string()))
    }
}

impl HttpSource {
    /// Requests pictures until the stop signal.
    async fn poll(&mut self, context: &Context) -> Result<(), HttpError> {
        let mut due = interval(self.settings.every.max(Duration::from_millis(1)));
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = context.stop.cancelled() => return Ok(()),
                _ = due.tick() => {}
            }
            let Some(slot) = context.free_slot() else { continue };
            let received = self.request(context).await?;
            if context.stop.is_cancelled() {
                return Ok(());
            }
            let (captured_at, mut slot) = (Timestamp::now(), Slot::new(slot));
            let (content, picture) = match received {
                None => match &self.last {
                    Some(last) => (Content::Repeated, last.sent.clone()),
                    None => continue,
                },
                Some((bytes, validators)) => {
                    context.counts.seen();
                    match context.picture_decoder().decode(&bytes, &self.origin) {
                        Ok(Decoded { picture, share }) => {
                            context.report(Status::Online);
                            slot = slot.with_memory(share);
                            let (content, sent) = self.compare(picture);
                            let hash = picture::hash(&bytes);
                            self.last = Some(Last { hash, validators, sent: sent.clone() });
                            (content, sent)
                        }
                        Err(NotDecoded::Stopped) => return Ok(()),
                        Err(NotDecoded::Crashed) => {
                            let why = NotDecoded::Crashed;
                            context.unusable(("picture", &self.origin), Cause::Crashed, &why, None);
                            continue;
                        }
                        Err(NotDecoded::Picture(error)) => {
                            context.counts.failed(Cause::from(&error));
                            return Err(HttpError::NoPicture(self.origin.clone(), error));
                        }
                    }
                }
            };
            if context.send(content, picture, &self.origin, captured_at, slot).is_break() {
                return Ok(());
            }
        }
    }

    /// A new picture; `None` if it is unchanged, or after the stop signal.
    async fn request(&self, context: &Context) -> Result<Option<(Vec<u8>, Validators)>, HttpError> {
        let (camera, last) = (Arc::clone(&self.camera), self.last.as_ref());
        let validators = last.map(|last| last.validators.clone()).unwrap_or_default();
        // The request blocks. It runs on another thread, so that a camera that hangs does not delay the end.
        let response = tokio::task::spawn_blocking(move || camera.request(&validators));
        let response = tokio::select! {
            () = context.stop.cancelled() => return Ok(None),
            response = response => response.map_err(|_| HttpError::Broken)?,
        };
        let is_last = |bytes: &[u8]| last.is_some_and(|last| last.hash == picture::hash(bytes));
        match response? {
            Response::Picture { bytes, validators } if !is_last(&bytes) => {
                return Ok(Some((bytes, validators)));
            }
            Response::Picture { .. } | Response::Unchanged => {}
        }
        context.report(Status::Online);
        Ok(None)
    }

    /// The picture to send: the last scored one again if this one looks like it.
    fn compare(&mut self, picture: Masked) -> (Content, Masked) {
        if self.last_scored.is_compared() {
            let (size, now) = ((picture.width as usize, picture.height as usize), self.began.elapsed());
            let parts = FrameLayout { size, regions: &self.regions }.picture(&picture);
            if let Some(last) = &self.last
                && self.last_scored.is_repeated(size, &parts, now)
            {
                return (Content::Repeated, last.sent.clone());
            }
            self.last_scored.scored(size, parts, now);
        }
        (Content::New, picture)
    }
}

/// Requests one picture.
fn picture(settings: &Http, surroundings: &Surroundings<'_>) -> Result<Picture, HttpError> {
    let no_picture = |cause| HttpError::NoPicture(settings.address.to_string(), cause);
    match Camera::new(settings, login_of(settings)).request(&Validators::default())? {
        Response::Picture { bytes, .. } => {
            let (began, host) = (Instant::now(), settings.address.to_string());
            let go_on = || began.elapsed() < PROBE_TIMEOUT;
            match surroundings.sandbox.decode(&host, &bytes, surroundings.limits, &go_on) {
                Ok(picture) => Ok(picture),
                Err(DecodeError::Picture(cause)) => Err(no_picture(cause)),
                Err(DecodeError::Stopped) => Err(no_picture(PictureError::DecoderEnded {
                    how: "no process could be started".to_owned(),
                })),
            }
        }
        // The request had no validators.
        Response::Unchanged => Err(HttpError::Status(settings.address.to_string(), 304)),
    }
}
