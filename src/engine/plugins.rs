//! The plugins for ONNX Runtime that the program knows: where each is found on this machine, and which package it is from.
//!
//! A plugin is a library with an execution provider, and the libraries that it needs beside it. `stakeout devices add` puts each
//! version into a folder of its own. A plugin is used only if it is named, or if it was measured.

use std::{
    cmp::Reverse,
    env, fs,
    path::{Path, PathBuf},
};

use crate::config::Device;

/// A plugin that the program knows.
#[derive(Debug, PartialEq, Eq)]
pub struct Plugin {
    /// Its name, which is that of its device.
    pub name: &'static str,
    /// The name of its execution provider.
    pub provider: &'static str,
    /// The file name of its library.
    pub library: &'static str,
    /// Where it is from.
    pub package: Package,
}

/// The package of a plugin, at the Python Package Index.
#[derive(Debug, PartialEq, Eq)]
pub struct Package {
    /// Its name.
    pub name: &'static str,
    /// The version that was tried.
    pub version: &'static str,
    /// The folder in it with the libraries.
    pub folder: &'static str,
    /// The size of the download in bytes, about.
    pub bytes: u64,
    /// One file for each kind of machine. Empty: the program does not fetch it.
    pub wheels: &'static [Wheel],
}

/// A file of a package.
#[derive(Debug, PartialEq, Eq)]
pub struct Wheel {
    /// The kind of machine, as Rust names it.
    pub machine: &'static str,
    /// The platform, as pip names it.
    pub platform: &'static str,
    /// The sha256 of the file.
    pub sha256: &'static str,
}

/// The plugins. A newer version is tried with `tools/measure_engine.sh` before it is pinned here.
pub static PLUGINS: [Plugin; 4] = [
    Plugin {
        name: "openvino",
        provider: "OpenVINOExecutionProvider",
        library: "libonnxruntime_providers_openvino_plugin.so",
        package: Package {
            name: "onnxruntime-ep-openvino",
            version: "1.8.1",
            folder: "onnxruntime_ep_openvino",
            bytes: 52_587_628,
            wheels: &[Wheel {
                machine: "x86_64",
                platform: "manylinux_2_28_x86_64",
                sha256: "3832643158c8c187fcab6db661cde2a8c06a2b3559d95d0f2411ac0e51c5e924",
            }],
        },
    },
    Plugin {
        name: "webgpu",
        provider: "WebGpuExecutionProvider",
        library: "libonnxruntime_providers_webgpu.so",
        package: Package {
            name: "onnxruntime-ep-webgpu",
            version: "0.4.0",
            folder: "onnxruntime_ep_webgpu",
            bytes: 6_892_120,
            wheels: &[
                Wheel {
                    machine: "x86_64",
                    platform: "manylinux_2_28_x86_64",
                    sha256: "5d8c961eda91a88961cad1fb7621f389f006b18497d6ea9ecf96f729f066cbfb",
                },
                Wheel {
                    machine: "aarch64",
                    platform: "manylinux_2_28_aarch64",
                    sha256: "17f660db53b1a509c63e721ac6784a2daa1c4e91a968523ee9986505ee5b0a55",
                },
            ],
        },
    },
    Plugin {
        name: "qnn",
        provider: "QNNExecutionProvider",
        library: "libonnxruntime_providers_qnn.so",
        package: Package {
            name: "onnxruntime-qnn",
            version: "2.7.0",
            folder: "onnxruntime_qnn",
            bytes: 86_663_272,
            wheels: &[Wheel {
                machine: "aarch64",
                platform: "manylinux_2_34_aarch64",
                sha256: "ad08bbfebd7c07ffe83995418303215f46cb25a89e12676f47ee20c32002eaad",
            }],
        },
    },
    Plugin {
        name: "tensorrt-rtx",
        provider: "NvTensorRTRTXExecutionProvider",
        library: "libonnxruntime_providers_nv_tensorrt_rtx.so",
        package: Package {
            name: "onnxruntime-ep-nv-tensorrt-rtx",
            version: "0.5.0",
            folder: "onnxruntime_ep_nv_tensorrt_rtx",
            bytes: 0,
            // Its licence has to be accepted, and it suits one version of CUDA.
            wheels: &[],
        },
    },
];

/// A plugin on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installed {
    /// Which plugin it is.
    pub plugin: &'static Plugin,
    /// Its version; empty if the folder does not say it.
    pub version: String,
    /// Its library.
    pub library: PathBuf,
}

impl Plugin {
    /// The plugin of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        PLUGINS.iter().find(|plugin| plugin.name == name)
    }

    /// The plugin that a device belongs to, if the program knows it.
    #[must_use]
    pub fn of(device: Device) -> Option<&'static Self> {
        let name = match device {
            Device::OpenVino(_) => "openvino",
            Device::WebGpu(_) => "webgpu",
            Device::Qnn => "qnn",
            Device::TensorRtRtx(_) => "tensorrt-rtx",
            _ => return None,
        };
        Self::named(name)
    }

    /// The newest version on this machine.
    #[must_use]
    pub fn installed(&'static self) -> Option<Installed> {
        installed_in(&folders()).into_iter().find(|installed| std::ptr::eq(installed.plugin, self))
    }

    /// The name of the folder with a version.
    #[must_use]
    pub fn folder_name(&self) -> String {
        format!("{}-{}", self.name, self.package.version)
    }
}

