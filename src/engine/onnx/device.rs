//! Which device runs a model: what was asked for or an error, and for `auto` the best that works, found out by trying.
//!
//! A device works if ONNX Runtime can run a graph of one node on it. It refuses to fall back from a device that was asked
//! for: whoever names a GPU wants to know that it is not used.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, Mutex, PoisonError},
};

use ort::{
    ep::{self, ArenaExtendStrategy, ExecutionProvider as _, ExecutionProviderDispatch},
    session::{Session, builder::SessionBuilder},
};
use tracing::{debug, warn};

use super::device_error::{provider, unusable};
use crate::{
    cache,
    config::{Device, OpenVino},
    model::{DeviceError, Runtime},
};

/// What `auto` tries, the best first; last comes the processor. TensorRT is not among them, since it compiles a model for
/// minutes: who wants that asks for it.
const BEST_FIRST: [Device; 6] = [
    Device::Cuda(0),
    Device::MiGraphX(0),
    Device::Rocm(0),
    Device::CoreMl,
    Device::DirectMl(0),
    Device::OpenVino(OpenVino::Default),
];

/// The devices that were tried in this process, and what came of it.
pub(crate) type Tried = Arc<Mutex<HashMap<Device, Result<Device, DeviceError>>>>;

impl Runtime {
    /// The device that `wanted` stands for, which is never `auto`. It is tried at the first time; what `auto` had to
    /// leave aside is told in the log then.
    ///
    /// # Errors
    /// It was asked for by its name and does not work: what is missing, and what to do.
    pub fn device(&self, wanted: Device) -> Result<Device, DeviceError> {
        let mut tried = self.tried.lock().unwrap_or_else(PoisonError::into_inner);
        match tried.entry(wanted) {
            Entry::Occupied(known) => known.get().clone(),
            Entry::Vacant(new) => new.insert(self.find_device(wanted)).clone(),
        }
    }

    /// What the library was built with, in words.
    #[must_use]
    pub fn providers(&self) -> Vec<&'static str> {
        let built = BEST_FIRST.into_iter().chain([Device::TensorRt(0)]).filter(|device| has(*device));
        built.chain([Device::Cpu]).map(provider).collect()
    }

    fn find_device(&self, wanted: Device) -> Result<Device, DeviceError> {
        if wanted != Device::Auto {
            return self.try_device(wanted).map(|()| wanted);
        }
        let candidates: Vec<_> = BEST_FIRST.into_iter().filter(|device| has(*device)).collect();
        for device in candidates {
            match self.try_device(device) {
                Ok(()) => return Ok(device),
                Err(why) => warn!("{why}; `device: auto` goes on without it"),
            }
        }
        debug!(library = self.library(), "the model runs on the processor");
        Ok(Device::Cpu)
    }

    /// Whether a graph of one node runs there.
    fn try_device(&self, device: Device) -> Result<(), DeviceError> {
        if !has(device) {
            let has = self.providers();
            return Err(DeviceError::NotBuilt { device, library: self.library().to_owned(), has });
        }
        let built =
            Session::builder(self.environment()).map_err(|error| error.to_string()).and_then(|builder| {
                let mut builder = on(builder, device, None)?;
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

/// A session on `device` and not beside it, where one kind of node after the other is left to the processor silently.
///
/// # Errors
/// ONNX Runtime's own words.
pub(crate) fn on(
    builder: SessionBuilder,
    device: Device,
    memory: Option<u64>,
) -> Result<SessionBuilder, String> {
    let providers = providers(device, memory.and_then(|bytes| usize::try_from(bytes).ok()));
    // Left alone, ONNX Runtime takes the processor by itself.
    if providers.is_empty() {
        return Ok(builder);
    }
    let builder = match device {
        // It demands this.
        Device::DirectMl(_) => builder.with_memory_pattern(false).map_err(|error| error.to_string())?,
        _ => builder,
    };
    builder.with_execution_providers(providers).map_err(|error| error.to_string())
}

fn providers(device: Device, memory: Option<usize>) -> Vec<ExecutionProviderDispatch> {
    let number = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
    let cuda = |gpu| {
        // TF32 rounds to 10 bits: faster, and no longer the reference's scores. The exhaustive search for the fastest
        // convolution takes long, and these models have one.
        let cuda = ep::CUDA::default()
            .with_device_id(number(gpu))
            .with_tf32(false)
            .with_conv_algorithm_search(ep::cuda::ConvAlgorithmSearch::Heuristic);
        match memory {
            None => cuda,
            // Otherwise it grows by powers of two, and stops at half of what it may take.
            Some(bytes) => {
                cuda.with_memory_limit(bytes).with_arena_extend_strategy(ArenaExtendStrategy::SameAsRequested)
            }
        }
    };
    let all = match device {
        Device::Auto | Device::Cpu => vec![],
        Device::Cuda(gpu) => vec![cuda(gpu).build()],
        // What TensorRT cannot do is done by CUDA.
        Device::TensorRt(gpu) => vec![tensorrt(number(gpu), memory).build(), cuda(gpu).build()],
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
        Device::OpenVino(which) => vec![openvino(which).build()],
        Device::CoreMl => vec![ep::CoreML::default().build()],
        Device::DirectMl(gpu) => vec![ep::DirectML::default().with_device_id(number(gpu)).build()],
    };
    all.into_iter().map(ExecutionProviderDispatch::error_on_failure).collect()
}

/// With its compiled engines on disk, where the next start finds them.
fn tensorrt(gpu: i32, memory: Option<usize>) -> ep::TensorRT {
    let tensorrt = ep::TensorRT::default().with_device_id(gpu);
    let tensorrt = match memory {
        None => tensorrt,
        Some(bytes) => tensorrt.with_max_workspace_size(bytes),
    };
    let folder = cache::folder().map(|cache| cache.join("tensorrt"));
    let folder = folder.filter(|folder| std::fs::create_dir_all(folder).is_ok());
    match folder.as_ref().and_then(|folder| folder.to_str()) {
        None => tensorrt,
        Some(folder) => tensorrt
            .with_engine_cache(true)
            .with_engine_cache_path(folder)
            .with_timing_cache(true)
            .with_timing_cache_path(folder),
    }
}

fn openvino(which: OpenVino) -> ep::OpenVINO {
    let openvino = ep::OpenVINO::default();
    match which {
        OpenVino::Default => openvino,
        OpenVino::Cpu => openvino.with_device_type("CPU"),
        OpenVino::Gpu(0) => openvino.with_device_type("GPU"),
        OpenVino::Gpu(number) => openvino.with_device_type(format!("GPU.{number}")),
        OpenVino::Npu => openvino.with_device_type("NPU"),
    }
}

/// Whether the library was built with it.
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
    fn auto_never_asks_for_tensorrt_and_every_device_has_a_remedy() {
        assert!(
            BEST_FIRST.iter().all(|device| device.is_accelerator() && !matches!(device, Device::TensorRt(_)))
        );
        for device in BEST_FIRST {
            let error =
                DeviceError::NotBuilt { device, library: "/lib/x.so (1.31.1)".to_owned(), has: vec!["cpu"] };
            let told = error.to_string();
            assert!(told.contains("/lib/x.so (1.31.1)), which has cpu. "), "{told}");
        }
    }
}
