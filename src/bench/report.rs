//! The results of `bench` as a table or as JSON, with a summary in words. Pure.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::measure::{Measured, Rate};

/// The results as one object, with the units in the names.
#[must_use]
pub fn json(measured: &Measured) -> Value {
    let rates = measured.rates.iter().zip(&measured.peaks);
    let rate = |(rate, peak): (&Rate, &Option<u64>)| {
        json!({
            "batch": rate.batch,
            "session_pictures_per_second": rate.session,
            "whole_pictures_per_second": rate.whole,
            "whole_of_session": rate.share(),
            "peak_memory_bytes": peak,
        })
    };
    let tried = |(batch, rate): &(usize, f64)| json!({"batch": batch, "session_pictures_per_second": rate});
    let (width, height, bytes) = measured.picture;
    json!({
        "model": measured.model,
        "variant": measured.variant,
        "device": measured.device,
        "threads": measured.threads,
        "processors": measured.processors,
        "picture": {"width": width, "height": height, "bytes": bytes},
        "labels": measured.labels,
        "decode_ms": measured.decode * 1e3,
        "preprocess_ms": measured.preprocess * 1e3,
        "tried": measured.tried.iter().map(tried).collect::<Vec<_>>(),
        "rates": rates.map(rate).collect::<Vec<_>>(),
        "text_ms": measured.text * 1e3,
        "text_load_ms": measured.text_load * 1e3,
        "session_load_ms": measured.session_load * 1e3,
        "start_ms": measured.start * 1e3,
        "start_of_session_load": measured.start / measured.session_load,
        "weights_bytes": measured.weights,
        "score_10_labels_us": measured.scoring[0] * 1e6,
        "score_1000_labels_us": measured.scoring[1] * 1e6,
        "labels_share_of_picture": labels_share(measured),
        "summary": summary(measured),
    })
}

/// The results as a table for people.
#[must_use]
pub fn table(measured: &Measured) -> String {
    let Measured { model, variant, device, threads, processors, labels, .. } = measured;
    let (width, height, bytes) = measured.picture;
    let mut text = format!(
        "{model} ({variant}) on {device}, {threads} of {processors} threads, {labels} labels, a picture of {width} x {height} \
         ({} kB)\n\n",
        bytes / 1000
    );
    let mut line = |what: &str, value: String| {
        let _ = writeln!(text, "  {what:<44} {value}");
    };
    line("decode one picture", time(measured.decode));
    line("prepare it for the model", time(measured.preprocess));
    for (rate, peak) in measured.rates.iter().zip(&measured.peaks) {
        let at = |what: &str| match rate.batch {
            1 => format!("{what}, one at once"),
            batch => format!("{what}, {batch} at once"),
        };
        line(&at("bare model"), per_second(rate.session));
        let share = format!("{} ({:.0} % of the bare model)", per_second(rate.whole), rate.share() * 100.0);
        line(&at("from JPEG to scores"), share);
        if let Some(peak) = peak {
            line(
                &at("most memory"),
                format!("{} ({} of weights)", megabytes(*peak), megabytes(measured.weights)),
            );
        }
    }
    line(
        "one label's prompt into a vector",
        format!("{} ({} before the first)", time(measured.text), time(measured.text_load)),
    );
    line("load of the bare model", time(measured.session_load));
    let start = measured.start / measured.session_load;
    line("start with known labels", format!("{} ({start:.2} times that)", time(measured.start)));
    let share = format!("{:.2} % of a picture's time", labels_share(measured) * 100.0);
    line("scores of 1000 labels instead of 10", share);
    let _ = writeln!(text, "\n{}", summary(measured));
    text
}

