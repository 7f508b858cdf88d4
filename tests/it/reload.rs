//! Changes of the configuration while the service runs: they take effect, and nothing else is affected.

use std::{
    fs,
    os::unix::{fs::symlink, net::UnixDatagram},
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use serde_json::Value;

use crate::common::{
    PATIENCE,
    broker::{Broker, ReceivedMessage, Subscriber},
    service::{Home, Service, mqtt, sample},
};

const LABELS: &str = "red car: 0.75, green tree: 0.75";
const MORE_LABELS: &str = "red car: 0.75, green tree: 0.75, Blue Umbrella: 0.75";
const INBOX: &str = "  Inbox: { folder: inbox, watch: [objects] }\n";
const RED_CAR: &str = "home/inbox/objects/red_car";
const NEW_STATE: &str = "home/inbox/objects/blue_umbrella/state";
const CONFIG: &str = "home/config/status";

/// The configuration of [`Home::new`] with these labels and these sources.
fn text(broker: &Broker, labels: &str, sources: &str) -> String {
    format!(
        "{}\nstate_dir: state\nlabel_sets:\n  objects:\n    \
         template: a photo of {{}}\n    background: [an empty scene, a plain background, something else]\n    \
         labels: {{ {labels} }}\nsources:\n{sources}",
        mqtt(broker.port)
    )
}

/// Saves as editors do: writes a new file and renames it.
fn save(home: &Home, text: &str) {
    fs::write(home.path("new"), text).unwrap();
    fs::rename(home.path("new"), home.path("stakeout.yaml")).unwrap();
}

fn is(topic: &'static str, text: &'static str) -> impl Fn(&ReceivedMessage) -> bool {
    move |message| message.topic == topic && message.text() == text
}

fn topic(topic: &'static str) -> impl Fn(&ReceivedMessage) -> bool {
    move |message| message.topic == topic
}

/// Source, label and state of each alert.
fn states(messages: &[ReceivedMessage]) -> Vec<String> {
    let alerts = messages.iter().filter(|message| message.topic.ends_with("/alert"));
    let alerts = alerts.map(|alert| serde_json::from_slice::<Value>(&alert.payload).unwrap());
    let word = |value: &Value| value.as_str().unwrap().to_owned();
    let line = |alert: Value| {
        format!("{} {} {}", word(&alert["source"]), word(&alert["label"]), word(&alert["state"]))
    };
    alerts.map(line).collect()
}

/// A service that watches `inbox` for [`LABELS`]; `write` writes its configuration.
fn start(write: impl FnOnce(&Home, &str)) -> (Broker, Subscriber, Home, Service) {
    let broker = Broker::start();
    let subscriber = Subscriber::start(&broker);
    let home = Home::new(broker.port, "");
    write(&home, &text(&broker, LABELS, INBOX));
    let service = Service::with(&home, &[("RUST_LOG", "stakeout=debug")]);
    subscriber.until("the source to be online", is("home/inbox/status", "online"));
    (broker, subscriber, home, service)
}

/// Adds a label with `save`; it is watched, and the source was not restarted.
fn is_noticed(write: impl FnOnce(&Home, &str), save: impl FnOnce(&Home, &str)) {
    let (broker, subscriber, home, service) = start(write);
    save(&home, &text(&broker, MORE_LABELS, INBOX));
    let seen = subscriber.until("the new label's state", is(NEW_STATE, "OFF"));
    assert!(!seen.iter().any(topic("home/inbox/status")), "the source was not restarted: {seen:#?}");
    home.drop_picture("blue-umbrella.jpg", "1.jpg");
    subscriber.until("the alert of the new label", topic("home/inbox/objects/blue_umbrella/alert"));
    service.wait_for_log("the configuration has changed and is in force");
}

fn in_place(home: &Home, text: &str) {
    fs::write(home.path("stakeout.yaml"), text).unwrap();
}

/// Creates or replaces a symbolic link in one step.
fn link(target: impl AsRef<Path>, path: &Path) {
    let beside = path.with_file_name("link");
    symlink(target, &beside).unwrap();
    fs::rename(beside, path).unwrap();
}

#[test]
fn a_file_that_is_written_in_place_is_noticed() {
    is_noticed(in_place, in_place);
}

#[test]
fn a_file_that_is_replaced_by_a_rename_is_noticed() {
    is_noticed(in_place, save);
}

#[test]
fn a_replaced_symbolic_link_is_noticed_and_so_is_a_change_of_its_target() {
    let to_version = |version: &'static str| {
        move |home: &Home, text: &str| {
            fs::create_dir_all(home.path("versions")).unwrap();
            fs::write(home.path("versions").join(version), text).unwrap();
            let target = Path::new("versions").join(version);
            if fs::read_link(home.path("stakeout.yaml")).ok().as_deref() != Some(&target) {
                link(target, &home.path("stakeout.yaml"));
            }
        }
    };
    is_noticed(to_version("1.yaml"), to_version("2.yaml"));
    is_noticed(to_version("1.yaml"), to_version("1.yaml"));
}

