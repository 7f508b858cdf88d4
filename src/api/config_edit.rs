//! `config_edit`: changes settings in place in the text of the configuration: a label's settings, a new label, label set or source.
//! Comments, order and spacing stay. The new text is returned, with the lines to paste; or it is saved at once.
//!
//! The change is made in the file that has the label, label set or source. A save changes the main file only.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    config_save,
    configuration::{self, ConfigProblem, Configuration},
    error::{Error, Kind},
    role::Role,
    service::Service,
    verb::{Answer, Method, Verb},
};
use crate::{
    classify::score::Activation,
    config::{
        Replaced,
        additions::{self, AddError},
        edit::{self, LabelEdit},
        label_keys,
        main_file::{self, Obstacle, ReadFile},
    },
    yaml::names,
};

/// The most changes in one request.
const MOST_CHANGES: usize = 64;

/// The verb.
pub const VERB: Verb<Request, Response> = Verb {
    name: "config_edit",
    method: Method::Post,
    summary: "Changes labels, label sets and sources in the text of the configuration, and keeps its comments.",
    answer: Answer::ForRole(|service, role, request| {
        Box::pin(async move { answer(&service, role, request).await })
    }),
};

/// The changes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// What changes, in this order; all in one file.
    pub changes: Vec<Change>,
    /// Whether the new text is saved at once. If that is not possible, the answer says why and has the lines to paste.
    #[serde(default)]
    pub save: bool,
    /// The tag of the main file that the client has seen (`config`); a save is refused if the file has changed since. Without
    /// it, the changes are made in the file as it is now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Change {
    /// Changes settings of a label that exists; other settings of it stay.
    SetLabel {
        /// The source on which they hold; in the label set if there is none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        source: Option<String>,
        /// The name of the label set.
        label_set: String,
        /// The name of the label.
        label: String,
        /// Keys and values as in the file, such as `{"threshold": 0.6, "hold": "2 of 3", "prompts": ["a dog"]}`.
        settings: Map<String, Value>,
    },
    /// Adds a label to a label set.
    AddLabel {
        /// The name of the label set.
        label_set: String,
        /// The name of the new label.
        label: String,
        /// Its settings; none if there are none.
        #[serde(default)]
        settings: Map<String, Value>,
    },
    /// Adds a label set to the main file.
    AddLabelSet {
        /// The name of the new label set.
        label_set: String,
        /// Its settings as in the file, such as `{"background": ["an empty yard"], "labels": {"fox": 0.5}}`.
        settings: Map<String, Value>,
    },
    /// Adds a source to the main file.
    AddSource {
        /// The name of the new source.
        source: String,
        /// Its settings as in the file, such as `{"rtsp": "rtsp://camera/stream", "watch": ["porch"]}`.
        settings: Map<String, Value>,
    },
    /// Lets a source watch one more label set.
    Watch {
        /// The name of the source.
        source: String,
        /// The name of the label set.
        label_set: String,
    },
}

/// The new text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Response {
    /// The file that changes.
    pub path: String,
    /// Its whole new text.
    pub text: String,
    /// Whether passwords in the texts are replaced by `***`.
    pub masked: bool,
    /// What changes in the file, for people who make the change themselves.
    pub lines: Lines,
    /// What is wrong with the new text. An invalid text is not saved.
    pub problems: Vec<ConfigProblem>,
    /// Whether it was saved.
    pub saved: bool,
    /// The tag of the main file now.
    pub tag: String,
    /// Why it was not, or could not be, saved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why_not: Option<String>,
    /// What to do about that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

/// Lines of a file that are replaced by others.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Lines {
    /// The first line that is replaced, from 1; or the line before which new lines are added.
    pub first: usize,
    /// The lines as they are; empty if lines are only added.
    pub before: String,
    /// The new lines.
    pub after: String,
}

