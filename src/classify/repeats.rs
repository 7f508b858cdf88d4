//! Gives a frame that shows the same picture as the frame before it the scores of that frame.
//!
//! A picture is identified by its allocation: a source whose view does not change sends the same picture again. Scores are
//! used only for the watchlist that they were computed for. Pictures are not kept alive, and pixels are not compared.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
};

use super::{Scored, SetScores, prepare::PreparedFrame, watchlist::Watchlist};
use crate::{frame::Frame, picture::Picture};

/// The scores of the newest picture of each source.
#[derive(Default)]
pub(super) struct Repeats {
    watchlist: Weak<Watchlist>,
    newest: HashMap<Arc<str>, ScoredPicture>,
}

#[derive(Clone)]
struct ScoredPicture {
    picture: Weak<Picture>,
    sets: Vec<SetScores>,
    embeddings: Vec<Arc<[f32]>>,
}

impl ScoredPicture {
    fn of(scored: &Scored) -> Self {
        let picture = Arc::downgrade(&scored.frame.picture);
        Self { picture, sets: scored.sets.clone(), embeddings: scored.embeddings.clone() }
    }

    fn shows(&self, frame: &Frame) -> bool {
        std::ptr::eq(self.picture.as_ptr(), Arc::as_ptr(&frame.picture))
    }

    fn repeated(&self, frame: Frame) -> Scored {
        Scored { frame, sets: self.sets.clone(), embeddings: self.embeddings.clone() }
    }
}

/// A batch, split by what must be scored.
pub(super) struct Batch {
    /// Frames whose scores are known from an earlier batch. They came before the other frames of their source.
    pub(super) known: Vec<Scored>,
    /// Frames that the model must score.
    pub(super) fresh: Vec<PreparedFrame>,
    /// Frames with the picture of a fresh frame before them.
    pub(super) waiting: Vec<Frame>,
}

impl Repeats {
    /// Splits a batch that is to be scored for `watchlist`.
    pub(super) fn split(&mut self, frames: Vec<PreparedFrame>, watchlist: &Arc<Watchlist>) -> Batch {
        if !std::ptr::eq(self.watchlist.as_ptr(), Arc::as_ptr(watchlist)) {
            self.newest.clear();
            self.watchlist = Arc::downgrade(watchlist);
        }
        let mut batch = Batch { known: vec![], fresh: vec![], waiting: vec![] };
        for prepared in frames {
            let frame = &prepared.frame;
            let newest = batch.fresh.iter().map(|fresh| &fresh.frame).rfind(|it| it.source == frame.source);
            match (newest, self.newest.get(&frame.source)) {
                (Some(newest), _) if Arc::ptr_eq(&newest.picture, &frame.picture) => {
                    batch.waiting.push(prepared.frame);
                }
                (None, Some(known)) if known.shows(frame) => batch.known.push(known.repeated(prepared.frame)),
                _ => batch.fresh.push(prepared),
            }
        }
        batch
    }

    /// Joins the scored frames with those that wait for them, each after the frame that it repeats. The second part of the
    /// result is the frames that repeat a frame that could not be scored.
    pub(super) fn join(
        &mut self,
        answers: Vec<Scored>,
        mut waiting: Vec<Frame>,
    ) -> (Vec<Scored>, Vec<Frame>) {
        let mut joined = Vec::with_capacity(answers.len() + waiting.len());
        for answer in answers {
            let (source, scored) = (Arc::clone(&answer.frame.source), ScoredPicture::of(&answer));
            joined.push(answer);
            let repeated = waiting.extract_if(.., |frame| frame.source == source && scored.shows(frame));
            joined.extend(repeated.map(|frame| scored.repeated(frame)));
            self.newest.insert(source, scored);
        }
        (joined, waiting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{frame::Slot, picture::mask::Masked};

    /// A frame of the source `a` or `b`; the origin identifies it.
    fn frame(name: &str, picture: &Masked) -> PreparedFrame {
        PreparedFrame::unprepared(Frame {
            source: name[..1].into(),
            origin: name.to_owned(),
            captured_at: jiff::Timestamp::UNIX_EPOCH,
            picture: picture.clone(),
            slot: Slot::free(),
        })
    }

    fn picture() -> Masked {
        Picture::of_rgb(1, 1, vec![0; 3]).into()
    }

    /// Scores each frame with its own origin; those with `bad` in it fail.
    fn score(frames: Vec<PreparedFrame>) -> Vec<Scored> {
        let sets = |frame: &Frame| SetScores {
            label_set: frame.origin.as_str().into(),
            labels: [].into(),
            regions: vec![],
        };
        frames
            .into_iter()
            .map(|prepared| prepared.frame)
            .filter(|frame| !frame.origin.contains("bad"))
            .map(|frame| Scored { sets: vec![sets(&frame)], embeddings: vec![], frame })
            .collect()
    }

    #[test]
    fn a_picture_is_scored_once() {
        let [one, two, other, bad] = [picture(), picture(), picture(), picture()];
        let (first, second) = (Arc::new(Watchlist::none()), Arc::new(Watchlist::none()));
        let mut repeats = Repeats::default();
        let mut pass = |watchlist: &Arc<Watchlist>, frames: Vec<PreparedFrame>| {
            let Batch { known, fresh, waiting } = repeats.split(frames, watchlist);
            let (joined, lost) = repeats.join(score(fresh), waiting);
            let all = known.iter().chain(&joined);
            let all = all.map(|scored| format!("{}={}", scored.frame.origin, scored.sets[0].label_set));
            (all.collect::<Vec<_>>().join(" "), lost.len())
        };
        let found = pass(&first, vec![frame("a1", &one), frame("b1", &other), frame("a2", &one)]);
        assert_eq!(found, ("a1=a1 a2=a1 b1=b1".to_owned(), 0));
        let found =
            pass(&first, vec![frame("a3", &one), frame("a4", &two), frame("a5", &two), frame("b2", &other)]);
        assert_eq!(found, ("a3=a1 b2=b1 a4=a4 a5=a4".to_owned(), 0));
        let found = pass(&first, vec![frame("a6", &one), frame("b3", &one)]);
        assert_eq!(found, ("a6=a6 b3=b3".to_owned(), 0), "not the newest picture, or of another source");
        let found = pass(&second, vec![frame("a7", &one)]);
        assert_eq!(found, ("a7=a7".to_owned(), 0), "another watchlist");
        let found = pass(&second, vec![frame("a-bad", &bad), frame("a-too", &bad)]);
        assert_eq!(found, (String::new(), 1), "the scores of a failed frame cannot be repeated");
        let found = pass(&second, vec![frame("a8", &bad)]);
        assert_eq!(found.0, "a8=a8", "its picture is tried again");
    }
}
