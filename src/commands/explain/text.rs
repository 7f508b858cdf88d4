//! The answer for people: problems of the source first, then one line for each label with its gates below it.

use std::{
    fmt::{self, Write as _},
    time::Duration,
};

use jiff::{Timestamp, tz::TimeZone};

use crate::{
    api::explain::{ExplainedLabel, Origin, Request, Response},
    commands::alerts::{padded, width},
    local_time,
    terminal::one_line,
    trigger::{GateKind, Gates},
    yaml::value::duration_text,
};

/// The answer at `now`, with times in `zone`.
pub(super) fn in_lines(response: &Response, now: Timestamp, zone: &TimeZone) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = head(&mut text, response, now, zone);
    if !response.labels.is_empty() {
        text.push('\n');
        let _ = table(&mut text, &response.labels, zone);
    }
    text
}

/// Why there is no answer.
pub(super) fn nothing_known(response: &Response, request: &Request) -> String {
    let source = one_line(&response.source);
    match request.at {
        Some(at) => format!(
            "the history has nothing of `{source}` around {}; it holds what was scored while `history` was on",
            local_time::local(at.0)
        ),
        None => format!("no service is running here, and the history has nothing of `{source}`"),
    }
}

fn head(text: &mut String, response: &Response, now: Timestamp, zone: &TimeZone) -> fmt::Result {
    let source = one_line(&response.source);
    let time = |time: Timestamp| local_time::in_zone(time, zone);
    let status = response.status.as_deref().filter(|status| *status != "online");
    match (&response.problem, status) {
        (Some(problem), status) => {
            let (status, since) = (status.unwrap_or("failing"), time(problem.since.0));
            writeln!(text, "{source} is {status} since {since}: {}", one_line(&problem.cause))?;
            writeln!(text, "  {}", one_line(&problem.remedy))?;
        }
        (None, Some(status)) => writeln!(text, "{source} is {status}")?,
        (None, None) => {}
    }
    for set in &response.set {
        writeln!(text, "  {}", one_line(&set.sentence))?;
    }
    let Some(frame) = &response.frame else {
        return writeln!(text, "no frame of {source} was scored since the service started");
    };
    let captured = time(frame.captured_at.0);
    match response.from {
        Origin::Service => {
            writeln!(text, "newest frame of {source}: {captured}{}", ago(frame.captured_at.0, now))?;
        }
        Origin::History => writeln!(text, "frame of {source}: {captured}, from the history")?,
        Origin::Picture => writeln!(text, "as a frame of {source} at {captured}")?,
    }
    if frame.scored_at < frame.captured_at {
        let until = if response.from == Origin::Service { now } else { frame.captured_at.0 };
        writeln!(text, "unchanged: scored {} ago", seconds_between(frame.scored_at.0, until))?;
    }
    Ok(())
}

/// `, 12s ago`; nothing for a time in the future, because one of two clocks is wrong.
fn ago(time: Timestamp, now: Timestamp) -> String {
    if time > now { String::new() } else { format!(", {} ago", seconds_between(time, now)) }
}

fn seconds_between(from: Timestamp, to: Timestamp) -> String {
    let seconds = to.duration_since(from).max(jiff::SignedDuration::ZERO).unsigned_abs().as_secs();
    duration_text(Duration::from_secs(seconds))
}

/// One row for each label: its name, score, threshold and baseline, and its state; then its gates.
fn table(text: &mut String, labels: &[ExplainedLabel], zone: &TimeZone) -> fmt::Result {
    let name =
        |label: &ExplainedLabel| one_line(&format!("{}/{}", label.label_set, label.label)).into_owned();
    let widest = labels.iter().map(|label| width(&name(label))).max().unwrap_or(0).max("label".len());
    let with_baselines = labels.iter().any(|label| label.baseline.is_some());
    let heading = if with_baselines { "  baseline" } else { "" };
    writeln!(text, "{}  score  threshold{heading}  state", padded("label", widest))?;
    for label in labels {
        write!(
            text,
            "{}  {:>5}  {:>9}",
            padded(&name(label), widest),
            number(label.score),
            number(label.threshold)
        )?;
        if with_baselines {
            write!(text, "  {:>8}", number(label.baseline))?;
        }
        writeln!(text, "  {}", state(label, zone))?;
        gates(text, label)?;
    }
    Ok(())
}

