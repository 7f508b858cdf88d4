//! Explains why a device does not run models: which library is missing, and what to do. Pure.

use crate::config::Device;

/// Why a device that was named does not run models.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeviceError {
    /// The library was built without this device.
    #[error(
        "the device {device} is not in the ONNX Runtime that is used ({library}), which has {}. {}, or set `device: cpu`",
        .has.join(", "),
        remedy_for_build(*.device)
    )]
    NotBuilt {
        /// The device.
        device: Device,
        /// The ONNX Runtime library.
        library: String,
        /// The devices that the library has.
        has: Vec<&'static str>,
    },
    /// The device needs a plugin, which is not on this machine.
    #[error(
        "the device {device} needs the plugin {plugin}, which is not installed. Run `stakeout devices add {plugin}`, or set \
         `device: cpu`"
    )]
    NoPlugin {
        /// The device.
        device: Device,
        /// The name of the plugin.
        plugin: &'static str,
    },
    /// The device has ended the process that tried it, or did not answer.
    #[error(
        "the device {device} cannot be used: {how}. Update its plugin or its driver and run `stakeout devices retry`, or set \
         `device: cpu`"
    )]
    Crashed {
        /// The device.
        device: Device,
        /// What the process did.
        how: String,
    },
    /// The library was built with this device, and it does not work.
    #[error("the device {device} cannot be used: {reason}. {remedy}, or set `device: cpu`")]
    Unusable {
        /// The device.
        device: Device,
        /// ONNX Runtime's own words, or which library is missing.
        reason: String,
        /// What to do.
        remedy: String,
    },
}

/// The name of a device as users know it, without its number.
pub(super) fn provider(device: Device) -> &'static str {
    match device {
        Device::Auto | Device::Cpu => "cpu",
        Device::Cuda(_) => "cuda",
        Device::TensorRt(_) => "tensorrt",
        Device::Rocm(_) => "rocm",
        Device::MiGraphX(_) => "migraphx",
        Device::OpenVino(_) => "openvino",
        Device::CoreMl => "coreml",
        Device::DirectMl(_) => "directml",
        Device::TensorRtRtx(_) => "tensorrt-rtx",
        Device::WebGpu(_) => "webgpu",
        Device::Qnn => "qnn",
        Device::Plugin(_) => "a plugin",
    }
}

fn remedy_for_build(device: Device) -> &'static str {
    match device {
        Device::Auto | Device::Cpu => "Install another one",
        Device::Cuda(_) | Device::TensorRt(_) => {
            "Use the libonnxruntime.so of the Python package onnxruntime-gpu, with the provider libraries beside it, and \
             name it with `onnxruntime:`"
        }
        Device::Rocm(_) => {
            "ONNX Runtime had it until 1.22; newer versions run AMD's GPUs with `device: migraphx`. Use such a build and \
             name it with `onnxruntime:`"
        }
        Device::MiGraphX(_) => {
            "Use AMD's build (the Python package onnxruntime-migraphx has one) and name it with `onnxruntime:`"
        }
        Device::OpenVino(_) => {
            "Run `stakeout devices add openvino`, which fetches a plugin; or use the libonnxruntime.so of the Python package \
             onnxruntime-openvino, with the libraries beside it, and name it with `onnxruntime:`"
        }
        Device::TensorRtRtx(_) | Device::WebGpu(_) | Device::Qnn | Device::Plugin(_) => "Install its plugin",
        Device::CoreMl => "It exists on Apple's machines only: use another device",
        Device::DirectMl(_) => "It exists on Windows only: use another device",
    }
}

/// Reads from ONNX Runtime's own text what is missing, and adds what to do.
pub(super) fn unusable(device: Device, text: &str) -> DeviceError {
    // The place in ONNX Runtime's sources does not help users.
    let words = text.rsplit_once("with error: ").map_or(text, |(_, words)| words);
    let words = words.lines().next().unwrap_or(words).trim().trim_end_matches('.');
    let missing = words.strip_suffix(": cannot open shared object file: No such file or directory");
    let (reason, remedy) = match missing {
        Some(library) => (format!("the library {library} is missing"), remedy_for_library(library)),
        None if text.contains("CUDA failure") || text.contains("CUDA_ERROR") => (
            shortened(words),
            "Check that `nvidia-smi` shows the GPU and a driver that is new enough, and that the service may open \
             /dev/nvidia*",
        ),
        None => (shortened(words), "Check that its driver and libraries suit this ONNX Runtime"),
    };
    DeviceError::Unusable { device, reason, remedy: remedy.to_owned() }
}

