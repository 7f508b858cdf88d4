//! Baselines: a rise over a baseline against every fixed threshold, on a recording with changing light; and the learnt baselines
//! after a restart.
//!
//! The test makes the recording: four hours from the blue light before sunrise to the warm light of an evening, with passing
//! clouds, one frame in ten seconds. The background is a car of another colour, so the wall alone scores from 0.01 to 0.65 and a
//! car from 0.45 to 1: no threshold suits both ends. `--nocapture` prints the figures of `docs/accuracy.md`.

use std::{
    collections::BTreeMap,
    f64::consts::PI,
    fmt::Write,
    fs,
    path::Path,
    time::{Duration, SystemTime},
};

use serde_json::Value;

use crate::common::{
    broker::{Broker, ReceivedMessage, Subscriber},
    camera::clip,
    service::{Home, Service, sample},
    stakeout, wait_until,
};

/// Seconds from one frame to the next.
const PAUSE: usize = 10;
const FRAMES: usize = 1440;
/// The number of lightings made of each picture.
const LIGHTS: usize = 64;
const BEGAN: &str = "2026-11-23T09:00:00Z";

/// When a car is visible: from, to, in seconds.
type Event = (i64, i64);

/// Writes every lighting of a picture: bluish and dark first, reddish last.
fn lights(home: &Home, picture: &str) {
    // From -0.885 to 0.9: below 0 red and green are reduced, above 0 green and blue.
    let light = format!("(-0.885+1.785*N/{})", LIGHTS - 1);
    let words = format!(
        "-loop 1 -i {} -vf format=gbrp,geq=r=r(X\\,Y)*(1+0.55*min({light}\\,0)):g=g(X\\,Y)*(1+0.4*min({light}\\,0)-0.5*max({light}\\,0)):\
         b=b(X\\,Y)*(1-0.6*max({light}\\,0)) -frames:v {LIGHTS} -start_number 0",
        sample(&format!("{picture}.jpg")).display()
    );
    clip(&words, &home.path(&format!("{picture}-%02d.png")));
}

/// The lighting of a frame: it changes slowly at both ends of the day, with a cloud every eight minutes.
fn light(frame: usize) -> usize {
    let day = (1.0 - (PI * frame as f64 / FRAMES as f64).cos()) / 2.0;
    let cloud = 0.02 * (2.0 * PI * (frame * PAUSE) as f64 / 480.0).sin();
    (((day + cloud).clamp(0.0, 1.0) * LIGHTS as f64) as usize).min(LIGHTS - 1)
}

/// Makes the recording; the times with a car.
fn record(home: &Home) -> Vec<Event> {
    ["empty-wall", "red-car"].iter().for_each(|picture| lights(home, picture));
    let (mut list, mut events, mut frame, mut seed) = ("ffconcat version 1.0\n".to_owned(), vec![], 0, 1_u64);
    let mut random = |below: u64| {
        // Knuth's MMIX generator; its upper bits are good enough.
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((seed >> 33) % below) as usize
    };
    let mut show = |picture: &str, frames: usize, at: &mut usize| {
        for _ in 0..frames {
            let file = home.path(&format!("{picture}-{:02}.png", light(*at)));
            writeln!(list, "file '{}'\nduration {PAUSE}", file.display()).unwrap();
            *at += 1;
        }
    };
    while frame < FRAMES - 80 {
        show("empty-wall", 30 + random(30), &mut frame);
        let from = frame;
        show("red-car", 3 + random(5), &mut frame);
        events.push(((from * PAUSE) as i64, ((frame - 1) * PAUSE) as i64));
    }
    show("empty-wall", FRAMES - frame, &mut frame);
    fs::write(home.path("list.txt"), list).unwrap();
    let words = format!(
        "-f concat -safe 0 -i {} -vf noise=alls=14:allf=t,format=yuv420p -r 1/{PAUSE} -c:v libx264 -preset ultrafast -crf 22 -g 10 \
         -metadata creation_time={BEGAN}",
        home.path("list.txt").display()
    );
    clip(&words, &home.path("day.mp4"));
    events
}

/// A label set with one setting of the levels.
fn label_set(name: &str, levels: &str) -> String {
    format!(
        "  {name}: {{ template: 'a photo of {{}}', background: [blue car], labels: {{ red car: {{ {levels} }} }} }}\n"
    )
}

