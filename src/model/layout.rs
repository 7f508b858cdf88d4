//! Which files of a model are used: the graphs or the weights that they are built from, the settings, and the vocabulary. Pure.
//!
//! Everything is decided by the names of the files. A name means the same in a folder, in the cache and on the hub.

use super::build::{Format, WeightSource};

/// The settings of a model in the format of Hugging Face's transformers.
pub(super) const CONFIG: &str = "config.json";
/// The settings of a model in OpenCLIP's format.
pub(super) const OPEN_CLIP_CONFIG: &str = "open_clip_config.json";
/// The settings for pictures.
pub(super) const PREPROCESSOR: &str = "preprocessor_config.json";
/// The settings for pictures and texts, as newer versions of transformers write them.
pub(super) const PROCESSOR: &str = "processor_config.json";
/// The tokenizer in one file.
pub(super) const TOKENIZER: &str = "tokenizer.json";
/// Scale and bias, as this program writes them.
pub(super) const SCALE: &str = "stakeout.json";
/// Settings of a tokenizer beside its vocabulary. A model may have none of them.
pub(super) const TOKENIZER_SETTINGS: [&str; 2] = ["tokenizer_config.json", "special_tokens_map.json"];

/// The form of a tokenizer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Vocabulary {
    /// Complete, in one file.
    TokenizerJson,
    /// CLIP's vocabulary and merges.
    ClipBpe,
    /// BERT's vocabulary.
    WordPiece,
    /// A SentencePiece file of the first SigLIP.
    Unigram,
    /// The SentencePiece file of XLM-RoBERTa.
    XlmRoberta,
}

impl Vocabulary {
    const ALL: [Self; 5] =
        [Self::TokenizerJson, Self::ClipBpe, Self::WordPiece, Self::Unigram, Self::XlmRoberta];

    /// The files that it consists of.
    pub(super) fn files(self) -> &'static [&'static str] {
        match self {
            Self::TokenizerJson => &[TOKENIZER],
            Self::ClipBpe => &["vocab.json", "merges.txt"],
            Self::WordPiece => &["vocab.txt"],
            Self::Unigram => &["spiece.model"],
            Self::XlmRoberta => &["sentencepiece.bpe.model"],
        }
    }

    /// The first of its files, for messages.
    pub(super) fn file(self) -> &'static str {
        self.files()[0]
    }

    /// The first that is complete: `has` answers whether a file exists.
    pub(super) fn among(has: impl Fn(&str) -> bool) -> Option<Self> {
        Self::ALL.into_iter().find(|vocabulary| vocabulary.files().iter().all(|file| has(file)))
    }
}

/// Every vocabulary that may replace `tokenizer.json`, for messages.
pub(super) fn vocabularies() -> String {
    let names = Vocabulary::ALL.into_iter().skip(1).map(|vocabulary| vocabulary.files().join(" with "));
    names.collect::<Vec<_>>().join(", ")
}

/// Every file that a tokenizer may consist of.
pub(super) fn vocabulary_files() -> impl Iterator<Item = &'static str> {
    Vocabulary::ALL.into_iter().flat_map(|vocabulary| vocabulary.files().iter().copied())
}

/// Whether a file belongs to the tokenizer.
pub(super) fn is_of_tokenizer(name: &str) -> bool {
    TOKENIZER_SETTINGS.contains(&name) || vocabulary_files().any(|file| file == name)
}

/// The weights of a model, with the settings that describe them.
pub(super) fn weights(has: impl Fn(&str) -> bool) -> Option<WeightSource> {
    WeightSource::among(&has, has(PREPROCESSOR) || has(PROCESSOR))
}

/// Which graphs of a model this machine runs. The others are where the engine is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Local {
    /// That for pictures and that for texts.
    Both,
    /// That for texts.
    Text,
    /// None of them.
    Neither,
}

