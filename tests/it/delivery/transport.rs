//! TLS and WebSockets.

use super::*;

/// The environment variable for the system's certificates is valid for the whole process, so this test runs itself in a
/// second process.
#[test]
fn mqtts_trusts_the_certificates_of_the_system() {
    const PORT: &str = "STAKEOUT_TEST_TLS_PORT";
    if let Ok(port) = std::env::var(PORT) {
        let setup = Setup::new();
        let publisher = setup.publish(&Mqtt { tls: true, ..mqtt(port.parse().unwrap()) });
        setup.append(1, None);
        wait_until("the alert is delivered or the error logged", || {
            setup.outbox.waiting() == 0 || publisher.log().contains("is not signed by a trusted authority")
        });
        println!("waiting: {}", setup.outbox.waiting());
        publisher.finish();
        return;
    }
    let settings = "allow_anonymous true\ncertfile {folder}/server.pem\nkeyfile {folder}/server.key";
    let broker = Broker::prepared(settings, certificates);
    for (roots, expected) in [("ca.pem", "waiting: 0"), ("other.pem", "waiting: 1")] {
        let output = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "delivery::transport::mqtts_trusts_the_certificates_of_the_system",
                "--nocapture",
            ])
            .env(PORT, broker.port.to_string())
            .env("SSL_CERT_FILE", broker.folder().join(roots))
            .env_remove("SSL_CERT_DIR")
            .output()
            .unwrap();
        let log = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && log.contains(expected), "{roots}: {log}");
    }
}

#[test]
fn a_broker_with_a_private_ca_that_requires_a_client_certificate() {
    let settings = "allow_anonymous true\ncafile {folder}/ca.pem\ncertfile {folder}/server.pem\n\
                    keyfile {folder}/server.key\nrequire_certificate true";
    let broker = Broker::prepared(settings, certificates);
    let file = |name: &str| broker.folder().join(name);
    let connect = |tls: TlsFiles| Mqtt {
        tls: true,
        connection: MqttConnection { tls, ..connection() },
        ..broker.mqtt()
    };
    let setup = Setup::new();
    setup.append(1, None);
    let known = TlsFiles { trust: Trust::Ca(file("ca.pem")), ..TlsFiles::default() };
    let cases = [
        (
            TlsFiles { trust: Trust::Ca(file("other.pem")), ..TlsFiles::default() },
            "name the PEM file of its authority with `tls: { ca: FILE }`",
        ),
        (known.clone(), "the broker wants a certificate from us"),
    ];
    for (tls, words) in cases {
        let publisher = setup.publish(&connect(tls));
        wait_until(words, || publisher.log().contains(words));
        publisher.finish();
        assert_eq!(setup.outbox.waiting(), 1);
    }
    let plain = setup.publish(&broker.mqtt());
    wait_until("a connection without TLS fails", || plain.log().contains("not connected"));
    plain.finish();
    let identity = Some((file("client.pem"), file("client.key")));
    let known = connect(TlsFiles { identity, ..known });
    for broker in [known.clone(), mqtt3::mqtt3(known)] {
        setup.append(2, None);
        let publisher = setup.publish(&broker);
        wait_until("the alert is delivered", || setup.outbox.waiting() == 0);
        assert_eq!(publisher.finish(), Farewell { waiting: 0, said: true });
    }
}

