//! `stakeout models serve`: writes the graph for pictures of a model as a model repository, for a model server.

use std::{
    fmt::Write as _,
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, Result, ensure};

use crate::{
    commands::{self, DONE},
    config::{Device, Execution, HubModel, ModelRef, OpenVino, Variant, usual_name},
    model::{Model, Options, Runtime},
    picture::Picture,
    progress, terminal,
};

/// The longest time that Triton waits for more pictures, in microseconds. A run of the smallest models takes longer.
const QUEUE_DELAY: u32 = 2000;

/// The arguments of `stakeout models serve`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A model's name on the hub or its folder, or `bundled`
    #[arg(value_name = "ID|FOLDER")]
    model: String,
    /// The folder of the model repository; the model becomes a folder in it
    #[arg(long, value_name = "DIR")]
    triton: PathBuf,
    /// The name of the model at the server [default: the last part of ID, and -vision]
    #[arg(long, value_parser = name)]
    name: Option<String>,
    /// auto, fp32, fp16, bf16, int8, quantized, uint8, q4, q4f16 or bnb4
    #[arg(long, value_parser = commands::variant, default_value = "auto")]
    variant: Variant,
    /// A branch, a tag or a commit [default: main]
    #[arg(long, value_parser = commands::revision)]
    revision: Option<String>,
    /// The repository with the ONNX files, if they are in another one that the program does not know
    #[arg(long, value_name = "ID")]
    onnx: Option<String>,
    /// What runs it at the server: cuda, tensorrt, openvino or cpu
    #[arg(long, value_parser = ServerDevice::parse, default_value = "cuda")]
    device: ServerDevice,
    /// The most pictures in one run at the server
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=1024))]
    max_batch: u16,
    /// The copies of the graph that run at the same time, on each device
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    instances: u16,
}

/// What runs the graph at the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ServerDevice {
    Cuda,
    TensorRt,
    OpenVino,
    Cpu,
}

impl ServerDevice {
    const WORDS: [(&str, Self); 4] = [
        ("cuda", Self::Cuda),
        ("tensorrt", Self::TensorRt),
        ("openvino", Self::OpenVino),
        ("cpu", Self::Cpu),
    ];

    fn parse(word: &str) -> Result<Self, String> {
        let found = Self::WORDS.into_iter().find(|(known, _)| *known == word);
        found.map(|(_, device)| device).ok_or_else(|| "write cuda, tensorrt, openvino or cpu".to_owned())
    }

    /// The device as the choice of a variant knows it.
    fn device(self) -> Device {
        match self {
            Self::Cuda => Device::Cuda(0),
            Self::TensorRt => Device::TensorRt(0),
            Self::OpenVino => Device::OpenVino(OpenVino::Cpu),
            Self::Cpu => Device::Cpu,
        }
    }
}

/// The name becomes the name of a folder.
fn name(text: &str) -> Result<String, String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    match !text.is_empty() && text.len() <= 200 && !text.starts_with('.') && text.chars().all(is_plain) {
        true => Ok(text.to_owned()),
        false => Err("use letters, digits, `-`, `_` and `.`".to_owned()),
    }
}

/// Runs the command.
///
/// # Errors
/// The model cannot be used, or the repository cannot be written.
pub(super) fn run(out: &mut impl Write, args: &Args) -> Result<ExitCode> {
    let model = model(args);
    let name = args.name.clone().unwrap_or_else(|| usual_name(&model.name()));
    let folder = args.triton.join(&name);
    ensure!(!folder.exists(), "{} exists: remove it, or choose another name with `--name`", folder.display());
    let found = progress::find_or_pull(&model, args.device.device())?;
    // The graph is run before it is copied: what does not run here does not run there.
    let execution = Execution { device: Device::Cpu, ..Execution::default() };
    let mut loaded =
        Model::load(&Runtime::load(None)?, &found.files, &Options { execution, ..found.options() })?;
    let blank = Picture::of_rgb(64, 64, vec![128; 64 * 64 * 3]);
    loaded.embed_pictures(&[&blank])?;
    write_repository(&folder, &loaded, &settings(&name, args, loaded.fixed_batch()))?;
    writeln!(out, "{}", folder.display())?;
    let (variant, triton, id) = (found.variant(), args.triton.display(), model.name());
    terminal::say(format_args!(
        "the variant {variant} is served by `tritonserver --model-repository {triton}`; write `model: {{ id: {id}, server: \
         grpc://HOST:8001, name: {name} }}` in the configuration of each machine"
    ));
    Ok(ExitCode::from(DONE))
}

fn model(args: &Args) -> ModelRef {
    if args.model == "bundled" {
        return ModelRef::Bundled;
    }
    match commands::model(&args.model, args.variant) {
        ModelRef::Hub(model) => {
            let (onnx, revision) = (args.onnx.clone(), args.revision.clone());
            ModelRef::Hub(HubModel { onnx, revision, ..model })
        }
        other => other,
    }
}

