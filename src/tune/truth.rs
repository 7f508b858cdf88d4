//! What really happened in a recording: a CSV file with the columns `label`, `start` and `end`, and optionally `source` and
//! `label_set`. Times are seconds from the first frame (`75`, `75.5`, `1:15`, `0:01:15`) or dates with times (RFC 3339).

use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow, bail};
use jiff::{SignedDuration, Timestamp};

use crate::{
    replay::Timeline,
    suggest::{self, Interval, MarkedMoment},
    text_file,
};

/// The longest file: hundreds of thousands of rows.
const LONGEST: u64 = 64 * 1024 * 1024;

/// The times at which labels were visible, in the order of the file.
#[derive(Debug, Clone, PartialEq)]
pub struct Truth {
    path: PathBuf,
    rows: Vec<Row>,
    /// The labels that it is about: label set and label. `None`: all.
    only: Option<Vec<(String, String)>>,
}

/// A person's verdict on a moment of a label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marked {
    /// The label set.
    pub label_set: String,
    /// The label.
    pub label: String,
    /// When the frame was captured.
    pub time: Timestamp,
    /// Whether the label was in view.
    pub is_right: bool,
}

#[derive(Debug, Clone, PartialEq)]
struct Row {
    line: u64,
    source: Option<String>,
    label_set: Option<String>,
    label: String,
    from: Moment,
    to: Moment,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Moment {
    /// A time since the first frame.
    Into(SignedDuration),
    At(Timestamp),
}

impl Truth {
    /// Reads a file.
    ///
    /// # Errors
    /// The file cannot be read, or lists all problems with their lines.
    pub fn read(path: &Path) -> Result<Self> {
        let text = text_file::read(path, LONGEST).map_err(|error| anyhow!(error.about(path)))?;
        match Self::parse(&text) {
            Ok(rows) => Ok(Self { path: path.to_owned(), rows, only: None }),
            Err(problems) => bail!("{}:{}", path.display(), list(&problems)),
        }
    }

    /// What marks say about the labels of a timeline; `None` if there are none. It is about labels with marks only: their alerts in the
    /// timeline are right unless they are marked as wrong, and moments that are marked as right are events, too.
    pub(super) fn of_marks(marks: &[Marked], timeline: &Timeline) -> Option<Self> {
        let (mut rows, mut only) = (vec![], vec![]);
        for track in &timeline.tracks {
            let is_own = |mark: &&Marked| mark.label_set == track.label_set && mark.label == track.label;
            let own: Vec<_> = marks.iter().filter(is_own).collect();
            if own.is_empty() {
                continue;
            }
            only.push((track.label_set.clone(), track.label.clone()));
            let last = track.points.iter().map(|point| point.time).max().unwrap_or(Timestamp::MAX);
            let spans: Vec<Interval> =
                track.spans.iter().map(|span| (span.from, span.to.unwrap_or(last))).collect();
            let moment = |mark: &&Marked| MarkedMoment { time: mark.time, is_right: mark.is_right };
            let moments = own.iter().map(moment).collect::<Vec<_>>();
            let events = suggest::events_of_marks(&spans, &moments).into_iter();
            rows.extend(events.map(|(from, to)| Row {
                line: 0,
                source: None,
                label_set: Some(track.label_set.clone()),
                label: track.label.clone(),
                from: Moment::At(from),
                to: Moment::At(to),
            }));
        }
        (!only.is_empty()).then(|| Self { path: PathBuf::new(), rows, only: Some(only) })
    }

    /// Checks that every row of `source` names one of the labels (label set, label) and ends after it starts.
    ///
    /// # Errors
    /// Lists all problems with their lines.
    pub(super) fn check(&self, source: &str, labels: &[(&str, &str)], first: Timestamp) -> Result<()> {
        let problems = self.problems(source, labels, first);
        if !problems.is_empty() {
            bail!("{}:{}", self.path.display(), list(&problems));
        }
        Ok(())
    }

