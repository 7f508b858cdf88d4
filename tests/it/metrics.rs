//! The listener, black box: what Prometheus is told while the service works, and what becomes of those who ask for no good.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    time::Duration,
};

use serde_json::Value;

use crate::common::{
    broker::{Broker, Message, Subscriber, free_port, wait_until},
    service::{Home, Service},
};

/// What comes back for these bytes, up to the end of the connection.
fn say(port: u16, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    match stream.write_all(bytes) {
        Ok(()) => {}
        // It has heard enough.
        Err(error) if [ErrorKind::BrokenPipe, ErrorKind::ConnectionReset].contains(&error.kind()) => {}
        Err(error) => panic!("{error}"),
    }
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}"),
    }
    String::from_utf8(answer).unwrap()
}

/// The status and the body.
fn get(port: u16, path: &str, fields: &str) -> (u16, String) {
    let answer = say(port, format!("GET {path} HTTP/1.1\r\nHost: here\r\n{fields}\r\n").as_bytes());
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer:?}"));
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

/// The number of this series.
fn figure(port: u16, series: &str) -> Option<f64> {
    let (status, page) = get(port, "/metrics", "");
    assert_eq!(status, 200);
    let line = page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ').map(str::to_owned));
    line.map(|number| number.parse().unwrap())
}

fn listening(service: &Service, port: u16) {
    service.wait_for_words("listening");
    wait_until("it watches", || get(port, "/readyz", "").0 == 200);
}

