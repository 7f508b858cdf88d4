//! Conditions over labels: `person and not (dog or cat)`. Pure.
//!
//! `not` binds more closely than `and`, and `and` more closely than `or`. A name may have several words; a name with a bracket, a
//! quotation mark or one of the three words needs quotes. Names are resolved to labels by the caller of `Parsed::resolve`.

mod parse;

use serde::{Deserialize, Serialize};

pub(crate) use self::parse::Parsed;
use self::parse::{Name, Tree};

/// A condition over labels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condition {
    text: String,
    tree: Tree<LabelName>,
}

/// A label by its full name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabelName {
    /// The label set.
    pub label_set: String,
    /// The label.
    pub label: String,
}

impl Parsed {
    /// The condition with the label of each name; `None` if a name has none, which `label` has reported.
    pub(crate) fn resolve(&self, mut label: impl FnMut(&Name) -> Option<LabelName>) -> Option<Condition> {
        Some(Condition { text: self.text.clone(), tree: self.tree.map(&mut label)? })
    }
}

impl Condition {
    /// Whether it is met. `is_present` says whether a label is present; `None` is unknown, and so is an answer that depends on
    /// such a label.
    pub fn is_met(&self, is_present: impl Fn(&LabelName) -> Option<bool>) -> Option<bool> {
        self.tree.is_met(&is_present)
    }

    /// The labels that keep it from being met, each once, with whether they are present. Empty exactly if the condition is met. Where
    /// one of several labels would be enough (`or`), all of them are given.
    pub fn in_the_way(
        &self,
        is_present: impl Fn(&LabelName) -> Option<bool>,
    ) -> Vec<(&LabelName, Option<bool>)> {
        let mut found = vec![];
        self.tree.in_the_way(true, &is_present, &mut found);
        let mut different: Vec<(&LabelName, Option<bool>)> = Vec::with_capacity(found.len());
        found.into_iter().for_each(|label| {
            if !different.contains(&label) {
                different.push(label);
            }
        });
        different
    }

    /// The labels in the order of the text, each once.
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

    /// The text on one line.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }
}

#[cfg(test)]
impl Condition {
    /// For tests: a name without a set is a label of `set`.
    pub(crate) fn of(set: &str, text: &str) -> Self {
        let label = |name: &Name| {
            let (label_set, label) = name.text.split_once('/').unwrap_or((set, &name.text));
            Some(LabelName { label_set: label_set.to_owned(), label: label.to_owned() })
        };
        Parsed::parse(text).unwrap().resolve(label).unwrap()
    }
}

impl<N> Tree<N> {
    fn is_met(&self, is_present: &impl Fn(&N) -> Option<bool>) -> Option<bool> {
        // One decisive part is enough, even if others are unknown.
        let decided = |parts: &[Self], by: bool| {
            let mut answer = Some(!by);
            for part in parts {
                match part.is_met(is_present) {
                    Some(met) if met == by => return Some(by),
                    Some(_) => {}
                    None => answer = None,
                }
            }
            answer
        };
        match self {
            Self::Name(name) => is_present(name),
            Self::Not(part) => part.is_met(is_present).map(|met| !met),
            Self::All(parts) => decided(parts, false),
            Self::Any(parts) => decided(parts, true),
        }
    }

    /// Adds the names that keep the answer from being `wanted`, with whether they are present.
    fn in_the_way<'t>(
        &'t self,
        wanted: bool,
        is_present: &impl Fn(&N) -> Option<bool>,
        found: &mut Vec<(&'t N, Option<bool>)>,
    ) {
        match self {
            Self::Name(name) => {
                let present = is_present(name);
                if present != Some(wanted) {
                    found.push((name, present));
                }
            }
            Self::Not(part) => part.in_the_way(!wanted, is_present, found),
            Self::All(parts) | Self::Any(parts) => {
                let all_count = matches!(self, Self::All(_)) == wanted;
                let before = found.len();
                for part in parts {
                    let length = found.len();
                    part.in_the_way(wanted, is_present, found);
                    // One part is enough, and this one is as wanted.
                    if !all_count && found.len() == length {
                        found.truncate(before);
                        return;
                    }
                }
            }
        }
    }

