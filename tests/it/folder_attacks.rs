//! What a person with access to a watched folder does to the built service.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use crate::common::{
    broker::{Broker, Subscriber},
    service::{Home, LABEL_SETS, Service, mqtt, sample},
    skip, wait_until,
};

/// A service whose folder has these settings; with a private picture in its state folder, and outside of its folder.
fn home(broker: &Broker, settings: &str) -> Home {
    let home = Home::new(broker.port, "");
    let text = format!("{}\nstate_dir: state\n{LABEL_SETS}", mqtt(broker.port));
    let source = format!("sources:\n  inbox: {{ folder: inbox, watch: [objects]{settings} }}\n");
    fs::write(home.path("stakeout.yaml"), text + &source).unwrap();
    for folder in ["inbox/sub", "state", "private"] {
        fs::create_dir_all(home.path(folder)).unwrap();
    }
    for folder in ["state", "private"] {
        fs::copy(sample("blue-umbrella.jpg"), home.path(folder).join("private.jpg")).unwrap();
    }
    home
}

/// Waits for the alert of a new picture, which shows that the service handled everything before it. No alert is that of a private one.
fn alert_of(subscriber: &Subscriber, home: &Home, picture: &str, name: &str) {
    home.drop_picture(picture, name);
    subscriber.until(&format!("the alert of {name}"), |message| {
        let is_alert = message.topic.ends_with("/alert");
        assert!(!is_alert || !message.text().contains("private.jpg"), "a private picture was scored");
        is_alert && message.text().contains(name)
    });
}

fn private_pictures_are_untouched(home: &Home) {
    for folder in ["state", "private"] {
        let picture = fs::read(home.path(folder).join("private.jpg")).unwrap();
        assert_eq!(picture, fs::read(sample("blue-umbrella.jpg")).unwrap(), "{folder}");
    }
    assert!(home.path("state/outbox.sqlite").is_file());
}

#[test]
fn links_in_the_folder_are_neither_published_nor_deleted() {
    let broker = Broker::start();
    let subscriber = Subscriber::start(&broker);
    let home = home(&broker, ", existing: process, after: delete");
    let link = |name: &str| {
        symlink(home.path("private"), home.path("inbox").join(name)).unwrap();
        symlink(home.path("private/private.jpg"), home.path("inbox/sub").join(format!("{name}.jpg")))
            .unwrap();
    };
    link("existing");
    let mut service = Service::start(&home);
    service.wait_for_log("links are ignored");
    link("new");
    alert_of(&subscriber, &home, "red-car.jpg", "last.jpg");
    wait_until("the picture is deleted", || !home.path("inbox/last.jpg").exists());
    service.stop();
    private_pictures_are_untouched(&home);
}

#[test]
fn a_folder_that_becomes_a_link_while_pictures_are_deleted_leads_nowhere() {
    let broker = Broker::start();
    let subscriber = Subscriber::start(&broker);
    for (number, after) in ["delete", "{ move: inbox/done }"].into_iter().enumerate() {
        let home = home(&broker, &format!(", after: {after}"));
        let mut service = Service::start(&home);
        service.wait_until_watching();
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                let (sub, aside) = (home.path("inbox/sub"), home.path("inbox/.aside"));
                while !stop.load(Ordering::Relaxed) {
                    fs::rename(&sub, &aside).unwrap();
                    symlink(home.path("state"), &sub).unwrap();
                    fs::remove_file(&sub).unwrap();
                    fs::rename(&aside, &sub).unwrap();
                    // The names of the state folder's own files.
                    for name in ["outbox.sqlite", "private.jpg"] {
                        let _ = fs::copy(sample("empty-wall.jpg"), sub.join(name));
                    }
                }
            });
            for number in 0..20 {
                drop_until_taken(&home, number);
            }
            stop.store(true, Ordering::Relaxed);
        });
        alert_of(&subscriber, &home, "red-car.jpg", &format!("last-{number}.jpg"));
        service.stop();
        private_pictures_are_untouched(&home);
        let unexpected = |name: &str| name.ends_with(".jpg") && name != "private.jpg";
        let names = fs::read_dir(home.path("state")).unwrap().map(|file| file.unwrap().file_name());
        let names: Vec<_> =
            names.map(|name| name.into_string().unwrap()).filter(|name| unexpected(name)).collect();
        assert!(names.is_empty(), "moved into the state folder: {names:?}");
    }
}

/// Drops a picture, and waits until the service has deleted or moved it.
fn drop_until_taken(home: &Home, number: u32) {
    let name = format!("{number}.jpg");
    home.drop_picture("empty-wall.jpg", &name);
    wait_until("the picture is deleted or moved", || !home.path("inbox").join(&name).exists());
}

