//! `config_preview`: what a save of a text would do: sources that start and stop, labels that change, keys that wait for a restart.
//! Nothing is changed.

use std::{path::Path, sync::Arc};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    configuration::{self, ConfigProblem, Configuration},
    error::Error,
    role::Role,
    service::Service,
    verb::{Answer, Method, Verb},
};
use crate::{
    config::{
        Config, Loaded, Replaced, Secret,
        changes::{self, Changes, LabelEffect, SourceEffect},
        load,
        plan::Plan,
    },
    yaml::mask::{self, HIDDEN},
};

/// The verb.
pub const VERB: Verb<Request, Response> = Verb {
    name: "config_preview",
    method: Method::Post,
    summary: "What a save of a text as the configuration file would do.",
    answer: Answer::ForRole(|service, role, request| {
        Box::pin(async move { answer(&service, role, request).await })
    }),
};

/// The text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// The text in place of the main file, at most 1 MiB.
    pub text: String,
}

/// What a save would do, compared with what is in force.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Response {
    /// Whether the text is a valid configuration. If it is not, nothing else is known.
    pub valid: bool,
    /// What is wrong with it.
    pub problems: Vec<ConfigProblem>,
    /// Whether anything would change.
    pub changes: bool,
    /// The sources that would start, stop or change.
    pub sources: Vec<SourceChange>,
    /// The label sets, labels and rules that would change.
    pub labels: Vec<LabelChange>,
    /// Other keys that would change.
    pub keys: Vec<KeyChange>,
    /// Keys that would take effect only after a restart of the service.
    pub after_restart: Vec<String>,
    /// Keys whose change is refused here: they name programs and libraries that the service runs.
    pub refused: Vec<String>,
}

/// A source that would change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SourceChange {
    /// Its name.
    pub source: String,
    /// What would happen to it.
    pub effect: SourceAction,
}

/// What would happen to a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SourceAction {
    /// It is new.
    Starts,
    /// It is removed.
    Stops,
    /// It stops and starts with other settings.
    Restarts,
    /// It continues with other settings.
    Changes,
}

/// A label set, or a label or rule in it, that would change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LabelChange {
    /// The name of the label set.
    pub label_set: String,
    /// The name of the label or rule; `null`: settings of the label set itself.
    pub label: Option<String>,
    /// The source on which it is different; `null`: everywhere.
    pub source: Option<String>,
    /// What would happen to it.
    pub effect: LabelAction,
    /// The settings that would change.
    pub settings: Vec<SettingChange>,
}

/// What would happen to a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LabelAction {
    /// It is new.
    Added,
    /// It is removed.
    Removed,
    /// It has other settings.
    Changed,
}

/// A setting that would change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SettingChange {
    /// Its key.
    pub key: String,
    /// The value before; `null` if there was none.
    pub before: Value,
    /// The value after; `null` if there is none.
    pub after: Value,
}

/// A key of the main file that would change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KeyChange {
    /// The key.
    pub key: String,
    /// Whether it takes effect only after a restart of the service.
    pub after_restart: bool,
}

/// Answers the request.
///
/// # Errors
/// The client may not edit the configuration, the text is too long, or a file cannot be read for now.
pub async fn answer(service: &Arc<Service>, role: Role, request: Request) -> Result<Response, Error> {
    let configuration = service.configuration()?;
    configuration.allow_editing(role)?;
    configuration::limited(&request.text)?;
    let activation = service.activation();
    let in_force = configuration.state().borrow().in_force.clone();
    service
        .on_configuration(move |path| {
            let replaced = Replaced { file: path, text: &request.text };
            Ok(match configuration::check(path, replaced, activation)? {
                Ok(loaded) => preview(&in_force, &loaded, refused(path, &in_force, &loaded.config)),
                Err(problems) => Response {
                    problems: Configuration::problems(path, Some(&problems)),
                    ..Response::default()
                },
            })
        })
        .await
}

/// The keys that a save may not change. They are compared with the file; with what is in force if the file is invalid.
#[must_use]
pub fn refused(path: &Path, in_force: &Config, new: &Config) -> Vec<&'static str> {
    match load(path) {
        Ok(Loaded { config, .. }) => changes::privileged(&config, new),
        Err(_) => changes::privileged(in_force, new),
    }
}