    fn names<'t>(&'t self, found: &mut Vec<&'t N>) {
        match self {
            Self::Name(name) => found.push(name),
            Self::Not(part) => part.names(found),
            Self::All(parts) | Self::Any(parts) => parts.iter().for_each(|part| part.names(found)),
        }
    }

    /// The same with other names. All names are mapped, so that one mistake does not hide the next.
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
        Parsed::parse(text)
            .map(|parsed| parsed.resolve(name).unwrap())
            .map_err(|wrong| format!("{}..{} {}", wrong.at.start, wrong.at.end, wrong.message))
    }

    /// The tree in a short form with all brackets.
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
    fn conditions_are_parsed() {
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
    fn mistakes_have_a_place() {
        for (text, expected) in [
            ("", "0..0 there is no label"),
            ("person and", "7..10 there is no label after `and`"),
            ("or person", "0..2 there is no label before `or`"),
            ("a and or b", "2..8 there is no label between `and` and `or`"),
            ("()", "0..2 there is no label between `(` and `)`"),
            ("a and (b or c", "6..7 this `(` is not closed"),
            ("a) and b", "1..2 this `)` has no `(`"),
            ("a not b", "2..5 there is no `and` or `or` between `a` and `not`"),
            ("a (b)", "2..3 there is no `and` or `or` between `a` and `(`"),
            ("(a) b", "4..5 there is no `and` or `or` between `)` and `b`"),
            ("a and \"b", "6..7 this `\"` is not closed"),
            ("a AND b", "2..5 `AND` is not an operator"),
            ("a && b", "2..4 `&&` is not an operator"),
            ("!dog", "0..4 `!` is not an operator"),
            (&"(".repeat(100_000), "32..33 this is nested too deeply"),
            (&"not ".repeat(100_000), "128..131 this is nested too deeply"),
        ] {
            let shown = text.chars().take(40).collect::<String>();
            assert_eq!(condition(text).map(|read| short(&read.tree)), Err(expected.to_owned()), "{shown}");
        }
        assert_eq!(Parsed::parse("!dog").unwrap_err().remedy, "write `not dog`");
        assert_eq!(Parsed::parse("a Or b").unwrap_err().remedy, "write `or`");
    }

    #[test]
    fn an_unknown_label_matters_only_if_the_answer_depends_on_it() {
        let present = |name: &LabelName| match &*name.label {
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
            assert_eq!(condition(text).unwrap().is_met(present), expected, "{text}");
        }
        let labels = condition("b and (a or not b)").unwrap();
        let labels: Vec<_> = labels.labels().into_iter().map(|name| &*name.label).collect();
        assert_eq!(labels, ["b", "a"]);
    }

    #[test]
    fn labels_that_are_in_the_way() {
        let present = |name: &LabelName| match &*name.label {
            "yes" | "here" => Some(true),
            "no" | "gone" => Some(false),
            _ => None,
        };
        for (text, expected) in [
            ("yes and here", ""),
            ("yes and no and gone", "no-, gone-"),
            ("yes and not here", "here+"),
            ("no or gone", "no-, gone-"),
            ("no or yes", ""),
            ("not (yes and here)", "yes+, here+"),
            ("not (yes and no)", ""),
            ("not (yes or no)", "yes+"),
            ("who and (no or gone) and not here", "who?, no-, gone-, here+"),
            ("no and (no or yes) and not not no", "no-"),
        ] {
            let condition = condition(text).unwrap();
            let sign = |present| match present {
                Some(true) => '+',
                Some(false) => '-',
                None => '?',
            };
            let found = condition.in_the_way(present).into_iter();
            let found: Vec<_> =
                found.map(|(name, present)| format!("{}{}", name.label, sign(present))).collect();
            assert_eq!(found.join(", "), expected, "{text}");
            assert_eq!(condition.is_met(present) == Some(true), found.is_empty(), "{text}");
        }
    }

    proptest! {
        /// Nothing is in the way of a condition exactly if it is met.
        #[test]
        fn a_label_is_in_the_way_of_every_condition_that_is_not_met(
            text in "(not )?[a-d]( (and|or) (not )?(\\((not )?[a-d] (and|or) [a-d]\\)|[a-d])){0,4}",
            states in prop::array::uniform4(prop::option::of(any::<bool>())),
        ) {
            let present = |name: &LabelName| states[usize::from(name.label.as_bytes()[0] - b'a')];
            let condition = condition(&text).unwrap();
            let found = condition.in_the_way(present);
            prop_assert_eq!(found.is_empty(), condition.is_met(present) == Some(true));
            prop_assert!(found.iter().all(|(name, state)| *state == present(name)));
        }

        #[test]
        fn no_text_panics(text in r#"([ab/"'()!é ]|and |or |not ){0,20}"#) {
            match Parsed::parse(&text) {
                Ok(parsed) => {
                    let label = |name: &Name| LabelName { label_set: String::new(), label: name.text.clone() };
                    let condition = parsed.resolve(|name| Some(label(name))).unwrap();
                    prop_assert!(!condition.labels().is_empty());
                }
                Err(wrong) => prop_assert!(text.get(wrong.at).is_some()),
            }
        }
    }
}
