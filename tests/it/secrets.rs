//! Secrets in every place of the configuration that accepts one. Everything fails that produces messages, and no secret is
//! logged (at any level, of any library), published, served or printed.

use std::{fs, io::Read as _, os::unix::fs::PermissionsExt as _};

use flate2::read::GzDecoder;

use crate::{
    common::{
        broker::{Broker, ReceivedMessage, Subscriber, free_port, set_password},
        camera::{Web, response},
        service::{Home, Service},
        stakeout, wait_until,
    },
    metrics,
};

/// A part of every secret, also of percent-encoded ones.
const PLANTED: &str = "hunter2";

/// The answer of the HTTP endpoint.
fn get(port: u16, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nAuthorization: Bearer {PLANTED}-of-the-listener\r\n\r\n");
    metrics::send(port, request.as_bytes())
}

/// The configuration with a secret in every place that accepts one, also in paths and queries.
fn sources(camera: u16, web: u16, port: u16) -> String {
    format!(
        "  Inbox: {{ folder: inbox, watch: [objects] }}
  camera: {{ rtsp: \"rtsp://me:{PLANTED}%21@127.0.0.1:{camera}/stream?key={PLANTED}\", watch: [objects],
            home_assistant: {{ configuration_url: \"http://10.0.0.21/?token={PLANTED}\" }} }}
  unifi: {{ rtsp: \"rtsp://127.0.0.1:{camera}/{PLANTED}Kd83bQa71xZ\", watch: [objects] }}
  gate: {{ http: \"http://me:{PLANTED}@127.0.0.1:{camera}/a.jpg\", watch: [objects] }}
  other: {{ http: \"http://127.0.0.1:{camera}/b.jpg?sig={PLANTED}\", username: me, password: {PLANTED}, watch: [objects] }}
  odd: {{ http: \"http://127.0.0.1:{web}/token/{PLANTED}/c.jpg?{PLANTED}\", watch: [objects] }}
  news: {{ video: \"http://me:{PLANTED}@127.0.0.1:{web}/live.m3u8?{PLANTED}\", watch: [objects] }}
  radio: {{ video: \"rtmp://me:{PLANTED}@127.0.0.1:{camera}/live/secret={PLANTED}\", watch: [objects] }}
  topics: {{ mqtt: a/b, broker: {{ url: \"mqtt://127.0.0.1:{camera}\", username: me, password: {PLANTED} }}, watch: [objects] }}
  cloud: {{ mqtt: a/b, broker: {{ url: \"ws://127.0.0.1:{web}/mqtt?token={PLANTED}\" }}, watch: [objects] }}
webhook: {{ url: \"http://me:{PLANTED}@127.0.0.1:{web}/services/{PLANTED}/B0?key={PLANTED}\", secret: {PLANTED}-to-sign, token: {PLANTED}-to-show }}
command: {{ run: [/bin/false, --token, {PLANTED}, \"https://me:{PLANTED}@h/?key={PLANTED}\", \"--password=${{env:PLANTED}}\"] }}
home_assistant: {{ configuration_url: \"http://10.0.0.20/secret/{PLANTED}?token={PLANTED}\" }}
listen: {{ address: \"127.0.0.1:{port}\", token: {PLANTED}-of-the-listener, view_token: {PLANTED}-of-who-may-look }}
"
    )
}

/// The output of a command about the configuration.
fn output(home: &Home, arguments: &[&str]) -> String {
    let mut command = stakeout();
    command.args(arguments).arg("--config").arg(home.path("stakeout.yaml"));
    let output = command.envs(ENVIRONMENT).output().unwrap();
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The whole content of the support bundle that is written to this file.
fn support_bundle(home: &Home, name: &str) -> String {
    let file = home.path(name);
    let mut command = stakeout();
    command.args(["support-bundle", "--config"]).arg(home.path("stakeout.yaml")).arg(&file);
    let output = command.envs(ENVIRONMENT).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !said.contains(PLANTED), "{said}");
    let mut content = String::new();
    GzDecoder::new(&fs::read(&file).unwrap()[..]).read_to_string(&mut content).unwrap();
    content
}

/// Every library logs everything, and the environment has secrets, too.
const ENVIRONMENT: [(&str, &str); 4] =
    [("RUST_LOG", "trace"), ("PLANTED", PLANTED), ("HF_TOKEN", PLANTED), ("CAM_PASSWORD", PLANTED)];

#[test]
fn no_secret_is_logged_published_or_served() {
    let broker = Broker::prepared("allow_anonymous true\npassword_file {folder}/passwords", |folder| {
        set_password(&folder.join("passwords"), "me", &format!("{PLANTED}-of-the-broker"));
    });
    let subscriber = Subscriber::start(&broker);
    let (port, camera) = (free_port(), free_port());
    // It accepts alerts, redirects one camera, and refuses the others.
    let web = Web::start(|request, _| match request.split(' ').nth(1).unwrap_or_default() {
        path if path.starts_with("/services/") => response("200 OK", "", b""),
        path if path.starts_with("/token/") => {
            response("302 Found", &format!("Location: http://localhost:1/?key={PLANTED}\r\n"), b"")
        }
        _ => response("403 Forbidden", &format!("X-Odd: {PLANTED}\r\n"), PLANTED.as_bytes()),
    });
    let home = Home::with_sources(broker.port, "home", &sources(camera, web.address.port(), port));
    let file = home.path("stakeout.yaml");
    let typed = fs::read_to_string(&file).unwrap();
    let with_login = format!("prefix: home, username: me, password: {PLANTED}-of-the-broker");
    fs::write(&file, typed.replace("prefix: home", &with_login)).unwrap();

    let mut service = Service::with(&home, &ENVIRONMENT);
    service.wait_until_watching();
    for source in ["camera", "unifi", "gate", "other", "odd", "news", "radio", "topics", "cloud"] {
        wait_until(&format!("{source} fails"), || {
            let log = service.log();
            log.lines().any(|line| line.contains("the source failed") && line.contains(source))
        });
    }
    home.drop_picture("red-car.jpg", "1.jpg");
    let mut messages =
        subscriber.until("the alert", |message| message.topic == "home/inbox/objects/red_car/alert");
    service.wait_for_log("alert sent to the webhook http://127.0.0.1:");
    service.wait_for_log("the command /bin/false does not accept an alert");
    let mut answers = ["/metrics", "/healthz", "/readyz", "/x", "/api/v1/config", "/api/v1/config_versions"]
        .map(|path| get(port, path))
        .to_vec();
    assert!(answers[4].contains("webhook:"), "the configuration: {}", answers[4]);
    assert!(answers[0].contains("stakeout_alerts_total"), "{}", answers[0]);
    let commands: [&[&str]; 6] = [
        &["check", "--offline"],
        &["check", "--offline", "--explain"],
        &["check", "--offline", "--explain", "--format", "json"],
        &["check"],
        &["doctor"],
        &["doctor", "--format", "json"],
    ];
    let outputs = commands.map(|arguments| (arguments, output(&home, arguments)));
    let mut bundles = vec![support_bundle(&home, "running.tar.gz")];
    for file in ["log.txt", "metrics.txt", "settings.txt", "checks.txt"] {
        assert!(bundles[0].contains(&format!("/{file}\0")), "{file} is in the bundle of a running service");
    }

    // A mistake next to the secrets: the error shows the lines around it.
    let typed = fs::read_to_string(&file).unwrap();
    let mistaken =
        typed.replace("prefix: ", "prefx: ").replace("webhook: { url", "webhook: { tmeout: 5s, url");
    assert!(mistaken.contains("tmeout"));
    fs::write(&file, mistaken.replace("unifi: { rtsp", "unifi: { evry: 5s, rtsp")).unwrap();
    service.wait_for_log("the configuration is invalid");
    answers.push(get(port, "/api/v1/config"));
    assert!(answers[6].contains("tmeout"), "with its mistakes: {}", answers[6]);
    bundles.push(support_bundle(&home, "invalid.tar.gz"));
    assert!(bundles[1].contains("tmeout"), "the mistake is in it");
    let problems = |message: &ReceivedMessage| {
        message.topic == "home/config/status" && message.text().contains("invalid")
    };
    messages.extend(subscriber.until("the mistake", problems));
    service.signal("-TERM");
    messages.extend(
        subscriber.until("offline", |message| message.topic == "home/status" && message.text() == "offline"),
    );
    assert!(service.wait().success());
    bundles.push(support_bundle(&home, "stopped.tar.gz"));
    for bundle in &bundles {
        assert!(bundle.contains("mqtt"), "the configuration is in it");
        let shown = bundle.lines().find(|line| line.contains(PLANTED));
        assert_eq!(shown, None, "in a support bundle");
    }

    let log = service.log();
    let shown = log.lines().find(|line| line.contains(PLANTED));
    assert_eq!(shown, None, "logged");
    for answer in &answers {
        assert!(!answer.contains(PLANTED), "{answer}");
    }
    for (arguments, output) in &outputs {
        assert!(!output.is_empty(), "{arguments:?}");
        let shown = output.lines().find(|line| line.contains(PLANTED));
        assert_eq!(shown, None, "{arguments:?}");
    }
    let is_link = |message: &&ReceivedMessage| message.text().contains("configuration_url");
    assert!(messages.iter().filter(is_link).count() >= 2, "the announcements are among the messages");
    assert!(messages.iter().any(|message| message.topic.ends_with("/problem")), "and the problems");
    for message in &messages {
        let payload = String::from_utf8_lossy(&message.payload);
        assert!(!payload.contains(PLANTED) && !message.topic.contains(PLANTED), "{}", message.line());
    }
}

#[test]
fn secrets_that_others_can_read_are_warned_about() {
    let home = Home::with_sources(free_port(), "home", "");
    let file = home.path("stakeout.yaml");
    let text = fs::read_to_string(&file).unwrap();
    let write = |mqtt: &str, more: &str, mode: u32| {
        let mqtt = format!("mqtt: {{ {mqtt}, prefix: home }}\n");
        let rest = text.split_once('\n').unwrap().1;
        fs::write(&file, format!("{mqtt}{rest}\n{more}\n")).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        ["check --offline", "doctor"].map(|words| {
            let arguments: Vec<_> = words.split(' ').collect();
            output(&home, &arguments)
        })
    };
    const ELSEWHERE: &str = "may be sent without encryption to another machine";
    const READABLE: &str = "everyone on this machine can read it";
    let reference = "password: '${env:PLANTED}'";
    let inbox = "  in: { folder: inbox, watch: [objects] }";
    let cases = [
        // The broker, the sources, the mode, and the warnings.
        (
            format!("url: mqtt://192.0.2.1, username: me, {reference}"),
            inbox.to_owned(),
            0o644,
            vec![ELSEWHERE],
        ),
        (format!("url: mqtts://192.0.2.1, username: me, {reference}"), inbox.to_owned(), 0o644, vec![]),
        (format!("url: mqtt://127.0.0.1:1, username: me, {reference}"), inbox.to_owned(), 0o644, vec![]),
        (
            "url: mqtt://127.0.0.1:1, username: me, password: hunter2".to_owned(),
            inbox.to_owned(),
            0o644,
            vec![READABLE],
        ),
        (
            "url: mqtt://127.0.0.1:1, username: me, password: hunter2".to_owned(),
            inbox.to_owned(),
            0o640,
            vec![],
        ),
        (
            "url: mqtt://127.0.0.1:1".to_owned(),
            format!(
                "  a: {{ http: 'http://192.0.2.1/a.jpg', username: me, {reference}, timeout: 100ms, watch: [objects] }}"
            ),
            0o644,
            vec![ELSEWHERE],
        ),
        (
            "url: mqtt://127.0.0.1:1".to_owned(),
            "  a: { rtsp: 'rtsp://me:hunter2@192.0.2.1/a', open_timeout: 1s, watch: [objects] }".to_owned(),
            0o644,
            vec![ELSEWHERE, READABLE],
        ),
        (
            "url: mqtt://127.0.0.1:1".to_owned(),
            format!("{inbox}\nwebhook: {{ url: 'http://192.0.2.1/services/hunter2' }}"),
            0o600,
            vec![ELSEWHERE],
        ),
    ];
    for (mqtt, more, mode, expected) in cases {
        for output in write(&mqtt, &more, mode) {
            for warning in [ELSEWHERE, READABLE] {
                assert_eq!(output.contains(warning), expected.contains(&warning), "{mqtt} {more}: {output}");
            }
            assert!(!output.contains(PLANTED), "{output}");
        }
    }
}
