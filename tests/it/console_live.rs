//! What the pages Live and Start of the console show, with the built binary: sources, their newest pictures and scores, changes of state,
//! and cameras that are tried before they are configured.

use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
};

use serde_json::{Value, json};

use crate::{
    api::{Events, HttpAnswer, assert_answer, assert_valid, at_socket, over_http, request},
    common::{
        PATIENCE,
        broker::{Broker, free_port, retained},
        camera::{Web, response},
        service::{Home, Service, mqtt, sample},
        wait_until,
    },
    metrics::wait_until_ready,
};

/// A camera that gives its picture to `me` with the password `hunter2`.
fn camera() -> Web {
    let picture = fs::read(sample("red-car.jpg")).unwrap();
    Web::start(move |request, _| {
        if request.to_ascii_lowercase().contains("authorization: basic bwu6ahvudgvymg==") {
            return response("200 OK", "Content-Type: image/jpeg\r\n", &picture);
        }
        response("401 Unauthorized", "WWW-Authenticate: Basic realm=\"cam\"\r\n", b"")
    })
}

fn get(home: &Home, target: &str) -> Value {
    let answer = at_socket(home, "GET", &format!("/api/v1/{target}"), "");
    assert_eq!(answer.status, 200, "{target}: {}", String::from_utf8_lossy(&answer.body));
    answer.json()
}

/// The answer to a request with these fields.
fn with_fields(home: &Home, target: &str, fields: &str) -> HttpAnswer {
    let mut stream = UnixStream::connect(home.path("state/api.sock")).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(request("GET", target, fields, "").as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    HttpAnswer::of(&answer)
}

fn field<'a>(answer: &'a HttpAnswer, name: &str) -> Option<&'a str> {
    answer.head.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")))
}

/// The source with this name in the answer of `sources`.
fn source<'a>(sources: &'a Value, name: &str) -> &'a Value {
    let all = sources["sources"].as_array().unwrap();
    all.iter().find(|source| source["source"] == name).unwrap_or_else(|| panic!("no {name} in {sources}"))
}

/// The text that the broker has retained at a topic that ends so.
fn retained_text(broker: &Broker, end: &str) -> Option<String> {
    let message = retained(broker).into_iter().find(|message| message.topic.ends_with(end));
    message.map(|message| message.text().to_owned())
}

