//! Changes settings of labels in the files that somebody typed, and nothing else: comments, order and spacing stay.
//!
//! Bytes are replaced at the places where values stand. It refuses to write what it cannot read again with exactly the new
//! settings in it and everything else as it was.

mod change;
mod check;

use std::{
    fs, io,
    ops::Range,
    path::{Path, PathBuf},
};

use self::{
    change::{change_label, change_list},
    check::check,
};
use super::load::{read_bytes, rules};
use crate::yaml::tree::{self, Node, Value};

/// New settings of one label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelEdit {
    /// The source on which the label has settings of its own, which are these; `None`: they are those of its label set.
    pub source: Option<String>,
    /// The label set's name.
    pub label_set: String,
    /// The label's name.
    pub label: String,
    /// Keys and their values, as they are typed: plain words and numbers.
    pub settings: Vec<(&'static str, String)>,
}

impl LabelEdit {
    /// Where the label stands, key by key.
    fn path(&self) -> Vec<&str> {
        match &self.source {
            Some(source) => vec!["sources", source, "watch", &self.label_set, &self.label],
            None => vec!["label_sets", &self.label_set, "labels", &self.label],
        }
    }
}

/// A file with its new text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edited {
    /// The file.
    pub path: PathBuf,
    /// All of its text.
    pub text: String,
}

/// Why settings are not written; nothing is then.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// The label stands nowhere.
    #[error("there is no label `{label}` in the label set `{label_set}`")]
    Missing {
        /// The label set.
        label_set: String,
        /// The label.
        label: String,
    },
    /// It is typed in a way that cannot be changed in place.
    #[error("{}: the label `{label}` cannot be changed in place ({why}): change it by hand", .file.display())]
    Unusual {
        /// The file.
        file: PathBuf,
        /// The label.
        label: String,
        /// What is unusual.
        why: &'static str,
    },
    /// A file cannot be read or written.
    #[error("{}: {error}", .file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// Why.
        error: io::Error,
    },
}

/// The files of the configuration at `path` that change, with their new texts. Nothing is written yet.
///
/// # Errors
/// A label that is not there or cannot be changed in place.
pub fn edited(path: &Path, edits: &[LabelEdit]) -> Result<Vec<Edited>, EditError> {
    let io = |file: &Path| {
        let file = file.to_owned();
        move |error| EditError::Io { file, error }
    };
    let mut files = vec![path.to_owned()];
    files.extend(rules(path).map_err(io(path))?);
    let (mut changed, mut done) = (vec![], vec![false; edits.len()]);
    for file in files {
        let bytes = read_bytes(&file).map_err(io(&file))?;
        let Ok(text) = String::from_utf8(bytes) else { continue };
        let body = text.strip_prefix('\u{feff}').unwrap_or(&text);
        let (Some(root), _) = tree::parse(0, body) else { continue };
        let here = (0..edits.len()).filter(|edit| {
            labels(&root, &edits[*edit]).is_some_and(|labels| has(labels, &edits[*edit].label))
        });
        let here = here.collect::<Vec<_>>();
        if here.is_empty() {
            continue;
        }
        here.iter().for_each(|edit| done[*edit] = true);
        let own = here.iter().map(|edit| &edits[*edit]).collect::<Vec<_>>();
        let new = edit_text(body, &root, &own).map_err(|(label, why)| EditError::Unusual {
            file: file.clone(),
            label,
            why,
        })?;
        let mark = &text[..text.len() - body.len()];
        changed.push(Edited { path: file, text: format!("{mark}{new}") });
    }
    match done.iter().position(|done| !done) {
        None => Ok(changed),
        Some(missing) => {
            let LabelEdit { label_set, label, .. } = edits[missing].clone();
            Err(EditError::Missing { label_set, label })
        }
    }
}

impl Edited {
    /// Replaces the file in one step, so that nobody ever reads half of it. A link stays a link; permissions stay.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn write(&self) -> Result<(), EditError> {
        let replace = || {
            let target = fs::canonicalize(&self.path)?;
            let permissions = fs::metadata(&target)?.permissions();
            let mut name = target.file_name().unwrap_or_default().to_owned();
            name.push(".new");
            let beside = target.with_file_name(name);
            fs::write(&beside, &self.text)?;
            fs::set_permissions(&beside, permissions)?;
            fs::File::open(&beside)?.sync_all()?;
            fs::rename(&beside, &target)
        };
        replace().map_err(|error| EditError::Io { file: self.path.clone(), error })
    }
}

