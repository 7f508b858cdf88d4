//! The status of the outbox, as it is published.

use serde_json::json;

/// The status of the outbox.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    /// Why alerts are kept in memory instead of on disk, if they are.
    pub in_memory: Option<String>,
    /// Alerts that were dropped because of the limits, since the start.
    pub dropped: u64,
    /// Snapshots that were dropped because of the limits, since the start.
    pub snapshots_dropped: u64,
    /// The new name of the newest damaged file, since the start.
    pub set_aside: Option<String>,
}

impl Status {
    /// The published payload: one line of JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut status = json!({
            "state": if self.in_memory.is_some() { "memory" } else { "ok" },
            "dropped": self.dropped,
            "snapshots_dropped": self.snapshots_dropped,
        });
        if let Some(why) = &self.in_memory {
            status["why"] = json!(why);
        }
        if let Some(file) = &self.set_aside {
            status["set_aside"] = json!(file);
        }
        status.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_status() {
        let fine = Status::default();
        assert_eq!(fine.to_json(), r#"{"state":"ok","dropped":0,"snapshots_dropped":0}"#);
        let bad = Status {
            in_memory: Some("disk is full".to_owned()),
            dropped: 2,
            snapshots_dropped: 1,
            set_aside: Some("a".to_owned()),
        };
        let expected =
            r#"{"state":"memory","dropped":2,"snapshots_dropped":1,"why":"disk is full","set_aside":"a"}"#;
        assert_eq!(bad.to_json(), expected);
    }
}
