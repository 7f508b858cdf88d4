//! The newest picture of a source, small: what Live shows.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    error::{Error, Kind},
    query,
    service::{Service, known_source},
    verb::{self, PREFIX},
};
use crate::observe::SmallPicture;

/// The last part of the address.
pub const NAME: &str = "newest";

/// Which picture is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// The name of the source, as in the configuration.
    pub source: String,
}

/// The address of the newest picture of a source.
#[must_use]
pub fn address(source: &str) -> String {
    format!("{PREFIX}{NAME}?{}", query::write(&serde_json::json!({ "source": source })))
}

/// The picture of the newest frame of the source that the parameters of the address name. The answer waits until that picture is made,
/// for half a second if the one before was just made.
///
/// # Errors
/// There is no such source, it has had no frame yet, or the service is starting.
pub async fn read(service: &Service, parameters: &str) -> Result<Arc<SmallPicture>, Error> {
    let request: Request = verb::parse(query::parse(&query::schema::<Request>(), parameters)?)?;
    let newest = &service.live()?.newest;
    let source = known_source(&newest.config(), "source", &request.source)?;
    newest.pictures.of(&source).await.ok_or_else(|| {
        Error::new(Kind::NotFound, format!("the source `{source}` has delivered no frame since the start"))
            .at("source")
            .remedy("Wait for its next picture.")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::service::tests::starting;

    #[tokio::test]
    async fn addresses_are_parameters_of_the_source() {
        assert_eq!(address("Front Door & <b>"), "/api/v1/newest?source=Front+Door+%26+%3Cb%3E");
        let folder = tempfile::tempdir().unwrap();
        let service = starting(folder.path());
        for (parameters, kind) in [
            ("source=back", Kind::Unavailable),
            ("", Kind::BadRequest),
            ("source=back&size=7", Kind::BadRequest),
        ] {
            assert_eq!(read(&service, parameters).await.unwrap_err().kind, kind, "{parameters}");
        }
    }
}
