//! `stakeout import`, with configurations as Frigate and go2rtc document them. `check` accepts every result.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Output,
};

use serde_json::Value;

use crate::common::stakeout;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/import").join(name)
}

/// Runs `import` in a folder where the values of all references are set.
fn import(folder: &Path, name: &str, arguments: &[&str]) -> Output {
    fs::copy(fixture(name), folder.join(name)).unwrap();
    let mut command = stakeout();
    command.args(["import", name]).args(arguments).current_dir(folder);
    with_values(&mut command);
    command.output().unwrap()
}

fn with_values(command: &mut std::process::Command) {
    for name in ["FRIGATE_MQTT_USER", "FRIGATE_MQTT_PASSWORD", "FRIGATE_RTSP_PASSWORD", "CAMERA_PASSWORD"] {
        command.env(name, "value");
    }
}

/// What is in force with the file that was written.
fn explained(folder: &Path) -> Value {
    let mut command = stakeout();
    command.args(["check", "--offline", "--config", "stakeout.yaml", "--explain", "--format", "json"]);
    with_values(&mut command);
    let output = command.current_dir(folder).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn log(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// That every text is in a line of the log that begins with the file and this line.
fn assert_noted(log: &str, file: &str, notes: &[(usize, &str)]) {
    for (line, text) in notes {
        let begin = format!("{file}:{line}: ");
        let noted = log.lines().any(|noted| noted.starts_with(&begin) && noted.contains(text));
        assert!(noted, "{begin}{text} is not in\n{log}");
    }
}

#[test]
fn frigate_0_13_has_pixels_and_a_broker_with_references() {
    let folder = tempfile::tempdir().unwrap();
    let output =
        import(folder.path(), "frigate-0.13.yml", &["--output", "stakeout.yaml", "--model", "bundled"]);
    let log = log(&output);
    assert_eq!(output.status.code(), Some(0), "{log}");
    assert!(log.ends_with("ok: `stakeout check` accepts it\n"), "{log}");
    assert!(
        log.contains("taken from Frigate: cameras 1, labels 2, label sets 1; left out or changed: "),
        "{log}"
    );
    assert_noted(
        &log,
        "frigate-0.13.yml",
        &[
            (6, "topics"),
            (8, "`detectors` is left out"),
            (13, "`ffmpeg` is left out"),
            (20, "`objects.filters` is left out"),
            (25, "records no video"),
            (30, "each alert has a snapshot"),
            (48, "only ignores motion"),
            (51, "the one around the polygon"),
            (53, "`objects` of the zone `front_steps`"),
        ],
    );
    let mode = fs::metadata(folder.path().join("stakeout.yaml")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let explained = explained(folder.path());
    let back = &explained["sources"]["back"];
    assert_eq!(back["rtsp"], "rtsp://10.0.10.10:554/cam/realmonitor?***");
    assert_eq!(back["mask"], serde_json::json!([[[0.0, 0.0], [1.0, 0.0], [1.0, 0.056], [0.0, 0.056]]]));
    assert_eq!(back["regions"]["frame"], serde_json::json!([0.0, 0.0, 1.0, 1.0]));
    assert_eq!(explained["mqtt"]["username"], "value");
    let labels = back["label_sets"]["objects"]["labels"].as_object().unwrap();
    assert_eq!(labels.keys().collect::<Vec<_>>(), ["person", "dog"]);
    assert_eq!(labels["dog"]["prompts"][0], "This is a photo of a dog.");
}

#[test]
fn frigate_0_16_has_fractions_and_streams_of_go2rtc() {
    let folder = tempfile::tempdir().unwrap();
    let output =
        import(folder.path(), "frigate-0.16.yml", &["--output", "stakeout.yaml", "--model", "bundled"]);
    let log = log(&output);
    assert_eq!(output.status.code(), Some(0), "{log}");
    assert!(log.ends_with("ok: `stakeout check` accepts it\n") && !log.contains("pass word"), "{log}");
    assert_noted(
        &log,
        "frigate-0.16.yml",
        &[
            (11, "`environment_vars` is left out"),
            (25, "write `history: { search: true }`"),
            (29, "recognizes no faces"),
            (32, "`review` is left out"),
            (42, "`ffmpeg.output_args` is left out"),
            (48, "restream `driveway_sub`"),
            (53, "`objects.mask` is left out"),
            (56, "only ignores motion"),
            (57, "`review` is left out"),
            (62, "the one around the polygon"),
            (64, "`distances` of the zone `street`"),
            (66, "no alert requires it"),
            (68, "does not move cameras"),
            (78, "`attic` is left out: it is not enabled"),
        ],
    );
    let explained = explained(folder.path());
    let driveway = &explained["sources"]["driveway"];
    assert_eq!(driveway["rtsp"], "rtsp://10.0.0.31:554/h264Preview_01_sub");
    assert_eq!(driveway["regions"], serde_json::json!({ "street": [0.033, 0.138, 0.406, 0.29] }));
    assert_eq!(driveway["home_assistant"]["name"], "Drive way");
    assert_eq!(driveway["watch"], serde_json::json!(["driveway"]));
    assert_eq!(explained["sources"]["gate"]["http"], "http://10.0.0.32/cgi-bin/snapshot.cgi?***");
    assert_eq!(explained["sources"]["gate"]["watch"], serde_json::json!(["objects"]));
    assert!(explained["sources"].get("attic").is_none());
    assert_eq!(explained["mqtt"]["url"], "mqtt://10.0.0.5:1884");
}

#[test]
fn go2rtc_has_streams_of_many_kinds() {
    let folder = tempfile::tempdir().unwrap();
    let options = [
        "--output",
        "stakeout.yaml",
        "--model",
        "bundled",
        "--broker",
        "mqtt://broker.lan",
        "--watch-for",
        "a fox",
    ];
    let output = import(folder.path(), "go2rtc.yaml", &options);
    let log = log(&output);
    assert_eq!(output.status.code(), Some(0), "{log}");
    assert!(log.ends_with("ok: `stakeout check` accepts it\n") && !log.contains("12345678"), "{log}");
    assert_noted(
        &log,
        "go2rtc.yaml",
        &[(2, "`api` is left out"), (19, "stakeout init --onvif"), (20, "a program is no address")],
    );
    let explained = explained(folder.path());
    let sources = explained["sources"].as_object().unwrap();
    let expected = [
        "sonoff_camera",
        "dahua_camera",
        "amcrest_doorbell",
        "unifi_camera",
        "rtmp_stream",
        "dahua_snap",
        "hls",
        "rotate",
        "linux_usbcam",
    ];
    assert_eq!(sources.keys().collect::<Vec<_>>(), expected);
    assert_eq!(sources["unifi_camera"]["tls"]["verify"], false);
    assert_eq!(sources["linux_usbcam"]["video"], "/dev/video0");
    let written = fs::read_to_string(folder.path().join("stakeout.yaml")).unwrap();
    assert!(written.contains("channel=1&subtype=1\""), "the low resolution: {written}");
    assert!(written.contains("rtsp://admin:${env:CAMERA_PASSWORD}@"), "{written}");
    assert_eq!(explained["mqtt"]["url"], "mqtt://broker.lan:1883");
}

#[test]
fn without_a_file_the_result_is_standard_output_and_an_existing_file_stays() {
    let folder = tempfile::tempdir().unwrap();
    let output = import(folder.path(), "go2rtc.yaml", &[]);
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    assert!(text.starts_with("# Made from a configuration of go2rtc"), "{text}");
    assert!(text.contains("model: openai/clip-vit-base-patch16"), "{text}");
    assert!(!log(&output).contains("Made from"), "{}", log(&output));

    fs::write(folder.path().join("mine.yaml"), "mine").unwrap();
    let refused = import(folder.path(), "go2rtc.yaml", &["--output", "mine.yaml"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(log(&refused).contains("exists already"), "{}", log(&refused));
    assert_eq!(fs::read_to_string(folder.path().join("mine.yaml")).unwrap(), "mine");
    let replaced = import(folder.path(), "go2rtc.yaml", &["--output", "mine.yaml", "--force"]);
    assert!(replaced.status.success());
    assert!(fs::read_to_string(folder.path().join("mine.yaml")).unwrap().contains("sources:"));
}

#[test]
fn another_file_is_refused_and_a_missing_variable_named() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("other.yaml"), "services: {}\n").unwrap();
    fs::write(folder.path().join("broken.yaml"), "cameras:\n  a: [\n").unwrap();
    for (name, why) in
        [("other.yaml", "neither Frigate"), ("broken.yaml", "line "), ("none.yaml", "cannot be read")]
    {
        let output = stakeout().args(["import", name]).current_dir(folder.path()).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{name}");
        assert!(log(&output).contains(why), "{name}: {}", log(&output));
    }
    fs::copy(fixture("frigate-0.13.yml"), folder.path().join("frigate.yml")).unwrap();
    let mut command = stakeout();
    command.args(["import", "frigate.yml", "--output", "stakeout.yaml"]).env_remove("FRIGATE_RTSP_PASSWORD");
    let output = command.current_dir(folder.path()).output().unwrap();
    assert!(output.status.success(), "the file is written, and its problem said");
    assert!(log(&output).contains("`FRIGATE_RTSP_PASSWORD` is not set"), "{}", log(&output));
}
