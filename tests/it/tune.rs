//! `stakeout tune`: settings learnt on one recording are tested on another.
//!
//! The test makes the recordings, with known truth: pictures of the label, of similar things and of nothing, with noise and
//! changing light, one frame a second. `TUNE_MINUTES=120` makes them as long as an evening; the figures are printed.

use std::{fmt::Write, fs, path::PathBuf, process::Output};

use serde_json::Value;

use crate::common::{
    camera::clip,
    fixtures,
    service::{Home, sample},
    stakeout,
};

const WATCHED: [&str; 3] = ["red car", "green tree", "Blue Umbrella"];

fn run(home: &Home, command: &str, arguments: &[&str]) -> Output {
    stakeout().args([command, "--config"]).arg(home.path("stakeout.yaml")).args(arguments).output().unwrap()
}

fn log(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A label (or none) that is visible: from, to, in seconds.
type Event = (&'static str, u64, u64);

/// A recording of about `minutes` minutes, and its events. Another `seed` makes another recording.
fn record(home: &Home, name: &str, minutes: u64, mut seed: u64) -> (PathBuf, Vec<Event>) {
    let mut random = |below: u64| {
        // Knuth's MMIX generator. Its upper bits are random enough.
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    let shown = [
        ("red car", "red-car.jpg"),
        ("red car", "red-car-far-away.jpg"),
        ("green tree", "green-tree.jpg"),
        ("Blue Umbrella", "blue-umbrella.jpg"),
        ("", "blue-car.jpg"),
        ("", "orange-star.jpg"),
        ("", "black-key.jpg"),
    ];
    let (mut list, mut events, mut now) = ("ffconcat version 1.0\n".to_owned(), vec![], 0);
    let mut show = |picture: &str, seconds: u64| {
        for _ in 0..seconds {
            writeln!(list, "file '{}'\nduration 1", sample(picture).display()).unwrap();
        }
    };
    while now < minutes * 60 {
        let quiet = 10 + random(20);
        show(if random(2) == 0 { "empty-wall.jpg" } else { "empty-corner.jpg" }, quiet);
        let (label, picture) = shown[random(7) as usize];
        let seconds = 3 + random(6);
        show(picture, seconds);
        if !label.is_empty() {
            events.push((label, now + quiet, now + quiet + seconds - 1));
        }
        now += quiet + seconds;
    }
    fs::write(home.path("list.txt"), list).unwrap();
    let words = format!(
        "-f concat -safe 0 -i {} -vf eq=brightness=0.1*sin(n/60):eval=frame,noise=alls=14:allf=t,format=yuv420p -r 1 -c:v libx264 \
         -preset ultrafast -crf 22 -g 10 -metadata creation_time=2026-11-23T09:00:00Z",
        home.path("list.txt").display()
    );
    (clip(&words, &home.path(name)), events)
}

fn truth(home: &Home, events: &[Event]) -> String {
    let mut csv = "label,start,end\n".to_owned();
    events.iter().for_each(|(label, from, to)| writeln!(csv, "{label},{from},{to}").unwrap());
    fs::write(home.path("truth.csv"), csv).unwrap();
    format!("--truth={}", home.path("truth.csv").display())
}

/// F1 of the alerts that `replay` prints, with a tolerance of one frame on both sides.
fn f1(output: &Output, events: &[Event], label: &str) -> f64 {
    let alerts = std::str::from_utf8(&output.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let raised = alerts.filter(|alert| alert["label"] == label && alert["state"] == "raised").map(|alert| {
        let time: jiff::Timestamp = alert["time"].as_str().unwrap().parse().unwrap();
        time.as_second() - "2026-11-23T09:00:00Z".parse::<jiff::Timestamp>().unwrap().as_second()
    });
    let raised = raised.collect::<Vec<_>>();
    let mut left = events.iter().filter(|(shown, ..)| *shown == label).collect::<Vec<_>>();
    let events = left.len();
    let mut right = 0;
    for second in &raised {
        let of = |(_, from, to): &&Event| (*from as i64 - 1..=*to as i64 + 1).contains(second);
        if let Some(found) = left.iter().position(of) {
            left.remove(found);
            right += 1;
        }
    }
    2.0 * f64::from(right) / (raised.len() + events) as f64
}

/// A home with much too high thresholds, in the short and in the long form, with comments.
fn badly_tuned() -> Home {
    let home = Home::new(1, "");
    let text = fs::read_to_string(home.path("stakeout.yaml")).unwrap();
    let labels = "labels:\n      red car: 0.99          # at the gate\n      # the old one\n      green tree:\n        threshold: 0.99      # high\n        \
                  cooldown: 1s\n      Blue Umbrella: 0.99";
    let text = text.replace("labels: { red car: 0.75, green tree: 0.75, Blue Umbrella: 0.75 }", labels);
    assert!(text.contains("at the gate"));
    fs::write(home.path("stakeout.yaml"), text).unwrap();
    home
}

#[test]
fn settings_learnt_on_one_recording_hold_on_another() {
    let minutes = std::env::var("TUNE_MINUTES").map_or(12, |minutes| minutes.parse().unwrap());
    let home = badly_tuned();
    let (first, events) = record(&home, "first.mp4", minutes, 1);
    let (second, others) = record(&home, "second.mp4", minutes, 2);
    let (first, second) = (first.to_str().unwrap(), second.to_str().unwrap());
    let before = run(&home, "replay", &[second]);
    let typed = fs::read_to_string(home.path("stakeout.yaml")).unwrap();

    let report = home.path("report.html");
    let output =
        run(&home, "tune", &[first, &truth(&home, &events), "--write", "--report", report.to_str().unwrap()]);
    assert!(output.status.success(), "{}", log(&output));
    eprintln!("{}\n{}", log(&output), String::from_utf8_lossy(&output.stdout));
    let patch = String::from_utf8(output.stdout).unwrap();
    assert!(
        patch.starts_with("label_sets:\n  objects:\n    labels:\n      # ")
            && patch.contains("      red car:\n        threshold: ")
    );
    let page = fs::read_to_string(report).unwrap();
    assert!(page.contains("<h2>objects / red car</h2>") && page.contains("class=\"chosen\""));

    let written = fs::read_to_string(home.path("stakeout.yaml")).unwrap();
    for kept in [
        "# at the gate\n",
        "      # the old one\n      green tree:\n        threshold: ",
        "      # high\n        cooldown: 1s\n",
    ] {
        assert!(written.contains(kept), "{written}");
    }
    assert_ne!(written, typed);
    let after = run(&home, "replay", &[second]);
    assert!(after.status.success(), "{}", log(&after));
    for label in WATCHED {
        let (before, after) = (f1(&before, &others, label), f1(&after, &others, label));
        eprintln!(
            "{label}: F1 on the other recording {before:.3} before, {after:.3} with the suggested settings"
        );
        assert!(after >= 0.95 && after > before, "{label}: {before} to {after}\n{written}");
    }

    let again = run(&home, "tune", &[first, &truth(&home, &events)]);
    assert!(
        !log(&again).contains("suggested: ")
            && String::from_utf8_lossy(&again.stdout).contains("good as it is"),
        "{}",
        log(&again)
    );
}

#[test]
fn without_truth_the_range_without_changes_is_found() {
    let home = Home::new(1, "");
    // Exceeded by nearly every frame.
    let text = fs::read_to_string(home.path("stakeout.yaml")).unwrap();
    let low = text.replace(
        "red car: 0.75, green tree: 0.75, Blue Umbrella: 0.75",
        "red car: 0.0005, green tree: 0.0005, Blue Umbrella: 0.0005",
    );
    assert_ne!(low, text);
    fs::write(home.path("stakeout.yaml"), low).unwrap();
    let (first, _) = record(&home, "first.mp4", 8, 3);
    let (second, others) = record(&home, "second.mp4", 8, 4);
    let report = home.path("report.html");
    let output =
        run(&home, "tune", &[first.to_str().unwrap(), "--write", "--report", report.to_str().unwrap()]);
    assert!(output.status.success(), "{}", log(&output));
    assert!(log(&output).contains("a day"), "{}", log(&output));
    plots_show_what_is_suggested(&fs::read_to_string(report).unwrap());
    let after = run(&home, "replay", &[second.to_str().unwrap()]);
    for label in WATCHED {
        let f1 = f1(&after, &others, label);
        assert!(f1 >= 0.95, "{label}: {f1}\n{}", log(&output));
    }
}

/// Of each label, the plot says how often the suggested threshold raises it, as the row of the table does.
fn plots_show_what_is_suggested(page: &str) {
    for section in page.split("<h2>objects / ").skip(1) {
        let between = |text: &str, from: &str, to: &str| {
            let (_, rest) = text.split_once(from).unwrap_or_else(|| panic!("{from} is missing: {section}"));
            rest.split_once(to).unwrap().0.to_owned()
        };
        let chosen = between(section, "<tr class=\"chosen\">", "</tr>");
        let threshold = between(&chosen, "<td>", "</td>");
        let alerts = between(&chosen, &format!("<td>{threshold}</td><td>"), "</td>");
        let times = if alerts == "1" { "once".to_owned() } else { format!("{alerts} times") };
        let title = format!("raised {times}; threshold {threshold}");
        assert!(section.contains(&title), "{title}: {section}");
        assert_ne!(alerts, "0");
    }
}

/// Without truth only the configured threshold says what a label looks like.
#[test]
fn a_label_that_is_not_seen_or_always_seen_is_unchanged() {
    let home = Home::new(1, "");
    let typed = fs::read_to_string(home.path("stakeout.yaml")).unwrap();
    let patch = |pictures: &[&str]| {
        let folder = tempfile::tempdir().unwrap();
        for (number, picture) in pictures.iter().enumerate() {
            fs::copy(sample(picture), folder.path().join(format!("{number}.jpg"))).unwrap();
        }
        let output = run(&home, "tune", &[folder.path().to_str().unwrap(), "--write"]);
        assert!(output.status.success(), "{}", log(&output));
        assert!(log(&output).contains("nothing to write"), "{}", log(&output));
        assert_eq!(fs::read_to_string(home.path("stakeout.yaml")).unwrap(), typed);
        String::from_utf8(output.stdout).unwrap()
    };
    let quiet = patch(&["empty-wall.jpg", "empty-corner.jpg", "empty-wall.jpg", "orange-star.jpg"]);
    for label in WATCHED {
        assert!(
            quiet.contains(&format!("# objects / {label}: not seen here, unchanged: its highest")),
            "{quiet}"
        );
    }
    let seen = patch(&["red-car.jpg"; 3]);
    assert!(seen.contains("# objects / red car: unchanged: all frames have the same score, "), "{seen}");
    assert!(seen.contains("# objects / green tree: not seen here, unchanged: "), "{seen}");
}

/// Cosine scores are close together, and a label may have its own settings on the source: both are found, and written there.
#[test]
fn cosine_thresholds_and_settings_of_a_source_are_tuned_in_place() {
    let home = badly_tuned();
    let text = fs::read_to_string(home.path("stakeout.yaml")).unwrap();
    let text = text.replace(
        "    labels:\n",
        "    scoring: cosine\n    rules: { any: red car or green tree }\n    labels:\n",
    );
    let text = text.replace("watch: [objects]", "watch: { objects: { red car: 0.98 } }");
    fs::write(home.path("stakeout.yaml"), &text).unwrap();
    let (first, events) = record(&home, "first.mp4", 8, 3);
    let (second, others) = record(&home, "second.mp4", 8, 4);
    let output = run(&home, "tune", &[first.to_str().unwrap(), &truth(&home, &events), "--write"]);
    assert!(output.status.success(), "{}", log(&output));
    assert!(log(&output).contains("`any` is a rule over labels"), "{}", log(&output));
    assert!(!log(&output).contains("take scores from each other"), "{}", log(&output));
    let patch = String::from_utf8(output.stdout).unwrap();
    assert!(patch.contains("sources:\n  Inbox:\n    watch:\n      objects:\n        # "), "{patch}");
    let written = fs::read_to_string(home.path("stakeout.yaml")).unwrap();
    assert!(
        written.contains("red car: 0.99          # at the gate"),
        "it is not that which counts here: {written}"
    );
    assert!(written.contains("watch: { objects: { red car: { threshold: 0."), "{written}");
    let after = run(&home, "replay", &[second.to_str().unwrap()]);
    assert!(after.status.success(), "{}", log(&after));
    for label in WATCHED {
        let f1 = f1(&after, &others, label);
        eprintln!("{label}: F1 on the other recording {f1:.3} with cosines");
        assert!(f1 >= 0.95, "{label}: {f1}\n{written}");
    }
}

#[test]
fn a_label_that_no_threshold_separates_is_reported_and_not_written() {
    let home = Home::new(1, "");
    let (video, _) = record(&home, "day.mp4", 6, 5);
    let events = (0..6).map(|number| ("red car", number * 60 + 1, number * 60 + 9)).collect::<Vec<_>>();
    let typed = fs::read_to_string(home.path("stakeout.yaml")).unwrap();
    let output = run(&home, "tune", &[video.to_str().unwrap(), &truth(&home, &events), "--write"]);
    assert!(output.status.success(), "{}", log(&output));
    let patch = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(patch.contains("# objects / red car: no threshold separates: at best ("), "{patch}");
    assert!(
        patch.contains("# objects / green tree: unchanged: it is never visible according to the truth"),
        "{patch}"
    );
    assert!(log(&output).contains("nothing to write"), "{}", log(&output));
    assert_eq!(fs::read_to_string(home.path("stakeout.yaml")).unwrap(), typed);
}

#[test]
fn a_wrong_truth_file_is_reported_line_by_line() {
    let home = Home::new(1, "");
    let picture = sample("red-car.jpg");
    let tune = |csv: &str| {
        fs::write(home.path("truth.csv"), csv).unwrap();
        let truth = format!("--truth={}", home.path("truth.csv").display());
        let output = run(&home, "tune", &[picture.to_str().unwrap(), &truth]);
        assert_eq!(output.status.code(), Some(1));
        log(&output)
    };
    assert!(tune("label,start,end\nred car,soon,2\n").contains("line 2: `soon` is not a time"));
    assert!(tune("label,start,end\nred cat,1,2\n").contains("line 2: there is no label `red cat`"));
}

/// Photographs and a model that was trained on photographs: a slide show of products, each for a few frames.
#[test]
fn photographs_are_separated_and_confused_labels_are_named() {
    let Some(model) = fixtures("mira-clip") else { return };
    let home = Home::new(1, "");
    let expected: Value = serde_json::from_slice(&fs::read(model.join("expected.json")).unwrap()).unwrap();
    let (mut list, mut csv) = ("ffconcat version 1.0\n".to_owned(), "label,start,end\n".to_owned());
    for (number, photo) in (0_u64..).zip(expected.as_array().unwrap()) {
        let file = model.join(format!("samples/{}.png", photo["id"].as_str().unwrap()));
        for _ in 0..4 {
            writeln!(list, "file '{}'\nduration 1", file.canonicalize().unwrap().display()).unwrap();
        }
        writeln!(csv, "{},{},{}", photo["label"].as_str().unwrap(), number * 4, number * 4 + 3).unwrap();
    }
    fs::write(home.path("list.txt"), list).unwrap();
    fs::write(home.path("truth.csv"), csv).unwrap();
    let words = "-vf format=yuv444p -r 1 -c:v libx264 -qp 1 -g 4";
    let video = clip(
        &format!("-f concat -safe 0 -i {} {words}", home.path("list.txt").display()),
        &home.path("a.mkv"),
    );
    let labels = expected[0]["labels"].as_array().unwrap().iter().map(|label| label.as_str().unwrap());
    let text = format!(
        "model: {}\nmqtt: {{ url: mqtt://h }}\nlabel_sets:\n  shop:\n    template: '{{}}'\n    labels: [{}]\nsources:\n  belt: {{ folder: ., watch: [shop] }}\n",
        model.canonicalize().unwrap().display(),
        labels.collect::<Vec<_>>().join(", ")
    );
    fs::write(home.path("stakeout.yaml"), text).unwrap();
    let truth = format!("--truth={}", home.path("truth.csv").display());
    let output = run(&home, "tune", &[video.to_str().unwrap(), &truth, "--write"]);
    assert!(output.status.success(), "{}", log(&output));
    eprintln!("{}\n{}", log(&output), String::from_utf8_lossy(&output.stdout));
    assert!(log(&output).contains("`topwear` and `bottomwear` differ by 0.0"), "{}", log(&output));
    let written = fs::read_to_string(home.path("stakeout.yaml")).unwrap();
    assert!(written.contains("bags: { threshold: 0.") && written.contains("labels: {shoes: ~"), "{written}");
    let check =
        stakeout().args(["check", "--offline", "--config"]).arg(home.path("stakeout.yaml")).output().unwrap();
    assert!(check.status.success(), "{}", log(&check));
}

/// The model does not know real rooms: `tune` must not claim that a label is separated, and must not fail.
#[test]
fn footage_unknown_to_the_model_gives_no_false_advice() {
    let (Some(model), Some(media)) = (fixtures("mira-clip"), fixtures("media")) else { return };
    let home = Home::new(1, "");
    let text = format!(
        "model: {}\nmqtt: {{ url: mqtt://h }}\nlabel_sets:\n  shop: {{ template: '{{}}', labels: [ties, lipstick, socks] }}\n\
         sources:\n  room: {{ folder: ., watch: [shop] }}\n",
        model.canonicalize().unwrap().display()
    );
    fs::write(home.path("stakeout.yaml"), text).unwrap();
    fs::write(home.path("truth.csv"), "label,start,end\nties,5,20\nties,60,80\nties,110,125\n").unwrap();
    let video = media.join("one-by-one-person-detection.mp4");
    let truth = format!("--truth={}", home.path("truth.csv").display());
    let output = run(&home, "tune", &[video.to_str().unwrap(), &truth]);
    eprintln!("{}\n{}", log(&output), String::from_utf8_lossy(&output.stdout));
    assert!(output.status.success(), "{}", log(&output));
    assert!(log(&output).contains("140 played") || log(&output).contains("139 played"), "{}", log(&output));
    assert!(String::from_utf8_lossy(&output.stdout).contains("# shop / ties: no threshold separates"));
}
