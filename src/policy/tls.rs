//! The section `tls` of everything that connects with TLS: how the certificate of the server is checked.

use serde_json::{Map, Value, json};

use crate::{
    tls::{Fingerprint, Trust},
    yaml::{
        fields::{Field, Form, Table, explain, specs},
        reader::{Reader, Section, Setting},
    },
};

/// The meaning of the section.
pub(crate) const DOC: &str = "How the certificate of the server is checked: one of these keys. Without it, an authority that the \
                              system trusts must have signed the certificate.";
pub(crate) const CA: &str = "A PEM file with the only certificate authorities to trust, or with the certificate of the server itself.";
pub(crate) const CA_DEFAULT: &str = "the system's certificate authorities";
pub(crate) const CA_EXAMPLE: &str = "/etc/stakeout/ca.pem";
pub(crate) const FINGERPRINT: &str = "The SHA-256 fingerprint of the only certificate to accept, also a home-made or outdated one. \
                                      `stakeout doctor` prints it.";
pub(crate) const FINGERPRINT_FORM: Form = Form::like("a SHA-256 fingerprint");
pub(crate) const FINGERPRINT_EXAMPLE: &str =
    "2D:71:16:42:B7:26:B0:44:01:62:7C:A9:FB:AC:32:F5:C8:53:0F:B1:90:3C:C4:DB:02:25:87:17:92:1A:48:81";
pub(crate) const VERIFY: &str =
    "false: every certificate is accepted, so that anyone on the network can pretend to be the server.";

const FIELDS: &[Field<Trust>] = &[
    Field::new("ca", Form::Path, CA, ca_shown).default_is(CA_DEFAULT).example(CA_EXAMPLE),
    Field::new("fingerprint", FINGERPRINT_FORM, FINGERPRINT, fingerprint_shown).example(FINGERPRINT_EXAMPLE),
    Field::new("verify", Form::Switch, VERIFY, verify_shown).default("true"),
];

/// The section of a source.
pub(crate) const SOURCE: Table = Table { title: "sources.NAME.tls", fields: || specs(FIELDS) };
/// The section of a model server.
pub(crate) const MODEL: Table = Table { title: "model.tls", fields: || specs(FIELDS) };
/// The section of the webhook.
pub(crate) const WEBHOOK: Table = Table { title: "webhook.tls", fields: || specs(FIELDS) };

/// `ca` for `check --explain`.
pub(crate) fn ca_shown(trust: &Trust) -> Option<Value> {
    Some(match trust {
        Trust::System => json!(CA_DEFAULT),
        Trust::Ca(file) => json!(file.display().to_string()),
        Trust::Pinned(_) | Trust::Unverified => Value::Null,
    })
}

/// `fingerprint` for `check --explain`.
pub(crate) fn fingerprint_shown(trust: &Trust) -> Option<Value> {
    Some(if let Trust::Pinned(fingerprint) = trust { json!(fingerprint.to_string()) } else { Value::Null })
}

/// `verify` for `check --explain`.
pub(crate) fn verify_shown(trust: &Trust) -> Option<Value> {
    Some(json!(*trust != Trust::Unverified))
}

/// The section for `check --explain`.
pub(crate) fn shown(trust: &Trust) -> Map<String, Value> {
    explain(FIELDS, trust)
}

/// Reads the key `tls` of a section whose address has TLS or not; `None`: the address is invalid. `with_tls` is the scheme to use.
pub(crate) fn read(
    reader: &mut Reader<'_>,
    section: &Section<'_>,
    table: &Table,
    is_tls: Option<bool>,
    with_tls: &str,
) -> Option<Trust> {
    // One that many sources have in common is for those with TLS.
    if is_tls == Some(false) && section.inherits("tls") {
        return Some(Trust::default());
    }
    let trust = section.optional(reader, "tls", |reader, at| {
        let section = reader.section(at, table)?;
        require_tls(reader, at, is_tls, &format!("`{with_tls}://`"));
        trust(reader, at, &section)
    });
    Some(trust?.unwrap_or_default())
}

/// Reports a section `tls` beside an address without TLS: a connection that was meant to be encrypted must not be made without it.
/// `None`: the address is invalid. `schemes` are those to use.
pub(crate) fn require_tls(reader: &mut Reader<'_>, at: &Setting<'_>, is_tls: Option<bool>, schemes: &str) {
    if is_tls == Some(false) {
        let remedy = format!("write {schemes} in the address, or remove `tls`");
        reader.problem(at.key, "there is `tls`, but the address is without TLS", remedy);
    }
}

/// Reads `ca`, `fingerprint` and `verify`. More than one of them is a mistake, except `verify: true`, which is the default.
pub(crate) fn trust(reader: &mut Reader<'_>, at: &Setting<'_>, section: &Section<'_>) -> Option<Trust> {
    let ca = section.optional(reader, "ca", Reader::path);
    let fingerprint = section
        .optional(reader, "fingerprint", |reader, at| reader.parsed(at, |text| text.parse::<Fingerprint>()));
    let verify = section.optional(reader, "verify", Reader::switch);
    match (ca?, fingerprint?, verify?) {
        (None, None, None | Some(true)) => Some(Trust::System),
        (Some(ca), None, None | Some(true)) => Some(Trust::Ca(ca)),
        (None, Some(fingerprint), None | Some(true)) => Some(Trust::Pinned(fingerprint)),
        (None, None, Some(false)) => Some(Trust::Unverified),
        (_, _, verify) => {
            let (message, remedy) = if verify == Some(false) {
                (
                    "`verify: false` excludes `ca` and `fingerprint`",
                    "remove it, or remove `ca` and `fingerprint`",
                )
            } else {
                (
                    "`ca` and `fingerprint` exclude each other",
                    "remove one of them: a pinned certificate needs no authority",
                )
            };
            reader.problem(at.key, message, remedy);
            None
        }
    }
}
