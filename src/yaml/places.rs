//! Where each setting was typed, for those who find a problem later: the model that a label set does not suit, the
//! folder that is not there.
//!
//! Not part of the configuration itself: two configurations are equal wherever their lines stand.

use std::collections::BTreeMap;

use super::error::{Files, Mistake, Problem, Span};

/// Where each setting was typed. A setting is named by its path: `mqtt.url`, `label_sets.porch.labels.package`.
#[derive(Debug, Clone, Default)]
pub struct Places {
    pub(crate) files: Files,
    pub(crate) spans: BTreeMap<String, Span>,
}

impl Places {
    /// A problem with what was typed at `path`. Where nothing was typed the nearest thing above it is shown.
    #[must_use]
    pub fn problem(&self, path: &str, message: impl Into<String>, remedy: impl Into<String>) -> Problem {
        let mut prefix = path;
        loop {
            if let Some(span) = self.spans.get(prefix) {
                return self.files.problem(Mistake::new(*span, message, remedy));
            }
            match prefix.rfind('.') {
                Some(dot) => prefix = &prefix[..dot],
                None => return self.files.problem_of_file(0, message.into(), remedy.into()),
            }
        }
    }
}
