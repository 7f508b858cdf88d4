//! Clips that cameras upload into a watched folder, with the built service.

use std::{fs, path::Path};

use crate::common::{
    broker::{Broker, Subscriber},
    camera::clip,
    service::{Home, LABEL_SETS, Service, mqtt, sample},
    wait_until,
};

/// Three seconds: nothing, then a red car for a second.
fn car(file: &Path) {
    let words = format!(
        "-f lavfi -i color=c=gray:size=400x300:rate=5 -loop 1 -r 5 -i {} \
         -filter_complex [1:v]scale=400:300[car];[0:v][car]overlay=enable='between(t,1,2)' -t 3 -g 5 -pix_fmt yuv420p -c:v libx264",
        sample("red-car.jpg").display()
    );
    clip(&words, file);
}

/// A service whose folder has these settings.
fn serve(broker: &Broker, settings: &str) -> (Home, Service) {
    let home = Home::new(broker.port, "");
    fs::create_dir_all(home.path("inbox")).unwrap();
    let text = format!("{}\nstate_dir: state\n{LABEL_SETS}", mqtt(broker.port));
    let source = format!("sources:\n  inbox: {{ folder: inbox, watch: [objects]{settings} }}\n");
    fs::write(home.path("stakeout.yaml"), text + &source).unwrap();
    let service = Service::with(&home, &[("RUST_LOG", "debug")]);
    service.wait_until_watching();
    (home, service)
}

#[test]
fn a_clip_raises_alerts_and_is_moved_after_its_end() {
    let (broker, folder) = (Broker::start(), tempfile::tempdir().unwrap());
    let subscriber = Subscriber::start(&broker);
    let (home, mut service) = serve(&broker, ", every: 200ms, after: { move: done }");
    for name in ["2026-11-23_08-15-30.mp4", "second.mkv", "third.avi", "fourth.ts"] {
        let made = folder.path().join(name);
        car(&made);
        fs::copy(&made, home.path("inbox").join(name)).unwrap();
        let seen = subscriber.until("the alert of the clip", |message| {
            message.topic == "home/inbox/objects/red_car/alert" && message.text().contains(name)
        });
        let alert = seen.last().unwrap().text().to_owned();
        assert!(alert.contains(&format!("{name}#t=")), "{alert}");
        wait_until("the clip is moved", || home.path("done").join(name).exists());
        assert!(!home.path("inbox").join(name).exists());
    }
    service.stop();
    assert!(service.log().contains("to its end"), "{}", service.log());
}

#[test]
fn a_damaged_clip_is_reported_and_stays_and_pictures_do_not_wait() {
    let (broker, folder) = (Broker::start(), tempfile::tempdir().unwrap());
    let subscriber = Subscriber::start(&broker);
    let (home, mut service) = serve(&broker, ", every: 200ms, after: delete");
    let whole = folder.path().join("whole.mp4");
    car(&whole);
    let bytes = fs::read(&whole).unwrap();
    // An MP4 without its index, which is at the end.
    fs::write(home.path("inbox/cut.mp4"), &bytes[..bytes.len() / 2]).unwrap();
    fs::copy(sample("red-car.jpg"), home.path("inbox/car.jpg")).unwrap();
    subscriber.until("the alert of the picture", |message| {
        message.topic == "home/inbox/objects/red_car/alert" && message.text().contains("car.jpg")
    });
    service.wait_for_log("skipped a file that is no usable picture");
    service.wait_for_log("cut.mp4");
    assert!(home.path("inbox/cut.mp4").exists());
    service.stop();
}

#[test]
fn clips_are_ignored_on_request_and_the_stop_signal_interrupts_one() {
    let (broker, folder) = (Broker::start(), tempfile::tempdir().unwrap());
    let (home, mut service) = serve(&broker, ", clips: ignore, after: delete");
    let made = folder.path().join("a.mp4");
    car(&made);
    fs::copy(&made, home.path("inbox/a.mp4")).unwrap();
    fs::copy(sample("red-car.jpg"), home.path("inbox/car.jpg")).unwrap();
    wait_until("the picture is deleted", || !home.path("inbox/car.jpg").exists());
    service.stop();
    let log = service.log();
    assert!(home.path("inbox/a.mp4").exists() && !log.contains("played the clip"), "{log}");

    // Fifteen thousand frames, which take longer to score than the service may take to stop.
    let (home, mut service) = serve(&broker, ", every: 20ms, after: delete");
    let long = folder.path().join("long.mp4");
    clip("-f lavfi -i testsrc2=size=64x48:rate=50 -t 300 -g 50 -preset ultrafast -c:v libx264", &long);
    fs::copy(&long, home.path("inbox/long.mp4")).unwrap();
    service.wait_for_log("playing the clip");
    service.stop();
    assert!(home.path("inbox/long.mp4").exists(), "{}", service.log());
}
