//! Chooses the device that runs a model: the one that is named, or for `auto` the best that works.
//!
//! A device works if ONNX Runtime can run a graph of one node on it. There is no fallback from a device that is named: a
//! user who names a GPU wants to know that it is not used.

use std::{collections::hash_map::Entry, fs, path::Path, sync::PoisonError};

use ort::{
    ep::{
        self, ArbitrarilyConfigurableExecutionProvider as _, ArenaExtendStrategy, ExecutionProvider as _,
        ExecutionProviderDispatch,
    },
    session::{Session, builder::SessionBuilder},
};
use tracing::{debug, warn};

use super::{
    device_error::{DeviceError, provider, unusable},
    plugin,
    runtime::Runtime,
    work,
};
use crate::{
    cache,
    config::{Device, Execution, OpenVino},
    engine::processor::Processor,
};

/// The number of graphs whose compiled engines are kept; each may have a gigabyte.
const MOST_COMPILED: usize = 8;

/// The devices that `auto` tries before the processor, the best first. TensorRT compiles a model for minutes, so it is used
/// only if it is named.
const BEST_FIRST: [Device; 6] = [
    Device::Cuda(0),
    Device::MiGraphX(0),
    Device::Rocm(0),
    Device::CoreMl,
    Device::DirectMl(0),
    Device::OpenVino(OpenVino::Default),
];

impl Runtime {
    /// The device for `wanted`, which is never `auto`. The first call tries devices, and logs those that `auto` cannot use.
    ///
    /// # Errors
    /// A device that was named does not work: what is missing, and what to do.
    pub fn device(&self, wanted: Device) -> Result<Device, DeviceError> {
        let mut tried = self.tried.lock().unwrap_or_else(PoisonError::into_inner);
        match tried.entry(wanted) {
            Entry::Occupied(known) => known.get().clone(),
            Entry::Vacant(new) => new.insert(self.find_device(wanted)).clone(),
        }
    }

    /// The names of the devices that the library was built with.
    #[must_use]
    pub fn providers(&self) -> Vec<&'static str> {
        let built = BEST_FIRST.into_iter().chain([Device::TensorRt(0)]).filter(|device| has(*device));
        built.chain([Device::Cpu]).map(provider).collect()
    }

    /// Whether a device needs a plugin, because the library was not built with it.
    #[must_use]
    pub fn needs_plugin(&self, device: Device) -> bool {
        !has(device) && plugin::library_of(device).is_some_and(|library| library.is_ok())
    }

    fn find_device(&self, wanted: Device) -> Result<Device, DeviceError> {
        if wanted != Device::Auto {
            return self.try_device(wanted).map(|()| wanted);
        }
        let candidates: Vec<_> = BEST_FIRST.into_iter().filter(|device| has(*device)).collect();
        for device in candidates {
            match self.try_device(device) {
                Ok(()) => return Ok(device),
                Err(why) => warn!("{why}; `device: auto` continues without it"),
            }
        }
        debug!(library = self.library(), "`device: auto` uses the processor");
        Ok(Device::Cpu)
    }

    /// Whether a graph of one node runs there.
    fn try_device(&self, device: Device) -> Result<(), DeviceError> {
        if !has(device) {
            match plugin::library_of(device) {
                Some(Ok(_)) => {}
                // A library may have it without a plugin.
                Some(Err(plugin)) if !matches!(device, Device::OpenVino(_)) => {
                    return Err(DeviceError::NoPlugin { device, plugin: plugin.name });
                }
                _ => {
                    let has = self.providers();
                    return Err(DeviceError::NotBuilt { device, library: self.library().to_owned(), has });
                }
            }
        }
        let _working = work::begin();
        let built =
            Session::builder(&self.environment).map_err(|error| error.to_string()).and_then(|builder| {
                let mut builder = on(self, builder, device, &Execution::default(), "probe")?;
                let mut session = builder.commit_from_memory(PROBE).map_err(|error| error.to_string())?;
                let one = ort::value::Tensor::from_array(([1_usize], vec![1.0_f32]))
                    .map_err(|error| error.to_string())?;
                session
                    .run(vec![("x", ort::session::SessionInputValue::from(one))])
                    .map_err(|error| error.to_string())?;
                Ok(())
            });
        built.map_err(|text: String| unusable(device, &text))
    }
}

