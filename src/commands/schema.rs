//! `stakeout schema`: the configuration as JSON Schema for editors, or as a page for people (`docs/configuration.md`); and the API as an
//! OpenAPI document, for programs and for the types of the console.

use std::{io::Write as _, process::ExitCode};

use anyhow::Context;

use super::DONE;
use crate::{
    api::{openapi, routes},
    config, terminal,
};

/// The arguments of `stakeout schema`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The output format
    #[arg(long, value_enum, default_value = "json")]
    format: Format,
    /// Print the OpenAPI document of the API instead
    #[arg(long, conflicts_with = "format")]
    api: bool,
}

/// The output format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// JSON Schema, for editors
    Json,
    /// A page for people
    Markdown,
}

/// Prints the schema.
///
/// # Errors
/// Standard output cannot be written.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let text = match args.format {
        _ if args.api => format!("{:#}\n", openapi::document(&routes::all())),
        Format::Json => format!("{:#}\n", config::schema()),
        Format::Markdown => config::reference_page(),
    };
    terminal::output().write_all(text.as_bytes()).context("standard output cannot be written")?;
    Ok(ExitCode::from(DONE))
}
