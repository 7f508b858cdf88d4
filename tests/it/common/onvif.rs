//! A camera that speaks ONVIF: it answers a probe over UDP, and SOAP requests over HTTP if their login is right.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::{SignedDuration, Timestamp};
use sha1::{Digest as _, Sha1};

use super::{PATIENCE, service::sample};

/// The camera. Its threads end when it is dropped.
pub struct Onvif {
    /// Its HTTP port: the device service, the media service, and pictures.
    pub port: u16,
    /// Where it answers probes.
    pub probe: SocketAddr,
    /// The requests that it answered: the name of the element in the body.
    requests: Arc<Mutex<Vec<String>>>,
    stop: Arc<AtomicBool>,
}

/// How a camera behaves.
#[derive(Debug, Clone)]
pub struct Look {
    /// Its user and password.
    pub login: (&'static str, &'static str),
    /// By how much its clock is ahead.
    pub ahead: SignedDuration,
    /// The host in the addresses that it reports.
    pub reports: &'static str,
}

impl Default for Look {
    fn default() -> Self {
        Self { login: ("viewer", "hunter2"), ahead: SignedDuration::ZERO, reports: "127.0.0.1" }
    }
}

impl Onvif {
    /// Starts a camera that answers probes on a port of its own.
    pub fn start(look: Look) -> Self {
        Self::answering(look, UdpSocket::bind("127.0.0.1:0").unwrap())
    }

    /// Starts a camera in the multicast group of the search; `None` if this machine does not allow that.
    pub fn in_group(look: Look) -> Option<Self> {
        let socket = UdpSocket::bind(("0.0.0.0", 3702)).ok()?;
        socket.join_multicast_v4(&Ipv4Addr::new(239, 255, 255, 250), &Ipv4Addr::UNSPECIFIED).ok()?;
        Some(Self::answering(look, socket))
    }

    fn answering(look: Look, socket: UdpSocket) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (probe, stop, requests) = (socket.local_addr().unwrap(), Arc::default(), Arc::default());
        let camera = Self { port, probe, requests: Arc::clone(&requests), stop: Arc::clone(&stop) };
        let ended = Arc::clone(&stop);
        thread::spawn(move || probes(&socket, port, &ended));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                let (look, requests) = (look.clone(), Arc::clone(&requests));
                thread::spawn(move || http(&stream, port, &look, &requests));
            }
        });
        camera
    }

    /// The names of the requests so far.
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

impl Drop for Onvif {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts connections.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn envelope(body: &str) -> String {
    format!(
        r#"<?xml version="1.0" encoding="UTF-8"?><SOAP-ENV:Envelope xmlns:SOAP-ENV="http://www.w3.org/2003/05/soap-envelope" xmlns:d="http://schemas.xmlsoap.org/ws/2005/04/discovery" xmlns:tds="http://www.onvif.org/ver10/device/wsdl" xmlns:trt="http://www.onvif.org/ver10/media/wsdl" xmlns:tt="http://www.onvif.org/ver10/schema" xmlns:ter="http://www.onvif.org/ver10/error"><SOAP-ENV:Body>{body}</SOAP-ENV:Body></SOAP-ENV:Envelope>"#
    )
}

/// Answers probes for cameras, twice as some cameras do.
fn probes(socket: &UdpSocket, port: u16, ended: &AtomicBool) {
    socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let mut buffer = [0; 8192];
    while !ended.load(Ordering::SeqCst) {
        let Ok((length, from)) = socket.recv_from(&mut buffer) else { continue };
        let probe = String::from_utf8_lossy(&buffer[..length]).into_owned();
        let Ok(document) = roxmltree::Document::parse(&probe) else { continue };
        let is_probe = document
            .descendants()
            .any(|node| node.has_tag_name(("http://schemas.xmlsoap.org/ws/2005/04/discovery", "Probe")));
        if !is_probe {
            continue;
        }
        let answer = envelope(&format!(
            "<d:ProbeMatches><d:ProbeMatch><d:Types>dn:NetworkVideoTransmitter</d:Types><d:Scopes>\
             onvif://www.onvif.org/name/Front%20Door onvif://www.onvif.org/hardware/Stand-in</d:Scopes>\
             <d:XAddrs>http://127.0.0.1:{port}/onvif/device_service</d:XAddrs></d:ProbeMatch></d:ProbeMatches>"
        ));
        for _ in 0..2 {
            let _ = socket.send_to(answer.as_bytes(), from);
        }
    }
}

/// Answers one request.
fn http(mut stream: &TcpStream, port: u16, look: &Look, requests: &Mutex<Vec<String>>) {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut reader = BufReader::new(stream);
    let (mut first, mut length) = (String::new(), 0);
    if reader.read_line(&mut first).is_err() {
        return;
    }
    loop {
        let mut line = String::new();
        match reader.read_line(&mut line) {
            Ok(read) if read > 2 => {}
            _ => break,
        }
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    if reader.read_exact(&mut body).is_err() {
        return;
    }
    let (status, kind, answer) = if first.starts_with("GET /snapshot.jpg ") {
        ("200 OK", "image/jpeg", std::fs::read(sample("red-car.jpg")).unwrap())
    } else {
        let (status, answer) = soap(&String::from_utf8(body).unwrap(), port, look, requests);
        (status, "application/soap+xml", answer.into_bytes())
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        answer.len()
    );
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&answer));
}

