//! The model and its variant: the setting `model`, which is a word, a folder, a name on the hub, or a mapping.

use std::{borrow::Cow, path::PathBuf};

use serde_json::{Value, json};

use super::{
    device::Device,
    model_server::{self, ModelServer},
};
use crate::{
    policy::{broker::set, tls},
    yaml::{
        fields::{Field, Form, Table, explain, specs, word_of, words},
        names,
        reader::{Reader, Setting},
        value::duration_text,
    },
};

/// A model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelRef {
    /// The model inside the binary.
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
    /// The repository with the ONNX files, if it is another one that the program does not know.
    pub onnx: Option<String>,
    /// A branch, a tag or a commit of the repository with the files; `None`: `main`.
    pub revision: Option<String>,
    /// The precision of its graphs.
    pub variant: Variant,
    /// Whether only the files for texts are needed, because a model server runs the pictures.
    pub text_only: bool,
}

/// The section `model`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ModelSettings {
    /// The model.
    pub model: ModelRef,
    /// What runs its graph for pictures; `None`: this machine.
    pub server: Option<ModelServer>,
}

/// The precision of a model's graphs, as the hub names it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Variant {
    /// The fastest one with reliable scores on the device, else the first available one: see [`Variant::choices`].
    #[default]
    Auto,
    /// One of [`Variant::NAMES`].
    Named(&'static str),
}

impl Variant {
    /// The hub's names, in the order of preference of `auto` on a processor.
    pub const NAMES: [&str; 9] =
        ["fp32", "fp16", "bf16", "int8", "quantized", "uint8", "q4", "q4f16", "bnb4"];

    /// The words in the configuration.
    const WORDS: [(&str, Self); 10] = {
        let (mut words, mut at) = ([("auto", Self::Auto); 10], 0);
        while at < Self::NAMES.len() {
            words[at + 1] = (Self::NAMES[at], Self::Named(Self::NAMES[at]));
            at += 1;
        }
        words
    };

    /// Reads a word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::WORDS.into_iter().find(|(known, _)| *known == word).map(|(_, variant)| variant)
    }

    /// The hub's name for it; `None` for `auto`.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        match self {
            Self::Auto => None,
            Self::Named(name) => Some(name),
        }
    }

    /// The hub's names of the variants that are acceptable on a device, the best first.
    ///
    /// `auto` is half precision on a device that computes in it: half the memory, and scores that differ by less than 0.01.
    /// Otherwise it is full precision. Weights of 8 bits would be faster on a processor, but the error of their scores depends
    /// on the model and the pictures, so both other variants are preferred.
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

    /// The suffix of the names of a variant's graphs: empty for full precision.
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
    /// The newest revision of a model in the best available variant.
    #[must_use]
    pub fn named(id: &str) -> Self {
        Self { id: id.to_owned(), onnx: None, revision: None, variant: Variant::Auto, text_only: false }
    }

    /// The command that fetches this model for a device, as it was asked for: with its variant, revision and repository.
    #[must_use]
    pub fn pull_command(&self, device: Device) -> String {
        let mut command = format!("stakeout models pull {}", self.id);
        let mut option = |name: &str, value: &str| command += &format!(" --{name} {value}");
        match self.variant {
            Variant::Named(variant) => option("variant", variant),
            // The device decides the variant.
            Variant::Auto if device != Device::Auto => option("device", &device.to_string()),
            Variant::Auto => {}
        }
        if let Some(revision) = &self.revision {
            option("revision", revision);
        }
        if let Some(onnx) = &self.onnx {
            option("onnx", onnx);
        }
        if self.text_only {
            command += " --text-only";
        }
        command
    }
}

impl ModelRef {
    fn hub(&self) -> Option<&HubModel> {
        match self {
            Self::Hub(model) => Some(model),
            _ => None,
        }
    }

    /// The variant that it is asked for in.
    #[must_use]
    pub fn variant(&self) -> Variant {
        match self {
            Self::Bundled => Variant::Auto,
            Self::Folder(_, variant) => *variant,
            Self::Hub(model) => model.variant,
        }
    }

