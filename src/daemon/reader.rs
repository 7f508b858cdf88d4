//! The thread `config`: reads the configuration again when it is told to, and makes ready what a change needs.
//!
//! All that takes time happens here, beside everything that runs: reading, comparing, encoding the texts of new labels.
//! It refuses to change anything that runs; that is [`keeper`](super::config_applier)'s, which gets it ready-made.

use std::{path::PathBuf, sync::Arc, thread};

use anyhow::Context as _;
use tokio::sync::mpsc;

use super::{
    plan::Plan,
    signals::{Look, Reloads},
};
use crate::{
    classify::{LabelEncoder, LoadError, Watchlist},
    config::{self, Config},
    observe::metrics::Figures,
    yaml::error::Problems,
};

/// What a look at the files showed.
pub(super) enum News {
    /// They are in order.
    Valid {
        /// What changes.
        plan: Box<Plan>,
        /// What is looked for from then on, where anything changes.
        watchlist: Option<Watchlist>,
    },
    /// They are not, in words for people; nothing changes.
    Invalid(String),
}

/// The files, and what is in force of them.
pub(super) struct Reader {
    pub(super) path: PathBuf,
    pub(super) in_force: Config,
    pub(super) encoder: LabelEncoder,
    pub(super) figures: Arc<Figures>,
    pub(super) reloads: Reloads,
}

impl Reader {
    /// Starts the thread. For every word in `look_again` it sends one piece of news, and ends with either channel.
    pub(super) fn spawn(
        mut self,
        mut look_again: mpsc::Receiver<()>,
        news: mpsc::Sender<(Look, News)>,
    ) -> anyhow::Result<()> {
        let work = move || {
            while look_again.blocking_recv().is_some() {
                let look = self.reloads.begin();
                let figures = Arc::clone(&self.figures);
                let at_work = figures.config.work();
                let found = self.look().unwrap_or_else(|problems| News::Invalid(problems.to_string()));
                drop(at_work);
                if news.blocking_send((look, found)).is_err() {
                    return;
                }
            }
        };
        let thread = thread::Builder::new().name("config".to_owned());
        thread.spawn(work).context("cannot start the reader of the configuration")?;
        Ok(())
    }

    fn look(&mut self) -> Result<News, Problems> {
        let loaded = config::load(&self.path)?;
        let plan = Plan::between(&self.in_force, &loaded.config);
        let mut watchlist = None;
        if plan.changes {
            let made = self.encoder.watchlist(&plan.in_force.label_sets, &plan.in_force.sources);
            watchlist = Some(made.map_err(|error| {
                // What the model says of the label sets, at its place in the files.
                let error = LoadError::from(error);
                Problems::new(vec![loaded.places.problem(&error.place(), error.to_string(), "")])
            })?);
            // It is as good as done: the keeper carries out one plan after the other, and cannot refuse one.
            self.in_force = plan.in_force.clone();
        }
        Ok(News::Valid { plan: Box::new(plan), watchlist })
    }
}
