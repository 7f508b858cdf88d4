//! What `config/reference.yaml` says of each key: its comment, and the value that it shows.
//!
//! The file is written for people and read here line by line: `key: value  # comment`, where the comment goes on in lines that
//! hold nothing else, and `# key: value` is a key that is not there in this file. A comment that speaks of a default has the last word.

use std::collections::HashMap;

const TEXT: &str = include_str!("../../../config/reference.yaml");
/// Below these stand names that people choose; a `*` stands for each of them.
const NAMED: &[&str] =
    &["label_sets", "label_sets.*.labels", "label_sets.*.rules", "sources", "sources.*.regions"];
/// A comment that begins so far to the right goes on with the line before.
const ASIDE: usize = 20;

pub(super) struct Reference(HashMap<String, Said>);

struct Said {
    value: String,
    comment: String,
}

impl Reference {
    pub(super) fn read() -> Self {
        let (mut said, mut open): (HashMap<String, Said>, Vec<(usize, String)>) = (HashMap::new(), vec![]);
        let mut last: Option<String> = None;
        for line in TEXT.lines() {
            let Some(Line { indent, key, value, comment }) = read(line) else {
                let trimmed = line.trim_start();
                let more = trimmed.strip_prefix("# ").filter(|_| line.len() - trimmed.len() >= ASIDE);
                if let (Some(more), Some(said)) = (more, last.as_ref().and_then(|path| said.get_mut(path))) {
                    said.comment = format!("{} {more}", said.comment);
                }
                continue;
            };
            open.retain(|(other, _)| *other < indent);
            let above = open.last().map_or("", |(_, path)| path.as_str());
            let name = if NAMED.contains(&above) { "*" } else { key };
            let path = if above.is_empty() { name.to_owned() } else { format!("{above}.{name}") };
            open.push((indent, path.clone()));
            // The first place that says something of a key is the one that explains it.
            last = None;
            if said.get(&path).is_none_or(|said| said.comment.is_empty()) {
                let (value, comment) = (value.to_owned(), comment.to_owned());
                said.insert(path.clone(), Said { value, comment });
                last = Some(path);
            }
        }
        Self(said)
    }

    /// One that says nothing.
    pub(super) fn nothing() -> Self {
        Self(HashMap::new())
    }

    pub(super) fn description(&self, path: &str) -> Option<&str> {
        let comment = self.0.get(path)?.comment.as_str();
        (!comment.is_empty()).then_some(comment)
    }

    /// The value that is shown, unless its comment speaks of the default in words.
    pub(super) fn default(&self, path: &str) -> Option<&str> {
        let Said { value, comment } = self.0.get(path)?;
        let plain = !value.is_empty() && !value.starts_with(['[', '{']);
        (plain && !comment.contains("default") && !path.ends_with('*')).then_some(value)
    }

    /// The value that is shown, whatever it stands for.
    pub(super) fn example(&self, path: &str) -> Option<&str> {
        self.0.get(path).map(|said| said.value.as_str()).filter(|value| !value.is_empty())
    }
}

struct Line<'t> {
    indent: usize,
    key: &'t str,
    value: &'t str,
    comment: &'t str,
}

fn read(line: &str) -> Option<Line<'_>> {
    let trimmed = line.trim_start();
    let outer = line.len() - trimmed.len();
    let absent = trimmed.strip_prefix("# ").filter(|_| outer < ASIDE);
    let typed = absent.unwrap_or(trimmed);
    let inner = typed.len() - typed.trim_start().len();
    let (key, rest) = typed.trim_start().split_once(':')?;
    let is_key = |letter: char| letter.is_ascii_lowercase() || "_-".contains(letter);
    if key.is_empty() || !key.chars().all(is_key) || !(rest.is_empty() || rest.starts_with(' ')) {
        return None;
    }
    let (value, comment) = rest.split_once(" # ").unwrap_or((rest, ""));
    Some(Line { indent: outer + inner, key, value: value.trim(), comment: comment.trim() })
}
