//! Writes a range of the history into a folder: a file with JSON lines for each kind of entry, and the pictures as JPEG files.

use std::{
    fs::{DirBuilder, File},
    io::{self, BufWriter, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use rusqlite::{Connection, Row, types::ValueRef};
use serde_json::{Map, Value};

use super::{
    Reader,
    store::{self, Export, Range, TABLES, Table, known_name_id, name_text},
};
use crate::{alert::instant, atomic_file};

/// The folder of the pictures, in the folder of the export.
const PICTURES: &str = "pictures";

/// What is exported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// The name of a source; `None`: all sources.
    pub source: Option<String>,
    /// The first moment.
    pub from: Timestamp,
    /// The last moment.
    pub to: Timestamp,
}

/// Why the export is not complete.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The history cannot be read.
    #[error(transparent)]
    History(#[from] store::Error),
    /// A file cannot be written.
    #[error("cannot write {}: export to a folder that does not exist yet or is empty, with enough space", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        Self::History(error.into())
    }
}

/// Writes what is in `scope` into `folder`, which is made if it does not exist. Returns how many entries of each kind there are. Files
/// are never replaced. Only their owner can read them.
///
/// # Errors
/// The history cannot be read, or the folder cannot be written.
pub fn export(reader: &Reader, scope: &Scope, folder: &Path) -> Result<Vec<(&'static str, u64)>, Error> {
    let at = |path: &Path| {
        let path = path.to_owned();
        move |source| Error::File { path, source }
    };
    private_folder(folder).map_err(at(folder))?;
    let pictures = folder.join(PICTURES);
    private_folder(&pictures).map_err(at(&pictures))?;
    // All of it is of one moment.
    let transaction = reader.connection().unchecked_transaction()?;
    let source = scope.source.as_deref().map(|source| known_name_id(&transaction, source)).transpose()?;
    let is_known = source != Some(None);
    let [from, to] = [scope.from, scope.to].map(Timestamp::as_millisecond);
    let range = Range { source: source.flatten(), from, to };
    let mut counts = Vec::new();
    for table in TABLES.iter().filter(|table| !matches!(table.export, Export::Nothing)) {
        let path = folder.join(format!("{}.jsonl", table.name));
        let mut lines = Lines::create(path)?;
        if is_known {
            match table.export {
                Export::Lines(export) => {
                    export(&transaction, &range, &mut |line| lines.write(&line))?;
                }
                _ => rows(&transaction, table, &range, folder, &mut lines)?,
            }
        }
        counts.push((table.name, lines.finish()?));
    }
    Ok(counts)
}

/// Writes the rows of a table.
fn rows(
    connection: &Connection,
    table: &Table,
    range: &Range,
    folder: &Path,
    lines: &mut Lines,
) -> Result<(), Error> {
    let Table { name, time, export, .. } = table;
    let (first, last) = (time.first(), time.last());
    let mut statement = connection.prepare(&format!(
        "SELECT rowid AS row, * FROM {name} WHERE (?1 IS NULL OR source = ?1) AND {last} >= ?2 AND {first} <= ?3 ORDER BY {last}"
    ))?;
    let columns: Vec<_> = statement.column_names().map(str::to_owned).collect();
    let mut rows = statement.query((range.source, range.from, range.to))?;
    while let Some(row) = rows.next()? {
        let mut line = object(connection, table, &columns, row)?;
        if let Export::Pictures(column) = export {
            let file = write_picture(folder, row, column, last)?;
            line.insert("file".to_owned(), file.into());
        }
        if !lines.write(&line.into()) {
            break;
        }
    }
    Ok(())
}

/// A row as JSON: names as text, times in RFC 3339, texts that are JSON as such, without blobs.
fn object(
    connection: &Connection,
    table: &Table,
    columns: &[String],
    row: &Row<'_>,
) -> Result<Map<String, Value>, Error> {
    let mut object = Map::new();
    for (at, column) in columns.iter().enumerate().skip(1) {
        let is_time = [table.time.first(), table.time.last()].contains(&column.as_str());
        let is_name = column == "source" || table.names.contains(&column.as_str());
        let value = match row.get_ref(at)? {
            ValueRef::Null => Value::Null,
            ValueRef::Integer(time) if is_time => {
                Timestamp::from_millisecond(time).map_or(time.into(), |time| instant(time).into())
            }
            ValueRef::Integer(id) if is_name => name_text(connection, id).map_or(Value::Null, Value::from),
            ValueRef::Integer(number) => number.into(),
            ValueRef::Real(number) => number.into(),
            ValueRef::Text(text) => {
                let text = String::from_utf8_lossy(text);
                let is_json = text.starts_with(['{', '[']);
                is_json.then(|| serde_json::from_str(&text).ok()).flatten().unwrap_or_else(|| text.into())
            }
            ValueRef::Blob(_) => continue,
        };
        object.insert(column.clone(), value);
    }
    Ok(object)
}

