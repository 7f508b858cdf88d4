//! Forgets what was seen: deletes entries so that nothing of them is left in any file of the history.
//!
//! Deleting a row leaves copies of it: in the log, in free pages, and in the unused parts of pages between which rows were moved. So
//! deleted content is overwritten, then the database is written anew from what is left, and the log is emptied. Files that were
//! set aside because they are damaged are deleted: what they contain is unknown.

use std::{collections::BTreeMap, fs, path::Path};

use jiff::Timestamp;
use rusqlite::Transaction;
use serde::{Deserialize, Serialize};

use super::{
    Error, History,
    store::{Selection, TABLES, Table, TimeColumns, known_name_id},
};
use crate::storage;

/// What is to be forgotten.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scope {
    /// The name of the source, as in the configuration.
    pub source: String,
    /// The first moment.
    pub from: Timestamp,
    /// The last moment.
    pub to: Timestamp,
    /// Only what belongs to this label.
    pub label: Option<String>,
}

/// What was forgotten.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forgotten {
    /// How many entries of each kind, by its name.
    pub entries: BTreeMap<String, u64>,
    /// Damaged files that were deleted.
    pub files: u64,
}

impl History {
    /// Forgets what is in `scope`. It takes as long as writing all that is left.
    ///
    /// # Errors
    /// [`Error::Incomplete`]: it is deleted, but traces may be left. Any other error: nothing is deleted.
    pub fn forget(&mut self, scope: &Scope) -> Result<Forgotten, Error> {
        let set = |history: &Self, how: &str| {
            history.connection().execute_batch(&format!("PRAGMA secure_delete = {how}"))
        };
        set(self, "ON")?;
        let deleted = self.write(|transaction| delete(transaction, scope));
        let _ = set(self, "FAST");
        let entries = deleted?;
        self.set_forgotten();
        let files = self.erase().map_err(|why| Error::Incomplete { why })?;
        Ok(Forgotten { entries, files })
    }

    /// Overwrites what was deleted. Returns how many damaged files were deleted.
    fn erase(&mut self) -> Result<u64, String> {
        // First: they may take the space that the new file needs.
        let deleted = delete_set_aside(self.path()).map_err(|error| error.to_string())?;
        self.connection().execute_batch("VACUUM").map_err(|error| error.to_string())?;
        if !self.empty_log().map_err(|error| error.to_string())? {
            return Err("another program is reading the history".to_owned());
        }
        Ok(deleted)
    }
}

/// Deletes files that were set aside because they are damaged. Returns how many.
fn delete_set_aside(path: &Path) -> std::io::Result<u64> {
    let files = storage::files_set_aside(path)?;
    files.iter().try_for_each(fs::remove_file)?;
    Ok(files.len() as u64)
}

fn delete(transaction: &Transaction<'_>, scope: &Scope) -> rusqlite::Result<BTreeMap<String, u64>> {
    let mut deleted = BTreeMap::new();
    let label = scope.label.as_deref().map(|label| known_name_id(transaction, label)).transpose()?;
    let source = known_name_id(transaction, &scope.source)?;
    // A name that the history does not know has no entries.
    if let Some(source) = source
        && label != Some(None)
    {
        let [from, to] = [scope.from, scope.to].map(|moment| moment.as_millisecond());
        let selection = Selection { source, from, to, label: label.flatten() };
        for table in TABLES {
            deleted.insert(table.name.to_owned(), delete_from(transaction, table, &selection)?);
        }
        delete_names(transaction)?;
    }
    Ok(deleted)
}

fn delete_from(transaction: &Transaction<'_>, table: &Table, selection: &Selection) -> rusqlite::Result<u64> {
    if let Some(forget) = table.forget {
        return forget(transaction, selection);
    }
    let Table { name, time, label, .. } = table;
    let Selection { source, from, to, label: only } = *selection;
    let times = match time {
        TimeColumns::At(at) => format!("{at} BETWEEN ?2 AND ?3"),
        TimeColumns::Span { first, last } => format!("{last} >= ?2 AND {first} <= ?3"),
    };
    let deleted = match (only, label) {
        (None, _) => {
            let sql = format!("DELETE FROM {name} WHERE source = ?1 AND {times}");
            transaction.execute(&sql, (source, from, to))?
        }
        (Some(only), Some(label)) => {
            let sql = format!("DELETE FROM {name} WHERE source = ?1 AND {times} AND {label} = ?4");
            transaction.execute(&sql, (source, from, to, only))?
        }
        // Its entries belong to no label.
        (Some(_), None) => 0,
    };
    Ok(deleted as u64)
}

