//! Writes a YAML file again so that it can be given to strangers: without its secrets and without its comments. Pure.
//!
//! Nothing of the text is copied. Only keys and values of the parsed tree are written, each after a check. In doubt a value is hidden.
//! (`config::masked` shows the text itself, with its lines and comments, to people who may view the service.)

use std::fmt::Write as _;

use super::{
    address,
    mask::{self, HIDDEN},
    tree::{self, Entry, Node, Value},
};

/// Hidden values that are shorter than this are not searched for in other texts: they are parts of many words.
const SHORTEST: usize = 4;
/// The most hidden values that are searched for in other texts, so that no search takes long.
const MOST_HIDDEN: usize = 500;
/// The section whose `run` is a program with arguments.
const COMMAND: &str = "command";
/// The schemes of the addresses that are shown without their secrets. Other addresses are hidden.
const SCHEMES: [&str; 13] =
    ["http", "https", "mqtt", "mqtts", "rtmp", "rtmps", "rtp", "rtsp", "rtsps", "srt", "tcp", "ws", "wss"];

/// A file without its secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publishable {
    /// The text, which is YAML again.
    pub text: String,
    /// The values that are hidden in it, to hide them elsewhere, too.
    pub hidden: Vec<String>,
}

/// The file with this text, without its secrets; `None` if it is no YAML.
#[must_use]
pub fn publishable(text: &str) -> Option<Publishable> {
    let (root, mistakes) = tree::parse(0, text);
    let Some(root) = root else {
        // An empty file has no mistakes.
        return mistakes.is_empty().then(|| Publishable { text: String::new(), hidden: Vec::new() });
    };
    // A value may be a secret in one place and typed in another one, too.
    let known = write(&root, &[]).hidden;
    let text = write(&root, &known).text.trim_start().to_owned();
    Some(Publishable { text, hidden: known })
}

fn write<'k>(root: &Node, known: &'k [String]) -> Writer<'k> {
    let mut writer = Writer { text: String::new(), hidden: Vec::new(), known };
    writer.node(root, &mut Vec::new());
    writer
}

struct Writer<'k> {
    text: String,
    hidden: Vec<String>,
    /// Values that are hidden wherever they are.
    known: &'k [String],
}

