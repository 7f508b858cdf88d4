//! Questions to a person, in lines: at a terminal, or with answers from a file or a pipe.

use std::{
    fmt,
    io::{self, BufRead, Write},
};

use anyhow::{Context as _, Result, bail};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use crate::terminal;

/// The longest answer in bytes.
const LONGEST: usize = 4000;
/// How often a question is repeated after an answer that is none.
const MOST_REPEATS: usize = 5;

/// The two sides of the conversation.
pub(super) struct Dialog<R, W> {
    answers: R,
    questions: W,
    /// Without it no question is asked: the default is the answer.
    asks: bool,
}

/// What a person chooses from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Choice {
    /// These entries of a list, from 0.
    Some(Vec<usize>),
    /// The answer names no entries.
    Unclear,
}

impl<R: BufRead, W: Write> Dialog<R, W> {
    pub(super) fn new(answers: R, questions: W, asks: bool) -> Self {
        Self { answers, questions, asks }
    }

    /// Whether questions are asked.
    pub(super) fn asks(&self) -> bool {
        self.asks
    }

    /// Prints a line. What is shown may come from the network, so it is escaped.
    pub(super) fn say(&mut self, line: impl fmt::Display) -> Result<()> {
        self.print(&format!("{line}\n"))
    }

    fn print(&mut self, text: &str) -> Result<()> {
        let written = self.questions.write_all(terminal::escaped(text).as_bytes());
        written.and_then(|()| self.questions.flush()).context("standard error cannot be written")
    }

    /// The answer to a question, or the default if there is none. Without a default, an empty answer is empty.
    pub(super) fn ask(&mut self, question: &str, default: Option<&str>) -> Result<String> {
        if !self.asks {
            return Ok(default.unwrap_or_default().to_owned());
        }
        let shown = default.map_or(String::new(), |default| format!(" [{default}]"));
        self.print(&format!("{question}{shown}: "))?;
        let answer = self.line()?;
        Ok(if answer.is_empty() { default.unwrap_or_default().to_owned() } else { answer })
    }

    /// Whether the answer is yes.
    pub(super) fn confirm(&mut self, question: &str, default: bool) -> Result<bool> {
        if !self.asks {
            return Ok(default);
        }
        let choices = if default { "[Y/n]" } else { "[y/N]" };
        for _ in 0..MOST_REPEATS {
            self.print(&format!("{question} {choices}: "))?;
            match &*self.line()?.to_lowercase() {
                "" => return Ok(default),
                "y" | "yes" => return Ok(true),
                "n" | "no" => return Ok(false),
                _ => self.say("Please answer y or n.")?,
            }
        }
        bail!("there was no answer to \"{question}\": nothing is written")
    }

    /// A password, which a terminal does not show.
    pub(super) fn secret(&mut self, question: &str) -> Result<String> {
        if !self.asks {
            return Ok(String::new());
        }
        self.print(&format!("{question}: "))?;
        let hidden = Hidden::begin();
        let answer = self.line();
        if hidden.is_some() {
            drop(hidden);
            self.print("\n")?;
        }
        answer
    }

    /// Entries of a list of `count`: `1,3`, `all`, or nothing.
    pub(super) fn choose(&mut self, question: &str, count: usize) -> Result<Vec<usize>> {
        for _ in 0..MOST_REPEATS {
            match choice(&self.ask(question, Some("all"))?, count) {
                Choice::Some(chosen) => return Ok(chosen),
                Choice::Unclear => {
                    self.say(format_args!("Please answer numbers from 1 to {count}, `all` or `none`."))?
                }
            }
        }
        bail!("there was no answer to \"{question}\": nothing is written")
    }

    fn line(&mut self) -> Result<String> {
        let mut bytes = Vec::new();
        let mut limited = io::Read::take(&mut self.answers, LONGEST as u64);
        limited.read_until(b'\n', &mut bytes).context("standard input cannot be read")?;
        if bytes.is_empty() {
            bail!("the input has ended: nothing is written");
        }
        if bytes.len() == LONGEST && bytes.last() != Some(&b'\n') {
            bail!("an answer has more than {LONGEST} bytes: nothing is written");
        }
        let text = String::from_utf8(bytes).context("an answer is not UTF-8: nothing is written")?;
        Ok(text.trim().to_owned())
    }
}

