//! Texts into token ids, as the reference's pipeline does it.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use serde_json::Value;
use tokenizers::PaddingStrategy;
use tracing::warn;

use super::{
    error::ModelError,
    files::{ModelConfig, ModelFiles},
};

/// The tokenizer of a model.
#[derive(Clone)]
pub(super) struct TextTokenizer {
    tokenizer: Arc<tokenizers::Tokenizer>,
    config: ModelConfig,
    pad_id: i64,
    /// Texts are padded to this length.
    padded_to: Option<usize>,
    lowercase: bool,
}

/// The tokens of one text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tokens {
    /// The ids with special tokens, without padding, and cut to the model's context.
    pub ids: Vec<i64>,
    /// How many tokens the whole text has. More than `ids` holds means that the model does not see the end of the text.
    pub uncut: usize,
}

impl TextTokenizer {
    pub(super) fn load(files: &ModelFiles, config: ModelConfig) -> Result<Self, ModelError> {
        const FILE: &str = "tokenizer.json";
        let gone = || files.unusable(FILE, "it does not exist any more");
        let text = files.read(FILE)?.ok_or_else(gone)?;
        let mut tokenizer = caught(|| {
            let tokenizer = tokenizers::Tokenizer::from_bytes(&text)?;
            // Some contradictions appear only now.
            tokenizer.encode("a", true)?;
            Ok(tokenizer)
        })
        .map_err(|error| files.unusable(FILE, error))?;
        let own_padding = tokenizer.get_padding().cloned();
        // The pipeline overrides the lengths that the file gives, and so does `batch`.
        tokenizer.with_padding(None);
        tokenizer.with_truncation(None).map_err(|error| files.unusable(FILE, error))?;

        let declared = files.json("tokenizer_config.json")?;
        let special = files.json("special_tokens_map.json")?;
        let pad_id = [&declared, &special]
            .into_iter()
            .find_map(|file| pad_id(&tokenizer, file))
            .or_else(|| own_padding.as_ref().map(|padding| i64::from(padding.pad_id)))
            .or(config.pad_id)
            .unwrap_or(0);
        let padded_to = match own_padding.map(|padding| padding.strategy) {
            _ if config.family.pads_to_context => Some(config.context),
            Some(PaddingStrategy::Fixed(length)) => Some(length.min(config.context)),
            Some(PaddingStrategy::BatchLongest) | None => None,
        };
        // This class lower-cases in its code, even if its tokenizer.json does not.
        let lowercase = declared["tokenizer_class"].as_str() == Some("Siglip2Tokenizer");
        let this = Self { tokenizer: Arc::new(tokenizer), config, pad_id, padded_to, lowercase };
        if config.family.lower_case && this.distinguishes_case() {
            warn!(
                model = files.place(),
                "the tokenizer of this SigLIP model distinguishes upper from lower case, though such models were trained on \
                 lower case: write template and prompts in lower case, or use a newer export of the model"
            );
        }
        Ok(this)
    }

    /// The tokens of a text. A text that is longer than the model's context is cut, but keeps its end token.
    pub(super) fn tokens(&self, text: &str) -> Result<Tokens, ModelError> {
        let lower = self.lowercase.then(|| text.to_lowercase());
        let encoding = caught(|| self.tokenizer.encode(lower.as_deref().unwrap_or(text), true))
            .map_err(|error| ModelError::Run(format!("the text {text:?} cannot be tokenized: {error}")))?;
        let mut ids: Vec<i64> = encoding.get_ids().iter().copied().map(i64::from).collect();
        let uncut = ids.len();
        if let Some(end) = ids.last().copied().filter(|_| uncut > self.config.context) {
            ids.truncate(self.config.context - 1);
            ids.push(end);
        }
        Ok(Tokens { ids, uncut })
    }

    /// The texts padded to one length, as a graph takes them; `at_least` is the length that the graph fixes.
    pub(super) fn batch(&self, texts: &[&str], at_least: Option<usize>) -> Result<TokenBatch, ModelError> {
        let tokens = texts.iter().map(|text| self.tokens(text)).collect::<Result<Vec<_>, _>>()?;
        for (text, Tokens { ids, uncut }) in texts.iter().zip(&tokens) {
            let (seen, trained_on) = (ids.len(), self.config.trained_on);
            if *uncut > seen {
                warn!(
                    text,
                    "this prompt has {uncut} tokens, and the model sees {seen}: the end of the prompt is ignored"
                );
            } else if seen > trained_on {
                warn!(
                    text,
                    "this prompt has {uncut} tokens, and the model was trained on at most {trained_on}: write a shorter one"
                );
            }
        }
        let longest = tokens.iter().map(|tokens| tokens.ids.len()).max().unwrap_or(0);
        // A text without any token is still one column.
        let columns = longest.max(self.padded_to.unwrap_or(1)).max(at_least.unwrap_or(1));
        let mut batch = TokenBatch { rows: texts.len(), columns, ids: Vec::new(), mask: Vec::new() };
        for Tokens { ids, .. } in tokens {
            let padding = columns - ids.len();
            batch.mask.extend(std::iter::repeat_n(1, ids.len()).chain(std::iter::repeat_n(0, padding)));
            batch.ids.extend(ids.into_iter().chain(std::iter::repeat_n(self.pad_id, padding)));
        }
        Ok(batch)
    }

    fn distinguishes_case(&self) -> bool {
        let ids = |text| self.tokens(text).map(|tokens| tokens.ids);
        ids("A Photo") != ids("a photo")
    }
}

/// The id of the `pad_token` that a file names, as text or as an object that contains the text.
fn pad_id(tokenizer: &tokenizers::Tokenizer, file: &Value) -> Option<i64> {
    let token = file["pad_token"].as_str().or_else(|| file["pad_token"]["content"].as_str())?;
    tokenizer.token_to_id(token).map(i64::from)
}

/// Token ids of several texts, row by row, all of one length.
pub(super) struct TokenBatch {
    pub rows: usize,
    pub columns: usize,
    pub ids: Vec<i64>,
    /// 1 for a token, 0 for padding.
    pub mask: Vec<i64>,
}

/// Turns a panic into an error: the library panics for some files that are not JSON or contradict themselves.
fn caught<T>(work: impl FnOnce() -> tokenizers::Result<T>) -> tokenizers::Result<T> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err("it contradicts itself, or is not JSON (see the panic above)".into()))
}
