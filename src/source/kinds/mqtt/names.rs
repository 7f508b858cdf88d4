//! The names of sources that pictures gave, and whether frames may be sent under them. Pure.

use std::{collections::HashMap, sync::Arc};

/// The number of rejected names that are kept; beyond it they are forgotten, and requested again.
const MOST_REJECTED: usize = 1000;

/// The answers of the service to the names that were requested.
#[derive(Debug, Default)]
pub(crate) struct Names {
    answers: HashMap<String, Option<Arc<str>>>,
    rejected: usize,
}

impl Names {
    /// The answer for a name: the source to send frames under, or `Some(None)` if the name was rejected. `None` if it was not
    /// requested yet.
    pub(crate) fn get(&self, name: &str) -> Option<Option<Arc<str>>> {
        self.answers.get(name).cloned()
    }

    /// Keeps the answer for a name.
    pub(crate) fn insert(&mut self, name: String, answer: Option<Arc<str>>) {
        if answer.is_none() {
            if self.rejected >= MOST_REJECTED {
                self.answers.retain(|_, answer| answer.is_some());
                self.rejected = 0;
            }
            self.rejected += 1;
        }
        self.answers.insert(name, answer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rejected_names_are_bounded_and_admitted_ones_are_kept() {
        let mut names = Names::default();
        assert_eq!(names.get("door"), None);
        names.insert("door".to_owned(), Some("Door".into()));
        for number in 0..MOST_REJECTED {
            names.insert(format!("x{number}"), None);
        }
        assert_eq!((names.get("x0"), names.get("x999")), (Some(None), Some(None)));
        names.insert("one more".to_owned(), None);
        assert_eq!((names.get("x0"), names.get("one more")), (None, Some(None)), "requested again");
        assert_eq!(names.get("door"), Some(Some("Door".into())));
        assert!(names.answers.len() <= MOST_REJECTED + 1);
    }
}
