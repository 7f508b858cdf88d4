//! Gives every name of a configuration a topic level of its own, and an identifier of its own for Home Assistant.
//!
//! Identity is the name as typed. Two names whose levels would be equal get a suffix, a short hash of the name, so neither the
//! order of the file nor other names change it. A name keeps the level that it had before: a name that is
//! added later never takes over the topics of another one. Pure: the daemon keeps the names on disk.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{own_topic, slug, topic_level};

/// The hexadecimal digits of a suffix: few, and more only if few are not enough.
const SUFFIXES: [usize; 3] = [6, 12, 64];

/// How a name is spelt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Level {
    /// The level in topics.
    pub topic: String,
    /// The part of identifiers of Home Assistant, in ASCII. Equals `topic` where that is ASCII.
    pub id: String,
}

impl Level {
    /// The spelling of a name that is alone.
    #[must_use]
    pub fn alone(name: &str) -> Self {
        let topic = topic_level(name);
        Self { id: id_of(&topic), topic }
    }
}

/// The levels of the sources, label sets and labels of a configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Names {
    #[serde(flatten)]
    current: Spelling,
    /// The levels of the names before. Some of these names may be removed, and their topics are still to be cleared.
    #[serde(skip)]
    former: Spelling,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Spelling {
    sources: Siblings,
    label_sets: Siblings,
    /// By label set: its labels and its rules over labels, which share their topics.
    labels: BTreeMap<String, Siblings>,
}

/// Names that are levels below the same level.
type Siblings = BTreeMap<String, Level>;

impl Names {
    /// The levels of `sources` and of `label_sets` with their labels. Names keep the levels that they have in `before`.
    pub fn of<'n, L: IntoIterator<Item = &'n str>>(
        sources: impl IntoIterator<Item = &'n str>,
        label_sets: impl IntoIterator<Item = (&'n str, L)>,
        before: &Self,
    ) -> Self {
        let before = &before.current;
        let mut current = Spelling {
            sources: spell(sources, &before.sources, |level| own_topic(level).is_some()),
            ..Spelling::default()
        };
        let mut sets = Vec::new();
        for (set, labels) in label_sets {
            let nothing = Siblings::new();
            let labels = spell(labels, before.labels.get(set).unwrap_or(&nothing), |_| false);
            current.labels.insert(set.to_owned(), labels);
            sets.push(set);
        }
        current.label_sets = spell(sets, &before.label_sets, |_| false);
        Self { current, former: before.clone() }
    }

    /// These names with one more source, which changes the level of no other name, and without the source `gone`, whose topics
    /// are still to be cleared. This takes less time than [`Self::of`].
    #[must_use]
    pub fn with_source(&self, name: &str, gone: Option<&str>) -> Self {
        let mut names = self.clone();
        let Self { current: Spelling { sources, .. }, former } = &mut names;
        if let Some((gone, level)) = gone.and_then(|gone| sources.remove_entry(gone)) {
            former.sources.insert(gone, level);
        }
        if !sources.contains_key(name) {
            sources.insert(name.to_owned(), spell_one_more(name, sources));
        }
        names
    }

    /// The level of a source.
    #[must_use]
    pub fn source(&self, name: &str) -> Level {
        self.find(|spelling| spelling.sources.get(name), name)
    }

    /// The level of a label set.
    #[must_use]
    pub fn label_set(&self, name: &str) -> Level {
        self.find(|spelling| spelling.label_sets.get(name), name)
    }

    /// The level of a label, or of a rule over labels, of a label set.
    #[must_use]
    pub fn label(&self, label_set: &str, name: &str) -> Level {
        self.find(|spelling| spelling.labels.get(label_set)?.get(name), name)
    }

    fn find<'s>(&'s self, of: impl Fn(&'s Spelling) -> Option<&'s Level>, name: &str) -> Level {
        let known = of(&self.current).or_else(|| of(&self.former)).cloned();
        known.unwrap_or_else(|| Level::alone(name))
    }
}

/// The levels of `names`. A level that is `reserved` is used by no name.
fn spell<'n>(
    names: impl IntoIterator<Item = &'n str>,
    before: &Siblings,
    reserved: impl Fn(&str) -> bool,
) -> Siblings {
    let names: BTreeSet<_> = names.into_iter().collect();
    let topics =
        distinct(&names, topic_level, |name| Some(&*before.get(name)?.topic), BTreeSet::new(), reserved);
    let (ascii, others): (BTreeSet<&str>, _) =
        names.iter().copied().partition(|name| topics[name].is_ascii());
    // An ASCII level is the identifier, too, as it was before other scripts had levels.
    let taken = ascii.iter().map(|name| topics[name].clone()).collect();
    let mut ids =
        distinct(&others, |name| id_of(&topics[name]), |name| Some(&*before.get(name)?.id), taken, |_| false);
    let level = |(name, topic): (&str, String)| {
        let id = ids.remove(name).unwrap_or_else(|| topic.clone());
        (name.to_owned(), Level { topic, id })
    };
    topics.into_iter().map(level).collect()
}

