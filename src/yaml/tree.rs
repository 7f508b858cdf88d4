//! Parses YAML into a tree in which every key and every value has its place.
//!
//! Hostile YAML is reported like any other mistake: too many levels, or aliases that repeat too much. Values stay text: whether
//! `1.0` is a number or a name is decided by the code that reads the setting.

use std::collections::{HashMap, hash_map::Entry as Slot};

use granit_parser::{Event, Parser, ScalarStyle, Tag};

use super::{
    edits::{Edit, Edits, Loss},
    error::{Mistake, Span, line_number},
    mask,
    recovery::ways,
    syntax::{self, Fault, Report},
};

/// The most values in one file, those repeated through aliases included.
const MOST_NODES: usize = 50_000;
/// A text counts as one more value for each of these, so that repeating a long text is limited as well.
const BYTES_OF_A_NODE: usize = 64;
/// The most levels.
const DEEPEST: usize = 32;
/// The most attempts to read a file that is no YAML, and the most bytes that they read together: hostile files must not take long.
const MOST_ATTEMPTS: usize = 150;
const MOST_BYTES: usize = 2 << 20;

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

/// What can be read of a file.
pub struct Parsed {
    /// `None` if the file has no values, or if nothing in it can be read.
    pub root: Option<Node>,
    /// What is wrong with it.
    pub mistakes: Vec<Mistake>,
    /// The parts that could not be read.
    pub losses: Vec<Loss>,
}

/// Parses the text of file number `file`. The tree is `None` for a file without values and for one that is no YAML.
pub fn parse(file: usize, text: &str) -> (Option<Node>, Vec<Mistake>) {
    let Built { root, mut mistakes, fault, .. } = build(file, text, &Edits::default());
    match fault {
        None => (root, mistakes),
        Some(fault) => {
            mistakes.push(fault.mistake);
            (None, mistakes)
        }
    }
}

/// Parses a text as [`parse`] does. After a place that is no YAML it goes on, without the entry around that place if there is no
/// other way, so that one mistake does not hide the others.
pub fn parse_all(file: usize, text: &str) -> Parsed {
    let (mut edits, mut faults, mut attempts) = (Edits::default(), Vec::<Mistake>::new(), 0);
    let mut built = build(file, text, &edits);
    while let Some(fault) = built.fault {
        let ways = if built.too_large { vec![] } else { ways(text, &fault) };
        faults.push(fault.mistake);
        let goes_on = |built: &Built, edits: &Edits| {
            let Some(Fault { mistake: next, .. }) = &built.fault else { return true };
            let line = line_number(text, next.span.start);
            let is_reported = faults.iter().any(|fault| line_number(text, fault.span.start) == line);
            !is_reported && !edits.losses().any(|loss| loss.range.contains(&next.span.start))
        };
        let next = ways.into_iter().find_map(|way| {
            attempts += 1;
            let edits = edits.and(&way);
            let built = (attempts <= MOST_ATTEMPTS && attempts * text.len() <= MOST_BYTES)
                .then(|| build(file, text, &edits))?;
            goes_on(&built, &edits).then_some((edits, built))
        });
        let Some(next) = next else {
            // Half a tree would lead to further mistakes that are none.
            faults.append(&mut built.mistakes);
            return Parsed {
                root: None,
                mistakes: faults,
                losses: vec![Loss { range: 0..text.len(), names: true }],
            };
        };
        (edits, built) = next;
    }
    let losses: Vec<_> = edits.losses().cloned().collect();
    built.mistakes.retain(|mistake| !losses.iter().any(|loss| loss.range.contains(&mistake.span.start)));
    faults.append(&mut built.mistakes);
    Parsed { root: built.root, mistakes: faults, losses }
}

/// A tree, or a part of it up to a place that is no YAML.
struct Built {
    root: Option<Node>,
    mistakes: Vec<Mistake>,
    fault: Option<Fault>,
    /// Whether the file has too many values: then nothing more is read of it.
    too_large: bool,
}

/// Parses the text with some changes. All places are those in the text as typed.
fn build(file: usize, text: &str, edits: &Edits) -> Built {
    let mut builder = Builder {
        file,
        text,
        edits,
        open: vec![],
        anchors: HashMap::new(),
        nodes: 0,
        root: None,
        mistakes: vec![],
    };
    let changed = edits.apply(text);
    let options = granit_parser::options! { block_nesting_limit: DEEPEST, flow_nesting_limit: DEEPEST };
    let result = Parser::new_from_str_with_options(&changed, options).try_for_each(|event| match event {
        Ok((event, span)) => builder.take(event, span),
        Err(error) => {
            let at = error.marker().byte_offset().unwrap_or(0);
            let bracket = builder.open_bracket().map(|at| edits.changed(at));
            // What was repaired is no cause of a further fault.
            let Fault { mut mistake, repairs } =
                syntax::explain(&changed, Report { file, at, kind: error.kind(), bracket });
            let Span { start, end, .. } = mistake.span;
            mistake.span = Span { file, start: edits.typed(start), end: edits.typed(end) };
            let typed = |repair: Vec<Edit>| repair.into_iter().map(|edit| edits.typed_edit(edit)).collect();
            Err(Fault { mistake, repairs: repairs.into_iter().map(typed).collect() })
        }
    });
    let too_large = builder.nodes > MOST_NODES;
    Built { root: builder.root, mistakes: builder.mistakes, fault: result.err(), too_large }
}

