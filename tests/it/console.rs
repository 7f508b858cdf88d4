//! Access to the console, and through it to the API: signing in with links and tokens, what each role may do, requests of pages of others,
//! TLS, proxies, and the command that prints the link.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read, Write},
    net::TcpStream,
    os::unix::fs::PermissionsExt as _,
    process::{Child, Command, Output, Stdio},
};

use serde_json::{Value, json};
use stakeout::tls::{self, Trust};

use crate::{
    api::at_socket,
    common::{
        PATIENCE,
        broker::free_port,
        finish,
        service::{Home, Service, signal_process},
        stakeout, wait_until,
    },
};

const TOKEN: &str = "change-0123456789";
const VIEW: &str = "view-0123456789ab";

/// The status, the head and the body of an answer.
#[derive(Debug)]
struct HttpAnswer {
    status: u16,
    head: String,
    body: String,
}

impl HttpAnswer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    /// The value of a header field.
    fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

fn request(port: u16, method: &str, target: &str, fields: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "{method} {target} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\
         {fields}\r\n{body}"
    )
}

/// The answer that is read from a stream until its end; of a stream of events only the head.
fn read(stream: impl Read) -> HttpAnswer {
    let mut stream = BufReader::new(stream);
    let (mut head, mut body) = (String::new(), Vec::new());
    while !head.ends_with("\r\n\r\n") {
        assert!(stream.read_line(&mut head).unwrap() > 0, "no whole head: {head}");
    }
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    if !head.contains("text/event-stream") {
        stream.read_to_end(&mut body).unwrap();
    }
    HttpAnswer { status, head, body: String::from_utf8_lossy(&body).into_owned() }
}

/// The answer to a request over TCP.
fn ask(port: u16, method: &str, target: &str, fields: &str, body: &str) -> HttpAnswer {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(request(port, method, target, fields, body).as_bytes()).unwrap();
    read(stream)
}

/// What a browser sends with each request of the console.
fn of_console(port: u16, cookie: &str) -> String {
    format!("Cookie: {cookie}\r\nOrigin: http://127.0.0.1:{port}\r\nSec-Fetch-Site: same-origin\r\n")
}

/// Signs in as the console does: with `{"code": ...}` or `{"token": ...}`.
fn sign_in(port: u16, proof: &Value) -> HttpAnswer {
    ask(port, "POST", "/console/session", &of_console(port, ""), &proof.to_string())
}

/// The cookie that an answer sets, and its attributes.
fn cookie(answer: &HttpAnswer) -> (String, Vec<&str>) {
    let set = answer.field("set-cookie").unwrap_or_else(|| panic!("no cookie: {}", answer.head));
    let mut parts = set.split("; ");
    (parts.next().unwrap().to_owned(), parts.collect())
}

