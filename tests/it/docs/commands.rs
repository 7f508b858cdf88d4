//! Checks commands in the pages: the real program parses its own, scripts and make targets exist, and no other program is
//! unknown.

use std::{fs, path::Path};

use super::blocks::root;
use crate::common::stakeout;

/// Other programs that the pages may name.
const FOREIGN: &[&str] = &[
    "apt",
    "apt-get",
    "cat",
    "cd",
    "chgrp",
    "chmod",
    "chown",
    "cp",
    "curl",
    "dnf",
    "docker",
    "dpkg",
    "echo",
    "ffmpeg",
    "git",
    "id",
    "install",
    "journalctl",
    "kubectl",
    "ls",
    "mkdir",
    "mosquitto",
    "mosquitto_passwd",
    "mosquitto_pub",
    "mosquitto_sub",
    "npm",
    "nvidia-smi",
    "openssl",
    "podman",
    "prometheus",
    "promtool",
    "rm",
    "setpriv",
    "sudoedit",
    "sysctl",
    "systemctl",
    "systemd-analyze",
    "systemd-creds",
    "systemd-run",
    "tee",
    "timedatectl",
    "usermod",
    "vainfo",
];
/// Arguments that start with these folders must exist in the repository.
const OURS: &[&str] = &[
    "models/bundled/",
    "config/",
    "systemd/",
    "docs/",
    "grafana/",
    "packaging/",
    "tools/",
    "fuzz/",
    "benches/",
];

/// Splits a shell line into commands and words, as far as the pages need it: quotes, several commands, comments.
fn words(line: &str) -> Vec<Vec<String>> {
    let (mut commands, mut command) = (vec![], vec![]);
    let (mut word, mut quote, mut begun) = (String::new(), None, false);
    for letter in line.chars().chain([' ']) {
        match (letter, quote) {
            (letter, Some(open)) if letter == open => quote = None,
            (letter, Some(_)) => word.push(letter),
            ('"' | '\'', None) => (quote, begun) = (Some(letter), true),
            ('#', None) if word.is_empty() && !begun => break,
            (letter, None) if letter.is_whitespace() => {
                let done = std::mem::take(&mut word);
                if ["&&", "||", "|", ";", "&"].contains(&done.as_str()) {
                    commands.push(std::mem::take(&mut command));
                } else if !done.is_empty() || begun {
                    command.push(done);
                }
                begun = false;
            }
            (letter, None) => word.push(letter),
        }
    }
    commands.push(command);
    commands.retain(|command| !command.is_empty());
    commands
}

/// The commands of a block, one per line unless a line ends with `\`.
pub fn commands(text: &str) -> Vec<Vec<String>> {
    text.replace("\\\n", " ").lines().flat_map(words).collect()
}

/// The fault of a command, if there is one.
pub fn fault(command: &[String]) -> Option<String> {
    let mut words = command;
    // Skip `sudo`, `time` and variables.
    while let Some((first, rest)) = words.split_first() {
        let sets = first.split_once('=').is_some_and(|(name, _)| {
            !name.is_empty() && name.chars().all(|letter| letter.is_ascii_uppercase() || letter == '_')
        });
        if !(sets || first == "sudo" || first == "time") {
            break;
        }
        words = rest;
    }
    let (program, arguments) = words.split_first()?;
    // Skip redirections.
    let end = arguments.iter().position(|word| word.starts_with(['>', '<'])).unwrap_or(arguments.len());
    let arguments = &arguments[..end];
    let missing = arguments.iter().find(|word| {
        OURS.iter().any(|folder| word.starts_with(folder)) && !root().join(word.as_str()).exists()
    });
    if let Some(missing) = missing {
        return Some(format!("{missing} is not in the repository"));
    }
    match program.as_str() {
        "stakeout" | "target/release/stakeout" | "/usr/bin/stakeout" => own(arguments),
        "make" => arguments.iter().find_map(|target| make(target)),
        "cargo" => cargo(arguments),
        "python" | "python3" | "bash" | "sh" => script(arguments.first()?),
        "pip" => {
            let place = arguments.iter().position(|word| word == "-r")?;
            script(arguments.get(place + 1)?)
        }
        // A script without arguments may only be named, so it need not be executable.
        script if script.starts_with("tools/") && arguments.is_empty() => self::script(script),
        script if script.starts_with("tools/") => executable(&root().join(script)),
        foreign if FOREIGN.contains(&foreign) => match foreign {
            // Check the program that this one starts.
            "systemd-run" => {
                let own = arguments.iter().position(|word| word == "stakeout")?;
                self::own(&arguments[own + 1..])
            }
            _ => None,
        },
        "rustup" => None,
        other => Some(format!(
            "`{other}` is unknown; add it to `FOREIGN` in tests/it/docs/commands.rs if it is right"
        )),
    }
}

