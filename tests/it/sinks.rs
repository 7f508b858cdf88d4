//! The sinks besides the broker: a web server and a program that fail, recover and refuse.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU16, Ordering},
    },
    thread,
    time::Duration,
};

use stakeout::{
    alert::{
        outbox::{Entry, Outbox, Sink},
        sinks::SinkWorker,
    },
    config::{self, Config},
};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::common::{join, wait_until};

/// How long a stopped worker may work: longer than a test waits, so a worker that waits in vain fails the test.
const GRACE: Duration = Duration::from_secs(600);

/// A web server that records requests and answers with a given status.
struct Server {
    port: u16,
    status: Arc<AtomicU16>,
    requests: Arc<Mutex<Vec<Request>>>,
}

#[derive(Clone)]
struct Request {
    headers: Vec<String>,
    body: String,
}

impl Server {
    fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let status = Arc::new(AtomicU16::new(200));
        let requests = Arc::<Mutex<Vec<Request>>>::default();
        let (answer, received) = (Arc::clone(&status), Arc::clone(&requests));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let mut reader = BufReader::new(stream);
                let lines = reader.by_ref().lines().map_while(Result::ok);
                let headers = lines.take_while(|line| !line.is_empty()).collect::<Vec<_>>();
                let length = headers
                    .iter()
                    .find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
                let mut body = vec![0; length.unwrap_or(0)];
                reader.read_exact(&mut body).unwrap();
                let status = answer.load(Ordering::SeqCst);
                let body = String::from_utf8(body).unwrap();
                received.lock().unwrap().push(Request { headers, body });
                let answer = format!("HTTP/1.1 {status} x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
                let _ = reader.into_inner().write_all(answer.as_bytes());
            }
        });
        Self { port, status, requests }
    }

    fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    /// The bodies of all requests, accepted or not, in the order of arrival.
    fn bodies(&self) -> Vec<String> {
        self.requests().into_iter().map(|request| request.body).collect()
    }
}

/// A configuration with these sinks.
fn config(folder: &Path, sinks: &str) -> Config {
    let path = folder.join("stakeout.yaml");
    let text = format!(
        "mqtt: {{ url: mqtt://broker }}\nlabel_sets: {{ porch: {{ labels: [person], background: [a porch] }} }}\n\
         sources: {{ door: {{ folder: inbox, watch: [porch] }} }}\n{sinks}"
    );
    fs::write(&path, text).unwrap();
    config::load(&path).unwrap().config
}

fn entry(number: u32) -> Entry {
    Entry {
        id: number.to_string(),
        topic: "t".to_owned(),
        payload: format!("{{\"id\":{number}}}"),
        snapshot: None,
        mark: None,
    }
}

fn payloads(numbers: impl IntoIterator<Item = u32>) -> Vec<String> {
    numbers.into_iter().map(|number| entry(number).payload).collect()
}

/// A sink worker on its own thread.
struct RunningSink {
    folder: TempDir,
    outbox: Arc<Outbox>,
    stop: CancellationToken,
    thread: Option<thread::JoinHandle<()>>,
}

impl RunningSink {
    fn start(sink: Sink, worker: impl FnOnce(&Path) -> SinkWorker) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let outbox = Arc::new(Outbox::with(folder.path(), config::OutboxLimits::default(), &[sink]).unwrap());
        let (stop, worker) = (CancellationToken::new(), worker(folder.path()));
        let run = worker.run(Arc::clone(&outbox), stop.clone(), GRACE);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let thread = thread::spawn(move || runtime.block_on(run));
        Self { folder, outbox, stop, thread: Some(thread) }
    }

    fn finish(mut self) -> Arc<Outbox> {
        self.stop.cancel();
        join("the worker ends", self.thread.take().unwrap());
        Arc::clone(&self.outbox)
    }
}

fn webhook(server: &Server, more: &str) -> RunningSink {
    let sinks = format!("webhook: {{ url: 'http://127.0.0.1:{}/hook'{more} }}\n", server.port);
    RunningSink::start(Sink::Webhook, |folder| {
        SinkWorker::webhook(config(folder, &sinks).webhook.as_ref().unwrap())
    })
}

