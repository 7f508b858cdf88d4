//! How the model is run: on which device, in which precision, with how many threads, how many pictures at once, in how much GPU memory.
//!
//! Whether this machine has the device is checked when the model is loaded.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use serde_json::{Value, json};

use crate::yaml::{
    fields::{Field, Form, Table, explain, specs, words},
    names,
    reader::{Reader, Section, Setting},
    value,
};

/// How the model is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Execution {
    /// Where it runs.
    pub device: Device,
    /// The precision in which a device computes graphs of full precision, if the device has a choice.
    pub precision: Precision,
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
        Self {
            device: Device::Auto,
            precision: Precision::Auto,
            threads: None,
            max_batch: Self::MAX_BATCH,
            gpu_memory: None,
        }
    }
}

/// The precision in which a device computes graphs of full precision.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Precision {
    /// The fastest one that the device has in hardware.
    #[default]
    Auto,
    /// 32 bits, as the reference.
    Fp32,
    /// 16 bits with the range of 32.
    Bf16,
    /// 16 bits.
    Fp16,
}

impl Precision {
    /// The words in the configuration.
    pub const WORDS: [(&str, Self); 4] =
        [("auto", Self::Auto), ("fp32", Self::Fp32), ("bf16", Self::Bf16), ("fp16", Self::Fp16)];
    pub(super) const FORM: Form = Form::Words(&words(&Self::WORDS));

    /// Its word in the configuration.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Fp32 => "fp32",
            Self::Bf16 => "bf16",
            Self::Fp16 => "fp16",
        }
    }

    /// Reads a word.
    ///
    /// # Errors
    /// The known words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let found = Self::WORDS.into_iter().find(|(word, _)| *word == text);
        found.map(|(_, precision)| precision).ok_or_else(|| {
            let known = Self::WORDS.map(|(word, _)| word);
            format!("write {}", names::list(&known, "or"))
        })
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
    /// An NVIDIA GPU with TensorRT for RTX, a plugin.
    TensorRtRtx(u32),
    /// A GPU through WebGPU, a plugin.
    WebGpu(u32),
    /// Qualcomm's NPU, a plugin.
    Qnn,
    /// Apple's Core ML.
    CoreMl,
    /// A GPU under Windows.
    DirectMl(u32),
    /// A device of a plugin that the configuration names by its file.
    Plugin(&'static CustomPlugin),
}

/// A device of a plugin that the configuration names by its file.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CustomPlugin {
    /// The library of the plugin.
    pub library: PathBuf,
    /// Which of the plugin's devices, from 0.
    pub device: u32,
    /// The options of the plugin, as its documentation names them.
    pub options: Vec<(String, String)>,
}

impl CustomPlugin {
    /// A device is copied wherever it is used, so each different one is made once and kept until the process ends.
    #[must_use]
    pub fn interned(self) -> &'static Self {
        static KNOWN: Mutex<Vec<&'static CustomPlugin>> = Mutex::new(Vec::new());
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(same) = known.iter().find(|known| ***known == self) {
            return same;
        }
        let new: &'static Self = Box::leak(Box::new(self));
        known.push(new);
        new
    }
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
    pub(super) const FORM: Form = Form::Either(&[Self::WORD, Form::Mapping(&PLUGIN)]);

    /// Its short form.
    const WORD: Form = Form::like("a device, such as `auto`, `cpu` or `cuda`");

    /// The names without a number.
    pub const NAMES: [&str; 12] = [
        "auto",
        "cpu",
        "cuda",
        "tensorrt",
        "tensorrt-rtx",
        "openvino",
        "webgpu",
        "qnn",
        "migraphx",
        "rocm",
        "coreml",
        "directml",
    ];

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
            "tensorrt-rtx" => gpu(Self::TensorRtRtx),
            "webgpu" => gpu(Self::WebGpu),
            "qnn" => alone(Self::Qnn),
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
            | Self::TensorRtRtx(_)
            | Self::WebGpu(_)
            | Self::Qnn
            | Self::CoreMl
            | Self::DirectMl(_) => true,
            // The graph of full precision suits every plugin.
            Self::Plugin(_) => false,
        }
    }

    /// Its value in the configuration.
    #[must_use]
    pub fn shown(self) -> Value {
        match self {
            Self::Plugin(custom) => explain(PLUGIN_FIELDS, custom).into(),
            named => json!(named.to_string()),
        }
    }
}

/// The keys of a device of a plugin.
const PLUGIN_FIELDS: &[Field<CustomPlugin>] = &[
    Field::new(
        "plugin",
        Form::Path,
        "The library of an execution provider for ONNX Runtime.",
        |it: &CustomPlugin| Some(json!(it.library.display().to_string())),
    )
    .required()
    .example("/opt/provider/libprovider.so"),
    Field::new(
        "device",
        Form::Whole(0, 63),
        "Which of the devices that the plugin offers, from 0.",
        |it: &CustomPlugin| Some(json!(it.device)),
    )
    .default("0"),
    Field::new(
        "options",
        Form::Named(&Form::Text),
        "Options of the plugin, as its documentation names them.",
        |it: &CustomPlugin| {
            let options = it.options.iter().map(|(key, value)| (key.clone(), json!(value)));
            Some(Value::Object(options.collect()))
        },
    )
    .example("{ precision: fast }"),
];
const PLUGIN: Table = Table { title: "device", fields: || specs(PLUGIN_FIELDS) };

