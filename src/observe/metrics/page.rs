//! The page of figures that Prometheus reads. Names follow its conventions: base units, `_total` for what only grows.
//!
//! Every series is there from the start, as far as its labels are known then: what appears with its first event hides that event.

use std::{collections::BTreeMap, sync::atomic::Ordering};

use jiff::Timestamp;

use super::{Delivery, Figures, Running, Told, under_way};
use crate::{
    alert::publisher,
    classify,
    metrics::{
        Family,
        Kind::{Counter, Gauge, Histogram},
        Page,
    },
    source::{Snapshot, Status},
};

pub(crate) fn page(figures: &Figures) -> String {
    let mut page = Page::default();
    service(&mut page, figures);
    sources(&mut page, figures);
    frames(&mut page, figures);
    alerts(&mut page, figures);
    if let Some(delivery) = figures.delivery.get() {
        outbox(&mut page, delivery);
        broker(&mut page, &delivery.publisher);
    }
    page.into_text()
}

fn service(page: &mut Page, figures: &Figures) {
    page.family("stakeout_build_info", Gauge, "The version that runs.")
        .count(&[("version", env!("CARGO_PKG_VERSION"))], 1);
    page.family("stakeout_model_info", Gauge, "The model that scores the frames.")
        .count(&[("model", &figures.model_name)], 1);
    page.family("stakeout_ready", Gauge, "1 while everything is started and watches.")
        .count(&[], figures.ready.load(Ordering::Relaxed).into());
    page.family(
        "stakeout_stuck_parts",
        Gauge,
        "Parts that are at work and do not move; their names are in the log.",
    )
    .count(&[], figures.stuck().len() as u64);
    page.family(
        "stakeout_config_valid",
        Gauge,
        "1 if the newest look at the configuration found no mistakes.",
    )
    .count(&[], (!figures.invalid.load(Ordering::Relaxed)).into());
    let mut family =
        page.family("stakeout_config_reloads_total", Counter, "Looks at a changed configuration.");
    for (result, count) in ["valid", "invalid"].into_iter().zip(&figures.reloads) {
        family.count(&[("result", result)], count.load(Ordering::Relaxed));
    }
    page.family("process_start_time_seconds", Gauge, "When the service was started, in seconds since 1970.")
        .value(&[], seconds(figures.began));
    if let Some(bytes) = resident_memory() {
        page.family("process_resident_memory_bytes", Gauge, "Memory that the service has.").count(&[], bytes);
    }
}

fn sources(page: &mut Page, figures: &Figures) {
    let sources = figures.sources();
    let counts: Vec<(&str, &Running, Snapshot)> =
        sources.iter().map(|(name, source)| (name.as_str(), source, source.counts.snapshot())).collect();

    let mut family = page.family("stakeout_source_up", Gauge, "1 while the source delivers, or would.");
    for (name, source, _) in &counts {
        let up = *source.status.borrow() == Status::Online;
        family.count(&[("source", name), ("kind", source.kind)], up.into());
    }
    let mut family =
        page.family("stakeout_source_stalled", Gauge, "1 while the source is connected and brings nothing.");
    for (name, source, _) in &counts {
        family.count(&[("source", name)], (*source.status.borrow() == Status::Stalled).into());
    }
    let mut family = page.family(
        "stakeout_source_last_frame_timestamp_seconds",
        Gauge,
        "When the newest frame of the source was handed on, in seconds since 1970; 0 before the first.",
    );
    for (name, _, counts) in &counts {
        family.value(&[("source", name)], counts.last_sent.map_or(0.0, seconds));
    }
    let mut family = page.family("stakeout_frames_seen_total", Counter, "Pictures that the source found.");
    for (name, _, counts) in &counts {
        family.count(&[("source", name)], counts.seen);
    }
    let mut family = page.family("stakeout_frames_sent_total", Counter, "Frames that the source handed on.");
    for (name, _, counts) in &counts {
        family.count(&[("source", name)], counts.sent);
    }
    let mut family = page.family(
        "stakeout_frames_skipped_total",
        Counter,
        "What the source left out on purpose, and why.",
    );
    for (name, _, counts) in &counts {
        by_cause(&mut family, name, &counts.skipped);
    }
    let mut family =
        page.family("stakeout_frames_failed_total", Counter, "What the source could not read, and why.");
    for (name, _, counts) in &counts {
        by_cause(&mut family, name, &counts.failed);
    }
    let mut family = page.family(
        "stakeout_frames_under_way",
        Gauge,
        "Frames of the source that wait for the model or are being scored and judged.",
    );
    for (name, source, _) in &counts {
        family.count(&[("source", name)], under_way(&source.slots));
    }
}

fn by_cause(family: &mut Family<'_>, source: &str, counted: &BTreeMap<&'static str, u64>) {
    for (cause, count) in counted {
        family.count(&[("source", source), ("cause", cause)], *count);
    }
}

