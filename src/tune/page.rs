//! The report of `tune` as one HTML file that works offline.

use std::fmt::Write;

use super::{
    findings::{BINS, Finding},
    report,
    rivals::Rivals,
};
use crate::{
    plot::{data_uri, document, escaped, section},
    replay::{Peak, Span, Timeline, Track},
    suggest::{Interval, alerts},
};

/// The whole page; its plots show the suggested levels, and when they raise each label.
pub(super) fn page(timeline: &mut Timeline, findings: &[Finding], rivals: &[Rivals]) -> String {
    let mut body = String::new();
    for finding in findings {
        let _ =
            writeln!(body, "<h2>{}</h2>\n<p>{}</p>", escaped(&finding.name()), escaped(&finding.reason()));
        let drawn = (0..timeline.tracks.len()).find(|number| {
            let track = &timeline.tracks[*number];
            track.label == finding.label && track.label_set == finding.label_set
        });
        if let Some(number) = drawn {
            draw(&mut timeline.tracks[number], finding);
            body.push_str(&section(timeline, &timeline.tracks[number]));
        }
        histogram(&mut body, finding);
        table(&mut body, finding);
        if !finding.near.is_empty() {
            body.push_str("<p>Near misses:</p>\n");
        }
        for peak in &finding.near {
            let _ = writeln!(
                body,
                "<figure><img src=\"{}\" alt=\"\"><figcaption>{:.2}, {}</figcaption></figure>",
                data_uri(&peak.thumbnail),
                peak.point.score,
                escaped(&peak.origin)
            );
        }
    }
    for rivals in rivals {
        let _ = writeln!(body, "<p>{}</p>", escaped(&report::rivalry(rivals)));
    }
    let _ = writeln!(body, "<h2>Suggested settings</h2>\n<pre>{}</pre>", code(&report::patch(findings)));
    document(&format!("{}: suggested settings", timeline.source), &body)
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
    let _ = write!(body, "<svg viewBox=\"0 0 {} 76\" width=\"480\" font-size=\"11\">", BINS * WIDTH);
    for (bin, (shown, others)) in histogram.shown.iter().zip(&histogram.others).enumerate() {
        for (count, at, colour) in [(others, 1, "#9aa7b4"), (shown, 12, "#1f6fb4")] {
            let height = f64::from(*count).ln_1p() / most * HEIGHT;
            let (x, y) = (bin * WIDTH + at, HEIGHT - height);
            let _ = write!(
                body,
                "<rect x=\"{x}\" y=\"{y:.1}\" width=\"10\" height=\"{height:.1}\" fill=\"{colour}\"><title>{count} frames</title></rect>"
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
        "<p>Frames by their score, logarithmic; blue: frames that show the label.</p>\n"
    } else {
        "<p>Frames by their score, logarithmic.</p>\n"
    });
}

fn table(body: &mut String, finding: &Finding) {
    let _ = write!(body, "<table><tr><th>{}</th><th>alerts</th><th>a day</th>", finding.level_word());
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
    let _ = writeln!(
        body,
        "</table>\n<p>Now: {} {}, {}.</p>",
        finding.level_word(),
        finding.suggestion.configured.threshold,
        alerts(finding.suggestion.now.0)
    );
}
