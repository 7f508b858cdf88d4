//! The settings of an `http` source.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::{
    policy::tls,
    source::kinds::{
        camera::{self, AT_LEAST_EVERY, DAY, Decode, REDIRECTS, Redirects, UNCHANGED, Unchanged},
        settings::{KindKey, Settings},
    },
    tls::Trust,
    yaml::{
        Address,
        fields::{Field, Form, explain, specs},
        reader::{Reader, Section, Setting},
        value::duration_text,
    },
};

/// An `http` source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Http {
    /// The address of the picture.
    pub address: Address,
    /// The interval of requests.
    pub every: Duration,
    /// The longest that one request may take.
    pub timeout: Duration,
    /// Which redirects are followed.
    pub redirects: Redirects,
    /// How the certificate of the camera is checked.
    pub tls: Trust,
    /// What happens to a picture that looks like the last scored one. A picture with the same bytes is never scored again.
    pub unchanged: Unchanged,
}

impl Http {
    /// A camera that is tried before it is configured.
    #[must_use]
    pub fn tried(address: Address) -> Self {
        Self {
            address,
            every: Duration::from_secs(1),
            timeout: Duration::from_secs(10),
            redirects: Redirects::SameHost,
            tls: Trust::System,
            unchanged: Unchanged::Score,
        }
    }
}

/// The keys of an http source.
pub(crate) const FIELDS: &[Field<Http>] = &[
    Field::new("http", Form::Text, "The http:// or https:// address of a picture.", |it: &Http| {
        Some(json!(it.address.to_string()))
    })
    .example("http://10.0.0.9/snapshot.jpg"),
    Field::new(
        "every",
        Form::Duration(Duration::from_millis(50), DAY),
        "The interval of requests. A picture with the same bytes as the last one always repeats its scores.",
        |it: &Http| Some(json!(duration_text(it.every))),
    )
    .default("1s"),
    Field::new(
        "timeout",
        Form::Duration(Duration::from_millis(100), Duration::from_secs(300)),
        "The longest that one request may take.",
        |it: &Http| Some(json!(duration_text(it.timeout))),
    )
    .default("10s"),
    Field::new(
        "unchanged",
        UNCHANGED,
        "repeat: a picture that looks like the last scored one repeats its scores. score: every picture is scored.",
        |it: &Http| it.unchanged.shown(),
    )
    .default("repeat"),
    Field::new("at_least_every", AT_LEAST_EVERY, "With `unchanged: repeat`, a picture is scored at least this often.", |it: &Http| {
        it.unchanged.interval_shown()
    })
    .default("30s"),
    Field::new("username", Form::Text, camera::USERNAME, |it: &Http| it.address.login().map(|(user, _)| json!(user)))
        .example("viewer"),
    Field::new("password", Form::Text, camera::PASSWORD, |it: &Http| it.address.login().map(|_| json!("set")))
        .example("${env:CAM_PASSWORD}"),
    Field::new("redirects", REDIRECTS, camera::REDIRECTS_DOC, |it: &Http| it.redirects.shown()).default("same_host"),
    Field::new("tls", Form::Mapping(&tls::SOURCE), tls::DOC, |it: &Http| {
        it.address.is_tls().then(|| tls::shown(&it.tls).into())
    }),
];

/// The key that names this kind.
pub(crate) const KEYS: &[KindKey] = &[KindKey { key: "http", fields: || specs(FIELDS), foreign: |_| None }];

impl Settings for Http {
    fn key(&self) -> &'static str {
        "http"
    }

    fn explain(&self) -> Map<String, Value> {
        explain(FIELDS, self)
    }

    fn tcp_address(&self) -> Option<(String, u16)> {
        self.address.door()
    }

    fn tls(&self) -> Option<(String, u16, &Trust)> {
        let (host, port) = self.address.door().filter(|_| self.address.is_tls())?;
        Some((host, port, &self.tls))
    }

    fn sends_readable_secret_to(&self) -> Option<String> {
        self.address.sends_a_readable_secret().then(|| self.address.to_string())
    }

    fn secrets(&self) -> Vec<&str> {
        self.address.login().map(|(_, password)| password).into_iter().collect()
    }

    fn unchanged(&self) -> Unchanged {
        self.unchanged
    }

    fn sampling(&self) -> (Duration, Decode) {
        (self.every, Decode::Auto)
    }
}

pub(crate) fn read(reader: &mut Reader<'_>, at: &Setting<'_>, section: &Section<'_>) -> Option<Http> {
    let address = camera::address(reader, at, section, &["http", "https"]);
    let every = section.read(reader, "every", Reader::duration);
    let timeout = section.read(reader, "timeout", Reader::duration);
    let redirects = section.read(reader, "redirects", camera::redirects);
    let is_tls = address.as_ref().map(Address::is_tls);
    let tls = tls::read(reader, section, &tls::SOURCE, is_tls, "https");
    let unchanged = camera::unchanged(reader, section, true);
    Some(Http {
        address: address?,
        every: every?,
        timeout: timeout?,
        redirects: redirects?,
        tls: tls?,
        unchanged: unchanged?,
    })
}
