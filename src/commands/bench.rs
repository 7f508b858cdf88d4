//! `stakeout bench`: what this machine can hold with a model, in one run and with nothing else to install.
//!
//! Everything goes the way that frames go in the service. What depends on a fresh process (start-up, peak memory) is
//! measured in processes of its own: this program, started again with the hidden `--part`.

use std::{
    fs,
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, Result};

use super::{DONE, progress};
use crate::{
    bench,
    config::{Device, Execution, ModelRef, Variant},
    model::{
        Model, Options, Runtime,
        hub::{self, Found},
    },
};

/// What is typed after `stakeout bench`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A folder with the model's files, or its name on the hub, which is fetched if it is not here [default: the bundled model]
    #[arg(long, value_name = "ID|FOLDER")]
    pub(crate) model: Option<String>,
    /// auto, fp32, fp16, int8, quantized, uint8, q4, q4f16 or bnb4
    #[arg(long, value_parser = super::variant, default_value = "auto")]
    pub(crate) variant: Variant,
    /// auto, cpu, cuda, cuda:1, tensorrt, openvino, openvino:gpu, openvino:npu, migraphx, rocm, coreml or directml
    #[arg(long, value_parser = Device::parse, default_value = "auto")]
    pub(crate) device: Device,
    /// Threads of the model [default: one for each processor]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) threads: Option<u16>,
    /// How many labels are scored
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u16).range(2..=5000))]
    pub(crate) labels: u16,
    /// The picture that is scored [default: one of 1920 x 1080 made for it]
    #[arg(long, value_name = "FILE")]
    pub(crate) picture: Option<PathBuf>,
    /// How many pictures go through the model at once: each of these is tried, and 1 and the best are measured
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_values_t = [1, 2, 4, 8],
          value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) batches: Vec<u16>,
    /// About how long the rounds take; start-up, texts and one run of each batch come on top
    #[arg(long, value_name = "S", default_value_t = 20.0, value_parser = seconds)]
    pub(crate) seconds: f64,
    /// The ONNX Runtime library [default: looked for in the usual places]
    #[arg(long, value_name = "FILE")]
    pub(crate) onnxruntime: Option<PathBuf>,
    /// How the answer is printed
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
    /// What a process that this one starts measures
    #[arg(long, value_enum, hide = true)]
    pub(crate) part: Option<bench::parts::Part>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// For people
    Table,
    /// For programs: one object
    Json,
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.1..=86_400.0).contains(&seconds) => Ok(seconds),
        _ => Err("a number from 0.1 to 86400".to_owned()),
    }
}

/// Measures, and prints what came out.
///
/// # Errors
/// The model or the picture cannot be used, or standard output cannot be written.
pub fn run(args: &Args) -> Result<ExitCode> {
    let mut out = io::stdout().lock();
    if let Some(part) = args.part {
        writeln!(out, "{}", bench::parts::measure(args, part)?)
            .context("standard output cannot be written")?;
        return Ok(ExitCode::from(DONE));
    }
    let jpeg = args.jpeg()?;
    // Whatever must be fetched is fetched before anything is measured.
    let runtime = Runtime::load(args.onnxruntime.as_deref())?;
    progress::find_or_pull(&args.model(), runtime.device(args.device)?)?;
    let bench = bench::measure::Bench::new(args, &jpeg)?;
    let measured = bench.run(Duration::from_secs_f64(args.seconds))?;
    match args.format {
        Format::Json => writeln!(out, "{:#}", bench::report::json(&measured)),
        Format::Table => write!(out, "{}", bench::report::table(&measured)),
    }
    .context("standard output cannot be written")?;
    Ok(ExitCode::from(DONE))
}

impl Args {
    pub(crate) fn model(&self) -> ModelRef {
        self.model.as_deref().map_or(ModelRef::Bundled, |typed| super::model(typed, self.variant))
    }

    pub(crate) fn options(&self, found: &Found) -> Options {
        let execution = Execution {
            device: self.device,
            threads: self.threads.map(usize::from),
            max_batch: self.batches().into_iter().max().unwrap_or(1),
            ..Execution::default()
        };
        Options { execution, ..found.options() }
    }

    pub(crate) fn find(&self, runtime: &Runtime) -> Result<Found> {
        Ok(hub::find(&self.model(), runtime.device(self.device)?)?)
    }

    pub(crate) fn load(&self, runtime: &Runtime, found: &Found) -> Result<Model> {
        Ok(Model::load(runtime, &found.files, &self.options(found))?)
    }

    /// The bytes of the picture.
    pub(crate) fn jpeg(&self) -> Result<Vec<u8>> {
        match &self.picture {
            Some(file) => fs::read(file).with_context(|| format!("{} cannot be read", file.display())),
            None => Ok(bench::test_image::picture(1920, 1080).to_jpeg(90)?),
        }
    }

    /// What is to be tried, each once; 1 is always among them.
    pub(crate) fn batches(&self) -> Vec<usize> {
        let mut batches: Vec<usize> = self.batches.iter().copied().map(usize::from).chain([1]).collect();
        batches.sort_unstable();
        batches.dedup();
        batches
    }
}