/// The entries that an answer names. Pure.
fn choice(answer: &str, count: usize) -> Choice {
    match &*answer.trim().to_lowercase() {
        "all" => return Choice::Some((0..count).collect()),
        "none" | "no" | "0" => return Choice::Some(vec![]),
        _ => {}
    }
    let parts = answer.split([',', ' ']).filter(|part| !part.is_empty());
    let numbers = parts.map(|part| part.parse::<usize>().ok().filter(|number| (1..=count).contains(number)));
    match numbers.collect::<Option<Vec<_>>>() {
        Some(numbers) if !numbers.is_empty() => {
            let mut chosen: Vec<usize> = numbers.into_iter().map(|number| number - 1).collect();
            chosen.sort_unstable();
            chosen.dedup();
            Choice::Some(chosen)
        }
        _ => Choice::Unclear,
    }
}

/// The terminal does not show what is typed, until this is dropped.
struct Hidden(Termios);

impl Hidden {
    /// `None` if standard input is no terminal.
    fn begin() -> Option<Self> {
        let usual = tcgetattr(io::stdin()).ok()?;
        let mut hidden = usual.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        tcsetattr(io::stdin(), OptionalActions::Now, &hidden).ok()?;
        Some(Self(usual))
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        // There is nothing to do about it: the terminal is gone.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn talk<T>(answers: &str, say: impl FnOnce(&mut Dialog<&[u8], Vec<u8>>) -> T) -> (T, String) {
        let mut dialog = Dialog::new(answers.as_bytes(), Vec::new(), true);
        let said = say(&mut dialog);
        (said, String::from_utf8(dialog.questions).unwrap())
    }

    #[test]
    fn an_empty_answer_is_the_default() {
        let (answer, said) = talk("\n", |dialog| dialog.ask("Broker", Some("mqtt://h")).unwrap());
        assert_eq!((&*answer, &*said), ("mqtt://h", "Broker [mqtt://h]: "));
        assert_eq!(talk(" x \n", |dialog| dialog.ask("Broker", Some("a")).unwrap()).0, "x");
        assert_eq!(talk("\n", |dialog| dialog.ask("Camera", None).unwrap()).0, "");
        assert_eq!(talk("last", |dialog| dialog.ask("Camera", None).unwrap()).0, "last");
    }

    #[test]
    fn a_question_is_repeated_until_it_is_answered() {
        let (answer, said) = talk("maybe\nYES\n", |dialog| dialog.confirm("Sure?", false).unwrap());
        assert!(answer && said.contains("Please answer y or n."), "{said}");
        assert!(talk("\n", |dialog| dialog.confirm("Sure?", true).unwrap()).0);
        assert!(!talk("n\n", |dialog| dialog.confirm("Sure?", true).unwrap()).0);
        assert!(talk(&"?\n".repeat(9), |dialog| dialog.confirm("Sure?", true)).0.is_err());
    }

    #[test]
    fn the_end_of_the_input_and_answers_that_are_none_end_the_conversation() {
        let end =
            |answers: &str| talk(answers, |dialog| dialog.ask("x", Some("y"))).0.unwrap_err().to_string();
        assert_eq!(end(""), "the input has ended: nothing is written");
        assert!(end(&"x".repeat(LONGEST + 1)).contains("more than"));
    }

    #[test]
    fn what_is_said_is_escaped() {
        let (_, said) = talk("", |dialog| dialog.say("a\u{1b}[2Jb").unwrap());
        assert_eq!(said, "a\\u001b[2Jb\n");
    }

    #[test]
    fn without_questions_the_default_is_the_answer() {
        let mut dialog = Dialog::new(&b""[..], Vec::new(), false);
        assert_eq!(dialog.ask("x", Some("y")).unwrap(), "y");
        assert!(dialog.confirm("x", true).unwrap() && dialog.secret("x").unwrap().is_empty());
        assert_eq!(dialog.choose("x", 2).unwrap(), [0, 1]);
        assert!(dialog.questions.is_empty());
    }

    #[test]
    fn entries_are_chosen_by_their_numbers() {
        for (answer, expected) in [
            ("all", Choice::Some(vec![0, 1, 2])),
            ("none", Choice::Some(vec![])),
            ("3, 1 1", Choice::Some(vec![0, 2])),
            ("4", Choice::Unclear),
            ("0,1", Choice::Unclear),
            ("front", Choice::Unclear),
            ("", Choice::Unclear),
        ] {
            assert_eq!(choice(answer, 3), expected, "{answer}");
        }
    }
}
