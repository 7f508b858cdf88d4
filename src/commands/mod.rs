//! One file a sub-command, each thin: it reads its arguments, calls the parts, and tells people what came of it.

pub mod check;

/// The exit code for a configuration that is wrong (`EX_CONFIG` of `sysexits.h`).
pub const BAD_CONFIGURATION: u8 = 78;

/// Where the configuration is unless said otherwise.
pub const CONFIG: &str = "/etc/stakeout/stakeout.yaml";