#[test]
fn a_folder_replaced_as_by_kubernetes_is_noticed() {
    let version = |number: &'static str| {
        move |home: &Home, text: &str| {
            fs::create_dir(home.path(number)).unwrap();
            fs::write(home.path(number).join("stakeout.yaml"), text).unwrap();
            link(number, &home.path("..data"));
            link("..data/stakeout.yaml", &home.path("stakeout.yaml"));
        }
    };
    let replaced = |home: &Home, text: &str| {
        fs::create_dir(home.path("..2")).unwrap();
        fs::write(home.path("..2/stakeout.yaml"), text).unwrap();
        link("..2", &home.path("..data"));
        fs::remove_dir_all(home.path("..1")).unwrap();
    };
    is_noticed(version("..1"), replaced);
}

#[test]
fn an_invalid_edit_is_reported_changes_nothing_and_can_be_repaired() {
    let (broker, subscriber, home, service) = start(save);
    save(&home, &text(&broker, "red car: { treshold: 0.75 }, Blue Umbrella: 0.75", INBOX));
    let seen = subscriber.until("the status invalid", topic(CONFIG));
    let seen = seen.last().unwrap();
    assert!(seen.retain);
    let json: Value = serde_json::from_slice(&seen.payload).unwrap();
    assert_eq!(json["state"], "invalid");
    let problems = json["problems"].as_str().unwrap();
    for words in ["stakeout.yaml:7:", "treshold", "did you mean `threshold`?", "^^^^", "1 problem found"] {
        assert!(problems.contains(words), "{words:?} is missing in {problems}");
    }
    service.wait_for_log("the previous one stays in force");
    service.wait_for_log(problems);

    home.drop_picture("red-car.jpg", "1.jpg");
    let seen = subscriber.until_switched(RED_CAR, "ON");
    assert!(!seen.iter().any(topic(NEW_STATE)), "{seen:#?}");

    save(&home, "not a configuration");
    subscriber.until("another problem", topic(CONFIG));
    let later = Subscriber::start(&broker);
    later.until("what is retained", |message| message.topic == CONFIG && message.text().contains("invalid"));

    save(&home, &text(&broker, MORE_LABELS, INBOX));
    let seen = subscriber.until("the status ok", is(CONFIG, r#"{"state":"ok"}"#));
    assert_eq!(states(&seen), Vec::<String>::new(), "the car stays raised");
    if !seen.iter().any(is(NEW_STATE, "OFF")) {
        subscriber.until("the new label", is(NEW_STATE, "OFF"));
    }
}

#[test]
fn a_label_set_that_the_model_refuses_is_an_invalid_edit_too() {
    let (broker, subscriber, home, service) = start(save);
    let alone = text(&broker, "red car: 0.75", INBOX)
        .replace("    background: [an empty scene, a plain background, something else]\n", "");
    save(&home, &alone);
    let seen = subscriber.until("the status invalid", topic(CONFIG));
    let seen = seen.last().unwrap().text();
    assert!(seen.contains("always be 1.0") && seen.contains("stakeout.yaml:4:"), "{seen}");
    save(&home, &text(&broker, LABELS, INBOX));
    subscriber.until("the status ok", is(CONFIG, r#"{"state":"ok"}"#));
    service.wait_for_log("the configuration is valid again");
}

#[test]
fn a_file_of_sources_is_added_and_removed_and_takes_the_defaults() {
    const GATE: &str = "sources:\n  gate: { folder: gate, area: Yard }\n";
    let (broker, subscriber, home, service) = start(save);
    fs::create_dir(home.path("gate")).unwrap();
    fs::create_dir(home.path("sources.d")).unwrap();
    save(&home, &format!("{}defaults: {{ watch: [objects] }}\n", text(&broker, LABELS, INBOX)));
    fs::write(home.path("sources.d/gate.yaml"), GATE).unwrap();
    subscriber.until("the new source", is("home/gate/status", "online"));
    fs::copy(sample("red-car.jpg"), home.path("gate/1.jpg")).unwrap();
    let seen = subscriber.until("its alert", topic("home/gate/objects/red_car/alert"));
    assert!(seen.last().unwrap().text().contains(r#""area":"Yard""#), "{seen:#?}");

    fs::remove_file(home.path("sources.d/gate.yaml")).unwrap();
    subscriber.until("the removed source", is("home/gate/status", ""));
    service.wait_for_log("has changed and is in force");
}

#[test]
fn a_rules_file_is_added_and_removed() {
    const RULES: &str = "label_sets:\n  more:\n    template: a photo of {}\n    background: [an empty scene]\n    \
                         labels: { Blue Umbrella: 0.75 }\n";
    const STATE: &str = "home/inbox/more/blue_umbrella/state";
    let (broker, subscriber, home, service) = start(save);
    fs::create_dir(home.path("rules.d")).unwrap();
    fs::write(home.path("rules.d/more.yaml"), RULES).unwrap();
    service.wait_for_log("label_sets=2");
    let both = "  Inbox: { folder: inbox, watch: [objects, more] }\n";
    save(&home, &text(&broker, LABELS, both));
    subscriber.until("the new label set", is(STATE, "OFF"));
    home.drop_picture("blue-umbrella.jpg", "1.jpg");
    subscriber.until_switched("home/inbox/more/blue_umbrella", "ON");

    fs::write(home.path("rules.d/more.yaml"), RULES.replace("0.75", "0.8")).unwrap();
    // The third change: the file of rules and the watched set were the first two.
    service.wait_for_times(3, "has changed and is in force");
    fs::remove_file(home.path("rules.d/more.yaml")).unwrap();
    let seen = subscriber.until("the report that the label set is missing", topic(CONFIG));
    assert!(seen.last().unwrap().text().contains("more"), "{seen:#?}");

    save(&home, &text(&broker, LABELS, INBOX));
    let mut seen = subscriber.until("the state to be deleted", is(STATE, ""));
    subscriber.also(&mut seen, "the status ok", is(CONFIG, r#"{"state":"ok"}"#));
    subscriber.also(&mut seen, "the alert", topic("home/inbox/more/blue_umbrella/alert"));
    seen.extend(subscriber.so_far(&broker));
    assert_eq!(states(&seen), ["Inbox Blue Umbrella cleared"], "removed while it was raised");
}

#[test]
fn a_source_is_added_and_removed_and_the_others_keep_their_state() {
    let (broker, subscriber, home, mut service) = start(save);
    home.drop_picture("red-car.jpg", "1.jpg");
    subscriber.until_switched(RED_CAR, "ON");

    fs::create_dir(home.path("yard")).unwrap();
    let both = format!("{INBOX}  Yard: {{ folder: yard, watch: [objects] }}\n");
    save(&home, &text(&broker, &LABELS.replace("red car: 0.75", "red car: 0.7"), &both));
    let mut seen = subscriber.until("the new source", is("home/yard/status", "online"));
    home.drop_picture("red-car.jpg", "2.jpg");
    service.wait_for_log("/2.jpg");
    fs::copy(home.path("inbox/1.jpg"), home.path("yard/3.jpg")).unwrap();
    seen.extend(subscriber.until_switched("home/yard/objects/red_car", "ON"));
    assert_eq!(states(&seen), ["Yard red car raised"], "the label of the inbox stays raised");
    assert!(!seen.iter().any(topic("home/inbox/status")), "{seen:#?}");

    save(&home, &text(&broker, LABELS, INBOX));
    let mut all = subscriber.until("its status to be deleted", is("home/yard/status", ""));
    subscriber.also(&mut all, "its label to be deleted", is("home/yard/objects/red_car/state", ""));
    subscriber.also(&mut all, "its alert", topic("home/yard/objects/red_car/alert"));
    all.extend(subscriber.so_far(&broker));
    assert_eq!(states(&all), ["Yard red car cleared"]);
    home.drop_picture("empty-wall.jpg", "4.jpg");
    let seen = subscriber.until_switched(RED_CAR, "OFF");
    assert_eq!(states(&seen), ["Inbox red car cleared"]);

    // With other settings the source is stopped and another one started.
    fs::create_dir(home.path("elsewhere")).unwrap();
    save(&home, &text(&broker, LABELS, &INBOX.replace("folder: inbox", "folder: elsewhere")));
    subscriber.until("the old source", is("home/inbox/status", "offline"));
    subscriber.until("the new source", is("home/inbox/status", "online"));
    fs::copy(home.path("inbox/1.jpg"), home.path("elsewhere/5.jpg")).unwrap();
    let seen = subscriber.until_switched(RED_CAR, "ON");
    assert_eq!(states(&seen), ["Inbox red car raised"]);
    service.stop();
}

/// Adds and removes labels of the scored set and a second source while the first source works.
/// `STAKEOUT_RELOADS=1000 cargo test --test it many_changes` is the long form.
#[test]
fn many_changes_cost_the_other_sources_no_frame() {
    let changes_to_make: usize =
        std::env::var("STAKEOUT_RELOADS").map_or(200, |typed| typed.parse().expect("a number of reloads"));
    let (broker, subscriber, home, mut service) = start(save);
    fs::create_dir(home.path("yard")).unwrap();
    home.drop_picture("red-car.jpg", "first.jpg");
    subscriber.until_switched(RED_CAR, "ON");

    let both = format!("{INBOX}  Yard: {{ folder: yard, watch: [objects] }}\n");
    let changes = [
        text(&broker, &format!("purple mug: 0.9, {LABELS}"), &both),
        text(&broker, &LABELS.replace("red car: 0.75", "red car: 0.7"), INBOX),
        text(&broker, MORE_LABELS, &both),
        text(&broker, "green tree: 0.8, red car: 0.75, pink heart: 0.9", INBOX),
    ];
    let done = AtomicBool::new(false);
    let pictures = thread::scope(|scope| {
        let load = scope.spawn(|| {
            // More pictures than changes, also where a picture takes longer than a change.
            let numbers =
                (0..).take_while(|number| !done.load(Ordering::Relaxed) || *number <= changes_to_make);
            let drop_one = |number| {
                home.drop_picture("red-car.jpg", &format!("{number}.jpg"));
                thread::sleep(Duration::from_millis(20));
                // At most twenty pictures wait, also where a picture takes longer than 20 ms.
                if number % 10 == 9 {
                    service.wait_for_times(number - 9, "/inbox/");
                }
            };
            numbers.map(drop_one).count()
        });
        for change in 1..=changes_to_make {
            save_as(&home, "config.new", &changes[change % changes.len()]);
            service.wait_for_times(change, "has changed and is in force");
        }
        done.store(true, Ordering::Relaxed);
        load.join().unwrap()
    });

    service.wait_for_times(pictures + 1, "/inbox/");
    service.stop();
    let log = service.log();
    let mut times = vec![0; pictures];
    let origins = log.split("/inbox/").skip(1).filter_map(|rest| rest.split_once(".jpg"));
    for number in origins.filter_map(|(name, _)| name.parse::<usize>().ok()) {
        times[number] += 1;
    }
    assert_eq!(times, vec![1; pictures], "each picture is scored exactly once");
    let sent = format!("{} seen, {} sent, 0 failed", pictures + 1, pictures + 1);
    assert!(log.contains(&sent), "{sent:?} is missing");
    let seen = subscriber.until("the end", is("home/status", "offline"));
    assert_eq!(states(&seen), Vec::<String>::new(), "raised once, and never again");
}

/// Like [`save`], with a temporary name that no other thread uses.
fn save_as(home: &Home, name: &str, text: &str) {
    fs::write(home.path(name), text).unwrap();
    fs::rename(home.path(name), home.path("stakeout.yaml")).unwrap();
}

/// A changed secret, which the watched files do not show; and the notifications for systemd.
#[test]
fn sighup_reads_everything_again_and_reports_what_needs_a_restart() {
    let broker = Broker::start();
    let subscriber = Subscriber::start(&broker);
    let home = Home::new(broker.port, "");
    fs::write(home.path("secret"), "one").unwrap();
    let with_password = text(&broker, LABELS, INBOX).replace(
        "prefix: home",
        &format!("username: me, password: '${{file:{}}}', prefix: home", home.path("secret").display()),
    );
    save(&home, &with_password);
    let systemd = UnixDatagram::bind(home.path("notify")).unwrap();
    systemd.set_read_timeout(Some(PATIENCE)).unwrap();
    let notified = || {
        let mut bytes = [0; 256];
        loop {
            let length = systemd.recv(&mut bytes).unwrap();
            let notified = String::from_utf8_lossy(&bytes[..length]).trim().to_owned();
            // Status texts and watchdog pings may arrive at any time.
            if !notified.starts_with("STATUS=") && notified != "WATCHDOG=1" {
                return notified;
            }
        }
    };
    let mut service = Service::with(&home, &[("NOTIFY_SOCKET", home.path("notify").to_str().unwrap())]);
    assert_eq!(notified(), "READY=1");
    // The first check of the files, which finds the configuration of the start.
    let reloading = notified();
    assert!(reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{reloading}");
    assert_eq!(notified(), "READY=1");

    fs::write(home.path("secret"), "two").unwrap();
    service.signal("-HUP");
    // At once, and again when the check begins. READY follows when the check is done.
    assert!(notified().starts_with("RELOADING=1"));
    assert!(notified().starts_with("RELOADING=1"));
    assert_eq!(notified(), "READY=1");
    let needs = is(CONFIG, r#"{"state":"ok","after_restart":["mqtt"]}"#);
    let seen = subscriber.until("what needs a restart", needs);
    service.wait_for_log("takes effect after a restart");
    assert!(!seen.iter().any(is("home/status", "offline")), "the connection stays: {seen:#?}");
    service.signal("-TERM");
    assert_eq!(notified(), "STOPPING=1");
    assert!(service.wait().success());
    // A client may bring a file as soon as READY is sent.
    let log = service.log();
    let at = |words| log.find(words).unwrap();
    assert!(at("watching the folder") < at("watching (sources="), "{log}");
}

#[test]
fn the_status_line_of_systemd_shows_an_invalid_configuration() {
    let broker = Broker::start();
    let home = Home::new(broker.port, "");
    let systemd = UnixDatagram::bind(home.path("notify")).unwrap();
    systemd.set_read_timeout(Some(PATIENCE)).unwrap();
    let until_status = |wanted: &dyn Fn(&str) -> bool| {
        let mut bytes = [0; 512];
        loop {
            let length = systemd.recv(&mut bytes).unwrap();
            let notified = String::from_utf8_lossy(&bytes[..length]).trim().to_owned();
            if notified.strip_prefix("STATUS=").is_some_and(wanted) {
                return;
            }
        }
    };
    let invalid = "the configuration is invalid and the previous one is in force";
    let mut service = Service::with(&home, &[("NOTIFY_SOCKET", home.path("notify").to_str().unwrap())]);
    until_status(&|line| line.contains("1 source online") && !line.contains("the broker is away"));
    save(&home, "treshold: 1");
    until_status(&|line| line.contains(invalid));
    save(&home, &text(&broker, LABELS, INBOX));
    until_status(&|line| line.contains("online") && !line.contains(invalid));
    service.stop();
}

/// A log that is written into the folder of the configuration would otherwise cause its own next line.
#[test]
fn a_missing_folder_of_the_configuration_is_logged_once() {
    let broker = Broker::start();
    let home = Home::new(broker.port, "");
    let mut service = Service::with(&home, &[("RUST_LOG", "stakeout=debug")]);
    service.wait_for_log("connected to the broker");
    for (times, labels) in [LABELS, MORE_LABELS, LABELS].into_iter().enumerate() {
        save(&home, &text(&broker, labels, INBOX));
        service.wait_for_times(times + 1, "is in force");
    }
    service.stop();
    let log = service.log();
    for folder in ["rules.d", "sources.d"] {
        let about = |line: &&str| line.contains("does not watch this folder") && line.contains(folder);
        assert!(log.lines().filter(about).count() <= 1, "{folder}: {log}");
    }
}
