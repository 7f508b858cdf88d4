//! The model inside the binary.

/// Its files: names in the hub's layout, and contents.
pub(super) const FILES: &[(&str, &[u8])] = &[];
