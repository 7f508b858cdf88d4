//! Plugins that do not work: no command and no service ends with them, and the service remembers them.
//!
//! The plugins are compiled by the tests. They say that they are WebGPU's, of a version that does not exist.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::common::stakeout;

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/broken_plugin.c");
/// The folder of a plugin, below a data folder.
const PLUGIN: &str = "stakeout/lib/plugins/webgpu-99.0";
const LIBRARY: &str = "libonnxruntime_providers_webgpu.so";

/// A data folder with a plugin that does `how`.
struct Machine {
    data: TempDir,
}

impl Machine {
    fn with(how: &str) -> Self {
        let data = TempDir::new().unwrap();
        let folder = data.path().join(PLUGIN);
        fs::create_dir_all(&folder).unwrap();
        // The build of the program needs a compiler, too.
        let compiled = Command::new("cc")
            .args(["-shared", "-fPIC", "-O0", &format!("-DHOW={how}"), "-o"])
            .arg(folder.join(LIBRARY))
            .arg(SOURCE)
            .status()
            .unwrap();
        assert!(compiled.success());
        Self { data }
    }

    fn stakeout(&self) -> Command {
        let mut command = stakeout();
        command.env("XDG_DATA_HOME", self.data.path()).env("BROKEN_PLUGIN_LOG", self.log());
        command.env("ORT_DYLIB_PATH", runtime());
        command
    }

    fn log(&self) -> PathBuf {
        self.data.path().join("loaded")
    }

    /// How often the plugin was loaded.
    fn loads(&self) -> usize {
        fs::read_to_string(self.log()).unwrap_or_default().lines().count()
    }

    /// What `stakeout devices` says about the plugin.
    fn row(&self) -> Value {
        let output = self.stakeout().args(["devices", "--format", "json"]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        let rows = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let mut rows: Vec<_> = rows.collect();
        assert_eq!((&rows[0]["name"], &rows[0]["problem"]), (&Value::from("cpu"), &Value::Null), "{text}");
        rows.retain(|row| row["name"] == "webgpu");
        rows.remove(0)
    }
}

/// The library of ONNX Runtime that the program finds without help.
fn runtime() -> PathBuf {
    if let Some(path) = env::var_os("ORT_DYLIB_PATH").filter(|path| !path.is_empty()) {
        return path.into();
    }
    let output =
        stakeout().args(["doctor", "--format", "json", "--config", "/nowhere.yaml"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let findings = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let mut findings = findings.filter(|finding| finding["check"] == "ONNX Runtime");
    let message = findings.next().unwrap()["message"].as_str().unwrap().to_owned();
    message.split(" (devices").next().unwrap().into()
}

fn configuration(folder: &Path, device: &str) -> PathBuf {
    fs::create_dir(folder.join("inbox")).unwrap();
    let path = folder.join("stakeout.yaml");
    // No broker listens there.
    let text = format!(
        "device: {device}\nmqtt: {{ url: mqtt://127.0.0.1:1 }}\nstate_dir: state\n\
         label_sets: {{ porch: {{ labels: [cat, dog] }} }}\nsources: {{ inbox: {{ folder: inbox, watch: [porch] }} }}\n"
    );
    fs::write(&path, text).unwrap();
    path
}

#[test]
fn a_plugin_that_crashes_is_listed_with_what_happened() {
    let row = Machine::with("CRASHES").row();
    let problem = row["problem"].as_str().unwrap();
    assert_eq!(problem, "the process that tried it was killed by SIGABRT (6)");
    assert_eq!(row["plugin"], "webgpu 99.0");
}

#[test]
fn a_plugin_without_devices_is_listed_as_unusable() {
    let row = Machine::with("NO_DEVICES").row();
    assert!(!row["problem"].as_str().unwrap().is_empty(), "{row}");
}

#[test]
fn a_missing_plugin_is_listed_with_the_command_that_adds_it() {
    let machine = Machine { data: TempDir::new().unwrap() };
    assert!(machine.row()["problem"].as_str().unwrap().contains("stakeout devices add webgpu"));
    let output = machine.stakeout().args(["devices", "remove", "webgpu"]).output().unwrap();
    let log = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), log.as_str()), (Some(1), "error: webgpu is not installed\n"));
    let output = machine.stakeout().args(["devices", "add", "tensorrt-rtx"]).output().unwrap();
    let log = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(log.contains("onnxruntime-ep-nv-tensorrt-rtx") && log.contains("by its file"), "{log}");
}

#[test]
fn a_crash_is_an_error_of_the_configuration_that_is_remembered() {
    let machine = Machine::with("CRASHES");
    let folder = TempDir::new().unwrap();
    let config = configuration(folder.path(), "webgpu");
    let call = |arguments: &[&str]| -> Output {
        machine.stakeout().args(arguments).arg("--config").arg(&config).output().unwrap()
    };
    for _ in 0..2 {
        let output = call(&["run"]);
        let log = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(78), "{log}");
        assert!(
            log.contains("the device webgpu cannot be used: the process that tried it was killed by SIGABRT"),
            "{log}"
        );
        assert!(log.contains("stakeout devices retry") && log.contains("1 | device: webgpu"), "{log}");
        assert_eq!(machine.loads(), 1, "it is not tried again");
    }
    // These do not load the plugin in their own process.
    let check = call(&["check"]);
    assert!(!String::from_utf8(check.stderr).unwrap().contains("webgpu"), "the files are valid");
    let doctor = call(&["doctor"]);
    assert_eq!(doctor.status.code(), Some(1));
    assert!(String::from_utf8(doctor.stdout).unwrap().contains("killed by SIGABRT"));
    let loads = machine.loads();
    let retry = call(&["devices", "retry"]);
    assert!(retry.status.success(), "{retry:?}");
    assert_eq!(call(&["run"]).status.code(), Some(78));
    assert_eq!(machine.loads(), loads + 1, "it is tried again");
}

#[test]
fn a_plugin_by_its_file_is_tried_in_another_process_too() {
    let machine = Machine::with("CRASHES");
    let folder = TempDir::new().unwrap();
    let library = machine.data.path().join(PLUGIN).join(LIBRARY);
    let device = format!("{{ plugin: {}, options: {{ speed: high }} }}", library.display());
    let config = configuration(folder.path(), &device);
    let output = machine.stakeout().arg("run").arg("--config").arg(&config).output().unwrap();
    let log = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(78), "{log}");
    assert!(log.contains(&format!("the device {LIBRARY}:0 cannot be used")), "{log}");
    assert!(log.contains("killed by SIGABRT"), "{log}");
}

#[test]
fn no_one_can_start_a_trial_by_hand() {
    let output = stakeout().arg("trial").stdin(std::process::Stdio::null()).output().unwrap();
    let log = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(64), 0), "{log}");
    assert!(log.contains("this command is for the service itself"), "{log}");
}
