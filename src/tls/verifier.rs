//! Checks the certificate of a server by the policy of the user, and keeps its fingerprint for the explanation of a failure.

use std::{error, fmt, sync::Arc};

use rustls::{
    CertificateError, DigitallySignedStruct, Error, OtherError, PeerMisbehaved, RootCertStore,
    SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, WebPkiSupportedAlgorithms},
    pki_types::{CertificateDer, ServerName, UnixTime},
};

use super::{
    certificate::{PublicKey, public_key},
    fingerprint::Fingerprint,
};

/// The shortest RSA key that the cryptographic library accepts, in bytes of its encoding.
const RSA_2048: usize = 256;

/// Checks servers.
#[derive(Debug)]
pub(super) struct Verifier {
    check: Check,
    algorithms: WebPkiSupportedAlgorithms,
}

#[derive(Debug)]
enum Check {
    /// By the authorities, or the certificate is one of `known`.
    Authorities { chains: Option<Arc<WebPkiServerVerifier>>, known: Vec<CertificateDer<'static>> },
    /// By the fingerprint.
    Pinned(Fingerprint),
    /// Not at all.
    Nothing,
}

/// A certificate that was rejected.
#[derive(Debug)]
pub(super) struct Rejected {
    /// The fingerprint of the certificate that the server presented.
    pub(super) presented: Fingerprint,
    /// Why it was rejected.
    pub(super) cause: Cause,
}

/// Why a certificate was rejected.
#[derive(Debug)]
pub(super) enum Cause {
    /// It is another certificate than the pinned one.
    NotPinned(Fingerprint),
    /// Its key is too short for the library.
    ShortKey,
    /// It is invalid.
    Invalid(CertificateError),
    /// Anything else.
    Other(Error),
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the certificate {} is rejected: {:?}", self.presented, self.cause)
    }
}

impl error::Error for Rejected {}

impl Verifier {
    /// Accepts certificates that `roots` have signed, and `known` ones.
    pub(super) fn authorities(
        roots: RootCertStore,
        known: Vec<CertificateDer<'static>>,
        provider: &Arc<CryptoProvider>,
    ) -> Self {
        let chains = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
        // Without any root there are no chains to check.
        let check = Check::Authorities { chains: chains.build().ok(), known };
        Self { check, algorithms: provider.signature_verification_algorithms }
    }

    /// Accepts one certificate.
    pub(super) fn pinned(fingerprint: Fingerprint, provider: &CryptoProvider) -> Self {
        Self { check: Check::Pinned(fingerprint), algorithms: provider.signature_verification_algorithms }
    }

    /// Accepts every certificate.
    pub(super) fn nothing(provider: &CryptoProvider) -> Self {
        Self { check: Check::Nothing, algorithms: provider.signature_verification_algorithms }
    }

    /// Whether the server proves that it has the key of the certificate.
    fn signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
        most_algorithms: usize,
    ) -> Result<HandshakeSignatureValid, Error> {
        if matches!(self.check, Check::Nothing) {
            return Ok(HandshakeSignatureValid::assertion());
        }
        let presented = Fingerprint::of(certificate);
        let key = public_key(certificate)
            .ok_or_else(|| rejected(presented, Cause::Invalid(CertificateError::BadEncoding)))?;
        let algorithms = self.algorithms.mapping.iter().filter(|(scheme, _)| *scheme == signed.scheme);
        let mut algorithms = algorithms.flat_map(|(_, algorithms)| algorithms.iter().take(most_algorithms));
        let is_valid = algorithms.any(|algorithm| {
            algorithm.public_key_alg_id().as_ref() == key.algorithm
                && algorithm.verify_signature(key.bits, message, signed.signature()).is_ok()
        });
        match is_valid {
            true => Ok(HandshakeSignatureValid::assertion()),
            false if is_short(&key, signed.scheme) => Err(rejected(presented, Cause::ShortKey)),
            false => Err(Error::InvalidCertificate(CertificateError::BadSignature)),
        }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let presented = Fingerprint::of(certificate);
        let cause = match &self.check {
            Check::Nothing => None,
            Check::Pinned(expected) => (presented != *expected).then_some(Cause::NotPinned(*expected)),
            Check::Authorities { known, .. } if known.iter().any(|known| known == certificate) => None,
            Check::Authorities { chains: Some(chains), .. } => {
                match chains.verify_server_cert(certificate, intermediates, name, ocsp, now) {
                    Ok(_) => None,
                    Err(Error::InvalidCertificate(error)) => Some(Cause::Invalid(error)),
                    Err(other) => Some(Cause::Other(other)),
                }
            }
            Check::Authorities { chains: None, .. } => Some(Cause::Invalid(CertificateError::UnknownIssuer)),
        };
        cause.map_or(Ok(ServerCertVerified::assertion()), |cause| Err(rejected(presented, cause)))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        // A scheme of TLS 1.2 does not name the curve: every algorithm for it is tried.
        self.signature(message, certificate, signed, usize::MAX)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        if is_of_tls12(signed.scheme) {
            return Err(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into());
        }
        self.signature(message, certificate, signed, 1)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let mut schemes = self.algorithms.supported_schemes();
        if matches!(self.check, Check::Nothing) {
            schemes.extend([
                SignatureScheme::ECDSA_NISTP521_SHA512,
                SignatureScheme::ED448,
                SignatureScheme::RSA_PKCS1_SHA1,
                SignatureScheme::ECDSA_SHA1_Legacy,
            ]);
        }
        schemes
    }
}

/// Schemes that TLS 1.3 forbids in a handshake.
fn is_of_tls12(scheme: SignatureScheme) -> bool {
    use SignatureScheme::{
        ECDSA_SHA1_Legacy, RSA_PKCS1_SHA1, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512,
    };
    matches!(
        scheme,
        RSA_PKCS1_SHA1 | RSA_PKCS1_SHA256 | RSA_PKCS1_SHA384 | RSA_PKCS1_SHA512 | ECDSA_SHA1_Legacy
    )
}

fn is_short(key: &PublicKey<'_>, scheme: SignatureScheme) -> bool {
    let is_rsa = format!("{scheme:?}").starts_with("RSA");
    is_rsa && key.bits.len() < RSA_2048
}

fn rejected(presented: Fingerprint, cause: Cause) -> Error {
    let rejected = Arc::new(Rejected { presented, cause });
    Error::InvalidCertificate(CertificateError::Other(OtherError(rejected)))
}