impl Local {
    /// Whether a file is a graph that the engine has, so that it may be missing.
    pub(super) fn is_elsewhere(self, name: &str) -> bool {
        let elsewhere = match self {
            Self::Both => 0,
            Self::Text => 1,
            Self::Neither => SPLIT.len(),
        };
        SPLIT.iter().take(elsewhere).any(|graph| name.contains(graph))
    }
}

/// The names of the graphs for pictures and for texts.
pub(super) const SPLIT: [&str; 2] = ["vision_model", "text_model"];

/// The graphs of a model: one for pictures and one for texts. They are the same file if only the combined graph exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Graphs {
    pub vision: String,
    pub text: String,
    /// The graph of both, which also computes logits.
    pub combined: Option<String>,
}

impl Graphs {
    /// The graphs with this suffix among files: `has` answers whether a file exists.
    pub(super) fn among(has: impl Fn(&str) -> bool, suffix: &str) -> Option<Self> {
        let find = |name| graph_names(name, suffix).into_iter().find(|name| has(name));
        let combined = find("model");
        let split = find("vision_model").zip(find("text_model"));
        let (vision, text) = split.or_else(|| Some((combined.clone()?, combined.clone()?)))?;
        Some(Self { vision, text, combined })
    }

    pub(super) fn is_combined(&self) -> bool {
        self.vision == self.text
    }
}

/// The hub keeps graphs in `onnx/`; an export on the user's machine puts them beside the configuration.
pub(super) fn graph_names(name: &str, suffix: &str) -> [String; 2] {
    [format!("onnx/{name}{suffix}.onnx"), format!("{name}{suffix}.onnx")]
}

/// The files that the graphs of a variant come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Choice {
    /// ONNX files.
    Files(Graphs),
    /// Weights, from which the graphs are built.
    Weights(WeightSource),
}

/// The format of the settings beside ONNX files: `has` answers whether a file exists.
pub(super) fn format_of_graphs(has: impl Fn(&str) -> bool) -> Format {
    // Exports of models in OpenCLIP's format for other programs have a `config.json` for these.
    if !has(CONFIG) && has(OPEN_CLIP_CONFIG) { Format::OpenClip } else { Format::Transformers }
}

impl Choice {
    /// The format of the settings.
    pub(super) fn format(&self, has: impl Fn(&str) -> bool) -> Format {
        match self {
            Self::Files(_) => format_of_graphs(has),
            Self::Weights(weights) => weights.format,
        }
    }
}

/// The variants that can be made from weights, by the hub's names.
pub(super) const MADE: [&str; 4] = ["fp32", "fp16", "bf16", "int8"];

/// The files of the graphs of a model whose files are in one or several repositories: the number of the repository, the
/// variant, and its files. `choices` are the acceptable variants, the best first. ONNX files come before weights.
pub(super) fn choose<'n>(
    repositories: &[&dyn Fn(&str) -> bool],
    choices: &[&'n str],
    suffix: impl Fn(&str) -> String,
) -> Option<(usize, &'n str, Choice)> {
    choices.iter().find_map(|name| {
        let suffix = suffix(name);
        let of_each = || repositories.iter().enumerate();
        let onnx =
            of_each().find_map(|(at, has)| Some((at, *name, Choice::Files(Graphs::among(has, &suffix)?))));
        let is_made = MADE.contains(name);
        onnx.or_else(|| {
            of_each()
                .find_map(|(at, has)| Some((at, *name, Choice::Weights(weights(has).filter(|_| is_made)?))))
        })
    })
}

/// Every file with settings, in the order in which they are fetched. They are small. Some models of one format have files of the
/// other.
pub(super) fn settings_files() -> impl Iterator<Item = &'static str> {
    let both = [CONFIG, OPEN_CLIP_CONFIG, PREPROCESSOR, PROCESSOR].into_iter();
    both.chain(TOKENIZER_SETTINGS).chain([SCALE])
}

