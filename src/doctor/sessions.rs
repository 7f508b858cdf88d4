//! Checks whether the broker keeps the sessions of its subscribers, also when it restarts.
//!
//! A broker acknowledges an alert when it has stored the alert for its subscribers. If it then restarts and forgets its sessions, the
//! alert is lost for every subscriber that was not connected, and the service cannot notice it. MQTT gives no answer to the question
//! whether a broker stores sessions on disk. So each check leaves a session at the broker, and notes that in the state folder. The
//! next check asks for the session.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::finding::Finding;
use crate::{
    atomic_file,
    config::Config,
    local_time,
    mqtt::{self, Sessions},
};

/// The note about the session, in the state folder.
const FILE: &str = "doctor.json";
const WHAT: &str = "broker sessions";
const REMEDY: &str = "make them persistent: for Mosquitto set `persistence true` and `persistence_location`; docs/reliability.md lists other brokers";

/// What the last check has left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    /// The address of the broker.
    broker: String,
    client_id: String,
    /// Since when the broker has had the session.
    since: Timestamp,
    /// Until when it should have it.
    until: Timestamp,
    /// When it was last found that the broker had forgotten an earlier session.
    forgot: Option<Timestamp>,
}

/// The finding about the broker of `config`, which accepts connections.
pub(super) fn finding(config: &Config) -> Result<Finding> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime")?;
    let sessions = match runtime.block_on(mqtt::check_sessions(&config.mqtt)) {
        Ok(sessions) => sessions,
        Err(why) => {
            let remedy =
                "let this user connect as the client `CLIENT_ID-doctor`, and subscribe to `PREFIX/doctor`";
            return Ok(Finding::note(WHAT, format!("cannot be checked: {why}"), remedy));
        }
    };
    let (broker, client_id) = (mqtt::url(&config.mqtt), config.mqtt.client_id.clone());
    let path = config.state_dir.join(FILE);
    let earlier = read(&path).filter(|note| note.broker == broker && note.client_id == client_id);
    let now = Timestamp::now();
    let (finding, session) = judge(earlier.as_ref(), sessions, now);
    let note = Note { broker, client_id, since: session.since, until: session.until, forgot: session.forgot };
    // The finding about the state folder reports a folder that cannot be written.
    let content = serde_json::to_string(&note).context("a note is no JSON")?;
    let _ = atomic_file::write(&path, content);
    Ok(finding)
}

/// The note of an earlier check, if there is one that can be read.
fn read(path: &Path) -> Option<Note> {
    serde_json::from_str(&fs::read_to_string(path).ok()?).ok()
}

/// The times of a [`Note`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span {
    since: Timestamp,
    until: Timestamp,
    forgot: Option<Timestamp>,
}

/// The finding, and the times to note for the next check. Pure.
fn judge(earlier: Option<&Note>, sessions: Sessions, now: Timestamp) -> (Finding, Span) {
    let until = now + sessions.lifetime;
    let forgot = earlier.and_then(|note| note.forgot);
    let begins = Span { since: now, until, forgot };
    if !sessions.keeps || sessions.lifetime == Duration::ZERO {
        let message = "the broker keeps no session: a subscriber misses the alerts that arrive while it is not connected";
        // A session that does not exist cannot be forgotten.
        return (Finding::note(WHAT, message, REMEDY), Span { until: now, ..begins });
    }
    match earlier {
        Some(note) if !sessions.had_earlier && now < note.until => {
            let message = format!(
                "the broker has forgotten a session that it had on {}: when it restarts, subscribers that are not connected lose \
                 alerts that it has acknowledged",
                local_time::local(note.since)
            );
            (Finding::note(WHAT, message, REMEDY), Span { forgot: Some(now), ..begins })
        }
        Some(note) if sessions.had_earlier => {
            let since = local_time::local(note.since);
            let mut message = format!("the broker has kept one since {since}");
            if let Some(forgot) = note.forgot {
                let forgot = local_time::local(forgot);
                message += &format!(", and has forgotten the one before, as seen on {forgot}");
            }
            (Finding::ok(WHAT, message), Span { since: note.since, ..begins })
        }
        _ => {
            let message = "the broker keeps them while it runs; after its next restart `stakeout doctor` reports whether it kept this one";
            (Finding::ok(WHAT, message), begins)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::State;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_795_000_000 + second).unwrap()
    }

    #[test]
    fn a_session_that_should_exist_and_does_not_was_forgotten() {
        let hour = Duration::from_secs(3600);
        let note = |forgot| Note {
            broker: "mqtt://broker".to_owned(),
            client_id: "stakeout".to_owned(),
            since: at(0),
            until: at(3600),
            forgot,
        };
        let seen = |had_earlier, keeps| Sessions { had_earlier, keeps, lifetime: hour };
        let cases = [
            (
                "the first check",
                None,
                seen(false, true),
                10,
                State::Ok,
                "after its next restart",
                at(10),
                None,
            ),
            (
                "a note was lost",
                None,
                seen(true, true),
                10,
                State::Ok,
                "after its next restart",
                at(10),
                None,
            ),
            ("it is kept", Some(None), seen(true, true), 10, State::Ok, "has kept one since", at(0), None),
            (
                "it was forgotten",
                Some(None),
                seen(false, true),
                10,
                State::Note,
                "has forgotten a session",
                at(10),
                Some(at(10)),
            ),
            (
                "it has expired",
                Some(None),
                seen(false, true),
                3600,
                State::Ok,
                "after its next",
                at(3600),
                None,
            ),
            (
                "one was forgotten before",
                Some(Some(at(5))),
                seen(true, true),
                10,
                State::Ok,
                "has forgotten the one before",
                at(0),
                Some(at(5)),
            ),
            (
                "none is kept",
                Some(None),
                seen(false, false),
                10,
                State::Note,
                "keeps no session",
                at(10),
                None,
            ),
        ];
        for (name, earlier, sessions, second, state, words, since, forgot) in cases {
            let earlier = earlier.map(note);
            let (finding, span) = judge(earlier.as_ref(), sessions, at(second));
            assert_eq!(finding.state, state, "{name}");
            assert!(finding.message.contains(words), "{name}: {}", finding.message);
            assert_eq!((span.since, span.forgot), (since, forgot), "{name}");
        }
    }

    #[test]
    fn a_broker_that_keeps_no_session_is_reported_each_time() {
        let none = Sessions { had_earlier: false, keeps: true, lifetime: Duration::ZERO };
        let (finding, span) = judge(None, none, at(0));
        assert_eq!((finding.state, span.until), (State::Note, at(0)));
    }
}