fn soap(text: &str, port: u16, look: &Look, requests: &Mutex<Vec<String>>) -> (&'static str, String) {
    let document = roxmltree::Document::parse(text).unwrap();
    let body = document.descendants().find(|node| node.tag_name().name() == "Body").unwrap();
    let request = body.first_element_child().unwrap();
    let name = request.tag_name().name();
    requests.lock().unwrap().push(name.to_owned());
    let now = Timestamp::now() + look.ahead;
    if name == "GetSystemDateAndTime" {
        let now = now.to_string();
        let part = |range: std::ops::Range<usize>| now[range].trim_start_matches('0').to_owned();
        let part = |range| Some(part(range)).filter(|part| !part.is_empty()).unwrap_or("0".to_owned());
        return (
            "200 OK",
            envelope(&format!(
                "<tds:GetSystemDateAndTimeResponse><tds:SystemDateAndTime><tt:UTCDateTime><tt:Time><tt:Hour>{}</tt:Hour><tt:Minute>{}</tt:Minute>\
             <tt:Second>{}</tt:Second></tt:Time><tt:Date><tt:Year>{}</tt:Year><tt:Month>{}</tt:Month><tt:Day>{}</tt:Day></tt:Date></tt:UTCDateTime>\
             </tds:SystemDateAndTime></tds:GetSystemDateAndTimeResponse>",
                part(11..13),
                part(14..16),
                part(17..19),
                part(0..4),
                part(5..7),
                part(8..10)
            )),
        );
    }
    if !is_logged_in(&document, look, now) {
        return (
            "400 Bad Request",
            envelope(
                "<SOAP-ENV:Fault><SOAP-ENV:Code><SOAP-ENV:Value>SOAP-ENV:Sender</SOAP-ENV:Value><SOAP-ENV:Subcode>\
             <SOAP-ENV:Value>ter:NotAuthorized</SOAP-ENV:Value></SOAP-ENV:Subcode></SOAP-ENV:Code></SOAP-ENV:Fault>",
            ),
        );
    }
    let token = request
        .descendants()
        .find(|node| node.tag_name().name() == "ProfileToken")
        .and_then(|node| node.text());
    let host = look.reports;
    let answer = match (name, token) {
        ("GetCapabilities", None) => format!(
            "<tds:GetCapabilitiesResponse><tds:Capabilities><tt:Media><tt:XAddr>http://{host}:{port}/onvif/media</tt:XAddr></tt:Media>\
             </tds:Capabilities></tds:GetCapabilitiesResponse>"
        ),
        ("GetProfiles", None) => {
            let profile = |token: &str, width: u32, height: u32| {
                format!(
                    "<trt:Profiles token=\"{token}\"><tt:Name>{token}</tt:Name><tt:VideoEncoderConfiguration token=\"e\"><tt:Encoding>H264</tt:Encoding>\
                 <tt:Resolution><tt:Width>{width}</tt:Width><tt:Height>{height}</tt:Height></tt:Resolution></tt:VideoEncoderConfiguration></trt:Profiles>"
                )
            };
            format!(
                "<trt:GetProfilesResponse>{}{}</trt:GetProfilesResponse>",
                profile("main", 1920, 1080),
                profile("sub", 640, 360)
            )
        }
        ("GetStreamUri", Some(token)) => format!(
            "<trt:GetStreamUriResponse><trt:MediaUri><tt:Uri>rtsp://{host}:8554/{token}?a=1&amp;b=2</tt:Uri></trt:MediaUri></trt:GetStreamUriResponse>"
        ),
        ("GetSnapshotUri", Some(_)) => format!(
            "<trt:GetSnapshotUriResponse><trt:MediaUri><tt:Uri>http://{host}:{port}/snapshot.jpg</tt:Uri></trt:MediaUri></trt:GetSnapshotUriResponse>"
        ),
        other => panic!("the camera does not know {other:?}"),
    };
    ("200 OK", envelope(&answer))
}

/// Whether the digest is that of the login, and its time that of the camera's clock.
fn is_logged_in(document: &roxmltree::Document<'_>, look: &Look, now: Timestamp) -> bool {
    let text = |name: &str| {
        document.descendants().find(|node| node.tag_name().name() == name).and_then(|node| node.text())
    };
    let (Some(user), Some(digest), Some(nonce), Some(created)) =
        (text("Username"), text("Password"), text("Nonce"), text("Created"))
    else {
        return false;
    };
    let mut hash = Sha1::new();
    hash.update(STANDARD.decode(nonce).unwrap());
    hash.update(created);
    hash.update(look.login.1);
    let off = created.parse::<Timestamp>().unwrap().duration_since(now).abs();
    user == look.login.0 && STANDARD.encode(hash.finalize()) == digest && off < SignedDuration::from_secs(300)
}
