//! Suppresses similar log lines when there are too many: a folder of ten thousand broken files must not fill the journal, which
//! would then discard the lines of all programs.
//!
//! Lines are similar if they come from the same place in the program and name the same source. Lines about alerts, and lines
//! requested with `RUST_LOG=debug`, are never suppressed.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use tracing::{
    Event, Level, Metadata, Subscriber,
    callsite::Identifier,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};
use tracing_subscriber::{Layer, layer::Context};

use super::{allowance::Allowances, libraries};

/// The time from the first suppressed line to the report.
const REPORT_AFTER: Duration = Duration::from_secs(60);
/// Modules whose lines are never suppressed: those about alerts, about the configuration, and the reports of this module.
const NEVER_SUPPRESSED: [&str; 3] = ["stakeout::alert", "stakeout::daemon", "stakeout::commands"];
/// Characters of the first suppressed line in a report.
const LONGEST: usize = 120;

/// What similar lines have in common: the place in the program, and the source.
type LineKind = (Identifier, Option<String>);

/// How many lines of each kind may still be written. Clones share the numbers.
#[derive(Clone)]
pub(super) struct RateLimit {
    began: Instant,
    allowances: Arc<Mutex<Allowances<LineKind>>>,
}

impl RateLimit {
    pub(super) fn new() -> Self {
        Self { began: Instant::now(), allowances: Arc::default() }
    }

    fn allowances(&self) -> MutexGuard<'_, Allowances<LineKind>> {
        self.allowances.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Logs how many lines were suppressed since the last report.
    pub(super) fn report(&self) {
        let mut allowances = self.allowances();
        let suppressed = allowances.take_suppressed().into_iter();
        let suppressed = suppressed.map(|((_, source), lines, like)| (source.clone(), lines, like));
        let suppressed = suppressed.collect::<Vec<_>>();
        // Logging the lines below locks it again.
        drop(allowances);
        for (source, lines, like) in suppressed {
            tracing::warn!(source, lines, like, "more lines like this were left out");
        }
    }

    /// Whether this line is to be written.
    fn admits(&self, event: &Event<'_>) -> bool {
        if !may_be_suppressed(event.metadata()) {
            return true;
        }
        let mut source = Source::default();
        event.record(&mut source);
        let like = || {
            let mut message = MessageText::default();
            event.record(&mut message);
            message.0.chars().take(LONGEST).collect()
        };
        let mut allowances = self.allowances();
        let is_first = !allowances.any_suppressed();
        let admitted = allowances.admit((event.metadata().callsite(), source.0), self.began.elapsed(), like);
        drop(allowances);
        if !admitted && is_first {
            self.report_later();
        }
        admitted
    }

    /// Reports later, also if no further line is logged.
    fn report_later(&self) {
        let limit = self.clone();
        let later = move || {
            thread::sleep(REPORT_AFTER);
            limit.report();
        };
        // Without a thread the report comes when the process ends.
        drop(thread::Builder::new().name("log".to_owned()).spawn(later));
    }
}

/// A layer that passes on the lines that may be logged and are not suppressed.
///
/// Not a `Filter` of `tracing-subscriber`: after a filter rejects one line, the next line is lost too, as of 0.3.23.
pub(super) struct Limited<L> {
    layer: L,
    limit: RateLimit,
}

impl<L> Limited<L> {
    pub(super) fn new(layer: L, limit: RateLimit) -> Self {
        Self { layer, limit }
    }
}

impl<S: Subscriber, L: Layer<S>> Layer<S> for Limited<L> {
    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        if libraries::allows(event) && self.limit.admits(event) {
            self.layer.on_event(event, context);
        }
    }

    fn on_layer(&mut self, subscriber: &mut S) {
        self.layer.on_layer(subscriber);
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        self.layer.on_new_span(attributes, id, context);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        self.layer.on_record(id, values, context);
    }

    fn on_enter(&self, id: &Id, context: Context<'_, S>) {
        self.layer.on_enter(id, context);
    }

    fn on_exit(&self, id: &Id, context: Context<'_, S>) {
        self.layer.on_exit(id, context);
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        self.layer.on_close(id, context);
    }
}

fn may_be_suppressed(metadata: &Metadata<'_>) -> bool {
    let is_requested = *metadata.level() > Level::INFO;
    let module = |name: &str| {
        metadata.target().strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    };
    !is_requested && !NEVER_SUPPRESSED.iter().any(|name| module(name))
}

/// Reads the field `source` of a line.
#[derive(Default)]
struct Source(Option<String>);

impl Visit for Source {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "source" {
            self.0 = Some(value.to_owned());
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "source" {
            self.0 = Some(format!("{value:?}"));
        }
    }
}

/// Reads the message of a line.
#[derive(Default)]
struct MessageText(String);

impl Visit for MessageText {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;
    use crate::commands::logging::allowance::BURST;

    /// Records the lines that it receives.
    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<String>>>);

    impl<S: Subscriber> Layer<S> for Written {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            let mut message = MessageText::default();
            event.record(&mut message);
            self.0.lock().unwrap().push(message.0);
        }
    }

    #[test]
    fn similar_lines_are_suppressed_and_counted_but_not_alerts() {
        let (written, limit) = (Written::default(), RateLimit::new());
        let subscriber = tracing_subscriber::registry().with(Limited::new(written.clone(), limit.clone()));
        const LINES: u64 = 200;
        tracing::subscriber::with_default(subscriber, || {
            for number in 0..LINES {
                let source = if number.is_multiple_of(2) { "left" } else { "right" };
                tracing::warn!(target: "stakeout::source::folder", source, number, "broken");
                tracing::info!(target: "stakeout::alert::publisher", number, "alert published");
                tracing::error!(target: "stakeout::daemon::judge_thread", number, "not on disk");
                tracing::debug!(target: "stakeout::source::folder", source, number, "asked for");
            }
            limit.report();
            limit.report();
        });
        let written = written.0.lock().unwrap();
        let count = |words: &str| written.iter().filter(|line| *line == words).count() as u64;
        assert_eq!(count("broken"), u64::from(2 * BURST));
        for words in ["alert published", "not on disk", "asked for"] {
            assert_eq!(count(words), LINES, "{words}");
        }
        assert_eq!(count("more lines like this were left out"), 2, "once for each source: {written:?}");
    }
}
