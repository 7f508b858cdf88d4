//! What a rule over labels asks for: `person and not (dog or cat)`. Pure.
//!
//! `not` binds more closely than `and`, and `and` more closely than `or`. A name may have several words; one that holds a bracket,
//! a quotation mark or one of the three words stands in quotes. It refuses to know which labels there are: [`Typed::resolve`]
//! is told.

mod parse;

#[cfg(test)]
use self::parse::Name;
pub(crate) use self::parse::Typed;

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