    /// The same model in the variant of this name. The bundled model has one only.
    #[must_use]
    pub fn with_variant(&self, name: &'static str) -> Self {
        let variant = Variant::Named(name);
        match self.clone() {
            Self::Bundled => Self::Bundled,
            Self::Folder(folder, _) => Self::Folder(folder, variant),
            Self::Hub(model) => Self::Hub(HubModel { variant, ..model }),
        }
    }

    /// The command that fetches the model for a device; empty for a model that is no hub's.
    #[must_use]
    pub fn pull_command(&self, device: Device) -> String {
        self.hub().map_or(String::new(), |model| model.pull_command(device))
    }

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

/// The keys of `model`.
const FIELDS: &[Field<ModelSettings>] = &[
    Field::new("id", FORM, "A hub id, a folder, or `bundled`.", |it: &ModelSettings| {
        Some(json!(it.model.name()))
    })
    .required()
    .example("org/name"),
    Field::new(
        "onnx",
        HUB_ID,
        "The repository with the ONNX files, if it is another one.",
        |it: &ModelSettings| it.model.hub().map(|hub| json!(hub.onnx)),
    )
    .example("org/name-onnx"),
    Field::new(
        "revision",
        Form::like("a branch, a tag or a commit"),
        "A branch, a tag or a commit of the repository with the ONNX files.",
        |it: &ModelSettings| it.model.hub().map(|hub| json!(hub.revision.as_deref().unwrap_or("main"))),
    )
    .default("main"),
    Field::new(
        "variant",
        Form::Words(&words(&Variant::WORDS)),
        "The precision of the graphs. auto: fp16 on a GPU, otherwise fp32.",
        |it: &ModelSettings| it.model.hub().map(|hub| json!(word_of(&Variant::WORDS, &hub.variant))),
    )
    .default("auto"),
    Field::new(
        "server",
        model_server::ADDRESSES,
        "The grpc:// or grpcs:// (TLS) address of a model server that runs the graph for pictures, instead of this machine: one that \
         speaks the Open Inference Protocol, such as Triton, OpenVINO Model Server, KServe or MLServer. Of several, the first one that \
         works is used. Texts are encoded on this machine.",
        |it: &ModelSettings| it.server.as_ref().map(model_server::servers_shown),
    )
    .default_is("this machine runs the model")
    .example("[grpc://gpu-1:8001, grpc://gpu-2:8001]"),
    Field::new(
        "name",
        model_server::NAME,
        "The name of the graph for pictures at the model server.",
        |it: &ModelSettings| it.server.as_ref().map(|server| json!(server.name)),
    )
    .default_is("the last part of `id`, and -vision")
    .example("clip-vision"),
    Field::new(
        "token",
        Form::Text,
        "Sent to the model server as `Authorization: Bearer ...`.",
        |it: &ModelSettings| it.server.as_ref().map(|server| set(&server.token)),
    )
    .example("${credential:model-token}"),
    Field::new(
        "timeout",
        model_server::TIMEOUT,
        "The longest that one request to the model server may take.",
        |it: &ModelSettings| it.server.as_ref().map(|server| json!(duration_text(server.timeout))),
    )
    .default("10s"),
    Field::new(
        "in_flight",
        model_server::IN_FLIGHT,
        "The most requests to the model server at a time. A batch is divided among them.",
        |it: &ModelSettings| it.server.as_ref().map(|server| json!(server.in_flight)),
    )
    .default("4"),
    Field::new("tls", Form::Mapping(&tls::MODEL), tls::DOC, |it: &ModelSettings| {
        it.server.as_ref().and_then(model_server::tls_shown)
    }),
];
pub(super) const TABLE: Table = Table { title: "model", fields: || specs(FIELDS) };
pub(super) const FORM: Form = Form::like("`bundled`, a folder or a hub id");
const HUB_ID: Form = Form::like("a hub id");

/// The model, for `check --explain`.
pub(super) fn shown(model: &ModelRef, server: Option<&ModelServer>) -> Value {
    match (model, server) {
        (ModelRef::Bundled | ModelRef::Folder(..), None) => json!(model.name()),
        (model, server) => {
            explain(FIELDS, &ModelSettings { model: model.clone(), server: server.cloned() }).into()
        }
    }
}

/// Reads the short or the long form.
pub(super) fn read(reader: &mut Reader<'_>, at: &Setting<'_>) -> Option<ModelSettings> {
    if !at.is_mapping() {
        return short(reader, at).map(|model| ModelSettings { model, server: None });
    }
    let section = reader.section(at, &TABLE)?;
    let model = section.read(reader, "id", short);
    let onnx = section.optional(reader, "onnx", |reader, at| reader.parsed(at, hub_id));
    let typed_revision = section.optional(reader, "revision", |reader, at| reader.parsed(at, revision));
    let variant = section.read(reader, "variant", |reader, at| reader.word(at, &Variant::WORDS));
    let server = model_server::read(reader, &section, model.as_ref().map(ModelRef::name).as_deref());
    let (model, onnx, revision, variant) = (model?, onnx?, typed_revision?, variant?);
    let server = server?;
    let text_only = server.is_some();
    let message = match model {
        ModelRef::Hub(model) => {
            let model = ModelRef::Hub(HubModel { onnx, revision, variant, text_only, ..model });
            return Some(ModelSettings { model, server });
        }
        ModelRef::Folder(path, _) if onnx.is_none() && revision.is_none() => {
            return Some(ModelSettings { model: ModelRef::Folder(path, variant), server });
        }
        ModelRef::Bundled if onnx.is_none() && revision.is_none() && variant == Variant::Auto => {
            return Some(ModelSettings { model, server });
        }
        ModelRef::Folder(..) => "a folder has no `onnx` and no `revision`",
        ModelRef::Bundled => "the bundled model has no `onnx`, no `revision` and no `variant`",
    };
    reader.problem(at.key, message, "remove these keys, or name a model on the hub: `id: organisation/name`");
    None
}

/// Reads `bundled`, a folder or a hub id.
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
        None => {
            "write a folder like `/models/clip` or `./clip`, a hub id like `openai/clip-vit-base-patch16`"
        }
    };
    reader.must_be(at, &FORM.expected(), remedy);
    None
}