#[test]
fn a_web_server_receives_every_alert_signed_and_in_order_also_after_its_outage() {
    let server = Server::start();
    let sink = webhook(&server, ", secret: Jefe, token: let-me-in");
    sink.outbox.append(&entry(1));
    wait_until("the alert is accepted", || sink.outbox.waiting_for(Sink::Webhook) == 0);
    let [request] = &server.requests()[..] else { panic!("one request") };
    let has = |header: &str| request.headers.iter().any(|line| line.eq_ignore_ascii_case(header));
    assert_eq!(request.headers[0], "POST /hook HTTP/1.1");
    assert!(
        has("authorization: Bearer let-me-in") && has("content-type: application/json"),
        "{:?}",
        request.headers
    );
    assert!(has("x-stakeout-id: 1"), "{:?}", request.headers);
    // printf '{"id":1}' | openssl dgst -sha256 -hmac Jefe
    let signature =
        "x-stakeout-signature-256: sha256=74c5ca8fce6134bfc3e91a137a613c558501fc6424b8e0b3a262165e428deaf7";
    assert!(has(signature), "{:?}", request.headers);

    server.status.store(503, Ordering::SeqCst);
    (2..=4).for_each(|number| sink.outbox.append(&entry(number)));
    wait_until("the server was asked", || server.bodies().len() > 1);
    server.status.store(204, Ordering::SeqCst);
    wait_until("all alerts are accepted", || sink.outbox.waiting_for(Sink::Webhook) == 0);
    let mut bodies = server.bodies();
    bodies.dedup();
    assert_eq!(bodies, payloads(1..=4));
    sink.finish();
}

#[test]
fn alerts_that_a_web_server_refuses_wait_for_the_next_start() {
    let server = Server::start();
    server.status.store(500, Ordering::SeqCst);
    let sink = webhook(&server, "");
    (1..=2).for_each(|number| sink.outbox.append(&entry(number)));
    wait_until("the server was asked", || !server.bodies().is_empty());
    let outbox = sink.finish();
    assert_eq!(outbox.waiting_for(Sink::Webhook), 2);
    assert!(
        server.bodies().iter().all(|body| *body == entry(1).payload),
        "no alert overtakes another: {:?}",
        server.bodies()
    );
}

fn script(folder: &Path, text: &str) -> String {
    let path = folder.join("on-alert");
    fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path.display().to_string()
}

fn command(text: &str, more: &str) -> RunningSink {
    RunningSink::start(Sink::Command, |folder| {
        let sinks = format!("command: {{ run: [{}, '$(echo no shell)']{more} }}\n", script(folder, text));
        SinkWorker::command(config(folder, &sinks).command.as_ref().unwrap())
    })
}

#[test]
fn a_program_reads_alerts_from_standard_input_and_no_shell_expands_its_arguments() {
    let sink = command("cat >> \"${0%/*}/alerts\"; echo \"$1\" >> \"${0%/*}/arguments\"", "");
    (1..=3).for_each(|number| sink.outbox.append(&entry(number)));
    wait_until("all alerts are accepted", || sink.outbox.waiting_for(Sink::Command) == 0);
    let read = |name: &str| fs::read_to_string(sink.folder.path().join(name)).unwrap();
    assert_eq!(read("alerts").lines().collect::<Vec<_>>(), payloads(1..=3));
    assert_eq!(read("arguments").lines().next(), Some("$(echo no shell)"));
    sink.finish();
}

#[test]
fn a_program_that_fails_or_hangs_is_started_again() {
    // Fails for the first alert until there is a file; hangs once for the second.
    let text = "cd \"${0%/*}\"; read alert; case $alert in \
        *1*) test -e ready || { touch failed; exit 3; };; \
        *2*) test -e hung || { touch hung; exec sleep 600; };; esac; echo \"$alert\" >> alerts";
    let sink = command(text, ", timeout: 1s");
    (1..=3).for_each(|number| sink.outbox.append(&entry(number)));
    let file = |name: &str| sink.folder.path().join(name);
    wait_until("the program has failed", || file("failed").exists());
    fs::write(file("ready"), "").unwrap();
    wait_until("all alerts are accepted", || sink.outbox.waiting_for(Sink::Command) == 0);
    assert!(file("hung").exists());
    // A slow machine may end a run after it has written and before it exits; then the alert is delivered again.
    let text = fs::read_to_string(file("alerts")).unwrap();
    let mut lines = text.lines().collect::<Vec<_>>();
    lines.dedup();
    assert_eq!(lines, payloads(1..=3));
    sink.finish();
}

