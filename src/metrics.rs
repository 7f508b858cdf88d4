//! The Prometheus metrics page: durations that threads record, and the text format that Prometheus scrapes.
//!
//! `prometheus-client` writes OpenMetrics. [`render`] turns that into the text format 0.0.4
//! (<https://prometheus.io/docs/instrumenting/exposition_formats/>), in which each metric keeps the name that dashboards and
//! alerting rules already use. This module does not know what is counted.

use std::{
    borrow::Cow,
    fmt::{self, Debug, Formatter, Write},
    time::Duration,
};

use prometheus_client::{
    collector::Collector,
    encoding::{
        DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, EncodeLabel, EncodeLabelSet, EncodeMetric,
        LabelSetEncoder, MetricEncoder, NoLabelSet, text,
    },
    metrics::{MetricType, histogram},
    registry::Registry,
};

/// The upper bounds of the buckets, in seconds: from a small model on a fast machine to alerts after an outage.
const BOUNDS: [f64; 14] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0, 600.0];

/// The content type of the page.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The distribution of durations, in seconds.
#[derive(Debug)]
pub struct Histogram(histogram::Histogram);

impl Histogram {
    /// Records one duration.
    pub fn observe(&self, duration: Duration) {
        self.0.observe(duration.as_secs_f64());
    }
}

impl Default for Histogram {
    fn default() -> Self {
        Self(histogram::Histogram::new(BOUNDS))
    }
}

/// Names and values of labels.
pub type Labels<'l, const N: usize> = [(&'l str, &'l str); N];

/// Labels whose values are escaped, which `prometheus-client` does not do.
struct Escaped<'l, const N: usize>(Labels<'l, N>);

impl<const N: usize> EncodeLabelSet for Escaped<'_, N> {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|(name, value)| (*name, escape(value)).encode(encoder.encode_label()))
    }
}

fn escape(value: &str) -> Cow<'_, str> {
    if !value.contains(['\\', '"', '\n']) {
        return value.into();
    }
    value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n").into()
}

/// The page while it is written: one call for each metric. Counters are named with `_total`, `help` is one line.
pub struct Page<'p>(DescriptorEncoder<'p>);

impl Page<'_> {
    /// A counter without labels.
    pub fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        encode_counter(&mut self.family(name, help, MetricType::Counter)?, value)
    }

    /// A counter for each set of labels.
    pub fn counters<'l, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (Labels<'l, N>, u64)>,
    ) -> fmt::Result {
        let mut family = self.family(name, help, MetricType::Counter)?;
        samples.into_iter().try_for_each(|(labels, value)| {
            encode_counter(&mut family.encode_family(&Escaped(labels))?, value)
        })
    }

    /// A gauge without labels.
    pub fn gauge(&mut self, name: &str, help: &str, value: impl EncodeGaugeValue) -> fmt::Result {
        self.family(name, help, MetricType::Gauge)?.encode_gauge(&value)
    }

    /// A gauge for each set of labels.
    pub fn gauges<'l, const N: usize, V: EncodeGaugeValue>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (Labels<'l, N>, V)>,
    ) -> fmt::Result {
        let mut family = self.family(name, help, MetricType::Gauge)?;
        samples
            .into_iter()
            .try_for_each(|(labels, value)| family.encode_family(&Escaped(labels))?.encode_gauge(&value))
    }

    /// A histogram without labels.
    pub fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram) -> fmt::Result {
        histogram.0.encode(self.family(name, help, MetricType::Histogram)?)
    }

    /// A histogram for each set of labels.
    pub fn histograms<'l, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (Labels<'l, N>, &'l Histogram)>,
    ) -> fmt::Result {
        let mut family = self.family(name, help, MetricType::Histogram)?;
        samples.into_iter().try_for_each(|(labels, it)| it.0.encode(family.encode_family(&Escaped(labels))?))
    }

    fn family<'f>(
        &'f mut self,
        name: &'f str,
        help: &str,
        kind: MetricType,
    ) -> Result<MetricEncoder<'f>, fmt::Error> {
        // OpenMetrics names a counter without its suffix, and adds the suffix to each sample.
        self.0.encode_descriptor(name.strip_suffix("_total").unwrap_or(name), help, None, kind)
    }
}

