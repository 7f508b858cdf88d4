//! The families of the metrics page. Names follow the conventions of Prometheus: base units, and `_total` for what only
//! increases.
//!
//! Each series whose labels are known exists from the start with 0. A series that appeared with its first event would hide that
//! event from `increase()`.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, atomic::Ordering},
};

use jiff::Timestamp;

use super::{Delivery, HistoryCounts, RunningSource, ServiceMetrics, lock, process};
use crate::{
    alert::publisher,
    classify::{self, CanaryStatus},
    metrics::{self, Labels, Page},
    picture::Usage,
    sandbox::State,
    source::{self, Snapshot, Status},
};

/// The page as text.
pub(super) fn page(state: &Arc<ServiceMetrics>) -> String {
    let state = Arc::clone(state);
    metrics::render(move |page| {
        service(page, &state)?;
        sources(page, &state)?;
        frames(page, &state)?;
        canary(page, &state.model.canary)?;
        decoder_memory(page, state.decoder_memory.usage())?;
        sandbox(page, &state)?;
        alerts(page, &state)?;
        state.history().map_or(Ok(()), |counts| history(page, counts))?;
        match state.delivery.get() {
            Some(delivery) => outbox(page, delivery).and_then(|()| broker(page, &delivery.publisher)),
            None => Ok(()),
        }
    })
}

fn service(page: &mut Page<'_>, state: &ServiceMetrics) -> fmt::Result {
    let version = [([("version", env!("CARGO_PKG_VERSION"))], 1_u64)];
    page.gauges("stakeout_build_info", "The version of the service.", version)?;
    let model = [([("model", state.model_name.as_str())], 1_u64)];
    page.gauges("stakeout_model_info", "The model that scores the frames.", model)?;
    let available = u64::from(state.model.engine.away().is_none());
    page.gauge(
        "stakeout_model_available",
        "1 while the model can score frames, 0 while no model server answers.",
        available,
    )?;
    let ready: u64 = state.ready.load(Ordering::Relaxed).into();
    page.gauge("stakeout_ready", "1 while every part is started and frames are watched.", ready)?;
    page.gauge(
        "stakeout_stuck_parts",
        "Parts that have work and make no progress; the log names them.",
        state.stuck().len(),
    )?;
    let valid: u64 = (!state.invalid.load(Ordering::Relaxed)).into();
    page.gauge(
        "stakeout_config_valid",
        "1 if the newest check of the configuration found no errors.",
        valid,
    )?;
    let reloads = ["valid", "invalid"].into_iter().zip(&state.reloads);
    page.counters(
        "stakeout_config_reloads_total",
        "Checks of a changed configuration.",
        reloads.map(|(result, count)| ([("result", result)], count.load(Ordering::Relaxed))),
    )?;
    let began = seconds(state.began);
    page.gauge("process_start_time_seconds", "Start of the service, in seconds since 1970.", began)?;
    match process::resident_memory() {
        Some(bytes) => page.gauge("process_resident_memory_bytes", "Resident memory of the service.", bytes),
        None => Ok(()),
    }
}

fn sources(page: &mut Page<'_>, state: &ServiceMetrics) -> fmt::Result {
    let sources = lock(&state.sources);
    let counts: Vec<(&str, &RunningSource, Snapshot)> =
        sources.iter().map(|(name, source)| (name.as_str(), source, source.counts.snapshot())).collect();
    let status = |source: &RunningSource, status| u64::from(*source.status.borrow() == status);

    page.gauges(
        "stakeout_source_up",
        "1 while the source delivers, or would if there were frames.",
        counts.iter().map(|(name, source, _)| {
            ([("source", *name), ("kind", source.kind)], status(source, Status::Online))
        }),
    )?;
    page.gauges(
        "stakeout_source_info",
        "The area and the location of the source, as they are configured.",
        lock(&state.places).iter().map(|(name, [area, location])| {
            ([("source", name.as_str()), ("area", area.as_str()), ("location", location.as_str())], 1_u64)
        }),
    )?;
    page.gauges(
        "stakeout_source_stalled",
        "1 while the source is connected and delivers nothing.",
        counts.iter().map(|(name, source, _)| ([("source", *name)], status(source, Status::Stalled))),
    )?;
    page.gauges(
        "stakeout_source_last_frame_timestamp_seconds",
        "When the source sent its newest frame, in seconds since 1970; 0 before the first.",
        counts.iter().map(|(name, _, counts)| ([("source", *name)], counts.last_sent.map_or(0.0, seconds))),
    )?;
    page.counters(
        "stakeout_frames_seen_total",
        "Pictures that the source found.",
        counts.iter().map(|(name, _, counts)| ([("source", *name)], counts.seen)),
    )?;
    page.counters(
        "stakeout_frames_sent_total",
        "Frames that the source sent to the model.",
        counts.iter().map(|(name, _, counts)| ([("source", *name)], counts.sent)),
    )?;
    page.counters(
        "stakeout_frames_skipped_total",
        "Frames that the source skipped on purpose, by cause.",
        counts.iter().flat_map(|(name, _, counts)| by_cause(name, &counts.skipped)),
    )?;
    page.counters(
        "stakeout_frames_failed_total",
        "What the source could not read, by cause.",
        counts.iter().flat_map(|(name, _, counts)| by_cause(name, &counts.failed)),
    )?;
    page.gauges(
        "stakeout_frames_under_way",
        "Frames of the source that wait for the model or are being scored and judged.",
        counts.iter().map(|(name, source, _)| {
            ([("source", *name)], source::SLOTS.saturating_sub(source.slots.available_permits()))
        }),
    )
}

