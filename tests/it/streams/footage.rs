//! Real footage raises what it shows, as far as a model of product photos knows it.

use std::{fs, process::Output};

use serde_json::Value;

use crate::common::{fixtures, stakeout};

/// Three bottles of water stand on a table; somebody takes the left one at 7 s, puts it back at 12 s, takes it again at 17 s and
/// puts it back at 28 s. The model has never seen an empty place, so what it says of that is not looked at in detail.
#[test]
fn a_bottle_of_water_is_seen_where_it_stands_and_missed_when_it_is_gone() {
    let (Some(media), Some(model)) = (fixtures("media"), fixtures("mira-clip")) else { return };
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("stakeout.yaml");
    let text = format!(
        "model: {}
mqtt: {{ url: mqtt://127.0.0.1:1 }}
label_sets:
  things:
    template: '{{}}'
    background: [home furnishing, wallets, ties, stoles, scarves, shoes]
    labels: {{ water bottle: {{ threshold: 0.75, clear_below: 0.6, hold: 2 of 3 }} }}
sources:
  table: {{ video: {}, regions: {{ left: [0, 0.2, 0.28, 0.7] }}, watch: [things] }}
",
        model.display(),
        media.join("bottle-detection.mp4").display()
    );
    fs::write(&config, text).unwrap();
    let replayed: Output = stakeout()
        .args(["replay", "--start", "2026-01-01T00:00:00Z", "--config"])
        .arg(&config)
        .arg(media.join("bottle-detection.mp4"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&replayed.stderr);
    assert!(replayed.status.success(), "{said}");
    let told: Vec<(String, u32)> = std::str::from_utf8(&replayed.stdout)
        .unwrap()
        .lines()
        .map(|line| {
            let alert: Value = serde_json::from_str(line).unwrap();
            assert_eq!((&alert["label"], &alert["region"]), (&"water bottle".into(), &"left".into()));
            let time = alert["time"].as_str().unwrap();
            (alert["state"].as_str().unwrap().to_owned(), time[17..19].parse().unwrap())
        })
        .collect();
    let is = |told: Option<&(String, u32)>, state: &str, within: [u32; 2]| {
        told.is_some_and(|(told, at)| told == state && (within[0]..=within[1]).contains(at))
    };
    assert!(is(told.first(), "raised", [0, 3]), "{told:?}");
    assert!(told.iter().any(|told| is(Some(told), "cleared", [16, 19])), "{told:?}");
    assert!(is(told.last(), "raised", [27, 30]), "{told:?}");
}
