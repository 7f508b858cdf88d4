//! The files of the configuration of the running service, as the verbs `config...` see them: who may see and change what, and the
//! check of a text.
//!
//! | what | who |
//! |---|---|
//! | read it, without passwords | everyone who may look |
//! | change settings in place, as text | everyone who may change something |
//! | read its passwords; check, preview and save a text | the same, if the configuration has `listen: { edit: true }` |
//!
//! A text that is checked makes the service read the files that the text names. So a check needs the same right as saving.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, watch};

use super::{
    error::{Error, Kind},
    role::Role,
};
use crate::{
    classify::{
        LoadError,
        labels::{self, LabelError},
        score::Activation,
    },
    config::{
        Config, Loaded, Replaced, load_with,
        main_file::{self, Obstacle},
        masked,
        state::ConfigState,
        versions::Versions,
    },
    yaml::error::{self, Problems},
};

/// The longest text of a file in a request, in bytes.
pub const LONGEST_TEXT: usize = 1024 * 1024;
/// The largest request with such a text: JSON writes some characters with two bytes.
pub const LARGEST: usize = 2 * LONGEST_TEXT + 64 * 1024;

/// The files of the configuration.
pub struct Configuration {
    path: PathBuf,
    edit: bool,
    state: watch::Receiver<ConfigState>,
    versions: Versions,
    /// Checks and saves run one after the other: a check of a hostile text takes a while, and saves must not overlap.
    turn: Arc<Semaphore>,
}

/// A mistake in a file of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ConfigProblem {
    /// The file.
    pub file: String,
    /// Whether it is the main file.
    pub is_main: bool,
    /// The line, from 1; `null` for the file as a whole.
    pub line: Option<usize>,
    /// The first character in the line, from 1.
    pub column: Option<usize>,
    /// The number of characters in the line.
    pub length: Option<usize>,
    /// What is wrong.
    pub message: String,
    /// What to do; it may have several lines, or be empty.
    pub remedy: String,
    /// The problem as `stakeout check` prints it, with the line and a caret.
    pub shown: String,
}

impl Configuration {
    /// The configuration at `path`, with which the service has started as `config`; `state` follows it.
    #[must_use]
    pub fn new(path: &Path, config: &Config, state: watch::Receiver<ConfigState>) -> Self {
        Self {
            path: path.to_owned(),
            edit: config.listen.as_ref().is_some_and(|listen| listen.edit),
            state,
            versions: Versions::of(&config.state_dir),
            turn: Arc::new(Semaphore::new(1)),
        }
    }

    /// The main file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Checks and saves take this while they run.
    pub(super) fn turn(&self) -> Arc<Semaphore> {
        Arc::clone(&self.turn)
    }

    /// Earlier versions of the main file.
    #[must_use]
    pub fn versions(&self) -> Versions {
        self.versions.clone()
    }

    /// What is in force now, and what the newest check found.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<ConfigState> {
        self.state.clone()
    }

    /// Whether a client with this role may see passwords of the file.
    #[must_use]
    pub fn shows_secrets(&self, role: Role) -> bool {
        self.edit && role == Role::Change
    }

    /// The text of a file as a client with this role may see it.
    #[must_use]
    pub fn shown(&self, role: Role, text: String) -> String {
        if self.shows_secrets(role) { text } else { masked(&text) }
    }

    /// Refuses a client that may not edit the file.
    ///
    /// # Errors
    /// It may only look, or the configuration does not allow it.
    pub fn allow_editing(&self, role: Role) -> Result<(), Error> {
        if role != Role::Change {
            return Err(Error::new(Kind::Forbidden, "this client may only look")
                .remedy("Sign in with the right to change something."));
        }
        if !self.edit {
            return Err(Error::new(
                Kind::Forbidden,
                "the configuration does not allow that it is edited here",
            )
            .at("listen.edit")
            .remedy("Set `listen: { edit: true }` in the file on the machine, and restart the service."));
        }
        Ok(())
    }

    /// What prevents that a client with this role saves the main file; `None` if nothing does. Reads the disk.
    #[must_use]
    pub fn obstacle(path: &Path, allowed: Result<(), Error>) -> Option<Obstacle> {
        match allowed {
            Err(error) => Some(Obstacle { what: error.what, remedy: error.remedy.unwrap_or_default() }),
            Ok(()) => main_file::obstacle(path),
        }
    }

    /// The problem as a client sees it.
    #[must_use]
    pub fn problem(main: &Path, problem: &error::Problem) -> ConfigProblem {
        let place = problem.place();
        ConfigProblem {
            file: problem.file().display().to_string(),
            is_main: problem.file() == main,
            line: place.map(|place| place.line),
            column: place.map(|place| place.column),
            length: place.map(|place| place.length),
            message: problem.message().to_owned(),
            remedy: problem.remedy().to_owned(),
            shown: problem.to_string(),
        }
    }

    /// The problems as a client sees them.
    #[must_use]
    pub fn problems(main: &Path, problems: Option<&Problems>) -> Vec<ConfigProblem> {
        problems.into_iter().flat_map(Problems::iter).map(|problem| Self::problem(main, problem)).collect()
    }
}

