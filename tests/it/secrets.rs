//! Secrets in every place of the configuration that accepts one. Everything fails that produces messages, and no secret is
//! logged, published or served.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
};

use crate::common::{
    broker::{Broker, ReceivedMessage, Subscriber, free_port, set_password},
    service::{Home, Service},
    wait_until,
};

/// A part of every secret, also of percent-encoded ones.
const PLANTED: &str = "hunter2";

/// The answer of the HTTP endpoint.
fn get(port: u16, path: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nAuthorization: Bearer {PLANTED}-of-the-listener\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn no_secret_is_logged_published_or_served() {
    let broker = Broker::prepared("allow_anonymous true\npassword_file {folder}/passwords", |folder| {
        set_password(&folder.join("passwords"), "me", &format!("{PLANTED}-of-the-broker"));
    });
    let subscriber = Subscriber::start(&broker);
    let (port, camera, web) = (free_port(), free_port(), free_port());
    let home = Home::with_sources(
        broker.port,
        "home",
        &format!(
            "  Inbox: {{ folder: inbox, watch: [objects] }}
  camera: {{ rtsp: \"rtsp://me:{PLANTED}%21@127.0.0.1:{camera}/stream?key={PLANTED}\", watch: [objects] }}
  gate: {{ http: \"http://me:{PLANTED}@127.0.0.1:{camera}/a.jpg\", watch: [objects] }}
  other: {{ http: \"http://127.0.0.1:{camera}/b.jpg\", username: me, password: {PLANTED}, watch: [objects] }}
  topics: {{ mqtt: a/b, broker: {{ url: \"mqtt://127.0.0.1:{camera}\", username: me, password: {PLANTED} }}, watch: [objects] }}
webhook: {{ url: \"http://127.0.0.1:{web}/\", secret: {PLANTED}-to-sign, token: {PLANTED}-to-show }}
listen: {{ address: \"127.0.0.1:{port}\", token: {PLANTED}-of-the-listener }}
"
        ),
    );
    let file = home.path("stakeout.yaml");
    let typed = fs::read_to_string(&file).unwrap();
    let with_login = format!("prefix: home, username: me, password: {PLANTED}-of-the-broker");
    fs::write(&file, typed.replace("prefix: home", &with_login)).unwrap();

    let mut service = Service::with(&home, &[("RUST_LOG", "stakeout=trace")]);
    service.wait_for_log("watching the folder");
    for source in ["camera", "gate", "other", "topics"] {
        wait_until(&format!("{source} fails"), || {
            let log = service.log();
            log.lines().any(|line| line.contains("the source failed") && line.contains(source))
        });
    }
    home.drop_picture("red-car.jpg", "1.jpg");
    let mut messages =
        subscriber.until("the alert", |message| message.topic == "home/inbox/objects/red_car/alert");
    let answers = ["/metrics", "/healthz", "/readyz", "/x"].map(|path| get(port, path));
    assert!(answers[0].contains("stakeout_alerts_total"), "{}", answers[0]);

    // A mistake next to the secrets: the error shows the lines around it.
    let typed = fs::read_to_string(&file).unwrap();
    fs::write(&file, typed.replace("prefix: ", "prefx: ")).unwrap();
    service.wait_for_log("the configuration is invalid");
    let problems = |message: &ReceivedMessage| {
        message.topic == "home/config/status" && message.text().contains("invalid")
    };
    messages.extend(subscriber.until("the mistake", problems));
    service.signal("-TERM");
    messages.extend(
        subscriber.until("offline", |message| message.topic == "home/status" && message.text() == "offline"),
    );
    assert!(service.wait().success());

    let log = service.log();
    let shown = log.lines().find(|line| line.contains(PLANTED));
    assert_eq!(shown, None, "logged");
    for answer in &answers {
        assert!(!answer.contains(PLANTED), "{answer}");
    }
    for message in &messages {
        let payload = String::from_utf8_lossy(&message.payload);
        assert!(!payload.contains(PLANTED) && !message.topic.contains(PLANTED), "{}", message.line());
    }
}
