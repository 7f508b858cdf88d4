//! Where the unix socket of a service is. This file alone decides it, for the service and for the commands.
//!
//! | service | socket |
//! |---|---|
//! | of the package, `/etc/stakeout/stakeout.yaml` | `/run/stakeout/api.sock` |
//! | an instance of the package, `/etc/stakeout/garage.yaml` | `/run/stakeout-garage/api.sock` |
//! | any other | `api.sock` in its `state_dir` |

use std::{
    env,
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
};

/// The name of the socket.
const NAME: &str = "api.sock";
/// The name of the socket beside it, to which `stakeout console` forwards browsers.
const FOR_BROWSERS: &str = "console.sock";
/// The folder of the configurations of packaged services.
const PACKAGED: &str = "/etc/stakeout";

/// Where a service makes its socket, and who may use it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SocketLocation {
    /// The path of the socket.
    pub path: PathBuf,
    /// The members of the service's group may use it, because systemd has made a folder for it. Otherwise only the user of the
    /// service may, like everything else in the state folder.
    pub for_group: bool,
}

impl SocketLocation {
    /// The socket for browsers beside this one. Clients of it have to sign in.
    #[must_use]
    pub fn for_browsers(&self) -> Self {
        Self { path: for_browsers(&self.path), ..self.clone() }
    }
}

/// The socket for browsers of the service with this socket.
#[must_use]
pub fn for_browsers(socket: &Path) -> PathBuf {
    socket.with_file_name(FOR_BROWSERS)
}

/// Where a service makes its socket.
#[must_use]
pub fn of_service(state_dir: &Path) -> SocketLocation {
    place(runtime_folders().as_deref(), state_dir)
}

/// Where the socket of the service with this configuration file may be, the likeliest place first.
#[must_use]
pub fn of_commands(config: &Path, state_dir: &Path) -> Vec<PathBuf> {
    places(runtime_folders().as_deref(), config, state_dir)
}

/// Folders, separated by colons, which systemd makes and names.
fn runtime_folders() -> Option<OsString> {
    env::var_os("RUNTIME_DIRECTORY")
}

fn place(runtime_folders: Option<&OsStr>, state_dir: &Path) -> SocketLocation {
    match first(runtime_folders) {
        Some(folder) => SocketLocation { path: folder.join(NAME), for_group: true },
        None => SocketLocation { path: state_dir.join(NAME), for_group: false },
    }
}

fn places(runtime_folders: Option<&OsStr>, config: &Path, state_dir: &Path) -> Vec<PathBuf> {
    if let Some(folder) = first(runtime_folders) {
        return vec![folder.join(NAME)];
    }
    let packaged = (config.parent() == Some(Path::new(PACKAGED))).then(|| config.file_stem()).flatten();
    let packaged = packaged.and_then(OsStr::to_str).map(|name| match name {
        "stakeout" => PathBuf::from("/run/stakeout"),
        name => PathBuf::from(format!("/run/stakeout-{name}")),
    });
    packaged.into_iter().chain([state_dir.to_owned()]).map(|folder| folder.join(NAME)).collect()
}

fn first(folders: Option<&OsStr>) -> Option<&Path> {
    let first = folders?.to_str()?.split(':').next()?;
    (!first.is_empty()).then(|| Path::new(first))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commands_look_where_the_service_listens() {
        let state = Path::new("/var/lib/stakeout");
        for (runtime, config, service, commands) in [
            (
                None,
                "/home/me/stakeout.yaml",
                "/var/lib/stakeout/api.sock",
                &["/var/lib/stakeout/api.sock"][..],
            ),
            (Some(""), "stakeout.yaml", "/var/lib/stakeout/api.sock", &["/var/lib/stakeout/api.sock"]),
            (Some("/run/a:/run/b"), "stakeout.yaml", "/run/a/api.sock", &["/run/a/api.sock"]),
        ] {
            let runtime = runtime.map(OsStr::new);
            assert_eq!(place(runtime, state).path, Path::new(service));
            let found = places(runtime, Path::new(config), state);
            assert_eq!(found, commands.iter().map(PathBuf::from).collect::<Vec<_>>(), "{config}");
        }
    }

    #[test]
    fn a_packaged_service_is_found_without_its_environment() {
        let state = Path::new("/home/me/.local/state/stakeout");
        for (name, folder) in [("stakeout", "/run/stakeout"), ("garage", "/run/stakeout-garage")] {
            let service = place(Some(OsStr::new(folder)), Path::new("/var/lib/stakeout"));
            assert!(service.for_group);
            let config = format!("/etc/stakeout/{name}.yaml");
            let found = places(None, Path::new(&config), state);
            assert_eq!(found, [service.path, state.join("api.sock")]);
        }
        assert!(!place(None, state).for_group);
        let browsers = place(Some(OsStr::new("/run/stakeout")), state).for_browsers();
        let expected = SocketLocation { path: "/run/stakeout/console.sock".into(), for_group: true };
        assert_eq!(browsers, expected);
    }
}
