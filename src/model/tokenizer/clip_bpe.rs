//! CLIP's tokenizer from its vocabulary and its merges: `vocab.json` and `merges.txt`, or OpenCLIP's, which are in this program.
//! Pure. The result is the content of a `tokenizer.json`.

use std::io::Read as _;

use flate2::read::GzDecoder;
use serde_json::{Map, Value, json};

use super::declared::{self, Declared};

/// The merges of OpenAI's CLIP, 48,894 of the lines of `bpe_simple_vocab_16e6.txt`. The vocabulary follows from them.
/// Copyright (c) 2021 OpenAI, under the MIT licence: see `clip-merges.LICENSE`.
const MERGES: &[u8] = include_bytes!("clip-merges.txt.gz");

/// The pieces of a text that are encoded separately.
const PIECES: &str = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+";
const END_OF_WORD: &str = "</w>";

/// The tokenizer that the class `CLIPTokenizer` makes of two files.
///
/// # Errors
/// What is wrong with the files.
pub(super) fn of_files(vocabulary: &[u8], merges: &str, declared: &Declared) -> Result<Value, String> {
    let vocabulary: Map<String, Value> =
        serde_json::from_slice(vocabulary).map_err(|error| format!("vocab.json: {error}"))?;
    let merges = merges.lines().filter(|line| !line.starts_with("#version") && !line.is_empty());
    let merges: Vec<&str> = merges.collect();
    if let Some(line) = merges.iter().find(|line| line.split(' ').count() != 2) {
        return Err(format!("merges.txt: {line:?} is no pair of tokens"));
    }
    let special = |name, default| declared.special(name, default, false);
    let (begin, end) = (special("bos_token", "<|startoftext|>"), special("eos_token", "<|endoftext|>"));
    let (unknown, padding) = (special("unk_token", "<|endoftext|>"), special("pad_token", "<|endoftext|>"));
    let id = |token: &str| vocabulary.get(token).and_then(Value::as_u64);
    let needed =
        |token: &str| id(token).ok_or_else(|| format!("vocab.json does not have the token {token:?}"));
    let ends = ((&*begin.content, needed(&begin.content)?), (&*end.content, needed(&end.content)?));
    let added = declared::added(&[&begin, &end, &unknown, &padding], id);
    let pieces = format!(r"<\|startoftext\|>|<\|endoftext\|>|{PIECES}");
    let normalizer = json!({"type": "Sequence", "normalizers": [
        {"type": "NFC"},
        {"type": "Replace", "pattern": {"Regex": r"\s+"}, "content": " "},
        {"type": "Lowercase"},
    ]});
    let mut file = whole(&pieces, ends, added, &unknown.content);
    file["normalizer"] = normalizer;
    file["model"]["merges"] = merges.into();
    file["model"]["vocab"] = vocabulary.into();
    Ok(file)
}

/// OpenCLIP's own tokenizer. It expects cleaned texts.
pub(super) fn of_open_clip() -> Value {
    const ENDS: [&str; 2] = ["<start_of_text>", "<end_of_text>"];
    let mut text = String::new();
    GzDecoder::new(MERGES).read_to_string(&mut text).expect("the file is whole: a test reads it");
    let merges: Vec<&str> = text.lines().collect();
    let letters = letters();
    let whole_words = letters.iter().map(|letter| format!("{letter}{END_OF_WORD}"));
    let merged = merges.iter().map(|pair| pair.replace(' ', ""));
    let tokens = letters.iter().map(char::to_string).chain(whole_words).chain(merged);
    let tokens = tokens.chain(ENDS.map(str::to_owned));
    let vocabulary: Map<String, Value> = tokens.zip(0_u64..).map(|(token, id)| (token, id.into())).collect();
    let declared = Declared { config: Value::Null, special: Value::Null };
    let [begin, end] = ENDS.map(|name| declared.special("", name, false));
    let id = |token: &str| vocabulary.get(token).and_then(Value::as_u64);
    let ends = ENDS.map(|name| (name, id(name).unwrap_or_default()));
    // OpenCLIP ignores case here, which matters for models whose texts keep theirs.
    let pieces = format!("(?i){}|{PIECES}", ENDS.join("|"));
    let mut file = whole(&pieces, (ends[0], ends[1]), declared::added(&[&begin, &end], id), ENDS[1]);
    file["pre_tokenizer"]["pretokenizers"][1]["use_regex"] = false.into();
    file["model"]["merges"] = merges.into();
    file["model"]["vocab"] = vocabulary.into();
    file
}