fn encode_counter(encoder: &mut MetricEncoder<'_>, value: impl EncodeCounterValue) -> fmt::Result {
    encoder.encode_counter::<NoLabelSet, _, u64>(&value, None)
}

/// The page that `fill` writes.
pub fn render(fill: impl Fn(&mut Page<'_>) -> fmt::Result + Send + Sync + 'static) -> String {
    struct Fill<F>(F);
    impl<F> Debug for Fill<F> {
        fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
            f.write_str("Fill")
        }
    }
    impl<F: Fn(&mut Page<'_>) -> fmt::Result + Send + Sync + 'static> Collector for Fill<F> {
        fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
            (self.0)(&mut Page(encoder))
        }
    }

    let mut registry = Registry::default();
    registry.register_collector(Box::new(Fill(fill)));
    let mut open_metrics = String::new();
    text::encode_registry(&mut open_metrics, &registry).expect("writing to a String cannot fail");
    to_text_format(&open_metrics)
}

/// OpenMetrics as the text format 0.0.4: the descriptions of counters name them with `_total`, and whole bucket bounds stay
/// whole numbers (`le="1"`), as the stored series of earlier versions have them.
fn to_text_format(open_metrics: &str) -> String {
    let (mut text, mut help) = (String::with_capacity(open_metrics.len() + 1024), "");
    for line in open_metrics.lines() {
        // Writing to a string cannot fail.
        let _ = if let Some(described) = line.strip_prefix("# HELP ") {
            help = described.split_once(' ').map_or("", |(_, help)| help);
            Ok(())
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|it| it.split_once(' ')) {
            let suffix = if kind == "counter" { "_total" } else { "" };
            writeln!(text, "# HELP {name}{suffix} {help}\n# TYPE {name}{suffix} {kind}")
        } else if let Some((name, rest)) = line.split_once("_bucket{le=\"") {
            let (bound, rest) = rest.split_once('"').unwrap_or((rest, ""));
            writeln!(text, "{name}_bucket{{le=\"{}\"{rest}", bound.strip_suffix(".0").unwrap_or(bound))
        } else {
            writeln!(text, "{line}")
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_in_the_text_format_of_prometheus() {
        let text = render(|page| {
            let samples = [([("source", "a \"b\"\\\n"), ("cause", "x")], 3)];
            page.counters("a_total", "Things.", samples)?;
            page.counter("b_total", "Other a things.", 4)?;
            page.gauges("c", "A ratio.", [([("d", "e")], 0.5)])?;
            page.gauge("f", "A number.", 7_u64)
        });
        let expected = "# HELP a_total Things.\n# TYPE a_total counter\n\
            a_total{source=\"a \\\"b\\\"\\\\\\n\",cause=\"x\"} 3\n\
            # HELP b_total Other a things.\n# TYPE b_total counter\nb_total 4\n\
            # HELP c A ratio.\n# TYPE c gauge\nc{d=\"e\"} 0.5\n\
            # HELP f A number.\n# TYPE f gauge\nf 7\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_histogram_counts_up_to_each_bound() {
        let histogram = std::sync::Arc::new(Histogram::default());
        for milliseconds in [1, 2, 700_000] {
            histogram.observe(Duration::from_millis(milliseconds));
        }
        let text = render(move |page| {
            page.histograms("h_seconds", "Durations.", [([("stage", "s.0")], &*histogram)])?;
            page.histogram("i_seconds", "Durations.", &histogram)
        });
        for line in [
            "# TYPE h_seconds histogram\n",
            "h_seconds_bucket{le=\"0.001\",stage=\"s.0\"} 1\n",
            "h_seconds_bucket{le=\"0.0025\",stage=\"s.0\"} 2\n",
            "h_seconds_bucket{le=\"1\",stage=\"s.0\"} 2\n",
            "h_seconds_bucket{le=\"600\",stage=\"s.0\"} 2\n",
            "h_seconds_bucket{le=\"+Inf\",stage=\"s.0\"} 3\n",
            "h_seconds_sum{stage=\"s.0\"} 700.003\n",
            "h_seconds_count{stage=\"s.0\"} 3\n",
            "i_seconds_bucket{le=\"60\"} 2\n",
            "i_seconds_count 3\n",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
    }
}
