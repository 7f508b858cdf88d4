//! Decides which lines of other libraries are logged. Pure.
//!
//! Libraries log what they send and receive: at the level `trace` those for HTTP, MQTT and WebSockets write addresses with their
//! queries, headers and payloads. So the lines of a library are logged only if it is in the list, whatever `RUST_LOG` says, and only
//! up to its level there. Everything that such a library reports as a failure is logged by this program in its own words.

use std::fmt;

use tracing::{
    Event, Level,
    field::{Field, Visit},
};

/// The lines of this program.
const OWN: &str = env!("CARGO_CRATE_NAME");
/// The libraries whose lines hold no addresses and no contents, with the most detailed level that is safe.
const ALLOWED: [(&str, Level); 3] = [
    // ONNX Runtime: its devices, the graph and its memory.
    ("ort", Level::TRACE),
    // The folders that are watched.
    ("notify", Level::TRACE),
    // Versions, ciphers and names of servers. At `trace` it writes whole messages.
    ("rustls", Level::DEBUG),
];

/// The module of lines from libraries that use the crate `log`. The field with this name has their own module.
const LOG: &str = "log";
const LOG_TARGET: &str = "log.target";

/// Whether a line may be logged.
pub(super) fn allows(event: &Event<'_>) -> bool {
    let (target, level) = (event.metadata().target(), *event.metadata().level());
    if target != LOG {
        return is_allowed(target, level);
    }
    let mut target = LogTarget::default();
    event.record(&mut target);
    is_allowed(&target.0, level)
}

/// Reads the module of a line of the crate `log`.
#[derive(Default)]
struct LogTarget(String);

impl Visit for LogTarget {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == LOG_TARGET {
            self.0 = value.to_owned();
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn fmt::Debug) {}
}

/// Whether a line of the module `target` may be logged at `level`.
fn is_allowed(target: &str, level: Level) -> bool {
    let library = target.split("::").next().unwrap_or_default();
    library == OWN || ALLOWED.iter().any(|(allowed, most)| library == *allowed && level <= *most)
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use tracing::Subscriber;
    use tracing_subscriber::{Layer, layer::Context, layer::SubscriberExt};

    use super::*;

    #[test]
    fn only_libraries_of_the_list_are_logged() {
        let cases = [
            ("stakeout", Level::TRACE, true),
            ("stakeout::alert::sinks", Level::TRACE, true),
            ("stakeout_other", Level::ERROR, false),
            ("ort::logging", Level::DEBUG, true),
            ("rustls::client::hs", Level::DEBUG, true),
            ("rustls::client::hs", Level::TRACE, false),
            ("ureq::run", Level::DEBUG, false),
            ("ureq_proto::client", Level::TRACE, false),
            ("rumqttc::v5::state", Level::ERROR, false),
            ("tungstenite::handshake::client", Level::TRACE, false),
            ("hyper::proto::h1::io", Level::TRACE, false),
            ("log", Level::ERROR, false),
            ("", Level::ERROR, false),
        ];
        for (target, level, expected) in cases {
            assert_eq!(is_allowed(target, level), expected, "{target} {level}");
        }
    }

    /// Counts the lines that are allowed.
    #[derive(Clone, Default)]
    struct Allowed(Arc<AtomicUsize>);

    impl<S: Subscriber> Layer<S> for Allowed {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            self.0.fetch_add(usize::from(allows(event)), Ordering::Relaxed);
        }
    }

    #[test]
    fn lines_of_the_crate_log_have_their_own_module_in_a_field() {
        let allowed = Allowed::default();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(allowed.clone()), || {
            tracing::trace!(target: "stakeout::mqtt", "allowed");
            tracing::error!(target: "hyper::proto", "not allowed");
            tracing::warn!(target: "log", { log.target = "ort::logging" }, "allowed");
            tracing::error!(target: "log", { log.target = "rumqttc::state" }, "not allowed");
            tracing::error!(target: "log", "not allowed");
        });
        assert_eq!(allowed.0.load(Ordering::Relaxed), 2);
    }
}
