//! Which model is loaded, from where, and on which device it runs and why: for people.

use super::{context::ModelContext, origin::Tower};
use crate::config::Device;

/// What is loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelFacts {
    /// Where the files are: a folder, or the binary itself.
    pub place: String,
    /// The graph for pictures: its file, the weights that it was built from, or its name at the model server.
    pub graph: String,
    /// The size of that graph with its weights, in bytes; 0 if a model server has it.
    pub bytes: u64,
    /// What runs it: the ONNX Runtime library, or model servers.
    pub engine: String,
    /// The device of this machine that runs graphs; never `auto`.
    pub device: Device,
    /// Why it is this device.
    pub reason: String,
}

impl ModelFacts {
    /// The facts of a model that runs on `device`.
    pub(super) fn of(context: &ModelContext, device: Device) -> Self {
        if let Some(server) = context.engines.server() {
            return Self {
                place: context.files.place(),
                graph: server.name.clone(),
                bytes: 0,
                engine: format!("the model server {}", server.addresses()),
                device,
                reason: "the model server runs the graph for pictures, and the processor of this machine encodes texts"
                    .to_owned(),
            };
        }
        Self {
            place: context.files.place(),
            graph: context.origin.description(),
            bytes: context.origin.bytes(&context.files, Tower::Vision),
            engine: context.engines.name().to_owned(),
            device,
            reason: reason(context.options.execution.device, device, context.engines.providers().len()),
        }
    }
}

/// Why a model runs on `used` where the configuration says `wanted`. The engine supports this number of devices.
fn reason(wanted: Device, used: Device, supported: usize) -> String {
    match (wanted, used) {
        (Device::Auto, Device::Cpu) if supported <= 1 => {
            "this ONNX Runtime library supports only the processor".to_owned()
        }
        (Device::Auto, Device::Cpu) => {
            "no other device works with this model; `stakeout doctor` and the log say why".to_owned()
        }
        (Device::Auto, _) => "it is the best device of this machine that works".to_owned(),
        (wanted, _) => format!("the configuration says `device: {wanted}`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_for_a_device() {
        for (wanted, used, supported, words) in [
            (Device::Auto, Device::Cpu, 1, "supports only the processor"),
            (Device::Auto, Device::Cpu, 2, "no other device works"),
            (Device::Auto, Device::Cuda(0), 3, "the best device"),
            (Device::Cpu, Device::Cpu, 3, "`device: cpu`"),
            (Device::Cuda(1), Device::Cuda(1), 3, "`device: cuda:1`"),
        ] {
            let reason = reason(wanted, used, supported);
            assert!(reason.contains(words), "{wanted} {used}: {reason}");
        }
    }
}
