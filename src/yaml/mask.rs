//! Hides passwords in what is shown of a configuration, and replaces characters that a terminal would act on.
//!
//! It works on the text alone, because lines of a file with broken YAML are shown too. In doubt it hides too much.

use std::{fmt, ops::Range};

use crate::terminal;

/// What is shown instead of a password.
pub const HIDDEN: &str = "***";

/// The longest line that is searched for passwords, in bytes. A longer one is hidden as a whole, so no search takes long.
const LONGEST_LINE: usize = 4096;
/// The least length of a key in a path. A shorter part of letters and digits is a name.
const SHORTEST_KEY: usize = 16;
/// The least length of a query without a `=` that is hidden: it may be a password.
const SHORTEST_QUERY: usize = 6;

/// A text that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps `text`.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The text itself, for the one place that sends it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

/// A value or name as it is quoted in a message: one line, shortened, without the passwords of an address.
pub fn shown(text: &str) -> String {
    const LONGEST: usize = 60;
    let hidden = match (credentials(text), query(text)) {
        // The last range first: replacing it does not move the other one.
        (Some(login), Some(query)) if login.end <= query.start => vec![query, login],
        (login, query) => hull(login.into_iter().chain(query)).into_iter().collect(),
    };
    let mut text = text.to_owned();
    hidden.into_iter().for_each(|range| text.replace_range(range, HIDDEN));
    let mut letters = text.chars().map(printable);
    let mut shown: String = letters.by_ref().take(LONGEST).collect();
    if letters.next().is_some() {
        shown.push('…');
    }
    shown
}

/// A key or a value as it is quoted in a message. It may contain a password whose colon is missing: `{ password hunter2 }`.
pub fn shown_entry(typed: &str) -> String {
    match value_without_colon(&typed[..typed.floor_char_boundary(LONGEST_LINE)]) {
        Some(value) => shown(&format!("{}{HIDDEN}", &typed[..value.start])),
        None => shown(typed),
    }
}

/// The arguments of a program. Those that may be passwords are hidden. A reference such as `${env:NAME}` is shown.
pub fn arguments(typed: &[String]) -> Vec<String> {
    let names_a_secret = |option: &str| {
        let name = option.trim_start_matches('-');
        let is_authorization =
            |word: &str| word.eq_ignore_ascii_case("bearer") || word.eq_ignore_ascii_case("authorization");
        is_secret(name) || name.split(|letter: char| !letter.is_alphanumeric()).any(is_authorization)
    };
    let is_reference = |text: &str| text.starts_with("${") && text.find('}') == Some(text.len() - 1);
    let before = std::iter::once("").chain(typed.iter().map(String::as_str));
    let pairs = typed.iter().zip(before);
    pairs
        .map(|(argument, before)| {
            let follows_its_name =
                before.starts_with('-') && !before.contains(['=', ' ']) && names_a_secret(before);
            match argument.split_once(['=', ':', ' ']) {
                _ if is_reference(argument) => argument.clone(),
                _ if follows_its_name => HIDDEN.to_owned(),
                Some((name, value)) if names_a_secret(name) && !is_reference(value.trim()) => {
                    format!("{}{HIDDEN}", &argument[..=name.len()])
                }
                _ => match hidden(argument, 0..argument.len()) {
                    Some(range) => format!("{}{HIDDEN}{}", &argument[..range.start], &argument[range.end..]),
                    None => argument.clone(),
                },
            }
        })
        .collect()
}

/// Whether a text has a part of a secret that a person could recognise. In doubt it has.
#[must_use]
pub fn reveals(text: &str, secret: &Secret) -> bool {
    const PART: usize = 6;
    const LONGEST: usize = 4096;
    let secret = secret.reveal().trim();
    if secret.chars().count() <= PART {
        return !secret.is_empty() && text.contains(secret);
    }
    let ends = secret.char_indices().skip(PART).map(|(at, _)| at).chain([secret.len()]);
    let parts = secret.char_indices().zip(ends).take(LONGEST).map(|((start, _), end)| &secret[start..end]);
    parts.into_iter().any(|part| text.contains(part))
}

/// The character itself, or U+FFFD instead of one that a terminal would act on or that has no width. It is always one
/// character, so that the caret below a line is at the right place.
pub fn printable(letter: char) -> char {
    match letter {
        '\t' => ' ',
        '\u{200b}'..='\u{200d}' => '\u{fffd}',
        _ if terminal::is_active(letter) => '\u{fffd}',
        _ => letter,
    }
}

