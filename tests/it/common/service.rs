//! The built binary, running as a service would; killed when it is dropped.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use super::broker::wait_until;

/// The pictures that come with the bundled model.
pub fn sample(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("models/bundled/samples").join(name)
}

/// Labels that the samples show.
pub const LABEL_SETS: &str = "
label_sets:
  objects:
    template: a photo of {}
    background: [an empty scene, a plain background, something else]
    labels: { red car: 0.75, green tree: 0.75, Blue Umbrella: 0.75 }
";

/// A folder with a configuration, an `inbox` to drop pictures into, and a place for the outbox.
pub struct Home {
    folder: TempDir,
}

impl Home {
    /// `inbox` is watched; `extra` is more YAML.
    pub fn new(port: u16, extra: &str) -> Self {
        let home = Self { folder: tempfile::tempdir().unwrap() };
        fs::create_dir(home.path("inbox")).unwrap();
        let text =
            format!("mqtt: {{ url: mqtt://127.0.0.1:{port}, prefix: home }}\nstate_dir: state\n{extra}");
        let sources = "sources:\n  Inbox: { folder: inbox, watch: [objects] }\n";
        fs::write(home.path("stakeout.yaml"), format!("{text}{LABEL_SETS}{sources}")).unwrap();
        home
    }

    /// Another prefix than `home`, and `sources` in the place of the inbox.
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

    /// Puts a picture into the inbox as a camera would: written elsewhere, then moved in.
    pub fn drop_picture(&self, picture: &str, name: &str) {
        let elsewhere = self.path("upload");
        fs::copy(sample(picture), &elsewhere).unwrap();
        fs::rename(elsewhere, self.path("inbox").join(name)).unwrap();
    }
}

/// `stakeout run`.
pub struct Service {
    process: Child,
    listener: Option<thread::JoinHandle<()>>,
    said: Arc<Mutex<String>>,
}

impl Service {
    pub fn start(home: &Home) -> Self {
        Self::with(home, &[])
    }

    /// Likewise, with these environment variables.
    pub fn with(home: &Home, environment: &[(&str, &str)]) -> Self {
        let mut command = super::stakeout();
        command.args(["run", "--config"]).arg(home.path("stakeout.yaml"));
        command
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let said = Arc::new(Mutex::new(String::new()));
        let (lines, heard) = (BufReader::new(process.stderr.take().unwrap()).lines(), Arc::clone(&said));
        let listener = thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let mut heard = heard.lock().unwrap();
                heard.push_str(&line);
                heard.push('\n');
            }
        });
        Self { process, listener: Some(listener), said }
    }

    /// Everything on standard error so far.
    pub fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    pub fn wait_for_words(&self, words: &str) {
        wait_until(&format!("it says {words:?}"), || self.said().contains(words));
    }

    /// Until it has said the words so many times.
    pub fn wait_for_times(&self, times: usize, words: &str) {
        wait_until(&format!("it says {words:?} {times} times"), || {
            self.said.lock().unwrap().matches(words).count() >= times
        });
    }

    pub fn signal(&self, signal: &str) {
        signal_process(self.process.id(), signal);
    }

    /// The most memory it had at once, in KiB, as the kernel counts it.
    pub fn peak_memory(&self) -> u64 {
        self.memory("VmHWM")
    }

    /// A line of the kernel's about its memory (`VmRSS`: what it has now), in KiB.
    pub fn memory(&self, which: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(which)?.strip_prefix(':')).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// How it ended, and how long that took. What it said is complete then.
    pub fn wait(&mut self) -> (ExitStatus, Duration) {
        let started = Instant::now();
        wait_until("it ends", || self.process.try_wait().unwrap().is_some());
        let took = started.elapsed();
        if let Some(listener) = self.listener.take() {
            listener.join().unwrap();
        }
        (self.process.wait().unwrap(), took)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if thread::panicking() {
            eprintln!("it said:\n{}", self.said());
        }
    }
}

/// Sends `-TERM`, `-STOP` and the like.
pub fn signal_process(process: u32, signal: &str) {
    assert!(
        std::process::Command::new("kill").args([signal, &process.to_string()]).status().unwrap().success()
    );
}
