//! What all commands have in common: readers that close the output early, and the configuration that is used if none is named.

use std::{
    fs, io,
    path::Path,
    process::{Output, Stdio},
};

use crate::common::{
    broker::free_port,
    finish,
    service::{Home, sample},
    skip, stakeout,
};

/// Runs a command in a folder. The reader of its standard output, or of both outputs, is gone before it starts.
fn unread(folder: &Path, arguments: &[&str], both: bool) -> Output {
    let (reader, writer) = io::pipe().unwrap();
    drop(reader);
    let mut command = stakeout();
    command.current_dir(folder).args(arguments).stdin(Stdio::null());
    if both {
        command.stderr(writer.try_clone().unwrap());
    } else {
        command.stderr(Stdio::piped());
    }
    finish(command.stdout(writer).spawn().unwrap())
}

#[test]
fn a_reader_that_wants_no_more_is_not_an_error() {
    let home = Home::new(free_port(), "");
    let folder = home.path("");
    let picture = sample("red-car.jpg").display().to_string();
    let label = ["--label", "red car", "--label", "green tree"];
    let commands: [&[&str]; 9] = [
        &["schema"],
        &["schema", "--api"],
        &["completions", "bash"],
        &["check", "--offline", "--explain"],
        &["doctor"],
        &["replay", &picture],
        &["tune", &picture],
        &[&["classify"], &label[..], &[&picture, &picture]].concat(),
        &["--help"],
    ];
    for arguments in commands {
        let output = unread(&folder, arguments, false);
        let log = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {log}");
        assert!(!log.contains("error") && !log.contains("panicked"), "{arguments:?}: {log}");
        let code = unread(&folder, arguments, true).status.code();
        assert_eq!(code, Some(0), "{arguments:?} without standard error");
    }
    // What fails for another reason fails as always.
    assert_eq!(
        unread(&folder, &["check", "--offline", "--config", "none.yaml"], true).status.code(),
        Some(78)
    );
    assert_eq!(unread(&folder, &["classify", "--label", "a", "none.jpg"], true).status.code(), Some(1));
    assert_eq!(unread(&folder, &["check", "--ofline"], true).status.code(), Some(64));
}

#[test]
fn the_configuration_of_the_working_folder_is_used_if_none_is_named() {
    let home = Home::new(1, "");
    let check = |folder: &Path| stakeout().current_dir(folder).args(["check", "--offline"]).output().unwrap();
    let output = check(&home.path(""));
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && log.contains("ok: 1 source"), "{log}");
    fs::write(home.path("stakeout.yaml"), "modle: x\n").unwrap();
    let log = String::from_utf8(check(&home.path("")).stderr).unwrap();
    assert!(log.contains("--> ./stakeout.yaml:1:1"), "{log}");

    if Path::new("/etc/stakeout/stakeout.yaml").exists() {
        skip("this machine has a configuration of its own");
        return;
    }
    let output = check(&home.path("inbox"));
    let log = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(78), "{log}");
    let both = "`./stakeout.yaml` is used if it exists, else `/etc/stakeout/stakeout.yaml`";
    assert!(log.contains("there is no such file") && log.contains(both), "{log}");
}
