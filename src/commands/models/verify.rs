//! `stakeout models verify`: checks a model's files and runs it once; with pictures, compares it with full precision on them.

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use anyhow::{Context, Result, ensure};

use super::compare::{Comparison, Side};
use crate::{
    commands::{
        self, DONE, ExecutionArgs, FAILED, Format,
        classify::labels,
        pictures::{self, Item},
    },
    config::{Config, Device, Execution, HubModel, ModelRef, Precision, Variant},
    engine::Engines,
    model::{
        Model, Options, Runtime,
        hub::{self, Found, Hub, Verdict},
    },
    picture::Picture,
    policy::{LabelSet, Template},
    progress, terminal,
};

/// The default labels: things that cameras see.
const LABELS: [&str; 10] = [
    "a person",
    "a car",
    "a dog",
    "a cat",
    "a bird",
    "a bicycle",
    "a parcel",
    "an animal at night",
    "an empty room",
    "an empty street",
];

/// The arguments of `stakeout models verify`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A model's name on the hub or its folder, unless --model or --config names it; then pictures to compare on: folders,
    /// files, patterns or web addresses
    #[arg(value_name = "ID|FOLDER] [PICTURES", required_unless_present_any = ["model", "config"])]
    named: Vec<String>,
    /// A model's name on the hub or its folder [default with only pictures: the bundled model]
    #[arg(long, value_name = "ID|FOLDER", conflicts_with = "config")]
    model: Option<String>,
    /// Take the model, the device and the label sets from a configuration
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// auto, fp32, fp16, bf16, int8, quantized, uint8, q4, q4f16 or bnb4
    #[arg(long, value_parser = commands::variant, default_value = "auto")]
    variant: Variant,
    /// The variant to compare with, on the CPU
    #[arg(long, value_name = "VARIANT", value_parser = commands::variant, default_value = "fp32")]
    against: Variant,
    /// Exit with 1 if both find the same best label on a smaller share of the pictures
    #[arg(long, value_name = "SHARE", value_parser = share, default_value = "0.95")]
    min_agreement: f32,
    /// Exit with 1 if the two vectors of any picture have a smaller cosine
    #[arg(long, value_name = "COSINE", value_parser = share, default_value = "0.9")]
    min_cosine: f32,
    /// A label; repeat the option for several [default: ten things that cameras see]
    #[arg(long = "label", value_name = "LABEL", conflicts_with = "config")]
    labels: Vec<String>,
    /// A file with one label a line; blank lines and lines that start with # are skipped
    #[arg(long, value_name = "FILE", conflicts_with = "config")]
    labels_from: Option<PathBuf>,
    /// The sentence around each label
    #[arg(long, default_value = "This is a photo of {}.", conflicts_with = "config")]
    template: Template,
    #[command(flatten)]
    execution: ExecutionArgs,
    /// A branch, a tag or a commit [default: main]
    #[arg(long, value_parser = commands::revision)]
    revision: Option<String>,
    /// The ONNX Runtime library [default: the first one in the usual places]
    #[arg(long, value_name = "FILE")]
    onnxruntime: Option<PathBuf>,
    /// The output format
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

fn share(text: &str) -> Result<f32, String> {
    let number = text.parse().ok().filter(|number| (0.0..=1.0).contains(number));
    number.ok_or_else(|| "write a number from 0 to 1, such as 0.95".to_owned())
}

/// Runs the command.
///
/// # Errors
/// The model cannot be used, or none of the pictures.
pub(super) fn run(out: &mut impl Write, args: &Args) -> Result<ExitCode> {
    match &args.config {
        Some(path) => commands::with_config(path, |config| verify(out, args, Some(config))),
        None => verify(out, args, None),
    }
}

fn verify(out: &mut impl Write, args: &Args, config: Option<Config>) -> Result<ExitCode> {
    let (model, typed) = named(args);
    let model = match (&config, model) {
        (Some(config), _) => config.model.clone(),
        (None, Some(typed)) if typed != "bundled" => commands::model(typed, Variant::Auto),
        (None, _) => ModelRef::Bundled,
    };
    let model = of_variant(&model, args.variant, args.revision.as_deref())?;
    let library = args.onnxruntime.clone().or_else(|| config.as_ref()?.onnxruntime.clone());
    let runtime = Runtime::load(library.as_deref())?;
    let server = config.as_ref().and_then(|config| config.model_server.clone());
    let engines = match server {
        Some(server) => Engines::Server(runtime.clone(), Arc::new(server)),
        None => Engines::from(&runtime),
    };
    let execution = execution(&args.execution, config.as_ref().map(|config| config.execution));
    if typed.is_empty() {
        let found = hub::find(&model, engines.device(execution.device)?)?;
        return check(out, &found, &model, &engines, execution);
    }
    compare(out, args, config, &model, typed, (&runtime, engines), execution)
}

