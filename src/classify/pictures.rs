//! Encodes pictures that people search by, with the model that scores the frames. The thread that owns the model answers between two
//! batches, so no second model is in memory.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{
        mpsc::{self, error::TrySendError},
        oneshot,
    },
    time::timeout,
};

use super::vector_request::{PreparedPicture, Reply, VectorRequest};
use crate::{
    model::{ModelError, preprocess::Preprocessor},
    picture::Picture,
};

/// The pictures that wait at most.
const WAITING: usize = 4;
/// The longest time that a picture waits for its vector. A batch takes at most some seconds.
const PATIENCE: Duration = Duration::from_secs(20);

/// Why a picture has no vector.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PictureEncodingError {
    /// The model failed.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// Too many pictures wait, or the model is busy.
    #[error("the service is busy: the model encodes other pictures")]
    Busy,
    /// The service is stopping.
    #[error("the service is stopping")]
    Stopping,
}

/// A request for the vector of a picture that is not prepared yet.
#[derive(Debug)]
pub struct PictureRequest {
    picture: Arc<Picture>,
    reply: Reply,
}

impl PictureRequest {
    pub(super) fn new(picture: Arc<Picture>, reply: Reply) -> Self {
        Self { picture, reply }
    }

    pub(super) fn prepare(self, preprocessor: &Preprocessor) -> VectorRequest {
        VectorRequest::new(PreparedPicture::of(&self.picture, preprocessor), self.reply)
    }
}

/// Requests vectors of pictures from the thread that owns the model. Clones request from the same thread.
#[derive(Debug, Clone)]
pub struct PictureEncoding(mpsc::Sender<PictureRequest>);

impl PictureEncoding {
    /// The requesting side, and the requests.
    #[must_use]
    pub fn channel() -> (Self, mpsc::Receiver<PictureRequest>) {
        let (requests, receiver) = mpsc::channel(WAITING);
        (Self(requests), receiver)
    }

    /// The vector of a picture, of length 1.
    ///
    /// # Errors
    /// The model fails, or it is busy.
    pub async fn encode(&self, picture: Arc<Picture>) -> Result<Arc<[f32]>, PictureEncodingError> {
        let (reply, answered) = oneshot::channel();
        self.0.try_send(PictureRequest::new(picture, reply)).map_err(|error| match error {
            TrySendError::Full(_) => PictureEncodingError::Busy,
            TrySendError::Closed(_) => PictureEncodingError::Stopping,
        })?;
        match timeout(PATIENCE, answered).await {
            Ok(Ok(answer)) => Ok(answer?),
            Ok(Err(_)) => Err(PictureEncodingError::Stopping),
            Err(_) => Err(PictureEncodingError::Busy),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        engine::{EngineError, Engines, fake::FakeEngine},
        model::{Model, ModelFiles, Options},
    };

    fn picture() -> Arc<Picture> {
        Picture::of_rgb(1, 1, vec![255; 3]).into()
    }

    fn model(engine: FakeEngine) -> Model {
        Model::load(Engines::Fake(engine), &ModelFiles::bundled(), &Options::default()).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_model_that_is_busy_or_gone_is_reported() {
        let (encoding, mut requests) = PictureEncoding::channel();
        let asking = || {
            let encoding = encoding.clone();
            tokio::spawn(async move { encoding.encode(picture()).await })
        };
        let waiting: Vec<_> = (0..WAITING).map(|_| asking()).collect();
        tokio::task::yield_now().await;
        assert_eq!(encoding.encode(picture()).await, Err(PictureEncodingError::Busy), "the queue is full");
        for waiting in waiting {
            assert_eq!(waiting.await.unwrap(), Err(PictureEncodingError::Busy), "no answer in time");
        }
        while let Ok(request) = requests.try_recv() {
            assert!(request.reply.is_closed(), "no one waits for it");
        }
        drop(requests);
        assert_eq!(encoding.encode(picture()).await, Err(PictureEncodingError::Stopping));
    }

    #[tokio::test]
    async fn the_answer_is_the_vector_of_the_model_or_its_error() {
        let mut good = model(FakeEngine::new(|pictures| Ok(pictures.to_vec())));
        let absent = || Err(EngineError::Unavailable("connection refused".to_owned()));
        let mut absent = model(FakeEngine::new(move |_| absent()));
        let expected = good.embed_pictures(&[&picture()]).unwrap().remove(0);
        let (encoding, mut requests) = PictureEncoding::channel();
        let answer =
            tokio::spawn(async move { [encoding.encode(picture()).await, encoding.encode(picture()).await] });
        for model in [&mut good, &mut absent] {
            let request = requests.recv().await.unwrap();
            request.prepare(model.preprocessor()).answer(model);
        }
        let [vector, error] = answer.await.unwrap();
        assert_eq!(&*vector.unwrap(), expected);
        let unavailable = ModelError::Unavailable("connection refused".to_owned());
        assert_eq!(error, Err(PictureEncodingError::Model(unavailable)));
    }
}
