//! The process of a trial, as the service sees it: it is started, asked once, and killed when it takes too long.
//!
//! It has the rights of the service, because a device needs drivers and device files. It has no sockets and no state of the service.

use std::{
    ffi::OsString,
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    os::unix::process::{CommandExt as _, ExitStatusExt as _},
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Duration,
};

use super::protocol::{MARK, Request, TrialAnswer};

/// The hidden command that is the process of a trial.
const COMMAND: &str = "trial";
/// The most bytes that are read of its output.
const MOST: u64 = 1 << 20;
/// What the service manager passes to the service and to nothing that the service starts.
const OF_SERVICE: [&str; 5] =
    ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "CREDENTIALS_DIRECTORY", "LISTEN_FDS"];

/// How the process of a trial is started.
#[derive(Debug, Clone)]
pub struct Program {
    path: PathBuf,
    variables: Vec<(OsString, OsString)>,
}

/// How it ended.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Ended {
    /// It answered.
    Answered(TrialAnswer),
    /// It ended without an answer.
    Crashed(String),
    /// It did not answer in time, and was killed.
    Hung(String),
    /// It could not be started.
    NotStarted(String),
}

impl Program {
    /// The program that is running, also after an upgrade has replaced its file.
    #[must_use]
    pub fn running() -> Self {
        Self::at("/proc/self/exe")
    }

    /// The program at a path.
    #[must_use]
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), variables: Vec::new() }
    }

    /// With another variable of the environment.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.variables.push((name.into(), value.into()));
        self
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        command.arg0("stakeout").arg(COMMAND);
        for name in OF_SERVICE {
            command.env_remove(name);
        }
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        command
    }
}

/// Starts a process, and waits for its answer, but no longer than `limit`.
pub(super) fn ask(program: &Program, request: &Request, limit: Duration) -> Ended {
    let mut child = match program.command().spawn() {
        Ok(child) => child,
        Err(error) => return Ended::NotStarted(format!("cannot start a process for it: {error}")),
    };
    let asked = send(&mut child, request).and_then(|()| receive(&mut child));
    let answer = match asked {
        Ok(answer) => answer.recv_timeout(limit),
        Err(error) => {
            end(child);
            return Ended::NotStarted(format!("cannot ask the process for it: {error}"));
        }
    };
    match answer {
        Ok(Some(answer)) => {
            // Its libraries may hang or crash while they are unloaded, which says nothing about their work.
            end(child);
            Ended::Answered(answer)
        }
        Ok(None) | Err(RecvTimeoutError::Disconnected) => match child.wait() {
            Ok(status) => Ended::Crashed(how(status)),
            Err(error) => Ended::Crashed(error.to_string()),
        },
        Err(RecvTimeoutError::Timeout) => {
            end(child);
            let seconds = limit.as_secs_f64();
            Ended::Hung(format!("the process that tried it did not finish within {seconds:.1} seconds"))
        }
    }
}

fn send(child: &mut Child, request: &Request) -> io::Result<()> {
    let mut stdin = child.stdin.take().ok_or_else(|| io::Error::other("it has no standard input"))?;
    let text = serde_json::to_string(request).map_err(io::Error::other)?;
    match writeln!(stdin, "{text}") {
        // It ended before it read this. How it ended is reported.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// Receives the answer, or `None` at the end of its output. The thread ends with the process.
fn receive(child: &mut Child) -> io::Result<mpsc::Receiver<Option<TrialAnswer>>> {
    let stdout = child.stdout.take().ok_or_else(|| io::Error::other("it has no standard output"))?;
    let (sender, answer) = mpsc::sync_channel(1);
    thread::Builder::new().name("trial".to_owned()).spawn(move || {
        let lines = BufReader::new(stdout.take(MOST)).split(b'\n').map_while(Result::ok);
        let mut answers = lines.filter_map(|line| {
            let line = String::from_utf8(line).ok()?;
            serde_json::from_str(line.strip_prefix(MARK)?).ok()
        });
        // The service may have stopped waiting.
        let _ = sender.send(answers.next());
    })?;
    Ok(answer)
}

/// Kills the process, unless it has ended, and removes it from the kernel's table.
fn end(mut child: Child) {
    // It fails only for a process that is gone.
    let _ = child.kill();
    let _ = child.wait();
}

fn how(status: ExitStatus) -> String {
    match (status.signal(), status.code()) {
        (Some(signal), _) => {
            let name = match signal {
                libc::SIGSEGV => "SIGSEGV",
                libc::SIGABRT => "SIGABRT",
                libc::SIGILL => "SIGILL",
                libc::SIGBUS => "SIGBUS",
                libc::SIGFPE => "SIGFPE",
                libc::SIGKILL => "SIGKILL",
                libc::SIGSYS => "SIGSYS",
                libc::SIGTERM => "SIGTERM",
                _ => "a signal",
            };
            format!("the process that tried it was killed by {name} ({signal})")
        }
        (None, code) => {
            format!("the process that tried it ended without an answer (exit code {})", code.unwrap_or(-1))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

    use super::*;
    use crate::trial::protocol::Task;

    /// Only a hang reaches it.
    const LONG: Duration = Duration::from_secs(120);

    fn program(folder: &Path, script: &str) -> Program {
        let path = folder.join("program");
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        Program::at(path)
    }

    fn run(script: &str, limit: Duration) -> Ended {
        let folder = tempfile::tempdir().unwrap();
        let request = Request::new(None, Task::Devices { plugin: "/p.so".into() }, limit);
        ask(&program(folder.path(), script), &request, limit)
    }

    #[test]
    fn a_process_answers_crashes_or_hangs() {
        let failed = Ended::Answered(TrialAnswer::Failed("no".to_owned()));
        let line = format!(r#"echo '{MARK}{{"Failed":"no"}}'"#);
        assert_eq!(run(&line, LONG), failed);
        assert_eq!(run(&format!("echo hello; echo '{MARK}nonsense'; {line}; kill -SEGV $$"), LONG), failed);
        assert_eq!(run(&format!("read request; {line}; exec sleep 600"), LONG), failed, "it need not end");
        let crashed = run("kill -SEGV $$", LONG);
        assert_eq!(
            crashed,
            Ended::Crashed("the process that tried it was killed by SIGSEGV (11)".to_owned())
        );
        let ended = run("exit 3", LONG);
        assert!(matches!(&ended, Ended::Crashed(how) if how.ends_with("(exit code 3)")), "{ended:?}");
        let hung = run("exec sleep 600", Duration::from_millis(200));
        assert!(
            matches!(&hung, Ended::Hung(how) if how.ends_with("did not finish within 0.2 seconds")),
            "{hung:?}"
        );
        let request = Request::new(None, Task::Devices { plugin: "/p.so".into() }, LONG);
        let missing = ask(&Program::at("/missing"), &request, LONG);
        assert!(matches!(missing, Ended::NotStarted(_)), "{missing:?}");
    }

    #[test]
    fn the_process_receives_the_request_and_its_variables() {
        let folder = tempfile::tempdir().unwrap();
        let script = format!(
            r#"read request; case "$request$WORD$1" in *'"/p.so"'*truetrial) echo '{MARK}{{"Failed":"yes"}}';; esac"#
        );
        let program = program(folder.path(), &script).with("WORD", "true");
        let request = Request::new(None, Task::Devices { plugin: "/p.so".into() }, LONG);
        assert_eq!(ask(&program, &request, LONG), Ended::Answered(TrialAnswer::Failed("yes".to_owned())));
    }
}
