//! What a rule over labels asks for: `person and not (dog or cat)`. Pure.
//!
//! `not` binds more closely than `and`, and `and` more closely than `or`. A name may have several words; one that holds a bracket,
//! a quotation mark or one of the three words stands in quotes. It refuses to know which labels there are: [`Typed::resolve`]
//! is told.

use std::ops::Range;

/// Brackets and `not` within each other; more is a mistake, and must not exhaust the stack.
const DEEPEST: usize = 32;
const WORDS: [&str; 3] = ["and", "or", "not"];

/// A condition over labels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    text: String,
    tree: Tree<LabelName>,
}

/// A label by its full name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelName {
    /// The label set.
    pub label_set: String,
    /// The label.
    pub label: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Tree<N> {
    Name(N),
    Not(Box<Self>),
    All(Vec<Self>),
    Any(Vec<Self>),
}

impl Condition {
    /// Whether it is met. Of each label `is_there` says whether it is there, or that this is not known (yet); the answer is not
    /// known either where it depends on such a label.
    pub fn is_met(&self, is_there: impl Fn(&LabelName) -> Option<bool>) -> Option<bool> {
        self.tree.is_met(&is_there)
    }

    /// The labels, in the order typed, each once.
    #[must_use]
    pub fn labels(&self) -> Vec<&LabelName> {
        let mut names = vec![];
        self.tree.names(&mut names);
        let mut different: Vec<&LabelName> = Vec::with_capacity(names.len());
        names.into_iter().for_each(|name| {
            if !different.contains(&name) {
                different.push(name);
            }
        });
        different
    }

    /// As it was typed, on one line.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }
}

#[cfg(test)]
impl Condition {
    /// For tests: a name without a set is one of `set`.
    pub(crate) fn of(set: &str, text: &str) -> Self {
        let label = |name: &Name| {
            let (label_set, label) = name.text.split_once('/').unwrap_or((set, &name.text));
            Some(LabelName { label_set: label_set.to_owned(), label: label.to_owned() })
        };
        Typed::parse(text).unwrap().resolve(label).unwrap()
    }
}

impl<N> Tree<N> {
    fn is_met(&self, is_there: &impl Fn(&N) -> Option<bool>) -> Option<bool> {
        // What decides is enough, whatever else is not known.
        let decided = |parts: &[Self], by: bool| {
            let answers: Vec<_> = parts.iter().map(|part| part.is_met(is_there)).collect();
            match answers.contains(&Some(by)) {
                true => Some(by),
                false if answers.contains(&None) => None,
                false => Some(!by),
            }
        };
        match self {
            Self::Name(name) => is_there(name),
            Self::Not(part) => part.is_met(is_there).map(|met| !met),
            Self::All(parts) => decided(parts, false),
            Self::Any(parts) => decided(parts, true),
        }
    }

    fn names<'t>(&'t self, found: &mut Vec<&'t N>) {
        match self {
            Self::Name(name) => found.push(name),
            Self::Not(part) => part.names(found),
            Self::All(parts) | Self::Any(parts) => parts.iter().for_each(|part| part.names(found)),
        }
    }

    /// The same with other names. All of them are asked for: one that is wrong must not hide the next.
    fn map<M>(&self, to: &mut impl FnMut(&N) -> Option<M>) -> Option<Tree<M>> {
        fn all<N, M>(parts: &[Tree<N>], to: &mut impl FnMut(&N) -> Option<M>) -> Option<Vec<Tree<M>>> {
            let mapped: Vec<_> = parts.iter().map(|part| part.map(to)).collect();
            mapped.into_iter().collect()
        }
        Some(match self {
            Self::Name(name) => Tree::Name(to(name)?),
            Self::Not(part) => Tree::Not(Box::new(part.map(to)?)),
            Self::All(parts) => Tree::All(all(parts, to)?),
            Self::Any(parts) => Tree::Any(all(parts, to)?),
        })
    }
}

/// A condition whose names nobody has looked at yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Typed {
    text: String,
    tree: Tree<Name>,
}

