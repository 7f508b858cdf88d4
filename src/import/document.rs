//! A YAML document of another program, with the line of each entry.

use super::report::Report;
use crate::yaml::{
    error::line_number,
    tree::{self, Entry, Node, Value},
};

/// The document.
pub(super) struct Document<'t> {
    text: &'t str,
    root: Option<Node>,
}

/// A value in the document; an absent one has nothing in it.
#[derive(Clone, Copy)]
pub(super) struct Item<'d> {
    text: &'d str,
    /// The line of its key, or its own.
    pub(super) line: usize,
    node: Option<&'d Node>,
}

impl<'t> Document<'t> {
    /// Parses the text. What has no counterpart in the YAML of this program, such as a duplicate key, is noted.
    ///
    /// # Errors
    /// The text is no YAML: the line and the message.
    pub(super) fn parse(text: &'t str, report: &mut Report) -> Result<Self, (usize, String)> {
        let text = text.trim_start_matches('\u{feff}');
        let (root, mistakes) = tree::parse(0, text);
        let line = |start: usize| line_number(text, start);
        // Comments alone are a document without values.
        let is_broken = root.is_none() && !mistakes.is_empty();
        for mistake in mistakes {
            let line = line(mistake.span.start);
            if is_broken {
                return Err((line, mistake.message));
            }
            report.note(line, mistake.message);
        }
        Ok(Self { text, root })
    }

    pub(super) fn root(&self) -> Item<'_> {
        Item { text: self.text, line: 1, node: self.root.as_ref() }
    }
}

impl<'d> Item<'d> {
    fn at_entry(self, entry: &'d Entry) -> Self {
        Self { line: line_number(self.text, entry.key_span.start), node: Some(&entry.value), ..self }
    }

    /// The entries of a mapping; of anything else none.
    pub(super) fn entries(self) -> impl Iterator<Item = (&'d str, Self)> {
        let entries: &'d [Entry] = match self.node.map(|node| &node.value) {
            Some(Value::Mapping(entries)) => entries,
            _ => &[],
        };
        entries.iter().map(move |entry| (&*entry.key, self.at_entry(entry)))
    }

    /// The entry with this key.
    pub(super) fn get(self, key: &str) -> Option<Self> {
        self.entries().find(|(name, _)| *name == key).map(|(_, item)| item)
    }

    /// The entry at this path.
    pub(super) fn at(self, path: &[&str]) -> Option<Self> {
        path.iter().try_fold(self, |item, key| item.get(key))
    }

    /// The items of a list; a single text is one item, and nothing is none.
    pub(super) fn items(self) -> Vec<Self> {
        match self.node.map(|node| &node.value) {
            Some(Value::List(nodes)) => {
                let item = |node: &'d Node| Self {
                    line: line_number(self.text, node.span.start),
                    node: Some(node),
                    ..self
                };
                nodes.iter().map(item).collect()
            }
            Some(Value::Text(_) | Value::Mapping(_)) => vec![self],
            _ => vec![],
        }
    }

    /// The text, if it is one.
    pub(super) fn text(self) -> Option<&'d str> {
        match &self.node?.value {
            Value::Text(text) => Some(text.trim()),
            _ => None,
        }
    }

    /// The texts of a list, or the one text.
    pub(super) fn texts(self) -> Vec<&'d str> {
        self.items().into_iter().filter_map(Self::text).collect()
    }

    /// Whether it is `false`, as Python's YAML reads it.
    pub(super) fn is_false(self) -> bool {
        self.text().is_some_and(|text| ["false", "no", "off"].contains(&&*text.to_lowercase()))
    }

    /// A number.
    pub(super) fn number(self) -> Option<f64> {
        self.text()?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_have_their_lines() {
        let text = "a: 1\nb:\n  c: [x, y]\n  d: No\ne:\n- 2\n- {f: 0.5}\n";
        let mut report = Report::default();
        let document = Document::parse(text, &mut report).unwrap();
        let root = document.root();
        assert_eq!(
            root.entries().map(|(key, item)| (key, item.line)).collect::<Vec<_>>(),
            [("a", 1), ("b", 2), ("e", 5)]
        );
        let c = root.at(&["b", "c"]).unwrap();
        assert_eq!((c.line, c.texts()), (3, vec!["x", "y"]));
        assert!(root.at(&["b", "d"]).unwrap().is_false() && !root.get("a").unwrap().is_false());
        let items = root.get("e").unwrap().items();
        assert_eq!((items[0].line, items[0].number(), items[1].line), (6, Some(2.0), 7));
        assert_eq!(items[1].get("f").unwrap().number(), Some(0.5));
        assert_eq!(root.get("a").unwrap().texts(), ["1"]);
        assert!(root.at(&["b", "x"]).is_none() && root.get("a").unwrap().get("x").is_none());
    }

    #[test]
    fn a_duplicate_key_is_noted_and_broken_yaml_refused() {
        let mut report = Report::default();
        let document = Document::parse("a: 1\na: 2\n", &mut report).unwrap();
        assert_eq!(document.root().get("a").unwrap().text(), Some("1"));
        let notes = report.into_notes();
        assert_eq!((notes.len(), notes[0].line), (1, Some(2)));
        let broken = Document::parse("a: 1\nb: [\n", &mut Report::default());
        assert!(broken.is_err());
        assert!(Document::parse("# nothing\n", &mut Report::default()).unwrap().root().get("a").is_none());
    }
}
