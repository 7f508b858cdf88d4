//! Which model, and in which variant: a word, a folder, a name on the hub, or a mapping that says more of one of these.

use std::{borrow::Cow, path::PathBuf};

use super::Device;
use crate::{
    yaml::names,
    yaml::{
        reader::{Reader, Section, Setting},
        tree::Value,
    },
};

pub(super) const KEYS: &[&str] = &["id", "onnx", "revision", "variant"];

/// Which model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelRef {
    /// The one inside the binary.
    Bundled,
    /// A folder in the hub's layout.
    Folder(PathBuf, Variant),
    /// A name on the hub.
    Hub(HubModel),
}

/// A model by its name on the hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubModel {
    /// `organisation/name`.
    pub id: String,
    /// The repository that holds the ONNX files, where it is another one and the program does not know it.
    pub onnx: Option<String>,
    /// A branch, a tag or a commit of the repository that the files come from; `None` is `main`.
    pub revision: Option<String>,
    /// Which of its graphs.
    pub variant: Variant,
}

/// The precision of a model's graphs, as the hub names it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Variant {
    /// The fastest one whose scores can be trusted on the device, else the first that is there: see [`Variant::choices`].
    #[default]
    Auto,
    /// The one of this name, of [`Variant::NAMES`].
    Named(&'static str),
}

impl Variant {
    /// The hub's names, in the order in which `auto` looks for them on a processor.
    pub const NAMES: [&str; 8] = ["fp32", "fp16", "int8", "quantized", "uint8", "q4", "q4f16", "bnb4"];

    /// The variant that is meant by a word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        let named = Self::NAMES.into_iter().find(|name| *name == word).map(Self::Named);
        named.or_else(|| (word == "auto").then_some(Self::Auto))
    }

    /// The hub's name for it; `None` for `auto`.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        match self {
            Self::Auto => None,
            Self::Named(name) => Some(name),
        }
    }

    /// The hub's names of the variants that will do on a device, the best first.
    ///
    /// `auto` is half precision on a device that computes in it, in half the memory and with scores that differ by less than
    /// 0.01. Everywhere else it is full precision. Weights of 8 bits would be faster on a processor, but how far their
    /// scores are from the reference's depends on the model and the pictures, so these two go before them.
    #[must_use]
    pub fn choices(self, device: Device) -> Vec<&'static str> {
        match self {
            Self::Named(name) => vec![name],
            Self::Auto => {
                let mut names = Self::NAMES.to_vec();
                if device.computes_in_half() {
                    names.sort_by_key(|name| *name != "fp16");
                }
                names
            }
        }
    }

    /// What stands behind the names of a variant's graphs: full precision has nothing there.
    #[must_use]
    pub fn suffix(name: &str) -> String {
        if name == "fp32" { String::new() } else { format!("_{name}") }
    }

    /// The hub's name of the variant with this suffix.
    #[must_use]
    pub fn of_suffix(suffix: &str) -> &str {
        suffix.strip_prefix('_').unwrap_or("fp32")
    }
}

impl HubModel {
    /// The newest revision of a model, in the variant that is there.
    #[must_use]
    pub fn named(id: &str) -> Self {
        Self { id: id.to_owned(), onnx: None, revision: None, variant: Variant::Auto }
    }
}

impl ModelRef {
    /// How alerts name the model.
    #[must_use]
    pub fn name(&self) -> Cow<'_, str> {
        match self {
            Self::Bundled => "bundled".into(),
            Self::Folder(folder, _) => folder.to_string_lossy(),
            Self::Hub(model) => (&model.id).into(),
        }
    }
}

