//! What the tests share: the limit of every wait, the reference data, skipped tests, and the built binary.

pub mod broker;
pub mod camera;
pub mod hub;
pub mod model_server;
pub mod onnx;
pub mod onvif;
mod protobuf;
pub mod proxy;
pub mod safetensors;
pub mod service;
pub mod tls;

use std::{
    env, fs,
    io::Write,
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Output},
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};

/// The limit of every wait. Only a hang reaches it: a machine that is busy with other work stays far below.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Polls `holds` until it returns true; panics after [`PATIENCE`].
pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "timed out waiting until {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// Waits until `thread` ends; a panic in it is a panic here.
pub fn join<T>(what: &str, thread: thread::JoinHandle<T>) -> T {
    wait_until(what, || thread.is_finished());
    thread.join().unwrap()
}

/// Waits until `process` exits and returns its output; kills it after [`PATIENCE`].
pub fn finish(process: Child) -> Output {
    let id = process.id();
    let thread = thread::spawn(move || process.wait_with_output().unwrap());
    let end = Instant::now() + PATIENCE;
    while !thread.is_finished() && Instant::now() < end {
        thread::sleep(Duration::from_millis(10));
    }
    if !thread.is_finished() {
        service::signal_process(id, "-KILL");
        panic!("the process did not exit: {:?}", thread.join().unwrap());
    }
    thread.join().unwrap()
}

/// The next connection to `listener`.
pub fn accept(listener: &TcpListener) -> TcpStream {
    listener.set_nonblocking(true).unwrap();
    let mut accepted = None;
    wait_until("a client connects", || {
        accepted = listener.accept().ok();
        accepted.is_some()
    });
    let (stream, _) = accepted.unwrap();
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Reports that the running test checks nothing, or only a part, on this machine, and why.
///
/// `make test` names a file in `STAKEOUT_SKIPPED` and prints its lines at the end: `cargo test` hides what a passed test prints.
pub fn skip(why: &str) {
    eprintln!("skipped: {why}");
    if let Some(file) = env::var_os("STAKEOUT_SKIPPED") {
        let mut file = fs::File::options().append(true).create(true).open(file).unwrap();
        let test = thread::current().name().unwrap_or("a test").to_owned();
        file.write_all(format!("{test}: {why}\n").as_bytes()).unwrap();
    }
}

/// A folder of the reference data; `None`, reported as skipped, on a machine without it. In CI its absence is a failure.
pub fn fixtures(folder: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/fixtures").join(folder);
    if path.is_dir() {
        return Some(path);
    }
    assert!(env::var_os("CI").is_none(), "the reference data {} must exist in CI", path.display());
    skip(&format!("the reference data {folder} is not on this machine"));
    None
}

/// The binary under test, with its own cache: results that another build has cached must not be used.
pub fn stakeout() -> Command {
    static CACHE: OnceLock<PathBuf> = OnceLock::new();
    let cache = CACHE.get_or_init(|| {
        let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache");
        let _ = fs::remove_dir_all(&cache);
        cache
    });
    let mut command = Command::new(env!("CARGO_BIN_EXE_stakeout"));
    command.env("XDG_CACHE_HOME", cache).env_remove("CACHE_DIRECTORY");
    command
}
