//! Encodes texts that people ask about while the service runs. The thread that owns the [`LabelEncoder`] answers, one request
//! after the other, so no second model is in memory.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{
        mpsc::{self, error::TrySendError},
        oneshot,
    },
    time::timeout,
};

use super::{
    encoder::LabelEncoder,
    labels::{LabelError, LabelVectors, activation},
    score::{Activation, Scores},
    watchlist::Scale,
};
use crate::{model::ModelError, policy::LabelSet};

/// The requests that wait at most. Encoding a text takes a fraction of a second.
const WAITING: usize = 8;
/// The longest time that a request waits for its vectors. Checking a large configuration comes first.
const PATIENCE: Duration = Duration::from_secs(20);

/// Why texts have no vectors.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// The model would not see the end of a text.
    #[error("`{text}` is too long: it has {tokens} tokens, and the model reads {most}")]
    TooLong {
        /// The text.
        text: String,
        /// How many tokens it has.
        tokens: usize,
        /// How many the model reads.
        most: usize,
    },
    /// The labels cannot be scored together, or the model failed.
    #[error(transparent)]
    Labels(#[from] LabelError),
    /// Too many requests wait, or the thread is busy.
    #[error("the service is busy: other texts, or a change of the configuration, are being encoded")]
    Busy,
    /// The service is stopping.
    #[error("the service is stopping")]
    Stopping,
}

impl From<ModelError> for TextError {
    fn from(error: ModelError) -> Self {
        Self::Labels(error.into())
    }
}

/// Texts as the model sees them, with how it scores.
#[derive(Debug, Clone)]
pub struct TextVectors {
    /// One vector for each label.
    pub vectors: LabelVectors,
    scale: Scale,
}

impl TextVectors {
    /// The scores of a picture, from its vector.
    #[must_use]
    pub fn scores(&self, picture: &[f32]) -> Scores {
        self.scale.scores(&self.vectors, picture)
    }

    /// The same texts with vectors in another form, in which the products of vectors are the same: rotated, for example.
    #[must_use]
    pub fn in_form(&self, form: impl Fn(&[f32]) -> Vec<f32>) -> Self {
        let other = |vectors: &[Arc<[f32]>]| vectors.iter().map(|vector| form(vector).into()).collect();
        let LabelVectors { name, labels, background, scoring } = &self.vectors;
        let (labels, background) = (other(labels), other(background));
        let vectors = LabelVectors { name: Arc::clone(name), labels, background, scoring: *scoring };
        Self { vectors, scale: self.scale }
    }

    /// Whether the labels share a total score of 1, so that other words for one of them change the scores of all.
    #[must_use]
    pub fn share_scores(&self) -> bool {
        activation(self.vectors.scoring, self.scale.activation) == Activation::Softmax
    }
}

/// A request for the vectors of a label set. [`Self::answer`] it on the thread that owns the encoder.
#[derive(Debug)]
pub struct TextRequest {
    set: LabelSet,
    answer: oneshot::Sender<Result<TextVectors, TextError>>,
}

impl TextRequest {
    /// Encodes the texts, unless the caller has stopped waiting.
    pub fn answer(self, encoder: &LabelEncoder) {
        if !self.answer.is_closed() {
            // The caller may have stopped waiting meanwhile.
            let _ = self.answer.send(encoder.texts(&self.set));
        }
    }
}

/// Requests vectors from the thread that owns the encoder. Clones request from the same thread.
#[derive(Debug, Clone)]
pub struct TextEncoding(mpsc::Sender<TextRequest>);

impl TextEncoding {
    /// The requesting side, and the requests.
    #[must_use]
    pub fn channel() -> (Self, mpsc::Receiver<TextRequest>) {
        let (requests, receiver) = mpsc::channel(WAITING);
        (Self(requests), receiver)
    }

