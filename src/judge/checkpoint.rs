//! What the judge gives to the history: how the scores of a source are judged, and the states of its triggers before a frame.

use std::sync::Arc;

use jiff::SignedDuration;

use super::{
    Judge,
    setup::{Checkpoint, SetSetup, Setup, Start},
    watched::Watched,
};
use crate::config::Config;

impl Judge {
    /// The setup and the state of a source; `None` if it is not watched.
    #[must_use]
    pub fn checkpoint(&self, source: &str) -> Option<Checkpoint> {
        let setup = self.setups.get(source)?;
        let of_set = |set: &SetSetup| self.watched.get(&(source.to_owned(), set.name.clone()));
        let states = setup.sets.iter().filter_map(of_set).flatten().map(Watched::state).collect();
        Some(Checkpoint {
            setup: Arc::clone(setup),
            states,
            clock_set_by: SignedDuration::ZERO,
            start: Start::Continued,
        })
    }

    /// Updates the setups after the triggers have changed: those of `source`, or of all sources.
    pub(super) fn update_setups(&mut self, config: &Config, source: Option<&str>) {
        match source {
            Some(source) => drop(self.setups.remove(source)),
            None => self.setups.clear(),
        }
        let mut setups: Vec<(&str, Setup)> = Vec::new();
        for (watching, set) in config.watches().filter(|(it, _)| source.is_none_or(|only| only == it.name)) {
            let key = (watching.name.clone(), set.name.clone());
            let Some(all) = self.watched.get(&key) else { continue };
            let all = all.iter().map(Watched::setup);
            let (rules, labels) = all.partition(|label| label.when.is_some());
            let set = SetSetup { name: set.name.clone(), labels, rules };
            match setups.last_mut().filter(|(name, _)| *name == watching.name) {
                Some((_, setup)) => setup.sets.push(set),
                None => {
                    let model = self.model.to_string();
                    setups.push((&watching.name, Setup { model, sets: vec![set] }));
                }
            }
        }
        self.setups.extend(setups.into_iter().map(|(name, setup)| (name.to_owned(), Arc::new(setup))));
    }
}
