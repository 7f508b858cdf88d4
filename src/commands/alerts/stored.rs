//! The alerts and near misses of the history: as a table, as JSON lines, and their pictures as files.

use std::{fs, io::Write as _, path::Path, process::ExitCode};

use anyhow::{Context as _, Result};
use jiff::{Timestamp, tz::TimeZone};
use serde_json::{Value, json};

use super::{Args, padded, width};
use crate::{
    api::{
        Client, Error, Kind, Time,
        alerts::{self, RememberedAlert},
        filter,
        near_misses::{self, NearMiss},
    },
    commands::{DONE, HISTORY_IS_OFF, WRONG_USAGE, report},
    local_time, terminal,
    topic::slug,
};

/// The characters of an identifier in the table: its end, because the ids of one minute begin in the same way.
pub(super) const SHORT_ID: usize = 8;

/// One alert or near miss.
struct Entry {
    id: String,
    captured_at: Timestamp,
    source: String,
    label: String,
    score: Option<f64>,
    threshold: Option<f64>,
    state: &'static str,
    mark: Option<String>,
    reason: String,
    picture: Option<String>,
    json: Value,
}

/// Prints the newest alerts, the oldest of them first, and near misses among them if they are wanted. The exit code is 0 also if there
/// are none. `unknown` says which name the configuration does not have.
///
/// # Errors
/// Standard output or the folder of pictures cannot be written.
pub(super) fn run(
    args: &Args,
    client: &Client,
    unknown: Option<String>,
    history_is_on: bool,
) -> Result<ExitCode> {
    let entries = match entries(args, client) {
        Ok(entries) => entries,
        Err(error) => return Ok(report(&error)),
    };
    if entries.is_empty() {
        // A name that the configuration does not have may be of the past.
        if let Some(unknown) = unknown {
            terminal::say(format_args!("error: {unknown}"));
            return Ok(ExitCode::from(WRONG_USAGE));
        }
        terminal::say(if history_is_on { "the history has no such alerts" } else { HISTORY_IS_OFF });
        return Ok(ExitCode::from(DONE));
    }
    let mut out = terminal::output();
    let printed = if args.json {
        entries.iter().try_for_each(|entry| writeln!(out, "{}", entry.json))
    } else {
        table(&entries, args.near_misses, &TimeZone::system())
            .iter()
            .try_for_each(|row| writeln!(out, "{row}"))
    };
    printed.context("standard output cannot be written")?;
    match &args.pictures {
        Some(folder) => pictures(&entries, client, folder),
        None => Ok(ExitCode::from(DONE)),
    }
}

/// What is asked for, the oldest first.
fn entries(args: &Args, client: &Client) -> Result<Vec<Entry>, Error> {
    let request = filter::Request {
        source: args.source.clone(),
        label: args.label.clone(),
        since: args.since.map(Time),
        until: args.until.map(Time),
        limit: Some(args.last.unwrap_or(filter::HIGHEST_LIMIT)),
    };
    let found = client.call(&alerts::VERB, &request)?.alerts;
    let mut entries: Vec<_> = found.into_iter().map(Entry::of_alert).collect();
    if args.near_misses {
        let found = client.call(&near_misses::VERB, &request)?.near_misses;
        entries.extend(found.into_iter().map(Entry::of_near_miss));
    }
    // The newest of both kinds together. Of equal times, a label is cleared after it was raised.
    entries.sort_by(|a, b| (b.captured_at, &b.id).cmp(&(a.captured_at, &a.id)));
    entries.truncate(args.last.map_or(usize::MAX, |last| last as usize));
    entries.reverse();
    Ok(entries)
}

impl Entry {
    fn of_alert(found: RememberedAlert) -> Self {
        let RememberedAlert { alert, reason, clear_below, picture, mark } = found;
        // The published fields, then those of the history.
        let mut json = serde_json::to_value(&alert).unwrap_or_default();
        json["clear_below"] = json!(clear_below);
        json["reason"] = json!(reason);
        json["picture"] = json!(picture);
        json["mark"] = json!(mark);
        Self {
            id: alert.id,
            captured_at: alert.frame.captured_at.0,
            source: alert.source,
            label: alert.label,
            score: alert.score,
            threshold: alert.threshold,
            state: if alert.state == "raised" { "raised" } else { "cleared" },
            mark,
            reason,
            picture,
            json,
        }
    }

    fn of_near_miss(found: NearMiss) -> Self {
        let mut json = serde_json::to_value(&found).unwrap_or_default();
        json["state"] = json!("near_miss");
        Self {
            id: found.id,
            captured_at: found.captured_at.0,
            source: found.source,
            label: found.label,
            score: found.score,
            threshold: found.threshold,
            state: "near miss",
            mark: found.mark,
            reason: found.reason,
            picture: found.picture,
            json,
        }
    }

    /// The end of the identifier, which is enough for `stakeout mark`.
    fn short_id(&self) -> &str {
        self.id.get(self.id.len().saturating_sub(SHORT_ID)..).unwrap_or(&self.id)
    }

