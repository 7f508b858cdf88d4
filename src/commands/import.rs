//! `stakeout import`: makes a configuration from one of Frigate or go2rtc, and reports what was left out.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, Result, anyhow};

use super::{CAMERA_MODEL, DONE, new_file};
use crate::{
    config::{self, Replaced},
    import::{self, Imported, Note, Options, Origin},
    terminal, text_file,
};

/// The longest file that is read.
const LONGEST: u64 = 4 * 1024 * 1024;

/// The arguments of `stakeout import`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The configuration of Frigate (config.yml) or go2rtc (go2rtc.yaml)
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Write the configuration to this file [default: standard output]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Replace the file of --output if it exists
    #[arg(long, requires = "output")]
    force: bool,
    /// What to watch for, in words, instead of the objects in the file; repeat the option for several
    #[arg(long, value_name = "WORDS")]
    watch_for: Vec<String>,
    /// The broker, instead of the one in the file
    #[arg(long, value_name = "URL")]
    broker: Option<String>,
    /// The model: a name on the hub, a folder, or bundled, which knows drawings only
    #[arg(long, value_name = "ID|FOLDER", default_value = CAMERA_MODEL)]
    model: String,
}

/// Imports the file. The result is written even if it has problems, which are printed: the lines that they name have to be corrected.
///
/// # Errors
/// The file cannot be read or is for another program, or the result cannot be written.
pub fn run(args: &Args) -> Result<ExitCode> {
    let text = text_file::read(&args.file, LONGEST).map_err(|error| anyhow!(error.about(&args.file)))?;
    let options = Options {
        model: Some(args.model.clone()).filter(|model| model != "bundled"),
        broker: args.broker.clone(),
        watch_for: args.watch_for.clone(),
    };
    let shown = args.file.display();
    let (origin, imported) = import::import(&text, &options).with_context(|| shown.to_string())?;
    report(&args.file, &imported.notes);
    let written = imported.draft.text();
    match &args.output {
        Some(path) => {
            if path.exists() && !args.force {
                return Err(anyhow!("{} exists already: name another file, or add --force", path.display()));
            }
            new_file::write(path, &written)?;
            terminal::say(format_args!("{} is written", path.display()));
        }
        None => {
            let mut out = terminal::output();
            out.write_all(written.as_bytes()).context("standard output cannot be written")?;
        }
    }
    conclude(args.output.as_deref(), origin, &imported, &written);
    Ok(ExitCode::from(DONE))
}

/// What was left out or changed, one line for each.
fn report(file: &Path, notes: &[Note]) {
    for Note { line, text } in notes {
        let line = line.map_or(String::new(), |line| format!(":{line}"));
        terminal::say(format_args!("{}{line}: {text}", file.display()));
    }
}

/// What there is now, and what `stakeout check` says about it.
fn conclude(output: Option<&Path>, origin: Origin, imported: &Imported, written: &str) {
    let origin = match origin {
        Origin::Frigate => "Frigate",
        Origin::Go2rtc => "go2rtc",
    };
    let (sources, sets) = (imported.draft.sources.len(), imported.draft.sets.len());
    let labels: usize = imported.draft.sets.iter().map(|set| set.labels.len()).sum();
    terminal::say(format_args!(
        "taken from {origin}: cameras {sources}, labels {labels}, label sets {sets}; left out or changed: {}",
        imported.notes.len()
    ));
    let file = output.unwrap_or(Path::new("stakeout.yaml"));
    match config::look_with(file, Replaced { file, text: written }) {
        Ok(_) => terminal::say("ok: `stakeout check` accepts it"),
        Err(problems) => terminal::say(format_args!("to be corrected before it can be used:\n{problems}")),
    }
}