/// For each label set: how many events have an alert, and how many alerts have no event.
fn grades(alerts: &[u8], events: &[Event]) -> BTreeMap<String, (usize, usize)> {
    let mut grades: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    let mut alerted: BTreeMap<String, Vec<bool>> = BTreeMap::new();
    let began = BEGAN.parse::<jiff::Timestamp>().unwrap().as_second();
    for line in std::str::from_utf8(alerts).unwrap().lines() {
        let alert: Value = serde_json::from_str(line).unwrap();
        let set = alert["label_set"].as_str().unwrap().to_owned();
        let alerted = alerted.entry(set.clone()).or_insert_with(|| vec![false; events.len()]);
        let grade = grades.entry(set).or_default();
        if alert["state"] != "raised" {
            continue;
        }
        let second = alert["time"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap().as_second() - began;
        let slack = PAUSE as i64;
        let of = |(from, to): &Event| (from - slack..=to + slack).contains(&second);
        match (0..events.len()).find(|event| !alerted[*event] && of(&events[*event])) {
            Some(event) => {
                alerted[event] = true;
                grade.0 += 1;
            }
            None => grade.1 += 1,
        }
    }
    grades
}

#[test]
fn a_rise_finds_what_no_threshold_finds() {
    let home = Home::new(1, "");
    let events = record(&home);
    let (mut sets, mut names) = (String::new(), vec![]);
    for rise in ["0.2", "0.3", "0.4", "0.5"] {
        let name = format!("rise-{rise}");
        sets += &label_set(&name, &format!("rise: {rise}"));
        names.push(name);
    }
    for hundredth in 1..100 {
        let threshold = f64::from(hundredth) / 100.0;
        for (clear, part) in [("same", 1.0), ("half", 0.5)] {
            let name = format!("at-{hundredth:02}-{clear}");
            sets += &label_set(&name, &format!("threshold: {threshold}, clear_below: {}", threshold * part));
            names.push(name);
        }
    }
    let text = format!(
        "mqtt: {{ url: mqtt://h }}\nstate_dir: state\nlabel_sets:\n{sets}sources:\n  gate: {{ folder: ., baseline: true, watch: [{}] }}\n",
        names.join(", ")
    );
    fs::write(home.path("stakeout.yaml"), text).unwrap();
    let replay = |arguments: &[&Path]| {
        let mut command = stakeout();
        command.arg("replay").arg("--config").arg(home.path("stakeout.yaml"));
        let output = command.args(arguments).arg(home.path("day.mp4")).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    let plot = home.path("day.svg");
    let alerts = replay(&[Path::new("--plot"), &plot]);
    let grades = grades(&alerts, &events);
    let (right, wrong) = grades["rise-0.4"];
    let f1 = |(right, wrong): (usize, usize)| 2.0 * right as f64 / (right + wrong + events.len()) as f64;
    eprintln!("{} events", events.len());
    for (name, (found, false_alerts)) in grades.iter().filter(|(name, _)| name.starts_with("rise")) {
        eprintln!("{name}: {found} found, {false_alerts} false alerts");
    }
    assert_eq!((right, wrong), (events.len(), 0));
    let mut fixed: Vec<_> = grades.iter().filter(|(name, _)| name.starts_with("at")).collect();
    fixed.sort_by(|a, b| f1(*b.1).total_cmp(&f1(*a.1)));
    assert!(fixed.len() > 150, "each of them alerts at least once: {}", fixed.len());
    for (name, (found, false_alerts)) in &fixed {
        eprintln!("{name}: {found} found, {false_alerts} false alerts");
        assert!(*found < right || *false_alerts > wrong, "{name} does as well");
    }

    let rises = std::str::from_utf8(&alerts).unwrap().lines().filter(|line| line.contains("\"rise-0.4\""));
    let levels = rises.map(|line| serde_json::from_str::<Value>(line).unwrap());
    let levels: Vec<_> = levels
        .map(|alert| (alert["baseline"].as_f64().unwrap(), alert["threshold"].as_f64().unwrap()))
        .collect();
    let (low, high) = (levels.first().unwrap(), levels.last().unwrap());
    eprintln!("baseline and threshold of the first alert {low:?}, of the last {high:?}");
    assert!(low.0 < 0.1 && low.1 < 0.5 && high.0 > 0.4 && high.1 > 0.65, "{low:?} {high:?}");
    assert!(fs::read_to_string(plot).unwrap().contains("threshold 0.4 above the baseline"));
}

/// Gives the red car a rise over a baseline that is known after ten seconds; `more` is added to the source.
fn rises(home: &Home, more: &str) {
    let text = fs::read_to_string(home.path("stakeout.yaml")).unwrap();
    let source = format!("folder: inbox, {more}baseline: {{ over: 10s }},");
    let text = text.replace("red car: 0.75", "red car: { rise: 0.4 }").replace("folder: inbox,", &source);
    fs::write(home.path("stakeout.yaml"), text).unwrap();
}

#[test]
fn tune_keeps_a_rise_and_shows_alternatives() {
    let home = Home::new(1, "");
    rises(&home, "");
    let mut list = "ffconcat version 1.0\n".to_owned();
    for second in 0..60 {
        let picture = if (40..45).contains(&second) { "red-car.jpg" } else { "empty-wall.jpg" };
        writeln!(list, "file '{}'\nduration 1", sample(picture).display()).unwrap();
    }
    fs::write(home.path("list.txt"), list).unwrap();
    let words = format!(
        "-f concat -safe 0 -i {} -vf format=yuv420p -r 1 -c:v libx264 -g 10",
        home.path("list.txt").display()
    );
    let video = clip(&words, &home.path("a.mp4"));
    fs::write(home.path("truth.csv"), "label,start,end\nred car,40,44\n").unwrap();
    let output = stakeout()
        .args(["tune", "--write", "--config"])
        .arg(home.path("stakeout.yaml"))
        .arg("--truth")
        .arg(home.path("truth.csv"))
        .arg("--report")
        .arg(home.path("report.html"))
        .arg(video)
        .output()
        .unwrap();
    let (log, patch) = (String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout));
    assert!(output.status.success(), "{log}");
    let reason =
        "its threshold is a rise of 0.4 over the baseline, which is kept: 1 alert, 0 wrong, 0 events missed";
    assert!(patch.contains(&format!("# objects / red car: {reason}")), "{patch}");
    assert!(
        log.contains("  rise        alerts    a day") && log.contains("  now: rise 0.4, 1 alert in"),
        "{log}"
    );
    assert!(fs::read_to_string(home.path("report.html")).unwrap().contains("<th>rise</th>"));
    assert!(fs::read_to_string(home.path("stakeout.yaml")).unwrap().contains("red car: { rise: 0.4 }"));
}

/// Drops a picture taken in this second, and waits until it is judged, which deletes it.
fn show(home: &Home, picture: &str, second: u64) {
    let (elsewhere, name) = (home.path("upload"), home.path(&format!("inbox/{second}.jpg")));
    fs::copy(sample(picture), &elsewhere).unwrap();
    let taken = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_000_000 + second);
    fs::File::options().write(true).open(&elsewhere).unwrap().set_modified(taken).unwrap();
    fs::rename(elsewhere, &name).unwrap();
    wait_until("the picture is judged", || !name.exists());
}