/// Answers the request.
///
/// # Errors
/// The client may only look; a change is impossible; or the save is refused.
pub async fn answer(service: &Arc<Service>, role: Role, request: Request) -> Result<Response, Error> {
    let configuration = service.configuration()?;
    if role != Role::Change {
        return Err(Error::new(Kind::Forbidden, "this client may only look")
            .remedy("Sign in with the right to change something."));
    }
    let allowed = configuration.allow_editing(role);
    checked(&request, allowed.is_ok())?;
    let activation = service.activation();
    let (changes, wanted) = (request.changes, request.tag);
    let edited = service
        .on_configuration(move |path| edited(path, &changes, wanted.as_deref(), allowed, activation))
        .await?;
    let shown = |text: &str| configuration.shown(role, text.to_owned());
    let mut response = Response {
        path: edited.path.display().to_string(),
        masked: !configuration.shows_secrets(role),
        lines: Lines::shown(&edited.before, &edited.after, shown),
        text: shown(&edited.after),
        problems: edited.problems,
        saved: false,
        tag: edited.tag,
        why_not: edited.obstacle.as_ref().map(|obstacle| obstacle.what.clone()),
        remedy: edited.obstacle.as_ref().map(|obstacle| obstacle.remedy.clone()),
    };
    if request.save && edited.obstacle.is_none() && response.problems.is_empty() {
        let saved = config_save::answer(service, role, &edited.after, &response.tag).await?;
        response.saved = true;
        response.tag = saved.tag;
        response.problems = saved.problems;
    }
    Ok(response)
}

/// Refuses changes that no text can have.
fn checked(request: &Request, may_edit: bool) -> Result<(), Error> {
    let wrong = |what: String| Err(Error::parameter("changes", what));
    match request.changes.len() {
        0 => return wrong("there is no change".to_owned()),
        count if count > MOST_CHANGES => {
            return wrong(format!("there are {count} changes, and {MOST_CHANGES} are allowed"));
        }
        _ => {}
    }
    for change in &request.changes {
        let (Change::SetLabel { settings, .. }
        | Change::AddLabel { settings, .. }
        | Change::AddLabelSet { settings, .. }
        | Change::AddSource { settings, .. }) = change
        else {
            continue;
        };
        if !may_edit && settings.values().any(has_reference) {
            return wrong(
                "a value has a reference such as `${file:...}`, which only an editor of the file may write"
                    .to_owned(),
            );
        }
        if let Change::SetLabel { settings, .. } = change {
            if settings.is_empty() {
                return wrong("there is no setting".to_owned());
            }
            let known = label_keys();
            if let Some(key) = settings.keys().find(|key| !known.iter().any(|known| known == key)) {
                let suggestion = names::suggest(key, &known);
                return wrong(format!("a label has no key `{key}`; {suggestion}"));
            }
        }
    }
    Ok(())
}

/// Whether a value makes the service read something else.
fn has_reference(value: &Value) -> bool {
    match value {
        // `$${` is a literal `${`.
        Value::String(text) => text.match_indices("${").any(|(at, _)| !text[..at].ends_with('$')),
        Value::Array(items) => items.iter().any(has_reference),
        Value::Object(map) => map.values().any(has_reference),
        _ => false,
    }
}

/// A file with its changes.
struct EditedFile {
    path: PathBuf,
    before: String,
    after: String,
    problems: Vec<ConfigProblem>,
    /// Of the main file.
    tag: String,
    obstacle: Option<Obstacle>,
}

fn edited(
    main: &Path,
    changes: &[Change],
    wanted: Option<&str>,
    allowed: Result<(), Error>,
    activation: Option<Activation>,
) -> Result<EditedFile, Error> {
    let read = |path: &Path| -> Result<ReadFile, Error> {
        let failed = |what: String| {
            Error::new(Kind::Conflict, format!("{}: {what}", path.display()))
                .remedy("Repair the file on the machine.")
        };
        let file = main_file::read(path).map_err(|error| failed(format!("the file {error}")))?;
        match file.damage {
            Some(damage) => Err(failed(damage)),
            None => Ok(file),
        }
    };
    let main_text = read(main)?;
    if wanted.is_some_and(|wanted| wanted != main_text.tag) {
        return Err(Error::new(Kind::Conflict, "the file has changed since you read it")
            .at("tag")
            .remedy("Look at it again, and repeat the change."));
    }
    let path = file_of(main, &main_text.text, &changes[0], &read)?;
    let before = if path == main { main_text.text.clone() } else { read(&path)?.text };
    let mut after = before.clone();
    for change in changes {
        after = apply(&after, &main_text.text, change)?;
    }
    let checked = configuration::check(main, Replaced { file: &path, text: &after }, activation)?;
    let obstacle = if path == main {
        Configuration::obstacle(main, allowed)
    } else {
        Some(Obstacle {
            what: format!("the change is in {}, and only the main file is saved here", path.display()),
            remedy: "Make the change in this file on the machine.".to_owned(),
        })
    };
    let problems = Configuration::problems(main, checked.as_ref().err());
    Ok(EditedFile { path, before, after, problems, tag: main_text.tag, obstacle })
}

