//! `stakeout replay`: recordings in, alerts out.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Output,
    time::{Duration, SystemTime},
};

use serde_json::Value;

use crate::common::{
    camera::clip,
    service::{Home, sample},
    stakeout,
};

fn replay(home: &Home, arguments: &[&Path]) -> Output {
    let mut command = stakeout();
    command.arg("replay").arg("--config").arg(home.path("stakeout.yaml")).args(arguments).env("TZ", "UTC");
    command.output().unwrap()
}

/// Copies a sample, captured `second` seconds after nine o'clock.
fn record(folder: &Path, name: &str, picture: &str, second: u64) {
    let path = folder.join(name);
    fs::copy(sample(picture), &path).unwrap();
    let nine = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_424_400);
    let file = fs::File::options().append(true).open(&path).unwrap();
    file.set_modified(nine + Duration::from_secs(second)).unwrap();
}

fn lines(output: &Output) -> Vec<String> {
    let lines = std::str::from_utf8(&output.stdout).unwrap().lines();
    let lines = lines.map(|line| serde_json::from_str::<Value>(line).unwrap()).map(|alert| {
        let word = |key: &str| alert[key].as_str().unwrap().to_owned();
        format!("{} {} {}", word("time"), word("label"), word("state"))
    });
    lines.collect()
}

#[test]
fn a_folder_is_played_by_its_own_times_and_always_with_the_same_result() {
    let home = Home::new(1, "");
    let day = home.path("day");
    fs::create_dir_all(day.join("later")).unwrap();
    record(&day, "z.jpg", "red-car.jpg", 0);
    record(&day, "a.jpg", "red-car-far-away.jpg", 1);
    record(&day.join("later"), "1.jpg", "empty-wall.jpg", 60);
    record(&day, "b.jpg", "green-tree.jpg", 61);
    fs::write(day.join(".thumbnails"), "not a recording").unwrap();

    let output = replay(&home, &[&day]);
    let expected = [
        "2026-11-23T09:00:00.000Z red car raised",
        "2026-11-23T09:01:00.000Z red car cleared",
        "2026-11-23T09:01:01.000Z green tree raised",
    ];
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(lines(&output), expected);
    assert_eq!(replay(&home, &[&day]).stdout, output.stdout, "to the letter");
}

