//! Field descriptors: all that is known about a key of the configuration, in one place.
//!
//! Each section of the configuration is a `const` table of [`Field`]s. Derived from it are the reader's checks (known keys,
//! words, ranges, defaults), the JSON Schema, `docs/configuration.md` and `stakeout check --explain`.
//!
//! A section in a file of its own looks like this; a kind of source does the same in its `settings.rs`:
//!
//! ```text
//! pub const FIELDS: &[Field<Webhook>] = &[
//!     Field::new("url", Form::Text, "The address that alerts are posted to.", |it| Some(json!(it.address.to_string())))
//!         .required().example("https://example.org/alerts"),
//!     Field::new("timeout", Form::Duration(SECOND, MINUTE), "The longest that one request may take.", |it| Some(json!(shown(it.timeout))))
//!         .default("10s"),
//! ];
//! pub const TABLE: Table = Table { title: "webhook", fields: || specs(FIELDS) };
//!
//! pub fn read(reader: &mut Reader<'_>, at: &Setting<'_>) -> Option<Webhook> {
//!     let section = reader.section(at, &TABLE)?;              // reports unknown keys and missing required ones
//!     let address = section.read(reader, "url", address);     // any function from a `Setting` to a value
//!     let timeout = section.read(reader, "timeout", Reader::duration);  // the default if it is not there, the range checked
//!     Some(Webhook { address: address?, timeout: timeout? })  // only now: one mistake does not hide the next
//! }
//! ```

use std::time::Duration;

use serde_json::{Map, Value};

use super::names;

/// One key of a section whose settings are a `T`.
pub struct Field<T: 'static> {
    spec: Spec,
    show: fn(&T) -> Option<Value>,
}

/// The description of a key, without the type of its section.
#[derive(Clone, Copy)]
pub struct Spec {
    /// The key.
    pub key: &'static str,
    /// What its value looks like.
    pub form: Form,
    /// What holds if the key is absent.
    pub default: Default,
    /// What it means, in one or a few sentences.
    pub doc: &'static str,
    /// A value to show where there is no default to show; empty for none.
    pub example: &'static str,
}

