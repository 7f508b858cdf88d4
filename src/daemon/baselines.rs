//! What is known of labels while nothing is to be seen, kept over restarts.
//!
//! A file in the state directory holds every baseline. It is written rarely, at once and whole: what a kill loses is the
//! last few minutes of something that changes over many. It refuses to know what a baseline means; that is the trigger's.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    judge::{Known, Place},
    trigger::Baseline,
};

const FILE: &str = "baselines.json";
/// So often it is written while frames come.
const PAUSE: Duration = Duration::from_secs(600);

/// The file.
pub(super) struct Baselines {
    file: PathBuf,
    /// When it was written, and what.
    written: (Instant, String),
}

impl Baselines {
    /// What is remembered in `state_dir`. A file that cannot be understood is told and forgotten.
    pub(super) fn recall(state_dir: &Path) -> (Self, Vec<(Place, Known)>) {
        let file = state_dir.join(FILE);
        let known = match fs::read_to_string(&file) {
            Ok(text) => parse(&text).ok_or_else(|| "it was not written by this program".to_owned()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error.to_string()),
        };
        let known = known.unwrap_or_else(|why| {
            tracing::warn!(file = %file.display(), why, "the baselines of earlier are not known: labels with a `rise` \
                are not raised until they are learnt anew");
            Vec::new()
        });
        let written = (Instant::now(), text(known.iter().cloned()));
        (Self { file, written }, known)
    }

    /// Whether it was not written for so long that it is to be.
    pub(super) fn is_due(&self) -> bool {
        self.written.0.elapsed() >= PAUSE
    }

    /// Writes what is known now, unless that is what is there; told if that fails.
    pub(super) fn keep(&mut self, known: impl Iterator<Item = (Place, Known)>) {
        let text = text(known);
        if text != self.written.1
            && let Err(error) = write(&self.file, &text)
        {
            tracing::warn!(file = %self.file.display(), %error, "the baselines are not on disk: make the file writable, \
                or they are learnt anew after a restart");
        }
        self.written = (Instant::now(), text);
    }
}

fn text(known: impl Iterator<Item = (Place, Known)>) -> String {
    let entry = |((source, label_set, label), Known { of, baseline }): (Place, Known)| {
        let (level, weight, at) = baseline.parts();
        json!({
            "source": source,
            "label_set": label_set,
            "label": label,
            "of": of,
            "level": level,
            "weight": weight,
            "at": at.to_string(),
        })
    };
    Value::Array(known.map(entry).collect()).to_string()
}

/// `None` if any of it is wrong: what else may be?
fn parse(text: &str) -> Option<Vec<(Place, Known)>> {
    let entry = |entry: &Value| {
        let text = |key: &str| entry[key].as_str().map(str::to_owned);
        let place = (text("source")?, text("label_set")?, text("label")?);
        let (level, weight) = (entry["level"].as_f64()?, entry["weight"].as_f64()?);
        let baseline = Baseline::of_parts(level, weight, text("at")?.parse().ok()?)?;
        Some((place, Known { of: text("of")?, baseline }))
    };
    serde_json::from_str::<Value>(text).ok()?.as_array()?.iter().map(entry).collect()
}

/// The old file is there until the new one is complete.
fn write(file: &Path, text: &str) -> io::Result<()> {
    let new = file.with_extension("new");
    fs::write(&new, text)?;
    fs::File::open(&new)?.sync_all()?;
    fs::rename(&new, file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(level: f64) -> (Place, Known) {
        let baseline = Baseline::of_parts(level, 0.5, "2026-11-23T08:00:00.125Z".parse().unwrap()).unwrap();
        let place = ("Front Door".to_owned(), "porch".to_owned(), "a \"dog\"".to_owned());
        (place, Known { of: "bundled {}".to_owned(), baseline })
    }

    #[test]
    fn what_is_kept_is_recalled_to_the_last_digit() {
        let folder = tempfile::tempdir().unwrap();
        let (mut baselines, nothing) = Baselines::recall(folder.path());
        assert_eq!(nothing, []);
        assert!(!baselines.is_due());
        baselines.keep([known(1.0 / 3.0)].into_iter());
        assert_eq!(Baselines::recall(folder.path()).1, [known(1.0 / 3.0)]);

        fs::remove_file(folder.path().join(FILE)).unwrap();
        baselines.keep([known(1.0 / 3.0)].into_iter());
        assert!(!folder.path().join(FILE).exists(), "it is not written again for nothing");
        baselines.keep([known(0.5)].into_iter());
        assert_eq!(Baselines::recall(folder.path()).1, [known(0.5)]);
    }

    #[test]
    fn a_damaged_file_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let good = text([known(0.5)].into_iter());
        let file = folder.path().join(FILE);
        for damaged in [
            "",
            "{}",
            "[1]",
            &good[..good.len() - 9],
            &good.replace("0.5", "7"),
            &good.replace("2026", "x"),
            &good.replace("porch", "\u{0}"),
        ] {
            fs::write(&file, damaged).unwrap();
            assert_eq!(Baselines::recall(folder.path()).1, [], "{damaged}");
        }
        fs::write(&file, good).unwrap();
        assert_eq!(Baselines::recall(folder.path()).1.len(), 1);
    }
}
