//! Loads plugins into ONNX Runtime, finds their devices, and gives sessions to them.
//!
//! A plugin is loaded into this process the first time that one of its devices is asked for, and stays. It may end the process, so
//! the service asks only for devices that worked in another process before.

use std::{
    collections::{BTreeMap, HashMap},
    num::NonZero,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use ort::{environment::Environment, session::builder::SessionBuilder};
use serde_json::{Map, Value};

use super::plugin_api::{self, DeviceFacts};
use crate::{
    cache,
    config::{CustomPlugin, Device, Execution, OpenVino, Precision},
    engine::{
        plugins::{Installed, Plugin},
        processor::Processor,
    },
};

/// The number of graphs whose compiled form is kept.
const MOST_COMPILED: usize = 8;

/// What a device is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceKind {
    /// A processor.
    Cpu,
    /// A GPU.
    Gpu,
    /// A processor for neural networks.
    Npu,
}

impl DeviceKind {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Gpu => "gpu",
            Self::Npu => "npu",
        }
    }

    fn of(number: i32) -> Self {
        match number {
            1 => Self::Gpu,
            2 => Self::Npu,
            _ => Self::Cpu,
        }
    }
}

/// A device that a plugin offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginDevice {
    /// The name of the execution provider.
    pub provider: String,
    /// What the device is.
    pub kind: DeviceKind,
    /// Its name, or the name of its maker.
    pub title: String,
    /// The name that OpenVINO gives it, such as `GPU.1`; empty for other plugins.
    pub openvino: String,
    /// The version of the plugin, if the plugin says it; otherwise empty.
    pub version: String,
    facts: DeviceFacts,
}

impl PluginDevice {
    fn of(facts: DeviceFacts) -> Self {
        let value = |keys: &[&str]| {
            let value = keys.iter().find_map(|key| facts.metadata.get(*key));
            value.cloned().unwrap_or_default()
        };
        let named = value(&["Description", "description"]);
        Self {
            provider: facts.provider.clone(),
            kind: DeviceKind::of(facts.kind),
            title: if named.is_empty() { facts.vendor.clone() } else { named },
            openvino: value(&["ov_device"]),
            version: value(&["version"]),
            facts,
        }
    }
}

/// The plugins that were loaded into this process, with their devices or why they cannot be loaded.
#[derive(Debug, Clone, Default)]
pub(super) struct LoadedPlugins(Arc<Mutex<HashMap<PathBuf, Devices>>>);

/// The devices of a plugin, or why it cannot be loaded.
type Devices = Result<Vec<PluginDevice>, String>;

impl LoadedPlugins {
    /// The devices of a plugin, which is loaded if it is not yet.
    pub(super) fn devices(&self, environment: &Environment, library: &Path) -> Devices {
        // Held while a plugin is loaded: its devices are those that are new.
        let mut loaded = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = loaded.get(library) {
            return known.clone();
        }
        let name = format!("stakeout-{}", loaded.len());
        let found = load(environment, &name, library);
        loaded.insert(library.to_owned(), found.clone());
        found
    }
}

fn load(environment: &Environment, name: &str, library: &Path) -> Devices {
    if !library.is_file() {
        return Err(format!("there is no file {}", library.display()));
    }
    let before: Vec<_> = plugin_api::devices(environment)?.into_iter().map(|facts| facts.pointer).collect();
    plugin_api::register(environment, name, library)?;
    let all = plugin_api::devices(environment)?.into_iter();
    Ok(all.filter(|facts| !before.contains(&facts.pointer)).map(PluginDevice::of).collect())
}

/// The library of the plugin that a device belongs to, if it is on this machine. `None`: the device belongs to no plugin.
pub(super) fn library_of(device: Device) -> Option<Result<PathBuf, &'static Plugin>> {
    if let Device::Plugin(CustomPlugin { library, .. }) = device {
        return Some(Ok(library.clone()));
    }
    let plugin = Plugin::of(device)?;
    Some(plugin.installed().map(|Installed { library, .. }| library).ok_or(plugin))
}

