//! TLS of the HTTP endpoint: the certificate that the service itself presents, read again when its files change.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{PrivateKeyDer, pem::PemObject as _},
};

use super::{
    certificate::ends,
    client::{Error, certificates, pem},
    fingerprint::Fingerprint,
};
use crate::descriptors::Identity;

/// How often the files are checked at most.
const EVERY: Duration = Duration::from_secs(1);

/// The certificate of the service and its key: two PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerFiles {
    /// The certificate, followed by those of the authorities between.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// What new connections are accepted with.
#[derive(Debug)]
pub struct Server {
    files: ServerFiles,
    loaded: Mutex<Loaded>,
}

#[derive(Debug)]
struct Loaded {
    config: Arc<ServerConfig>,
    /// The files that were read last, also if they could not be used.
    versions: Versions,
    checked: Instant,
}

/// Changes when one of the two files does.
type Versions = [Option<(Identity, u64, i64, i64)>; 2];

impl Server {
    /// Reads the files.
    ///
    /// # Errors
    /// They cannot be read, or do not belong together.
    pub fn load(files: ServerFiles) -> Result<Self, Error> {
        let versions = files.versions();
        let config = Arc::new(files.config()?);
        let loaded = Mutex::new(Loaded { config, versions, checked: Instant::now() });
        Ok(Self { files, loaded })
    }

    /// The settings for a new connection. Files that have changed are read again. While they cannot be used, the former certificate
    /// stays: programs that renew a certificate write one file after the other.
    pub fn config(&self) -> Arc<ServerConfig> {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if loaded.checked.elapsed() >= EVERY {
            loaded.checked = Instant::now();
            self.check(&mut loaded);
        }
        Arc::clone(&loaded.config)
    }

    fn check(&self, loaded: &mut Loaded) {
        let versions = self.files.versions();
        if versions == loaded.versions {
            return;
        }
        match self.files.config() {
            Ok(config) => {
                (loaded.config, loaded.versions) = (Arc::new(config), versions);
                let certificate = self.files.certificate.display();
                tracing::info!(%certificate, "the new certificate of `listen.tls` is in use");
            }
            // Nothing is known about the files: they are read again with the next connection.
            Err(error @ Error::NotNow { .. }) => {
                tracing::warn!(%error, "the former certificate stays in use")
            }
            Err(error) => {
                loaded.versions = versions;
                tracing::warn!(%error, "the new certificate of `listen.tls` cannot be used: the former one stays in use");
            }
        }
    }
}

impl ServerFiles {
    /// Whether the files can be used.
    ///
    /// # Errors
    /// They cannot be read, or do not belong together.
    pub fn check(&self) -> Result<(), Error> {
        self.config().map(drop)
    }

    /// The fingerprint of the certificate, so that a program of this machine knows that it reached this service.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn fingerprint(&self) -> Result<Fingerprint, Error> {
        let chain = certificates(&self.certificate, "cert")?;
        // The function returns at least one.
        Ok(Fingerprint::of(chain.first().map_or(&[][..], |certificate| certificate)))
    }

    /// When the certificate ends; `None` if that is unknown.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn ends(&self) -> Result<Option<Timestamp>, Error> {
        let chain = certificates(&self.certificate, "cert")?;
        Ok(chain.first().and_then(|certificate| ends(certificate)))
    }

    fn config(&self) -> Result<ServerConfig, Error> {
        let chain = certificates(&self.certificate, "cert")?;
        let wrong = |source| Error::of_file("key", &self.key, "key", source);
        let key = pem(&self.key).and_then(|pem| PrivateKeyDer::from_pem_slice(&pem)).map_err(wrong)?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(Error::Server)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }

    fn versions(&self) -> Versions {
        let version = |path: &Path| -> io::Result<_> {
            let metadata = fs::metadata(path)?;
            Ok((Identity::of(&metadata), metadata.len(), metadata.mtime(), metadata.mtime_nsec()))
        };
        [version(&self.certificate).ok(), version(&self.key).ok()]
    }
}

