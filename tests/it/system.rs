//! The state of a running service, its checks and its support bundle: over the API, and with the command.

use std::{fs, os::unix::fs::PermissionsExt as _, process::Command};

use serde_json::{Value, json};

use crate::{
    api::{at_socket, over_http},
    common::{
        broker::{Broker, free_port},
        service::{Home, Service},
        stakeout, wait_until,
    },
    metrics::wait_until_ready,
};

fn system(home: &Home) -> Value {
    let answer = at_socket(home, "GET", "/api/v1/system", "");
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    answer.json()
}

/// What is said about `about` among the problems.
fn advice<'f>(facts: &'f Value, about: &str) -> Option<&'f Value> {
    facts["problems"].as_array().unwrap().iter().find(|advice| advice["about"] == about)
}

#[test]
fn the_state_of_a_service_that_works_and_that_loses_its_broker() {
    let broker = Broker::start();
    let home = Home::new(broker.port, "");
    let mut service = Service::start(&home);
    wait_until("the socket exists", || home.path("state/api.sock").exists());
    // It answers while the model is loaded, too.
    assert_eq!(system(&home)["model"]["name"], "bundled");
    service.wait_until_watching();
    home.drop_picture("red-car.jpg", "1.jpg");
    let mut facts = Value::Null;
    wait_until("the alert is published", || {
        facts = system(&home);
        facts["delivery"]["published"] == 1
    });
    assert_eq!((&facts["ready"], &facts["config_valid"]), (&json!(true), &json!(true)));
    assert_eq!(facts["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!((&facts["model"]["scored"], &facts["model"]["figures"]["batches"]), (&json!(1), &json!(1)));
    let loaded = &facts["model"]["loaded"];
    assert_eq!((&loaded["files"], &loaded["device"]), (&json!("the binary itself"), &json!("cpu")));
    assert!(loaded["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{loaded}");
    assert_eq!(facts["delivery"]["connected"], true);
    assert_eq!(facts["delivery"]["sinks"][0]["name"], "mqtt");
    assert_eq!(facts["delivery"]["outbox"]["on_disk"], true);
    assert_eq!(facts["sources"]["online"], 1);
    assert_eq!(facts["history"]["failing"], Value::Null);
    assert!(facts["disk"]["total"].as_u64() > facts["disk"]["free"].as_u64(), "{}", facts["disk"]);
    assert!(facts["process"]["memory"].as_u64() > Some(1 << 20), "{}", facts["process"]);
    assert_eq!(advice(&facts, "broker"), None);
    // The figures are those of the metrics page.
    let page = at_socket(&home, "GET", "/metrics", "");
    let page = String::from_utf8(page.body).unwrap();
    assert!(page.contains("stakeout_alerts_published_total 1\n"), "{page}");

    drop(broker);
    wait_until("the broker is missed", || {
        facts = system(&home);
        advice(&facts, "broker").is_some()
    });
    let broken = advice(&facts, "broker").unwrap();
    assert!(broken["what"].as_str().unwrap().contains("not connected"), "{broken}");
    assert!(broken["remedy"].as_str().unwrap().contains("`mqtt`"), "{broken}");
    wait_until("the log says why", || {
        facts = system(&home);
        let lines = facts["log"].as_array().unwrap();
        lines.iter().any(|line| {
            line["level"] == "warning" && line["text"].as_str().unwrap().contains("not connected")
        })
    });
    service.stop();
}

#[test]
fn the_checks_run_over_the_api_for_clients_that_may_change_something() {
    let (broker, port) = (Broker::start(), free_port());
    let home = Home::with_sources(
        broker.port,
        "home",
        "  Inbox: { folder: inbox, watch: [objects] }\n  gone: { folder: nowhere, watch: [objects] }\n",
    );
    let file = home.path("stakeout.yaml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("{text}listen: 127.0.0.1:{port}\n")).unwrap();
    let mut service = Service::start(&home);
    wait_until_ready(&service, port);
    for verb in ["doctor", "support_bundle"] {
        let refused = over_http(port, "POST", &format!("/api/v1/{verb}"), "");
        assert_eq!(refused.status, 403, "{verb} without a token");
    }
    let answer = at_socket(&home, "POST", "/api/v1/doctor", "{}");
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    let answer = answer.json();
    let state = |check: &str| {
        let checks = answer["checks"].as_array().unwrap();
        let found = checks.iter().find(|it| it["check"].as_str().unwrap().starts_with(check));
        let found = found.unwrap_or_else(|| panic!("{check} is missing in\n{answer:#}"));
        assert_eq!(found["state"] == "ok", found["remedy"].is_null(), "{found}");
        found["state"].as_str().unwrap().to_owned()
    };
    for check in ["configuration", "ONNX Runtime", "state folder", "broker", "source Inbox"] {
        assert_eq!(state(check), "ok", "{check}");
    }
    assert_eq!(state("source gone"), "problem");
    assert!(!answer["checks"].to_string().contains("listen"), "the service itself uses its port");
    service.stop();
}

fn bundle(home: &Home, file: &str) -> std::process::Output {
    let mut command = stakeout();
    command.args(["support-bundle", "--config"]).arg(home.path("stakeout.yaml"));
    command.arg(home.path(file)).output().unwrap()
}

/// The text of a file in a bundle.
fn content(home: &Home, bundle: &str, name: &str) -> String {
    let mut tar = Command::new("tar");
    tar.arg("-xzOf").arg(home.path(bundle)).args(["--wildcards", &format!("*/{name}")]);
    let output = tar.output().unwrap();
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_support_bundle_with_and_without_a_service() {
    let broker = Broker::start();
    let home = Home::new(broker.port, "");
    let mut service = Service::start(&home);
    service.wait_until_watching();
    home.drop_picture("red-car.jpg", "1.jpg");
    service.wait_for_log("raised");
    let output = bundle(&home, "a.tar.gz");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("metrics.txt") && said.contains("read it before you give it"), "{said}");
    assert_eq!(
        String::from_utf8_lossy(&output.stdout).trim_end(),
        home.path("a.tar.gz").display().to_string()
    );
    let mode = fs::metadata(home.path("a.tar.gz")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    for (name, text) in [
        ("README.txt", "A support bundle of stakeout"),
        ("configuration.yaml", "label_sets:"),
        ("problems.txt", "none"),
        ("settings.txt", "prefix: home"),
        ("checks.txt", "ok      source Inbox"),
        ("system.json", "\"published\":"),
        ("metrics.txt", "stakeout_ready 1\n"),
        ("log.txt", "watching"),
    ] {
        let found = content(&home, "a.tar.gz", name);
        assert!(found.contains(text), "{text} is missing in {name}:\n{found}");
    }
    let log = content(&home, "a.tar.gz", "log.txt");
    assert!(!log.contains("score=") && !log.contains("raised"), "{log}");
    let again = bundle(&home, "a.tar.gz");
    assert_eq!(again.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&again.stderr).contains("exists already"));

    service.stop();
    let output = bundle(&home, "b.tar.gz");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(content(&home, "b.tar.gz", "README.txt").contains("missing: no service was running"));
    assert!(content(&home, "b.tar.gz", "checks.txt").contains("ok      source Inbox"));
}
