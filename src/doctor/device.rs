//! Checks the libraries and the device: which ONNX Runtime and FFmpeg are used and what they support, and whether a GPU exists
//! and is used.

use std::{
    fs::{self, OpenOptions},
    io::ErrorKind,
    path::{Path, PathBuf},
};

use super::finding::{Finding, State};
use crate::{
    config::{Config, Device},
    engine::plugins::Plugin,
    model::{Runtime, RuntimeError},
    source,
    trial::{self, TrialOutcome},
};

/// Findings about FFmpeg, ONNX Runtime, the device of the model, and GPUs.
pub(super) fn findings(config: Option<&Config>) -> Vec<Finding> {
    let mut findings = vec![ffmpeg()];
    let wanted = config.map_or(Device::Auto, |config| config.execution.device);
    match Runtime::load(config.and_then(|config| config.onnxruntime.as_deref())) {
        Ok(runtime) => {
            let providers = runtime.providers();
            let message = format!("{} (devices: {})", runtime.library(), providers.join(", "));
            findings.push(Finding::ok("ONNX Runtime", message));
            if config.is_some_and(|config| config.model_server.is_some()) {
                let message = "a model server runs the graph for pictures; the processor encodes texts";
                findings.push(Finding::ok("device", message));
                return findings;
            }
            let (device, used) = match config.filter(|_| runtime.needs_plugin(wanted)) {
                Some(config) => plugin(config, &runtime, wanted),
                None => device(&runtime, wanted),
            };
            findings.push(device);
            findings.extend(config.and_then(measured));
            findings.extend(gpu(&graphics(Path::new("/dev")), used));
        }
        Err(error) => {
            let remedy = match error {
                RuntimeError::Named { .. } => {
                    "correct `onnxruntime:` or ORT_DYLIB_PATH, or remove it and run `make setup`; the package has a library of its own"
                }
                RuntimeError::NotFound { .. } => {
                    "run `make setup`, or install the package, which has a library of its own; or name one with `onnxruntime:`"
                }
                RuntimeError::Start(_) => "use another version of the library: name it with `onnxruntime:`",
            };
            findings.push(Finding::failed("ONNX Runtime", error.to_string(), remedy));
        }
    }
    findings
}

fn ffmpeg() -> Finding {
    let ffmpeg = source::ffmpeg();
    let message = format!("libavcodec {}, libavformat {}", ffmpeg.codec, ffmpeg.format);
    if ffmpeg.lacks.is_empty() {
        return Finding::ok("FFmpeg", message);
    }
    let message = format!("{message}, without {}", ffmpeg.lacks.join(" and "));
    let remedy = "install the distribution's full build of FFmpeg: cameras that send this cannot be watched";
    Finding::note("FFmpeg", message, remedy)
}

/// The device that the model would run on; `None` if there is none.
fn device(runtime: &Runtime, wanted: Device) -> (Finding, Option<Device>) {
    let what = format!("device {wanted}");
    match runtime.device(wanted) {
        Ok(Device::Cpu) => (Finding::ok(what, "the model runs on the processor"), Some(Device::Cpu)),
        Ok(device) => (Finding::ok(what, format!("works: the model runs on {device}")), Some(device)),
        Err(error) => {
            let otherwise = "set `device: auto`, which takes the best device that works";
            (Finding::of_error(what, &error.to_string(), otherwise), None)
        }
    }
}

/// The device of a plugin. The plugin lists its devices in another process, because it may end the process.
fn plugin(config: &Config, runtime: &Runtime, wanted: Device) -> (Finding, Option<Device>) {
    let (what, program) = (format!("device {wanted}"), trial::Program::running());
    let library = match (wanted, Plugin::of(wanted).and_then(|plugin| plugin.installed())) {
        (Device::Plugin(custom), _) => custom.library.clone(),
        (_, Some(installed)) => installed.library,
        (_, None) => return device(runtime, wanted),
    };
    match trial::devices(&library, config.onnxruntime.as_deref(), &program) {
        Ok(devices) if devices.is_empty() => {
            let message = format!("its plugin {} finds no device on this machine", library.display());
            (Finding::failed(what, message, "install the driver of the device, or set `device: cpu`"), None)
        }
        Ok(devices) => {
            let count = devices.len();
            let message =
                format!("its plugin works and finds {count} devices; the service tries the model on it");
            (Finding::ok(what, message), Some(wanted))
        }
        Err(why) => {
            let remedy = "update the plugin and the driver of the device, or set `device: cpu`";
            (Finding::failed(what, format!("its plugin cannot be used: {why}"), remedy), None)
        }
    }
}

