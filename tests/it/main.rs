//! Black-box tests: the built binary with a real broker and real files. One binary, because linking many is slow.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics, also in what the tests share")]

#[allow(dead_code, reason = "each group of tests uses its part")]
mod common;

mod alerts;
mod api;
mod attacks;
mod baseline;
mod bench;
mod bombs;
mod bundled;
mod check;
mod classify;
mod configuration;
mod console;
mod console_live;
mod delivery;
mod devices;
mod docs;
mod doctor;
mod explain;
mod folder;
mod folder_attacks;
mod folder_clips;
mod health;
mod history;
mod home_assistant;
mod hub;
mod hub_listings;
mod layers;
mod mask;
mod metrics;
mod model_errors;
mod model_thread;
mod mqtt_source;
mod names;
mod output;
mod parity;
mod rejudge;
mod reload;
mod remembered;
mod replay;
mod rules;
mod sandbox;
mod search;
mod secrets;
mod service;
mod shortage;
mod sinks;
mod streams;
mod supply_chain;
mod system;
mod terminal;
mod timeline;
mod tokenizers;
mod tune;
mod units;
mod verify;
mod weights;
