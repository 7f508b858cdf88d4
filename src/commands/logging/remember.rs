//! Keeps the newest log lines in memory, for the console and for support bundles.

use tracing::{Event, Subscriber};
use tracing_subscriber::{Layer, layer::Context};

use super::line::Line;
use crate::recent_lines::RecentLines;

/// The fields of lines that say what a camera saw.
const ABOUT_LABELS: [&str; 2] = ["label", "score"];

/// A layer that keeps every line that it receives.
pub(super) struct Remember(pub(super) RecentLines);

impl<S: Subscriber> Layer<S> for Remember {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let line = Line::of(event);
        if line.fields.iter().any(|(name, _)| ABOUT_LABELS.contains(name)) {
            self.0.count_label();
        } else {
            self.0.push(jiff::Timestamp::now(), *event.metadata().level(), line.text);
        }
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    #[test]
    fn lines_about_labels_are_only_counted() {
        let lines = RecentLines::default();
        let subscriber = tracing_subscriber::registry().with(Remember(lines.clone()));
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(source = "door", label = "person", score = 0.83, "`person` raised");
            tracing::warn!(source = "door", cause = "no answer", "the source failed");
        });
        let recent = lines.all();
        let texts: Vec<_> = recent.lines.iter().map(|line| (line.level, &*line.text)).collect();
        assert_eq!(texts, [(tracing::Level::WARN, "door: the source failed: no answer")]);
        assert_eq!(recent.about_labels, 1);
    }
}
