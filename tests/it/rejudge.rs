//! `stakeout replay --history` and `stakeout tune --history`: what a real service stored is judged again with the same result.

use std::{
    fs,
    process::Output,
    time::{Duration, SystemTime},
};

use serde_json::{Value, json};
use url::form_urlencoded;

use crate::{
    api::at_socket,
    common::{
        broker::{Broker, ReceivedMessage, Subscriber},
        service::{Home, Service, sample},
        stakeout, wait_until,
    },
};

/// A label that must be seen twice, one that rises over a baseline, one with a cooldown, and a rule. The fish ends each part.
const LABELS: &str = "labels:
      red car: { threshold: 0.75, hold: 2 of 2, message: '{label} {state}' }
      green tree: { rise: 0.3 }
      Blue Umbrella: { threshold: 0.75, cooldown: 10m }
      yellow fish: 0.75
    rules: { Lonely car: red car and not green tree }";
const SOURCES: &str = "  Inbox: { folder: inbox, watch: [objects], baseline: { over: 20s } }\n";

/// Pictures that are put into the inbox, one a second by their own times.
struct Camera<'h> {
    home: &'h Home,
    began: SystemTime,
    second: u64,
}

impl<'h> Camera<'h> {
    /// It began an hour ago: the history deletes what is a month old.
    fn new(home: &'h Home) -> Self {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        Self { home, began: SystemTime::UNIX_EPOCH + Duration::from_secs(now - 3600), second: 0 }
    }

    fn show(&mut self, picture: &str, times: usize) {
        for _ in 0..times {
            self.second += 1;
            let upload = self.home.path("upload");
            fs::copy(sample(&format!("{picture}.jpg")), &upload).unwrap();
            let file = fs::File::options().append(true).open(&upload).unwrap();
            // A fraction of a millisecond, as file systems have it.
            file.set_modified(self.began + Duration::from_micros(self.second * 1_000_457)).unwrap();
            fs::rename(&upload, self.home.path("inbox").join(format!("{:04}.jpg", self.second))).unwrap();
            // Fewer than the history's queue has room for: what it loses cannot be judged again.
            if self.second.is_multiple_of(8) {
                self.settle();
            }
        }
    }

    /// Waits until every frame is stored. The running service writes its newest ones before it answers.
    fn settle(&self) {
        let expected = format!("{} frames judged again", self.second);
        wait_until("every frame is stored", || said(&run(self.home, &["replay"])).contains(&expected));
    }
}

/// Time, label and state.
fn alert(json: &Value) -> (String, String, String) {
    let word = |value: &Value| value.as_str().unwrap().to_owned();
    (word(&json["frame"]["captured_at"]), word(&json["label"]), word(&json["state"]))
}

fn published(messages: &[ReceivedMessage]) -> Vec<(String, String, String)> {
    let alerts = messages.iter().filter(|message| message.topic.ends_with("/alert"));
    alerts.map(|message| alert(&serde_json::from_slice(&message.payload).unwrap())).collect()
}

fn run(home: &Home, arguments: &[&str]) -> Output {
    let mut command = stakeout();
    command.args(&arguments[..1]).arg("--config").arg(home.path("stakeout.yaml")).args(&arguments[1..]);
    command.args(["--history", "--since", "1d"]).env("TZ", "UTC").output().unwrap()
}

fn printed(output: &Output) -> Vec<(String, String, String)> {
    let lines = std::str::from_utf8(&output.stdout).unwrap().lines();
    lines.map(|line| alert(&serde_json::from_str(line).unwrap())).collect()
}

