//! Suggests trigger settings from recordings or stored scores: judges them as `replay` does, and searches for each label the settings
//! that separate what happens from what does not. The search is [`suggest`](crate::suggest).

mod findings;
mod page;
mod report;
mod rivals;
mod truth;

use std::path::PathBuf;

use anyhow::{Result, bail};
use jiff::Timestamp;

pub use self::truth::{Marked, Truth};
use self::{findings::Finding, rivals::Rivals};
use crate::{
    config::{Config, Source, edit::LabelEdit},
    history::{
        Reader,
        rejudge::{self, Event},
        scores::Window,
    },
    judge,
    replay::{self, Played, StoredTimeline, Timeline},
};

/// What the recordings of a source say about the settings of its labels.
pub struct Tuning {
    played: Played,
    timeline: Timeline,
    findings: Vec<Finding>,
    rivals: Vec<Rivals>,
}

/// Stored scores that say nothing about the labels as they are now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeftOut {
    /// Frames with scores of other prompts, of other regions, of another model, or of labels that are no longer watched.
    pub frames: u64,
}

impl Tuning {
    /// Plays the recordings and evaluates every label of `source`. `start` is when the first video began.
    ///
    /// # Errors
    /// As [`replay::play`]; nothing was played; or the truth names unknown labels.
    pub fn new(
        config: &Config,
        source: &Source,
        recordings: &[PathBuf],
        start: Option<Timestamp>,
        truth: Option<&Truth>,
    ) -> Result<Self> {
        let mut timeline = Timeline::new(config, source);
        let played = replay::play(config, source, recordings, start, |judged| {
            timeline.add_scores(judged.scored, judged.judge);
            Ok(())
        })?;
        Self::of(config, source, timeline, played, truth)
    }

    /// Evaluates every label of `source` with the scores that the service has stored. Scores of other prompts or of another model are
    /// left out. Without `truth`, the alerts of the service count as right, except those that `marks` say were wrong. `each` is called
    /// for every frame.
    ///
    /// # Errors
    /// As [`rejudge::rejudge`]; nothing is stored; or the truth names unknown labels.
    pub fn of_history(
        config: &Config,
        source: &Source,
        (reader, window): (&Reader, Window),
        truth: Option<&Truth>,
        marks: &[Marked],
        mut each: impl FnMut(),
    ) -> Result<(Self, LeftOut)> {
        rejudge::sources(reader, Some(&source.name), window)?;
        let model = config.model.name();
        let labels =
            config.watched_by(source).flat_map(|set| set.labels.iter().map(move |label| (set, label)));
        let comparable: Vec<_> = labels
            .map(|(set, label)| {
                (
                    &*set.name,
                    &*label.name,
                    judge::scored_from(source, set, source.label(&set.name, label), &model),
                )
            })
            .collect();
        let mut stored = StoredTimeline::new(Timeline::new(config, source), |set, label| {
            let is_it = |known: &&(&str, &str, String)| known.0 == set.name && known.1 == label.name;
            label.when.is_none() && comparable.iter().find(is_it).is_some_and(|(.., of)| *of == label.of)
        });
        let judged = rejudge::rejudge(reader, &source.name, window, &[], |event| {
            stored.add(&event);
            if let Event::Judged(..) = event {
                each();
            }
        })?;
        let (timeline, frames) = stored.finish();
        let played = Played { frames: judged.frames, failed: judged.damaged };
        let marked = truth.is_none().then(|| Truth::of_marks(marks, &timeline)).flatten();
        let tuning = Self::of(config, source, timeline, played, truth.or(marked.as_ref()))?;
        Ok((tuning, LeftOut { frames }))
    }

    fn of(
        config: &Config,
        source: &Source,
        timeline: Timeline,
        played: Played,
        truth: Option<&Truth>,
    ) -> Result<Self> {
        let Some((first, _)) = timeline.range() else {
            bail!("nothing was played, so there is nothing to learn")
        };
        if let Some(truth) = truth {
            let tracks = timeline.tracks.iter();
            let labels = tracks.map(|track| (&*track.label_set, &*track.label)).collect::<Vec<_>>();
            truth.check(&source.name, &labels, first)?;
        }
        let findings = findings::of(config, source, &timeline, truth);
        let rivals = findings::rivals(config, &timeline);
        Ok(Self { played, timeline, findings, rivals })
    }

    /// How much was played.
    #[must_use]
    pub fn played(&self) -> Played {
        self.played
    }

    /// Histograms, tables and suggestions for a terminal.
    #[must_use]
    pub fn text(&self) -> String {
        report::text(&self.findings, &self.rivals)
    }

    /// The report as an HTML page.
    pub fn page(&mut self) -> String {
        page::page(&mut self.timeline, &self.findings, &self.rivals)
    }

    /// The suggested settings as YAML.
    #[must_use]
    pub fn patch(&self) -> String {
        report::patch(&self.findings)
    }

    /// The suggested settings as changes of the configuration.
    #[must_use]
    pub fn edits(&self) -> Vec<LabelEdit> {
        self.findings.iter().filter_map(Finding::edit).collect()
    }
}
