//! The errors of the TIFF decoder.

use crate::picture::PictureError;

pub(super) const FORMAT: &str = "TIFF";

pub(super) fn corrupt(reason: impl Into<String>) -> PictureError {
    PictureError::Corrupt { format: FORMAT, reason: reason.into() }
}

pub(super) fn unsupported(reason: impl Into<String>) -> PictureError {
    PictureError::Unsupported { format: FORMAT, reason: reason.into() }
}
