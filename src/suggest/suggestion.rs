//! What is suggested for one label, and the reason as a sentence.

use std::time::Duration;

use jiff::SignedDuration;

use super::{
    advice::{Advice, Measure, NoAdvice, advise},
    grade::{Grade, Recording, grade},
    point::Interval,
};
use crate::{policy::TriggerSettings, trigger::Trigger};

/// How a person can say when a label is in view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TruthBy {
    /// With a file, as an option of the command.
    File,
    /// With marks, on a page.
    Marks,
}

impl TruthBy {
    fn words(self) -> &'static str {
        match self {
            Self::File => "`--truth FILE.csv`",
            Self::Marks => "marks",
        }
    }
}

/// What recorded scores say about the settings of a label.
#[derive(Debug)]
pub struct Suggestion {
    /// The configured settings.
    pub configured: TriggerSettings,
    /// How the distance of two scores is measured.
    pub measure: Measure,
    /// The number of alerts with the configured settings, and their grade.
    pub now: (usize, Option<Grade>),
    /// The times at which it was visible; `None` without truth.
    pub events: Option<Vec<Interval>>,
    /// The highest score.
    pub highest: f32,
    /// The advice, or why there is none.
    pub advice: Result<Advice, NoAdvice>,
    /// The times at which the suggested settings raise it, or the configured ones if no others are suggested.
    pub spans: Vec<Interval>,
    /// The recorded time.
    pub recorded: SignedDuration,
}

impl Suggestion {
    /// Searches better settings than `configured`, given when the label was visible, if that is known. `over` is the time over which the
    /// source keeps a baseline.
    #[must_use]
    pub fn of(
        recording: &Recording<'_>,
        configured: TriggerSettings,
        over: Option<Duration>,
        events: Option<Vec<Interval>>,
        measure: Measure,
    ) -> Self {
        let trigger = |settings: TriggerSettings| Trigger::new(settings).with_baseline(over, None);
        let now = recording.spans(trigger(configured));
        let grade = events.as_ref().map(|events| grade(&now, events, recording.interval()));
        let advice = advise(&configured, recording, events.as_deref(), measure);
        let alerts = now.len();
        let spans = match &advice {
            Ok(advice) if advice.separates => recording.spans(trigger(advice.settings)),
            _ => now,
        };
        Self {
            configured,
            measure,
            now: (alerts, grade),
            events,
            highest: recording.points().iter().map(|point| point.score).fold(0.0, f32::max),
            advice,
            spans,
            recorded: recording.length(),
        }
    }

    /// The number of alerts per day, extrapolated from the recording.
    #[must_use]
    pub fn a_day(&self, alerts: usize) -> f64 {
        alerts as f64 * 86_400.0 / self.recorded.as_secs_f64().max(1.0)
    }

    /// The advice, if it separates and differs from the configured settings.
    #[must_use]
    pub fn suggested(&self) -> Option<&Advice> {
        let numbers = |it: &TriggerSettings| (it.threshold, it.clear_below, it.hold);
        let differs = |advice: &&Advice| numbers(&advice.settings) != numbers(&self.configured);
        self.advice.as_ref().ok().filter(|advice| advice.separates).filter(differs)
    }

    /// The reason for the suggestion, or for none, in a sentence.
    #[must_use]
    pub fn reason(&self, truth: TruthBy) -> String {
        match &self.advice {
            Ok(advice) => self.reason_for(advice, truth),
            Err(NoAdvice::Rises) => self.reason_for_a_rise(truth),
            Err(other) => self.reason_for_nothing(*other, truth),
        }
    }

    fn reason_for_a_rise(&self, truth: TruthBy) -> String {
        let others = match truth {
            TruthBy::File => "What other rises would do is in the table",
            TruthBy::Marks => "Try what other rises would do",
        };
        let grade = self.now.1.map_or(String::new(), |grade| {
            format!(", {} wrong, {} events missed", grade.wrong(), grade.missed)
        });
        format!(
            "its threshold is a rise of {} over the baseline, which is kept: {}{grade}. {others}",
            self.configured.threshold,
            alerts(self.now.0),
        )
    }