/// A name as it was typed, and where in the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Name {
    pub text: String,
    pub at: Range<usize>,
}

/// What is wrong, and where in the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wrong {
    pub at: Range<usize>,
    pub message: String,
    pub remedy: String,
}

impl Typed {
    pub(super) fn parse(text: &str) -> Result<Self, Wrong> {
        let tokens = tokens(text)?;
        let mut parser = Parser { tokens: &tokens, next: 0, depth: 0 };
        let tree = parser.any()?;
        if let Some(token) = parser.peek() {
            return Err(parser.left_over(token));
        }
        Ok(Self { text: text.split_whitespace().collect::<Vec<_>>().join(" "), tree })
    }

    /// The condition, with the label that each name means; `None` if one of them means none, and that was told.
    pub(super) fn resolve(&self, mut label: impl FnMut(&Name) -> Option<LabelName>) -> Option<Condition> {
        Some(Condition { text: self.text.clone(), tree: self.tree.map(&mut label)? })
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Token {
    kind: Kind,
    at: Range<usize>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Open,
    Close,
    And,
    Or,
    Not,
    Name(String),
}

impl Kind {
    fn shown(&self) -> String {
        match self {
            Self::Open => "`(`".to_owned(),
            Self::Close => "`)`".to_owned(),
            Self::And => "`and`".to_owned(),
            Self::Or => "`or`".to_owned(),
            Self::Not => "`not`".to_owned(),
            Self::Name(name) => format!("`{}`", super::mask::shown(name)),
        }
    }
}

fn wrong<T>(at: Range<usize>, message: impl Into<String>, remedy: impl Into<String>) -> Result<T, Wrong> {
    Err(Wrong { at, message: message.into(), remedy: remedy.into() })
}

fn tokens(text: &str) -> Result<Vec<Token>, Wrong> {
    let mut tokens: Vec<Token> = vec![];
    let mut at = 0;
    while let Some(letter) = text[at..].chars().next() {
        let rest = &text[at..];
        match letter {
            letter if letter.is_whitespace() => at += letter.len_utf8(),
            '(' | ')' => {
                let kind = if letter == '(' { Kind::Open } else { Kind::Close };
                tokens.push(Token { kind, at: at..at + 1 });
                at += 1;
            }
            '"' | '\'' => {
                let Some(end) = rest[1..].find(letter) else {
                    return wrong(
                        at..at + 1,
                        format!("this `{letter}` is not closed"),
                        "close it behind the name",
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

fn add_word(tokens: &mut Vec<Token>, word: &str, at: Range<usize>) -> Result<(), Wrong> {
    let kind = match word {
        "and" => Kind::And,
        "or" => Kind::Or,
        "not" => Kind::Not,
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
                return wrong(at, format!("`{}` is no word here", super::mask::shown(sign)), remedy);
            }
            add_name(tokens, word, at);
            return Ok(());
        }
    };
    tokens.push(Token { kind, at });
    Ok(())
}

/// Words that stand behind each other are one name; what touches in the text touches in the name, too: `yard/"red car"`.
fn add_name(tokens: &mut Vec<Token>, part: &str, at: Range<usize>) {
    if let Some(Token { kind: Kind::Name(name), at: before }) = tokens.last_mut() {
        if before.end != at.start {
            name.push(' ');
        }
        name.push_str(part);
        before.end = at.end;
        return;
    }
    tokens.push(Token { kind: Kind::Name(part.to_owned()), at });
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

    fn takes(&mut self, kind: &Kind) -> bool {
        let is_next = self.peek().is_some_and(|token| token.kind == *kind);
        self.next += usize::from(is_next);
        is_next
    }

    fn any(&mut self) -> Result<Tree<Name>, Wrong> {
        let mut parts = vec![self.all()?];
        while self.takes(&Kind::Or) {
            parts.push(self.all()?);
        }
        Ok(one_or(parts, Tree::Any))
    }

    fn all(&mut self) -> Result<Tree<Name>, Wrong> {
        let mut parts = vec![self.one()?];
        while self.takes(&Kind::And) {
            parts.push(self.one()?);
        }
        Ok(one_or(parts, Tree::All))
    }

    fn one(&mut self) -> Result<Tree<Name>, Wrong> {
        let Some(token) = self.peek() else { return self.missing() };
        match &token.kind {
            Kind::Name(name) => {
                self.next += 1;
                Ok(Tree::Name(Name { text: name.clone(), at: token.at.clone() }))
            }
            Kind::Not | Kind::Open if self.depth == DEEPEST => {
                wrong(token.at.clone(), "this is nested too deeply", "split it into several rules")
            }
            Kind::Not => {
                (self.next, self.depth) = (self.next + 1, self.depth + 1);
                let part = self.one()?;
                self.depth -= 1;
                Ok(Tree::Not(Box::new(part)))
            }
            Kind::Open => {
                (self.next, self.depth) = (self.next + 1, self.depth + 1);
                let part = self.any()?;
                self.depth -= 1;
                match self.peek() {
                    Some(next) if next.kind == Kind::Close => self.next += 1,
                    Some(next) => return Err(self.left_over(next)),
                    None => return wrong(token.at.clone(), "this `(` is not closed", "close it with `)`"),
                }
                Ok(part)
            }
            Kind::Close | Kind::And | Kind::Or => self.missing(),
        }
    }

    /// Where a label should stand, there is something else or nothing.
    fn missing<T>(&self) -> Result<T, Wrong> {
        let remedy = "name a label there, such as `person and not dog`";
        match (self.next.checked_sub(1).and_then(|before| self.tokens.get(before)), self.peek()) {
            (Some(before), None) => {
                wrong(before.at.clone(), format!("behind {} there is no label", before.kind.shown()), remedy)
            }
            (Some(before), Some(next)) => {
                let message =
                    format!("between {} and {} there is no label", before.kind.shown(), next.kind.shown());
                wrong(before.at.start..next.at.end, message, remedy)
            }
            (None, Some(next)) => {
                wrong(next.at.clone(), format!("before {} there is no label", next.kind.shown()), remedy)
            }
            (None, None) => wrong(0..0, "there is no label", remedy),
        }
    }

    /// Behind what is whole something else stands than `and`, `or` or the end.
    fn left_over(&self, token: &Token) -> Wrong {
        let at = token.at.clone();
        if token.kind == Kind::Close {
            return Wrong {
                at,
                message: "this `)` has no `(`".to_owned(),
                remedy: "remove it, or open it before".to_owned(),
            };
        }
        let before = self.tokens[..self.next].last().map_or(String::new(), |before| before.kind.shown());
        Wrong {
            at,
            message: format!("between {before} and {} there is neither `and` nor `or`", token.kind.shown()),
            remedy: "say how they belong together: `person and not dog`".to_owned(),
        }
    }
}

fn one_or(mut parts: Vec<Tree<Name>>, several: impl FnOnce(Vec<Tree<Name>>) -> Tree<Name>) -> Tree<Name> {
    if parts.len() > 1 { several(parts) } else { parts.remove(0) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn condition(text: &str) -> Result<Condition, String> {
        let name = |name: &Name| Some(LabelName { label_set: "s".to_owned(), label: name.text.clone() });
        Typed::parse(text)
            .map(|typed| typed.resolve(name).unwrap())
            .map_err(|wrong| format!("{}..{} {}", wrong.at.start, wrong.at.end, wrong.message))
    }

    /// The tree in short, every bracket shown.
    fn short(tree: &Tree<LabelName>) -> String {
        let all = |parts: &[Tree<LabelName>], sign: &str| {
            format!("({})", parts.iter().map(short).collect::<Vec<_>>().join(sign))
        };
        match tree {
            Tree::Name(name) => name.label.clone(),
            Tree::Not(part) => format!("!{}", short(part)),
            Tree::All(parts) => all(parts, "&"),
            Tree::Any(parts) => all(parts, "|"),
        }
    }

    #[test]
    fn what_is_meant() {
        for (text, expected) in [
            ("person", "person"),
            ("person and not dog", "(person&!dog)"),
            ("a or b and c or d", "(a|(b&c)|d)"),
            ("(a or b) and c", "((a|b)&c)"),
            ("not (a or b) and not not c", "(!(a|b)&!!c)"),
            ("red car and green  tree", "(red car&green tree)"),
            ("\"red  car\" or 'rock and roll'", "(red  car|rock and roll)"),
            ("yard/\"red car\" and(dog)", "(yard/red car&dog)"),
            ("Größe 2 and 猫", "(Größe 2&猫)"),
            ("\n person\n and dog ", "(person&dog)"),
            ("android or notary", "(android|notary)"),
        ] {
            assert_eq!(condition(text).map(|read| short(&read.tree)).as_deref(), Ok(expected), "{text}");
        }
        assert_eq!(condition(" a\n and  b ").unwrap().text(), "a and b");
    }

    #[test]
    fn what_is_wrong_and_where() {
        for (text, expected) in [
            ("", "0..0 there is no label"),
            ("person and", "7..10 behind `and` there is no label"),
            ("or person", "0..2 before `or` there is no label"),
            ("a and or b", "2..8 between `and` and `or` there is no label"),
            ("()", "0..2 between `(` and `)` there is no label"),
            ("a and (b or c", "6..7 this `(` is not closed"),
            ("a) and b", "1..2 this `)` has no `(`"),
            ("a not b", "2..5 between `a` and `not` there is neither `and` nor `or`"),
            ("a (b)", "2..3 between `a` and `(` there is neither `and` nor `or`"),
            ("(a) b", "4..5 between `)` and `b` there is neither `and` nor `or`"),
            ("a and \"b", "6..7 this `\"` is not closed"),
            ("a AND b", "2..5 `AND` is no word here"),
            ("a && b", "2..4 `&&` is no word here"),
            ("!dog", "0..4 `!` is no word here"),
            (&"(".repeat(100_000), "32..33 this is nested too deeply"),
            (&"not ".repeat(100_000), "128..131 this is nested too deeply"),
        ] {
            let shown = text.chars().take(40).collect::<String>();
            assert_eq!(condition(text).map(|read| short(&read.tree)), Err(expected.to_owned()), "{shown}");
        }
        assert_eq!(Typed::parse("!dog").unwrap_err().remedy, "write `not dog`");
        assert_eq!(Typed::parse("a Or b").unwrap_err().remedy, "write `or`");
    }

    #[test]
    fn what_is_not_known_counts_only_where_it_matters() {
        let there = |name: &LabelName| match &*name.label {
            "yes" => Some(true),
            "no" => Some(false),
            _ => None,
        };
        for (text, expected) in [
            ("yes and not no", Some(true)),
            ("yes and no", Some(false)),
            ("yes and who knows", None),
            ("no and who knows", Some(false)),
            ("yes or who knows", Some(true)),
            ("no or who knows", None),
            ("not who knows", None),
            ("not (no or who knows) and no", Some(false)),
        ] {
            assert_eq!(condition(text).unwrap().is_met(there), expected, "{text}");
        }
        let labels = condition("b and (a or not b)").unwrap();
        let labels: Vec<_> = labels.labels().into_iter().map(|name| &*name.label).collect();
        assert_eq!(labels, ["b", "a"]);
    }

    proptest! {
        #[test]
        fn no_text_is_too_odd(text in r#"([ab/"'()!é ]|and |or |not ){0,20}"#) {
            match Typed::parse(&text) {
                Ok(typed) => {
                    let label = |name: &Name| LabelName { label_set: String::new(), label: name.text.clone() };
                    let condition = typed.resolve(|name| Some(label(name))).unwrap();
                    prop_assert!(!condition.labels().is_empty());
                }
                Err(wrong) => prop_assert!(text.get(wrong.at).is_some()),
            }
        }
    }
}
