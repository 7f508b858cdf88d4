//! What `open_clip_config.json` says about texts. Pure.

use serde_json::{Map, Value};

use super::clean::Clean;

/// The longest text in tokens where the file says nothing.
const CONTEXT: usize = 77;
/// The longest text of any model, in tokens.
const LONGEST: u64 = 65_536;

/// How OpenCLIP tokenizes the texts of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OpenClipText {
    /// The length of every text in tokens, with its padding.
    pub context: usize,
    /// How texts are cleaned.
    pub clean: Clean,
    /// Whether the vocabulary is that of OpenAI's CLIP, which is in this program. Otherwise the tokenizer is in the model's files,
    /// or in those of [`tokenizer_repository`].
    pub own_vocabulary: bool,
    /// Whether the token that ends a text is replaced by 0.
    pub strips_end: bool,
}

impl OpenClipText {
    /// From the content of `open_clip_config.json`.
    ///
    /// # Errors
    /// A key has a value that is not supported; the text names it.
    pub fn read(config: &Value) -> Result<Self, String> {
        let text = &config["model_cfg"]["text_cfg"];
        let own_vocabulary = tokenizer_repository(config).is_none();
        let context = match &text["context_length"] {
            Value::Null => CONTEXT,
            length => length
                .as_u64()
                .filter(|length| (2..=LONGEST).contains(length))
                .and_then(|length| usize::try_from(length).ok())
                .ok_or_else(|| format!("text_cfg.context_length is {length}"))?,
        };
        if let Some(mode) = text["tokenizer_mode"].as_str().filter(|mode| !mode.is_empty()) {
            return Err(format!("text_cfg.tokenizer_mode is {mode:?}, which is not supported"));
        }
        let none = Map::new();
        let arguments = text["tokenizer_kwargs"].as_object().unwrap_or(&none);
        let mut rules = Self {
            context,
            clean: if own_vocabulary { Clean::Lower } else { Clean::Whitespace },
            own_vocabulary,
            strips_end: false,
        };
        for (key, value) in arguments {
            let known = match key.as_str() {
                "clean" => value.as_str().and_then(Clean::named).map(|clean| rules.clean = clean),
                "strip_sep_token" if !own_vocabulary => {
                    value.as_bool().map(|strips| rules.strips_end = strips)
                }
                _ => None,
            };
            known.ok_or_else(|| {
                format!("text_cfg.tokenizer_kwargs has `{key}: {value}`, which is not supported")
            })?;
        }
        Ok(rules)
    }
}

/// The repository of the hub whose tokenizer `open_clip_config.json` names, `None` for OpenCLIP's own one.
pub(crate) fn tokenizer_repository(config: &Value) -> Option<&str> {
    config["model_cfg"]["text_cfg"]["hf_tokenizer_name"].as_str().filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(text: Value) -> Result<OpenClipText, String> {
        OpenClipText::read(&json!({"model_cfg": {"text_cfg": text}}))
    }

    #[test]
    fn the_rules_of_published_models() {
        let rules = |context, clean, own_vocabulary, strips_end| {
            Ok(OpenClipText { context, clean, own_vocabulary, strips_end })
        };
        // ViT-B-32, PE-Core-B-16, ViT-B-16-SigLIP, ViT-H-14-CLIPA, xlm-roberta-base-ViT-B-32.
        for (text, expected) in [
            (json!({"context_length": 77, "vocab_size": 49408}), rules(77, Clean::Lower, true, false)),
            (json!({"context_length": 32}), rules(32, Clean::Lower, true, false)),
            (
                json!({
                    "context_length": 64, "hf_tokenizer_name": "timm/ViT-B-16-SigLIP",
                    "tokenizer_kwargs": {"clean": "canonicalize"}
                }),
                rules(64, Clean::Canonicalize, false, false),
            ),
            (
                json!({
                    "context_length": 32, "hf_tokenizer_name": "bert-base-uncased",
                    "tokenizer_kwargs": {"strip_sep_token": true}
                }),
                rules(32, Clean::Whitespace, false, true),
            ),
            (json!({"hf_tokenizer_name": "xlm-roberta-base"}), rules(77, Clean::Whitespace, false, false)),
            (json!({"hf_tokenizer_name": ""}), rules(77, Clean::Lower, true, false)),
            (Value::Null, rules(77, Clean::Lower, true, false)),
        ] {
            assert_eq!(read(text.clone()), expected, "{text}");
        }
    }

    #[test]
    fn a_setting_that_is_not_supported_is_named() {
        for (text, expected) in [
            (json!({"context_length": 1}), "context_length is 1"),
            (json!({"context_length": "77"}), "context_length is \"77\""),
            (json!({"tokenizer_mode": "clips"}), "tokenizer_mode is \"clips\""),
            (json!({"tokenizer_kwargs": {"clean": "upper"}}), "`clean: \"upper\"`"),
            (json!({"tokenizer_kwargs": {"reduction_mask": "syntax"}}), "`reduction_mask: \"syntax\"`"),
            (json!({"tokenizer_kwargs": {"strip_sep_token": true}}), "`strip_sep_token: true`"),
        ] {
            let error = read(text.clone()).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn the_repository_of_the_tokenizer() {
        let config = json!({"model_cfg": {"text_cfg": {"hf_tokenizer_name": "timm/ViT-B-16-SigLIP"}}});
        assert_eq!(tokenizer_repository(&config), Some("timm/ViT-B-16-SigLIP"));
        assert_eq!(tokenizer_repository(&json!({})), None);
    }
}