/// The program parses its arguments in order, and reports the first that is wrong. `--help` after them keeps it from running the
/// command.
fn own(arguments: &[String]) -> Option<String> {
    // `a|b` means either word: check both.
    let is_word = |word: &str| !word.is_empty() && word.chars().all(|letter| letter.is_ascii_lowercase());
    let choice = arguments.iter().position(|word| word.contains('|') && word.split('|').all(is_word));
    if let Some(choice) = choice {
        return arguments[choice].split('|').find_map(|word| {
            let mut chosen = arguments.to_vec();
            chosen[choice] = word.to_owned();
            own(&chosen)
        });
    }
    let output = stakeout().args(arguments).arg("--help").output().unwrap();
    let reported = || String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code() != Some(0)).then(reported)
}

fn make(target: &str) -> Option<String> {
    if target.contains('=') {
        return None;
    }
    let makefile = fs::read_to_string(root().join("Makefile")).unwrap();
    let there = makefile.lines().any(|line| line.split(':').next() == Some(target) && line.contains(':'));
    (!there).then(|| format!("the Makefile has no target {target}"))
}

fn cargo(arguments: &[String]) -> Option<String> {
    const KNOWN: &[&str] =
        &["build", "test", "bench", "doc", "clippy", "fmt", "deny", "deb", "fuzz", "install"];
    let (first, rest) = arguments.split_first()?;
    if !KNOWN.contains(&first.as_str()) {
        return Some(format!("cargo has no {first}"));
    }
    for (option, value) in rest.iter().zip(rest.iter().skip(1)) {
        let file = match option.as_str() {
            "--bench" => format!("benches/{value}.rs"),
            "--test" => format!("tests/{value}/main.rs"),
            "it" if value.starts_with('-') => continue,
            // `--test it` is followed by a filter of tests.
            "it" => {
                let module = format!("tests/it/{}", value.split("::").next().unwrap_or_default());
                if root().join(&module).join("mod.rs").exists() { continue } else { format!("{module}.rs") }
            }
            _ => continue,
        };
        if !root().join(&file).exists() {
            return Some(format!("there is no {file}"));
        }
    }
    None
}

fn script(name: &str) -> Option<String> {
    let known = name.starts_with('-') || root().join(name).exists();
    (!known).then(|| format!("{name} is not in the repository"))
}

fn executable(path: &Path) -> Option<String> {
    use std::os::unix::fs::PermissionsExt as _;
    match path.metadata() {
        Ok(found) if found.permissions().mode() & 0o100 != 0 => None,
        Ok(_) => Some(format!("{} is not executable", path.display())),
        Err(_) => Some(format!("{} does not exist", path.display())),
    }
}

#[test]
fn a_shell_line_is_split() {
    let expected = |commands: &[&[&str]]| -> Vec<Vec<String>> {
        commands.iter().map(|command| command.iter().map(|word| (*word).to_owned()).collect()).collect()
    };
    for (text, split) in [
        ("a  b 'c d' \"e\" # f", expected(&[&["a", "b", "c d", "e"]])),
        ("a && b | c\nd", expected(&[&["a"], &["b"], &["c"], &["d"]])),
        ("a VIDEO|FOLDER \\\n  b#c ''", expected(&[&["a", "VIDEO|FOLDER", "b#c", ""]])),
        ("# nothing\n\n", vec![]),
    ] {
        assert_eq!(commands(text), split, "{text}");
    }
}

#[test]
fn a_command_that_is_wrong_is_found() {
    let fault = |line: &str| words(line).iter().find_map(|command| fault(command));
    for right in [
        "stakeout check --offline --config x.yaml",
        "sudo CACHE_DIRECTORY=/x stakeout models pull ORG/NAME",
        "make demo && make test",
        "cargo test --test it docs:: -- --nocapture",
        "cp models/bundled/samples/red-car.jpg inbox/",
        "stakeout schema > file",
        "systemctl reload stakeout",
    ] {
        assert_eq!(fault(right), None, "{right}");
    }
    for wrong in [
        "stakeout chek",
        "stakeout check --ofline",
        "stakeout run --device cuda",
        "stakeout bench --device nonsense",
        "sudo stakeout models pul X",
        "make demoo",
        "cargo test --test it nowhere::",
        "cp models/bundled/samples/nothing.jpg inbox/",
        "tools/nothing.sh",
        "python tools/nothing.py",
        "rm-everything now",
    ] {
        assert!(fault(wrong).is_some(), "{wrong}");
    }
}