fn preview(in_force: &Config, loaded: &Loaded, refused: Vec<&'static str>) -> Response {
    let plan = Plan::between(in_force, &loaded.config);
    let changes = Changes::between(in_force, &loaded.config, &plan);
    let hide = |text: String| hidden(text, &loaded.referenced);
    let sources = changes.sources.into_iter().map(|it| SourceChange {
        source: hide(it.source),
        effect: match it.effect {
            SourceEffect::Starts => SourceAction::Starts,
            SourceEffect::Stops => SourceAction::Stops,
            SourceEffect::Restarts => SourceAction::Restarts,
            SourceEffect::Changes => SourceAction::Changes,
        },
    });
    let labels = changes.labels.into_iter().map(|it| LabelChange {
        label_set: hide(it.label_set),
        label: it.label.map(hide),
        source: it.source.map(hide),
        effect: match it.effect {
            LabelEffect::Added => LabelAction::Added,
            LabelEffect::Removed => LabelAction::Removed,
            LabelEffect::Changed => LabelAction::Changed,
        },
        settings: it
            .settings
            .into_iter()
            .map(|it| SettingChange {
                key: it.key,
                before: hidden_in(it.before, &loaded.referenced),
                after: hidden_in(it.after, &loaded.referenced),
            })
            .collect(),
    });
    let keys = changes
        .keys
        .into_iter()
        .map(|it| KeyChange { key: it.key, after_restart: it.after_restart })
        .collect();
    Response {
        valid: true,
        problems: Vec::new(),
        changes: plan.changes || !plan.after_restart.is_empty(),
        sources: sources.collect(),
        labels: labels.collect(),
        keys,
        after_restart: plan.after_restart.iter().map(ToString::to_string).collect(),
        refused: refused.into_iter().map(str::to_owned).collect(),
    }
}

/// A name, unless it comes from a reference.
fn hidden(text: String, referenced: &[Secret]) -> String {
    match referenced.iter().any(|secret| mask::reveals(&text, secret)) {
        true => HIDDEN.to_owned(),
        false => text,
    }
}

fn hidden_in(value: Value, referenced: &[Secret]) -> Value {
    match value {
        Value::String(text) => hidden(text, referenced).into(),
        Value::Array(items) => items.into_iter().map(|item| hidden_in(item, referenced)).collect(),
        Value::Object(map) => {
            Value::Object(map.into_iter().map(|(key, value)| (key, hidden_in(value, referenced))).collect())
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::api::configuration::tests::{TEXT, service};

    async fn preview_of(text: &str) -> Response {
        let (folder, service, _state) = service(true);
        fs::write(folder.path().join("secret"), "topsecretvalue").unwrap();
        answer(&service, Role::Change, Request { text: text.to_owned() }).await.unwrap()
    }

    #[tokio::test]
    async fn the_effects_of_a_save_are_listed() {
        // `listen` is in force and not in the file.
        let text = format!("listen: {{ address: '127.0.0.1:1', edit: true }}\n{TEXT}");
        let same = preview_of(&text).await;
        assert_eq!((same.valid, same.changes), (true, false), "{same:#?}");
        assert_eq!(same.after_restart, Vec::<String>::new());
        let text = text.replace("person: 0.7", "person: 0.6\n      dog: 0.5").replace("hunter2", "hunter3")
            + "  back: { folder: back, watch: [porch] }\n";
        let preview = preview_of(&text).await;
        assert!(preview.valid && preview.changes && preview.refused.is_empty(), "{preview:#?}");
        let [source] = &preview.sources[..] else { panic!("{preview:#?}") };
        assert_eq!((&*source.source, source.effect), ("back", SourceAction::Starts));
        let labels: Vec<_> = preview.labels.iter().map(|it| (it.label.as_deref(), it.effect)).collect();
        assert_eq!(labels, [(Some("person"), LabelAction::Changed), (Some("dog"), LabelAction::Added)]);
        assert_eq!(preview.after_restart, ["mqtt"]);
        assert_eq!(preview.keys, [KeyChange { key: "mqtt".to_owned(), after_restart: true }]);
        assert!(!serde_json::to_string(&preview).unwrap().contains("hunter"));
    }

    #[tokio::test]
    async fn a_program_is_refused_and_a_reference_stays_secret() {
        let command = preview_of(&format!("command: {{ run: [/bin/true] }}\n{TEXT}")).await;
        assert_eq!(command.refused, ["command"]);
        let library = preview_of(&format!("onnxruntime: /tmp/x.so\n{TEXT}")).await;
        assert_eq!(library.refused, ["onnxruntime"]);
        let named =
            TEXT.replace("    labels:\n      person: 0.7  # soft\n", "    labels: [a, \"${file:secret}\"]\n");
        let named = preview_of(&named).await;
        assert!(named.valid, "{named:#?}");
        assert!(!serde_json::to_string(&named).unwrap().contains("secretvalue"), "{named:#?}");
        let invalid = preview_of("mqtt: 1\n").await;
        assert!(!invalid.valid && !invalid.problems.is_empty());
    }
}
