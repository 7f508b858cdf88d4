//! What `tokenizer_config.json` and `special_tokens_map.json` say about special tokens. Pure.

use serde_json::{Value, json};

/// The settings of a tokenizer beside its vocabulary.
pub(super) struct Declared {
    pub config: Value,
    pub special: Value,
}

/// A token with a meaning of its own, such as the end of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Special {
    pub content: String,
    /// Whether it takes the blanks before and after it.
    strips: (bool, bool),
}

impl Declared {
    /// The special token that the files name as `name`, such as `eos_token`; otherwise the default of the tokenizer's class.
    pub fn special(&self, name: &str, default: &str, strips: bool) -> Special {
        let found = [&self.config, &self.special].into_iter().find_map(|file| {
            let value = &file[name];
            let content = value.as_str().or_else(|| value["content"].as_str())?;
            let flag = |key: &str| value[key].as_bool().unwrap_or(strips);
            Some(Special { content: content.to_owned(), strips: (flag("lstrip"), flag("rstrip")) })
        });
        found.unwrap_or_else(|| Special { content: default.to_owned(), strips: (strips, strips) })
    }

    /// A flag of `tokenizer_config.json`; `default` where it says nothing.
    pub fn flag(&self, name: &str, default: bool) -> bool {
        self.config[name].as_bool().unwrap_or(default)
    }
}

impl Special {
    /// Its entry in the list `added_tokens` of a `tokenizer.json`.
    pub fn added(&self, id: u64) -> Value {
        json!({
            "id": id, "content": self.content, "single_word": false, "lstrip": self.strips.0, "rstrip": self.strips.1,
            "normalized": false, "special": true
        })
    }
}

/// The entries of some special tokens, each once, sorted by id. `id` finds the id of a token; tokens without one are left out.
pub(super) fn added(tokens: &[&Special], id: impl Fn(&str) -> Option<u64>) -> Vec<Value> {
    let mut known: Vec<(u64, &Special)> =
        tokens.iter().filter_map(|token| Some((id(&token.content)?, *token))).collect();
    known.sort_by_key(|(id, _)| *id);
    known.dedup_by_key(|(id, _)| *id);
    known.into_iter().map(|(id, token)| token.added(id)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_special_token_is_the_files_or_the_classs() {
        let declared = Declared {
            config: json!({"eos_token": "<end>", "do_lower_case": false}),
            special: json!({"eos_token": "<other>", "pad_token": {"content": "<pad>", "lstrip": true, "rstrip": false}}),
        };
        let of = |name| declared.special(name, "<default>", false);
        assert_eq!((of("eos_token").content, of("unk_token").content), ("<end>".into(), "<default>".into()));
        assert_eq!(of("pad_token"), Special { content: "<pad>".to_owned(), strips: (true, false) });
        assert_eq!((declared.flag("do_lower_case", true), declared.flag("other", true)), (false, true));

        let (end, pad, same) = (of("eos_token"), of("pad_token"), of("eos_token"));
        let id = |token: &str| ["<pad>", "<end>"].iter().position(|it| *it == token).map(|at| at as u64);
        let entries = added(&[&end, &pad, &same, &of("unk_token")], id);
        let contents: Vec<_> = entries.iter().map(|entry| entry["content"].as_str().unwrap()).collect();
        assert_eq!(contents, ["<pad>", "<end>"]);
        assert_eq!((&entries[0]["lstrip"], &entries[1]["lstrip"]), (&json!(true), &json!(false)));
    }
}
