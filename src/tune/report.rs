//! The report of `tune` for a terminal, and the suggested settings as YAML. Pure.

use std::fmt::Write;

use super::{
    findings::{BINS, Finding},
    rivals::Rivals,
};
use crate::suggest::{Advice, alerts, settings};

/// The report for people.
pub(super) fn text(findings: &[Finding], rivals: &[Rivals]) -> String {
    let mut text = String::new();
    for finding in findings {
        let _ = writeln!(text, "{}", finding.name());
        histogram(&mut text, finding);
        table(&mut text, finding);
        let now = worth(finding, finding.suggestion.now.0);
        let _ = writeln!(
            text,
            "  now: {} {}, {now}",
            finding.level_word(),
            finding.suggestion.configured.threshold
        );
        if let Some(advice) = finding.suggestion.suggested() {
            let settings = settings(&advice.settings)
                .iter()
                .map(|(key, value)| format!("{key} {value}"))
                .collect::<Vec<_>>();
            let _ = writeln!(text, "  suggested: {}", settings.join(", "));
        }
        let _ = writeln!(text, "  {}", finding.reason());
        if !finding.near.is_empty() {
            let near = finding.near.iter().map(|peak| {
                format!("{} {}", finding.suggestion.measure.rounded(peak.point.score.into()), peak.origin)
            });
            let _ = writeln!(text, "  near misses: {}", near.collect::<Vec<_>>().join(", "));
        }
        text.push('\n');
    }
    for rivals in rivals {
        let _ = writeln!(text, "{}", rivalry(rivals));
    }
    text
}

/// The sentence about two labels: "`parcel` and `doormat` differ by 0.03..."
pub(super) fn rivalry(rivals: &Rivals) -> String {
    let Rivals { first, second, difference, frames } = rivals;
    format!(
        "`{first}` and `{second}` differ by {difference:.2} on {frames} frames and take scores from each other: make one label of them, \
         or prompts that are further apart"
    )
}

/// The suggested settings as part of a configuration, with their reasons as comments.
pub(super) fn patch(findings: &[Finding]) -> String {
    let mut yaml = String::new();
    let mut suggested: Vec<(Vec<&str>, &Finding, &Advice)> = vec![];
    for finding in findings {
        let Some(advice) = finding.suggestion.suggested() else {
            let same = finding.suggestion.advice.as_ref().is_ok_and(|advice| advice.separates);
            let reason = if same { "good as it is".to_owned() } else { finding.reason() };
            let _ = writeln!(yaml, "# {}: {reason}", finding.name());
            continue;
        };
        let path = match &finding.source {
            Some(source) => vec!["sources", source, "watch", &finding.label_set],
            None => vec!["label_sets", &finding.label_set, "labels"],
        };
        suggested.push((path, finding, advice));
    }
    // Settings below the same keys are written together.
    suggested.sort_by_key(|(path, ..)| path[0]);
    let mut before: Vec<&str> = vec![];
    for (path, finding, advice) in suggested {
        let same = path.iter().zip(&before).take_while(|(key, before)| key == before).count();
        for (depth, name) in path.iter().enumerate().skip(same) {
            let _ = writeln!(yaml, "{}{}:", "  ".repeat(depth), key(name));
        }
        let indent = "  ".repeat(path.len());
        let _ = writeln!(yaml, "{indent}# {}\n{indent}{}:", finding.reason(), key(&finding.label));
        for (key, value) in settings(&advice.settings) {
            let _ = writeln!(yaml, "{indent}  {key}: {value}");
        }
        before = path;
    }
    yaml
}

/// A name as a YAML key: quoted unless it is plain words.
fn key(name: &str) -> String {
    let plain = name.starts_with(char::is_alphabetic)
        && name.chars().all(|letter| letter.is_alphanumeric() || "_- ".contains(letter))
        && !name.ends_with(' ')
        && !["null", "true", "false", "yes", "no", "on", "off", "y", "n"].contains(&&*name.to_lowercase());
    // A JSON string is a YAML string too.
    if plain { name.to_owned() } else { serde_json::Value::from(name).to_string() }
}

fn worth(finding: &Finding, count: usize) -> String {
    let recorded = jiff::SignedDuration::from_secs(finding.suggestion.recorded.as_secs());
    let a_day =
        format!("{} in {recorded:#}, about {:.0} a day", alerts(count), finding.suggestion.a_day(count));
    match finding.suggestion.now.1 {
        Some(grade) => format!("{a_day}, {} wrong, {} events missed", grade.wrong(), grade.missed),
        None => a_day,
    }
}

fn histogram(text: &mut String, finding: &Finding) {
    const STEPS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let histogram = &finding.histogram;
    let bars = |bins: &[u32; BINS]| {
        let highest = f64::from(bins.iter().copied().max().unwrap_or(0)).ln_1p().max(1e-9);
        // Logarithmic: an event is a few frames among thousands of quiet ones.
        let bar = |count: &u32| STEPS[(f64::from(*count).ln_1p() / highest * 8.0).ceil() as usize];
        bins.iter().map(bar).collect::<String>()
    };
    let top = histogram.top;
    if finding.suggestion.events.is_some() {
        let _ = writeln!(text, "  shown      0 |{}| {top}", bars(&histogram.shown));
        let _ = writeln!(text, "  not shown  0 |{}| {top}", bars(&histogram.others));
    } else {
        let _ = writeln!(text, "  frames  0 |{}| {top}", bars(&histogram.others));
    }
}

fn table(text: &mut String, finding: &Finding) {
    let with_truth = finding.suggestion.events.is_some();
    let _ = write!(text, "  {:9}   alerts    a day", finding.level_word());
    text.push_str(if with_truth {
        "   precision   recall       F1   (precision and recall of frames, F1 of alerts)\n"
    } else {
        "\n"
    });
    for row in &finding.table {
        let _ = write!(
            text,
            "  {:9}   {:6}   {:6.0}",
            row.threshold,
            row.alerts,
            finding.suggestion.a_day(row.alerts)
        );
        if let Some((frames, grade)) = &row.worth {
            let _ = write!(text, "   {:9.3}   {:6.3}   {:6.3}", frames.precision, frames.recall, grade.f1());
        }
        let chosen =
            finding.suggestion.suggested().is_some_and(|advice| advice.settings.threshold == row.threshold);
        text.push_str(if chosen { "   <- suggested\n" } else { "\n" });
    }
}