fn number(number: Option<f32>) -> String {
    number.map_or("-".to_owned(), |number| format!("{number:.2}"))
}

fn state(label: &ExplainedLabel, zone: &TimeZone) -> String {
    if !label.raised {
        return "not raised".to_owned();
    }
    let since = label.raised_since.map(|since| format!(" since {}", local_time::in_zone(since.0, zone)));
    let until = match (&label.when, label.clear_below) {
        (Some(_), _) => ", until its condition is not met".to_owned(),
        (None, Some(level)) => format!(", until the score is below {level:.2}"),
        (None, None) => String::new(),
    };
    format!("raised{}{until}", since.unwrap_or_default())
}

fn gates(text: &mut String, label: &ExplainedLabel) -> fmt::Result {
    let mut line = |what: &str, content: &str| writeln!(text, "    {what:<8}{}", one_line(content));
    if let Some(when) = &label.when {
        line("when", when)?;
    }
    if let Some(region) = &label.region {
        line("region", region)?;
    }
    if let Some(reason) = &label.reason {
        line("held by", reason)?;
    }
    // What was set for the source is above.
    for set in label.set.iter().filter(|set| set.label.is_some()) {
        line("set", &set.sentence)?;
    }
    for (what, gates) in [("also by", label.also_held_by), ("passed", label.passed)] {
        if !gates.is_empty() {
            line(what, &words(gates))?;
        }
    }
    Ok(())
}

