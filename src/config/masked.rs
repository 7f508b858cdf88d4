//! A file of the configuration for people who may view it and not change it: the passwords in it are replaced. Pure.
//!
//! Lines are masked as in the messages of problems, which works for files that are no YAML, too. What the YAML says is masked as
//! well: values in several lines, values that an alias repeats elsewhere, arguments of the program that receives alerts, and each of
//! them wherever else it is typed. In doubt too much is hidden. The number of lines stays the same.

use std::ops::Range;

use crate::yaml::{
    mask, publishable,
    tree::{self, Node, Value},
};

/// `text` without its passwords.
#[must_use]
pub fn masked(text: &str) -> String {
    let mut hidden = in_lines(text);
    if let Some(root) = tree::parse_all(0, text).root {
        in_tree(text, &root, &mut Vec::new(), &mut hidden);
    }
    // A level of a label that sounds like a password is in every other label, too.
    let is_level = |secret: &String| secret.parse::<f32>().is_ok_and(|level| level <= 1.0);
    let secrets = publishable(text).map_or(Vec::new(), |found| found.hidden);
    for secret in secrets.into_iter().filter(|secret| !is_level(secret)) {
        for (at, secret) in text.match_indices(&secret) {
            hide(text, at..at + secret.len(), &mut hidden);
        }
    }
    hidden.sort_by_key(|range| (range.start, range.end));
    let (mut shown, mut at) = (String::with_capacity(text.len()), 0);
    for Range { start, end } in hidden {
        if end <= at || start == end {
            continue;
        }
        // A range that continues the one before it is hidden by the same mask.
        if start > at || at == 0 {
            shown.push_str(&text[at..start]);
            shown.push_str(mask::HIDDEN);
        }
        at = end;
    }
    shown.push_str(&text[at..]);
    shown
}

/// The hidden part of each line.
fn in_lines(text: &str) -> Vec<Range<usize>> {
    let lines = text.split_inclusive('\n').scan(0, |next, line| {
        let start = *next;
        *next += line.len();
        Some(start..start + line.trim_end_matches(['\n', '\r']).len())
    });
    lines
        .filter_map(|line| {
            let hidden = mask::hidden(text, line.clone())?;
            Some(line.start + hidden.start..line.start + hidden.end)
        })
        .collect()
}

/// The values that the YAML makes secret.
fn in_tree<'n>(text: &str, node: &'n Node, path: &mut Vec<&'n str>, hidden: &mut Vec<Range<usize>>) {
    match &node.value {
        Value::Nothing => {}
        Value::Text(value) if path.last().is_some_and(|key| is_secret(key)) => {
            if !is_reference(value) {
                hide(text, node.span.start..node.span.end, hidden);
            }
        }
        Value::Text(value) if value.contains("://") => {
            let is_webhook = path.ends_with(&["webhook", "url"]);
            if let Some(secret) = address(typed(text, node), is_webhook).filter(|_| !is_reference(value)) {
                hide(text, node.span.start + secret.start..node.span.start + secret.end, hidden);
            }
        }
        Value::Text(_) => {}
        Value::List(items) if path.ends_with(&["command", "run"]) => {
            let text_of = |item: &Node| match &item.value {
                Value::Text(text) => text.clone(),
                _ => String::new(),
            };
            let arguments: Vec<_> = items.iter().map(text_of).collect();
            for (item, (typed, shown)) in items.iter().zip(arguments.iter().zip(mask::arguments(&arguments)))
            {
                if *typed != shown {
                    hide(text, item.span.start..item.span.end, hidden);
                }
            }
        }
        Value::List(items) => items.iter().for_each(|item| in_tree(text, item, path, hidden)),
        Value::Mapping(entries) => {
            for entry in entries {
                path.push(&entry.key);
                in_tree(text, &entry.value, path, hidden);
                path.pop();
            }
        }
    }
}