/// Compares the model with the reference on the pictures.
fn compare(
    out: &mut impl Write,
    args: &Args,
    config: Option<Config>,
    model: &ModelRef,
    typed: &[String],
    (runtime, engines): (&Runtime, Engines),
    execution: Execution,
) -> Result<ExitCode> {
    let sets = match config {
        Some(config) => config.label_sets,
        None => vec![LabelSet::untriggered("the command line", &args.template, &label_names(args)?)],
    };
    let against = on_this_machine(of_variant(model, args.against, args.revision.as_deref())?);
    let device = engines.device(execution.device)?;
    let reference = Execution { device: Device::Cpu, gpu_memory: None, ..execution };
    // Both models are found and complete before one runs, which takes long.
    let sides = [
        Side {
            found: progress::find_or_pull(&against, Device::Cpu)?,
            execution: reference,
            engines: runtime.into(),
        },
        Side { found: progress::find_or_pull(model, device)?, execution, engines },
    ];
    for side in sides.iter().filter(|side| !side.is_complete()) {
        // Fails, and reports what is missing.
        side.load()?;
    }
    let comparison = Comparison::run(sides, sets, pictures::find(typed).into())?;
    let agrees = comparison.agrees(args.min_agreement, args.min_cosine);
    match args.format {
        Format::Json => writeln!(out, "{}", comparison.json(&model.name(), agrees))?,
        Format::Table => {
            comparison.table(out, &model.name())?;
            writeln!(
                out,
                "{}: required are the same best label on {:.1} % and a cosine of at least {}",
                if agrees { "agrees" } else { "DOES NOT AGREE" },
                args.min_agreement * 100.0,
                args.min_cosine
            )?;
        }
    }
    Ok(ExitCode::from(if agrees { DONE } else { FAILED }))
}

/// The model that was typed, and the pictures.
fn named(args: &Args) -> (Option<&str>, &[String]) {
    match (&args.model, &args.named[..]) {
        (Some(model), pictures) => (Some(model), pictures),
        (None, pictures) if args.config.is_some() => (None, pictures),
        // A folder of pictures that is not a model's folder.
        (None, pictures @ [first, ..]) if has_pictures(first) => (None, pictures),
        (None, [model, pictures @ ..]) => (Some(model), pictures),
        (None, []) => (None, &[]),
    }
}

fn has_pictures(typed: &str) -> bool {
    let path = Path::new(typed);
    path.exists()
        && !path.join("config.json").exists()
        && pictures::find(&[typed.to_owned()]).iter().any(Item::exists)
}

/// The same model in this variant, unless the variant is `auto`.
fn of_variant(model: &ModelRef, variant: Variant, revision: Option<&str>) -> Result<ModelRef> {
    let or = |own| if variant == Variant::Auto { own } else { variant };
    Ok(match model {
        ModelRef::Bundled => {
            ensure!(
                matches!(variant, Variant::Auto | Variant::Named("fp32")),
                "the bundled model has no other variant than fp32"
            );
            ModelRef::Bundled
        }
        ModelRef::Folder(folder, own) => ModelRef::Folder(folder.clone(), or(*own)),
        ModelRef::Hub(model) => {
            let revision = revision.map(str::to_owned).or_else(|| model.revision.clone());
            ModelRef::Hub(HubModel { variant: or(model.variant), revision, ..model.clone() })
        }
    })
}

/// The same model with the graph for pictures, which a model server may have otherwise.
fn on_this_machine(model: ModelRef) -> ModelRef {
    match model {
        ModelRef::Hub(model) => ModelRef::Hub(HubModel { text_only: false, ..model }),
        model => model,
    }
}

