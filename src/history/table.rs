//! What the tables of all kinds of content have in common: what retention and forgetting need to know of a table, and the names.
//! [`super::store`] exports it.

use rusqlite::{Connection, OptionalExtension as _, Transaction};

/// A table whose rows belong to a source and a time: what retention, forgetting and the export need to know of it.
#[derive(Debug, Clone, Copy)]
pub struct Table {
    /// Its name.
    pub name: &'static str,
    /// The statements that make it and its indexes, each with `IF NOT EXISTS`.
    pub create: &'static str,
    /// Where the times of a row are.
    pub time: TimeColumns,
    /// The column with the label, if rows belong to one label.
    pub label: Option<&'static str>,
    /// The columns that refer to `names`, without the column `source`.
    pub names: &'static [&'static str],
    /// The most rows that are deleted in one step, so that the step is short. Rows of other tables that belong to a row are deleted with it,
    /// by a trigger.
    pub step: u32,
    /// Rows are not deleted for their age or for space, only when they are to be forgotten.
    pub permanent: bool,
    /// Deletes what is in the selection, and returns how many rows or parts of rows that were. `None`: whole rows are deleted; those
    /// of a span if any part of it is selected; and if only one label is selected, those with that label.
    pub forget: Option<fn(&Transaction<'_>, &Selection) -> rusqlite::Result<u64>>,
    /// What the export writes of it.
    pub export: Export,
}

/// What the export writes of a table.
#[derive(Debug, Clone, Copy)]
pub enum Export {
    /// A JSON object for each row, with names and times as text. Blobs are left out.
    Rows,
    /// The same, and the JPEG in this column as a file.
    Pictures(&'static str),
    /// What this function hands to its last argument: JSON objects, in the order of their times, until that returns false.
    Lines(ExportLines),
    /// Nothing: it has no meaning elsewhere.
    Nothing,
}

/// Hands the entries in a range to its last argument, until that returns false.
pub type ExportLines =
    fn(&Connection, &Range, &mut dyn FnMut(serde_json::Value) -> bool) -> rusqlite::Result<()>;

/// A range of entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// The identifier of the source's name; `None`: all sources.
    pub source: Option<i64>,
    /// The first moment, in milliseconds since 1970.
    pub from: i64,
    /// The last moment.
    pub to: i64,
}

impl Table {
    /// A table without a column for the label. Use it as the rest of a literal: fields may be added.
    #[must_use]
    pub const fn new(name: &'static str, create: &'static str, time: TimeColumns) -> Self {
        Self {
            name,
            create,
            time,
            label: None,
            names: &[],
            step: 200,
            permanent: false,
            forget: None,
            export: Export::Rows,
        }
    }
}

/// Where the times of a row are: milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeColumns {
    /// The row is of one moment, in this column.
    At(&'static str),
    /// The row is of a span.
    Span {
        /// The column with its first moment.
        first: &'static str,
        /// The column with its last moment.
        last: &'static str,
    },
}

impl TimeColumns {
    /// The column by which rows are old.
    #[must_use]
    pub fn last(self) -> &'static str {
        match self {
            Self::At(at) => at,
            Self::Span { last, .. } => last,
        }
    }

    /// The column by which rows begin.
    #[must_use]
    pub fn first(self) -> &'static str {
        match self {
            Self::At(at) => at,
            Self::Span { first, .. } => first,
        }
    }
}

/// What is to be forgotten, as the file spells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Selection {
    /// The identifier of the source's name.
    pub source: i64,
    /// The first selected moment.
    pub from: i64,
    /// The last selected moment.
    pub to: i64,
    /// Only what belongs to the label with this name.
    pub label: Option<i64>,
}

/// The identifier of a name; a new one if it has none yet.
///
/// # Errors
/// The disk does not work.
pub fn name_id(transaction: &Transaction<'_>, text: &str) -> rusqlite::Result<i64> {
    if let Some(id) = known_name_id(transaction, text)? {
        return Ok(id);
    }
    transaction.prepare_cached("INSERT INTO names (text) VALUES (?1)")?.execute([text])?;
    Ok(transaction.last_insert_rowid())
}

/// The identifier of a name, if the history knows it.
///
/// # Errors
/// The disk does not work.
pub fn known_name_id(connection: &Connection, text: &str) -> rusqlite::Result<Option<i64>> {
    let mut known = connection.prepare_cached("SELECT id FROM names WHERE text = ?1")?;
    known.query_row([text], |row| row.get(0)).optional()
}

/// The name with this identifier.
///
/// # Errors
/// There is none, or the disk does not work.
pub fn name_text(connection: &Connection, id: i64) -> rusqlite::Result<String> {
    connection.prepare_cached("SELECT text FROM names WHERE id = ?1")?.query_row([id], |row| row.get(0))
}
