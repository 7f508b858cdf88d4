//! The API of a running service: at the unix socket of the commands, over HTTP, and over MQTT.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    os::unix::{fs::PermissionsExt as _, net::UnixStream},
    process::{Command, Output},
};

use serde_json::{Value, json};

use crate::{
    common::{
        PATIENCE,
        broker::{Broker, Subscriber, free_port, publish, publish_bytes},
        service::{Home, Service, sample},
        stakeout, wait_until,
    },
    metrics::wait_until_ready,
};

const OPEN: &str = "a red car";
const CLOSED: &str = "an empty scene";

/// The status, the head and the body of an answer.
pub(crate) struct HttpAnswer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl HttpAnswer {
    pub(crate) fn of(bytes: &[u8]) -> Self {
        let end = bytes.windows(4).position(|end| end == b"\r\n\r\n").expect("an answer has a head");
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Self { status, head: head.to_lowercase(), body: bytes[end + 4..].to_vec() }
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&self.body)))
    }
}

pub(crate) fn request(method: &str, target: &str, fields: &str, body: &str) -> String {
    let length = body.len();
    format!("{method} {target} HTTP/1.0\r\n{fields}Content-Length: {length}\r\n\r\n{body}")
}

/// The answer at the unix socket of the service in `home`.
pub(crate) fn at_socket(home: &Home, method: &str, target: &str, body: &str) -> HttpAnswer {
    let mut stream = UnixStream::connect(home.path("state/api.sock")).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(request(method, target, "", body).as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    HttpAnswer::of(&answer)
}

/// The answer over HTTP.
pub(crate) fn over_http(port: u16, method: &str, target: &str, fields: &str) -> HttpAnswer {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(request(method, target, fields, "").as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    HttpAnswer::of(&answer)
}

fn ask(home: &Home, arguments: &[&str]) -> Output {
    stakeout().args(["ask", "--config"]).arg(home.path("stakeout.yaml")).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What `stakeout classify` says about a sample.
fn classified(picture: &str, texts: &[&str]) -> Value {
    let mut command = stakeout();
    command.args(["classify", "--format", "json"]);
    texts.iter().for_each(|text| {
        command.args(["--label", text]);
    });
    let output = command.arg(sample(picture)).output().unwrap();
    assert!(output.status.success(), "{}", text_of(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn text_of(output: &Output) -> String {
    text(&output.stderr)
}

/// Each text with its score, by the name of the text's key.
fn scores(answer: &Value, key: &str) -> Vec<(String, f64)> {
    let scores = answer["scores"].as_array().unwrap();
    scores.iter().map(|it| (it[key].as_str().unwrap().to_owned(), it["score"].as_f64().unwrap())).collect()
}

fn assert_same(asked: &Value, classified: &Value) {
    let (asked, classified) = (scores(asked, "text"), scores(classified, "label"));
    assert_eq!(asked.len(), classified.len());
    for ((text, score), (label, expected)) in asked.iter().zip(&classified) {
        assert_eq!(text, label);
        assert!((score - expected).abs() < 1e-6, "{text}: {score}, and classify says {expected}");
    }
}

/// Asks until the source has a frame.
fn asked(home: &Home, texts: &[&str]) -> Value {
    let mut answer = None;
    wait_until("the source has a frame", || {
        let output = ask(home, &[&["Inbox"], texts, &["--json"]].concat());
        answer = output.status.success().then_some(output.stdout);
        answer.is_some()
    });
    serde_json::from_slice(&answer.unwrap()).unwrap()
}

#[test]
fn the_newest_frame_has_the_scores_of_classify() {
    let broker = Broker::start();
    let home = Home::new(broker.port, "");
    let mut service = Service::start(&home);
    service.wait_until_watching();
    let early = ask(&home, &["Inbox", OPEN, CLOSED]);
    assert_eq!(early.status.code(), Some(1), "{}", text_of(&early));
    assert!(text_of(&early).contains("no frame since the start"), "{}", text_of(&early));

    home.drop_picture("red-car.jpg", "1.jpg");
    let texts = [OPEN, "a green tree", CLOSED];
    let answer = asked(&home, &texts);
    assert_same(&answer, &classified("red-car.jpg", &texts));
    assert_eq!((&answer["source"], &answer["model"]), (&json!("Inbox"), &json!("bundled")));
    assert_eq!(answer["origin"], json!(home.path("inbox/1.jpg").display().to_string()));
    let table = ask(&home, &["Inbox", OPEN, CLOSED]);
    let lines = text(&table.stdout);
    assert!(lines.starts_with("Inbox  20") && lines.contains("ago)\n  a red car "), "{lines}");

    for (arguments, code, message) in [
        (&["Inbx", OPEN, CLOSED][..], 64, "there is no source `Inbx`; did you mean `Inbox`?"),
        (&["Inbox", OPEN], 64, "a single text would always score 1.0"),
        (&["Inbox", OPEN, OPEN], 64, "is given twice"),
        (&["Inbox", OPEN, &"long ".repeat(100)], 64, "300 are allowed"),
        (&["Inbox", OPEN, CLOSED, "--template", "{label}"], 64, "template: "),
    ] {
        let output = ask(&home, arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", text_of(&output));
        assert!(text_of(&output).contains(message), "{arguments:?}: {}", text_of(&output));
        assert!(output.stdout.is_empty());
    }
    service.stop();
    let after = ask(&home, &["Inbox", OPEN, CLOSED]);
    assert_eq!(after.status.code(), Some(1));
    assert!(text_of(&after).contains("no service answers at"), "{}", text_of(&after));
}

#[test]
fn the_socket_works_without_an_endpoint_and_survives_a_kill() {
    let home = Home::new(free_port(), "");
    let socket = home.path("state/api.sock");
    let mut service = Service::start(&home);
    // Its file exists before it takes connections.
    wait_until("the socket listens", || UnixStream::connect(&socket).is_ok());
    // It answers while the model is loaded, too.
    assert_eq!(at_socket(&home, "GET", "/healthz", "").body, b"ok\n");
    assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    service.wait_until_watching();
    let document = at_socket(&home, "GET", "/api/v1/openapi.json", "").json();
    for (path, item) in document["paths"].as_object().unwrap() {
        let target = path.replace("{id}", "0");
        let methods: Vec<_> = item.as_object().unwrap().keys().map(|method| method.to_uppercase()).collect();
        assert_eq!(methods.len(), 1, "{path}");
        // Every address exists and has just the method that is described.
        let other = if methods[0] == "GET" { "POST" } else { "GET" };
        let wrong = at_socket(&home, other, &target, "{}");
        assert_eq!(wrong.status, 405, "{other} {target}");
        assert_valid(&document, "#/components/schemas/Problem", &wrong.json());
    }

    service.signal("-KILL");
    service.wait();
    assert!(socket.exists(), "a service that is killed leaves its socket");
    let mut service = Service::start(&home);
    service.wait_until_watching();
    assert_eq!(at_socket(&home, "GET", "/readyz", "").status, 200);
    service.stop();
    assert!(!socket.exists());
}

#[test]
fn a_folder_of_systemd_has_a_socket_for_the_group() {
    let home = Home::new(free_port(), "");
    let folder = home.path("run");
    fs::create_dir(&folder).unwrap();
    let mut service = Service::with(&home, &[("RUNTIME_DIRECTORY", folder.to_str().unwrap())]);
    let socket = folder.join("api.sock");
    wait_until("the socket exists", || socket.exists());
    wait_until("the group may use it", || {
        fs::metadata(&socket).unwrap().permissions().mode() & 0o777 == 0o660
    });
    assert!(!home.path("state/api.sock").exists());
    service.wait_until_watching();
    let mut command = stakeout();
    command.args(["ask", "--config"]).arg(home.path("stakeout.yaml")).args(["Inbox", OPEN, CLOSED]);
    let output = command.env("RUNTIME_DIRECTORY", &folder).output().unwrap();
    assert!(text_of(&output).contains("no frame since the start"), "{}", text_of(&output));
    service.stop();
}

#[test]
fn answers_over_http_are_those_of_the_document() {
    let (broker, port) = (Broker::start(), free_port());
    let home = Home::new(broker.port, &format!("listen: 127.0.0.1:{port}\n"));
    let mut service = Service::start(&home);
    wait_until_ready(&service, port);
    home.drop_picture("red-car.jpg", "1.jpg");
    asked(&home, &[OPEN, CLOSED]);

    let document = over_http(port, "GET", "/api/v1/openapi.json", "").json();
    let target = "/api/v1/ask?source=Inbox&text=a+red+car&text=an%20empty%20scene";
    let answer = over_http(port, "GET", target, "");
    assert_eq!(answer.status, 200, "{}", text(&answer.body));
    assert!(answer.head.contains("content-type: application/json") && answer.head.contains("no-store"));
    assert_same(&answer.json(), &classified("red-car.jpg", &[OPEN, CLOSED]));
    assert_answer(&document, "/ask", &answer.json());
    for (method, target, fields, status) in [
        ("GET", "/api/v1/ask", "", 400),
        ("GET", "/api/v1/ask?source=Inbox", "", 400),
        ("GET", "/api/v1/ask?source=Nowhere&text=a&text=b", "", 400),
        ("GET", "/api/v1/ask?text=%ff&source=%00", "", 400),
        ("GET", "/api/v1/ask?source=Inbox&text=a&text=b&limit=1", "", 400),
        ("GET", "/api/v1/events?sources=Nowhere", "", 400),
        ("GET", "/api/v1/events?kinds=everything", "", 400),
        ("GET", "/api/v1/", "", 401),
        ("POST", "/api/v1/ask", "", 403),
        ("DELETE", "/api/v1/ask", "", 403),
        ("GET", target, "Host: stakeout.evil.example\r\n", 403),
    ] {
        let answer = over_http(port, method, target, fields);
        assert_eq!(answer.status, status, "{method} {target}: {}", text(&answer.body));
        assert!(answer.head.contains("application/problem+json"), "{method} {target}");
        assert_valid(&document, "#/components/schemas/Problem", &answer.json());
    }
    service.stop();
}

/// A stream of events, line by line.
pub(crate) struct Events(BufReader<UnixStream>);

impl Events {
    pub(crate) fn open(home: &Home, query: &str) -> Self {
        let mut stream = UnixStream::connect(home.path("state/api.sock")).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(request("GET", &format!("/api/v1/events{query}"), "", "").as_bytes()).unwrap();
        let mut events = Self(BufReader::new(stream));
        assert!(events.line().starts_with("HTTP/1.0 200"), "the stream is open");
        while !events.line().starts_with(':') {}
        events
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        assert!(self.0.read_line(&mut line).unwrap() > 0, "the stream has ended");
        line.trim_end().to_owned()
    }

    /// The kind and the data of the next event.
    pub(crate) fn next(&mut self) -> (String, Value) {
        let mut kind = String::new();
        loop {
            let line = self.line();
            if let Some(word) = line.strip_prefix("event: ") {
                word.clone_into(&mut kind);
            }
            if let Some(data) = line.strip_prefix("data: ") {
                return (kind, serde_json::from_str(data).unwrap());
            }
        }
    }
}

#[test]
fn alerts_and_scores_arrive_as_events() {
    let broker = Broker::start();
    let subscriber = Subscriber::start(&broker);
    let home = Home::new(broker.port, "");
    let mut service = Service::start(&home);
    service.wait_until_watching();
    let document = at_socket(&home, "GET", "/api/v1/openapi.json", "").json();
    let mut all = Events::open(&home, "");
    let mut alerts = Events::open(&home, "?kinds=alert&sources=Inbox");
    home.drop_picture("red-car.jpg", "1.jpg");
    let (kind, alert) = alerts.next();
    assert_eq!((&*kind, &alert["label"], &alert["state"]), ("alert", &json!("red car"), &json!("raised")));
    assert_valid(&document, "#/components/schemas/Alert", &alert);
    let published = subscriber.until("the alert", |message| message.topic.ends_with("/red_car/alert"));
    let published: Value = serde_json::from_slice(&published.last().unwrap().payload).unwrap();
    assert_eq!(published, alert, "as it is published over MQTT");
    let both = [all.next(), all.next()];
    assert_eq!(both[0], ("alert".to_owned(), alert));
    assert_eq!((&*both[1].0, &both[1].1["label_set"]), ("scores", &json!("objects")));
    service.stop();
}

#[test]
fn alerts_are_remembered_with_their_pictures() {
    let (broker, port) = (Broker::start(), free_port());
    let home = Home::new(broker.port, &format!("listen: 127.0.0.1:{port}\n"));
    let mut service = Service::start(&home);
    wait_until_ready(&service, port);
    home.drop_picture("red-car.jpg", "1.jpg");
    let mut found = Value::Null;
    wait_until("the alert is remembered", || {
        found = over_http(port, "GET", "/api/v1/alerts?source=Inbox&label=red+car&limit=1", "").json();
        found["alerts"].as_array().is_some_and(|alerts| !alerts.is_empty())
    });
    let document = over_http(port, "GET", "/api/v1/openapi.json", "").json();
    assert_answer(&document, "/alerts", &found);
    let alert = &found["alerts"][0];
    assert_eq!((&alert["alert"]["label"], &alert["alert"]["state"]), (&json!("red car"), &json!("raised")));
    let picture = alert["picture"].as_str().unwrap();
    let sent = over_http(port, "GET", picture, "");
    assert_eq!(sent.status, 200);
    assert!(
        sent.head.contains("content-type: image/jpeg") && sent.body.starts_with(&[0xFF, 0xD8]),
        "{}",
        sent.head
    );
    let (_, tag) = sent.head.split_once("etag: ").unwrap();
    let known = format!("If-None-Match: {}\r\n", tag.lines().next().unwrap());
    let known = over_http(port, "GET", picture, &known);
    assert_eq!((known.status, known.body.len()), (304, 0));
    let gone = over_http(port, "GET", "/api/v1/pictures/999", "");
    assert_eq!(gone.status, 404);
    assert_valid(&document, "#/components/schemas/Problem", &gone.json());
    service.stop();
}

#[test]
fn clients_of_events_are_limited_and_do_not_keep_others_out() {
    let home = Home::new(free_port(), "");
    let mut service = Service::start(&home);
    service.wait_until_watching();
    let mut streams: Vec<_> = (0..12).map(|_| Events::open(&home, "")).collect();
    let refused = at_socket(&home, "GET", "/api/v1/events", "");
    assert_eq!(refused.status, 503, "{}", text(&refused.body));
    assert_eq!(at_socket(&home, "GET", "/healthz", "").status, 200);
    streams.pop();
    // A client that left is noticed with the next line that is sent to it.
    wait_until("a client that left makes room", || {
        let mut stream = UnixStream::connect(home.path("state/api.sock")).unwrap();
        stream.write_all(request("GET", "/api/v1/events", "", "").as_bytes()).unwrap();
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).unwrap();
        line.starts_with("HTTP/1.0 200")
    });
    service.stop();
}

/// A question over MQTT 5, and the answer with its correlation data.
fn question(broker: &Broker, payload: &str) -> Output {
    let mut command = Command::new("mosquitto_rr");
    command.args(["-V", "5", "-p", &broker.port.to_string(), "-t", "home/ask", "-e", "answers/mine"]);
    command.args(["-D", "publish", "correlation-data", "number-7"]);
    command.args(["-W", &PATIENCE.as_secs().to_string(), "-F", "%D %t %p", "-m", payload]);
    command.output().unwrap()
}

#[test]
fn questions_over_mqtt_are_answered_if_that_is_configured() {
    let broker = Broker::start();
    let home = Home::new(broker.port, "");
    let file = home.path("stakeout.yaml");
    let configured =
        fs::read_to_string(&file).unwrap().replace("prefix: home", "prefix: home, commands: true");
    fs::write(&file, configured).unwrap();
    let texts = json!({"source": "Inbox", "text": [OPEN, CLOSED]}).to_string();
    // A retained question is an old one. The broker would deliver it before all others.
    let old = texts.replacen('{', r#"{"response_topic":"answers/to-the-old-one","#, 1);
    publish_bytes(&broker, "home/ask", old.as_bytes(), &["-r"]);
    let subscriber = Subscriber::start(&broker);
    let mut service = Service::start(&home);
    service.wait_for_log("receiving requests");
    home.drop_picture("red-car.jpg", "1.jpg");
    asked(&home, &[OPEN, CLOSED]);

    let output = question(&broker, &texts);
    let line = text(&output.stdout);
    let answer =
        line.strip_prefix("number-7 answers/mine ").unwrap_or_else(|| panic!("{line}{}", text_of(&output)));
    assert_same(&serde_json::from_str(answer).unwrap(), &classified("red-car.jpg", &[OPEN, CLOSED]));

    // Without properties, as with MQTT 3.1.1.
    let mut seen = Vec::new();
    for (payload, topic, key, expected) in [
        (
            texts.replacen('{', r#"{"response_topic":"answers/old","correlation":8,"#, 1),
            "answers/old",
            "correlation",
            json!(8),
        ),
        ("no JSON".to_owned(), "home/ask/response", "status", json!(400)),
        (
            json!({"source": "Inbx", "text": [OPEN, CLOSED]}).to_string(),
            "home/ask/response",
            "where",
            json!("source"),
        ),
        (json!({"source": "Inbox", "text": []}).to_string(), "home/ask/response", "status", json!(400)),
    ] {
        publish(&broker, "home/ask", &payload);
        let messages = subscriber.until("the answer", |message| message.topic == topic);
        let answer: Value = serde_json::from_slice(&messages.last().unwrap().payload).unwrap();
        assert_eq!(answer[key], expected, "{payload}: {answer}");
        seen.extend(messages);
    }

    // Answers are not published where alerts are.
    let stolen = texts.replacen('{', r#"{"response_topic":"home/inbox/objects/red_car/alert","#, 1);
    publish(&broker, "home/ask", &stolen);
    service.wait_for_log("its response topic is invalid or belongs to the service");
    service.stop();
    seen.extend(subscriber.so_far(&broker));
    assert!(seen.iter().all(|message| message.topic != "answers/to-the-old-one"), "{seen:#?}");
}

#[test]
fn questions_over_mqtt_are_off_by_default() {
    let broker = Broker::start();
    let home = Home::new(broker.port, "");
    let mut service = Service::start(&home);
    service.wait_until_watching();
    home.drop_picture("red-car.jpg", "1.jpg");
    asked(&home, &[OPEN, CLOSED]);
    let subscriber = Subscriber::start(&broker);
    publish(&broker, "home/ask", &json!({"source": "Inbox", "text": [OPEN, CLOSED]}).to_string());
    service.stop();
    let seen = subscriber.so_far(&broker);
    assert!(seen.iter().all(|message| !message.topic.starts_with("home/ask/")), "{seen:#?}");
}

fn watch_for(home: &Home, arguments: &[&str]) -> Output {
    let mut command = stakeout();
    command.args(["watch-for", "--config"]).arg(home.path("stakeout.yaml")).args(arguments);
    command.output().unwrap()
}

/// The lines that a command printed, as JSON.
fn lines(output: &Output) -> Vec<Value> {
    assert!(output.status.success(), "{}", text_of(output));
    text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn words_are_watched_for_until_their_first_alert_or_a_time() {
    let broker = Broker::start();
    let subscriber = Subscriber::start(&broker);
    let home = Home::new(broker.port, "home_assistant: true\n");
    let written = fs::read(home.path("stakeout.yaml")).unwrap();
    let mut service = Service::start(&home);
    service.wait_until_watching();

    let once = ["a red car", "--source", "Inbox", "--for", "2h", "--once", "--json"];
    let [watched] = &lines(&watch_for(&home, &once))[..] else { panic!("one line") };
    assert_eq!(
        (&watched["id"], &watched["label_set"], &watched["threshold"]),
        (&json!(1), &json!("watch 1"), &json!(0.5))
    );
    let state = "home/inbox/watch_1/a_red_car/state";
    // Either may be published first.
    let mut seen = subscriber
        .until("its state is published", |message| message.topic == state && message.text() == "OFF");
    subscriber.also(&mut seen, "Home Assistant has an entity for it", |message| {
        message.topic.starts_with("homeassistant/device/") && message.text().contains("a red car")
    });
    home.drop_picture("red-car.jpg", "1.jpg");
    let alert = "home/inbox/watch_1/a_red_car/alert";
    // Alerts wait until Home Assistant knows the entity; what is retained does not.
    let messages = subscriber
        .until("its alerts", |message| message.topic == alert && message.text().contains("\"cleared\""));
    let alerts = messages.iter().filter(|message| message.topic == alert);
    let alerts =
        alerts.map(|alert| serde_json::from_slice::<Value>(&alert.payload).unwrap()["state"].clone());
    assert_eq!(alerts.collect::<Vec<_>>(), ["raised", "cleared"]);
    if !messages.iter().any(|message| message.topic == state && message.text().is_empty()) {
        subscriber
            .until("its topics are cleared", |message| message.topic == state && message.text().is_empty());
    }
    service.wait_for_log("a temporary label has ended");
    assert_eq!(lines(&watch_for(&home, &["--list", "--json"])), Vec::<Value>::new());

    let lasting = ["a green tree", "--source", "Inbox", "--for", "1d", "--threshold", "0.6", "--json"];
    let [watched] = &lines(&watch_for(&home, &lasting))[..] else { panic!("one line") };
    service.wait_for_times(3, "the configuration has changed and is in force");
    service.stop();
    let mut service = Service::start(&home);
    service.wait_until_watching();
    assert_eq!(
        lines(&watch_for(&home, &["--list", "--json"])),
        std::slice::from_ref(watched),
        "it survives a restart"
    );
    home.drop_picture("green-tree.jpg", "2.jpg");
    subscriber.until("its alert", |message| message.topic == "home/inbox/watch_2/a_green_tree/alert");
    assert_eq!(fs::read(home.path("stakeout.yaml")).unwrap(), written, "no file is changed");

    for (arguments, code, message) in [
        (&["a dog", "--source", "Inbx", "--for", "2h"][..], 64, "did you mean `Inbox`?"),
        (&["a dog", "--source", "Inbox", "--for", "5s"], 64, "not a time from 1m to 31d"),
        (&["a dog", "--source", "Inbox"], 64, "--for"),
        (&["a dog", "--source", "Inbox", "--for", "2h", "--threshold", "7"], 64, "threshold"),
        (&["a green tree", "--source", "Inbox", "--for", "2h"], 1, "as number 2"),
        (&["--cancel", "7"], 64, "no temporary label has the number 7"),
    ] {
        let output = watch_for(&home, arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", text_of(&output));
        assert!(text_of(&output).contains(message), "{arguments:?}: {}", text_of(&output));
    }
    let cancelled = watch_for(&home, &["--cancel", "2"]);
    assert!(
        text(&cancelled.stdout).starts_with("2  a green tree  on Inbox  until "),
        "{}",
        text_of(&cancelled)
    );
    let state = "home/inbox/watch_2/a_green_tree/state";
    subscriber.until("its topics are cleared", |message| message.topic == state && message.text().is_empty());
    let document = at_socket(&home, "GET", "/api/v1/openapi.json", "").json();
    assert_answer(&document, "/watches", &at_socket(&home, "GET", "/api/v1/watches", "").json());
    service.stop();
    assert_eq!(watch_for(&home, &["--list"]).status.code(), Some(1), "no service, no list");
}

/// The answer of an address equals its schema in the document.
pub(crate) fn assert_answer(document: &Value, path: &str, answer: &Value) {
    let pointer = format!(
        "/paths/~1api~1v1{}/get/responses/200/content/application~1json/schema",
        path.replace('/', "~1")
    );
    let schema = document.pointer(&pointer).unwrap_or_else(|| panic!("{pointer} is not described"));
    validate(document, schema, answer, "").unwrap_or_else(|fault| panic!("{path}: {fault} in {answer}"));
}

pub(crate) fn assert_valid(document: &Value, reference: &str, answer: &Value) {
    let schema = json!({ "$ref": reference });
    validate(document, &schema, answer, "")
        .unwrap_or_else(|fault| panic!("{reference}: {fault} in {answer}"));
}

/// The part of JSON Schema that the document uses; an unknown keyword fails. A field that no schema describes is a fault.
fn validate(document: &Value, schema: &Value, value: &Value, at: &str) -> Result<(), String> {
    let wrong = |why: &str| Err(format!("{at}: {why}"));
    for (word, rule) in schema.as_object().unwrap() {
        let number = value.as_f64().zip(rule.as_f64());
        match word.as_str() {
            "title" | "description" | "default" | "examples" | "format" => {}
            "$ref" => {
                let target = document.pointer(rule.as_str().unwrap().trim_start_matches('#')).unwrap();
                validate(document, target, value, at)?;
            }
            "type" => {
                let is = |kind: &Value| match kind.as_str().unwrap() {
                    "object" => value.is_object(),
                    "array" => value.is_array(),
                    "string" => value.is_string(),
                    "number" => value.is_number(),
                    "integer" => value.is_i64() || value.is_u64(),
                    "boolean" => value.is_boolean(),
                    "null" => value.is_null(),
                    other => panic!("{other}"),
                };
                if !rule.as_array().map_or_else(|| is(rule), |kinds| kinds.iter().any(is)) {
                    return wrong(&format!("not {rule}"));
                }
            }
            "enum" if !rule.as_array().unwrap().contains(value) => return wrong("another word"),
            "const" if rule != value => return wrong("another value"),
            "enum" | "const" => {}
            "anyOf" | "oneOf" => {
                let schemas = rule.as_array().unwrap().iter();
                if schemas.filter(|schema| validate(document, schema, value, at).is_ok()).count() == 0 {
                    return wrong("none of the schemas");
                }
            }
            "minimum" if number.is_some_and(|(value, least)| value < least) => return wrong("too small"),
            "maximum" if number.is_some_and(|(value, most)| value > most) => return wrong("too large"),
            "minimum" | "maximum" => {}
            "minItems" if value.as_array().map(Vec::len) < rule.as_u64().map(|least| least as usize) => {
                return wrong("too few");
            }
            "maxItems" if value.as_array().map(Vec::len) > rule.as_u64().map(|most| most as usize) => {
                return wrong("too many");
            }
            "minItems" | "maxItems" => {}
            "prefixItems" => {
                let rules = rule.as_array().into_iter().flatten();
                for (rule, item) in rules.zip(value.as_array().into_iter().flatten()) {
                    validate(document, rule, item, &format!("{at}[]"))?;
                }
            }
            "items" => {
                for item in value.as_array().into_iter().flatten() {
                    validate(document, rule, item, &format!("{at}[]"))?;
                }
            }
            "required" => {
                for key in rule.as_array().unwrap() {
                    if value.as_object().is_some_and(|object| !object.contains_key(key.as_str().unwrap())) {
                        return wrong(&format!("{key} is missing"));
                    }
                }
            }
            "properties" => {
                for (key, value) in value.as_object().into_iter().flatten() {
                    let Some(property) = rule.get(key) else {
                        return wrong(&format!("{key} is not described"));
                    };
                    validate(document, property, value, &format!("{at}.{key}"))?;
                }
            }
            "additionalProperties" => {
                let is_any = rule.as_bool();
                assert!(is_any.is_some() || schema.get("properties").is_none(), "{at}: {schema}");
                for (key, value) in value.as_object().into_iter().flatten().filter(|_| is_any.is_none()) {
                    validate(document, rule, value, &format!("{at}.{key}"))?;
                }
            }
            other => panic!("{at}: the validator does not know `{other}`"),
        }
    }
    Ok(())
}
