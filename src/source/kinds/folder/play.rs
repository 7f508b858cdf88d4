//! Plays the clips that cameras upload: one frame in each `every` of the clip's own time, as fast as the frames are scored.
//!
//! A folder plays one clip at a time, and takes the pictures that arrive meanwhile between two of its frames. A clip that is
//! damaged is reported and stays.

use std::{fs::File, path::Path};

use tokio::sync::OwnedSemaphorePermit;

use super::{
    clip::{Clip, MOST_CLIPS},
    pending::Candidate,
    seen::Fate,
    settings::Clips,
    source::FolderSource,
    take::{self, Unusable},
    tree::by_descriptor,
};
use crate::{
    frame::Frame,
    source::{clips::is_video_file, context::Context, kinds::stream::recording::Recording},
};

impl FolderSource {
    /// Whether the file is a clip. It is then played, or ignored.
    pub(crate) fn takes_as_clip(
        &mut self,
        path: &Path,
        candidate: Candidate,
        file: &mut File,
        context: &Context,
    ) -> bool {
        if !is_video_file(file, path).unwrap_or(false) {
            return false;
        }
        if self.clips == Clips::Ignore {
            self.inventory.seen.insert(path, candidate.version, Fate::Skipped);
            return true;
        }
        if self.waiting_clips.len() >= MOST_CLIPS {
            self.clips_left_out = true;
            return true;
        }
        // It may be renamed while it waits.
        self.in_flight.insert(path.to_path_buf(), path.to_path_buf());
        self.inventory.seen.insert(path, candidate.version, Fate::Playing);
        self.waiting_clips.push_back((path.to_path_buf(), candidate));
        if self.playing.is_none() {
            self.begin_clip(context);
        }
        true
    }

    /// Opens the next clip that can be played.
    fn begin_clip(&mut self, context: &Context) {
        while let Some((taken, candidate)) = self.waiting_clips.pop_front() {
            let path = self.in_flight.get(&taken).unwrap_or(&taken).clone();
            match self.open_clip(&path, &taken, candidate, context) {
                Ok(clip) => {
                    let path = path.display();
                    tracing::info!(source = &*context.name, %path, "playing the clip {path}");
                    self.playing = Some(clip);
                    return;
                }
                Err(_) if context.stop.is_cancelled() => return,
                Err(error) => {
                    self.in_flight.remove(&taken);
                    self.inventory.seen.forget(&path);
                    self.failed(&path, candidate, &error, context);
                }
            }
        }
    }

    /// Opens the clip that was taken as `taken` and is now at `path`.
    fn open_clip(
        &self,
        path: &Path,
        taken: &Path,
        candidate: Candidate,
        context: &Context,
    ) -> Result<Clip, Unusable> {
        let mut opened = self.open(path)?;
        let (content, metadata) = take::fingerprint(&mut opened.file, candidate.version)?;
        let _entry = context.record_clip(content, candidate.version.size, path)?;
        // The path may lead to another file by now.
        let recording = Recording::open_for(context, &by_descriptor(&opened.file), path, self.every)?;
        let taken = opened.taken(taken, candidate, content, &metadata);
        Ok(Clip::new(candidate, taken, recording, path))
    }

    /// Sends the next frame of the clip that is played; `None` if the receiver is gone.
    pub(crate) async fn play_on(&mut self, permit: OwnedSemaphorePermit, context: &Context) -> Option<()> {
        let Some(clip) = &mut self.playing else { return Some(()) };
        let next = {
            let _entry = match clip.frames {
                // What the first frame has survived, the others do as well; and a clip that is interrupted is played again.
                0 => context.record_clip(clip.taken.content, clip.taken.version.size, &clip.taken.path).ok(),
                _ => None,
            };
            context.counts.decoding(|| clip.recording.next_frame())
        };
        if context.stop.is_cancelled() {
            return None; // the clip is played at the next start
        }
        let (into, picture) = match next {
            Ok(Some(next)) => next,
            Ok(None) => {
                self.end_clip(None, context);
                return Some(());
            }
            Err(error) => {
                self.end_clip(Some(error.into()), context);
                return Some(());
            }
        };
        context.counts.seen();
        clip.frames += 1;
        let frame = Frame {
            source: context.name.clone(),
            origin: format!("{}#t={:.3}", clip.taken.path.display(), into.as_secs_f64()),
            captured_at: clip.captured_at(into),
            picture,
            slot: clip.slot(permit, self.done_sender.clone(), context),
        };
        tokio::select! {
            () = context.stop.cancelled() => return None,
            sent = context.frames.send(frame) => sent.ok()?,
        }
        context.counts.sent();
        Some(())
    }

    /// Ends the clip that is played, and opens the next one.
    fn end_clip(&mut self, error: Option<Unusable>, context: &Context) {
        let Some(clip) = self.playing.take() else { return };
        let error = error.or_else(|| clip.recording.damage().map(Unusable::Clip)).or_else(|| {
            let counts = || Unusable::Clip(format!("no whole frame in it: {}", clip.recording.counts()));
            (clip.frames == 0).then(counts)
        });
        let path = self.in_flight.get(&clip.taken.path).unwrap_or(&clip.taken.path).clone();
        match error {
            // Another try would raise the same alerts again, unless it gave no frame.
            Some(error @ Unusable::NotNow(_)) if clip.frames == 0 => {
                self.in_flight.remove(&clip.taken.path);
                self.inventory.seen.forget(&path);
                self.failed(&path, clip.candidate, &error, context);
            }
            Some(error) => {
                self.in_flight.remove(&clip.taken.path);
                // It was tried to its end: another try would raise the same alerts again.
                self.report_unusable(&path, clip.candidate, &error, context);
            }
            None => {
                self.inventory.seen.sent(&path, clip.taken.version, clip.taken.content);
                tracing::info!(
                    source = &*context.name, path = %path.display(), frames = clip.frames,
                    "played the clip {} to its end: {} frames", path.display(), clip.frames
                );
                self.record_in_flight(clip.taken.path.clone(), context);
                if clip.is_finished() {
                    self.finish(clip.taken, context);
                }
            }
        }
        self.begin_clip(context);
    }
}
