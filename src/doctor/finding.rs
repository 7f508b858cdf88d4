//! The result of one check of `doctor`.

use serde::Serialize;

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

    /// The lines for people.
    #[must_use]
    pub fn lines(&self) -> String {
        let state = match self.state {
            State::Ok => "ok",
            State::Note => "note",
            State::Failed => "FAILED",
        };
        let mut message = self.message.lines();
        let mut lines = format!("{state:<7} {}: {}\n", self.what, message.next().unwrap_or_default());
        message.for_each(|line| lines.push_str(&format!("        {line}\n")));
        if let Some(remedy) = &self.remedy {
            lines.push_str(&format!("        -> {remedy}\n"));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_a_few_lines_or_an_object() {
        let failed = Finding::failed("broker", "away\nsince noon", "start it");
        assert_eq!(failed.lines(), "FAILED  broker: away\n        since noon\n        -> start it\n");
        let json = |finding: &Finding| serde_json::to_string(finding).unwrap();
        let expected =
            r#"{"check":"broker","state":"failed","message":"away\nsince noon","remedy":"start it"}"#;
        assert_eq!(json(&failed), expected);
        let right = Finding::ok("clock", "right");
        assert_eq!(right.lines(), "ok      clock: right\n");
        assert_eq!(json(&right), r#"{"check":"clock","state":"ok","message":"right","remedy":null}"#);
    }
}
