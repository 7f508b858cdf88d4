//! Texts into token ids, as the reference does it: Hugging Face's pipeline, or OpenCLIP for models in its format.
//!
//! The library reads `tokenizer.json`. A model without this file has its vocabulary in older files, of which the content of a
//! `tokenizer.json` is made: one module for each form.

mod clean;
mod clip_bpe;
mod declared;
pub(super) mod open_clip;
mod sentencepiece;
mod source;
mod unigram;
mod wordpiece;

use std::{
    borrow::Cow,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use serde_json::Value;
use tokenizers::{PaddingDirection, PaddingParams, PaddingStrategy};
use tracing::warn;

use self::{source::Source, unigram::SiglipText};
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
    /// Whether the padding is before the text.
    pads_left: bool,
    lowercase: bool,
    /// The id that is replaced by 0.
    stripped: Option<i64>,
    siglip: Option<SiglipText>,
}

/// The tokens of one text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tokens {
    /// The ids with special tokens, without padding, and cut to the model's context.
    pub ids: Vec<i64>,
    /// How many tokens the whole text has. More than `ids` holds means that the model does not see the end of the text.
    pub uncut: usize,
}

impl Tokens {
    /// Whether the model does not see the end of the text.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.uncut > self.ids.len()
    }
}

impl TextTokenizer {
    pub(super) fn load(files: &ModelFiles, config: ModelConfig) -> Result<Self, ModelError> {
        let Source { file, json, declared, siglip } = Source::find(files, config.open_clip)?;
        let mut tokenizer = caught(|| {
            let tokenizer = tokenizers::Tokenizer::from_bytes(&json)?;
            // Some contradictions appear only now.
            tokenizer.encode("a", true)?;
            Ok(tokenizer)
        })
        .map_err(|error| files.unusable(file, error))?;
        let own_padding = tokenizer.get_padding().cloned();
        // The pipeline overrides the lengths that the file gives, and so does `batch`.
        tokenizer.with_padding(None);
        tokenizer.with_truncation(None).map_err(|error| files.unusable(file, error))?;
        if siglip.is_some() {
            SiglipText::set_up(&mut tokenizer);
        }

        let named = |name: &str| {
            let files = [&declared.config, &declared.special];
            files.into_iter().find_map(|file| id_of(&tokenizer, &file[name]))
        };
        // OpenCLIP's own tokenizer fills texts up with the id 0, whatever token that is.
        let fills_with_zero = config.open_clip.is_some_and(|rules| rules.own_vocabulary);
        let pad_id = named("pad_token")
            .or_else(|| own_padding.as_ref().map(|padding| i64::from(padding.pad_id)))
            .or(config.pad_id)
            .filter(|_| !fills_with_zero)
            .unwrap_or(0);
        let stripped = config.open_clip.filter(|rules| rules.strips_end).and_then(|_| named("sep_token"));
        let declared = declared.config;
        let pads_left = pads_left(&declared, own_padding.as_ref(), config.lower_cases);
        let padded_to = match own_padding.map(|padding| padding.strategy) {
            _ if config.padded_to.is_some() => config.padded_to,
            Some(PaddingStrategy::Fixed(length)) => Some(length.min(config.context)),
            Some(PaddingStrategy::BatchLongest) | None => None,
        };
        // This class lower-cases in its code, even if its tokenizer.json does not.
        let lowercase =
            config.lower_cases || declared["tokenizer_class"].as_str() == Some("Siglip2Tokenizer");
        let tokenizer = Arc::new(tokenizer);
        let this = Self { tokenizer, config, pad_id, padded_to, pads_left, lowercase, stripped, siglip };
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
        self.tokens_within(text, self.config.context)
    }