/// The secret part of an address: its path, from where it begins. Login and query are hidden in every line.
fn address(typed: &str, is_webhook: bool) -> Option<Range<usize>> {
    let host = typed.find("://")? + 3;
    let path = host + typed[host..].find('/')? + 1;
    let end = typed.trim_end_matches(['"', '\'']).len();
    let before_query = typed.get(path..end)?.split(['?', '#']).next()?;
    let is_hidden = path < end && (is_webhook || mask::is_secret_path(before_query));
    is_hidden.then_some(path..end)
}

/// Hides a part of the text in each of its lines.
fn hide(text: &str, range: Range<usize>, hidden: &mut Vec<Range<usize>>) {
    let mut start = range.start;
    for line in text.get(range).unwrap_or_default().split_inclusive('\n') {
        let words = line.trim();
        if !words.is_empty() {
            let indent = line.len() - line.trim_start().len();
            hidden.push(start + indent..start + indent + words.len());
        }
        start += line.len();
    }
}

fn typed<'t>(text: &'t str, node: &Node) -> &'t str {
    text.get(node.span.start..node.span.end).unwrap_or_default()
}

/// Whether a key names a secret: its last word does. `secret garden` is a label.
fn is_secret(key: &str) -> bool {
    key.split(' ').next_back().is_some_and(mask::is_secret)
}

fn is_reference(value: &str) -> bool {
    value.starts_with("${") && value.find('}') == Some(value.len() - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_hidden_wherever_the_yaml_has_them() {
        let cases = [
            ("mqtt: { url: mqtt://h, password: hunter2 }", "mqtt: { url: mqtt://h, password: ***"),
            ("password: ${env:A}\n", "password: ${env:A}\n"),
            ("a: { password:\nhunter2 }", "a: { password:\n*** }"),
            (
                "a:\n  password: |\n    hunter2\n    more\n  b: 1\n",
                "a:\n  password: ***\n    ***\n    ***\n  b: 1\n",
            ),
            ("x-a: &a hunter2\nmqtt: { password: *a }\n", "x-a: &a ***\nmqtt: { password: ***\n"),
            (
                "x-a: &a https://h/services/hunter2\nwebhook: { url: *a }\n",
                "x-a: &a https://h/***\nwebhook: { url: *a }\n",
            ),
            (
                "# not hunter2 any more\nmqtt: { password: hunter2 }\n",
                "# not *** any more\nmqtt: { password: ***\n",
            ),
            (
                "command: { run: [send, --token, hunter2, --loud] }\n",
                "command: { run: [send, --token, ***, --loud] }\n",
            ),
            ("a: rtsp://me:hunter2@h/s # door\r\nb: 1\r\n", "a: rtsp://***@h/s # door\r\nb: 1\r\n"),
            ("a: [\"http://h/token/hunter2/c.jpg\"]", "a: [\"http://h/***\"]"),
            ("labels: { secret garden: 0.7 }", "labels: { secret garden: 0.7 }"),
            ("mqtt: [\n  password: hunter2\n", "mqtt: [\n  password: ***\n"),
            ("", ""),
            ("# nothing\n", "# nothing\n"),
        ];
        for (text, expected) in cases {
            assert_eq!(masked(text), expected, "{text}");
            assert_eq!(masked(text).lines().count(), text.lines().count(), "{text}");
            assert!(!masked(text).contains("hunter2"), "{text}");
        }
    }

    #[test]
    fn the_secret_of_every_key_that_has_one_is_hidden() {
        let reference = include_str!("../../config/reference.yaml");
        let secrets = ["password", "token", "secret"];
        let typed =
            reference.lines().filter(|line| secrets.iter().any(|key| line.contains(&format!("{key}: "))));
        let typed = typed.map(|line| line.trim_start_matches(['#', ' '])).collect::<Vec<_>>();
        assert!(typed.len() >= 4, "{typed:?}");
        for line in typed {
            let (key, _) = line.split_once(':').unwrap();
            let text = format!("a:\n  {key}: hunter2\n");
            assert_eq!(masked(&text), format!("a:\n  {key}: ***\n"), "{line}");
        }
    }
}