pub(super) fn read(reader: &mut Reader<'_>, at: &Setting<'_>) -> Option<ModelRef> {
    if !matches!(at.node.value, Value::Mapping(_)) {
        return short(reader, at);
    }
    let section = reader.section(at, KEYS, "")?;
    // Each is looked at before one that is wrong ends it.
    let onnx = optional(reader, &section, "onnx", hub_id);
    let revision = optional(reader, &section, "revision", revision);
    let variant = section.get("variant").map_or(Some(Variant::Auto), |at| variant(reader, &at));
    if section.lacks("id") {
        reader.problem(at.key, "`model` has no `id`", "write `id: organisation/name`, or a folder");
    }
    let model = section.get("id").and_then(|id| short(reader, &id))?;
    let (onnx, revision, variant) = (onnx?, revision?, variant?);
    match model {
        ModelRef::Hub(model) => Some(ModelRef::Hub(HubModel { onnx, revision, variant, ..model })),
        ModelRef::Folder(path, _) if onnx.is_none() && revision.is_none() => {
            Some(ModelRef::Folder(path, variant))
        }
        ModelRef::Bundled if onnx.is_none() && revision.is_none() && variant == Variant::Auto => Some(model),
        ModelRef::Folder(..) => {
            only_for_the_hub(reader, at, "a folder has neither `onnx` nor `revision`");
            None
        }
        ModelRef::Bundled => {
            only_for_the_hub(reader, at, "the bundled model has no `onnx`, `revision` or `variant`");
            None
        }
    }
}

/// What was not typed is `Some(None)`; what was typed and is wrong is `None`.
fn optional(
    reader: &mut Reader<'_>,
    section: &Section<'_>,
    key: &str,
    read: fn(&mut Reader<'_>, &Setting<'_>) -> Option<String>,
) -> Option<Option<String>> {
    section.get(key).map_or(Some(None), |at| read(reader, &at).map(Some))
}

fn only_for_the_hub(reader: &mut Reader<'_>, at: &Setting<'_>, message: &str) {
    reader.problem(at.key, message, "leave them out, or name a model of the hub: `id: organisation/name`");
}

/// `bundled`, a folder or a hub id.
fn short(reader: &mut Reader<'_>, at: &Setting<'_>) -> Option<ModelRef> {
    let text = reader.text(at)?;
    if text == "bundled" {
        return Some(ModelRef::Bundled);
    }
    let is_path = ["/", "./", "../", "~/"].iter().any(|start| text.starts_with(start));
    if is_path || reader.folder.join(&text).exists() {
        return reader.resolve_path(at, &text).map(|path| ModelRef::Folder(path, Variant::Auto));
    }
    if is_hub_id(&text) {
        return Some(ModelRef::Hub(HubModel::named(&text)));
    }
    let remedy = match names::nearest(&text, ["bundled"]) {
        Some(_) => "did you mean `bundled`?",
        None => "a folder is written `/models/clip` or `./clip`, a hub id `openai/clip-vit-base-patch16`",
    };
    reader.must_be(at, "`bundled`, a folder or a hub id", remedy);
    None
}

fn hub_id(reader: &mut Reader<'_>, at: &Setting<'_>) -> Option<String> {
    reader.parsed(at, "a hub id", |text| {
        if is_hub_id(text) {
            Ok(text.to_owned())
        } else {
            Err("it is written `organisation/name`".to_owned())
        }
    })
}

fn is_hub_id(text: &str) -> bool {
    let is_word = |word: &str| {
        word.starts_with(|c: char| c.is_ascii_alphanumeric())
            && word.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
    };
    text.split_once('/').is_some_and(|(organisation, name)| is_word(organisation) && is_word(name))
}

/// It becomes a part of paths and addresses.
fn revision(reader: &mut Reader<'_>, at: &Setting<'_>) -> Option<String> {
    reader.parsed(at, "a branch, a tag or a commit", |text| {
        if is_plain_path(text) {
            Ok(text.to_owned())
        } else {
            Err("it consists of letters, digits, `-`, `_`, `.` and `/`, and no part of it begins with `.`"
                .to_owned())
        }
    })
}

/// Whether a text is a name, or several with `/` between them, that can neither lead out of a folder nor mean anything
/// special in an address: what branches, commits and the files of a repository may be called.
#[must_use]
pub fn is_plain_path(text: &str) -> bool {
    let is_part = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
    };
    text.len() <= 200 && text.split('/').all(is_part)
}

fn variant(reader: &mut Reader<'_>, at: &Setting<'_>) -> Option<Variant> {
    let words: Vec<_> = std::iter::once(("auto", Variant::Auto))
        .chain(Variant::NAMES.map(|name| (name, Variant::Named(name))))
        .collect();
    reader.word(at, &words)
}