#[test]
fn unplayable_files_are_reported_and_the_others_played() {
    let home = Home::new(1, "");
    record(&home.path(""), "car.jpg", "red-car.jpg", 0);
    fs::write(home.path("words.jpg"), "no picture").unwrap();
    let output = replay(&home, &[&home.path("words.jpg"), &home.path("car.jpg")]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(lines(&output), ["2026-11-23T09:00:00.000Z red car raised"]);
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(log.contains("words.jpg: ") && log.contains("1 played, 1 not"), "{log}");
}

#[test]
fn an_unknown_source_is_reported_with_the_known_ones() {
    let home = Home::new(1, "");
    let folder = home.path("");
    let output = replay(&home, &[Path::new("--source"), Path::new("Garage"), &folder]);
    assert_eq!(output.status.code(), Some(1));
    let log = String::from_utf8_lossy(&output.stderr);
    assert_eq!(log.trim_end(), "error: there is no source Garage; there are: Inbox");
}

/// A minute of an empty wall, with a red car in seconds 20 to 39; one frame a second, every fifth is a key frame.
fn minute(folder: &Path, name: &str, more: &str) -> PathBuf {
    let show = |picture: &str| format!("-loop 1 -framerate 1 -t 20 -i {}", sample(picture).display());
    let inputs = ["empty-wall.jpg", "red-car.jpg", "empty-wall.jpg"].map(show).join(" ");
    let joined = "[0][1][2]concat=n=3:v=1,scale=320:240,format=yuv420p";
    clip(
        &format!("{inputs} -filter_complex {joined} -c:v libx264 -preset ultrafast -qp 10 -g 5 {more}"),
        &folder.join(name),
    )
}

#[test]
fn a_video_is_played_by_the_time_of_its_file_and_its_frames_have_names() {
    let home = Home::new(1, "");
    let video = minute(&home.path(""), "day.mp4", "-metadata creation_time=2026-11-23T09:00:00Z");
    let output = replay(&home, &[&video]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let expected = ["2026-11-23T09:00:20.000Z red car raised", "2026-11-23T09:00:40.000Z red car cleared"];
    assert_eq!(lines(&output), expected);
    let first: Value =
        serde_json::from_slice(output.stdout.split(|byte| *byte == b'\n').next().unwrap()).unwrap();
    assert_eq!(first["frame"]["origin"], format!("{}#t=20.000", video.display()));
    assert_eq!((&first["frame"]["width"], &first["frame"]["height"]), (&320.into(), &240.into()));
    assert!(String::from_utf8_lossy(&output.stderr).contains("60 played, 0 not"));
    assert_eq!(replay(&home, &[&video]).stdout, output.stdout, "to the letter");
}

#[test]
fn the_time_of_a_video_comes_from_its_name_or_an_option_or_the_video_before_it() {
    let home = Home::new(1, "");
    let video = minute(&home.path(""), "a.mp4", "");
    let named = home.path("front_20261123_090000Z.mkv");
    clip(&format!("-i {} -c copy", video.display()), &named);
    let raised = |arguments: &[&Path]| {
        let output = replay(&home, arguments);
        let log = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{log}");
        let lines = lines(&output)
            .into_iter()
            .filter_map(|line| Some(line.strip_suffix(" red car raised")?.to_owned()));
        (lines.collect::<Vec<_>>(), log)
    };
    assert_eq!(raised(&[&named]).0, ["2026-11-23T09:00:20.000Z"]);
    let (lines, log) = raised(&[&video, &video]);
    assert_eq!(lines, ["1970-01-01T00:00:20.000Z", "1970-01-01T00:01:20.000Z"]);
    assert_eq!(log.matches("does not say when it was recorded").count(), 1, "{log}");
    let start = Path::new("--start=2026-11-23T10:00:00Z");
    assert_eq!(raised(&[start, &named, &video]).0, ["2026-11-23T10:00:20.000Z", "2026-11-23T10:01:20.000Z"]);
}

#[test]
fn a_label_set_that_the_model_refuses_is_an_invalid_configuration() {
    let home = Home::new(1, "");
    let text = fs::read_to_string(home.path("stakeout.yaml")).unwrap();
    let alone =
        text.replace("labels: { red car: 0.75, green tree: 0.75, Blue Umbrella: 0.75 }", "labels: [red car]");
    let alone = alone.replace("background: [an empty scene, a plain background, something else]", "");
    fs::write(home.path("stakeout.yaml"), alone).unwrap();
    let output = replay(&home, &[&sample("red-car.jpg")]);
    let log = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(78), "{log}");
    assert!(log.contains("stakeout.yaml:") && log.contains("one label and no background"), "{log}");
}

/// A home with these label sets, and a minute with a car in the middle.
fn with_label_sets(label_sets: &str) -> (Home, PathBuf) {
    let home = Home::new(1, "");
    let text = format!(
        "mqtt: {{ url: mqtt://h, prefix: home }}\nstate_dir: state\nlabel_sets:\n{label_sets}\nsources:\n  Inbox: {{ folder: inbox, watch: [objects] }}\n"
    );
    fs::write(home.path("stakeout.yaml"), text).unwrap();
    let video = minute(&home.path(""), "a.mp4", "-metadata creation_time=2026-11-23T09:00:00Z");
    (home, video)
}

const CAR: [&str; 2] =
    ["2026-11-23T09:00:20.000Z red car raised", "2026-11-23T09:00:40.000Z red car cleared"];

#[test]
fn a_rule_over_labels_alerts_and_is_plotted() {
    let (home, video) = with_label_sets(
        "  objects:\n    template: a photo of {}\n    background: [an empty scene, a plain background]\n    \
         labels: { red car: 0.75, green tree: 0.75 }\n    \
         rules:\n      lonely car: red car and not green tree\n      quiet: { when: not (red car or green tree), for: 5s, message: \"{label}\" }",
    );
    let plot = format!("--plot={}", home.path("plot.html").display());
    let output = replay(&home, &[Path::new(&plot), &video]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let expected = [
        "2026-11-23T09:00:05.000Z quiet raised",
        CAR[0],
        "2026-11-23T09:00:20.000Z lonely car raised",
        "2026-11-23T09:00:20.000Z quiet cleared",
        CAR[1],
        "2026-11-23T09:00:40.000Z lonely car cleared",
        "2026-11-23T09:00:45.000Z quiet raised",
    ];
    assert_eq!(lines(&output), expected);
    let lines = output.stdout.split(|byte| *byte == b'\n');
    let alerts: Vec<Value> = lines.filter_map(|line| serde_json::from_slice(line).ok()).collect();
    assert_eq!((&alerts[0]["message"], &alerts[0]["score"]), (&"quiet".into(), &Value::Null));
    assert_eq!(alerts[2]["when"], "red car and not green tree");
    assert!(alerts[2]["scores"]["red car"].as_f64() > Some(0.75), "{}", alerts[2]);
    let page = fs::read_to_string(home.path("plot.html")).unwrap();
    assert!(
        page.contains("objects / lonely car: raised once")
            && page.contains("objects / quiet: raised 2 times"),
        "{page}"
    );
}

#[test]
fn templates_and_scorings_change_the_scores() {
    let labels = "labels: { red car: LEVEL, green tree: LEVEL }";
    let set = |settings: &str, level: &str| {
        let text = format!("  objects:\n    {settings}\n    {labels}").replace("LEVEL", level);
        let (home, video) = with_label_sets(&text);
        replay(&home, &[&video])
    };
    for (settings, level) in [
        ("background: [an empty scene, a plain background]\n    templates: [photo, plain]", "0.75"),
        ("background: [an empty scene, a plain background]\n    scoring: softmax", "0.75"),
    ] {
        let output = set(settings, level);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(lines(&output), CAR, "{settings}");
    }
    // With cosine scores, one label without background is allowed.
    let (home, video) = with_label_sets("  objects: { scoring: cosine, labels: { red car: 0.5 } }");
    let output = replay(&home, &[&video]);
    let first: Value =
        serde_json::from_slice(output.stdout.split(|byte| *byte == b'\n').next().unwrap()).unwrap();
    assert_eq!(lines(&output), CAR, "{first}");
    assert!((0.5..0.999).contains(&first["score"].as_f64().unwrap()), "{first}");

    let refused = set("scoring: sigmoid", "0.5");
    let log = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(78), "{log}");
    assert!(log.contains("stakeout.yaml:5:14") && log.contains("use `scoring: cosine`"), "{log}");
}

#[test]
fn a_file_that_is_no_video_is_reported_whatever_its_name() {
    let home = Home::new(1, "");
    fs::write(home.path("words.mp4"), "no video").unwrap();
    let output = replay(&home, &[&home.path("words.mp4"), &sample("red-car.jpg")]);
    let log = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), lines(&output).len()), (Some(1), 1), "{log}");
    assert!(log.contains("words.mp4 cannot be opened") && log.contains("1 played, 1 not"), "{log}");
}

