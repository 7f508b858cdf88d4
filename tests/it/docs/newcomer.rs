//! Follows the README as a newcomer does: writes its configuration, runs its commands with a real broker, and expects what it
//! shows.

use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
};

use super::{
    blocks::{Block, blocks, root},
    commands::commands,
};
use crate::common::{
    PATIENCE,
    broker::Broker,
    service::{Home, Service},
    stakeout,
};

/// The blocks of the first pages: of the README, then of the page of commands.
fn first_pages() -> Vec<Block> {
    let pages = ["README.md", "docs/commands.md"];
    blocks().into_iter().filter(|block| pages.contains(&&*block.document)).collect()
}

/// The first block that contains `words`.
fn with(words: &str) -> Block {
    first_pages().into_iter().find(|block| block.text.contains(words)).unwrap_or_else(|| panic!("no {words}"))
}

fn arguments(command: &[String]) -> &[String] {
    assert_eq!(command[0], "target/release/stakeout", "{command:?}");
    &command[1..]
}

/// The README's `mosquitto_sub`, at another port; killed when it is dropped.
struct Subscriber {
    process: Child,
    lines: Receiver<String>,
}

impl Subscriber {
    fn start(command: &[String], port: u16) -> Self {
        // Line by line; `-d` prints a line when it is subscribed.
        let mut process = Command::new("stdbuf");
        process.arg("-oL").args(command).args(["-d", "-h", "127.0.0.1", "-p", &port.to_string()]);
        let mut process = process.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        let (send, lines) = mpsc::channel();
        thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| send.send(line)));
        let subscriber = Self { process, lines };
        subscriber.until("Subscribed");
        subscriber
    }

    /// Waits for the next line that starts with `begin`.
    fn until(&self, begin: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(PATIENCE);
            let line = line.unwrap_or_else(|_| panic!("no line begins with {begin}"));
            if line.starts_with(begin) {
                return line;
            }
        }
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn following_the_readme_raises_an_alert() {
    let broker = Broker::start();
    let home = Home::new(broker.port, "");
    fs::remove_dir(home.path("inbox")).unwrap();
    let yaml = first_pages().into_iter().find(|block| block.kind == "yaml").unwrap().text;
    assert!(yaml.contains("mqtt://localhost:1883"), "the address that this test replaces");
    let yaml = yaml.replace("localhost:1883", &format!("127.0.0.1:{}", broker.port));
    fs::write(home.path("stakeout.yaml"), format!("{yaml}state_dir: state\n")).unwrap();

    let steps = commands(&with("mkdir -p inbox").text);
    let [setup, build, folder, check, run] = &steps[..] else { panic!("{steps:?}") };
    assert_eq!(
        (&setup[..], &build[..2]),
        (&["make", "setup"].map(str::to_owned)[..], &["cargo", "build"].map(str::to_owned)[..])
    );
    assert!(
        Command::new(&folder[0]).args(&folder[1..]).current_dir(home.path("")).status().unwrap().success()
    );
    let checked = stakeout().args(arguments(check)).current_dir(home.path("")).output().unwrap();
    assert_eq!(checked.status.code(), Some(0), "{}", String::from_utf8_lossy(&checked.stderr));
    assert_eq!(arguments(run), ["run"]);
    let mut service = Service::start(&home);
    service.wait_until_watching();

    let steps = commands(&with("mosquitto_sub").text);
    let [listen, copy, console] = &steps[..] else { panic!("{steps:?}") };
    let subscriber = Subscriber::start(listen, broker.port);
    let [program, from, to] = &copy[..] else { panic!("{copy:?}") };
    let copied = Command::new(program).arg(root().join(from)).arg(home.path(to)).status().unwrap();
    assert!(copied.success());
    let alert = subscriber.until("stakeout/inbox/objects/red_car/alert ");
    assert!(alert.contains("\"state\":\"raised\""), "{alert}");

    // Without `listen`, the command serves the pages until it is stopped.
    let mut command = stakeout();
    command.args(arguments(console)).arg("--no-open").current_dir(home.path(""));
    let mut serving = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut link = String::new();
    BufReader::new(serving.stdout.take().unwrap()).read_line(&mut link).unwrap();
    assert!(link.starts_with("http://127.0.0.1:") && link.contains("/console/"), "{link:?}");
    serving.kill().unwrap();
    serving.wait().unwrap();
    service.stop();
}

#[test]
fn a_command_prints_what_its_page_shows() {
    let block = with("$ target/release/stakeout classify");
    let (command, shown) = block.text.split_once('\n').unwrap();
    let command = commands(command.strip_prefix("$ ").unwrap()).remove(0);
    let output = stakeout().args(arguments(&command)).current_dir(root()).output().unwrap();
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        shown,
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// The examples about words were run with the bundled model, and still give these scores.
#[test]
fn the_page_about_words_shows_what_the_model_says() {
    let page = "docs/choosing-words.md";
    let mut run = 0;
    for block in blocks().into_iter().filter(|block| block.document == page && block.kind == "console") {
        for example in block.text.split("$ ").filter(|example| !example.is_empty()) {
            let (command, shown) = example.split_once('\n').unwrap();
            let command = commands(command).remove(0);
            assert_eq!(command[..2], ["stakeout", "classify"], "{command:?}");
            let output = stakeout().args(&command[1..]).current_dir(root()).output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            assert_eq!(String::from_utf8(output.stdout).unwrap(), shown, "{}", block.place());
            run += 1;
        }
    }
    assert!(run >= 6, "{run}");
}