/// The file with the label set or the source that a change is about; the main file for everything else.
fn file_of(
    main: &Path,
    text: &str,
    change: &Change,
    read: &impl Fn(&Path) -> Result<ReadFile, Error>,
) -> Result<PathBuf, Error> {
    let path = match change {
        Change::SetLabel { source: None, label_set, .. } | Change::AddLabel { label_set, .. } => {
            ["label_sets", label_set]
        }
        Change::SetLabel { source: Some(source), .. } | Change::Watch { source, .. } => ["sources", source],
        Change::AddLabelSet { .. } | Change::AddSource { .. } => return Ok(main.to_owned()),
    };
    if additions::has(text, &path) {
        return Ok(main.to_owned());
    }
    for file in main_file::included(main) {
        if read(&file).is_ok_and(|found| additions::has(&found.text, &path)) {
            return Ok(file);
        }
    }
    // The change says what is missing.
    Ok(main.to_owned())
}

/// The text with one change; `main` is the text of the main file.
fn apply(text: &str, main: &str, change: &Change) -> Result<String, Error> {
    let text = &match change {
        Change::SetLabel { source: Some(source), .. } | Change::Watch { source, .. } => {
            additions::with_own_watch(text, main, source).map_err(refused)?
        }
        _ => text.to_owned(),
    };
    let changed = match change {
        Change::SetLabel { source, label_set, label, settings } => {
            let keys = label_keys().into_iter();
            let set = keys.filter_map(|key| Some((key, additions::in_one_line(settings.get(key)?))));
            let edit = LabelEdit {
                source: source.clone(),
                label_set: label_set.clone(),
                label: label.clone(),
                settings: set.collect(),
            };
            match (edit::changed(text, &edit), source) {
                (Some(changed), _) => {
                    return changed.map_err(|why| {
                        Error::new(
                            Kind::Conflict,
                            format!("the label `{label}` cannot be changed in place ({why})"),
                        )
                        .remedy("Change it in the text.")
                    });
                }
                (None, Some(source)) => additions::adjustment(text, source, label_set, label, settings),
                (None, None) => Err(AddError::Missing(format!("{label_set}/{label}"))),
            }
        }
        Change::AddLabel { label_set, label, settings } => additions::label(text, label_set, label, settings),
        Change::AddLabelSet { label_set, settings } => {
            additions::entry(text, &["label_sets"], label_set, &Value::Object(settings.clone()))
        }
        Change::AddSource { source, settings } => {
            additions::entry(text, &["sources"], source, &Value::Object(settings.clone()))
        }
        Change::Watch { source, label_set } => additions::watch(text, source, label_set),
    };
    changed.map_err(refused)
}

/// Why a change is not made.
fn refused(error: AddError) -> Error {
    let what = error.to_string();
    match error {
        AddError::Missing(_) => Error::parameter("changes", what),
        AddError::Exists(_) => {
            Error::new(Kind::Conflict, what).remedy("Choose another name, or change the existing entry.")
        }
        AddError::Unusual(_) => Error::new(Kind::Conflict, what),
    }
}

impl Lines {
    /// The lines that differ, with texts as the client may see them. What the client itself has typed is not hidden from it: lines that
    /// are only added.
    fn shown(before: &str, after: &str, shown: impl Fn(&str) -> String) -> Self {
        let lines = Self::between(before, after);
        if lines.before.is_empty() { lines } else { Self::between(&shown(before), &shown(after)) }
    }

