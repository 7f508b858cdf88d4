//! Cameras with TLS: the certificate is checked as the key `tls` says, in the same way by every kind of source.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpListener,
    thread,
};

use stakeout::{
    config::{self, SourceKind},
    picture::Limits,
    sandbox::Sandbox,
    source::{Access, Outcome, Probe, Surroundings, probe},
};

use super::start;
use crate::common::{
    camera::{Rtsp, Web, endless_pictures, h264, response},
    service::sample,
    tls::Tls,
};

/// What `doctor` reports about a source with these settings.
pub(super) fn probed(settings: &str) -> Probe {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("stakeout.yaml");
    let text = format!(
        "mqtt: {{ url: mqtt://h }}\nlabel_sets: {{ porch: {{ labels: [a, b] }} }}\nsources: {{ door: {{ {settings}, watch: [porch] }} }}"
    );
    fs::write(&file, text).unwrap();
    let config = config::load(&file).unwrap_or_else(|problems| panic!("{problems}")).config;
    let kind: &SourceKind = &config.sources[0].kind;
    probe(
        kind,
        &Surroundings {
            limits: Limits::of(10_000_000),
            sandbox: &Sandbox::off(),
            broker: &config.mqtt,
            access: &Access::Own,
        },
    )
}

/// A camera that gives a picture for each request, and at `/stream` an endless sequence of pictures.
fn web() -> Web {
    let pictures = ["red-car.jpg", "green-tree.jpg"].map(|name| fs::read(sample(name)).unwrap());
    Web::start(move |request, number| {
        // FFmpeg connects to a port of this machine, and the camera must not notice it.
        let host = request
            .lines()
            .find_map(|line| line.to_ascii_lowercase().strip_prefix("host: ").map(str::to_owned));
        if !host.is_some_and(|host| host.starts_with("localhost:")) {
            return response("421 Misdirected Request", "", b"");
        }
        if !request.starts_with("GET /stream") {
            return response("200 OK", "", &pictures[number % 2]);
        }
        endless_pictures(&pictures)
    })
}

#[test]
fn a_certificate_is_checked_in_the_same_way_by_every_kind_of_source() {
    let folder = tempfile::tempdir().unwrap();
    let (web, camera) = (web(), Rtsp::start(&[&h264(folder.path(), "320x240", 5)]));
    for (kind, scheme, path, upstream) in [
        ("http", "https", "a.jpg", web.address.port()),
        ("video", "https", "stream", web.address.port()),
        ("rtsp", "rtsps", "stream", camera.port),
    ] {
        let server = Tls::home_made(upstream);
        let address = format!("{kind}: '{scheme}://localhost:{}/{path}'", server.port);
        let (fingerprint, file) = (&server.fingerprint, server.certificate());
        let pin = format!("tls: {{ fingerprint: {fingerprint} }}");

        let refused = probed(&address);
        assert_eq!(refused.outcome, Outcome::Failed, "{kind}: {refused:?}");
        assert!(
            refused.message.contains("home-made") && refused.message.contains(&pin),
            "{kind}: {refused:?}"
        );
        let other = if fingerprint.starts_with('0') { "1" } else { "0" };
        let wrong = probed(&format!("{address}, tls: {{ fingerprint: {other}{} }}", &fingerprint[1..]));
        let expected = "presents another certificate than the pinned one";
        assert!(wrong.message.contains(expected) && wrong.message.contains(fingerprint), "{kind}: {wrong:?}");

        for tls in [pin, format!("tls: {{ ca: '{}' }}", file.display()), "tls: { verify: false }".to_owned()]
        {
            let mut source = start(&format!("{address}, {tls}, every: 50ms"));
            drop(source.next());
            source.stop();
        }
    }
}

#[test]
fn an_outdated_certificate_is_accepted_when_it_is_pinned() {
    let folder = tempfile::tempdir().unwrap();
    let (web, camera) = (web(), Rtsp::start(&[&h264(folder.path(), "320x240", 5)]));
    for (kind, scheme, path, upstream) in
        [("http", "https", "a.jpg", web.address.port()), ("rtsp", "rtsps", "stream", camera.port)]
    {
        let server = Tls::version_1(upstream);
        let address = format!("{kind}: '{scheme}://localhost:{}/{path}'", server.port);
        let refused = probed(&address);
        assert!(refused.message.contains("X.509 version 1"), "{kind}: {refused:?}");
        let mut source = start(&format!("{address}, tls: {{ fingerprint: {} }}", server.fingerprint));
        drop(source.next());
        source.stop();
    }
}

#[test]
fn what_is_wrong_with_tls_is_said_in_words() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
        }
    });
    for address in [
        format!("http: 'https://localhost:{port}/a.jpg'"),
        format!("video: 'https://localhost:{port}/stream'"),
    ] {
        let plain = probed(&address);
        assert!(plain.message.contains("the camera does not speak TLS at this port"), "{plain:?}");
    }
    let server = Tls::home_made(port);
    let nothing =
        probed(&format!("http: 'https://localhost:{}/a.jpg', tls: {{ ca: /nowhere/ca.pem }}", server.port));
    assert!(nothing.message.contains("/nowhere/ca.pem holds no PEM certificate"), "{nothing:?}");
}
