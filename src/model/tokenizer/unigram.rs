//! Tokenizers from the vocabulary of a Unigram model: that of the first SigLIP, and XLM-RoBERTa's. Pure. The result is the
//! content of a `tokenizer.json`.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};
use tokenizers::{
    Tokenizer,
    pre_tokenizers::metaspace::{Metaspace, PrependScheme},
};

use super::{
    declared::{self, Declared, Special},
    sentencepiece::Pieces,
};

/// The ASCII punctuation, which the class `SiglipTokenizer` removes.
const PUNCTUATION: &str = r##"[!"\#\$%\&'\(\)\*\+,\-\./:;<=>\?@\[\\\]\^_`\{\|\}\~]"##;

/// What a vocabulary has in place of a blank.
const BLANK: char = '\u{2581}';

/// Marks the start of a text. No text contains it, and it is no letter, so that it does not join the character after it.
const START: char = '\u{fff0}';

/// What the class `SiglipTokenizer` does to a text before it looks for special tokens in it.
#[derive(Debug, Clone, Copy)]
pub(super) struct SiglipText {
    lower_cases: bool,
}

impl SiglipText {
    pub fn of(declared: &Declared) -> Self {
        Self { lower_cases: declared.flag("do_lower_case", true) }
    }

    /// Only the start of a text counts as the start of a word, not what follows a special token.
    pub fn set_up(tokenizer: &mut Tokenizer) {
        tokenizer.with_pre_tokenizer(Some(Metaspace::new(BLANK, PrependScheme::Never, true)));
    }

    pub fn apply(self, text: &str) -> String {
        // The lower case of a whole text: that of a sigma depends on its place.
        let text = if self.lower_cases { text.to_lowercase() } else { text.to_owned() };
        format!("{START}{}", text.replace(BLANK, " "))
    }
}

