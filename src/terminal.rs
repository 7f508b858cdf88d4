//! Standard output and standard error of the commands: readers that close them early, the width of a terminal, and colours.
//!
//! Names of files, topics and sources, and the texts of servers, are chosen by others. A terminal acts on some of their characters:
//! escape sequences change its title or its colours or type commands, and bidirectional marks show a name in another order. Everything
//! that a command or the log prints goes through [`escaped`].

use std::{
    borrow::Cow,
    env,
    fmt::{self, Write as _},
    io::{self, IsTerminal, StdoutLock, Write},
};

use unicode_width::UnicodeWidthStr as _;

/// The least width that texts are wrapped to.
const NARROWEST: usize = 40;

/// Whether a terminal acts on this character, or shows the text around it in another order: control characters, the marks and
/// isolates of bidirectional text, and the separators of lines and paragraphs.
#[must_use]
pub fn is_active(letter: char) -> bool {
    letter.is_control()
        || matches!(
            letter,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
        )
}

/// A text of one or more lines for a terminal: every active character except line breaks and tabs is shown as `\u001b`, which is
/// also its escape in JSON and in YAML.
#[must_use]
pub fn escaped(text: &str) -> Cow<'_, str> {
    with_escapes(text, |letter| is_active(letter) && !matches!(letter, '\n' | '\t'))
}

/// A name or a value for a terminal: like [`escaped`], and in one line.
#[must_use]
pub fn one_line(text: &str) -> Cow<'_, str> {
    with_escapes(text, is_active)
}

fn with_escapes(text: &str, is_escaped: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&is_escaped) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 8);
    for letter in text.chars() {
        match letter {
            letter if !is_escaped(letter) => escaped.push(letter),
            '\n' => escaped.push_str("\\n"),
            '\r' => escaped.push_str("\\r"),
            '\t' => escaped.push_str("\\t"),
            // Writing to a string cannot fail. All active characters have four digits.
            letter => {
                let _ = write!(escaped, "\\u{:04x}", u32::from(letter));
            }
        }
    }
    Cow::Owned(escaped)
}

/// Standard output. When its reader has closed it, as `head` does, writing fails with an error that [`is_closed_output`] knows.
/// What is written is [`escaped`], also in a file or a pipe: its reader may be a terminal.
pub struct Output(StdoutLock<'static>);

/// The reader of standard output has closed it.
#[derive(Debug, thiserror::Error)]
#[error("standard output is closed")]
struct OutputClosed;

/// Standard output for results.
#[must_use]
pub fn output() -> Output {
    Output(io::stdout().lock())
}

impl Output {
    /// Writes a text with colours, whose other parts are escaped already.
    ///
    /// # Errors
    /// Standard output cannot be written.
    pub fn write_coloured(&mut self, text: &str) -> io::Result<()> {
        self.0.write_all(text.as_bytes()).map_err(closed)
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Callers write whole texts, so no character is split.
        let text = String::from_utf8_lossy(bytes);
        self.0.write_all(escaped(&text).as_bytes()).map_err(closed)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush().map_err(closed)
    }
}

fn closed(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::BrokenPipe => io::Error::new(io::ErrorKind::BrokenPipe, OutputClosed),
        _ => error,
    }
}

/// Whether a command ended because the reader of its results wants no more of them, which is not a failure.
#[must_use]
pub fn is_closed_output(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let inner = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        inner.is_some_and(|inner| inner.is::<OutputClosed>())
    })
}

/// Prints a line for people to standard error, if that is still open. It is [`escaped`].
pub fn say(line: impl fmt::Display) {
    let _ = writeln!(io::stderr(), "{}", escaped(&line.to_string()));
}

/// How a text for people is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Style {
    /// The width to wrap to; `None`: lines are not wrapped.
    pub width: Option<usize>,
    /// Whether colours are used.
    pub colours: bool,
}

/// A colour of the terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colour {
    /// For what works.
    Green,
    /// For what is to be known.
    Yellow,
    /// For what does not work.
    Red,
}

impl Style {
    /// The style of standard output: width and colours of a terminal, and neither for a file or a pipe.
    #[must_use]
    pub fn of_stdout() -> Self {
        if !io::stdout().is_terminal() {
            return Self::default();
        }
        let width = terminal_size::terminal_size().map(|(width, _)| usize::from(width.0));
        Self { width: width.map(|width| width.max(NARROWEST)), colours: wants_colours() }
    }