/// What holds if a key is absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Default {
    /// The key has no value then.
    None,
    /// The key must be there.
    Required,
    /// This value, as it would be typed.
    Value(&'static str),
    /// A value that only words can describe: `the prefix and the host's name`.
    Described(&'static str),
}

/// What a value looks like.
#[derive(Clone, Copy)]
pub enum Form {
    /// Any text.
    Text,
    /// A text that must follow rules of its own.
    Shaped(Shape),
    /// A path; `~/` is the home folder, and a relative one starts at the folder of the main file.
    Path,
    /// A whole number: from, to.
    Whole(u64, u64),
    /// A number more than 0 and at most 1.
    Level,
    /// A number of bytes with a unit: from, to.
    Size(u64, u64),
    /// `1m30s`: from, to.
    Duration(Duration, Duration),
    /// One of these words.
    Words(&'static [&'static str]),
    /// `true` or `false`.
    Switch,
    /// `key:` with nothing behind it.
    Nothing,
    /// A list of this many fractions of the frame.
    Fractions(u64),
    /// A list of at least three points in the frame, each a list of two fractions.
    Polygon,
    /// A list of at least one.
    List(&'static Self),
    /// One, or a list of at least one.
    OneOrMore(&'static Self),
    /// A mapping with keys of ours.
    Mapping(&'static Table),
    /// A mapping whose keys are names that people choose.
    Named(&'static Self),
    /// One of several mappings with keys of ours, each with a key that names it.
    Kinds(fn() -> Vec<Alternative>),
    /// A mapping with keys of these mappings, none of which is required; and one for each of them, by the key that names it.
    Defaults(fn() -> Vec<Alternative>),
    /// One of several forms.
    Either(&'static [Self]),
}

/// The rules of a text, for people and for the schema.
#[derive(Clone, Copy)]
pub struct Shape {
    /// What it must be: `frames out of frames such as `2 of 3``.
    pub expected: &'static str,
    /// The short name on the reference page: `K of N`; empty for "text".
    pub name: &'static str,
    /// A regular expression for the schema; empty for none.
    pub pattern: &'static str,
}

/// The keys of a mapping.
pub struct Table {
    /// Its heading on the reference page, which is its path in the file with `NAME` for names that people choose. Tables with
    /// the same title share a section on that page.
    pub title: &'static str,
    /// Its keys, in the order in which they are documented.
    pub fields: fn() -> Vec<&'static Spec>,
}

/// One of several mappings that are allowed in one place.
pub struct Alternative {
    /// The key that names it.
    pub key: &'static str,
    /// All of its keys.
    pub fields: Vec<&'static Spec>,
}

impl<T> Field<T> {
    /// A key that has no default; `show` renders its value for `check --explain`, and is `None` where the key does not apply.
    #[must_use]
    pub const fn new(
        key: &'static str,
        form: Form,
        doc: &'static str,
        show: fn(&T) -> Option<Value>,
    ) -> Self {
        Self { spec: Spec { key, form, default: Default::None, doc, example: "" }, show }
    }

    /// The key must be there.
    #[must_use]
    pub const fn required(mut self) -> Self {
        self.spec.default = Default::Required;
        self
    }

    /// The value, as it would be typed, that holds if the key is absent.
    #[must_use]
    pub const fn default(mut self, value: &'static str) -> Self {
        self.spec.default = Default::Value(value);
        self
    }

    /// What holds if the key is absent, in words.
    #[must_use]
    pub const fn default_is(mut self, words: &'static str) -> Self {
        self.spec.default = Default::Described(words);
        self
    }

    /// A value to show on the reference page.
    #[must_use]
    pub const fn example(mut self, value: &'static str) -> Self {
        self.spec.example = value;
        self
    }
}

/// The keys of a table, without the type of its section.
#[must_use]
pub fn specs<T>(fields: &'static [Field<T>]) -> Vec<&'static Spec> {
    fields.iter().map(|field| &field.spec).collect()
}

/// The settings in `value`, each next to its key.
#[must_use]
pub fn explain<T>(fields: &[Field<T>], value: &T) -> Map<String, Value> {
    let shown = |field: &Field<T>| Some((field.spec.key.to_owned(), (field.show)(value)?));
    fields.iter().filter_map(shown).collect()
}

/// The words of a setting that is on or off, where a word reads better than `true`.
pub const ON_OFF: [(&str, bool); 2] = [("on", true), ("off", false)];

/// The words of an enum's own table, for [`Form::Words`].
#[must_use]
pub const fn words<T, const N: usize>(table: &[(&'static str, T); N]) -> [&'static str; N] {
    let (mut words, mut at) = ([""; N], 0);
    while at < N {
        words[at] = table[at].0;
        at += 1;
    }
    words
}

/// The word for `value` in an enum's own table.
///
/// # Panics
/// The table lacks a value: a test of the enum would notice.
#[must_use]
pub fn word_of<T: PartialEq>(table: &[(&'static str, T)], value: &T) -> &'static str {
    table.iter().find(|(_, known)| known == value).expect("every value has a word").0
}

impl Spec {
    /// The key with a value, as it could be typed.
    #[must_use]
    pub fn line(&self) -> String {
        match self.default {
            Default::Value(value) if self.example.is_empty() => format!("{}: {value}", self.key),
            _ => format!("{}: {}", self.key, self.example),
        }
    }
}

impl Form {
    /// Any text that follows rules of its own; `expected` describes it in errors.
    #[must_use]
    pub const fn like(expected: &'static str) -> Self {
        Self::Shaped(Shape { expected, name: "", pattern: "" })
    }

    /// What an error says that the value must be.
    #[must_use]
    pub fn expected(&self) -> String {
        match self {
            Self::Text => "a text".to_owned(),
            Self::Shaped(shape) => shape.expected.to_owned(),
            Self::Path => "a path".to_owned(),
            Self::Whole(least, most) => format!("a whole number from {least} to {most}"),
            Self::Level => "a number more than 0 and at most 1".to_owned(),
            Self::Size(..) => "a size such as `500MB`".to_owned(),
            Self::Duration(..) => "a duration such as `30s`".to_owned(),
            Self::Words(words) if words.len() > 10 => "one of the known words".to_owned(),
            Self::Words(words) => names::list(words, "or"),
            Self::Switch => "`true` or `false`".to_owned(),
            Self::Nothing => "nothing".to_owned(),
            Self::Fractions(count) => format!("a list of {count} numbers from 0 to 1"),
            Self::Polygon => "a polygon of three or more corners".to_owned(),
            Self::List(_) => "a list".to_owned(),
            Self::OneOrMore(form) => form.expected(),
            Self::Mapping(table) => match (table.fields)()[..] {
                [only] => format!("a mapping `{{ {}: {} }}`", only.key, only.form.placeholder()),
                _ => "a mapping".to_owned(),
            },
            Self::Named(_) | Self::Kinds(_) => "a mapping from names".to_owned(),
            Self::Defaults(_) => "a mapping".to_owned(),
            Self::Either(forms) => {
                let forms = forms.iter().filter(|form| !matches!(form, Self::Nothing));
                forms.map(Self::expected).collect::<Vec<_>>().join(", or ")
            }
        }
    }

    /// A word in place of the value in an example.
    #[must_use]
    pub fn placeholder(&self) -> &'static str {
        match self {
            Self::Duration(..) => "DURATION",
            Self::Path => "FOLDER",
            _ => "VALUE",
        }
    }

    /// The form of the items, if a list is allowed.
    #[must_use]
    pub fn item(&self) -> Option<&'static Self> {
        match self {
            Self::List(form) | Self::OneOrMore(form) => Some(form),
            Self::Either(forms) => forms.iter().find_map(Self::item),
            _ => None,
        }
    }

    /// The keys, if a mapping with keys of ours is allowed.
    #[must_use]
    pub fn mapping(&self) -> Option<&'static Table> {
        match self {
            Self::Mapping(table) => Some(table),
            Self::Either(forms) => forms.iter().find_map(Self::mapping),
            _ => None,
        }
    }

    /// The form of the values, if a mapping from names is allowed.
    #[must_use]
    pub fn named(&self) -> Option<&'static Self> {
        match self {
            Self::Named(form) => Some(form),
            Self::Either(forms) => forms.iter().find_map(Self::named),
            _ => None,
        }
    }
}
