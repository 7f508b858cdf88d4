//! Names and texts that others choose never command the terminal, in any command and in the log.

use std::{fs, path::Path, process::Output};

use serde_json::Value;
use stakeout::terminal::is_active;

use crate::common::{
    broker::{Broker, free_port, publish},
    service::{Home, Service, sample},
    stakeout,
};

/// Sets the title of the terminal, clears it, and shows the rest from right to left. The last escape sequence is one character.
const EVIL: &str = "\u{1b}]0;owned\u{7}\u{1b}[2J\u{202e}gpj.\u{2066}\u{9b}31m";

/// Everything that a command has printed, without an active character.
fn printed(output: &Output, what: &str) -> String {
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let active = text.chars().find(|letter| is_active(*letter) && !matches!(letter, '\n' | '\t'));
    assert_eq!(active, None, "{what}: {text:?}");
    text
}

fn run(folder: &Path, arguments: &[&str]) -> String {
    let output = stakeout().current_dir(folder).args(arguments).output().unwrap();
    printed(&output, &format!("{arguments:?}"))
}

#[test]
fn no_command_prints_what_a_terminal_acts_on() {
    let home = Home::with_sources(
        free_port(),
        "home",
        "  a: { folder: \"\\e[31m\\u202e\", watch: [objects] }\n  b: { video: \"/n\\e[2Jone.mp4\", watch: [objects] }\n",
    );
    let folder = home.path("");
    let (picture, broken, missing) =
        (format!("{EVIL}.jpg"), format!("{EVIL}.png"), format!("{EVIL}\nerror: x.jpg"));
    fs::copy(sample("red-car.jpg"), folder.join(&picture)).unwrap();
    fs::write(folder.join(&broken), "no picture").unwrap();
    fs::write(folder.join(format!("{EVIL}.mp4")), "no video").unwrap();
    fs::write(folder.join(format!("{EVIL}.yaml")), "mqtt: { url: x }\n").unwrap();
    let (video, file) = (format!("{EVIL}.mp4"), format!("{EVIL}.yaml"));
    let labels = ["classify", "--label", "red car", "--label", EVIL];
    let with = |more: &[&'_ str]| {
        [&labels[..], more].concat().iter().map(|word| (*word).to_owned()).collect::<Vec<_>>()
    };
    let commands: Vec<Vec<String>> = vec![
        with(&[&picture, &broken, &missing]),
        with(&["--format", "json", &picture, &broken]),
        with(&[&format!("http://127.0.0.1:{}/{EVIL}", free_port())]),
        ["check", "--offline"].map(str::to_owned).to_vec(),
        ["check", "--offline", "--explain"].map(str::to_owned).to_vec(),
        ["check", "--offline", "--explain", "--format", "json"].map(str::to_owned).to_vec(),
        ["check", "--config", &file].map(str::to_owned).to_vec(),
        ["check", "--config", &missing].map(str::to_owned).to_vec(),
        ["doctor"].map(str::to_owned).to_vec(),
        ["doctor", "--format", "json"].map(str::to_owned).to_vec(),
        ["replay", "--source", "a", &picture, &video].map(str::to_owned).to_vec(),
        ["tune", "--source", "a", &picture].map(str::to_owned).to_vec(),
        ["replay", "--source", EVIL, &picture].map(str::to_owned).to_vec(),
        ["models", "remove", EVIL].map(str::to_owned).to_vec(),
        ["alerts", "--source", EVIL].map(str::to_owned).to_vec(),
        [EVIL].map(str::to_owned).to_vec(),
        ["classify", EVIL].map(str::to_owned).to_vec(),
    ];
    for arguments in commands {
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        let text = run(&folder, &arguments);
        assert!(!text.lines().any(|line| line.starts_with("error: x")), "{arguments:?}: {text}");
    }
    // Programs read the same name.
    let output = run(&folder, &["classify", "--label", "a", "--label", "b", "--format", "json", &picture]);
    let line = output.lines().find(|line| line.starts_with('{')).unwrap();
    assert_eq!(serde_json::from_str::<Value>(line).unwrap()["image"], picture.as_str());
}

#[test]
fn no_log_line_has_what_a_terminal_acts_on() {
    let broker = Broker::start();
    let home = Home::with_sources(
        broker.port,
        "home",
        "  Inbox: { folder: inbox, watch: [objects] }\n  topics: { mqtt: 'cam/#', watch: [objects] }\n",
    );
    let mut service = Service::with(&home, &[("RUST_LOG", "trace")]);
    service.wait_until_watching();
    fs::write(home.path("upload"), "no picture").unwrap();
    fs::rename(home.path("upload"), home.path("inbox").join(format!("{EVIL}.jpg"))).unwrap();
    service.wait_for_log("gpj.");
    home.drop_picture("red-car.jpg", &format!("{EVIL}-car.jpg"));
    service.wait_for_log("raised");
    publish(&broker, &format!("cam/\u{202e}{}", "\u{2066}x"), "no picture");
    service.wait_for_log("\\u2066x");
    service.stop();
    let log = service.log();
    let active = log.lines().find(|line| line.contains(|letter| is_active(letter) && letter != '\t'));
    assert_eq!(active, None);
}