fn words(gates: Gates) -> String {
    gates.iter().map(GateKind::word).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        api::{
            Time,
            control::SetValue,
            explain::{ExplainedFrame, SourceProblem},
        },
        judge::Gate,
        policy::{Control, SetBy, Setting, Target},
    };

    fn at(time: &str) -> Time {
        Time(format!("2026-11-23T{time}Z").parse().unwrap())
    }

    fn label(label: &str, held_by: Option<Gate>) -> ExplainedLabel {
        ExplainedLabel {
            label_set: "porch".to_owned(),
            label: label.to_owned(),
            when: None,
            score: Some(0.825),
            region: None,
            threshold: Some(0.6),
            clear_below: Some(0.4),
            baseline: None,
            raised: held_by.is_none(),
            raised_since: held_by.is_none().then(|| at("07:00:00")),
            reason: held_by.as_ref().map(Gate::sentence),
            held_by,
            also_held_by: Gates::default(),
            passed: Gates::default(),
            set: Vec::new(),
        }
    }

    fn response(labels: Vec<ExplainedLabel>) -> Response {
        let frame = ExplainedFrame { captured_at: at("08:15:30"), scored_at: at("08:15:30") };
        Response {
            source: "front door".to_owned(),
            from: Origin::Service,
            status: Some("online".to_owned()),
            problem: None,
            set: Vec::new(),
            frame: Some(frame),
            labels,
        }
    }

    fn shown(response: &Response) -> String {
        in_lines(response, at("08:15:42.5").0, &TimeZone::UTC)
    }

    #[test]
    fn one_line_for_each_label_and_its_gates_below() {
        let hold = ExplainedLabel {
            region: Some("step".to_owned()),
            also_held_by: [GateKind::Cooldown].into_iter().collect(),
            passed: [GateKind::Threshold, GateKind::Active].into_iter().collect(),
            ..label("a dog", Some(Gate::Hold { seen: 1, frames: 2, of: 2 }))
        };
        let missing = Gate::Condition { missing: vec!["a dog".into()], present: vec![], unknown: vec![] };
        let rule = ExplainedLabel {
            when: Some("a dog and not person".to_owned()),
            score: None,
            threshold: None,
            clear_below: None,
            ..label("stray", Some(missing))
        };
        let expected = "\
newest frame of front door: 2026-11-23 08:15:30 +00:00, 12s ago

label         score  threshold  state
porch/a dog    0.82       0.60  not raised
    region  step
    held by hold: 1 of 2 so far
    also by cooldown
    passed  threshold, active
porch/person   0.82       0.60  raised since 2026-11-23 07:00:00 +00:00, until the score is below 0.40
porch/stray       -          -  not raised
    when    a dog and not person
    held by condition: a dog is missing
";
        assert_eq!(shown(&response(vec![hold, label("person", None), rule])), expected);
    }

    #[test]
    fn problems_of_the_source_come_first() {
        let problem = SourceProblem {
            cause: "cannot be opened: Connection refused".to_owned(),
            since: at("07:50:00"),
            remedy: "Check the address and the power supply of the camera.".to_owned(),
        };
        let frame = ExplainedFrame { captured_at: at("07:49:59"), scored_at: at("07:49:00") };
        let failing = Response {
            status: Some("offline".to_owned()),
            problem: Some(problem),
            frame: Some(frame),
            ..response(vec![])
        };
        let expected = "\
front door is offline since 2026-11-23 07:50:00 +00:00: cannot be opened: Connection refused
  Check the address and the power supply of the camera.
newest frame of front door: 2026-11-23 07:49:59 +00:00, 25m43s ago
unchanged: scored 26m42s ago
";
        assert_eq!(shown(&failing), expected);
        let never = Response { frame: None, status: Some("stalled".to_owned()), ..response(vec![]) };
        let expected = "front door is stalled\nno frame of front door was scored since the service started\n";
        assert_eq!(shown(&never), expected);
    }

    #[test]
    fn what_was_set_is_said_at_its_source_and_its_label() {
        let at = "2026-11-23T08:00:00Z".parse().unwrap();
        let control = |target, setting| {
            let control = Control { target, setting, by: SetBy::Mqtt, at };
            SetValue { sentence: control.sentence(&TimeZone::UTC), ..SetValue::from(&control) }
        };
        let until = "2026-11-24T06:00:00Z".parse().unwrap();
        let snooze = Setting::Snooze { until, asked: "until 07:00".to_owned() };
        let of_source = control(Target::source("front door"), snooze);
        let threshold = Setting::Threshold { value: 0.6, file: 0.5 };
        let of_label = control(Target::label("front door", "porch", "person"), threshold);
        let person = ExplainedLabel {
            set: vec![of_source.clone(), of_label],
            ..label("person", Some(Gate::BelowThreshold))
        };
        let response = Response { set: vec![of_source], ..response(vec![person]) };
        let expected = "  snoozed until 2026-11-24 06:00, set over MQTT at 2026-11-23 08:00
newest frame of front door: 2026-11-23 08:15:30 +00:00, 12s ago

label         score  threshold  state
porch/person   0.82       0.60  not raised
    held by threshold: the score is below it
    set     threshold 0.6, set over MQTT at 2026-11-23 08:00; 0.5 in the file
";
        assert_eq!(shown(&response), expected);
    }

    #[test]
    fn a_moment_in_the_past_and_a_picture_say_what_they_are() {
        let baseline = Gate::BaselineUnknown { frames: 3, left: Duration::from_secs(30) };
        let rising = ExplainedLabel { threshold: None, ..label("fox", Some(baseline)) };
        let known = ExplainedLabel { baseline: Some(0.31), ..label("fox", Some(Gate::BelowThreshold)) };
        let past = Response { from: Origin::History, status: None, ..response(vec![rising, known]) };
        let expected = "\
frame of front door: 2026-11-23 08:15:30 +00:00, from the history

label      score  threshold  baseline  state
porch/fox   0.82          -         -  not raised
    held by baseline: not learnt yet, at least 3 quiet frames over 30s to come
porch/fox   0.82       0.60      0.31  not raised
    held by threshold: the score is below it
";
        assert_eq!(shown(&past), expected);
        let picture = Response { from: Origin::Picture, status: None, ..response(vec![]) };
        assert_eq!(shown(&picture), "as a frame of front door at 2026-11-23 08:15:30 +00:00\n");
        let request = Request { source: "front door".into(), label_set: None, label: None, at: None };
        assert!(nothing_known(&past, &request).contains("no service is running here"));
    }
}