/// Whether the value of a key of this name is hidden. Misspelt keys count: their values are passwords as well.
pub fn is_secret(key: &str) -> bool {
    let key = key.to_lowercase();
    ["password", "passwd", "passphrase", "secret", "token", "pwd"].iter().any(|word| key.contains(word))
        || key == "pass"
        || key == "pw"
        || ((6..=10).contains(&key.len()) && strsim::damerau_levenshtein(&key, "password") <= 2)
}

/// Whether a part of a path looks like a key that grants access: many letters and digits without a separator, or a UUID. Some cameras
/// and recorders have such a key in their addresses.
pub fn is_key(part: &str) -> bool {
    let has = |is: fn(&char) -> bool| part.chars().any(|letter| is(&letter));
    let is_mixed = has(char::is_ascii_digit) && has(char::is_ascii_alphabetic);
    let is_uuid = part.len() == 36 && part.chars().all(|letter| letter.is_ascii_hexdigit() || letter == '-');
    let is_one_word = part.chars().all(|letter| letter.is_ascii_alphanumeric());
    is_uuid || part.len() >= SHORTEST_KEY && is_one_word && is_mixed
}

/// Whether the path of an address is a secret: it has a word for a password, or a part that looks like a key.
pub fn is_secret_path(path: &str) -> bool {
    path.split(|c: char| !c.is_ascii_alphabetic()).any(is_secret) || path.split('/').any(is_key)
}

/// The part of the line at `line` (a range of `text`) that is hidden, relative to the start of the line.
pub fn hidden(text: &str, line: Range<usize>) -> Option<Range<usize>> {
    let shown = &text[line.clone()];
    if shown.len() > LONGEST_LINE || below_a_secret_key(&text[..line.start], shown) {
        let start = indentation(shown);
        return Some(start..shown.len());
    }
    let path = secret_path(&text[..line.start], shown);
    hull([secret_value(shown), credentials(shown), path, query(shown)].into_iter().flatten())
}

/// The range from the start of the first range to the end of the last one.
fn hull(ranges: impl IntoIterator<Item = Range<usize>>) -> Option<Range<usize>> {
    ranges.into_iter().reduce(|a, b| a.start.min(b.start)..a.end.max(b.end))
}

/// What follows the `?` of an address: many cameras take the password there. It may contain commas, quotes and brackets. Those at its
/// end belong to the YAML around it, and are not hidden.
fn query(line: &str) -> Option<Range<usize>> {
    let address = line.find("://")?;
    let words = line[address..].split(char::is_whitespace).scan(address, |next, word| {
        let start = *next;
        // White space can have more than one byte, so the place of the next word is computed from the text.
        *next = start + word.len() + line[start + word.len()..].chars().next().map_or(0, char::len_utf8);
        Some((start, word))
    });
    let queries = words.filter_map(|(start, word)| {
        let query = word.find('?')? + 1;
        let value = word[query..].trim_end_matches(['"', '\'', ',', '}', ']']);
        let is_hidden = value.contains('=') || value.len() >= SHORTEST_QUERY;
        is_hidden.then_some(start + query..start + query + value.len())
    });
    hull(queries)
}

/// The paths of addresses that are secrets: that of a webhook, and one with a part that looks like a key. The whole path is hidden.
fn secret_path(before: &str, line: &str) -> Option<Range<usize>> {
    let is_below_webhook = parent(before, line).is_some_and(|parent| parent.contains("webhook"));
    let paths = line.match_indices("://").filter_map(|(at, mark)| {
        let host = at + mark.len();
        let word =
            line[host..].split(char::is_whitespace).next()?.trim_end_matches(['"', '\'', ',', '}', ']']);
        let path = word.find('/')? + 1;
        let is_webhook = is_below_webhook || line[..at].contains("webhook");
        let before_query = word[path..].split(['?', '#']).next().unwrap_or_default();
        let is_hidden = is_webhook && path < word.len()
            || is_secret_path(before_query)
            || word[path..].split('?').skip(1).any(is_key);
        is_hidden.then(|| host + path..host + word.len())
    });
    hull(paths)
}

/// `user:password` in `scheme://user:password@host`. A password may contain an `@`, so the last one counts.
fn credentials(line: &str) -> Option<Range<usize>> {
    let start = line.find("://")? + 3;
    let end = start + line[start..].rfind('@')?;
    Some(start..end)
}

/// The value of the first secret key of a line. A reference such as `${env:NAME}` is no secret.
fn secret_value(line: &str) -> Option<Range<usize>> {
    for (colon, _) in line.match_indices(':') {
        if !is_secret(last_word(&line[..colon])) {
            continue;
        }
        let rest = &line[colon + 1..];
        let start = colon + 1 + indentation(rest);
        let value = rest.trim();
        let reference = value.trim_matches(['"', '\'']);
        let is_reference = reference.starts_with("${") && reference.find('}') == Some(reference.len() - 1);
        let is_comment = value.starts_with('#');
        if !value.is_empty() && !is_reference && !is_comment {
            return Some(start..line.trim_end().len());
        }
    }
    value_without_colon(line)
}

