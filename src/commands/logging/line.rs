//! The text of a log line: its message together with its fields, so that a reader needs nothing else.
//!
//! Standard error and the journal show the same text. The journal also receives each field on its own, for programs.
//!
//! ```text
//! front-door: `person` raised (label_set=porch, score=0.831, origin=rtsp://10.0.0.21/stream2)
//! front-door: the source failed; it will try again: rtsp://10.0.0.21/stream2 denies access
//! ```
//!
//! The source comes first, the cause comes last, and all other fields are in brackets. A value that the message quotes between
//! backticks and a cause that it contains are not repeated.

use std::fmt;

use tracing::{
    Event,
    field::{Field, Visit},
};

use crate::terminal;

/// The field that names the source that a line is about.
const SOURCE: &str = "source";
/// The fields that say why, in words.
const CAUSES: [&str; 4] = ["cause", "error", "reason", "why"];
/// The field that says what to do.
const REMEDY: &str = "remedy";
/// Fields with this prefix describe the place of a line of another library.
const OF_LIBRARIES: &str = "log.";

/// A log line.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Line {
    /// What people read. The problems of a configuration have several lines, everything else has one.
    pub text: String,
    /// Every field but the message, with its full value.
    pub fields: Vec<(&'static str, String)>,
}

impl Line {
    /// The line of an event.
    pub(super) fn of(event: &Event<'_>) -> Self {
        let mut recorded = Recorded::default();
        event.record(&mut recorded);
        let text = text(&recorded.message, &recorded.fields);
        Self { text, fields: recorded.fields.into_iter().map(|field| (field.name, field.value)).collect() }
    }
}

/// A field of an event.
struct RecordedField {
    name: &'static str,
    /// The full value.
    value: String,
    /// The value in the text.
    shown: String,
}

#[derive(Default)]
struct Recorded {
    message: String,
    fields: Vec<RecordedField>,
}

impl Recorded {
    fn add(&mut self, field: &Field, value: String) {
        self.add_shown(field, value.clone(), value);
    }

    fn add_shown(&mut self, field: &Field, value: String, shown: String) {
        if field.name() == "message" {
            self.message = value;
        } else {
            self.fields.push(RecordedField { name: field.name(), value, shown });
        }
    }
}

impl Visit for Recorded {
    fn record_f64(&mut self, field: &Field, value: f64) {
        // Scores are f32: 0.83 and not 0.829999983.
        #[expect(clippy::cast_possible_truncation, reason = "compared with the original")]
        let short = value as f32;
        let exact = if f64::from(short) == value { short.to_string() } else { value.to_string() };
        self.add_shown(field, exact, number_shown(value));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, format!("{value:?}"));
    }
}

fn text(message: &str, fields: &[RecordedField]) -> String {
    let mut text = String::new();
    if let Some(source) = fields.iter().find(|field| field.name == SOURCE && !field.value.is_empty()) {
        push_escaped(&mut text, &source.shown, false);
        text.push_str(": ");
    }
    push_escaped(&mut text, message, true);
    let special = |name: &str| {
        name == SOURCE || name == REMEDY || CAUSES.contains(&name) || name.starts_with(OF_LIBRARIES)
    };
    let quoted = |field: &&RecordedField| message.contains(&format!("`{}`", field.value));
    let others = fields.iter().filter(|field| !special(field.name)).filter(|field| !quoted(field));
    for (number, field) in others.clone().enumerate() {
        text.push_str(if number == 0 { " (" } else { ", " });
        text.push_str(field.name);
        text.push('=');
        push_value(&mut text, &field.shown);
    }
    if others.count() > 0 {
        text.push(')');
    }
    let is_said = |field: &&RecordedField| !field.shown.is_empty() && message.contains(&field.shown);
    for field in fields.iter().filter(|field| CAUSES.contains(&field.name)).filter(|field| !is_said(field)) {
        text.push_str(": ");
        push_escaped(&mut text, &field.shown, false);
    }
    for field in fields.iter().filter(|field| field.name == REMEDY) {
        text.push_str("; help: ");
        push_escaped(&mut text, &field.shown, false);
    }
    text
}

/// A number with three decimals, or with two digits if it is smaller: scores of SigLIP are often below 0.001.
fn number_shown(value: f64) -> String {
    let decimals = match value.abs() {
        small if small > 0.0 && small < 0.0001 => 6,
        small if small > 0.0 && small < 0.01 => 5,
        _ => 3,
    };
    format!("{value:.decimals$}")
}

