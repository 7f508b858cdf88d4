//! `stakeout` watches folders, cameras and MQTT topics for things that are described in words. It samples frames, scores them
//! against label sets written in YAML with a zero-shot CLIP or SigLIP model, and publishes an MQTT alert when the score of a
//! label crosses its threshold.
//!
//! This page describes the structure. The contract with users is in the README and in `docs/`.
//!
//! # The path of a frame
//!
//! Frames move in one direction. No part calls back into an earlier one.
//!
//! ```text
//!  source ──Frame──▶ classify ──Scored──▶ judge ──Alert──▶ outbox ──▶ publisher ──▶ MQTT, webhook, command
//!    ▲ kinds: folder,  ▲ engine: onnx or   │ trigger        (disk, first and synchronous)
//!    │ stream, http,   │ a model server    │
//!    │ mqtt            │                   └──Observation──▶ observe: bounded, may lose, counted
//!    │                 │
//!  config (YAML): one validated, immutable Config. daemon connects the parts.
//! ```
//!
//! # Rooms and layers
//!
//! A room is a module at the top of the crate. A room imports rooms of lower rows only, and no other room of its own row.
//! No files import each other in a circle. `tests/it/layers.rs` reads the tables of this page and checks the code against them.
//!
//! | row | rooms |
//! |---|---|
//! | 0 | `blocking`, `clock`, `descriptors`, `local_time`, `recent_lines`, `remedy`, `shortage`, `tcp`, `terminal`, `topic` |
//! | 1 | `atomic_file`, `backoff`, `heartbeat`, `picture`, `prefetch`, `text_file` |
//! | 2 | `cache`, `frame`, `metrics`, `sandbox`, `state_file`, `tls`, `yaml` |
//! | 3 | `policy`, `storage` |
//! | 4 | `https`, `source/kinds/camera` |
//! | 5 | `source/kinds/settings` |
//! | 6 | `source/kinds/*/settings` |
//! | 7 | `source/kinds/source_kind` |
//! | 8 | `config` |
//! | 9 | `controls`, `engine`, `import`, `mqtt`, `watches` |
//! | 10 | `model` |
//! | 11 | `alert`, `classify`, `source`, `trial`, `trigger` |
//! | 12 | `judge`, `onvif`, `progress`, `suggest` |
//! | 13 | `observe` |
//! | 14 | `history` |
//! | 15 | `api` |
//! | 16 | `web` |
//! | 17 | `daemon`, `replay` |
//! | 18 | `plot` |
//! | 19 | `bench`, `doctor`, `tune` |
//! | 20 | `commands` |
//! | 21 | `lib`, `main` |
//!
//! | room | content |
//! |---|---|
//! | [`yaml`] | the YAML tree, the reader, values such as durations, and errors with line, column and remedy |
//! | [`policy`] | what a user asks for: label sets, trigger settings, conditions, templates, messages, schedules |
//! | [`config`] | assembles the validated [`Config`](config::Config); JSON Schema, reference page, editor, file watcher |
//! | [`import`] | configurations of Frigate and go2rtc as one of this program |
//! | [`watches`] | temporary labels, which expire: `stakeout watch-for` |
//! | [`controls`] | what is set while the service runs, until the files change it: `stakeout set`, `snooze`, `enable`, `disable` |
//! | [`terminal`], [`local_time`] | standard output and error of the commands; times for people |
//! | [`recent_lines`] | the newest lines of the log, in memory |
//! | [`clock`] | the clocks of the machine: the time of day, which may be wrong, and the time since the start |
//! | [`shortage`], [`remedy`], [`tcp`] | errors that only say "try again"; what to do about an error; one exchange with a server, with one deadline |
//! | [`descriptors`], [`atomic_file`], [`state_file`] | files and folders by descriptor, and which file a path leads to; files that are replaced in one step; files of the state folder |
//! | [`storage`] | SQLite files of the state folder |
//! | [`text_file`], [`topic`] | text files that people write; names as topic levels and identifiers |
//! | [`picture`], [`frame`] | decoders that equal the reference; a picture with its source and time |
//! | [`sandbox`] | decodes pictures in processes without files, network and secrets |
//! | [`tls`], [`https`] | how certificates are checked, and what is wrong with them; the HTTP client |
//! | [`source`] | where frames come from; one folder in `source/kinds` for each kind |
//! | [`onvif`] | finds cameras on the network, and asks them for the addresses of their streams |
//! | [`engine`] | runs a model graph; `engine/onnx` is ONNX Runtime in this process, with its plugins, `engine/remote` a model server |
//! | [`model`] | model families, files, graphs that are built from weights, preprocessing, tokenizer, and the hub |
//! | [`trial`] | tries devices in a process of their own, and chooses the fastest one that computes right |
//! | [`classify`] | prompts to vectors, vectors to scores, and the thread that owns the model |
//! | [`trigger`], [`judge`] | decisions: what raises and clears a label |
//! | [`suggest`] | which settings of a label suit its recorded scores |
//! | [`alert`] | the outbox, the publisher, webhooks and commands, Home Assistant |
//! | [`observe`] | follows the judge: scores over MQTT, metrics |
//! | [`history`] | what the service remembers: the thread that writes it, readers, and the embedding of stored pictures |
//! | [`api`] | requests and answers of programs and commands: a file for each verb, the client of the commands, the OpenAPI document |
//! | [`web`] | HTTP over TCP and over the unix socket: routes, and the files of the console and of the documentation |
//! | [`daemon`] | wiring only: build, connect, reload, stop |
//! | [`replay`], [`plot`], [`tune`] | play recordings against the rules, draw scores, suggest thresholds |
//! | [`doctor`], [`bench`](mod@bench) | check a machine and a configuration; measure speed |
//! | [`progress`] | shows the progress of long work on a terminal or in the log |
//! | [`commands`] | arguments, one call into the library, printing |
//!
//! Each heavy crate is used in one place:
//!
//! | crate | home |
//! |---|---|
//! | `ffmpeg_next` | `source/kinds/stream`, `picture/coded` |
//! | `fax`, `gif`, `image`, `png`, `turbojpeg`, `weezl` | `picture` |
//! | `flate2` | `api/bundle`, `model/tokenizer`, `picture`, `web/embedded` |
//! | `axum`, `hyper` | `web` |
//! | `granit_parser` | `yaml` |
//! | `prost`, `tonic`, `tonic_prost`, `tower_service` | `engine/remote` |
//! | `hyper_util` | `engine/remote/connect`, `web` |
//! | `landlock`, `seccompiler` | `sandbox` |
//! | `md5` | `source/kinds/login` |
//! | `indicatif` | `progress` |
//! | `notify` | `source/kinds/folder`, `config/watch` |
//! | `ort` | `engine/onnx` |
//! | `prometheus_client` | `metrics` |
//! | `roxmltree` | `onvif` |
//! | `rumqttc` | `mqtt` |
//! | `rusqlite` | `storage`, `alert/outbox`, `history` |
//! | `rustls` | `tls`, `https` |
//! | `safetensors` | `model` |
//! | `tokenizers` | `model` |
//! | `tokio_rustls` | `engine/remote/connect`, `source/kinds/stream/relay`, `web/connections` |
//! | `ureq` | `https`, `model/hub`, `source/kinds/http`, `alert/sinks/webhook`, `commands/fetch`, `onvif/client` |
//!
//! Pure modules use no tokio, no clock, no disk, no network and no log. Everything they need is an argument, the time included:
//!
//! | pure |
//! |---|
//! | `alert/control_topics`, `alert/home_assistant`, `alert/mod`, `alert/outage`, `alert/outbox/elapsed`, `alert/publisher/window`, `alert/sinks/schedule`, `alert/topics` |
//! | `api/bundle`, `api/openapi`, `api/query`, `api/rate`, `api/system/advice` |
//! | `backoff`, `policy`, `topic` |
//! | `api/access/attempts`, `api/access/codes`, `api/access/sessions`, `api/role`, `web/access/origin`, `web/access/rules` |
//! | `classify/batch_figures`, `classify/score`, `model/canary/pictures`, `model/canary/verdict`, `model/preprocess`, `trial/decision` |
//! | `model/build/blocks`, `model/build/config`, `model/build/families`, `model/build/graph`, `model/build/half_graph`, `model/build/int8_graph` |
//! | `model/build/onnx`, `model/build/openclip`, `model/build/quantise`, `model/build/source`, `model/build/timm`, `model/build/towers` |
//! | `model/hub/choice`, `model/layout` |
//! | `model/tokenizer/clean`, `model/tokenizer/clip_bpe`, `model/tokenizer/declared`, `model/tokenizer/open_clip`, `model/tokenizer/sentencepiece`, `model/tokenizer/unigram`, `model/tokenizer/wordpiece` |
//! | `engine/remote/answer`, `engine/remote/contract`, `engine/remote/failure`, `engine/remote/numbers`, `engine/remote/roster` |
//! | `config/changes`, `config/controlled`, `config/draft`, `config/masked`, `config/plan`, `yaml/publishable` |
//! | `import`, `onvif/answers`, `onvif/messages` |
//! | `history/rejudge/changes`, `history/rejudge/compare`, `history/rejudge/part`, `history/scores/bytes`, `history/scores/chunk`, `history/scores/reduce`, `history/scores/states` |
//! | `history/search/baseline`, `history/search/candidates`, `history/search/events`, `history/search/query` |
//! | `history/vectors/codec`, `history/vectors/rotation`, `history/vectors/tables` |
//! | `judge`, `suggest`, `trigger` |
//! | `history/near_misses/choose`, `history/near_misses/episodes` |
//! | `observe/scores` |
//! | `picture/mask` |
//! | `remedy` |
//! | `source/kinds/mqtt/names`, `source/kinds/mqtt/payload`, `source/kinds/mqtt/waiting` |
//! | `tls/certificate`, `tls/explain`, `tls/fingerprint` |
//! | `source/kinds/stream/access_units`, `source/kinds/stream/allowed`, `source/kinds/stream/schedule`, `source/kinds/stream/transport` |
//! | `source/kinds/stream/relay/http`, `source/kinds/stream/relay/message`, `source/kinds/stream/relay/rtsp` |
//! | `source/patience`, `source/sampler`, `source/unchanged` |
//!
//! # What is deliberately absent
//!
//! - Traits of our own, except the engine's and those of a kind of source.
//! - Unbounded channels.
//! - More than one retry loop for one kind of failure.
//! - A clock in a decision.
//! - A process that lives on after one of its parts has ended.
//!
//! # Threads
//!
//! | thread | work |
//! |---|---|
//! | main | drives the publisher, applies configuration changes, waits for signals |
//! | `source-NAME` | reads and decodes one source |
//! | `read-NAME` | reads the packets of one RTSP camera |
//! | `sandbox` | starts a process that decodes pictures, and waits for its end; one for each process |
//! | `relay` | forwards a stream between FFmpeg and its camera: login, redirects and TLS; one for each stream over RTSP and HTTP |
//! | `prepare` | prepares frames, and pictures that people search by, for the model while the model runs |
//! | `engine` | runs the model on another device than the processor, so that a device that hangs does not stop `model` |
//! | `trial` | reads the answer of a process that tries a device |
//! | `model` | owns the model's sessions: scores batches, encodes pictures that people search by, and, while idle, embeds stored pictures |
//! | `judge` | runs the triggers and writes alerts to the outbox |
//! | `history` | records observations, deletes old entries, and carries out requests; no other thread writes to the history |
//! | `config-watch`, `config` | notices changes of the configuration files; reads and checks them, and encodes texts that people ask about |
//! | `log` | reports how many similar log lines were suppressed, a minute after the first of them |
//! | `web` | answers HTTP requests: at `listen`, if it is configured, and at the unix socket of the commands |
//! | `look-up` | looks up the name of a host, for one exchange with a camera |
//! | `model-server` | drives the connections to model servers and checks the servers, if the configuration names some |
//!
//! Back-pressure exists in three places. A source has a few slots ([`frame::Slot`]), and each frame holds one until it has been
//! judged. Decoders share a budget of memory ([`picture::Memory`]). Each picture takes a share of it, and returns the share when it
//! has been judged; live streams never wait for one. The outbox has a limit on disk. No channel between them can fill.
//!
//! # Baselines
//!
//! A threshold can be a rise over the score that a label has while nothing is in view. [`trigger`] learns that baseline frame by
//! frame, because only the trigger knows which frames are quiet. A reload keeps the baseline while the label's prompts stay the
//! same. The daemon stores baselines on disk. `replay` and `tune` learn them from the recording and store nothing.
//!
//! # Stored scores
//!
//! The history stores the score that each trigger received, and once a minute a [`judge::Checkpoint`] with the states of the
//! triggers. So stored scores can be judged again exactly. This needs three things of the service: triggers count in whole
//! milliseconds, baselines are learnt from rounded scores ([`trigger::rounding`]), and an observation after a lost one has a
//! checkpoint.
//!
//! # Dynamic sources
//!
//! The topics of an `mqtt` source can name sources (`name: frigate-{1}`). When a new name arrives, the daemon adds the source to
//! the files of the state folder, the watchlist, the triggers and Home Assistant, and only then admits the first frame. Nothing
//! is made again for other sources, and their pictures do not wait. The number of new names in a time is limited. Dynamic sources
//! have no thread. Their pictures arrive over the connection of the configured source, which is separate from the connection for
//! alerts.
//!
//! # Controls
//!
//! People switch sources and labels off, snooze them and set thresholds while the service runs: over MQTT, the API, the console and
//! commands. Such a [`policy::Control`] is kept in the state folder. [`controls`] applies all of them to the configuration of the files
//! ([`config::controlled`]), which is then a configuration like any other: the change is a reload, and a part that reads settings knows
//! no controls. A control counts until the files change the value that it replaces. Who set it is in [`Config::controls`](config::Config).
//!
//! # Rules over labels
//!
//! `config` resolves the condition of a rule (`person and not dog`), because it knows all labels. [`judge`] evaluates rules after
//! all labels of a frame. [`trigger::Presence`] says whether a label is present. The rule has a trigger of its own, whose score
//! is 1 while the condition is met. After the judge, a rule is a label like any other.
//!
//! # Reload
//!
//! [`config::watch`] only reports that files changed. The thread `config` then reads everything. An invalid configuration is
//! reported with its full text (log, `config/status`) and changes nothing. For a valid one, the pure [`config::plan`] lists the
//! sources to start and stop, and new prompts are encoded. Only then the new state replaces the old one, in this order:
//!
//! 1. the [`classify::Watchlist`], between two batches;
//! 2. the triggers, which keep their state where source, label set and label are the same;
//! 3. the sources.
//!
//! What did not change continues without interruption. Scores of frames in flight carry the names of their labels, so each
//! trigger finds its own. Frames of a removed source are dropped and counted. A removed label that is raised is cleared. Model,
//! device, broker and state folder cannot change at run time; a change of these is reported. The start is a reload from nothing.
//!
//! # Failures
//!
//! A source never ends by a failure: it logs the cause, reports its status and retries. Any other part that ends or panics
//! ends the process with a non-zero code, and systemd restarts it.
//!
//! A model server that is away is no failure: the model's thread waits, and its frames keep their slots. So folders and subscriptions with
//! QoS 1 wait, live sources skip frames and count them, and neither triggers nor baselines change. [`classify::Availability`] is published
//! as the problem of the service and of each source.
//!
//! The history is the part that may fail without an end: while its disk does not work nothing is remembered, which is counted and logged
//! once. Nothing waits for it.
//!
//! A picture that ends the process in which it is decoded is counted as failed; [`sandbox`] starts another process.
//!
//! # Shutdown
//!
//! Only the sources receive the stop signal. Channels then close downstream: the model thread finishes its frames and ends, then
//! the judge, then the publisher sends the rest of the outbox, publishes `offline` and disconnects. A deadline limits the
//! whole shutdown. A second signal ends the process at once.
//!
//! ONNX Runtime crashes if the process ends while it runs a graph. So `main` last waits for the graphs that are running, and prevents
//! that others begin ([`engine::onnx::finish`]).

pub mod alert;
pub mod api;
pub mod atomic_file;
pub mod backoff;
pub mod bench;
mod blocking;
pub mod cache;
pub mod classify;
pub mod clock;
pub mod commands;
pub mod config;
pub mod controls;
pub mod daemon;
pub mod descriptors;
pub mod doctor;
pub mod engine;
pub mod frame;
pub mod heartbeat;
pub mod history;
pub mod https;
pub mod import;
pub mod judge;
pub mod local_time;
pub mod metrics;
pub mod model;
pub mod mqtt;
pub mod observe;
pub mod onvif;
pub mod picture;
pub mod plot;
pub mod policy;
pub mod prefetch;
pub mod progress;
pub mod recent_lines;
pub mod remedy;
pub mod replay;
pub mod sandbox;
pub mod shortage;
pub mod source;
pub mod state_file;
pub mod storage;
pub mod suggest;
pub mod tcp;
pub mod terminal;
pub mod text_file;
pub mod tls;
pub mod topic;
pub mod trial;
pub mod trigger;
pub mod tune;
pub mod watches;
pub mod web;
pub mod yaml;

#[cfg(test)]
mod faults;
#[cfg(test)]
mod samples;