    fn cells(&self, zone: &TimeZone) -> [String; COLUMNS] {
        let number = |number: Option<f64>| number.map_or("-".to_owned(), |number| format!("{number:.2}"));
        [
            local_time::in_zone(self.captured_at, zone),
            terminal::one_line(&self.source).into_owned(),
            terminal::one_line(&self.label).into_owned(),
            number(self.score),
            number(self.threshold),
            self.state.to_owned(),
            self.mark.clone().unwrap_or_else(|| "-".to_owned()),
            self.short_id().to_owned(),
            terminal::one_line(&self.reason).into_owned(),
        ]
    }
}

/// The columns of the table; the last one is only printed with near misses.
const COLUMNS: usize = 9;
const HEADINGS: [&str; COLUMNS] =
    ["time", "source", "label", "score", "threshold", "state", "mark", "id", "reason"];

/// The lines of the table, its headings first.
fn table(entries: &[Entry], with_reasons: bool, zone: &TimeZone) -> Vec<String> {
    let headings = HEADINGS.map(str::to_owned);
    let rows: Vec<_> = [headings].into_iter().chain(entries.iter().map(|entry| entry.cells(zone))).collect();
    let widths: [usize; COLUMNS] =
        std::array::from_fn(|column| rows.iter().map(|row| width(&row[column])).max().unwrap_or(0));
    let shown = if with_reasons { COLUMNS } else { COLUMNS - 1 };
    let line = |row: &[String; COLUMNS]| {
        let cells = row.iter().zip(widths).zip(HEADINGS).take(shown).map(|((cell, widest), heading)| {
            // Numbers are aligned on the right.
            if matches!(heading, "score" | "threshold") {
                format!("{}{cell}", " ".repeat(widest.saturating_sub(width(cell))))
            } else {
                padded(cell, widest)
            }
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

/// Writes the pictures into a folder, which is made if it does not exist. A picture that was deleted in the meantime is reported.
fn pictures(entries: &[Entry], client: &Client, folder: &Path) -> Result<ExitCode> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
    let (mut written, mut missing) = (0, 0);
    for entry in entries {
        let Some(address) = &entry.picture else {
            missing += 1;
            continue;
        };
        match client.picture(address) {
            Ok(jpeg) => {
                let path = folder.join(file_name(entry));
                fs::write(&path, jpeg).with_context(|| format!("cannot write {}", path.display()))?;
                written += 1;
            }
            Err(error) if error.kind == Kind::NotFound => missing += 1,
            Err(error) => return Ok(report(&error)),
        }
    }
    let without = if missing > 0 { format!("; {missing} have none") } else { String::new() };
    terminal::say(format_args!("{written} pictures in {}{without}", folder.display()));
    Ok(ExitCode::from(DONE))
}

/// A name that sorts by time and is valid on every file system: `20261123T081530.125Z_front_door_package_raised_9f3c01ab.jpg`.
fn file_name(entry: &Entry) -> String {
    let time = entry.captured_at.strftime("%Y%m%dT%H%M%S%.3fZ");
    let names = [&entry.source, &entry.label, entry.state]
        .map(|name| slug(name).chars().take(60).collect::<String>());
    format!("{time}_{}_{}.jpg", names.join("_"), slug(entry.short_id()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(state: &'static str, source: &str, mark: Option<&str>) -> Entry {
        Entry {
            id: "019340a2-7b1c-7000-8000-00009f3c01ab".to_owned(),
            captured_at: "2026-11-23T08:15:30.125Z".parse().unwrap(),
            source: source.to_owned(),
            label: "package".to_owned(),
            score: Some(0.834),
            threshold: Some(0.6),
            state,
            mark: mark.map(str::to_owned),
            reason: "hold: 1 of 2 so far".to_owned(),
            picture: None,
            json: Value::Null,
        }
    }

    #[test]
    fn alerts_are_an_aligned_table() {
        let rule = Entry {
            score: None,
            threshold: None,
            label: "stranger".to_owned(),
            ..entry("cleared", "猫", None)
        };
        let entries = [entry("raised", "front-door", Some("right")), rule];
        let expected = [
            "time                        source      label     score  threshold  state    mark   id",
            "2026-11-23 08:15:30 +00:00  front-door  package    0.83       0.60  raised   right  9f3c01ab",
            "2026-11-23 08:15:30 +00:00  猫          stranger      -          -  cleared  -      9f3c01ab",
        ];
        assert_eq!(table(&entries, false, &TimeZone::UTC), expected);
        let with_reasons = table(&[entry("near miss", "front-door", None)], true, &TimeZone::UTC);
        let end = "near miss  -     9f3c01ab  hold: 1 of 2 so far";
        assert!(with_reasons[1].ends_with(end), "{}", with_reasons[1]);
    }

    #[test]
    fn names_of_others_neither_move_the_terminal_nor_leave_the_folder() {
        let hostile = entry("raised", "../../etc/\u{1b}[2J\n", None);
        assert!(
            !table(&[entry("raised", "\u{1b}[2J\n", None)], false, &TimeZone::UTC)[1]
                .contains(terminal::is_active)
        );
        let name = file_name(&hostile);
        assert_eq!(name, "20261123T081530.125Z_etc_2j_package_raised_9f3c01ab.jpg");
    }
}
