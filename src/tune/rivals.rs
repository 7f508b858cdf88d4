//! Labels that take scores from each other. Pure.

use crate::plot::Track;

/// Labels of one set that the model can hardly tell apart on some frames.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Rivals {
    /// The label that has a little more.
    pub first: String,
    /// The other.
    pub second: String,
    /// How far they are apart on the average of these frames.
    pub difference: f64,
    /// On how many frames.
    pub frames: usize,
}

/// Two labels share a frame if together they have more than this of it...
const TOGETHER: f32 = 0.5;
/// ...and neither has much more than the other.
const CLOSE: f64 = 0.25;
/// Fewer frames are no habit.
const FEW: usize = 3;

/// Pairs among the labels of one set, those first that share most frames. Scores that do not share out 1 (sigmoid) take nothing
/// from each other.
pub(crate) fn rivals(tracks: &[&Track]) -> Vec<Rivals> {
    let frames = tracks.iter().map(|track| track.points.len()).min().unwrap_or(0);
    let score = |track: usize, frame: usize| tracks[track].points[frame].score;
    let shares =
        (0..frames).all(|frame| (0..tracks.len()).map(|track| score(track, frame)).sum::<f32>() <= 1.01);
    if !shares {
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
    use crate::plot::Point;

    fn track(label: &str, scores: &[f32]) -> Track {
        let mut track = Track::new("porch", label, None);
        let time = Timestamp::UNIX_EPOCH;
        track.points = scores.iter().map(|score| Point { time, score: *score }).collect();
        track
    }

    #[test]
    fn labels_that_share_frames_are_named_with_their_difference() {
        let doormat = track("doormat", &[0.44, 0.45, 0.46, 0.45, 0.1]);
        let parcel = track("parcel", &[0.48, 0.48, 0.48, 0.48, 0.1]);
        let person = track("person", &[0.01, 0.02, 0.0, 0.0, 0.7]);
        let [found] = &rivals(&[&doormat, &parcel, &person])[..] else { panic!("one pair") };
        assert_eq!((&*found.first, &*found.second, found.frames), ("parcel", "doormat", 4));
        assert!((found.difference - 0.03).abs() < 1e-6, "{found:?}");
    }

    #[test]
    fn independent_scores_take_nothing_from_each_other() {
        assert_eq!(rivals(&[&track("a", &[0.9; 5]), &track("b", &[0.9; 5])]), []);
        assert_eq!(rivals(&[]), []);
    }
}
