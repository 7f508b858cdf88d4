//! Why a source skipped or failed on a frame: the values of the metric label `cause`.
//!
//! Every variant is explained in `docs/monitoring.md`; a test checks that. The words are part of the metrics, so they do
//! not change.

use crate::picture::PictureError;

macro_rules! causes {
    ($($(#[$doc:meta])+ $cause:ident = $word:literal,)+) => {
        /// Why a frame was skipped or could not be read. Ordered by its word.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Cause {
            $($(#[$doc])+ $cause,)+
        }

        impl Cause {
            /// Every cause.
            pub const ALL: &[Self] = &[$(Self::$cause,)+];

            /// The value of the metric label.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$cause => $word,)+
                }
            }
        }
    };
}

causes! {
    /// The file could not be moved or deleted afterwards.
    After = "after",
    /// The frame comes before the first key frame, or between damage and the next key frame.
    BeforeKeyFrame = "before_key_frame",
    /// The picture is damaged.
    Corrupt = "corrupt",
    /// The service ended unexpectedly, more than once, while it decoded this picture.
    Crashed = "crashed",
    /// The video decoder reported a damaged frame.
    DamagedFrame = "damaged_frame",
    /// The demuxer reported a damaged packet.
    DamagedPacket = "damaged_packet",
    /// Decoding the picture ended the decoder process.
    DecoderEnded = "decoder_ended",
    /// The task that reads a message panicked.
    DecoderPanic = "decoder_panic",
    /// The picture has no bytes.
    Empty = "empty",
    /// A packet was lost in the network.
    LostPacket = "lost_packet",
    /// A newer picture of the same topic replaced this one.
    NewerCame = "newer_came",
    /// All slots of the source are in use.
    NoFreeSlot = "no_free_slot",
    /// Neither topic nor payload gives the name of the source.
    NoName = "no_name",
    /// The JSON payload has no picture where `json:` points.
    NoPicture = "no_picture",
    /// The queue of messages is full.
    NoRoom = "no_room",
    /// The bytes are of no known picture format.
    NotAPicture = "not_a_picture",
    /// The source already has `max_sources` names, or the name is rejected.
    NotAdmitted = "not_admitted",
    /// The payload is text and not base64.
    NotBase64 = "not_base64",
    /// Skipped: no frame is due, so the packet is not decoded. Failed: the decoder rejected the packet.
    NotDecoded = "not_decoded",
    /// The frame could not be copied from the video hardware.
    NotFetched = "not_fetched",
    /// The payload is not JSON.
    NotJson = "not_json",
    /// The topic is not UTF-8.
    NotUtf8 = "not_utf8",
    /// The broker had retained the message.
    Retained = "retained",
    /// The picture has more than `max_pixels` pixels, or needs more than `memory` to be decoded.
    TooLarge = "too_large",
    /// The file is larger than any picture.
    TooManyBytes = "too_many_bytes",
    /// Decoding the picture takes too long.
    TooSlow = "too_slow",
    /// The picture ends too early.
    Truncated = "truncated",
    /// The picture looks like the last scored one.
    Unchanged = "unchanged",
    /// The file could not be read.
    Unreadable = "unreadable",
    /// A folder below the watched one could not be read.
    UnreadableFolder = "unreadable_folder",
    /// The picture is of a known format, in a variant that is not supported.
    Unsupported = "unsupported",
}

/// The causes that one kind of source can report. Their metrics exist since the start of the source: a series that
/// appears with its first event hides that event.
#[derive(Debug, Clone, Copy, Default)]
pub struct Causes {
    /// Why the source skips frames on purpose, besides `SKIPPED`.
    pub skipped: &'static [Cause],
    /// Why the source fails on frames.
    pub failed: &'static [&'static [Cause]],
}

/// Why a source of any kind skips frames.
pub(crate) const SKIPPED: &[Cause] = &[Cause::NoFreeSlot, Cause::Unchanged];

/// Why a picture cannot be decoded.
pub(crate) const PICTURE: &[Cause] = &[
    Cause::Corrupt,
    Cause::Crashed,
    Cause::DecoderEnded,
    Cause::Empty,
    Cause::NotAPicture,
    Cause::TooLarge,
    Cause::TooSlow,
    Cause::Truncated,
    Cause::Unsupported,
];

impl From<&PictureError> for Cause {
    fn from(error: &PictureError) -> Self {
        match error {
            PictureError::Empty => Self::Empty,
            PictureError::NotAPicture => Self::NotAPicture,
            PictureError::Truncated { .. } => Self::Truncated,
            // A source encodes nothing.
            PictureError::Corrupt { .. } | PictureError::Encode { .. } => Self::Corrupt,
            PictureError::Unsupported { .. } => Self::Unsupported,
            PictureError::TooLarge { .. } | PictureError::NeedsMemory { .. } => Self::TooLarge,
            PictureError::TooSlow { .. } => Self::TooSlow,
            PictureError::DecoderEnded { .. } => Self::DecoderEnded,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::kinds::ALL_CAUSES;

    #[test]
    fn every_cause_is_explained_in_the_documentation() {
        let page = include_str!("../../docs/monitoring.md");
        for cause in Cause::ALL {
            assert!(page.contains(&format!("`{}`", cause.as_str())), "{cause:?}");
        }
        let reported = |cause: &&Cause| {
            SKIPPED.contains(cause)
                || ALL_CAUSES
                    .iter()
                    .any(|kind| kind.skipped.contains(cause) || kind.failed.concat().contains(cause))
        };
        assert_eq!(Cause::ALL.iter().find(|cause| !reported(cause)), None, "no kind reports it");
        assert!(Cause::ALL.is_sorted_by_key(|cause| cause.as_str()));
    }
}