fn remedy_for_library(library: &str) -> &'static str {
    const OF: [(&str, &str); 10] = [
        ("libonnxruntime_providers", "Put it beside libonnxruntime.so: both come in one package"),
        (
            "libcudnn",
            "Install NVIDIA's cuDNN (version 9 for CUDA 12 and 13), where the dynamic linker or LD_LIBRARY_PATH finds it",
        ),
        ("libcuda.so", "Install NVIDIA's driver"),
        ("libnv", "Install NVIDIA's TensorRT, where the dynamic linker or LD_LIBRARY_PATH finds it"),
        (
            "libcu",
            "Install the version of CUDA that the number names, where the dynamic linker or LD_LIBRARY_PATH finds it",
        ),
        ("libopenvino", "Install OpenVINO, where the dynamic linker or LD_LIBRARY_PATH finds it"),
        ("libmigraphx", "Install AMD's MIGraphX, where the dynamic linker or LD_LIBRARY_PATH finds it"),
        ("libamdhip", "Install AMD's ROCm, where the dynamic linker or LD_LIBRARY_PATH finds it"),
        ("libroc", "Install AMD's ROCm, where the dynamic linker or LD_LIBRARY_PATH finds it"),
        ("libhip", "Install AMD's ROCm, where the dynamic linker or LD_LIBRARY_PATH finds it"),
    ];
    let name = library.rsplit('/').next().unwrap_or(library);
    OF.iter().find(|(start, _)| name.starts_with(start)).map_or(
        "Install the package that contains it, where the dynamic linker or LD_LIBRARY_PATH finds it",
        |(_, remedy)| remedy,
    )
}

fn shortened(text: &str) -> String {
    const MOST: usize = 300;
    match text.char_indices().nth(MOST) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}...", &text[..end]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_library_is_named_with_what_to_do() {
        // The first is what ONNX Runtime 1.31.1 said on a machine without CUDA.
        let cases = [
            (
                "/onnxruntime_src/onnxruntime/core/session/provider_bridge_ort.cc:2043 onnxruntime::Provider& \
                 onnxruntime::ProviderLibrary::Get() [ONNXRuntimeError] : 1 : FAIL : Failed to load library \
                 /lib/libonnxruntime_providers_cuda.so with error: libcublasLt.so.13: cannot open shared object file: No \
                 such file or directory\n",
                "the library libcublasLt.so.13 is missing. Install the version of CUDA",
            ),
            (
                "Failed to load library /x with error: libcudnn.so.9: cannot open shared object file: No such file or \
                 directory",
                "the library libcudnn.so.9 is missing. Install NVIDIA's cuDNN",
            ),
            (
                "Failed to load library libonnxruntime_providers_shared.so with error: \
                 /opt/libonnxruntime_providers_shared.so: cannot open shared object file: No such file or directory",
                "the library /opt/libonnxruntime_providers_shared.so is missing. Put it beside libonnxruntime.so",
            ),
            (
                "x with error: libnvinfer.so.10: cannot open shared object file: No such file or directory",
                "libnvinfer.so.10 is missing. Install NVIDIA's TensorRT",
            ),
            (
                "x with error: libcuda.so.1: cannot open shared object file: No such file or directory",
                "libcuda.so.1 is missing. Install NVIDIA's driver",
            ),
            (
                "CUDA failure 100: no CUDA-capable device is detected",
                "no CUDA-capable device is detected. Check that `nvidia-smi`",
            ),
            ("something else.", "something else. Check that its driver"),
        ];
        for (text, expected) in cases {
            let found = unusable(Device::Cuda(0), text).to_string();
            assert!(found.starts_with("the device cuda cannot be used: "), "{found}");
            assert!(found.contains(expected) && found.ends_with(", or set `device: cpu`"), "{found}");
        }
        assert!(unusable(Device::Cpu, &"ü".repeat(1000)).to_string().chars().count() < 500);
    }
}