#[test]
fn the_format_of_a_plot_follows_its_name_and_its_content_is_always_the_same() {
    let home = Home::new(1, "");
    let video = minute(&home.path(""), "day.mp4", "-metadata creation_time=2026-11-23T09:00:00Z");
    let plot = |name: &str| {
        let file = home.path(name);
        let argument = format!("--plot={}", file.display());
        let output = replay(&home, &[Path::new(&argument), &video]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(lines(&output).len(), 2);
        fs::read(file).unwrap()
    };
    let svg = String::from_utf8(plot("plot.svg")).unwrap();
    assert!(svg.contains("objects / red car: raised once; threshold 0.75"), "{svg}");
    assert!(
        svg.contains("objects / green tree: raised 0 times") && svg.contains("2026-11-23 09:00:59 +00:00")
    );
    assert!(svg.contains("data:image/jpeg;base64,") && svg.contains("day.mp4#t="));
    assert!(plot("again.svg") == svg.as_bytes(), "to the letter");
    let page = String::from_utf8(plot("plot.html")).unwrap();
    assert_eq!((page.matches("<svg").count(), page.matches("application/json").count()), (3, 3));

    for other in ["--plot=plot.png", "--plot=plot.pdf"] {
        let output = replay(&home, &[Path::new(other), &video]);
        assert_eq!(output.status.code(), Some(64), "{other}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("ends in .svg or .html"), "{other}");
    }
}