    fn tokens_within(&self, text: &str, context: usize) -> Result<Tokens, ModelError> {
        let mut read = Cow::Borrowed(text);
        if let Some(rules) = self.config.open_clip {
            read = rules.clean.apply(&read).into();
        }
        if self.lowercase {
            // Letter by letter, as in the class: a sigma at the end of a word is as any other.
            read = read.chars().flat_map(char::to_lowercase).collect::<String>().into();
        }
        if let Some(siglip) = self.siglip {
            read = siglip.apply(&read).into();
        }
        let encoding = caught(|| self.tokenizer.encode(&*read, true))
            .map_err(|error| ModelError::Run(format!("the text {text:?} cannot be tokenized: {error}")))?;
        let mut ids: Vec<i64> = encoding.get_ids().iter().copied().map(i64::from).collect();
        let uncut = ids.len();
        if let Some(end) = ids.last().copied().filter(|_| uncut > context) {
            ids.truncate(context - 1);
            ids.push(end);
        }
        for id in ids.iter_mut().filter(|id| self.stripped == Some(**id)) {
            *id = 0;
        }
        Ok(Tokens { ids, uncut })
    }

    /// The texts padded to one length, as a graph takes them; `fixed` is the length that the graph fixes.
    pub(super) fn batch(&self, texts: &[&str], fixed: Option<usize>) -> Result<TokenBatch, ModelError> {
        let fixed = fixed.filter(|fixed| *fixed > 0);
        let context = self.config.context.min(fixed.unwrap_or(usize::MAX));
        let tokens =
            texts.iter().map(|text| self.tokens_within(text, context)).collect::<Result<Vec<_>, _>>()?;
        for (text, tokens) in texts.iter().zip(&tokens) {
            warn_of_length(text, tokens, self.config.trained_on);
        }
        let longest = tokens.iter().map(|tokens| tokens.ids.len()).max().unwrap_or(0);
        // A text without any token is still one column.
        let columns = fixed.unwrap_or_else(|| longest.max(self.padded_to.unwrap_or(1)));
        let mut batch = TokenBatch { rows: texts.len(), columns, ids: Vec::new(), mask: Vec::new() };
        for Tokens { ids, .. } in tokens {
            let padding = columns - ids.len();
            let (before, after) = if self.pads_left { (padding, 0) } else { (0, padding) };
            let fill = |value: i64, times| std::iter::repeat_n(value, times);
            batch.mask.extend(fill(0, before).chain(fill(1, ids.len())).chain(fill(0, after)));
            batch.ids.extend(fill(self.pad_id, before).chain(ids).chain(fill(self.pad_id, after)));
        }
        Ok(batch)
    }

    fn distinguishes_case(&self) -> bool {
        let ids = |text| self.tokens(text).map(|tokens| tokens.ids);
        ids("A Photo") != ids("a photo")
    }
}

/// The content of a model's `tokenizer.json`: its own, or one that is made of its vocabulary.
///
/// # Errors
/// The model has no tokenizer, or a file of it cannot be used.
pub(super) fn json(files: &ModelFiles, config: ModelConfig) -> Result<Cow<'static, [u8]>, ModelError> {
    Ok(Source::find(files, config.open_clip)?.json)
}

/// Whether the padding is before the text: as `tokenizer_config.json` says, else `tokenizer.json`, else the class of the tokenizer.
fn pads_left(declared: &Value, own: Option<&PaddingParams>, siglip2: bool) -> bool {
    let class = declared["tokenizer_class"].as_str().unwrap_or_default();
    let class = class.strip_suffix("Fast").unwrap_or(class);
    match (declared["padding_side"].as_str(), own) {
        (Some(side), _) => side == "left",
        (None, Some(own)) => matches!(own.direction, PaddingDirection::Left),
        (None, None) => siglip2 || ["GemmaTokenizer", "Siglip2Tokenizer"].contains(&class),
    }
}

/// Logs a prompt that the model does not see completely, or that is longer than those that it was trained on.
fn warn_of_length(text: &str, tokens: &Tokens, trained_on: usize) {
    let (uncut, seen) = (tokens.uncut, tokens.ids.len());
    if tokens.is_cut() {
        warn!(
            text,
            "this prompt has {uncut} tokens, and the model sees {seen}: the end of the prompt is ignored. Write a shorter one"
        );
    } else if seen > trained_on {
        warn!(
            text,
            "this prompt has {uncut} tokens, and the model was trained on at most {trained_on}: write a shorter one"
        );
    }
}

