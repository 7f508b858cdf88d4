//! Sends the frame of a complete file, and finishes the file when its frame is scored.

use std::{
    fs::{File, Metadata},
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use tokio::{sync::OwnedSemaphorePermit, time::Instant};

use super::{
    after::{self, Finished, Finisher, Taken},
    pending::{Candidate, Evidence},
    seen::{Fate, Verdict},
    settings::After,
    source::FolderSource,
    take::{self, Unusable},
    tree::FileLocation,
};
use crate::{
    descriptors::Identity,
    frame::{Frame, Slot},
    picture,
    source::{
        context::{Context, SLOTS},
        decoders::Decoded,
    },
};

/// A file that is open.
pub(super) struct OpenFile {
    pub(super) file: File,
    place: Arc<FileLocation>,
    finisher: Arc<Finisher>,
}

impl OpenFile {
    /// The file as one that was taken.
    pub(super) fn taken(
        &self,
        path: &Path,
        candidate: Candidate,
        content: u64,
        metadata: &Metadata,
    ) -> Taken {
        Taken {
            path: path.to_path_buf(),
            version: candidate.version,
            content,
            id: Identity::of(metadata),
            created: metadata.created().ok(),
            place: Arc::clone(&self.place),
            finisher: Arc::clone(&self.finisher),
        }
    }
}

impl FolderSource {
    /// Takes the next file and sends its frame; `None` if the receiver is gone.
    pub(crate) async fn take(&mut self, permit: OwnedSemaphorePermit, context: &Context) -> Option<()> {
        let Some((path, candidate)) = self.inventory.pending.pop() else { return Some(()) };
        let mut opened = match self.open(&path) {
            Ok(opened) => opened,
            Err(error) => {
                self.failed(&path, candidate, &error, context);
                return Some(());
            }
        };
        if self.takes_as_clip(&path, candidate, &mut opened.file, context) {
            return Some(());
        }
        let (Decoded { picture, share }, taken) = match self.picture(&path, candidate, opened, context) {
            Ok(Some(both)) => both,
            Ok(None) => return Some(()),
            Err(error) => {
                self.failed(&path, candidate, &error, context);
                return Some(());
            }
        };
        context.counts.seen();
        let frame = Frame {
            source: context.name.clone(),
            origin: taken.path.display().to_string(),
            captured_at: candidate.version.modified.captured_at(SystemTime::now()),
            picture,
            slot: self.slot(permit, &taken, context).with_memory(share),
        };
        tokio::select! {
            () = context.stop.cancelled() => return None, // the file is taken at the next start
            sent = context.frames.send(frame) => sent.ok()?,
        }
        context.counts.sent();
        self.inventory.seen.sent(&taken.path, taken.version, taken.content);
        if self.after != After::Keep {
            self.in_flight.insert(taken.path.clone(), taken.path.clone());
        }
        self.record_in_flight(taken.path, context);
        Some(())
    }

    /// Records that the last frame of a file was sent, and forgets files whose frames were lost.
    pub(super) fn record_in_flight(&mut self, path: PathBuf, context: &Context) {
        self.unscored.push_front(path);
        if self.unscored.len() > SLOTS {
            while let Ok(taken) = self.done.try_recv() {
                self.finish(taken, context);
            }
        }
        while self.unscored.len() > SLOTS {
            // No more frames than slots are in flight: this one was lost.
            if let Some(lost) = self.unscored.pop_back() {
                self.in_flight.remove(&lost);
            }
            self.inventory.seen.changed();
        }
    }

    /// Opens a file, by the descriptor of the watched folder.
    pub(super) fn open(&self, path: &Path) -> Result<OpenFile, Unusable> {
        let (Some(tree), Some(finisher)) = (self.inventory.tree(), &self.finisher) else {
            return Err(Unusable::Gone); // no folder was opened yet
        };
        let place = tree.place(path)?;
        let file = tree.file(&place)?.ok_or(Unusable::Gone)?;
        Ok(OpenFile { file, place: Arc::new(place), finisher: Arc::clone(finisher) })
    }

    /// The picture in a file; `None` if its content was sent before.
    fn picture(
        &mut self,
        path: &Path,
        candidate: Candidate,
        mut opened: OpenFile,
        context: &Context,
    ) -> Result<Option<(Decoded, Taken)>, Unusable> {
        let (bytes, metadata) = take::read_picture(&mut opened.file, candidate.version)?;
        let content = picture::hash(&bytes);
        let taken = opened.taken(path, candidate, content, &metadata);
        drop(opened.file); // decoding takes a while
        // It was not closed or moved in, so only its time was set: copying tools do that after they closed it.
        if candidate.evidence != Evidence::Complete
            && !self.polls
            && self.inventory.seen.judge(path, candidate.version) == Verdict::Changed(Fate::Sent(content))
        {
            self.inventory.seen.insert(path, candidate.version, Fate::Sent(content));
            if !self.in_flight.contains_key(path) {
                self.finish(taken, context);
            }
            return Ok(None);
        }
        let decoded = context.picture_decoder().decode(&bytes, &path.display().to_string())?;
        Ok(Some((decoded, taken)))
    }

    /// Reports a file that is no picture, unless it may still become one.
    pub(super) fn failed(&mut self, path: &Path, candidate: Candidate, error: &Unusable, context: &Context) {
        let now = Instant::now();
        match error {
            Unusable::Gone => {}
            Unusable::NotNow(shortage) => {
                let (source, shown) = (&*context.name, path.display());
                tracing::warn!(source, path = %shown, "a file is read again soon: {shortage}. {}", shortage.remedy());
                self.inventory.pending.later(path, candidate, now);
            }
            Unusable::Changing(version) => {
                let writing = candidate.evidence == Evidence::Writing;
                let evidence = if writing { Evidence::Writing } else { Evidence::Found };
                self.inventory.pending.notice(path, *version, evidence, now);
            }
            // It may be complete later, unless its content ended the service.
            _ if !candidate.failed && !matches!(error, Unusable::Crashed) => {
                self.inventory.pending.failed(path, candidate, now);
            }
            _ => {
                context.counts.seen();
                self.report_unusable(path, candidate, error, context);
            }
        }
    }

    /// Reports and counts a file that stays unusable.
    pub(super) fn report_unusable(
        &mut self,
        path: &Path,
        candidate: Candidate,
        error: &Unusable,
        context: &Context,
    ) {
        if let Some(cause) = error.cause() {
            context.unusable(("file", &path.display()), cause, error, error.remedy());
        }
        let unreadable = matches!(error, Unusable::Unreadable(_));
        let fate = if unreadable { Fate::Unreadable } else { Fate::Failed };
        self.inventory.seen.insert(path, candidate.version, fate);
    }

    /// The slot of a frame. When the frame is scored, the slot reports it to the source, which then applies `after`.
    fn slot(&self, permit: OwnedSemaphorePermit, taken: &Taken, context: &Context) -> Slot {
        let (done, taken) = (self.done_sender.clone(), taken.clone());
        let (name, counts) = (context.name.clone(), context.counts.clone());
        Slot::new(permit).on_done(move || after::request(&done, taken, &name, &counts))
    }

    /// Applies `after` to a file whose frame is scored.
    pub(crate) fn finish(&mut self, taken: Taken, context: &Context) {
        if let Some(scored) = self.unscored.iter().position(|path| *path == taken.path) {
            self.unscored.remove(scored);
            self.inventory.seen.changed(); // it may be remembered now
        }
        let path = self.in_flight.remove(&taken.path).unwrap_or_else(|| taken.path.clone());
        // A newer version that waits will have its own frame. If its content turns out to be the same, `picture` finishes it.
        if self.inventory.pending.contains(&path) {
            return;
        }
        match after::finish_or_log(&path, &taken, &context.name, &context.counts) {
            Finished::Gone => drop(self.inventory.seen.forget(&path)),
            Finished::Kept => {}
            Finished::Failed => self.inventory.returned(path, taken.version, Fate::Sent(taken.content)),
        }
    }
}
