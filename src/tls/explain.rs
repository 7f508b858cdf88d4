//! Explains the errors of TLS for people, with the remedy. Pure.

use std::{error::Error as StdError, io};

use jiff::Timestamp;
use rustls::{AlertDescription, CertificateError, Error, pki_types::UnixTime};

use super::{
    fingerprint::Fingerprint,
    verifier::{Cause, Rejected},
};

/// Explains the error of TLS within `error`, if there is one. `who` is the other side: `broker`, `camera`, `server`.
#[must_use]
pub fn explain(error: &(dyn StdError + 'static), who: &str) -> Option<String> {
    let mut error = Some(error);
    while let Some(cause) = error {
        if let Some(tls) = cause.downcast_ref::<Error>() {
            return Some(in_words(tls, who));
        }
        if let Some(io) = cause.downcast_ref::<io::Error>() {
            return explain_io(io, who);
        }
        error = cause.source();
    }
    None
}

/// Explains the error of TLS within an error of input and output, if there is one.
#[must_use]
pub fn explain_io(error: &io::Error, who: &str) -> Option<String> {
    let inner = error.get_ref();
    if let Some(inner) = inner {
        let inner: &(dyn StdError + 'static) = inner;
        if let Some(words) = explain(inner, who) {
            return Some(words);
        }
    }
    // The library's words for a connection that ends before TLS is established.
    let is_early = error.kind() == io::ErrorKind::UnexpectedEof
        && inner.is_some_and(|inner| inner.to_string().contains("handshake"));
    is_early.then(|| {
        format!(
            "the {who} closed the connection during the TLS handshake: check that this port is one for TLS, and what the {who} logs"
        )
    })
}

fn in_words(error: &Error, who: &str) -> String {
    match error {
        Error::InvalidCertificate(CertificateError::Other(other)) => {
            match other.0.downcast_ref::<Rejected>() {
                Some(rejected) => certificate(rejected, who),
                None => format!("the {who}'s certificate is rejected: {}", other.0),
            }
        }
        Error::InvalidCertificate(CertificateError::BadSignature) => {
            format!(
                "the {who} does not have the key of its certificate: someone may be intercepting the connection"
            )
        }
        Error::AlertReceived(alert) => alert_received(*alert, who),
        Error::InvalidMessage(_) => not_tls(who),
        Error::PeerIncompatible(_) => too_old(who),
        other => format!("TLS with the {who} fails: {other}"),
    }
}

fn not_tls(who: &str) -> String {
    format!("the {who} does not speak TLS at this port: check the scheme and the port of the address")
}

fn too_old(who: &str) -> String {
    format!(
        "the {who} supports no version of TLS that is safe: update it to one with TLS 1.2 or newer and ciphers with forward \
         secrecy (ECDHE), or use its address without TLS within your own network"
    )
}

/// What the other side has sent before it closed the connection.
fn alert_received(alert: AlertDescription, who: &str) -> String {
    match alert {
        AlertDescription::CertificateRequired => format!(
            "the {who} wants a certificate from us: set `certificate` and `key` below `tls` (only for brokers)"
        ),
        AlertDescription::UnknownCA
        | AlertDescription::BadCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateExpired
        | AlertDescription::CertificateRevoked
        | AlertDescription::AccessDenied => {
            format!("the {who} does not accept our certificate ({alert:?}): see `certificate` below `tls`")
        }
        AlertDescription::ProtocolVersion
        | AlertDescription::HandshakeFailure
        | AlertDescription::InsufficientSecurity => too_old(who),
        AlertDescription::UnrecognisedName => {
            format!("the {who} does not know the name in the address: use a name that it is configured for")
        }
        AlertDescription::NoApplicationProtocol => {
            format!("the {who} supports none of the offered protocols: see `alpn` below `tls`")
        }
        alert => format!("the {who} ended TLS: {alert:?}"),
    }
}

fn certificate(rejected: &Rejected, who: &str) -> String {
    let Rejected { presented, cause } = rejected;
    let pin = pin(*presented);
    match cause {
        Cause::NotPinned(expected) => format!(
            "the {who} presents another certificate than the pinned one: it has the fingerprint {presented}, and \
             `tls.fingerprint` is {expected}. If the {who} has a new certificate, write its fingerprint; if not, someone may be \
             intercepting the connection"
        ),
        Cause::ShortKey => format!(
            "the key of the {who}'s certificate has less than 2048 bits, which is not safe: give the {who} a new certificate, or \
             set `tls: {{ verify: false }}`"
        ),
        Cause::Invalid(error) => invalid(error, who, &pin),
        Cause::Other(error) => format!("the {who}'s certificate cannot be checked ({error}): {pin}"),
    }
}

fn invalid(error: &CertificateError, who: &str, pin: &str) -> String {
    use CertificateError as E;

    match error {
        E::UnknownIssuer | E::BadSignature => format!(
            "the {who}'s certificate is not signed by a trusted authority: {pin}, or name the PEM file of its authority with \
             `tls: {{ ca: FILE }}`"
        ),
        E::Expired => expired(None, who, pin),
        E::ExpiredContext { not_after, .. } => expired(Some(*not_after), who, pin),
        E::NotValidYet => not_yet(None, who, pin),
        E::NotValidYetContext { not_before, .. } => not_yet(Some(*not_before), who, pin),
        E::NotValidForName => {
            format!("the {who}'s certificate is for another name: use that name in the address, or {pin}")
        }
        E::NotValidForNameContext { expected, presented } => {
            let names: Vec<_> = presented.iter().map(|name| shown_name(name)).collect();
            let names = if names.is_empty() { "no name".to_owned() } else { names.join(", ") };
            format!(
                "the {who}'s certificate is for another name: it is valid for {names}, and not for {}. Use its name in the \
                 address, or {pin}",
                expected.to_str()
            )
        }
        E::Revoked => {
            format!("the {who}'s certificate is revoked by its authority: give the {who} a new one")
        }
        E::InvalidPurpose | E::InvalidPurposeContext { .. } => {
            format!("the {who}'s certificate is not meant for servers: {pin}")
        }
        // The checker's own errors have no types here: `CaUsedAsEndEntity`, `UnsupportedCertVersion` and the like.
        E::Other(other) if format!("{:?}", other.0).starts_with("CaUsedAsEndEntity") => {
            format!("the {who}'s certificate is home-made, and is that of an authority (CA): {pin}")
        }
        E::Other(other) if format!("{:?}", other.0).starts_with("UnsupportedCertVersion") => {
            format!("the {who}'s certificate is of an outdated kind (X.509 version 1): {pin}")
        }
        E::BadEncoding | E::UnhandledCriticalExtension => {
            format!("the {who}'s certificate is not made as the standard says: {pin}")
        }
        other => format!("the {who}'s certificate cannot be checked ({other:?}): {pin}"),
    }
}

/// The remedy for a certificate that is the right one.
fn pin(presented: Fingerprint) -> String {
    format!("if it is the right one, pin it with `tls: {{ fingerprint: {presented} }}`")
}

fn expired(when: Option<UnixTime>, who: &str, pin: &str) -> String {
    let when = when.map_or(String::new(), |when| format!(" since {}", day(when)));
    format!(
        "the {who}'s certificate is out of date{when}, or the clock of this machine is wrong: renew the certificate; {pin}"
    )
}

fn not_yet(when: Option<UnixTime>, who: &str, pin: &str) -> String {
    let when = when.map_or(String::new(), |when| format!(" before {}", day(when)));
    format!("the {who}'s certificate is not valid{when}: set the clocks of this machine and the {who}; {pin}")
}

fn day(time: UnixTime) -> String {
    let time = i64::try_from(time.as_secs()).ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
    time.map_or_else(|| "an unknown day".to_owned(), |time| time.strftime("%F").to_string())
}

/// A name of a certificate without the library's `DnsName("...")`.
fn shown_name(name: &str) -> String {
    name.split_once('"').and_then(|(_, rest)| rest.split_once('"')).map_or(name, |(name, _)| name).to_owned()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::{InvalidMessage, OtherError, PeerIncompatible, pki_types::ServerName};

    use super::*;

    fn rejected(cause: Cause) -> Error {
        let rejected = Rejected { presented: Fingerprint::of(b"x"), cause };
        Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(rejected))))
    }

    #[test]
    fn every_error_has_words_and_a_remedy() {
        use CertificateError as E;

        let at = |second| UnixTime::since_unix_epoch(std::time::Duration::from_secs(second));
        let name = E::NotValidForNameContext {
            expected: ServerName::try_from("10.0.0.9").unwrap(),
            presented: vec!["DnsName(\"cam.lan\")".to_owned()],
        };
        let expired = E::ExpiredContext { time: at(86_400 * 400), not_after: at(86_400 * 365) };
        let pin = "pin it with `tls: { fingerprint: 2D:71:16:42:";
        let cases: [(Error, &[&str]); 13] = [
            (
                rejected(Cause::Invalid(E::UnknownIssuer)),
                &["not signed by a trusted authority", pin, "ca: FILE"],
            ),
            (rejected(Cause::Invalid(expired)), &["out of date since 1971-01-01", "clock", pin]),
            (rejected(Cause::Invalid(E::NotValidYet)), &["not valid", "clocks", pin]),
            (rejected(Cause::Invalid(name)), &["valid for cam.lan, and not for 10.0.0.9", pin]),
            (rejected(Cause::Invalid(E::Revoked)), &["revoked"]),
            (rejected(Cause::Invalid(E::BadEncoding)), &["not made as the standard says", pin]),
            (
                rejected(Cause::NotPinned(Fingerprint::of(b"y"))),
                &["another certificate than the pinned one", "2D:71"],
            ),
            (rejected(Cause::ShortKey), &["less than 2048 bits", "verify: false"]),
            (Error::InvalidMessage(InvalidMessage::InvalidContentType), &["does not speak TLS at this port"]),
            (Error::PeerIncompatible(PeerIncompatible::Tls12NotOffered), &["TLS 1.2 or newer"]),
            (Error::AlertReceived(AlertDescription::HandshakeFailure), &["TLS 1.2 or newer"]),
            (Error::AlertReceived(AlertDescription::CertificateRequired), &["wants a certificate from us"]),
            (Error::AlertReceived(AlertDescription::UnknownCA), &["does not accept our certificate"]),
        ];
        for (error, expected) in cases {
            let wrapped = io::Error::new(io::ErrorKind::InvalidData, error.clone());
            for words in
                [explain(&error, "camera"), explain(&wrapped, "camera"), explain_io(&wrapped, "camera")]
            {
                let words = words.unwrap();
                assert!(expected.iter().all(|part| words.contains(part)), "{words}");
                assert!(words.starts_with("the camera") || words.starts_with("the key"), "{words}");
            }
        }
        let early = io::Error::new(io::ErrorKind::UnexpectedEof, "tls handshake eof");
        assert!(explain_io(&early, "camera").unwrap().contains("during the TLS handshake"));
        assert_eq!(explain_io(&io::Error::from(io::ErrorKind::ConnectionReset), "camera"), None);
        assert_eq!(explain(&io::Error::other("no route"), "camera"), None);
    }
}