/// A label, and why it cannot be changed.
type Refused = (String, &'static str);

fn edit_text(text: &str, root: &Node, edits: &[&LabelEdit]) -> Result<String, Refused> {
    let mut changes: Vec<(Range<usize>, String)> = vec![];
    let mut lists: Vec<&str> = vec![];
    for edit in edits {
        let refuse = |why| (edit.label.clone(), why);
        match labels(root, edit).map(|node| (&node.value, node)) {
            Some((Value::Mapping(entries), _)) => {
                let entry = entries
                    .iter()
                    .find(|entry| entry.key == edit.label)
                    .ok_or_else(|| refuse("it is gone"))?;
                changes.extend(change_label(text, entry, edit).map_err(refuse)?);
            }
            Some((Value::List(items), node)) if !lists.contains(&&*edit.label_set) => {
                lists.push(&edit.label_set);
                let own = edits
                    .iter()
                    .copied()
                    .filter(|other| other.source.is_none() && other.label_set == edit.label_set)
                    .collect::<Vec<_>>();
                changes.extend(change_list(text, node, items, &own).map_err(refuse)?);
            }
            _ => {}
        }
    }
    changes.sort_by_key(|(range, _)| (range.start, range.end));
    if changes.windows(2).any(|pair| pair[0].0.end > pair[1].0.start) {
        return Err((edits[0].label.clone(), "two labels share what would change"));
    }
    let (mut new, mut at) = (String::with_capacity(text.len() + 256), 0);
    for (range, replacement) in changes {
        new.push_str(&text[at..range.start]);
        new.push_str(&replacement);
        at = range.end;
    }
    new.push_str(&text[at..]);
    check(root, &new, edits)?;
    Ok(new)
}

/// What the label stands in.
fn labels<'n>(root: &'n Node, edit: &LabelEdit) -> Option<&'n Node> {
    let path = edit.path();
    path[..path.len() - 1].iter().try_fold(root, |node, key| child(node, key))
}

fn child<'n>(node: &'n Node, key: &str) -> Option<&'n Node> {
    match &node.value {
        Value::Mapping(entries) => entries.iter().find(|entry| entry.key == key).map(|entry| &entry.value),
        _ => None,
    }
}

