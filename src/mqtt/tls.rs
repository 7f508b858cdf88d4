//! Sets up TLS: the trusted certificates, and the client's certificate.
//!
//! A file that cannot be used is an error: nothing is ever sent in plain text instead.

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

use crate::config::{Mqtt, TlsFiles};

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system has no certificates to check the broker's against.
    #[error(
        "TLS needs the system's root certificates and there are none{0}: \
         install them (Debian: ca-certificates), or name the PEM file of your own in mqtt.tls.ca"
    )]
    NoRoots(String),
    /// A configured file does not hold what it should.
    #[error("mqtt.tls.{key}: {} holds no PEM {what} that can be read: {source}", path.display())]
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
    /// The certificate and the key do not match.
    #[error("mqtt.tls.certificate and mqtt.tls.key cannot be used together: {0}")]
    Identity(rustls::Error),
    /// The TLS library rejects the defaults.
    #[error("TLS cannot be set up")]
    Tls(#[from] rustls::Error),
}

/// The TLS configuration for `broker`.
pub(super) fn config(broker: &Mqtt) -> Result<ClientConfig, Error> {
    let TlsFiles { ca, identity, alpn } = &broker.connection.tls;
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(match ca {
            Some(ca) => own_roots(ca)?,
            None => system_roots()?,
        });
    let mut config = match identity {
        Some((certificate, key)) => {
            let chain = certificates(certificate, "certificate")?;
            let key = PrivateKeyDer::from_pem_file(key).map_err(|source| Error::File {
                key: "key",
                path: key.clone(),
                what: "key",
                source,
            })?;
            builder.with_client_auth_cert(chain, key).map_err(Error::Identity)?
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    Ok(config)
}

fn own_roots(ca: &Path) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(ca, "ca")? {
        roots.add(certificate)?;
    }
    Ok(roots)
}

fn system_roots() -> Result<RootCertStore, Error> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let why = found.errors.first().map_or(String::new(), |error| format!(" ({error})"));
        return Err(Error::NoRoots(why));
    }
    Ok(roots)
}

/// At least one certificate.
fn certificates(path: &Path, key: &'static str) -> Result<Vec<CertificateDer<'static>>, Error> {
    let wrong = |source| Error::File { key, path: path.to_owned(), what: "certificate", source };
    let found =
        CertificateDer::pem_file_iter(path).map_err(wrong)?.collect::<Result<Vec<_>, _>>().map_err(wrong)?;
    if found.is_empty() { Err(wrong(pem::Error::NoItemsFound)) } else { Ok(found) }
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
            let error = own_roots(path).unwrap_err().to_string();
            assert!(error.starts_with("mqtt.tls.ca: ") && error.contains(path.to_str().unwrap()), "{error}");
        }
    }
}