/// The level of a source that is added to others, which keep theirs. An ASCII level is the identifier, too.
fn spell_one_more(name: &str, others: &Siblings) -> Level {
    let numbered = || (2..).map(|number: u64| format!("{}_{number}", hash(name)));
    let is_free = |topic: &String| {
        let ascii = topic.is_ascii();
        let takes = |other: &Level| other.topic == *topic || ascii && other.id == *topic;
        own_topic(topic).is_none() && !others.values().any(takes)
    };
    let plain = topic_level(name);
    let topic = candidates(name, &plain).chain(numbered()).find(is_free).unwrap_or_else(|| hash(name));
    if topic.is_ascii() {
        return Level { id: topic.clone(), topic };
    }
    let is_free = |id: &String| !others.values().any(|other| other.id == *id);
    let plain = id_of(&topic);
    let id = candidates(name, &plain).chain(numbered()).find(is_free).unwrap_or_else(|| hash(name));
    Level { topic, id }
}

/// A different text for each name: the one `before`, otherwise the `plain` one if no other name wants it, otherwise that with a
/// suffix. Texts that are `taken` or `reserved` are not used.
fn distinct<'n, 'b>(
    names: &BTreeSet<&'n str>,
    plain: impl Fn(&str) -> String,
    before: impl Fn(&str) -> Option<&'b str>,
    mut taken: BTreeSet<String>,
    reserved: impl Fn(&str) -> bool,
) -> BTreeMap<&'n str, String> {
    let mut given = BTreeMap::new();
    let mut give = |given: &mut BTreeMap<&'n str, String>, name: &'n str, text: String| {
        let free = !reserved(&text) && taken.insert(text.clone());
        if free {
            given.insert(name, text);
        }
        free
    };
    for name in names {
        // A file could say anything.
        let is_own = |text: &&str| candidates(name, &plain(name)).any(|own| own == *text);
        if let Some(text) = before(name).filter(is_own) {
            give(&mut given, name, text.to_owned());
        }
    }
    let mut wanted: BTreeMap<String, usize> = BTreeMap::new();
    let left: Vec<_> = names.iter().copied().filter(|name| !given.contains_key(name)).collect();
    left.iter().for_each(|name| *wanted.entry(plain(name)).or_default() += 1);
    let (alone, together): (Vec<_>, Vec<_>) = left.into_iter().partition(|name| wanted[&plain(name)] == 1);
    let alone: Vec<_> = alone.into_iter().filter(|name| !give(&mut given, name, plain(name))).collect();
    for name in alone.into_iter().chain(together) {
        // Names can be chosen so that they are the spellings of another one: then it gets a number, too.
        let numbered = (2..).map(|number: u64| format!("{}_{number}", hash(name)));
        for text in candidates(name, &plain(name)).skip(1).chain(numbered) {
            if give(&mut given, name, text) {
                break;
            }
        }
    }
    given
}

