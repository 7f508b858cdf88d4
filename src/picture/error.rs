//! Why bytes could not be decoded as a picture: the message for people, and the cause for metrics.

use std::time::Duration;

/// Why bytes did not become a picture. The text is meant to follow "FILE: ".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PictureError {
    /// There are no bytes.
    #[error("it is empty")]
    Empty,
    /// The bytes are of no supported format.
    #[error("it is not a picture (of JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF, HEIC or JPEG 2000)")]
    NotAPicture,
    /// The bytes end before the picture does.
    #[error("the {format} is cut off before its end")]
    Truncated {
        /// The format's name.
        format: &'static str,
    },
    /// The bytes are not a valid picture of their format.
    #[error("the {format} is damaged: {reason}")]
    Corrupt {
        /// The format's name.
        format: &'static str,
        /// The decoder's message.
        reason: String,
    },
    /// A variant of the format that the decoder does not support.
    #[error("the {format} is of a kind that is not supported: {reason}")]
    Unsupported {
        /// The format's name.
        format: &'static str,
        /// The decoder's message.
        reason: String,
    },
    /// More pixels than the caller allows.
    #[error("it has {width} x {height} pixels, more than the {max_pixels} that max_pixels allows")]
    TooLarge {
        /// Width in pixels.
        width: u64,
        /// Height in pixels.
        height: u64,
        /// The limit.
        max_pixels: u64,
    },
    /// Decoding needs more memory than the caller allows.
    #[error(
        "it needs {} MB of memory to be decoded, more than the {} MB that memory allows",
        needed.div_ceil(1_000_000), memory / 1_000_000
    )]
    NeedsMemory {
        /// The bytes at the peak.
        needed: u64,
        /// The limit, in bytes.
        memory: u64,
    },
    /// Decoding takes longer than the limit.
    #[error("the {format} was not decoded within {} seconds", longest.as_secs())]
    TooSlow {
        /// The format's name.
        format: &'static str,
        /// The limit.
        longest: Duration,
    },
    /// The process that decoded the picture ended.
    #[error("decoding it ended the decoder process: {how}")]
    DecoderEnded {
        /// How the process ended.
        how: String,
    },
    /// The picture could not be written as JPEG.
    #[error("it cannot be written as JPEG: {reason}")]
    Encode {
        /// The encoder's message.
        reason: String,
    },
}

impl PictureError {
    /// The `cause` label of the metrics that count this error. Metrics are a contract: the words do not change.
    #[must_use]
    pub fn cause(&self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::NotAPicture => "not_a_picture",
            Self::Truncated { .. } => "truncated",
            Self::Corrupt { .. } => "corrupt",
            Self::Unsupported { .. } => "unsupported",
            Self::TooLarge { .. } | Self::NeedsMemory { .. } => "too_large",
            Self::TooSlow { .. } => "too_slow",
            Self::DecoderEnded { .. } => "decoder_ended",
            Self::Encode { .. } => "encode",
        }
    }
}