/// A session on `device`. An error, not a silent fallback to the processor, if the device cannot be used. `key` changes with the
/// graph and its weights.
///
/// # Errors
/// ONNX Runtime's own words.
pub(super) fn on(
    runtime: &Runtime,
    mut builder: SessionBuilder,
    device: Device,
    execution: &Execution,
    key: &str,
) -> Result<SessionBuilder, String> {
    if let Some(Ok(library)) = plugin::library_of(device).filter(|_| !has(device)) {
        let devices = runtime.plugins.devices(&runtime.environment, &library)?;
        let chosen = plugin::choose(device, &devices)?;
        plugin::append(&mut builder, &runtime.environment, chosen, device, execution, key)?;
        return Ok(builder);
    }
    let providers = providers(device, execution, key);
    // ONNX Runtime's default is the processor.
    if providers.is_empty() {
        return Ok(builder);
    }
    let builder = match device {
        // DirectML requires this.
        Device::DirectMl(_) => builder.with_memory_pattern(false).map_err(|error| error.to_string())?,
        _ => builder,
    };
    builder.with_execution_providers(providers).map_err(|error| error.to_string())
}

fn providers(device: Device, execution: &Execution, key: &str) -> Vec<ExecutionProviderDispatch> {
    let memory = execution.gpu_memory.and_then(|bytes| usize::try_from(bytes).ok());
    let number = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
    let cuda = |gpu| {
        // TF32 rounds to 10 bits: it is faster, and its scores differ from the reference's. The exhaustive search for the
        // fastest convolution is slow, and these models have only one convolution.
        let cuda = ep::CUDA::default()
            .with_device_id(number(gpu))
            .with_tf32(false)
            .with_conv_algorithm_search(ep::cuda::ConvAlgorithmSearch::Heuristic);
        match memory {
            None => cuda,
            // The default grows by powers of two, and would stop at half of the limit.
            Some(bytes) => {
                cuda.with_memory_limit(bytes).with_arena_extend_strategy(ArenaExtendStrategy::SameAsRequested)
            }
        }
    };
    let all = match device {
        Device::Auto | Device::Cpu => vec![],
        Device::Cuda(gpu) => vec![cuda(gpu).build()],
        // CUDA runs the nodes that TensorRT does not support.
        Device::TensorRt(gpu) => vec![tensorrt(number(gpu), memory, key).build(), cuda(gpu).build()],
        Device::Rocm(gpu) => {
            let rocm = ep::ROCm::default().with_device_id(number(gpu));
            vec![memory.map_or(rocm.clone(), |bytes| rocm.with_mem_limit(bytes)).build()]
        }
        Device::MiGraphX(gpu) => {
            let migraphx = ep::MIGraphX::default().with_device_id(number(gpu));
            vec![match memory {
                None => migraphx.build(),
                Some(bytes) => migraphx.with_mem_limit(bytes).build(),
            }]
        }
        Device::OpenVino(which) => vec![openvino(which, execution).build()],
        Device::CoreMl => vec![ep::CoreML::default().build()],
        Device::DirectMl(gpu) => vec![ep::DirectML::default().with_device_id(number(gpu)).build()],
        // Only plugins have these.
        Device::TensorRtRtx(_) | Device::WebGpu(_) | Device::Qnn | Device::Plugin(_) => vec![],
    };
    all.into_iter().map(ExecutionProviderDispatch::error_on_failure).collect()
}

