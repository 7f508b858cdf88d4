//! Reports about cameras in the log and over MQTT. They contain no password.

use std::{cell::RefCell, fs};

use crate::common::{
    broker::{Broker, ReceivedMessage, Subscriber},
    camera::{Rtsp, Silent, Web, clip, h264, response},
    service::{Home, LABEL_SETS, Service, mqtt, sample},
};

fn status(source: &'static str, word: &'static str) -> impl Fn(&ReceivedMessage) -> bool {
    move |message| message.topic == format!("home/{source}/status") && message.text() == word
}

/// A service with these sources.
fn serve(broker: &Broker, sources: &str) -> (Home, Service) {
    let home = Home::new(broker.port, "");
    let text = format!("{}\nstate_dir: state\n", mqtt(broker.port));
    fs::write(home.path("stakeout.yaml"), format!("{text}{LABEL_SETS}sources:\n{sources}")).unwrap();
    let service = Service::with(&home, &[("RUST_LOG", "debug"), ("PASSWORD", "hunter2"), ("DISPLAY", "")]);
    (home, service)
}

#[test]
fn errors_of_cameras_are_logged_once_and_without_passwords() {
    let folder = tempfile::tempdir().unwrap();
    let camera = Rtsp::with_login(&[&h264(folder.path(), "320x240", 5)], "me", "another");
    let web = Web::start(|request, _| {
        let path = request.split_whitespace().nth(1).unwrap_or_default();
        match path.split('?').next().unwrap_or_default() {
            "/denied" | "/no-login" => {
                response("401 Unauthorized", "WWW-Authenticate: Basic realm=\"x\"\r\n", b"")
            }
            "/digest" => {
                let asks = "WWW-Authenticate: Digest realm=\"x\", qop=\"auth\", nonce=\"y\"\r\n";
                response("401 Unauthorized", asks, b"")
            }
            "/ntlm" => response("401 Unauthorized", "WWW-Authenticate: NTLM\r\n", b""),
            "/none" => response("404 Not Found", "", b""),
            "/broken" => response("500 Oh", "", b""),
            "/circle" => response("302 Found", "Location: /circle?pwd=hunter2\r\n", b""),
            "/mjpeg" => response("200 OK", "Content-Type: multipart/x-mixed-replace\r\n", b""),
            "/page" => response("200 OK", "", b"<html>hunter2</html>"),
            _ => response("200 OK", "", &vec![0; 33 << 20]),
        }
    });
    let (web, silent) = (web.address, Silent::start());
    let sources = format!(
        "  r1: {{ rtsp: '{rtsp}', username: me, password: '${{env:PASSWORD}}', watch: [objects] }}
  r2: {{ rtsp: '{rtsp}', watch: [objects] }}
  r3: {{ rtsp: 'rtsp://me:another@127.0.0.1:{port}/nothing?pwd=hunter2', watch: [objects] }}
  v1: {{ video: /nowhere/day.mp4, watch: [objects] }}
  v2: {{ video: stakeout.yaml, watch: [objects] }}
  v3: {{ video: /dev/video97, watch: [objects] }}
  h1: {{ http: 'http://me:${{env:PASSWORD}}@{web}/denied', timeout: 5m, watch: [objects] }}
  h2: {{ http: 'http://{web}/no-login', timeout: 5m, watch: [objects] }}
  h3: {{ http: 'http://me:hunter2@{web}/digest', timeout: 5m, watch: [objects] }}
  h3b: {{ http: 'http://me:hunter2@{web}/ntlm', timeout: 5m, watch: [objects] }}
  h4: {{ http: 'http://{web}/none?password=hunter2', timeout: 5m, watch: [objects] }}
  h5: {{ http: 'http://{web}/broken', timeout: 5m, watch: [objects] }}
  h6: {{ http: 'http://{web}/circle', timeout: 5m, watch: [objects] }}
  h7: {{ http: 'http://{web}/page', every: 50ms, timeout: 5m, watch: [objects] }}
  h8: {{ http: 'http://{web}/large', timeout: 5m, watch: [objects] }}
  h0: {{ http: 'http://{web}/mjpeg', timeout: 5m, watch: [objects] }}
  h9: {{ http: 'http://{silent}/', timeout: 300ms, watch: [objects] }}
",
        rtsp = camera.url(),
        port = camera.port,
        silent = silent.address,
    );
    let broker = Broker::start();
    let (_home, mut service) = serve(&broker, &sources);
    for text in [
        "/stream denies access: the user or the password is wrong",
        "/stream denies access: give it a `username:`",
        "/nothing?*** does not exist",
        "/nowhere/day.mp4 cannot be opened: No such file or directory",
        "stakeout.yaml cannot be opened: Invalid data",
        "/dev/video97 cannot be opened: No such file or directory",
        "/denied answers 401: the user or the password is wrong",
        "/no-login answers 401: set `username:`",
        "/digest answers 401: the user or the password is wrong",
        "/ntlm answers 401: it supports neither basic nor digest authentication",
        "/none?*** answers 404",
        "/broken answers 500",
        "/circle cannot be reached: too many redirects",
        "/page sends no usable picture: it is not a picture",
        "/mjpeg sends an endless series of pictures: use `video:`",
        "/large sends more than 32 MiB",
        "cannot be reached: no response in time",
    ] {
        service.wait_for_log(text);
    }
    // Some sources wait for a camera. If the service waited for them, it would exceed its deadline and fail.
    service.stop();
    let log = service.log();
    // A refusal is logged again after an hour.
    assert_eq!(log.matches("/denied answers 401").count(), 1, "{log}");
    assert!(!log.contains("hunter2") && !log.contains("another"), "{log}");
}

