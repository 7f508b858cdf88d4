//! Turns the policy of the user into the settings of rustls.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject as _},
    },
};

use super::{fingerprint::Fingerprint, verifier::Verifier};
use crate::{
    shortage::Shortage,
    text_file::{self, TextFileError},
};

/// How the certificate of a server is checked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Trust {
    /// It is signed by an authority that this system trusts.
    #[default]
    System,
    /// It is signed by an authority in this PEM file, or is in the file itself.
    Ca(PathBuf),
    /// It has this fingerprint. Nothing else about it matters: neither its name, its dates nor its issuer.
    Pinned(Fingerprint),
    /// It is not checked.
    Unverified,
}

/// The certificate of a client and its key: two PEM files.
pub type Identity<'a> = (&'a Path, &'a Path);

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system has no certificates to check a server's against.
    #[error(
        "TLS needs the system's root certificates and there are none{0}: \
         install them (Debian: ca-certificates), or name the PEM file of your own in `tls: {{ ca: FILE }}`"
    )]
    NoRoots(String),
    /// A file cannot be opened for now, which says nothing about it.
    #[error("the files for TLS cannot be read: {shortage}. {}", .shortage.remedy())]
    NotNow {
        /// What is used up.
        shortage: Shortage,
    },
    /// A configured file does not hold what it should.
    #[error("`{key}` of `tls`: {} holds no PEM {what} that can be read: {source}", path.display())]
    File {
        /// The configuration key.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
        /// The error in the file.
        source: pem::Error,
    },
    /// The client's certificate and key do not match.
    #[error("`certificate` and `key` of `tls` cannot be used together: {0}")]
    Identity(rustls::Error),
    /// The certificate of the HTTP endpoint and its key do not match.
    #[error(
        "`cert` and `key` of `listen.tls` do not belong together, or are of a kind that cannot be used: {0}"
    )]
    Server(rustls::Error),
    /// The TLS library rejects the settings.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
}

impl Error {
    pub(super) fn of_file(key: &'static str, path: &Path, what: &'static str, source: pem::Error) -> Self {
        let shortage = if let pem::Error::Io(error) = &source { Shortage::of_io(error) } else { None };
        match shortage {
            Some(shortage) => Self::NotNow { shortage },
            None => Self::File { key, path: path.to_owned(), what, source },
        }
    }
}

/// The settings of rustls for a client that checks servers by `trust`. `alpn` are the protocols that it offers.
///
/// # Errors
/// A file cannot be used, or the system has no root certificates.
pub fn client_config(
    trust: &Trust,
    identity: Option<Identity<'_>>,
    alpn: &[String],
) -> Result<ClientConfig, Error> {
    let provider = Arc::new(ring::default_provider());
    let verifier = match trust {
        Trust::System => Verifier::authorities(system_roots()?, Vec::new(), &provider),
        Trust::Ca(file) => {
            let found = certificates(file, "ca")?;
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(found.iter().cloned());
            Verifier::authorities(roots, found, &provider)
        }
        Trust::Pinned(fingerprint) => Verifier::pinned(*fingerprint, &provider),
        Trust::Unverified => Verifier::nothing(&provider),
    };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match identity {
        Some((certificate, key)) => {
            let chain = certificates(certificate, "certificate")?;
            let wrong = |source| Error::of_file("key", key, "key", source);
            let key = pem(key).and_then(|pem| PrivateKeyDer::from_pem_slice(&pem)).map_err(wrong)?;
            builder.with_client_auth_cert(chain, key).map_err(Error::Identity)?
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    Ok(config)
}

fn system_roots() -> Result<RootCertStore, Error> {
    let found = rustls_native_certs::load_native_certs();
    // A part of the authorities would make certificates of others look wrong.
    let shortage = found.errors.iter().find_map(|error| Shortage::of(error));
    if let Some(shortage) = shortage.or_else(|| if found.certs.is_empty() { Shortage::now() } else { None }) {
        return Err(Error::NotNow { shortage });
    }
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let why = found.errors.first().map_or(String::new(), |error| format!(" ({error})"));
        return Err(Error::NoRoots(why));
    }
    Ok(roots)
}

/// At least one certificate.
pub(super) fn certificates(path: &Path, key: &'static str) -> Result<Vec<CertificateDer<'static>>, Error> {
    let wrong = |source| Error::of_file(key, path, "certificate", source);
    let pem = pem(path).map_err(wrong)?;
    let found = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>().map_err(wrong)?;
    if found.is_empty() { Err(wrong(pem::Error::NoItemsFound)) } else { Ok(found) }
}

/// The content of a PEM file.
pub(super) fn pem(path: &Path) -> Result<Vec<u8>, pem::Error> {
    const LONGEST: u64 = 4 * 1024 * 1024;
    text_file::read_ascii(path, LONGEST).map_err(|error| match error {
        TextFileError::Io(error) => pem::Error::Io(error),
        other => pem::Error::Io(std::io::Error::other(format!("the file {other}"))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_a_certificate_is_named_with_its_key() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.pem");
        std::fs::write(&file, "no certificate").unwrap();
        for path in [&file, &folder.path().join("none.pem")] {
            let error = client_config(&Trust::Ca(path.clone()), None, &[]).unwrap_err().to_string();
            assert!(
                error.starts_with("`ca` of `tls`: ") && error.contains(path.to_str().unwrap()),
                "{error}"
            );
        }
    }
}
