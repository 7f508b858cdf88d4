//! Prepares the pictures of frames for the model, on a thread of its own, while the model runs on the frames before them.
//!
//! Frames keep their order. Values that were prepared for another watchlist than the one in force at the frame's turn are
//! not used.

use std::{
    collections::HashMap,
    io,
    sync::{Arc, Weak},
};

use tokio::sync::{mpsc::Receiver, watch};

use super::{progress::Progress, watchlist::Watchlist};
use crate::{frame::Frame, model::preprocess::Preprocessor, picture::Picture, prefetch::Prefetch};

/// A frame with the numbers that the model needs of its parts.
pub(super) struct PreparedFrame {
    pub(super) frame: Frame,
    /// The list that the parts were prepared for, and the numbers of all parts, one after the other.
    prepared: Option<(Weak<Watchlist>, Vec<f32>)>,
}

/// Starts the thread. At most `ready` prepared frames wait for the model.
///
/// # Errors
/// The operating system has no thread left.
pub(super) fn spawn(
    preprocessor: Preprocessor,
    watchlist: watch::Receiver<Arc<Watchlist>>,
    mut frames: Receiver<Frame>,
    ready: usize,
    progress: Arc<Progress>,
) -> io::Result<Prefetch<PreparedFrame>> {
    let mut newest = HashMap::new();
    let maker = std::iter::from_fn(move || {
        let frame = frames.blocking_recv()?;
        let prepared = {
            let _at_work = progress.prepare.work();
            prepare(&preprocessor, &watchlist, &frame, &mut newest)
        };
        progress.pulse.queued();
        Some(PreparedFrame { frame, prepared })
    });
    Prefetch::spawn("prepare", [maker], ready)
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
        let mut ready = spawn(preprocessor, to_look_for, receiver, 2, Arc::default()).unwrap();
        let mut next = |list| {
            let prepared = ready.wait()?;
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