/// Its compiled engines are kept on disk for the next start. TensorRT names them by the structure of a graph, so each `key` has a
/// folder: with other weights, an engine would give the answers of the old ones. The timings do not depend on weights.
fn tensorrt(gpu: i32, memory: Option<usize>, key: &str) -> ep::TensorRT {
    let tensorrt = ep::TensorRT::default().with_device_id(gpu);
    let tensorrt = match memory {
        None => tensorrt,
        Some(bytes) => tensorrt.with_max_workspace_size(bytes),
    };
    let all = cache::folder().map(|cache| cache.join("tensorrt"));
    let own = all.as_ref().map(|all| all.join(key)).filter(|own| fs::create_dir_all(own).is_ok());
    match (all.as_ref().and_then(|all| all.to_str()), own.as_ref().and_then(|own| own.to_str())) {
        (Some(all), Some(own)) => {
            remove_shared_engines(Path::new(all));
            cache::keep_newest_folders(Path::new(own), MOST_COMPILED);
            tensorrt
                .with_engine_cache(true)
                .with_engine_cache_path(own)
                .with_timing_cache(true)
                .with_timing_cache_path(all)
        }
        _ => tensorrt,
    }
}

/// Removes engines that graphs of one structure shared; nothing uses them any more.
fn remove_shared_engines(folder: &Path) {
    let is_engine = |path: &Path| path.extension().is_some_and(|end| end == "engine" || end == "profile");
    let files = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    for path in files.filter(|path| is_engine(path)) {
        // A file that stays only takes space.
        let _ = fs::remove_file(path);
    }
}

fn openvino(which: OpenVino, execution: &Execution) -> ep::OpenVINO {
    // Without it, this provider computes in 32 bits.
    let precision = plugin::precision(which, execution.precision, &Processor::of_machine());
    let config = plugin::load_config(which, precision, execution.threads, None);
    let openvino = ep::OpenVINO::default().with_arbitrary_config("load_config", config);
    match which {
        OpenVino::Default => openvino,
        OpenVino::Cpu => openvino.with_device_type("CPU"),
        OpenVino::Gpu(0) => openvino.with_device_type("GPU"),
        OpenVino::Gpu(number) => openvino.with_device_type(format!("GPU.{number}")),
        OpenVino::Npu => openvino.with_device_type("NPU"),
    }
}

/// Whether the library was built with this device.
fn has(device: Device) -> bool {
    let has = match device {
        Device::Auto | Device::Cpu => Ok(true),
        Device::Cuda(_) => ep::CUDA::is_available(),
        Device::TensorRt(_) => ep::TensorRT::is_available(),
        Device::Rocm(_) => ep::ROCm::is_available(),
        Device::MiGraphX(_) => ep::MIGraphX::is_available(),
        Device::OpenVino(_) => ep::OpenVINO::is_available(),
        Device::CoreMl => ep::CoreML::is_available(),
        Device::DirectMl(_) => ep::DirectML::is_available(),
        Device::TensorRtRtx(_) | Device::WebGpu(_) | Device::Qnn | Device::Plugin(_) => Ok(false),
    };
    has.unwrap_or(false)
}

/// A graph `y = Relu(x)` of one number, as ONNX writes it: IR version 8, operators of version 13.
const PROBE: &[u8] = b"\x08\x08\x42\x02\x10\x0d\x3a\x33\
    \x0a\x0c\x0a\x01x\x12\x01y\x22\x04Relu\
    \x12\x01p\
    \x5a\x0f\x0a\x01x\x12\x0a\x0a\x08\x08\x01\x12\x04\x0a\x02\x08\x01\
    \x62\x0f\x0a\x01y\x12\x0a\x0a\x08\x08\x01\x12\x04\x0a\x02\x08\x01";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engines_that_do_not_belong_to_one_graph_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a.engine", "a.profile", "a.timing"] {
            fs::write(folder.path().join(name), "x").unwrap();
        }
        let own = folder.path().join("0123");
        fs::create_dir(&own).unwrap();
        fs::write(own.join("b.engine"), "x").unwrap();
        remove_shared_engines(folder.path());
        assert!(own.join("b.engine").exists() && folder.path().join("a.timing").exists());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn auto_never_tries_tensorrt_and_every_device_has_a_remedy() {
        assert!(
            BEST_FIRST.iter().all(|device| device.is_accelerator() && !matches!(device, Device::TensorRt(_)))
        );
        for device in BEST_FIRST {
            let error =
                DeviceError::NotBuilt { device, library: "/lib/x.so (1.31.1)".to_owned(), has: vec!["cpu"] };
            let text = error.to_string();
            assert!(text.contains("/lib/x.so (1.31.1)), which has cpu. "), "{text}");
        }
    }
}
