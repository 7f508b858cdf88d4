//! The configuration changes while the service runs, black box: what changed is in force, and nothing else notices.

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
    broker::{Broker, Message, Subscriber},
    service::{Home, Service},
};

const LABELS: &str = "red car: 0.75, green tree: 0.75";
const MORE_LABELS: &str = "red car: 0.75, green tree: 0.75, Blue Umbrella: 0.75";
const INBOX: &str = "  Inbox: { folder: inbox, watch: [objects] }\n";
const NEW_STATE: &str = "home/inbox/objects/blue_umbrella/state";
const CONFIG: &str = "home/config/status";

/// The same configuration as [`Home::new`] writes, with these labels and these lines of sources.
fn text(broker: &Broker, labels: &str, sources: &str) -> String {
    format!(
        "mqtt: {{ url: mqtt://127.0.0.1:{}, prefix: home }}\nstate_dir: state\nlabel_sets:\n  objects:\n    \
         template: a photo of {{}}\n    background: [an empty scene, a plain background, something else]\n    \
         labels: {{ {labels} }}\nsources:\n{sources}",
        broker.port
    )
}

/// As editors save: written beside it, then moved over it.
fn save(home: &Home, text: &str) {
    fs::write(home.path("new"), text).unwrap();
    fs::rename(home.path("new"), home.path("stakeout.yaml")).unwrap();
}

fn is(topic: &'static str, text: &'static str) -> impl Fn(&Message) -> bool {
    move |message| message.topic == topic && message.text() == text
}

fn topic(topic: &'static str) -> impl Fn(&Message) -> bool {
    move |message| message.topic == topic
}

fn states(messages: &[Message]) -> Vec<String> {
    let alerts = messages.iter().filter(|message| message.topic.ends_with("/alert"));
    let alerts = alerts.map(|alert| serde_json::from_slice::<Value>(&alert.payload).unwrap());
    let word = |value: &Value| value.as_str().unwrap().to_owned();
    let told = |alert: Value| {
        format!("{} {} {}", word(&alert["source"]), word(&alert["label"]), word(&alert["state"]))
    };
    alerts.map(told).collect()
}

/// A service that watches `inbox` for [`LABELS`], after `lay_out` put its configuration in place.
fn start(lay_out: impl FnOnce(&Home, &str)) -> (Broker, Subscriber, Home, Service) {
    let broker = Broker::start();
    let subscriber = Subscriber::start(&broker);
    let home = Home::new(broker.port, "");
    lay_out(&home, &text(&broker, LABELS, INBOX));
    let service = Service::with(&home, &[("RUST_LOG", "stakeout=debug")]);
    subscriber.until("the source to be online", is("home/inbox/status", "online"));
    (broker, subscriber, home, service)
}

/// A label is added by `save`, is watched from then on, and nothing was started anew.
fn is_noticed(lay_out: impl FnOnce(&Home, &str), save: impl FnOnce(&Home, &str)) {
    let (broker, subscriber, home, service) = start(lay_out);
    save(&home, &text(&broker, MORE_LABELS, INBOX));
    let told = subscriber.until("the new label's state", is(NEW_STATE, "OFF"));
    assert!(!told.iter().any(topic("home/inbox/status")), "the source never noticed: {told:#?}");
    home.drop_picture("blue-umbrella.jpg", "1.jpg");
    subscriber.until("the alert of the new label", topic("home/inbox/objects/blue_umbrella/alert"));
    service.wait_for_words("the configuration has changed and is in force");
}

fn in_place(home: &Home, text: &str) {
    fs::write(home.path("stakeout.yaml"), text).unwrap();
}

/// Makes or replaces a symbolic link as one step.
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
fn a_symbolic_link_that_is_swapped_is_noticed_and_so_is_a_change_behind_it() {
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
fn a_folder_that_is_swapped_as_kubernetes_does_it_is_noticed() {
    let version = |number: &'static str| {
        move |home: &Home, text: &str| {
            fs::create_dir(home.path(number)).unwrap();
            fs::write(home.path(number).join("stakeout.yaml"), text).unwrap();
            link(number, &home.path("..data"));
            link("..data/stakeout.yaml", &home.path("stakeout.yaml"));
        }
    };
    let swapped = |home: &Home, text: &str| {
        fs::create_dir(home.path("..2")).unwrap();
        fs::write(home.path("..2/stakeout.yaml"), text).unwrap();
        link("..2", &home.path("..data"));
        fs::remove_dir_all(home.path("..1")).unwrap();
    };
    is_noticed(version("..1"), swapped);
}