/// A `tokenizer.json` without normalizer and vocabulary. `ends` are the tokens around a text.
fn whole(pieces: &str, ends: ((&str, u64), (&str, u64)), added: Vec<Value>, unknown: &str) -> Value {
    let (begin, end) = ends;
    json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added,
        "normalizer": null,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": pieces}, "behavior": "Removed", "invert": true},
            {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
        ]},
        "post_processor": {
            "type": "RobertaProcessing", "sep": [end.0, end.1], "cls": [begin.0, begin.1],
            "trim_offsets": false, "add_prefix_space": false
        },
        "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
        "model": {
            "type": "BPE", "dropout": null, "unk_token": unknown, "continuing_subword_prefix": "",
            "end_of_word_suffix": END_OF_WORD, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false
        }
    })
}

/// The characters that represent the 256 bytes, in the order of their ids: a printable Latin-1 character represents its own code,
/// and the other bytes get characters after Latin-1.
fn letters() -> Vec<char> {
    let printable = (b'!'..=b'~').chain(0xa1..=0xac).chain(0xae..=0xff);
    let others = (0_u32..68).filter_map(|number| char::from_u32(256 + number));
    printable.map(char::from).chain(others).collect()
}

#[cfg(test)]
mod tests {
    use tokenizers::Tokenizer;

    use super::*;

    fn ids(file: &Value, text: &str) -> Vec<u32> {
        let tokenizer = Tokenizer::from_bytes(file.to_string()).unwrap();
        tokenizer.encode(text, true).unwrap().get_ids().to_vec()
    }

    #[test]
    fn open_clips_vocabulary_is_that_of_openais_clip() {
        let file = of_open_clip();
        let vocabulary = file["model"]["vocab"].as_object().unwrap();
        assert_eq!((vocabulary.len(), file["model"]["merges"].as_array().unwrap().len()), (49_408, 48_894));
        for (token, id) in
            [("!", 0), ("ÿ", 187), ("Ā", 188), ("!</w>", 256), ("in", 512), ("jekyll</w>", 49_405)]
        {
            assert_eq!(vocabulary[token], id, "{token}");
        }
        // OpenAI's published example.
        assert_eq!(ids(&file, "a photo of a cat"), [49_406, 320, 1125, 539, 320, 2368, 49_407]);
        assert_eq!(ids(&file, ""), [49_406, 49_407]);
        assert_eq!(ids(&file, "a<end_of_text>")[1..3], [320, 49_407]);
    }

    #[test]
    fn two_files_give_the_tokens_of_one() {
        let declared = Declared { config: Value::Null, special: Value::Null };
        let mut vocabulary = of_open_clip()["model"]["vocab"].as_object().unwrap().clone();
        for (token, id) in [("<|startoftext|>", 49_406), ("<|endoftext|>", 49_407)] {
            vocabulary.insert(token.to_owned(), id.into());
        }
        vocabulary.retain(|token, _| !token.contains("_of_text"));
        let own = of_open_clip()["model"]["merges"].as_array().unwrap().clone();
        let lines: Vec<&str> = own.iter().filter_map(Value::as_str).collect();
        let merges = format!("#version: 0.2\n{}\n", lines.join("\n"));
        let vocabulary = Value::from(vocabulary).to_string();
        let file = of_files(vocabulary.as_bytes(), &merges, &declared).unwrap();
        for text in ["a photo of a cat", "don't 3 Cafés!!", "日本語 🐈", "<|endoftext|> x"] {
            let plain = text.to_lowercase().replace("<|endoftext|>", "<end_of_text>");
            assert_eq!(ids(&file, text), ids(&of_open_clip(), &plain), "{text}");
        }
        let wrong =
            |vocabulary: &str, merges: &str| of_files(vocabulary.as_bytes(), merges, &declared).unwrap_err();
        assert!(wrong("[]", "").starts_with("vocab.json: "));
        assert_eq!(wrong("{}", "a b c"), "merges.txt: \"a b c\" is no pair of tokens");
        assert_eq!(wrong("{}", ""), "vocab.json does not have the token \"<|startoftext|>\"");
    }
}
