//! `config_save`: saves a text as the configuration file of the running service. Only a valid text is saved, and only over the text
//! that the client has read. The service then applies it as every other change of the file.

use std::{io, path::Path, sync::Arc, time::Duration};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use super::{
    config_preview,
    configuration::{self, ConfigProblem, Configuration},
    error::{Error, Kind},
    role::Role,
    service::Service,
    verb::{Answer, Method, Verb},
};
use crate::{
    classify::score::Activation,
    config::{
        Config, Replaced,
        main_file::{self, SaveError},
        versions::Versions,
    },
};

/// How long a save waits until the service has checked the new file: less than the client waits. The service notices a change within two
/// seconds.
const PATIENCE: Duration = Duration::from_secs(40);

/// The verb.
pub const VERB: Verb<Request, Response> = Verb {
    name: "config_save",
    method: Method::Post,
    summary: "Saves a text as the configuration file, if the file is still the one that the client has read.",
    answer: Answer::ForRole(|service, role, request| {
        Box::pin(async move { answer(&service, role, &request.text, &request.tag).await })
    }),
};

/// The text, and the tag of the text that it replaces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// The new text of the main file, at most 1 MiB.
    pub text: String,
    /// The tag of the file as the client has read it.
    pub tag: String,
}

/// The text is saved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Response {
    /// The tag of the new file.
    pub tag: String,
    /// Whether the service has read the new file already. If it has not, it will do so soon.
    pub checked: bool,
    /// What the service found wrong with it nevertheless: another file may have changed meanwhile.
    pub problems: Vec<ConfigProblem>,
    /// Changed keys that take effect after a restart of the service.
    pub after_restart: Vec<String>,
}

/// Saves a text.
///
/// # Errors
/// The client may not edit the configuration; the text is invalid, or changes a key that names a program; the file has changed since
/// the client has read it, or cannot be written.
pub async fn answer(service: &Arc<Service>, role: Role, text: &str, tag: &str) -> Result<Response, Error> {
    let configuration = service.configuration()?;
    configuration.allow_editing(role)?;
    configuration::limited(text)?;
    let activation = service.activation();
    let mut state = configuration.state();
    let work = Save {
        text: text.to_owned(),
        tag: tag.to_owned(),
        versions: configuration.versions(),
        in_force: state.borrow().in_force.clone(),
    };
    let tag = service.on_configuration(move |path| work.carry_out(path, activation)).await?;
    tracing::info!(path = %configuration.path().display(), tag, "the configuration file was saved over the API");
    let checked = timeout(PATIENCE, state.wait_for(|state| state.tag == tag)).await;
    let (checked, problems, after_restart) = match checked {
        Ok(Ok(state)) => (
            true,
            Configuration::problems(configuration.path(), state.problems.as_ref()),
            state.after_restart.iter().map(ToString::to_string).collect(),
        ),
        // The service stops, or checks a large file.
        Ok(Err(_)) | Err(_) => (false, Vec::new(), Vec::new()),
    };
    Ok(Response { tag, checked, problems, after_restart })
}

/// A save that waits for its turn.
struct Save {
    text: String,
    tag: String,
    versions: Versions,
    in_force: Config,
}

impl Save {
    /// Checks the text and writes it. Returns the new tag.
    fn carry_out(&self, path: &Path, activation: Option<Activation>) -> Result<String, Error> {
        if main_file::tag_now(path) != self.tag {
            return Err(changed());
        }
        let replaced = Replaced { file: path, text: &self.text };
        let loaded = configuration::check(path, replaced, activation)?.map_err(|problems| {
            Error::new(Kind::BadRequest, format!("the text is not a valid configuration:\n{problems}"))
                .at("text")
                .remedy("Correct it; `config_check` lists the mistakes with their places.")
        })?;
        let refused = config_preview::refused(path, &self.in_force, &loaded.config);
        if !refused.is_empty() {
            let what = format!(
                "the text changes {}, and what the service runs as a program or library cannot be changed here",
                refused.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(" and ")
            );
            return Err(Error::new(Kind::Forbidden, what)
                .at(refused[0])
                .remedy("Change this key in the file on the machine."));
        }
        let saved = main_file::save(path, &self.versions, &self.text, &self.tag, Timestamp::now());
        saved.map_err(|error| match error {
            SaveError::Changed => changed(),
            SaveError::Io { path, error } => unwritten(&path, &error),
        })
    }
}

