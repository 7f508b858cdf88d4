//! The lines of a YAML text as an editor sees them: indentation, blocks and keys, also where the text is no YAML.

use std::ops::Range;

/// The start of the line around `at`.
pub fn start_of_line(text: &str, at: usize) -> usize {
    text[..at].rfind('\n').map_or(0, |newline| newline + 1)
}

/// The line that starts at `start`, without its end.
pub fn line(text: &str, start: usize) -> &str {
    text[start..].split('\n').next().unwrap_or_default().trim_end_matches('\r')
}

/// The bytes of white space before the first word.
pub fn indentation(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// Whether a line has neither keys nor values.
fn is_blank(line: &str) -> bool {
    let line = line.trim_start();
    line.is_empty() || line.starts_with('#')
}

/// The starts of the lines above the one at `start` that are not blank, the nearest first.
pub fn lines_above(text: &str, start: usize) -> impl Iterator<Item = usize> {
    let mut end = start;
    let starts = std::iter::from_fn(move || {
        end =
            text[..end].strip_suffix('\n').map(|above| above.rfind('\n').map_or(0, |newline| newline + 1))?;
        Some(end)
    });
    starts.filter(|start| !is_blank(line(text, *start)))
}

/// The line's words, without a comment behind them.
pub fn without_comment(line: &str) -> &str {
    line.find(" #").map_or(line, |comment| &line[..comment]).trim_end()
}

/// An entry of a mapping or an item of a list, with everything that is indented below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// From its first word to the end of its last line.
    pub range: Range<usize>,
    /// The column of its first word: entries of one mapping have the same.
    pub column: usize,
}

/// The block whose first word is at `at`.
pub fn block(text: &str, at: usize) -> Block {
    let start = start_of_line(text, at);
    let column = at - start;
    let is_item = |words: &str| words == "-" || words.starts_with("- ");
    let own = is_item(line(text, start)[column..].trim_end());
    let mut end = start + line(text, start).trim_end().len();
    let mut next = start + text[start..].find('\n').map_or(text.len() - start, |newline| newline + 1);
    while next < text.len() {
        let words = line(text, next);
        let depth = indentation(words);
        // The items of a list may have the indentation of its key.
        let inside = depth > column || depth == column && !own && is_item(words.trim());
        if !is_blank(words) {
            if !inside {
                break;
            }
            end = next + words.trim_end().len();
        }
        next += text[next..].find('\n').map_or(text.len() - next, |newline| newline + 1);
    }
    Block { range: at..end.max(at), column }
}

/// The blocks around `at`, the innermost first: `- key: value` is an entry in an item.
pub fn blocks_around(text: &str, at: usize) -> Vec<Block> {
    let own = start_of_line(text, at);
    let (mut blocks, mut column) = (vec![], usize::MAX);
    for start in std::iter::once(own).chain(lines_above(text, own)) {
        let words = line(text, start);
        let mut columns = vec![indentation(words)];
        while let Some(&last) = columns.last()
            && let Some(rest) = words[last..].strip_prefix("- ")
        {
            columns.push(last + 2 + indentation(rest));
        }
        for &here in columns.iter().rev().filter(|here| **here < words.len()) {
            if here < column {
                blocks.push(block(text, start + here));
                column = here;
            }
        }
        if column == 0 {
            break;
        }
    }
    blocks
}

/// The key at the start of `words`, as typed, if a colon follows it.
pub fn key(words: &str) -> Option<&str> {
    let end = match words.chars().next()? {
        quote @ ('"' | '\'') => 2 + words[1..].find(quote)?,
        _ => {
            let end = words.find(": ").or_else(|| without_comment(words).strip_suffix(':').map(str::len))?;
            (!words[..end].contains(['{', '[', '"', '\''])).then_some(end)?
        }
    };
    words[end..].starts_with(':').then_some(&words[..end])
}

/// The key and the value of a line that lacks the colon between them; the value may be empty.
pub fn key_without_colon(words: &str) -> Option<(&str, &str)> {
    let words = without_comment(words);
    let begins = words.starts_with(|letter: char| letter.is_alphabetic() || letter == '_');
    if !begins || key(words).is_some() || words.ends_with(['"', '\'', ']', '}', ',']) && !words.contains(' ')
    {
        return None;
    }
    let Some(first) = words.find(' ') else { return Some((words, "")) };
    // `red car 0.8`: the threshold is at the end.
    let is_number = |word: &str| word.starts_with(|letter: char| letter.is_ascii_digit() || letter == '.');
    let last = words.rfind(' ').filter(|at| is_number(&words[at + 1..]));
    let last = last.filter(|at| !words[..*at].contains(|letter: char| letter.is_ascii_digit()));
    let end = last.unwrap_or(first);
    Some((words[..end].trim_end(), words[end..].trim_start()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_an_entry_with_all_below_it() {
        let text = "a:\n  b: 1\n  c:\n  - d: 2\n    e: 3\n\n  # f\n  g: 4\nh: 5\n";
        let of = |word: &str| {
            let block = block(text, text.find(word).unwrap());
            text[block.range].replace('\n', "|")
        };
        assert_eq!(of("b: 1"), "b: 1");
        assert_eq!(of("c:"), "c:|  - d: 2|    e: 3");
        assert_eq!(of("d: 2"), "d: 2");
        assert_eq!(of("- d: 2"), "- d: 2|    e: 3");
        assert_eq!(of("a:"), "a:|  b: 1|  c:|  - d: 2|    e: 3||  # f|  g: 4");
        assert_eq!(of("h: 5"), "h: 5");
        let around = |word: &str| {
            let blocks = blocks_around(text, text.find(word).unwrap());
            blocks.into_iter().map(|block| text[block.range.start..][..1].to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(around("e: 3"), ["e", "-", "a"]);
        assert_eq!(around("d: 2"), ["d", "-", "a"]);
        assert_eq!(around("g: 4"), ["g", "a"]);
        assert_eq!(around("h: 5"), ["h"]);
    }

    #[test]
    fn keys_are_found_with_and_without_a_colon() {
        for (words, expected) in [
            ("url: x", Some("url")),
            ("url:", Some("url")),
            ("\"a b\": 1", Some("\"a b\"")),
            ("red car: 0.7", Some("red car")),
            ("url:x", None),
            ("[a]: 1", None),
            ("url", None),
        ] {
            assert_eq!(key(words), expected, "{words}");
        }
        for (words, expected) in [
            ("url mqtt://h:1883  # broker", Some(("url", "mqtt://h:1883"))),
            ("mqtt", Some(("mqtt", ""))),
            ("red car 0.8", Some(("red car", "0.8"))),
            ("hold 2 of 3", Some(("hold", "2 of 3"))),
            ("url: x", None),
            ("- person", None),
            ("]", None),
        ] {
            assert_eq!(key_without_colon(words), expected, "{words}");
        }
    }
}
