//! Why a stream cannot continue, for people. Addresses are shown without user and password.

use crate::{
    picture::PictureError,
    source::{context::Status, kind::Failure},
};

/// Why a stream cannot continue.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// It cannot be opened.
    #[error("{address} cannot be opened: {cause}")]
    NotOpened {
        /// The stream.
        address: String,
        /// The cause, for people.
        cause: String,
    },
    /// It did not answer.
    #[error("{address} did not answer within {seconds} s")]
    NoAnswer {
        /// The stream.
        address: String,
        /// The limit.
        seconds: u64,
    },
    /// The camera requires other credentials.
    #[error("{address} denies access: {remedy}")]
    Denied {
        /// The stream.
        address: String,
        /// What to do.
        remedy: &'static str,
    },
    /// There is nothing at this address.
    #[error("{0} does not exist: the camera has no stream of this name")]
    Missing(String),
    /// It has no video, or none that can be decoded.
    #[error("{0} has no video that can be decoded")]
    NoVideo(String),
    /// It ended or broke.
    #[error("{address} was lost: {cause}")]
    Lost {
        /// The stream.
        address: String,
        /// The cause, for people.
        cause: String,
    },
    /// It is connected, and no packet arrives.
    #[error("{address} stalled: nothing arrived for {seconds} s")]
    Stalled {
        /// The stream.
        address: String,
        /// The limit.
        seconds: f64,
    },
    /// Packets arrive, and no intact frame.
    #[error("{0} delivers no intact frame")]
    NoIntactFrame(String),
    /// The frames cannot be converted to pictures.
    #[error("the frames of {address} cannot be used: {cause}")]
    NotConverted {
        /// The stream.
        address: String,
        /// Why.
        cause: PictureError,
    },
}

impl From<StreamError> for Failure {
    fn from(error: StreamError) -> Self {
        use StreamError::{Denied, Missing, NoIntactFrame, NoVideo, NotConverted, Stalled};

        let refused = matches!(error, Denied { .. } | Missing(_) | NoVideo(_) | NotConverted { .. });
        let stalled = matches!(error, Stalled { .. } | NoIntactFrame(_));
        let status = if stalled { Status::Stalled } else { Status::Offline };
        Self { cause: error.into(), status, refused }
    }
}