/// A value in brackets, in quotes if it could be taken for more than one value.
fn push_value(text: &mut String, value: &str) {
    let needs_quotes = |letter: char| {
        letter.is_whitespace() || terminal::is_active(letter) || matches!(letter, ',' | '(' | ')' | '"')
    };
    if value.is_empty() || value.contains(needs_quotes) {
        text.push('"');
        text.push_str(&terminal::one_line(&value.replace('\\', "\\\\").replace('"', "\\\"")));
        text.push('"');
    } else {
        text.push_str(value);
    }
}

/// Names of files and topics are chosen by others: they must not begin a new line or command a terminal.
fn push_escaped(text: &mut String, part: &str, lines: bool) {
    text.push_str(&if lines { terminal::escaped(part) } else { terminal::one_line(part) });
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing::Subscriber;
    use tracing_subscriber::{Layer, layer::Context, layer::SubscriberExt};

    use super::*;

    /// Keeps the lines that it receives.
    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<Line>>>);

    impl<S: Subscriber> Layer<S> for Kept {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            self.0.lock().unwrap().push(Line::of(event));
        }
    }

    fn line(log: impl FnOnce()) -> Line {
        let kept = Kept::default();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(kept.clone()), log);
        let mut lines = kept.0.lock().unwrap();
        assert_eq!(lines.len(), 1);
        lines.remove(0)
    }

    #[test]
    fn a_line_can_be_understood_by_its_text() {
        let error = std::io::Error::from_raw_os_error(13);
        let none = None::<f64>;
        let cases: &[(&dyn Fn(), &str)] = &[
            (&|| tracing::info!("listening"), "listening"),
            (
                &|| {
                    tracing::info!(
                        source = "front door",
                        label = "person",
                        score = f64::from(0.83_f32),
                        "`person` raised"
                    )
                },
                "front door: `person` raised (score=0.830)",
            ),
            (
                &|| tracing::info!(source = "door", score = none, when = "a and b", "raised"),
                "door: raised (when=\"a and b\")",
            ),
            (
                &|| tracing::error!(source = "door", cause = "no route to host", "the source failed"),
                "door: the source failed: no route to host",
            ),
            (
                &|| tracing::warn!(source = "in", path = %"/in/a b.jpg", cause = %"it is truncated", remedy = "delete it", "skipped"),
                "in: skipped (path=\"/in/a b.jpg\"): it is truncated; help: delete it",
            ),
            (
                &|| tracing::warn!(%error, waiting = 3, "not connected"),
                "not connected (waiting=3): Permission denied (os error 13)",
            ),
            (
                &|| tracing::info!(source = "", sources = 2, model = "a/b", "watching"),
                "watching (sources=2, model=a/b)",
            ),
            (
                &|| tracing::warn!(source = "door", cause = "no answer", "no answer; again"),
                "door: no answer; again",
            ),
            // What others choose stays in its line, and does not command a terminal.
            (
                &|| {
                    tracing::warn!(
                        source = "a\nb",
                        topic = "x\u{1b}[2J",
                        why = "c\r\nERROR d",
                        "skipped\u{7}"
                    )
                },
                "a\\nb: skipped\\u0007 (topic=\"x\\u001b[2J\"): c\\r\\nERROR d",
            ),
            (
                &|| tracing::warn!(path = %"gpj.\u{202e}exe", cause = "\u{9b}2J", "skipped \u{2066}"),
                "skipped \\u2066 (path=\"gpj.\\u202eexe\"): \\u009b2J",
            ),
            (&|| tracing::error!("invalid\n{}", "two\nlines"), "invalid\ntwo\nlines"),
            (&|| tracing::info!(label = "raised", name = "", "raised"), "raised (label=raised, name=\"\")"),
        ];
        for (log, expected) in cases {
            assert_eq!(line(log).text, *expected);
        }
    }

    #[test]
    fn the_fields_keep_their_full_values() {
        let line = line(|| {
            tracing::info!(score = f64::from(0.998_012_36_f32), exact = 0.1, on = true, text = "a b", "said")
        });
        let expected = [("score", "0.99801236"), ("exact", "0.1"), ("on", "true"), ("text", "a b")];
        assert_eq!(line.fields, expected.map(|(name, value)| (name, value.to_owned())));
        assert_eq!(line.text, "said (score=0.998, exact=0.100, on=true, text=\"a b\")");
        let shown = [0.831_234, 1.0, 0.0167, 0.0005, 0.0, -0.25].map(number_shown);
        assert_eq!(shown, ["0.831", "1.000", "0.017", "0.00050", "0.000", "-0.250"]);
    }
}
