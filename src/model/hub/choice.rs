//! Which files of a repository a variant needs, and no others.
//!
//! Pure.

use super::HubError;
use crate::config::{Device, Variant};

const REQUIRED: [&str; 3] = ["config.json", "preprocessor_config.json", "tokenizer.json"];
const OPTIONAL: [&str; 3] = ["special_tokens_map.json", "tokenizer_config.json", "stakeout.json"];

/// The graphs of a variant that a repository has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Graphs {
    /// Vision and text.
    pub split: Option<[String; 2]>,
    pub combined: Option<String>,
}

/// The best variant there is for a device, by its name, and its graphs.
pub(crate) fn graphs(
    id: &str,
    files: &[String],
    variant: Variant,
    device: Device,
) -> Result<(&'static str, Graphs), HubError> {
    let found = variant.choices(device).into_iter().map(|name| (name, of_variant(files, name)));
    found.into_iter().find(|(_, graphs)| graphs.any()).ok_or_else(|| {
        let there = Variant::NAMES.into_iter().filter(|name| of_variant(files, name).any());
        let there = there.collect::<Vec<_>>().join(", ");
        let variant = match variant {
            Variant::Named(name) if !there.is_empty() => name.to_owned(),
            _ => String::new(),
        };
        HubError::NoGraphs { id: id.to_owned(), variant, there }
    })
}

/// Everything that must be fetched for these graphs. The graphs come last: where they are, all is there.
pub(crate) fn files(id: &str, files: &[String], graphs: &[String]) -> Result<Vec<String>, HubError> {
    let has = |name: &str| files.iter().any(|file| file == name);
    let missing: Vec<_> = REQUIRED.into_iter().filter(|name| !has(name)).collect();
    if !missing.is_empty() {
        return Err(HubError::Lacks { id: id.to_owned(), missing: missing.join(", ") });
    }
    let small = REQUIRED.into_iter().chain(OPTIONAL).filter(|name| has(name)).map(str::to_owned);
    // Weights that are kept beside a graph carry its name: `model.onnx_data`, `model.onnx_data_1`.
    let is_data = |file: &&String| {
        let rest = graphs.iter().find_map(|graph| file.strip_prefix(graph.as_str()));
        rest.is_some_and(|rest| rest.contains("data") && crate::config::is_plain_path(file))
    };
    Ok(small.chain(files.iter().filter(is_data).cloned()).chain(graphs.iter().cloned()).collect())
}

impl Graphs {
    fn any(&self) -> bool {
        self.split.is_some() || self.combined.is_some()
    }
}

fn of_variant(files: &[String], name: &str) -> Graphs {
    let suffix = Variant::suffix(name);
    let find = |name: &str| {
        [format!("onnx/{name}{suffix}.onnx"), format!("{name}{suffix}.onnx")]
            .into_iter()
            .find(|name| files.contains(name))
    };
    let split = find("vision_model").zip(find("text_model")).map(|(vision, text)| [vision, text]);
    Graphs { split, combined: find("model") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(names: &[&str]) -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_graphs_of_a_variant_and_what_belongs_to_them() {
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
        assert_eq!(found, Graphs { split: None, combined: Some("onnx/model.onnx".to_owned()) });
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
            assert_eq!((name, &*half.split.unwrap()[0]), ("fp16", "onnx/vision_model_fp16.onnx"));
        }
        let only_full: Vec<_> = all.iter().filter(|name| !name.contains("fp16")).cloned().collect();
        let (name, _) = graphs("o/n", &only_full, Variant::Auto, Device::Cuda(0)).unwrap();
        assert_eq!(name, "fp32", "what is not there is not waited for");
        let error = graphs("o/n", &all, Variant::Named("q4"), Device::Cpu).unwrap_err().to_string();
        assert!(error.contains("no ONNX files of the variant q4 (there are: fp32, fp16)"), "{error}");
    }

    #[test]
    fn a_repository_without_graphs_or_without_a_tokenizer_is_told() {
        let error =
            graphs("o/n", &listing(&["config.json"]), Variant::Auto, Device::Cpu).unwrap_err().to_string();
        assert!(error.starts_with("o/n on the hub has no ONNX files. Name the repository"), "{error}");
        let error = files("o/n", &listing(&["config.json"]), &[]).unwrap_err().to_string();
        assert!(error.contains("lacks preprocessor_config.json, tokenizer.json"), "{error}");
    }
}
