//! Reports inputs that give no frame: one rule for files and messages.
//!
//! Every input is counted, and named in the log together with the cause. The log writes at most a burst of such lines for each
//! source, and then one every few seconds (`commands/logging`).

use std::fmt::Display;

use super::{cause::Cause, context::Context};

/// An input by its kind and its path or topic: `("file", ...)`, `("message", ...)`.
pub(crate) type Origin<'a> = (&'static str, &'a dyn Display);

impl Context {
    /// Counts and logs an input that is no usable picture.
    pub(crate) fn unusable(
        &self,
        (what, origin): Origin<'_>,
        cause: Cause,
        why: &dyn Display,
        remedy: Option<&'static str>,
    ) {
        self.counts.failed(cause);
        let hint = remedy.map_or(String::new(), |remedy| format!("; {remedy}"));
        let text = format!("skipped a {what} that is no usable picture: {origin}: {why}{hint}");
        self.warn(origin, why, remedy, &text);
    }

    /// Logs a defect of an input whose picture is used all the same.
    pub(crate) fn defective(&self, (what, origin): Origin<'_>, why: &dyn Display) {
        self.warn(origin, why, None, &format!("used a {what} with a defect: {origin}: {why}"));
    }

    /// The one place that logs inputs, so that all lines of a source share one limit.
    fn warn(&self, origin: &dyn Display, cause: &dyn Display, remedy: Option<&'static str>, text: &str) {
        tracing::warn!(source = &*self.name, %origin, %cause, remedy, "{text}");
    }
}