/// The value in `password hunter2`, where the colon is missing: in a line of its own, in brackets, or after another key.
fn value_without_colon(line: &str) -> Option<Range<usize>> {
    let separators = ["{", "[", ",", ": ", "- "];
    let behind =
        separators.iter().flat_map(|mark| line.match_indices(mark).map(|(at, mark)| at + mark.len()));
    let mut starts: Vec<usize> = std::iter::once(0).chain(behind).collect();
    starts.sort_unstable();
    starts.into_iter().find_map(|start| {
        let words = &line[start..];
        let key = words.trim_start().split(|c: char| c.is_whitespace() || "{[,".contains(c)).next()?;
        let value = start + indentation(words) + key.len();
        if key.ends_with(':') || !line[value..].starts_with(char::is_whitespace) || !is_secret(key) {
            return None;
        }
        let rest = line[value..].split([',', '}', ']']).next().unwrap_or_default();
        let rest = rest.find(" #").map_or(rest, |comment| &rest[..comment]).trim();
        // `secret garden: 0.7` is a label.
        let is_name = rest.contains(": ") || rest.ends_with(':');
        (!rest.is_empty() && !is_name).then(|| value + indentation(&line[value..])..line.trim_end().len())
    })
}

/// Whether the nearest line above that is indented less has a secret key: `password: |`.
fn below_a_secret_key(before: &str, line: &str) -> bool {
    parent(before, line).is_some_and(|parent| {
        if parent.len() > LONGEST_LINE {
            return is_secret(parent);
        }
        parent.match_indices(':').any(|(colon, _)| {
            let rest = parent[colon + 1..].trim();
            is_secret(last_word(&parent[..colon])) && !rest.contains(['{', ','])
        })
    })
}

/// The nearest line above that is indented less.
fn parent<'t>(before: &'t str, line: &str) -> Option<&'t str> {
    let own = indentation(line);
    let mut earlier = before.lines().rev().take(200).filter(|earlier| !earlier.trim().is_empty());
    earlier.find(|earlier| indentation(earlier) < own)
}

fn last_word(text: &str) -> &str {
    let text = text.trim_end().trim_end_matches(['"', '\'']);
    let start = text
        .rfind(|c: char| !c.is_alphanumeric() && c != '_' && c != '-')
        .map_or(0, |at| at + text[at..].chars().next().map_or(1, char::len_utf8));
    &text[start..]
}