/// Refuses a text that is too long to be a configuration.
///
/// # Errors
/// It is longer than [`LONGEST_TEXT`].
pub fn limited(text: &str) -> Result<(), Error> {
    match text.len() {
        length if length > LONGEST_TEXT => {
            let what = format!("the text has {length} bytes, and {LONGEST_TEXT} are allowed");
            Err(Error::new(Kind::TooLarge, what).at("text"))
        }
        _ => Ok(()),
    }
}

/// Checks a text in place of a file of the configuration at `path`, as the service does when the file changes: everything that
/// `stakeout check --offline` finds, and label sets that the model cannot score.
///
/// # Errors
/// A file cannot be read for now. The inner result has the problems of the text.
pub fn check(
    path: &Path,
    replaced: Replaced<'_>,
    activation: Option<Activation>,
) -> Result<Result<Loaded, Problems>, Error> {
    let checked = load_with(path, replaced).and_then(|loaded| match activation {
        Some(activation) => check_label_sets(loaded, activation),
        None => Ok(loaded),
    });
    if let Err(problems) = &checked
        && let Some(shortage) = problems.shortage()
    {
        return Err(Error::new(
            Kind::Unavailable,
            format!("the configuration cannot be checked: {shortage}"),
        )
        .remedy(shortage.remedy()));
    }
    Ok(checked)
}

