//! The configuration over the API: it is read, checked and saved while the service runs, by those who may.

use std::{fs, os::unix::fs::PermissionsExt as _, process::Output};

use serde_json::{Value, json};

use crate::{
    api::{HttpAnswer, at_socket, over_http},
    common::{
        broker::{Broker, ReceivedMessage, Subscriber, free_port},
        service::{Home, Service},
        stakeout,
    },
};

const TOKEN: &str = "0123456789abcdef";
const VIEW_TOKEN: &str = "fedcba9876543210";
const CONFIG: &str = "home/config/status";
const LABELS: &str = "Blue Umbrella: 0.75 }";

/// A service whose file may be edited over the API if `edit`, with a password and comments in the file.
fn started(edit: bool) -> (Broker, u16, Home, Service) {
    let (broker, port) = (Broker::start(), free_port());
    let listen = format!(
        "listen: {{ address: \"127.0.0.1:{port}\", token: {TOKEN}, view_token: {VIEW_TOKEN}, edit: {edit} }}  # for us\n\
         webhook: {{ url: \"http://127.0.0.1:9/x\", secret: hunter2-to-sign }}\n"
    );
    let home = Home::new(broker.port, &listen);
    fs::set_permissions(home.path("stakeout.yaml"), fs::Permissions::from_mode(0o640)).unwrap();
    let service = Service::start(&home);
    service.wait_until_watching();
    (broker, port, home, service)
}

fn file(home: &Home) -> String {
    fs::read_to_string(home.path("stakeout.yaml")).unwrap()
}

fn get(home: &Home, verb: &str) -> Value {
    let answer = at_socket(home, "GET", &format!("/api/v1/{verb}"), "");
    assert_eq!(answer.status, 200, "{verb}: {}", String::from_utf8_lossy(&answer.body));
    answer.json()
}

fn post(home: &Home, verb: &str, request: &Value) -> HttpAnswer {
    at_socket(home, "POST", &format!("/api/v1/{verb}"), &request.to_string())
}

