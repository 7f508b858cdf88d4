//! The timeline of stored scores, which have no pictures.

use std::sync::Arc;

use super::timeline::{Timeline, Track};
use crate::{
    alert::State,
    history::rejudge::{Event, Moment},
    judge::{LabelSetup, SetSetup, Setup, SourceJudge, Turn},
    suggest::Point,
    trigger::Transition,
};

/// Collects a timeline from what happens while scores are judged again.
pub struct StoredTimeline<K> {
    timeline: Timeline,
    /// Whether the scores of a label are wanted.
    is_wanted: K,
    /// The newest setup, and the number of the track of each label and rule in it.
    setup: Option<(Arc<Setup>, Vec<Option<usize>>)>,
    /// The frames that had scores of unwanted labels.
    unwanted: u64,
}

impl<K: Fn(&SetSetup, &LabelSetup) -> bool> StoredTimeline<K> {
    /// Adds to `timeline`. Labels for which `is_wanted` is false are left out.
    pub fn new(timeline: Timeline, is_wanted: K) -> Self {
        Self { timeline, is_wanted, setup: None, unwanted: 0 }
    }

    /// The timeline, and the number of frames that had scores of labels that are not wanted.
    pub fn finish(self) -> (Timeline, u64) {
        (self.timeline, self.unwanted)
    }

    /// Adds a frame, or what it raised or cleared.
    pub fn add(&mut self, event: &Event<'_>) {
        match event {
            Event::Turn(moment, turn) => self.turn(moment, turn),
            Event::Judged(moment, judge) => self.frame(moment, judge),
        }
    }

    fn turn(&mut self, moment: &Moment<'_>, turn: &Turn) {
        self.enter(moment);
        let Some(track) = self.track(moment.setup, turn.set, turn.label) else { return };
        let state = if turn.transition == Transition::Raised { State::Raised } else { State::Cleared };
        track.turn(state, moment.frame.at);
    }

    fn frame(&mut self, moment: &Moment<'_>, judge: &SourceJudge) {
        self.enter(moment);
        let Some((_, tracks)) = &self.setup else { return };
        let time = moment.frame.at;
        let labels = moment.setup.all().zip(tracks).filter(|((_, label), _)| label.when.is_none());
        let mut unwanted = false;
        for (((_, label), track), (score, levels)) in
            labels.zip(moment.frame.scores.iter().zip(judge.levels()))
        {
            let Some(score) = score.filter(|score| score.is_finite()) else { continue };
            let Some(track) = track.and_then(|track| self.timeline.tracks.get_mut(track)) else {
                unwanted = true;
                continue;
            };
            track.points.push(Point { time, score });
            track.moving.extend(levels.filter(|_| label.trigger.rises).map(|levels| (time, levels)));
        }
        self.unwanted += u64::from(unwanted);
        for (set, label, met) in judge.rules() {
            if let Some(track) = self.track(moment.setup, set, label) {
                track.points.push(Point { time, score: f32::from(u8::from(met)) });
            }
        }
    }

    fn track(&mut self, setup: &Setup, set: usize, label: usize) -> Option<&mut Track> {
        let before = setup.sets.iter().take(set).map(|set| set.labels.len() + set.rules.len()).sum::<usize>();
        let track = (*self.setup.as_ref()?.1.get(before + label)?)?;
        self.timeline.tracks.get_mut(track)
    }

    /// Finds or adds the tracks of this frame's setup. What the setup no longer has, or has switched off, is no longer raised.
    fn enter(&mut self, moment: &Moment<'_>) {
        let setup = moment.setup;
        if self.setup.as_ref().is_some_and(|(known, _)| Arc::ptr_eq(known, setup)) {
            return;
        }
        self.timeline.model.clone_from(&setup.model);
        let wanted = setup.all().map(|(set, label)| {
            (self.is_wanted)(set, label).then(|| {
                let all = &mut self.timeline.tracks;
                let at = all.iter().position(|it| it.label == label.name && it.label_set == set.name);
                at.unwrap_or_else(|| {
                    let trigger = label.trigger;
                    let is_fixed = !trigger.rises && label.when.is_none();
                    let levels = is_fixed.then_some((trigger.threshold, trigger.clear_below));
                    let rise = trigger.rises.then_some(trigger.threshold);
                    let mut track = Track::new(&set.name, &label.name, levels);
                    track.rise = rise;
                    all.push(track);
                    all.len() - 1
                })
            })
        });
        let tracks: Vec<_> = wanted.collect();
        let enabled = setup.all().zip(&tracks).filter(|((_, label), _)| !label.silence.disabled);
        let enabled: Vec<_> = enabled.filter_map(|(_, track)| *track).collect();
        for (at, track) in self.timeline.tracks.iter_mut().enumerate() {
            if !enabled.contains(&at) {
                track.close(moment.frame.at);
            }
        }
        self.setup = Some((Arc::clone(setup), tracks));
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::{
        judge::FrameScores,
        policy::{Silence, TriggerSettings},
    };

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn setup(label: &str) -> Arc<Setup> {
        let label = LabelSetup {
            name: label.to_owned(),
            trigger: TriggerSettings::at(0.5),
            over: None,
            active: None,
            severity: None,
            message: None,
            silence: Silence::default(),
            when: None,
            of: String::new(),
        };
        let set = SetSetup { name: "yard".to_owned(), labels: vec![label], rules: vec![] };
        Arc::new(Setup { model: String::new(), sets: vec![set] })
    }

    #[test]
    fn spans_end_where_frames_or_labels_are_missing() {
        let (dog, cat) = (setup("dog"), setup("cat"));
        let mut stored = StoredTimeline::new(Timeline::empty("gate"), |_, _| true);
        let turns = [
            (10, &dog, Transition::Raised),
            (20, &dog, Transition::Cleared),
            // The frames with the raise before this clear are missing, and those with the clear before the last raise.
            (30, &dog, Transition::Cleared),
            (40, &dog, Transition::Raised),
            (50, &dog, Transition::Raised),
            // The dog is no longer watched.
            (60, &cat, Transition::Raised),
        ];
        for (second, setup, transition) in turns {
            let frame = FrameScores { at: at(second), scores: &[], sets: &[] };
            let turn = Turn { set: 0, label: 0, transition, score: 0.5, threshold: 0.5, baseline: None };
            stored.add(&Event::Turn(Moment { setup, frame: &frame }, turn));
        }
        let (timeline, _) = stored.finish();
        let spans = |track: &Track| track.spans.iter().map(|span| (span.from, span.to)).collect::<Vec<_>>();
        let expected = [(10, 20), (40, 50), (50, 60)].map(|(from, to)| (at(from), Some(at(to))));
        assert_eq!(spans(&timeline.tracks[0]), expected);
        assert_eq!(spans(&timeline.tracks[1]), [(at(60), None)]);
    }
}
