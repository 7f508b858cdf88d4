//! `mask` of a source: what it covers is grey before anything is compared, scored, stored or sent, for every kind of source.

use std::{fs, ops::Range, process::Output};

use stakeout::picture::{self, Limits, Picture};

use crate::common::{
    broker::{Broker, ReceivedMessage, Subscriber, publish_bytes},
    camera::{Web, clip, response},
    service::{Home, Service, sample},
    stakeout,
};

/// A corner of the picture in which there is nothing, and its size in pixels of a sample.
const CORNER: &str = "mask: [[0, 0], [0.15, 0], [0.15, 0.15], [0, 0.15]]";
const CORNER_SIZE: (usize, usize) = (60, 45);
/// Everything but a narrow border.
const MIDDLE: &str =
    "mask: [[[0.02, 0.02], [0.98, 0.02], [0.98, 0.98]], [[0.02, 0.02], [0.98, 0.98], [0.02, 0.98]]]";

fn topic(topic: String) -> impl Fn(&ReceivedMessage) -> bool {
    move |message| message.topic == topic
}

fn decoded(bytes: &[u8]) -> Picture {
    picture::decode(bytes, Limits::of(1_000_000)).expect("a picture")
}

/// The largest and the mean difference of the pixels of two pictures of one size within these columns and rows.
fn difference(a: &Picture, b: &Picture, columns: Range<usize>, rows: Range<usize>) -> (u8, f64) {
    let (width, a, b) = (a.width as usize, a.rgb(), b.rgb());
    let row = |y: usize| (y * width + columns.start) * 3..(y * width + columns.end) * 3;
    let pairs = rows.flat_map(|y| a[row(y)].iter().zip(&b[row(y)]));
    let all: Vec<u8> = pairs.map(|(a, b)| a.abs_diff(*b)).collect();
    let sum: f64 = all.iter().map(|level| f64::from(*level)).sum();
    (*all.iter().max().expect("some pixels"), sum / all.len() as f64)
}

#[test]
fn the_snapshot_of_every_kind_of_source_is_grey_where_it_is_masked() {
    let broker = Broker::start();
    let subscriber = Subscriber::start(&broker);
    let camera = Web::start(|_, _| {
        response("200 OK", "Content-Type: image/jpeg\r\n", &fs::read(sample("red-car.jpg")).unwrap())
    });
    let sources = format!(
        "  Inbox: {{ folder: inbox, watch: [objects], {CORNER} }}
  clips: {{ folder: clips, existing: process, watch: [objects], {CORNER} }}
  gate: {{ http: 'http://{}/a.jpg', watch: [objects], {CORNER} }}
  topic: {{ mqtt: pictures/a, watch: [objects], {CORNER} }}
  video: {{ video: car.mp4, pace: full, watch: [objects], {CORNER} }}\n",
        camera.address
    );
    let home = Home::with_sources(broker.port, "home", &sources);
    let words = format!(
        "-loop 1 -framerate 5 -i {} -t 2 -c:v libx264 -pix_fmt yuv420p",
        sample("red-car.jpg").display()
    );
    let video = clip(&words, &home.path("car.mp4"));
    fs::create_dir(home.path("clips")).unwrap();
    fs::copy(video, home.path("clips/car.mp4")).unwrap();
    let _service = Service::start(&home);

    let original = decoded(&fs::read(sample("red-car.jpg")).unwrap());
    let grey = Picture::of_rgb(original.width, original.height, vec![128; original.rgb().len()]);
    let mut seen = Vec::new();
    let is_online = |name: &str| {
        let topic = format!("home/{name}/status");
        move |message: &ReceivedMessage| message.topic == topic && message.text() == "online"
    };
    subscriber.also(&mut seen, "the folder to be watched", is_online("inbox"));
    subscriber.also(&mut seen, "the topic to be subscribed", is_online("topic"));
    home.drop_picture("red-car.jpg", "1.jpg");
    publish_bytes(&broker, "pictures/a", &fs::read(sample("red-car.jpg")).unwrap(), &[]);
    for name in ["inbox", "clips", "gate", "topic", "video"] {
        subscriber.also(&mut seen, name, topic(format!("home/{name}/objects/red_car/alert")));
        let snapshot = seen.iter().find(|message| message.topic == format!("home/{name}/snapshot"));
        let snapshot = decoded(&snapshot.expect("the snapshot precedes its alert").payload);
        let (width, height) = CORNER_SIZE;
        // JPEG and video blur edges.
        let (hidden, _) = difference(&snapshot, &grey, 0..width - 16, 0..height - 16);
        assert!(hidden <= 6, "{name}: {hidden}");
        let shown = |other: &Picture| difference(&snapshot, other, width + 16..400, height + 16..300).1;
        assert!(
            shown(&original) < 8.0 && shown(&grey) > 16.0,
            "{name}: {} {}",
            shown(&original),
            shown(&grey)
        );
    }
}

