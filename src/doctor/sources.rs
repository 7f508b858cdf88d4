//! Checks whether each source would deliver frames.

use std::thread;

use super::{certificates, finding::Finding};
use crate::{
    config::{self, Config},
    sandbox::Sandbox,
    source::{self, Access, GENERAL_REMEDIES, Outcome, Probe, Surroundings},
};

/// The number of sources that are checked at the same time.
const AT_ONCE: usize = 8;

/// One finding for each source, in their order.
pub(super) fn findings(config: &Config, access: &Access, sandbox: &Sandbox) -> Vec<Finding> {
    let surroundings = Surroundings { limits: config.limits(), sandbox, broker: &config.mqtt, access };
    let mut findings = Vec::new();
    for sources in config.sources.chunks(AT_ONCE) {
        thread::scope(|scope| {
            let probe = |source: &config::Source| {
                let probe = source::probe(&source.kind, &surroundings);
                // A failure says itself what to do, also about a certificate.
                let server = source.kind.settings().tls().filter(|_| probe.outcome != Outcome::Failed);
                let server = server.as_ref().map(|(host, port, trust)| (&**host, *port, *trust));
                let message = probe.message.clone() + &certificates::of(server);
                Probe { message, ..probe }
            };
            let probes: Vec<_> = sources.iter().map(|source| scope.spawn(move || probe(source))).collect();
            findings.extend(probes.into_iter().zip(sources).map(|(probe, source)| {
                let what = format!("source {}", source.name);
                match probe.join() {
                    Ok(Probe { outcome: Outcome::Good, message, .. }) => Finding::ok(what, message),
                    Ok(Probe { outcome: Outcome::Note, message, remedy }) => {
                        Finding::note(what, message, remedy)
                    }
                    Ok(Probe { outcome: Outcome::Failed, message, remedy }) => {
                        // A probe that knows the cause has a remedy of its own.
                        if GENERAL_REMEDIES.contains(&&*remedy) {
                            Finding::of_error(what, &message, &remedy)
                        } else {
                            Finding::failed(what, message, remedy)
                        }
                    }
                    Err(_) => Finding::failed(
                        what,
                        "a bug in the program",
                        "please report it, with the lines above",
                    ),
                }
            }));
        });
    }
    findings
}
