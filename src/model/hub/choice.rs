//! Chooses the files of a repository that a variant needs. Pure.

use super::error::HubError;
use crate::{
    config::Variant,
    model::{
        build::{Format, pickle_among},
        external_data,
        files::WeightFile,
        layout::{self, Choice, Graphs, Vocabulary},
    },
};

/// The largest settings that are known have some megabytes: names of classes, tokens that were added.
const MOST_OF_SETTINGS: u64 = 16 << 20;
/// The largest vocabularies that are known take a quarter of this.
const MOST_OF_VOCABULARY: u64 = 128 << 20;
/// The number of names in a message.
const MOST_NAMES: usize = 8;

/// The limit of a file that is small in every model, in bytes; `None` for graphs and weights.
pub(super) fn most_bytes(file: &str) -> Option<u64> {
    if layout::vocabulary_files().any(|known| known == file) {
        return Some(MOST_OF_VOCABULARY);
    }
    let is_small = file.ends_with(".index.json") || layout::settings_files().any(|known| known == file);
    is_small.then_some(MOST_OF_SETTINGS)
}

/// Whether a list of files contains a name.
pub(super) fn lists(files: &[String]) -> impl Fn(&str) -> bool {
    move |name| files.iter().any(|listed| listed == name)
}

/// Where the graphs come from: the number of the repository, the variant's name, and its files. Each repository is a list of
/// files.
pub(super) fn choose(
    repositories: &[&[String]],
    choices: &[&'static str],
) -> Option<(usize, &'static str, Choice)> {
    let lists: Vec<_> = repositories.iter().map(|files| lists(files)).collect();
    let has: Vec<&dyn Fn(&str) -> bool> = lists.iter().map(|has| has as &dyn Fn(&str) -> bool).collect();
    layout::choose(&has, choices, Variant::suffix)
}

/// Whether a repository has ONNX files of a variant.
pub(super) fn has_graphs(files: &[String], name: &str) -> bool {
    Graphs::among(lists(files), &Variant::suffix(name)).is_some()
}

/// Why a repository has nothing for this variant.
pub(super) fn nothing(id: &str, files: &[String], variant: Variant) -> HubError {
    let there: Vec<_> = Variant::NAMES.into_iter().filter(|name| has_graphs(files, name)).collect();
    let made = layout::weights(lists(files)).is_some();
    let others = other_graphs(files);
    let is_empty = there.is_empty() && others.is_empty() && !made;
    if let Some(file) = pickle_among(lists(files)).filter(|_| is_empty) {
        return HubError::Pickle { id: id.to_owned(), file };
    }
    // Another variant helps only if there is one.
    let named = if there.is_empty() && !made { None } else { variant.name() };
    HubError::NoGraphs {
        id: id.to_owned(),
        variant: named.unwrap_or_default().into(),
        there: there.join(", ").into(),
        made,
        others: others.into(),
        searched: Box::default(),
    }
}

/// ONNX files whose names are not those of the layout, for a message.
fn other_graphs(files: &[String]) -> Vec<String> {
    let mut others: Vec<_> = files.iter().filter(|file| file.ends_with(".onnx")).cloned().collect();
    if others.len() > MOST_NAMES {
        others.truncate(MOST_NAMES);
        others.push("...".to_owned());
    }
    others
}

/// The files that say whether the model is supported, and how pictures and texts are prepared. They are small.
///
/// # Errors
/// The repository lacks files that every model needs.
pub(super) fn settings(id: &str, files: &[String], format: Format) -> Result<Vec<&'static str>, HubError> {
    let has = lists(files);
    let mut missing = layout::missing_settings(format, &has);
    // The settings of OpenCLIP's format say which tokenizer a model has.
    if format == Format::Transformers && Vocabulary::among(&has).is_none() {
        missing.push(layout::TOKENIZER);
    }
    if !missing.is_empty() {
        return Err(HubError::Lacks { id: id.to_owned(), missing: missing.join(", ") });
    }
    Ok(layout::settings_files().filter(|name| has(name)).collect())
}

/// The files of the tokenizer.
///
/// # Errors
/// The repository has none.
pub(super) fn vocabulary(id: &str, files: &[String]) -> Result<&'static [&'static str], HubError> {
    let found = Vocabulary::among(lists(files));
    let missing = || HubError::Lacks { id: id.to_owned(), missing: layout::TOKENIZER.to_owned() };
    found.map(Vocabulary::files).ok_or_else(missing)
}