#[test]
fn a_camera_whose_certificate_is_not_checked_is_warned_about_at_the_start() {
    let broker = Broker::start();
    let sources = "  gate: { http: 'https://127.0.0.1:1/a.jpg', tls: { verify: false }, watch: [objects] }\n";
    let (_home, mut service) = serve(&broker, sources);
    service.wait_for_log("the certificate of the source gate at 127.0.0.1:1 is not checked");
    service.stop();
}

#[test]
fn the_status_of_a_camera_is_published_and_its_picture_raises_an_alert() {
    let folder = tempfile::tempdir().unwrap();
    let car = sample("red-car.jpg");
    let words = format!(
        "-loop 1 -r 10 -i {} -t 2 -c:v libx264 -preset fast -crf 10 -g 5 -bf 0 -vf scale=400:300 -pix_fmt yuv420p \
         -x264-params aud=1:scenecut=0 -f h264",
        car.display()
    );
    let clip = clip(&words, &folder.path().join("car.h264"));
    let camera = Rtsp::with_login(&[&clip], "me", "hunter2");
    let broker = Broker::start();
    let subscriber = Subscriber::start(&broker);
    let source = format!(
        "  door: {{ rtsp: 'rtsp://me:${{env:PASSWORD}}@127.0.0.1:{}/stream', every: 500ms, stall_after: 1s, hwaccel: vdpau, watch: [objects] }}\n",
        camera.port
    );
    let (_home, mut service) = serve(&broker, &source);
    subscriber.until("the camera is online", status("door", "online"));
    // Either may be published first.
    let (alert, info) = (RefCell::new(None), RefCell::new(None));
    let seen = subscriber.until("the alert and the information about the stream", |message| {
        match &*message.topic {
            "home/door/objects/red_car/alert" => *alert.borrow_mut() = Some(message.text().to_owned()),
            "home/door/info" if message.text().contains("key_frames") => {
                *info.borrow_mut() = Some(message.text().to_owned())
            }
            _ => {}
        }
        alert.borrow().is_some() && info.borrow().is_some()
    });
    let info: serde_json::Value = serde_json::from_str(&info.take().unwrap()).unwrap();
    assert_eq!(
        (&info["codec"], &info["width"], &info["hwaccel"]),
        (&"h264".into(), &400.into(), &"none".into())
    );
    assert!(alert.take().unwrap().contains(&format!("\"origin\":\"{}\"", camera.url())), "{seen:?}");
    camera.signal("-STOP");
    subscriber.until("the camera is stalled", status("door", "stalled"));
    camera.signal("-CONT");
    subscriber.until("the camera is online again", status("door", "online"));
    service.wait_for_log("door: the source works again");
    service.signal("-TERM");
    let rest = subscriber.until("the camera is offline", status("door", "offline"));
    assert!(!rest.iter().chain(&seen).any(|message| message.text().contains("hunter2")));
    assert!(service.wait().success());
    assert!(!service.log().contains("hunter2"), "{}", service.log());
    // The camera was opened twice.
    assert_eq!(service.log().matches("no `hwaccel: vdpau` here").count(), 1, "{}", service.log());
}
