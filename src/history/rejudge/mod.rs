//! Judges the scores that the service has stored again, with the settings of that time or with others. No model is needed, and no
//! pictures.
//!
//! With the settings of that time the alerts are those that the service raised. With others, labels that are affected begin with the
//! state that they had in the first chunk, and continue from chunk to chunk, through restarts and changes of the configuration as the
//! service does. All other labels begin each chunk with the state that they had.

mod changes;
mod compare;
mod ids;
mod part;
mod pass;
#[cfg(test)]
mod tests;
mod trial;

use std::sync::Arc;

use self::pass::Result;
pub use self::{
    changes::Change,
    compare::{Compared, Counted, Difference, compare},
    ids::Ids,
    pass::{Error, Event, Moment, Rejudged, rejudge},
    trial::{LabelScores, RaisedSpan, Raises, Trial, label_scores, try_label},
};
use super::{
    Reader,
    scores::{self, Window},
};
use crate::{
    alert::{Alert, FrameInfo, Place, State},
    judge::{LabelSetup, SetSetup, Setup, Turn},
    trigger::Transition,
};

/// The names of the sources with stored scores in the window, or only `name`.
///
/// # Errors
/// There is no such source, nothing is stored, or the history cannot be read.
pub fn sources(reader: &Reader, name: Option<&str>, window: Window) -> Result<Vec<String>> {
    let known = scores::sources(reader.connection(), window)?;
    let missing = match name {
        _ if known.is_empty() => {
            "no scores are stored for this time: the service stores them while it runs, unless `history: off`"
                .to_owned()
        }
        Some(name) if !known.iter().any(|known| known == name) => {
            format!("no scores of {name} are stored for this time; there are scores of: {}", known.join(", "))
        }
        Some(name) => return Ok(vec![name.to_owned()]),
        None => return Ok(known),
    };
    Err(Error::Request(missing))
}

/// The labels in `changes` that no stored setup of these sources has.
fn unknown_labels(
    reader: &Reader,
    sources: &[String],
    window: Window,
    changes: &[Change],
) -> Result<Vec<String>> {
    let mut setups = Vec::new();
    for source in sources.iter().filter(|_| !changes.is_empty()) {
        setups.extend(scores::setups(reader.connection(), source, window)?);
    }
    let unknown = changes::unknown(changes, setups.iter().map(AsRef::as_ref));
    Ok(unknown.into_iter().map(str::to_owned).collect())
}

/// The alert of a turn. What the history does not keep with scores is absent: the region, the background, and the picture.
fn alert(source: &Arc<str>, moment: &Moment<'_>, turn: &Turn, ids: &mut Ids) -> Option<Alert> {
    let Moment { setup, frame } = moment;
    let set = setup.sets.get(turn.set)?;
    let label = set.labels.iter().chain(&set.rules).nth(turn.label)?;
    let is_shown = |(scored, it): &(&SetSetup, &LabelSetup)| match &label.when {
        None => scored.name == set.name,
        Some(when) => when.labels().iter().any(|name| name.label_set == scored.name && name.label == it.name),
    };
    let scores = setup.labels().zip(frame.scores).filter(|(label, _)| is_shown(label));
    let scores = scores.filter_map(|((scored, it), score)| {
        let own = scored.name == set.name;
        let name = if own { it.name.clone() } else { format!("{}/{}", scored.name, it.name) };
        Some((name.into(), (*score)?))
    });
    let mut alert = Alert {
        id: ids.next(frame.at),
        state: if turn.transition == Transition::Raised { State::Raised } else { State::Cleared },
        time: frame.at,
        source: Arc::clone(source),
        region: None,
        label_set: set.name.as_str().into(),
        label: label.name.as_str().into(),
        when: label.when.as_ref().map(|when| when.text().into()),
        score: turn.score,
        threshold: turn.threshold,
        baseline: turn.baseline,
        severity: label.severity,
        message: None,
        reason: None,
        scores: scores.collect(),
        background: None,
        model: setup.model.as_str().into(),
        frame: FrameInfo { origin: "history".to_owned(), captured_at: frame.at, width: 0, height: 0 },
        snapshot: None,
        place: Place::default(),
    };
    alert.message = label.message(&alert);
    Some(alert)
}

