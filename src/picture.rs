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
