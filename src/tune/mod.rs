//! Suggests trigger settings from recordings: scores them as `replay` does, and searches for each label the settings that
//! separate what happens from what does not.

mod advice;
mod findings;
mod grade;
mod page;
mod report;
mod rivals;
mod truth;

use std::path::PathBuf;

use anyhow::{Result, bail};
use jiff::Timestamp;

pub use self::truth::Truth;
use self::{findings::Finding, rivals::Rivals};
use crate::{
    config::{Config, Source, edit::LabelEdit},
    replay::{self, Played, Timeline},
};

/// What the recordings of a source say about the settings of its labels.
pub struct Tuning {
    played: Played,
    timeline: Timeline,
    findings: Vec<Finding>,
    rivals: Vec<Rivals>,
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
