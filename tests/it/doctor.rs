//! `stakeout doctor`: what it says of a service that is well, and of one where much is wrong.

use std::{fs, process::Output};

use serde_json::Value;

use crate::common::{
    broker::{Broker, free_port},
    service::Home,
    stakeout,
};

fn doctor(home: &Home, arguments: &[&str]) -> Output {
    stakeout().args(["doctor", "--config"]).arg(home.path("stakeout.yaml")).args(arguments).output().unwrap()
}

#[test]
fn a_service_that_is_well() {
    let broker = Broker::start();
    let home = Home::new(broker.port, "");
    fs::create_dir(home.path("state")).unwrap();
    let output = doctor(&home, &[]);
    let told = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{told}");
    for words in [
        "ok      configuration",
        "ok      ONNX Runtime",
        "ok      model bundled",
        "ok      broker",
        "ok      source Inbox",
    ] {
        assert!(told.contains(words), "{words:?} is missing in\n{told}");
    }
    assert_eq!(fs::read_dir(home.path("state")).unwrap().count(), 0, "nothing is left there");
}

#[test]
fn everything_that_is_wrong_is_told_with_a_remedy_and_no_password() {
    let (nobody, camera) = (free_port(), free_port());
    let sources = format!(
        "  gone: {{ folder: nowhere, watch: [objects] }}
  camera: {{ rtsp: \"rtsp://me:hunter2@127.0.0.1:{camera}/x\", watch: [objects] }}
  gate: {{ http: \"http://me:hunter2@127.0.0.1:{camera}/a.jpg\", watch: [objects] }}
  topics: {{ mqtt: a/b, watch: [objects] }}
"
    );
    let home = Home::with_sources(nobody, "home", &sources);
    let output = doctor(&home, &["--format", "json"]);
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8(output.stdout).unwrap();
    let findings: Vec<Value> = told.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let state = |check: &str| {
        let finding = findings.iter().find(|finding| finding["check"].as_str().unwrap().starts_with(check));
        let finding = finding.unwrap_or_else(|| panic!("{check} is missing in\n{told}"));
        assert_eq!(finding["state"] == "ok", finding["remedy"].is_null(), "{finding}");
        finding["state"].as_str().unwrap().to_owned()
    };
    for check in ["broker", "source gone", "source camera", "source gate", "source topics"] {
        assert_eq!(state(check), "failed", "{check}");
    }
    assert_eq!(state("configuration"), "ok");
    assert_eq!(state("state folder"), "note", "it is made by `run`");
    assert!(
        !told.contains("hunter2") && !String::from_utf8_lossy(&output.stderr).contains("hunter2"),
        "{told}"
    );
}

#[test]
fn a_configuration_with_mistakes_hides_nothing_else() {
    let home = Home::new(1, "treshold: 1\n");
    let output = doctor(&home, &[]);
    let told = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("FAILED  configuration") && told.contains("treshold"), "{told}");
    assert!(told.contains("ok      ONNX Runtime"), "{told}");
}
