//! Finds what a model's tokenizer is made of: `tokenizer.json`, the vocabulary files of older models, or OpenCLIP's vocabulary.

use std::borrow::Cow;

use serde_json::Value;

use super::{
    clip_bpe, declared::Declared, open_clip::OpenClipText, sentencepiece::Pieces, unigram,
    unigram::SiglipText, wordpiece,
};
use crate::{
    model::{
        error::ModelError,
        files::ModelFiles,
        layout::{self, Vocabulary},
    },
    text_file::{self, TextFileError},
};

/// The content of a `tokenizer.json`.
pub(super) struct Source {
    /// The file that it is or that it was made of, for messages.
    pub file: &'static str,
    /// The content.
    pub json: Cow<'static, [u8]>,
    /// `tokenizer_config.json` and `special_tokens_map.json`.
    pub declared: Declared,
    /// For a tokenizer from the vocabulary of the first SigLIP.
    pub siglip: Option<SiglipText>,
}

impl Source {
    /// The tokenizer of a model; `open_clip` are the rules of a model in OpenCLIP's format.
    ///
    /// # Errors
    /// There is none, or a file of it cannot be used.
    pub fn find(files: &ModelFiles, open_clip: Option<OpenClipText>) -> Result<Self, ModelError> {
        if open_clip.is_some_and(|rules| rules.own_vocabulary) {
            let declared = Declared { config: Value::Null, special: Value::Null };
            let json = clip_bpe::of_open_clip().to_string().into_bytes().into();
            return Ok(Self { file: layout::OPEN_CLIP_CONFIG, json, declared, siglip: None });
        }
        let declared = Declared {
            config: files.json("tokenizer_config.json")?,
            special: files.json("special_tokens_map.json")?,
        };
        let found = Vocabulary::among(|name| files.contains(name));
        let Some(vocabulary) = found else {
            let reason = format!(
                "it does not exist, and neither does another vocabulary ({})",
                layout::vocabularies()
            );
            return Err(files.unusable(layout::TOKENIZER, reason));
        };
        let file = vocabulary.file();
        let read = |name: &str| -> Result<Cow<'static, [u8]>, ModelError> {
            let gone = || files.unusable(name, "it does not exist any more");
            files.read(name)?.ok_or_else(gone)
        };
        let text = |name: &str| -> Result<String, ModelError> {
            let bytes = read(name)?;
            let wrong =
                |error: TextFileError| files.unusable(name, format!("it {error}: {}", error.remedy()));
            text_file::text(bytes.into_owned()).map_err(wrong)
        };
        let made = match vocabulary {
            Vocabulary::TokenizerJson => {
                return Ok(Self { file, json: read(file)?, declared, siglip: None });
            }
            Vocabulary::ClipBpe => clip_bpe::of_files(&read(file)?, &text("merges.txt")?, &declared),
            Vocabulary::WordPiece => wordpiece::of_file(&text(file)?, &declared),
            Vocabulary::Unigram => {
                Pieces::read(&read(file)?).and_then(|pieces| unigram::siglip(&pieces, &declared))
            }
            Vocabulary::XlmRoberta => {
                Pieces::read(&read(file)?).and_then(|pieces| unigram::xlm_roberta(&pieces, &declared))
            }
        };
        let json = made.map_err(|reason| files.unusable(file, reason))?.to_string().into_bytes().into();
        let siglip = (vocabulary == Vocabulary::Unigram).then(|| SiglipText::of(&declared));
        Ok(Self { file, json, declared, siglip })
    }
}
