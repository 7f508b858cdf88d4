//! `stakeout init`: a first configuration from options and from answers, with a camera that speaks ONVIF.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Output, Stdio},
    time::Duration,
};

use jiff::SignedDuration;
use stakeout::onvif;

use crate::common::{
    broker::{Broker, free_port},
    finish,
    onvif::{Look, Onvif},
    skip, stakeout,
};

/// Runs `init` in a folder, with these answers.
fn init(folder: &Path, arguments: &[&str], answers: &str) -> Output {
    let mut command = stakeout();
    command.arg("init").args(["--output", "stakeout.yaml"]).args(arguments).current_dir(folder);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = command.spawn().unwrap();
    process.stdin.take().unwrap().write_all(answers.as_bytes()).unwrap();
    finish(process)
}

fn written(folder: &Path) -> String {
    fs::read_to_string(folder.join("stakeout.yaml")).unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// What `stakeout check` says about the file that was written.
fn checked(folder: &Path) -> (Option<i32>, String) {
    let output = stakeout()
        .args(["check", "--offline", "--config", "stakeout.yaml"])
        .current_dir(folder)
        .output()
        .unwrap();
    (output.status.code(), said(&output))
}

#[test]
fn a_camera_is_found_and_its_low_resolution_stream_written() {
    let (broker, camera) = (Broker::start(), Onvif::start(Look::default()));
    let folder = tempfile::tempdir().unwrap();
    let (url, probe) = (format!("mqtt://127.0.0.1:{}", broker.port), camera.probe.to_string());
    let options =
        [
            &[
                "--yes",
                "--broker",
                &url,
                "--discover",
                "--probe",
                &probe,
                "--wait",
                "1",
                "--model",
                "bundled",
            ][..],
            &[
                "--username",
                "viewer",
                "--password",
                "hunter2",
                "--watch-for",
                "a package by the door",
                "--no-scores",
            ],
        ]
        .concat();
    let output = init(folder.path(), &options, "");
    let log = said(&output);
    assert_eq!(output.status.code(), Some(0), "{log}");
    for expected in
        ["accepts the connection.", "Front Door, Stand-in", "main, 1920x1080, H264", "Taken: rtsp://"]
    {
        assert!(log.contains(expected), "{expected:?} in {log}");
    }
    assert!(!log.contains("hunter2"), "{log}");
    let text = written(folder.path());
    for expected in [
        "  Front Door:\n    rtsp: \"rtsp://127.0.0.1:8554/sub?a=1&b=2\"\n    username: viewer\n    password: hunter2",
        "      package by the door: { prompts: [a package by the door]",
        "    watch: [objects]\n",
    ] {
        assert!(text.contains(expected), "{expected:?} in {text}");
    }
    assert_eq!(
        fs::metadata(folder.path().join("stakeout.yaml")).unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert_eq!(checked(folder.path()), (Some(0), "ok: 1 source, 1 label set, 1 label\n".to_owned()));
}

#[test]
fn a_camera_is_asked_with_its_own_time_and_at_its_own_host() {
    let look = Look { ahead: SignedDuration::from_hours(5), reports: "192.0.2.7", ..Look::default() };
    let camera = Onvif::start(look);
    let login = onvif::Login {
        username: "viewer".to_owned(),
        password: stakeout::config::Secret::new("hunter2".to_owned()),
    };
    let address = format!("127.0.0.1:{}", camera.port);
    let profiles = onvif::profiles(&address, Some(&login)).unwrap();
    let preferred = onvif::preferred(&profiles).unwrap();
    assert_eq!((&*preferred.name, preferred.size), ("sub", Some((640, 360))));
    assert_eq!(preferred.stream.as_deref(), Some("rtsp://127.0.0.1:8554/sub?a=1&b=2"));
    assert_eq!(preferred.snapshot, Some(format!("http://{address}/snapshot.jpg")));
    let requests = camera.requests();
    assert_eq!(requests[..3], ["GetSystemDateAndTime", "GetCapabilities", "GetProfiles"]);
    assert_eq!(requests.len(), 7, "{requests:?}");

    let error = |login: Option<&onvif::Login>| onvif::profiles(&address, login).unwrap_err();
    assert!(matches!(error(None), onvif::OnvifError::NoLogin(_)));
    let wrong = onvif::Login { username: "other".to_owned(), ..login };
    assert!(matches!(error(Some(&wrong)), onvif::OnvifError::Denied(_)));
    let away = onvif::profiles(&format!("127.0.0.1:{}", free_port()), None).unwrap_err();
    assert!(matches!(away, onvif::OnvifError::Unreachable { .. }), "{away:?}");
}

#[test]
fn a_camera_that_gives_no_address_writes_nothing() {
    let (camera, folder) = (Onvif::start(Look::default()), tempfile::tempdir().unwrap());
    let (broker, host) = (format!("mqtt://127.0.0.1:{}", free_port()), format!("127.0.0.1:{}", camera.port));
    let options =
        ["--yes", "--broker", &broker, "--onvif", &host, "--username", "viewer", "--password", "wrong"];
    let output = init(folder.path(), &options, "");
    let log = said(&output);
    assert_eq!(output.status.code(), Some(1), "{log}");
    assert!(
        log.contains("does not accept this user and password") && log.contains("nothing is written"),
        "{log}"
    );
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn answers_are_taken_in_lines_and_their_end_leaves_nothing() {
    let (broker, camera) = (Broker::start(), Onvif::start(Look::default()));
    let folder = tempfile::tempdir().unwrap();
    let broker = format!("mqtt://127.0.0.1:{}", broker.port);
    let probe = camera.probe.to_string();
    let options = ["--discover", "--probe", &probe, "--wait", "1", "--model", "bundled", "--no-scores"];
    // The broker, all cameras, user, password, name, no more cameras, words, Home Assistant, write.
    let answers = format!("{broker}\nall\nviewer\nhunter2\nFront\n\na red car\n\nn\ny\n");
    let cut = answers.rfind("y\n").unwrap();
    let output = init(folder.path(), &options, &answers[..cut]);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains("the input has ended: nothing is written"), "{}", said(&output));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);

    let output = init(folder.path(), &options, &answers);
    let log = said(&output);
    assert_eq!(output.status.code(), Some(0), "{log}");
    assert!(log.contains("wants a user and a password") && !log.contains("hunter2"), "{log}");
    assert!(written(folder.path()).contains("  Front:\n    rtsp: "), "{log}");
    assert_eq!(checked(folder.path()).0, Some(0));

    // An existing file is replaced only with a word.
    let before = written(folder.path());
    let output = init(folder.path(), &options, "n\n");
    assert!(output.status.success() && said(&output).contains("Nothing is written."), "{}", said(&output));
    let refused = init(folder.path(), &["--yes"], "");
    assert_eq!(refused.status.code(), Some(1));
    assert!(said(&refused).contains("add --force"), "{}", said(&refused));
    assert_eq!(written(folder.path()), before);
}

#[test]
fn the_scores_of_a_frame_are_shown_at_once() {
    let (camera, folder) = (Onvif::start(Look::default()), tempfile::tempdir().unwrap());
    let broker = format!("mqtt://127.0.0.1:{}", free_port());
    let picture = format!("street=http://127.0.0.1:{}/snapshot.jpg", camera.port);
    let away = format!("away=http://127.0.0.1:{}/snapshot.jpg", free_port());
    let options = [
        &["--yes", "--broker", &broker, "--model", "bundled", "--camera", &picture, "--camera", &away][..],
        &["--watch-for", "a red car", "--watch-for", "a green tree"],
    ]
    .concat();
    let output = init(folder.path(), &options, "");
    let (scores, log) = (String::from_utf8(output.stdout.clone()).unwrap(), said(&output));
    assert_eq!(output.status.code(), Some(0), "{log}");
    assert!(scores.starts_with("street (400x300)\n"), "{scores}{log}");
    let score = |label: &str| -> f32 {
        let line = scores.lines().find(|line| line.trim_start().starts_with(label)).unwrap();
        line.split_whitespace().rev().nth(1).unwrap().parse().unwrap()
    };
    assert!(score("red car") > 50.0 && score("green tree") < 50.0, "{scores}");
    assert!(log.contains("Not connected to mqtt://") && log.contains("away gives no picture yet"), "{log}");
    assert_eq!(checked(folder.path()).0, Some(0), "cameras and a broker may be off");
}

#[test]
fn the_search_reaches_devices_of_the_network() {
    let Some(camera) = Onvif::in_group(Look::default()) else {
        return skip("the port or the multicast group of WS-Discovery cannot be used here");
    };
    let address = format!("http://127.0.0.1:{}/onvif/device_service", camera.port);
    match onvif::discover(onvif::GROUP, Duration::from_secs(2)) {
        Ok(found) if found.iter().any(|camera| camera.addresses.contains(&address)) => {}
        Ok(_) => skip("multicast of this machine does not come back to it"),
        Err(error) => skip(&format!("a probe to the multicast group cannot be sent here: {error}")),
    }
}
