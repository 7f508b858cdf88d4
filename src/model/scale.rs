//! Finds how similarities become logits: the trained multiplier and offset, which neither `config.json` nor the split graphs
//! hold.

use std::path::{Path, PathBuf};

use tracing::debug;

use super::{
    context::ModelContext,
    error::ModelError,
    family::Logits,
    files::ModelFiles,
    graph::{Graph, GraphInput},
    origin::Tower,
    preprocess::Layout,
};
use crate::{cache, config::Device, engine::Rows};

/// The number of scales that are kept on disk; the oldest are deleted first.
const MOST_KEPT: usize = 32;

/// Texts that every model distinguishes, so that the equations are well conditioned.
const PROBES: [&str; 6] = [
    "a photo of a cat.",
    "the sea at night",
    "a red car",
    "three people in a room",
    "text on white paper",
    "a tree",
];

/// From `stakeout.json` if it exists, else from the weights that the graphs were built from, else from one run of the combined
/// graph, else from the caller's options. `vision` is the graph that is already loaded.
pub(super) fn find(context: &ModelContext, vision: &mut Graph) -> Result<Logits, ModelError> {
    if let Some(logits) = written(&context.files)? {
        return Ok(logits);
    }
    if let Some(logits) = context.origin.logits(&context.files)? {
        return Ok(logits);
    }
    if !context.origin.has_combined() {
        return context.options.logits.ok_or_else(|| ModelError::Scale { place: context.files.place() });
    }
    // With a model server, the loaded graph has pictures only.
    let is_loaded = context.origin.is_combined() && context.engines.server().is_none();
    kept_or(kept_at(context).as_deref(), || match is_loaded {
        true => measure(vision, context),
        false => measure(&mut context.open(Tower::Combined, Device::Cpu)?, context),
    })
}

pub(super) fn written(files: &ModelFiles) -> Result<Option<Logits>, ModelError> {
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

/// The file in which the scale of the combined graph is kept; `None` if it is not kept.
fn kept_at(context: &ModelContext) -> Option<PathBuf> {
    let hash = context.fingerprint(Tower::Combined);
    let folder = cache::folder().filter(|_| context.options.remember)?;
    Some(folder.join("scales").join(cache::hex(&hash[..16])).with_extension("json"))
}

/// The scale that is kept at `path`, else the result of `measure`, which is then kept: a combined graph takes as long to
/// load as the two split graphs together. A damaged file is ignored, and a folder that cannot be written only costs time.
fn kept_or(
    path: Option<&Path>,
    measure: impl FnOnce() -> Result<Logits, ModelError>,
) -> Result<Logits, ModelError> {
    if let Some(logits) = path.and_then(|path| Logits::from_json(&cache::read(path)?)) {
        return Ok(logits);
    }
    let logits = measure()?;
    if let Some(path) = path
        && let Err(error) = cache::write(path, logits.to_json().to_string().as_bytes(), MOST_KEPT)
    {
        debug!(path = %path.display(), %error, "the measured scale cannot be kept");
    }
    Ok(logits)
}

/// Runs the combined graph, which gives embeddings and the logits computed from them, and solves for scale and bias.
fn measure(graph: &mut Graph, context: &ModelContext) -> Result<Logits, ModelError> {
    graph.check_inputs(&[context.layout.inputs(), &["input_ids"]].concat())?;
    let outputs = ["logits_per_image", "image_embeds", "text_embeds"];
    for output in outputs {
        graph.output(&[output])?;
    }
    let layout = context.layout;
    let texts = context.tokenizer()?.batch(&PROBES, graph.fixed("input_ids", 1))?;
    let mut picture = noise(context.tensor_len());
    if let (Layout::Patches { most, .. }, [.., rows, columns]) = (layout, &mut picture[..]) {
        (*rows, *columns) = (1.0, most as f32);
    }
    let inputs = [GraphInput::Pictures { values: &picture, layout }, GraphInput::Texts(&texts)];
    let [logits, image, embedded] = graph.run(&inputs, outputs)?;
    let cosines: Vec<f64> =
        embedded.values.chunks_exact(embedded.columns.max(1)).map(|text| cosine(&image, text)).collect();
    let logits: Vec<f64> = logits.values.iter().copied().map(f64::from).collect();
    solve(&cosines, &logits, context.config.family.has_bias).ok_or_else(|| {
        ModelError::Run("the combined graph's logits do not follow from its embeddings".to_owned())
    })
}

/// The least squares solution of `logit = scale * cosine + bias` (without bias: through the origin).
fn solve(cosines: &[f64], logits: &[f64], with_bias: bool) -> Option<Logits> {
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

/// The cosine of the first picture and a text, whether or not the graph normalised them.
fn cosine(image: &Rows, text: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    dot(&image.values, text) / (dot(&image.values, &image.values) * dot(text, text)).sqrt()
}

/// A fixed sequence of noise between -1 and 1: a picture that leaves no part of the model unused.
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
        assert_eq!(kept_or(Some(&path), || Ok(logits)), Ok(logits));
        assert_eq!(kept_or(Some(&path), || unreachable!()), Ok(logits), "to the last bit");
        let other = Logits { scale: 1.0, bias: 0.0 };
        assert_eq!(kept_or(None, || Ok(other)), Ok(other));
        for damaged in ["", "{}", r#"{"logit_scale": -1, "logit_bias": 0}"#] {
            std::fs::write(&path, damaged).unwrap();
            assert_eq!(kept_or(Some(&path), || Ok(logits)), Ok(logits), "{damaged}");
        }
        let failed = ModelError::Run("no".to_owned());
        let unwritable = folder.path().join("below/a.json/b.json");
        assert_eq!(kept_or(Some(&unwritable), || Err(failed.clone())), Err(failed));
        assert_eq!(kept_or(Some(&unwritable), || Ok(logits)), Ok(logits), "it cannot be kept");
    }

    #[test]
    fn scale_and_bias_follow_from_cosines_and_logits() {
        let cosines = [0.1, 0.3, -0.2];
        let logits = |scale: f64, bias: f64| cosines.map(|cosine| scale * cosine + bias);
        assert_eq!(solve(&cosines, &logits(12.0, -1.5), true), Some(Logits { scale: 12.0, bias: -1.5 }));
        assert_eq!(solve(&cosines, &logits(100.0, 0.0), false), Some(Logits { scale: 100.0, bias: 0.0 }));
        assert_eq!(solve(&[0.5, 0.5], &[1.0, 1.0], true), None, "texts that are all alike");
        assert_eq!(solve(&[], &[], false), None);
    }
}
