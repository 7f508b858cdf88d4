//! Texts into token ids, as the reference's pipeline does it.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use serde_json::Value;
use tokenizers::PaddingStrategy;
use tracing::warn;

use super::{
    ModelError, ModelFiles,
    family::{Family, ModelConfig},
};

/// The tokenizer of a model.
#[derive(Clone)]
pub(crate) struct TextTokenizer {
    tokenizer: Arc<tokenizers::Tokenizer>,
    context: usize,
    trained: usize,
    pad_id: i64,
    /// Texts are filled up to this length.
    fixed: Option<usize>,
    lowercase: bool,
}

/// The tokens of one text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tokens {
    /// The ids with special tokens, not filled up, and cut to the model's context.
    pub ids: Vec<i64>,
    /// How many tokens the text has; more than `ids` holds means that its end is not seen by the model.
    pub uncut: usize,
}

impl TextTokenizer {
    pub(crate) fn load(files: &ModelFiles, config: ModelConfig) -> Result<Self, ModelError> {
        const FILE: &str = "tokenizer.json";
        let gone = || files.unusable(FILE, "it is not there any more");
        let text = files.read(FILE)?.ok_or_else(gone)?;
        let mut tokenizer = caught(|| {
            let tokenizer = tokenizers::Tokenizer::from_bytes(&text)?;
            // Some contradictions come to light only now.
            tokenizer.encode("a", true)?;
            Ok(tokenizer)
        })
        .map_err(|error| files.unusable(FILE, error))?;
        let own = tokenizer.get_padding().cloned();
        // What the file says of lengths is overridden by the pipeline, and must not meddle with ours.
        tokenizer.with_padding(None);
        tokenizer.with_truncation(None).map_err(|error| files.unusable(FILE, error))?;

        let declared = files.json("tokenizer_config.json")?;
        let special = files.json("special_tokens_map.json")?;
        let pad_id = [&declared, &special]
            .into_iter()
            .find_map(|file| pad_id(&tokenizer, file))
            .or_else(|| own.as_ref().map(|padding| i64::from(padding.pad_id)))
            .or(config.pad_id)
            .unwrap_or(0);
        let fixed = match config.family {
            // Filling up changes SigLIP's answer: it was trained on texts of full length.
            Family::Siglip => Some(config.context),
            // CLIP's answer does not depend on it; a model with a length of its own says so in its tokenizer.
            Family::Clip | Family::ChineseClip => own.and_then(|padding| match padding.strategy {
                PaddingStrategy::Fixed(length) => Some(length.min(config.context)),
                PaddingStrategy::BatchLongest => None,
            }),
        };
        let this = Self {
            tokenizer: Arc::new(tokenizer),
            context: config.context,
            trained: config.trained,
            pad_id,
            fixed,
            // This class lower-cases in code what its tokenizer.json may leave as it is.
            lowercase: declared["tokenizer_class"].as_str() == Some("Siglip2Tokenizer"),
        };
        if config.family == Family::Siglip && this.tells_case_apart() {
            warn!(
                model = files.place(),
                "the tokenizer of this SigLIP model tells upper from lower case, though such models were trained on lower \
                 case: write template and prompts in lower case, or use a newer export of the model"
            );
        }
        Ok(this)
    }

    /// The tokens of a text; it is cut where it is longer than the model's context, but keeps its end token.
    pub(crate) fn tokens(&self, text: &str) -> Result<Tokens, ModelError> {
        let lower = self.lowercase.then(|| text.to_lowercase());
        let encoding = caught(|| self.tokenizer.encode(lower.as_deref().unwrap_or(text), true))
            .map_err(|error| ModelError::Run(format!("the text {text:?} cannot be tokenized: {error}")))?;
        let mut ids: Vec<i64> = encoding.get_ids().iter().copied().map(i64::from).collect();
        let uncut = ids.len();
        if let Some(end) = ids.last().copied().filter(|_| uncut > self.context) {
            ids.truncate(self.context - 1);
            ids.push(end);
        }
        Ok(Tokens { ids, uncut })
    }

    /// The texts filled up to one length, as a graph takes them; `at_least` where the graph asks for a length.
    pub(crate) fn batch(&self, texts: &[&str], at_least: Option<usize>) -> Result<Batch, ModelError> {
        let tokens = texts.iter().map(|text| self.tokens(text)).collect::<Result<Vec<_>, _>>()?;
        for (text, Tokens { ids, uncut }) in texts.iter().zip(&tokens) {
            let (seen, trained) = (ids.len(), self.trained);
            if *uncut > seen {
                warn!(
                    text,
                    "this prompt has {uncut} tokens, and the model sees {seen}: its end does not count"
                );
            } else if seen > trained {
                warn!(
                    text,
                    "this prompt has {uncut} tokens, and the model has never met more than {trained}: write a shorter one"
                );
            }
        }
        let longest = tokens.iter().map(|tokens| tokens.ids.len()).max().unwrap_or(0);
        // A text without any token is still a text.
        let columns = longest.max(self.fixed.unwrap_or(1)).max(at_least.unwrap_or(1));
        let mut batch = Batch { rows: texts.len(), columns, ids: Vec::new(), mask: Vec::new() };
        for Tokens { ids, .. } in tokens {
            let fill = columns - ids.len();
            batch.mask.extend(std::iter::repeat_n(1, ids.len()).chain(std::iter::repeat_n(0, fill)));
            batch.ids.extend(ids.into_iter().chain(std::iter::repeat_n(self.pad_id, fill)));
        }
        Ok(batch)
    }

    fn tells_case_apart(&self) -> bool {
        let ids = |text| self.tokens(text).map(|tokens| tokens.ids);
        ids("A Photo") != ids("a photo")
    }
}

/// The id of the `pad_token` that a file names: as text, or as an object with the text in it.
fn pad_id(tokenizer: &tokenizers::Tokenizer, file: &Value) -> Option<i64> {
    let token = file["pad_token"].as_str().or_else(|| file["pad_token"]["content"].as_str())?;
    tokenizer.token_to_id(token).map(i64::from)
}

/// Token ids of several texts, row by row, all of one length.
pub(crate) struct Batch {
    pub rows: usize,
    pub columns: usize,
    pub ids: Vec<i64>,
    /// 1 for a token, 0 for what fills up.
    pub mask: Vec<i64>,
}

/// The library panics for some files that are no JSON or contradict themselves; whoever loads a model is told so, and lives.
fn caught<T>(work: impl FnOnce() -> tokenizers::Result<T>) -> tokenizers::Result<T> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err("it contradicts itself, or is no JSON (see the panic above)".into()))
}
