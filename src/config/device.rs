//! How the model is run: on which device, with how many threads, how many pictures at once, in how much GPU memory.
//!
//! Whether this machine has the device is checked when the model is loaded.

use std::fmt;

use crate::yaml::{
    fields::Form,
    names,
    reader::{Reader, Section},
    value,
};

/// How the model is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Execution {
    /// Where it runs.
    pub device: Device,
    /// Threads of one run on the processor; `None`: one for each processor.
    pub threads: Option<usize>,
    /// The most pictures in one run.
    pub max_batch: usize,
    /// The most bytes of GPU memory; `None`: no limit.
    pub gpu_memory: Option<u64>,
}

impl Execution {
    /// The default of `max_batch`: more would not be faster on a processor, but delay the first result.
    pub const MAX_BATCH: usize = 8;
    pub(super) const COUNT: Form = Form::Whole(1, 1024);
    pub(super) const GPU_MEMORY: Form = Form::Size(64 << 20, 1 << 44);
}

impl Default for Execution {
    fn default() -> Self {
        Self { device: Device::Auto, threads: None, max_batch: Self::MAX_BATCH, gpu_memory: None }
    }
}

/// Where the model runs. The number is the GPU's, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Device {
    /// The best available one.
    Auto,
    /// The processor.
    Cpu,
    /// An NVIDIA GPU.
    Cuda(u32),
    /// An NVIDIA GPU with TensorRT, which first compiles the model for it.
    TensorRt(u32),
    /// An AMD GPU with ONNX Runtime's provider until 1.22.
    Rocm(u32),
    /// An AMD GPU with the provider of newer versions.
    MiGraphX(u32),
    /// A device of OpenVINO: Intel's processors, GPUs and NPUs.
    OpenVino(OpenVino),
    /// Apple's Core ML.
    CoreMl,
    /// A GPU under Windows.
    DirectMl(u32),
}

/// A device of OpenVINO.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OpenVino {
    /// The library's own choice.
    Default,
    /// The processor.
    Cpu,
    /// A GPU, by its number.
    Gpu(u32),
    /// An NPU.
    Npu,
}

impl Device {
    /// The form in the configuration.
    pub(super) const FORM: Form = Form::like("a device, such as `auto`, `cpu` or `cuda`");

    /// The names without a number.
    pub const NAMES: [&str; 9] =
        ["auto", "cpu", "cuda", "tensorrt", "openvino", "migraphx", "rocm", "coreml", "directml"];

    /// Reads a text such as `cuda:1`.
    ///
    /// # Errors
    /// What to write instead.
    pub fn parse(text: &str) -> Result<Self, String> {
        let lower = text.trim().to_lowercase();
        let (name, which) =
            lower.split_once(':').map_or((&*lower, None), |(name, which)| (name, Some(which)));
        let gpu = |device: fn(u32) -> Self| match which.map_or(Some(0), gpu_number) {
            Some(number) => Ok(device(number)),
            None => Err(format!("write the number of the GPU after the colon, from 0: `{name}:1`")),
        };
        let alone = |device| match which {
            None => Ok(device),
            Some(_) => Err(format!("it has no number: write `{name}`")),
        };
        match name {
            "auto" => alone(Self::Auto),
            "cpu" => alone(Self::Cpu),
            "cuda" => gpu(Self::Cuda),
            "tensorrt" => gpu(Self::TensorRt),
            "rocm" => gpu(Self::Rocm),
            "migraphx" => gpu(Self::MiGraphX),
            "openvino" => OpenVino::parse(which).map(Self::OpenVino).ok_or_else(|| {
                "OpenVINO runs on `openvino:cpu`, `openvino:gpu`, `openvino:gpu.1` or `openvino:npu`".to_owned()
            }),
            "coreml" => alone(Self::CoreMl),
            "directml" => gpu(Self::DirectMl),
            "gpu" | "nvidia" | "amd" | "intel" | "npu" => Err(
                "write `cuda` for a GPU of NVIDIA, `migraphx` for AMD, `openvino:gpu` or `openvino:npu` for Intel, or \
                 `auto` for the best available device"
                    .to_owned(),
            ),
            other => Err(names::nearest(other, Self::NAMES).map_or_else(
                || format!("known: {}", names::list(&Self::NAMES, "and")),
                |name| format!("did you mean `{name}`?"),
            )),
        }
    }

    /// Whether it is neither the processor nor `auto`.
    #[must_use]
    pub fn is_accelerator(self) -> bool {
        !matches!(self, Self::Auto | Self::Cpu)
    }

    /// Whether it computes in half precision if the model does: GPUs and NPUs. A processor converts such numbers first. `auto`
    /// counts as the processor.
    #[must_use]
    pub fn computes_in_half(self) -> bool {
        match self {
            Self::Auto | Self::Cpu | Self::OpenVino(OpenVino::Default | OpenVino::Cpu) => false,
            Self::Cuda(_)
            | Self::TensorRt(_)
            | Self::Rocm(_)
            | Self::MiGraphX(_)
            | Self::OpenVino(OpenVino::Gpu(_) | OpenVino::Npu)
            | Self::CoreMl
            | Self::DirectMl(_) => true,
        }
    }
}

