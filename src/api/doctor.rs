//! `doctor`: runs the checks of `stakeout doctor` for the configuration in force. One run at a time.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::OwnedMutexGuard;

use super::{
    checks::{Check, Checked},
    error::{Error, Kind},
    service::Service,
    time::Time,
    verb::{Answer, Method, Verb},
};
use crate::blocking;

/// The verb. It connects to the broker and to cameras, so its client needs the right to change.
pub const VERB: Verb<Request, Response> = Verb {
    name: "doctor",
    method: Method::Post,
    summary: "Checks everything that can be wrong around the service, and says what to do.",
    answer: Answer::Live(|service, _| Box::pin(async move { answer(&service).await })),
};

/// A result that is older than this is not used again.
const FRESH: Duration = Duration::from_secs(60);

/// There is nothing to say.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Request {}

/// The result of the checks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Response {
    /// When they had ended.
    pub at: Time,
    /// Every check, in the order of `stakeout doctor`.
    pub checks: Vec<Check>,
}

async fn answer(service: &Service) -> Result<Response, Error> {
    let checked = Arc::clone(&service.checked).try_lock_owned().map_err(|_| {
        Error::new(Kind::Conflict, "the checks are running already")
            .remedy("Wait until they have ended: that takes less than a minute.")
    })?;
    run(service, checked).await
}

/// The result of the newest run, if it is fresh; else of a new one. Waits while the checks run for someone else.
///
/// # Errors
/// The service is starting, or the checks failed.
pub(super) async fn newest(service: &Service) -> Result<Response, Error> {
    let checked = Arc::clone(&service.checked).lock_owned().await;
    if let Some((at, checks)) = checked.as_ref().filter(|(at, _)| is_fresh(*at, Timestamp::now())) {
        return Ok(Response { at: Time(*at), checks: checks.clone() });
    }
    run(service, checked).await
}

/// Runs the checks. They go on when the client leaves, and keep `checked` locked.
async fn run(service: &Service, mut checked: OwnedMutexGuard<Checked>) -> Result<Response, Error> {
    let config = service.live()?.newest.config();
    let tools = service.tools().cloned();
    let tools = tools.ok_or_else(|| Error::new(Kind::Unavailable, "this service has no checks"))?;
    let work = move || {
        let checks = (tools.checks)(&config);
        let at = Timestamp::now();
        *checked = Some((at, checks.clone()));
        Response { at: Time(at), checks }
    };
    blocking::run(work)
        .await
        .map_err(|_| Error::new(Kind::Failed, "the checks failed").remedy("The log of the service says why."))
}

fn is_fresh(at: Timestamp, now: Timestamp) -> bool {
    // The clock may have been set back.
    at <= now && now.duration_since(at).unsigned_abs() < FRESH
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::service::tests::starting;

    #[test]
    fn only_a_recent_result_is_fresh() {
        let at = |second: i64| Timestamp::from_second(1_800_000_000 + second).unwrap();
        for (now, fresh) in [(0, true), (59, true), (60, false), (-1, false)] {
            assert_eq!(is_fresh(at(0), at(now)), fresh, "{now}");
        }
    }

    #[tokio::test]
    async fn one_run_at_a_time_and_none_without_a_configuration() {
        let folder = tempfile::tempdir().unwrap();
        let service = starting(folder.path());
        assert_eq!(answer(&service).await.unwrap_err().kind, Kind::Unavailable, "it is starting");
        let _running = Arc::clone(&service.checked).lock_owned().await;
        assert_eq!(answer(&service).await.unwrap_err().kind, Kind::Conflict);
    }

    #[tokio::test]
    async fn a_fresh_result_is_used_again() {
        let folder = tempfile::tempdir().unwrap();
        let service = starting(folder.path());
        let now = Timestamp::now();
        *service.checked.lock().await = Some((now, vec![]));
        assert_eq!(newest(&service).await, Ok(Response { at: Time(now), checks: vec![] }));
    }
}
