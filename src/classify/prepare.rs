//! Prepares the pictures of frames for the model, on a thread of its own, while the model runs on the frames before them. It also prepares
//! the pictures that people search by: while frames wait, at most one such picture between two frames.
//!
//! Frames keep their order. Values that were prepared for another watchlist than the one in force at the frame's turn are
//! not used.

use std::{
    collections::HashMap,
    io,
    sync::{Arc, Weak},
};

use tokio::{
    runtime,
    sync::{mpsc::Receiver, watch},
};

use super::{
    pictures::PictureRequest, progress::Progress, vector_request::VectorRequest, watchlist::Watchlist,
};
use crate::{frame::Frame, model::preprocess::Preprocessor, picture::Picture, prefetch::Prefetch};

/// A frame with the numbers that the model needs of its parts.
pub(super) struct PreparedFrame {
    pub(super) frame: Frame,
    /// The list that the parts were prepared for, and the numbers of all parts, one after the other.
    prepared: Option<(Weak<Watchlist>, Vec<f32>)>,
}

/// What the model does next.
pub(super) enum Prepared {
    /// It scores a frame.
    Frame(PreparedFrame),
    /// It encodes a picture that someone searches by.
    Picture(VectorRequest),
}

/// What is prepared for the model.
pub(super) struct Work {
    /// The frames. The thread ends when they are closed.
    frames: Receiver<Frame>,
    /// The pictures that people search by, if the service runs.
    pictures: Option<Receiver<PictureRequest>>,
    /// Whether the newest item was a picture.
    after_picture: bool,
}

/// Starts the thread. At most `ready` prepared frames and pictures wait for the model.
///
/// # Errors
/// The operating system has no thread left.
pub(super) fn spawn(
    preprocessor: Preprocessor,
    watchlist: watch::Receiver<Arc<Watchlist>>,
    mut work: Work,
    ready: usize,
    progress: Arc<Progress>,
) -> io::Result<Prefetch<Prepared>> {
    let mut newest = HashMap::new();
    let runtime = runtime::Builder::new_current_thread().build()?;
    let maker = std::iter::from_fn(move || {
        let next = runtime.block_on(work.next())?;
        let prepared = {
            let _at_work = progress.prepare.work();
            match next {
                Next::Frame(frame) => {
                    let prepared = prepare(&preprocessor, &watchlist, &frame, &mut newest);
                    Prepared::Frame(PreparedFrame { frame, prepared })
                }
                Next::Picture(request) => Prepared::Picture(request.prepare(&preprocessor)),
            }
        };
        progress.pulse.queued();
        Some(prepared)
    });
    Prefetch::spawn("prepare", [maker], ready)
}

enum Next {
    Frame(Frame),
    Picture(PictureRequest),
}

impl Work {
    pub(super) fn new(frames: Receiver<Frame>, pictures: Option<Receiver<PictureRequest>>) -> Self {
        Self { frames, pictures, after_picture: false }
    }

    /// Waits for the next picture or frame. If both wait, they take turns, so neither can keep the other one waiting. `None`: the frames
    /// have ended.
    async fn next(&mut self) -> Option<Next> {
        let Self { frames, pictures, after_picture } = self;
        let frame = async { frames.recv().await.map(Next::Frame) };
        let picture = async { pictures.as_mut()?.recv().await.map(Next::Picture) };
        let next = match after_picture {
            false => tokio::select! {
                biased;
                Some(picture) = picture => Some(picture),
                frame = frame => frame,
            },
            true => tokio::select! {
                biased;
                frame = frame => frame,
                Some(picture) = picture => Some(picture),
            },
        };
        *after_picture = matches!(next, Some(Next::Picture(_)));
        next
    }
}

impl PreparedFrame {
    /// Appends the numbers of the frame's parts for this watchlist.
    pub(super) fn append_to(
        &self,
        values: &mut Vec<f32>,
        watchlist: &Arc<Watchlist>,
        preprocessor: &Preprocessor,
    ) {
        match self.for_list(watchlist) {
            Some(prepared) => values.extend_from_slice(prepared),
            // Rare: the watchlist is newer than the prepared numbers.
            None => append_parts(watchlist, &self.frame, preprocessor, values),
        }
    }

    fn for_list(&self, watchlist: &Arc<Watchlist>) -> Option<&[f32]> {
        let (list, values) = self.prepared.as_ref()?;
        std::ptr::eq(list.as_ptr(), Arc::as_ptr(watchlist)).then_some(values)
    }
}

/// Prepares nothing for a frame that will not be scored: its source is not watched, or it repeats the picture before it.
fn prepare(
    preprocessor: &Preprocessor,
    watchlist: &watch::Receiver<Arc<Watchlist>>,
    frame: &Frame,
    newest: &mut HashMap<Arc<str>, Weak<Picture>>,
) -> Option<(Weak<Watchlist>, Vec<f32>)> {
    let watchlist = Arc::clone(&watchlist.borrow());
    watchlist.watch(&frame.source)?;
    let before = newest.insert(Arc::clone(&frame.source), Arc::downgrade(&frame.picture));
    if before.is_some_and(|before| std::ptr::eq(before.as_ptr(), Arc::as_ptr(&frame.picture))) {
        return None;
    }
    let mut values = Vec::new();
    append_parts(&watchlist, frame, preprocessor, &mut values);
    Some((Arc::downgrade(&watchlist), values))
}

