//! A picture: bytes of any supported format in, upright RGB pixels out, exactly as the reference decodes them.
//!
//! Refuses: files (the caller brings bytes), resizing (that belongs to the model), and anything that
//! would decode to more pixels than the caller allows.

/// Decoded pixels, upright, 8-bit RGB, row by row without padding.
#[derive(Clone, PartialEq, Eq)]
pub struct Picture {
    /// Pixels from left to right.
    pub width: u32,
    /// Pixels from top to bottom.
    pub height: u32,
    /// `width * height * 3` bytes.
    pub rgb: Vec<u8>,
    /// The one colour that the file declared transparent; the reference turns it white for models that convert to RGB.
    pub transparent: Option<[u8; 3]>,
}

impl std::fmt::Debug for Picture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Picture({} x {})", self.width, self.height)
    }
}

/// Why bytes did not become a picture.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PictureError {
    /// No bytes at all.
    #[error("the file is empty")]
    Empty,
    /// The bytes do not begin like any supported format.
    #[error("not a picture")]
    NotAPicture,
    /// A supported format that is damaged or ends too early.
    #[error("damaged or truncated: {0}")]
    Corrupt(String),
    /// More pixels than the caller allows.
    #[error("{width} x {height} pixels are more than the allowed {allowed}")]
    TooLarge {
        /// As the file declares it.
        width: u32,
        /// As the file declares it.
        height: u32,
        /// The limit that the caller set.
        allowed: u64,
    },
}

impl PictureError {
    /// The kind of the error in one word, for counting.
    #[must_use]
    pub fn cause(&self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::NotAPicture => "not_a_picture",
            Self::Corrupt(_) => "corrupt",
            Self::TooLarge { .. } => "too_large",
        }
    }
}

/// Decodes `bytes`, refusing more than `max_pixels`.
///
/// # Errors
/// When the bytes are no picture, are damaged, or hold too many pixels.
pub fn decode(bytes: &[u8], max_pixels: u64) -> Result<Picture, PictureError> {
    if bytes.is_empty() {
        return Err(PictureError::Empty);
    }
    let format = image::guess_format(bytes).map_err(|_| PictureError::NotAPicture)?;
    let corrupt = |error: image::ImageError| PictureError::Corrupt(error.to_string());
    let reader = || image::ImageReader::with_format(std::io::Cursor::new(bytes), format);
    let (width, height) = reader().into_dimensions().map_err(corrupt)?;
    if u64::from(width) * u64::from(height) > max_pixels {
        return Err(PictureError::TooLarge { width, height, allowed: max_pixels });
    }
    let rgb = reader().decode().map_err(corrupt)?.into_rgb8().into_raw();
    Ok(Picture { width, height, rgb, transparent: None })
}