fn gpu_number(text: &str) -> Option<u32> {
    value::whole(text).and_then(|number| u32::try_from(number).ok()).filter(|number| *number < 64)
}

impl OpenVino {
    fn parse(which: Option<&str>) -> Option<Self> {
        Some(match which {
            None => Self::Default,
            Some("cpu") => Self::Cpu,
            Some("gpu") => Self::Gpu(0),
            Some("npu") => Self::Npu,
            Some(other) => Self::Gpu(gpu_number(other.strip_prefix("gpu.")?)?),
        })
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, number) = match *self {
            Self::Auto => ("auto", 0),
            Self::Cpu => ("cpu", 0),
            Self::Cuda(number) => ("cuda", number),
            Self::TensorRt(number) => ("tensorrt", number),
            Self::Rocm(number) => ("rocm", number),
            Self::MiGraphX(number) => ("migraphx", number),
            Self::OpenVino(OpenVino::Default) => ("openvino", 0),
            Self::OpenVino(OpenVino::Cpu) => ("openvino:cpu", 0),
            Self::OpenVino(OpenVino::Gpu(0)) => ("openvino:gpu", 0),
            Self::OpenVino(OpenVino::Gpu(number)) => return write!(f, "openvino:gpu.{number}"),
            Self::OpenVino(OpenVino::Npu) => ("openvino:npu", 0),
            Self::CoreMl => ("coreml", 0),
            Self::DirectMl(number) => ("directml", number),
        };
        match number {
            0 => f.write_str(name),
            number => write!(f, "{name}:{number}"),
        }
    }
}

/// Reads the keys of the top level that are about this.
pub(super) fn read(reader: &mut Reader<'_>, section: &Section<'_>) -> Option<Execution> {
    let device = section.read(reader, "device", |reader, at| reader.parsed(at, Device::parse));
    let threads = section.optional(reader, "threads", Reader::whole);
    let max_batch = section.read(reader, "max_batch", Reader::whole);
    let gpu_memory = section.optional(reader, "gpu_memory", Reader::size);
    Some(Execution { device: device?, threads: threads?, max_batch: max_batch?, gpu_memory: gpu_memory? })
}

/// Reports keys that have no effect beside a model server: it runs the pictures, and this machine encodes texts on its processor.
pub(super) fn of_no_use(reader: &mut Reader<'_>, section: &Section<'_>) {
    for at in ["device", "gpu_memory"].into_iter().filter_map(|key| section.get(key)) {
        // `auto` and `cpu` are true: texts are encoded on the processor.
        if at.name == "device" && ["auto", "cpu"].contains(&at.typed().to_lowercase().as_str()) {
            continue;
        }
        let message =
            format!("`{}` has no effect: the server of `model` runs the graph for pictures", at.name);
        let remedy = format!("remove `{}`, or remove `server` from `model`", at.name);
        reader.problem(at.key, message, remedy);
    }
}

#[cfg(test)]
mod tests {
    use super::{Device::*, OpenVino as Ov, *};

    #[test]
    fn devices_are_parsed() {
        let cases = [
            ("auto", Some(Auto)),
            ("CPU", Some(Cpu)),
            ("cuda", Some(Cuda(0))),
            ("cuda:1", Some(Cuda(1))),
            ("tensorrt:2", Some(TensorRt(2))),
            ("rocm", Some(Rocm(0))),
            ("migraphx:3", Some(MiGraphX(3))),
            ("openvino", Some(OpenVino(Ov::Default))),
            ("openvino:gpu", Some(OpenVino(Ov::Gpu(0)))),
            ("openvino:GPU.1", Some(OpenVino(Ov::Gpu(1)))),
            ("openvino:npu", Some(OpenVino(Ov::Npu))),
            ("coreml", Some(CoreMl)),
            ("directml:1", Some(DirectMl(1))),
            ("cuda:", None),
            ("cuda:x", None),
            ("cuda:64", None),
            ("cpu:1", None),
            ("openvino:1", None),
            ("gpu", None),
            ("", None),
        ];
        for (text, expected) in cases {
            let device = Device::parse(text);
            assert_eq!(device.clone().ok(), expected, "{text}: {device:?}");
            if let Ok(device) = device {
                assert_eq!(Device::parse(&device.to_string()), Ok(device), "as it is shown");
            }
        }
        assert_eq!(Device::parse("cude"), Err("did you mean `cuda`?".to_owned()));
        assert!(Device::parse("gpu").unwrap_err().contains("`migraphx` for AMD"));
        for name in Device::NAMES {
            assert_eq!(Device::parse(name).unwrap().to_string(), name);
        }
    }
}
