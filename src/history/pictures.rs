//! Small JPEGs of frames with an alert or a near miss, and with `pictures: changes` of every frame that changed.
//!
//! A frame has one picture, which all rows of the frame share. A frame is made small and encoded at most once, and only if a row
//! wants its picture. The number of pictures of a source is limited for each second, so that neither a label that flickers nor a
//! source with many frames fills the disk.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
};

use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, OptionalExtension as _, Transaction};

use super::{
    filter,
    table::{Export, Selection, Table, TimeColumns, known_name_id, name_id},
};
use crate::{
    model::preprocess::thumbnail,
    observe::Observation,
    picture::{Picture, hash},
    policy::HistoryPictures,
};

/// The longer side of a picture, in pixels.
pub const LONGEST: u32 = 320;
/// The JPEG quality.
const QUALITY: u8 = 75;

/// The table of pictures. `changed` marks those that are kept because their frame changed. Identifiers are never used again: rows
/// of other tables refer to them.
pub const TABLE: Table = Table {
    forget: Some(forget),
    export: Export::Pictures("jpeg"),
    ..Table::new(
        "pictures",
        "CREATE TABLE IF NOT EXISTS pictures (
             id INTEGER PRIMARY KEY AUTOINCREMENT,
             source INTEGER NOT NULL,
             time INTEGER NOT NULL,
             hash INTEGER NOT NULL,
             changed INTEGER NOT NULL,
             jpeg BLOB NOT NULL
         ) STRICT;
         CREATE UNIQUE INDEX IF NOT EXISTS pictures_by_time ON pictures (time, source, hash);",
        TimeColumns::At("time"),
    )
};

/// The small picture of a frame.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SmallPicture {
    source: Arc<str>,
    captured_at: Timestamp,
    jpeg: Vec<u8>,
}

/// Why a picture is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Reason {
    Alert,
    NearMiss,
    Change,
}

impl Reason {
    /// The pictures of a source that are kept in a second, and at once after a pause.
    const fn limit(self) -> (f64, f64) {
        match self {
            Self::Alert => (2.0, 4.0),
            Self::NearMiss => (0.5, 2.0),
            Self::Change => (1.0, 1.0),
        }
    }
}

/// Makes the pictures of frames, within the limits.
#[derive(Debug)]
pub(super) struct PictureRecorder {
    kept: HistoryPictures,
    limits: HashMap<(Arc<str>, Reason), Limit>,
    /// The newest picture of each source. A source whose picture has not changed sends the same one again.
    newest: HashMap<Arc<str>, Weak<Picture>>,
}

/// The small picture of one frame, once a row has asked for it.
pub(super) struct FramePicture<'o> {
    observation: &'o Observation,
    /// The inner `None`: it cannot be encoded.
    small: Option<Option<Arc<SmallPicture>>>,
}

impl<'o> FramePicture<'o> {
    pub fn of(observation: &'o Observation) -> Self {
        Self { observation, small: None }
    }

    fn small(&mut self) -> Option<Arc<SmallPicture>> {
        let Observation { source, captured_at, picture, .. } = self.observation;
        let encode = || {
            let jpeg = thumbnail(picture, LONGEST).to_jpeg(QUALITY);
            let jpeg = jpeg.inspect_err(|error| {
                tracing::warn!(source = &**source, %error, "the history has no picture of a frame");
            });
            let (source, captured_at) = (Arc::clone(source), *captured_at);
            Some(Arc::new(SmallPicture { source, captured_at, jpeg: jpeg.ok()? }))
        };
        self.small.get_or_insert_with(encode).clone()
    }
}

impl PictureRecorder {
    pub fn new(kept: HistoryPictures) -> Self {
        Self { kept, limits: HashMap::new(), newest: HashMap::new() }
    }

    /// Another configuration is in force, which keeps the pictures of these frames.
    pub fn keep(&mut self, kept: HistoryPictures) {
        self.kept = kept;
    }

