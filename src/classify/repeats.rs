//! Frames that show a picture which was scored before: in their turn they get its scores again.
//!
//! A picture is known by where it stands in memory: a source that sees the same thing still sends the same picture. What
//! was found in it for another watchlist is not used. It refuses to keep a picture alive, and to compare pixels.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
};

use super::{Scored, SetScores, watchlist::Watchlist};
use crate::{frame::Frame, picture::Picture};

/// What was found in the newest picture of each source.
#[derive(Default)]
pub(super) struct Repeats {
    watchlist: Weak<Watchlist>,
    known: HashMap<Arc<str>, Known>,
}

struct Known {
    picture: Weak<Picture>,
    sets: Vec<SetScores>,
    embeddings: Vec<Arc<[f32]>>,
}

/// A batch, taken apart.
pub(super) struct Batch {
    /// What is known already. It came before the other frames of its source.
    pub(super) known: Vec<Scored>,
    /// What the model has to look at.
    pub(super) fresh: Vec<Frame>,
    /// What shows the same as a fresh frame before it.
    pub(super) waiting: Vec<Frame>,
}

impl Repeats {
    /// Takes a batch apart that is to be scored for `watchlist`.
    pub(super) fn part(&mut self, frames: Vec<Frame>, watchlist: &Arc<Watchlist>) -> Batch {
        if !std::ptr::eq(self.watchlist.as_ptr(), Arc::as_ptr(watchlist)) {
            self.known.clear();
            self.watchlist = Arc::downgrade(watchlist);
        }
        let mut batch = Batch { known: vec![], fresh: vec![], waiting: vec![] };
        for frame in frames {
            let newest = batch.fresh.iter().rfind(|fresh| fresh.source == frame.source);
            match (newest, self.known.get(&frame.source)) {
                (Some(newest), _) if Arc::ptr_eq(&newest.picture, &frame.picture) => {
                    batch.waiting.push(frame);
                }
                (None, Some(known)) if std::ptr::eq(known.picture.as_ptr(), Arc::as_ptr(&frame.picture)) => {
                    let (sets, embeddings) = (known.sets.clone(), known.embeddings.clone());
                    batch.known.push(Scored { frame, sets, embeddings });
                }
                _ => batch.fresh.push(frame),
            }
        }
        batch
    }

    /// Puts together what `waiting` and the fresh frames of it come to, each frame behind the one that it repeats. What is
    /// left over repeats a frame that could not be scored.
    pub(super) fn join(
        &mut self,
        answers: Vec<Scored>,
        mut waiting: Vec<Frame>,
    ) -> (Vec<Scored>, Vec<Frame>) {
        let mut joined = Vec::with_capacity(answers.len() + waiting.len());
        for answer in answers {
            let (source, picture) = (Arc::clone(&answer.frame.source), Arc::clone(&answer.frame.picture));
            let (sets, embeddings) = (answer.sets.clone(), answer.embeddings.clone());
            joined.push(answer);
            let same = |frame: &mut Frame| frame.source == source && Arc::ptr_eq(&frame.picture, &picture);
            let repeated = waiting.extract_if(.., same);
            joined.extend(repeated.map(|frame| Scored {
                frame,
                sets: sets.clone(),
                embeddings: embeddings.clone(),
            }));
            self.known.insert(source, Known { picture: Arc::downgrade(&picture), sets, embeddings });
        }
        (joined, waiting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Slot;

    /// Two sources, `a` and `b`; the origin tells the frames apart.
    fn frame(name: &str, picture: &Arc<Picture>) -> Frame {
        Frame {
            source: name[..1].into(),
            origin: name.to_owned(),
            captured_at: jiff::Timestamp::UNIX_EPOCH,
            picture: Arc::clone(picture),
            slot: Slot::free(),
        }
    }

    fn picture() -> Arc<Picture> {
        Arc::new(Picture::of_rgb(1, 1, vec![0; 3]))
    }

    /// What the model says is the origin of the frame that it looked at.
    fn look(frames: Vec<Frame>) -> Vec<Scored> {
        let sets = |frame: &Frame| SetScores {
            label_set: frame.origin.as_str().into(),
            labels: [].into(),
            regions: vec![],
        };
        frames
            .into_iter()
            .filter(|frame| !frame.origin.contains("bad"))
            .map(|frame| Scored { sets: vec![sets(&frame)], embeddings: vec![], frame })
            .collect()
    }

    #[test]
    fn a_picture_that_was_scored_is_not_looked_at_again() {
        let [one, two, other, bad] = [picture(), picture(), picture(), picture()];
        let (first, second) = (Arc::new(Watchlist::none()), Arc::new(Watchlist::none()));
        let mut repeats = Repeats::default();
        let mut pass = |watchlist: &Arc<Watchlist>, frames: Vec<Frame>| {
            let Batch { known, fresh, waiting } = repeats.part(frames, watchlist);
            let (joined, lost) = repeats.join(look(fresh), waiting);
            let told = known.iter().chain(&joined);
            let told = told.map(|scored| format!("{}={}", scored.frame.origin, scored.sets[0].label_set));
            (told.collect::<Vec<_>>().join(" "), lost.len())
        };
        let told = pass(&first, vec![frame("a1", &one), frame("b1", &other), frame("a2", &one)]);
        assert_eq!(told, ("a1=a1 a2=a1 b1=b1".to_owned(), 0));
        let told =
            pass(&first, vec![frame("a3", &one), frame("a4", &two), frame("a5", &two), frame("b2", &other)]);
        assert_eq!(told, ("a3=a1 b2=b1 a4=a4 a5=a4".to_owned(), 0));
        let told = pass(&first, vec![frame("a6", &one), frame("b3", &one)]);
        assert_eq!(told, ("a6=a6 b3=b3".to_owned(), 0), "not the newest, or of another source");
        let told = pass(&second, vec![frame("a7", &one)]);
        assert_eq!(told, ("a7=a7".to_owned(), 0), "other labels are looked for");
        let told = pass(&second, vec![frame("a-bad", &bad), frame("a-too", &bad)]);
        assert_eq!(told, (String::new(), 1), "what could not be scored cannot be repeated");
        let told = pass(&second, vec![frame("a8", &bad)]);
        assert_eq!(told.0, "a8=a8", "and is tried again");
    }
}