    fn parse(text: &str) -> Result<Vec<Row>, Vec<String>> {
        let mut reader = csv::ReaderBuilder::new()
            .trim(csv::Trim::All)
            .flexible(true)
            .comment(Some(b'#'))
            .from_reader(text.as_bytes());
        let headers = reader.headers().map_err(|error| vec![error.to_string()])?.clone();
        let column = |name: &str| headers.iter().position(|header| header.eq_ignore_ascii_case(name));
        let (Some(label), Some(start), Some(end)) = (column("label"), column("start"), column("end")) else {
            return Err(vec!["line 1: the first line names the columns: `label,start,end`, and perhaps `source` and `label_set`".to_owned()]);
        };
        let (source, label_set) = (column("source"), column("label_set"));
        let (mut rows, mut problems) = (vec![], vec![]);
        for (number, record) in reader.records().enumerate() {
            let record = match record {
                Ok(record) => record,
                Err(error) => {
                    problems.push(error.to_string());
                    continue;
                }
            };
            let line = record.position().map_or(number as u64 + 2, csv::Position::line);
            let cell = |at: usize| record.get(at).unwrap_or_default();
            let optional =
                |at: Option<usize>| at.map(cell).filter(|text| !text.is_empty()).map(str::to_owned);
            let moments = (moment(cell(start)), moment(cell(end)));
            match moments {
                _ if cell(label).is_empty() => problems.push(format!("line {line}: a label is missing")),
                (Some(from), Some(to)) => rows.push(Row {
                    line,
                    source: optional(source),
                    label_set: optional(label_set),
                    label: cell(label).to_owned(),
                    from,
                    to,
                }),
                (from, _) => {
                    let wrong = if from.is_none() { cell(start) } else { cell(end) };
                    problems.push(format!(
                        "line {line}: `{wrong}` is not a time: write seconds from the first frame (`75.5`), `1:15`, or `2026-11-23T08:00:00Z`"
                    ));
                }
            }
        }
        if problems.is_empty() { Ok(rows) } else { Err(problems) }
    }

    fn problems(&self, source: &str, labels: &[(&str, &str)], first: Timestamp) -> Vec<String> {
        let names = labels.iter().map(|(_, label)| *label).collect::<Vec<_>>().join(", ");
        let mut problems = vec![];
        for row in self.rows.iter().filter(|row| row.is_of(source)) {
            let line = row.line;
            if !labels.iter().any(|(set, label)| row.names(set, label)) {
                problems.push(format!(
                    "line {line}: there is no label `{}` on this source; there are: {names}",
                    row.label
                ));
            } else if row.interval(first).is_none() {
                problems.push(format!("line {line}: it ends before it starts"));
            }
        }
        problems
    }

    /// The times at which this label was visible, in order; overlapping ones are joined. `None` if that is not known.
    pub(super) fn intervals(
        &self,
        source: &str,
        label_set: &str,
        label: &str,
        first: Timestamp,
    ) -> Option<Vec<Interval>> {
        let is_it = |(set, name): &(String, String)| set == label_set && name == label;
        if self.only.as_ref().is_some_and(|only| !only.iter().any(is_it)) {
            return None;
        }
        let rows = self.rows.iter().filter(|row| row.is_of(source) && row.names(label_set, label));
        Some(suggest::joined(rows.filter_map(|row| row.interval(first)).collect()))
    }
}

impl Row {
    fn is_of(&self, source: &str) -> bool {
        self.source.as_deref().is_none_or(|named| named == source)
    }

    fn names(&self, label_set: &str, label: &str) -> bool {
        self.label == label && self.label_set.as_deref().is_none_or(|named| named == label_set)
    }

