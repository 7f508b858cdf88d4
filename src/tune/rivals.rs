//! Finds labels that take scores from each other. Pure.

use crate::replay::Track;

/// Two labels of a set that the model hardly separates on some frames.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Rivals {
    /// The label with the higher score.
    pub first: String,
    /// The label with the lower score.
    pub second: String,
    /// The mean difference of their scores on these frames.
    pub difference: f64,
    /// The number of these frames.
    pub frames: usize,
}

/// Two labels share a frame if their scores add up to more than this...
const TOGETHER: f32 = 0.5;
/// ...and differ by less than this.
const CLOSE: f64 = 0.25;
/// Fewer shared frames are ignored.
const FEW: usize = 3;

/// The pairs among the labels of one set that share frames, most frames first. None if the scores do not add up to 1 (sigmoid):
/// such scores are independent.
pub(super) fn rivals(tracks: &[&Track]) -> Vec<Rivals> {
    let frames = tracks.iter().map(|track| track.points.len()).min().unwrap_or(0);
    let score = |track: usize, frame: usize| tracks[track].points[frame].score;
    let adds_up =
        (0..frames).all(|frame| (0..tracks.len()).map(|track| score(track, frame)).sum::<f32>() <= 1.01);
    if !adds_up {
        return vec![];
    }
    let mut rivals = vec![];
    for a in 0..tracks.len() {
        for b in a + 1..tracks.len() {
            let shared = (0..frames).filter(|frame| {
                let (a, b) = (score(a, *frame), score(b, *frame));
                a + b > TOGETHER && f64::from((a - b).abs()) < CLOSE
            });
            let (count, sum) = shared.fold((0, 0.0), |(count, sum), frame| {
                (count + 1, sum + f64::from(score(a, frame) - score(b, frame)))
            });
            if count >= FEW {
                let difference = sum / count as f64;
                let (first, second) = if difference < 0.0 { (b, a) } else { (a, b) };
                let name = |track: usize| tracks[track].label.clone();
                rivals.push(Rivals {
                    first: name(first),
                    second: name(second),
                    difference: difference.abs(),
                    frames: count,
                });
            }
        }
    }
    rivals.sort_by_key(|rivals| std::cmp::Reverse(rivals.frames));
    rivals
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::suggest::Point;

    fn track(label: &str, scores: &[f32]) -> Track {
        let mut track = Track::new("porch", label, None);
        let time = Timestamp::UNIX_EPOCH;
        track.points = scores.iter().map(|score| Point { time, score: *score }).collect();
        track
    }

    #[test]
    fn labels_that_share_frames_are_found_with_their_difference() {
        let doormat = track("doormat", &[0.44, 0.45, 0.46, 0.45, 0.1]);
        let parcel = track("parcel", &[0.48, 0.48, 0.48, 0.48, 0.1]);
        let person = track("person", &[0.01, 0.02, 0.0, 0.0, 0.7]);
        let [found] = &rivals(&[&doormat, &parcel, &person])[..] else { panic!("one pair") };
        assert_eq!((&*found.first, &*found.second, found.frames), ("parcel", "doormat", 4));
        assert!((found.difference - 0.03).abs() < 1e-6, "{found:?}");
    }

    #[test]
    fn independent_scores_have_no_rivals() {
        assert_eq!(rivals(&[&track("a", &[0.9; 5]), &track("b", &[0.9; 5])]), []);
        assert_eq!(rivals(&[]), []);
    }
}
