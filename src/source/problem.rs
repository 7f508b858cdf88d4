//! Why a source delivers no frames: published for people until the source is well again.

use jiff::Timestamp;
use serde_json::json;

/// The most characters of a cause. Home Assistant stores no attributes of more than 16 KB.
const LONGEST: usize = 1000;

/// Why a source delivers no frames.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The cause, for people.
    pub cause: String,
    /// When the source failed for the first time since it was well.
    pub since: Timestamp,
    /// What to do about it.
    pub remedy: &'static str,
}

impl Problem {
    /// The problem after a failure at `now`; `before` is the problem until then.
    #[must_use]
    pub fn after(before: Option<&Self>, cause: &str, remedy: &'static str, now: Timestamp) -> Self {
        let cause = cause.chars().take(LONGEST).collect();
        Self { cause, since: before.map_or(now, |before| before.since), remedy }
    }

    /// The JSON text that is published.
    #[must_use]
    pub fn to_json(&self) -> String {
        json!({ "cause": self.cause, "since": format!("{:.0}", self.since), "remedy": self.remedy })
            .to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_has_the_newest_cause_and_the_time_of_the_first() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let first = Problem::after(None, "no answer", "look", at("2026-11-23T08:15:30.9Z"));
        let second = Problem::after(Some(&first), "a \"wrong\" password", "look", at("2026-11-23T08:16:00Z"));
        assert_eq!(
            second.to_json(),
            r#"{"cause":"a \"wrong\" password","since":"2026-11-23T08:15:30Z","remedy":"look"}"#
        );
        assert_eq!(
            Problem::after(None, &"ä".repeat(5000), "", at("2026-11-23T08:15:30Z")).cause.chars().count(),
            LONGEST
        );
    }
}
