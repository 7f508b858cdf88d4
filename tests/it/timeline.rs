//! What the pages Alerts and Search of the console ask a running service: the list of alerts and near misses in parts, one of them with
//! everything, the marks as truth data, and frames that are similar to a picture.

use std::{
    collections::BTreeSet,
    fs,
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
    process::Output,
    time::{Duration, SystemTime},
};

use serde_json::{Value, json};

use crate::common::{
    PATIENCE,
    broker::{Broker, Subscriber},
    service::{Home, Service, sample},
    stakeout, wait_until,
};

/// Alternating, each of them raises its label.
const PICTURES: [&str; 3] = ["red-car.jpg", "green-tree.jpg", "blue-umbrella.jpg"];

fn started(broker: &Broker, home: &Home) -> Service {
    let subscriber = Subscriber::start(broker);
    let service = Service::start(home);
    subscriber.until("the source to be online", |message| message.line() == "r home/inbox/status online");
    service.wait_until_watching();
    service
}

/// The status and the body of an answer at the unix socket.
fn exchange(home: &Home, method: &str, target: &str, body: &[u8]) -> (u16, Vec<u8>) {
    let mut stream = UnixStream::connect(home.path("state/api.sock")).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let length = body.len();
    let head = format!("{method} /api/v1/{target} HTTP/1.0\r\nContent-Length: {length}\r\n\r\n");
    stream.write_all(&[head.as_bytes(), body].concat()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|end| end == b"\r\n\r\n").expect("an answer has a head");
    let status = String::from_utf8_lossy(&answer[9..12]).parse().unwrap();
    (status, answer[end + 4..].to_vec())
}

/// The answer to a request that must succeed.
fn asked(home: &Home, target: &str) -> Value {
    let (status, body) = exchange(home, "GET", target, b"");
    assert_eq!(status, 200, "{target}: {}", String::from_utf8_lossy(&body));
    serde_json::from_slice(&body).unwrap()
}

fn entries(home: &Home, query: &str) -> Vec<Value> {
    asked(home, &format!("timeline?{query}"))["entries"].as_array().unwrap().clone()
}

fn id(entry: &Value) -> &str {
    entry["id"].as_str().unwrap()
}

fn ids(entries: &[Value]) -> Vec<&str> {
    entries.iter().map(id).collect()
}

/// Shows the next picture, and waits until its alert is listed: the newest entry.
fn raise(home: &Home, number: usize) -> Value {
    let before = entries(home, "limit=1&only=alerts");
    home.drop_unique_picture(PICTURES[number % PICTURES.len()], &format!("{number:03}.jpg"));
    let mut now = Vec::new();
    wait_until(&format!("alert {number} is listed"), || {
        now = entries(home, "limit=1&only=alerts");
        ids(&now) != ids(&before)
    });
    now.remove(0)
}

#[test]
fn parts_of_the_list_lose_and_double_nothing_while_alerts_arrive() {
    let broker = Broker::start();
    let home = Home::new(broker.port, "");
    let mut service = started(&broker, &home);
    let shown: Vec<_> = (0..8).map(|number| raise(&home, number)).collect();
    let mut expected: Vec<_> = shown.iter().map(|entry| id(entry).to_owned()).collect();
    expected.reverse();
    let (mut listed, mut place, mut number, mut more) = (Vec::new(), String::new(), shown.len(), true);
    while more {
        let part = asked(&home, &format!("timeline?limit=3&only=alerts{place}"));
        let found = part["entries"].as_array().unwrap();
        more = part["more"].as_bool().unwrap();
        let last = found.last().expect("`more` was said, or it is the first part");
        place = format!("&until={}&after={}", last["captured_at"].as_str().unwrap(), id(last));
        listed.extend(found.iter().map(|entry| id(entry).to_owned()));
        raise(&home, number);
        number += 1;
    }
    assert_eq!(listed, expected, "those that arrived meanwhile are before the first part");
    assert!(entries(&home, &format!("limit=3&only=alerts{place}")).is_empty());
    let all = entries(&home, "");
    let unique: BTreeSet<_> = ids(&all).into_iter().collect();
    assert_eq!(unique.len(), all.len());
    assert!(
        all.iter().all(|entry| entry["state"] != "cleared"),
        "an alert that clears is a part of the one that raised"
    );
    let alerts = entries(&home, "only=alerts&limit=2");
    assert!(alerts[1]["cleared_at"].is_string(), "the newest alert cleared the one before: {alerts:?}");

    // Filters, and what a person has marked.
    let cars = entries(&home, "label=objects%2Fred+car&only=alerts");
    assert!(!cars.is_empty() && cars.iter().all(|entry| entry["label"] == "red car"), "{cars:?}");
    let (status, _) = exchange(
        &home,
        "POST",
        "mark",
        json!({"id": cars[0]["id"], "verdict": "wrong"}).to_string().as_bytes(),
    );
    assert_eq!(status, 200);
    assert_eq!(entries(&home, "label=red+car&only=alerts")[0]["mark"], "wrong");
    let unmarked = entries(&home, "label=red+car&only=alerts&unmarked=true");
    assert_eq!(ids(&unmarked), ids(&cars[1..]));
    for (query, place) in
        [("limit=0", "limit"), ("after=x", "after"), ("unmarked=maybe", "unmarked"), ("only=all", "only")]
    {
        let (status, body) = exchange(&home, "GET", &format!("timeline?{query}"), b"");
        let problem: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!((status, problem["where"].as_str()), (400, Some(place)), "{problem}");
    }
    service.stop();
}