#[test]
fn a_pipe_with_the_name_of_a_picture_or_a_clip_never_stops_the_service() {
    let broker = Broker::start();
    let subscriber = Subscriber::start(&broker);
    let home = home(&broker, ", after: delete");
    let mut service = Service::start(&home);
    service.wait_until_watching();
    for number in 0..50 {
        for name in ["a.jpg", "clip.mp4"] {
            // A file that is noticed, and then is a pipe.
            let path = home.path("inbox").join(name);
            let _ = fs::remove_file(&path);
            fs::write(&path, format!("file {number}")).unwrap();
            let pipe = home.path("pipe");
            assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
            fs::rename(&pipe, &path).unwrap();
        }
    }
    alert_of(&subscriber, &home, "red-car.jpg", "last.jpg");
    service.stop();
}

#[test]
fn a_mount_of_the_state_folder_in_the_watched_folder_is_left_alone() {
    if !Command::new("unshare").args(["-rm", "true"]).status().is_ok_and(|status| status.success()) {
        return skip("a mount in a namespace of its own: this machine does not allow it");
    }
    let broker = Broker::start();
    let subscriber = Subscriber::start(&broker);
    for (number, after) in ["delete", "{ move: done }", "{ move: inbox/sub/done }"].into_iter().enumerate() {
        let home = home(&broker, &format!(", existing: process, after: {after}"));
        let text = fs::read_to_string(home.path("stakeout.yaml")).unwrap();
        fs::write(home.path("stakeout.yaml"), text.replace("state_dir: state", "state_dir: outer/state"))
            .unwrap();
        for folder in ["outer", "inbox/above"] {
            fs::create_dir(home.path(folder)).unwrap();
        }
        fs::rename(home.path("state"), home.path("outer/state")).unwrap();
        // The state folder, and the folder that it is in.
        let mounts = "mount --bind outer/state inbox/sub; mount --bind outer inbox/above";
        let mut service = Service::after(&home, Some("-rm"), mounts);
        if after.contains("sub") {
            service.wait_for_log("is in `state_dir`");
        } else {
            service.wait_until_watching();
            alert_of(&subscriber, &home, "red-car.jpg", &format!("last-{number}.jpg"));
            service.stop();
            assert!(home.path("outer/state/outbox.sqlite").is_file(), "{after}");
        }
        let picture = fs::read(home.path("outer/state/private.jpg")).unwrap();
        assert_eq!(picture, fs::read(sample("blue-umbrella.jpg")).unwrap(), "{after}");
        assert!(!home.path("outer/state/done").exists(), "{after}");
    }
}

/// As in a container, whose umask is that of its engine.
#[test]
fn only_the_service_reads_its_state_files_whatever_the_umask_is() {
    let broker = Broker::start();
    let subscriber = Subscriber::start(&broker);
    let home = home(&broker, "");
    let text = fs::read_to_string(home.path("stakeout.yaml")).unwrap();
    let text = text.replace("state_dir: state", "state_dir: kept\nhome_assistant: true");
    fs::write(
        home.path("stakeout.yaml"),
        text.replace("watch: [objects]", "watch: [objects], baseline: true"),
    )
    .unwrap();
    let files = |folder: &Path| {
        let mode = |file: fs::DirEntry| {
            // A file that is being replaced may be gone already.
            let mode = file.metadata().ok().filter(fs::Metadata::is_file)?.permissions().mode() & 0o777;
            Some(format!("{} {mode:o}", file.file_name().to_string_lossy()))
        };
        let mut files: Vec<_> =
            fs::read_dir(folder).unwrap().filter_map(|file| mode(file.unwrap())).collect();
        files.sort();
        files
    };
    for (round, picture) in [("new", "red-car.jpg"), ("older", "green-tree.jpg")] {
        let mut service = Service::after(&home, None, "umask 000");
        service.wait_until_watching();
        alert_of(&subscriber, &home, picture, &format!("{round}.jpg"));
        wait_until("the announcement is on disk", || home.path("kept/home_assistant.json").exists());
        let running = files(&home.path("kept"));
        service.stop();
        let ended = files(&home.path("kept"));
        for file in running.iter().chain(&ended) {
            assert!(file.ends_with(" 600"), "{round}: {file}");
        }
        let has = |name: &str| ended.iter().any(|file| file.starts_with(name));
        assert!(has("outbox.sqlite") && has("folder-") && has("home_assistant.json"), "{ended:?}");
        // As an earlier version left them.
        for file in fs::read_dir(home.path("kept")).unwrap() {
            fs::set_permissions(file.unwrap().path(), fs::Permissions::from_mode(0o666)).unwrap();
        }
    }
}