/// The configured execution, overridden by the options that were typed.
fn execution(typed: &ExecutionArgs, configured: Option<Execution>) -> Execution {
    let typed = typed.execution();
    let Some(configured) = configured else { return typed };
    let device = if typed.device == Device::Auto { configured.device } else { typed.device };
    let max_batch =
        if typed.max_batch == Execution::MAX_BATCH { configured.max_batch } else { typed.max_batch };
    let precision = if typed.precision == Precision::Auto { configured.precision } else { typed.precision };
    let threads = typed.threads.or(configured.threads);
    Execution { device, precision, max_batch, threads, ..configured }
}

fn label_names(args: &Args) -> Result<Vec<String>> {
    let names = labels(&args.labels, args.labels_from.as_deref())?;
    Ok(if names.is_empty() { LABELS.map(str::to_owned).to_vec() } else { names })
}

/// Checks the files against the hub's hashes, and runs the model once.
fn check(
    out: &mut impl Write,
    found: &Found,
    model: &ModelRef,
    engines: &Engines,
    execution: Execution,
) -> Result<ExitCode> {
    let mut damaged = Vec::new();
    if let ModelRef::Hub(model) = model {
        for (file, verdict) in Hub::for_model(&model.id)?.check_files(model)? {
            let word = match verdict {
                Verdict::Whole => "whole",
                Verdict::Damaged => "DAMAGED",
                Verdict::Missing => "MISSING",
                Verdict::Unchecked => "not checked",
            };
            writeln!(out, "{file}  {word}")?;
            if matches!(verdict, Verdict::Damaged | Verdict::Missing) {
                damaged.push(file);
            }
        }
    }
    if !damaged.is_empty() {
        terminal::say(format_args!(
            "error: {} differs from the hub's: `{}` fetches it again",
            damaged.join(", "),
            model.pull_command(Device::Auto)
        ));
        return Ok(ExitCode::from(FAILED));
    }
    writeln!(out, "{}", trial(found, engines, execution)?)?;
    Ok(ExitCode::from(DONE))
}

/// Loads the model, runs both towers once, and returns the line to print.
fn trial(found: &Found, engines: &Engines, execution: Execution) -> Result<String> {
    let mut model = Model::load(engines.clone(), &found.files, &Options { execution, ..found.options() })?;
    let text =
        model.text().encode(&["a photo of a cat"])?.pop().context("the model gave no answer to a text")?;
    let blank = Picture::of_rgb(64, 64, vec![128; 64 * 64 * 3]);
    let picture = model.embed_pictures(&[&blank])?.pop().context("the model gave no answer to a picture")?;
    ensure!(
        text.len() == picture.len(),
        "the vectors of a text and of a picture have different lengths ({} and {}): the graphs are not of one model",
        text.len(),
        picture.len()
    );
    let (place, logits) = (found.files.place(), model.logits());
    let place = match engines.server() {
        Some(server) => format!("{place} with the model {} at {}", server.name, server.addresses()),
        None => place,
    };
    Ok(format!(
        "ok: {place} loads and answers with vectors of {}, scale {:.4}, bias {:.4}",
        text.len(),
        logits.scale,
        logits.bias
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_typed_variant_overrides_the_variant_of_the_model() {
        let [int8, fp16] = ["int8", "fp16"].map(Variant::Named);
        let folder = |variant| ModelRef::Folder("clip".into(), variant);
        assert_eq!(of_variant(&folder(fp16), Variant::Auto, None).unwrap(), folder(fp16));
        assert_eq!(of_variant(&folder(fp16), int8, None).unwrap(), folder(int8));
        let hub = |variant, revision: Option<&str>| {
            let revision = revision.map(str::to_owned);
            ModelRef::Hub(HubModel { variant, revision, ..HubModel::named("a/b") })
        };
        assert_eq!(of_variant(&hub(fp16, Some("x")), int8, None).unwrap(), hub(int8, Some("x")));
        assert_eq!(of_variant(&hub(fp16, None), Variant::Auto, Some("y")).unwrap(), hub(fp16, Some("y")));
        assert!(of_variant(&ModelRef::Bundled, int8, None).is_err());
    }

    #[test]
    fn a_share_is_from_0_to_1() {
        assert_eq!(share("0.95"), Ok(0.95));
        for text in ["95", "-0.1", "nan", "x"] {
            assert!(share(text).is_err(), "{text}");
        }
    }
}