/// Writes the folder beside its place and then renames it: a server that watches the repository sees all of it or nothing.
fn write_repository(folder: &Path, model: &Model, settings: &str) -> Result<()> {
    let repository = folder.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(repository).with_context(|| format!("{} cannot be made", repository.display()))?;
    let unfinished = tempfile::Builder::new()
        .prefix(".unfinished-")
        .tempdir_in(repository)
        .with_context(|| format!("{} cannot be written", repository.display()))?;
    let version = unfinished.path().join("1");
    fs::create_dir(&version).with_context(|| format!("{} cannot be made", version.display()))?;
    model.copy_vision_graph(&version)?;
    fs::write(unfinished.path().join("config.pbtxt"), settings).context("config.pbtxt cannot be written")?;
    // Temporary folders are their owner's alone, and the server may be another user.
    let is_readable = fs::metadata(&version).map(|metadata| metadata.permissions());
    is_readable
        .and_then(|permissions| fs::set_permissions(unfinished.path(), permissions))
        .and_then(|()| fs::rename(unfinished.path(), folder))
        .with_context(|| format!("{} cannot be made", folder.display()))?;
    // It has another name now.
    let _ = unfinished.keep();
    Ok(())
}

/// The file `config.pbtxt`. Triton reads inputs, outputs and their kinds from the graph.
fn settings(name: &str, args: &Args, fixed_batch: Option<usize>) -> String {
    let mut text =
        format!("# Written by `stakeout models serve`.\nname: \"{name}\"\nplatform: \"onnxruntime_onnx\"\n");
    // Writing to a string cannot fail.
    let _ = match fixed_batch {
        None => writeln!(
            text,
            "max_batch_size: {}\n\n# Pictures of several machines that arrive within {} ms become one batch.\ndynamic_batching {{ \
             max_queue_delay_microseconds: {QUEUE_DELAY} }}",
            args.max_batch,
            QUEUE_DELAY / 1000
        ),
        // Triton cannot add pictures to a graph that fixes their number.
        Some(pictures) => {
            writeln!(text, "# The graph fixes the number of pictures: {pictures}.\nmax_batch_size: 0")
        }
    };
    let (kind, accelerator) = match args.device {
        ServerDevice::Cuda => ("KIND_GPU", ""),
        ServerDevice::TensorRt => ("KIND_GPU", "gpu_execution_accelerator: [ { name: \"tensorrt\" } ]"),
        ServerDevice::OpenVino => ("KIND_CPU", "cpu_execution_accelerator: [ { name: \"openvino\" } ]"),
        ServerDevice::Cpu => ("KIND_CPU", ""),
    };
    let instances = args.instances;
    let _ = writeln!(text, "\ninstance_group [ {{ count: {instances}, kind: {kind} }} ]");
    if !accelerator.is_empty() {
        let _ = writeln!(text, "\noptimization {{ execution_accelerators {{ {accelerator} }} }}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(device: ServerDevice) -> Args {
        Args {
            model: "bundled".to_owned(),
            triton: "models".into(),
            name: None,
            variant: Variant::Auto,
            revision: None,
            onnx: None,
            device,
            max_batch: 32,
            instances: 2,
        }
    }

    #[test]
    fn the_settings_of_triton() {
        let expected = "# Written by `stakeout models serve`.\n\
                        name: \"clip-vision\"\n\
                        platform: \"onnxruntime_onnx\"\n\
                        max_batch_size: 32\n\
                        \n\
                        # Pictures of several machines that arrive within 2 ms become one batch.\n\
                        dynamic_batching { max_queue_delay_microseconds: 2000 }\n\
                        \n\
                        instance_group [ { count: 2, kind: KIND_GPU } ]\n";
        assert_eq!(settings("clip-vision", &args(ServerDevice::Cuda), None), expected);
        let fixed = settings("clip-vision", &args(ServerDevice::Cpu), Some(1));
        assert!(fixed.contains("max_batch_size: 0\n") && !fixed.contains("dynamic_batching"), "{fixed}");
        assert!(fixed.contains("KIND_CPU"), "{fixed}");
        for (device, expected) in [
            (ServerDevice::TensorRt, "{ gpu_execution_accelerator: [ { name: \"tensorrt\" } ] }"),
            (ServerDevice::OpenVino, "{ cpu_execution_accelerator: [ { name: \"openvino\" } ] }"),
        ] {
            assert!(settings("clip", &args(device), None).contains(expected), "{device:?}");
        }
    }

    #[test]
    fn a_name_is_the_name_of_a_folder() {
        assert_eq!(name("clip-vision_1.0"), Ok("clip-vision_1.0".to_owned()));
        for text in ["", "../clip", ".clip", "a b", "a/b"] {
            assert!(name(text).is_err(), "{text}");
        }
    }
}
