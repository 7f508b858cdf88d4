//! Starts a program for each alert, with the JSON of the alert and a newline on its standard input.
//!
//! No shell is involved. A program that runs longer than its timeout is killed.

use std::{
    io,
    path::PathBuf,
    pin::pin,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    process::{self, Child, ChildStderr},
    time::timeout,
};

use super::schedule::Failure;
use crate::{alert::outbox::Entry, config::Command};

/// How many bytes of its standard error are logged when it fails.
const STDERR: u64 = 500;
/// How long to wait for its standard error after it ended: processes that it started may hold it open.
const STDERR_WAIT: Duration = Duration::from_millis(100);

/// What is started.
pub(super) struct Program {
    program: PathBuf,
    arguments: Vec<String>,
    timeout: Duration,
}

impl Program {
    pub(super) fn new(settings: &Command) -> Self {
        let Command { program, arguments, timeout } = settings.clone();
        Self { program, arguments, timeout }
    }

    /// Runs the program, and waits until it ends.
    pub(super) async fn run(&self, entry: &Entry) -> Result<(), Failure> {
        let mut command = process::Command::new(&self.program);
        command
            .args(&self.arguments)
            .env("STAKEOUT_ALERT_ID", &entry.id)
            .env("STAKEOUT_ALERT_TOPIC", &entry.topic);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
        let child = command
            .spawn()
            .map_err(|error| Failure::Unavailable(format!("it cannot be started: {error}")))?;
        let Ok((status, stderr)) = timeout(self.timeout, wait(child, &entry.payload)).await else {
            return Err(Failure::Refused(format!("it was ended after {} s", self.timeout.as_secs())));
        };
        match status {
            Ok(status) if status.success() => Ok(()),
            Ok(status) if stderr.is_empty() => Err(Failure::Refused(format!("it ended with {status}"))),
            Ok(status) => Err(Failure::Refused(format!("it ended with {status}, saying: {stderr}"))),
            Err(error) => Err(Failure::Unavailable(error.to_string())),
        }
    }
}

/// Writes `payload` to the program and waits until it ends. Returns its status, and what it wrote to standard error.
async fn wait(mut child: Child, payload: &str) -> (io::Result<ExitStatus>, String) {
    let (stdin, stderr) = (child.stdin.take(), child.stderr.take());
    let write = async {
        if let Some(mut stdin) = stdin {
            // A program that does not read everything may still succeed.
            let _ = stdin.write_all(format!("{payload}\n").as_bytes()).await;
        }
    };
    let (mut read, mut text) = (pin!(read(stderr)), None);
    let ended = async {
        loop {
            tokio::select! {
                status = child.wait() => return status,
                all = &mut read, if text.is_none() => text = Some(all),
            }
        }
    };
    let ((), status) = tokio::join!(write, ended);
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
