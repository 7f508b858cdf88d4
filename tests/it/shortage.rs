//! Too many open files: nothing that cannot be opened for now counts as missing, damaged or invalid.

use std::{
    env, fs,
    path::Path,
    process::{Command, Stdio},
    thread::{sleep, spawn},
    time::Duration,
};

use rustix::process::{Resource, getrlimit, setrlimit};
use stakeout::{
    config::{self, Device, HubModel, ModelRef},
    model::hub::{self, HubError},
    shortage::Shortage,
    source::clips::is_video,
    state_file::StateFile,
    text_file,
    tls::{self, Trust},
};

use crate::common::{
    broker::{Broker, Subscriber, free_port},
    finish,
    service::{Home, LABEL_SETS, Service, mqtt, sample},
    stakeout, wait_until,
};

/// Names the folder for the process in which [`nothing_is_concluded_without_descriptors`] runs alone.
const ALONE: &str = "STAKEOUT_TEST_SHORTAGE";

/// The lowest number that is no descriptor of the process `id`: with it as the limit, the process can open nothing.
fn first_free(id: u32) -> u64 {
    let is_free = |number: &u64| Path::new(&format!("/proc/{id}/fd/{number}")).symlink_metadata().is_err();
    (0..).find(is_free).unwrap()
}

/// Sets the limit of open files of a running process.
fn limit(id: u32, files: u64) {
    let mut command = Command::new("prlimit");
    command.args(["--pid", &id.to_string(), &format!("--nofile={files}:")]);
    assert!(command.status().expect("the tests need util-linux").success());
}

#[test]
fn a_service_without_descriptors_skips_nothing_and_is_well_again() {
    let (broker, port) = (Broker::start(), free_port());
    let subscriber = Subscriber::start(&broker);
    let home = Home::new(broker.port, &format!("listen: 127.0.0.1:{port}\n"));
    let service = Service::start(&home);
    subscriber.until("the source to be online", |message| message.line() == "r home/inbox/status online");
    let is_well = || {
        let mut command = stakeout();
        command.args(["health", "--config"]).arg(home.path("stakeout.yaml"));
        finish(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()).status.success()
    };
    wait_until("the service is well", is_well);

    limit(service.id(), first_free(service.id()));
    // A picture, a clip and a folder that appear now, and a configuration that changes.
    home.drop_picture("red-car.jpg", "1.jpg");
    fs::create_dir(home.path("inbox/below")).unwrap();
    fs::write(home.path("inbox/below/2.mp4"), "no video").unwrap();
    // The file or its folder: whichever needs a descriptor first.
    service.wait_for_log("again soon: this process has too many open files for now");
    // The connection of the health check, for example, may be closed only now: its descriptor must not be free.
    let is_read_later = "the configuration is read again soon: this process has too many open files for now";
    wait_until("no descriptor is free", || {
        limit(service.id(), first_free(service.id()));
        service.signal("-HUP");
        service.log().contains(is_read_later)
    });
    let text = fs::read_to_string(home.path("stakeout.yaml")).unwrap();
    fs::write(home.path("new"), text.replace("Blue Umbrella: 0.75", "Blue Umbrella: 0.8")).unwrap();
    fs::rename(home.path("new"), home.path("stakeout.yaml")).unwrap();
    service.signal("-HUP");
    // Longer than a picture that is none, and a folder that cannot be read, would wait. On a slow machine fewer tries are in it, and
    // none of them may conclude anything.
    sleep(Duration::from_secs(5));
    let log = service.log();
    for conclusion in ["no usable picture", "is invalid", "cannot read the folder"] {
        assert!(!log.contains(conclusion), "{conclusion}: {log}");
    }
    // One answer at a time has a descriptor of its own.
    wait_until("the service answers", is_well);

    limit(service.id(), 1024);
    let raised = |message: &crate::common::broker::ReceivedMessage| {
        message.topic == "home/inbox/objects/red_car/alert" && message.text().contains(r#""state":"raised""#)
    };
    subscriber.until("the alert", raised);
    service.wait_for_log("the configuration has changed and is in force");
    service.wait_for_log("below/2.mp4: ");
}

#[test]
fn nothing_is_concluded_without_descriptors() {
    if let Some(folder) = env::var_os(ALONE) {
        return conclude(Path::new(&folder));
    }
    // In a process of its own, because the limit holds for all tests of a process.
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", "shortage::nothing_is_concluded_without_descriptors", "--nocapture"]);
    command.env(ALONE, folder.path()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = finish(command.spawn().unwrap());
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stdout));
}

/// Runs without a descriptor for another file.
fn without_descriptors<T>(work: impl FnOnce() -> T) -> T {
    let before = getrlimit(Resource::Nofile);
    let mut now = before;
    now.current = Some(first_free(std::process::id()));
    setrlimit(Resource::Nofile, now).unwrap();
    let done = work();
    setrlimit(Resource::Nofile, before).unwrap();
    done
}

fn conclude(folder: &Path) {
    let config = folder.join("stakeout.yaml");
    let sources = "sources:\n  Inbox: { folder: inbox, watch: [objects] }\n";
    fs::write(&config, format!("{}\nstate_dir: state\n{LABEL_SETS}{sources}", mqtt(1))).unwrap();
    let (text, picture) = (text_file::read(&config, 1 << 20), sample("red-car.jpg"));
    let model = ModelRef::Hub(HubModel::named("org/name"));
    assert!(text.is_ok() && config::load(&config).is_ok());
    assert!(matches!(hub::find(&model, Device::Cpu), Err(HubError::NotCached { .. })));

    without_descriptors(|| {
        assert_eq!(Shortage::now(), Some(Shortage::Files));
        assert_eq!(text_file::read(&config, 1 << 20).unwrap_err().shortage(), Some(Shortage::Files));
        assert_eq!(config::load(&config).unwrap_err().shortage(), Some(Shortage::Files));
        assert_eq!(is_video(&picture).err().as_ref().and_then(Shortage::of_io), Some(Shortage::Files));
        for trust in [Trust::System, Trust::Ca(config.clone())] {
            let error = tls::client_config(&trust, None, &[]).unwrap_err();
            assert!(matches!(error, tls::Error::NotNow { shortage: Shortage::Files }), "{error}");
        }
        let error = hub::find(&model, Device::Cpu).unwrap_err();
        assert!(
            matches!(&error, HubError::Disk { .. }) && error.to_string().contains("LimitNOFILE"),
            "{error}"
        );
    });
    assert!(config::load(&config).is_ok());

    // A state file is waited for, and not replaced by an empty one.
    fs::write(folder.join("a.json"), "[1,2]").unwrap();
    let before = getrlimit(Resource::Nofile);
    let mut now = before;
    now.current = Some(first_free(std::process::id()));
    setrlimit(Resource::Nofile, now).unwrap();
    let again = spawn(move || {
        sleep(Duration::from_millis(300));
        setrlimit(Resource::Nofile, before).unwrap();
    });
    let (_, value) = StateFile::load::<Vec<u32>>(folder, "a.json", "nothing is lost");
    again.join().unwrap();
    assert_eq!(value, [1, 2]);
}