    /// `text` in a colour, where colours are used.
    #[must_use]
    pub fn coloured(self, text: &str, colour: Colour) -> String {
        let code = match colour {
            Colour::Green => 32,
            Colour::Yellow => 33,
            Colour::Red => 31,
        };
        if self.colours { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    /// `text` as lines of at most the width. The first line follows a text of `used` columns; the others begin with `indent`
    /// spaces. A word that is too long has a line of its own.
    #[must_use]
    pub fn wrapped(self, text: &str, used: usize, indent: usize) -> String {
        let Some(width) = self.width else { return text.to_owned() };
        let (mut wrapped, mut column) = (String::new(), used);
        for (number, word) in text.split(' ').enumerate() {
            let space = usize::from(number > 0);
            if number > 0 && column + space + word.width() > width {
                wrapped.push('\n');
                wrapped.push_str(&" ".repeat(indent));
                column = indent;
            } else if number > 0 {
                wrapped.push(' ');
                column += 1;
            }
            wrapped.push_str(word);
            column += word.width();
        }
        wrapped
    }
}

/// Whether the user wants colours on a terminal: see <https://no-color.org>.
#[must_use]
pub fn wants_colours() -> bool {
    let no_color = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    !no_color && env::var_os("TERM").is_none_or(|kind| kind != "dumb")
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn a_closed_output_is_known_through_every_context() {
        let error =
            |kind| Err::<(), _>(closed(io::Error::from(kind))).context("one").context("two").unwrap_err();
        assert!(is_closed_output(&error(io::ErrorKind::BrokenPipe)));
        assert!(!is_closed_output(&error(io::ErrorKind::StorageFull)));
        let other = anyhow::Error::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert!(!is_closed_output(&other), "another pipe broke");
    }

    #[test]
    fn a_terminal_never_acts_on_the_names_of_others() {
        let cases = [
            ("front-door.jpg", "front-door.jpg"),
            ("\u{1b}]0;title\u{7}\u{1b}[2J", "\\u001b]0;title\\u0007\\u001b[2J"),
            // An escape sequence of one character (C1).
            ("\u{9b}31m\u{85}", "\\u009b31m\\u0085"),
            ("gpj.\u{202e}exe\u{202c}\u{2066}\u{2069}", "gpj.\\u202eexe\\u202c\\u2066\\u2069"),
            ("\u{61c}\u{200e}\u{200f}\u{2028}\u{feff}", "\\u061c\\u200e\\u200f\\u2028\\ufeff"),
            ("\r\u{8}\0", "\\r\\u0008\\u0000"),
            // Joiners are parts of Persian words and of emoji.
            ("می\u{200c}خواهم 👨\u{200d}👩 é 四", "می\u{200c}خواهم 👨\u{200d}👩 é 四"),
        ];
        for (text, expected) in cases {
            assert_eq!(escaped(text), expected);
            assert_eq!(one_line(text), expected);
            let json = escaped(&serde_json::to_string(text).unwrap()).into_owned();
            assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text, "the same text in JSON");
            assert!(!json.contains(is_active), "{json:?}");
        }
        assert_eq!((&*escaped("a\n\tb"), &*one_line("a\n\tb")), ("a\n\tb", "a\\n\\tb"));
    }

    #[test]
    fn lines_are_wrapped_at_words_and_to_columns() {
        let style = |width| Style { width, colours: false };
        let text = "one two three 四五六 seven";
        assert_eq!(style(None).wrapped(text, 9, 2), text);
        assert_eq!(style(Some(12)).wrapped(text, 4, 2), "one two\n  three\n  四五六\n  seven");
        assert_eq!(style(Some(14)).wrapped(text, 4, 2), "one two\n  three 四五六\n  seven");
        assert_eq!(style(Some(5)).wrapped("a verylongword b", 0, 1), "a\n verylongword\n b");
        assert_eq!(style(Some(5)).wrapped("", 9, 1), "");
    }

    #[test]
    fn colours_only_where_they_are_wanted() {
        let plain = Style::default();
        assert_eq!(plain.coloured("ok", Colour::Green), "ok");
        let coloured = Style { colours: true, ..plain };
        assert_eq!(coloured.coloured("ok", Colour::Green), "\u{1b}[32mok\u{1b}[0m");
    }
}
