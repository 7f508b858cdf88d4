//! The report of `tune` as one HTML file that works offline.

use std::fmt::Write;

use super::{
    findings::{BINS, Finding},
    report,
    rivals::Rivals,
};
use crate::{
    plot::{card, document, escaped, graph, id, thumbnails},
    replay::{Peak, Span, Timeline, Track},
    suggest::{Grade, Interval, alerts, settings},
};

/// The whole page; its plots show the suggested levels, and when they raise each label.
pub(super) fn page(timeline: &mut Timeline, findings: &[Finding], rivals: &[Rivals]) -> String {
    let mut body = now_and_suggested(findings);
    for (number, finding) in findings.iter().enumerate() {
        let drawn = (0..timeline.tracks.len()).find(|number| {
            let track = &timeline.tracks[*number];
            track.label == finding.label && track.label_set == finding.label_set
        });
        let mut content = format!("<p>{}</p>\n", escaped(&finding.reason()));
        if let Some(number) = drawn {
            draw(&mut timeline.tracks[number], finding);
            content.push_str(&graph(timeline, &timeline.tracks[number]));
        }
        if !finding.near.is_empty() {
            let near = finding.near.iter().collect::<Vec<_>>();
            let top = finding.histogram.top.into();
            let _ = write!(content, "<h3>Near misses</h3>\n{}", thumbnails(&near, top));
        }
        table(&mut content, finding);
        histogram(&mut content, finding);
        body.push_str(&card(&id(number), &finding.name(), &content));
    }
    for rivals in rivals {
        let _ = writeln!(body, "<p class=\"problem\">{}</p>", escaped(&report::rivalry(rivals)));
    }
    let patch = format!("<pre class=\"code\" tabindex=\"0\">{}</pre>\n", code(&report::patch(findings)));
    body.push_str(&card("settings", "Suggested settings", &patch));
    document(&format!("{}: suggested settings", timeline.source), &body)
}

/// The table at the top: for each label its settings and alerts now, and with the suggestion.
fn now_and_suggested(findings: &[Finding]) -> String {
    let row = |(number, finding): (usize, &Finding)| {
        let suggestion = &finding.suggestion;
        let now = format!(
            "{} {}, {}",
            finding.level_word(),
            suggestion.configured.threshold,
            outcome(finding, suggestion.now.0, suggestion.now.1)
        );
        let then = match suggestion.suggested() {
            Some(advice) => {
                let settings =
                    settings(&advice.settings).into_iter().map(|(key, value)| format!("{key} {value}"));
                let settings = settings.collect::<Vec<_>>().join(", ");
                let outcome = outcome(finding, advice.alerts, advice.grade);
                format!(
                    "<td class=\"suggested\" data-name=\"suggested\">{}, {outcome}</td>",
                    escaped(&settings)
                )
            }
            None => "<td data-name=\"suggested\">unchanged</td>".to_owned(),
        };
        let name = escaped(&finding.name());
        format!(
            "<tr><td><a href=\"#{}\">{name}</a></td><td data-name=\"now\">{now}</td>{then}</tr>\n",
            id(number)
        )
    };
    let rows = findings.iter().enumerate().map(row).collect::<String>();
    let table = format!(
        "<table class=\"table compared\">\n<tr><th>label</th><th>now</th><th>suggested</th></tr>\n{rows}</table>\n"
    );
    card("now-and-suggested", "Now and suggested", &table)
}

/// `4 alerts (2 a day), 1 wrong, 0 missed`.
fn outcome(finding: &Finding, count: usize, grade: Option<Grade>) -> String {
    let graded =
        grade.map_or_else(String::new, |grade| format!(", {} wrong, {} missed", grade.wrong(), grade.missed));
    format!("{} ({:.0} a day){graded}", alerts(count), finding.suggestion.a_day(count))
}

/// Draws the suggested levels and the times at which they raise the label; the configured ones if no others are suggested.
fn draw(track: &mut Track, finding: &Finding) {
    if let Some(advice) = finding.suggestion.suggested() {
        track.levels = Some((advice.settings.threshold, advice.settings.clear_below));
    }
    let kept: Vec<Peak> = track.peaks().into_iter().cloned().collect();
    let span = |(from, to): &Interval| {
        // The highest score first.
        let peak = kept.iter().find(|peak| (*from..=*to).contains(&peak.point.time)).cloned();
        Span { from: *from, to: Some(*to), peak }
    };
    track.spans = finding.suggestion.spans.iter().map(span).collect();
}

/// Text with its line breaks.
fn code(text: &str) -> String {
    text.lines().map(|line| escaped(line) + "\n").collect()
}

fn histogram(body: &mut String, finding: &Finding) {
    const WIDTH: usize = 24;
    const HEIGHT: f64 = 60.0;
    let histogram = &finding.histogram;
    let all = histogram.shown.iter().chain(&histogram.others).copied().max().unwrap_or(0);
    let most = f64::from(all).ln_1p().max(1e-9);
    let _ = write!(
        body,
        "<svg class=\"histogram\" viewBox=\"0 0 {} 76\" font-size=\"11\" role=\"img\" aria-label=\"Frames by their score\">",
        BINS * WIDTH
    );
    for (bin, (shown, others)) in histogram.shown.iter().zip(&histogram.others).enumerate() {
        for (count, at, class) in [(others, 1, "others"), (shown, 12, "shown")] {
            let height = f64::from(*count).ln_1p() / most * HEIGHT;
            let (x, y) = (bin * WIDTH + at, HEIGHT - height);
            let _ = write!(
                body,
                "<rect x=\"{x}\" y=\"{y:.1}\" width=\"10\" height=\"{height:.1}\" class=\"{class}\"><title>{count} frames</title></rect>"
            );
        }
    }
    let _ = writeln!(
        body,
        "<text x=\"0\" y=\"74\">0</text><text x=\"{}\" y=\"74\" text-anchor=\"end\">score {}</text></svg>",
        BINS * WIDTH,
        histogram.top
    );
    body.push_str(if finding.suggestion.events.is_some() {
        "<p class=\"muted small\">Frames by their score, logarithmic; blue: frames that show the label.</p>\n"
    } else {
        "<p class=\"muted small\">Frames by their score, logarithmic.</p>\n"
    });
}

fn table(body: &mut String, finding: &Finding) {
    let _ = write!(
        body,
        "<div class=\"scroll-x\" tabindex=\"0\"><table class=\"table\"><tr><th>{}</th><th>alerts</th><th>a day</th>",
        finding.level_word()
    );
    if finding.suggestion.events.is_some() {
        body.push_str("<th>precision of frames</th><th>recall of frames</th><th>F1 of alerts</th>");
    }
    body.push_str("</tr>\n");
    for row in &finding.table {
        let chosen =
            finding.suggestion.suggested().is_some_and(|advice| advice.settings.threshold == row.threshold);
        let class = if chosen { " class=\"chosen\"" } else { "" };
        let _ = write!(
            body,
            "<tr{class}><td>{}</td><td>{}</td><td>{:.0}</td>",
            row.threshold,
            row.alerts,
            finding.suggestion.a_day(row.alerts)
        );
        if let Some((frames, grade)) = &row.worth {
            let _ = write!(
                body,
                "<td>{:.3}</td><td>{:.3}</td><td>{:.3}</td>",
                frames.precision,
                frames.recall,
                grade.f1()
            );
        }
        body.push_str("</tr>\n");
    }
    body.push_str("</table></div>\n");
}