#[test]
fn baselines_survive_a_restart_and_a_damaged_file_is_reported() {
    let broker = Broker::start();
    let subscriber = Subscriber::start(&broker);
    let home = Home::new(broker.port, "");
    rises(&home, "after: delete, ");
    let file = home.path("state/baselines.json");
    let start = || {
        let service = Service::start(&home);
        service.wait_until_watching();
        service
    };
    let stop = |service: &mut Service| {
        service.stop();
        service.log().matches("INFO Inbox: `red car` raised").count()
    };

    let mut service = start();
    show(&home, "red-car.jpg", 0);
    (1..20).for_each(|second| show(&home, "empty-wall.jpg", second));
    assert_eq!(stop(&mut service), 0, "the car came before the baseline was known");
    assert!(fs::read_to_string(&file).unwrap().contains("red car"));

    let mut service = start();
    show(&home, "red-car.jpg", 20);
    let is_alert = |message: &ReceivedMessage| message.topic == "home/inbox/objects/red_car/alert";
    let alert: Value =
        serde_json::from_str(subscriber.until("an alert", is_alert).pop().unwrap().text()).unwrap();
    let (baseline, threshold) = (alert["baseline"].as_f64().unwrap(), alert["threshold"].as_f64().unwrap());
    assert!(baseline < 0.1 && (threshold - baseline - 0.4).abs() < 1e-5, "{alert}");
    show(&home, "empty-wall.jpg", 21);
    assert_eq!(stop(&mut service), 1);

    fs::write(&file, "[{").unwrap();
    let mut service = start();
    service.wait_for_log("ignored a damaged state file");
    show(&home, "red-car.jpg", 40);
    assert_eq!(stop(&mut service), 0, "the baseline is learnt again");
}