fn indentation(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The last line of `text`, as it would be shown.
    fn last_line(text: &str) -> String {
        let start = text.rfind('\n').map_or(0, |at| at + 1);
        match hidden(text, start..text.len()) {
            Some(hide) => {
                format!("{}{HIDDEN}{}", &text[start..start + hide.start], &text[start + hide.end..])
            }
            None => text[start..].to_owned(),
        }
    }

    #[test]
    fn passwords_are_hidden_and_references_are_not() {
        let cases = [
            ("mqtt:\n  password: hunter2", "  password: ***"),
            ("  password: \"hunter 2\"  # mine", "  password: ***"),
            ("  pasword: hunter2", "  pasword: ***"),
            ("  Passwort: hunter2", "  Passwort: ***"),
            ("  \"password\":\"hunter2\"", "  \"password\":***"),
            ("mqtt: { url: mqtt://h, password: hunter2 }", "mqtt: { url: mqtt://h, password: ***"),
            ("  password: ${env:MQTT}", "  password: ${env:MQTT}"),
            ("  password: ${env:A}${env:B", "  password: ***"),
            ("  password: |\n    hunter2", "    ***"),
            ("  password: |\n    hunter2\n\n    more", "    ***"),
            ("  password:\n    hunter2", "    ***"),
            ("  password: hunter2\n  url: mqtt://h", "  url: mqtt://h"),
            ("  url: mqtt://me:hunter2@host:1883", "  url: mqtt://***@host:1883"),
            ("  url: mqtt://me:hun@ter2@host", "  url: mqtt://***@host"),
            ("  url: mqtt://host", "  url: mqtt://host"),
            ("  http: 'http://h/s.jpg?user=a&pwd=hunter2'  # door", "  http: 'http://h/s.jpg?***'  # door"),
            (
                "  a: { http: http://h/s?a=b&pwd=hun,ter2, watch: [b] }",
                "  a: { http: http://h/s?***, watch: [b] }",
            ),
            ("  [http://h/s?a=b, http://h/t?pwd=hunter2]", "  [http://h/s?***]"),
            ("  [http://h/s?a, http://h/t?x?pwd=hunter2]", "  [http://h/s?a, http://h/t?***]"),
            ("  http: http://h/s?a\u{3000}?pwd=hunter2", "  http: http://h/s?a\u{3000}?***"),
            ("  http: http://h/s?hunter2", "  http: http://h/s?***"),
            ("webhook:\n  url: https://h/services/hunter2  # chat", "  url: https://h/***  # chat"),
            (
                "webhook: { url: 'https://h/services/hunter2', tmeout: 5s }",
                "webhook: { url: 'https://h/***', tmeout: 5s }",
            ),
            ("webhook: { url: https://h/ }", "webhook: { url: https://h/ }"),
            ("  rtsp: rtsp://h:7447/hunter2Kd83bQa71x", "  rtsp: rtsp://h:7447/***"),
            ("  http: http://h/token/hunter2/c.jpg?hunter2", "  http: http://h/***"),
            ("  rtsp: rtsp://h/Streaming/Channels/101", "  rtsp: rtsp://h/Streaming/Channels/101"),
            ("  passenger: 0.7", "  passenger: 0.7"),
            ("  password:", "  password:"),
            ("  password hunter2", "  password ***"),
            ("  secret garden: 0.7", "  secret garden: 0.7"),
            ("  password hunter2  # see: there", "  password ***"),
            ("mqtt: password hunter2", "mqtt: password ***"),
            ("mqtt: { url: mqtt://h, password hunter2 }", "mqtt: { url: mqtt://h, password ***"),
            ("  labels: [dog, secret garden: 0.7]", "  labels: [dog, secret garden: 0.7]"),
        ];
        for (text, expected) in cases {
            assert_eq!(last_line(text), expected, "{text}");
        }
        let long = "x".repeat(LONGEST_LINE);
        assert_eq!(last_line(&format!("  a: [{long}, password hunter2]")), "  ***");
        assert_eq!(last_line(&format!("  {long}: 1, password: |\n    hunter2")), "    ***");
    }

    #[test]
    fn arguments_with_passwords_are_hidden() {
        let cases = [
            ("--loud|/etc/x|-n|5", "--loud|/etc/x|-n|5"),
            ("--token|hunter2|a", "--token|***|a"),
            ("--token|${env:TOKEN}", "--token|${env:TOKEN}"),
            ("--password=hunter2", "--password=***"),
            ("--password=${env:PW}", "--password=${env:PW}"),
            ("-H|Authorization: Bearer hunter2", "-H|Authorization:***"),
            ("-H|X-Api-Token: hunter2", "-H|X-Api-Token:***"),
            ("https://me:hunter2@h/a", "https://***@h/a"),
            ("https://h/a?key=hunter2", "https://h/a?***"),
        ];
        for (typed, shown) in cases {
            let typed: Vec<_> = typed.split('|').map(str::to_owned).collect();
            assert_eq!(arguments(&typed).join("|"), shown);
        }
    }

    #[test]
    fn parts_of_a_secret_are_recognised() {
        let cases = [
            ("there is no label set `hunter2`", "hunter2", true),
            ("there is no label set `hunt`", "hunter2", false),
            ("`sentence` is not known", "a long sentence\n", true),
            ("`sente` is not known", "a long sentence\n", false),
            ("`pw` is too short", "pw", true),
            ("nothing", "", false),
            ("nothing", "\n", false),
            ("日本語の秘密です", "これは日本語の秘密", true),
        ];
        for (text, secret, expected) in cases {
            assert_eq!(reveals(text, &Secret::new(secret.to_owned())), expected, "{text} {secret}");
        }
    }

    #[test]
    fn a_quoted_value_is_short_and_harmless() {
        assert_eq!(shown("\u{1b}[31mred\n"), "\u{fffd}[31mred\u{fffd}");
        assert_eq!(shown("mqtt://me:pw@host"), "mqtt://***@host");
        assert_eq!(shown("http://me:pw@host/s?user=a&pwd=b@c"), "http://***");
        assert_eq!(shown("http://me:pw@host/s?user=a&pwd=b"), "http://***@host/s?***");
        assert_eq!(shown("http://me:p?a=b@host"), "http://***");
        assert_eq!(shown_entry("password hunter2"), "password ***");
        assert_eq!(shown_entry("passenger"), "passenger");
        assert_eq!(shown(&"x".repeat(100)).chars().count(), 61);
    }
}
