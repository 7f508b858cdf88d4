//! TLS in front of any server, with home-made certificates of `openssl`.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;

use super::broker::free_port;

/// A server with TLS that forwards to one without. It ends when it is dropped.
pub struct Tls {
    pub port: u16,
    /// The SHA-256 fingerprint of its certificate, as openssl prints it.
    pub fingerprint: String,
    process: Child,
    folder: TempDir,
}

impl Tls {
    /// In front of `upstream`, with the certificate that this script of a shell writes to `cert.pem`, and its key to `key.pem`.
    fn start(upstream: u16, script: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let print = "openssl x509 -in cert.pem -noout -fingerprint -sha256";
        let output = Command::new("sh")
            .args(["-ec", &format!("{{ {script}; }} >&2; {print}")])
            .current_dir(folder.path())
            .output()
            .unwrap();
        let failed = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "the tests need openssl: {failed}");
        let fingerprint = String::from_utf8(output.stdout).unwrap();
        let fingerprint = fingerprint.trim().rsplit_once('=').unwrap().1.to_owned();
        let port = free_port();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/common/tls.py");
        let mut command = Command::new("/usr/bin/python3");
        command.arg(script).args([port.to_string(), upstream.to_string()]);
        command.args([folder.path().join("cert.pem"), folder.path().join("key.pem")]);
        let mut process = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        Self { port, fingerprint, process, folder }
    }

    /// A certificate as `openssl req -x509` makes it: that of an authority, and for another name.
    pub fn home_made(upstream: u16) -> Self {
        Self::start(
            upstream,
            "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=elsewhere -keyout key.pem -out cert.pem",
        )
    }

    /// A certificate of X.509 version 1.
    pub fn version_1(upstream: u16) -> Self {
        Self::start(
            upstream,
            "openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=old -keyout key.pem -out request
             openssl x509 -req -in request -signkey key.pem -days 2 -out cert.pem
             openssl x509 -in cert.pem -noout -text | grep 'Version: 1 '",
        )
    }

    /// The file with its certificate.
    pub fn certificate(&self) -> PathBuf {
        self.folder.path().join("cert.pem")
    }
}

impl Drop for Tls {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
