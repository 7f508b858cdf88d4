//! `config_versions`: earlier versions of the configuration file, which saves over the API have replaced; `config_version` is the text
//! of one.

use std::{io, sync::Arc};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    error::{Error, Kind},
    role::Role,
    service::Service,
    time::Time,
    verb::{Answer, Method, Verb},
};
use crate::config::versions;

/// The verb that lists them.
pub const LIST: Verb<ListRequest, List> = Verb {
    name: "config_versions",
    method: Method::Get,
    summary: "Earlier versions of the configuration file, the newest first.",
    answer: Answer::Live(|service, _| Box::pin(async move { list(&service).await })),
};

/// The verb that reads one.
pub const VERB: Verb<Request, Response> = Verb {
    name: "config_version",
    method: Method::Get,
    summary: "The text of an earlier version of the configuration file.",
    answer: Answer::ForRole(|service, role, request| {
        Box::pin(async move { answer(&service, role, request).await })
    }),
};

/// There is nothing to say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListRequest {}

/// The earlier versions. A save keeps the text that it replaces: up to 50 of them, and 5 MB.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct List {
    /// The versions, the newest first.
    pub versions: Vec<Version>,
}

/// An earlier version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Version {
    /// Its name.
    pub id: String,
    /// When it was replaced.
    pub replaced_at: Time,
    /// Its size in bytes.
    pub size: u64,
}

/// Which version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Its name.
    pub id: String,
}

/// The text of a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Response {
    /// Its name.
    pub id: String,
    /// Its text.
    pub text: String,
    /// Whether passwords in it are replaced by `***`.
    pub masked: bool,
}

async fn list(service: &Arc<Service>) -> Result<List, Error> {
    let versions = service.configuration()?.versions();
    let found = service.blocking(move || versions.list().map_err(|error| unreadable(&error))).await?;
    let version =
        |it: versions::Version| Version { id: it.id, replaced_at: Time(it.replaced_at), size: it.size };
    Ok(List { versions: found.into_iter().map(version).collect() })
}

/// Answers the request for one version.
///
/// # Errors
/// There is no such version, or it cannot be read.
pub async fn answer(service: &Arc<Service>, role: Role, request: Request) -> Result<Response, Error> {
    let configuration = service.configuration()?;
    let (versions, id) = (configuration.versions(), request.id.clone());
    let bytes = service.blocking(move || versions.read(&id).map_err(|error| unreadable(&error))).await?;
    let bytes = bytes.ok_or_else(|| {
        Error::new(Kind::NotFound, format!("there is no version `{}`", request.id))
            .at("id")
            .remedy("`config_versions` lists them; the oldest ones are deleted.")
    })?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    Ok(Response {
        id: request.id,
        text: configuration.shown(role, text),
        masked: !configuration.shows_secrets(role),
    })
}

fn unreadable(error: &io::Error) -> Error {
    Error::new(Kind::Failed, format!("the earlier versions cannot be read: {error}"))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::api::configuration::tests::{TEXT, service};

    #[tokio::test]
    async fn a_version_is_found_by_its_name_and_masked_for_those_who_may_not_edit() {
        let (_folder, service, _state) = service(true);
        assert_eq!(list(&service).await.unwrap().versions, []);
        service.configuration().unwrap().versions().keep(TEXT.as_bytes(), Timestamp::UNIX_EPOCH).unwrap();
        let versions = list(&service).await.unwrap().versions;
        let [version] = &versions[..] else { panic!("{versions:?}") };
        let request = || Request { id: version.id.clone() };
        let full = answer(&service, Role::Change, request()).await.unwrap();
        assert_eq!((&*full.text, full.masked), (TEXT, false));
        let masked = answer(&service, Role::View, request()).await.unwrap();
        assert!(masked.masked && !masked.text.contains("hunter2"));
        let other = answer(&service, Role::Change, Request { id: "../stakeout".to_owned() }).await;
        assert_eq!(other.unwrap_err().kind, Kind::NotFound);
    }
}
