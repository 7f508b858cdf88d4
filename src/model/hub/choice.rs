//! Chooses the files of a repository that a variant needs. Pure.

use super::error::HubError;
use crate::{
    config::{Device, Variant},
    model::{
        build::{OPEN_CLIP_CONFIG, WeightSource, pickle_among},
        external_data,
        files::{Graphs, PREPROCESSOR, PROCESSOR, REQUIRED, WeightFile},
        origin::{self, Choice},
    },
};

/// Small files that say whether the model is supported.
const SETTINGS: [&str; 7] = [
    "config.json",
    OPEN_CLIP_CONFIG,
    PREPROCESSOR,
    PROCESSOR,
    "special_tokens_map.json",
    "tokenizer_config.json",
    "stakeout.json",
];
/// The largest of these files that are known have some megabytes: names of classes, tokens that were added.
const MOST_OF_SETTINGS: u64 = 16 << 20;
/// The largest vocabularies that are known take a quarter of this.
const MOST_OF_TOKENIZER: u64 = 128 << 20;
/// The number of names in a message.
const MOST_NAMES: usize = 8;

/// The limit of a file that is small in every model, in bytes; `None` for graphs and weights.
pub(super) fn most_bytes(file: &str) -> Option<u64> {
    match file {
        "tokenizer.json" => Some(MOST_OF_TOKENIZER),
        _ if file.ends_with(".index.json") => Some(MOST_OF_SETTINGS),
        _ if SETTINGS.contains(&file) => Some(MOST_OF_SETTINGS),
        _ => None,
    }
}

/// The weights from which graphs are built, for a repository without graphs. A graph that is built computes in full precision.
pub(super) fn built(files: &[String], variant: Variant, device: Device) -> Option<WeightSource> {
    let has = |name: &str| files.iter().any(|file| file == name);
    let prepares_pictures = has(PREPROCESSOR) || has(PROCESSOR);
    let is_allowed = variant.choices(device).contains(&"fp32");
    match origin::choose(has, prepares_pictures, "").filter(|_| is_allowed)? {
        Choice::Weights(source) => Some(source),
        Choice::Files(_) => None,
    }
}

/// The file with the only weights of a repository without graphs, if it may hold code.
pub(super) fn pickle(files: &[String]) -> Option<&'static str> {
    let has = |name: &str| files.iter().any(|file| file == name);
    let has_graphs = !other_graphs(files).is_empty();
    let has_weights = built(files, Variant::Named("fp32"), Device::Cpu).is_some();
    pickle_among(has).filter(|_| !has_graphs && !has_weights)
}