/// The files with settings that a model of this format needs and lacks.
pub(super) fn missing_settings(format: Format, has: impl Fn(&str) -> bool) -> Vec<&'static str> {
    let needed: &[&[&str]] = match format {
        Format::Transformers => &[&[CONFIG], &[PREPROCESSOR, PROCESSOR]],
        Format::OpenClip => &[&[OPEN_CLIP_CONFIG]],
    };
    needed.iter().filter(|any| !any.iter().any(|name| has(name))).map(|any| any[0]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The small files of most repositories of the first format.
    const SMALL: [&str; 4] = ["config.json", "preprocessor_config.json", "tokenizer.json", "README.md"];

    fn chosen(repositories: &[&[&str]], choices: &[&'static str]) -> Option<(usize, &'static str, Choice)> {
        let closures: Vec<_> =
            repositories.iter().map(|files| move |name: &str| files.contains(&name)).collect();
        let has: Vec<&dyn Fn(&str) -> bool> =
            closures.iter().map(|has| has as &dyn Fn(&str) -> bool).collect();
        let suffix = |name: &str| if name == "fp32" { String::new() } else { format!("_{name}") };
        choose(&has, choices, suffix)
    }

    fn onnx(vision: &str, text: &str, combined: Option<&str>) -> Choice {
        let combined = combined.map(str::to_owned);
        Choice::Files(Graphs { vision: vision.to_owned(), text: text.to_owned(), combined })
    }

    fn weights_in(format: Format, file: &'static str) -> Choice {
        Choice::Weights(WeightSource { format, weights: file })
    }

    /// `variant: auto` on a processor, and on a device that computes in half precision.
    const AUTO: &[&str] = &["fp32", "fp16", "bf16", "int8", "quantized", "uint8", "q4", "q4f16", "bnb4"];
    const AUTO_HALF: &[&str] = &["fp16", "fp32", "bf16", "int8", "quantized", "uint8", "q4", "q4f16", "bnb4"];

    #[test]
    fn onnx_files_come_before_weights_in_each_variant() {
        let with = |more: &[&'static str]| [&SMALL[..], more].concat();
        let towers = with(&["onnx/text_model.onnx", "onnx/vision_model.onnx", "onnx/model.onnx"]);
        let only_weights = with(&["model.safetensors", "pytorch_model.bin"]);
        let both = with(&["model.safetensors", "onnx/model.onnx", "onnx/model_fp16.onnx"]);
        let sharded = with(&["model.safetensors.index.json", "model-00001-of-00002.safetensors"]);
        let open_clip: Vec<&str> =
            vec!["open_clip_config.json", "open_clip_model.safetensors", "tokenizer.json"];
        let two_formats = [&open_clip[..], &only_weights].concat();
        let unsafe_only = with(&["pytorch_model.bin", "vocab.txt"]);
        let small_only = with(&["onnx/model_q4.onnx"]);
        let small_and_weights = with(&["onnx/model_q4.onnx", "model.safetensors"]);
        let (split, combined) = (
            onnx("onnx/vision_model.onnx", "onnx/text_model.onnx", Some("onnx/model.onnx")),
            onnx("onnx/model.onnx", "onnx/model.onnx", Some("onnx/model.onnx")),
        );
        let half = onnx("onnx/model_fp16.onnx", "onnx/model_fp16.onnx", Some("onnx/model_fp16.onnx"));
        let q4 = onnx("onnx/model_q4.onnx", "onnx/model_q4.onnx", Some("onnx/model_q4.onnx"));
        let hf = weights_in(Format::Transformers, "model.safetensors");
        let index = weights_in(Format::Transformers, "model.safetensors.index.json");
        let other = weights_in(Format::OpenClip, "open_clip_model.safetensors");
        type Case<'a> = (&'a [&'a str], &'a [&'static str], Option<(&'a str, &'a Choice)>);
        let cases: [Case<'_>; 17] = [
            (&towers, AUTO, Some(("fp32", &split))),
            (&towers, &["int8"], None),
            (&only_weights, AUTO, Some(("fp32", &hf))),
            (&only_weights, AUTO_HALF, Some(("fp16", &hf))),
            (&only_weights, &["int8"], Some(("int8", &hf))),
            (&only_weights, &["q4"], None),
            (&both, AUTO, Some(("fp32", &combined))),
            (&both, AUTO_HALF, Some(("fp16", &half))),
            (&both, &["bf16"], Some(("bf16", &hf))),
            (&sharded, AUTO, Some(("fp32", &index))),
            (&open_clip, AUTO, Some(("fp32", &other))),
            (&two_formats, AUTO, Some(("fp32", &hf))),
            (&unsafe_only, AUTO, None),
            (&small_only, AUTO, Some(("q4", &q4))),
            // Full precision from the weights is nearer to the reference than four bits.
            (&small_and_weights, AUTO, Some(("fp32", &hf))),
            (&["model.safetensors"], AUTO, None),
            (&[], AUTO, None),
        ];
        for (files, choices, expected) in cases {
            let found = chosen(&[files], choices);
            let found = found.as_ref().map(|(_, name, choice)| (*name, choice));
            assert_eq!(found, expected, "{files:?} {choices:?}");
        }
    }

    #[test]
    fn a_known_export_comes_before_the_weights_of_the_model_itself() {
        let own = [&SMALL[..], &["model.safetensors"]].concat();
        let export = [&SMALL[..], &["onnx/vision_model.onnx", "onnx/text_model.onnx"]].concat();
        let split = onnx("onnx/vision_model.onnx", "onnx/text_model.onnx", None);
        let hf = weights_in(Format::Transformers, "model.safetensors");
        assert_eq!(chosen(&[&own, &export], AUTO), Some((1, "fp32", split.clone())));
        assert_eq!(chosen(&[&export, &own], AUTO), Some((0, "fp32", split)));
        assert_eq!(chosen(&[&own, &export], &["int8"]), Some((0, "int8", hf.clone())));
        assert_eq!(chosen(&[&own, &export], AUTO_HALF), Some((0, "fp16", hf)));
    }

    #[test]
    fn the_vocabulary_is_the_newest_form_that_is_complete() {
        for (files, expected) in [
            (&["tokenizer.json", "vocab.json", "merges.txt"][..], Some(Vocabulary::TokenizerJson)),
            (&["vocab.json", "merges.txt"], Some(Vocabulary::ClipBpe)),
            (&["vocab.json", "spiece.model"], Some(Vocabulary::Unigram)),
            (&["vocab.txt"], Some(Vocabulary::WordPiece)),
            (&["sentencepiece.bpe.model"], Some(Vocabulary::XlmRoberta)),
            (&["merges.txt", "README.md"], None),
        ] {
            assert_eq!(Vocabulary::among(|name| files.contains(&name)), expected, "{files:?}");
        }
        assert_eq!(
            vocabularies(),
            "vocab.json with merges.txt, vocab.txt, spiece.model, sentencepiece.bpe.model"
        );
    }

    #[test]
    fn settings_are_those_of_the_format() {
        let missing = |format, files: &[&str]| missing_settings(format, |name| files.contains(&name));
        let (hf, other) = (Format::Transformers, Format::OpenClip);
        assert_eq!(missing(hf, &["config.json"]), ["preprocessor_config.json"]);
        assert_eq!(missing(hf, &[]), ["config.json", "preprocessor_config.json"]);
        assert!(missing(hf, &["processor_config.json", "config.json", "a.txt"]).is_empty());
        assert!(missing(other, &["open_clip_config.json"]).is_empty());
        assert_eq!(missing(other, &["config.json"]), ["open_clip_config.json"]);
        let format = |choice: Choice, files: &[&str]| choice.format(|name| files.contains(&name));
        assert_eq!(format(onnx("v", "t", None), &["config.json", "open_clip_config.json"]), hf);
        assert_eq!(format(onnx("v", "t", None), &["open_clip_config.json"]), other);
        assert_eq!(format(onnx("v", "t", None), &[]), hf);
        assert_eq!(format(weights_in(other, "open_clip_model.safetensors"), &["config.json"]), other);
    }
}