/// The answer of a request that succeeds.
fn posted(home: &Home, verb: &str, request: &Value) -> Value {
    let answer = post(home, verb, request);
    assert_eq!(answer.status, 200, "{verb}: {}", String::from_utf8_lossy(&answer.body));
    answer.json()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

fn check(home: &Home) -> Output {
    stakeout().args(["check", "--offline", "--config"]).arg(home.path("stakeout.yaml")).output().unwrap()
}

fn is(topic: &'static str, payload: &'static str) -> impl Fn(&ReceivedMessage) -> bool {
    move |message| message.topic == topic && message.text() == payload
}

#[test]
fn a_save_takes_effect_without_a_restart_and_an_earlier_version_returns() {
    const NEW_STATE: &str = "home/inbox/objects/yellow_fish/state";
    let (broker, _, home, mut service) = started(true);
    let subscriber = Subscriber::start(&broker);
    subscriber.until("the source to be online", is("home/inbox/status", "online"));
    let first = file(&home);
    let config = get(&home, "config");
    assert_eq!(text(&config["text"]), first);
    assert_eq!((&config["editable"], &config["masked"]), (&json!(true), &json!(false)));
    assert_eq!((&config["state"]["valid"], &config["state"]["current"]), (&json!(true), &json!(true)));

    let second = first.replace(LABELS, "Blue Umbrella: 0.75, yellow fish: 0.7 }  # one more");
    let preview = posted(&home, "config_preview", &json!({ "text": second }));
    assert_eq!(
        (&preview["valid"], &preview["sources"], &preview["after_restart"]),
        (&json!(true), &json!([]), &json!([]))
    );
    assert_eq!(preview["labels"][0]["label"], json!("yellow fish"));
    assert_eq!(preview["labels"][0]["effect"], json!("added"));
    let saved = posted(&home, "config_save", &json!({ "text": second, "tag": config["tag"] }));
    assert_eq!((&saved["checked"], &saved["problems"]), (&json!(true), &json!([])));
    let seen = subscriber.until("the state of the new label", is(NEW_STATE, "OFF"));
    assert!(
        !seen.iter().any(|message| message.topic == "home/inbox/status"),
        "the source was not restarted: {seen:#?}"
    );
    assert_eq!(file(&home), second, "comments and order stay");
    let mode = fs::metadata(home.path("stakeout.yaml")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o640);

    let stale = post(&home, "config_save", &json!({ "text": first, "tag": config["tag"] }));
    assert_eq!((stale.status, &stale.json()["where"]), (409, &json!("tag")));
    assert_eq!(file(&home), second);

    let versions = get(&home, "config_versions");
    assert_eq!(versions["versions"].as_array().unwrap().len(), 1);
    let version = get(&home, &format!("config_version?id={}", text(&versions["versions"][0]["id"])));
    assert_eq!(text(&version["text"]), first);
    let returned = posted(&home, "config_save", &json!({ "text": version["text"], "tag": saved["tag"] }));
    assert_eq!((&returned["tag"], file(&home)), (&config["tag"], first));
    service.wait_for_times(2, "the configuration has changed and is in force");
    assert_eq!(get(&home, "config_versions")["versions"].as_array().unwrap().len(), 2);
    let kept = fs::read_dir(home.path("state/config-versions")).unwrap();
    for entry in kept {
        let mode = entry.unwrap().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    service.stop();
}

#[test]
fn an_invalid_text_is_refused_and_an_invalid_file_is_repaired() {
    let (broker, _, home, mut service) = started(true);
    let subscriber = Subscriber::start(&broker);
    subscriber.until("the configuration", is(CONFIG, r#"{"state":"ok"}"#));
    let valid = file(&home);
    let config = get(&home, "config");
    let invalid = valid
        .replace("red car: 0.75", "red car: { treshold: 0.75 }")
        .replace("watch: [objects]", "watch: [objcts]");
    let checked = posted(&home, "config_check", &json!({ "text": invalid }));
    assert_eq!(checked["valid"], json!(false));
    let shown: Vec<_> =
        checked["problems"].as_array().unwrap().iter().map(|it| text(&it["shown"]).to_owned()).collect();
    assert_eq!(shown.len(), 2, "{shown:#?}");
    let refused = post(&home, "config_save", &json!({ "text": invalid, "tag": config["tag"] }));
    assert_eq!((refused.status, &refused.json()["where"]), (400, &json!("text")));
    let detail = refused.json();
    for problem in &shown {
        assert!(text(&detail["detail"]).contains(problem), "{detail}");
    }
    assert_eq!(file(&home), valid);
    // A label set that only the model refuses.
    let background = "    background: [an empty scene, a plain background, something else]\n";
    let alone = valid.replace(background, "").replace("red car: 0.75, green tree: 0.75, ", "");
    assert_ne!(alone, valid);
    let refused = post(&home, "config_save", &json!({ "text": alone, "tag": config["tag"] }));
    assert!(text(&refused.json()["detail"]).contains("always be 1.0"), "{}", refused.json());

    // The same text as the file: the same problems, for `check` and for the service.
    fs::write(home.path("stakeout.yaml"), &invalid).unwrap();
    let printed = String::from_utf8(check(&home).stderr).unwrap();
    for problem in &shown {
        assert!(printed.contains(problem), "{problem}\nis missing in\n{printed}");
    }
    subscriber.until("the mistake", |message| message.topic == CONFIG && message.text().contains("invalid"));
    let broken = get(&home, "config");
    assert_eq!((text(&broken["text"]), &broken["editable"]), (&*invalid, &json!(true)));
    assert_eq!(broken["state"]["valid"], json!(false));
    assert_eq!(broken["state"]["problems"], checked["problems"]);
    let repaired = posted(&home, "config_save", &json!({ "text": valid, "tag": broken["tag"] }));
    assert_eq!((&repaired["checked"], &repaired["problems"]), (&json!(true), &json!([])));
    subscriber.until("the configuration is valid again", is(CONFIG, r#"{"state":"ok"}"#));
    service.stop();
}

#[test]
fn nothing_is_written_without_the_permission_of_the_configuration() {
    let (_broker, port, home, mut service) = started(false);
    let before = file(&home);
    let config = get(&home, "config");
    assert_eq!((&config["editable"], &config["masked"]), (&json!(false), &json!(true)));
    assert!(text(&config["remedy"]).contains("edit: true"), "{config}");
    let new = before.replace("0.75", "0.7");
    for verb in ["config_check", "config_preview", "config_save"] {
        let request = match verb {
            "config_save" => json!({ "text": new, "tag": config["tag"] }),
            _ => json!({ "text": new }),
        };
        let refused = post(&home, verb, &request);
        assert_eq!((refused.status, &refused.json()["where"]), (403, &json!("listen.edit")), "{verb}");
    }
    let change = json!({ "kind": "set_label", "label_set": "objects", "label": "red car", "settings": { "threshold": 0.6 } });
    let edited = posted(&home, "config_edit", &json!({ "changes": [change], "save": true }));
    assert_eq!((&edited["saved"], &edited["problems"]), (&json!(false), &json!([])));
    let lines = &edited["lines"];
    let number = usize::try_from(lines["first"].as_u64().unwrap()).unwrap();
    assert_eq!(before.lines().nth(number - 1), Some(text(&lines["before"]).trim_end()));
    let expected = before.replace("red car: 0.75", "red car: { threshold: 0.6 }");
    assert_eq!(expected.lines().nth(number - 1), Some(text(&lines["after"]).trim_end()));
    assert_eq!(file(&home), before);
    assert!(!home.path("state/config-versions").exists());
    for (path, fields) in [("config", VIEW_TOKEN), ("config", TOKEN), ("config_versions", VIEW_TOKEN)] {
        let authorization = format!("Authorization: Bearer {fields}\r\n");
        let answer = over_http(port, "GET", &format!("/api/v1/{path}"), &authorization);
        assert_eq!(answer.status, 200, "{path}");
        let body = String::from_utf8_lossy(&answer.body).into_owned();
        assert!(!body.contains("hunter2") && !body.contains(TOKEN) && !body.contains(VIEW_TOKEN), "{body}");
    }
    service.stop();
}

#[test]
fn who_may_only_look_sees_no_secret_and_changes_nothing() {
    let (_broker, port, home, mut service) = started(true);
    let before = file(&home);
    let tag = get(&home, "config")["tag"].clone();
    let change = json!({ "kind": "add_label", "label_set": "objects", "label": "dog" });
    let edited = posted(&home, "config_edit", &json!({ "changes": [change], "save": true, "tag": tag }));
    assert_eq!(edited["saved"], json!(true), "{edited}");
    let after = file(&home);
    assert!(after.contains("dog: ~, ") && after.contains("# for us"), "{after}");
    let versions = get(&home, "config_versions");
    let version = format!("config_version?id={}", text(&versions["versions"][0]["id"]));
    let view = format!("Authorization: Bearer {VIEW_TOKEN}\r\n");
    for verb in ["config", "config_versions", &version, "schema"] {
        let answer = over_http(port, "GET", &format!("/api/v1/{verb}"), &view);
        assert_eq!(answer.status, 200, "{verb}");
        let body = String::from_utf8_lossy(&answer.body).into_owned();
        assert!(
            !body.contains("hunter2") && !body.contains(TOKEN) && !body.contains(VIEW_TOKEN),
            "{verb}: {body}"
        );
    }
    let seen = over_http(port, "GET", "/api/v1/config", &view).json();
    assert_eq!((&seen["masked"], &seen["editable"]), (&json!(true), &json!(false)));
    assert_eq!(text(&seen["text"]).lines().count(), after.lines().count());
    for verb in ["config_check", "config_preview", "config_save", "config_edit"] {
        let refused = over_http(port, "POST", &format!("/api/v1/{verb}"), &view);
        assert_eq!(refused.status, 403, "{verb}");
    }
    assert_eq!(file(&home), after);
    assert_ne!(before, after);
    let printed = stakeout().arg("schema").output().unwrap().stdout;
    assert_eq!(get(&home, "schema"), serde_json::from_slice::<Value>(&printed).unwrap());
    service.stop();
}

#[test]
fn programs_and_texts_without_end_are_refused() {
    let (_broker, _, home, mut service) = started(true);
    let before = file(&home);
    let tag = get(&home, "config")["tag"].clone();
    let command = format!("{before}command: {{ run: [/bin/touch, {}] }}\n", home.path("planted").display());
    let refused = post(&home, "config_save", &json!({ "text": command, "tag": tag }));
    assert_eq!((refused.status, &refused.json()["where"]), (403, &json!("command")));
    let preview = posted(&home, "config_preview", &json!({ "text": command }));
    assert_eq!(preview["refused"], json!(["command"]));
    let long = "x".repeat(1024 * 1024 + 1);
    for (text, status) in [(&*long, 413), (&long[..300_000], 200), ("", 200), ("\0{[\u{feff}", 200)] {
        let answer = post(&home, "config_check", &json!({ "text": text }));
        assert_eq!(answer.status, status, "{} bytes", text.len());
        if status == 200 {
            assert_eq!(answer.json()["valid"], json!(false));
        }
    }
    assert_eq!(file(&home), before);
    assert!(!home.path("planted").exists());
    service.stop();
}
