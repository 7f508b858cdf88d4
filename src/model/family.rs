//! The families of models that are supported, one row of [`FAMILIES`] each. A new family is a new row here.

use serde_json::Value;

/// What a family of models has in common.
#[derive(Debug, PartialEq)]
pub(super) struct Family {
    /// The values of `model_type` in `config.json`.
    pub model_types: &'static [&'static str],
    /// The outputs of the vision graph that hold the embedding, the best first.
    pub image_outputs: &'static [&'static str],
    /// The same for the text graph.
    pub text_outputs: &'static [&'static str],
    /// The longest text in tokens, where `config.json` does not say it.
    pub default_context: usize,
    /// The number of positions that no token of a text has.
    pub unused_positions: usize,
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
    /// A picture keeps its proportion, and becomes up to a number of patches.
    pub patches: bool,
    /// Mean of each channel.
    pub mean: [f64; 3],
    /// Standard deviation of each channel.
    pub std: [f64; 3],
}

pub(super) const CLIP_PREPROCESSING: Preprocessing = Preprocessing {
    crops: true,
    patches: false,
    mean: [0.48145466, 0.4578275, 0.40821073],
    std: [0.26862954, 0.26130258, 0.27577711],
};
pub(super) const PLAIN_PREPROCESSING: Preprocessing =
    Preprocessing { crops: false, patches: false, mean: [0.5; 3], std: [0.5; 3] };

const CLIP: Family = Family {
    model_types: &["clip"],
    // CLIP's `pooler_output` is not projected, so it is no embedding.
    image_outputs: &["image_embeds"],
    text_outputs: &["text_embeds"],
    default_context: 77,
    unused_positions: 0,
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

/// CLIP with an XLM-RoBERTa as its text graph, whose positions count from 2.
const ALTCLIP: Family =
    Family { model_types: &["altclip"], default_context: 514, unused_positions: 2, ..CLIP };

/// CLIP with another vocabulary.
const METACLIP_2: Family = Family { model_types: &["metaclip_2"], ..CLIP };

const SIGLIP: Family = Family {
    // SigLIP 2 of fixed resolution uses this name, too.
    model_types: &["siglip"],
    image_outputs: &["pooler_output", "image_embeds"],
    text_outputs: &["pooler_output", "text_embeds"],
    default_context: 64,
    unused_positions: 0,
    trained_on: usize::MAX,
    // The padding changes SigLIP's answer. The reference pads to 64, also for a model with more positions.
    padded_to: Some(64),
    lower_case: true,
    activation: Activation::Sigmoid,
    has_bias: true,
    image_processor: "SiglipImageProcessor",
    preprocessing: PLAIN_PREPROCESSING,
};

/// SigLIP 2 of free resolution. Its files may name SigLIP's image processor: exports of fixed resolution do.
const SIGLIP2: Family = Family {
    model_types: &["siglip2"],
    image_processor: "Siglip2ImageProcessor",
    preprocessing: Preprocessing { patches: true, ..PLAIN_PREPROCESSING },
    ..SIGLIP
};

/// Models in OpenCLIP's format. Their files say how pictures and texts are prepared.
const OPEN_CLIP: Family = Family { model_types: &[], image_processor: "", ..CLIP };
const OPEN_CLIP_SIGLIP: Family =
    Family { lower_case: true, activation: Activation::Sigmoid, has_bias: true, ..OPEN_CLIP };

static FAMILIES: [Family; 6] = [CLIP, CHINESE_CLIP, SIGLIP, SIGLIP2, METACLIP_2, ALTCLIP];
static OPEN_CLIP_FAMILIES: [Family; 2] = [OPEN_CLIP, OPEN_CLIP_SIGLIP];

/// The other types of the reference's pipeline, and the model to use instead: one that was trained for the same, of a similar
/// size.
const REFUSED: [(&str, &str); 6] = [
    ("align", "google/siglip2-base-patch16-256"),
    ("blip", "google/siglip2-base-patch16-384"),
    ("blip-2", "google/siglip2-so400m-patch14-384"),
    ("clipseg", "openai/clip-vit-base-patch16"),
    ("tipsv2", "google/siglip2-so400m-patch14-384"),
    ("videoprism", "google/siglip2-large-patch16-256"),
];

/// The model to use instead of one of this type, if the reference's pipeline has it.
pub(super) fn nearest(found: &str) -> Option<&'static str> {
    REFUSED.iter().find(|(refused, _)| *refused == found).map(|(_, model)| *model)
}

