//! How similarities become logits: the trained multiplier and offset, which neither `config.json` nor the split graphs hold.

use std::path::{Path, PathBuf};

use tracing::debug;

use super::{Graphs, ModelError, ModelFiles, TextFiles, family::Family};
use crate::{
    cache,
    config::Device,
    engine::onnx::graph::{Graph, Input, Rows},
};

/// `logit = scale * cosine + bias`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Logits {
    /// The multiplier itself (not its logarithm).
    pub scale: f32,
    /// The offset; 0 for CLIP.
    pub bias: f32,
}

impl Logits {
    /// Only numbers that scores can be made with.
    #[must_use]
    pub fn checked(scale: f32, bias: f32) -> Option<Self> {
        (scale.is_finite() && scale > 0.0 && bias.is_finite()).then_some(Self { scale, bias })
    }
}

/// Scales that are kept; of more the oldest go.
const MOST_KEPT: usize = 32;

/// Texts that no model finds alike, so that the equations are well conditioned.
const PROBES: [&str; 6] = [
    "a photo of a cat.",
    "the sea at night",
    "a red car",
    "three people in a room",
    "text on white paper",
    "a tree",
];

/// From `stakeout.json` if it is there, else from one run of the combined graph, else what the caller knows. `vision` is
/// the graph that is loaded already.
pub(crate) fn find(text: &TextFiles, vision: &mut Graph) -> Result<Logits, ModelError> {
    let TextFiles { runtime, files, options, .. } = text;
    if let Some(logits) = written(files)? {
        return Ok(logits);
    }
    match &text.graphs {
        Graphs::Combined(file) => once(kept_at(text, file).as_deref(), || measured(vision, text)),
        Graphs::Split { combined: Some(combined), .. } => once(kept_at(text, combined).as_deref(), || {
            measured(&mut Graph::load(runtime, files, combined, &options.execution, Device::Cpu)?, text)
        }),
        Graphs::Split { combined: None, .. } => {
            options.logits.ok_or_else(|| ModelError::Scale { place: files.place() })
        }
    }
}

pub(crate) fn written(files: &ModelFiles) -> Result<Option<Logits>, ModelError> {
    const FILE: &str = "stakeout.json";
    if !files.contains(FILE) {
        return Ok(None);
    }
    let json = files.json(FILE)?;
    let number =
        |key: &str| json[key].as_f64().map(|number| number as f32).filter(|number| number.is_finite());
    match (number("logit_scale"), &json["logit_bias"]) {
        (Some(scale), bias) if scale > 0.0 && (bias.is_null() || bias.is_number()) => {
            Ok(Some(Logits { scale, bias: number("logit_bias").unwrap_or(0.0) }))
        }
        _ => Err(files.unusable(FILE, "it needs a `logit_scale` above 0, and may have a `logit_bias`")),
    }
}