    fn reason_for_nothing(&self, reason: NoAdvice, truth: TruthBy) -> String {
        let highest = self.measure.rounded(self.highest.into());
        let threshold = self.configured.threshold;
        match (reason, self.now.0) {
            (NoAdvice::NeverVisible, 0) => format!(
                "unchanged: it is never visible according to the truth, and never alerts. Its highest score is {highest}"
            ),
            (NoAdvice::NeverVisible, count) => format!(
                "unchanged: it is never visible according to the truth, and yet alerts {}. Its highest score is {highest}. Describe \
                 what is seen instead in `background`",
                times(count)
            ),
            (NoAdvice::NotSeen, _) if self.highest >= threshold => format!(
                "not seen here, unchanged: its highest score is {highest}, but it never stays above {threshold} for long enough \
                 (`hold`, `for`). If it is there, say when with {}",
                truth.words()
            ),
            (NoAdvice::SameScores, _) => format!(
                "unchanged: all frames have the same score, {highest}, so there is nothing to compare. Record it with and without \
                 what you mean"
            ),
            (NoAdvice::NothingSimilar, _) => {
                let raised: f64 =
                    self.spans.iter().map(|(from, to)| to.duration_since(*from).as_secs_f64()).sum();
                let share = 100.0 * (raised / self.recorded.as_secs_f64().max(1.0)).min(1.0);
                format!(
                    "unchanged: {}, raised for {share:.0} % of the recording, and no other threshold separates these times from the \
                     others. Record more without it, or say with {} when it is visible",
                    alerts(self.now.0),
                    truth.words()
                )
            }
            _ => format!(
                "not seen here, unchanged: its highest score is {highest}, below {threshold}. If it is there, say when with {}",
                truth.words()
            ),
        }
    }

    fn reason_for(&self, advice: &Advice, truth: TruthBy) -> String {
        let TriggerSettings { threshold, hold, .. } = advice.settings;
        let (low, high) = advice.range;
        match (advice.grade, advice.separates) {
            (Some(grade), true) => {
                let wrong = match grade.wrong() {
                    0 => "no false alert".to_owned(),
                    1 => "1 false alert".to_owned(),
                    wrong => format!("{wrong} false alerts"),
                };
                let held_off = match hold.frames {
                    1 => String::new(),
                    frames => format!("; single frames above it are held off by `{frames} of {}`", hold.of),
                };
                format!(
                    "{} of {} events are alerted, with {wrong}; any threshold from {low} to {high} does as well{held_off}",
                    grade.right,
                    grade.right + grade.missed,
                )
            }
            (Some(grade), false) => format!(
                "no threshold separates: at best ({threshold}) {} of {} alerts are wrong and {} of {} events are missed. Try other \
                 prompts, a background that names what is there instead, or a region",
                grade.wrong(),
                grade.alerts,
                grade.missed,
                grade.right + grade.missed
            ),
            (None, true) => format!(
                "from {low} to {high} it makes no difference: {} in the recording, about {:.0} a day",
                alerts(advice.alerts),
                self.a_day(advice.alerts)
            ),
            (None, false) => format!(
                "no threshold separates: moving it a little always changes the number of alerts. If it occurs here at all, say when \
                 with {}",
                truth.words()
            ),
        }
    }
}

/// The keys and values of the settings in the configuration.
#[must_use]
pub fn settings(settings: &TriggerSettings) -> Vec<(&'static str, String)> {
    vec![
        ("threshold", settings.threshold.to_string()),
        ("clear_below", settings.clear_below.to_string()),
        ("hold", format!("{} of {}", settings.hold.frames, settings.hold.of)),
    ]
}

fn times(count: usize) -> String {
    if count == 1 { "once".to_owned() } else { format!("{count} times") }
}

/// `1 alert`, `2 alerts`.
#[must_use]
pub fn alerts(count: usize) -> String {
    if count == 1 { "1 alert".to_owned() } else { format!("{count} alerts") }
}
