//! Chooses the files of a repository that a variant needs. Pure.

use super::error::HubError;
use crate::{
    config::{Device, Variant, is_plain_path},
    model::files::{Graphs, REQUIRED},
};

const OPTIONAL: [&str; 3] = ["special_tokens_map.json", "tokenizer_config.json", "stakeout.json"];

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
            Variant::Named(name) if !there.is_empty() => name.to_owned(),
            _ => String::new(),
        };
        HubError::NoGraphs { id: id.to_owned(), variant, there }
    })
}

/// Every file that these graphs need. The graphs are the last: a snapshot that has them is complete.
pub(super) fn files(id: &str, files: &[String], graphs: &[String]) -> Result<Vec<String>, HubError> {
    let has = |name: &str| files.iter().any(|file| file == name);
    let missing: Vec<_> = REQUIRED.into_iter().filter(|name| !has(name)).collect();
    if !missing.is_empty() {
        return Err(HubError::Lacks { id: id.to_owned(), missing: missing.join(", ") });
    }
    let small = REQUIRED.into_iter().chain(OPTIONAL).filter(|name| has(name)).map(str::to_owned);
    // The names of weight files beside a graph start with the graph's name: `model.onnx_data`, `model.onnx_data_1`.
    let is_data = |file: &&String| {
        let rest = graphs.iter().find_map(|graph| file.strip_prefix(graph.as_str()));
        rest.is_some_and(|rest| rest.contains("data") && is_plain_path(file))
    };
    Ok(small.chain(files.iter().filter(is_data).cloned()).chain(graphs.iter().cloned()).collect())
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
        let needed = files("o/n", &all, &["onnx/model.onnx".to_owned()]).unwrap();
        assert_eq!(
            needed,
            [
                "config.json",
                "preprocessor_config.json",
                "tokenizer.json",
                "tokenizer_config.json",
                "onnx/model.onnx_data",
                "onnx/model.onnx_data_1",
                "onnx/model.onnx"
            ]
        );
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
        assert!(error.starts_with("o/n on the hub has no ONNX files. Name the repository"), "{error}");
        let error = files("o/n", &listing(&["config.json"]), &[]).unwrap_err().to_string();
        assert!(error.contains("lacks preprocessor_config.json, tokenizer.json"), "{error}");
    }
}
