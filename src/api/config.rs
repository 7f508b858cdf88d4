//! `config`: the configuration of the running service: the text of its files, whether it can be edited, and what is wrong with it.

use std::{path::PathBuf, sync::Arc};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    configuration::{ConfigProblem, Configuration},
    error::Error,
    role::Role,
    service::Service,
    verb::{Answer, Method, Verb},
};
use crate::config::main_file::{self, Obstacle, ReadFile};

/// The verb.
pub const VERB: Verb<Request, Response> = Verb {
    name: "config",
    method: Method::Get,
    summary: "The files of the configuration, whether they can be edited, and what is wrong with them.",
    answer: Answer::ForRole(|service, role, _| Box::pin(async move { answer(&service, role).await })),
};

/// There is nothing to say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Request {}

/// The configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Response {
    /// The main file.
    pub path: String,
    /// Its text.
    pub text: String,
    /// The tag of its content, which changes whenever the content does; empty if it cannot be read. A save names it.
    pub tag: String,
    /// Whether passwords in the texts are replaced by `***`.
    pub masked: bool,
    /// Whether this client can save the main file.
    pub editable: bool,
    /// Why it cannot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why_not: Option<String>,
    /// What to do about that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
    /// The files of `rules.d` and `sources.d`, which are read as well and cannot be edited here.
    pub included: Vec<Included>,
    /// What the newest check of the service found.
    pub state: State,
}

/// A file that is read as well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Included {
    /// The file.
    pub path: String,
    /// Its text.
    pub text: String,
}

/// The state of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "ConfigState")]
pub struct State {
    /// Whether the files are valid. While they are not, the valid configuration from before stays in force.
    pub valid: bool,
    /// Whether this is about the text of this answer: the service checks a changed file within two seconds.
    pub current: bool,
    /// What is wrong.
    pub problems: Vec<ConfigProblem>,
    /// Changed keys that take effect after a restart of the service.
    pub after_restart: Vec<String>,
}

/// Answers the request.
///
/// # Errors
/// The service has just begun to start.
pub async fn answer(service: &Arc<Service>, role: Role) -> Result<Response, Error> {
    let configuration = service.configuration()?;
    let (path, allowed) = (configuration.path().to_owned(), configuration.allow_editing(role));
    let (main, included, obstacle) = service.blocking(move || Ok(read(path, allowed))).await?;
    let path = configuration.path();
    let (main, obstacle) = match main {
        Ok(main) => {
            let damage = main.damage.clone().map(|what| damaged(&what));
            (main, damage.or(obstacle))
        }
        Err(what) => {
            (ReadFile { text: String::new(), tag: String::new(), damage: None }, Some(damaged(&what)))
        }
    };
    let state = configuration.state();
    let state = state.borrow();
    Ok(Response {
        path: path.display().to_string(),
        text: configuration.shown(role, main.text),
        masked: !configuration.shows_secrets(role),
        editable: obstacle.is_none(),
        why_not: obstacle.as_ref().map(|obstacle| obstacle.what.clone()),
        remedy: obstacle.map(|obstacle| obstacle.remedy).filter(|remedy| !remedy.is_empty()),
        included: included
            .into_iter()
            .map(|(path, text)| Included {
                path: path.display().to_string(),
                text: configuration.shown(role, text),
            })
            .collect(),
        state: State {
            valid: state.problems.is_none(),
            current: state.tag == main.tag,
            problems: Configuration::problems(path, state.problems.as_ref()),
            after_restart: state.after_restart.iter().map(ToString::to_string).collect(),
        },
        tag: main.tag,
    })
}

/// The main file, or why it cannot be read; the files of `rules.d` and `sources.d`; and what prevents a save.
type Found = (Result<ReadFile, String>, Vec<(PathBuf, String)>, Option<Obstacle>);

fn read(path: PathBuf, allowed: Result<(), Error>) -> Found {
    let main = main_file::read(&path).map_err(|error| format!("the file {error}"));
    let included = main_file::included(&path).into_iter().filter_map(|path| {
        let text = main_file::read(&path).ok()?.text;
        Some((path, text))
    });
    let included = included.collect();
    (main, included, Configuration::obstacle(&path, allowed))
}

fn damaged(what: &str) -> Obstacle {
    Obstacle { what: what.to_owned(), remedy: "Repair the file on the machine.".to_owned() }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::{
        api::configuration::tests::{TEXT, service},
        yaml::error::Problems,
    };

    #[tokio::test]
    async fn the_text_is_masked_unless_the_client_may_edit_it() {
        let (folder, service, _state) = service(true);
        fs::create_dir(folder.path().join("rules.d")).unwrap();
        fs::write(folder.path().join("rules.d/more.yaml"), "x-a: { token: hunter2 }\n").unwrap();
        let full = answer(&service, Role::Change).await.unwrap();
        assert_eq!((&*full.text, full.masked, full.editable), (TEXT, false, true));
        assert!(full.included[0].text.contains("hunter2") && full.included[0].path.ends_with("more.yaml"));
        assert_eq!((full.state.valid, full.state.current), (true, true));
        let masked = answer(&service, Role::View).await.unwrap();
        assert_eq!((masked.masked, masked.editable, &masked.tag), (true, false, &full.tag));
        assert!(masked.why_not.as_ref().is_some_and(|why| why.contains("only look")), "{masked:?}");
        assert!(masked.text.contains("# the front") && masked.text.lines().count() == TEXT.lines().count());
        assert!(!serde_json::to_string(&masked).unwrap().contains("hunter2"));
    }

    #[tokio::test]
    async fn a_broken_file_is_shown_with_its_problems() {
        let (folder, service, state) = service(true);
        let path = folder.path().join("stakeout.yaml");
        fs::write(&path, "mqtt: [").unwrap();
        let shown = answer(&service, Role::Change).await.unwrap();
        assert_eq!((&*shown.text, shown.editable, shown.state.current), ("mqtt: [", true, false));
        let problems = crate::config::load(&path).unwrap_err();
        state.send_modify(|state| state.invalid(problems.clone(), main_file::tag_now(&path)));
        let shown = answer(&service, Role::Change).await.unwrap();
        assert_eq!((shown.state.valid, shown.state.current), (false, true));
        let printed = shown.state.problems.iter().map(|problem| problem.shown.clone()).collect::<Vec<_>>();
        assert_eq!(printed, problems.iter().map(ToString::to_string).collect::<Vec<_>>());

        fs::write(&path, b"a: \xff").unwrap();
        let shown = answer(&service, Role::Change).await.unwrap();
        assert!(!shown.editable && shown.why_not.unwrap().contains("not UTF-8"));
        fs::remove_file(&path).unwrap();
        let shown = answer(&service, Role::Change).await.unwrap();
        assert_eq!((&*shown.text, &*shown.tag, shown.editable), ("", "", false));
        assert!(shown.why_not.unwrap().contains("cannot be read"));
        state.send_modify(|state| state.invalid(Problems::new(vec![]), String::new()));
    }
}
