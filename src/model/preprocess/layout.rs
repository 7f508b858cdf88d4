//! The form of a prepared picture: numbers in an order that the model's graph takes.

/// The form of a prepared picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// The red, green and blue plane, each row by row.
    Planes {
        /// In pixels.
        width: u32,
        /// In pixels.
        height: u32,
    },
    /// Patches, row by row and filled up with zeros, then the number of their rows and of their columns. A patch has its pixels
    /// row by row, each with red, green and blue.
    Patches {
        /// The edge of a patch in pixels.
        side: u32,
        /// The number of patches, including those of zeros.
        most: u32,
    },
}

impl Layout {
    /// The number of values of a picture.
    #[must_use]
    pub fn values(self) -> usize {
        match self {
            Self::Planes { width, height } => 3 * width as usize * height as usize,
            Self::Patches { most, .. } => most as usize * self.patch_values() + 2,
        }
    }

    /// The number of values of a patch.
    pub(crate) fn patch_values(self) -> usize {
        match self {
            Self::Planes { .. } => self.values(),
            Self::Patches { side, .. } => 3 * (side as usize).pow(2),
        }
    }

    /// The names of a graph's inputs for pictures.
    pub(crate) fn inputs(self) -> &'static [&'static str] {
        match self {
            Self::Planes { .. } => &["pixel_values"],
            Self::Patches { .. } => &["pixel_values", "pixel_attention_mask", "spatial_shapes"],
        }
    }
}
