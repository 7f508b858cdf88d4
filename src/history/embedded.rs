//! What the thread of the history receives of stored pictures that were embedded.

use std::sync::Arc;

/// The vectors of a stored picture.
#[derive(Debug, Clone, PartialEq)]
pub struct EmbeddedPicture {
    /// The identifier of the picture.
    pub id: i64,
    /// The name of its source.
    pub source: Arc<str>,
    /// When it was captured: milliseconds since 1970.
    pub time: i64,
    /// The vector of each region with its name, or of the whole picture.
    pub views: Vec<EmbeddedView>,
}

/// The name of a region, `None` for the whole picture, and its vector.
pub type EmbeddedView = (Option<Arc<str>>, Arc<[f32]>);
