//! The families of models that are supported, one row of [`FAMILIES`] each. A new family is a new row here.

use serde_json::Value;

/// What a family of models has in common.
#[derive(Debug, PartialEq)]
pub(super) struct Family {
    /// The values of `model_type` in `config.json`.
    pub model_types: &'static [&'static str],
    /// What users should know about the supported models of the family, after their `model_type`.
    pub restriction: &'static str,
    /// The outputs of the vision graph that hold the embedding, the best first.
    pub image_outputs: &'static [&'static str],
    /// The same for the text graph.
    pub text_outputs: &'static [&'static str],
    /// The longest text in tokens, where `config.json` does not say it.
    pub default_context: usize,
    /// The longest text in tokens that the model was trained on, where that is less than its context.
    pub trained_on: usize,
    /// Texts are padded to this number of tokens, and cut there. A model with fewer positions gets as many as it has.
    pub padded_to: Option<usize>,
    /// Whether the model was trained on lower case, so that a tokenizer that distinguishes case deserves a warning.
    pub lower_case: bool,
    /// How logits become scores.
    pub activation: Activation,
    /// Whether the model learnt a bias.
    pub has_bias: bool,
    /// The class of its image processor, in `preprocessor_config.json`.
    pub image_processor: &'static str,
    /// What this class does where `preprocessor_config.json` says nothing.
    pub preprocessing: Preprocessing,
}

/// The defaults of an image processor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Preprocessing {
    /// The shortest edge becomes 224 pixels and the middle is cropped, instead of both edges becoming 224 pixels.
    pub crops: bool,
    /// Mean of each channel.
    pub mean: [f64; 3],
    /// Standard deviation of each channel.
    pub std: [f64; 3],
}

pub(super) const CLIP_PREPROCESSING: Preprocessing = Preprocessing {
    crops: true,
    mean: [0.48145466, 0.4578275, 0.40821073],
    std: [0.26862954, 0.26130258, 0.27577711],
};
pub(super) const PLAIN_PREPROCESSING: Preprocessing =
    Preprocessing { crops: false, mean: [0.5; 3], std: [0.5; 3] };

const CLIP: Family = Family {
    model_types: &["clip"],
    restriction: "",
    // CLIP's `pooler_output` is not projected, so it is no embedding.
    image_outputs: &["image_embeds"],
    text_outputs: &["text_embeds"],
    default_context: 77,
    trained_on: usize::MAX,
    // The padding does not change CLIP's answer. A tokenizer that pads to a length of its own is followed.
    padded_to: None,
    lower_case: false,
    activation: Activation::Softmax,
    has_bias: false,
    image_processor: "CLIPImageProcessor",
    preprocessing: CLIP_PREPROCESSING,
};

/// CLIP with a BERT as its text graph.
const CHINESE_CLIP: Family = Family {
    model_types: &["chinese_clip"],
    default_context: 512,
    // Its authors cut texts at 52 tokens. The reference has no such limit, and the graph takes as many as a BERT.
    trained_on: 52,
    image_processor: "ChineseCLIPImageProcessor",
    ..CLIP
};

const SIGLIP: Family = Family {
    // SigLIP 2 of fixed resolution uses either name. SigLIP 2 of free resolution has other inputs, which are checked later.
    model_types: &["siglip", "siglip2"],
    restriction: " of fixed resolution",
    image_outputs: &["pooler_output", "image_embeds"],
    text_outputs: &["pooler_output", "text_embeds"],
    default_context: 64,
    trained_on: usize::MAX,
    // The padding changes SigLIP's answer. The reference pads to 64, also for a model with more positions.
    padded_to: Some(64),
    lower_case: true,
    activation: Activation::Sigmoid,
    has_bias: true,
    image_processor: "SiglipImageProcessor",
    preprocessing: PLAIN_PREPROCESSING,
};

static FAMILIES: [Family; 3] = [CLIP, CHINESE_CLIP, SIGLIP];