/// The device of a plugin that `wanted` means.
pub(super) fn choose(wanted: Device, devices: &[PluginDevice]) -> Result<&PluginDevice, String> {
    let of_kind = |kind| devices.iter().filter(move |device| device.kind == kind).collect::<Vec<_>>();
    let number = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
    let found = match wanted {
        Device::OpenVino(which) => devices.iter().find(|device| is_openvino(which, device)),
        Device::TensorRtRtx(gpu) | Device::WebGpu(gpu) => of_kind(DeviceKind::Gpu).get(number(gpu)).copied(),
        Device::Qnn => of_kind(DeviceKind::Npu).first().copied(),
        Device::Plugin(custom) => devices.get(number(custom.device)),
        _ => None,
    };
    found.ok_or_else(|| match devices {
        [] => "its plugin finds no device on this machine".to_owned(),
        devices => {
            let names = devices.iter().map(|device| match &*device.openvino {
                "" => format!("{} {}", device.kind.name(), device.title),
                name => name.to_owned(),
            });
            let names = names.collect::<Vec<_>>().join(", ");
            format!("its plugin does not find this device on this machine, but only {names}")
        }
    })
}

/// Whether this is the device of OpenVINO. The virtual devices, which choose another device, are none.
fn is_openvino(which: OpenVino, device: &PluginDevice) -> bool {
    let name = match &*device.openvino {
        "" => device.kind.name().to_uppercase(),
        name => name.to_uppercase(),
    };
    if device.provider.contains('.') {
        return false;
    }
    match which {
        // The processor is there on every machine.
        OpenVino::Default | OpenVino::Cpu => name == "CPU",
        OpenVino::Gpu(0) => name == "GPU" || name == "GPU.0",
        OpenVino::Gpu(number) => name == format!("GPU.{number}"),
        OpenVino::Npu => name == "NPU" || name == "NPU.0",
    }
}

/// Gives a session to the device. `key` changes with the graph and its weights.
pub(super) fn append(
    builder: &mut SessionBuilder,
    environment: &Environment,
    device: &PluginDevice,
    wanted: Device,
    execution: &Execution,
    key: &str,
) -> Result<(), String> {
    let options = match wanted {
        Device::OpenVino(which) => {
            let cache = compiled(key);
            let cache = cache.as_deref().and_then(Path::to_str);
            let precision = precision(which, execution.precision, &Processor::of_machine());
            vec![("load_config".to_owned(), load_config(which, precision, execution.threads, cache))]
        }
        Device::Plugin(custom) => custom.options.clone(),
        _ => Vec::new(),
    };
    plugin_api::append(builder, environment, device.facts.pointer, &options)
}

/// How many nodes of a session's graph each provider runs.
pub(super) fn assignment(session: &ort::session::Session) -> BTreeMap<String, usize> {
    plugin_api::assignment(session)
}

/// The folder in which OpenVINO keeps what it compiled of a graph: the next start reads it instead of compiling.
fn compiled(key: &str) -> Option<PathBuf> {
    let folder = cache::folder()?.join("openvino").join(key);
    std::fs::create_dir_all(&folder).ok()?;
    cache::keep_newest_folders(&folder, MOST_COMPILED);
    Some(folder)
}

/// The precision that OpenVINO is asked for, in its words; `None`: its own choice. It has to be asked for, because its own
/// choice on a processor changes with its version.
pub(super) fn precision(which: OpenVino, wanted: Precision, processor: &Processor) -> Option<&'static str> {
    match (wanted, which) {
        (Precision::Fp32, _) => Some("f32"),
        (Precision::Bf16, _) => Some("bf16"),
        (Precision::Fp16, _) => Some("f16"),
        (Precision::Auto, OpenVino::Default | OpenVino::Cpu) => {
            Some(if processor.has_bf16() { "bf16" } else { "f32" })
        }
        (Precision::Auto, OpenVino::Gpu(_) | OpenVino::Npu) => None,
    }
}