fn unwritten(path: &Path, error: &io::Error) -> Error {
    let what = format!("{} cannot be written: {error}", path.display());
    let remedy = match error.kind() {
        io::ErrorKind::ResourceBusy => {
            "The file is mounted alone: mount the folder that it is in.".to_owned()
        }
        io::ErrorKind::StorageFull => "Make room on the disk.".to_owned(),
        _ => main_file::obstacle(path).map_or_else(String::new, |obstacle| obstacle.remedy),
    };
    let error = Error::new(Kind::Conflict, what);
    if remedy.is_empty() { error } else { error.remedy(remedy) }
}

fn changed() -> Error {
    Error::new(Kind::Conflict, "the file has changed since you read it")
        .at("tag")
        .remedy("Read it again (`config`), and make your changes in the new text.")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::api::configuration::tests::{TEXT, service};

    /// Saves, while the state follows the file as the service does.
    async fn save(
        edit: bool,
        role: Role,
        text: &str,
        tag: Option<&str>,
    ) -> (Result<Response, Error>, String) {
        let (folder, service, state) = service(edit);
        let path = folder.path().join("stakeout.yaml");
        let tag = tag.map_or_else(|| main_file::tag_now(&path), str::to_owned);
        let new = main_file::tag(text.as_bytes());
        let config = state.borrow().in_force.clone();
        state.send_modify(|state| state.valid(&config, new));
        let saved = answer(&service, role, text, &tag).await;
        (saved, fs::read_to_string(path).unwrap())
    }

    #[tokio::test]
    async fn only_a_valid_text_over_the_text_that_was_read_is_saved() {
        let new = TEXT.replace("0.7", "0.6");
        let (saved, file) = save(true, Role::Change, &new, None).await;
        let saved = saved.unwrap();
        assert_eq!((saved.checked, &saved.tag, &file), (true, &main_file::tag(new.as_bytes()), &new));
        let invalid = TEXT.replace("0.7", "7");
        let command = format!("command: {{ run: [/bin/true] }}\n{TEXT}");
        for (edit, role, text, tag, kind, what) in [
            (true, Role::Change, &*new, Some("other"), Kind::Conflict, "changed since"),
            (true, Role::Change, &invalid, None, Kind::BadRequest, "stakeout.yaml:8:"),
            (true, Role::Change, &command, None, Kind::Forbidden, "`command`"),
            (true, Role::View, &new, None, Kind::Forbidden, "only look"),
            (false, Role::Change, &new, None, Kind::Forbidden, "does not allow"),
        ] {
            let (saved, file) = save(edit, role, text, tag).await;
            let error = saved.unwrap_err();
            assert_eq!((error.kind, &*file), (kind, TEXT), "{error}");
            assert!(error.what.contains(what), "{error}");
        }
    }

    #[tokio::test]
    async fn a_program_that_the_file_has_already_stays() {
        let (folder, service, state) = service(true);
        let path = folder.path().join("stakeout.yaml");
        let with = format!("command: {{ run: [/bin/true] }}\n{TEXT}");
        fs::write(&path, &with).unwrap();
        let text = with.replace("0.7", "0.6");
        let config = state.borrow().in_force.clone();
        state.send_modify(|state| state.valid(&config, main_file::tag(text.as_bytes())));
        answer(&service, Role::Change, &text, &main_file::tag_now(&path)).await.unwrap();
        let other = text.replace("/bin/true", "/bin/false");
        let refused = answer(&service, Role::Change, &other, &main_file::tag_now(&path)).await.unwrap_err();
        assert_eq!((refused.kind, refused.place.as_deref()), (Kind::Forbidden, Some("command")));
        // It can be removed on the machine only: without it, alerts that people wait for would end.
        let without = answer(&service, Role::Change, TEXT, &main_file::tag_now(&path)).await.unwrap_err();
        assert_eq!(without.kind, Kind::Forbidden);
    }
}
