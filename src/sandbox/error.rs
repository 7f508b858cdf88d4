//! Why there is no picture.

use crate::picture::PictureError;

/// Why there is no picture.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The bytes are no usable picture.
    #[error(transparent)]
    Picture(#[from] PictureError),
    /// The source stops. The picture was not decoded.
    #[error("the source stops")]
    Stopped,
}
