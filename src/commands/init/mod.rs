//! `stakeout init`: a first configuration, step by step: a broker, cameras, what to watch for, the scores of a frame, and the file.
//!
//! What the options do not say is asked, in lines. The file is written at the end and in one step, so an end before that, also by
//! Ctrl-C, leaves nothing behind.

mod args;
mod broker;
mod cameras;
mod dialog;
mod scores;
mod service;

use std::{
    io::{self, BufRead, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Result, bail};

pub use self::args::Args;
use self::dialog::Dialog;
use super::{DONE, new_file, print_problems};
use crate::config::{
    self, Replaced, USUAL_PLACES,
    draft::{Draft, DraftLabel, DraftSet},
};

/// What is in view when nothing is.
const BACKGROUND: [&str; 2] = ["an empty scene", "something else"];
/// What is watched for if nothing is said.
const USUAL: &str = "a person";

/// Asks, checks and writes.
///
/// # Errors
/// The input ends, the file exists and may not be replaced, or it cannot be written.
pub fn run(args: &Args) -> Result<ExitCode> {
    let mut dialog = Dialog::new(io::stdin().lock(), io::stderr(), !args.yes);
    let file = args.output.clone().unwrap_or_else(usual_file);
    if !may_write(&mut dialog, args, &file)? {
        dialog.say("Nothing is written.")?;
        return Ok(ExitCode::from(DONE));
    }
    let draft = draft(&mut dialog, args, &file)?;
    let text = draft.text();
    let loaded = match config::look_with(&file, Replaced { file: &file, text: &text }) {
        Ok(loaded) => loaded,
        Err(problems) => {
            dialog.say("This is not a valid configuration, so nothing is written:")?;
            return Ok(print_problems(&problems));
        }
    };
    if !args.no_scores && !loaded.unseen && wants_scores(&mut dialog, args, &draft)? {
        scores::show(&mut dialog, &loaded.config)?;
    }
    if !dialog.confirm(&format!("Write {}?", file.display()), true)? {
        dialog.say("Nothing is written.")?;
        return Ok(ExitCode::from(DONE));
    }
    new_file::write(&file, &text)?;
    dialog.say(format_args!("{} is written; `stakeout check` accepts it.", file.display()))?;
    service::offer(&mut dialog, args, &file)?;
    Ok(ExitCode::from(DONE))
}

/// The configuration of the machine for root, if its folder exists; else one in the working folder.
fn usual_file() -> PathBuf {
    let [here, machine] = USUAL_PLACES.map(Path::new);
    let is_machine = rustix::process::geteuid().is_root() && machine.parent().is_some_and(Path::is_dir);
    // Without `./`, as people write it.
    if is_machine {
        machine.to_owned()
    } else {
        here.file_name().map_or_else(|| here.to_owned(), PathBuf::from)
    }
}

/// Whether the file may be written. An existing one is never replaced without a word of the person.
fn may_write<R: BufRead, W: Write>(dialog: &mut Dialog<R, W>, args: &Args, file: &Path) -> Result<bool> {
    if file.symlink_metadata().is_err() || args.force {
        return Ok(true);
    }
    if !dialog.asks() {
        bail!(
            "{} exists already: add --force to replace it, or name another file with --output",
            file.display()
        );
    }
    dialog.confirm(&format!("{} exists already. Replace it at the end?", file.display()), false)
}

/// What is asked before anything is checked as a whole.
fn draft<R: BufRead, W: Write>(dialog: &mut Dialog<R, W>, args: &Args, file: &Path) -> Result<Draft> {
    let broker = broker::choose(dialog, args, file)?;
    let sources = cameras::choose(dialog, args, file)?;
    let words = if sources.is_empty() { vec![] } else { watch_for(dialog, args)? };
    let home_assistant = args.home_assistant
        || dialog.confirm("Shall Home Assistant find everything automatically?", false)?;
    let labels: Vec<_> = words.iter().map(|words| DraftLabel::of(words)).collect();
    let background = BACKGROUND.map(str::to_owned).to_vec();
    let set = DraftSet { name: cameras::SET.to_owned(), background, labels };
    Ok(Draft {
        heading: vec!["Written by `stakeout init`.".to_owned()],
        model: Some(args.model.clone()).filter(|model| model != "bundled"),
        broker,
        home_assistant,
        sets: if sources.is_empty() { vec![] } else { vec![set] },
        sources,
    })
}

/// What to watch for, in words; each once.
fn watch_for<R: BufRead, W: Write>(dialog: &mut Dialog<R, W>, args: &Args) -> Result<Vec<String>> {
    let mut words = args.watch_for.clone();
    if words.is_empty() && dialog.asks() {
        dialog.say(
            "What to watch for, in words, such as `a package by the door`. An empty line ends the list.",
        )?;
        loop {
            let answer = dialog.ask("Watch for", words.is_empty().then_some(USUAL))?;
            if answer.is_empty() {
                break;
            }
            words.push(answer);
        }
    }
    if words.is_empty() {
        words.push(USUAL.to_owned());
    }
    let mut names = Vec::<String>::new();
    words.retain(|words| {
        let name = DraftLabel::of(words).name;
        let is_new = !names.contains(&name);
        names.push(name);
        is_new
    });
    Ok(words)
}

/// Whether a frame of each camera is scored, for which the model may have to be fetched.
fn wants_scores<R: BufRead, W: Write>(dialog: &mut Dialog<R, W>, args: &Args, draft: &Draft) -> Result<bool> {
    if draft.sources.is_empty() {
        return Ok(false);
    }
    let fetched =
        if args.model == "bundled" { "" } else { " (the model is fetched if it is not on this machine)" };
    dialog.confirm(&format!("Score a frame of each camera now{fetched}?"), true)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn args(words: &[&str]) -> Args {
        Line::parse_from([&["init"][..], words].concat()).args
    }

    fn drafted(words: &[&str], answers: &str) -> (Result<Draft>, String) {
        let mut said = Vec::new();
        let args = args(words);
        let mut dialog = Dialog::new(answers.as_bytes(), &mut said, !args.yes);
        let draft = draft(&mut dialog, &args, Path::new("/nonexistent/stakeout.yaml"));
        (draft, String::from_utf8(said).unwrap())
    }

    /// Nothing listens there.
    const NO_BROKER: &str = "mqtt://127.0.0.1:1";

    #[test]
    fn options_answer_everything() {
        let words = [
            "--yes",
            "--broker",
            NO_BROKER,
            "--camera",
            "door=/srv/inbox",
            "--watch-for",
            "a fox",
            "--watch-for",
            "the fox",
        ];
        let (draft, said) = drafted(&words, "");
        let draft = draft.unwrap();
        assert_eq!(
            (&*draft.broker.url, draft.model.as_deref()),
            (NO_BROKER, Some(super::super::CAMERA_MODEL))
        );
        assert_eq!(
            (&*draft.sources[0].name, draft.sources[0].settings["folder"].as_str()),
            ("door", Some("/srv/inbox"))
        );
        assert_eq!(draft.sets[0].labels.len(), 1, "two labels of one name");
        assert!(said.contains("Not connected to"), "{said}");
    }

    #[test]
    fn a_conversation_asks_for_everything() {
        // The broker is taken as it is, no search, one camera with a login, words, Home Assistant.
        let answers = format!(
            "{NO_BROKER}\ny\nn\nrtsp://10.0.0.21/s\ny\nviewer\nhunter2\nFront Door\nnonsense://x\n\na dog\n\ny\n"
        );
        let (draft, said) = drafted(&["--model", "bundled"], &answers);
        let draft = draft.unwrap_or_else(|error| panic!("{error:#}\n{said}"));
        let source = &draft.sources[0];
        assert_eq!(
            (&*source.name, source.settings["username"].as_str()),
            ("Front Door", Some("viewer")),
            "{said}"
        );
        assert!(draft.home_assistant && draft.model.is_none(), "{said}");
        assert!(!said.contains("hunter2"), "{said}");
    }

    #[test]
    fn an_end_of_the_input_ends_it() {
        let (draft, _) = drafted(&["--broker", NO_BROKER], "y\nn\n");
        assert_eq!(draft.unwrap_err().to_string(), "the input has ended: nothing is written");
    }

    #[test]
    fn a_file_is_replaced_only_with_a_word() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("stakeout.yaml");
        let may = |words: &[&str], answers: &str| {
            let args = args(words);
            let mut dialog = Dialog::new(answers.as_bytes(), Vec::new(), !args.yes);
            may_write(&mut dialog, &args, &file)
        };
        assert!(may(&["--yes"], "").unwrap());
        std::fs::write(&file, "mine").unwrap();
        assert!(may(&["--yes"], "").is_err() && may(&["--yes", "--force"], "").unwrap());
        assert!(may(&[], "y\n").unwrap() && !may(&[], "\n").unwrap());
    }
}
