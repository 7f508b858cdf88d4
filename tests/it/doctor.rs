//! `stakeout doctor` for a healthy installation and for broken ones.

use std::{
    fs,
    process::{Command, Output, Stdio},
};

use serde_json::Value;

use crate::common::{
    broker::{Broker, free_port},
    service::{Home, LABEL_SETS},
    skip, stakeout,
    tls::Tls,
};

fn doctor(home: &Home, arguments: &[&str]) -> Output {
    stakeout().args(["doctor", "--config"]).arg(home.path("stakeout.yaml")).args(arguments).output().unwrap()
}

#[test]
fn a_healthy_installation_is_ok() {
    let broker = Broker::start();
    let home = Home::new(broker.port, "");
    fs::create_dir(home.path("state")).unwrap();
    let output = doctor(&home, &[]);
    let report = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{report}");
    for text in [
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
        "ok      broker sessions",
        "ok      source Inbox",
    ] {
        assert!(report.contains(text), "{text:?} is missing in\n{report}");
    }
    let left = fs::read_dir(home.path("state")).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(left.collect::<Vec<_>>(), ["doctor.json"], "only the note about the broker's session is left");
}

/// The text without its sequences that begin with ESC [ and end with `m`.
fn without_colours(text: &str) -> String {
    let mut parts = text.split("\u{1b}[");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |plain, part| plain + part.split_once('m').map_or("", |(_, rest)| rest))
}

/// `script` runs the program in a terminal of its own, whose width it takes from `stty`.
#[test]
fn a_report_is_wrapped_and_coloured_in_a_terminal() {
    let home = Home::with_sources(free_port(), "home", "  gone: { folder: nowhere, watch: [objects] }\n");
    let program = env!("CARGO_BIN_EXE_stakeout");
    let line = format!("stty cols 60 rows 24; exec {program} doctor --config stakeout.yaml");
    let script = |line: &str| {
        Command::new("script")
            .args(["--quiet", "--return", "--command", line, "/dev/null"])
            .env("TERM", "xterm")
            .env_remove("NO_COLOR")
            .current_dir(home.path("."))
            .stdin(Stdio::null())
            .output()
    };
    let Ok(output) = script(&line) else { return skip("script (util-linux) is missing") };
    let report = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{report}");
    assert!(report.contains("\u{1b}["), "no colours in\n{report}");
    let plain = without_colours(&report);
    let longest = plain
        .lines()
        .filter(|line| line.trim().contains(' '))
        .map(|line| line.trim_end().chars().count())
        .max();
    assert!(longest <= Some(60), "a line has {longest:?} columns in\n{plain}");
    assert!(plain.contains("FAILED  source gone"), "{plain}");
}

