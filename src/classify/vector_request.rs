//! A request for the vector of one picture: the numbers that the model reads, and where the vector is sent. Searches by pictures and the
//! work that can wait use the same requests, in queues of their own.

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::{
    model::{Model, ModelError, preprocess::Preprocessor},
    picture::Picture,
};

/// Receives the vector of a picture, of length 1.
pub(super) type Reply = oneshot::Sender<Result<Arc<[f32]>, ModelError>>;

/// A picture as the model reads it.
#[derive(Debug)]
pub struct PreparedPicture(Vec<f32>);

impl PreparedPicture {
    /// Prepares a picture. This takes milliseconds of the processor.
    pub(super) fn of(picture: &Picture, preprocessor: &Preprocessor) -> Self {
        let mut values = Vec::with_capacity(preprocessor.tensor_len());
        preprocessor.append(picture, &mut values);
        Self(values)
    }
}

/// A prepared picture that waits for its vector.
#[derive(Debug)]
pub(super) struct VectorRequest {
    picture: PreparedPicture,
    reply: Reply,
}

impl VectorRequest {
    pub(super) fn new(picture: PreparedPicture, reply: Reply) -> Self {
        Self { picture, reply }
    }

    /// Whether the caller has stopped waiting.
    pub(super) fn is_abandoned(&self) -> bool {
        self.reply.is_closed()
    }

    /// Runs the model, unless the caller has stopped waiting. An error is the answer, too: the caller decides whether to try again.
    pub(super) fn answer(self, model: &mut Model) {
        if self.is_abandoned() {
            return;
        }
        let vector = model.embed_prepared(&self.picture.0).and_then(|vectors| {
            let vector = vectors.into_iter().next();
            vector.map(Arc::from).ok_or_else(|| ModelError::Run("it gave no vector".to_owned()))
        });
        // The caller may have stopped waiting meanwhile.
        let _ = self.reply.send(vector);
    }
}