/// The weight files that an index names.
///
/// # Errors
/// The repository lacks some of them.
pub(super) fn shards(id: &str, files: &[String], named: Vec<String>) -> Result<Vec<String>, HubError> {
    let missing: Vec<_> = named.iter().filter(|name| !files.contains(name)).map(String::as_str).collect();
    if missing.is_empty() {
        return Ok(named);
    }
    Err(HubError::Lacks { id: id.to_owned(), missing: missing.join(", ") })
}

/// The names of a graph's weights, of those that the repository has.
///
/// # Errors
/// The repository lacks some of them, or the graph names a file outside of its folder.
pub(super) fn weights(
    id: &str,
    files: &[String],
    graph: &str,
    locations: external_data::Locations,
) -> Result<Vec<WeightFile>, HubError> {
    if let Some(location) = locations.keys().find(|location| !external_data::is_inside(location)) {
        let (id, graph, location) = (id.to_owned(), graph.to_owned(), location.clone());
        return Err(HubError::Outside { id, graph, location });
    }
    let needed: Vec<_> = locations
        .into_iter()
        .map(|(location, needed)| WeightFile { name: external_data::beside(graph, &location), needed })
        .collect();
    let missing: Vec<_> =
        needed.iter().filter(|file| !files.contains(&file.name)).map(|file| file.name.as_str()).collect();
    if missing.is_empty() {
        return Ok(needed);
    }
    Err(HubError::Lacks { id: id.to_owned(), missing: missing.join(", ") })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Device;

    fn listing(names: &[&str]) -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    }

    fn chosen(files: &[String], variant: Variant, device: Device) -> Option<(&'static str, Choice)> {
        choose(&[files], &variant.choices(device)).map(|(_, name, choice)| (name, choice))
    }

    #[test]
    fn the_graphs_of_a_variant_and_the_files_that_they_need() {
        let all = listing(&[
            ".gitattributes",
            "config.json",
            "onnx/model.onnx",
            "onnx/model.onnx_data",
            "onnx/model.onnx_data_1",
            "onnx/model_fp16.onnx",
            "onnx/text_model_fp16.onnx",
            "onnx/vision_model_fp16.onnx",
            "preprocessor_config.json",
            "tokenizer.json",
            "tokenizer_config.json",
        ]);
        let (name, found) = chosen(&all, Variant::Auto, Device::Cpu).unwrap();
        let Choice::Files(graphs) = &found else { panic!("{found:?}") };
        assert!(name == "fp32" && graphs.is_combined() && graphs.vision == "onnx/model.onnx", "{graphs:?}");
        let small = settings("o/n", &all, Format::Transformers).unwrap();
        assert_eq!(small, ["config.json", "preprocessor_config.json", "tokenizer_config.json"]);
        assert_eq!(vocabulary("o/n", &all).unwrap(), ["tokenizer.json"]);
        for (variant, device) in [(Variant::Named("fp16"), Device::Cpu), (Variant::Auto, Device::Cuda(0))] {
            let (name, found) = chosen(&all, variant, device).unwrap();
            let Choice::Files(half) = found else { panic!("{found:?}") };
            assert_eq!((name, &*half.vision), ("fp16", "onnx/vision_model_fp16.onnx"));
        }
        let only_full: Vec<_> = all.iter().filter(|name| !name.contains("fp16")).cloned().collect();
        let (name, _) = chosen(&only_full, Variant::Auto, Device::Cuda(0)).unwrap();
        assert_eq!(name, "fp32", "a variant that is missing is skipped");
        assert_eq!(chosen(&all, Variant::Named("q4"), Device::Cpu), None);
        let error = nothing("o/n", &all, Variant::Named("q4")).to_string();
        assert!(error.contains("no ONNX files of the variant q4 (there are: fp32, fp16). Name"), "{error}");
        let error = nothing("o/n", &[all, listing(&["model.safetensors"])].concat(), Variant::Named("q4"));
        let made = "(there are: fp32, fp16); fp32, fp16, bf16 and int8 can be made from the weights";
        assert!(error.to_string().contains(made), "{error}");
    }

    #[test]
    fn a_repository_without_graphs_or_without_a_tokenizer_is_an_error() {
        let only = |names: &[&str]| nothing("o/n", &listing(names), Variant::Auto).to_string();
        let error = only(&["config.json"]);
        assert!(
            error.starts_with("o/n on the hub has no ONNX files and no `model.safetensors`. Name"),
            "{error}"
        );
        let error = only(&["config.json", "pytorch_model.bin"]);
        assert!(
            error.starts_with("pytorch_model.bin of o/n on the hub cannot be used: it is never read"),
            "{error}"
        );
        assert!(error.contains("safetensors/convert") && error.contains("revision: refs/pr/N }`"), "{error}");
        let files = listing(&["config.json", "model.safetensors"]);
        assert!(matches!(chosen(&files, Variant::Auto, Device::Cpu), Some(("fp32", Choice::Weights(_)))));
        let error = settings("o/n", &files, Format::Transformers).unwrap_err().to_string();
        assert!(error.contains("lacks preprocessor_config.json, tokenizer.json"), "{error}");
        let newer = listing(&["config.json", "processor_config.json", "vocab.json", "merges.txt"]);
        assert_eq!(
            settings("o/n", &newer, Format::Transformers).unwrap(),
            ["config.json", "processor_config.json"]
        );
        assert_eq!(vocabulary("o/n", &newer).unwrap(), ["vocab.json", "merges.txt"]);
        assert!(vocabulary("o/n", &files).unwrap_err().to_string().contains("lacks tokenizer.json"));
    }

    #[test]
    fn every_shard_of_an_index_must_be_there() {
        let files = listing(&["model.safetensors.index.json", "a.safetensors"]);
        let of = |names: &[&str]| shards("o/n", &files, listing(names)).map_err(|error| error.to_string());
        assert_eq!(of(&["a.safetensors"]), Ok(listing(&["a.safetensors"])));
        let error = of(&["a.safetensors", "b.safetensors"]).unwrap_err();
        assert!(error.contains("o/n on the hub lacks b.safetensors,"), "{error}");
    }

    #[test]
    fn the_limits_of_small_files() {
        assert_eq!(most_bytes("config.json"), Some(MOST_OF_SETTINGS));
        assert_eq!(most_bytes("open_clip_config.json"), Some(MOST_OF_SETTINGS));
        for name in ["tokenizer.json", "merges.txt", "spiece.model"] {
            assert_eq!(most_bytes(name), Some(MOST_OF_VOCABULARY), "{name}");
        }
        assert_eq!(most_bytes("model.safetensors.index.json"), Some(MOST_OF_SETTINGS));
        assert_eq!((most_bytes("model.safetensors"), most_bytes("onnx/model.onnx")), (None, None));
    }

    #[test]
    fn graphs_with_other_names_are_listed() {
        let error = |files: &[String]| nothing("o/n", files, Variant::Auto).to_string();
        let mixed = listing(&["config.json", "onnx/text_model_quantized.onnx", "onnx/vision_model.onnx"]);
        let error_of_mixed = error(&mixed);
        let listed = "it has onnx/text_model_quantized.onnx, onnx/vision_model.onnx";
        assert!(error_of_mixed.contains(listed), "{error_of_mixed}");
        let many: Vec<_> = (0..20).map(|number| format!("{number}.onnx")).collect();
        let error_of_many = error(&many);
        assert!(
            error_of_many.contains("it has 0.onnx, ") && error_of_many.contains("7.onnx, ..."),
            "{error_of_many}"
        );
    }

    #[test]
    fn weights_are_the_files_that_the_graph_names() {
        let files = listing(&["onnx/model.onnx", "onnx/weights.bin", "weights.bin"]);
        let of = |location: &str| {
            let locations = [(location.to_owned(), 4)].into();
            weights("o/n", &files, "onnx/model.onnx", locations).map_err(|error| error.to_string())
        };
        let found = WeightFile { name: "onnx/weights.bin".to_owned(), needed: 4 };
        assert_eq!(of("weights.bin"), Ok(vec![found]));
        assert!(of("other.bin").unwrap_err().contains("o/n on the hub lacks onnx/other.bin"));
        assert!(of("../weights.bin").unwrap_err().contains("outside of its folder"));
    }
}
