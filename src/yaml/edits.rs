//! Changes to a text that is no YAML, so that the rest of it can be read. Each place in the changed text has its place in the
//! text as it was typed.

use std::ops::Range;

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// The bytes that are replaced, in the text as typed.
    pub range: Range<usize>,
    /// What replaces them.
    pub with: String,
    /// What is not read as it was typed, if anything is.
    pub loss: Option<Loss>,
}

/// A part of a file that is not read as it was typed. A mistake in it, or one that follows from it, is not reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loss {
    /// Its bytes.
    pub range: Range<usize>,
    /// Whether keys or names are lost, too, and not only their values.
    pub names: bool,
}

impl Edit {
    /// Inserts `with` at `at`; everything is read.
    pub fn insert(at: usize, with: &str) -> Self {
        Self { range: at..at, with: with.to_owned(), loss: None }
    }
}

/// Changes that do not overlap, in the order of the text.
#[derive(Debug, Clone, Default)]
pub struct Edits(Vec<Edit>);

impl Edits {
    /// These changes and more; a change inside of a new one or at its edge is dropped.
    pub fn and(&self, more: &[Edit]) -> Self {
        let mut edits = self.0.clone();
        for edit in more {
            let (new, is_insert) = (&edit.range, edit.range.is_empty());
            edits.retain(|Edit { range: old, .. }| {
                let overlaps = old.start < new.end && new.start < old.end;
                let touches = !is_insert && old.is_empty() && (new.start..=new.end).contains(&old.start);
                !overlaps && !touches
            });
            edits.push(edit.clone());
        }
        edits.sort_by_key(|edit| edit.range.start);
        Self(edits)
    }

    /// The changed text.
    pub fn apply(&self, text: &str) -> String {
        let (mut changed, mut from) = (String::with_capacity(text.len()), 0);
        for edit in &self.0 {
            changed.push_str(&text[from..edit.range.start]);
            changed.push_str(&edit.with);
            from = edit.range.end;
        }
        changed + &text[from..]
    }

    /// The place in the text as typed of a place in the changed text.
    pub fn typed(&self, at: usize) -> usize {
        // How much longer the changed text is up to here: added, and removed.
        let (mut added, mut removed) = (0, 0);
        for Edit { range, with, .. } in &self.0 {
            let start = range.start + added - removed;
            if at < start {
                break;
            }
            if at < start + with.len() {
                return (range.start + (at - start)).min(range.end);
            }
            added += with.len();
            removed += range.len();
        }
        at + removed - added
    }

    /// The place in the changed text of a place in the text as typed that is in no change.
    pub fn changed(&self, at: usize) -> usize {
        let before = self.0.iter().take_while(|edit| edit.range.end <= at);
        let (added, removed) = before
            .fold((0, 0), |(added, removed), edit| (added + edit.with.len(), removed + edit.range.len()));
        at + added - removed
    }

    /// A change that was found in the changed text, as one of the text as typed.
    pub fn typed_edit(&self, edit: Edit) -> Edit {
        let typed = |range: Range<usize>| self.typed(range.start)..self.typed(range.end);
        let loss = edit.loss.map(|loss| Loss { range: typed(loss.range), names: loss.names });
        Edit { range: typed(edit.range), loss, ..edit }
    }

    /// What is not read as it was typed.
    pub fn losses(&self) -> impl Iterator<Item = &Loss> {
        self.0.iter().filter_map(|edit| edit.loss.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_place_has_its_place_in_the_typed_text() {
        let edit = |range, with: &str| Edit { range, with: with.to_owned(), loss: None };
        let text = "one two three";
        let edits = Edits::default().and(&[edit(3..3, ":"), edit(8..13, "x")]);
        let changed = edits.apply(text);
        assert_eq!(changed, "one: two x");
        let typed: Vec<_> = (0..=changed.len()).map(|at| edits.typed(at)).collect();
        assert_eq!(typed, [0, 1, 2, 3, 3, 4, 5, 6, 7, 8, 13]);
        assert_eq!([0, 3, 4, 7].map(|at| edits.changed(at)), [0, 4, 5, 8]);
        // A change inside of a larger one or at its edge is dropped; one beside it is not.
        assert_eq!(edits.and(&[edit(2..9, "")]).apply(text), "onhree");
        assert_eq!(edits.and(&[edit(0..3, "1")]).apply(text), "1 two x");
        assert_eq!(edits.and(&[edit(7..8, "_")]).apply(text), "one: two_x");
        assert_eq!(Edits::default().apply(text), text);
    }
}
