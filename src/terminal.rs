//! Standard output and standard error of the commands: readers that close them early, the width of a terminal, and colours.

use std::{
    env, fmt,
    io::{self, IsTerminal, StdoutLock, Write},
};

use unicode_width::UnicodeWidthStr as _;

/// The least width that texts are wrapped to.
const NARROWEST: usize = 40;

/// Standard output. When its reader has closed it, as `head` does, writing fails with an error that [`is_closed_output`] knows.
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

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes).map_err(closed)
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

/// Prints a line for people to standard error, if that is still open.
pub fn say(line: impl fmt::Display) {
    let _ = writeln!(io::stderr(), "{line}");
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