impl Writer<'_> {
    /// Writes a value below `keys`, the keys above it. A text follows its key in the same line.
    fn node<'n>(&mut self, node: &'n Node, keys: &mut Vec<&'n str>) {
        match &node.value {
            Value::Nothing => self.text.push_str(" null\n"),
            Value::Text(text) => {
                let shown = self.shown(text, keys);
                self.line(&format!(" {}", self.scalar(&shown)));
            }
            Value::List(items) if items.is_empty() => self.line(" []"),
            Value::Mapping(entries) if entries.is_empty() => self.line(" {}"),
            Value::List(items) => self.list(items, keys),
            Value::Mapping(entries) => self.mapping(entries, keys),
        }
    }

    fn list<'n>(&mut self, items: &'n [Node], keys: &mut Vec<&'n str>) {
        self.text.push('\n');
        let indent = "  ".repeat(keys.len());
        let texts = items.iter().map(|item| match &item.value {
            Value::Text(text) => Some(text.clone()),
            _ => None,
        });
        if keys.first() == Some(&COMMAND)
            && let Some(typed) = texts.collect::<Option<Vec<_>>>()
        {
            let shown = mask::arguments(&typed);
            for (typed, shown) in typed.into_iter().zip(shown) {
                self.line(&format!("{indent}- {}", self.scalar(&shown)));
                if shown != typed {
                    self.hide(typed);
                }
            }
            return;
        }
        for item in items {
            let _ = write!(self.text, "{indent}-");
            keys.push("");
            self.node(item, keys);
            keys.pop();
        }
    }

    fn mapping<'n>(&mut self, entries: &'n [Entry], keys: &mut Vec<&'n str>) {
        self.text.push('\n');
        let indent = "  ".repeat(keys.len());
        for Entry { key, value, .. } in entries {
            let key_shown = self.scalar(&shown_key(key));
            let _ = write!(self.text, "{indent}{key_shown}:");
            keys.push(key);
            self.node(value, keys);
            keys.pop();
        }
    }

    fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    /// A text as it may be shown, below these keys.
    fn shown(&mut self, text: &str, keys: &[&str]) -> String {
        let reference = text.starts_with("${") && text.find('}') == Some(text.len() - 1);
        if text.is_empty() || reference {
            return text.to_owned();
        }
        if keys.iter().any(|key| mask::is_secret(key)) {
            self.hide(text.to_owned());
            return HIDDEN.to_owned();
        }
        if text.contains("://") {
            return self.address(text, keys);
        }
        let has_login = text.contains('@') && text.contains(':');
        let is_part = |letter: char| letter.is_ascii_alphanumeric() || letter == '-';
        let has_key = text.split(|letter| !is_part(letter)).any(mask::is_key);
        if has_login || has_key || mask::shown_entry(text).contains(HIDDEN) {
            self.hide(text.to_owned());
            return HIDDEN.to_owned();
        }
        text.to_owned()
    }

    /// An address without login, query and secret path. Everything else with `://` is hidden.
    fn address(&mut self, text: &str, keys: &[&str]) -> String {
        let Ok(address) = address::parse(text, &SCHEMES) else {
            self.hide(text.to_owned());
            return HIDDEN.to_owned();
        };
        if let Some((_, password)) = address.login() {
            self.hide(password.to_owned());
        }
        if let Some((_, query)) = text.split_once('?') {
            self.hide(query.to_owned());
            let values = query.split('&').filter_map(|part| part.split_once('='));
            values.for_each(|(_, value)| self.hide(value.to_owned()));
        }
        let is_secret_path =
            keys.iter().any(|key| key.contains("webhook")) || address.scheme().starts_with("ws");
        let address = if is_secret_path { address.with_secret_path() } else { address };
        let shown = address.to_string();
        if shown.ends_with("/***")
            && let Some((_, path)) = text.split_once("://").and_then(|(_, rest)| rest.split_once('/'))
        {
            self.hide(path.to_owned());
            path.split(['/', '?'])
                .filter(|part| mask::is_key(part))
                .for_each(|key| self.hide(key.to_owned()));
        }
        shown
    }

    fn hide(&mut self, value: String) {
        let is_known = || self.hidden.contains(&value);
        if value.chars().count() >= SHORTEST && self.hidden.len() < MOST_HIDDEN && !is_known() {
            self.hidden.push(value);
        }
    }

    /// A text as YAML: as it is if that cannot be taken for anything else, otherwise in quotes.
    fn scalar(&self, text: &str) -> String {
        if self.known.iter().any(|known| text.contains(known)) {
            return quoted(HIDDEN);
        }
        let is_word = |letter: char| letter.is_alphanumeric() || "_./".contains(letter);
        let is_plain = text.chars().all(|letter| is_word(letter) || " +%".contains(letter))
            && text.starts_with(is_word)
            && text.ends_with(is_word)
            && !text.eq_ignore_ascii_case("null");
        if is_plain { text.to_owned() } else { quoted(text) }
    }
}

/// A JSON text is a YAML text, too.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string().chars().map(mask::printable).collect()
}