/// The family of a model in OpenCLIP's format. `has_bias`: it judges each label alone.
pub(super) fn of_open_clip(has_bias: bool) -> &'static Family {
    &OPEN_CLIP_FAMILIES[usize::from(has_bias)]
}

/// The family of a model, by `model_type` in its `config.json`.
pub(super) fn of_model_type(found: &str) -> Option<&'static Family> {
    FAMILIES.iter().find(|family| family.model_types.contains(&found))
}

/// The family of an image processor, by the name of its class. Older files name a feature extractor, and some classes exist for
/// several image libraries.
pub(super) fn of_image_processor(name: &str) -> Option<&'static Family> {
    let class = name.replace("FeatureExtractor", "ImageProcessor");
    let class = ["Fast", "Pil"].iter().find_map(|end| class.strip_suffix(end)).unwrap_or(&class);
    FAMILIES.iter().find(|family| family.image_processor == class)
}

/// The image processors for a family, for messages.
pub(super) fn image_processors(family: Option<&Family>) -> String {
    let mut names: Vec<_> =
        FAMILIES.iter().filter(|it| it.fits(family)).map(|family| family.image_processor).collect();
    // Several families share one.
    names.sort_unstable();
    names.dedup();
    names.join(", ")
}

impl Family {
    /// Whether this family's image processor can prepare pictures for `model`: patches are only for models that take them.
    pub(super) fn fits(&self, model: Option<&Self>) -> bool {
        !self.preprocessing.patches || model.is_none_or(|model| model.preprocessing.patches)
    }
}

/// Every supported model type, for messages.
pub(super) fn supported() -> String {
    FAMILIES.iter().flat_map(|family| family.model_types).copied().collect::<Vec<_>>().join(", ")
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
    fn every_model_type_and_image_processor_belongs_to_one_family() {
        let mut types: Vec<_> = FAMILIES.iter().flat_map(|family| family.model_types).collect();
        types.sort();
        assert_eq!(types, [&"altclip", &"chinese_clip", &"clip", &"metaclip_2", &"siglip", &"siglip2"]);
        for (name, expected) in [
            ("CLIPImageProcessor", Some(&CLIP)),
            ("ChineseCLIPFeatureExtractor", Some(&CHINESE_CLIP)),
            ("SiglipImageProcessorFast", Some(&SIGLIP)),
            ("SiglipImageProcessorPil", Some(&SIGLIP)),
            ("Siglip2ImageProcessor", Some(&SIGLIP2)),
            ("CLIPSegImageProcessor", None),
            ("ViTImageProcessor", None),
            ("", None),
        ] {
            assert_eq!(of_image_processor(name), expected, "{name}");
        }
    }

    #[test]
    fn patches_are_only_for_models_that_take_them() {
        let fits = |processor: &Family, model: Option<&Family>| processor.fits(model);
        assert!(fits(&SIGLIP2, Some(&SIGLIP2)) && fits(&SIGLIP, Some(&SIGLIP2)) && fits(&SIGLIP2, None));
        assert!(!fits(&SIGLIP2, Some(&SIGLIP)) && fits(&CLIP, Some(&SIGLIP)));
        let expected = "CLIPImageProcessor, ChineseCLIPImageProcessor, SiglipImageProcessor";
        assert_eq!(image_processors(Some(&CLIP)), expected);
    }

    #[test]
    fn a_type_that_is_refused_has_a_model_instead() {
        for (refused, model) in REFUSED {
            assert_eq!(of_model_type(refused), None);
            assert_eq!(nearest(refused), Some(model));
        }
        assert_eq!(nearest("jina_clip"), None);
        assert_eq!(supported(), "clip, chinese_clip, siglip, siglip2, metaclip_2, altclip");
        assert!(of_open_clip(true).has_bias && !of_open_clip(false).has_bias);
    }
}