fn hub_id(text: &str) -> Result<String, String> {
    is_hub_id(text).then(|| text.to_owned()).ok_or_else(|| "write `organisation/name`".to_owned())
}

fn is_hub_id(text: &str) -> bool {
    let is_word = |word: &str| {
        word.starts_with(|c: char| c.is_ascii_alphanumeric())
            && word.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
    };
    text.split_once('/').is_some_and(|(organisation, name)| is_word(organisation) && is_word(name))
}

/// A revision becomes a part of paths and addresses.
fn revision(text: &str) -> Result<String, String> {
    let remedy = "use letters, digits, `-`, `_`, `.` and `/`; no part may start with `.`";
    is_plain_path(text).then(|| text.to_owned()).ok_or_else(|| remedy.to_owned())
}

/// Whether a text is one or several names with `/` between them, of characters that are plain in paths and addresses, and
/// without `..`: valid for branches, commits and the files of a repository.
#[must_use]
pub fn is_plain_path(text: &str) -> bool {
    let is_part = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
    };
    text.len() <= 200 && text.split('/').all(is_part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_fetches_the_model_that_was_asked_for() {
        let plain = HubModel::named("a/b");
        assert_eq!(plain.pull_command(Device::Auto), "stakeout models pull a/b");
        assert_eq!(plain.pull_command(Device::Cpu), "stakeout models pull a/b --device cpu");
        let (onnx, revision) = (Some("c/d".to_owned()), Some("refs/pr/3".to_owned()));
        let whole = HubModel { onnx, revision, variant: Variant::Named("int8"), ..plain.clone() };
        assert_eq!(
            whole.pull_command(Device::Cuda(0)),
            "stakeout models pull a/b --variant int8 --revision refs/pr/3 --onnx c/d"
        );
        let text_only = HubModel { text_only: true, ..plain };
        assert_eq!(text_only.pull_command(Device::Auto), "stakeout models pull a/b --text-only");
    }
}
