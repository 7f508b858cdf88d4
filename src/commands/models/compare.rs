//! `stakeout models verify MODEL PICTURES`: compares a variant on a device with a reference, full precision on the CPU, on the
//! user's own pictures.
//!
//! The two run one after the other, so that neither takes time or memory from the other.

mod agreement;

use std::{io::Write, path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use serde_json::json;

use self::agreement::{Agreement, Answer};
use crate::{
    classify::{Classifier, labels::VectorCache},
    commands::{
        self, DONE, ExecutionArgs, FAILED,
        classify::{Format, labels},
        embed::embed,
        pictures::{self, Item},
    },
    config::{Device, Execution, HubModel, ModelRef, Variant},
    model::{Model, Options, Runtime, hub},
    policy::{LabelSet, Template},
    progress::{self, Counted},
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
    /// auto, fp32, fp16, int8, quantized, uint8, q4, q4f16 or bnb4
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
    #[arg(long, value_parser = super::revision)]
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
    let (model, typed) = named(args);
    let config = match args.config.as_deref().map(commands::load) {
        Some(Err(code)) => return Ok(code),
        Some(Ok(loaded)) => Some(loaded.config),
        None => None,
    };
    let model = match (&config, model) {
        (Some(config), _) => config.model.clone(),
        (None, Some(typed)) if typed != "bundled" => commands::model(typed, Variant::Auto),
        (None, _) => ModelRef::Bundled,
    };
    let model = of_variant(&model, args.variant, args.revision.as_deref())?;
    let library = args.onnxruntime.clone().or_else(|| config.as_ref()?.onnxruntime.clone());
    let runtime = Runtime::load(library.as_deref())?;
    let execution = execution(&args.execution, config.as_ref().map(|config| config.execution));
    let device = runtime.device(execution.device)?;
    if typed.is_empty() {
        return super::verify(out, &hub::find(&model, device)?, &model, &runtime, execution);
    }
    let sets = match config {
        Some(config) => config.label_sets,
        None => vec![LabelSet::untriggered("the command line", &args.template, &label_names(args)?)],
    };
    let items: Arc<[Item]> = pictures::find(typed).into();
    let reference = Execution { device: Device::Cpu, gpu_memory: None, ..execution };
    // Both are found before either is run, since that takes long.
    let against = of_variant(&model, args.against, args.revision.as_deref())?;
    let found = [progress::find_or_pull(&against, Device::Cpu)?, progress::find_or_pull(&model, device)?];
    for (found, execution) in found.iter().zip([reference, execution]) {
        if !found.files.is_complete(&found.suffix) {
            // Loading fails and reports what is missing: before the other model has run, not after.
            Model::load(&runtime, &found.files, &Options { execution, ..found.options() })?;
        }
    }
    let [against, tried] = [(&found[0], reference), (&found[1], execution)].map(|(found, execution)| {
        let options = Options { execution, ..found.options() };
        Model::load(&runtime, &found.files, &options)
            .map_err(anyhow::Error::from)
            .and_then(|model| answers(model, found.variant(), &sets, &items))
    });
    let (against, tried) = (against?, tried?);
    let agreement = Agreement::between(&against.pictures, &tried.pictures)
        .context("there is no picture that could be scored both times")?;
    let agrees = agreement.same_share() >= args.min_agreement && agreement.least_cosine >= args.min_cosine;
    let report =
        Report { model: &model.name(), items: &items, sets: &sets, against, tried, agreement, agrees };
    match args.format {
        Format::Json => writeln!(out, "{}", report.json())?,
        Format::Table => report.table(out, args)?,
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
    let path = std::path::Path::new(typed);
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

/// The configured execution, overridden by the options that were typed.
fn execution(typed: &ExecutionArgs, configured: Option<Execution>) -> Execution {
    let typed = typed.execution();
    let Some(configured) = configured else { return typed };
    let device = if typed.device == Device::Auto { configured.device } else { typed.device };
    let max_batch =
        if typed.max_batch == Execution::MAX_BATCH { configured.max_batch } else { typed.max_batch };
    Execution { device, max_batch, threads: typed.threads.or(configured.threads), ..configured }
}

fn label_names(args: &Args) -> Result<Vec<String>> {
    let names = labels(&args.labels, args.labels_from.as_deref())?;
    Ok(if names.is_empty() { LABELS.map(str::to_owned).to_vec() } else { names })
}

/// The answers of a model for every picture.
struct Answers {
    variant: String,
    device: Device,
    /// In the order of the pictures; `None` for a picture that could not be scored.
    pictures: Vec<Option<Answer>>,
    took: Duration,
}

impl Answers {
    /// Pictures per second of the model.
    fn speed(&self) -> f64 {
        self.pictures.iter().flatten().count() as f64 / self.took.as_secs_f64().max(1e-6)
    }
}

fn answers(mut model: Model, variant: &str, sets: &[LabelSet], items: &Arc<[Item]>) -> Result<Answers> {
    let device = model.device();
    let grey = vec![0.0; model.preprocessor().tensor_len()];
    // The first run takes longer than the runs after it.
    model.embed_prepared(&grey)?;
    let mut classifier = Classifier::as_the_pipeline(model, sets, &VectorCache::of_user())?;
    let mut progress = Counted::new(items.len(), "pictures");
    let mut pictures = Vec::with_capacity(items.len());
    let took = embed(&mut classifier, items, |classifier, number, vector| {
        if let Err(error) = &vector {
            progress.aside(|| eprintln!("error: {}: {error:#}", items[number].name));
        }
        pictures.push(vector.ok().map(|vector| {
            let scores = (0..sets.len()).map(|set| classifier.scores(set, &vector)).collect();
            Answer { vector: vector.to_vec(), scores }
        }));
        progress.one_more();
        Ok(())
    })?;
    progress.end();
    if pictures.iter().all(Option::is_none) {
        bail!("none of the pictures could be scored");
    }
    Ok(Answers { variant: variant.to_owned(), device, pictures, took })
}

/// The comparison to print.
struct Report<'a> {
    model: &'a str,
    items: &'a [Item],
    sets: &'a [LabelSet],
    against: Answers,
    tried: Answers,
    agreement: Agreement,
    agrees: bool,
}

impl Report<'_> {
    fn json(&self) -> serde_json::Value {
        let Self { agreement, items, .. } = self;
        let side = |side: &Answers| json!({"variant": side.variant, "device": side.device.to_string(), "pictures_a_second": side.speed()});
        let difference = &agreement.difference;
        let (set, label) = self.label(difference.set, difference.label);
        json!({
            "model": self.model,
            "pictures": agreement.pictures,
            "failed": items.len() - agreement.pictures,
            "tried": side(&self.tried),
            "against": side(&self.against),
            "cosine": {"median": agreement.median_cosine, "min": agreement.least_cosine,
                       "min_at": items[agreement.least_cosine_at].name},
            "same_best_label": agreement.same_best,
            "agreement": agreement.same_share(),
            "score_difference": {"max": difference.size(), "image": items[difference.picture].name, "label_set": set,
                                 "label": label, "score": difference.tried, "against": difference.against},
            "agrees": self.agrees,
        })
    }

    fn label(&self, set: usize, label: usize) -> (&str, &str) {
        let set = &self.sets[set];
        (&set.name, &set.labels[label].name)
    }

    fn table(&self, out: &mut impl Write, args: &Args) -> std::io::Result<()> {
        let Self { model, agreement, items, tried, against, .. } = self;
        let failed = items.len() - agreement.pictures;
        let failed = if failed == 0 { String::new() } else { format!(" ({failed} could not be scored)") };
        writeln!(
            out,
            "{model}: {} on {} against {} on {}, {} pictures{failed}",
            tried.variant, tried.device, against.variant, against.device, agreement.pictures
        )?;
        let (median, least) = (agreement.median_cosine, agreement.least_cosine);
        let worst = &items[agreement.least_cosine_at].name;
        writeln!(out, "  cosine of the vectors   median {median:.4}, least {least:.4} ({worst})")?;
        let percent = agreement.same_share() * 100.0;
        let (same, all) = (agreement.same_best, agreement.pictures);
        writeln!(out, "  same best label         {same} of {all} ({percent:.1} %)")?;
        let difference = &agreement.difference;
        let label = self.label(difference.set, difference.label).1;
        let (size, a, b) = (difference.size(), difference.tried, difference.against);
        let picture = &items[difference.picture].name;
        writeln!(out, "  largest score apart     {size:.4} ({label}: {a:.4} and {b:.4}, {picture})")?;
        let (fast, slow) = (tried.speed(), against.speed());
        let times = fast / slow;
        writeln!(
            out,
            "  speed                   {fast:.1} pictures a second, against {slow:.1}: {times:.2} times as fast"
        )?;
        let word = if self.agrees { "agrees" } else { "DOES NOT AGREE" };
        writeln!(
            out,
            "{word}: required are the same best label on {:.1} % and a cosine of at least {}",
            args.min_agreement * 100.0,
            args.min_cosine
        )
    }
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
