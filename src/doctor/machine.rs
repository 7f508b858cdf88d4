//! What the machine is like: who we are, its memory, its clock, its limits, the state folder.

use std::{fs, path::Path, process::Command};

use super::rights::Rights;
use crate::commands::doctor::Finding;

/// With less than this the bundled model runs, and hardly a larger one.
const LITTLE_MEMORY: u64 = 700 << 20;
/// A kernel that allows less was set up so by somebody, or is old.
const FEW_WATCHES: u64 = 8192;

/// All that needs no configuration.
pub(crate) fn findings(rights: &Rights) -> Vec<Finding> {
    [user(rights), memory(), Some(clock()), inotify()].into_iter().flatten().collect()
}

/// Rights are looked at as this user, who may not be the service's.
fn user(rights: &Rights) -> Option<Finding> {
    if let Rights::Of(user) = rights {
        return Some(Finding::ok("user", format!("looks at folders with the rights of {user}")));
    }
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let user = field(&status, "Uid:")?;
    Some(match user {
        0 => Finding::note(
            "user",
            "looks with root's rights, which the service does not have",
            "with the service's own: `systemd-run --pipe --wait -p User=stakeout -p StateDirectory=stakeout \
             -p CacheDirectory=stakeout -p ProtectHome=read-only stakeout doctor`",
        ),
        user => Finding::ok("user", format!("looks with the rights of the user {user}")),
    })
}

fn memory() -> Option<Finding> {
    let available = field(&fs::read_to_string("/proc/meminfo").ok()?, "MemAvailable:")? * 1024;
    let message = format!("{} MB are free for use", available / 1_000_000);
    Some(if available < LITTLE_MEMORY {
        let remedy = "end something, take a smaller model, or one with 8-bit weights (`variant: int8`)";
        Finding::note("memory", message, remedy)
    } else {
        Finding::ok("memory", message)
    })
}

/// Alerts carry the time, and rules such as cooldowns are told by it.
fn clock() -> Finding {
    let told = Command::new("timedatectl").args(["show", "--property=NTPSynchronized", "--value"]).output();
    let told = told.ok().filter(|told| told.status.success());
    let now = jiff::Timestamp::now().strftime("%F %T UTC").to_string();
    match told.map(|told| String::from_utf8_lossy(&told.stdout).trim() == "yes") {
        Some(true) => Finding::ok("clock", format!("{now}, kept right by the network")),
        Some(false) => Finding::note(
            "clock",
            format!("{now}, and nobody keeps it right: alerts may tell a wrong time"),
            "`timedatectl set-ntp true`, or install chrony",
        ),
        None => Finding::note(
            "clock",
            format!("{now}, and systemd cannot be asked whether somebody keeps it right"),
            "compare it with another one: alerts carry this time",
        ),
    }
}

/// A folder source needs a watch for each folder below it.
fn inotify() -> Option<Finding> {
    let limit = |name: &str| {
        fs::read_to_string(format!("/proc/sys/fs/inotify/{name}")).ok()?.trim().parse::<u64>().ok()
    };
    let (watches, instances) = (limit("max_user_watches")?, limit("max_user_instances")?);
    let message = format!("{watches} folders and {instances} programs of a user can be watched");
    Some(if watches < FEW_WATCHES {
        let remedy =
            "`sysctl fs.inotify.max_user_watches=65536`, and a file in /etc/sysctl.d so that it stays";
        Finding::note("inotify", message, remedy)
    } else {
        Finding::ok("inotify", message)
    })
}

/// Alerts wait there.
pub(crate) fn state_dir(folder: &Path, rights: &Rights) -> Finding {
    let what = format!("state folder {}", folder.display());
    match rights.write(folder) {
        Ok(()) => Finding::ok(what, "can be written"),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let (message, remedy) =
                ("is not there yet", "`stakeout run` makes it, if it may; systemd makes it for the service");
            Finding::note(what, message, remedy)
        }
        Err(error) => {
            let remedy = "make it writable for the user who runs stakeout, or set `state_dir` to another";
            Finding::failed(what, format!("cannot be written: {error}"), remedy)
        }
    }
}

/// The first number behind `name`.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}
