//! Scores frames: label sets become vectors, pictures become vectors, and their similarities become scores.
//!
//! This room knows no thresholds, alerts or brokers, and not where a frame came from.

mod availability;
mod batch_figures;
mod canary_status;
mod classifier;
mod embed;
mod encoder;
mod guard;
mod idle;
pub mod labels;
mod pictures;
mod prepare;
mod progress;
mod repeats;
pub mod score;
mod texts;
mod thread;
mod vector_request;
mod watchlist;

use std::sync::Arc;

pub use availability::{Availability, Away};
pub use batch_figures::BatchFigures;
pub use canary_status::{CanaryProblem, CanaryState, CanaryStatus, Checked, Consequence};
pub use classifier::{Classifier, LoadError, device, load_model, load_model_as};
pub use encoder::LabelEncoder;
pub use guard::GuardedModel;
pub use idle::{IdleError, IdleModel};
pub use pictures::{PictureEncoding, PictureEncodingError, PictureRequest};
pub use progress::{Counts, Progress};
pub use texts::{TextEncoding, TextError, TextRequest, TextVectors};
pub use thread::{ReceiverGone, score_all, spawn, spawn_in_full_batches};
pub use vector_request::PreparedPicture;
pub use watchlist::{Watchlist, parts};

use crate::frame::Frame;

/// A frame with its scores, for every label set that its source watches.
#[derive(Debug)]
pub struct Scored {
    /// The frame, with its slot.
    pub frame: Frame,
    /// One entry for each label set, in the order of the source's `watch`.
    pub sets: Vec<SetScores>,
    /// The embedding (a vector of length 1) of each region, in the order of [`SetScores::regions`]; shared by all frames
    /// that show the same picture.
    pub embeddings: Vec<Arc<[f32]>>,
}

/// The scores of one label set on one frame.
#[derive(Debug, Clone, PartialEq)]
pub struct SetScores {
    /// The name of the label set.
    pub label_set: Arc<str>,
    /// The names of the labels that were scored. The configuration may have other labels when this is read.
    pub labels: Arc<[Arc<str>]>,
    /// One entry for each region of the source (one without a name for the whole frame), never empty.
    pub regions: Vec<RegionScores>,
}

/// The scores of one label set in one region.
#[derive(Debug, Clone, PartialEq)]
pub struct RegionScores {
    /// The region's name; `None` is the whole frame.
    pub region: Option<Arc<str>>,
    /// A score for each label, in the order of [`SetScores::labels`], 0 to 1.
    pub labels: Vec<f32>,
    /// The score of the background prompts: their sum under softmax, the highest under sigmoid; `None` without background.
    pub background: Option<f32>,
}

impl SetScores {
    /// A label's score, which is the highest of its regions, with that region (the first among equals).
    #[must_use]
    pub fn best(&self, label: usize) -> Option<(f32, &RegionScores)> {
        self.best_in(label, &[])
    }

    /// A label's score in these regions only; an empty list means all regions.
    #[must_use]
    pub fn best_in(&self, label: usize, regions: &[String]) -> Option<(f32, &RegionScores)> {
        let scored = |region: &RegionScores| region.labels.get(label).copied().unwrap_or(f32::NEG_INFINITY);
        let counts = |region: &&RegionScores| {
            regions.is_empty()
                || region.region.as_deref().is_some_and(|name| regions.iter().any(|it| it == name))
        };
        self.regions
            .iter()
            .filter(counts)
            .reduce(|best, region| if scored(region) > scored(best) { region } else { best })
            .map(|region| (scored(region), region))
    }
}
