//! Checks whether each source would deliver frames.

use std::thread;

use super::{certificates, finding::Finding};
use crate::{
    config::{Config, Source},
    sandbox::Sandbox,
    source::{self, Access, GENERAL_REMEDIES, Outcome, Probe, Surroundings},
};

/// The number of sources that are checked at the same time.
const AT_ONCE: usize = 8;

/// One finding for each source, in their order.
pub(super) fn findings(config: &Config, access: &Access, sandbox: &Sandbox) -> Vec<Finding> {
    let mut findings = Vec::new();
    for sources in config.sources.chunks(AT_ONCE) {
        thread::scope(|scope| {
            let check = |source| scope.spawn(move || finding(config, source, access, sandbox));
            let checks: Vec<_> = sources.iter().map(|source| (source, check(source))).collect();
            findings.extend(checks.into_iter().map(|(source, check)| {
                check.join().unwrap_or_else(|_| {
                    let remedy = "please report it, with the lines above";
                    Finding::failed(what(source), "a bug in the program", remedy)
                })
            }));
        });
    }
    findings
}

/// The finding about `source` of `config`. May block for some seconds.
pub(super) fn finding(config: &Config, source: &Source, access: &Access, sandbox: &Sandbox) -> Finding {
    let surroundings = Surroundings { limits: config.limits(), sandbox, broker: &config.mqtt, access };
    let probe = source::probe(&source.kind, &surroundings);
    // A failure says itself what to do, also about a certificate.
    let server = source.kind.settings().tls().filter(|_| probe.outcome != Outcome::Failed);
    let server = server.as_ref().map(|(host, port, trust)| (&**host, *port, *trust));
    let Probe { outcome, message, remedy } = probe;
    let message = message + &certificates::of(server);
    match outcome {
        Outcome::Good => Finding::ok(what(source), message),
        Outcome::Note => Finding::note(what(source), message, remedy),
        // A probe that knows the cause has a remedy of its own.
        Outcome::Failed if GENERAL_REMEDIES.contains(&&*remedy) => {
            Finding::of_error(what(source), &message, &remedy)
        }
        Outcome::Failed => Finding::failed(what(source), message, remedy),
    }
}

fn what(source: &Source) -> String {
    format!("source {}", source.name)
}