#[cfg(test)]
mod tests {
    use std::{
        process::Command,
        sync::atomic::{AtomicU64, Ordering},
        time::SystemTime,
    };

    use super::*;

    /// A home-made certificate and its key.
    fn home_made(name: &str) -> [String; 2] {
        let folder = tempfile::tempdir().unwrap();
        let mut openssl = Command::new("openssl");
        openssl.args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "2",
        ]);
        openssl.args(["-subj", &format!("/CN={name}"), "-keyout", "key.pem", "-out", "cert.pem"]);
        let output = openssl.current_dir(folder.path()).output().unwrap();
        assert!(
            output.status.success(),
            "the tests need openssl: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        ["cert.pem", "key.pem"].map(|name| fs::read_to_string(folder.path().join(name)).unwrap())
    }

    /// Writes both files, each time as if some time had passed.
    fn files(folder: &Path, certificate: &str, key: &str) -> ServerFiles {
        static TIMES: AtomicU64 = AtomicU64::new(1);
        let files = ServerFiles { certificate: folder.join("cert.pem"), key: folder.join("key.pem") };
        for (path, text) in [(&files.certificate, certificate), (&files.key, key)] {
            fs::write(path, text).unwrap();
            let time = Duration::from_secs(TIMES.fetch_add(1, Ordering::Relaxed));
            fs::File::options()
                .append(true)
                .open(path)
                .unwrap()
                .set_modified(SystemTime::UNIX_EPOCH + time)
                .unwrap();
        }
        files
    }

    #[test]
    fn files_that_cannot_be_used_are_named_with_their_key() {
        let folder = tempfile::tempdir().unwrap();
        let [certificate, key] = home_made("one");
        let [_, other] = home_made("two");
        let [certificate, key, other] = [&*certificate, &*key, &*other];
        for (certificate, key, words) in [
            (certificate, key, None),
            (certificate, other, Some("do not belong together")),
            ("", key, Some("`cert` of `tls`")),
            (key, key, Some("`cert` of `tls`")),
            (certificate, "no key", Some("`key` of `tls`")),
            (certificate, certificate, Some("`key` of `tls`")),
        ] {
            let checked = files(folder.path(), certificate, key).check().map_err(|error| error.to_string());
            match words {
                None => assert_eq!(checked, Ok(())),
                Some(words) => {
                    assert!(checked.as_ref().is_err_and(|error| error.contains(words)), "{checked:?}")
                }
            }
        }
        let none = folder.path().join("none");
        let missing = ServerFiles { certificate: none.clone(), key: none };
        let error = missing.check().unwrap_err().to_string();
        assert!(error.contains("`cert` of `tls`") && error.contains("none"), "{error}");
    }

    #[test]
    fn a_new_certificate_is_used_once_both_of_its_files_are_there() {
        let folder = tempfile::tempdir().unwrap();
        let ([certificate, key], [new_certificate, new_key]) = (home_made("one"), home_made("two"));
        let server = Server::load(files(folder.path(), &certificate, &key)).unwrap();
        let first = server.config();
        let again = || {
            server.check(&mut server.loaded.lock().unwrap());
            server.config()
        };
        assert!(Arc::ptr_eq(&first, &again()), "nothing has changed");
        files(folder.path(), &new_certificate, &key);
        assert!(Arc::ptr_eq(&first, &again()), "the key is still the old one");
        let files = files(folder.path(), &new_certificate, &new_key);
        let left = files.ends().unwrap().unwrap().duration_since(Timestamp::now()).as_hours();
        assert!((46..=48).contains(&left), "it was made for two days: {left}");
        let second = again();
        assert!(!Arc::ptr_eq(&first, &second));
        assert!(Arc::ptr_eq(&second, &again()));
        fs::remove_file(&files.certificate).unwrap();
        assert!(Arc::ptr_eq(&second, &again()), "it stays in use");
    }
}
