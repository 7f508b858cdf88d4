//! What can be tried: a device, the precision in which it computes, and the variant of the graphs. Pure, except for the files of
//! the model.

use std::path::PathBuf;

use serde::{Deserialize, Deserializer, Serialize, de::Error as _};

use crate::{
    config::{CustomPlugin, Device, OpenVino, Precision, Variant},
    engine::{plugins::Plugin, processor::Processor},
    model::ModelFiles,
};

/// A way to run the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(into = "StoredCandidate")]
pub struct Candidate {
    /// The device; never `auto`.
    pub device: Device,
    /// The precision in which it computes.
    pub precision: Precision,
    /// The hub's name of the variant of the graphs.
    pub variant: &'static str,
}

/// A device of a plugin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceEntry {
    /// The name of the execution provider.
    pub provider: String,
    /// `cpu`, `gpu` or `npu`.
    pub kind: String,
    /// Its name, or the name of its maker.
    pub title: String,
    /// The name that OpenVINO gives it; empty for other plugins.
    pub openvino: String,
    /// The version of the plugin, if the plugin says it; otherwise empty.
    pub version: String,
}

/// A candidate, as it is stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct StoredCandidate {
    device: DeviceName,
    precision: String,
    variant: String,
}

/// A device, as it is stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum DeviceName {
    /// A word such as `cuda:1`.
    Word(String),
    /// A plugin by its file.
    Plugin {
        /// The library.
        plugin: PathBuf,
        /// Which of its devices.
        device: u32,
        /// Its options.
        options: Vec<(String, String)>,
    },
}

impl DeviceName {
    /// The name of a device.
    pub(super) fn of(device: Device) -> Self {
        match device {
            Device::Plugin(CustomPlugin { library, device, options }) => {
                Self::Plugin { plugin: library.clone(), device: *device, options: options.clone() }
            }
            named => Self::Word(named.to_string()),
        }
    }

    /// The device of this name.
    pub(super) fn device(&self) -> Result<Device, String> {
        match self.clone() {
            Self::Word(word) => Device::parse(&word),
            Self::Plugin { plugin, device, options } => {
                Ok(Device::Plugin(CustomPlugin { library: plugin, device, options }.interned()))
            }
        }
    }
}

impl From<Candidate> for StoredCandidate {
    fn from(candidate: Candidate) -> Self {
        let Candidate { device, precision, variant } = candidate;
        Self {
            device: DeviceName::of(device),
            precision: precision.word().to_owned(),
            variant: variant.to_owned(),
        }
    }
}

/// By hand: a derived one would borrow the name of the variant from what it reads.
impl<'de> Deserialize<'de> for Candidate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::try_from(StoredCandidate::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

impl TryFrom<StoredCandidate> for Candidate {
    type Error = String;

    fn try_from(stored: StoredCandidate) -> Result<Self, String> {
        let variant = Variant::NAMES.into_iter().find(|name| *name == stored.variant);
        Ok(Self {
            device: stored.device.device()?,
            precision: Precision::parse(&stored.precision)?,
            variant: variant.ok_or_else(|| format!("there is no variant {}", stored.variant))?,
        })
    }
}

impl std::fmt::Display for Candidate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { device, precision, variant } = self;
        match precision {
            Precision::Auto => write!(f, "{device} {variant}"),
            precision if *variant == "fp32" => write!(f, "{device} {}", precision.word()),
            precision => write!(f, "{device} {} {variant}", precision.word()),
        }
    }
}

/// The variants on this machine that a processor may run faster than full precision, and full precision itself.
pub(super) fn variants(files: &ModelFiles) -> Vec<&'static str> {
    // Half precision is slower on a processor, and weights of 4 bits fail the canary.
    let tried = ["fp32", "int8", "quantized", "uint8"];
    let is_there = |name: &&str| match *name {
        "fp32" => files.is_complete(""),
        // What is made from weights is made when someone asks for it.
        name => files.has_onnx(&Variant::suffix(name)),
    };
    tried.into_iter().filter(is_there).collect()
}

/// The hub's name of the variant with this suffix.
pub(super) fn variant_name(suffix: &str) -> &'static str {
    let name = Variant::of_suffix(suffix);
    Variant::NAMES.into_iter().find(|known| *known == name).unwrap_or("fp32")
}