/// The id of a token that a file names as text, or as an object that contains the text.
fn id_of(tokenizer: &tokenizers::Tokenizer, named: &Value) -> Option<i64> {
    let token = named.as_str().or_else(|| named["content"].as_str())?;
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

impl TokenBatch {
    /// The rows `times` times.
    pub(super) fn repeated(self, times: usize) -> Self {
        if times == 1 {
            return self;
        }
        let (ids, mask) = (self.ids.repeat(times), self.mask.repeat(times));
        Self { rows: self.rows * times, ids, mask, ..self }
    }
}

/// Reads any bytes as a SentencePiece file, for the fuzzer.
#[cfg(fuzzing)]
pub(super) fn fuzz(bytes: &[u8]) {
    if let Ok(pieces) = sentencepiece::Pieces::read(bytes) {
        let declared = declared::Declared { config: Value::Null, special: Value::Null };
        let _ = unigram::siglip(&pieces, &declared);
        let _ = unigram::xlm_roberta(&pieces, &declared);
    }
}

/// Turns a panic into an error: the library panics for some files that are not JSON or contradict themselves.
fn caught<T>(work: impl FnOnce() -> tokenizers::Result<T>) -> tokenizers::Result<T> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err("it contradicts itself, or is not JSON (see the panic above)".into()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::family;

    fn tokenizer(padded_to: Option<usize>, pads_left: bool) -> TextTokenizer {
        let family = family::of_model_type("siglip").unwrap();
        let context = padded_to.unwrap_or(77);
        let (lower_cases, trained_on) = (false, context);
        let (pad_id, open_clip) = (Some(0), None);
        let config = ModelConfig { family, context, padded_to, lower_cases, trained_on, pad_id, open_clip };
        let loaded = TextTokenizer::load(&ModelFiles::bundled(), config).unwrap();
        TextTokenizer { pads_left, pad_id: -1, ..loaded }
    }

    #[test]
    fn texts_are_padded_and_cut_to_one_length() {
        let long = "a red car ".repeat(50);
        let texts = ["a red car", &long];
        let row = |tokenizer: &TextTokenizer, fixed, row: usize| {
            let TokenBatch { columns, ids, mask, .. } = tokenizer.batch(&texts, fixed).unwrap();
            let range = row * columns..(row + 1) * columns;
            (ids[range.clone()].to_vec(), mask[range].to_vec())
        };
        let own = tokenizer(Some(16), false).tokens(texts[0]).unwrap().ids;
        let padding = 16 - own.len();
        let expected = [&own[..], &vec![-1; padding]].concat();
        let (ids, mask) = row(&tokenizer(Some(16), false), None, 0);
        assert_eq!((ids, mask.iter().sum::<i64>()), (expected.clone(), own.len() as i64));
        // A graph may fix the length.
        assert_eq!(row(&tokenizer(Some(64), false), Some(16), 0).0, expected);
        let (long_ids, _) = row(&tokenizer(Some(64), false), Some(16), 1);
        assert_eq!((long_ids.len(), long_ids.last()), (16, own.last()), "the end token stays");
        assert_eq!(row(&tokenizer(Some(16), false), Some(20), 0).0.len(), 20);

        let (ids, mask) = row(&tokenizer(Some(16), true), None, 0);
        assert_eq!(ids, [&vec![-1; padding][..], &own].concat());
        assert_eq!((mask[0], mask[15]), (0, 1));
    }

    #[test]
    fn the_side_of_the_padding_is_that_of_the_reference() {
        let own = |direction| PaddingParams { direction, ..PaddingParams::default() };
        let (left, right) = (own(PaddingDirection::Left), own(PaddingDirection::Right));
        for (declared, own, siglip2, expected) in [
            (json!({"padding_side": "right", "tokenizer_class": "GemmaTokenizer"}), None, false, false),
            (json!({"padding_side": "left"}), Some(&right), false, true),
            (json!({}), Some(&left), false, true),
            (json!({"tokenizer_class": "GemmaTokenizerFast"}), None, false, true),
            (json!({"tokenizer_class": "GemmaTokenizer"}), Some(&right), false, false),
            (json!({"tokenizer_class": "SiglipTokenizer"}), None, false, false),
            (json!({"tokenizer_class": "CLIPTokenizer"}), None, false, false),
            (json!({}), None, true, true),
            (json!({}), None, false, false),
        ] {
            assert_eq!(pads_left(&declared, own, siglip2), expected, "{declared} {own:?} {siglip2}");
        }
    }
}