/// Deletes the names that no entry has.
fn delete_names(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    let columns = TABLES.iter().flat_map(|table| {
        let columns = ["source"].into_iter().chain(table.names.iter().copied());
        columns.map(|column| format!("SELECT {column} FROM {} WHERE {column} IS NOT NULL", table.name))
    });
    let used = columns.collect::<Vec<_>>().join(" UNION ");
    if !used.is_empty() {
        transaction.execute(&format!("DELETE FROM names WHERE id NOT IN ({used})"), [])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        config::Config,
        history::{Reader, recorders::Recorders},
        observe::{Observation, tests::observation},
        policy::HistorySettings,
        samples,
    };

    fn moment(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    /// Records one frame for each of these sources and seconds.
    fn record(history: &mut History, frames: &[(String, i64)]) {
        let settings = HistorySettings { search: true, ..HistorySettings::default() };
        let config = Arc::new(Config { history: Some(settings), ..samples::config() });
        let mut recorders = Recorders::new(&config);
        for (source, second) in frames {
            let embedding = (0..16).map(|it| ((it * 7 + second * 13) % 29) as f32 / 29.0 - 0.4).collect();
            let frame = Observation {
                source: (&**source).into(),
                captured_at: moment(*second),
                embeddings: vec![embedding],
                ..observation("1.jpg")
            };
            history.write(|transaction| recorders.record(transaction, &frame)).unwrap();
        }
        history.write(|transaction| recorders.flush(transaction)).unwrap();
    }

    fn everything(source: &str) -> Scope {
        Scope { source: source.to_owned(), from: moment(-1_000_000), to: moment(1_000_000), label: None }
    }

    fn count(forgotten: &Forgotten) -> u64 {
        forgotten.entries.values().sum()
    }

    /// The files of the folder that contain these bytes.
    fn files_with(folder: &Path, bytes: &[u8]) -> Vec<String> {
        let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
        let contains = |file: &std::path::PathBuf| {
            fs::read(file).unwrap().windows(bytes.len()).any(|window| window == bytes)
        };
        files.filter(contains).map(|file| file.display().to_string()).collect()
    }

    #[test]
    fn no_file_contains_what_was_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let mut history = History::open(folder.path()).unwrap();
        // Long names, in many rounds with other deletions between them: rows are moved between pages, and pages are freed.
        let name = |number: usize| format!("MARKER-{number:04}-{}", "x".repeat(number * 37 % 900));
        for round in 0..4 {
            let frames: Vec<_> = (0..60).map(|it| (name(round * 60 + it * 7 % 60), it as i64)).collect();
            record(&mut history, &frames);
            history.empty_log().unwrap();
            history.forget(&everything(&name(round * 60 + 30))).unwrap();
        }
        record(&mut history, &[("kept".to_owned(), 0)]);
        fs::write(folder.path().join("history.db.damaged-1"), name(7)).unwrap();
        let reader = Reader::open(folder.path()).unwrap();
        for number in [7, 31, 99, 200] {
            let marker = format!("MARKER-{number:04}");
            assert!(
                !files_with(folder.path(), marker.as_bytes()).is_empty(),
                "{marker}: the test can find it"
            );
            let forgotten = history.forget(&everything(&name(number))).unwrap();
            assert!(count(&forgotten) > 0, "{marker}: {forgotten:?}");
            assert_eq!(forgotten.files, u64::from(number == 7), "{marker}");
            assert_eq!(files_with(folder.path(), marker.as_bytes()), [""; 0], "{marker}");
        }
        assert!(known_name_id(reader.connection(), "kept").unwrap().is_some(), "others are kept");
        assert!(known_name_id(reader.connection(), &name(8)).unwrap().is_some());
    }

    #[test]
    fn a_reader_that_needs_the_old_content_is_reported_and_the_next_run_completes_it() {
        let folder = tempfile::tempdir().unwrap();
        let mut history = History::open(folder.path()).unwrap();
        history.connection().busy_timeout(std::time::Duration::ZERO).unwrap();
        record(&mut history, &[("MARKER".to_owned(), 0), ("kept".to_owned(), 0)]);
        let reader = Reader::open(folder.path()).unwrap();
        reader.connection().execute_batch("BEGIN; SELECT * FROM names;").unwrap();
        assert!(known_name_id(reader.connection(), "MARKER").unwrap().is_some());
        let error = history.forget(&everything("MARKER")).unwrap_err();
        assert!(matches!(error, Error::Incomplete { .. }) && error.to_string().contains("again"), "{error}");
        reader.connection().execute_batch("COMMIT").unwrap();
        history.forget(&everything("MARKER")).unwrap();
        assert_eq!(files_with(folder.path(), b"MARKER"), [""; 0]);
        assert!(count(&history.forget(&everything("kept")).unwrap()) > 0);
    }

    #[test]
    fn only_the_source_and_the_time_that_were_named_are_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let mut history = History::open(folder.path()).unwrap();
        let frames = [("door", 0), ("door", 100), ("door", 90_000), ("yard", 100)];
        record(&mut history, &frames.map(|(source, second)| (source.to_owned(), second)));
        let label = Some("never seen".to_owned());
        let nothing = Scope { label, ..everything("door") };
        assert_eq!(count(&history.forget(&nothing).unwrap()), 0, "no such label");
        assert_eq!(history.forget(&everything("garage")).unwrap(), Forgotten::default(), "no such source");
        let one = Scope { from: moment(50), to: moment(150), ..everything("door") };
        let of_one = count(&history.forget(&one).unwrap());
        assert!(of_one > 0);
        assert_eq!(count(&history.forget(&one).unwrap()), 0, "it is forgotten");
        assert_eq!(count(&history.forget(&everything("door")).unwrap()), 2 * of_one, "the others were kept");
        assert_eq!(count(&history.forget(&everything("yard")).unwrap()), of_one);
    }
}
