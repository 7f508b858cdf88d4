//! Parses YAML into a tree in which every key and every value has its place.
//!
//! Hostile YAML is reported like any other mistake: too many levels, or aliases that repeat too much. Values stay text: whether
//! `1.0` is a number or a name is decided by the code that reads the setting.

use std::collections::{HashMap, hash_map::Entry as Slot};

use granit_parser::{Event, Parser, ScalarStyle, Tag};

use super::{
    error::{Mistake, Span, line_number},
    mask, syntax,
};

/// The most values in one file, those repeated through aliases included.
const MOST_NODES: usize = 50_000;
/// A text counts as one more value for each of these, so that repeating a long text is limited as well.
const BYTES_OF_A_NODE: usize = 64;
/// The most levels.
const DEEPEST: usize = 32;

/// A value and its place.
#[derive(Clone)]
pub struct Node {
    pub span: Span,
    pub value: Value,
}

/// A value.
#[derive(Clone)]
pub enum Value {
    /// `key:` without a value, `~`, `null`.
    Nothing,
    Text(String),
    List(Vec<Node>),
    Mapping(Vec<Entry>),
}

/// One `key: value` of a mapping.
#[derive(Clone)]
pub struct Entry {
    pub key: String,
    pub key_span: Span,
    pub value: Node,
}

/// Parses the text of file number `file`. The tree is `None` for a file without values and for one that is no YAML.
pub fn parse(file: usize, text: &str) -> (Option<Node>, Vec<Mistake>) {
    let mut builder =
        Builder { file, text, open: vec![], anchors: HashMap::new(), nodes: 0, root: None, mistakes: vec![] };
    let options = granit_parser::options! { block_nesting_limit: DEEPEST, flow_nesting_limit: DEEPEST };
    let result = Parser::new_from_str_with_options(text, options).try_for_each(|event| match event {
        Ok((event, span)) => builder.take(event, span),
        Err(error) => Err(syntax::explain(file, text, &error, builder.open_bracket())),
    });
    if let Err(fatal) = result {
        // Half a tree would lead to further mistakes that are none.
        builder.mistakes.push(fatal);
        builder.root = None;
    }
    (builder.root, builder.mistakes)
}

struct Builder<'t> {
    file: usize,
    text: &'t str,
    open: Vec<Open>,
    /// By the parser's number: the finished value and its count of nodes.
    anchors: HashMap<usize, (Node, usize)>,
    nodes: usize,
    root: Option<Node>,
    mistakes: Vec<Mistake>,
}

/// A list or mapping that has not ended yet.
struct Open {
    span: Span,
    anchor: usize,
    /// The count of nodes at its start.
    nodes_before: usize,
    inside: Inside,
}

enum Inside {
    List(Vec<Node>),
    Mapping {
        entries: Vec<Entry>,
        /// The place of each key.
        keys: HashMap<String, Span>,
        /// The key whose value is next.
        key: Option<(String, Span)>,
        /// The entries that `<<` adds.
        merged: Vec<Entry>,
    },
}

