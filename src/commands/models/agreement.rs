//! How much two runs over the same pictures differ. Pure.

use crate::classify::score::Scores;

/// A model's answer for one picture.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct PictureAnswer {
    /// The picture's vector, of length 1.
    pub vector: Vec<f32>,
    /// The scores of each label set.
    pub scores: Vec<Scores>,
}

/// The result of the comparison.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Agreement {
    /// Pictures that both runs scored.
    pub pictures: usize,
    pub median_cosine: f32,
    pub least_cosine: f32,
    /// The number of the picture with the least cosine.
    pub least_cosine_at: usize,
    /// Pictures on which both runs find the same best label (or the background) in every label set.
    pub same_best: usize,
    /// The largest difference of two scores.
    pub difference: Difference,
}

/// The two scores of one label on one picture.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Difference {
    pub picture: usize,
    pub set: usize,
    pub label: usize,
    pub against: f32,
    pub tried: f32,
}

impl Difference {
    pub(super) fn size(&self) -> f32 {
        (self.against - self.tried).abs()
    }
}

impl Agreement {
    /// Compares two runs over the same pictures in the same order; `None` if both scored none of them.
    pub(super) fn between(
        against: &[Option<PictureAnswer>],
        tried: &[Option<PictureAnswer>],
    ) -> Option<Self> {
        let both = against.iter().zip(tried).enumerate();
        let both: Vec<_> =
            both.filter_map(|(number, (a, b))| Some((number, a.as_ref()?, b.as_ref()?))).collect();
        let mut cosines: Vec<_> =
            both.iter().map(|(number, a, b)| (cosine(&a.vector, &b.vector), *number)).collect();
        cosines.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (least_cosine, least_cosine_at) = *cosines.first()?;
        let differences = both.iter().flat_map(|(number, a, b)| differences(*number, a, b));
        let same = |(_, a, b): &&(usize, &PictureAnswer, &PictureAnswer)| {
            a.scores.iter().zip(&b.scores).all(|(a, b)| best(a) == best(b))
        };
        Some(Self {
            pictures: both.len(),
            // Of an even number of pictures the lower one, so that the median is never too good.
            median_cosine: cosines[(cosines.len() - 1) / 2].0,
            least_cosine,
            least_cosine_at,
            same_best: both.iter().filter(same).count(),
            difference: differences.max_by(|a, b| a.size().total_cmp(&b.size())).unwrap_or_default(),
        })
    }

    /// The share of pictures on which both runs find the same best label.
    pub(super) fn same_share(&self) -> f32 {
        self.same_best as f32 / self.pictures as f32
    }
}

fn differences<'a>(
    picture: usize,
    against: &'a PictureAnswer,
    tried: &'a PictureAnswer,
) -> impl Iterator<Item = Difference> + 'a {
    against.scores.iter().zip(&tried.scores).enumerate().flat_map(move |(set, (a, b))| {
        let labels = a.labels.iter().zip(&b.labels).enumerate();
        labels.map(move |(label, (against, tried))| Difference {
            picture,
            set,
            label,
            against: *against,
            tried: *tried,
        })
    })
}

/// The number of the best label; the background's number follows those of the labels.
fn best(scores: &Scores) -> Option<usize> {
    let all = scores.labels.iter().chain(&scores.background).enumerate();
    all.max_by(|a, b| a.1.total_cmp(b.1)).map(|(number, _)| number)
}

/// The cosine of two vectors of length 1.
fn cosine(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>().clamp(-1.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(vector: [f32; 2], labels: &[f32], background: Option<f32>) -> Option<PictureAnswer> {
        Some(PictureAnswer {
            vector: vector.to_vec(),
            scores: vec![Scores { labels: labels.to_vec(), background }],
        })
    }

    #[test]
    fn pictures_that_both_scored_are_compared() {
        let against = [
            answer([1.0, 0.0], &[0.9, 0.1], None),
            answer([0.0, 1.0], &[0.4, 0.6], None),
            None,
            answer([1.0, 0.0], &[0.2, 0.1], Some(0.7)),
            answer([1.0, 0.0], &[0.5, 0.1], None),
        ];
        let tried = [
            answer([1.0, 0.0], &[0.8, 0.2], None),
            answer([0.6, 0.8], &[0.55, 0.5], None), // a different best label
            answer([1.0, 0.0], &[0.0, 0.0], None),  // the reference could not score it
            answer([0.8, 0.6], &[0.3, 0.1], Some(0.6)),
            None,
        ];
        let agreement = Agreement::between(&against, &tried).unwrap();
        assert_eq!((agreement.pictures, agreement.same_best), (3, 2));
        assert!((agreement.same_share() - 2.0 / 3.0).abs() < 1e-6);
        assert_eq!((agreement.least_cosine, agreement.median_cosine), (0.8, 0.8));
        let Difference { picture, set, label, against, tried } = agreement.difference;
        assert_eq!((picture, set, label, against, tried), (1, 0, 0, 0.4, 0.55));
        assert!((agreement.difference.size() - 0.15).abs() < 1e-6);
    }

    #[test]
    fn the_background_can_be_best() {
        let [against, tried] = [Some(0.7), Some(0.2)].map(|back| [answer([1.0, 0.0], &[0.3, 0.1], back)]);
        assert_eq!(Agreement::between(&against, &tried).unwrap().same_best, 0);
        assert_eq!(Agreement::between(&[None], &against), None, "nothing to compare");
    }
}
