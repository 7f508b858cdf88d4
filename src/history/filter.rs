//! Which entries a reader asks for: by source, label and time, the newest first.

use jiff::Timestamp;
use rusqlite::Connection;

use crate::topic::topic_level;

/// What a reader asks for. Everything that is `None` is not limited.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// The name of a source, as typed: exactly, or spelt alike if no name is exactly this one.
    pub source: Option<String>,
    /// The name of a label, in the same way; `set/label` names the label set, too.
    pub label: Option<String>,
    /// The first moment.
    pub since: Option<Timestamp>,
    /// The last moment.
    pub until: Option<Timestamp>,
    /// At most this number of entries.
    pub limit: Option<u32>,
}

impl Filter {
    /// The end of a statement that selects from a table with the columns `source`, `label_set`, `label` and `time`: its conditions,
    /// the newest first, and the limit. `table` is the name of the table in the statement.
    pub(super) fn clauses(&self, connection: &Connection, table: &str) -> rusqlite::Result<String> {
        let conditions = self.conditions(connection, table)?;
        let condition = if conditions.is_empty() { "1".to_owned() } else { conditions.join(" AND ") };
        let limit = self.limit.map_or(-1, i64::from);
        Ok(format!("WHERE {condition} ORDER BY {table}.time DESC, {table}.rowid DESC LIMIT {limit}"))
    }

    /// The conditions alone.
    pub(super) fn conditions(&self, connection: &Connection, table: &str) -> rusqlite::Result<Vec<String>> {
        let mut conditions = Vec::new();
        if let Some(source) = &self.source {
            conditions.push(format!("{table}.source IN ({})", list(&ids(connection, source)?)));
        }
        if let Some(label) = &self.label {
            conditions.push(label_condition(connection, table, label)?);
        }
        let since = self.since.map(|time| format!("{table}.time >= {}", time.as_millisecond()));
        let until = self.until.map(|time| format!("{table}.time <= {}", time.as_millisecond()));
        conditions.extend(since.into_iter().chain(until));
        Ok(conditions)
    }
}

fn label_condition(connection: &Connection, table: &str, typed: &str) -> rusqlite::Result<String> {
    let labels = ids(connection, typed)?;
    let alone = format!("{table}.label IN ({})", list(&labels));
    // A label may have a `/` in its name.
    let Some((set, label)) = typed.split_once('/').filter(|_| labels.is_empty()) else { return Ok(alone) };
    let (sets, labels) = (ids(connection, set)?, ids(connection, label)?);
    Ok(format!("{table}.label_set IN ({}) AND {table}.label IN ({})", list(&sets), list(&labels)))
}

/// The identifiers of the name that was typed; of all names that are spelt alike, if no name is exactly this one.
fn ids(connection: &Connection, typed: &str) -> rusqlite::Result<Vec<i64>> {
    let mut statement = connection.prepare_cached("SELECT id, text FROM names")?;
    let names = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let names: Vec<(i64, String)> = names.collect::<rusqlite::Result<_>>()?;
    if let Some((id, _)) = names.iter().find(|(_, name)| name == typed) {
        return Ok(vec![*id]);
    }
    let level = topic_level(typed);
    Ok(names.iter().filter(|(_, name)| topic_level(name) == level).map(|(id, _)| *id).collect())
}

fn list(ids: &[i64]) -> String {
    ids.iter().map(i64::to_string).collect::<Vec<_>>().join(",")
}

/// A time of the file: milliseconds since 1970.
pub(super) fn time(milliseconds: i64) -> rusqlite::Result<Timestamp> {
    Timestamp::from_millisecond(milliseconds)
        .map_err(|_| rusqlite::Error::IntegralValueOutOfRange(0, milliseconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_exactly_or_as_they_are_spelt() {
        let connection = Connection::open_in_memory().unwrap();
        connection
            .execute_batch(
                "CREATE TABLE names (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE);
                 INSERT INTO names (text) VALUES ('Front Door'), ('front door'), ('back'), ('red/car'), ('porch')",
            )
            .unwrap();
        let of = |source: Option<&str>, label: Option<&str>| {
            let filter = Filter {
                source: source.map(str::to_owned),
                label: label.map(str::to_owned),
                ..Filter::default()
            };
            let clauses = filter.clauses(&connection, "t").unwrap();
            clauses.trim_end_matches(" ORDER BY t.time DESC, t.rowid DESC LIMIT -1").to_owned()
        };
        let cases = [
            (None, None, "WHERE 1"),
            (Some("Front Door"), None, "WHERE t.source IN (1)"),
            (Some("front-door"), None, "WHERE t.source IN ()"),
            (Some("FRONT DOOR"), None, "WHERE t.source IN (1,2)"),
            (None, Some("red/car"), "WHERE t.label IN (4)"),
            (None, Some("porch/back"), "WHERE t.label_set IN (5) AND t.label IN (3)"),
            (Some("back"), Some("cat"), "WHERE t.source IN (3) AND t.label IN ()"),
        ];
        for (source, label, expected) in cases {
            assert_eq!(of(source, label), expected, "{source:?} {label:?}");
        }
        let limited = Filter {
            since: Some(Timestamp::UNIX_EPOCH),
            until: Some("1970-01-01T00:00:01Z".parse().unwrap()),
            limit: Some(7),
            ..Filter::default()
        };
        let clauses = limited.clauses(&connection, "t").unwrap();
        assert_eq!(
            clauses,
            "WHERE t.time >= 0 AND t.time <= 1000 ORDER BY t.time DESC, t.rowid DESC LIMIT 7"
        );
    }
}
