//! Replays recordings (videos, pictures, folders of them) through the same model, label sets and triggers as the service, on the
//! recordings' own clock and as fast as the machine allows.
//!
//! Nothing is published or kept, and identical input gives identical output, including the alerts' identifiers.

mod picture;
mod player;
mod recordings;
mod stored_timeline;
mod timeline;

use std::path::PathBuf;

use anyhow::{Result, bail};
use jiff::Timestamp;
use uuid::Uuid;

#[cfg(test)]
pub(crate) use self::timeline::sample;
pub use self::{
    picture::{JudgedPicture, judge_picture},
    player::Played,
    stored_timeline::StoredTimeline,
    timeline::{Peak, Span, Timeline, Track},
};
use crate::{
    alert::Alert,
    classify::Scored,
    config::{Config, Source},
    history::rejudge::Ids,
    judge::Judge,
    progress::Playback,
};

/// A scored frame, and what the triggers made of it.
pub struct Judged<'a> {
    /// The frame and its scores.
    pub scored: &'a Scored,
    /// The alerts that the frame raised or cleared.
    pub alerts: &'a [Alert],
    /// The triggers after the frame.
    pub judge: &'a Judge,
    /// The progress bar, to write lines beside.
    pub playback: &'a Playback,
}

/// The source that recordings are played for: the named one, or the only one.
///
/// # Errors
/// There is no such source, or there are several and none is named.
pub fn source<'c>(config: &'c Config, name: Option<&str>) -> Result<&'c Source> {
    let names = || config.sources.iter().map(|source| source.name.as_str()).collect::<Vec<_>>().join(", ");
    match (name, &config.sources[..]) {
        (Some(name), sources) => match sources.iter().find(|source| source.name == name) {
            Some(source) => Ok(source),
            None => bail!("there is no source {name}; there are: {}", names()),
        },
        (None, [only]) => Ok(only),
        (None, _) => bail!("name the source of the recordings with --source: {}", names()),
    }
}

/// Plays everything in `paths` as frames of `source`, and calls `each` for every scored frame, in order. `start` is when the
/// first video began, and overrides the times of the files.
///
/// # Errors
/// The model cannot be used ([`LoadError`](crate::classify::LoadError) inside), a path does not exist, or `each` fails.
pub fn play(
    config: &Config,
    source: &Source,
    paths: &[PathBuf],
    start: Option<Timestamp>,
    mut each: impl FnMut(Judged<'_>) -> Result<()>,
) -> Result<Played> {
    let mut judge = Judge::new(&config.mqtt.prefix, &config.model.name());
    // The first labels: no alerts or topics of earlier ones.
    judge.reload(config, Timestamp::UNIX_EPOCH, Uuid::nil);
    let mut ids = Ids::default();
    player::play(config, source, paths, start, |scored, playback| {
        let time = scored.frame.captured_at;
        let judged = judge.judge(scored, time, || ids.next(time));
        each(Judged { scored, alerts: &judged.alerts, judge: &judge, playback })
    })
}
