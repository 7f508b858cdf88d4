//! The arguments of `stakeout init`.

use std::{net::SocketAddr, path::PathBuf};

use crate::commands::CAMERA_MODEL;

/// The arguments of `stakeout init`. What is not given is asked.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The file to write [default: /etc/stakeout/stakeout.yaml for root if its folder exists, else ./stakeout.yaml]
    #[arg(long, short, value_name = "FILE")]
    pub(super) output: Option<PathBuf>,
    /// Replace the file if it exists, without asking
    #[arg(long)]
    pub(super) force: bool,
    /// Ask nothing: take the options and their defaults
    #[arg(long, short)]
    pub(super) yes: bool,
    /// The broker, such as mqtt://localhost:1883
    #[arg(long, value_name = "URL")]
    pub(super) broker: Option<String>,
    /// The user at the broker
    #[arg(long, value_name = "USER")]
    pub(super) broker_username: Option<String>,
    /// The password at the broker, or a reference to it: ${env:NAME}, ${file:/path} or ${credential:NAME}
    #[arg(long, value_name = "PASSWORD")]
    pub(super) broker_password: Option<String>,
    /// A camera or a folder: rtsp://..., http://... of a picture, or a path; NAME=ADDRESS gives it a name. Repeat the option for several
    #[arg(long, value_name = "[NAME=]ADDRESS")]
    pub(super) camera: Vec<String>,
    /// A camera that is asked for its addresses over ONVIF: a host, or the address of its device service; also NAME=HOST
    #[arg(long, value_name = "[NAME=]HOST")]
    pub(super) onvif: Vec<String>,
    /// Search the local network for ONVIF cameras
    #[arg(long)]
    pub(super) discover: bool,
    /// Send the probe of the search to this address instead of to all devices of the network, for cameras of another network
    #[arg(long, value_name = "IP:PORT", requires = "discover")]
    pub(super) probe: Option<SocketAddr>,
    /// The seconds that the search waits for answers
    #[arg(long, value_name = "SECONDS", default_value = "4", value_parser = clap::value_parser!(u64).range(1..=60))]
    pub(super) wait: u64,
    /// The user at the cameras
    #[arg(long, value_name = "USER")]
    pub(super) username: Option<String>,
    /// The password at the cameras, or a reference to it
    #[arg(long, value_name = "PASSWORD")]
    pub(super) password: Option<String>,
    /// What to watch for, in words, such as "a package by the door"; repeat the option for several
    #[arg(long, value_name = "WORDS")]
    pub(super) watch_for: Vec<String>,
    /// The model: a name on the hub, a folder, or bundled, which knows drawings only
    #[arg(long, value_name = "ID|FOLDER", default_value = CAMERA_MODEL)]
    pub(super) model: String,
    /// Let Home Assistant find everything
    #[arg(long)]
    pub(super) home_assistant: bool,
    /// Do not score a frame of each camera
    #[arg(long)]
    pub(super) no_scores: bool,
    /// Start the service, and at each start of the machine; for root, with the configuration of the machine
    #[arg(long)]
    pub(super) start: bool,
}
