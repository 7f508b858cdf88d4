//! Makes a link with which a browser signs in once. Only who may use the unix socket can: `stakeout console`.

use std::sync::Arc;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    role::Role,
    service::Service,
    time::Time,
    verb::{Answer, Method, Pending, Verb},
};

/// The verb that makes a code.
pub const VERB: Verb<Request, Response> = Verb {
    name: "sign-in",
    method: Method::Post,
    summary: "Makes a code with which a browser signs in once.",
    answer: Answer::Owner(answer),
};

/// The verb that ends every session.
pub const SIGN_OUT_ALL: Verb<SignOutAll, SignedOut> = Verb {
    name: "sign-out-all",
    method: Method::Post,
    summary: "Ends the sessions of all browsers.",
    answer: Answer::Owner(sign_out_all),
};

/// What the browser is to be allowed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// What the browser may do.
    #[serde(default)]
    pub role: Role,
}

/// A code, and where the console is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Response {
    /// The code. The link is the address of the console with `#sign-in=CODE`.
    pub code: String,
    /// What the browser may do.
    pub role: Role,
    /// The code is valid until then.
    pub until: Time,
    /// Where the service listens; absent if it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listens: Option<Listens>,
}

/// Where a service listens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Listens {
    /// Its address and port.
    pub address: String,
    /// Whether it speaks TLS there.
    pub tls: bool,
    /// The address that people use instead, `listen.base_url`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_url: Option<String>,
}

/// The request to end every session. It has no fields.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SignOutAll {}

/// What was ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SignedOut {
    /// How many sessions.
    pub sessions: u64,
}

fn answer(service: Arc<Service>, request: Request) -> Pending<Response> {
    Box::pin(async move {
        let (code, lasts) = service.access.code(request.role)?;
        let until = Timestamp::now().checked_add(lasts).unwrap_or(Timestamp::MAX);
        let listens = service.access.place().map(|place| Listens {
            address: place.address.to_string(),
            tls: place.is_tls,
            base_url: place.base_url,
        });
        Ok(Response { code, role: request.role, until: Time(until), listens })
    })
}

fn sign_out_all(service: Arc<Service>, SignOutAll {}: SignOutAll) -> Pending<SignedOut> {
    Box::pin(async move {
        let access = Arc::clone(&service);
        let ended = service.blocking(move || Ok(access.access.sign_out_all())).await?;
        tracing::info!(sessions = ended, "all browsers were signed out");
        Ok(SignedOut { sessions: u64::try_from(ended).unwrap_or(u64::MAX) })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        api::{access::Proof, service::tests::starting},
        config::Secret,
    };

    #[tokio::test]
    async fn a_code_signs_in_and_everyone_can_be_signed_out() {
        let folder = tempfile::tempdir().unwrap();
        let service = starting(folder.path());
        let request = Request { role: Role::View };
        let Response { code, role, until, listens } = answer(Arc::clone(&service), request).await.unwrap();
        assert_eq!((role, listens), (Role::View, None));
        assert!(until.0 > Timestamp::now());
        let signed_in = service.access.sign_in(&Proof::Code(Secret::new(code)), None).unwrap();
        assert!(service.access.session(signed_in.cookie.reveal()).is_some());
        let ended = sign_out_all(Arc::clone(&service), SignOutAll {}).await.unwrap();
        assert_eq!(ended.sessions, 1);
        assert!(service.access.session(signed_in.cookie.reveal()).is_none());
    }
}