struct Builder<'t> {
    file: usize,
    text: &'t str,
    edits: &'t Edits,
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
    fn take(&mut self, event: Event<'_>, span: granit_parser::Span) -> Result<(), Fault> {
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
                    return Err(Mistake::new(span, "an alias to a value that contains it", remedy).into());
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
                let remedy = "one file is one document: remove this `---`";
                let rest = span.start..self.text.len();
                let cut = Edit {
                    range: rest.clone(),
                    with: String::new(),
                    loss: Some(Loss { range: rest, names: true }),
                };
                return Err(Fault {
                    mistake: Mistake::new(span, "a second document", remedy),
                    repairs: vec![vec![cut]],
                });
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
                        let message = format!("`{}` is a duplicate key", mask::shown_entry(&name));
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
        Span { file: self.file, start: self.edits.typed(range.start), end: self.edits.typed(range.end) }
    }
}

/// The text of a key. A list or mapping as key is reported; the typed text then serves as key, so that its value is read too.
fn as_key(node: Node, text: &str, mistakes: &mut Vec<Mistake>) -> (String, Span) {
    let key = match node.value {
        Value::Text(text) => text,
        Value::Nothing => {
            let typed = text.get(node.span.start..node.span.end).unwrap_or_default();
            if !typed.is_empty() {
                let message = format!("`{}` without quotes is no name", mask::shown(typed));
                mistakes.push(Mistake::new(
                    node.span,
                    message,
                    format!("put quotes around it: `\"{typed}\"`"),
                ));
            }
            typed.to_owned()
        }
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

    #[test]
    fn the_rest_of_broken_yaml_is_read() {
        let cases = [
            // A missing colon is reported in the line that lacks it.
            ("a\n  b: 1\nc: 2\n", "{a={b=1} c=2}", &["1 there is no colon after `a`"][..]),
            ("a:\n  b 1\n  c: 2\n", "{a={b=1 c=2}}", &["2 there is no colon after `b`"]),
            ("a:\n  b: 1\n  c 2\nd: 3\n", "{a={b=1 c=2} d=3}", &["3 there is no colon after `c`"]),
            (
                "a:\n  b 1\n  c 2\n  d: 3\n",
                "{a={b=1 c=2 d=3}}",
                &["2 there is no colon after `b`", "3 there is no colon after `c`"],
            ),
            // Each of several mistakes is reported, and everything else is read.
            (
                "a: \"x\nb: [1, 2\nc:\n  d: @e\n  f: g: h\n  i: 3\nk: *l\nm: 5\n",
                "{a=x b=[1 2] c={d=- f=- i=3} k=- m=5}",
                &[
                    "1 a quote is not closed in its line",
                    "2 a bracket is not closed: the YAML breaks off in line 3",
                    "4 this is not YAML",
                    "5 a colon in a text without quotes",
                    "7 an alias to an anchor",
                ],
            ),
            ("a:\n\tb: 1\n\tc: 2\nd: 3\n", "{a={b=1 c=2} d=3}", &["2 a tab in the indentation"]),
            ("a:\n  b: 1\n   c: 2\nd: 3\n", "{a={b=1 c=2} d=3}", &["3 this line is indented deeper"]),
            ("a:\n    b: 1\n  c: 2\nd: 3\n", "{a={b=1 c=2} d=3}", &["3 the indentation of this line"]),
            ("a: 1\n---\na: 2\n", "{a=1}", &["2 a second document"]),
            ("a: [1, 2}\nb: 3\n", "{a=- b=3}", &["1 this is not YAML"]),
            ("- a\nb: 1\n", "[a]", &["2 "]),
        ];
        for (text, tree, expected) in cases {
            let Parsed { root, mut mistakes, .. } = parse_all(0, text);
            mistakes.sort_by_key(|mistake| mistake.span.start);
            let line =
                |mistake: &Mistake| format!("{} {}", line_number(text, mistake.span.start), mistake.message);
            let found: Vec<_> = mistakes.iter().map(line).collect();
            assert_eq!(root.as_ref().map(short).unwrap_or_default(), tree, "{text}{found:#?}");
            assert_eq!(found.len(), expected.len(), "{text}{found:#?}");
            assert!(
                found.iter().zip(expected).all(|(found, start)| found.starts_with(start)),
                "{text}{found:#?}"
            );
        }
    }
}
