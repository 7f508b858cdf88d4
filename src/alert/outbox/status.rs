//! The status of the outbox, as it is published.

use serde_json::json;

/// The status of the outbox.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    /// Why alerts are kept in memory instead of on disk, if they are.
    pub in_memory: Option<String>,
    /// Why it is not known whether the file is still in its place, if it is not.
    pub unchecked: Option<String>,
    /// How often the file was deleted, renamed or replaced while it was open, since the start.
    pub vanished: u64,
    /// Alerts that were dropped because of the limits, since the start.
    pub dropped: u64,
    /// Snapshots that were dropped because of the limits, since the start.
    pub snapshots_dropped: u64,
    /// How many other state files cannot be written.
    pub state_files: u64,
    /// How often one of them was written again because it had vanished, since the start.
    pub restored: u64,
    /// The new name of the newest damaged file, since the start.
    pub set_aside: Option<String>,
}

impl Status {
    /// Whether alerts are in a file that the next start finds.
    #[must_use]
    pub fn is_on_disk(&self) -> bool {
        self.in_memory.is_none() && self.unchecked.is_none()
    }

    /// The published payload: one line of JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut status = json!({
            "state": match self {
                Self { in_memory: Some(_), .. } => "memory",
                Self { unchecked: Some(_), .. } => "unchecked",
                _ => "ok",
            },
            "dropped": self.dropped,
            "snapshots_dropped": self.snapshots_dropped,
        });
        if let Some(why) = self.in_memory.as_ref().or(self.unchecked.as_ref()) {
            status["why"] = json!(why);
        }
        if self.vanished > 0 {
            status["vanished"] = json!(self.vanished);
        }
        if self.state_files > 0 {
            status["state_files"] = json!(self.state_files);
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
            ..Status::default()
        };
        let expected =
            r#"{"state":"memory","dropped":2,"snapshots_dropped":1,"why":"disk is full","set_aside":"a"}"#;
        assert_eq!(bad.to_json(), expected);
        let unknown = Status { unchecked: Some("denied".to_owned()), vanished: 3, ..Status::default() };
        let expected =
            r#"{"state":"unchecked","dropped":0,"snapshots_dropped":0,"why":"denied","vanished":3}"#;
        assert_eq!(unknown.to_json(), expected);
        assert_eq!([&fine, &bad, &unknown].map(Status::is_on_disk), [true, false, false]);
    }
}
