//! How the model is run: on which device, with how many threads, how many pictures at once, in how much memory of a GPU.
//!
//! It refuses to know whether this machine has the device: that is found out where the model is loaded.

use std::fmt;

use super::build::number;
use crate::{
    yaml::names,
    yaml::{
        reader::{Reader, Section},
        value,
    },
};

/// How the model is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Execution {
    /// Where it runs.
    pub device: Device,
    /// Threads of one run on the processor; `None` is one for each processor.
    pub threads: Option<usize>,
    /// At most so many pictures go through the model in one run.
    pub max_batch: usize,
    /// At most so many bytes of a GPU's memory are taken; `None` is what it takes.
    pub gpu_memory: Option<u64>,
}

impl Execution {
    /// The default of `max_batch`: on a processor more would not be faster, only later.
    pub const MAX_BATCH: usize = 8;
    const MOST: u64 = 1024;
    const GPU_MEMORY: (u64, u64) = (64 << 20, 1 << 44);
}

impl Default for Execution {
    fn default() -> Self {
        Self { device: Device::Auto, threads: None, max_batch: Self::MAX_BATCH, gpu_memory: None }
    }
}

/// Where the model runs. The number is the GPU's, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Device {
    /// The best that is there.
    Auto,
    /// The processor.
    Cpu,
    /// An NVIDIA GPU.
    Cuda(u32),
    /// An NVIDIA GPU, by way of TensorRT, which compiles the model for it first.
    TensorRt(u32),
    /// An AMD GPU, by way of the provider that ONNX Runtime had until 1.22.
    Rocm(u32),
    /// An AMD GPU, by way of the provider of newer versions.
    MiGraphX(u32),
    /// What OpenVINO runs on: Intel's processors, GPUs and NPUs.
    OpenVino(OpenVino),
    /// Apple's.
    CoreMl,
    /// A GPU under Windows.
    DirectMl(u32),
}

/// What OpenVINO runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OpenVino {
    /// What the library takes by itself.
    Default,
    /// The processor.
    Cpu,
    /// A GPU, by its number.
    Gpu(u32),
    /// An NPU.
    Npu,
}

impl Device {
    /// What can be typed, without a number.
    pub const NAMES: [&str; 9] =
        ["auto", "cpu", "cuda", "tensorrt", "openvino", "migraphx", "rocm", "coreml", "directml"];

    /// The device that is meant by a text such as `cuda:1`.
    ///
    /// # Errors
    /// What to write instead.
    pub fn parse(text: &str) -> Result<Self, String> {
        let lower = text.trim().to_lowercase();
        let (name, which) =
            lower.split_once(':').map_or((&*lower, None), |(name, which)| (name, Some(which)));
        let gpu = |device: fn(u32) -> Self| match which.map_or(Some(0), gpu_number) {
            Some(number) => Ok(device(number)),
            None => Err(format!("behind the colon stands the number of the GPU, from 0: `{name}:1`")),
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
                 `auto` for the best that is there"
                    .to_owned(),
            ),
            other => Err(names::nearest(other, Self::NAMES).map_or_else(
                || format!("known are {}", names::list(&Self::NAMES, "and")),
                |name| format!("did you mean `{name}`?"),
            )),
        }
    }

    /// Whether it is neither the processor nor still to be chosen.
    #[must_use]
    pub fn is_accelerator(self) -> bool {
        !matches!(self, Self::Auto | Self::Cpu)
    }

    /// Whether its arithmetic is of half precision where a model is: GPUs and what stands beside them. A processor turns such
    /// numbers into others first. A device that is still to be chosen counts as the processor.
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

/// The keys of the top level that are read here.
pub(super) fn read(reader: &mut Reader<'_>, section: &Section<'_>) -> Option<Execution> {
    let device = section.get("device").map_or(Some(Device::Auto), |at| {
        reader.parsed(&at, "a device, such as `auto`, `cpu` or `cuda`", Device::parse)
    });
    let threads = section.get("threads").map(|at| number(reader, &at, 1, Execution::MOST));
    let max_batch = section.get("max_batch").map(|at| number(reader, &at, 1, Execution::MOST));
    let gpu_memory = section.get("gpu_memory").map(|at| {
        let (least, most) = Execution::GPU_MEMORY;
        reader.parsed(&at, "an amount of memory from 64MB on", |text| {
            let bytes = value::size(text)?;
            if (least..=most).contains(&bytes) {
                Ok(bytes)
            } else {
                Err("it needs a unit, such as `2GB`".to_owned())
            }
        })
    });
    let small = |number: u64| usize::try_from(number).ok();
    Some(Execution {
        device: device?,
        threads: threads.map_or(Some(None), |typed| Some(small(typed?)))?,
        max_batch: max_batch.map_or(Some(Execution::MAX_BATCH), |typed| small(typed?))?,
        gpu_memory: gpu_memory.map_or(Some(None), |typed| typed.map(Some))?,
    })
}

#[cfg(test)]
mod tests {
    use super::{Device::*, OpenVino as Ov, *};

    #[test]
    fn what_can_be_typed_for_a_device() {
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