#[test]
fn an_invalid_edit_changes_nothing_is_told_and_can_be_mended() {
    let (broker, subscriber, home, service) = start(save);
    save(&home, &text(&broker, "red car: { treshold: 0.75 }, Blue Umbrella: 0.75", INBOX));
    let told = subscriber.until("the word that it is invalid", topic(CONFIG));
    let told = told.last().unwrap();
    assert!(told.retain);
    let json: Value = serde_json::from_slice(&told.payload).unwrap();
    assert_eq!(json["state"], "invalid");
    let problems = json["problems"].as_str().unwrap();
    for words in ["stakeout.yaml:7:", "treshold", "did you mean `threshold`?", "^^^^", "1 problem found"] {
        assert!(problems.contains(words), "{words:?} is missing in {problems}");
    }
    service.wait_for_words("what was in force stays in force");
    service.wait_for_words(problems);

    home.drop_picture("red-car.jpg", "1.jpg");
    let told = subscriber.until("an alert by the old rules", topic("home/inbox/objects/red_car/state"));
    assert!(!told.iter().any(topic(NEW_STATE)), "{told:#?}");

    save(&home, "not a configuration");
    subscriber.until("another problem", topic(CONFIG));
    let later = Subscriber::start(&broker);
    later.until("what is retained", |message| message.topic == CONFIG && message.text().contains("invalid"));

    save(&home, &text(&broker, MORE_LABELS, INBOX));
    let told = subscriber.until("the word that it is mended", is(CONFIG, r#"{"state":"ok"}"#));
    assert_eq!(states(&told), Vec::<String>::new(), "the car stays raised");
    if !told.iter().any(is(NEW_STATE, "OFF")) {
        subscriber.until("the new label", is(NEW_STATE, "OFF"));
    }
}

#[test]
fn what_the_model_says_of_a_label_set_is_an_invalid_edit_too() {
    let (broker, subscriber, home, service) = start(save);
    let alone = text(&broker, "red car: 0.75", INBOX)
        .replace("    background: [an empty scene, a plain background, something else]\n", "");
    save(&home, &alone);
    let told = subscriber.until("the word that it is invalid", topic(CONFIG));
    let told = told.last().unwrap().text();
    assert!(told.contains("always be 1.0") && told.contains("stakeout.yaml:4:"), "{told}");
    save(&home, &text(&broker, LABELS, INBOX));
    subscriber.until("the word that it is mended", is(CONFIG, r#"{"state":"ok"}"#));
    service.wait_for_words("the configuration is in order again");
}

#[test]
fn a_file_of_rules_comes_and_goes() {
    const RULES: &str = "label_sets:\n  more:\n    template: a photo of {}\n    background: [an empty scene]\n    \
                         labels: { Blue Umbrella: 0.75 }\n";
    const STATE: &str = "home/inbox/more/blue_umbrella/state";
    let (broker, subscriber, home, service) = start(save);
    fs::create_dir(home.path("rules.d")).unwrap();
    fs::write(home.path("rules.d/more.yaml"), RULES).unwrap();
    service.wait_for_words("label_sets=2");
    let both = "  Inbox: { folder: inbox, watch: [objects, more] }\n";
    save(&home, &text(&broker, LABELS, both));
    subscriber.until("the new label set", is(STATE, "OFF"));
    home.drop_picture("blue-umbrella.jpg", "1.jpg");
    subscriber.until("its alert", is(STATE, "ON"));

    fs::write(home.path("rules.d/more.yaml"), RULES.replace("0.75", "0.8")).unwrap();
    subscriber.rest(Duration::from_millis(300));
    fs::remove_file(home.path("rules.d/more.yaml")).unwrap();
    let told = subscriber.until("that it is missed", topic(CONFIG));
    assert!(told.last().unwrap().text().contains("more"), "{told:#?}");

    save(&home, &text(&broker, LABELS, INBOX));
    let mut told = subscriber.until("the state to be forgotten", is(STATE, ""));
    subscriber.also(&mut told, "that all is well", is(CONFIG, r#"{"state":"ok"}"#));
    told.extend(subscriber.rest(Duration::from_millis(300)));
    assert_eq!(states(&told), ["Inbox Blue Umbrella cleared"], "removed while it was raised");
}

#[test]
fn a_source_comes_and_goes_and_the_others_keep_what_they_know() {
    let (broker, subscriber, home, mut service) = start(save);
    home.drop_picture("red-car.jpg", "1.jpg");
    subscriber.until("the car", is("home/inbox/objects/red_car/state", "ON"));

    fs::create_dir(home.path("yard")).unwrap();
    let both = format!("{INBOX}  Yard: {{ folder: yard, watch: [objects] }}\n");
    save(&home, &text(&broker, &LABELS.replace("red car: 0.75", "red car: 0.7"), &both));
    let mut told = subscriber.until("the new source", is("home/yard/status", "online"));
    home.drop_picture("red-car.jpg", "2.jpg");
    service.wait_for_words("/2.jpg");
    fs::copy(home.path("inbox/1.jpg"), home.path("yard/3.jpg")).unwrap();
    told.extend(subscriber.until("a car there", is("home/yard/objects/red_car/state", "ON")));
    assert_eq!(states(&told), ["Yard red car raised"], "the one in the inbox stays raised");
    assert!(!told.iter().any(topic("home/inbox/status")), "{told:#?}");

    save(&home, &text(&broker, LABELS, INBOX));
    let mut all = subscriber.until("its status to be forgotten", is("home/yard/status", ""));
    subscriber.also(&mut all, "its label to be forgotten", is("home/yard/objects/red_car/state", ""));
    all.extend(subscriber.rest(Duration::from_millis(300)));
    assert_eq!(states(&all), ["Yard red car cleared"]);
    home.drop_picture("empty-wall.jpg", "4.jpg");
    let told = subscriber.until("the empty wall", is("home/inbox/objects/red_car/state", "OFF"));
    assert_eq!(states(&told), ["Inbox red car cleared"]);

    // With other settings it ends, and starts again as another one.
    fs::create_dir(home.path("elsewhere")).unwrap();
    save(&home, &text(&broker, LABELS, &INBOX.replace("folder: inbox", "folder: elsewhere")));
    subscriber.until("the old one", is("home/inbox/status", "offline"));
    subscriber.until("the new one", is("home/inbox/status", "online"));
    fs::copy(home.path("inbox/1.jpg"), home.path("elsewhere/5.jpg")).unwrap();
    let told = subscriber.until("the car there", is("home/inbox/objects/red_car/state", "ON"));
    assert_eq!(states(&told), ["Inbox red car raised"]);
    service.signal("-TERM");
    assert!(service.wait().0.success());
}

/// Labels come and go in the set that is being scored, and so does another source, while one source works.
/// `STAKEOUT_RELOADS=1000 cargo test --test it many_changes` is the long form.
#[test]
fn many_changes_cost_the_others_no_frame() {
    let changes_to_make: usize =
        std::env::var("STAKEOUT_RELOADS").map_or(200, |typed| typed.parse().expect("a number of reloads"));
    let (broker, subscriber, home, mut service) = start(save);
    fs::create_dir(home.path("yard")).unwrap();
    home.drop_picture("red-car.jpg", "first.jpg");
    subscriber.until("the car", is("home/inbox/objects/red_car/state", "ON"));

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
            let numbers = (0..).take_while(|_| !done.load(Ordering::Relaxed));
            let drop_one = |number| {
                home.drop_picture("red-car.jpg", &format!("{number}.jpg"));
                thread::sleep(Duration::from_millis(20));
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
    assert!(pictures > changes_to_make, "{pictures} pictures are no load");

    service.wait_for_times(pictures + 1, "/inbox/");
    service.signal("-TERM");
    assert!(service.wait().0.success());
    let said = service.said();
    let mut times = vec![0; pictures];
    let origins = said.split("/inbox/").skip(1).filter_map(|rest| rest.split_once(".jpg"));
    for number in origins.filter_map(|(name, _)| name.parse::<usize>().ok()) {
        times[number] += 1;
    }
    assert_eq!(times, vec![1; pictures], "each picture is scored exactly once");
    let sent = format!("{} seen, {} sent, 0 failed", pictures + 1, pictures + 1);
    assert!(said.contains(&sent), "{sent:?} is missing");
    let told = subscriber.until("the end", is("home/status", "offline"));
    assert_eq!(states(&told), Vec::<String>::new(), "raised once, and never again");
}

/// Under another name than the pictures of [`Home::drop_picture`] use.
fn save_as(home: &Home, name: &str, text: &str) {
    fs::write(home.path(name), text).unwrap();
    fs::rename(home.path(name), home.path("stakeout.yaml")).unwrap();
}

/// What no file of the configuration shows; and systemd is told meanwhile.
#[test]
fn a_hang_up_reads_everything_again_and_tells_what_needs_a_restart() {
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
    systemd.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let heard = || {
        let mut words = [0; 256];
        loop {
            let length = systemd.recv(&mut words).unwrap();
            let heard = String::from_utf8_lossy(&words[..length]).trim().to_owned();
            // What it does in words, and that it is alive, comes in between.
            if !heard.starts_with("STATUS=") && heard != "WATCHDOG=1" {
                return heard;
            }
        }
    };
    let mut service = Service::with(&home, &[("NOTIFY_SOCKET", home.path("notify").to_str().unwrap())]);
    assert_eq!(heard(), "READY=1");
    // The first look, which finds what was read at the start.
    let reloading = heard();
    assert!(reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{reloading}");
    assert_eq!(heard(), "READY=1");

    fs::write(home.path("secret"), "two").unwrap();
    service.signal("-HUP");
    // At once, and again when the look begins. Without an answer until it is done.
    assert!(heard().starts_with("RELOADING=1"));
    assert!(heard().starts_with("RELOADING=1"));
    assert_eq!(heard(), "READY=1");
    let needs = is(CONFIG, r#"{"state":"ok","after_restart":["mqtt"]}"#);
    let told = subscriber.until("what needs a restart", needs);
    service.wait_for_words("takes effect after a restart");
    assert!(!told.iter().any(is("home/status", "offline")), "the connection stays: {told:#?}");
    service.signal("-TERM");
    assert_eq!(heard(), "STOPPING=1");
    assert!(service.wait().0.success());
    // Whoever is told that it is ready may bring a file at once.
    let said = service.said();
    let at = |words| said.find(words).unwrap();
    assert!(at("watching the folder") < at("watching sources="), "{said}");
}