#[test]
fn an_entry_says_what_explain_says_of_its_frame() {
    let broker = Broker::start();
    let home = Home::new(broker.port, "");
    let path = home.path("stakeout.yaml");
    let typed = fs::read_to_string(&path).unwrap();
    fs::write(&path, typed.replace("green tree: 0.75", "green tree: { threshold: 0.75, hold: 2 of 2 }"))
        .unwrap();
    let mut service = started(&broker, &home);
    let alert = raise(&home, 0);
    home.drop_unique_picture("green-tree.jpg", "tree.jpg");
    let mut near_misses = Vec::new();
    wait_until("the near miss is listed", || {
        near_misses = entries(&home, "only=near_misses&label=green+tree");
        !near_misses.is_empty()
    });
    for entry in [&alert, &near_misses[0]] {
        let target = format!("entry?id={}", id(entry));
        let mut shown = Value::Null;
        // Scores are stored a little later than alerts.
        wait_until("the scores of the frame are stored", || {
            shown = asked(&home, &target);
            !shown["labels"].as_array().unwrap().is_empty()
        });
        let at = entry["captured_at"].as_str().unwrap();
        let explained = asked(&home, &format!("explain?source=Inbox&at={at}"));
        assert_eq!(shown["labels"], explained["labels"]);
        assert_eq!(explained["frame"]["captured_at"], at);
        assert_eq!((&shown["entry"]["id"], &shown["entry"]["reason"]), (&entry["id"], &entry["reason"]));
        let own =
            explained["labels"].as_array().unwrap().iter().find(|label| label["label"] == entry["label"]);
        let own = own.unwrap();
        assert_eq!(own["raised"], entry["state"] == "raised", "{own}");
        let [score, listed] = [&own["score"], &entry["score"]].map(|score| score.as_f64().unwrap());
        assert!((score - listed).abs() < 1e-3, "{own} {entry}");
        let around = |list: &str| -> Vec<Value> {
            let all = shown[list].as_array().unwrap().iter();
            all.filter(|one| one["captured_at"] == at).cloned().collect()
        };
        assert_eq!(around("pictures")[0]["picture"], entry["picture"], "{shown}");
        assert!((around("scores")[0]["score"].as_f64().unwrap() - listed).abs() < 1e-3, "{shown}");
    }
    let shown = asked(&home, &format!("entry?id={}", id(&alert)));
    let published = &asked(&home, "alerts?label=red+car")["alerts"];
    let same = published.as_array().unwrap().iter().find(|it| it["alert"]["id"] == alert["id"]).unwrap();
    assert_eq!(shown["alert"], same["alert"]);
    let near_miss = asked(&home, &format!("entry?id={}", id(&near_misses[0])));
    assert!(near_miss["alert"].is_null() && near_miss["entry"]["held_by"]["gate"] == "hold", "{near_miss}");
    let (status, body) = exchange(&home, "GET", "entry?id=019ab1c2-0000-7000-8000-000000000001", b"");
    assert!(status == 404 && String::from_utf8_lossy(&body).contains("no alert and no near miss"));
    service.stop();
}

fn tune(home: &Home, truth: &str) -> Output {
    let mut command = stakeout();
    command
        .args(["tune", "--config"])
        .arg(home.path("stakeout.yaml"))
        .args(["--history", "--truth"])
        .arg(home.path(truth));
    command.output().unwrap()
}

#[test]
fn marks_are_a_file_that_tune_reads() {
    let broker = Broker::start();
    let home = Home::new(broker.port, "");
    let mut service = started(&broker, &home);
    let raised: Vec<_> = (0..7).map(|number| raise(&home, number)).collect();
    let cars: Vec<_> = raised.iter().filter(|entry| entry["label"] == "red car").collect();
    let verdicts = ["right", "wrong"];
    for (car, verdict) in cars.iter().zip(verdicts) {
        let request = json!({"id": car["id"], "verdict": verdict}).to_string();
        assert_eq!(exchange(&home, "POST", "mark", request.as_bytes()).0, 200);
    }
    let (status, body) = exchange(&home, "GET", "truth.csv?source=Inbox", b"");
    let text = String::from_utf8(body).unwrap();
    assert_eq!(status, 200, "{text}");
    let rows: Vec<_> = text.lines().filter(|line| line.starts_with("red car,")).collect();
    // One of three is wrong; the third one has no mark. Labels without marks are left out.
    assert_eq!((cars.len(), rows.len()), (3, 2), "{text}");
    assert!(
        text.starts_with("label,start,end,source,label_set\n# ") && !text.contains("green tree"),
        "{text}"
    );
    let start = |car: &Value| format!("red car,{},", car["captured_at"].as_str().unwrap());
    assert!(rows[0].starts_with(&start(cars[0])) && rows[1].starts_with(&start(cars[2])), "{text}");
    assert!(rows.iter().all(|row| row.ends_with(",Inbox,objects")), "{text}");

    // What the service knows of the scores is in the file then.
    service.stop();
    fs::write(home.path("truth.csv"), &text).unwrap();
    let output = tune(&home, "truth.csv");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("red car"), "{said}");
    // The same file about a label that does not exist is refused, so it is read.
    fs::write(home.path("other.csv"), text.replace("red car", "red cart")).unwrap();
    let output = tune(&home, "other.csv");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("there is no label `red cart`"), "{said}");
}