#[test]
fn the_protocol_is_sent_by_alpn_to_a_port_shared_with_other_services() {
    use std::io::{BufRead as _, BufReader};

    let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
    certificates(folder.path());
    let mut command = Command::new("openssl");
    command.args(["s_server", "-cert", "server.pem", "-key", "server.key", "-alpn", "mqtt", "-accept"]);
    command.arg(format!("127.0.0.1:{port}")).current_dir(folder.path());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut server = command.spawn().expect("the tests need openssl");
    let tls = TlsFiles {
        trust: Trust::Ca(folder.path().join("ca.pem")),
        alpn: vec!["mqtt".to_owned()],
        ..TlsFiles::default()
    };
    let connection = MqttConnection { tls, ..connection() };
    let setup = Setup::new();
    let publisher = setup.publish(&Mqtt { tls: true, connection, ..mqtt(port) });
    let mut lines = BufReader::new(server.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert!(
        lines.any(|line| line.contains("ALPN protocols selected: mqtt")),
        "openssl ends without reporting ALPN"
    );
    server.kill().unwrap();
    server.wait().unwrap();
    publisher.finish();
}

/// A server that does not speak TLS receives nothing but TLS handshakes, however often the publisher tries.
#[test]
fn tls_never_falls_back_to_plain_text() {
    use std::io::Read as _;

    const HANDSHAKE: u8 = 0x16;
    let folder = tempfile::tempdir().unwrap();
    certificates(folder.path());
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let tls = TlsFiles { trust: Trust::Ca(folder.path().join("ca.pem")), ..TlsFiles::default() };
    let connection = MqttConnection { tls, ..connection() };
    let setup = Setup::new();
    setup.append(1, None);
    let port = listener.local_addr().unwrap().port();
    let publisher = setup.publish(&Mqtt { tls: true, connection, ..login(mqtt(port), "me", "hush-hush") });
    for _ in 0..3 {
        let mut stream = accept(&listener);
        let mut received = [0; 4096];
        let length = stream.read(&mut received).unwrap();
        assert_eq!(received[0], HANDSHAKE);
        assert!(!received[..length].windows(4).any(|bytes| bytes == b"hush" || bytes == b"MQTT"));
        stream.write_all(&[0x20, 2, 0, 0, 0, 0, 0, 0]).unwrap();
    }
    wait_until("the cause is logged", || {
        publisher.log().contains("the broker does not speak TLS at this port")
    });
    publisher.finish();
    assert_eq!(setup.outbox.waiting(), 1);
}

#[test]
fn alerts_are_delivered_over_websockets() {
    let mqtt5: fn(Mqtt) -> Mqtt = |broker| broker;
    for version in [mqtt5, mqtt3::mqtt3] {
        let (broker, setup) = (Broker::start(), Setup::new());
        let subscriber = Subscriber::start(&broker);
        let port = web_socket(broker.port);
        let connection = MqttConnection {
            websocket: Some(stakeout::config::Secret::new("/mqtt".to_owned())),
            ..connection()
        };
        let publisher = setup.publish(&version(Mqtt { connection, ..mqtt(port) }));
        setup.append(1, Some(vec![7; 100_000]));
        let seen = subscriber.until("the alert", |message| message.topic == ALERT);
        assert_eq!(seen.iter().find(|message| message.topic == SNAPSHOT).unwrap().payload.len(), 100_000);
        assert_eq!(publisher.finish(), Farewell { waiting: 0, said: true });
    }
}

/// A port that accepts one WebSocket client and passes its packets to the broker on the port `upstream`.
fn web_socket(upstream: u16) -> u16 {
    use std::{io::Read, net::TcpStream};
    use tungstenite::{
        Message,
        handshake::server::{Request, Response},
    };

    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        #[allow(clippy::result_large_err, reason = "the signature is given by the library")]
        let handshake = |request: &Request, mut response: Response| {
            assert_eq!(request.uri().path(), "/mqtt");
            let protocol = request.headers()["Sec-WebSocket-Protocol"].clone();
            response.headers_mut().insert("Sec-WebSocket-Protocol", protocol);
            Ok(response)
        };
        let mut socket = tungstenite::accept_hdr(stream, handshake).unwrap();
        // One thread serves both directions, so no read may block for long.
        socket.get_ref().set_read_timeout(Some(Duration::from_millis(5))).unwrap();
        let mut broker = TcpStream::connect(("127.0.0.1", upstream)).unwrap();
        broker.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
        let is_early = |error: &std::io::Error| {
            matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut)
        };
        let mut bytes = vec![0; 65_536];
        loop {
            match socket.read() {
                Ok(Message::Binary(packet)) => broker.write_all(&packet).unwrap(),
                Ok(_) => {}
                Err(tungstenite::Error::Io(error)) if is_early(&error) => {}
                Err(_) => return,
            }
            match broker.read(&mut bytes) {
                Ok(0) => return,
                Ok(length) => {
                    let packet = bytes[..length].to_vec();
                    if socket.send(Message::Binary(packet.into())).is_err() {
                        return;
                    }
                }
                Err(error) if is_early(&error) => {}
                Err(_) => return,
            }
        }
    });
    port
}

/// Writes a CA, a server and a client certificate signed by it, and a second CA.
fn certificates(folder: &Path) {
    let script = "
        ca='-x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2'
        openssl req $ca -subj /CN=ca -keyout ca.key -out ca.pem
        openssl req $ca -subj /CN=other -keyout other.key -out other.pem
        openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=broker -keyout server.key -out server.csr
        printf 'subjectAltName=IP:127.0.0.1' > san
        openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile san -out server.pem
        openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=stakeout -keyout client.key -out client.csr
        openssl x509 -req -in client.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile san -out client.pem";
    let output = Command::new("sh").args(["-ec", script]).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "the tests need openssl: {}", String::from_utf8_lossy(&output.stderr));
}
