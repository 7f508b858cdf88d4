//! `stakeout` watches folders, cameras and MQTT topics for the things you describe in words: it samples frames, scores them
//! against label sets written in YAML with a zero-shot CLIP or SigLIP model, and publishes an MQTT alert when a label's
//! score crosses its threshold. This page is the architecture; the contract with users is in the README.
//!
//! The way of a frame is one way, and nothing flows back:
//!
//! ```text
//!  source ──Frame──▶ classify ──Scored──▶ daemon::judge ──Alert──▶ outbox ──▶ publisher ──▶ MQTT
//!    ▲ folder, stream, http,  ▲ label       (trigger)              (disk)
//!    │ mqtt; picture          │ vectors
//!    │                 config (YAML) ── one validated, immutable Config; daemon is the only wiring
//! ```
//!
//! # Layers
//!
//! | layer | modules | may name |
//! |---|---|---|
//! | 0 | [`atomic_file`], [`backoff`], [`config`], [`https`], [`metrics`], [`picture`], [`pulse`] | nothing of ours, but `config` `atomic_file` |
//! | 1 | [`frame`] | `config`, `picture` |
//! | 2, pure: no tokio, no clock, no I/O | `source::{sampler, unchanged}`, [`trigger`], `classify::{preprocess, score}`, [`alert`]'s payloads and topics, `alert::{home_assistant, scores}` | 0 and 1 |
//! | 3, edges | [`listen`], [`source`], [`classify`], `alert::{listener, outbox, publisher, sinks}`, [`mqtt`] | 0 to 2 and their own folder, and `mqtt` |
//! | 4 | [`daemon`] | all below |
//! | 5 | [`commands`], `main` | all below |
//!
//! Sideways is forbidden: `source`, `classify`, `trigger` and `alert` never name each other; they meet in `daemon`
//! through Frame, Scored and Alert. Each heavy crate has one home: `ort` and `tokenizers` in `classify::model`, `notify`
//! in `source::folder` and `config::watch`, `ffmpeg-next` in `source::stream`, `rumqttc` in [`mqtt`], `rusqlite` in `alert::outbox`, the YAML crate in `config`, the picture decoders in `picture`, `ureq` in
//! [`https`] and what fetches with it, `indicatif` in `commands::progress`. `tests/it/layers.rs` reads the `use` lines
//! and holds them to this table.
//!
//! # What is deliberately absent
//!
//! Traits of our own where an enum does; unbounded channels; a retry loop in more than one place for one kind of trouble;
//! a clock in a decision; a half-dead process.
//!
//! # Threads
//!
//! Each source has a thread (`source-NAME`) that reads and decodes; `prepare` makes the pictures ready for the model while that
//! runs; the model has one (`model`), which owns the sessions;
//! one (`judge`) runs the triggers and commits alerts to the outbox. `config-watch` notices that the configuration changed,
//! and `config` reads it; `listen` answers who asks how the service is doing. The main thread drives the publisher, carries out changes and waits for signals. Back-pressure
//! stands in two places: a source lends each frame one of its few slots ([`frame::Slot`]), and the outbox is bounded.
//! Nothing between can fill.
//!
//! # Levels that move
//!
//! A threshold may be a rise over the score that a label has while nothing is to be seen. That baseline is learnt in
//! [`trigger`], frame by frame, since only there it is known which frames are quiet; the judge gives it from a label's old
//! settings to its new ones as long as its scores are of the same words, and `daemon::baselines` keeps it on disk. In `replay`
//! and `tune` the same judge learns from the recording and writes nothing down.
//!
//! # Sources that appear
//!
//! The topics of an `mqtt` source may name sources of their own (`name: frigate-{1}`). A name that is met for the first
//! time goes to `daemon::keeper`, which asks `daemon::members` and lets it in as a reload would: the watchlist, the
//! triggers and what Home Assistant is told change, and then the source is answered and sends the first frame. Members have
//! no thread: their pictures come through the connection of their source, which is not that of the alerts.
//!
//! # Rules over labels
//!
//! The condition of a rule (`person and not dog`) is read by `config`, which knows all labels. `daemon::judge` looks at rules
//! when all labels of a frame were looked at: a label is there or not by a [`trigger::Presence`], and the rule has a trigger of its own, whose score is 1
//! while the condition is met. To everything behind the judge a rule is a label.
//!
//! # Reload
//!
//! [`config::watch`] only says "look again": when a file holds something else, and on SIGHUP. The thread `config` then reads
//! everything. What is not in order is told with its full text (log, `config/status`) and changes nothing. Otherwise a pure
//! `daemon::plan` says which sources stop and start, and the texts that no vector is known of are encoded; only then
//! `daemon::keeper` swaps in what is ready, in this order: the model's [`classify::Watchlist`] (taken between two batches),
//! the triggers (which go on where source, label set and label are what they were), the sources. What did not change never
//! notices. Nothing is stopped for it: scores of a frame that was under way carry the names of their labels, so each
//! trigger finds its own, and frames of a source that is gone are dropped and counted. A label that is removed while it is
//! raised is cleared. Model, device, broker and state folder cannot change while it runs; that is told, too.
//!
//! # Who may die
//!
//! A source never does: it logs, reports its status and tries again. Anything else that ends or panics ends the process
//! with a non-zero code, and systemd starts it again.
//!
//! # Shutdown
//!
//! Only sources are told. Channels close downstream: the model thread drains and ends, then the judge, then the publisher
//! flushes the outbox, says `offline` itself and disconnects. A deadline holds the whole; a second signal ends it at once.

pub mod atomic_file;
pub mod backoff;
pub mod bench;
pub mod cache;
pub mod config;
pub mod doctor;
pub mod engine;
pub mod heartbeat;
pub mod https;
pub mod judge;
pub mod metrics;
pub mod model;
pub mod observe;
pub mod picture;
pub mod plot;
pub mod policy;
pub mod replay;
pub mod topic;
pub mod tune;
pub mod web;
pub mod yaml;

pub mod frame;

pub mod source;

pub mod classify;

pub mod trigger;

pub mod alert;
pub mod mqtt;

pub mod daemon;

pub mod commands;

#[cfg(test)]
mod samples;
