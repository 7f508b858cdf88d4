//! `stakeout bench`: measures how many cameras this machine can watch with a model.

use std::{io::Write as _, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context, Result};

use super::{DONE, Format};
use crate::{
    bench::{self, BenchPart, Setup},
    model::Runtime,
    picture::MAX_PIXELS,
    progress, terminal,
};

/// The arguments of `stakeout bench`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    model: super::ModelArgs,
    #[command(flatten)]
    device: super::DeviceArgs,
    /// The number of labels
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u16).range(2..=5000))]
    labels: u16,
    /// The picture to score [default: a test image of 1920 x 1080]
    #[arg(long, value_name = "FILE")]
    picture: Option<PathBuf>,
    /// Pictures with more pixels are not decoded
    #[arg(long, value_name = "N", default_value_t = MAX_PIXELS, value_parser = super::max_pixels())]
    max_pixels: u64,
    /// The numbers of pictures in a run of the model: each is tried, and 1 and the best are measured
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_values_t = [1, 2, 4, 8],
          value_parser = clap::value_parser!(u16).range(1..=256))]
    batches: Vec<u16>,
    /// About how long the rounds take, in addition to start-up, texts and one run of each batch
    #[arg(long, value_name = "S", default_value_t = 20.0, value_parser = seconds)]
    seconds: f64,
    /// The output format
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
    /// What a process started by this program measures
    #[arg(long, value_enum, hide = true)]
    part: Option<BenchPart>,
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.1..=86_400.0).contains(&seconds) => Ok(seconds),
        _ => Err("write a number from 0.1 to 86400".to_owned()),
    }
}

/// Measures, and prints the results.
///
/// # Errors
/// The model or the picture cannot be used, or standard output cannot be written.
pub fn run(args: &Args) -> Result<ExitCode> {
    let mut out = terminal::output();
    let setup = args.setup();
    if let Some(part) = args.part {
        let result = serde_json::to_string(&bench::measure_part(&setup, part)?)?;
        writeln!(out, "{result}").context("standard output cannot be written")?;
        return Ok(ExitCode::from(DONE));
    }
    let jpeg = setup.jpeg()?;
    // A missing model is fetched before anything is measured.
    let device = Runtime::load(setup.onnxruntime.as_deref())?.device(setup.execution.device)?;
    progress::find_or_pull(&setup.model, device)?;
    let measured = bench::measure(&setup, &jpeg, Duration::from_secs_f64(args.seconds))?;
    match args.format {
        Format::Json => writeln!(out, "{:#}", bench::json(&measured)),
        Format::Table => write!(out, "{}", bench::table(&measured)),
    }
    .context("standard output cannot be written")?;
    Ok(ExitCode::from(DONE))
}

impl Args {
    fn setup(&self) -> Setup {
        Setup {
            model: self.model.model(),
            execution: self.device.execution(),
            onnxruntime: self.model.onnxruntime.clone(),
            labels: self.labels,
            picture: self.picture.clone(),
            max_pixels: self.max_pixels,
            batches: self.batches.clone(),
        }
    }
}
