//! What is recorded of each observation: every kind of content has a line in each of the functions here.

use std::sync::Arc;

use rusqlite::Transaction;

use super::{
    alerts,
    embedded::EmbeddedPicture,
    near_misses::NearMissRecorder,
    pictures::{self, FramePicture, PictureRecorder},
    scores::ScoreRecorder,
    vectors,
};
use crate::{config::Config, observe::Observation, policy::HistoryPictures};

/// The recorders of all kinds of content. What they keep in memory belongs to one open file: they are made anew when the file is
/// opened again, after an error, and after something was forgotten.
#[derive(Debug)]
pub struct Recorders {
    pictures: PictureRecorder,
    /// Only with `near_misses: true`.
    near_misses: Option<NearMissRecorder>,
    scores: ScoreRecorder,
    /// Only with `search: true`.
    vectors: Option<vectors::Recorder>,
}

impl Recorders {
    /// For the configuration in force.
    #[must_use]
    pub fn new(config: &Arc<Config>) -> Self {
        Self {
            pictures: PictureRecorder::new(kept_pictures(config)),
            near_misses: near_misses(config),
            scores: ScoreRecorder::default(),
            vectors: vectors(config),
        }
    }

    /// Another configuration is in force. What was recorded before keeps its meaning.
    pub(super) fn reload(
        &mut self,
        transaction: &Transaction<'_>,
        config: &Arc<Config>,
    ) -> rusqlite::Result<()> {
        self.pictures.keep(kept_pictures(config));
        match (near_misses(config), &mut self.near_misses) {
            // Labels that are no longer watched get no more frames, and their near misses end.
            (Some(_), Some(_)) => {}
            (wanted, near_misses) => {
                near_misses.iter_mut().try_for_each(|recorder| recorder.flush(transaction))?;
                *near_misses = wanted;
            }
        }
        match (vectors(config), &mut self.vectors) {
            // The model does not change while the service runs.
            (Some(_), Some(_)) => {}
            (wanted, vectors) => {
                vectors.iter_mut().try_for_each(|recorder| recorder.flush(transaction))?;
                *vectors = wanted;
            }
        }
        Ok(())
    }

    /// Records an observation, now or with a later one: a recorder may keep in memory what changes with the next observation.
    ///
    /// # Errors
    /// The disk does not work, or it is full.
    pub fn record(
        &mut self,
        transaction: &Transaction<'_>,
        observation: &Observation,
    ) -> rusqlite::Result<()> {
        let (pictures, mut frame) = (&mut self.pictures, FramePicture::of(observation));
        alerts::record(transaction, observation, pictures, &mut frame)?;
        if let Some(near_misses) = &mut self.near_misses {
            near_misses.record(transaction, observation, pictures, &mut frame)?;
        }
        pictures.record(transaction, &mut frame)?;
        self.scores.record(transaction, observation)?;
        self.vectors.iter_mut().try_for_each(|recorder| recorder.record(transaction, observation))?;
        Ok(())
    }

    /// Records the vectors of stored pictures, if they still exist and vectors are kept. Returns their number.
    pub(super) fn record_embedded(
        &mut self,
        transaction: &Transaction<'_>,
        embedded: &[EmbeddedPicture],
    ) -> rusqlite::Result<u64> {
        let Some(vectors) = &mut self.vectors else { return Ok(0) };
        let mut recorded = 0;
        for EmbeddedPicture { id, source, time, views } in embedded {
            // What was forgotten while it was embedded stays forgotten.
            if !pictures::exists(transaction, *id)? {
                continue;
            }
            let views = views.iter().map(|(region, vector)| (region.as_deref(), vector));
            vectors.record_stored(transaction, source, *time, views)?;
            recorded += 1;
        }
        Ok(recorded)
    }

    /// Old rows of these tables were deleted: a recorder must not refer to them.
    pub(super) fn rows_deleted(
        &mut self,
        transaction: &Transaction<'_>,
        tables: &[&str],
        config: &Arc<Config>,
    ) -> rusqlite::Result<()> {
        if tables.contains(&vectors::TABLE.name) {
            self.vectors.iter_mut().try_for_each(|recorder| recorder.flush(transaction))?;
            self.vectors = vectors(config);
        }
        Ok(())
    }

    /// Writes what is only in memory. This happens every few minutes, before the end, and before something is forgotten.
    ///
    /// # Errors
    /// As [`Self::record`].
    pub fn flush(&mut self, transaction: &Transaction<'_>) -> rusqlite::Result<()> {
        self.near_misses.iter_mut().try_for_each(|recorder| recorder.flush(transaction))?;
        self.scores.flush(transaction)?;
        self.vectors.iter_mut().try_for_each(|recorder| recorder.flush(transaction))?;
        Ok(())
    }
}

fn kept_pictures(config: &Config) -> HistoryPictures {
    config.history.as_ref().map_or(HistoryPictures::Off, |history| history.pictures)
}

fn near_misses(config: &Config) -> Option<NearMissRecorder> {
    let are_kept = config.history.as_ref().is_some_and(|history| history.near_misses);
    are_kept.then(NearMissRecorder::new)
}

fn vectors(config: &Config) -> Option<vectors::Recorder> {
    let searches = config.history.as_ref().is_some_and(|history| history.search);
    searches.then(|| vectors::Recorder::new(&config.model.name()))
}
