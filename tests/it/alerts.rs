//! `stakeout alerts`, with the built binary and a real broker.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    process::{Child, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
};

use serde_json::Value;

use crate::common::{
    PATIENCE,
    broker::{Broker, Subscriber, free_port, publish},
    service::{Home, Service, signal_process},
    stakeout,
};

/// The lines of `output`, read on a thread, so that a wait for them can time out.
fn lines_of(output: impl Read + Send + 'static) -> Receiver<String> {
    let (send, lines) = mpsc::channel();
    thread::spawn(move || {
        BufReader::new(output).lines().map_while(Result::ok).try_for_each(|line| send.send(line))
    });
    lines
}

fn next(lines: &Receiver<String>) -> String {
    lines.recv_timeout(PATIENCE).expect("one more line")
}

/// `stakeout alerts`; killed when it is dropped.
struct Listener {
    process: Child,
    lines: Receiver<String>,
}

impl Listener {
    fn start(home: &Home, arguments: &[&str]) -> Self {
        let mut command = stakeout();
        command.args(["alerts", "--config"]).arg(home.path("stakeout.yaml")).args(arguments).env("TZ", "UTC");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let log = lines_of(process.stderr.take().unwrap());
        let lines = lines_of(process.stdout.take().unwrap());
        let listener = Self { process, lines };
        while !next(&log).contains("receiving alerts") {}
        listener
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn alerts_are_printed_when_they_arrive() {
    let broker = Broker::start();
    let home = Home::new(broker.port, "");
    let subscriber = Subscriber::start(&broker);
    let _service = Service::start(&home);
    subscriber.until("the source to be online", |message| message.line() == "r home/inbox/status online");
    let mut people = Listener::start(&home, &[]);
    let mut programs = Listener::start(&home, &["--json", "--label", "green tree", "--count", "1"]);
    publish(&broker, "home/inbox/objects/red_car/alert", "nonsense");
    home.drop_picture("red-car.jpg", "1.jpg");
    let raised = next(&people.lines);
    home.drop_picture("green-tree.jpg", "2.jpg");
    let both = [next(&people.lines), next(&people.lines)];

    let (time, rest) = raised.split_at("2026-11-23 08:15:30 +00:00".len());
    assert!(
        time.ends_with(" +00:00") && time.chars().all(|c| c.is_ascii_digit() || "+-: ".contains(c)),
        "{raised}"
    );
    assert!(
        rest.starts_with("  Inbox  red car        raised   0.")
            || rest.starts_with("  Inbox  red car        raised   1."),
        "{raised}"
    );
    assert!(
        both[0].contains("red car        cleared") && both[1].contains("green tree     raised"),
        "{both:?}"
    );
    let alert: Value = serde_json::from_str(&next(&programs.lines)).unwrap();
    assert_eq!((&alert["label"], &alert["state"]), (&"green tree".into(), &"raised".into()));

    assert!(programs.process.wait().unwrap().success(), "it ends after one alert");

    signal_process(people.process.id(), "-INT");
    assert!(people.process.wait().unwrap().success(), "Ctrl-C is its normal end");
}

#[test]
fn alerts_are_received_with_mqtt_3_1_1() {
    let broker = Broker::start();
    let home = Home::new(broker.port, "");
    let typed = fs::read_to_string(home.path("stakeout.yaml")).unwrap();
    fs::write(home.path("stakeout.yaml"), typed.replace("prefix: home", "prefix: home, version: 3.1.1"))
        .unwrap();
    let mut listener = Listener::start(&home, &["--json", "--source", "Inbox", "-n", "1"]);
    let alert = r#"{"time":"2026-11-23T08:15:30Z","source":"Inbox","label":"red car","state":"raised"}"#;
    publish(&broker, "home/inbox/objects/red_car/alert", alert);
    assert_eq!(next(&listener.lines), alert);
    assert!(listener.process.wait().unwrap().success());
}

#[test]
fn wrong_arguments_and_a_missing_broker_are_reported() {
    let home = Home::new(free_port(), "");
    let alerts = |arguments: &[&str]| {
        let mut command = stakeout();
        command.args(["alerts", "--config"]).arg(home.path("stakeout.yaml")).args(arguments);
        command.output().unwrap()
    };
    let typed = fs::read_to_string(home.path("stakeout.yaml")).unwrap();
    let cameras = "  cameras: { mqtt: cameras/+, name: 'cam {1}', watch: [objects] }\n";
    fs::write(home.path("stakeout.yaml"), format!("{typed}{cameras}")).unwrap();
    for (arguments, word) in [
        (["--source", "Gate"], "Inbox"),
        (["--label", "cat"], "Blue Umbrella"),
        (["--follow", "--count=1"], "cannot be used with"),
    ] {
        let output = alerts(&arguments);
        let log = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(64), "{log}");
        assert!(log.contains(arguments[1].trim_end_matches("=1")) && log.contains(word), "{log}");
    }

    let mut command = stakeout();
    // A name that a topic may give is accepted, whether such a source has appeared or not.
    command.args(["alerts", "--source", "Cam yard", "--config"]).arg(home.path("stakeout.yaml"));
    let mut process = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let line = next(&lines_of(process.stderr.take().unwrap()));
    let _ = process.kill();
    let _ = process.wait();
    assert!(line.contains("not connected") && line.contains("refused"), "{line}");
}
