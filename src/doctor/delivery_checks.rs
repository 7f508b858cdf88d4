//! Checks the webhook, the command and the HTTP endpoint, without sending an alert.

use std::{
    env,
    io::ErrorKind,
    net::TcpListener,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use jiff::Timestamp;

use super::{certificates, finding::Finding};
use crate::{
    config::{Command, Config, Listen, ServerFiles, Webhook},
    source::Access,
    tcp::Exchange,
    tls,
};

/// A certificate ends soon if it has less than two weeks, in hours.
const SOON: i64 = 14 * 24;
/// The time limit for a connection to the webhook.
const TIMEOUT: Duration = Duration::from_secs(5);

/// A finding for each of them that is configured.
pub(super) fn findings(config: &Config, rights: &Access) -> Vec<Finding> {
    let listen = config.listen.as_ref().map(listen);
    sinks(config).chain(listen).chain(certificate_of(config, rights)).collect()
}

/// The same for a running service, which uses the port of `listen` itself.
pub(super) fn of_service(config: &Config) -> Vec<Finding> {
    sinks(config).chain(certificate_of(config, &Access::Own)).collect()
}

/// A finding for each receiver of alerts besides the broker.
fn sinks(config: &Config) -> impl Iterator<Item = Finding> {
    config.webhook.as_ref().map(webhook).into_iter().chain(config.command.as_ref().map(command))
}

fn certificate_of(config: &Config, rights: &Access) -> Option<Finding> {
    let listen = config.listen.as_ref()?;
    Some(certificate(listen.tls.as_ref()?, rights))
}

/// Checks that the web server accepts connections; nothing is posted.
fn webhook(settings: &Webhook) -> Finding {
    let Some((host, port)) = settings.address.door() else {
        let message = "its address has no host to check";
        return Finding::note("webhook", message, "check `webhook.url`");
    };
    // Not the whole address: the path may be a secret.
    let what = format!("webhook at {host}:{port}");
    match Exchange::connect(&host, port, TIMEOUT) {
        Ok(_) => reachable(what, settings, &host, port),
        Err(error) => Finding::of_error(
            what,
            &format!("cannot be reached: {error}"),
            "check that the server runs, `webhook.url`, and that this machine resolves names",
        ),
    }
}

/// The server accepts connections; whether it can be trusted is checked here.
fn reachable(what: String, settings: &Webhook, host: &str, port: u16) -> Finding {
    let server = settings.address.is_tls().then_some((host, port, &settings.tls));
    let trusted = match server {
        Some((host, port, trust)) => tls::check(host, port, trust, TIMEOUT),
        None => Ok(()),
    };
    match trusted {
        Ok(()) => {
            let certificate = certificates::of(server);
            let message = format!("the server accepts connections (no alert was posted){certificate}");
            Finding::ok(what, message)
        }
        Err(why) => {
            Finding::failed(what, why, "check the address and the port in `webhook.url`, and `webhook.tls`")
        }
    }
}

fn command(settings: &Command) -> Finding {
    let what = format!("command {}", settings.program.display());
    match executable(&settings.program, &env::var_os("PATH").unwrap_or_default()) {
        Some(path) => Finding::ok(what, format!("{} can be started", path.display())),
        None if settings.program.is_file() => {
            Finding::failed(what, "the file is not executable", "make it executable: `chmod +x`")
        }
        None if settings.program.components().count() > 1 => Finding::failed(
            what,
            "there is no such file",
            "correct the path in `command.run`, or install the program",
        ),
        None => {
            let remedy = "install it, or write its whole path into `command.run`";
            Finding::failed(what, "there is no such program in the folders of PATH", remedy)
        }
    }
}

/// The file that the system would start for `program`.
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
            "is in use, as expected while the service runs",
            "if the service does not run: choose another port for `listen`",
        ),
        Err(error) => {
            let remedy = match error.kind() {
                ErrorKind::PermissionDenied => "choose a port above 1023 for `listen`",
                ErrorKind::AddrNotAvailable => {
                    "write an address of this machine into `listen`, or 0.0.0.0 for all of them (`ip address` lists them)"
                }
                _ => "choose another address and port for `listen`",
            };
            Finding::failed(what, format!("cannot be used: {error}"), remedy)
        }
    }
}

/// Checks the files of the certificate, which the service reads with its own rights.
fn certificate(files: &ServerFiles, rights: &Access) -> Finding {
    let what = format!("certificate {}", files.certificate.display());
    for path in [&files.certificate, &files.key] {
        if let Err(error) = rights.read(path) {
            let message = format!("the service cannot read {}: {error}", path.display());
            return Finding::failed(what, message, "make both files of `listen.tls` readable for its user");
        }
    }
    let found = files.check().and_then(|()| Ok((files.fingerprint()?, files.ends()?)));
    let (fingerprint, end) = match found {
        Ok(found) => found,
        Err(error) => {
            let remedy = "name the PEM files of one certificate and its key in `listen.tls`";
            return Finding::failed(what, error.to_string(), remedy);
        }
    };
    let message = format!("belongs to its key, and has the SHA-256 fingerprint {fingerprint}");
    age(what, message, end, Timestamp::now())
}

/// What to say about a certificate that ends at `end`.
fn age(what: String, message: String, end: Option<Timestamp>, now: Timestamp) -> Finding {
    let Some(end) = end else { return Finding::ok(what, message) };
    let day = end.strftime("%F");
    let remedy = "renew it: the service reads the files again when they change";
    match end.duration_since(now).as_hours() {
        _ if end <= now => Finding::failed(what, format!("has ended on {day}: browsers reject it"), remedy),
        hours if hours < SOON => Finding::note(what, format!("{message}; it ends on {day}"), remedy),
        _ => Finding::ok(what, format!("{message}; it ends on {day}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::State;

    #[test]
    fn programs_are_found_as_the_system_finds_them() {
        let path = std::ffi::OsStr::new("/nowhere:/bin:/usr/bin");
        assert!(executable(Path::new("sh"), path).is_some_and(|path| path.ends_with("sh")));
        for wrong in ["no-such-program", "/etc/passwd", "/bin", "./sh"] {
            assert_eq!(executable(Path::new(wrong), path), None, "{wrong}");
        }
        assert_eq!(executable(Path::new("/bin/sh"), path), Some("/bin/sh".into()));
    }

    #[test]
    fn a_certificate_that_ends_is_reported_in_time() {
        let now: Timestamp = "2026-11-27T08:00:00Z".parse().unwrap();
        for (end, state, words) in [
            (None, State::Ok, "fits"),
            (Some("2027-11-27T08:00:00Z"), State::Ok, "ends on 2027-11-27"),
            (Some("2026-12-01T08:00:00Z"), State::Note, "ends on 2026-12-01"),
            (Some("2026-11-27T08:00:00Z"), State::Failed, "has ended on 2026-11-27"),
        ] {
            let end = end.map(|end| end.parse().unwrap());
            let finding = age("certificate".to_owned(), "fits".to_owned(), end, now);
            assert_eq!(finding.state, state, "{finding:?}");
            assert!(finding.message.contains(words), "{finding:?}");
        }
    }

    #[test]
    fn a_port_in_use_may_be_the_service() {
        let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = taken.local_addr().unwrap();
        let state = |address| listen(&Listen::at(address)).state;
        assert_eq!(state(address), State::Note);
        drop(taken);
        assert_eq!(state(address), State::Ok);
        assert_eq!(state("192.0.2.1:9464".parse().unwrap()), State::Failed, "an address of no machine");
    }
}