/// The family of a model, by `model_type` in its `config.json`.
pub(super) fn of_model_type(found: &str) -> Option<&'static Family> {
    FAMILIES.iter().find(|family| family.model_types.contains(&found))
}

/// The family of a model in OpenCLIP's format, by `model_cfg` in its `open_clip_config.json`: models with a bias were trained as
/// SigLIP was.
pub(super) fn of_open_clip(model: &Value) -> &'static Family {
    let name = if model["init_logit_bias"].is_null() { "clip" } else { "siglip" };
    of_model_type(name).expect("both are in the table above")
}

/// The family of an image processor, by the name of its class. Older files name a feature extractor, and some classes exist for
/// several image libraries.
pub(super) fn of_image_processor(name: &str) -> Option<&'static Family> {
    let class = name.replace("FeatureExtractor", "ImageProcessor");
    let class = ["Fast", "Pil"].iter().find_map(|end| class.strip_suffix(end)).unwrap_or(&class);
    FAMILIES.iter().find(|family| family.image_processor == class)
}

/// Every supported image processor, for messages.
pub(super) fn image_processors() -> String {
    FAMILIES.iter().map(|family| family.image_processor).collect::<Vec<_>>().join(", ")
}

/// Every supported model type, for messages.
pub(super) fn supported() -> String {
    let row = |family: &Family| format!("{}{}", family.model_types.join(" and "), family.restriction);
    FAMILIES.iter().map(row).collect::<Vec<_>>().join(", ")
}

/// How logits become scores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// The labels and the background share 1 among them.
    Softmax,
    /// Each label alone: `1 / (1 + exp(-x))`.
    Sigmoid,
    /// Each label alone: `max(0, x)`, for logits that are cosines.
    Cosine,
}

/// How similarities become logits: `logit = scale * cosine + bias`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Logits {
    /// The multiplier itself (not its logarithm).
    pub scale: f32,
    /// The offset; 0 for CLIP.
    pub bias: f32,
}

impl Logits {
    /// `None` for numbers that no score can be computed with.
    #[must_use]
    pub fn checked(scale: f32, bias: f32) -> Option<Self> {
        (scale.is_finite() && scale > 0.0 && bias.is_finite()).then_some(Self { scale, bias })
    }

    /// From the JSON that [`Self::to_json`] writes. `None` if it is damaged.
    pub(super) fn from_json(json: &[u8]) -> Option<Self> {
        let json: Value = serde_json::from_slice(json).ok()?;
        let number = |key: &str| json[key].as_f64().map(|number| number as f32);
        Self::checked(number("logit_scale")?, number("logit_bias")?)
    }

    /// The JSON of a cache file.
    pub(super) fn to_json(self) -> Value {
        serde_json::json!({ "logit_scale": self.scale, "logit_bias": self.bias })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_with_a_bias_is_a_siglip() {
        let activation = |model| of_open_clip(&model).activation;
        assert_eq!(activation(serde_json::json!({"embed_dim": 512})), Activation::Softmax);
        assert_eq!(activation(serde_json::json!({"init_logit_bias": null})), Activation::Softmax);
        assert_eq!(activation(serde_json::json!({"init_logit_bias": -10})), Activation::Sigmoid);
    }

    #[test]
    fn every_model_type_and_image_processor_belongs_to_one_family() {
        let mut types: Vec<_> = FAMILIES.iter().flat_map(|family| family.model_types).collect();
        types.sort();
        assert_eq!(types, [&"chinese_clip", &"clip", &"siglip", &"siglip2"]);
        for (name, expected) in [
            ("CLIPImageProcessor", Some(&CLIP)),
            ("ChineseCLIPFeatureExtractor", Some(&CHINESE_CLIP)),
            ("SiglipImageProcessorFast", Some(&SIGLIP)),
            ("SiglipImageProcessorPil", Some(&SIGLIP)),
            // Pictures of free resolution.
            ("Siglip2ImageProcessor", None),
            ("CLIPSegImageProcessor", None),
            ("ViTImageProcessor", None),
            ("", None),
        ] {
            assert_eq!(of_image_processor(name), expected, "{name}");
        }
    }
}