/// What the service measured on this machine, if it had a choice.
fn measured(config: &Config) -> Option<Finding> {
    let record = trial::Record::read(&config.state_dir);
    if record.trials.is_empty() {
        return None;
    }
    let decision = trial::decide(&record.trials);
    let message = decision.rows.iter().map(|(name, figures)| format!("{name}: {figures}"));
    let message = message.collect::<Vec<_>>().join("; ");
    let crashed = record
        .trials
        .iter()
        .any(|trial| matches!(trial.outcome, TrialOutcome::Crashed(_) | TrialOutcome::Hung(_)));
    Some(match crashed {
        false => Finding::ok("devices that were tried", message),
        true => Finding::note(
            "devices that were tried",
            message,
            "update the plugin or the driver of the device that crashed, and run `stakeout devices retry`",
        ),
    })
}

/// A device file of a GPU.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Graphics {
    file: PathBuf,
    /// Whether this process may open it.
    is_open: bool,
}

/// The device files of GPUs: NVIDIA's `nvidia0`, AMD's `kfd`, and `dri/renderD128` of all others.
fn graphics(dev: &Path) -> Vec<Graphics> {
    let names = |folder: &Path, begin: &str| {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
        let is = |path: &PathBuf| {
            let name = path.file_name().and_then(|name| name.to_str());
            let number = name.and_then(|name| name.strip_prefix(begin));
            number.is_some_and(|number| number.chars().all(|digit| digit.is_ascii_digit()))
        };
        entries.filter(is).collect::<Vec<_>>()
    };
    let mut files = [names(dev, "nvidia"), names(dev, "kfd"), names(&dev.join("dri"), "renderD")].concat();
    files.sort();
    let is_open = |file: &PathBuf| {
        let opened = OpenOptions::new().read(true).write(true).open(file);
        !opened.is_err_and(|error| error.kind() == ErrorKind::PermissionDenied)
    };
    files.into_iter().map(|file| Graphics { is_open: is_open(&file), file }).collect()
}

/// The finding about GPUs, if the model runs on `used`.
fn gpu(graphics: &[Graphics], used: Option<Device>) -> Option<Finding> {
    let names = |graphics: &mut dyn Iterator<Item = &Graphics>| {
        graphics.map(|it| it.file.display().to_string()).collect::<Vec<_>>().join(", ")
    };
    let all = names(&mut graphics.iter());
    let closed = names(&mut graphics.iter().filter(|it| !it.is_open));
    let used = used.filter(|device| device.is_accelerator());
    Some(match (graphics, used) {
        ([], None) => Finding::ok("GPU", "there is none, and none is needed"),
        ([], Some(_)) => return None,
        _ if !closed.is_empty() => Finding::note(
            "GPU",
            format!("{closed} cannot be opened by this user"),
            "add the user to the groups `render` and `video`; under systemd see the drop-in gpu.conf",
        ),
        (_, Some(device)) => Finding::ok("GPU", format!("{all}; {device} is used")),
        (_, None) => Finding::note(
            "GPU",
            format!("{all}; the model does not run on it"),
            "Intel's GPUs need a plugin: `stakeout devices add openvino`. NVIDIA's and AMD's need another ONNX Runtime \
             (`onnxruntime:`): onnxruntime-gpu, onnxruntime-migraphx. `stakeout devices` says what is missing",
        ),
    })
}

/// Whether ONNX Runtime works, so that a model can be checked.
pub(super) fn has_runtime(findings: &[Finding]) -> bool {
    !findings.iter().any(|finding| finding.what == "ONNX Runtime" && finding.state == State::Failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gpus_are_found_by_their_device_files() {
        let dev = tempfile::tempdir().unwrap();
        fs::create_dir(dev.path().join("dri")).unwrap();
        assert_eq!(graphics(dev.path()), []);
        for name in ["nvidia0", "nvidiactl", "nvidia-uvm", "dri/card0", "dri/renderD128", "null"] {
            fs::write(dev.path().join(name), "").unwrap();
        }
        let found = graphics(dev.path());
        let names: Vec<_> =
            found.iter().map(|it| it.file.strip_prefix(dev.path()).unwrap().to_str().unwrap()).collect();
        assert_eq!(names, ["dri/renderD128", "nvidia0"]);
        assert!(found.iter().all(|it| it.is_open));
    }

    #[test]
    fn findings_about_gpus() {
        let one = |is_open| vec![Graphics { file: "/dev/nvidia0".into(), is_open }];
        let cases = [
            (vec![], Some(Device::Cpu), Some(State::Ok)),
            (vec![], None, Some(State::Ok)),
            (vec![], Some(Device::CoreMl), None),
            (one(true), Some(Device::Cuda(0)), Some(State::Ok)),
            (one(true), Some(Device::Cpu), Some(State::Note)),
            (one(true), None, Some(State::Note)),
            (one(false), Some(Device::Cpu), Some(State::Note)),
        ];
        for (graphics, used, expected) in cases {
            let finding = gpu(&graphics, used);
            assert_eq!(finding.as_ref().map(|it| it.state), expected, "{graphics:?} {used:?}: {finding:?}");
        }
    }
}
