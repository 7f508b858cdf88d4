//! What is recorded of each observation: every kind of content has a line in each of the functions here.

use std::sync::Arc;

use rusqlite::Transaction;

use super::{scores::ScoreRecorder, vectors};
use crate::{config::Config, observe::Observation};

/// The recorders of all kinds of content. What they keep in memory belongs to one open file: they are made anew when the file is
/// opened again, after an error, and after something was forgotten.
#[derive(Debug)]
pub(super) struct Recorders {
    scores: ScoreRecorder,
    /// Only with `search: true`.
    vectors: Option<vectors::Recorder>,
}

impl Recorders {
    /// For the configuration in force.
    pub(super) fn new(config: &Arc<Config>) -> Self {
        Self { scores: ScoreRecorder::default(), vectors: vectors(config) }
    }

    /// Another configuration is in force. What was recorded before keeps its meaning.
    pub(super) fn reload(
        &mut self,
        transaction: &Transaction<'_>,
        config: &Arc<Config>,
    ) -> rusqlite::Result<()> {
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
    pub(super) fn record(
        &mut self,
        transaction: &Transaction<'_>,
        observation: &Observation,
    ) -> rusqlite::Result<()> {
        self.scores.record(transaction, observation)?;
        self.vectors.iter_mut().try_for_each(|recorder| recorder.record(transaction, observation))?;
        Ok(())
    }

    /// Writes what is only in memory. This happens every few minutes, before the end, and before something is forgotten.
    pub(super) fn flush(&mut self, transaction: &Transaction<'_>) -> rusqlite::Result<()> {
        self.scores.flush(transaction)?;
        self.vectors.iter_mut().try_for_each(|recorder| recorder.flush(transaction))?;
        Ok(())
    }
}

fn vectors(config: &Config) -> Option<vectors::Recorder> {
    let searches = config.history.as_ref().is_some_and(|history| history.search);
    searches.then(|| vectors::Recorder::new(&config.model.name()))
}