/// One sample for each cause.
fn by_cause<'n>(
    source: &'n str,
    counted: &'n BTreeMap<&'static str, u64>,
) -> impl Iterator<Item = (Labels<'n, 2>, u64)> {
    counted.iter().map(move |(cause, count)| ([("source", source), ("cause", *cause)], *count))
}

fn frames(page: &mut Page<'_>, state: &ServiceMetrics) -> fmt::Result {
    let classify::Counts { scored, repeated, failed, unwatched } = state.model.counts();
    page.counter("stakeout_frames_classified_total", "Frames that the model scored.", scored)?;
    page.counter(
        "stakeout_frames_repeated_total",
        "Frames with the same picture as an earlier one, which received its scores.",
        repeated,
    )?;
    page.counters(
        "stakeout_frames_not_classified_total",
        "Frames that received no scores, by cause.",
        [([("cause", "model_failed")], failed), ([("cause", "source_removed")], unwatched)],
    )?;
    let stages = [
        ("decode", &*state.decoding),
        ("queue", &state.model.queue),
        ("classify", &state.model.batch),
        ("judge", &state.judging),
        ("whole_way", &state.whole_way),
    ];
    page.histograms(
        "stakeout_stage_duration_seconds",
        "Duration of each stage: decode (a picture, or a packet of a stream), queue (a frame, from its source to the model), \
         classify (a batch), judge (some frames, until their alerts are on disk), whole_way (a frame, from its source \
         until its alerts are on disk).",
        stages.map(|(stage, durations)| ([("stage", stage)], durations)),
    )
}

fn canary(page: &mut Page<'_>, status: &CanaryStatus) -> fmt::Result {
    let state = status.state();
    page.gauge(
        "stakeout_canary_healthy",
        "1 while the device that runs the model passes its check, or needs none; 0 after it failed.",
        u64::from(state.problem.is_none()),
    )?;
    page.counter("stakeout_canary_passed_total", "Checks of the device that passed.", status.passed())?;
    page.counters(
        "stakeout_canary_failed_total",
        "Checks of the device that failed, by what was wrong.",
        status.failed().into_iter().map(|(fault, count)| ([("fault", fault)], count)),
    )?;
    let figures = state.figures.map_or((0.0, 0.0, 0.0), |figures| {
        (f64::from(figures.cosine), f64::from(figures.difference), figures.took.as_secs_f64())
    });
    page.gauge(
        "stakeout_canary_cosine",
        "Least cosine of the vectors of the newest check to those of the processor; 0 before the first one.",
        figures.0,
    )?;
    page.gauge(
        "stakeout_canary_score_difference",
        "Greatest difference of a score of the newest check from the processor's.",
        figures.1,
    )?;
    page.gauge("stakeout_canary_picture_seconds", "Time of one picture in the newest check.", figures.2)
}

fn decoder_memory(page: &mut Page<'_>, usage: Usage) -> fmt::Result {
    let Usage { total, used, waiting, waited } = usage;
    page.gauge("stakeout_decoder_memory_limit_bytes", "Memory that all decoders may use, `memory`.", total)?;
    page.gauge(
        "stakeout_decoder_memory_used_bytes",
        "Memory that is reserved for pictures that are decoded or not yet scored, and for open clips and streams.",
        used,
    )?;
    page.gauge("stakeout_decoders_waiting", "Pictures and clips that wait for memory.", waiting)?;
    page.counter("stakeout_decoder_waits_total", "Times that a picture or a clip waited for memory.", waited)
}

fn sandbox(page: &mut Page<'_>, state: &ServiceMetrics) -> fmt::Result {
    let sandbox = state.sandbox.get();
    let on = sandbox.is_some_and(|sandbox| matches!(sandbox.state(), State::On(_)));
    page.gauge(
        "stakeout_sandbox_active",
        "1 if pictures are decoded in processes without files and network, 0 if in the service.",
        u64::from(on),
    )?;
    let (idle, working) = sandbox.map_or((0, 0), |sandbox| sandbox.processes());
    page.gauges(
        "stakeout_sandbox_processes",
        "Processes that decode pictures.",
        [([("state", "idle")], idle), ([("state", "working")], working)],
    )?;
    page.counter(
        "stakeout_sandbox_crashes_total",
        "Processes that ended instead of decoding a picture. Each costs one picture.",
        sandbox.map_or(0, |sandbox| sandbox.ended()),
    )
}