    /// The lines that differ: those between the first and the last lines that are the same.
    fn between(before: &str, after: &str) -> Self {
        let (old, new): (Vec<_>, Vec<_>) =
            (before.split_inclusive('\n').collect(), after.split_inclusive('\n').collect());
        let same_start = old.iter().zip(&new).take_while(|(old, new)| old == new).count();
        let (old, new) = (&old[same_start..], &new[same_start..]);
        let same_end = old.iter().rev().zip(new.iter().rev()).take_while(|(old, new)| old == new).count();
        Self {
            first: same_start + 1,
            before: old[..old.len() - same_end].concat(),
            after: new[..new.len() - same_end].concat(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::json;

    use super::*;
    use crate::api::configuration::tests::{TEXT, service};

    fn request(changes: Value) -> Request {
        serde_json::from_value(json!({ "changes": changes })).unwrap()
    }

    async fn edit(changes: Value) -> Result<Response, Error> {
        let (_folder, service, _state) = service(false);
        answer(&service, Role::Change, request(changes)).await
    }

    #[tokio::test]
    async fn each_kind_of_change_keeps_everything_else() {
        for (change, from, to) in [
            (
                json!({ "kind": "set_label", "label_set": "porch", "label": "person", "settings": { "threshold": 0.61, "hold": "2 of 3" } }),
                "person: 0.7  #",
                "person: { threshold: 0.61, hold: 2 of 3 }  #",
            ),
            (
                json!({ "kind": "set_label", "source": "inbox", "label_set": "porch", "label": "person", "settings": { "threshold": 0.8 } }),
                "watch: [porch]",
                "watch: {porch: { person: 0.8 }}",
            ),
            (
                json!({ "kind": "add_label", "label_set": "porch", "label": "dog", "settings": { "threshold": 0.5 } }),
                "# soft\n",
                "# soft\n      dog: 0.5\n",
            ),
            (
                json!({ "kind": "add_source", "source": "door", "settings": { "rtsp": "rtsp://h/s", "watch": ["porch"] } }),
                "watch: [porch] }\n",
                "watch: [porch] }\n  door: { rtsp: \"rtsp://h/s\", watch: [porch] }\n",
            ),
        ] {
            let edited = edit(json!([change])).await.unwrap();
            let expected = crate::config::masked(&TEXT.replacen(from, to, 1));
            assert_eq!(edited.text, expected, "{change}");
            assert_eq!(edited.problems, [], "{change}");
            assert!(!edited.saved && edited.masked, "{change}");
            assert!(edited.why_not.is_some_and(|why| why.contains("does not allow")), "{change}");
            let lines = &edited.lines;
            assert!(expected.contains(&lines.after) && lines.after.lines().count() == 1, "{lines:?}");
            let at = expected.lines().nth(lines.first - 1).unwrap();
            assert_eq!(lines.after.trim_end(), at.trim_end(), "{lines:?}");
        }
    }

    #[tokio::test]
    async fn several_changes_are_made_one_after_the_other() {
        let edited = edit(json!([
            { "kind": "add_label_set", "label_set": "yard", "settings": { "background": ["a yard"], "labels": { "fox": 0.5 } } },
            { "kind": "add_label", "label_set": "yard", "label": "cat" },
            { "kind": "watch", "source": "inbox", "label_set": "yard" },
        ]))
        .await
        .unwrap();
        assert_eq!(edited.problems, []);
        assert!(edited.text.contains("    labels: { cat: ~, fox: 0.5 }\n"), "{}", edited.text);
        assert!(edited.text.contains("watch: [yard, porch]"), "{}", edited.text);
    }

    #[tokio::test]
    async fn a_change_that_is_impossible_says_why() {
        let long = vec![json!({ "kind": "watch", "source": "a", "label_set": "b" }); MOST_CHANGES + 1];
        let set = |settings: Value| json!([{ "kind": "set_label", "label_set": "porch", "label": "person", "settings": settings }]);
        let unknown = json!([{ "kind": "set_label", "label_set": "porch", "label": "cow", "settings": { "threshold": 0.5 } }]);
        let exists = json!([{ "kind": "add_label", "label_set": "porch", "label": "person" }]);
        for (changes, kind, what) in [
            (json!([]), Kind::BadRequest, "there is no change"),
            (long.into(), Kind::BadRequest, "64 are allowed"),
            (set(json!({})), Kind::BadRequest, "no setting"),
            (set(json!({ "treshold": 0.5 })), Kind::BadRequest, "did you mean `threshold`?"),
            (set(json!({ "prompts": ["a $${b} ${file:/etc/passwd}"] })), Kind::BadRequest, "reference"),
            (unknown, Kind::BadRequest, "there is no `porch/cow`"),
            (exists, Kind::Conflict, "`person` exists already"),
        ] {
            let error = edit(changes.clone()).await.unwrap_err();
            assert_eq!(error.kind, kind, "{changes} {error}");
            assert!(error.what.contains(what), "{changes} {error}");
        }
        let (_folder, service, _state) = service(true);
        let viewed = answer(&service, Role::View, request(set(json!({ "threshold": 0.5 })))).await;
        assert_eq!(viewed.unwrap_err().kind, Kind::Forbidden);
        assert!(edit(set(json!({ "prompts": ["a $${b}"] }))).await.is_ok(), "it is no reference");
        let camera = json!({ "kind": "add_source", "source": "door", "settings": { "rtsp": "rtsp://me:pass-word@h/s", "watch": ["porch"] } });
        let camera = edit(json!([camera])).await.unwrap();
        assert!(camera.lines.after.contains("pass-word") && !camera.text.contains("pass-word"), "{camera:?}");
        let invalid = edit(set(json!({ "threshold": 7 }))).await.unwrap();
        assert!(invalid.problems[0].message.contains("threshold"), "{invalid:?}");
    }

    #[tokio::test]
    async fn a_label_of_another_file_is_changed_there_and_not_saved() {
        let (folder, service, _state) = service(true);
        fs::create_dir(folder.path().join("rules.d")).unwrap();
        let rules = folder.path().join("rules.d/more.yaml");
        let text = "label_sets:\n  yard: # mine\n    background: [a yard]\n    labels: { fox: 0.5 }\n";
        fs::write(&rules, text).unwrap();
        let change = json!([{ "kind": "set_label", "label_set": "yard", "label": "fox", "settings": { "threshold": 0.6 } }]);
        let edited = answer(&service, Role::Change, Request { save: true, ..request(change) }).await.unwrap();
        assert!(edited.path.ends_with("more.yaml") && !edited.saved, "{edited:?}");
        assert!(edited.why_not.unwrap().contains("only the main file"));
        assert_eq!(edited.text, text.replace("0.5", "{ threshold: 0.6 }"));
        assert_eq!(edited.problems, []);
        assert_eq!(fs::read_to_string(rules).unwrap(), text);
    }

    #[tokio::test]
    async fn a_source_of_another_file_is_changed_there() {
        let (folder, service, _state) = service(true);
        fs::create_dir(folder.path().join("sources.d")).unwrap();
        let text = "sources:\n  gate: { folder: gate, watch: [porch] }  # mine\n";
        fs::write(folder.path().join("sources.d/gate.yaml"), text).unwrap();
        for (change, to) in [
            (
                json!({ "kind": "set_label", "source": "gate", "label_set": "porch", "label": "person", "settings": { "threshold": 0.6 } }),
                "watch: {porch: { person: 0.6 }}",
            ),
            (json!({ "kind": "watch", "source": "gate", "label_set": "yard" }), "watch: [yard, porch]"),
        ] {
            let edited = answer(&service, Role::Change, request(json!([change]))).await.unwrap();
            assert!(edited.path.ends_with("gate.yaml"), "{edited:?}");
            assert_eq!(edited.text, text.replace("watch: [porch]", to));
        }
    }

    #[tokio::test]
    async fn a_change_is_saved_at_once() {
        let (folder, service, state) = service(true);
        let path = folder.path().join("stakeout.yaml");
        let change = json!([{ "kind": "add_label", "label_set": "porch", "label": "dog" }]);
        let expected = TEXT.replace("# soft\n", "# soft\n      dog:\n");
        let stale = Request { save: true, tag: Some("old".to_owned()), ..request(change.clone()) };
        assert_eq!(answer(&service, Role::Change, stale).await.unwrap_err().kind, Kind::Conflict);
        let config = state.borrow().in_force.clone();
        state.send_modify(|state| state.valid(&config, main_file::tag(expected.as_bytes())));
        let request = Request { save: true, tag: Some(main_file::tag_now(&path)), ..request(change) };
        let edited = answer(&service, Role::Change, request).await.unwrap();
        assert!(edited.saved && edited.why_not.is_none(), "{edited:?}");
        assert_eq!(fs::read_to_string(&path).unwrap(), expected);
        assert_eq!(edited.tag, main_file::tag_now(&path));
    }

    #[test]
    fn lines_that_differ() {
        for (before, after, first, old, new) in [
            ("a\nb\nc\n", "a\nx\nc\n", 2, "b\n", "x\n"),
            ("a\nc\n", "a\nb\nc\n", 2, "", "b\n"),
            ("a\na\n", "a\na\na\n", 3, "", "a\n"),
            ("", "a\n", 1, "", "a\n"),
            ("a", "a\nb", 1, "a", "a\nb"),
            ("a\n", "a\n", 2, "", ""),
        ] {
            let expected = Lines { first, before: old.to_owned(), after: new.to_owned() };
            assert_eq!(Lines::between(before, after), expected, "{before:?}");
        }
    }
}
