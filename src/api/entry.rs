//! `entry`: one alert or near miss with everything that is stored of it and around it.

use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    alerts::Alert,
    error::{Error, Kind},
    explain::{self, ExplainedLabel},
    pictures,
    time::Time,
    timeline,
    verb::{Answer, Method, Verb},
};
use crate::history::{
    self, Reader, pictures as stored,
    scores::{self, Chunk, FrameBuffer, Window},
    timeline as list,
};

/// The verb.
pub const VERB: Verb<Request, Response> = Verb {
    name: "entry",
    method: Method::Get,
    summary: "Shows an alert or a near miss with all scores of its frame, and the frames before and after it.",
    answer: Answer::Read(answer),
};

/// The time before and after the frame that is shown.
const AROUND: SignedDuration = SignedDuration::from_mins(1);
/// The pictures at most.
const MOST_PICTURES: u32 = 24;
/// The scores at most: those of two minutes with eight frames a second.
const MOST_SCORES: usize = 1000;

/// Which entry is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// The identifier of an alert or of a near miss.
    pub id: String,
}

/// What is stored of an entry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Response {
    /// The entry, as `timeline` lists it.
    pub entry: timeline::Entry,
    /// The alert, as it was published; `null` for a near miss.
    pub alert: Option<Alert>,
    /// Every label of the source on the same frame, as `explain` shows them; empty if the scores of this frame are not stored.
    pub labels: Vec<ExplainedLabel>,
    /// Stored pictures of the source within a minute, in the order of their times.
    pub pictures: Vec<PictureAround>,
    /// The scores of the label in stored frames within a minute, in the order of their times; empty for a rule.
    pub scores: Vec<ScoreAround>,
}

/// A stored picture before or after an entry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PictureAround {
    /// When it was captured.
    pub captured_at: Time,
    /// Its address.
    pub picture: String,
    /// The score of the label in this frame, if it is stored.
    pub score: Option<f32>,
}

/// The score of a label in a frame.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ScoreAround {
    /// When the frame was captured.
    pub captured_at: Time,
    /// The score from 0 to 1.
    pub score: f32,
}

/// Shows an entry.
///
/// # Errors
/// There is no such entry (any more), or the store cannot be read.
pub fn answer(reader: &Reader, request: &Request) -> Result<Response, Error> {
    let id = request.id.to_ascii_lowercase();
    let found = list::find(reader.connection(), &id).map_err(history::Error::from)?;
    let Some(found) = found else {
        let what = format!("no alert and no near miss has the identifier `{}`", request.id);
        return Err(Error::new(Kind::NotFound, what)
            .at("id")
            .remedy("`timeline` lists identifiers. What is older than `history.keep` is deleted."));
    };
    let alert = match &found {
        list::Entry::Alert(alert) => Some(Alert::of(&alert.payload)?),
        list::Entry::NearMiss(_) => None,
    };
    let entry = timeline::Entry::of(reader, found)?;
    let labels = labels(reader, &entry)?;
    let scores = scores(reader, &entry)?;
    let pictures = pictures(reader, &entry, &scores)?;
    Ok(Response { entry, alert, labels, pictures, scores })
}

/// Every label on the frame of the entry. Without scores of this frame there are none: those of an earlier one would mislead.
fn labels(reader: &Reader, entry: &timeline::Entry) -> Result<Vec<ExplainedLabel>, Error> {
    let request = explain::Request {
        source: entry.source.clone(),
        label_set: None,
        label: None,
        at: Some(entry.captured_at),
    };
    let explained = explain::answer(reader, &request)?;
    let is_same = explained.frame.is_some_and(|frame| frame.captured_at == entry.captured_at);
    Ok(if is_same { explained.labels } else { Vec::new() })
}

/// The scores of the entry's label within a minute, of the frames that are nearest to the entry.
fn scores(reader: &Reader, entry: &timeline::Entry) -> Result<Vec<ScoreAround>, Error> {
    let Time(moment) = entry.captured_at;
    let moved = |by: SignedDuration| moment.checked_add(by).unwrap_or(moment);
    let window = Window { since: Some(moved(-AROUND)), until: Some(moved(AROUND)) };
    let (mut found, mut states, mut buffer) = (Vec::new(), Vec::new(), FrameBuffer::default());
    scores::chunks::<history::Error>(reader.connection(), &entry.source, window, |chunk| {
        let Ok(chunk) = chunk else { return Ok(()) };
        let mut labels = chunk.setup.labels();
        let place = labels.position(|(set, label)| set.name == entry.label_set && label.name == entry.label);
        let (Some(place), Ok(read)) = (place, Chunk::read(chunk.bytes, chunk.setup, &mut states)) else {
            return Ok(());
        };
        // The frames before the damage, if there is any.
        let _ = read.frames(&mut buffer, |frame| {
            let score = frame.scores.get(place).copied().flatten();
            if let Some(score) = score.filter(|_| window.contains(frame.at)) {
                found.push(ScoreAround { captured_at: Time(frame.at), score });
            }
        });
        Ok(())
    })?;
    Ok(nearest(found, moment, MOST_SCORES))
}

/// The scores that are nearest to the moment, in the order of their times.
fn nearest(mut scores: Vec<ScoreAround>, moment: Timestamp, most: usize) -> Vec<ScoreAround> {
    scores.sort_by_key(|score| score.captured_at.0.duration_since(moment).abs());
    scores.truncate(most);
    scores.sort_by_key(|score| score.captured_at);
    scores
}

fn pictures(
    reader: &Reader,
    entry: &timeline::Entry,
    scores: &[ScoreAround],
) -> Result<Vec<PictureAround>, Error> {
    let (source, moment) = (&entry.source, entry.captured_at.0);
    let found = stored::around(reader.connection(), source, moment, AROUND, MOST_PICTURES);
    let around = |picture: stored::Stored| {
        let captured_at = Time(picture.captured_at);
        let score = scores.iter().find(|score| score.captured_at == captured_at).map(|score| score.score);
        PictureAround { captured_at, picture: pictures::address(picture.id), score }
    };
    Ok(found.map_err(history::Error::from)?.into_iter().map(around).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_exist_is_not_found() {
        let folder = tempfile::tempdir().unwrap();
        let reader = Reader::open(folder.path()).unwrap();
        for id in ["", "x", "019ab1c2-0000-7000-8000-000000000001", "%", "' OR 1"] {
            let error = answer(&reader, &Request { id: id.to_owned() }).unwrap_err();
            assert_eq!((error.kind, error.place.as_deref()), (Kind::NotFound, Some("id")), "{id}");
        }
    }

    #[test]
    fn of_many_scores_the_nearest_are_kept_in_their_order() {
        let at = |second: i64| Timestamp::from_second(1_800_000_000 + second).unwrap();
        let all =
            [-9, -5, -1, 0, 2, 3, 8].map(|second| ScoreAround { captured_at: Time(at(second)), score: 0.5 });
        let seconds = |most| {
            let nearest = nearest(all.to_vec(), at(0), most);
            nearest
                .iter()
                .map(|score| score.captured_at.0.duration_since(at(0)).as_secs())
                .collect::<Vec<_>>()
        };
        assert_eq!(seconds(4), [-1, 0, 2, 3]);
        assert_eq!(seconds(100), [-9, -5, -1, 0, 2, 3, 8]);
        assert!(seconds(0).is_empty());
    }
}
