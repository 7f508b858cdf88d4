//! What can be wrong with a picture, in words for people and as a name to count by.

use std::time::Duration;

/// Why bytes did not become a picture. The text is what follows "FILE: ".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PictureError {
    /// There are no bytes.
    #[error("it is empty")]
    Empty,
    /// None of the formats.
    #[error("it is not a picture (of JPEG, PNG, WebP, GIF, BMP or TIFF)")]
    NotAPicture,
    /// The bytes end before the picture does.
    #[error("the {format} is cut off before its end")]
    Truncated {
        /// The format's name.
        format: &'static str,
    },
    /// The bytes are no valid picture of their format.
    #[error("the {format} is damaged: {reason}")]
    Corrupt {
        /// The format's name.
        format: &'static str,
        /// What the decoder says.
        reason: String,
    },
    /// A kind of picture that nobody here can decode.
    #[error("the {format} is of a kind that is not supported: {reason}")]
    Unsupported {
        /// The format's name.
        format: &'static str,
        /// What the decoder says.
        reason: String,
    },
    /// More pixels than the caller allows.
    #[error("it has {width} x {height} pixels, more than the {max_pixels} that max_pixels allows")]
    TooLarge {
        /// Pixels from left to right.
        width: u64,
        /// Pixels from top to bottom.
        height: u64,
        /// The limit.
        max_pixels: u64,
    },
    /// Decoding it takes longer than any picture should.
    #[error("the {format} was not decoded within {} seconds", longest.as_secs())]
    TooSlow {
        /// The format's name.
        format: &'static str,
        /// The limit.
        longest: Duration,
    },
    /// The picture could not be written as JPEG.
    #[error("it cannot be written as JPEG: {reason}")]
    Encode {
        /// What the encoder says.
        reason: String,
    },
}

impl PictureError {
    /// A short name for the kind of error, to count by; part of the metrics, so it does not change.
    #[must_use]
    pub fn cause(&self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::NotAPicture => "not_a_picture",
            Self::Truncated { .. } => "truncated",
            Self::Corrupt { .. } => "corrupt",
            Self::Unsupported { .. } => "unsupported",
            Self::TooLarge { .. } => "too_large",
            Self::TooSlow { .. } => "too_slow",
            Self::Encode { .. } => "encode",
        }
    }
}
