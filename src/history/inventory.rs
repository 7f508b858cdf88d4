//! Counts what the history holds, for people. It reads indexes and small tables only, so that it is quick for a large file, too.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _};

use super::{
    store::{TABLES, Table},
    vectors::tables,
};

/// What the history holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inventory {
    /// Alerts: raised and cleared.
    pub alerts: u64,
    /// Near misses.
    pub near_misses: u64,
    /// Marks of people.
    pub marks: u64,
    /// Small pictures.
    pub pictures: u64,
    /// Embeddings of frames and regions. Those that were forgotten may count until their chunk is deleted.
    pub embeddings: u64,
    /// The oldest moment of which something is remembered.
    pub oldest: Option<Timestamp>,
}

impl Inventory {
    /// Counts what is behind `connection`.
    ///
    /// # Errors
    /// The disk does not work, or the file is damaged.
    pub fn of(connection: &Connection) -> rusqlite::Result<Self> {
        let count = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, u64>(0));
        let rows = |table: &str| count(&format!("SELECT COUNT(*) FROM {table}"));
        let chunks = tables::NAME;
        Ok(Self {
            alerts: rows("alerts")?,
            near_misses: rows("near_misses")?,
            marks: rows("marks")?,
            pictures: rows("pictures")?,
            embeddings: count(&format!("SELECT COALESCE(SUM(next), 0) FROM {chunks}"))?,
            oldest: oldest(connection)?,
        })
    }
}

/// The first moment of the oldest entry of all tables whose entries are deleted for their age.
fn oldest(connection: &Connection) -> rusqlite::Result<Option<Timestamp>> {
    let mut oldest = None;
    for Table { name, time, .. } in TABLES.iter().filter(|table| !table.permanent) {
        let sql = format!("SELECT {} FROM {name} ORDER BY {} LIMIT 1", time.first(), time.last());
        let first = connection.query_row(&sql, [], |row| row.get::<_, i64>(0)).optional()?;
        oldest = oldest.into_iter().chain(first).min();
    }
    Ok(oldest.and_then(|millisecond| Timestamp::from_millisecond(millisecond).ok()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        config::Config,
        history::{History, recorders::Recorders},
        observe::{Observation, tests::observation},
        picture::Picture,
        policy::HistorySettings,
        samples,
    };

    #[test]
    fn an_empty_history_and_one_with_a_few_entries() {
        let folder = tempfile::tempdir().unwrap();
        let mut history = History::open(folder.path()).unwrap();
        assert_eq!(Inventory::of(history.connection()).unwrap(), Inventory::default());

        let settings = HistorySettings { search: true, ..HistorySettings::default() };
        let config = Arc::new(Config { history: Some(settings), ..samples::config() });
        let mut recorders = Recorders::new(&config);
        let at = |second| Timestamp::from_second(second).unwrap();
        history
            .write(|transaction| {
                for second in [50_u16, 70, 90] {
                    let embedding = (0..64).map(|it| f32::from((it * 3 + second) % 29) / 29.0 - 0.4);
                    let (embeddings, second) = (vec![embedding.collect()], i64::from(second));
                    let picture = Picture::of_rgb(1, 1, vec![0; 3]).into();
                    let seen = observation("1.jpg");
                    let frame = Observation { captured_at: at(second), embeddings, picture, ..seen };
                    recorders.record(transaction, &frame)?;
                }
                recorders.flush(transaction)
            })
            .unwrap();
        let inventory = Inventory::of(history.connection()).unwrap();
        assert_eq!((inventory.embeddings, inventory.oldest), (3, Some(at(50))));
        assert_eq!((inventory.alerts, inventory.pictures, inventory.marks), (0, 0, 0));
    }
}
