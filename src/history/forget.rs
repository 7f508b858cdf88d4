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
        self.connection().execute_batch("VACUUM").map_err(|error| error.to_string())?;
        if !self.empty_log().map_err(|error| error.to_string())? {
            return Err("another program is reading the history".to_owned());
        }
        delete_set_aside(self.path()).map_err(|error| error.to_string())
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