#[test]
fn what_is_only_in_the_masked_part_raises_nothing() {
    let broker = Broker::start();
    let subscriber = Subscriber::start(&broker);
    let sources = format!(
        "  open: {{ folder: inbox, watch: [objects] }}
  hidden: {{ folder: inbox, watch: [objects], scores: true, {MIDDLE} }}\n"
    );
    let home = Home::with_sources(broker.port, "home", &sources);
    let _service = Service::start(&home);
    let mut seen = Vec::new();
    for name in ["open", "hidden"] {
        subscriber.also(&mut seen, "both folders to be watched", move |message| {
            message.topic == format!("home/{name}/status") && message.text() == "online"
        });
    }
    home.drop_picture("red-car.jpg", "1.jpg");
    subscriber.also(
        &mut seen,
        "the alert of the other source",
        topic("home/open/objects/red_car/alert".to_owned()),
    );
    subscriber.also(&mut seen, "the scores", topic("home/hidden/objects/scores".to_owned()));
    let scores = seen.iter().find(|message| message.topic.ends_with("/scores")).unwrap();
    let scores: serde_json::Value = serde_json::from_slice(&scores.payload).unwrap();
    assert!(scores["scores"]["red car"].as_f64().unwrap() < 0.5, "{scores}");
    let rest = subscriber.so_far(&broker);
    let alerts: Vec<_> = seen.iter().chain(&rest).filter(|it| it.topic.ends_with("/alert")).collect();
    assert!(alerts.iter().all(|alert| alert.topic.starts_with("home/open/")), "{alerts:#?}");
}

#[test]
fn a_replay_for_a_source_sees_what_the_source_sees() {
    let sources = format!(
        "  open: {{ folder: inbox, watch: [objects] }}\n  hidden: {{ folder: inbox, watch: [objects], {MIDDLE} }}\n"
    );
    let home = Home::with_sources(1, "home", &sources);
    let words = format!(
        "-loop 1 -framerate 5 -i {} -t 2 -c:v libx264 -pix_fmt yuv420p",
        sample("red-car.jpg").display()
    );
    let video = clip(&words, &home.path("car.mp4"));
    let run = |arguments: &[&str]| -> Output {
        stakeout().args(arguments).arg("--config").arg(home.path("stakeout.yaml")).output().unwrap()
    };
    let (picture, video) = (sample("red-car.jpg").display().to_string(), video.display().to_string());
    for recording in [picture, video] {
        for (source, raised) in [("open", true), ("hidden", false)] {
            let output = run(&["replay", "--source", source, &recording]);
            let (alerts, log) =
                (String::from_utf8(output.stdout).unwrap(), String::from_utf8_lossy(&output.stderr));
            assert!(output.status.success(), "{log}");
            assert_eq!(alerts.contains("\"raised\""), raised, "{recording} {source}: {alerts}{log}");
        }
    }
    let explained = run(&["check", "--offline", "--explain", "--format", "json"]);
    let explained: serde_json::Value = serde_json::from_slice(&explained.stdout).unwrap();
    let mask = |source: &str| explained["sources"][source]["mask"].clone();
    assert_eq!(mask("open"), "none");
    assert_eq!(mask("hidden")[1], serde_json::json!([[0.02, 0.02], [0.98, 0.98], [0.02, 0.98]]));
}
