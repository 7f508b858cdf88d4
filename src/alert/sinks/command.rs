//! Starts a program for each alert, with the JSON of the alert and a newline on its standard input.
//!
//! No shell is involved. The program receives none of the service's secrets: its environment has only the variables of [`KEPT`], those
//! that the configuration names, and two about the alert. It has a process group of its own. When its time is over, and when the
//! service stops, the whole group is killed: the program and everything that it has started. What it leaves running after it has ended
//! may run until that time.

use std::{
    cmp::min,
    env,
    ffi::OsString,
    io,
    path::PathBuf,
    pin::pin,
    process::{ExitStatus, Stdio},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    process::{self, Child, ChildStderr},
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use super::schedule::Failure;
use crate::{
    alert::outbox::Entry,
    config::{Command, Secret},
};

/// The variables that every program needs, and that hold no secrets. `docs/configuration.md` lists them.
const KEPT: [&str; 7] = ["PATH", "HOME", "USER", "LANG", "LC_ALL", "TZ", "TMPDIR"];
/// How many bytes of its standard error are logged when it fails.
const STDERR: u64 = 500;
/// How long to wait for its standard error after it ended: processes that it started may hold it open.
const STDERR_WAIT: Duration = Duration::from_millis(100);
/// How often a group without its program is checked. A number of a group that has ended is not used again within this time.
const CHECK: Duration = Duration::from_secs(1);
/// Programs whose processes may run on at the same time. More are killed when their program ends.
const MOST_LEFT: usize = 32;

/// What is started.
pub(super) struct Program {
    program: PathBuf,
    arguments: Vec<Secret>,
    environment: Vec<(OsString, OsString)>,
    timeout: Duration,
    /// The groups of programs that have ended. Dropping them kills them.
    left: Mutex<JoinSet<()>>,
}

impl Program {
    pub(super) fn new(settings: &Command) -> Self {
        let Command { program, arguments, environment: more, timeout, .. } = settings.clone();
        let environment = environment(&more, |name| env::var_os(name));
        Self { program, arguments, environment, timeout, left: Mutex::default() }
    }

    /// Runs the program, and waits until it ends.
    pub(super) async fn run(&self, entry: &Entry) -> Result<(), Failure> {
        let until = Instant::now() + self.timeout;
        let mut command = process::Command::new(&self.program);
        command
            .args(self.arguments.iter().map(Secret::reveal))
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .env("STAKEOUT_ALERT_ID", &entry.id)
            .env("STAKEOUT_ALERT_TOPIC", &entry.topic)
            .process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
        let child = command
            .spawn()
            .map_err(|error| Failure::Unavailable(format!("it cannot be started: {error}")))?;
        // Dropped at the time-out, and with this future when the service stops.
        let group = Group::of(&child);
        let Ok((status, stderr)) = timeout(self.timeout, wait(child, &entry.payload)).await else {
            return Err(Failure::Refused(format!("it was ended after {} s", self.timeout.as_secs())));
        };
        self.let_run(group, until);
        match status {
            Ok(status) if status.success() => Ok(()),
            Ok(status) if stderr.is_empty() => Err(Failure::Refused(format!("it ended with {status}"))),
            Ok(status) => Err(Failure::Refused(format!("it ended with {status}, saying: {stderr}"))),
            Err(error) => Err(Failure::Unavailable(error.to_string())),
        }
    }

    /// Lets the processes that the program has left run until `until`.
    fn let_run(&self, mut group: Group, until: Instant) {
        if !group.is_running() {
            return;
        }
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        while left.try_join_next().is_some() {}
        if left.len() < MOST_LEFT {
            left.spawn(async move {
                while group.is_running() && Instant::now() < until {
                    sleep(min(CHECK, until.saturating_duration_since(Instant::now()))).await;
                }
            });
        }
    }
}

/// The environment of the program.
fn environment(more: &[String], get: impl Fn(&str) -> Option<OsString>) -> Vec<(OsString, OsString)> {
    let names = KEPT.into_iter().chain(more.iter().map(String::as_str));
    names.filter_map(|name| Some((name.into(), get(name)?))).collect()
}

/// The process group of a program. Dropping it kills every process that is still in it.
struct Group {
    /// The number of the group, which is that of the program; `None`: no process is left in it.
    leader: Option<Pid>,
}

impl Group {
    fn of(child: &Child) -> Self {
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        Self { leader: id.and_then(Pid::from_raw) }
    }

    /// Whether a process is left in the group. After none was, the number may belong to others and is not used again.
    fn is_running(&mut self) -> bool {
        self.leader = self.leader.filter(|leader| test_kill_process_group(*leader).is_ok());
        self.leader.is_some()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.leader {
            // It fails if all of them have ended.
            let _ = kill_process_group(leader, Signal::KILL);
        }
    }
}

/// Writes `payload` to the program and waits until it ends. Returns its status, and what it wrote to standard error.
async fn wait(mut child: Child, payload: &str) -> (io::Result<ExitStatus>, String) {
    let (stdin, stderr) = (child.stdin.take(), child.stderr.take());
    let mut write = pin!(async {
        if let Some(mut stdin) = stdin {
            // A program that does not read everything may still succeed.
            let _ = stdin.write_all(format!("{payload}\n").as_bytes()).await;
        }
    });
    let (mut read, mut is_written, mut text) = (pin!(read(stderr)), false, None);
    // Processes that it started may hold both pipes open, so only its own end counts.
    let status = loop {
        tokio::select! {
            status = child.wait() => break status,
            () = &mut write, if !is_written => is_written = true,
            all = &mut read, if text.is_none() => text = Some(all),
        }
    };
    let text = match text {
        Some(text) => text,
        None => timeout(STDERR_WAIT, read).await.unwrap_or_default(),
    };
    (status, text)
}

/// The first [`STDERR`] bytes. The rest is discarded, so that the program does not block.
async fn read(stderr: Option<ChildStderr>) -> String {
    let mut text = Vec::new();
    if let Some(stderr) = stderr {
        let mut first = stderr.take(STDERR);
        let _ = first.read_to_end(&mut text).await;
        let _ = tokio::io::copy(&mut first.into_inner(), &mut tokio::io::sink()).await;
    }
    String::from_utf8_lossy(&text).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_receives_a_few_variables_and_no_secret() {
        let get = |name: &str| (name != "TZ").then(|| name.to_lowercase().into());
        let names = |more: &[&str]| {
            let more: Vec<_> = more.iter().map(|name| (*name).to_owned()).collect();
            let environment = environment(&more, get);
            environment
                .iter()
                .map(|(name, _)| name.to_str().unwrap().to_owned())
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(names(&[]), "PATH HOME USER LANG LC_ALL TMPDIR");
        assert_eq!(names(&["NOTIFY_TOKEN"]), "PATH HOME USER LANG LC_ALL TMPDIR NOTIFY_TOKEN");
        let page = include_str!("../../../docs/configuration.md");
        assert!(page.contains(&KEPT.join(", ")), "the page lists them");
    }
}
