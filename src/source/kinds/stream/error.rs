//! What can be wrong with a stream, in words for people. The address in it is the one that may be shown.

use crate::{picture::PictureError, source::Status};

/// Why a stream cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// It cannot be opened.
    #[error("{address} cannot be opened: {cause}")]
    NotOpened {
        /// The stream.
        address: String,
        /// In words.
        cause: String,
    },
    /// It did not answer.
    #[error("{address} did not begin within {seconds} s")]
    NoAnswer {
        /// The stream.
        address: String,
        /// How long it was waited for.
        seconds: u64,
    },
    /// The camera wants to know who asks, and does not like the answer.
    #[error("{address} does not let us in: {remedy}")]
    Denied {
        /// The stream.
        address: String,
        /// What to do.
        remedy: &'static str,
    },
    /// There is nothing at this address.
    #[error("{0} is not there: the camera knows no stream of this name")]
    Missing(String),
    /// It has no pictures, or none that can be decoded.
    #[error("{0} brings no video that can be decoded")]
    NoVideo(String),
    /// It ended or broke.
    #[error("{address} was lost: {cause}")]
    Lost {
        /// The stream.
        address: String,
        /// In words.
        cause: String,
    },
    /// It is connected, and nothing comes.
    #[error("{address} stands still: nothing came for {seconds} s")]
    Stalled {
        /// The stream.
        address: String,
        /// How long it was waited for.
        seconds: f64,
    },
    /// Something comes, and no frame can be made of it.
    #[error("{0} brings no whole frame")]
    NoWholeFrame(String),
    /// Frames come in a form that is of no use.
    #[error("the frames of {address} are of no use: {cause}")]
    NotConverted {
        /// The stream.
        address: String,
        /// Why.
        cause: PictureError,
    },
}

impl StreamError {
    /// Whether somebody has to put something right before it can work.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Denied { .. } | Self::Missing(_) | Self::NoVideo(_) | Self::NotConverted { .. })
    }

    /// What the source is until it is tried again.
    #[must_use]
    pub fn status(&self) -> Status {
        match self {
            Self::Stalled { .. } | Self::NoWholeFrame(_) => Status::Stalled,
            _ => Status::Offline,
        }
    }
}