#[test]
fn sources_agree_with_their_topics_with_explain_and_with_the_history() {
    let (broker, camera) = (Broker::start(), camera());
    let sources = format!(
        "  Inbox: {{ folder: inbox, watch: [objects] }}\n  \
         Gate: {{ http: 'http://{}/a.jpg', username: me, password: swordfish, every: 2s, watch: [objects] }}\n",
        camera.address
    );
    let home = Home::with_sources(broker.port, "home", &sources);
    let mut service = Service::start(&home);
    service.wait_until_watching();
    let document = get(&home, "openapi.json");
    let early = get(&home, "sources");
    assert_answer(&document, "/sources", &early);
    let inbox = source(&early, "Inbox");
    assert_eq!((&inbox["frame"], &inbox["picture"]), (&Value::Null, &Value::Null), "no frame yet");
    assert_eq!(
        (&inbox["labels"][0]["label"], &inbox["labels"][0]["score"]),
        (&json!("red car"), &Value::Null)
    );
    assert_eq!(with_fields(&home, "/api/v1/newest?source=Inbox", "").status, 404);
    home.drop_picture("red-car.jpg", "1.jpg");
    let mut now = Value::Null;
    wait_until("the red car is raised, and the camera has refused the password", || {
        now = get(&home, "sources");
        source(&now, "Inbox")["labels"][0]["raised"] == true && source(&now, "Gate")["problem"].is_object()
    });
    assert_answer(&document, "/sources", &now);
    let (inbox, gate) = (source(&now, "Inbox"), source(&now, "Gate"));
    let service_state = &now["service"];
    assert_eq!((&service_state["sources"], &service_state["online"]), (&json!(2), &json!(1)));
    assert_eq!(service_state["configuration_valid"], true);
    assert_eq!((&inbox["kind"], &inbox["frame"]["width"]), (&json!("folder"), &json!(400)));
    assert_eq!(gate["details"], json!(["every 2s"]));
    assert!(gate["problem"]["cause"].as_str().unwrap().contains("answers 401"), "{gate}");
    assert!(!now.to_string().contains("swordfish"), "no password is shown");

    for shown in [inbox, gate] {
        let name = shown["source"].as_str().unwrap();
        let explained = get(&home, &format!("explain?source={name}"));
        for key in ["status", "problem"] {
            assert_eq!(shown[key], explained[key], "{name} {key}");
        }
        let status = shown["status"].as_str().unwrap();
        let topic = format!("/{}/status", name.to_lowercase());
        wait_until("the same status at the topic", || {
            retained_text(&broker, &topic).as_deref() == Some(status)
        });
    }
    let explained = get(&home, "explain?source=Inbox");
    assert_eq!(inbox["labels"], explained["labels"], "the same scores, levels and gates");
    assert_eq!(inbox["frame"]["captured_at"], explained["frame"]["captured_at"]);
    wait_until("the problem at its topic", || {
        let published = retained_text(&broker, "/gate/problem").unwrap_or_default();
        serde_json::from_str::<Value>(&published).is_ok_and(|it| it["cause"] == gate["problem"]["cause"])
    });

    let address = inbox["picture"].as_str().unwrap();
    let picture = with_fields(&home, address, "");
    assert_eq!((picture.status, field(&picture, "content-type")), (200, Some("image/jpeg")));
    assert!(picture.body.starts_with(&[0xFF, 0xD8, 0xFF]));
    let captured_at = inbox["frame"]["captured_at"].as_str().unwrap().to_lowercase();
    assert_eq!(field(&picture, "stakeout-captured-at"), Some(&*captured_at));
    let tag = field(&picture, "etag").unwrap();
    let known = with_fields(&home, address, &format!("If-None-Match: {tag}\r\n"));
    assert_eq!((known.status, known.body.len(), field(&known, "etag")), (304, 0, Some(tag)));
    for (target, status) in [("source=Gate", 404), ("source=Nowhere", 400), ("", 400)] {
        assert_eq!(with_fields(&home, &format!("/api/v1/newest?{target}"), "").status, status, "{target}");
    }

    let mut scores = Value::Null;
    wait_until("the frame is stored", || {
        scores = get(&home, "scores?source=Inbox&label=red%20car");
        scores["frames"] == 1
    });
    assert_answer(&document, "/scores", &scores);
    let [label] = &scores["labels"].as_array().unwrap()[..] else { panic!("{scores}") };
    assert_eq!(
        (&label["levels_now"]["threshold"], &label["levels_now"]["hold_of"]),
        (&json!(0.75), &json!(1))
    );
    let score = inbox["labels"][0]["score"].as_f64().unwrap();
    let [_, lowest, highest, last] = &label["points"][0].as_array().unwrap()[..] else { panic!("{scores}") };
    for stored in [lowest, highest, last] {
        assert!((stored.as_f64().unwrap() - score).abs() < 1e-3, "{stored} is stored, and {score} is shown");
    }

    // Both frames arrive before a picture of the first one is due.
    home.drop_picture("pink-heart.jpg", "2.jpg");
    home.drop_picture("green-tree.jpg", "3.jpg");
    wait_until("both are scored", || get(&home, "scores?source=Inbox&label=red%20car")["frames"] == 3);
    let newest = || source(&get(&home, "sources"), "Inbox")["frame"]["captured_at"].clone();
    wait_until("no frame arrives during the request", || {
        let captured_at = newest();
        let shown = with_fields(&home, address, "");
        if newest() != captured_at {
            return false;
        }
        let captured_at = captured_at.as_str().unwrap().to_lowercase();
        assert_eq!(field(&shown, "stakeout-captured-at"), Some(&*captured_at), "it shows the newest frame");
        true
    });
    service.stop();
}