fn has(labels: &Node, label: &str) -> bool {
    match &labels.value {
        Value::Mapping(entries) => entries.iter().any(|entry| entry.key == label),
        Value::List(items) => {
            items.iter().any(|item| matches!(&item.value, Value::Text(name) if name == label))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tuned(label: &str) -> LabelEdit {
        let settings = vec![("threshold", "0.61".to_owned()), ("hold", "2 of 3".to_owned())];
        LabelEdit { source: None, label_set: "porch".to_owned(), label: label.to_owned(), settings }
    }

    fn changed(text: &str, labels: &[&str]) -> Result<String, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("stakeout.yaml");
        fs::write(&path, text).unwrap();
        let edits = labels.iter().map(|label| tuned(label)).collect::<Vec<_>>();
        let files = edited(&path, &edits).map_err(|error| error.to_string())?;
        files.iter().try_for_each(Edited::write).map_err(|error| error.to_string())?;
        Ok(fs::read_to_string(path).unwrap())
    }

    #[test]
    fn a_table_of_forms() {
        let long = "{ threshold: 0.61, hold: 2 of 3 }";
        let cases = [
            ("short", "dog: 0.5   # barks", format!("dog: {long}   # barks")),
            ("quoted", "\"dog\": \"0.5\"", format!("\"dog\": {long}")),
            ("nothing", "dog:   # barks", format!("dog: {long}   # barks")),
            ("null", "dog: ~", format!("dog: {long}")),
            ("flow", "dog: { threshold: 0.5 } # b", "dog: { hold: 2 of 3, threshold: 0.61 } # b".to_owned()),
            ("empty", "dog: {}", "dog: { threshold: 0.61, hold: 2 of 3 }".to_owned()),
            (
                "block",
                "dog:\n        # how it barks\n        prompts: [a dog, a hound]  # both\n        threshold: 0.5  # high\n        # and so on\n        cooldown: 5m",
                "dog:\n        # how it barks\n        prompts: [a dog, a hound]  # both\n        threshold: 0.61  # high\n        # and so on\n        cooldown: 5m\n        hold: 2 of 3".to_owned(),
            ),
            (
                "block without a plain value",
                "dog:\n        prompts:\n          - a dog",
                "dog:\n        threshold: 0.61\n        hold: 2 of 3\n        prompts:\n          - a dog".to_owned(),
            ),
        ];
        let around = |label: &str| {
            format!(
                "# mine\nmqtt: {{ url: mqtt://h }}\nlabel_sets:\n  porch:\n    labels:\n      cat: 0.3 # soft\n      {label}\n      猫: 0.2\n"
            )
        };
        for (name, typed, expected) in cases {
            assert_eq!(changed(&around(typed), &["dog"]).unwrap(), around(&expected), "{name}");
        }
    }

    #[test]
    fn lists_become_mappings() {
        let set = |labels: &str| format!("label_sets:\n  porch:\n    labels:{labels}\n");
        let long = "{ threshold: 0.61, hold: 2 of 3 }";
        assert_eq!(
            changed(&set(" [dog, cat] # two"), &["dog"]).unwrap(),
            set(&format!(" {{dog: {long}, cat: ~}} # two"))
        );
        assert_eq!(
            changed(&set("\n    - dog # b\n    - cat"), &["dog", "cat"]).unwrap(),
            set(&format!("\n      dog: {long} # b\n      cat: {long}")),
        );
        assert!(
            changed(&set("\n    - dog\n    -   cat"), &["dog"]).is_err(),
            "the names would not stand below each other"
        );
    }

    #[test]
    fn what_a_label_is_on_a_source_is_changed_there() {
        let text = |dog: &str| {
            format!(
                "label_sets:\n  porch:\n    labels: [dog, cat]\nsources:\n  door: {{ folder: a, watch: {{ porch: {{ dog: {dog} }} }} }} # front\n"
            )
        };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("stakeout.yaml");
        fs::write(&path, text("0.8")).unwrap();
        let here = LabelEdit { source: Some("door".to_owned()), ..tuned("dog") };
        let files = edited(&path, std::slice::from_ref(&here)).unwrap();
        assert_eq!(files[0].text, text("{ threshold: 0.61, hold: 2 of 3 }"));
        let files = edited(&path, &[here, tuned("cat")]).unwrap();
        assert!(
            files[0].text.contains("labels: {dog: ~, cat: { threshold: 0.61, hold: 2 of 3 }}"),
            "{}",
            files[0].text
        );
        let other = LabelEdit { source: Some("back".to_owned()), ..tuned("dog") };
        assert!(edited(&path, &[other]).is_err());
    }

    #[test]
    fn what_cannot_be_changed_in_place_is_refused_and_nothing_is_written() {
        let text =
            "label_sets:\n  porch:\n    labels:\n      cat: &strict { threshold: 0.5 }\n      dog: *strict\n";
        assert!(changed(text, &["dog"]).unwrap_err().contains("its value is an alias"));
        assert!(changed(text, &["cow"]).unwrap_err().contains("there is no label `cow`"));
        let merged = "label_sets:\n  porch:\n    labels:\n      cat: &strict\n        threshold: 0.5\n      dog:\n        <<: *strict\n        cooldown: 5m\n";
        let new = changed(merged, &["dog"]).unwrap();
        assert_eq!(new, format!("{merged}        threshold: 0.61\n        hold: 2 of 3\n"));
        assert!(changed(merged, &["cat"]).is_err(), "the dog would change, too");
    }

    #[test]
    fn line_ends_the_mark_at_the_start_links_and_permissions_stay() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let folder = tempfile::tempdir().unwrap();
        let (real, link) = (folder.path().join("real.yaml"), folder.path().join("stakeout.yaml"));
        fs::write(
            &real,
            "\u{feff}label_sets:\r\n  porch:\r\n    labels:\r\n      dog:\r\n        threshold: 0.5\r\n",
        )
        .unwrap();
        fs::set_permissions(&real, fs::Permissions::from_mode(0o640)).unwrap();
        symlink(&real, &link).unwrap();
        for edited in edited(&link, &[tuned("dog")]).unwrap() {
            edited.write().unwrap();
        }
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::metadata(&real).unwrap().permissions().mode() & 0o777, 0o640);
        let text = fs::read_to_string(&real).unwrap();
        assert!(
            text.starts_with('\u{feff}') && text.ends_with("threshold: 0.61\r\n        hold: 2 of 3\r\n"),
            "{text:?}"
        );
    }
}