    /// The picture of a frame for a row of this kind; `None` if pictures are off, or if the source had too many of them.
    pub fn take(&mut self, frame: &mut FramePicture<'_>, reason: Reason) -> Option<Arc<SmallPicture>> {
        if self.kept == HistoryPictures::Off {
            return None;
        }
        // What is encoded for another row costs nothing.
        if frame.small.is_none() {
            let Observation { source, judged_at, .. } = frame.observation;
            if !self.limit(source, reason, *judged_at).allows(*judged_at) {
                return None;
            }
        }
        frame.small()
    }

    fn limit(&mut self, source: &Arc<str>, reason: Reason, now: Timestamp) -> &mut Limit {
        let key = (Arc::clone(source), reason);
        if !self.limits.contains_key(&key) {
            // Sources come and go. A limit that is not used any more is like a new one.
            self.limits.retain(|_, limit| limit.left_at(now) < limit.most);
        }
        self.limits.entry(key).or_insert_with(|| Limit::of(reason))
    }

    /// Stores the picture of a frame that differs from the frame before it, if such pictures are kept.
    pub fn record(
        &mut self,
        transaction: &Transaction<'_>,
        frame: &mut FramePicture<'_>,
    ) -> rusqlite::Result<()> {
        if self.kept != HistoryPictures::Changes {
            return Ok(());
        }
        let Observation { source, picture, .. } = frame.observation;
        let newest = Arc::downgrade(picture);
        let before = self.newest.insert(Arc::clone(source), newest.clone());
        if before.is_none() {
            // Sources come and go.
            self.newest.retain(|_, picture| picture.strong_count() > 0);
        }
        if before.is_some_and(|before| before.ptr_eq(&newest)) {
            return Ok(());
        }
        match self.take(frame, Reason::Change) {
            Some(small) => store(transaction, &small, true).map(|_| ()),
            None => Ok(()),
        }
    }
}

/// A number of pictures in a second, with a reserve that fills while there are none. Pure.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Limit {
    rate: f64,
    most: f64,
    left: f64,
    at: Option<Timestamp>,
}

impl Limit {
    fn of(reason: Reason) -> Self {
        let (rate, most) = reason.limit();
        Self { rate, most, left: most, at: None }
    }

    /// Whether there may be a picture `now`; if so, it is counted. A clock that was set counts as no time.
    fn allows(&mut self, now: Timestamp) -> bool {
        self.left = self.left_at(now);
        self.at = Some(now);
        let allowed = self.left >= 1.0;
        if allowed {
            self.left -= 1.0;
        }
        allowed
    }

    /// The number of pictures that there may be at once.
    fn left_at(&self, now: Timestamp) -> f64 {
        let passed = self.at.map_or(SignedDuration::ZERO, |at| now.duration_since(at));
        (self.left + self.rate * passed.as_secs_f64().max(0.0)).min(self.most)
    }
}

/// Stores a picture, if it is not stored yet, and returns its identifier. `changed`: it is kept although no row refers to it.
pub(super) fn store(
    transaction: &Transaction<'_>,
    picture: &SmallPicture,
    changed: bool,
) -> rusqlite::Result<i64> {
    let (source, time) = (name_id(transaction, &picture.source)?, picture.captured_at.as_millisecond());
    let hash = hash(&picture.jpeg).cast_signed();
    transaction
        .prepare_cached(
            "INSERT INTO pictures (source, time, hash, changed, jpeg) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (time, source, hash) DO UPDATE SET changed = changed OR excluded.changed
             RETURNING id",
        )?
        .query_row((source, time, hash, changed, &picture.jpeg), |row| row.get(0))
}