fn check_label_sets(loaded: Loaded, activation: Activation) -> Result<Loaded, Problems> {
    let sets = loaded.config.label_sets.iter();
    let found: Vec<_> = sets
        .filter_map(|set| labels::check(set, activation).err())
        .map(|error: LabelError| {
            let error = LoadError::from(error);
            loaded.places.problem(&error.place(), error.to_string(), "")
        })
        .collect();
    if found.is_empty() { Ok(loaded) } else { Err(Problems::new(found).without(&loaded.referenced)) }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::{fs, sync::Arc};

    use tempfile::TempDir;

    use super::*;
    use crate::{
        api::{Service, service::tests::starting},
        config::{self, Listen},
    };

    /// A valid configuration with a password and comments.
    pub(crate) const TEXT: &str = "# mine
mqtt: { url: mqtt://broker, password: hunter2 }  # the broker
state_dir: state
label_sets:
  porch:  # the front
    background: [an empty porch]
    labels:
      person: 0.7  # soft
sources:
  inbox: { folder: inbox, watch: [porch] }
";

    /// A service in a folder with [`TEXT`], which may be edited if `edit`.
    pub(crate) fn service(edit: bool) -> (TempDir, Arc<Service>, watch::Sender<ConfigState>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("stakeout.yaml");
        fs::write(&path, TEXT).unwrap();
        let service = starting(folder.path());
        let config = config::load(&path).unwrap().config;
        let listen = Listen { edit, ..Listen::at(([127, 0, 0, 1], 1).into()) };
        let config = Config { listen: Some(listen), ..config };
        let (state, states) = watch::channel(ConfigState::started(&config, main_file::tag_now(&path)));
        service.set_configuration(Configuration::new(&path, &config, states));
        (folder, service, state)
    }

    #[test]
    fn who_may_edit() {
        for (edit, role, allowed) in [
            (true, Role::Change, true),
            (true, Role::View, false),
            (false, Role::Change, false),
            (false, Role::View, false),
        ] {
            let (_folder, service, _state) = service(edit);
            let configuration = service.configuration().unwrap();
            assert_eq!(configuration.allow_editing(role).is_ok(), allowed, "{edit} {role:?}");
            assert_eq!(configuration.shows_secrets(role), allowed);
            let shown = configuration.shown(role, TEXT.to_owned());
            assert_eq!(shown.contains("hunter2"), allowed, "{shown}");
            if let Err(error) = configuration.allow_editing(role) {
                assert_eq!(error.kind, Kind::Forbidden);
                assert!(error.remedy.is_some());
            }
        }
    }

    #[test]
    fn a_text_is_checked_in_place_of_the_file() {
        let (folder, service, _state) = service(true);
        let path = service.configuration().unwrap().path().to_owned();
        let check = |text: &str, activation| {
            check(&path, Replaced { file: &path, text }, activation)
                .unwrap()
                .map(|_| ())
                .map_err(|problems| Configuration::problems(&path, Some(&problems)))
        };
        assert_eq!(check(TEXT, Some(Activation::Softmax)), Ok(()));
        let found = check(&TEXT.replace("person: 0.7", "person: { treshold: 0.7 }"), None).unwrap_err();
        let [problem] = &found[..] else { panic!("{found:#?}") };
        assert_eq!((problem.line, problem.column, problem.length), (Some(8), Some(17), Some(8)));
        assert!(problem.is_main && problem.remedy.contains("did you mean `threshold`?"), "{problem:?}");
        assert!(
            problem.shown.contains("stakeout.yaml:8:17") && problem.shown.contains("^^^^^^^^"),
            "{problem:?}"
        );

        let alone = TEXT.replace("    background: [an empty porch]\n", "");
        assert_eq!(check(&alone, None), Ok(()), "only the model knows");
        let found = check(&alone, Some(Activation::Softmax)).unwrap_err();
        assert!(found[0].message.contains("always be 1.0") && found[0].line == Some(5), "{found:#?}");
        assert_eq!(check(&alone, Some(Activation::Sigmoid)), Ok(()));

        fs::create_dir(folder.path().join("rules.d")).unwrap();
        let rule = folder.path().join("rules.d/more.yaml");
        fs::write(&rule, "label_sets: { porch: { labels: [a, b] } }\n").unwrap();
        let found = check(TEXT, None).unwrap_err();
        assert!(
            found.iter().any(|problem| !problem.is_main && problem.file.ends_with("more.yaml")),
            "{found:#?}"
        );
    }

    /// What references provide stays secret, whatever a text does with them.
    #[test]
    fn no_text_brings_the_value_of_a_reference_to_light() {
        let (folder, service, _state) = service(true);
        let path = service.configuration().unwrap().path().to_owned();
        fs::write(folder.path().join("secret"), "topsecretvalue").unwrap();
        fs::write(folder.path().join("long"), "topsecretvalue".repeat(100)).unwrap();
        for file in ["secret", "long"] {
            let reference = format!("${{file:{file}}}");
            for (from, to) in [
                ("watch: [porch]", format!("watch: [\"{reference}\"]")),
                ("mqtt://broker", format!("\"{reference}\"")),
                ("mqtt://broker", format!("\"mqtt://{reference}:x\"")),
                ("person: 0.7", format!("person: {{ hold: \"{reference}\" }}")),
                ("person: 0.7", format!("person: {{ threshold: \"{reference}\" }}")),
                ("person: 0.7", format!("person: {{ active: \"{reference}\", regions: [\"{reference}\"] }}")),
                ("person: 0.7", format!("person: {{ message: \"{{{reference}}}\" }}")),
                ("state_dir: state", format!("model: \"{reference}\"\ndevice: \"{reference}\"")),
                ("state_dir: state", format!("history: \"{reference}\"\nlisten: \"{reference}\"")),
                ("folder: inbox", format!("http: \"{reference}\"")),
                ("folder: inbox", format!("rtsp: \"rtsp://{reference}\", decode: \"{reference}\"")),
                ("folder: inbox", format!("topic: \"{reference}/#/{reference}\", name: \"{reference}\"")),
            ] {
                let text = TEXT.replacen(from, &to, 1);
                assert_ne!(text, TEXT, "{from}");
                let checked = check(&path, Replaced { file: &path, text: &text }, None).unwrap();
                let Err(problems) = checked else { continue };
                let shown = format!("{problems}{:?}", Configuration::problems(&path, Some(&problems)));
                assert!(!shown.contains("topsecret") && !shown.contains("secretvalue"), "{text}{shown}");
            }
        }
    }

    #[test]
    fn a_text_has_a_limit() {
        assert!(limited(&"x".repeat(LONGEST_TEXT)).is_ok());
        let error = limited(&"x".repeat(LONGEST_TEXT + 1)).unwrap_err();
        assert_eq!((error.kind, error.place.as_deref()), (Kind::TooLarge, Some("text")));
    }
}
