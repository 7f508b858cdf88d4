//! Figures for Prometheus: histograms that threads fill, and the page of text that it reads.
//!
//! The page is the text format 0.0.4 (<https://prometheus.io/docs/instrumenting/exposition_formats/>). It refuses to know
//! what is counted, and to hold anything that grows: a histogram has a fixed number of buckets.

use std::{
    fmt::Write,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// The upper ends of the buckets, in seconds: from a small model on a fast machine to alerts after an outage.
const ENDS: [f64; 14] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0, 600.0];

/// The type of the page, for who asks over HTTP.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// How long something took, many times.
#[derive(Debug, Default)]
pub struct Histogram {
    /// One for each of [`ENDS`], and one for what took longer.
    buckets: [AtomicU64; ENDS.len() + 1],
    nanoseconds: AtomicU64,
}

impl Histogram {
    /// It took this long once more.
    pub fn observe(&self, took: Duration) {
        let seconds = took.as_secs_f64();
        let bucket = ENDS.iter().position(|end| seconds <= *end).unwrap_or(ENDS.len());
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        let nanoseconds = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
    }

    /// How often something took how long, and how long all of it took, in seconds.
    fn read(&self) -> ([u64; ENDS.len() + 1], f64) {
        let nanoseconds = self.nanoseconds.load(Ordering::Relaxed);
        let buckets = std::array::from_fn(|bucket| self.buckets[bucket].load(Ordering::Relaxed));
        (buckets, Duration::from_nanos(nanoseconds).as_secs_f64())
    }
}

/// What a family of figures is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows, until the service is started anew.
    Counter,
    /// Goes up and down.
    Gauge,
    /// How often something took how long.
    Histogram,
}

/// Labels and their values.
pub type Labels<'a> = &'a [(&'a str, &'a str)];

/// The page.
#[derive(Debug, Default)]
pub struct Page {
    text: String,
}

/// The figures of one name on a [`Page`].
pub struct Family<'a> {
    name: &'a str,
    text: &'a mut String,
}

impl Page {
    /// Begins the figures of this name; one name begins once. `help` is one line.
    pub fn family<'a>(&'a mut self, name: &'a str, kind: Kind, help: &str) -> Family<'a> {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        // Writing to a string cannot fail, here and below.
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        Family { name, text: &mut self.text }
    }

    /// The text of the page.
    #[must_use]
    pub fn into_text(self) -> String {
        self.text
    }
}

impl Family<'_> {
    /// A whole number.
    pub fn count(&mut self, labels: Labels<'_>, value: u64) {
        self.line("", labels, value);
    }

    /// A number.
    pub fn value(&mut self, labels: Labels<'_>, value: f64) {
        self.line("", labels, value);
    }

    /// A histogram, in seconds.
    pub fn histogram(&mut self, labels: Labels<'_>, histogram: &Histogram) {
        let (buckets, sum) = histogram.read();
        let mut so_far = 0;
        let ends = ENDS.iter().map(f64::to_string).chain(["+Inf".to_owned()]);
        for (count, end) in buckets.into_iter().zip(ends) {
            so_far += count;
            let labels: Vec<_> = labels.iter().copied().chain([("le", end.as_str())]).collect();
            self.line("_bucket", &labels, so_far);
        }
        self.line("_sum", labels, sum);
        self.line("_count", labels, so_far);
    }

    fn line(&mut self, suffix: &str, labels: Labels<'_>, value: impl std::fmt::Display) {
        let _ = write!(self.text, "{}{suffix}", self.name);
        for (place, (label, value)) in labels.iter().enumerate() {
            let _ = write!(self.text, "{}{label}=\"", if place == 0 { '{' } else { ',' });
            value.chars().for_each(|letter| match letter {
                '\\' => self.text.push_str("\\\\"),
                '"' => self.text.push_str("\\\""),
                '\n' => self.text.push_str("\\n"),
                letter => self.text.push(letter),
            });
            self.text.push('"');
        }
        let _ = writeln!(self.text, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_what_prometheus_reads() {
        let mut page = Page::default();
        let mut family = page.family("a_total", Kind::Counter, "So many.");
        family.count(&[("source", "a \"b\"\\\n"), ("cause", "x")], 3);
        family.count(&[], 4);
        page.family("b", Kind::Gauge, "So much.").value(&[("c", "d")], 0.5);
        let expected = "# HELP a_total So many.\n# TYPE a_total counter\n\
            a_total{source=\"a \\\"b\\\"\\\\\\n\",cause=\"x\"} 3\na_total 4\n\
            # HELP b So much.\n# TYPE b gauge\nb{c=\"d\"} 0.5\n";
        assert_eq!(page.into_text(), expected);
    }

    #[test]
    fn a_histogram_counts_up_to_each_end() {
        let histogram = Histogram::default();
        for milliseconds in [1, 2, 700_000] {
            histogram.observe(Duration::from_millis(milliseconds));
        }
        let mut page = Page::default();
        page.family("h_seconds", Kind::Histogram, "It.").histogram(&[("stage", "s")], &histogram);
        let text = page.into_text();
        for line in [
            "h_seconds_bucket{stage=\"s\",le=\"0.001\"} 1\n",
            "h_seconds_bucket{stage=\"s\",le=\"0.0025\"} 2\n",
            "h_seconds_bucket{stage=\"s\",le=\"600\"} 2\n",
            "h_seconds_bucket{stage=\"s\",le=\"+Inf\"} 3\n",
            "h_seconds_sum{stage=\"s\"} 700.003\n",
            "h_seconds_count{stage=\"s\"} 3\n",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
    }
}