/// The best variant in the repository for a device, by its name, and its graphs.
pub(super) fn graphs(
    id: &str,
    files: &[String],
    variant: Variant,
    device: Device,
) -> Result<(&'static str, Graphs), HubError> {
    let of_variant = |name: &'static str| {
        let has = |file: &str| files.iter().any(|listed| listed == file);
        Some((name, Graphs::among(has, &Variant::suffix(name))?))
    };
    variant.choices(device).into_iter().find_map(of_variant).ok_or_else(|| {
        let available: Vec<_> =
            Variant::NAMES.into_iter().filter_map(of_variant).map(|(name, _)| name).collect();
        let there = available.join(", ");
        let variant = match variant {
            Variant::Named(name) if !there.is_empty() => name.into(),
            _ => "".into(),
        };
        let there = there.into();
        HubError::NoGraphs {
            id: id.to_owned(),
            variant,
            there,
            others: other_graphs(files).into(),
            searched: Box::default(),
        }
    })
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
pub(super) fn settings(id: &str, files: &[String]) -> Result<Vec<&'static str>, HubError> {
    let has = |name: &str| files.iter().any(|file| file == name);
    // A file of OpenCLIP says what these two say.
    let is_open_clip = has(OPEN_CLIP_CONFIG);
    let there = |name: &str| match name {
        "config.json" => is_open_clip || has(name),
        PREPROCESSOR => is_open_clip || has(name) || has(PROCESSOR),
        name => has(name),
    };
    let missing: Vec<_> = REQUIRED.into_iter().filter(|name| !there(name)).collect();
    if !missing.is_empty() {
        return Err(HubError::Lacks { id: id.to_owned(), missing: missing.join(", ") });
    }
    Ok(SETTINGS.into_iter().filter(|name| has(name)).collect())
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

    fn listing(names: &[&str]) -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_graphs_of_a_variant_and_the_files_that_they_need() {
        let all = listing(&[
            ".gitattributes",
            "config.json",
            "model.safetensors",
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
        let (name, found) = graphs("o/n", &all, Variant::Auto, Device::Cpu).unwrap();
        assert_eq!(name, "fp32");
        assert!(found.is_combined() && found.vision == "onnx/model.onnx", "{found:?}");
        let small = settings("o/n", &all).unwrap();
        assert_eq!(small, ["config.json", "preprocessor_config.json", "tokenizer_config.json"]);
        for (variant, device) in [(Variant::Named("fp16"), Device::Cpu), (Variant::Auto, Device::Cuda(0))] {
            let (name, half) = graphs("o/n", &all, variant, device).unwrap();
            assert_eq!((name, &*half.vision), ("fp16", "onnx/vision_model_fp16.onnx"));
        }
        let only_full: Vec<_> = all.iter().filter(|name| !name.contains("fp16")).cloned().collect();
        let (name, _) = graphs("o/n", &only_full, Variant::Auto, Device::Cuda(0)).unwrap();
        assert_eq!(name, "fp32", "a variant that is missing is skipped");
        let error = graphs("o/n", &all, Variant::Named("q4"), Device::Cpu).unwrap_err().to_string();
        assert!(error.contains("no ONNX files of the variant q4 (there are: fp32, fp16)"), "{error}");
    }

    #[test]
    fn a_repository_without_graphs_or_without_a_tokenizer_is_an_error() {
        let error =
            graphs("o/n", &listing(&["config.json"]), Variant::Auto, Device::Cpu).unwrap_err().to_string();
        assert!(error.starts_with("o/n on the hub has no ONNX files; without them"), "{error}");
        let error = settings("o/n", &listing(&["config.json"])).unwrap_err().to_string();
        assert!(error.contains("lacks preprocessor_config.json, tokenizer.json"), "{error}");
        let newer = listing(&["config.json", "processor_config.json", "tokenizer.json"]);
        assert_eq!(settings("o/n", &newer).unwrap(), ["config.json", "processor_config.json"]);
    }

    #[test]
    fn graphs_are_built_in_full_precision_where_there_are_none() {
        let weights =
            listing(&["config.json", "model.safetensors", "preprocessor_config.json", "tokenizer.json"]);
        let found = |files: &[String], variant, device| built(files, variant, device).map(|it| it.weights);
        let (half, full) = (Variant::Named("fp16"), Variant::Named("fp32"));
        assert_eq!(found(&weights, Variant::Auto, Device::Cpu), Some("model.safetensors"));
        assert_eq!(found(&weights, Variant::Auto, Device::Cuda(0)), Some("model.safetensors"));
        assert_eq!(found(&weights, full, Device::Cpu), Some("model.safetensors"));
        assert_eq!(found(&weights, half, Device::Cpu), None);
        let only = listing(&["config.json", "pytorch_model.bin"]);
        assert_eq!(found(&only, full, Device::Cpu), None);
        assert_eq!(pickle(&only), Some("pytorch_model.bin"));
        for other in ["model.safetensors", "onnx/model_q4.onnx"] {
            assert_eq!(pickle(&listing(&["config.json", "pytorch_model.bin", other])), None, "{other}");
        }
    }

    #[test]
    fn a_repository_of_open_clip_has_its_own_settings() {
        let files = listing(&["open_clip_config.json", "open_clip_model.safetensors", "tokenizer.json"]);
        assert_eq!(settings("o/n", &files).unwrap(), ["open_clip_config.json"]);
        let source = built(&files, Variant::Auto, Device::Cpu).unwrap();
        assert_eq!(
            (source.config(), source.weights),
            ("open_clip_config.json", "open_clip_model.safetensors")
        );
    }

    #[test]
    fn graphs_with_other_names_are_listed() {
        let mixed = listing(&["config.json", "onnx/text_model_quantized.onnx", "onnx/vision_model.onnx"]);
        let error = graphs("o/n", &mixed, Variant::Auto, Device::Cpu).unwrap_err().to_string();
        assert!(error.contains("it has onnx/text_model_quantized.onnx, onnx/vision_model.onnx"), "{error}");
        let many: Vec<_> = (0..20).map(|number| format!("{number}.onnx")).collect();
        let error = graphs("o/n", &many, Variant::Auto, Device::Cpu).unwrap_err().to_string();
        assert!(error.contains("it has 0.onnx, ") && error.contains("7.onnx, ..."), "{error}");
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