/// The texts that a name may get: the plain one, and that with suffixes.
fn candidates(name: &str, plain: &str) -> impl Iterator<Item = String> {
    let hash = hash(name);
    // No level has two `_` in a row.
    let begin = plain.trim_end_matches('_').to_owned();
    let suffixed = move |digits: usize| format!("{begin}_{}", &hash[..digits]);
    std::iter::once(plain.to_owned()).chain(SUFFIXES.map(suffixed))
}

/// The hash of a name in hexadecimal digits.
fn hash(name: &str) -> String {
    Sha256::digest(name).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The identifier of a level.
fn id_of(topic: &str) -> String {
    if topic.is_ascii() { topic.to_owned() } else { slug(topic) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(sources: &[&str], before: &Names) -> Names {
        Names::of(sources.iter().copied(), [("porch", ["C++", "C#", "猫"])], before)
    }

    fn topics(names: &Names, of: &[&str]) -> Vec<String> {
        of.iter().map(|name| names.source(name).topic).collect()
    }

    #[test]
    fn names_in_every_script_have_levels_and_identifiers_of_their_own() {
        let names = names(&["前门", "后门", "Front Door", "grüner Baum"], &Names::default());
        let level = |topic: &str, id: &str| Level { topic: topic.to_owned(), id: id.to_owned() };
        assert_eq!(names.source("前门"), level("前门", "qian_men"));
        assert_eq!(names.source("后门"), level("后门", "hou_men"));
        assert_eq!(names.source("Front Door"), level("front_door", "front_door"));
        assert_eq!(names.source("grüner Baum"), level("grüner_baum", "gruner_baum"));
        assert_eq!(names.label("porch", "猫"), level("猫", "mao"));
        assert_eq!(names.source("unknown name"), level("unknown_name", "unknown_name"));
    }

    #[test]
    fn equal_spellings_get_suffixes_that_do_not_depend_on_the_order() {
        let all = ["Front Door", "front door", "front_door", "back", "🐱", "🐶", "Config"];
        let spelt = names(&all, &Names::default());
        let reversed: Vec<_> = all.iter().rev().copied().collect();
        assert_eq!(names(&reversed, &Names::default()), spelt);
        let levels = topics(&spelt, &all);
        assert_eq!(levels.iter().collect::<BTreeSet<_>>().len(), all.len(), "{levels:?}");
        assert_eq!(levels[3], "back");
        for (at, begin) in
            [(0, "front_door_"), (1, "front_door_"), (2, "front_door_"), (4, "_"), (5, "_"), (6, "config_")]
        {
            let suffix = levels[at].strip_prefix(begin).unwrap();
            assert!(suffix.len() == 6 && suffix.chars().all(|digit| digit.is_ascii_hexdigit()), "{levels:?}");
        }
        let labels = ["C++", "C#"].map(|label| spelt.label("porch", label).topic);
        assert!(labels[0] != labels[1] && labels.iter().all(|level| level.starts_with("c_")), "{labels:?}");
    }

    #[test]
    fn a_name_keeps_its_level_when_others_appear_and_go() {
        let first = names(&["Front Door", "门"], &Names::default());
        let both = names(&["front_door", "Front Door", "门", "men"], &first);
        assert_eq!(both.source("Front Door").topic, "front_door");
        let new = both.source("front_door").topic;
        assert!(new.starts_with("front_door_") && new.len() > 11, "{new}");
        // ASCII names keep their identifiers above all.
        assert_eq!(both.source("men").id, "men");
        assert!(both.source("门").id.starts_with("men_"));
        let left = names(&["front_door"], &both);
        assert_eq!(left.source("front_door").topic, new);
        assert_eq!(left.source("Front Door").topic, "front_door", "its topics are still to be cleared");
        let read: Names = serde_json::from_str(&serde_json::to_string(&both).unwrap()).unwrap();
        assert_eq!(
            names(&["Front Door", "front_door", "men", "门"], &read),
            names(&["Front Door", "front_door", "men", "门"], &both)
        );
    }

    #[test]
    fn one_more_source_changes_no_other_level_also_after_a_restart() {
        let mut all = names(&["Front Door", "门", "Config 2"], &Names::default());
        let added = ["front_door", "FRONT DOOR", "men", "门 ", "config", "back", "后门", "Front Door"];
        for name in added {
            let before = all.clone();
            all = all.with_source(name, None);
            for known in before.current.sources.keys() {
                assert_eq!(all.source(known), before.source(known), "{known} after {name}");
            }
        }
        let sources: Vec<_> = all.current.sources.keys().map(String::as_str).collect();
        assert_eq!(sources.len(), 10);
        let distinct = |part: fn(&Level) -> &String| {
            all.current.sources.values().map(part).collect::<BTreeSet<_>>().len()
        };
        assert_eq!((distinct(|level| &level.topic), distinct(|level| &level.id)), (10, 10), "{all:?}");
        assert_eq!(all.source("back").topic, "back");
        assert_eq!(all.source("后门").id, "hou_men");
        assert!(all.source("config").topic.starts_with("config_"), "the level of the service");
        assert_eq!(names(&sources, &all).current.sources, all.current.sources, "a restart");

        let replaced = all.with_source("new", Some("back"));
        assert_eq!(replaced.source("back").topic, "back", "its topics are still to be cleared");
        assert!(!replaced.current.sources.contains_key("back"));
    }

    #[test]
    fn names_that_are_the_spellings_of_another_one_leave_it_a_level() {
        let mut all: Vec<_> = candidates("door", "door").skip(1).collect();
        all.extend(["door", "Door"].map(str::to_owned));
        let all: Vec<_> = all.iter().map(String::as_str).collect();
        let levels = topics(&names(&all, &Names::default()), &all);
        assert_eq!(levels[..3], all[..3]);
        assert_eq!(levels.iter().collect::<BTreeSet<_>>().len(), all.len(), "{levels:?}");
    }

    #[test]
    fn what_a_damaged_file_says_is_not_used() {
        let read: Names =
            serde_json::from_str(r#"{"sources":{"a":{"topic":"+/#","id":"x"},"b":{"topic":"c","id":"c"}}}"#)
                .unwrap();
        assert_eq!(topics(&names(&["a", "b", "c"], &read), &["a", "b", "c"]), ["a", "b", "c"]);
    }

    #[test]
    fn slugs_are_those_of_home_assistant() {
        // From python-slugify 8 with text-unidecode, as Home Assistant uses it.
        let cases = [
            ("grüner Baum", "gruner_baum"),
            ("前门", "qian_men"),
            ("红色汽车", "hong_se_qi_che"),
            ("Привет мир", "privet_mir"),
            ("Ελλάδα θύρα", "ellada_thura"),
            ("façade ñandú", "facade_nandu"),
            ("Straße ẞ", "strasse_ss"),
            ("Æther Øre œuvre", "aether_ore_oeuvre"),
            ("Łódź", "lodz"),
            ("Đà Nẵng", "da_nang"),
            ("İstanbul ılık", "istanbul_ilik"),
            ("باب أمامي", "bb_mmy"),
            ("现关門 日本語 ガレージ", "xian_guan_men_ri_ben_yu_karesi"),
            ("현관문", "hyeongwanmun"),
            ("प्रवेश द्वार", "prvesh_dvaar"),
            ("ประตู", "pratuu"),
            ("ქართული", "k_art_uli"),
            ("Щука ёж", "shchuka_ezh"),
            ("don't", "don_t"),
            ("a’b", "ab"),
            ("½ €5 1,000 ™", "1_2_eur5_1000_tm"),
            ("🐱", "unknown"),
            ("🐱 cat", "cat"),
            ("C++", "c"),
            ("Front-Door", "front_door"),
        ];
        for (name, expected) in cases {
            assert_eq!(slug(name), expected, "{name}");
        }
    }
}
