//! Who is told of alerts besides the broker, and who may ask how the service is doing: the webhook, the command, the listener.
//!
//! It refuses to send an alert that nobody raised.

use std::{
    env,
    io::ErrorKind,
    net::{TcpListener, TcpStream, ToSocketAddrs as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{
    commands::doctor::Finding,
    config::{Command, Config, Listen, Webhook},
};

/// A web server that is there answers within this.
const PATIENCE: Duration = Duration::from_secs(5);

/// One finding for each of them that the configuration has.
pub(crate) fn findings(config: &Config) -> Vec<Finding> {
    let webhook = config.webhook.as_ref().map(webhook);
    let command = config.command.as_ref().map(command);
    let listen = config.listen.as_ref().map(listen);
    [webhook, command, listen].into_iter().flatten().collect()
}

/// Whether somebody is at home; nothing is posted.
fn webhook(settings: &Webhook) -> Finding {
    let Some((host, port)) = settings.address.door() else {
        let message = "its address has no host that could be looked at";
        return Finding::note("webhook", message, "see `webhook.url`");
    };
    // Not the whole address: what stands behind the host may be a secret.
    let what = format!("webhook at {host}:{port}");
    let addresses = match (host.as_str(), port).to_socket_addrs() {
        Ok(addresses) => addresses.collect::<Vec<_>>(),
        Err(error) => {
            let remedy = "see `webhook.url`, and that this machine resolves names";
            return Finding::failed(what, format!("{host} is not known: {error}"), remedy);
        }
    };
    let mut refused = None;
    for address in addresses {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(_) => return Finding::ok(what, "somebody answers there (no alert was posted)"),
            Err(error) => refused = Some(error),
        }
    }
    let why = refused.map_or_else(|| "it has no address".to_owned(), |error| error.to_string());
    Finding::failed(what, format!("cannot be reached: {why}"), "see that the server runs, and `webhook.url`")
}

fn command(settings: &Command) -> Finding {
    let what = format!("command {}", settings.program.display());
    match executable(&settings.program, &env::var_os("PATH").unwrap_or_default()) {
        Some(path) => Finding::ok(what, format!("{} can be started", path.display())),
        None => {
            let remedy = "write its whole path into `command.run`, and make the file executable (`chmod +x`)";
            Finding::failed(what, "there is no such program, or it may not be started", remedy)
        }
    }
}

/// As the system looks for a program.
fn executable(program: &Path, folders: &std::ffi::OsStr) -> Option<PathBuf> {
    let is_one = |path: &PathBuf| {
        path.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    if program.components().count() > 1 {
        return Some(program.to_owned()).filter(is_one);
    }
    env::split_paths(folders).map(|folder| folder.join(program)).find(is_one)
}

fn listen(settings: &Listen) -> Finding {
    let what = format!("listen {}", settings.address);
    match TcpListener::bind(settings.address) {
        Ok(_) => Finding::ok(what, "is free"),
        Err(error) if error.kind() == ErrorKind::AddrInUse => Finding::note(
            what,
            "is taken, as it should be if the service runs",
            "if it does not run: choose another port for `listen`",
        ),
        Err(error) => Finding::failed(
            what,
            format!("cannot be had: {error}"),
            "choose a free port above 1023 and an address of this machine",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::doctor::State;

    #[test]
    fn a_program_is_found_as_the_system_finds_it() {
        let path = std::ffi::OsStr::new("/nowhere:/bin:/usr/bin");
        assert!(executable(Path::new("sh"), path).is_some_and(|path| path.ends_with("sh")));
        for wrong in ["no-such-program", "/etc/passwd", "/bin", "./sh"] {
            assert_eq!(executable(Path::new(wrong), path), None, "{wrong}");
        }
        assert_eq!(executable(Path::new("/bin/sh"), path), Some("/bin/sh".into()));
    }

    #[test]
    fn a_port_that_is_taken_may_be_the_service() {
        let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = taken.local_addr().unwrap();
        let state = |address| listen(&Listen { address, token: None }).state;
        assert_eq!(state(address), State::Note);
        drop(taken);
        assert_eq!(state(address), State::Ok);
        assert_eq!(state("192.0.2.1:9464".parse().unwrap()), State::Failed, "of no machine");
    }
}
