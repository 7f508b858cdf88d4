//! Lists what is scored in the frames of each source: label sets as vectors, and regions.
//!
//! A list is immutable. A new one is made outside the model's thread, which takes it over between two batches.

use std::{borrow::Cow, collections::HashMap, sync::Arc};

use super::{
    RegionScores, SetScores,
    labels::LabelVectors,
    score::{Activation, Scores},
};
use crate::{
    config::{Region, Source},
    model::{Logits, Model},
    picture::Picture,
    policy::LabelSet,
};

/// The label sets and regions of every source.
#[derive(Debug)]
pub struct Watchlist {
    sets: Arc<[Set]>,
    watches: HashMap<Arc<str>, Arc<Watch>>,
}

/// A label set, with the names of the labels that its vectors belong to.
#[derive(Debug, Clone)]
struct Set {
    labels: Arc<[Arc<str>]>,
    vectors: LabelVectors,
}

/// What is scored in the frames of one source.
#[derive(Debug)]
pub(super) struct Watch {
    /// An empty list means the whole frame.
    regions: Vec<(Arc<str>, Region)>,
    /// The label sets, as indices.
    sets: Vec<usize>,
}

/// How a model turns similarities into scores.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scale {
    pub(super) logits: Logits,
    pub(super) activation: Activation,
}

impl Scale {
    pub(super) fn of(model: &Model) -> Self {
        Self { logits: model.logits(), activation: model.activation() }
    }

    /// The scores of a picture, from its vector.
    pub(super) fn scores(self, set: &LabelVectors, picture: &[f32]) -> Scores {
        set.scores(picture, self.logits, self.activation)
    }
}

impl Watchlist {
    /// The list of `sources`, for label sets and their vectors, in the same order.
    ///
    /// # Panics
    /// A source watches a label set that does not exist; a valid configuration has none such.
    pub(super) fn new(label_sets: &[LabelSet], vectors: Vec<LabelVectors>, sources: &[Source]) -> Self {
        let names = |set: &LabelSet| set.labels.iter().map(|label| label.name.as_str().into()).collect();
        let sets = label_sets.iter().zip(vectors);
        let sets = sets.map(|(set, vectors)| Set { labels: names(set), vectors }).collect::<Arc<[_]>>();
        Self { watches: HashMap::new(), sets }.on(sources)
    }

    /// A list of one source, whose whole frames are scored with one set of labels of these names.
    #[must_use]
    pub fn of_one(source: &str, labels: &[&str], vectors: LabelVectors) -> Self {
        let labels = labels.iter().map(|name| (*name).into()).collect();
        Self {
            sets: [Set { labels, vectors }].into(),
            watches: HashMap::from([(source.into(), Watch { regions: Vec::new(), sets: vec![0] }.into())]),
        }
    }

    /// An empty list.
    #[cfg(test)]
    pub(super) fn none() -> Self {
        Self { sets: [].into(), watches: HashMap::new() }
    }

    /// The same label sets for these sources.
    ///
    /// # Panics
    /// A source watches a label set that is not on the list; a valid configuration has none such.
    #[must_use]
    pub fn on(&self, sources: &[Source]) -> Self {
        let watch = |source: &Source| (source.name.as_str().into(), Watch::of(source, &self.sets).into());
        Self { watches: sources.iter().map(watch).collect(), sets: Arc::clone(&self.sets) }
    }

    /// This list with `source`, and without the source `gone`.
    ///
    /// # Panics
    /// The source watches a label set that is not on the list; a valid configuration has none such.
    #[must_use]
    pub fn with(&self, source: &Source, gone: Option<&str>) -> Self {
        let mut watches = self.watches.clone();
        if let Some(gone) = gone {
            watches.remove(gone);
        }
        watches.insert(source.name.as_str().into(), Watch::of(source, &self.sets).into());
        Self { watches, sets: Arc::clone(&self.sets) }
    }

    /// What is scored in the frames of this source; `None` if the source is not watched (any more).
    pub(super) fn watch(&self, source: &str) -> Option<&Watch> {
        self.watches.get(source).map(|watch| &**watch)
    }

    /// The scores of a frame, from the vectors of its parts.
    pub(super) fn scores(&self, watch: &Watch, scale: Scale, parts: &[Arc<[f32]>]) -> Vec<SetScores> {
        watch.sets.iter().map(|set| watch.scores(&self.sets[*set], scale, parts)).collect()
    }
}

impl Watch {
    fn of(source: &Source, sets: &[Set]) -> Self {
        let number = |name: &String| {
            sets.iter()
                .position(|set| *set.vectors.name == **name)
                .expect("a valid configuration lets a source watch only label sets that it has")
        };
        Self {
            regions: source
                .regions
                .iter()
                .map(|region| (region.name.as_str().into(), region.clone()))
                .collect(),
            sets: source.watch.iter().map(number).collect(),
        }
    }

    /// The number of parts of a picture that are scored.
    pub(super) fn count(&self) -> usize {
        self.regions.len().max(1)
    }

    /// The parts of a picture that are scored separately.
    pub(super) fn parts<'a>(&self, picture: &'a Picture) -> Vec<Cow<'a, Picture>> {
        parts(picture, self.regions.iter().map(|(_, region)| region))
    }

    fn scores(&self, set: &Set, scale: Scale, parts: &[Arc<[f32]>]) -> SetScores {
        let names =
            self.regions.iter().map(|(name, _)| Some(Arc::clone(name))).chain(std::iter::repeat(None));
        let region = |(region, vector): (_, &Arc<[f32]>)| {
            let scores = scale.scores(&set.vectors, vector);
            RegionScores { region, labels: scores.labels, background: scores.background }
        };
        SetScores {
            label_set: Arc::clone(&set.vectors.name),
            labels: Arc::clone(&set.labels),
            regions: names.zip(parts).map(region).collect(),
        }
    }
}

/// The regions of a picture, which are scored separately. Without regions, the whole picture.
pub fn parts<'a, 'r>(
    picture: &'a Picture,
    regions: impl IntoIterator<Item = &'r Region>,
) -> Vec<Cow<'a, Picture>> {
    let mut parts: Vec<_> = regions.into_iter().map(|region| Cow::Owned(cut(picture, region))).collect();
    if parts.is_empty() {
        parts.push(Cow::Borrowed(picture));
    }
    parts
}

/// The region of a picture, rounded to whole pixels.
fn cut(picture: &Picture, region: &Region) -> Picture {
    let pixel = |fraction: f64, size: u32| (fraction.clamp(0.0, 1.0) * f64::from(size)).round() as u32;
    let (left, right) = (pixel(region.x, picture.width), pixel(region.x + region.width, picture.width));
    let (top, bottom) = (pixel(region.y, picture.height), pixel(region.y + region.height, picture.height));
    picture.crop(left, top, right - left, bottom - top)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_is_cut_to_whole_pixels() {
        let picture = Picture::of_rgb(10, 4, (0..120).collect());
        let region = |x, y, width, height| Region { name: String::new(), x, y, width, height };
        let size = |region| {
            let part = cut(&picture, &region);
            (part.width, part.height, part.rgb()[0])
        };
        assert_eq!(size(region(0.0, 0.0, 1.0, 1.0)), (10, 4, 0));
        assert_eq!(size(region(0.5, 0.5, 0.5, 0.5)), (5, 2, 75));
        assert_eq!(size(region(0.9, 0.75, 0.1, 0.25)), (1, 1, 117));
        assert_eq!(size(region(0.999, 0.999, 0.001, 0.001)), (1, 1, 117), "never empty");
    }
}