/// Reads a word such as `cuda:1`, or the mapping of a plugin.
fn read_device(reader: &mut Reader<'_>, at: &Setting<'_>) -> Option<Device> {
    if !at.is_mapping() {
        let text = reader.text(at)?;
        let device = Device::parse(&text);
        return device.map_err(|remedy| reader.must_be(at, &Device::WORD.expected(), remedy)).ok();
    }
    let section = reader.section(at, &PLUGIN)?;
    let library = section.read(reader, "plugin", Reader::path);
    let device = section.read(reader, "device", Reader::whole);
    let options = section.optional(reader, "options", |reader, at| {
        let entries = reader.named(at, "name the options: `options: { NAME: VALUE }`");
        let pair = |at: &Setting<'_>| Some((at.name.to_owned(), reader.text(at)?));
        entries.iter().map(pair).collect::<Option<Vec<_>>>()
    });
    let (library, device, options) = (library?, device?, options?.unwrap_or_default());
    Some(Device::Plugin(CustomPlugin { library, device, options }.interned()))
}

/// The name of a file without its folder, for messages.
fn file_name(path: &Path) -> std::borrow::Cow<'_, str> {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy()
}

/// The key `canary`.
pub(super) mod canary {
    use super::{Duration, Form, Reader, Setting, value};

    const LEAST: Duration = Duration::from_secs(60);
    const MOST: Duration = Duration::from_secs(24 * 60 * 60);
    /// The word for none.
    const OFF: &str = "off";
    /// The form in the configuration.
    pub(in crate::config) const FORM: Form =
        Form::Either(&[Form::Duration(LEAST, MOST), Form::Words(&[OFF])]);

    /// The value as it would be typed.
    pub(in crate::config) fn shown(every: Option<Duration>) -> String {
        every.map_or(OFF.to_owned(), value::duration_text)
    }

    /// Reads `off`, or how often the canary runs.
    pub(in crate::config) fn read(reader: &mut Reader<'_>, at: &Setting<'_>) -> Option<Option<Duration>> {
        reader.parsed(at, |text| match text {
            OFF => Ok(None),
            text => match value::duration(text)? {
                every if (LEAST..=MOST).contains(&every) => Ok(Some(every)),
                _ => {
                    let [least, most] = [LEAST, MOST].map(value::duration_text);
                    Err(format!("use at least {least} and at most {most}, or `off`"))
                }
            },
        })
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
            Self::TensorRtRtx(number) => ("tensorrt-rtx", number),
            Self::WebGpu(number) => ("webgpu", number),
            Self::Qnn => ("qnn", 0),
            Self::CoreMl => ("coreml", 0),
            Self::DirectMl(number) => ("directml", number),
            Self::Plugin(custom) => {
                return write!(f, "{}:{}", file_name(&custom.library), custom.device);
            }
        };
        match number {
            0 => f.write_str(name),
            number => write!(f, "{name}:{number}"),
        }
    }
}

/// Reads the keys of the top level that are about this.
pub(super) fn read(reader: &mut Reader<'_>, section: &Section<'_>) -> Option<Execution> {
    let device = section.read(reader, "device", read_device);
    let precision = section.read(reader, "precision", |reader, at| reader.word(at, &Precision::WORDS));
    let threads = section.optional(reader, "threads", Reader::whole);
    let max_batch = section.read(reader, "max_batch", Reader::whole);
    let gpu_memory = section.optional(reader, "gpu_memory", Reader::size);
    let (device, precision, threads) = (device?, precision?, threads?);
    Some(Execution { device, precision, threads, max_batch: max_batch?, gpu_memory: gpu_memory? })
}

/// Reports keys that have no effect beside a model server: it runs the pictures, and this machine encodes texts on its processor.
pub(super) fn of_no_use(reader: &mut Reader<'_>, section: &Section<'_>) {
    for at in ["device", "precision", "gpu_memory"].into_iter().filter_map(|key| section.get(key)) {
        // `auto` and `cpu` are true: texts are encoded on the processor.
        if at.name != "gpu_memory" && ["auto", "cpu"].contains(&at.typed().to_lowercase().as_str()) {
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
            ("tensorrt-rtx", Some(TensorRtRtx(0))),
            ("tensorrt-rtx:1", Some(TensorRtRtx(1))),
            ("webgpu", Some(WebGpu(0))),
            ("qnn", Some(Qnn)),
            ("qnn:1", None),
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

    #[test]
    fn precisions_have_words() {
        for (word, precision) in Precision::WORDS {
            assert_eq!((Precision::parse(word), precision.word()), (Ok(precision), word));
        }
        assert_eq!(Precision::parse("half").unwrap_err(), "write `auto`, `fp32`, `bf16` or `fp16`");
    }

    #[test]
    fn equal_plugins_are_one() {
        let named = |device| CustomPlugin { library: "/a/libx.so".into(), device, options: vec![] };
        let (one, same, other) = (named(0).interned(), named(0).interned(), named(1).interned());
        assert!(std::ptr::eq(one, same) && !std::ptr::eq(one, other));
        assert_eq!(Plugin(other).to_string(), "libx.so:1");
        assert!(Plugin(one).is_accelerator() && !Plugin(one).computes_in_half());
    }
}