/// Deletes a picture to which no row refers any more, unless its frame changed.
pub(super) fn release(transaction: &Transaction<'_>, picture: i64) -> rusqlite::Result<()> {
    transaction
        .prepare_cached(
            "DELETE FROM pictures WHERE id = ?1 AND NOT changed
             AND NOT EXISTS (SELECT 1 FROM alerts WHERE picture = ?1)
             AND NOT EXISTS (SELECT 1 FROM near_misses WHERE picture = ?1)",
        )?
        .execute([picture])?;
    Ok(())
}

/// The JPEG with this identifier; `None` if it was deleted.
///
/// # Errors
/// The file cannot be read.
pub fn jpeg(connection: &Connection, id: i64) -> rusqlite::Result<Option<Vec<u8>>> {
    let mut jpeg = connection.prepare_cached("SELECT jpeg FROM pictures WHERE id = ?1")?;
    jpeg.query_row([id], |row| row.get(0)).optional()
}

/// A picture, without its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// Its identifier.
    pub id: i64,
    /// When its frame was captured.
    pub captured_at: Timestamp,
}

/// The picture of a source that was captured nearest to a moment, at most `within` away from it.
///
/// # Errors
/// The file cannot be read.
pub fn nearest(
    connection: &Connection,
    source: &str,
    moment: Timestamp,
    within: SignedDuration,
) -> rusqlite::Result<Option<Stored>> {
    Ok(around(connection, source, moment, within, 1)?.pop())
}

/// The pictures of a source that were captured nearest to a moment, at most `within` away from it and at most this number of them, in
/// the order of their times.
///
/// # Errors
/// The file cannot be read.
pub fn around(
    connection: &Connection,
    source: &str,
    moment: Timestamp,
    within: SignedDuration,
    most: u32,
) -> rusqlite::Result<Vec<Stored>> {
    let Some(source) = known_name_id(connection, source)? else { return Ok(vec![]) };
    let (time, within) = (moment.as_millisecond(), i64::try_from(within.as_millis()).unwrap_or(i64::MAX));
    let mut nearest = connection.prepare_cached(
        "SELECT id, time FROM pictures WHERE source = ?1 AND time BETWEEN ?2 AND ?3
         ORDER BY abs(time - ?4), id LIMIT ?5",
    )?;
    let range = (source, time.saturating_sub(within), time.saturating_add(within), time, most);
    let found = nearest
        .query_map(range, |row| Ok(Stored { id: row.get(0)?, captured_at: filter::time(row.get(1)?)? }))?;
    let mut found: Vec<_> = found.collect::<rusqlite::Result<_>>()?;
    found.sort_by_key(|picture| (picture.captured_at, picture.id));
    Ok(found)
}

/// A stored picture with its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WithBytes {
    /// The name of its source.
    pub source: String,
    /// When its frame was captured: milliseconds since 1970.
    pub time: i64,
    /// The JPEG, as it is in the file, which may be damaged.
    pub jpeg: Vec<u8>,
}

/// The picture with this identifier; `None` if it was deleted, or if it has more than `longest` bytes.
///
/// # Errors
/// The file cannot be read.
pub fn with_bytes(connection: &Connection, id: i64, longest: u32) -> rusqlite::Result<Option<WithBytes>> {
    let mut select = connection.prepare_cached(
        "SELECT text, time, jpeg FROM pictures JOIN names ON names.id = source
         WHERE pictures.id = ?1 AND length(jpeg) <= ?2",
    )?;
    let picture =
        |row: &rusqlite::Row<'_>| Ok(WithBytes { source: row.get(0)?, time: row.get(1)?, jpeg: row.get(2)? });
    select.query_row((id, longest), picture).optional()
}

/// Whether the picture with this identifier is stored.
pub(super) fn exists(connection: &Connection, id: i64) -> rusqlite::Result<bool> {
    connection.prepare_cached("SELECT 1 FROM pictures WHERE id = ?1")?.exists([id])
}

/// The time of the newest picture before this time: milliseconds since 1970.
pub(super) fn newest_before(connection: &Connection, until: i64) -> rusqlite::Result<Option<i64>> {
    let mut newest = connection.prepare_cached("SELECT max(time) FROM pictures WHERE time < ?1")?;
    newest.query_row([until], |row| row.get(0))
}

