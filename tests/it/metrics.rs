//! The HTTP endpoint: metrics for Prometheus while the service works, and answers to bad requests.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    path::Path,
    time::Instant,
};

use serde_json::Value;

use crate::common::{
    PATIENCE,
    broker::{Broker, ReceivedMessage, Subscriber, free_port},
    service::{Home, Service},
    wait_until,
};

/// Sends these bytes; the answer up to the end of the connection.
pub(crate) fn send(port: u16, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    match stream.write_all(bytes) {
        Ok(()) => {}
        // The server may close the connection before it has read everything.
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

/// The status and the body of an answer.
fn get(port: u16, path: &str, fields: &str) -> (u16, String) {
    let answer = send(port, format!("GET {path} HTTP/1.1\r\nHost: here\r\n{fields}\r\n").as_bytes());
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer:?}"));
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

/// The value of this series.
pub(crate) fn value(port: u16, series: &str) -> Option<f64> {
    let (status, page) = get(port, "/metrics", "");
    assert_eq!(status, 200);
    let line = page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ').map(str::to_owned));
    line.map(|number| number.parse().unwrap())
}

pub(crate) fn wait_until_ready(service: &Service, port: u16) {
    service.wait_for_log("listening");
    wait_until("the service is ready", || get(port, "/readyz", "").0 == 200);
}

#[test]
fn metrics_follow_a_frame_and_its_alert() {
    let (broker, port) = (Broker::start(), free_port());
    let subscriber = Subscriber::start(&broker);
    let home = Home::new(broker.port, &format!("listen: 127.0.0.1:{port}\n"));
    let mut service = Service::start(&home);
    wait_until_ready(&service, port);
    assert_eq!(get(port, "/healthz", ""), (200, "ok\n".to_owned()));

    let raised =
        r#"stakeout_alerts_total{source="Inbox",label_set="objects",label="red car",state="raised"}"#;
    assert_eq!(value(port, raised), Some(0.0), "the series exists from the start");
    wait_until("the source is online", || {
        value(port, r#"stakeout_source_up{source="Inbox",kind="folder"}"#) == Some(1.0)
    });
    wait_until("the broker is connected", || value(port, "stakeout_broker_connected") == Some(1.0));

    home.drop_picture("red-car.jpg", "1.jpg");
    wait_until("the alert is counted", || value(port, raised) == Some(1.0));
    wait_until("the alert is published", || value(port, "stakeout_alerts_published_total") == Some(1.0));
    assert_eq!(value(port, r#"stakeout_frames_seen_total{source="Inbox"}"#), Some(1.0));
    assert_eq!(value(port, "stakeout_frames_classified_total"), Some(1.0));
    for stage in ["decode", "queue", "classify", "judge", "whole_way"] {
        let series = format!("stakeout_stage_duration_seconds_count{{stage=\"{stage}\"}}");
        wait_until(&series, || value(port, &series) == Some(1.0));
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

    let stats = |message: &ReceivedMessage| message.topic == "home/stats";
    let published = subscriber.until("the summary", stats);
    let published: Value = serde_json::from_slice(&published.last().unwrap().payload).unwrap();
    assert!(published["frames"]["scored"].is_u64() && published["alerts"]["waiting"].is_u64(), "{published}");
    let document = include_str!("../../docs/monitoring.md");
    let shown = document.split("```json\n").nth(1).unwrap().split("```").next().unwrap();
    let shown: Value = serde_json::from_str(shown).unwrap();
    assert_eq!(all_keys(&shown), all_keys(&published), "docs/monitoring.md");

    service.stop();
}

/// The keys of an object and of the objects in it.
fn all_keys(json: &Value) -> Vec<String> {
    let entries = json.as_object().into_iter().flatten();
    entries.flat_map(|(key, value)| [vec![key.clone()], all_keys(value)].concat()).collect()
}

/// The table in docs/monitoring.md lists exactly the series of the page, with their labels.
fn check_page(page: &str) {
    let mut listed = BTreeMap::new();
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
        listed.insert(name.to_owned(), labels);
    }
    let document = include_str!("../../docs/monitoring.md");
    let rows = document.lines().filter_map(|line| {
        let mut cells = line.strip_prefix('|')?.split('|').map(str::trim);
        let name = cells.next()?.trim_matches('`');
        let labels = cells.next()?.split('`').skip(1).step_by(2).map(str::to_owned);
        let is_figure = ["stakeout_", "process_"].iter().any(|begin| name.starts_with(begin));
        is_figure.then(|| (name.to_owned(), labels.collect()))
    });
    assert_eq!(rows.collect::<BTreeMap<_, BTreeSet<_>>>(), listed, "docs/monitoring.md");
}

/// Each series in a query of the dashboard is on the page, with the labels of its legend.
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
                let series = series.next().unwrap_or_else(|| panic!("{name} of {query} is not on the page"));
                let legend = target["legendFormat"].as_str().unwrap();
                for label in legend.split("{{").skip(1).filter_map(|rest| rest.split_once("}}")) {
                    // Prometheus adds `instance`.
                    let known = label.0 == "instance" || series.contains(&format!("{}=\"", label.0));
                    assert!(known, "{series} has no {}, which {legend:?} shows", label.0);
                }
            }
        }
    }
    assert!(names > 20, "only {names} names were found");
}

/// Every rule and panel about a machine also notices that the machine does not answer: all of its own series end then.
#[test]
fn a_machine_that_does_not_answer_is_no_healthy_machine() {
    let dashboard: Value = serde_json::from_str(include_str!("../../grafana/stakeout.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let queries = |panel: &Value| -> Vec<String> {
        let targets = panel["targets"].as_array().unwrap().iter();
        targets.map(|target| target["expr"].as_str().unwrap().to_owned()).collect()
    };
    let panel = |title: &str| {
        panels.iter().find(|panel| panel["title"] == title).unwrap_or_else(|| panic!("{title}"))
    };
    for title in ["Machines down", "Ready", "Broker", "Sources"] {
        let dead = r#"up{job=~".*stakeout.*",instance=~"$instance"} == 0"#;
        assert!(queries(panel(title)).concat().contains(dead), "{title}");
    }
    assert!(queries(panel("Stuck parts"))[0].contains("stakeout_stuck_parts"));
    for panel in panels {
        let title = &panel["title"];
        if panel["type"] == "stat" {
            // The last value of a series that has ended is no answer.
            assert!(panel["targets"][0]["instant"] == true, "{title}");
            assert_eq!(panel["fieldConfig"]["defaults"]["noValue"], "no data", "{title}");
        }
        for query in queries(panel) {
            let of_source =
                ["stakeout_source_", "stakeout_frames_s", "stakeout_frames_failed", "stakeout_alerts_total"];
            let filtered =
                !of_source.iter().any(|name| query.contains(name)) || query.contains(r#"source=~"$source""#);
            assert!(filtered, "{title} has no filter for sources: {query}");
        }
    }
    let never = &queries(panel("Sources"))[1];
    assert!(never.contains("== 0) - 1"), "a source without a frame has a row: {never}");

    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("grafana");
    let rules = fs::read_to_string(folder.join("alerts.yaml")).unwrap();
    for part in [
        "up{job=\"stakeout\"} == 0",
        "absent(",
        "stakeout_stuck_parts > 0",
        "last_frame_timestamp_seconds == 0",
    ] {
        assert!(rules.contains(part), "{part}");
    }
    let page = include_str!("../../docs/monitoring.md");
    let (_, shown) = page.split_once("    rules:\n").unwrap();
    for rule in shown.lines().take_while(|line| line.starts_with("      - ")) {
        assert!(rules.contains(rule), "grafana/alerts.yaml has no {rule}");
    }
}

#[test]
fn bad_requests_are_refused_and_affect_no_other() {
    const TOKEN: &str = "hunter2hunter2hunter2";
    let port = free_port();
    let listen = format!("listen: {{ address: \"127.0.0.1:{port}\", token: {TOKEN} }}\n");
    let home = Home::new(free_port(), &listen);
    let mut service = Service::start(&home);
    service.wait_for_log("listening");
    let good = format!("Authorization: Bearer {TOKEN}\r\n");
    wait_until("the service is ready", || get(port, "/readyz", &good).0 == 200);

    for fields in ["", "Authorization: Bearer hunter2\r\n", "Authorization: Basic aHVudGVyMg==\r\n"] {
        for path in ["/metrics", "/healthz", "/nowhere"] {
            assert_eq!(get(port, path, fields).0, 401, "{path} {fields}");
        }
    }
    assert_eq!(get(port, "/metrics", &good).0, 200);
    assert_eq!(get(port, "/../etc/passwd", &good).0, 404);

    let begins = |bytes: &[u8], status: &str| {
        let answer = send(port, bytes);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer:?}");
    };
    begins(format!("POST /metrics HTTP/1.1\r\n{good}Content-Length: 9\r\n\r\n").as_bytes(), "405");
    begins(b"\x16\x03\x01\x00\xa5\x01\x00\x00", "400");
    begins(b"\r\n\r\n\0\0\0\0 nonsense\r\n\r\n", "400");
    begins(format!("GET / HTTP/1.1\r\nX: {}", "a".repeat(8192)).as_bytes(), "431");
    assert_eq!(send(port, b"").len(), 0, "a client that sends nothing receives nothing");

    // More silent clients than the server accepts at a time: it disconnects them and answers the others.
    let idle: Vec<_> = (0..40).map(|_| TcpStream::connect(("127.0.0.1", port)).unwrap()).collect();
    assert_eq!(get(port, "/healthz", &good).0, 200);
    drop(idle);

    service.stop();
    assert!(!service.log().contains("hunter2"), "{}", service.log());
}

#[test]
fn no_number_of_silent_clients_silences_the_health_check() {
    const TOKEN: &str = "hunter2hunter2hunter2";
    let port = free_port();
    let listen = format!("listen: {{ address: \"0.0.0.0:{port}\", token: {TOKEN} }}\n");
    let home = Home::new(free_port(), &listen);
    let mut service = Service::start(&home);
    service.wait_for_log("listening");
    let good = format!("Authorization: Bearer {TOKEN}\r\n");
    // Idle, with half a head, with a body that never comes, and with an answer that they do not read.
    let page = format!("GET /metrics HTTP/1.1\r\n{good}\r\n");
    let mut clients = Vec::new();
    for request in ["", "GET /healthz HTTP/1.1\r\n", "POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\n", &page] {
        for _ in 0..100 {
            let mut client = TcpStream::connect(("127.0.0.1", port)).unwrap();
            let _ = client.write_all(request.as_bytes());
            clients.push(client);
        }
        assert_eq!(get(port, "/healthz", &good), (200, "ok\n".to_owned()), "{request:?}");
    }
    service.stop();
}

#[test]
fn an_address_in_use_is_reported_with_a_remedy() {
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let home = Home::new(1, &format!("listen: 127.0.0.1:{port}\n"));
    let mut service = Service::start(&home);
    let status = service.wait();
    let log = service.log();
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(
        log.contains(&format!("cannot listen at 127.0.0.1:{port}")) && log.contains("free port"),
        "{log}"
    );
}

/// Many similar log lines are limited and counted; lines about alerts are always written.
#[test]
fn a_flood_of_broken_files_is_logged_in_a_few_lines() {
    const FILES: usize = 300;
    let (broker, port) = (Broker::start(), free_port());
    let home = Home::new(broker.port, &format!("listen: 127.0.0.1:{port}\n"));
    let mut service = Service::start(&home);
    wait_until_ready(&service, port);
    let began = Instant::now();
    for number in 0..FILES {
        let elsewhere = home.path("upload");
        fs::write(&elsewhere, "no picture").unwrap();
        fs::rename(elsewhere, home.path(&format!("inbox/{number}.jpg"))).unwrap();
    }
    home.drop_picture("red-car.jpg", "car.jpg");
    let broken = r#"stakeout_frames_failed_total{source="Inbox",cause="not_a_picture"}"#;
    wait_until("all files are counted", || value(port, broken) == Some(FILES as f64));
    wait_until("the alert is published", || value(port, "stakeout_alerts_published_total") == Some(1.0));
    service.stop();

    let log = service.log();
    let written = log.matches("skipped a file that is no usable picture").count();
    let left_out = log.lines().filter(|line| line.contains("more lines like this were left out"));
    let left_out: usize = left_out
        .map(|line| {
            assert!(line.contains(" Inbox: ") && line.contains("like=\"skipped a file"), "{line}");
            let lines = line.split("lines=").nth(1).unwrap();
            lines.split([',', ')']).next().unwrap().parse::<usize>().unwrap()
        })
        .sum();
    // Each line about omitted lines repeats their text in `like`.
    let summaries = log.matches("more lines like this were left out").count();
    let written = written - summaries;
    // Fifty at once, and then one in five seconds.
    let most = 52 + began.elapsed().as_secs() as usize / 5;
    assert!((50..=most).contains(&written), "{written} lines:\n{log}");
    assert_eq!(written + left_out, FILES, "{log}");
    assert!(log.contains("alert published"), "{log}");
}