/// How often a label was raised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Count {
    /// The source.
    pub source: String,
    /// The label set.
    pub label_set: String,
    /// The label or the rule.
    pub label: String,
    /// The number of raises by the service.
    pub now: u64,
    /// The number of raises with the changed settings.
    pub then: u64,
}

/// The alerts of one source or of several in a window.
#[derive(Debug, Default)]
pub struct Replayed {
    /// With the changed settings: of one source in the order of its frames, of several by time.
    pub alerts: Vec<Alert>,
    /// How much was judged.
    pub judged: Rejudged,
    /// How often each label was raised, by source and label set.
    pub counts: Vec<Count>,
}

/// Judges the stored scores of a source, or of all, again with these changes. `each` receives what happens with them.
///
/// # Errors
/// As [`sources`] and [`rejudge`]; or no source has a label of `changes`.
pub fn replay(
    reader: &Reader,
    source: Option<&str>,
    window: Window,
    changes: &[Change],
    mut each: impl FnMut(&Event<'_>),
) -> Result<Replayed> {
    let sources = sources(reader, source, window)?;
    let unknown = unknown_labels(reader, &sources, window, changes)?;
    if !unknown.is_empty() {
        return Err(Error::Request(format!(
            "no scores of a label `{}` are stored for this time",
            unknown.join("`, `")
        )));
    }
    let (mut all, mut ids) = (Replayed::default(), Ids::default());
    for source in &sources {
        let Replayed { alerts, judged, counts } =
            replay_source(reader, source, window, changes, &mut ids, &mut each)?;
        all.alerts.extend(alerts);
        all.counts.extend(counts);
        all.judged = all.judged.and(judged);
    }
    if sources.len() > 1 {
        all.alerts.sort_by_key(|alert| alert.time);
    }
    Ok(all)
}

fn replay_source(
    reader: &Reader,
    source: &str,
    window: Window,
    changes: &[Change],
    ids: &mut Ids,
    mut each: impl FnMut(&Event<'_>),
) -> Result<Replayed> {
    let shared: Arc<str> = source.into();
    let (mut counts, mut alerts) = (Counts::new(source), Vec::new());
    let judged = rejudge(reader, source, window, changes, |event| {
        match &event {
            Event::Turn(moment, turn) => {
                counts.count(moment, turn, |count| &mut count.then);
                alerts.extend(alert(&shared, moment, turn, ids));
            }
            Event::Judged(moment, _) => counts.know(moment.setup),
        }
        each(&event);
    })?;
    if changes.is_empty() {
        counts.all.iter_mut().for_each(|count| count.now = count.then);
    } else {
        rejudge(reader, source, window, &[], |event| {
            if let Event::Turn(moment, turn) = event {
                counts.count(&moment, &turn, |count| &mut count.now);
            }
        })?;
    }
    Ok(Replayed { alerts, judged, counts: counts.all })
}

struct Counts<'s> {
    source: &'s str,
    all: Vec<Count>,
    /// The setup whose labels are all known.
    known: Option<Arc<Setup>>,
}

impl<'s> Counts<'s> {
    fn new(source: &'s str) -> Self {
        Self { source, all: vec![], known: None }
    }

    fn know(&mut self, setup: &Arc<Setup>) {
        if !self.known.as_ref().is_some_and(|known| Arc::ptr_eq(known, setup)) {
            for (set, label) in setup.all() {
                self.of(&set.name, &label.name);
            }
            self.known = Some(Arc::clone(setup));
        }
    }

    fn count(&mut self, moment: &Moment<'_>, turn: &Turn, which: impl Fn(&mut Count) -> &mut u64) {
        let Some(set) = moment.setup.sets.get(turn.set) else { return };
        let label = set.labels.iter().chain(&set.rules).nth(turn.label);
        if let Some(label) = label.filter(|_| turn.transition == Transition::Raised) {
            *which(self.of(&set.name, &label.name)) += 1;
        }
    }

    fn of(&mut self, set: &str, label: &str) -> &mut Count {
        let known = self.all.iter().position(|count| count.label_set == set && count.label == label);
        let at = known.unwrap_or_else(|| {
            self.all.push(Count {
                source: self.source.to_owned(),
                label_set: set.to_owned(),
                label: label.to_owned(),
                now: 0,
                then: 0,
            });
            self.all.len() - 1
        });
        &mut self.all[at]
    }
}
