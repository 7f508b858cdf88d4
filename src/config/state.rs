//! The state of the configuration of a running service: what is in force, and what the newest check of the files found.

use super::{assemble::Config, plan::Plan};
use crate::yaml::error::Problems;

/// The state.
#[derive(Debug, Clone)]
pub struct ConfigState {
    /// What is in force, without temporary labels and dynamic sources.
    pub in_force: Config,
    /// The tag of the main file at the newest check; see [`super::main_file`].
    pub tag: String,
    /// What is wrong with the files; `None` if they are valid.
    pub problems: Option<Problems>,
    /// The keys that wait for a restart.
    pub after_restart: Vec<&'static str>,
}

impl ConfigState {
    /// The state of a service that has just started with this configuration.
    #[must_use]
    pub fn started(config: &Config, tag: String) -> Self {
        Self { in_force: config.clone(), tag, problems: None, after_restart: Vec::new() }
    }

    /// The files are valid: this is in them.
    pub fn valid(&mut self, files: &Config, tag: String) {
        let plan = Plan::between(&self.in_force, files);
        *self = Self { in_force: plan.in_force, tag, problems: None, after_restart: plan.after_restart };
    }

    /// The files are invalid, so what was in force stays in force.
    pub fn invalid(&mut self, problems: Problems, tag: String) {
        self.tag = tag;
        self.problems = Some(problems);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    #[test]
    fn an_invalid_file_changes_nothing_that_is_in_force() {
        let started = samples::config();
        let mut state = ConfigState::started(&started, "1".to_owned());
        let other = Config { max_pixels: 7, state_dir: "elsewhere".into(), ..started.clone() };
        state.valid(&other, "2".to_owned());
        assert_eq!((state.in_force.max_pixels, &*state.tag), (7, "2"));
        assert_eq!(state.after_restart, ["state_dir"]);
        state.invalid(Problems::new(vec![]), "3".to_owned());
        assert_eq!((state.in_force.max_pixels, &*state.tag, state.problems.is_some()), (7, "3", true));
        state.valid(&started, "1".to_owned());
        assert!(state.problems.is_none() && state.after_restart.is_empty());
        assert_eq!(state.in_force, started);
    }
}