    /// The vectors of the labels of `set`; [`LabelSet::untriggered`] makes one of texts.
    ///
    /// # Errors
    /// A text is too long, the model scores these labels not together, or the thread is busy.
    pub async fn encode(&self, set: LabelSet) -> Result<TextVectors, TextError> {
        let (answer, answered) = oneshot::channel();
        self.0.try_send(TextRequest { set, answer }).map_err(|error| match error {
            TrySendError::Full(_) => TextError::Busy,
            TrySendError::Closed(_) => TextError::Stopping,
        })?;
        match timeout(PATIENCE, answered).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(TextError::Stopping),
            Err(_) => Err(TextError::Busy),
        }
    }
}

impl LabelEncoder {
    /// The vectors of a label set that is asked about once. Nothing is kept for later.
    ///
    /// # Errors
    /// A text is too long, the model scores these labels not together, or it fails.
    pub fn texts(&self, set: &LabelSet) -> Result<TextVectors, TextError> {
        self.check_lengths(set)?;
        Ok(TextVectors { vectors: self.encode_once(set)?, scale: self.scale() })
    }

    fn check_lengths(&self, set: &LabelSet) -> Result<(), TextError> {
        let texts = set.labels.iter().flat_map(|label| &label.prompts);
        let filled =
            texts.flat_map(|text| set.templates.iter().map(move |template| (text, template.fill(text))));
        for (text, filled) in filled {
            let tokens = self.tokens(&filled)?;
            if tokens.is_cut() {
                return Err(TextError::TooLong {
                    text: text.clone(),
                    tokens: tokens.uncut,
                    most: tokens.ids.len(),
                });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{model::Logits, policy::Scoring};

    fn set(texts: &[&str]) -> LabelSet {
        let texts: Vec<_> = texts.iter().map(ToString::to_string).collect();
        LabelSet::untriggered("question", &"{}".parse().unwrap(), &texts)
    }

    fn vectors() -> TextVectors {
        let vectors = LabelVectors {
            name: "question".into(),
            labels: vec![[1.0, 0.0].into(), [0.0, 1.0].into()],
            background: vec![],
            scoring: Scoring::Auto,
        };
        let scale = Scale { logits: Logits { scale: 10.0, bias: 0.0 }, activation: Activation::Softmax };
        TextVectors { vectors, scale }
    }

    #[test]
    fn another_form_has_the_same_scores() {
        let texts = vectors();
        let swapped = |vector: &[f32]| vector.iter().rev().copied().collect::<Vec<_>>();
        assert_eq!(texts.in_form(swapped).scores(&[0.8, 0.6]), texts.scores(&[0.6, 0.8]));
        assert!(texts.share_scores());
        let mut alone = texts;
        alone.vectors.scoring = Scoring::Cosine;
        assert!(!alone.share_scores());
    }

    #[tokio::test(start_paused = true)]
    async fn a_thread_that_is_busy_or_gone_is_reported() {
        let (encoding, mut requests) = TextEncoding::channel();
        let asking = |texts: &'static [&str]| {
            let encoding = encoding.clone();
            tokio::spawn(async move { encoding.encode(set(texts)).await })
        };
        let waiting: Vec<_> = (0..WAITING).map(|_| asking(&["a", "b"])).collect();
        tokio::task::yield_now().await;
        assert_eq!(encoding.encode(set(&["c"])).await.unwrap_err(), TextError::Busy, "the queue is full");
        for waiting in waiting {
            assert_eq!(waiting.await.unwrap().unwrap_err(), TextError::Busy, "no answer in time");
        }
        while let Ok(request) = requests.try_recv() {
            assert!(request.answer.is_closed(), "no one waits for it");
        }

        let asked = asking(&["open", "closed"]);
        let request = requests.recv().await.unwrap();
        assert_eq!(request.set.labels[1].name, "closed");
        request.answer.send(Ok(vectors())).unwrap();
        let scores = asked.await.unwrap().unwrap().scores(&[1.0, 0.0]).labels;
        assert!(scores[0] > 0.99 && scores[1] < 0.01, "{scores:?}");

        drop(requests);
        assert_eq!(encoding.encode(set(&["c"])).await.unwrap_err(), TextError::Stopping);
    }
}
