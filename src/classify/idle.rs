//! Embeds pictures while the model has no frames: for work that can wait.
//!
//! The model's thread takes one such picture at a time, and only when it had no frame for as long as the picture before took. So the
//! model works on them for half of its idle time at most, and a frame waits for one picture at most.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::{
    mpsc::{self, error::TryRecvError},
    oneshot,
};

use super::vector_request::{PreparedPicture, VectorRequest};
use crate::{
    heartbeat::Heartbeat,
    model::{Model, ModelError, preprocess::Preprocessor},
    picture::Picture,
};

/// The model has had no frame for at least this long before each picture.
const LEAST_REST: Duration = Duration::from_millis(50);
/// How often the model's thread looks for a picture if there was none.
const STEP: Duration = Duration::from_millis(500);

/// Sends pictures to the model's thread. A clone is the same.
#[derive(Debug, Clone)]
pub struct IdleModel {
    pictures: mpsc::Sender<VectorRequest>,
    preprocessor: Preprocessor,
}

/// Why a picture has no vector.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdleError {
    /// The model rejects it, or is unavailable.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The model's thread has ended.
    #[error("the service is stopping")]
    Stopping,
}

/// The pictures, as the model's thread sees them.
#[derive(Debug)]
pub(super) struct IdlePictures {
    pictures: mpsc::Receiver<VectorRequest>,
    /// How long the model must have had no frame before the next picture.
    pub(super) rest: Duration,
}

/// Whether there may be more pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum More {
    Maybe,
    Never,
}

impl IdleModel {
    /// Both ends. One picture waits.
    pub(super) fn channel(preprocessor: Preprocessor) -> (Self, IdlePictures) {
        let (sender, pictures) = mpsc::channel(1);
        (Self { pictures: sender, preprocessor }, IdlePictures { pictures, rest: LEAST_REST })
    }

    /// Whether the model's thread has ended.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.pictures.is_closed()
    }

    /// Prepares a picture for the model. This takes milliseconds of the processor.
    #[must_use]
    pub fn prepare(&self, picture: &Picture) -> PreparedPicture {
        PreparedPicture::of(picture, &self.preprocessor)
    }

    /// The vector of a picture, of length 1. Waits until the model is idle.
    ///
    /// # Errors
    /// The model rejects the picture, is unavailable, or has ended.
    pub async fn embed(&self, picture: PreparedPicture) -> Result<Arc<[f32]>, IdleError> {
        let (reply, answered) = oneshot::channel();
        let request = VectorRequest::new(picture, reply);
        self.pictures.send(request).await.map_err(|_| IdleError::Stopping)?;
        Ok(answered.await.map_err(|_| IdleError::Stopping)??)
    }
}

impl IdlePictures {
    /// Runs the model with the next picture, if there is one. `pulse` is the heartbeat of the model's thread.
    pub(super) fn embed_next(&mut self, model: &mut Model, pulse: &Heartbeat) -> More {
        match self.pictures.try_recv() {
            Ok(request) if request.is_abandoned() => More::Maybe,
            Ok(request) => {
                let (began, _at_work) = (Instant::now(), pulse.work());
                request.answer(model);
                self.rest = began.elapsed().max(LEAST_REST);
                More::Maybe
            }
            Err(TryRecvError::Empty) => {
                self.rest = STEP;
                More::Maybe
            }
            Err(TryRecvError::Disconnected) => More::Never,
        }
    }
}
