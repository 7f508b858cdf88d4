//! The result of one check of `doctor`.

use serde::Serialize;

use crate::{
    remedy,
    terminal::{Colour, Style, escaped},
};

/// One check: what was checked, its state, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was checked.
    #[serde(rename = "check")]
    pub what: String,
    /// How it is.
    pub state: State,
    /// What was found.
    pub message: String,
    /// What to do; `None` if nothing is wrong.
    pub remedy: Option<String>,
}

/// The state of what was checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It works.
    Ok,
    /// It works, and there is something to know.
    Note,
    /// It does not work.
    Failed,
}

impl Finding {
    pub(super) fn ok(what: impl Into<String>, message: impl Into<String>) -> Self {
        Self { what: what.into(), state: State::Ok, message: message.into(), remedy: None }
    }

    pub(super) fn note(
        what: impl Into<String>,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { state: State::Note, remedy: Some(remedy.into()), ..Self::ok(what, message) }
    }

    pub(super) fn failed(
        what: impl Into<String>,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { state: State::Failed, remedy: Some(remedy.into()), ..Self::ok(what, message) }
    }

    /// A failure whose text may end with its own remedy, as most errors do. Otherwise the remedy is for the cause that the text
    /// names, or else `otherwise`.
    pub(super) fn of_error(what: impl Into<String>, text: &str, otherwise: &str) -> Self {
        let (message, remedy) = remedy::of_error(text, otherwise);
        Self::failed(what, message, remedy)
    }

    /// The same finding, about something that works nevertheless.
    pub(super) fn into_note(self) -> Self {
        Self { state: State::Note, ..self }
    }

    /// The lines for people. What servers and files have contributed is escaped.
    #[must_use]
    pub fn lines(&self, style: Style) -> String {
        const INDENT: usize = 8;
        let (state, colour) = match self.state {
            State::Ok => ("ok", Colour::Green),
            State::Note => ("note", Colour::Yellow),
            State::Failed => ("FAILED", Colour::Red),
        };
        let padding = " ".repeat(INDENT - state.len());
        let heading = format!("{}{padding}", style.coloured(state, colour));
        let text = format!("{}: {}", self.what, self.message);
        let text = escaped(&text);
        let mut lines = match text.contains('\n') {
            // Its lines belong together, such as a line of a file and the caret below it.
            true => text.lines().collect::<Vec<_>>().join(&format!("\n{}", " ".repeat(INDENT))),
            false => style.wrapped(&text, INDENT, INDENT),
        };
        if let Some(remedy) = &self.remedy {
            lines.push_str(&format!("\n{}-> ", " ".repeat(INDENT)));
            lines.push_str(&style.wrapped(&escaped(remedy), INDENT + 3, INDENT + 3));
        }
        format!("{heading}{lines}\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_a_few_lines_or_an_object() {
        let plain = Style::default();
        let failed = Finding::failed("broker", "away\nsince noon", "start it");
        assert_eq!(failed.lines(plain), "FAILED  broker: away\n        since noon\n        -> start it\n");
        let json = |finding: &Finding| serde_json::to_string(finding).unwrap();
        let expected =
            r#"{"check":"broker","state":"failed","message":"away\nsince noon","remedy":"start it"}"#;
        assert_eq!(json(&failed), expected);
        let right = Finding::ok("clock", "right");
        assert_eq!(right.lines(plain), "ok      clock: right\n");
        assert_eq!(json(&right), r#"{"check":"clock","state":"ok","message":"right","remedy":null}"#);
    }

    #[test]
    fn lines_fit_a_terminal_and_have_its_colours() {
        let style = Style { width: Some(40), colours: true };
        let note =
            Finding::note("memory", "12 MB are free for use", "stop other programs, or use a smaller model");
        let expected = "\u{1b}[33mnote\u{1b}[0m    memory: 12 MB are free for use\n        \
                        -> stop other programs, or use a\n           smaller model\n";
        assert_eq!(note.lines(style), expected);
        let long = Finding::ok("device auto", "works: the model runs on the processor of this machine");
        let wrapped = long.lines(Style { colours: false, ..style });
        assert_eq!(
            wrapped,
            "ok      device auto: works: the model\n        runs on the processor of this\n        machine\n"
        );
        let caret = Finding::failed(
            "configuration",
            "error: unknown key `a`\n  |\n1 | a: a line that is longer than the terminal",
            "x",
        );
        assert!(caret.lines(style).contains("        1 | a: a line that is longer than the terminal\n"));
    }
}