/// Where the scale of this graph is kept, if it is to be.
fn kept_at(text: &TextFiles, graph: &str) -> Option<PathBuf> {
    let data = format!("{graph}_data");
    let hash =
        text.files.fingerprint(&[graph, &data, "config.json", "preprocessor_config.json", "tokenizer.json"]);
    let name: String = hash[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    let folder = cache::folder().filter(|_| text.options.remember)?;
    Some(folder.join("scales").join(name).with_extension("json"))
}

/// What is kept at `path`, else what `measure` finds, which is kept then: a combined graph takes as long to load as the two
/// towers beside it. What is damaged counts as nothing, and what cannot be written costs time only.
fn once(
    path: Option<&Path>,
    measure: impl FnOnce() -> Result<Logits, ModelError>,
) -> Result<Logits, ModelError> {
    let kept = |path: &Path| {
        let json: serde_json::Value = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
        let number = |key: &str| json[key].as_f64().map(|number| number as f32);
        Logits::checked(number("logit_scale")?, number("logit_bias")?)
    };
    if let Some(logits) = path.and_then(kept) {
        return Ok(logits);
    }
    let logits = measure()?;
    if let Some(path) = path {
        let json = serde_json::json!({ "logit_scale": logits.scale, "logit_bias": logits.bias });
        if let Err(error) = cache::write(path, json.to_string().as_bytes(), MOST_KEPT) {
            debug!(path = %path.display(), %error, "the measured scale cannot be kept");
        }
    }
    Ok(logits)
}

/// The combined graph answers with embeddings and with the logits made of them: what lies between is scale and bias.
fn measured(graph: &mut Graph, text: &TextFiles) -> Result<Logits, ModelError> {
    graph.check_inputs(&["pixel_values", "input_ids"])?;
    let outputs = ["logits_per_image", "image_embeds", "text_embeds"];
    for output in outputs {
        graph.output(&[output])?;
    }
    let (width, height) = text.size;
    let texts = text.tokenizer()?.batch(&PROBES, graph.fixed("input_ids", 1))?;
    let picture = noise(3 * width as usize * height as usize);
    let inputs = [Input::Pictures { values: &picture, width, height }, Input::Texts(&texts)];
    let [logits, image, embedded] = graph.run(&inputs, outputs)?;
    let cosines: Vec<f64> =
        embedded.values.chunks_exact(embedded.columns.max(1)).map(|text| cosine(&image, text)).collect();
    let logits: Vec<f64> = logits.values.iter().copied().map(f64::from).collect();
    solved(&cosines, &logits, text.family == Family::Siglip).ok_or_else(|| {
        ModelError::Run("the combined graph's logits do not follow from its embeddings".to_owned())
    })
}

/// The least squares of `logit = scale * cosine + bias` (without bias: through the origin).
fn solved(cosines: &[f64], logits: &[f64], with_bias: bool) -> Option<Logits> {
    if cosines.len() != logits.len() || cosines.is_empty() {
        return None;
    }
    let mean =
        |values: &[f64]| if with_bias { values.iter().sum::<f64>() / values.len() as f64 } else { 0.0 };
    let (mean_cosine, mean_logit) = (mean(cosines), mean(logits));
    let products = cosines.iter().zip(logits).map(|(c, l)| (c - mean_cosine) * (l - mean_logit)).sum::<f64>();
    let squares = cosines.iter().map(|c| (c - mean_cosine).powi(2)).sum::<f64>();
    let scale = products / squares;
    Logits::checked(scale as f32, (mean_logit - scale * mean_cosine) as f32)
}

/// Of the first picture and a text, whether or not the graph normalised them.
fn cosine(image: &Rows, text: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    dot(&image.values, text) / (dot(&image.values, &image.values) * dot(text, text)).sqrt()
}

/// Always the same noise between -1 and 1: a picture that leaves no part of the model unused.
fn noise(len: usize) -> Vec<f32> {
    let mut state = 1u32;
    let mut next = || {
        // Numerical Recipes' linear congruential generator.
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f32::from((state >> 16) as u16) / 32768.0 - 1.0
    };
    std::iter::repeat_with(&mut next).take(len).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_is_measured_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("below/a.json");
        let logits = Logits { scale: 117.330_78, bias: -12.932_437 };
        assert_eq!(once(Some(&path), || Ok(logits)), Ok(logits));
        assert_eq!(once(Some(&path), || unreachable!()), Ok(logits), "to the last bit");
        assert_eq!(once(None, || Ok(Logits { scale: 1.0, bias: 0.0 })), Ok(Logits { scale: 1.0, bias: 0.0 }));
        for damaged in ["", "{}", r#"{"logit_scale": -1, "logit_bias": 0}"#] {
            std::fs::write(&path, damaged).unwrap();
            assert_eq!(once(Some(&path), || Ok(logits)), Ok(logits), "{damaged}");
        }
        let failed = ModelError::Run("no".to_owned());
        let nowhere = folder.path().join("below/a.json/b.json");
        assert_eq!(once(Some(&nowhere), || Err(failed.clone())), Err(failed));
        assert_eq!(once(Some(&nowhere), || Ok(logits)), Ok(logits), "it cannot be kept");
    }

    #[test]
    fn scale_and_bias_follow_from_cosines_and_logits() {
        let cosines = [0.1, 0.3, -0.2];
        let logits = |scale: f64, bias: f64| cosines.map(|cosine| scale * cosine + bias);
        assert_eq!(solved(&cosines, &logits(12.0, -1.5), true), Some(Logits { scale: 12.0, bias: -1.5 }));
        assert_eq!(solved(&cosines, &logits(100.0, 0.0), false), Some(Logits { scale: 100.0, bias: 0.0 }));
        assert_eq!(solved(&[0.5, 0.5], &[1.0, 1.0], true), None, "texts that are all alike");
        assert_eq!(solved(&[], &[], false), None);
    }
}
