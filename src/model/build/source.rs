//! Which files of a repository or folder a graph is built from. Pure.

use super::{openclip, weights::is_index};

/// The format of a model's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// That of the reference, transformers.
    Transformers,
    OpenClip,
}

/// The files that a graph is built from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WeightSource {
    pub format: Format,
    /// The weights, or the index of their files.
    pub weights: &'static str,
}

/// The weights of the reference, the best first.
const TRANSFORMERS: [&str; 2] = ["model.safetensors", "model.safetensors.index.json"];
/// The weights of OpenCLIP, in its own order.
const OPEN_CLIP: [&str; 3] =
    ["open_clip_model.safetensors", "open_clip_pytorch_model.safetensors", "model.safetensors"];
/// Files that may hold any code, which Python runs when it opens them. They are never read.
const PICKLES: [&str; 3] =
    ["pytorch_model.bin", "pytorch_model.bin.index.json", "open_clip_pytorch_model.bin"];

impl WeightSource {
    /// The files among those that exist: `has` answers whether a file does, `prepares_pictures` whether one of them is that of
    /// the reference's settings for pictures. A repository may have both formats; the reference reads its own.
    pub(crate) fn among(has: impl Fn(&str) -> bool, prepares_pictures: bool) -> Option<Self> {
        let first = |names: &[&'static str]| names.iter().copied().find(|name| has(name));
        let transformers = first(&TRANSFORMERS).filter(|_| has("config.json"));
        let open_clip = first(&OPEN_CLIP).filter(|_| has(openclip::CONFIG));
        // Repositories in OpenCLIP's format may have a `config.json` of something else, and no settings for pictures beside it.
        let of = |format, weights| Self { format, weights };
        match (transformers, open_clip) {
            (Some(weights), None) => Some(of(Format::Transformers, weights)),
            (Some(weights), Some(_)) if prepares_pictures => Some(of(Format::Transformers, weights)),
            (_, Some(weights)) => Some(of(Format::OpenClip, weights)),
            (None, None) => None,
        }
    }

    /// The file with the sizes of the model.
    pub(crate) fn config(&self) -> &'static str {
        match self.format {
            Format::Transformers => "config.json",
            Format::OpenClip => openclip::CONFIG,
        }
    }

    /// Whether the weights are in the files that an index names.
    pub(crate) fn is_sharded(&self) -> bool {
        is_index(self.weights)
    }
}

/// The file with weights that is never read, if there is one.
pub(crate) fn pickle_among(has: impl Fn(&str) -> bool) -> Option<&'static str> {
    PICKLES.into_iter().find(|name| has(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_weights_that_the_reference_reads_are_used() {
        use Format::{OpenClip, Transformers};
        for (files, expected) in [
            (&["config.json", "model.safetensors"][..], Some((Transformers, "model.safetensors"))),
            (
                &["config.json", "model.safetensors.index.json"],
                Some((Transformers, "model.safetensors.index.json")),
            ),
            (&["model.safetensors"], None),
            (&["config.json"], None),
            (&["config.json", "pytorch_model.bin"], None),
            (
                &["open_clip_config.json", "open_clip_model.safetensors"],
                Some((OpenClip, "open_clip_model.safetensors")),
            ),
            (
                &[
                    "open_clip_config.json",
                    "open_clip_pytorch_model.bin",
                    "open_clip_pytorch_model.safetensors",
                ],
                Some((OpenClip, "open_clip_pytorch_model.safetensors")),
            ),
            (&["open_clip_config.json", "model.safetensors"], Some((OpenClip, "model.safetensors"))),
            // Both.
            (
                &[
                    "config.json",
                    "preprocessor_config.json",
                    "model.safetensors",
                    "open_clip_config.json",
                    "open_clip_model.safetensors",
                ],
                Some((Transformers, "model.safetensors")),
            ),
            // A `config.json` of something else.
            (
                &["config.json", "open_clip_config.json", "open_clip_model.safetensors", "model.safetensors"],
                Some((OpenClip, "open_clip_model.safetensors")),
            ),
            // Only pickles of the reference's format.
            (
                &[
                    "config.json",
                    "preprocessor_config.json",
                    "pytorch_model.bin",
                    "open_clip_config.json",
                    "open_clip_model.safetensors",
                ],
                Some((OpenClip, "open_clip_model.safetensors")),
            ),
        ] {
            let prepares_pictures = files.contains(&"preprocessor_config.json");
            let found = WeightSource::among(|name| files.contains(&name), prepares_pictures);
            assert_eq!(found.map(|source| (source.format, source.weights)), expected, "{files:?}");
        }
    }

    #[test]
    fn files_with_code_are_known_and_not_used() {
        assert_eq!(pickle_among(|name| name == "pytorch_model.bin"), Some("pytorch_model.bin"));
        assert_eq!(pickle_among(|name| name == "model.safetensors"), None);
        let sharded = WeightSource { format: Format::Transformers, weights: TRANSFORMERS[1] };
        assert!(sharded.is_sharded() && sharded.config() == "config.json");
    }
}
