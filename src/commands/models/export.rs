//! `stakeout models export`: writes a model as a folder with ONNX files.

use std::{io::Write, path::PathBuf, process::ExitCode};

use anyhow::{Context as _, Result};

use crate::{
    commands::{self, DONE},
    config::{Device, HubModel, ModelRef, Variant},
    model::{Exported, export, hub::Found},
    progress, terminal,
};

/// The arguments of `stakeout models export`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A model's name on the hub, or its folder
    #[arg(value_name = "ID|FOLDER")]
    model: String,
    /// The folder to write; it must be new or empty
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// Also write the variant with 8-bit weights
    #[arg(long)]
    int8: bool,
    /// A branch, a tag or a commit [default: main]
    #[arg(long, value_parser = commands::revision)]
    revision: Option<String>,
}

/// Runs the command.
///
/// # Errors
/// The model cannot be used, or the folder cannot be written.
pub(super) fn run(out: &mut impl Write, args: &Args) -> Result<ExitCode> {
    let mut variants = vec!["fp32"];
    variants.extend(args.int8.then_some("int8"));
    let variant = |name| {
        let found = progress::find_or_pull(&model(args, Variant::Named(name)), Device::Cpu)?;
        let Found { files, suffix, logits } = found;
        Ok(Exported { files, suffix, logits })
    };
    let variants: Vec<Exported> = variants.into_iter().map(variant).collect::<Result<_>>()?;
    let written = export(&variants, &args.folder).context("the model cannot be exported")?;
    for path in &written {
        writeln!(out, "{}", path.display())?;
    }
    let folder = args.folder.display();
    terminal::say(format_args!(
        "`model: {folder}` uses this folder; so do programs that read the hub's layout"
    ));
    Ok(ExitCode::from(DONE))
}

/// The model in one variant.
fn model(args: &Args, variant: Variant) -> ModelRef {
    match commands::model(&args.model, variant) {
        ModelRef::Hub(model) => ModelRef::Hub(HubModel { revision: args.revision.clone(), ..model }),
        other => other,
    }
}
