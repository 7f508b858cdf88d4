//! A program that is told of alerts: started for each, with the JSON of the alert and a line's end on its standard input.
//!
//! It refuses to use a shell, and to wait longer than it was told to: a program that takes too long is killed.

use std::{path::PathBuf, pin::pin, process::Stdio, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    process,
};

use super::{Entry, Failure, timeout};
use crate::config::Command;

/// So much of what it says on standard error is told when it fails.
const WORDS: u64 = 500;
/// A program may leave others behind that hold its standard error open; they are not waited for.
const A_MOMENT: Duration = Duration::from_millis(100);

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

    pub(super) async fn start(&self, entry: &Entry) -> Result<(), Failure> {
        let mut command = process::Command::new(&self.program);
        command
            .args(&self.arguments)
            .env("STAKEOUT_ALERT_ID", &entry.id)
            .env("STAKEOUT_ALERT_TOPIC", &entry.topic);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child =
            command.spawn().map_err(|error| Failure::Away(format!("it cannot be started: {error}")))?;
        let (stdin, stderr) = (child.stdin.take(), child.stderr.take());
        let write = async {
            if let Some(mut stdin) = stdin {
                // A program that does not want to read everything may still succeed.
                let _ = stdin.write_all(format!("{}\n", entry.payload).as_bytes()).await;
            }
        };
        let listen = async {
            let mut words = Vec::new();
            if let Some(stderr) = stderr {
                let mut first = stderr.take(WORDS);
                let _ = first.read_to_end(&mut words).await;
                // The rest is let go, so that it can write on.
                let _ = tokio::io::copy(&mut first.into_inner(), &mut tokio::io::sink()).await;
            }
            String::from_utf8_lossy(&words).trim().to_owned()
        };
        let run = async {
            let (mut listen, mut words) = (pin!(listen), None);
            let ended = async {
                loop {
                    tokio::select! {
                        status = child.wait() => return status,
                        said = &mut listen, if words.is_none() => words = Some(said),
                    }
                }
            };
            let ((), status) = tokio::join!(write, ended);
            let words = match words {
                Some(words) => words,
                None => timeout(A_MOMENT, listen).await.unwrap_or_default(),
            };
            (status, words)
        };
        let Ok((status, words)) = timeout(self.timeout, run).await else {
            return Err(Failure::Refused(format!("it was ended after {} s", self.timeout.as_secs())));
        };
        match status {
            Ok(status) if status.success() => Ok(()),
            Ok(status) if words.is_empty() => Err(Failure::Refused(format!("it ended with {status}"))),
            Ok(status) => Err(Failure::Refused(format!("it ended with {status}, saying: {words}"))),
            Err(error) => Err(Failure::Away(error.to_string())),
        }
    }
}