fn alerts(page: &mut Page<'_>, state: &ServiceMetrics) -> fmt::Result {
    let alerts = lock(&state.alerts);
    let samples = alerts.iter().flat_map(|([source, set, label], counts)| {
        ["raised", "cleared"].into_iter().zip(*counts).map(move |(state, count)| {
            let labels: [(&str, &str); 4] =
                [("source", source), ("label_set", set), ("label", label), ("state", state)];
            (labels, count)
        })
    });
    page.counters("stakeout_alerts_total", "Alerts of each label.", samples)?;
    page.counters(
        "stakeout_observations_lost_total",
        "Scored frames that a subscriber was too slow to receive.",
        lock(&state.lost_observations).iter().map(|(name, lost)| ([("subscriber", *name)], *lost)),
    )
}

fn history(page: &mut Page<'_>, counts: &HistoryCounts) -> fmt::Result {
    page.gauge(
        "stakeout_history_failing",
        "1 while nothing is remembered, because the disk does not work; the log says why.",
        u64::from(counts.is_failing()),
    )?;
    page.gauge(
        "stakeout_history_bytes",
        "Size of the history on disk.",
        counts.size.load(Ordering::Relaxed),
    )?;
    page.counter(
        "stakeout_history_bytes_written_total",
        "Bytes that were written to the history, at most: flash cards wear out.",
        counts.written.load(Ordering::Relaxed),
    )?;
    page.counter(
        "stakeout_history_dropped_total",
        "Entries of the history that were deleted before their time, because of `max_size` or for want of space.",
        counts.dropped.load(Ordering::Relaxed),
    )?;
    page.gauge(
        "stakeout_history_pictures_to_embed",
        "Stored pictures that the model has not embedded yet; it does so while it is idle.",
        counts.to_embed.load(Ordering::Relaxed),
    )?;
    page.counter(
        "stakeout_history_pictures_embedded_total",
        "Stored pictures that were embedded after a change of the model.",
        counts.embedded.load(Ordering::Relaxed),
    )
}

fn outbox(page: &mut Page<'_>, delivery: &Delivery) -> fmt::Result {
    page.gauges(
        "stakeout_outbox_alerts",
        "Alerts that wait for delivery.",
        delivery.states().map(|sink| ([("sink", sink.name)], sink.waiting)),
    )?;
    page.gauges(
        "stakeout_outbox_oldest_alert_age_seconds",
        "Age of the oldest alert that waits for delivery; 0 if none waits.",
        delivery
            .states()
            .map(|sink| ([("sink", sink.name)], sink.oldest.map_or(0.0, |oldest| oldest.as_secs_f64()))),
    )?;
    let status = delivery.outbox.status().borrow().clone();
    page.gauge(
        "stakeout_outbox_on_disk",
        "1 while alerts are on disk, in the file that the next start finds; it is checked every second.",
        u64::from(status.is_on_disk()),
    )?;
    page.counter(
        "stakeout_outbox_vanished_total",
        "Times that the file of the outbox was deleted, renamed or replaced, and its content was written to a new one.",
        status.vanished,
    )?;
    page.gauge(
        "stakeout_state_files_failing",
        "State files beside the outbox that cannot be written.",
        status.state_files,
    )?;
    page.counter(
        "stakeout_state_files_restored_total",
        "State files beside the outbox that vanished and were written again.",
        status.restored,
    )?;
    page.counter(
        "stakeout_outbox_dropped_alerts_total",
        "Alerts that were dropped because too many waited, or for too long.",
        status.dropped,
    )?;
    page.counter(
        "stakeout_outbox_dropped_snapshots_total",
        "Snapshots that were dropped because they took too much space.",
        status.snapshots_dropped,
    )
}

fn broker(page: &mut Page<'_>, counts: &publisher::Counts) -> fmt::Result {
    let connected: u64 = counts.connected.load(Ordering::Relaxed).into();
    page.gauge("stakeout_broker_connected", "1 while the broker is connected.", connected)?;
    for (name, help, count) in [
        ("stakeout_alerts_published_total", "Alerts that the broker acknowledged.", &counts.published),
        ("stakeout_heartbeats_total", "Heartbeats that the broker acknowledged.", &counts.heartbeats),
        (
            "stakeout_alerts_repeated_total",
            "Alerts that were sent again because no acknowledgement arrived.",
            &counts.repeated,
        ),
        ("stakeout_alerts_refused_total", "Times the broker refused an alert.", &counts.refused),
        (
            "stakeout_snapshots_scaled_total",
            "Snapshots that were scaled down to the packet size that the broker accepts.",
            &counts.snapshots_scaled,
        ),
        (
            "stakeout_snapshots_skipped_total",
            "Snapshots that the broker accepts in no size.",
            &counts.snapshots_skipped,
        ),
        (
            "stakeout_scores_dropped_total",
            "Messages with scores and near misses that were dropped because alerts have priority or the broker was away.",
            &counts.scores_dropped,
        ),
    ] {
        page.counter(name, help, count.load(Ordering::Relaxed))?;
    }
    page.histogram(
        "stakeout_alert_delivery_seconds",
        "Time from an alert to the acknowledgement of the broker.",
        &counts.delivery,
    )
}

fn seconds(time: Timestamp) -> f64 {
    time.as_millisecond() as f64 / 1e3
}
