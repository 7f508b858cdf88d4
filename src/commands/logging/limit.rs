//! Holds similar lines back when there are too many: a folder of ten thousand broken files must not fill the journal, which
//! would throw away everybody's lines then.
//!
//! Lines are similar if they come from the same place of the program and are about the same source. It refuses to hold back
//! what the service says of alerts, and what somebody asked for with `RUST_LOG=debug`.

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

use super::repeats::Repeats;

/// What was held back is told so long after the first of it.
const TOLD_AFTER: Duration = Duration::from_secs(60);
/// What these say is written whatever happens: what becomes of alerts, of the configuration, and what is told here.
const NEVER_HELD_BACK: [&str; 3] = ["stakeout::alert", "stakeout::daemon", "stakeout::commands"];
/// So much of a line is repeated.
const LONGEST: usize = 120;

/// The place in the program, and the source that it is about.
type Kind = (Identifier, Option<String>);

/// What was said how often.
#[derive(Clone)]
pub(super) struct Limit {
    began: Instant,
    repeats: Arc<Mutex<Repeats<Kind>>>,
}

impl Limit {
    pub(super) fn new() -> Self {
        Self { began: Instant::now(), repeats: Arc::default() }
    }

    fn repeats(&self) -> MutexGuard<'_, Repeats<Kind>> {
        self.repeats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells how many lines were held back since this was done last.
    pub(super) fn tell(&self) {
        let mut repeats = self.repeats();
        let held_back =
            repeats.held_back().into_iter().map(|((_, source), lines, like)| (source.clone(), lines, like));
        let held_back = held_back.collect::<Vec<_>>();
        // The lines below come here, too.
        drop(repeats);
        for (source, lines, like) in held_back {
            tracing::warn!(source, lines, like, "more lines like this were left out");
        }
    }

    /// Whether this line is written.
    fn admits(&self, event: &Event<'_>) -> bool {
        if !may_be_held_back(event.metadata()) {
            return true;
        }
        let mut source = Source::default();
        event.record(&mut source);
        let like = || {
            let mut message = Message::default();
            event.record(&mut message);
            message.0.chars().take(LONGEST).collect()
        };
        let mut repeats = self.repeats();
        let silent = !repeats.any_held_back();
        let admitted = repeats.admit((event.metadata().callsite(), source.0), self.began.elapsed(), like);
        drop(repeats);
        if !admitted && silent {
            self.tell_later();
        }
        admitted
    }

    /// Somebody has to tell later, also if no further line comes.
    fn tell_later(&self) {
        let limit = self.clone();
        let later = move || {
            thread::sleep(TOLD_AFTER);
            limit.tell();
        };
        // Without a thread it is told at the end.
        drop(thread::Builder::new().name("log".to_owned()).spawn(later));
    }
}

/// A layer that hears of what is not held back.
///
/// (No `Filter` of `tracing-subscriber`: one that says no to a single line makes it forget the next one, too, as of 0.3.23.)
pub(super) struct Limited<L> {
    layer: L,
    limit: Limit,
}

impl<L> Limited<L> {
    pub(super) fn new(layer: L, limit: Limit) -> Self {
        Self { layer, limit }
    }
}

impl<S: Subscriber, L: Layer<S>> Layer<S> for Limited<L> {
    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        if self.limit.admits(event) {
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

fn may_be_held_back(metadata: &Metadata<'_>) -> bool {
    let asked_for = *metadata.level() > Level::INFO;
    let module = |name: &str| {
        metadata.target().strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    };
    !asked_for && !NEVER_HELD_BACK.iter().any(|name| module(name))
}

/// The value of the field `source`.
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

/// The words of a line.
#[derive(Default)]
struct Message(String);

impl Visit for Message {
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
    use crate::commands::logging::repeats::BURST;

    /// Counts the lines that reach it.
    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<String>>>);

    impl<S: Subscriber> Layer<S> for Written {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            let mut message = Message::default();
            event.record(&mut message);
            self.0.lock().unwrap().push(message.0);
        }
    }

    #[test]
    fn similar_lines_are_held_back_and_counted_and_alerts_never() {
        let (written, limit) = (Written::default(), Limit::new());
        let subscriber = tracing_subscriber::registry().with(Limited::new(written.clone(), limit.clone()));
        const LINES: u64 = 200;
        tracing::subscriber::with_default(subscriber, || {
            for number in 0..LINES {
                let source = if number.is_multiple_of(2) { "left" } else { "right" };
                tracing::warn!(target: "stakeout::source::folder", source, number, "broken");
                tracing::info!(target: "stakeout::alert::publisher", number, "alert published");
                tracing::error!(target: "stakeout::daemon::judging", number, "not on disk");
                tracing::debug!(target: "stakeout::source::folder", source, number, "asked for");
            }
            limit.tell();
            limit.tell();
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
