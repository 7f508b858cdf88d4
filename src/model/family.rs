//! What kind of model it is, by its `config.json`: how texts are padded, which outputs count, how logits become scores.

use serde_json::Value;

use super::{ModelError, ModelFiles};
use crate::classify::score::Activation;

/// The kinds of model that are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    Clip,
    Siglip,
    /// CLIP with a BERT as its text tower.
    ChineseClip,
}

/// What `config.json` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ModelConfig {
    pub family: Family,
    /// How many tokens a text may have.
    pub context: usize,
    /// How many of them the model was trained on.
    pub trained: usize,
    /// The token that fills a text up, where no tokenizer file names one.
    pub pad_id: Option<i64>,
}

impl ModelConfig {
    pub(crate) fn read(files: &ModelFiles) -> Result<Self, ModelError> {
        let config = files.json("config.json")?;
        let family = match config["model_type"].as_str() {
            Some("clip") => Family::Clip,
            // SigLIP2 of fixed resolution calls itself either; that of free resolution has other inputs, and is found out by them.
            Some("siglip" | "siglip2") => Family::Siglip,
            Some("chinese_clip") => Family::ChineseClip,
            found => {
                let found = found.unwrap_or("(none: config.json has no model_type)").to_owned();
                return Err(ModelError::Type { place: files.place(), found });
            }
        };
        let text = &config["text_config"];
        let context = match &text["max_position_embeddings"] {
            Value::Null => family.default_context(),
            value => value
                .as_u64()
                .and_then(|context| usize::try_from(context).ok())
                .filter(|context| (2..=65_536).contains(context))
                .ok_or_else(|| {
                    files.unusable("config.json", format!("text_config.max_position_embeddings is {value}"))
                })?,
        };
        // Chinese-CLIP's authors cut texts at 52 tokens; the reference has no such limit, and the graph takes as many as a BERT.
        let trained = if family == Family::ChineseClip { context.min(52) } else { context };
        Ok(Self { family, context, trained, pad_id: text["pad_token_id"].as_i64() })
    }
}

impl Family {
    /// What the configuration classes take where a `config.json` says nothing.
    fn default_context(self) -> usize {
        match self {
            Self::Clip => 77,
            Self::Siglip => 64,
            Self::ChineseClip => 512,
        }
    }

    pub(crate) fn activation(self) -> Activation {
        match self {
            Self::Clip | Self::ChineseClip => Activation::Softmax,
            Self::Siglip => Activation::Sigmoid,
        }
    }

    /// The outputs of the vision tower that hold the embedding, the best first.
    pub(crate) fn image_outputs(self) -> &'static [&'static str] {
        match self {
            // CLIP's `pooler_output` is not projected yet, so it would not do.
            Self::Clip | Self::ChineseClip => &["image_embeds"],
            Self::Siglip => &["pooler_output", "image_embeds"],
        }
    }

    /// Likewise of the text tower.
    pub(crate) fn text_outputs(self) -> &'static [&'static str] {
        match self {
            Self::Clip | Self::ChineseClip => &["text_embeds"],
            Self::Siglip => &["pooler_output", "text_embeds"],
        }
    }
}