fn frames(page: &mut Page, figures: &Figures) {
    let classify::Counts { scored, repeated, failed, unwatched } = figures.model.counts();
    page.family("stakeout_frames_classified_total", Counter, "Frames that the model scored.")
        .count(&[], scored);
    page.family(
        "stakeout_frames_repeated_total",
        Counter,
        "Frames that showed the same picture as one before, and got its scores.",
    )
    .count(&[], repeated);
    let mut family =
        page.family("stakeout_frames_not_classified_total", Counter, "Frames that got no scores, and why.");
    family.count(&[("cause", "model_failed")], failed);
    family.count(&[("cause", "source_removed")], unwatched);
    let mut family = page.family(
        "stakeout_stage_duration_seconds",
        Histogram,
        "How long it took: decode (a picture, or a packet of a stream), queue (a frame, from its source to the model), \
         classify (a batch), judge (a few frames, until their alerts are on disk), whole_way (a frame, from its source \
         until its alerts are on disk).",
    );
    family.histogram(&[("stage", "decode")], &figures.decoding);
    family.histogram(&[("stage", "queue")], &figures.model.queue);
    family.histogram(&[("stage", "classify")], &figures.model.batch);
    family.histogram(&[("stage", "judge")], &figures.judging);
    family.histogram(&[("stage", "whole_way")], &figures.whole_way);
}

fn alerts(page: &mut Page, figures: &Figures) {
    let mut family = page.family("stakeout_alerts_total", Counter, "Alerts of each label.");
    for ([source, set, label], [raised, cleared]) in figures.alerts().iter() {
        for (state, count) in [("raised", *raised), ("cleared", *cleared)] {
            let labels = [
                ("source", source.as_str()),
                ("label_set", set.as_str()),
                ("label", label.as_str()),
                ("state", state),
            ];
            family.count(&labels, count);
        }
    }
}

fn outbox(page: &mut Page, delivery: &Delivery) {
    let mut family = page.family("stakeout_outbox_alerts", Gauge, "Alerts that wait to be told.");
    for Told { sink, name, .. } in &delivery.sinks {
        family.count(&[("sink", name)], delivery.outbox.waiting_for(*sink));
    }
    let mut family = page.family(
        "stakeout_outbox_oldest_alert_age_seconds",
        Gauge,
        "How long ago the oldest alert was raised that waits to be told; 0 where none waits.",
    );
    for Told { name, oldest, .. } in &delivery.sinks {
        let age = match oldest.load(Ordering::Relaxed) {
            0 => 0.0,
            raised => (seconds(Timestamp::now()) - raised as f64 / 1e3).max(0.0),
        };
        family.value(&[("sink", name)], age);
    }
    let status = delivery.outbox.status().borrow().clone();
    page.family(
        "stakeout_outbox_on_disk",
        Gauge,
        "0 while alerts are in memory alone: the disk does not work.",
    )
    .count(&[], status.in_memory.is_none().into());
    page.family(
        "stakeout_outbox_dropped_alerts_total",
        Counter,
        "Alerts that were dropped because too many waited, or for too long.",
    )
    .count(&[], status.dropped);
    page.family(
        "stakeout_outbox_dropped_snapshots_total",
        Counter,
        "Pictures of alerts that were dropped because they took too much room.",
    )
    .count(&[], status.snapshots_dropped);
}

fn broker(page: &mut Page, counts: &publisher::Counts) {
    page.family("stakeout_broker_connected", Gauge, "1 while the broker is there.")
        .count(&[], counts.connected.load(Ordering::Relaxed).into());
    for (name, help, count) in [
        ("stakeout_alerts_published_total", "Alerts that the broker acknowledged.", &counts.published),
        (
            "stakeout_alerts_repeated_total",
            "Alerts that were sent again: no answer had come.",
            &counts.repeated,
        ),
        ("stakeout_alerts_refused_total", "Times the broker refused an alert.", &counts.refused),
        (
            "stakeout_snapshots_scaled_total",
            "Pictures that were made smaller: the broker takes no larger ones.",
            &counts.snapshots_scaled,
        ),
        (
            "stakeout_snapshots_skipped_total",
            "Pictures that the broker takes in no size.",
            &counts.snapshots_skipped,
        ),
        (
            "stakeout_scores_dropped_total",
            "Scores that were left out: alerts went first, or the broker was away.",
            &counts.scores_dropped,
        ),
    ] {
        page.family(name, Counter, help).count(&[], count.load(Ordering::Relaxed));
    }
    page.family(
        "stakeout_alert_delivery_seconds",
        Histogram,
        "How long it took from an alert to the broker's acknowledgement.",
    )
    .histogram(&[], &counts.delivery);
}

fn seconds(time: Timestamp) -> f64 {
    time.as_millisecond() as f64 / 1e3
}

/// As the kernel counts it.
fn resident_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
}
