//! One label of one source with settings that are tried, beside what the service raised. Only what decides about the label is read
//! and judged, so that a week is answered while a threshold is dragged.

use std::{collections::VecDeque, sync::Arc};

use jiff::Timestamp;

use super::{
    changes::Change,
    pass::{Error, Event, Moment, Rejudged, Result, judge_again},
};
use crate::{
    history::{Reader, scores::Window},
    judge::{LabelSetup, Setup, SourceJudge, Turn},
    policy::LabelName,
    suggest::Point,
    trigger::Transition,
};

/// The spans that are kept, the newest ones. Settings that raise a label more often are useless, and cost no more memory.
const MOST_SPANS: usize = 20_000;

/// A label as it was judged, and with settings that are tried.
#[derive(Debug)]
pub struct Trial {
    /// With the settings of that time: what the service raised.
    pub now: Raises,
    /// With the settings that are tried.
    pub then: Raises,
    /// How much was judged.
    pub judged: Rejudged,
    /// The number of frames with a score of the label.
    pub scores: u64,
    /// How the label was judged in the newest frame.
    pub newest: LabelSetup,
    /// The same with the settings that are tried.
    pub tried: LabelSetup,
}

/// When a label was raised.
#[derive(Debug, Default)]
pub struct Raises {
    /// The number of alerts: how often it was raised in the window.
    pub alerts: u64,
    /// The times, in order; at most 20,000, the newest ones.
    pub spans: Vec<RaisedSpan>,
}

/// A time in which a label was raised.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RaisedSpan {
    /// When it was raised; if that was before the window, the first frame in it.
    pub from: Timestamp,
    /// When it was cleared; if it was not, the last frame.
    pub until: Timestamp,
    /// Whether it was cleared.
    pub is_cleared: bool,
    /// Whether it was raised in the window: then this is an alert.
    pub is_alert: bool,
    /// The score that raised it; NaN for a rule.
    pub score: f32,
    /// The threshold at that time; NaN for a rule.
    pub threshold: f32,
}

/// Judges one label of a source again, as it was judged and with these changes.
///
/// # Errors
/// No scores of the label are stored, a change is impossible, or the history cannot be read.
pub fn try_label(
    reader: &Reader,
    source: &str,
    window: Window,
    name: &LabelName,
    changes: &[Change],
) -> Result<Trial> {
    let mut collectors = [Collector::new(name), Collector::new(name)];
    let (mut scores, mut newest): (_, [Option<Arc<Setup>>; 2]) = (0, [None, None]);
    let judged = judge_again(reader, source, window, Some(name), [&[], changes], |number, event| {
        let collector = &mut collectors[number];
        if let Event::Judged(Moment { setup, frame }, _) = &event
            && collector.places.of(setup).is_some()
        {
            scores += u64::from(number == 0 && frame.scores.iter().any(Option::is_some));
            if newest[number].as_ref().is_none_or(|known| !Arc::ptr_eq(known, setup)) {
                newest[number] = Some(Arc::clone(setup));
            }
        }
        collector.add(&event);
    })?;
    let of_label = |setup: Option<Arc<Setup>>| setup.and_then(|setup| Some(find(&setup, name)?.1.clone()));
    let [Some(newest), Some(tried)] = newest.map(of_label) else {
        let LabelName { label_set, label } = name;
        let what = format!("no scores of `{label_set}/{label}` on {source} are stored for this time");
        return Err(Error::Request(what));
    };
    let [now, then] = collectors.map(Collector::finish);
    Ok(Trial { now, then, judged, scores, newest, tried })
}

/// The scores of a label, and when the service raised it.
#[derive(Debug, Default)]
pub struct LabelScores {
    /// The scores, in the order of the frames.
    pub points: Vec<Point>,
    /// When the label was raised.
    pub raised: Vec<RaisedSpan>,
    /// The number of frames whose scores are not wanted.
    pub left_out: u64,
    /// Whether there are more scores, which are left out: the newest ones.
    pub is_cut: bool,
}

/// The first `most` scores of one label of a source. Frames for which `is_wanted` is false are left out: their scores were computed from
/// other prompts, for example.
///
/// # Errors
/// The history cannot be read.
pub fn label_scores(
    reader: &Reader,
    source: &str,
    window: Window,
    name: &LabelName,
    most: usize,
    is_wanted: impl Fn(&LabelSetup) -> bool,
) -> Result<LabelScores> {
    let (mut scores, mut collector) = (LabelScores::default(), Collector::new(name));
    let mut newest: Option<(Arc<Setup>, bool)> = None;
    judge_again(reader, source, window, Some(name), [&[]], |_, event| {
        let (Event::Turn(Moment { setup, .. }, _) | Event::Judged(Moment { setup, .. }, _)) = &event;
        let known = newest.as_ref().filter(|(known, _)| Arc::ptr_eq(known, setup)).map(|(_, wanted)| *wanted);
        let wanted = known.unwrap_or_else(|| {
            let wanted = find(setup, name).is_some_and(|(_, label)| is_wanted(label));
            newest = Some((Arc::clone(setup), wanted));
            wanted
        });
        if scores.points.len() >= most {
            scores.is_cut |= wanted;
            return;
        }
        if !wanted {
            let has_label = collector.places.of(setup).is_some();
            scores.left_out += u64::from(has_label && matches!(event, Event::Judged(..)));
            collector.unwatched();
            return;
        }
        if let Event::Judged(Moment { frame, .. }, _) = &event {
            let column = collector.places.of(setup).and_then(|place| place.column);
            let score =
                column.and_then(|column| *frame.scores.get(column)?).filter(|score| score.is_finite());
            scores.points.extend(score.map(|score| Point { time: frame.at, score }));
        }
        collector.add(&event);
    })?;
    Ok(LabelScores { raised: collector.finish().spans, ..scores })
}

