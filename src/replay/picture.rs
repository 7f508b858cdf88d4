//! Judges one picture as if a source had delivered it: what the gates of the source say to it.

use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use jiff::Timestamp;
use uuid::Uuid;

use super::{
    player,
    recordings::{RecordingKind, find},
};
use crate::{
    classify::Scored,
    config::{Config, Source},
    frame::{Frame, Slot},
    judge::{Assessment, Judge, SavedBaseline},
};

/// A picture, and what was made of it.
#[derive(Debug)]
pub struct JudgedPicture {
    /// When it was captured, or the time that the caller named.
    pub captured_at: Timestamp,
    /// What was made of each label and rule.
    pub assessments: Vec<Assessment>,
}

/// Scores the picture at `path` with the model of `config` and judges it as the first frame of `source`, as if it had been captured at
/// `at`; without `at`, at the time in the picture, in its name, or of its file. `baselines` are those that the service has learnt.
///
/// # Errors
/// The model cannot be used ([`LoadError`](crate::classify::LoadError) inside), or the file is no picture that can be decoded.
pub fn judge_picture(
    config: &Config,
    source: &Source,
    path: &Path,
    at: Option<Timestamp>,
    baselines: Vec<SavedBaseline>,
) -> Result<JudgedPicture> {
    let paths = [path.to_owned()];
    match &find(&paths)?.recordings[..] {
        [only] if only.kind == RecordingKind::Picture => {}
        _ => bail!("{} is not one picture: `stakeout replay` plays videos and folders", path.display()),
    }
    let mut judge = Judge::new(&config.mqtt.prefix, &config.model.name());
    judge.restore_baselines(baselines);
    // The first labels: no alerts or topics of earlier ones.
    judge.reload(config, Timestamp::UNIX_EPOCH, Uuid::nil);
    let mut judged = None;
    player::play(config, source, &paths, None, |scored, _| {
        let scored = captured(scored, at.unwrap_or(scored.frame.captured_at));
        let captured_at = scored.frame.captured_at;
        let assessments = judge.judge(&scored, captured_at, Uuid::nil).assessments;
        judged = Some(JudgedPicture { captured_at, assessments });
        Ok(())
    })?;
    let judged = judged.with_context(|| format!("{} was not scored", path.display()))?;
    ensure!(!judged.assessments.is_empty(), "the source {} watches no label", source.name);
    Ok(judged)
}

/// The same frame, captured at another time.
fn captured(scored: &Scored, captured_at: Timestamp) -> Scored {
    let Frame { source, origin, picture, .. } = &scored.frame;
    let (source, origin) = (source.clone(), origin.clone());
    let frame = Frame { source, origin, captured_at, picture: picture.clone(), slot: Slot::free() };
    Scored { frame, sets: scored.sets.clone(), embeddings: Vec::new() }
}
