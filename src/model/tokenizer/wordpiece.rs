//! BERT's tokenizer from its vocabulary, `vocab.txt`. Pure. The result is the content of a `tokenizer.json`.

use serde_json::{Map, Value, json};

use super::declared::{self, Declared};

/// The tokenizer that the class `BertTokenizer` makes of a vocabulary with one token in a line.
///
/// # Errors
/// The vocabulary lacks a token that every text needs.
pub(super) fn of_file(vocabulary: &str, declared: &Declared) -> Result<Value, String> {
    let tokens = vocabulary.lines().map(|line| line.trim_end().to_owned());
    let vocabulary: Map<String, Value> = tokens.zip(0_u64..).map(|(token, id)| (token, id.into())).collect();
    let id = |token: &str| vocabulary.get(token).and_then(Value::as_u64);
    let special = |name, default| declared.special(name, default, false);
    let (begin, end) = (special("cls_token", "[CLS]"), special("sep_token", "[SEP]"));
    let (unknown, padding) = (special("unk_token", "[UNK]"), special("pad_token", "[PAD]"));
    let mask = special("mask_token", "[MASK]");
    let lacks = |token: &str| format!("vocab.txt does not have the token {token:?}");
    if id(&unknown.content).is_none() {
        return Err(lacks(&unknown.content));
    }
    let used = |token: &declared::Special| -> Result<Value, String> {
        let id = id(&token.content).ok_or_else(|| lacks(&token.content))?;
        Ok(json!({"id": token.content, "ids": [id], "tokens": [token.content]}))
    };
    let mut ends = Map::new();
    for token in [&begin, &end] {
        ends.insert(token.content.clone(), used(token)?);
    }
    let added = declared::added(&[&padding, &unknown, &begin, &end, &mask], id);
    let piece = |token: &str, sentence: u8| json!({"SpecialToken": {"id": token, "type_id": sentence}});
    let text = |name: &str, sentence: u8| json!({"Sequence": {"id": name, "type_id": sentence}});
    let (first, last, last_of_two) =
        (piece(&begin.content, 0), piece(&end.content, 0), piece(&end.content, 1));
    Ok(json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added,
        "normalizer": {
            "type": "BertNormalizer", "clean_text": true,
            "handle_chinese_chars": declared.flag("tokenize_chinese_chars", true),
            "strip_accents": declared.config["strip_accents"].as_bool(),
            "lowercase": declared.flag("do_lower_case", true)
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [first, text("A", 0), last],
            "pair": [first, text("A", 0), last, text("B", 1), last_of_two],
            "special_tokens": ends
        },
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
        "model": {
            "type": "WordPiece", "unk_token": unknown.content, "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100, "vocab": vocabulary
        }
    }))
}

#[cfg(test)]
mod tests {
    use tokenizers::Tokenizer;

    use super::*;

    fn declared(config: Value) -> Declared {
        Declared { config, special: Value::Null }
    }

    const VOCABULARY: &str = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n红\n车\ncat\n##s\nCat\ncafe\ncafé\n,\n";

    fn tokens(text: &str, config: Value) -> Vec<u32> {
        let file = of_file(VOCABULARY, &declared(config)).unwrap();
        let tokenizer = Tokenizer::from_bytes(file.to_string()).unwrap();
        tokenizer.encode(text, true).unwrap().get_ids().to_vec()
    }

    #[test]
    fn texts_are_tokenized_as_the_settings_say() {
        for (text, config, expected) in [
            ("红车", json!({}), &[2, 5, 6, 3][..]),
            ("Cats, CAFÉ", json!({}), &[2, 7, 8, 12, 10, 3]),
            ("Cat", json!({"do_lower_case": false}), &[2, 9, 3]),
            ("Café", json!({"strip_accents": false}), &[2, 11, 3]),
            ("红车", json!({"tokenize_chinese_chars": false}), &[2, 1, 3]),
            ("[MASK] dog", json!({}), &[2, 4, 1, 3]),
            ("", json!({}), &[2, 3]),
        ] {
            assert_eq!(tokens(text, config.clone()), expected, "{text} {config}");
        }
    }

    #[test]
    fn the_fixtures_vocabulary_gives_the_fixtures_file() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/chinese-clip");
        let read = |name: &str| -> Value {
            serde_json::from_slice(&std::fs::read(folder.join(name)).unwrap()).unwrap()
        };
        let expected = read("tokenizer.json");
        let tokens = expected["model"]["vocab"].as_object().unwrap();
        let mut lines: Vec<(&String, u64)> =
            tokens.iter().map(|(token, id)| (token, id.as_u64().unwrap())).collect();
        lines.sort_by_key(|(_, id)| *id);
        let text: String = lines.iter().map(|(token, _)| format!("{token}\n")).collect();
        let found = of_file(&text, &declared(read("tokenizer_config.json"))).unwrap();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_vocabulary_without_a_needed_token_is_an_error() {
        let error = |vocabulary: &str| of_file(vocabulary, &declared(Value::Null)).unwrap_err();
        assert_eq!(error("[UNK]\n[CLS]\n"), "vocab.txt does not have the token \"[SEP]\"");
        assert_eq!(error(""), "vocab.txt does not have the token \"[UNK]\"");
    }
}
