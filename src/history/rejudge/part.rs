//! One label of a setup, with what decides about it: a rule needs the labels of its conditions. Pure.

use crate::{
    history::scores::Columns,
    judge::{LabelSetup, LabelState, SetSetup, Setup},
    policy::LabelName,
};

/// The part of a setup that decides about one label or rule. It has every label that decides about it in any of the setups: the state of
/// a label continues while another condition is in force.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct LabelPart {
    /// Without all other labels and rules.
    pub(super) setup: Setup,
    /// The scores of its labels.
    pub(super) columns: Columns,
    /// The numbers of its labels and rules in the order of [`Setup::all`], ascending.
    states: Vec<usize>,
}

impl LabelPart {
    /// The labels and rules of `recorded` with these names.
    pub(super) fn of(recorded: &Setup, needed: &[LabelName]) -> Self {
        let is_needed = |set: &SetSetup, label: &LabelSetup| {
            needed.iter().any(|it| it.label_set == set.name && it.label == label.name)
        };
        let mut part = Self {
            setup: Setup { model: recorded.model.clone(), sets: vec![] },
            columns: Columns { labels: vec![], sets: vec![] },
            states: vec![],
        };
        let (mut state, mut column) = (0, 0);
        for (number, set) in recorded.sets.iter().enumerate() {
            let mut own = SetSetup { name: set.name.clone(), labels: vec![], rules: vec![] };
            for label in set.labels.iter().chain(&set.rules) {
                let is_rule = label.when.is_some();
                if is_needed(set, label) {
                    part.states.push(state);
                    if is_rule {
                        own.rules.push(label.clone());
                    } else {
                        part.columns.labels.push(column);
                        own.labels.push(label.clone());
                    }
                }
                state += 1;
                column += usize::from(!is_rule);
            }
            if !own.labels.is_empty() || !own.rules.is_empty() {
                part.columns.sets.push(number);
                part.setup.sets.push(own);
            }
        }
        part
    }

    /// Keeps the states of this part, of those of the whole setup.
    pub(super) fn select(&self, states: &mut Vec<LabelState>) {
        let mut number = 0;
        states.retain(|_| {
            number += 1;
            self.states.binary_search(&(number - 1)).is_ok()
        });
    }
}

/// What decides about a label in any of these setups: the label itself, and for a rule the labels of its conditions.
pub(super) fn needed<'s>(setups: impl IntoIterator<Item = &'s Setup>, name: &LabelName) -> Vec<LabelName> {
    let is_it =
        |(set, label): &(&SetSetup, &LabelSetup)| set.name == name.label_set && label.name == name.label;
    let mut needed = vec![name.clone()];
    for (_, label) in setups.into_iter().flat_map(Setup::all).filter(is_it) {
        for over in label.when.iter().flat_map(|when| when.labels()) {
            if !needed.contains(over) {
                needed.push(over.clone());
            }
        }
    }
    needed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Condition, Silence, TriggerSettings};

    fn label(name: &str, when: Option<&str>) -> LabelSetup {
        LabelSetup {
            name: name.to_owned(),
            trigger: TriggerSettings::at(0.6),
            over: None,
            active: None,
            severity: None,
            message: None,
            silence: Silence::default(),
            when: when.map(|when| Condition::of("yard", when)),
            of: String::new(),
        }
    }

    fn setup() -> Setup {
        let set = |name: &str, labels, rules| SetSetup { name: name.to_owned(), labels, rules };
        let yard = vec![label("person", None), label("dog", None)];
        let rules = vec![label("pet", Some("dog")), label("visitor", Some("porch/person and not dog"))];
        let porch = vec![label("parcel", None), label("person", None)];
        Setup { model: "m".to_owned(), sets: vec![set("yard", yard, rules), set("porch", porch, vec![])] }
    }

    /// The names of a part, its columns, its label sets and its states.
    fn parts(label_set: &str, label: &str) -> (Vec<String>, Vec<usize>, Vec<usize>, Vec<usize>) {
        let name = LabelName { label_set: label_set.to_owned(), label: label.to_owned() };
        let LabelPart { setup, columns, states } = LabelPart::of(&setup(), &needed([&setup()], &name));
        let names = setup.all().map(|(set, label)| format!("{}/{}", set.name, label.name)).collect();
        (names, columns.labels, columns.sets, states)
    }

    #[test]
    fn a_label_needs_its_column_and_a_rule_the_labels_of_its_condition() {
        let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(parts("yard", "dog"), (names(&["yard/dog"]), vec![1], vec![0], vec![1]));
        assert_eq!(parts("porch", "person"), (names(&["porch/person"]), vec![3], vec![1], vec![5]));
        assert_eq!(parts("yard", "pet"), (names(&["yard/dog", "yard/pet"]), vec![1], vec![0], vec![1, 2]));
        let visitor = names(&["yard/dog", "yard/visitor", "porch/person"]);
        assert_eq!(parts("yard", "visitor"), (visitor, vec![1, 3], vec![0, 1], vec![1, 3, 5]));
        assert_eq!(parts("yard", "cat"), (vec![], vec![], vec![], vec![]));
        assert_eq!(parts("porch", "dog"), (vec![], vec![], vec![], vec![]));
    }

    #[test]
    fn a_rule_needs_the_labels_of_all_its_conditions() {
        let name = |label_set: &str, label: &str| LabelName {
            label_set: label_set.to_owned(),
            label: label.to_owned(),
        };
        let mut other = setup();
        other.sets[0].rules[1].when = Some(Condition::of("yard", "person or dog"));
        let expected = [("yard", "visitor"), ("porch", "person"), ("yard", "dog"), ("yard", "person")];
        let found = needed([&setup(), &other], &name("yard", "visitor"));
        assert_eq!(found, expected.map(|(set, label)| name(set, label)));
        assert_eq!(LabelPart::of(&other, &found).states, [0, 1, 3, 5], "`porch/person` was needed before");
    }

    #[test]
    fn states_are_those_of_the_part() {
        let name = LabelName { label_set: "yard".to_owned(), label: "visitor".to_owned() };
        let state = |seen: u8| {
            let mut state = LabelState::default();
            state.presence.seen = seen;
            state
        };
        let mut states: Vec<_> = (0..6).map(state).collect();
        LabelPart::of(&setup(), &needed([&setup()], &name)).select(&mut states);
        assert_eq!(states, [1, 3, 5].map(state));
    }
}