impl Builder<'_> {
    fn take(&mut self, event: Event<'_>, span: granit_parser::Span) -> Result<(), Mistake> {
        let span = self.span(span);
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.check_tag(tag.as_deref(), span);
                let nodes = 1 + text.len() / BYTES_OF_A_NODE;
                let value = match &*text {
                    "" | "~" | "null" | "Null" | "NULL" if style == ScalarStyle::Plain => Value::Nothing,
                    _ => Value::Text(text.into_owned()),
                };
                self.count(nodes, span)?;
                self.finish(Node { span, value }, anchor, nodes);
            }
            Event::Alias(anchor) => {
                let Some((node, nodes)) = self.anchors.get(&anchor).cloned() else {
                    let remedy = "an alias can only repeat a value that ends before it";
                    return Err(Mistake::new(span, "an alias to a value that contains it", remedy));
                };
                self.count(nodes, span)?;
                self.finish(node, 0, nodes);
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.check_tag(tag.as_deref(), span);
                self.begin(span, anchor, Inside::List(vec![]))?;
            }
            Event::MappingStart(_, anchor, tag) => {
                self.check_tag(tag.as_deref(), span);
                let inside =
                    Inside::Mapping { entries: vec![], keys: HashMap::new(), key: None, merged: vec![] };
                self.begin(span, anchor, inside)?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(span),
            Event::DocumentStart(..) if self.root.is_some() => {
                return Err(Mistake::new(
                    span,
                    "a second document",
                    "one file is one document: remove this `---`",
                ));
            }
            _ => {}
        }
        Ok(())
    }

    fn begin(&mut self, span: Span, anchor: usize, inside: Inside) -> Result<(), Mistake> {
        self.count(1, span)?;
        self.open.push(Open { span, anchor, nodes_before: self.nodes - 1, inside });
        Ok(())
    }

    fn end(&mut self, end: Span) {
        let Some(Open { mut span, anchor, nodes_before, inside }) = self.open.pop() else { return };
        if matches!(self.text.as_bytes().get(span.start), Some(b'[' | b'{')) {
            span.end = end.end;
        }
        let value = match inside {
            Inside::List(items) => Value::List(items),
            Inside::Mapping { mut entries, mut keys, merged, .. } => {
                for entry in merged {
                    if let Slot::Vacant(slot) = keys.entry(entry.key.clone()) {
                        slot.insert(entry.key_span);
                        entries.push(entry);
                    }
                }
                Value::Mapping(entries)
            }
        };
        self.finish(Node { span, value }, anchor, self.nodes - nodes_before);
    }

    /// Adds a finished node to the list or mapping around it.
    fn finish(&mut self, node: Node, anchor: usize, nodes: usize) {
        if anchor != 0 {
            self.anchors.insert(anchor, (node.clone(), nodes));
        }
        match self.open.last_mut().map(|open| &mut open.inside) {
            None => self.root = Some(node),
            Some(Inside::List(items)) => items.push(node),
            Some(Inside::Mapping { entries, keys, key, merged }) => match key.take() {
                None => *key = Some(as_key(node, self.text, &mut self.mistakes)),
                Some((name, span)) if name == "<<" => {
                    *merged = merge(span, node, std::mem::take(merged), &mut self.mistakes);
                }
                Some((name, span)) => match keys.entry(name.clone()) {
                    Slot::Vacant(slot) => {
                        slot.insert(span);
                        entries.push(Entry { key: name, key_span: span, value: node });
                    }
                    Slot::Occupied(first) => {
                        let line = line_number(self.text, first.get().start);
                        let message = format!("`{}` is a duplicate key", mask::shown(&name));
                        let remedy = format!("remove one of them: the first one is in line {line}");
                        self.mistakes.push(Mistake::new(span, message, remedy));
                    }
                },
            },
        }
    }

    /// The innermost `[` or `{` that is open.
    fn open_bracket(&self) -> Option<usize> {
        let starts = self.open.iter().rev().map(|open| open.span.start);
        starts.into_iter().find(|start| matches!(self.text.as_bytes().get(*start), Some(b'[' | b'{')))
    }

    fn count(&mut self, nodes: usize, span: Span) -> Result<(), Mistake> {
        self.nodes += nodes;
        if self.nodes <= MOST_NODES {
            return Ok(());
        }
        let message =
            format!("this file has more than {MOST_NODES} values, those repeated through aliases included");
        Err(Mistake::new(span, message, "split the file, or repeat less"))
    }

    /// Reports a tag that is not one of YAML's own (`!!str`).
    fn check_tag(&mut self, tag: Option<&Tag>, span: Span) {
        let Some(tag) = tag.filter(|tag| tag.is_custom()) else { return };
        let message = format!("the tag `{}` is not supported", mask::shown(&tag.original()));
        let remedy = "for secrets write `${env:NAME}`, `${file:/path}` or `${credential:NAME}`; put more label sets into files in `rules.d`";
        self.mistakes.push(Mistake::new(span, message, remedy));
    }

    fn span(&self, span: granit_parser::Span) -> Span {
        let range = span.byte_range().unwrap_or(0..0);
        Span { file: self.file, start: range.start, end: range.end }
    }
}

