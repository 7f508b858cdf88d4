//! `stakeout history`: with the built binary, a real broker and real files.

use std::{fs, path::Path, process::Output};

use serde_json::Value;

use crate::common::{
    broker::Broker,
    finish,
    service::{Home, Service},
    stakeout, wait_until,
};

fn history(home: &Home, arguments: &[&str]) -> Output {
    let mut command = stakeout();
    command.arg("history").args(arguments).arg("--config").arg(home.path("stakeout.yaml"));
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    finish(command.spawn().unwrap())
}

/// The files of the history that contain these bytes.
fn files_with(state: &Path, bytes: &str) -> Vec<String> {
    let files = fs::read_dir(state).unwrap().map(|file| file.unwrap().path());
    let is_found = |file: &std::path::PathBuf| {
        let name = file.file_name().unwrap().to_str().unwrap();
        let content = fs::read(file).unwrap_or_default();
        name.starts_with("history") && content.windows(bytes.len()).any(|it| it == bytes.as_bytes())
    };
    files.filter(is_found).map(|file| file.display().to_string()).collect()
}

/// The alerts of an export into a new folder.
fn exported(home: &Home, folder: &str) -> Vec<Value> {
    let out = home.path(folder);
    let output = history(home, &["export", "--from", "1h", out.to_str().unwrap()]);
    assert!(output.status.success(), "{output:?}");
    let lines = fs::read_to_string(out.join("alerts.jsonl")).unwrap();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Drops a picture, and waits until its alert is in the history.
fn remember(home: &Home, name: &str) {
    home.drop_picture("red-car.jpg", &format!("{name}.jpg"));
    let mut number = 0;
    wait_until(&format!("{name} is in the history"), || {
        number += 1;
        let alerts = exported(home, &format!("export-{name}-{number}"));
        alerts.iter().any(|alert| alert.to_string().contains(name))
    });
}

fn forget(home: &Home) -> String {
    let output = history(home, &["forget", "--source", "Inbox", "--from", "1h"]);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn forgotten_by_a_running_service_and_without_one() {
    let broker = Broker::start();
    let home = Home::new(broker.port, "");
    let state = home.path("state");
    let mut service = Service::start(&home);
    service.wait_until_watching();
    remember(&home, "marker-one");
    assert_ne!(files_with(&state, "marker-one"), [""; 0], "the test can find it");
    let printed = forget(&home);
    assert!(printed.lines().any(|line| line.split_whitespace().eq(["alerts", "1"])), "{printed}");
    assert_eq!(files_with(&state, "marker-one"), [""; 0]);
    assert_eq!(exported(&home, "after-one"), [Value::Null; 0]);

    // It goes on.
    home.drop_picture("empty-wall.jpg", "wall.jpg");
    service.wait_for_log("cleared");
    remember(&home, "marker-two");
    service.stop();
    assert_ne!(files_with(&state, "marker-two"), [""; 0], "the test can find it");
    forget(&home);
    assert_eq!(files_with(&state, "marker-two"), [""; 0]);
}

#[test]
fn a_history_that_is_off_has_no_file() {
    let broker = Broker::start();
    let home = Home::new(broker.port, "history: off\n");
    let mut service = Service::start(&home);
    service.wait_until_watching();
    home.drop_picture("red-car.jpg", "1.jpg");
    service.wait_for_log("raised");
    service.stop();
    let output = history(&home, &["forget", "--source", "Inbox", "--from", "1h"]);
    assert!(output.status.success() && String::from_utf8_lossy(&output.stderr).contains("no history"));
    assert!(!home.path("state/history.db").exists());
}