/// Everything that can be tried, in this order: the processor first, because everything is compared with it, and then what is
/// expected to be fast.
pub(super) fn candidates(
    variants: &[&'static str],
    plugins: &[(&'static Plugin, Vec<DeviceEntry>)],
    processor: &Processor,
) -> Vec<Candidate> {
    let (full, reduced) = variants.split_at(usize::from(variants.first() == Some(&"fp32")));
    let on_processor = |variant: &&'static str| Candidate { variant, ..Candidate::reference() };
    let mut all: Vec<_> = full.iter().map(on_processor).collect();
    // Graphs of full precision suit every device, which reduces the precision itself.
    if !full.is_empty() {
        let devices = plugins.iter().flat_map(|(plugin, devices)| of_plugin(plugin, devices));
        for (device, _) in devices {
            for precision in precisions(device, processor) {
                all.push(Candidate { device, precision, variant: "fp32" });
            }
        }
    }
    all.extend(reduced.iter().map(on_processor));
    all
}

impl Candidate {
    /// Full precision on the processor.
    const fn reference() -> Self {
        Self { device: Device::Cpu, precision: Precision::Auto, variant: "fp32" }
    }
}

/// The devices of a plugin that the configuration can name, each with what the plugin says about it.
pub(super) fn of_plugin(plugin: &Plugin, devices: &[DeviceEntry]) -> Vec<(Device, DeviceEntry)> {
    let numbered = |device: fn(u32) -> Device| {
        let gpus = devices.iter().filter(|entry| entry.kind == "gpu");
        (0..).zip(gpus).map(|(number, entry)| (device(number), entry.clone())).collect::<Vec<_>>()
    };
    match plugin.name {
        "openvino" => {
            // The virtual devices, which choose another device, are none.
            let own = devices.iter().filter(|entry| !entry.provider.contains('.'));
            own.filter_map(|entry| Some((openvino(entry)?, entry.clone()))).collect()
        }
        "webgpu" => numbered(Device::WebGpu),
        "tensorrt-rtx" => numbered(Device::TensorRtRtx),
        "qnn" => {
            let npu = devices.iter().find(|entry| entry.kind == "npu");
            npu.map(|entry| (Device::Qnn, entry.clone())).into_iter().collect()
        }
        _ => vec![],
    }
}

/// The device of OpenVINO that an entry is.
fn openvino(entry: &DeviceEntry) -> Option<Device> {
    let which = match entry.openvino.split_once('.') {
        None if entry.openvino.is_empty() => &*entry.kind,
        None => &*entry.openvino,
        Some((name, _)) => name,
    };
    let number = entry.openvino.split_once('.').and_then(|(_, number)| number.parse().ok()).unwrap_or(0);
    match which.to_lowercase().as_str() {
        "cpu" => Some(Device::OpenVino(OpenVino::Cpu)),
        "gpu" => Some(Device::OpenVino(OpenVino::Gpu(number))),
        "npu" => Some(Device::OpenVino(OpenVino::Npu)),
        _ => None,
    }
}

/// The precisions of a device that are worth a trial, the fastest first.
pub(super) fn precisions(device: Device, processor: &Processor) -> Vec<Precision> {
    match device {
        Device::OpenVino(OpenVino::Default | OpenVino::Cpu) if processor.has_bf16() => {
            vec![Precision::Bf16, Precision::Fp32]
        }
        Device::OpenVino(OpenVino::Default | OpenVino::Cpu) => vec![Precision::Fp32],
        Device::OpenVino(OpenVino::Gpu(_) | OpenVino::Npu) => vec![Precision::Fp16],
        _ => vec![Precision::Auto],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(provider: &str, kind: &str, openvino: &str) -> DeviceEntry {
        DeviceEntry {
            provider: provider.to_owned(),
            kind: kind.to_owned(),
            title: String::new(),
            openvino: openvino.to_owned(),
            version: String::new(),
        }
    }

    #[test]
    fn everything_that_can_be_tried() {
        let plugin = |name| Plugin::named(name).unwrap();
        let openvino = vec![
            entry("OpenVINOExecutionProvider.AUTO", "cpu", "AUTO"),
            entry("OpenVINOExecutionProvider", "cpu", "CPU"),
            entry("OpenVINOExecutionProvider", "gpu", "GPU.1"),
            entry("OpenVINOExecutionProvider", "npu", ""),
        ];
        let webgpu = vec![entry("W", "cpu", ""), entry("W", "gpu", "")];
        let amx = Processor { extensions: vec!["amx_bf16"], ..Processor::default() };
        let plain = Processor::default();
        let all = [(plugin("openvino"), openvino), (plugin("webgpu"), webgpu), (plugin("qnn"), vec![])];
        type Case<'a> = (&'a [&'static str], usize, &'a Processor, &'a str);
        let cases: [Case<'_>; 5] = [
            (&["fp32"], 0, &plain, "cpu fp32"),
            (&["fp32", "int8"], 0, &plain, "cpu fp32, cpu int8"),
            (
                &["fp32", "int8"],
                3,
                &amx,
                "cpu fp32, openvino:cpu bf16, openvino:cpu fp32, openvino:gpu.1 fp16, openvino:npu fp16, webgpu fp32, cpu int8",
            ),
            (&["fp32"], 1, &plain, "cpu fp32, openvino:cpu fp32, openvino:gpu.1 fp16, openvino:npu fp16"),
            (&["int8"], 3, &amx, "cpu int8"),
        ];
        for (variants, plugins, processor, expected) in cases {
            let found = candidates(variants, &all[..plugins], processor);
            let names: Vec<_> = found.iter().map(ToString::to_string).collect();
            assert_eq!(names.join(", "), expected);
            let stored = serde_json::to_string(&found).unwrap();
            assert_eq!(serde_json::from_str::<Vec<Candidate>>(&stored).unwrap(), found, "{stored}");
        }
    }

    #[test]
    fn a_plugin_by_its_file_is_stored_whole() {
        let options = vec![("a".to_owned(), "b".to_owned())];
        let custom = CustomPlugin { library: "/a/p.so".into(), device: 3, options }.interned();
        let candidate = Candidate { device: Device::Plugin(custom), ..Candidate::reference() };
        let stored = serde_json::to_string(&candidate).unwrap();
        assert_eq!(serde_json::from_str::<Candidate>(&stored).unwrap(), candidate, "{stored}");
        for damaged in [r#"{"device":"cude","precision":"auto","variant":"fp32"}"#, "{}"] {
            assert!(serde_json::from_str::<Candidate>(damaged).is_err(), "{damaged}");
        }
    }
}
