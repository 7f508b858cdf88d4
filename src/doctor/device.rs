//! The libraries and the device: which ONNX Runtime and FFmpeg are used, what they have, whether there is a GPU and whether
//! it is used.

use std::{
    fs::{self, OpenOptions},
    io::ErrorKind,
    path::{Path, PathBuf},
};

use crate::{
    commands::doctor::{Finding, State},
    config::{Config, Device},
    model::Runtime,
    source,
};

/// ONNX Runtime, the device that the model will run on, and the GPUs beside it.
pub(crate) fn findings(config: Option<&Config>) -> Vec<Finding> {
    let mut findings = vec![ffmpeg()];
    let wanted = config.map_or(Device::Auto, |config| config.execution.device);
    match Runtime::load(config.and_then(|config| config.onnxruntime.as_deref())) {
        Ok(runtime) => {
            let providers = runtime.providers();
            let message = format!("{} (devices: {})", runtime.library(), providers.join(", "));
            findings.push(Finding::ok("ONNX Runtime", message));
            let (device, used) = device(&runtime, wanted);
            findings.push(device);
            findings.extend(gpu(&graphics(Path::new("/dev")), used));
        }
        // Its text says what to do.
        Err(error) => findings.push(Finding::failed("ONNX Runtime", error.to_string(), "see above")),
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

/// Where the model would run; `None` if nowhere.
fn device(runtime: &Runtime, wanted: Device) -> (Finding, Option<Device>) {
    let what = format!("device {wanted}");
    match runtime.device(wanted) {
        Ok(Device::Cpu) => (Finding::ok(what, "the model runs on the processor"), Some(Device::Cpu)),
        Ok(device) => (Finding::ok(what, format!("works: the model runs on {device}")), Some(device)),
        Err(error) => {
            let remedy = "as it says; `device: auto` takes the best that works";
            (Finding::failed(what, error.to_string(), remedy), None)
        }
    }
}

/// A GPU of this machine, as far as its files tell.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Graphics {
    file: PathBuf,
    /// Whether we may use it.
    open: bool,
}

/// NVIDIA's `nvidia0`, AMD's `kfd`, and what else draws: `dri/renderD128`.
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
    let open = |file: &PathBuf| {
        let opened = OpenOptions::new().read(true).write(true).open(file);
        !opened.is_err_and(|error| error.kind() == ErrorKind::PermissionDenied)
    };
    files.into_iter().map(|file| Graphics { open: open(&file), file }).collect()
}

/// What there is to know of the GPUs, where the model runs on `used`.
fn gpu(graphics: &[Graphics], used: Option<Device>) -> Option<Finding> {
    let names = |graphics: &mut dyn Iterator<Item = &Graphics>| {
        graphics.map(|it| it.file.display().to_string()).collect::<Vec<_>>().join(", ")
    };
    let all = names(&mut graphics.iter());
    let closed = names(&mut graphics.iter().filter(|it| !it.open));
    let used = used.filter(|device| device.is_accelerator());
    Some(match (graphics, used) {
        ([], None) => Finding::ok("GPU", "none is seen, and none is needed"),
        ([], Some(_)) => return None,
        _ if !closed.is_empty() => Finding::note(
            "GPU",
            format!("{closed} cannot be opened by this user"),
            "put the user into the groups `render` and `video`; under systemd see the drop-in gpu.conf",
        ),
        (_, Some(device)) => Finding::ok("GPU", format!("{all}; {device} is used")),
        (_, None) => Finding::note(
            "GPU",
            format!("{all}; the model does not run on it"),
            "it needs another ONNX Runtime (`onnxruntime:`): onnxruntime-gpu for NVIDIA, onnxruntime-migraphx for AMD, \
             onnxruntime-openvino for Intel; `device: cuda` and the like say what is missing",
        ),
    })
}

/// Whether ONNX Runtime is there, so that a model can be looked at.
pub(crate) fn has_runtime(findings: &[Finding]) -> bool {
    !findings.iter().any(|finding| finding.what == "ONNX Runtime" && finding.state == State::Failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gpus_are_known_by_their_files() {
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
        assert!(found.iter().all(|it| it.open));
    }

    #[test]
    fn what_is_said_of_a_gpu() {
        let one = |open| vec![Graphics { file: "/dev/nvidia0".into(), open }];
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
            let said = gpu(&graphics, used);
            assert_eq!(said.as_ref().map(|it| it.state), expected, "{graphics:?} {used:?}: {said:?}");
        }
    }
}