/// The head of a picture of this width and height, without pixels.
fn bmp(side: u32) -> Vec<u8> {
    let mut bytes = b"BM".to_vec();
    for number in [54, 0, 54, 40, side, side] {
        bytes.extend(number.to_le_bytes());
    }
    bytes.extend([1, 0, 24, 0]);
    bytes.extend([0; 24]);
    bytes
}

#[test]
fn frames_are_found_by_a_picture_and_other_bytes_are_refused_in_words() {
    let broker = Broker::start();
    let home = Home::new(broker.port, "history: { search: true, pictures: changes }\n");
    let mut service = started(&broker, &home);
    // On three days: frames of the same minute may be one event.
    for (days, name) in (0..3).rev().zip(PICTURES) {
        let elsewhere = home.path("upload");
        fs::copy(sample(name), &elsewhere).unwrap();
        let day = SystemTime::now() - Duration::from_secs(days * 86_400);
        fs::File::options().write(true).open(&elsewhere).unwrap().set_modified(day).unwrap();
        fs::rename(elsewhere, home.path("inbox").join(name)).unwrap();
    }
    wait_until("the embeddings of three pictures", || {
        asked(&home, "search?text=a+red+car")["embeddings"] == 3
    });

    let picture = fs::read(sample("red-car.jpg")).unwrap();
    let search = |query: &str, bytes: &[u8]| -> (u16, Value) {
        let (status, body) = exchange(&home, "POST", &format!("search_picture?{query}"), bytes);
        (status, serde_json::from_slice(&body).unwrap())
    };
    let (status, found) = search("top=3", &picture);
    assert_eq!(status, 200, "{found}");
    let best = &found["matches"][0];
    assert!(best["similarity"].as_f64().unwrap() > 0.99 && best["picture"].is_string(), "{found}");
    // The command loads the model itself.
    let mut command = stakeout();
    command.args(["search", "--json", "--top", "3", "--like"]).arg(sample("red-car.jpg"));
    let output = command.arg("--config").arg(home.path("stakeout.yaml")).output().unwrap();
    let of_command: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(found["matches"][0]["time"], of_command["matches"][0]["time"]);
    let similarities = |found: &Value| -> Vec<f64> {
        found["matches"].as_array().unwrap().iter().map(|it| it["similarity"].as_f64().unwrap()).collect()
    };
    for (service, command) in similarities(&found).into_iter().zip(similarities(&of_command)) {
        assert!((service - command).abs() < 1e-3, "{found} {of_command}");
    }
    // The stored frame itself, without the model.
    let at = best["time"].as_str().unwrap();
    let similar = asked(&home, &format!("search?like_source=Inbox&like_at={at}"));
    assert_eq!(similar["matches"][0]["time"], at);
    assert!(similar["matches"][0]["similarity"].as_f64().unwrap() > 0.99, "{similar}");
    let (status, _) = exchange(&home, "GET", "search?like_source=Inbox&like_at=2001-01-01T00:00:00Z", b"");
    assert_eq!(status, 404);

    let huge = vec![b'x'; 17 << 20];
    let in_words: [(&str, &[u8], u16, &str); 6] = [
        ("cut off", &picture[..picture.len() / 2], 400, "cut off before its end"),
        ("no picture", b"<html>", 400, "it is not a picture"),
        ("empty", b"", 400, "it is empty"),
        ("many pixels", &bmp(30_000), 413, "30000 x 30000 pixels"),
        ("many bytes", &huge, 413, "more than 16 MB"),
        ("damaged", &[&picture[..200], &[0xFF; 3000][..]].concat(), 400, "the JPEG is"),
    ];
    for (name, bytes, expected, text) in in_words {
        let (status, problem) = search("", bytes);
        assert_eq!((status, problem["where"].as_str()), (expected, Some("picture")), "{name}: {problem}");
        assert!(problem["detail"].as_str().unwrap().contains(text), "{name}: {problem}");
    }
    let (status, problem) = search("top=0", &picture);
    assert_eq!((status, problem["where"].as_str()), (400, Some("top")), "{problem}");
    assert_eq!(search("", &picture).0, 200, "the service goes on");
    raise(&home, 1);
    service.stop();
}