#[test]
fn changes_of_state_arrive_as_events() {
    let mut broker = Broker::start();
    let home = Home::new(broker.port, "");
    let mut service = Service::start(&home);
    service.wait_until_watching();
    let document = get(&home, "openapi.json");
    let mut events = Events::open(&home, "?kinds=source&kinds=service");
    let mut until = |what: &str, kind: &str, holds: &dyn Fn(&Value) -> bool| {
        // Every event is one more change, so the wanted one arrives or the stream times out.
        loop {
            let (found, data) = events.next();
            let schema = if found == "source" { "SourceStateEvent" } else { "ServiceState" };
            assert_valid(&document, &format!("#/components/schemas/{schema}"), &data);
            if found == kind && holds(&data) {
                eprintln!("{what}: {data}");
                return;
            }
        }
    };
    until("the state at the beginning", "source", &|it| it["source"] == "Inbox" && it["status"] == "online");
    // A client that comes later receives it, too.
    let mut later = Events::open(&home, "?kinds=source");
    assert_eq!(later.next().1["source"], "Inbox");
    until("the broker", "service", &|it| it["broker_connected"] == true && it["online"] == 1);
    broker.kill();
    until("the broker is gone", "service", &|it| it["broker_connected"] == false);
    let path = home.path("stakeout.yaml");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("sources:", "surces:")).unwrap();
    until("a mistake", "service", &|it| it["configuration_valid"] == false);
    fs::write(&path, text).unwrap();
    until("it is corrected", "service", &|it| it["configuration_valid"] == true);
    service.stop();
}

#[test]
fn a_new_service_tries_cameras_and_words() {
    let (broker, camera, port) = (Broker::start(), camera(), free_port());
    let home = Home::new(broker.port, "");
    let text = format!(
        "{}\nstate_dir: state\nlisten: 127.0.0.1:{port}\nlabel_sets: {{}}\nsources: {{}}\n",
        mqtt(broker.port)
    );
    fs::write(home.path("stakeout.yaml"), text).unwrap();
    let mut service = Service::start(&home);
    wait_until_ready(&service, port);
    let nothing = get(&home, "sources");
    assert_eq!((&nothing["sources"], &nothing["service"]["sources"]), (&json!([]), &json!(0)));

    let address = format!("http://{}/a.jpg?pwd=geheim", camera.address);
    let tried = |login: Value| {
        let mut body = json!({ "address": address });
        body.as_object_mut().unwrap().extend(login.as_object().unwrap().clone());
        let answer = at_socket(&home, "POST", "/api/v1/try_source", &body.to_string());
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
        let text = String::from_utf8(answer.body.clone()).unwrap();
        assert!(!text.contains("geheim") && !text.contains("swordfish"), "{text}");
        answer.json()
    };
    let wrong = tried(json!({ "username": "me", "password": "swordfish" }));
    assert_eq!(wrong["problem"]["remedy"], "correct `username` and `password`", "{wrong}");
    assert!(
        wrong["problem"]["cause"]
            .as_str()
            .unwrap()
            .ends_with("answers 401: the user or the password is wrong")
    );
    assert_eq!(wrong["picture"], Value::Null);
    let none = tried(json!({}));
    assert_eq!(none["problem"]["remedy"], "set `username:` and `password:`", "{none}");

    let right = tried(json!({ "username": "me", "password": "hunter2" }));
    let picture = &right["picture"];
    assert_eq!(
        (&right["kind"], &picture["width"], &picture["height"]),
        (&json!("http"), &json!(400), &json!(300))
    );
    let question =
        json!({ "picture": picture["jpeg"], "text": ["a green tree", "a red car", "an empty scene"] });
    let answer = at_socket(&home, "POST", "/api/v1/ask_picture", &question.to_string());
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    assert_eq!(answer.json()["scores"][0]["text"], "a red car", "{}", answer.json());

    for body in [r#"{"address": "10.0.0.21"}"#, r#"{"address": "file:///etc/passwd"}"#, "{}"] {
        let answer = at_socket(&home, "POST", "/api/v1/try_source", body);
        assert_eq!(answer.status, 400, "{body}");
    }
    let viewer = over_http(port, "POST", "/api/v1/try_source", "");
    assert_eq!(viewer.status, 403, "who may only view tries no camera");
    service.stop();
}
