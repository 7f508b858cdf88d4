//! The findings about the model servers.

use super::{certificates, finding::Finding};
use crate::config::{Config, ServerAddress};

/// What to do if the cause of a failure does not say it.
const REMEDY: &str =
    "check that the server runs, and that `server` of `model` is the address of its gRPC port";

/// A finding for each server of a configuration. `results` are those of the servers, in the same order.
pub(super) fn findings(config: &Config, results: Vec<Result<(), String>>) -> Vec<Finding> {
    let Some(settings) = &config.model_server else { return Vec::new() };
    let certificate = |server: &ServerAddress| {
        certificates::of(server.tls.then_some((&*server.host, server.port, &settings.tls)))
    };
    let another_works = results.iter().any(Result::is_ok);
    let servers = settings.servers.iter().zip(results);
    servers
        .map(|(server, result)| {
            finding(&server.to_string(), &settings.name, result, another_works, || certificate(server))
        })
        .collect()
}

/// A server that cannot be used is no failure while another one can.
fn finding(
    server: &str,
    model: &str,
    result: Result<(), String>,
    another_works: bool,
    certificate: impl FnOnce() -> String,
) -> Finding {
    let what = format!("model server {server}");
    match result {
        Ok(()) => Finding::ok(what, format!("its model {model} scores pictures{}", certificate())),
        Err(why) => {
            let failed = Finding::of_error(what, &why, REMEDY);
            match another_works {
                true => failed.into_note(),
                false => failed,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::finding::State, *};

    #[test]
    fn a_server_that_is_away_is_a_failure_if_no_other_one_works() {
        let of = |result: Result<(), &str>, another_works| {
            let result = result.map_err(str::to_owned);
            finding("grpc://a:1", "clip", result, another_works, || "; certificate".to_owned())
        };
        let works = of(Ok(()), true);
        assert_eq!(
            (works.state, &*works.message),
            (State::Ok, "its model clip scores pictures; certificate")
        );
        for (another_works, expected) in [(true, State::Note), (false, State::Failed)] {
            let away = of(Err("Connection refused"), another_works);
            assert_eq!(away.state, expected);
            assert!(away.what == "model server grpc://a:1" && away.remedy.is_some(), "{away:?}");
        }
    }
}