/// A key may contain a password whose colon is missing.
fn shown_key(key: &str) -> String {
    let shown = mask::shown_entry(key);
    if shown.contains(HIDDEN) { shown } else { key.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(typed: &str) -> String {
        publishable(typed).unwrap().text
    }

    #[test]
    fn keys_and_values_stay_and_comments_do_not() {
        let typed = "# mine\nmqtt:\n  url: mqtt://broker  # home\n  prefix: home\nlabel_sets:\n  yard: { background: [an empty yard], \
                     labels: { red car: 0.7 } }\nlisten:\n";
        let expected = "mqtt:\n  url: \"mqtt://broker\"\n  prefix: home\nlabel_sets:\n  yard:\n    background:\n      - an empty yard\n    \
                        labels:\n      red car: 0.7\nlisten: null\n";
        assert_eq!(text(typed), expected);
        assert_eq!(text(expected), expected, "it is YAML with the same content");
        assert_eq!(text(""), "");
        assert_eq!(publishable("a: [b"), None);
        assert_eq!(text("a: {}\nb: []\nc: ~\nd: \"\"\n"), "a: {}\nb: []\nc: null\nd: \"\"\n");
        assert_eq!(text("a: \"1: 2 # 3\"\nb: \"- x\"\n"), "a: \"1: 2 # 3\"\nb: \"- x\"\n");
    }

    #[test]
    fn secrets_are_hidden_wherever_they_are() {
        const PLANTED: &str = "hunter2";
        for typed in [
            "mqtt: { password: hunter2 }",
            "mqtt:\n  password: |\n    hunter2\n",
            "mqtt: { pasword: hunter2 }",
            "x: &pw hunter2-long\nmqtt: { password: *pw }",
            "mqtt: { password: [hunter2, { a: hunter2 }] }",
            "mqtt: { password hunter2 }",
            "mqtt: password hunter2",
            "mqtt: { url: \"mqtt://me:hunter2@h\" }",
            "mqtt: { url: \"ws://h/hunter2\" }",
            "a: { rtsp: \"rtsp://me:hunter2%21@h/stream?key=hunter2\" }",
            "a: { rtsp: \"rtsp://h/hunter2Kd83bQa71xZ\" }",
            "a: { http: \"http://h/s?hunter2\" }",
            "a: { http: \"http://h/token/hunter2/c.jpg\" }",
            "a: { http: \"not a url http://hunter2\" }",
            "a: \"me:hunter2@10.0.0.7\"",
            "webhook: { url: \"https://h/services/hunter2/B0\", secret: hunter2, token: hunter2 }",
            "command: { run: [/bin/x, --token, hunter2, \"https://me:hunter2@h\", --password=hunter2] }",
            "home_assistant: { configuration_url: \"http://h/secret/hunter2?token=hunter2\" }",
            "listen: { view_token: hunter2, address: \"127.0.0.1:9464\" }",
            "# hunter2\na: b  # hunter2\n# password: hunter2",
        ] {
            let shown = text(typed);
            assert!(!shown.contains(PLANTED), "{typed}:\n{shown}");
            assert_eq!(text(&shown), shown, "{typed}: it is YAML, and hides nothing more");
        }
        let references = "mqtt: { password: \"${env:MQTT}\" }";
        assert_eq!(text(references), "mqtt:\n  password: \"${env:MQTT}\"\n");
    }

    #[test]
    fn hidden_values_can_be_hidden_elsewhere() {
        let hidden = |typed| publishable(typed).unwrap().hidden;
        assert_eq!(hidden("x: &pw hunter2-long\nmqtt: { password: *pw }"), ["hunter2-long"]);
        assert_eq!(
            hidden("a: \"rtsp://me:hun%40ter2@h/s?key=abcdef\""),
            ["hun@ter2", "key=abcdef", "abcdef"]
        );
        assert_eq!(hidden("a: \"rtsp://h/hunter2Kd83bQa71xZ\""), ["hunter2Kd83bQa71xZ"]);
        assert_eq!(hidden("command: { run: [x, --token, hunter2] }"), ["hunter2"]);
        assert_eq!(hidden("mqtt: { password: abc }"), [""; 0], "it would hide parts of words");
    }

    #[test]
    fn hostile_text_is_harmless() {
        let typed = "\"a\\nb\": \"c\\u001b[31m\\nd: e\"\n";
        let shown = text(typed);
        assert!(!shown.contains('\u{1b}') && shown.lines().count() == 1, "{shown:?}");
        let deep = "[".repeat(31) + &"]".repeat(31);
        assert!(publishable(&format!("a: {deep}")).is_none_or(|it| it.text.len() < 10_000));
    }
}