    fn interval(&self, first: Timestamp) -> Option<Interval> {
        let time = |moment| match moment {
            Moment::Into(duration) => first.checked_add(duration).ok(),
            Moment::At(time) => Some(time),
        };
        Some((time(self.from)?, time(self.to)?)).filter(|(from, to)| from <= to)
    }
}

/// The problems as lines of an error message.
fn list(problems: &[String]) -> String {
    problems.iter().map(|problem| format!("\n  {problem}")).collect()
}

fn moment(text: &str) -> Option<Moment> {
    if let Ok(time) = text.parse() {
        return Some(Moment::At(time));
    }
    let mut seconds = 0.0;
    for part in text.split(':') {
        let number = part.parse::<f64>().ok().filter(|number| (0.0..1e9).contains(number))?;
        seconds = seconds * 60.0 + number;
    }
    SignedDuration::try_from_secs_f64(seconds).ok().map(Moment::Into)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Timestamp = Timestamp::UNIX_EPOCH;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn truth(text: &str) -> Truth {
        Truth { path: PathBuf::new(), rows: Truth::parse(text).unwrap(), only: None }
    }

    #[test]
    fn rows_of_every_kind_are_read() {
        let text = "source,label,start,end\n\
                    # made by hand\n\
                    door,dog,10,20.5\n\
                    ,dog,0:15,0:30\n\
                    garden,dog,1,2\n\
                    door,\"cat, black\",1970-01-01T00:01:00Z,1:02:03\n";
        let truth = truth(text);
        let intervals =
            |source: &str, label: &str, first| truth.intervals(source, "porch", label, first).unwrap();
        assert_eq!(intervals("door", "dog", FIRST), [(at(10), at(30))], "joined");
        assert_eq!(intervals("door", "cat, black", FIRST), [(at(60), at(3723))]);
        assert_eq!(intervals("garden", "dog", at(100)), [(at(101), at(102)), (at(115), at(130))]);
        assert!(truth.problems("door", &[("porch", "dog"), ("porch", "cat, black")], FIRST).is_empty());
    }

    #[test]
    fn all_problems_are_reported_with_their_lines() {
        let problems = Truth::parse("label,start,end\ndog,now,2\n,1,2\ndog,1\ndog,1,-2\n").unwrap_err();
        assert_eq!(problems.len(), 4, "{problems:?}");
        assert!(problems[0].starts_with("line 2: `now` is not a time"), "{problems:?}");
        assert!(problems[1].starts_with("line 3: a label is missing"), "{problems:?}");
        assert!(Truth::parse("name;from;to\n").unwrap_err()[0].contains("`label,start,end`"));

        let truth = truth("label,start,end\ndgo,1,2\ndog,5,4\n");
        let problems = truth.problems("door", &[("porch", "dog")], FIRST);
        assert_eq!(problems[0], "line 2: there is no label `dgo` on this source; there are: dog");
        assert_eq!(problems[1], "line 3: it ends before it starts");
    }

    #[test]
    fn marks_say_which_alerts_were_wrong_and_which_moments_had_none() {
        let start = 1_800_000_000;
        let track = |label: &str| {
            crate::replay::sample(label, &[0.1; 400], &[(100, Some(110)), (200, Some(210)), (300, None)])
        };
        let timeline = Timeline {
            source: "door".to_owned(),
            model: String::new(),
            tracks: vec![track("dog"), track("cat")],
        };
        let mark = |label: &str, second: i64, is_right: bool| Marked {
            label_set: "porch".to_owned(),
            label: label.to_owned(),
            time: at(start + second),
            is_right,
        };
        assert_eq!(Truth::of_marks(&[mark("fox", 5, true)], &timeline), None, "not watched");
        // An alert that is right, one that is wrong, one without a mark, and a moment; and marks that change nothing.
        let marks = [(100, true), (200, false), (50, true), (120, false), (300, true), (300, false)];
        let marks = marks.map(|(second, is_right)| mark("dog", second, is_right));
        let truth = Truth::of_marks(&marks, &timeline).unwrap();
        let intervals = |label: &str| truth.intervals("door", "porch", label, FIRST);
        let expected = [(20, 80), (100, 110)].map(|(from, to)| (at(start + from), at(start + to)));
        assert_eq!(intervals("dog").unwrap(), expected);
        assert_eq!(intervals("cat"), None, "nothing is known about it");
        let one = Truth::of_marks(&marks[..1], &timeline).unwrap();
        let kept = one.intervals("door", "porch", "dog", FIRST).unwrap();
        assert_eq!(kept.len(), 3, "alerts without marks are right");
    }
}
