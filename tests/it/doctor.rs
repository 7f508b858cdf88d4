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
        "ok      FFmpeg: libavcodec ",
        "ok      device auto",
        "GPU: ",
        "clock: ",
        "memory: ",
        "ok      model bundled",
        "ok      state folder",
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

/// Root asks, and what counts is what the service's user may do.
#[test]
fn folders_are_looked_at_with_the_rights_of_the_service() {
    use std::os::unix::fs::PermissionsExt as _;

    let home = Home::new(free_port(), "");
    fs::create_dir(home.path("state")).unwrap();
    let allow =
        |name: &str, mode| fs::set_permissions(home.path(name), fs::Permissions::from_mode(mode)).unwrap();
    let told = |user: &str| String::from_utf8(doctor(&home, &["--user", user]).stdout).unwrap();
    allow(".", 0o755);
    for name in ["state", "inbox"] {
        allow(name, 0o700);
    }
    let own = told("no-such-user");
    assert!(own.contains("ok      state folder") && own.contains("ok      source Inbox"), "{own}");
    let nobody = told("nobody");
    if !nobody.contains("with the rights of nobody") {
        eprintln!("skipped: only root may look with another user's rights");
        return;
    }
    assert!(nobody.contains("FAILED  state folder") && nobody.contains("FAILED  source Inbox"), "{nobody}");
    for name in ["state", "inbox"] {
        allow(name, 0o777);
    }
    let nobody = told("nobody");
    assert!(nobody.contains("ok      state folder") && nobody.contains("ok      source Inbox"), "{nobody}");
    assert_eq!(fs::read_dir(home.path("state")).unwrap().count(), 0, "nothing is left there");
}

#[test]
fn who_is_told_besides_the_broker_is_looked_at() {
    let broker = Broker::start();
    let (web, port) = (free_port(), free_port());
    let extra = format!(
        "webhook: {{ url: \"http://127.0.0.1:{web}/alerts?key=hunter2\" }}\ncommand: {{ run: [/no/such/program] }}\nlisten: 127.0.0.1:{port}\n"
    );
    let told = String::from_utf8(doctor(&Home::new(broker.port, &extra), &[]).stdout).unwrap();
    for words in [
        &format!("FAILED  webhook at 127.0.0.1:{web}"),
        "FAILED  command /no/such/program",
        &format!("ok      listen 127.0.0.1:{port}"),
    ] {
        assert!(told.contains(words), "{words:?} is missing in\n{told}");
    }
    assert!(!told.contains("hunter2"), "{told}");

    let web = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let url = format!("http://{}/alerts", web.local_addr().unwrap());
    let extra = format!("webhook: {{ url: \"{url}\" }}\ncommand: {{ run: [/bin/cat] }}\n");
    let told = String::from_utf8(doctor(&Home::new(broker.port, &extra), &[]).stdout).unwrap();
    assert!(told.contains("ok      webhook") && told.contains("ok      command /bin/cat"), "{told}");
}

/// What only the service can read is not guessed: cameras lock out who tries with a wrong password.
#[test]
fn nobody_is_asked_with_a_credential_that_was_not_seen() {
    let camera = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    camera.set_nonblocking(true).unwrap();
    let port = camera.local_addr().unwrap().port();
    let sources = format!(
        "  gate: {{ http: \"http://127.0.0.1:{port}/a.jpg\", username: me, password: \"${{credential:gate}}\", watch: [objects] }}
  Inbox: {{ folder: inbox, watch: [objects] }}
"
    );
    let told = String::from_utf8(doctor(&Home::with_sources(port, "home", &sources), &[]).stdout).unwrap();
    assert!(told.contains("ok      configuration") && told.contains("note    credentials"), "{told}");
    assert!(
        told.contains("source Inbox") && !told.contains("source gate") && !told.contains("broker m"),
        "{told}"
    );
    assert!(camera.accept().is_err(), "nobody came");
}