#[test]
fn every_error_is_reported_with_a_remedy_and_without_passwords() {
    let (broker, camera) = (free_port(), free_port());
    let sources = format!(
        "  gone: {{ folder: nowhere, watch: [objects] }}
  camera: {{ rtsp: \"rtsp://me:hunter2@127.0.0.1:{camera}/x\", watch: [objects] }}
  gate: {{ http: \"http://me:hunter2@127.0.0.1:{camera}/a.jpg\", watch: [objects] }}
  topics: {{ mqtt: a/b, watch: [objects] }}
"
    );
    let home = Home::with_sources(broker, "home", &sources);
    let output = doctor(&home, &["--format", "json"]);
    assert_eq!(output.status.code(), Some(1));
    let report = String::from_utf8(output.stdout).unwrap();
    let findings: Vec<Value> = report.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let state = |check: &str| {
        let finding = findings.iter().find(|finding| finding["check"].as_str().unwrap().starts_with(check));
        let finding = finding.unwrap_or_else(|| panic!("{check} is missing in\n{report}"));
        assert_eq!(finding["state"] == "ok", finding["remedy"].is_null(), "{finding}");
        finding["state"].as_str().unwrap().to_owned()
    };
    for check in ["broker", "source gone", "source camera", "source gate", "source topics"] {
        assert_eq!(state(check), "failed", "{check}");
    }
    assert_eq!(state("configuration"), "ok");
    assert_eq!(state("state folder"), "note", "`run` creates it");
    assert!(
        !report.contains("hunter2") && !String::from_utf8_lossy(&output.stderr).contains("hunter2"),
        "{report}"
    );
}

#[test]
fn an_invalid_configuration_does_not_prevent_other_checks() {
    let home = Home::new(1, "treshold: 1\n");
    let output = doctor(&home, &[]);
    let report = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{report}");
    assert!(report.contains("FAILED  configuration") && report.contains("treshold"), "{report}");
    assert!(report.contains("ok      ONNX Runtime"), "{report}");
}

/// When root runs `doctor`, it checks folders with the rights of the user of the service.
#[test]
fn folders_are_checked_with_the_rights_of_the_service() {
    use std::os::unix::fs::PermissionsExt as _;

    let home = Home::new(free_port(), "");
    fs::create_dir(home.path("state")).unwrap();
    let allow =
        |name: &str, mode| fs::set_permissions(home.path(name), fs::Permissions::from_mode(mode)).unwrap();
    let report_for = |user: &str| String::from_utf8(doctor(&home, &["--user", user]).stdout).unwrap();
    allow(".", 0o755);
    for name in ["state", "inbox"] {
        allow(name, 0o700);
    }
    let own = report_for("no-such-user");
    assert!(own.contains("ok      state folder") && own.contains("ok      source Inbox"), "{own}");
    let report = report_for("daemon");
    if !report.contains("with the rights of daemon") {
        skip("only root may check folders with the rights of another user");
        return;
    }
    assert!(report.contains("FAILED  state folder") && report.contains("FAILED  source Inbox"), "{report}");
    for name in ["state", "inbox"] {
        allow(name, 0o777);
    }
    let report = report_for("daemon");
    assert!(report.contains("ok      state folder") && report.contains("ok      source Inbox"), "{report}");
    assert_eq!(fs::read_dir(home.path("state")).unwrap().count(), 0, "no file is left there");
}

#[test]
fn webhook_command_and_http_endpoint_are_checked() {
    let broker = Broker::start();
    let (web, port) = (free_port(), free_port());
    let extra = format!(
        "webhook: {{ url: \"http://127.0.0.1:{web}/alerts?key=hunter2\" }}\ncommand: {{ run: [/no/such/program] }}\nlisten: 127.0.0.1:{port}\n"
    );
    let report = String::from_utf8(doctor(&Home::new(broker.port, &extra), &[]).stdout).unwrap();
    for text in [
        &format!("FAILED  webhook at 127.0.0.1:{web}"),
        "FAILED  command /no/such/program",
        &format!("ok      listen 127.0.0.1:{port}"),
    ] {
        assert!(report.contains(text), "{text:?} is missing in\n{report}");
    }
    assert!(!report.contains("hunter2"), "{report}");

    let web = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let url = format!("http://{}/alerts", web.local_addr().unwrap());
    let extra = format!("webhook: {{ url: \"{url}\" }}\ncommand: {{ run: [/bin/cat] }}\n");
    let report = String::from_utf8(doctor(&Home::new(broker.port, &extra), &[]).stdout).unwrap();
    assert!(report.contains("ok      webhook") && report.contains("ok      command /bin/cat"), "{report}");
}

#[test]
fn a_broker_that_cannot_keep_alerts_is_reported() {
    for (settings, expected) in
        [("retain_available false", "keeps no retained messages"), ("max_qos 0", "supports only QoS 0")]
    {
        let broker = Broker::with(&format!("allow_anonymous true\n{settings}"));
        let output = doctor(&Home::new(broker.port, ""), &[]);
        let report = String::from_utf8(output.stdout).unwrap();
        assert!(report.contains("FAILED  broker") && report.contains(expected), "{settings}: {report}");
    }
}

/// A real broker restarts between the runs: without persistence, and with it.
#[test]
fn a_broker_that_forgets_its_sessions_is_reported() {
    const STORED: &str = "allow_anonymous true\npersistence true\npersistence_location {folder}/";
    for version in ["5", "3.1.1"] {
        for (settings, after_restart) in [
            ("allow_anonymous true", "note    broker sessions: the broker has forgotten a session"),
            (STORED, "ok      broker sessions: the broker has kept one since"),
        ] {
            let mut broker = Broker::with(settings);
            let home = Home::new(broker.port, "");
            fs::create_dir(home.path("state")).unwrap();
            let text = fs::read_to_string(home.path("stakeout.yaml")).unwrap();
            let text = text.replace("prefix: home", &format!("prefix: home, version: {version}"));
            fs::write(home.path("stakeout.yaml"), text).unwrap();
            let report = || {
                let report = String::from_utf8(doctor(&home, &[]).stdout).unwrap();
                // Long lines are wrapped.
                report.split_whitespace().collect::<Vec<_>>().join(" ")
            };
            let has = |words: &str, report: &str| {
                let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
                assert!(
                    report.contains(&words),
                    "MQTT {version}, {settings}: {words:?} is missing in {report}"
                );
            };
            has("ok broker sessions: the broker keeps them while it runs", &report());
            has("ok broker sessions: the broker has kept one since", &report());
            broker.stop();
            broker.restart();
            has(after_restart, &report());
        }
    }
}

#[test]
fn certificates_are_checked_and_their_fingerprints_are_printed_for_pinning() {
    let broker = Broker::start();
    let web = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let (mqtts, https) = (Tls::home_made(broker.port), Tls::version_1(web.local_addr().unwrap().port()));
    let home = Home::new(broker.port, "");
    let report = |mqtt_tls: &str, webhook_tls: &str| {
        let text = format!(
            "mqtt: {{ url: 'mqtts://localhost:{}', tls: {mqtt_tls} }}\nstate_dir: state\n\
             webhook: {{ url: 'https://localhost:{}/a', tls: {webhook_tls} }}\n{LABEL_SETS}\
             sources: {{ inbox: {{ folder: inbox, watch: [objects] }} }}\n",
            mqtts.port, https.port
        );
        fs::write(home.path("stakeout.yaml"), text).unwrap();
        String::from_utf8(doctor(&home, &[]).stdout).unwrap()
    };
    let pins = [&mqtts, &https].map(|server| format!("{{ fingerprint: {} }}", server.fingerprint));
    let unknown = report("{ verify: true }", "{ verify: true }");
    for text in
        ["FAILED  broker mqtts", "FAILED  webhook", "home-made", "X.509 version 1", &pins[0], &pins[1]]
    {
        assert!(unknown.contains(text), "{text:?} is missing in\n{unknown}");
    }
    let pinned = report(&pins[0], &pins[1]);
    for text in
        ["ok      broker mqtts", "ok      webhook", "the certificate is pinned: `tls: { fingerprint: "]
    {
        assert!(pinned.contains(text), "{text:?} is missing in\n{pinned}");
    }
    let unchecked = report("{ verify: false }", "{ verify: false }");
    for text in
        ["ok      broker mqtts", "ok      webhook", "the certificate is not checked", &pins[0], &pins[1]]
    {
        assert!(unchecked.contains(text), "{text:?} is missing in\n{unchecked}");
    }
}

/// `doctor` cannot read the credentials of the service, and a camera may lock out a client with a wrong password.
#[test]
fn a_source_with_an_unreadable_credential_is_not_contacted() {
    let camera = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    camera.set_nonblocking(true).unwrap();
    let port = camera.local_addr().unwrap().port();
    let sources = format!(
        "  gate: {{ http: \"http://127.0.0.1:{port}/a.jpg\", username: me, password: \"${{credential:gate}}\", watch: [objects] }}
  Inbox: {{ folder: inbox, watch: [objects] }}
"
    );
    let report = String::from_utf8(doctor(&Home::with_sources(port, "home", &sources), &[]).stdout).unwrap();
    assert!(report.contains("ok      configuration") && report.contains("note    credentials"), "{report}");
    assert!(
        report.contains("source Inbox") && !report.contains("source gate") && !report.contains("broker m"),
        "{report}"
    );
    assert!(camera.accept().is_err(), "no client has connected");
}
