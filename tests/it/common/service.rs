//! The built binary, run as a service; killed when it is dropped.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    thread,
};

use tempfile::TempDir;

use super::{broker::KEEP_ALIVE, wait_until};

/// A sample picture of the bundled model.
pub fn sample(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("models/bundled/samples").join(name)
}

/// A label set for the samples.
pub const LABEL_SETS: &str = "
label_sets:
  objects:
    template: a photo of {}
    background: [an empty scene, a plain background, something else]
    labels: { red car: 0.75, green tree: 0.75, Blue Umbrella: 0.75 }
";

/// A folder with a configuration, an `inbox` to drop pictures into, and the state folder.
pub struct Home {
    folder: TempDir,
}

impl Home {
    /// A configuration that watches `inbox`, with `extra` YAML.
    pub fn new(port: u16, extra: &str) -> Self {
        let home = Self { folder: tempfile::tempdir().unwrap() };
        fs::create_dir(home.path("inbox")).unwrap();
        let text = format!("{}\nstate_dir: state\n{extra}", mqtt(port));
        let sources = "sources:\n  Inbox: { folder: inbox, watch: [objects] }\n";
        fs::write(home.path("stakeout.yaml"), format!("{text}{LABEL_SETS}{sources}")).unwrap();
        home
    }

    /// A configuration with this prefix instead of `home`, and `sources` instead of the inbox.
    pub fn with_sources(port: u16, prefix: &str, sources: &str) -> Self {
        let home = Self::new(port, "");
        let text = fs::read_to_string(home.path("stakeout.yaml")).unwrap();
        let text = text.replace("prefix: home", &format!("prefix: {prefix}"));
        let text = text.replace("  Inbox: { folder: inbox, watch: [objects] }\n", sources);
        fs::write(home.path("stakeout.yaml"), text).unwrap();
        home
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Puts a picture into the inbox as a camera does: written elsewhere, then moved.
    pub fn drop_picture(&self, picture: &str, name: &str) {
        let elsewhere = self.path("upload");
        fs::copy(sample(picture), &elsewhere).unwrap();
        fs::rename(elsewhere, self.path("inbox").join(name)).unwrap();
    }

    /// The same with a comment in the JPEG: as from a camera, no two files have the same content.
    pub fn drop_unique_picture(&self, picture: &str, name: &str) {
        let jpeg = fs::read(sample(picture)).unwrap();
        let (start, rest) = jpeg.split_at(2);
        let length = u16::try_from(2 + name.len()).unwrap().to_be_bytes();
        let comment = [&[0xFF, 0xFE], &length[..], name.as_bytes()].concat();
        let elsewhere = self.path("upload");
        fs::write(&elsewhere, [start, &comment, rest].concat()).unwrap();
        fs::rename(elsewhere, self.path("inbox").join(name)).unwrap();
    }
}

/// The `mqtt:` line of [`Home`].
pub fn mqtt(port: u16) -> String {
    let seconds = KEEP_ALIVE.as_secs();
    format!("mqtt: {{ url: mqtt://127.0.0.1:{port}, keep_alive: {seconds}s, prefix: home }}")
}

/// The time for a stop. On a busy machine, the usual one may end before the disk and the broker have everything. A broker that does not
/// answer has half of it.
const LONG_STOP: &str = "1m";

/// `stakeout run`.
pub struct Service {
    process: Child,
    reader: Option<thread::JoinHandle<()>>,
    log: Arc<Mutex<String>>,
}

impl Service {
    pub fn start(home: &Home) -> Self {
        Self::with(home, &[])
    }

    /// Like [`Service::start`], with these environment variables.
    pub fn with(home: &Home, environment: &[(&str, &str)]) -> Self {
        let mut command = super::stakeout();
        command.args(["run", "--stop-timeout", LONG_STOP, "--config"]).arg(home.path("stakeout.yaml"));
        command.envs(environment.iter().copied());
        Self::of(command)
    }

    /// Like [`Service::start`], by a shell that runs `before` in the folder of the configuration first, with namespaces of its own if
    /// `unshare` names them.
    pub fn after(home: &Home, unshare: Option<&str>, before: &str) -> Self {
        let stakeout = super::stakeout();
        let mut command = match unshare {
            Some(namespaces) => {
                let mut command = Command::new("unshare");
                command.args([namespaces, "sh"]);
                command
            }
            None => Command::new("sh"),
        };
        command.args([
            "-ec",
            &format!("{before}\nexec \"$0\" run --stop-timeout {LONG_STOP} --config stakeout.yaml"),
        ]);
        command.arg(stakeout.get_program()).current_dir(home.folder.path()).env_remove("CACHE_DIRECTORY");
        let cache = stakeout.get_envs().filter_map(|(name, value)| Some((name, value?)));
        command.envs(cache);
        Self::of(command)
    }

    fn of(mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let (lines, read) = (BufReader::new(process.stderr.take().unwrap()).lines(), Arc::clone(&log));
        let reader = thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let mut read = read.lock().unwrap();
                read.push_str(&line);
                read.push('\n');
            }
        });
        Self { process, reader: Some(reader), log }
    }

    /// Everything that was written to standard error.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Waits until the log contains `text`.
    pub fn wait_for_log(&self, text: &str) {
        wait_until(&format!("{text:?} is logged"), || self.log.lock().unwrap().contains(text));
    }

    /// Waits until every source of the configuration is watched, and the API answers every question. (A folder logs that it is watched
    /// before the API does.)
    pub fn wait_until_watching(&self) {
        self.wait_for_log("watching (sources=");
    }

    /// Waits until the log contains `text` this number of times.
    pub fn wait_for_times(&self, times: usize, text: &str) {
        wait_until(&format!("{text:?} is logged {times} times"), || {
            self.log.lock().unwrap().matches(text).count() >= times
        });
    }

    /// The number of its process.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    pub fn signal(&self, signal: &str) {
        signal_process(self.process.id(), signal);
    }

    /// The peak of its resident memory in KiB, as the kernel counts it.
    pub fn peak_memory(&self) -> u64 {
        self.memory("VmHWM")
    }

    /// A memory figure of the kernel in KiB (`VmRSS`: resident now, `VmHWM`: its peak).
    pub fn memory(&self, which: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(which)?.strip_prefix(':')).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Waits until the service ends. The log is complete then.
    pub fn wait(&mut self) -> ExitStatus {
        wait_until("the service ends", || self.process.try_wait().unwrap().is_some());
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
        self.process.wait().unwrap()
    }

    /// Stops the service as systemd does, and expects exit code 0.
    pub fn stop(&mut self) {
        self.signal("-TERM");
        let status = self.wait();
        assert!(status.success(), "{status}: {}", self.log());
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if thread::panicking() {
            eprintln!("log of the service:\n{}", self.log());
        }
    }
}

/// Sends a signal: `-TERM`, `-STOP` and so on.
pub fn signal_process(process: u32, signal: &str) {
    assert!(Command::new("kill").args([signal, &process.to_string()]).status().unwrap().success());
}
