//! Prepares the pictures of frames for the model while that runs on those before them.
//!
//! It refuses to decide anything: frames come out as they went in, in their order, and what was prepared for another watchlist
//! than the one that is in force when a frame's turn comes is not used.

use std::{
    collections::HashMap,
    io, panic,
    sync::{
        Arc, Weak,
        mpsc::{self, sync_channel},
    },
    thread,
};

use tokio::sync::{mpsc::Receiver, watch};

use super::{progress::Progress, watchlist::Watchlist};
use crate::{frame::Frame, model::preprocess::Preprocessor, picture::Picture};

/// Frames whose pictures are ready for the model.
pub(super) struct Ahead {
    ready: mpsc::Receiver<Ready>,
    progress: Arc<Progress>,
    thread: thread::JoinHandle<()>,
}

/// A frame, and what its parts are to the model, one behind the other.
pub(super) struct Ready {
    pub(super) frame: Frame,
    prepared: Option<(Weak<Watchlist>, Vec<f32>)>,
}

impl Ahead {
    /// Begins. At most `at_most` frames are ready and not taken.
    ///
    /// # Errors
    /// The operating system has no thread left.
    pub(super) fn spawn(
        preprocessor: Preprocessor,
        watchlist: watch::Receiver<Arc<Watchlist>>,
        mut frames: Receiver<Frame>,
        at_most: usize,
        progress: Arc<Progress>,
    ) -> io::Result<Self> {
        let (sender, ready) = sync_channel(at_most);
        let told = Arc::clone(&progress);
        let thread = thread::Builder::new().name("prepare".to_owned()).spawn(move || {
            let mut newest = HashMap::new();
            while let Some(frame) = frames.blocking_recv() {
                let prepared = {
                    let _at_work = told.prepare.work();
                    prepared(&preprocessor, &watchlist, &frame, &mut newest)
                };
                told.pulse.lay_ready();
                // The model's thread has ended early, and says why.
                if sender.send(Ready { frame, prepared }).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self { ready, progress, thread })
    }

    /// The next frame, which is waited for; `None` when no more will come.
    pub(super) fn wait(&self) -> Option<Ready> {
        self.ready.recv().ok().inspect(|_| self.progress.pulse.took())
    }

    /// The next frame, if one is ready.
    pub(super) fn take(&self) -> Option<Ready> {
        self.ready.try_recv().ok().inspect(|_| self.progress.pulse.took())
    }

    /// After the last frame: a panic of the thread goes on in this one.
    pub(super) fn end(self) {
        if let Err(why) = self.thread.join() {
            panic::resume_unwind(why);
        }
    }
}

impl Ready {
    /// What was prepared for this watchlist.
    pub(super) fn prepared(&mut self, watchlist: &Arc<Watchlist>) -> Option<Vec<f32>> {
        let (of, values) = self.prepared.take()?;
        std::ptr::eq(of.as_ptr(), Arc::as_ptr(watchlist)).then_some(values)
    }
}

/// Nothing for a frame that will not be scored: its source is not watched, or shows what it showed before.
fn prepared(
    preprocessor: &Preprocessor,
    watchlist: &watch::Receiver<Arc<Watchlist>>,
    frame: &Frame,
    newest: &mut HashMap<Arc<str>, Weak<Picture>>,
) -> Option<(Weak<Watchlist>, Vec<f32>)> {
    let watchlist = Arc::clone(&watchlist.borrow());
    let watch = watchlist.watch(&frame.source)?;
    let before = newest.insert(Arc::clone(&frame.source), Arc::downgrade(&frame.picture));
    if before.is_some_and(|before| std::ptr::eq(before.as_ptr(), Arc::as_ptr(&frame.picture))) {
        return None;
    }
    let parts = watch.parts(&frame.picture);
    let mut values = Vec::with_capacity(preprocessor.tensor_len() * parts.len());
    parts.iter().for_each(|part| preprocessor.append(part, &mut values));
    Some((Arc::downgrade(&watchlist), values))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{classify::labels::LabelVectors, frame::Slot, model::preprocess::Backend, policy::Scoring};

    fn list() -> Arc<Watchlist> {
        let scoring = Scoring::Auto;
        let vectors = LabelVectors { name: "set".into(), labels: vec![], background: vec![], scoring };
        Arc::new(Watchlist::of_one("a", &[], vectors))
    }

    #[test]
    fn what_will_be_scored_is_prepared_for_the_list_of_now() {
        let settings = br#"{"size": {"height": 2, "width": 2}, "do_normalize": false, "do_rescale": false}"#;
        let preprocessor = Preprocessor::from_json(settings, Backend::Torchvision).unwrap();
        let picture = |grey| Arc::new(Picture::of_rgb(1, 1, vec![grey; 3]));
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
                picture: Arc::clone(picture),
                slot: Slot::free(),
            };
            sender.blocking_send(frame).unwrap();
        }
        drop(sender);
        let ahead = Ahead::spawn(preprocessor, to_look_for, receiver, 2, Arc::default()).unwrap();
        let mut ready = std::iter::from_fn(|| ahead.wait());
        let mut next =
            |list| ready.next().map(|mut ready| (ready.frame.origin.clone(), ready.prepared(list)));
        let values = |grey: f32| Some(vec![grey; 12]);
        assert_eq!(next(&first), Some(("0".to_owned(), values(1.0))));
        assert_eq!(next(&first), Some(("1".to_owned(), None)), "it shows the same");
        assert_eq!(next(&first), Some(("2".to_owned(), None)), "nobody watches it");
        assert_eq!(next(&first), Some(("3".to_owned(), values(2.0))));
        assert_eq!(next(&second), Some(("4".to_owned(), None)), "another list is in force by now");
        assert_eq!(next(&first), None);
        ahead.end();
    }
}