fn said(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

fn save(home: &Home, text: &str) {
    fs::write(home.path("new"), text).unwrap();
    fs::rename(home.path("new"), home.path("stakeout.yaml")).unwrap();
}

fn is_alert(label: &'static str, state: &'static str) -> impl Fn(&ReceivedMessage) -> bool {
    move |message| {
        message.topic == format!("home/inbox/objects/{label}/alert")
            && message.text().contains(&format!("\"state\":\"{state}\""))
    }
}

/// Shows a fish, which every configuration watches, and returns everything that was published until it is gone again.
fn until_all_is_judged(camera: &mut Camera, subscriber: &Subscriber) -> Vec<ReceivedMessage> {
    camera.show("yellow-fish", 1);
    let mut seen = subscriber.until("the fish", is_alert("yellow_fish", "raised"));
    camera.show("empty-wall", 1);
    seen.extend(subscriber.until("no fish", is_alert("yellow_fish", "cleared")));
    seen
}

#[test]
fn stored_scores_give_the_alerts_of_the_service_through_reloads_and_a_restart() {
    let broker = Broker::start();
    let subscriber = Subscriber::start(&broker);
    let home = Home::with_sources(broker.port, "home", SOURCES);
    let original = fs::read_to_string(home.path("stakeout.yaml")).unwrap();
    let original =
        original.replace("labels: { red car: 0.75, green tree: 0.75, Blue Umbrella: 0.75 }", LABELS);
    save(&home, &original);
    let (mut camera, mut seen) = (Camera::new(&home), vec![]);

    let mut service = Service::start(&home);
    service.wait_until_watching();
    // A baseline is learnt, and each label is raised and cleared.
    for (picture, times) in [
        ("empty-wall", 30),
        ("red-car", 3),
        ("empty-wall", 3),
        ("green-tree", 1),
        ("blue-umbrella", 1),
        ("empty-wall", 1),
        ("blue-umbrella", 1),
        ("red-car", 1),
        ("empty-wall", 1),
    ] {
        camera.show(picture, times);
    }
    seen.extend(until_all_is_judged(&mut camera, &subscriber));
    // Another threshold, other prompts, and one more label.
    let changes = [
        original.replace("threshold: 0.75, hold", "threshold: 0.7, hold"),
        original.replace("rise: 0.3", "rise: 0.25, prompts: [a green tree]"),
        original.replace("    rules:", "      purple mug: 0.6\n    rules:"),
    ];
    for (number, text) in changes.iter().enumerate() {
        save(&home, text);
        service.wait_for_times(number + 1, "the configuration has changed and is in force");
        for (picture, times) in [("red-car", 2), ("purple-mug", 1), ("blue-umbrella", 1)] {
            camera.show(picture, times);
        }
        seen.extend(until_all_is_judged(&mut camera, &subscriber));
    }
    // Raised before a restart, and cleared after it.
    camera.show("red-car", 2);
    seen.extend(subscriber.until("the last car", is_alert("red_car", "raised")));
    camera.settle();
    service.stop();
    let log = service.log();
    let mut service = Service::start(&home);
    service.wait_until_watching();
    camera.show("red-car", 1);
    camera.show("empty-wall", 2);
    camera.show("green-tree", 1);
    seen.extend(until_all_is_judged(&mut camera, &subscriber));
    camera.settle();
    service.stop();
    assert!(!(log + &service.log()).contains("judged again differ"));

    seen.extend(subscriber.so_far(&broker));
    let expected = published(&seen);
    for label in ["red car", "green tree", "Blue Umbrella", "purple mug", "Lonely car"] {
        let times = expected.iter().filter(|alert| alert.1 == label).count();
        assert!(times >= 2, "{label} is raised and cleared: {expected:#?}");
    }
    let same = run(&home, &["replay"]);
    let sorted = |mut alerts: Vec<(String, String, String)>| {
        alerts.sort();
        alerts
    };
    assert_eq!(sorted(printed(&same)), sorted(expected.clone()), "{}", said(&same));
    assert!(same.status.success() && !said(&same).contains("are missing"), "{}", said(&same));
    assert!(std::str::from_utf8(&same.stdout).unwrap().contains("\"message\":\"red car raised\""));

    // Umbrellas are held back by the cooldown; without it each one is an alert.
    let tried = run(&home, &["replay", "--set", "objects/Blue Umbrella.cooldown=0s"]);
    let umbrellas = |alerts: &[(String, String, String)]| {
        alerts.iter().filter(|alert| alert.1 == "Blue Umbrella" && alert.2 == "raised").count()
    };
    let (before, after) = (umbrellas(&expected), umbrellas(&printed(&tried)));
    assert!(before < after, "{before} {after}");
    let line = format!("Inbox: objects / Blue Umbrella: {before} alert now, {after} with these settings");
    assert!(said(&tried).contains(&line), "{}", said(&tried));
    let others = |alerts: Vec<(String, String, String)>| {
        sorted(alerts.into_iter().filter(|alert| alert.1 != "Blue Umbrella").collect())
    };
    assert_eq!(others(printed(&tried)), others(expected));

    let tuned = run(&home, &["tune"]);
    assert!(tuned.status.success(), "{}", said(&tuned));
    assert!(said(&tuned).contains("objects / red car"), "{}", said(&tuned));
    assert!(said(&tuned).contains("frames have scores of other prompts"), "{}", said(&tuned));
}

/// The answer of a verb about a label of the source Inbox, with these parameters.
fn asked(home: &Home, verb: &str, label: &str, parameters: &[(&str, &str)]) -> Value {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query
        .extend_pairs([("source", "Inbox"), ("label_set", "objects"), ("label", label)])
        .extend_pairs(parameters);
    let answer = at_socket(home, "GET", &format!("/api/v1/{verb}?{}", query.finish()), "");
    assert_eq!(
        answer.status,
        200,
        "{verb} {label} {parameters:?}: {}",
        String::from_utf8_lossy(&answer.body)
    );
    answer.json()
}

fn posted(home: &Home, verb: &str, request: &Value) -> Value {
    let answer = at_socket(home, "POST", &format!("/api/v1/{verb}"), &request.to_string());
    assert_eq!(answer.status, 200, "{verb} {request}: {}", String::from_utf8_lossy(&answer.body));
    answer.json()
}

/// When `replay --history` raises a label with these settings.
fn replayed(home: &Home, label: &str, settings: &[(&str, &str)]) -> Vec<String> {
    let settings: Vec<_> =
        settings.iter().map(|(key, value)| format!("objects/{label}.{key}={value}")).collect();
    let options = settings.iter().flat_map(|setting| ["--set", setting.as_str()]);
    let output = run(home, &["replay"].into_iter().chain(options).collect::<Vec<_>>());
    assert!(output.status.success(), "{}", said(&output));
    let raised = printed(&output).into_iter().filter(|alert| alert.1 == label && alert.2 == "raised");
    raised.map(|alert| alert.0).collect()
}

/// The times of the alerts in an answer of `rejudge`, the earliest first.
fn times(answer: &Value, key: &str) -> Vec<String> {
    let alerts = answer[key].as_array().unwrap().iter().rev();
    alerts.map(|alert| alert["time"].as_str().unwrap().to_owned()).collect()
}

/// A service that keeps embeddings and pictures, after some pictures.
fn watched(broker: &Broker) -> (Home, Service) {
    let home = Home::with_sources(broker.port, "home", SOURCES);
    let text = fs::read_to_string(home.path("stakeout.yaml")).unwrap();
    let text = text.replace("labels: { red car: 0.75, green tree: 0.75, Blue Umbrella: 0.75 }", LABELS);
    save(&home, &format!("history: {{ search: true, pictures: changes }}\n{text}"));
    let service = Service::start(&home);
    service.wait_until_watching();
    let mut camera = Camera::new(&home);
    for (picture, times) in [
        ("empty-wall", 24),
        ("red-car", 3),
        ("empty-wall", 2),
        ("blue-umbrella", 1),
        ("empty-wall", 1),
        ("blue-umbrella", 1),
        ("green-tree", 2),
        ("red-car", 1),
        ("empty-wall", 2),
        ("yellow-fish", 1),
        ("empty-wall", 1),
    ] {
        camera.show(picture, times);
    }
    camera.settle();
    (home, service)
}

#[test]
fn a_label_that_is_tried_over_the_api_has_the_alerts_of_replay() {
    let broker = Broker::start();
    let (home, mut service) = watched(&broker);
    let cases: [(&str, &[(&str, &str)]); 8] = [
        ("red car", &[]),
        ("Blue Umbrella", &[("cooldown", "0s")]),
        ("red car", &[("threshold", "0.3"), ("hold", "1 of 1")]),
        ("red car", &[("threshold", "0.3"), ("clear_below", "0.05"), ("hold", "1 of 1"), ("for", "1s")]),
        ("red car", &[("threshold", "0.999999")]),
        ("green tree", &[("rise", "0.1")]),
        ("yellow fish", &[("active", "00:00-00:01 UTC")]),
        ("Lonely car", &[("hold", "2 of 2")]),
    ];
    for (label, settings) in cases {
        let answer = asked(&home, "rejudge", label, settings);
        let (now, then) = (replayed(&home, label, &[]), replayed(&home, label, settings));
        assert_eq!(times(&answer, "alerts"), then, "{label} {settings:?}");
        assert_eq!(
            (&answer["now"]["alerts"], &answer["then"]["alerts"]),
            (&json!(now.len()), &json!(then.len()))
        );
        let kept: Vec<_> = then.iter().filter(|time| now.contains(time)).collect();
        for alert in answer["alerts"].as_array().unwrap() {
            // An alert at the same time is the alert of the service, with its identifier and its picture.
            if kept.iter().any(|time| alert["time"] == json!(time)) {
                assert_eq!(alert["difference"], "kept", "{alert}");
                assert_eq!(alert["id"].as_str().map(str::len), Some(36), "{alert}");
            }
            if let Some(address) = alert["picture"].as_str() {
                let picture = at_socket(&home, "GET", address, "");
                assert!(picture.status == 200 && picture.body.starts_with(&[0xFF, 0xD8]), "{alert}");
            }
        }
    }
    // The number of pictures of a second is limited, and this alert is the first one.
    let car = asked(&home, "rejudge", "red car", &[]);
    assert!(car["alerts"].as_array().unwrap().last().unwrap()["picture"].is_string(), "{car}");
    let umbrella = asked(&home, "rejudge", "Blue Umbrella", &[("cooldown", "0s")]);
    assert_eq!(
        (&umbrella["now"]["alerts"], &umbrella["new"]["unmarked"]),
        (&json!(1), &json!(1)),
        "{umbrella}"
    );

    // Verdicts on an alert and on a moment that only other settings raise.
    let wrong = umbrella["alerts"][1].clone();
    posted(&home, "mark", &json!({"id": wrong["id"], "verdict": "wrong"}));
    let moment = &umbrella["alerts"][0]["time"];
    posted(
        &home,
        "mark",
        &json!({"source": "Inbox", "label": "objects/Blue Umbrella", "at": moment, "verdict": "right"}),
    );
    let marked = asked(&home, "rejudge", "Blue Umbrella", &[("cooldown", "0s")]);
    let counts = |side: &str| ["right", "wrong", "unmarked"].map(|key| marked[side][key].as_u64().unwrap());
    assert_eq!((counts("now"), counts("then"), counts("new")), ([0, 1, 0], [1, 1, 0], [1, 0, 0]), "{marked}");

    // The suggestion is that of `tune`, with marks and without.
    let tuned = run(&home, &["tune"]);
    for label in ["red car", "Blue Umbrella", "yellow fish", "green tree"] {
        let suggested = asked(&home, "suggest", label, &[]);
        let reason = suggested["reason"].as_str().unwrap().replace("with marks", "with `--truth FILE.csv`");
        let reason =
            reason.replace("Try what other rises would do", "What other rises would do is in the table");
        assert!(said(&tuned).contains(&reason), "{label}: {reason}\n{}", said(&tuned));
        let line = &suggested["settings"];
        if line.is_object() {
            let line = format!(
                "suggested: threshold {}, clear_below {}, hold {}",
                line["threshold"],
                line["clear_below"],
                line["hold"].as_str().unwrap()
            );
            assert!(said(&tuned).contains(&line), "{label}: {line}\n{}", said(&tuned));
        }
    }
    service.stop();
    assert!(!service.log().contains("judged again differ"));
}

#[test]
fn other_words_are_scored_on_stored_embeddings_as_the_service_scores() {
    let broker = Broker::start();
    let (home, mut service) = watched(&broker);
    let points = |answer: &Value| -> Vec<(i64, f64)> {
        let points = answer["points"].as_array().unwrap().iter();
        points.map(|point| (point[0].as_i64().unwrap(), point[2].as_f64().unwrap())).collect()
    };
    let stored = asked(&home, "scores", "red car", &[("points", "2000")]);
    let stored = points(&stored["labels"][0]);
    let words = |prompts: &[&str]| {
        let request = json!({
            "source": "Inbox", "label_set": "objects", "label": "red car", "prompts": prompts, "points": 2000,
        });
        let answer = posted(&home, "try_words", &request);
        assert!(
            answer["embeddings"].as_u64().unwrap() > 0 && answer["changes_other_labels"] == json!(true),
            "{answer}"
        );
        points(&answer)
    };
    // The words of the configuration: the scores are those of the service, but for the rounding of embeddings.
    let same = words(&["red car"]);
    assert!(!same.is_empty());
    for (time, score) in &same {
        let service = stored.iter().find(|(at, _)| at == time).map(|(_, score)| *score);
        let service = service.unwrap_or_else(|| panic!("no frame at {time}"));
        assert!((score - service).abs() < 0.1, "{time}: {score}, and the service stored {service}");
    }
    let highest = |points: &[(i64, f64)]| points.iter().map(|(_, score)| *score).fold(0.0, f64::max);
    assert!(highest(&same) > 0.75, "the car is found: {same:?}");
    // Words that another label has find what that label finds, and share its score.
    let other = words(&["green tree"]);
    let at_car = same.iter().filter(|(_, score)| *score > 0.75).map(|(time, _)| *time).collect::<Vec<_>>();
    let there = other.iter().filter(|(time, _)| at_car.contains(time)).copied().collect::<Vec<_>>();
    assert!(!there.is_empty() && highest(&there) < 0.25, "{there:?}");
    assert!((0.4..0.5001).contains(&highest(&other)), "{other:?}");

    for (request, status, words) in [
        (
            json!({"source": "Inbox", "label_set": "objects", "label": "red car", "prompts": []}),
            400,
            "no words",
        ),
        (
            json!({"source": "Inbox", "label_set": "objects", "label": "Lonely car", "prompts": ["a"]}),
            400,
            "is a rule",
        ),
        (
            json!({"source": "Inbox", "label_set": "object", "label": "red car", "prompts": ["a"]}),
            400,
            "did you mean",
        ),
    ] {
        let answer = at_socket(&home, "POST", "/api/v1/try_words", &request.to_string());
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        assert!(answer.status == status && text.contains(words), "{request}: {text}");
    }
    service.stop();
}

#[test]
fn what_is_not_stored_is_said() {
    let home = Home::new(1, "");
    for (arguments, expected) in [
        (&["replay"][..], "no scores are stored for this time"),
        (&["tune"], "no scores are stored for this time"),
        (&["replay", "--set", "red car.size=3"], "KEY is `threshold`"),
        (&["replay", "day.mp4"], "cannot be used with"),
    ] {
        let output = run(&home, arguments);
        assert!(!output.status.success());
        assert!(said(&output).contains(expected), "{arguments:?}: {}", said(&output));
    }
}