/// Every plugin on this machine, the newest version of each.
#[must_use]
pub fn installed() -> Vec<Installed> {
    installed_in(&folders())
}

/// The folders in which plugins are searched, the first one first.
#[must_use]
pub fn folders() -> Vec<PathBuf> {
    let executable = env::current_exe().ok().and_then(|path| path.parent().map(Path::to_owned));
    let beside = executable.and_then(|folder| Some(folder.parent()?.join("lib/stakeout")));
    let system = ["/usr/local/lib/stakeout", "/usr/lib/stakeout"].map(PathBuf::from);
    let all = beside.into_iter().chain(system).chain(user_folder());
    all.map(|folder| folder.join("plugins")).collect()
}

/// The folder that `stakeout devices add` writes to: for root the one of the machine, which the service reads.
#[must_use]
pub fn own_folder() -> Option<PathBuf> {
    let folder = if rustix::process::geteuid().is_root() {
        Some(PathBuf::from("/usr/local/lib/stakeout"))
    } else {
        user_folder()
    };
    folder.map(|folder| folder.join("plugins"))
}

/// The user's data folder with libraries.
fn user_folder() -> Option<PathBuf> {
    let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let data = absolute("XDG_DATA_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/share")));
    data.map(|data| data.join("stakeout/lib"))
}

/// The newest version of each plugin in these folders. Of equal versions the first folder wins.
fn installed_in(folders: &[PathBuf]) -> Vec<Installed> {
    let mut found: Vec<Installed> = Vec::new();
    for folder in folders {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
        found.extend(entries.filter_map(|path| in_folder(&path)));
    }
    let place = |plugin: &Plugin| PLUGINS.iter().position(|known| known == plugin);
    // Stable: equal versions stay in the order of the folders.
    found.sort_by_key(|it| (place(it.plugin), Reverse(numbers(&it.version))));
    found.dedup_by_key(|it| it.plugin.name);
    found
}

/// The plugin in a folder such as `openvino-1.8.1`.
fn in_folder(folder: &Path) -> Option<Installed> {
    let name = folder.file_name()?.to_str()?;
    let (plugin, version) = PLUGINS.iter().find_map(|plugin| {
        let rest = name.strip_prefix(plugin.name)?;
        let version = if rest.is_empty() { "" } else { rest.strip_prefix('-')? };
        // Another word after the name is the name of another plugin.
        version.chars().all(|letter| letter.is_ascii_digit() || letter == '.').then_some((plugin, version))
    })?;
    let library = folder.join(plugin.library);
    library.is_file().then(|| Installed { plugin, version: version.to_owned(), library })
}

fn numbers(version: &str) -> Vec<u32> {
    version.split('.').map(|part| part.parse().unwrap_or(0)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::OpenVino;

    #[test]
    fn the_newest_version_of_each_plugin_is_found() {
        let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let put = |folder: &Path, name: &str, library: &str| {
            fs::create_dir(folder.join(name)).unwrap();
            fs::write(folder.join(name).join(library), "").unwrap();
        };
        let [openvino, webgpu, ..] = &PLUGINS;
        put(first.path(), "openvino-1.8.1", openvino.library);
        put(first.path(), "openvino-1.10.0", openvino.library);
        put(first.path(), "openvino-2.0", "another.so");
        put(first.path(), "openvino-x", openvino.library);
        put(second.path(), "openvino-1.10.0", openvino.library);
        put(second.path(), "webgpu", webgpu.library);
        put(second.path(), "unknown-1", openvino.library);
        let folders = [first.path().to_owned(), second.path().to_owned(), "/nowhere".into()];
        let found = installed_in(&folders);
        let found: Vec<_> =
            found.iter().map(|it| (it.plugin.name, &*it.version, it.library.clone())).collect();
        let expected = [
            ("openvino", "1.10.0", first.path().join("openvino-1.10.0").join(openvino.library)),
            ("webgpu", "", second.path().join("webgpu").join(webgpu.library)),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn every_plugin_belongs_to_a_device_and_its_files_have_hashes() {
        let devices =
            [Device::OpenVino(OpenVino::Default), Device::WebGpu(0), Device::Qnn, Device::TensorRtRtx(0)];
        for (plugin, device) in PLUGINS.iter().zip(devices) {
            assert_eq!(Plugin::of(device), Some(plugin));
            assert_eq!(Device::parse(plugin.name), Ok(device));
            for wheel in plugin.package.wheels {
                assert!(wheel.sha256.len() == 64 && wheel.platform.ends_with(wheel.machine), "{wheel:?}");
            }
        }
        assert_eq!(Plugin::of(Device::Cuda(0)), None);
    }
}