#[test]
fn what_happens_is_told_to_who_asks() {
    let (broker, port) = (Broker::start(), free_port());
    let subscriber = Subscriber::start(&broker);
    let home = Home::new(broker.port, &format!("listen: 127.0.0.1:{port}\n"));
    let mut service = Service::start(&home);
    listening(&service, port);
    assert_eq!(get(port, "/healthz", ""), (200, "ok\n".to_owned()));

    let raised =
        r#"stakeout_alerts_total{source="Inbox",label_set="objects",label="red car",state="raised"}"#;
    assert_eq!(figure(port, raised), Some(0.0), "it is there from the start");
    wait_until("the source is up", || {
        figure(port, r#"stakeout_source_up{source="Inbox",kind="folder"}"#) == Some(1.0)
    });
    wait_until("the broker is there", || figure(port, "stakeout_broker_connected") == Some(1.0));

    home.drop_picture("red-car.jpg", "1.jpg");
    wait_until("the alert is counted", || figure(port, raised) == Some(1.0));
    wait_until("the alert is published", || figure(port, "stakeout_alerts_published_total") == Some(1.0));
    assert_eq!(figure(port, r#"stakeout_frames_seen_total{source="Inbox"}"#), Some(1.0));
    assert_eq!(figure(port, "stakeout_frames_classified_total"), Some(1.0));
    for stage in ["decode", "queue", "classify", "judge", "whole_way"] {
        let series = format!("stakeout_stage_duration_seconds_count{{stage=\"{stage}\"}}");
        wait_until(&series, || figure(port, &series) == Some(1.0));
    }
    fs::write(home.path("inbox/2.jpg"), "no picture").unwrap();
    let failed = |page: &str| {
        page.lines()
            .filter(|line| {
                line.starts_with(r#"stakeout_frames_failed_total{source="Inbox""#) && !line.ends_with(" 0")
            })
            .count()
    };
    wait_until("the broken file is counted", || failed(&get(port, "/metrics", "").1) > 0);

    check_dashboard(&get(port, "/metrics", "").1);
    check_page(&get(port, "/metrics", "").1);

    let stats = |message: &Message| message.topic == "home/stats";
    let told = subscriber.until("the figures in short", stats);
    let told: Value = serde_json::from_slice(&told.last().unwrap().payload).unwrap();
    assert!(told["frames"]["scored"].is_u64() && told["alerts"]["waiting"].is_u64(), "{told}");
    let document = include_str!("../../docs/monitoring.md");
    let shown = document.split("```json\n").nth(1).unwrap().split("```").next().unwrap();
    let shown: Value = serde_json::from_str(shown).unwrap();
    assert_eq!(all_keys(&shown), all_keys(&told), "docs/monitoring.md");

    service.signal("-TERM");
    assert!(service.wait().0.success());
}

/// The keys of an object and of the objects in it.
fn all_keys(json: &Value) -> Vec<String> {
    let entries = json.as_object().into_iter().flatten();
    entries.flat_map(|(key, value)| [vec![key.clone()], all_keys(value)].concat()).collect()
}

/// The table in docs/monitoring.md has each name with its labels, and no other.
fn check_page(page: &str) {
    let mut told = BTreeMap::new();
    for name in page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()) {
        let series = page.lines().find(|line| {
            let rest = line.strip_prefix(name).map(|rest| rest.trim_start_matches("_bucket"));
            rest.is_some_and(|rest| rest.starts_with(['{', ' ']))
        });
        let labels =
            series.unwrap().split_once('{').map_or("", |(_, labels)| labels.split('}').next().unwrap());
        let labels = labels.split("\",").filter_map(|label| label.split('=').next());
        let labels: BTreeSet<_> =
            labels.filter(|label| !label.is_empty() && *label != "le").map(str::to_owned).collect();
        told.insert(name.to_owned(), labels);
    }
    let document = include_str!("../../docs/monitoring.md");
    let rows = document.lines().filter_map(|line| {
        let mut cells = line.strip_prefix('|')?.split('|').map(str::trim);
        let name = cells.next()?.trim_matches('`');
        let labels = cells.next()?.split('`').skip(1).step_by(2).map(str::to_owned);
        let is_figure = ["stakeout_", "process_"].iter().any(|begin| name.starts_with(begin));
        is_figure.then(|| (name.to_owned(), labels.collect()))
    });
    assert_eq!(rows.collect::<BTreeMap<_, BTreeSet<_>>>(), told, "docs/monitoring.md");
}

/// Each name in a query of the dashboard is on the page, with the labels that the query asks for.
fn check_dashboard(page: &str) {
    let dashboard = include_str!("../../grafana/stakeout.json");
    let dashboard: Value = serde_json::from_str(dashboard).unwrap();
    let (mut names, word) = (0, |letter: char| letter.is_ascii_alphanumeric() || letter == '_');
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().unwrap() {
            let query = target["expr"].as_str().unwrap();
            for name in query.split(|letter| !word(letter)) {
                if !(name.starts_with("stakeout_") || name.starts_with("process_")) {
                    continue;
                }
                names += 1;
                let mut series = page.lines().filter(|line| line.split(['{', ' ']).next() == Some(name));
                let series = series.next().unwrap_or_else(|| panic!("{name} of {query} is not told"));
                let legend = target["legendFormat"].as_str().unwrap();
                for label in legend.split("{{").skip(1).filter_map(|rest| rest.split_once("}}")) {
                    // Prometheus adds this one.
                    let told = label.0 == "instance" || series.contains(&format!("{}=\"", label.0));
                    assert!(told, "{series} has no {}, which {legend:?} shows", label.0);
                }
            }
        }
    }
    assert!(names > 20, "only {names} names were found");
}

#[test]
fn who_asks_for_no_good_gets_an_answer_and_nothing_else_suffers() {
    const TOKEN: &str = "hunter2hunter2hunter2";
    let port = free_port();
    let listen = format!("listen: {{ address: \"127.0.0.1:{port}\", token: {TOKEN} }}\n");
    let home = Home::new(free_port(), &listen);
    let mut service = Service::start(&home);
    service.wait_for_words("listening");
    let good = format!("Authorization: Bearer {TOKEN}\r\n");
    wait_until("it watches", || get(port, "/readyz", &good).0 == 200);

    for fields in ["", "Authorization: Bearer hunter2\r\n", "Authorization: Basic aHVudGVyMg==\r\n"] {
        for path in ["/metrics", "/healthz", "/nowhere"] {
            assert_eq!(get(port, path, fields).0, 401, "{path} {fields}");
        }
    }
    assert_eq!(get(port, "/metrics", &good).0, 200);
    assert_eq!(get(port, "/../etc/passwd", &good).0, 404);

    let begins = |bytes: &[u8], status: &str| {
        let answer = say(port, bytes);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer:?}");
    };
    begins(format!("POST /metrics HTTP/1.1\r\n{good}Content-Length: 9\r\n\r\n").as_bytes(), "405");
    begins(b"\x16\x03\x01\x00\xa5\x01\x00\x00", "400");
    begins(b"\r\n\r\n\0\0\0\0 nonsense\r\n\r\n", "400");
    begins(format!("GET / HTTP/1.1\r\nX: {}", "a".repeat(8192)).as_bytes(), "431");
    assert_eq!(say(port, b"").len(), 0, "who says nothing is left to himself");

    // More than are answered at a time say nothing; they are let go, and others are answered then.
    let idle: Vec<_> = (0..40).map(|_| TcpStream::connect(("127.0.0.1", port)).unwrap()).collect();
    assert_eq!(get(port, "/healthz", &good).0, 200);
    drop(idle);

    service.signal("-TERM");
    assert!(service.wait().0.success());
    assert!(!service.said().contains("hunter2"), "{}", service.said());
}

#[test]
fn an_address_that_somebody_else_has_is_said_with_a_remedy() {
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let home = Home::new(1, &format!("listen: 127.0.0.1:{port}\n"));
    let mut service = Service::start(&home);
    let (status, _) = service.wait();
    let said = service.said();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(
        said.contains(&format!("cannot listen at 127.0.0.1:{port}")) && said.contains("free port"),
        "{said}"
    );
}

/// Many similar lines are written as a few, and none of them is forgotten; what is said of alerts is always written.
#[test]
fn a_flood_of_broken_files_is_told_in_a_few_lines() {
    const FILES: usize = 300;
    let (broker, port) = (Broker::start(), free_port());
    let home = Home::new(broker.port, &format!("listen: 127.0.0.1:{port}\n"));
    let mut service = Service::start(&home);
    listening(&service, port);
    for number in 0..FILES {
        let elsewhere = home.path("upload");
        fs::write(&elsewhere, "no picture").unwrap();
        fs::rename(elsewhere, home.path(&format!("inbox/{number}.jpg"))).unwrap();
    }
    home.drop_picture("red-car.jpg", "car.jpg");
    let broken = r#"stakeout_frames_failed_total{source="Inbox",cause="not_a_picture"}"#;
    wait_until("all are counted", || figure(port, broken) == Some(FILES as f64));
    wait_until("the alert is published", || figure(port, "stakeout_alerts_published_total") == Some(1.0));
    service.signal("-TERM");
    assert!(service.wait().0.success());

    let said = service.said();
    let written = said.matches("passed over a file that is no usable picture").count();
    let left_out = said.lines().filter(|line| line.contains("more lines like this were left out"));
    let left_out: usize = left_out
        .map(|line| {
            assert!(
                line.contains("source=\"Inbox\"") && line.contains("like=\"passed over a file"),
                "{line}"
            );
            let lines = line.split("lines=").nth(1).unwrap();
            lines.split(' ').next().unwrap().parse::<usize>().unwrap()
        })
        .sum();
    // `like` repeats the words once for each line that tells of others.
    let told = said.matches("more lines like this were left out").count();
    let written = written - told;
    assert!((50..FILES / 2).contains(&written), "{written} lines:\n{said}");
    assert_eq!(written + left_out, FILES, "{said}");
    assert!(said.contains("alert published"), "{said}");
}