/// The identifiers of the sources with pictures since `from` and before `to`, sorted.
pub(super) fn sources_between(connection: &Connection, from: i64, to: i64) -> rusqlite::Result<Vec<i64>> {
    let mut sources = connection.prepare_cached(
        "SELECT DISTINCT source FROM pictures WHERE time >= ?1 AND time < ?2 ORDER BY source",
    )?;
    sources.query_map([from, to], |row| row.get(0))?.collect()
}

/// The identifiers and times of the pictures of a source since `from` and before `to`, the newest first.
pub(super) fn between(
    connection: &Connection,
    source: i64,
    from: i64,
    to: i64,
) -> rusqlite::Result<Vec<(i64, i64)>> {
    let mut pictures = connection.prepare_cached(
        "SELECT id, time FROM pictures WHERE source = ?1 AND time >= ?2 AND time < ?3 ORDER BY time DESC, id DESC",
    )?;
    pictures.query_map([source, from, to], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

/// Deletes the pictures of a selection. Of one label: those of its alerts and near misses, also if another label has them too.
fn forget(transaction: &Transaction<'_>, selection: &Selection) -> rusqlite::Result<u64> {
    let Selection { source, from, to, label } = *selection;
    let deleted = match label {
        None => transaction.execute(
            "DELETE FROM pictures WHERE source = ?1 AND time BETWEEN ?2 AND ?3",
            (source, from, to),
        )?,
        Some(label) => transaction.execute(
            "DELETE FROM pictures WHERE id IN (
                 SELECT picture FROM alerts WHERE source = ?1 AND time BETWEEN ?2 AND ?3 AND label = ?4
                 UNION SELECT picture FROM near_misses
                 WHERE source = ?1 AND time BETWEEN ?2 AND ?3 AND label = ?4)",
            (source, from, to, label),
        )?,
    };
    Ok(deleted as u64)
}

/// Stores these bytes as a picture.
#[cfg(test)]
pub(super) fn store_for_test(transaction: &Transaction<'_>, source: &str, time: i64, jpeg: Vec<u8>) -> i64 {
    let captured_at = Timestamp::from_millisecond(time).unwrap();
    store(transaction, &SmallPicture { source: source.into(), captured_at, jpeg }, true).unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        history::{
            History,
            samples::{at, grey, observation},
        },
        picture,
    };

    fn count(connection: &Connection) -> i64 {
        connection.query_row("SELECT count(*) FROM pictures", [], |row| row.get(0)).unwrap()
    }

    #[test]
    fn limits_are_those_of_each_second() {
        let mut limit = Limit::of(Reason::Alert);
        let mut allowed =
            |times: &[i64]| times.iter().map(|time| limit.allows(at(*time))).collect::<Vec<_>>();
        assert_eq!(allowed(&[0, 0, 0, 0, 0, 400]), [true, true, true, true, false, false]);
        assert_eq!(allowed(&[500, 501]), [true, false]);
        assert_eq!(allowed(&[-60_000, -59_000, -58_000]), [false, true, true], "the clock was set back");
        assert_eq!(allowed(&[3_600_000; 5]), [true, true, true, true, false]);
    }

    #[test]
    fn sources_that_ended_are_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let mut history = History::open(folder.path()).unwrap();
        let mut recorder = PictureRecorder::new(HistoryPictures::Changes);
        for number in 0..100 {
            let observation = observation(&format!("source {number}"), number * 10_000, &grey(90));
            let mut of_frame = FramePicture::of(&observation);
            assert!(recorder.take(&mut of_frame, Reason::Alert).is_some());
            history.write(|transaction| recorder.record(transaction, &mut of_frame)).unwrap();
        }
        assert_eq!((recorder.limits.len(), recorder.newest.len()), (1, 1));
        let busy = observation("busy", 2_000_000, &grey(90));
        for _ in 0..4 {
            assert!(recorder.take(&mut FramePicture::of(&busy), Reason::Alert).is_some());
        }
        let other = observation("other", 2_000_400, &grey(90));
        assert!(recorder.take(&mut FramePicture::of(&other), Reason::Alert).is_some());
        let busy = observation("busy", 2_000_400, &grey(90));
        assert!(recorder.take(&mut FramePicture::of(&busy), Reason::Alert).is_none(), "its limit is kept");
    }

    #[test]
    fn a_frame_has_one_small_picture_which_rows_share() {
        let folder = tempfile::tempdir().unwrap();
        let mut history = History::open(folder.path()).unwrap();
        let mut recorder = PictureRecorder::new(HistoryPictures::Alerts);
        let observation = observation("door", 0, &grey(90));
        let mut of_frame = FramePicture::of(&observation);
        let alert = recorder.take(&mut of_frame, Reason::Alert).unwrap();
        let near = recorder.take(&mut of_frame, Reason::NearMiss).unwrap();
        assert!(Arc::ptr_eq(&alert, &near), "encoded once");
        let [one, other] = history
            .write(|transaction| Ok([&alert, &near].map(|it| store(transaction, it, false).unwrap())))
            .unwrap();
        assert_eq!((one, count(history.connection())), (other, 1));
        let bytes = jpeg(history.connection(), one).unwrap().unwrap();
        let decoded = picture::decode(&bytes, picture::Limits::of(1_000_000)).unwrap();
        assert_eq!((decoded.width, decoded.height), (320, 180));
        assert!(bytes.len() < 40_000, "{}", bytes.len());
        let near = |millisecond, within| {
            let within = SignedDuration::from_millis(within);
            nearest(history.connection(), "door", at(millisecond), within).unwrap().map(|it| it.id)
        };
        assert_eq!([near(700, 1000), near(-700, 1000), near(700, 600)], [Some(one), Some(one), None]);
        history.write(|transaction| release(transaction, one)).unwrap();
        assert_eq!(jpeg(history.connection(), one).unwrap(), None);
    }

    #[test]
    fn changes_are_kept_once_a_second_if_they_are_wanted() {
        let folder = tempfile::tempdir().unwrap();
        let mut history = History::open(folder.path()).unwrap();
        let (same, other) = (grey(90), grey(200));
        let frames = [
            (&same, 0, 1),
            (&same, 1000, 1),
            (&other, 2000, 2),
            // It changed, and there was one in this second.
            (&same, 2400, 2),
            (&other, 5000, 3),
            (&other, 6000, 3),
        ];
        for kept in [HistoryPictures::Off, HistoryPictures::Alerts, HistoryPictures::Changes] {
            let mut recorder = PictureRecorder::new(kept);
            for (picture, millisecond, expected) in frames {
                let observation = observation("door", millisecond, picture);
                let mut of_frame = FramePicture::of(&observation);
                history.write(|transaction| recorder.record(transaction, &mut of_frame)).unwrap();
                let expected = if kept == HistoryPictures::Changes { expected } else { 0 };
                assert_eq!(count(history.connection()), expected, "{kept:?} {millisecond}");
            }
        }
        history
            .write(|transaction| {
                let ids = [1, 2, 3].map(|id| release(transaction, id));
                assert!(ids.iter().all(Result::is_ok));
                Ok(())
            })
            .unwrap();
        assert_eq!(count(history.connection()), 3, "no row refers to them, and they stay");
    }

    #[test]
    fn without_pictures_nothing_is_encoded() {
        let observation = observation("door", 0, &grey(90));
        let mut of_frame = FramePicture::of(&observation);
        assert_eq!(PictureRecorder::new(HistoryPictures::Off).take(&mut of_frame, Reason::Alert), None);
        assert!(of_frame.small.is_none());
    }
}
