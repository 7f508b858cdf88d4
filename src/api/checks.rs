//! The checks of `stakeout doctor`, as a running service offers them. The room of the checks is above this one: the command that
//! starts the service hands them in.

use std::sync::Arc;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::Config;

/// One check: what was checked, its state, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Check {
    /// What was checked.
    pub check: String,
    /// How it is.
    pub state: CheckState,
    /// What was found.
    pub what: String,
    /// What to do; `null` if nothing is wrong.
    pub remedy: Option<String>,
}

/// The state of what was checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CheckState {
    /// It works.
    Ok,
    /// It works, and there is something to know.
    Warning,
    /// It does not work.
    Problem,
}

/// When the checks ran last, and their result.
pub(super) type Checked = Option<(Timestamp, Vec<Check>)>;

/// Runs all checks for the configuration in force. It blocks for less than the time limit of a request.
pub type RunChecks = Box<dyn Fn(&Arc<Config>) -> Vec<Check> + Send + Sync>;
