//! `stakeout` watches folders and cameras for the things you describe in words.

pub mod alert;
pub mod backoff;
pub mod classify;
pub mod commands;
pub mod config;
pub mod frame;
pub mod mqtt;
pub mod picture;
pub mod source;
pub mod trigger;
