//! Starts the service of the package, if this configuration is the one that it reads.

use std::{
    io::{BufRead, Write},
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};

use super::{args::Args, dialog::Dialog};
use crate::config::USUAL_PLACES;

/// Where packages and `make install` put the unit.
const UNITS: [&str; 4] = [
    "/usr/lib/systemd/system/stakeout.service",
    "/lib/systemd/system/stakeout.service",
    "/usr/local/lib/systemd/system/stakeout.service",
    "/etc/systemd/system/stakeout.service",
];

/// Offers to start the service; or says how to run the program with the new configuration.
pub(super) fn offer<R: BufRead, W: Write>(dialog: &mut Dialog<R, W>, args: &Args, file: &Path) -> Result<()> {
    let is_of_machine = file == Path::new(USUAL_PLACES[1]);
    let has_unit =
        UNITS.iter().any(|unit| Path::new(unit).exists()) && Path::new("/run/systemd/system").exists();
    let may = is_of_machine && has_unit && rustix::process::geteuid().is_root();
    if !may {
        if args.start {
            bail!(
                "the service reads {}, and root starts it: run `systemctl enable --now stakeout`",
                USUAL_PLACES[1]
            );
        }
        let named = if file == Path::new("stakeout.yaml") {
            String::new()
        } else {
            format!(" --config {}", file.display())
        };
        let next = if is_of_machine {
            "sudo systemctl enable --now stakeout".to_owned()
        } else {
            format!("stakeout run{named}")
        };
        return dialog.say(format_args!("Next: `{next}`, and then `stakeout console{named}`."));
    }
    let start = args.start
        || dialog.asks()
            && dialog.confirm("Start the service, now and at each start of the machine?", true)?;
    if !start {
        return dialog.say("Next: `systemctl enable --now stakeout`, and then `stakeout console`.");
    }
    let status =
        Command::new("systemctl").args(["enable", "--now", "stakeout"]).stdin(Stdio::null()).status();
    let status = status.context("systemctl cannot be started")?;
    if !status.success() {
        bail!("`systemctl enable --now stakeout` ended with {status}: `journalctl -u stakeout` says why");
    }
    dialog.say("The service runs. `stakeout console` opens its pages.")
}