/// Whether a process with this number runs; one that has ended and is not collected yet does not.
fn is_running(process: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", process.trim())).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.trim_start().starts_with(['Z', 'X']))
}

fn numbers(file: &Path) -> Vec<String> {
    fs::read_to_string(file).unwrap_or_default().lines().map(str::to_owned).collect()
}

#[test]
fn a_program_receives_none_of_the_secrets_of_the_service() {
    // Variables that cargo sets for a test.
    assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some() && std::env::var_os("CARGO_PKG_NAME").is_some());
    let sink =
        command("env > \"${0%/*}/environment\"", ", environment: [CARGO_PKG_NAME, STAKEOUT_TEST_NONE]");
    sink.outbox.append(&entry(1));
    wait_until("the alert is accepted", || sink.outbox.waiting_for(Sink::Command) == 0);
    let environment = numbers(&sink.folder.path().join("environment"));
    sink.finish();
    let names: Vec<_> = environment.iter().filter_map(|line| Some(line.split_once('=')?.0)).collect();
    // The shell adds the last three.
    const ALLOWED: [&str; 13] = [
        "PATH",
        "HOME",
        "USER",
        "LANG",
        "LC_ALL",
        "TZ",
        "TMPDIR",
        "STAKEOUT_ALERT_ID",
        "STAKEOUT_ALERT_TOPIC",
        "CARGO_PKG_NAME",
        "PWD",
        "SHLVL",
        "_",
    ];
    let others: Vec<_> = names.iter().filter(|name| !ALLOWED.contains(name)).collect();
    assert!(others.is_empty(), "{others:?}");
    for expected in ["PATH", "STAKEOUT_ALERT_ID", "STAKEOUT_ALERT_TOPIC", "CARGO_PKG_NAME"] {
        assert!(names.contains(&expected), "{expected}: {environment:?}");
    }
}

/// Starts two processes, and hangs. The parent of the second one has ended.
const HANGS: &str = "cd \"${0%/*}\"; sleep 600 & echo $! >> processes; ( sleep 601 & echo $! >> processes ); echo $$ >> processes; \
                     test -e late && exit 0; wait";

#[test]
fn the_time_out_ends_a_program_and_everything_that_it_has_started() {
    let sink = command(HANGS, ", timeout: 1s");
    sink.outbox.append(&entry(1));
    let file = sink.folder.path().join("processes");
    wait_until("two runs have started", || numbers(&file).len() >= 6);
    let first = numbers(&file)[..3].to_vec();
    for process in &first {
        wait_until("the process has ended", || !is_running(process));
    }
    sink.stop.cancel();
    drop(sink);
}

#[test]
fn a_program_that_leaves_processes_with_open_pipes_does_not_hang_and_they_end_with_its_time() {
    let sink = command(HANGS, ", timeout: 3s");
    fs::write(sink.folder.path().join("late"), "").unwrap();
    // More than a pipe holds, and nothing reads it.
    sink.outbox.append(&Entry { payload: "x".repeat(300_000), ..entry(1) });
    wait_until("the alert is accepted", || sink.outbox.waiting_for(Sink::Command) == 0);
    let left = numbers(&sink.folder.path().join("processes"))[..2].to_vec();
    for process in &left {
        wait_until("the process has ended", || !is_running(process));
    }
    sink.finish();
}

#[test]
fn the_end_of_the_service_ends_a_program_and_everything_that_it_has_started() {
    let folder = tempfile::tempdir().unwrap();
    let outbox =
        Arc::new(Outbox::with(folder.path(), config::OutboxLimits::default(), &[Sink::Command]).unwrap());
    let sinks = format!("command: {{ run: [{}], timeout: 10m }}\n", script(folder.path(), HANGS));
    let worker = SinkWorker::command(config(folder.path(), &sinks).command.as_ref().unwrap());
    let stop = CancellationToken::new();
    let run = worker.run(Arc::clone(&outbox), stop.clone(), Duration::from_millis(100));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let thread = thread::spawn(move || runtime.block_on(run));
    outbox.append(&entry(1));
    let file = folder.path().join("processes");
    wait_until("the program runs", || numbers(&file).len() >= 3);
    stop.cancel();
    join("the worker ends", thread);
    for process in numbers(&file) {
        wait_until("the process has ended", || !is_running(&process));
    }
}
