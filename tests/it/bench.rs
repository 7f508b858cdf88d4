//! The output of `stakeout bench`; not its speed.

use serde_json::Value;

use crate::common::{service::sample, stakeout};

#[test]
fn everything_is_measured_and_printed_as_json() {
    let output = stakeout()
        .args(["bench", "--seconds", "0.1", "--batches", "1,2", "--labels", "3", "--threads", "1"])
        .args(["--format", "json", "--picture"])
        .arg(sample("red-car.jpg"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let measured: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&measured["labels"], &measured["threads"]), (&3.into(), &1.into()), "{measured}");
    assert_eq!(measured["variant"], "fp32", "{measured}");
    for key in [
        "decode_ms",
        "preprocess_ms",
        "session_load_ms",
        "start_ms",
        "start_of_session_load",
        "weights_bytes",
        "score_10_labels_us",
        "score_1000_labels_us",
    ] {
        assert!(measured[key].as_f64().is_some_and(|value| value > 0.0), "{key}: {measured}");
    }
    let tried: Vec<_> = measured["tried"].as_array().unwrap().iter().map(|tried| &tried["batch"]).collect();
    assert_eq!(tried, [1, 2]);
    let rates = measured["rates"].as_array().unwrap();
    assert_eq!(rates[0]["batch"], 1);
    for rate in rates {
        for key in ["session_pictures_per_second", "whole_pictures_per_second", "whole_of_session"] {
            assert!(rate[key].as_f64().is_some_and(|value| value > 0.0), "{key}: {rate}");
        }
        let (peak, weights) = (rate["peak_memory_bytes"].as_u64(), measured["weights_bytes"].as_u64());
        assert!(peak > weights, "{measured}");
    }
    assert!(measured["summary"].as_str().unwrap().starts_with("Enough for"), "{measured}");
}

#[test]
fn wrong_arguments_are_reported() {
    let cases: [(&[&str], i32, &str); 5] = [
        (&["--picture", "/nowhere/picture.jpg"], 1, "/nowhere/picture.jpg: it cannot be read"),
        (&["--max-pixels", "100"], 1, "1920 x 1080 pixels, more than the 100"),
        (&["--max-pixels", "0"], 64, "--max-pixels"),
        (&["--model", "/nowhere"], 1, "/nowhere"),
        (&["--seconds", "0"], 64, "a number from 0.1 to 86400"),
    ];
    for (arguments, code, part) in cases {
        let output = stakeout().arg("bench").args(arguments).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{text}");
        assert!(text.contains(part), "{text}");
        assert!(output.stdout.is_empty());
    }
}
