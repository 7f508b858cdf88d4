//! Checks the machine: the user, memory, the clock, kernel limits and the state folder.

use std::{fs, io::ErrorKind, path::Path, process::Command};

use super::finding::Finding;
use crate::{local_time, source::Access};

/// With less free memory the bundled model runs, but hardly a larger one.
const LITTLE_MEMORY: u64 = 700 << 20;
/// A lower limit was set by an administrator, or the kernel is old.
const FEW_WATCHES: u64 = 8192;

/// The findings that need no configuration.
pub(super) fn findings(rights: &Access) -> Vec<Finding> {
    [user(rights), memory(), Some(clock()), inotify()].into_iter().flatten().collect()
}

/// The user whose rights are checked, who may differ from the service's.
fn user(rights: &Access) -> Option<Finding> {
    if let Access::Of(user) = rights {
        return Some(Finding::ok("user", format!("folders are checked with the rights of {user}")));
    }
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let user = field(&status, "Uid:")?;
    Some(match user {
        0 => Finding::note(
            "user",
            "folders are checked with root's rights: there is no user `stakeout` to check them for",
            "run `stakeout doctor` as the user who runs `stakeout run`, or name that user with `--user`",
        ),
        user => Finding::ok("user", format!("folders are checked with the rights of the user {user}")),
    })
}

fn memory() -> Option<Finding> {
    let available = field(&fs::read_to_string("/proc/meminfo").ok()?, "MemAvailable:")? * 1024;
    let message = format!("{} MB are free for use", available / 1_000_000);
    Some(if available < LITTLE_MEMORY {
        let remedy =
            "stop other programs, or use a smaller model or one with 8-bit weights (`variant: int8`)";
        Finding::note("memory", message, remedy)
    } else {
        Finding::ok("memory", message)
    })
}

/// Alerts contain the time, and cooldowns depend on it.
fn clock() -> Finding {
    let answer = Command::new("timedatectl").args(["show", "--property=NTPSynchronized", "--value"]).output();
    let answer = answer.ok().filter(|answer| answer.status.success());
    let now = local_time::local(jiff::Timestamp::now());
    match answer.map(|answer| String::from_utf8_lossy(&answer.stdout).trim() == "yes") {
        Some(true) => Finding::ok("clock", format!("{now}, synchronized over the network")),
        Some(false) => Finding::note(
            "clock",
            format!("{now}, not synchronized: alerts may contain a wrong time"),
            "`timedatectl set-ntp true`, or install chrony",
        ),
        None => Finding::note(
            "clock",
            format!("{now}, and systemd cannot say whether it is synchronized"),
            "compare it with another clock: alerts contain this time",
        ),
    }
}

/// A folder source needs a watch for each of its subfolders.
fn inotify() -> Option<Finding> {
    let limit = |name: &str| {
        fs::read_to_string(format!("/proc/sys/fs/inotify/{name}")).ok()?.trim().parse::<u64>().ok()
    };
    let (watches, instances) = (limit("max_user_watches")?, limit("max_user_instances")?);
    let message = format!("a user can watch {watches} folders, in {instances} programs");
    Some(if watches < FEW_WATCHES {
        let remedy =
            "`sysctl fs.inotify.max_user_watches=65536`, and a file in /etc/sysctl.d so that it stays";
        Finding::note("inotify", message, remedy)
    } else {
        Finding::ok("inotify", message)
    })
}

/// The state folder, where alerts wait for the broker.
pub(super) fn state_dir(folder: &Path, rights: &Access) -> Finding {
    let what = format!("state folder {}", folder.display());
    match rights.write(folder) {
        Ok(()) => Finding::ok(what, "can be written"),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let (message, remedy) = (
                "does not exist yet",
                "`stakeout run` creates it if it may; systemd creates it for the service",
            );
            Finding::note(what, message, remedy)
        }
        Err(error) => {
            let remedy = match error.kind() {
                ErrorKind::PermissionDenied => {
                    "give it to the user who runs stakeout (`chown`), or set `state_dir` to a folder of that user"
                }
                ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "free space on this disk",
                ErrorKind::ReadOnlyFilesystem => "set `state_dir` to a folder on a disk that can be written",
                ErrorKind::NotADirectory => "it is a file: remove it, or set `state_dir` to a folder",
                _ => "check the disk, or set `state_dir` to another folder",
            };
            Finding::failed(what, format!("cannot be written: {error}"), remedy)
        }
    }
}

/// The first number after `name` in a file of /proc.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}