/// Where a label or rule is in a setup.
#[derive(Clone, Copy)]
struct LabelIndex {
    /// In the order of [`Setup::all`].
    number: usize,
    /// In the order of [`Setup::labels`]; `None` for a rule.
    column: Option<usize>,
    /// It was switched off.
    is_disabled: bool,
}

/// The place of a label or rule, and its settings.
fn find<'s>(setup: &'s Setup, name: &LabelName) -> Option<(LabelIndex, &'s LabelSetup)> {
    let mut column = 0;
    for (number, (set, label)) in setup.all().enumerate() {
        let is_rule = label.when.is_some();
        if set.name == name.label_set && label.name == name.label {
            let (column, is_disabled) = ((!is_rule).then_some(column), label.silence.disabled);
            return Some((LabelIndex { number, column, is_disabled }, label));
        }
        column += usize::from(!is_rule);
    }
    None
}

/// The place of one label in each setup. Remembers the newest one: many frames have the same.
struct LabelIndexes<'n> {
    name: &'n LabelName,
    newest: Option<(Arc<Setup>, Option<LabelIndex>)>,
}

impl LabelIndexes<'_> {
    fn of(&mut self, setup: &Arc<Setup>) -> Option<LabelIndex> {
        if let Some((known, place)) = &self.newest
            && Arc::ptr_eq(known, setup)
        {
            return *place;
        }
        let place = find(setup, self.name).map(|(place, _)| place);
        self.newest = Some((Arc::clone(setup), place));
        place
    }
}

/// Collects the times in which one label is raised.
struct Collector<'n> {
    places: LabelIndexes<'n>,
    alerts: u64,
    spans: VecDeque<RaisedSpan>,
    /// The last frame; `None` before the first one, and while the label is not watched.
    last: Option<Timestamp>,
}

impl<'n> Collector<'n> {
    fn new(name: &'n LabelName) -> Self {
        let places = LabelIndexes { name, newest: None };
        Self { places, alerts: 0, spans: VecDeque::new(), last: None }
    }

    fn add(&mut self, event: &Event<'_>) {
        match event {
            Event::Turn(moment, turn) => self.turn(moment, turn),
            Event::Judged(moment, judge) => self.judged(moment, judge),
        }
    }

    fn turn(&mut self, Moment { setup, frame }: &Moment<'_>, turn: &Turn) {
        let name = self.places.name;
        let Some(set) = setup.sets.get(turn.set).filter(|set| set.name == name.label_set) else { return };
        let label = set.labels.iter().chain(&set.rules).nth(turn.label);
        if label.is_none_or(|label| label.name != name.label) {
            return;
        }
        let (at, Turn { score, threshold, .. }) = (frame.at, *turn);
        match turn.transition {
            Transition::Raised => {
                // With missing frames, a raise may follow a raise.
                self.close(false);
                self.alerts += 1;
                self.open(RaisedSpan { is_alert: true, score, threshold, ..RaisedSpan::since(at) });
            }
            Transition::Cleared => {
                self.last = Some(at);
                self.close(true);
            }
        }
    }

    fn judged(&mut self, Moment { setup, frame }: &Moment<'_>, judge: &SourceJudge) {
        let Some(LabelIndex { number, is_disabled, .. }) = self.places.of(setup) else {
            self.unwatched();
            return;
        };
        if is_disabled {
            // It was cleared without a frame, after the last one.
            self.close(false);
        }
        let is_first = self.last.is_none() && self.open_span().is_none();
        self.last = Some(frame.at);
        if is_first && judge.states().nth(number).is_some_and(|state| state.trigger.raised) {
            self.open(RaisedSpan::since(frame.at));
        }
    }

    /// The label is not watched (any more).
    fn unwatched(&mut self) {
        self.close(false);
        self.last = None;
    }

    fn open(&mut self, span: RaisedSpan) {
        if self.spans.len() == MOST_SPANS {
            self.spans.pop_front();
        }
        self.spans.push_back(span);
    }

    fn open_span(&mut self) -> Option<&mut RaisedSpan> {
        self.spans.back_mut().filter(|span| span.until == Timestamp::MAX)
    }

    /// Ends the open span, if there is one, at the last frame.
    fn close(&mut self, is_cleared: bool) {
        let last = self.last;
        if let Some(span) = self.open_span() {
            // The times of a folder may jump back.
            (span.until, span.is_cleared) = (last.unwrap_or(span.from).max(span.from), is_cleared);
        }
    }

    fn finish(mut self) -> Raises {
        self.close(false);
        let mut spans = Vec::from(self.spans);
        spans.sort_by_key(|span| (span.from, span.until));
        Raises { alerts: self.alerts, spans }
    }
}

impl RaisedSpan {
    /// A span that is open, and no alert.
    fn since(from: Timestamp) -> Self {
        let (score, threshold) = (f32::NAN, f32::NAN);
        Self { from, until: Timestamp::MAX, is_cleared: false, is_alert: false, score, threshold }
    }
}