fn append_parts(watchlist: &Watchlist, frame: &Frame, preprocessor: &Preprocessor, values: &mut Vec<f32>) {
    let parts = watchlist.watch(&frame.source).map(|watch| watch.parts(&frame.picture)).unwrap_or_default();
    values.reserve(preprocessor.tensor_len() * parts.len());
    parts.iter().for_each(|part| preprocessor.append(part, values));
}

#[cfg(test)]
impl PreparedFrame {
    /// A frame without prepared parts.
    pub(super) fn unprepared(frame: Frame) -> Self {
        Self { frame, prepared: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        classify::labels::LabelVectors, frame::Slot, model::preprocess::Backend, picture::mask::Masked,
        policy::Scoring,
    };

    fn list() -> Arc<Watchlist> {
        let scoring = Scoring::Auto;
        let vectors = LabelVectors { name: "set".into(), labels: vec![], background: vec![], scoring };
        Arc::new(Watchlist::of_one("a", &[], vectors))
    }

    #[test]
    fn pictures_and_frames_take_turns_while_both_wait() {
        let runtime = runtime::Builder::new_current_thread().build().unwrap();
        for (frames, pictures, frames_ended, expected) in [
            (3, 3, false, "PFPFPF"),
            (2, 4, false, "PFPFPP"),
            (3, 1, false, "PFFF"),
            (3, 0, true, "FFF"),
            // The end comes in its turn, too, however many pictures wait.
            (2, 4, true, "PFPFP"),
            (0, 4, true, "P"),
        ] {
            let (to_score, received_frames) = tokio::sync::mpsc::channel(4);
            let (to_encode, received_pictures) = tokio::sync::mpsc::channel(4);
            let picture = Arc::new(Picture::of_rgb(1, 1, vec![0; 3]));
            for _ in 0..frames {
                let frame = Frame {
                    source: "a".into(),
                    origin: "a test".to_owned(),
                    captured_at: jiff::Timestamp::UNIX_EPOCH,
                    picture: Masked::from(Picture::of_rgb(1, 1, vec![0; 3])),
                    slot: Slot::free(),
                };
                to_score.try_send(frame).unwrap();
            }
            for _ in 0..pictures {
                let (reply, _) = tokio::sync::oneshot::channel();
                to_encode.try_send(PictureRequest::new(Arc::clone(&picture), reply)).unwrap();
            }
            let still_open = (!frames_ended).then_some(to_score);
            let mut work = Work::new(received_frames, Some(received_pictures));
            let mut next = || {
                runtime.block_on(work.next()).map(|next| match next {
                    Next::Frame(_) => 'F',
                    Next::Picture(_) => 'P',
                })
            };
            let order: String = (0..expected.len()).map_while(|_| next()).collect();
            assert_eq!(order, expected, "{frames} frames, {pictures} pictures, ended: {frames_ended}");
            assert!(still_open.is_some() || next().is_none(), "{frames} frames, {pictures} pictures");
        }
    }

    #[test]
    fn pictures_are_prepared_for_the_watchlist_in_force() {
        let settings = br#"{"size": {"height": 2, "width": 2}, "do_normalize": false, "do_rescale": false}"#;
        let preprocessor = Preprocessor::from_json(settings, Backend::Torchvision).unwrap();
        let picture = |grey| Masked::from(Picture::of_rgb(1, 1, vec![grey; 3]));
        let [one, two] = [picture(1), picture(2)];
        let frames = [("a", &one), ("a", &one), ("b", &one), ("a", &two), ("a", &one)];
        let (first, second) = (list(), list());
        let (_keep, to_look_for) = watch::channel(Arc::clone(&first));
        let (sender, receiver) = tokio::sync::mpsc::channel(frames.len());
        for (number, (source, picture)) in frames.into_iter().enumerate() {
            let frame = Frame {
                source: source.into(),
                origin: number.to_string(),
                captured_at: jiff::Timestamp::UNIX_EPOCH,
                picture: picture.clone(),
                slot: Slot::free(),
            };
            sender.blocking_send(frame).unwrap();
        }
        drop(sender);
        let work = Work::new(receiver, None);
        let mut ready = spawn(preprocessor, to_look_for, work, 2, Arc::default()).unwrap();
        let mut next = |list| {
            let Prepared::Frame(prepared) = ready.wait()? else { panic!("there is no picture") };
            Some((prepared.frame.origin.clone(), prepared.for_list(list).map(<[f32]>::to_vec)))
        };
        let values = |grey: f32| Some(vec![grey; 12]);
        assert_eq!(next(&first), Some(("0".to_owned(), values(1.0))));
        assert_eq!(next(&first), Some(("1".to_owned(), None)), "it repeats the picture before it");
        assert_eq!(next(&first), Some(("2".to_owned(), None)), "its source is not watched");
        assert_eq!(next(&first), Some(("3".to_owned(), values(2.0))));
        assert_eq!(next(&second), Some(("4".to_owned(), None)), "another list is in force now");
        assert_eq!(next(&first), None);
        ready.join();
    }
}
