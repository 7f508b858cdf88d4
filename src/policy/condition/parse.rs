//! Parses the text of a condition into a tree; a mistake has its place in the text.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::yaml::mask;

/// The most levels of brackets and `not`, so that no text exhausts the stack.
const DEEPEST: usize = 32;
const WORDS: [&str; 3] = ["and", "or", "not"];

/// A condition whose names are not resolved to labels yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Parsed {
    pub(super) text: String,
    pub(super) tree: Tree<Name>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Tree<N> {
    Name(N),
    Not(Box<Self>),
    All(Vec<Self>),
    Any(Vec<Self>),
}

/// A name, and its place in the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Name {
    pub text: String,
    pub at: Range<usize>,
}

/// A mistake, and its place in the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mistake {
    pub at: Range<usize>,
    pub message: String,
    pub remedy: String,
}

impl Parsed {
    pub(crate) fn parse(text: &str) -> Result<Self, Mistake> {
        let tokens = tokens(text)?;
        let mut parser = Parser { tokens: &tokens, next: 0, depth: 0 };
        let tree = parser.any()?;
        if let Some(token) = parser.peek() {
            return Err(parser.left_over(token));
        }
        Ok(Self { text: text.split_whitespace().collect::<Vec<_>>().join(" "), tree })
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Token {
    kind: TokenKind,
    at: Range<usize>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum TokenKind {
    Open,
    Close,
    And,
    Or,
    Not,
    Name(String),
}

impl TokenKind {
    fn shown(&self) -> String {
        match self {
            Self::Open => "`(`".to_owned(),
            Self::Close => "`)`".to_owned(),
            Self::And => "`and`".to_owned(),
            Self::Or => "`or`".to_owned(),
            Self::Not => "`not`".to_owned(),
            Self::Name(name) => format!("`{}`", mask::shown(name)),
        }
    }
}

fn wrong<T>(at: Range<usize>, message: impl Into<String>, remedy: impl Into<String>) -> Result<T, Mistake> {
    Err(Mistake { at, message: message.into(), remedy: remedy.into() })
}

fn tokens(text: &str) -> Result<Vec<Token>, Mistake> {
    let mut tokens: Vec<Token> = vec![];
    let mut at = 0;
    while let Some(letter) = text[at..].chars().next() {
        let rest = &text[at..];
        match letter {
            letter if letter.is_whitespace() => at += letter.len_utf8(),
            '(' | ')' => {
                let kind = if letter == '(' { TokenKind::Open } else { TokenKind::Close };
                tokens.push(Token { kind, at: at..at + 1 });
                at += 1;
            }
            '"' | '\'' => {
                let Some(end) = rest[1..].find(letter) else {
                    return wrong(
                        at..at + 1,
                        format!("this `{letter}` is not closed"),
                        "close it after the name",
                    );
                };
                add_name(&mut tokens, &rest[1..=end], at..at + end + 2);
                at += end + 2;
            }
            _ => {
                let end = rest.find(|letter: char| letter.is_whitespace() || "()\"'".contains(letter));
                let word = &rest[..end.unwrap_or(rest.len())];
                add_word(&mut tokens, word, at..at + word.len())?;
                at += word.len();
            }
        }
    }
    Ok(tokens)
}

fn add_word(tokens: &mut Vec<Token>, word: &str, at: Range<usize>) -> Result<(), Mistake> {
    let kind = match word {
        "and" => TokenKind::And,
        "or" => TokenKind::Or,
        "not" => TokenKind::Not,
        _ => {
            let meant = match word {
                "&&" | "&" | "+" => Some("and"),
                "||" | "|" => Some("or"),
                _ if word.starts_with(['!', '~']) => Some("not"),
                _ => WORDS.into_iter().find(|known| word.eq_ignore_ascii_case(known)),
            };
            if let Some(meant) = meant {
                let (sign, rest) = if meant == "not" && !word.eq_ignore_ascii_case("not") {
                    word.split_at(1)
                } else {
                    (word, "")
                };
                let remedy = format!("write `{}`", format!("{meant} {rest}").trim_end());
                return wrong(at, format!("`{}` is not an operator", mask::shown(sign)), remedy);
            }
            add_name(tokens, word, at);
            return Ok(());
        }
    };
    tokens.push(Token { kind, at });
    Ok(())
}

/// Consecutive words are one name; parts without a space between them have none in the name either: `yard/"red car"`.
fn add_name(tokens: &mut Vec<Token>, part: &str, at: Range<usize>) {
    if let Some(Token { kind: TokenKind::Name(name), at: before }) = tokens.last_mut() {
        if before.end != at.start {
            name.push(' ');
        }
        name.push_str(part);
        before.end = at.end;
        return;
    }
    tokens.push(Token { kind: TokenKind::Name(part.to_owned()), at });
}

struct Parser<'t> {
    tokens: &'t [Token],
    next: usize,
    depth: usize,
}

impl<'t> Parser<'t> {
    fn peek(&self) -> Option<&'t Token> {
        self.tokens.get(self.next)
    }

    fn takes(&mut self, kind: &TokenKind) -> bool {
        let is_next = self.peek().is_some_and(|token| token.kind == *kind);
        self.next += usize::from(is_next);
        is_next
    }

    fn any(&mut self) -> Result<Tree<Name>, Mistake> {
        let mut parts = vec![self.all()?];
        while self.takes(&TokenKind::Or) {
            parts.push(self.all()?);
        }
        Ok(one_or(parts, Tree::Any))
    }

    fn all(&mut self) -> Result<Tree<Name>, Mistake> {
        let mut parts = vec![self.one()?];
        while self.takes(&TokenKind::And) {
            parts.push(self.one()?);
        }
        Ok(one_or(parts, Tree::All))
    }

    fn one(&mut self) -> Result<Tree<Name>, Mistake> {
        let Some(token) = self.peek() else { return self.missing() };
        match &token.kind {
            TokenKind::Name(name) => {
                self.next += 1;
                Ok(Tree::Name(Name { text: name.clone(), at: token.at.clone() }))
            }
            TokenKind::Not | TokenKind::Open if self.depth == DEEPEST => {
                wrong(token.at.clone(), "this is nested too deeply", "split it into several rules")
            }
            TokenKind::Not => {
                (self.next, self.depth) = (self.next + 1, self.depth + 1);
                let part = self.one()?;
                self.depth -= 1;
                Ok(Tree::Not(Box::new(part)))
            }
            TokenKind::Open => {
                (self.next, self.depth) = (self.next + 1, self.depth + 1);
                let part = self.any()?;
                self.depth -= 1;
                match self.peek() {
                    Some(next) if next.kind == TokenKind::Close => self.next += 1,
                    Some(next) => return Err(self.left_over(next)),
                    None => return wrong(token.at.clone(), "this `(` is not closed", "close it with `)`"),
                }
                Ok(part)
            }
            TokenKind::Close | TokenKind::And | TokenKind::Or => self.missing(),
        }
    }

    /// There is something else where a label is expected, or nothing.
    fn missing<T>(&self) -> Result<T, Mistake> {
        let remedy = "add the name of a label, such as `person and not dog`";
        match (self.next.checked_sub(1).and_then(|before| self.tokens.get(before)), self.peek()) {
            (Some(before), None) => {
                wrong(before.at.clone(), format!("there is no label after {}", before.kind.shown()), remedy)
            }
            (Some(before), Some(next)) => {
                let message =
                    format!("there is no label between {} and {}", before.kind.shown(), next.kind.shown());
                wrong(before.at.start..next.at.end, message, remedy)
            }
            (None, Some(next)) => {
                wrong(next.at.clone(), format!("there is no label before {}", next.kind.shown()), remedy)
            }
            (None, None) => wrong(0..0, "there is no label", remedy),
        }
    }

    /// A complete condition is followed by something other than `and`, `or` or the end.
    fn left_over(&self, token: &Token) -> Mistake {
        let at = token.at.clone();
        if token.kind == TokenKind::Close {
            return Mistake {
                at,
                message: "this `)` has no `(`".to_owned(),
                remedy: "remove it, or add the `(`".to_owned(),
            };
        }
        let before = self.tokens[..self.next].last().map_or(String::new(), |before| before.kind.shown());
        Mistake {
            at,
            message: format!("there is no `and` or `or` between {before} and {}", token.kind.shown()),
            remedy: "connect them: `person and not dog`".to_owned(),
        }
    }
}

fn one_or(mut parts: Vec<Tree<Name>>, several: impl FnOnce(Vec<Tree<Name>>) -> Tree<Name>) -> Tree<Name> {
    if parts.len() > 1 { several(parts) } else { parts.remove(0) }
}