/// `stakeout console`.
fn console(home: &Home, arguments: &[&str]) -> Command {
    let mut command = stakeout();
    command.args(["console", "--no-open", "--config"]).arg(home.path("stakeout.yaml")).args(arguments);
    for variable in ["SSH_CONNECTION", "DISPLAY", "WAYLAND_DISPLAY"] {
        command.env_remove(variable);
    }
    command
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The beginning of a link, and its code.
fn split(link: &str) -> (&str, &str) {
    link.trim().split_once("/console/#sign-in=").unwrap_or_else(|| panic!("{link}"))
}

/// The code of a new link.
fn code(home: &Home, arguments: &[&str]) -> String {
    let output = console(home, arguments).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    let link = String::from_utf8(output.stdout).unwrap();
    assert_eq!(link.lines().count(), 1, "only the link: {link}");
    split(&link).1.to_owned()
}

/// The cookie of a browser that has just followed a link.
fn session(home: &Home, port: u16, arguments: &[&str]) -> String {
    let answer = sign_in(port, &json!({ "code": code(home, arguments) }));
    assert_eq!(answer.status, 200, "{answer:?}");
    cookie(&answer).0
}

fn role(port: u16, cookie: &str) -> Value {
    ask(port, "GET", "/api/v1/me", &of_console(port, cookie), "").json()["role"].clone()
}

/// A service at 127.0.0.1 with both tokens.
fn with_tokens() -> (Home, u16, Service) {
    let port = free_port();
    let listen = format!(
        "listen: {{ address: \"127.0.0.1:{port}\", token: {TOKEN}, view_token: {VIEW}, ingress: true }}\n"
    );
    let home = Home::new(free_port(), &listen);
    let service = Service::start(&home);
    service.wait_until_watching();
    (home, port, service)
}

/// Every address of the API: its method, its path, and what it needs.
fn addresses(home: &Home) -> Vec<(String, String, String)> {
    let document = at_socket(home, "GET", "/api/v1/openapi.json", "").json();
    let paths = document["paths"].as_object().unwrap().clone();
    let operations = paths.into_iter().flat_map(|(path, item)| {
        let item = item.as_object().unwrap().clone();
        item.into_iter().map(move |(method, operation)| {
            let needs = operation["x-needs"].as_str().unwrap().to_owned();
            (method.to_uppercase(), path.replace("{id}", "0"), needs)
        })
    });
    operations.collect()
}

#[test]
fn nothing_is_read_or_changed_without_a_sign_in() {
    let (home, port, mut service) = with_tokens();
    let addresses = addresses(&home);
    assert!(addresses.len() > 15, "{addresses:?}");
    let page = ask(port, "GET", "/console/", "", "");
    assert_eq!(page.status, 200, "{page:?}");
    for secret in ["Inbox", "red car", "inbox", TOKEN] {
        assert!(!page.body.contains(secret), "the page has nothing of this service: {secret}");
    }
    let viewer = session(&home, port, &["--view"]);
    let (by_view_token, by_token) =
        (format!("Authorization: Bearer {VIEW}\r\n"), format!("Authorization: Bearer {TOKEN}\r\n"));
    let by_session = of_console(port, &viewer);
    for (method, path, needs) in &addresses {
        let status = |fields: &str| ask(port, method, path, fields, "{}").status;
        let expected = without_a_right(path, needs);
        assert_eq!(status(""), expected, "{method} {path} without a credential");
        assert_eq!(
            status("X-Ingress-Path: /x\r\n"),
            expected,
            "{method} {path}: only the supervisor is believed"
        );
        for fields in [&by_view_token, &by_session] {
            let (status, may) = (status(fields), needs == "view");
            assert_eq!(![401, 403].contains(&status), may, "{method} {path} of one who may look: {status}");
        }
        if needs == "socket" {
            assert_eq!(status(&by_token), 403, "{method} {path}");
        }
    }
    let framed = ask(port, "GET", "/console/", "X-Ingress-Path: /x\r\n", "");
    assert!(framed.head.contains("frame-ancestors 'none'"), "{}", framed.head);
    service.stop();
    // Fewer than the wrong tokens that are read at once.
    for addresses in addresses.chunks(25) {
        let mut service = Service::start(&home);
        service.wait_until_watching();
        for (method, path, needs) in addresses {
            let answer = ask(port, method, path, "Authorization: Bearer another-0123456789\r\n", "{}");
            assert_eq!(answer.status, without_a_right(path, needs), "{method} {path}, wrong token");
        }
        service.stop();
    }
}

/// The status of the answer to a client that may do nothing.
fn without_a_right(path: &str, needs: &str) -> u16 {
    match needs {
        _ if path == "/api/v1/me" => 200,
        "socket" => 403,
        _ => 401,
    }
}

#[test]
fn a_link_signs_in_once_and_the_session_survives_a_restart() {
    let (home, port, mut service) = with_tokens();
    let code = code(&home, &[]);
    let answer = sign_in(port, &json!({ "code": code }));
    assert_eq!((answer.status, answer.json()), (200, json!({ "role": "change" })));
    let (own, attributes) = cookie(&answer);
    for attribute in ["HttpOnly", "SameSite=Strict", "Path=/"] {
        assert!(attributes.contains(&attribute), "{attributes:?}");
    }
    assert!(!attributes.contains(&"Secure"), "a browser would not keep it without TLS");
    assert_eq!(role(port, &own), "change");
    let again = sign_in(port, &json!({ "code": code }));
    assert_eq!(again.status, 401, "a link works once");
    assert!(again.json()["remedy"].as_str().unwrap().contains("stakeout console"), "{again:?}");
    let viewer = session(&home, port, &["--view"]);
    assert_eq!(role(port, &viewer), "view");

    let file = home.path("state/sessions.json");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let (_, value) = own.split_once('=').unwrap();
    assert!(!fs::read_to_string(&file).unwrap().contains(value), "only the hash is kept");
    service.stop();
    let mut service = Service::start(&home);
    service.wait_until_watching();
    assert_eq!((role(port, &own), role(port, &viewer)), (json!("change"), json!("view")));

    let ended = ask(port, "DELETE", "/console/session", &of_console(port, &own), "");
    assert_eq!(ended.status, 204, "{ended:?}");
    assert!(cookie(&ended).1.contains(&"Max-Age=0"), "{ended:?}");
    assert_eq!((role(port, &own), role(port, &viewer)), (Value::Null, json!("view")));
    let output = console(&home, &["--sign-out-all"]).output().unwrap();
    // `--no-open` and this option exclude each other.
    assert_eq!(output.status.code(), Some(64), "{}", text(&output));
    let mut command = stakeout();
    let output = command
        .args(["console", "--sign-out-all", "--config"])
        .arg(home.path("stakeout.yaml"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(role(port, &viewer), Value::Null);
    for secret in [value, code.as_str(), TOKEN, VIEW] {
        assert!(!service.log().contains(secret), "{}", service.log());
    }
    service.stop();
}

#[test]
fn a_connection_ends_with_its_session() {
    let (home, port, mut service) = with_tokens();
    let own = session(&home, port, &[]);
    let mut events = TcpStream::connect(("127.0.0.1", port)).unwrap();
    events.set_read_timeout(Some(PATIENCE)).unwrap();
    let asked = request(port, "GET", "/api/v1/events", &of_console(port, &own), "");
    events.write_all(asked.as_bytes()).unwrap();
    let mut first = [0; 12];
    events.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"HTTP/1.1 200");
    let ended = ask(port, "DELETE", "/console/session", &of_console(port, &own), "");
    assert_eq!(ended.status, 204);
    // Without the end of the session the stream stays open, and reading it does not end.
    let mut rest = Vec::new();
    let _ = events.read_to_end(&mut rest);
    assert_eq!(role(port, &own), Value::Null);
    service.stop();
}

#[test]
fn pages_of_others_change_nothing() {
    let (home, port, mut service) = with_tokens();
    let own = session(&home, port, &[]);
    let (host, other) = (format!("http://127.0.0.1:{port}"), format!("http://127.0.0.1:{}", free_port()));
    let forget =
        json!({"source": "Inbox", "from": "2026-01-01T00:00:00Z", "to": "2026-01-01T00:00:01Z"}).to_string();
    for (what, origin, site, status) in [
        ("the console", Some(&*host), Some("same-origin"), 200),
        ("an old browser", Some(&*host), None, 200),
        ("another site", Some("http://evil.example"), Some("cross-site"), 403),
        ("another site in an old browser", Some("http://evil.example"), None, 403),
        ("another program of this machine", Some(&*other), Some("same-site"), 403),
        ("a page without an address", Some("null"), Some("cross-site"), 403),
        ("neither", None, None, 403),
    ] {
        let field = |name: &str, value: Option<&str>| {
            value.map_or(String::new(), |value| format!("{name}: {value}\r\n"))
        };
        let from = format!("{}{}", field("Origin", origin), field("Sec-Fetch-Site", site));
        let answer = ask(port, "POST", "/api/v1/forget", &format!("Cookie: {own}\r\n{from}"), &forget);
        assert_eq!(answer.status, status, "{what}: {answer:?}");
        // Nor can such a page sign a browser in or out. Signing in without a cookie is what a program may do.
        let answer = ask(port, "POST", "/console/session", &from, r#"{"code": "wrong"}"#);
        let expected = if status == 403 && origin.is_some() { 403 } else { 401 };
        assert_eq!(answer.status, expected, "{what}: {answer:?}");
        if status == 403 {
            let answer = ask(port, "DELETE", "/console/session", &format!("Cookie: {own}\r\n{from}"), "");
            assert_eq!(answer.status, 403, "{what}: {answer:?}");
        }
    }
    assert_eq!(role(port, &own), "change");
    let plain = format!("Content-Type: text/plain\r\nOrigin: {host}\r\n");
    let stream = || TcpStream::connect(("127.0.0.1", port)).unwrap();
    let mut form = stream();
    write!(
        form,
        "POST /console/session HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{plain}Content-Length: 2\r\n\r\n{{}}"
    )
    .unwrap();
    assert_eq!(read(form).status, 400, "a form sends no JSON");
    service.stop();
}

#[test]
fn guesses_are_limited_and_a_link_always_works() {
    let (home, port, mut service) = with_tokens();
    for (token, expected) in [(TOKEN, "change"), (VIEW, "view")] {
        let answer = sign_in(port, &json!({ "token": token }));
        assert_eq!((answer.status, &answer.json()["role"]), (200, &json!(expected)));
    }
    let mut refused = None;
    wait_until("guesses are refused", || {
        let answer = sign_in(port, &json!({ "token": "guess-0123456789ab" }));
        assert!([401, 429].contains(&answer.status), "{answer:?}");
        refused = Some(answer).filter(|answer| answer.status == 429);
        refused.is_some()
    });
    let refused = refused.unwrap().json();
    assert!(refused["remedy"].as_str().unwrap().contains("stakeout console"), "{refused}");
    assert_eq!(role(port, &session(&home, port, &[])), "change", "the owner is not locked out");
    let by_token = format!("Authorization: Bearer {TOKEN}\r\n");
    assert_eq!(ask(port, "GET", "/healthz", &by_token, "").status, 200, "nor is the health check");

    // The same for requests of programs, and of those whose requests a proxy of this machine forwards.
    let own = session(&home, port, &[]);
    let guess = "Authorization: Bearer guess-0123456789ab\r\n";
    let health = || stakeout().args(["health", "--config"]).arg(home.path("stakeout.yaml")).output().unwrap();
    wait_until("guesses of programs are refused", || {
        let answer = ask(port, "GET", "/api/v1/me", guess, "");
        assert!(answer.status == 429 || answer.json()["role"].is_null(), "{answer:?}");
        answer.status == 429
    });
    // One token is read each second, so the check must work whether its own is read or not.
    for _ in 0..5 {
        assert_eq!(health().stdout, b"ok\n", "the health check of a container");
        ask(port, "GET", "/api/v1/me", guess, "");
    }
    assert_eq!(role(port, &own), "change", "who has signed in stays signed in");
    assert_eq!(role(port, &session(&home, port, &[])), "change", "a link works");
    assert!(!service.log().contains("guess-0123456789ab"), "{}", service.log());
    service.stop();
}

#[test]
fn a_mistake_in_the_file_does_not_keep_the_owner_out() {
    let (home, port, mut service) = with_tokens();
    let file = home.path("stakeout.yaml");
    let valid = fs::read_to_string(&file).unwrap();
    for mistake in ["tresholds: 1\n", "more: [\n"] {
        fs::write(&file, format!("{valid}{mistake}")).unwrap();
        assert_eq!(role(port, &session(&home, port, &[])), "change", "{mistake}");
    }
    fs::write(&file, &valid).unwrap();
    service.stop();
    let output = console(&home, &[]).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    assert!(text(&output).contains("no service answers at"), "{}", text(&output));
}

/// `stakeout console` while it serves the console.
struct Serving {
    process: Option<Child>,
    link: String,
}

impl Serving {
    fn start(home: &Home) -> Self {
        let mut process = console(home, &[])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut link = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut link).unwrap();
        Self { process: Some(process), link }
    }

    fn stop(mut self) -> Output {
        let process = self.process.take().unwrap();
        signal_process(process.id(), "-INT");
        finish(process)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

#[test]
fn without_listen_the_command_serves_the_console_while_it_runs() {
    let home = Home::new(free_port(), "");
    let mut service = Service::start(&home);
    service.wait_until_watching();
    let socket = fs::metadata(home.path("state/console.sock")).unwrap();
    assert_eq!(socket.permissions().mode() & 0o777, 0o600);
    let serving = Serving::start(&home);
    let (base, code) = split(&serving.link);
    let port: u16 = base.strip_prefix("http://127.0.0.1:").unwrap().parse().unwrap();
    assert_eq!(ask(port, "GET", "/console/", "", "").status, 200);
    for (method, path) in [("GET", "/api/v1/alerts"), ("GET", "/metrics"), ("POST", "/api/v1/forget")] {
        assert_eq!(ask(port, method, path, "", "{}").status, 401, "{method} {path}");
    }
    assert_eq!(ask(port, "POST", "/api/v1/sign-in", "", "{}").status, 403, "no one else makes a link");
    let answer = sign_in(port, &json!({ "code": code }));
    assert_eq!(answer.status, 200, "{answer:?}");
    let own = cookie(&answer).0;
    let alerts = ask(port, "GET", "/api/v1/alerts", &of_console(port, &own), "");
    assert_eq!(alerts.status, 200, "{alerts:?}");
    service.stop();
    assert_eq!(ask(port, "GET", "/console/", "", "").status, 503, "the service has ended");
    let output = serving.stop();
    assert!(output.status.success(), "{}", text(&output));
    assert!(text(&output).contains("Ctrl-C"), "{}", text(&output));
    assert!(!home.path("state/console.sock").exists());
}

/// Writes a home-made certificate and its key, and returns its fingerprint.
fn make_certificate(home: &Home, name: &str) -> String {
    let script = format!(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN={name} \
         -keyout new.key -out new.pem >&2; mv new.key key.pem; mv new.pem cert.pem
         openssl x509 -in cert.pem -noout -fingerprint -sha256"
    );
    let output = Command::new("sh").args(["-ec", &script]).current_dir(home.path("")).output().unwrap();
    assert!(output.status.success(), "the tests need openssl: {}", text(&output));
    String::from_utf8(output.stdout).unwrap().trim().rsplit_once('=').unwrap().1.to_owned()
}

/// The answer over TLS of a server with this certificate.
fn ask_secured(port: u16, fingerprint: &str, asked: &str) -> Result<HttpAnswer, String> {
    let trust = Trust::Pinned(fingerprint.parse().unwrap());
    let mut stream = tls::connect("127.0.0.1", port, &trust, PATIENCE)?;
    stream.write_all(asked.as_bytes()).unwrap();
    Ok(read(stream))
}

#[test]
fn a_home_made_certificate_and_a_proxy_with_a_prefix() {
    let port = free_port();
    let base = format!("https://127.0.0.1:{port}/eyes");
    let listen = format!(
        "listen:\n  address: 127.0.0.1:{port}\n  base_url: {base}\n  tls: {{ cert: cert.pem, key: key.pem }}\n"
    );
    let home = Home::new(free_port(), &listen);
    let first = make_certificate(&home, "one");
    let mut service = Service::start(&home);
    service.wait_until_watching();
    let health = || stakeout().args(["health", "--config"]).arg(home.path("stakeout.yaml")).output().unwrap();
    wait_until("the health check of a container works over TLS", || health().stdout == b"ok\n");
    let plain = ask(port, "GET", "/console/", "", "");
    assert!(plain.status == 400 && plain.body.contains("https://"), "{plain:?}");

    let get = |target: &str| ask_secured(port, &first, &request(port, "GET", target, "", "")).unwrap();
    for (target, status) in
        [("/console/", 200), ("/eyes/console/", 200), ("/eyes/api/v1/alerts", 401), ("/eyes/other", 401)]
    {
        assert_eq!(get(target).status, status, "{target}");
    }
    let redirected = get("/eyes");
    assert_eq!((redirected.status, redirected.field("location")), (307, Some("/eyes/console/")));

    let output = console(&home, &[]).output().unwrap();
    let link = String::from_utf8(output.stdout).unwrap();
    let (begin, code) = split(&link);
    assert_eq!(begin, base);
    let (origin, _) = base.rsplit_once('/').unwrap();
    let asked = request(
        port,
        "POST",
        "/eyes/console/session",
        &format!("Origin: {origin}\r\nSec-Fetch-Site: same-origin\r\n"),
        &json!({ "code": code }).to_string(),
    );
    let answer = ask_secured(port, &first, &asked).unwrap();
    let attributes = cookie(&answer).1;
    for attribute in ["HttpOnly", "SameSite=Strict", "Secure", "Path=/eyes/"] {
        assert!(attributes.contains(&attribute), "{attributes:?}");
    }

    let second = make_certificate(&home, "two");
    wait_until("the new certificate is used", || {
        tls::connect("127.0.0.1", port, &Trust::Pinned(second.parse().unwrap()), PATIENCE).is_ok()
    });
    service.wait_for_log("the new certificate of `listen.tls` is in use");
    service.stop();
}

#[test]
fn a_certificate_that_cannot_be_used_is_reported_in_words() {
    let port = free_port();
    let listen =
        format!("listen: {{ address: \"127.0.0.1:{port}\", tls: {{ cert: cert.pem, key: key.pem }} }}\n");
    let home = Home::new(free_port(), &listen);
    make_certificate(&home, "one");
    let other = fs::read(home.path("key.pem")).unwrap();
    make_certificate(&home, "two");
    let run = |arguments: &[&str]| {
        let mut command = stakeout();
        let output =
            command.args(arguments).arg("--config").arg(home.path("stakeout.yaml")).output().unwrap();
        let output = format!("{}{}", String::from_utf8_lossy(&output.stdout), text(&output));
        // Lines are wrapped.
        output.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert!(run(&["doctor"]).contains("belongs to its key"));
    fs::write(home.path("key.pem"), other).unwrap();
    for arguments in [&["check"][..], &["doctor"]] {
        let output = run(arguments);
        assert!(
            output.contains("`cert` and `key` of `listen.tls` do not belong together"),
            "{arguments:?}: {output}"
        );
    }
    let mut service = Service::start(&home);
    assert_eq!(service.wait().code(), Some(1), "{}", service.log());
    assert!(service.log().contains("do not belong together"), "{}", service.log());
}