/// The text of a key. A list or mapping as key is reported; the typed text then serves as key, so that its value is read too.
fn as_key(node: Node, text: &str, mistakes: &mut Vec<Mistake>) -> (String, Span) {
    let key = match node.value {
        Value::Text(text) => text,
        Value::Nothing => String::new(),
        Value::List(_) | Value::Mapping(_) => {
            let remedy = "a value that begins with `{` or `[`, or has `${...}` inside `{...}`, needs quotes";
            mistakes.push(Mistake::new(node.span, "a key must be a word, not a list or a mapping", remedy));
            text.get(node.span.start..node.span.end).unwrap_or_default().to_owned()
        }
    };
    (key, node.span)
}

/// `<<: *other` or `<<: [*one, *other]`: the first of several equal keys wins.
fn merge(key: Span, node: Node, mut merged: Vec<Entry>, mistakes: &mut Vec<Mistake>) -> Vec<Entry> {
    match node.value {
        Value::Mapping(entries) => merged.extend(entries),
        Value::List(nodes) => {
            for node in nodes {
                merged = merge(key, node, merged, mistakes);
            }
        }
        _ => mistakes.push(Mistake::new(
            key,
            "`<<` merges mappings only",
            "write `<<: *name` after `&name` on a mapping",
        )),
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tree in a short form, and the messages.
    fn parsed(text: &str) -> (String, Vec<String>) {
        let (root, mistakes) = parse(0, text);
        (root.as_ref().map(short).unwrap_or_default(), mistakes.into_iter().map(|it| it.message).collect())
    }

    fn short(node: &Node) -> String {
        let all = |parts: Vec<String>| parts.join(" ");
        match &node.value {
            Value::Nothing => "-".to_owned(),
            Value::Text(text) => text.clone(),
            Value::List(items) => format!("[{}]", all(items.iter().map(short).collect())),
            Value::Mapping(entries) => {
                let entry = |entry: &Entry| format!("{}={}", entry.key, short(&entry.value));
                format!("{{{}}}", all(entries.iter().map(entry).collect()))
            }
        }
    }

    #[test]
    fn a_tree_is_what_yaml_says() {
        let cases = [
            ("", ""),
            ("# only a comment\n", ""),
            ("a: 1\nb: [x, 'y', \"z\", ~, null, 'null', ]", "{a=1 b=[x y z - - null]}"),
            ("a:\n  - b: c\n    d:\n", "{a=[{b=c d=-}]}"),
            ("{a: {b: 'it''s'}}", "{a={b=it's}}"),
            ("a: |\n  one\n  two\n", "{a=one\ntwo\n}"),
            ("a: &x {b: 1}\nc: *x\n", "{a={b=1} c={b=1}}"),
            // The mapping's own keys win over merged ones, and the first of several merged keys wins.
            (
                "a: &x {b: 1, c: 1}\nd: {b: 2, <<: *x}\ne: {<<: *x, b: 3}",
                "{a={b=1 c=1} d={b=2 c=1} e={b=3 c=1}}",
            ),
            ("a: &x {b: 1}\nc: &y {b: 2, d: 2}\ne: {<<: [*x, *y]}", "{a={b=1} c={b=2 d=2} e={b=1 d=2}}"),
            ("yes: no", "{yes=no}"),
        ];
        for (text, expected) in cases {
            assert_eq!(parsed(text), (expected.to_owned(), vec![]), "{text}");
        }
    }

    #[test]
    fn a_mistake_does_not_hide_the_rest() {
        let (tree, mistakes) = parsed("a: 1\na: 2\nb: !secret x\n[c]: 3\n<<: 4\nd: 5\n");
        assert_eq!(tree, "{a=1 b=x [c]=3 d=5}");
        let expected = [
            "`a` is a duplicate key",
            "the tag `!secret` is not supported",
            "a key must be a word, not a list or a mapping",
            "`<<` merges mappings only",
        ];
        assert_eq!(mistakes, expected);
    }
}