/// Writes the picture of a row, and returns its path in the folder of the export.
fn write_picture(folder: &Path, row: &Row<'_>, column: &str, time: &str) -> Result<String, Error> {
    let time = row.get::<_, i64>(time)?;
    let time = Timestamp::from_millisecond(time).map_or_else(|_| time.to_string(), instant);
    // No colons: some file systems do not allow them.
    let file = format!("{PICTURES}/{}-{}.jpg", time.replace(':', ""), row.get::<_, i64>(0)?);
    let path = folder.join(&file);
    let jpeg = row.get_ref(column)?.as_blob().unwrap_or_default();
    let written = create(&path).and_then(|mut picture| picture.write_all(jpeg));
    written.map_err(|source| Error::File { path, source })?;
    Ok(file)
}

/// A file with a JSON object on each line.
struct Lines {
    path: PathBuf,
    file: BufWriter<File>,
    count: u64,
    failed: io::Result<()>,
}

impl Lines {
    fn create(path: PathBuf) -> Result<Self, Error> {
        match create(&path) {
            Ok(file) => Ok(Self { path, file: BufWriter::new(file), count: 0, failed: Ok(()) }),
            Err(source) => Err(Error::File { path, source }),
        }
    }

    /// Returns whether there is a point in going on.
    fn write(&mut self, line: &Value) -> bool {
        if self.failed.is_ok() {
            self.failed = writeln!(self.file, "{line}");
            self.count += 1;
        }
        self.failed.is_ok()
    }

    fn finish(mut self) -> Result<u64, Error> {
        let written = self.failed.and_then(|()| self.file.flush());
        written.map_err(|source| Error::File { path: self.path, source })?;
        Ok(self.count)
    }
}

fn create(path: &Path) -> io::Result<File> {
    File::options().write(true).create_new(true).mode(atomic_file::PRIVATE).open(path)
}

fn private_folder(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

#[cfg(test)]
mod tests {
    use std::{fs, sync::Arc};

    use super::*;
    use crate::{
        config::Config,
        history::{History, recorders::Recorders},
        observe::{Observation, tests::observation},
        policy::{HistoryPictures, HistorySettings},
        samples,
    };

    fn lines(folder: &Path, table: &str) -> Vec<Value> {
        let text = fs::read_to_string(folder.join(format!("{table}.jsonl"))).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn rows_are_lines_with_names_and_times_and_pictures_are_files() {
        let folder = tempfile::tempdir().unwrap();
        let mut history = History::open(folder.path()).unwrap();
        let settings = HistorySettings { pictures: HistoryPictures::Changes, ..HistorySettings::default() };
        let config = Arc::new(Config { history: Some(settings), ..samples::config() });
        let mut recorders = Recorders::new(&config);
        for source in ["door", "yard"] {
            let frame = Observation { source: source.into(), ..observation("1.jpg") };
            history.write(|transaction| recorders.record(transaction, &frame)).unwrap();
        }
        history.write(|transaction| recorders.flush(transaction)).unwrap();
        let reader = Reader::open(folder.path()).unwrap();
        let (from, to) = (Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH);
        let all = Scope { source: None, from, to };
        let out = folder.path().join("out");
        let counts = export(&reader, &all, &out).unwrap();
        assert!(counts.contains(&("pictures", 2)), "{counts:?}");
        let pictures = lines(&out, "pictures");
        let sources: Vec<_> = pictures.iter().map(|it| it["source"].as_str().unwrap()).collect();
        assert_eq!(sources, ["door", "yard"]);
        assert_eq!(pictures[0]["time"], "1970-01-01T00:00:00.000Z");
        let file = out.join(pictures[0]["file"].as_str().unwrap());
        assert!(fs::read(file).unwrap().starts_with(&[0xff, 0xd8]), "a JPEG");
        let again = export(&reader, &all, &out).unwrap_err().to_string();
        assert!(again.contains("does not exist yet"), "nothing is replaced: {again}");

        let one = Scope { source: Some("yard".to_owned()), ..all.clone() };
        assert!(export(&reader, &one, &folder.path().join("one")).unwrap().contains(&("pictures", 1)));
        let none = Scope { source: Some("garage".to_owned()), ..all };
        let counts = export(&reader, &none, &folder.path().join("none")).unwrap();
        assert!(counts.iter().all(|(_, count)| *count == 0), "{counts:?}");
    }
}