/// How many cameras the machine can watch.
fn summary(measured: &Measured) -> String {
    let Some(best) = measured.rates.iter().max_by(|a, b| a.whole.total_cmp(&b.whole)) else {
        return "Nothing was measured.".to_owned();
    };
    // The service does more than scoring, and a machine without idle time falls behind for good.
    const ROOM: f64 = 0.8;
    let load = (ROOM * 100.0).round();
    match best.whole * ROOM {
        rate if rate >= 2.0 => {
            format!(
                "Enough for about {} cameras at one frame a second, with the machine {load} % busy.",
                rate.floor()
            )
        }
        rate if rate >= 1.0 => {
            format!("Enough for one camera at one frame a second, with the machine {load} % busy.")
        }
        rate => format!(
            "Enough for one camera at one frame every {} seconds, with the machine {load} % busy.",
            (1.0 / rate).ceil()
        ),
    }
}

/// The time of 990 more labels, as a share of the time of a picture with the fastest batch.
fn labels_share(measured: &Measured) -> f64 {
    let fastest = measured.rates.iter().map(|rate| rate.whole).fold(0.0, f64::max);
    (measured.scoring[1] - measured.scoring[0]).max(0.0) * fastest
}

fn time(seconds: f64) -> String {
    match seconds {
        seconds if seconds >= 1.0 => format!("{seconds:.2} s"),
        seconds => format!("{:.1} ms", seconds * 1e3),
    }
}

fn per_second(rate: f64) -> String {
    match rate {
        rate if rate >= 100.0 => format!("{rate:.0} pictures a second"),
        rate => format!("{rate:.2} pictures a second"),
    }
}

fn megabytes(bytes: u64) -> String {
    format!("{} MB", bytes / 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(rates: &[f64]) -> Measured {
        let rate = |(number, whole): (usize, &f64)| Rate {
            batch: 1 + number * 7,
            session: whole / 0.95,
            whole: *whole,
        };
        Measured {
            model: "a/model".to_owned(),
            variant: "fp32".to_owned(),
            device: "cpu".to_owned(),
            threads: 2,
            processors: 4,
            picture: (1920, 1080, 500_000),
            labels: 10,
            decode: 0.01,
            preprocess: 0.002,
            tried: vec![(1, 5.0)],
            rates: rates.iter().enumerate().map(rate).collect(),
            text: 0.03,
            text_load: 0.4,
            scoring: [1e-6, 1e-4],
            session_load: 0.5,
            start: 0.6,
            weights: 345_000_000,
            peaks: vec![Some(400_000_000); rates.len()],
        }
    }

    #[test]
    fn the_summary_counts_cameras() {
        let cases = [
            (
                &[4.0, 12.6][..],
                "Enough for about 10 cameras at one frame a second, with the machine 80 % busy.",
            ),
            (&[1.5], "Enough for one camera at one frame a second, with the machine 80 % busy."),
            (&[0.25], "Enough for one camera at one frame every 5 seconds, with the machine 80 % busy."),
        ];
        for (rates, expected) in cases {
            assert_eq!(summary(&measured(rates)), expected);
        }
    }

    #[test]
    fn shares_are_those_of_the_rates_beside_them() {
        let mut measured = measured(&[9.0]);
        measured.rates[0].session = 10.0;
        assert!(table(&measured).contains("9.00 pictures a second (90 % of the bare model)"));
        assert_eq!(json(&measured)["rates"][0]["whole_of_session"], 0.9);
    }

    #[test]
    fn the_table_has_every_result_once() {
        let table = table(&measured(&[4.0, 10.0]));
        for part in [
            "a/model (fp32) on cpu, 2 of 4 threads, 10 labels, a picture of 1920 x 1080 (500 kB)",
            "decode one picture                           10.0 ms",
            "from JPEG to scores, one at once             4.00 pictures a second (95 % of the bare model)",
            "from JPEG to scores, 8 at once               10.00 pictures a second (95 % of the bare model)",
            "most memory, 8 at once                       400 MB (345 MB of weights)",
            "start with known labels                      600.0 ms (1.20 times that)",
            "scores of 1000 labels instead of 10          0.10 % of a picture's time",
        ] {
            assert_eq!(table.matches(part).count(), 1, "{part}\n{table}");
        }
    }
}
