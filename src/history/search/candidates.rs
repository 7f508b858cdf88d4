//! The best vectors of the first pass: the best of each moment, and of these a limited number. Pure.

use crate::history::vectors::{codec::Span, tables::chunk_of};

/// The length of a moment in milliseconds. The frames of one view within it are one candidate: otherwise a single event with thousands
/// of frames would be all candidates.
const MOMENT: i64 = 4_000;
/// Frames that follow each other and look alike are one candidate for at most this time, in milliseconds.
const SCENE: i64 = 120_000;

/// A moment of the first pass, or several that look alike: the vectors of a chunk that follow each other.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate {
    /// The rows of its first and last vector.
    pub rows: (i64, i64),
    /// The row of the vector with the highest estimate.
    pub best: i64,
    /// The index of its view.
    pub view: usize,
    /// When its pictures were seen.
    pub span: Span,
    /// The estimated lift of its best vector.
    pub lift: f32,
    /// The standard deviation of the estimate's error.
    pub error: f32,
}

/// The best candidates.
#[derive(Debug)]
pub struct Candidates {
    most: usize,
    kept: Vec<Candidate>,
    /// Candidates below this lift cannot be among the best any more.
    least: f32,
    current: Option<Current>,
    moments: u64,
    vectors: u64,
}

/// The candidate that vectors are added to.
#[derive(Debug)]
struct Current {
    candidate: Candidate,
    /// The number of the moment of its newest vector.
    moment: i64,
}

impl Candidates {
    /// Keeps at least the `most` best candidates, and at most twice as many while it works.
    #[must_use]
    pub fn new(most: usize) -> Self {
        let most = most.max(1);
        Self { most, kept: Vec::new(), least: f32::NEG_INFINITY, current: None, moments: 0, vectors: 0 }
    }

    /// Adds a vector, as a candidate with a single row. `is_alike`: it is nearly the vector before it. Those of a view are added in the
    /// order of rows; another order only costs memory. Estimates that are not a number are ignored.
    pub fn push(&mut self, vector: Candidate, is_alike: bool) {
        if vector.lift.is_nan() {
            return;
        }
        self.vectors += 1;
        let moment = vector.span.first.div_euclid(MOMENT);
        let place = |it: &Candidate| (it.view, chunk_of(it.rows.0));
        let current = self.current.as_mut().filter(|current| place(&current.candidate) == place(&vector));
        let same_moment = current.as_ref().is_some_and(|current| current.moment == moment);
        if !same_moment {
            self.moments += 1;
        }
        match current {
            Some(current) if same_moment || is_alike && current.candidate.is_begun(vector.span.first) => {
                current.moment = moment;
                current.candidate.add(&vector);
            }
            _ => {
                let ended = self.current.replace(Current { candidate: vector, moment });
                self.keep(ended);
            }
        }
    }

    fn keep(&mut self, ended: Option<Current>) {
        let ended = ended.map(|current| current.candidate);
        let Some(ended) = ended.filter(|ended| ended.lift > self.least) else { return };
        self.kept.push(ended);
        if self.kept.len() >= 2 * self.most {
            self.cut();
        }
    }

    fn cut(&mut self) {
        if self.kept.len() > self.most {
            let (_, last, _) = self.kept.select_nth_unstable_by(self.most - 1, by_lift);
            self.least = last.lift;
            self.kept.truncate(self.most);
        }
    }

    /// The number of moments that were added.
    #[must_use]
    pub fn moments(&self) -> u64 {
        self.moments
    }

    /// The number of vectors that were added.
    #[must_use]
    pub fn vectors(&self) -> u64 {
        self.vectors
    }

    /// The best candidates, best first.
    #[must_use]
    pub fn best(mut self) -> Vec<Candidate> {
        let last = self.current.take();
        self.keep(last);
        self.cut();
        self.kept.sort_unstable_by(by_lift);
        self.kept
    }
}

impl Candidate {
    /// Whether a picture of this time may belong to the same scene.
    fn is_begun(&self, time: i64) -> bool {
        (0..SCENE).contains(&time.saturating_sub(self.span.first))
    }

    fn add(&mut self, vector: &Self) {
        self.rows.1 = vector.rows.1;
        self.span.last = self.span.last.max(vector.span.last);
        if vector.lift > self.lift {
            (self.best, self.lift, self.error) = (vector.best, vector.lift, vector.error);
        }
    }
}

/// Highest lift first. Equal ones are in the order of their rows, so that the result never depends on chance.
fn by_lift(a: &Candidate, b: &Candidate) -> std::cmp::Ordering {
    b.lift.total_cmp(&a.lift).then(a.rows.cmp(&b.rows))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn candidate(id: i64, view: usize, time: i64, lift: f32) -> Candidate {
        Candidate { rows: (id, id), best: id, view, span: Span::at(time), lift, error: 0.1 }
    }

    #[test]
    fn a_moment_has_one_candidate() {
        let mut candidates = Candidates::new(10);
        let frames = [(0, 1.0), (1_000, 3.0), (3_999, 2.0), (4_000, 0.5), (-1, f32::NAN), (5_000, 0.25)];
        for (id, (time, lift)) in (0_i64..).zip(frames) {
            candidates.push(candidate(id, 0, time, lift), false);
        }
        candidates.push(candidate(9, 1, 5_000, 0.125), false);
        // The same time in the next chunk.
        candidates.push(candidate(5_000, 1, 5_000, 0.0), true);
        assert_eq!((candidates.moments(), candidates.vectors()), (4, 7));
        let best: Vec<_> = candidates.best().iter().map(|it| (it.rows, it.lift)).collect();
        assert_eq!(best, [((0, 2), 3.0), ((3, 5), 0.5), ((9, 9), 0.125), ((5_000, 5_000), 0.0)]);
    }

    #[test]
    fn moments_that_look_alike_are_one_candidate() {
        let mut candidates = Candidates::new(10);
        let frames = [
            (0, 1.0, true),
            (10_000, 4.0, true),
            (20_000, 2.0, true),
            // Another scene, of one moment.
            (30_000, 9.0, false),
            (31_000, 8.0, false),
            (40_000, 3.0, true),
            // Too long for one candidate, and a time that goes back.
            (150_000, 5.0, true),
            (140_000, 6.0, true),
        ];
        for (id, (time, lift, is_alike)) in (0_i64..).zip(frames) {
            candidates.push(candidate(id, 0, time, lift), is_alike);
        }
        assert_eq!((candidates.moments(), candidates.vectors()), (7, 8));
        let best = candidates.best();
        let best: Vec<_> =
            best.iter().map(|it| (it.rows, it.best, it.span.first / 1000, it.span.last / 1000)).collect();
        assert_eq!(
            best,
            [((3, 5), 3, 30, 40), ((7, 7), 7, 140, 140), ((6, 6), 6, 150, 150), ((0, 2), 1, 0, 20)]
        );
    }

    proptest! {
        #[test]
        fn the_best_moments_are_kept(lifts in prop::collection::vec(-100_i16..100, 0..200), most in 1_usize..20) {
            let mut candidates = Candidates::new(most);
            for (id, lift) in (0_i64..).zip(&lifts) {
                candidates.push(candidate(id, 0, id * MOMENT, f32::from(*lift)), false);
            }
            let found: Vec<_> = candidates.best().iter().map(|it| it.lift).collect();
            let mut expected: Vec<_> = lifts.iter().map(|lift| f32::from(*lift)).collect();
            expected.sort_by(|a, b| b.total_cmp(a));
            expected.truncate(most);
            prop_assert_eq!(found, expected);
        }
    }
}
