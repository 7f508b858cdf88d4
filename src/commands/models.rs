//! `stakeout models`: fetches, lists, verifies, serves, exports and removes models of the hub.

mod agreement;
mod compare;
mod export;
mod serve;
mod verify;

use std::{io::Write, process::ExitCode};

use anyhow::Result;

use super::DONE;
use crate::{
    config::{Device, HubModel, Variant},
    model::{Runtime, hub::Hub},
    progress::{Download, human},
    terminal,
};

/// The arguments of `stakeout models`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Fetch a model from the hub, or its newest revision
    Pull {
        #[command(flatten)]
        model: Named,
        /// A branch, a tag or a commit [default: main]
        #[arg(long, value_parser = super::revision)]
        revision: Option<String>,
        /// The repository with the ONNX files, if they are in another one that the program does not know
        #[arg(long, value_name = "ID")]
        onnx: Option<String>,
        /// Fetch only what encodes texts, for use with a model server that has the graph for pictures
        #[arg(long)]
        text_only: bool,
        /// The device that the model will run on, which decides the variant `auto` [default: the best of this machine]
        #[arg(long, value_parser = Device::parse, default_value = "auto", hide_default_value = true)]
        device: Device,
    },
    /// List the usable models in the hub's cache
    List,
    /// Check a model's files against the hub's hashes, load it, and encode a text and a picture; with pictures, compare it with
    /// full precision on them
    Verify(verify::Args),
    /// Write a model into a folder in the hub's layout, with ONNX files, for other programs
    Export(export::Args),
    /// Write the graph for pictures as a model repository, for a model server such as Triton
    Serve(serve::Args),
    /// Remove a model from the hub's cache, which other programs use too
    Remove {
        /// A model's name on the hub
        id: String,
    },
}

#[derive(Debug, clap::Args)]
struct Named {
    /// A model's name on the hub, such as openai/clip-vit-base-patch16
    id: String,
    /// auto, fp32, fp16, bf16, int8, quantized, uint8, q4, q4f16 or bnb4
    #[arg(long, value_parser = super::variant, default_value = "auto")]
    variant: Variant,
}

/// Runs the command.
///
/// # Errors
/// The hub, the model or standard output cannot be used.
pub fn run(args: &Args) -> Result<ExitCode> {
    let mut out = terminal::output();
    match &args.command {
        Command::Pull { model: Named { id, variant }, revision, onnx, text_only, device } => {
            let (id, onnx, revision) = (id.clone(), onnx.clone(), revision.clone());
            let model = HubModel { id, onnx, revision, variant: *variant, text_only: *text_only };
            pull(&mut out, &model, *device)
        }
        Command::List => list(&mut out),
        Command::Verify(args) => verify::run(&mut out, args),
        Command::Export(args) => export::run(&mut out, args),
        Command::Serve(args) => serve::run(&mut out, args),
        Command::Remove { id } => {
            for removed in Hub::for_model(id)?.remove(&HubModel::named(id))? {
                writeln!(out, "removed {removed}")?;
            }
            Ok(ExitCode::from(DONE))
        }
    }
}

fn pull(out: &mut impl Write, model: &HubModel, device: Device) -> Result<ExitCode> {
    let hub = Hub::for_model(&model.id)?;
    let device = match (device, model.variant) {
        // Texts are encoded on the processor.
        (Device::Auto, _) if model.text_only => Device::Cpu,
        // The only case that depends on this machine. Without ONNX Runtime it may fetch models for another machine.
        (Device::Auto, Variant::Auto) => {
            Runtime::load(None).ok().and_then(|runtime| runtime.device(device).ok()).unwrap_or(Device::Cpu)
        }
        (device, _) => device,
    };
    let mut download = Download::new();
    let found = hub.pull(model, device, &mut |event| download.show(event))?;
    writeln!(out, "{}", found.files.place())?;
    Ok(ExitCode::from(DONE))
}

fn list(out: &mut impl Write) -> Result<ExitCode> {
    let models = Hub::for_model("list")?.list();
    if models.is_empty() {
        terminal::say(format_args!(
            "there are no models yet: `stakeout models pull openai/clip-vit-base-patch16` fetches one"
        ));
    }
    for model in models {
        let (size, commit) = (human(model.bytes), &model.commit[..model.commit.len().min(8)]);
        let text_only = model.text_only.iter().map(|variant| format!("{variant} (texts only)"));
        let variants = model.variants.iter().map(ToString::to_string).chain(text_only);
        let variants = variants.collect::<Vec<_>>().join(",");
        writeln!(out, "{}  {variants}  {size}  {commit}  {}", model.id, model.folder.display())?;
    }
    Ok(ExitCode::from(DONE))
}