/// The settings of a device, as OpenVINO reads them.
pub(super) fn load_config(
    which: OpenVino,
    precision: Option<&str>,
    threads: Option<usize>,
    cache: Option<&str>,
) -> String {
    let (name, on_processor) = match which {
        OpenVino::Default | OpenVino::Cpu => ("CPU".to_owned(), true),
        OpenVino::Gpu(0) => ("GPU".to_owned(), false),
        OpenVino::Gpu(number) => (format!("GPU.{number}"), false),
        OpenVino::Npu => ("NPU".to_owned(), false),
    };
    let threads = on_processor.then(|| {
        threads.unwrap_or_else(|| thread::available_parallelism().map_or(1, NonZero::get)).to_string()
    });
    let mut settings = Map::new();
    for (key, value) in [
        ("INFERENCE_PRECISION_HINT", precision.map(str::to_owned)),
        ("INFERENCE_NUM_THREADS", threads),
        ("CACHE_DIR", cache.map(str::to_owned)),
    ] {
        if let Some(value) = value {
            settings.insert(key.to_owned(), Value::String(value));
        }
    }
    Value::Object(Map::from_iter([(name, settings.into())])).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(provider: &str, kind: i32, openvino: &str) -> PluginDevice {
        let metadata = match openvino {
            "" => BTreeMap::new(),
            name => BTreeMap::from([("ov_device", name.to_owned())]),
        };
        let vendor = "A maker".to_owned();
        PluginDevice::of(DeviceFacts {
            pointer: plugin_api::DevicePointer::none(),
            provider: provider.to_owned(),
            kind,
            vendor,
            metadata,
        })
    }

    #[test]
    fn a_device_is_chosen_by_its_name_or_its_kind() {
        let provider = "OpenVINOExecutionProvider";
        let openvino = [
            device("OpenVINOExecutionProvider.AUTO", 0, "AUTO"),
            device(provider, 0, "CPU"),
            device(provider, 1, "GPU.0"),
            device(provider, 1, "GPU.1"),
        ];
        let gpus = [device("A", 0, ""), device("A", 1, ""), device("A", 2, "")];
        let custom = CustomPlugin { library: "/a.so".into(), device: 2, options: vec![] }.interned();
        let cases: [(Device, &[PluginDevice], Option<usize>); 10] = [
            (Device::OpenVino(OpenVino::Default), &openvino, Some(1)),
            (Device::OpenVino(OpenVino::Cpu), &openvino, Some(1)),
            (Device::OpenVino(OpenVino::Gpu(0)), &openvino, Some(2)),
            (Device::OpenVino(OpenVino::Gpu(1)), &openvino, Some(3)),
            (Device::OpenVino(OpenVino::Npu), &openvino, None),
            (Device::OpenVino(OpenVino::Npu), &gpus, Some(2)),
            (Device::WebGpu(0), &gpus, Some(1)),
            (Device::TensorRtRtx(1), &gpus, None),
            (Device::Qnn, &gpus, Some(2)),
            (Device::Plugin(custom), &gpus, Some(2)),
        ];
        for (wanted, devices, expected) in cases {
            let chosen = choose(wanted, devices);
            assert_eq!(chosen.clone().ok(), expected.map(|number| &devices[number]), "{wanted}: {chosen:?}");
        }
        let none = choose(Device::WebGpu(0), &[]).unwrap_err();
        assert_eq!(none, "its plugin finds no device on this machine");
        let other = choose(Device::OpenVino(OpenVino::Npu), &openvino).unwrap_err();
        assert!(other.ends_with("but only AUTO, CPU, GPU.0, GPU.1"), "{other}");
    }

    #[test]
    fn openvino_is_asked_for_a_precision() {
        let plain = Processor::default();
        let amx = Processor { extensions: vec!["amx_bf16"], ..Processor::default() };
        for (which, wanted, processor, expected) in [
            (OpenVino::Default, Precision::Auto, &amx, Some("bf16")),
            (OpenVino::Cpu, Precision::Auto, &plain, Some("f32")),
            (OpenVino::Cpu, Precision::Fp32, &amx, Some("f32")),
            (OpenVino::Gpu(0), Precision::Auto, &amx, None),
            (OpenVino::Gpu(0), Precision::Fp16, &plain, Some("f16")),
            (OpenVino::Npu, Precision::Bf16, &plain, Some("bf16")),
        ] {
            assert_eq!(precision(which, wanted, processor), expected, "{which:?} {wanted:?}");
        }
        assert_eq!(
            load_config(OpenVino::Default, Some("bf16"), Some(2), Some("/c")),
            r#"{"CPU":{"INFERENCE_PRECISION_HINT":"bf16","INFERENCE_NUM_THREADS":"2","CACHE_DIR":"/c"}}"#
        );
        assert_eq!(load_config(OpenVino::Gpu(1), None, Some(2), None), r#"{"GPU.1":{}}"#);
    }
}