/// The tokenizer that the class `SiglipTokenizer` makes of `spiece.model`. It is complete for other programs; a tokenizer that
/// follows [`SiglipText`] also agrees with the class about texts that contain special tokens.
///
/// # Errors
/// The vocabulary lacks the token at the end of a text.
pub(super) fn siglip(pieces: &Pieces, declared: &Declared) -> Result<Value, String> {
    let special = |name, default| declared.special(name, default, true);
    let (end, unknown) = (special("eos_token", "</s>"), special("unk_token", "<unk>"));
    let padding = special("pad_token", "</s>");
    let id = |token: &str| position(pieces.pieces.iter().map(|(piece, _)| &**piece), token);
    let end_id = id(&end.content).ok_or_else(|| lacks(&end))?;
    let mut steps = Vec::new();
    if SiglipText::of(declared).lower_cases {
        steps.push(json!({"type": "Lowercase"}));
    }
    steps.push(json!({"type": "Replace", "pattern": {"Regex": PUNCTUATION}, "content": ""}));
    steps.push(json!({"type": "Replace", "pattern": {"Regex": r"\s+"}, "content": " "}));
    steps.push(json!({"type": "Strip", "strip_left": true, "strip_right": true}));
    // The published tables replace the blank of the vocabulary by that of texts.
    let blank = if pieces.replacements.is_empty() { BLANK } else { ' ' };
    steps.extend(replacements(pieces));
    steps.push(json!({"type": "Replace", "pattern": {"String": START}, "content": blank}));
    steps.push(json!({"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}));
    steps.push(json!({"type": "Replace", "pattern": {"Regex": "[ \u{2581}]+$"}, "content": ""}));
    let metaspace = metaspace();
    let mut file = whole(added_end(&end, end_id), declared::added(&[&end, &unknown, &padding], id));
    file["normalizer"] = json!({"type": "Sequence", "normalizers": steps});
    file["pre_tokenizer"] = metaspace.clone();
    file["decoder"] = metaspace;
    let vocabulary = pieces.pieces.iter().map(|(piece, score)| json!([piece, score])).collect();
    file["model"] = model(vocabulary, pieces.unknown, pieces.has_bytes);
    Ok(file)
}

/// The tokenizer that the class `XLMRobertaTokenizer` makes of `sentencepiece.bpe.model`. Its ids are not those of the file:
/// four special tokens replace the first three pieces, and one follows the last.
///
/// # Errors
/// The vocabulary has too few pieces.
pub(super) fn xlm_roberta(pieces: &Pieces, declared: &Declared) -> Result<Value, String> {
    const UNKNOWN: usize = 3;
    let special = |name, default| declared.special(name, default, false);
    let (begin, end) = (special("bos_token", "<s>"), special("eos_token", "</s>"));
    let (padding, unknown, mask) =
        (special("pad_token", "<pad>"), special("unk_token", "<unk>"), special("mask_token", "<mask>"));
    let own = pieces.pieces.get(3..).ok_or("it has fewer than three pieces")?;
    let before = [&begin, &padding, &end, &unknown].map(|token| (&*token.content, 0.0));
    let after = [(&*mask.content, 0.0)];
    let own = own.iter().map(|(piece, score)| (&**piece, *score));
    let tokens: Vec<(&str, f32)> = before.into_iter().chain(own).chain(after).collect();
    let id = |token: &str| position(tokens.iter().map(|(piece, _)| *piece), token);
    let ends = [(&begin, 0), (&end, 2)];
    let piece = |token: &Special| json!({"SpecialToken": {"id": token.content, "type_id": 0}});
    let text = |name: &str| json!({"Sequence": {"id": name, "type_id": 0}});
    let mut used = Map::new();
    for (token, id) in ends {
        used.insert(
            token.content.clone(),
            json!({"id": token.content, "ids": [id], "tokens": [token.content]}),
        );
    }
    let (first, last) = (piece(&begin), piece(&end));
    let processor = json!({
        "type": "TemplateProcessing",
        "single": [first, text("A"), last],
        "pair": [first, text("A"), last, last, text("B"), last],
        "special_tokens": used
    });
    let added = declared::added(&[&begin, &padding, &end, &unknown, &mask], id);
    let metaspace = metaspace();
    let mut file = whole(processor, added);
    file["normalizer"] = replacements(pieces).unwrap_or(Value::Null);
    file["pre_tokenizer"] =
        json!({"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, metaspace]});
    file["decoder"] = metaspace;
    let vocabulary = tokens.iter().map(|(piece, score)| json!([piece, score])).collect();
    file["model"] = model(vocabulary, UNKNOWN, false);
    Ok(file)
}

/// A `tokenizer.json` whose normalizer, pre-tokenizer, decoder and model are set later.
fn whole(processor: Value, added: Vec<Value>) -> Value {
    json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": added,
        "normalizer": null, "pre_tokenizer": null, "post_processor": processor, "decoder": null, "model": null
    })
}

fn model(vocabulary: Vec<Value>, unknown: usize, has_bytes: bool) -> Value {
    json!({"type": "Unigram", "unk_id": unknown, "vocab": vocabulary, "byte_fallback": has_bytes})
}

/// A text, or each of two texts, gets an end.
fn added_end(end: &Special, id: u64) -> Value {
    let text = |name: &str| json!({"Sequence": {"id": name, "type_id": 0}});
    let token = json!({"SpecialToken": {"id": end.content, "type_id": 0}});
    let mut used = Map::new();
    used.insert(end.content.clone(), json!({"id": end.content, "ids": [id], "tokens": [end.content]}));
    json!({
        "type": "TemplateProcessing",
        "single": [text("A"), token],
        "pair": [text("A"), token, text("B"), token],
        "special_tokens": used
    })
}

/// The file's table of character replacements as a step of a normalizer.
fn replacements(pieces: &Pieces) -> Option<Value> {
    let table = &pieces.replacements;
    (!table.is_empty())
        .then(|| json!({"type": "Precompiled", "precompiled_charsmap": STANDARD.encode(table)}))
}

fn metaspace() -> Value {
    json!({"type": "Metaspace", "replacement": BLANK, "prepend_scheme": "always", "split": true})
}

fn position<'a>(mut tokens: impl Iterator<Item = &'a str>, token: &str) -> Option<u64> {
    tokens.position(|it| it == token).map(|at| at as u64)
}

fn lacks(token: &Special) -> String {
    format!("it does not have the token {:?}", token.content)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::tokenizer::sentencepiece::tests::file;

    fn declared(config: Value) -> Declared {
        Declared { config, special: Value::Null }
    }

    fn ids(file: &Value, text: &str) -> Vec<u32> {
        let tokenizer = Tokenizer::from_bytes(file.to_string()).unwrap();
        tokenizer.encode(text, true).unwrap().get_ids().to_vec()
    }

    const PIECES: [(&str, f32); 8] = [
        ("<pad>", 0.0),
        ("</s>", 0.0),
        ("<unk>", 0.0),
        ("▁a", -2.0),
        ("▁red", -3.0),
        ("▁", -3.5),
        ("s", -4.0),
        ("A", -5.0),
    ];

    #[test]
    fn siglips_texts_are_lower_case_without_punctuation() {
        let pieces = Pieces::read(&file(&PIECES, &[(40, 2), (42, 1)])).unwrap();
        let made = siglip(&pieces, &declared(json!({}))).unwrap();
        for (text, expected) in [
            ("a red", &[3, 4, 1][..]),
            ("A  RED!", &[3, 4, 1]),
            ("reds.", &[4, 6, 1]),
            ("a </s>", &[3, 1, 1]),
            ("a 猫", &[3, 5, 2, 1]),
            ("", &[1]),
        ] {
            assert_eq!(ids(&made, text), expected, "{text}");
        }
        let cased = siglip(&pieces, &declared(json!({"do_lower_case": false}))).unwrap();
        assert_eq!(ids(&cased, "A!"), [5, 7, 1]);
        let error = siglip(&pieces, &declared(json!({"eos_token": "<end>"}))).unwrap_err();
        assert_eq!(error, "it does not have the token \"<end>\"");
    }

    #[test]
    fn siglips_texts_are_those_of_its_class() {
        let text = |config| SiglipText::of(&declared(config));
        assert_eq!(text(json!({})).apply("A▁ΟΔΟΣ"), "\u{fff0}a οδος");
        assert_eq!(text(json!({"do_lower_case": false})).apply("A"), "\u{fff0}A");
        let pieces = Pieces::read(&file(&PIECES, &[(40, 2), (42, 1)])).unwrap();
        let made = siglip(&pieces, &declared(json!({}))).unwrap();
        let mut tokenizer = Tokenizer::from_bytes(made.to_string()).unwrap();
        SiglipText::set_up(&mut tokenizer);
        for (given, expected) in [
            ("a RED", &[3, 4, 1][..]),
            ("!a", &[3, 1]),
            ("a </s> s", &[3, 1, 6, 1]),
            ("</s>s", &[1, 6, 1]),
            (" ", &[1]),
            ("!", &[1]),
            ("a  ▁", &[3, 1]),
            ("", &[1]),
        ] {
            let encoding = tokenizer.encode(text(json!({})).apply(given), true).unwrap();
            assert_eq!(encoding.get_ids(), expected, "{given:?}");
        }
    }

    #[test]
    fn unknown_characters_are_divided_into_bytes() {
        let all: Vec<String> = (0..=255_u8).map(|byte| format!("<0x{byte:02X}>")).collect();
        let bytes = all.iter().map(|name| (&**name, 0.0));
        let pieces: Vec<(&str, f32)> = PIECES.into_iter().chain(bytes).collect();
        for (has_bytes, expected) in [(0, &[5, 2, 1][..]), (1, &[5, 8 + 0xc3, 8 + 0xa9, 1])] {
            let pieces = Pieces::read(&file(&pieces, &[(35, has_bytes), (40, 2), (42, 1)])).unwrap();
            let made = siglip(&pieces, &declared(json!({}))).unwrap();
            assert_eq!(ids(&made, "é"), expected, "{has_bytes}");
        }
    }

    #[test]
    fn xlm_robertas_ids_are_shifted() {
        // As the published file begins: the unknown piece, then the ends of a text.
        let pieces = [
            ("<unk>", 0.0),
            ("<s>", 0.0),
            ("</s>", 0.0),
            (",", -3.0),
            ("▁a", -2.0),
            ("▁", -3.5),
            ("s", -4.0),
        ];
        let pieces = Pieces::read(&file(&pieces, &[])).unwrap();
        let made = xlm_roberta(&pieces, &declared(json!({}))).unwrap();
        for (text, expected) in [
            ("a as", &[0, 5, 5, 7, 2][..]),
            ("a,", &[0, 5, 4, 2]),
            ("a\n\n猫", &[0, 5, 6, 3, 2]),
            ("<mask> a", &[0, 8, 5, 2]),
            ("<pad>", &[0, 1, 2]),
            ("", &[0, 2]),
        ] {
            assert_eq!(ids(&made, text), expected, "{text}");
        }
        let few = Pieces::read(&file(&[("<unk>", 0.0)], &[])).unwrap();
        assert_eq!(xlm_roberta(&few, &declared(json!({}))).unwrap_err(), "it has fewer than three pieces");
    }
}
