//! Reads the sizes of a model from `config.json`. The reference's classes have defaults, and files on the hub leave out what
//! equals them; the classes differ in their defaults, so each caller gives its own.

use serde_json::{Map, Value};

use super::{
    blocks::{Gelu, Sizes},
    error::BuildError,
};

/// Larger numbers are no sizes of a model.
const LARGEST: u64 = 1 << 24;
/// The most layers.
const MOST_LAYERS: usize = 1000;

/// An object in a configuration, with its place for messages.
#[derive(Debug, Clone, Copy)]
pub(super) struct Section<'a> {
    /// The file.
    pub file: &'static str,
    /// The keys before those of this object, such as `text_config.`; empty for the whole file.
    place: &'static str,
    keys: Option<&'a Map<String, Value>>,
}

/// The defaults of a transformer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Defaults {
    pub width: usize,
    pub hidden: usize,
    pub layers: usize,
    pub heads: usize,
    pub epsilon: f64,
    pub gelu: &'static str,
}

impl<'a> Section<'a> {
    /// A whole file.
    pub(super) fn whole(file: &'static str, config: &'a Value) -> Self {
        Self { file, place: "", keys: config.as_object() }
    }

    /// An object in this one. `place` is its key with a dot at its end. One that is absent has no keys.
    ///
    /// # Errors
    /// It is something else than an object.
    pub(super) fn section(&self, place: &'static str) -> Result<Self, BuildError> {
        let key = place.trim_end_matches('.');
        let keys = match self.get(key) {
            None => None,
            Some(Value::Object(keys)) => Some(keys),
            Some(other) => return Err(self.wrong(key, other, "an object")),
        };
        Ok(Self { file: self.file, place, keys })
    }

    /// `NAME_config`. Old files may have `NAME_config_dict`, too; the reference then uses it, with the defaults of the class, instead.
    ///
    /// # Errors
    /// As [`Self::section`].
    pub(super) fn tower(&self, place: &'static str, old: &'static str) -> Result<Self, BuildError> {
        let is_old = self.get(old.trim_end_matches('.')).is_some();
        self.section(if is_old { old } else { place })
    }

    /// The value of a key; `null` counts as absent.
    pub(super) fn get(&self, key: &str) -> Option<&'a Value> {
        self.keys?.get(key).filter(|value| !value.is_null())
    }

    /// An error about the value of a key.
    pub(super) fn wrong(&self, key: &str, found: &Value, wanted: &str) -> BuildError {
        let Self { file, place, .. } = self;
        BuildError::new(file, format!("{place}{key} is {found}, and it must be {wanted}"))
    }

    /// An error about a key whose value is valid and not supported.
    pub(super) fn unsupported(&self, key: &str) -> BuildError {
        let Self { file, place, .. } = self;
        let found = self.get(key).map_or_else(String::new, |value| format!(": {value}"));
        BuildError::new(file, format!("`{place}{key}{found}` is not supported"))
    }

    /// A number of things, at least 1.
    ///
    /// # Errors
    /// It is no such number.
    pub(super) fn count(&self, key: &str, default: usize) -> Result<usize, BuildError> {
        let Some(value) = self.get(key) else { return Ok(default) };
        count(value).ok_or_else(|| self.wrong(key, value, "a whole number above 0"))
    }

    /// The edge of a square, as one number or as two equal ones.
    ///
    /// # Errors
    /// It is none.
    pub(super) fn edge(&self, key: &str, default: usize) -> Result<usize, BuildError> {
        let Some(value) = self.get(key) else { return Ok(default) };
        let edge = match value {
            Value::Array(edges) if edges.len() == 2 && edges[0] == edges[1] => count(&edges[0]),
            value => count(value),
        };
        edge.ok_or_else(|| self.wrong(key, value, "a whole number above 0: pictures and patches are squares"))
    }

    /// The id of a token.
    ///
    /// # Errors
    /// It is none.
    pub(super) fn id(&self, key: &str, default: i64) -> Result<i64, BuildError> {
        let Some(value) = self.get(key) else { return Ok(default) };
        value.as_i64().ok_or_else(|| self.wrong(key, value, "the id of a token"))
    }

    /// # Errors
    /// It is neither true nor false.
    pub(super) fn flag(&self, key: &str, default: bool) -> Result<bool, BuildError> {
        let Some(value) = self.get(key) else { return Ok(default) };
        value.as_bool().ok_or_else(|| self.wrong(key, value, "true or false"))
    }

    /// # Errors
    /// It is no text.
    pub(super) fn text(&self, key: &str, default: &'static str) -> Result<&'a str, BuildError> {
        let Some(value) = self.get(key) else { return Ok(default) };
        value.as_str().ok_or_else(|| self.wrong(key, value, "a text"))
    }

    /// A number above 0.
    ///
    /// # Errors
    /// It is none.
    pub(super) fn positive(&self, key: &str, default: f64) -> Result<f64, BuildError> {
        let Some(value) = self.get(key) else { return Ok(default) };
        let number = value.as_f64().filter(|number| number.is_finite() && *number > 0.0);
        number.ok_or_else(|| self.wrong(key, value, "a number above 0"))
    }

    /// The sizes of a transformer, by the names of the reference.
    ///
    /// # Errors
    /// A size is no size, or they contradict each other.
    pub(super) fn sizes(&self, defaults: &Defaults) -> Result<Sizes, BuildError> {
        let name = self.text("hidden_act", defaults.gelu)?;
        let gelu = Gelu::named(name).ok_or_else(|| {
            let supported = format!("one of {}", Gelu::NAMES);
            self.wrong("hidden_act", &Value::from(name), &supported)
        })?;
        let sizes = Sizes {
            width: self.count("hidden_size", defaults.width)?,
            heads: self.count("num_attention_heads", defaults.heads)?,
            hidden: self.count("intermediate_size", defaults.hidden)?,
            layers: self.count("num_hidden_layers", defaults.layers)?,
            epsilon: self.positive("layer_norm_eps", defaults.epsilon)? as f32,
            gelu,
        };
        self.checked(sizes, ["hidden_size", "num_attention_heads", "num_hidden_layers"])
    }

    /// Sizes that fit together; `keys` are those of the width, the heads and the layers.
    ///
    /// # Errors
    /// They do not.
    pub(super) fn checked(&self, sizes: Sizes, keys: [&str; 3]) -> Result<Sizes, BuildError> {
        let Self { file, place, .. } = self;
        let [width, heads, layers] = keys;
        if !sizes.width.is_multiple_of(sizes.heads) {
            let problem = format!(
                "{place}{width} is {}, and it must be a multiple of {place}{heads}, which is {}",
                sizes.width, sizes.heads
            );
            return Err(BuildError::new(file, problem));
        }
        if sizes.layers > MOST_LAYERS {
            let problem =
                format!("{place}{layers} is {}, and it must be at most {MOST_LAYERS}", sizes.layers);
            return Err(BuildError::new(file, problem));
        }
        Ok(sizes)
    }

    /// Edge of the pictures, edge of the patches, and patches along an edge.
    ///
    /// # Errors
    /// A picture has no whole patch, or no red, green and blue.
    pub(super) fn patches(&self, image: usize, patch: usize) -> Result<Patches, BuildError> {
        let patches =
            Patches { image: self.edge("image_size", image)?, patch: self.edge("patch_size", patch)? };
        let channels = self.count("num_channels", 3)?;
        if channels != 3 {
            return Err(self.wrong("num_channels", &channels.into(), "3: red, green and blue"));
        }
        self.whole_patches(patches)
    }

    /// # Errors
    /// A picture has no whole patch.
    pub(super) fn whole_patches(&self, patches: Patches) -> Result<Patches, BuildError> {
        let Self { file, place, .. } = self;
        let Patches { image, patch } = patches;
        if patches.along() == 0 || image > 1 << 14 {
            let problem = format!(
                "{place}image_size is {image} and {place}patch_size is {patch}, so that there are no patches"
            );
            return Err(BuildError::new(file, problem));
        }
        Ok(patches)
    }
}

fn count(value: &Value) -> Option<usize> {
    value.as_u64().filter(|count| (1..=LARGEST).contains(count)).and_then(|count| usize::try_from(count).ok())
}

/// How pictures are divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Patches {
    /// The edge of a picture in pixels.
    pub image: usize,
    /// The edge of a patch in pixels.
    pub patch: usize,
}

impl Patches {
    /// The number of whole patches along an edge.
    pub(super) fn along(self) -> usize {
        self.image / self.patch
    }

    /// The number of patches of a picture.
    pub(super) fn count(self) -> usize {
        self.along() * self.along()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const DEFAULTS: Defaults =
        Defaults { width: 8, hidden: 32, layers: 2, heads: 2, epsilon: 1e-5, gelu: "quick_gelu" };

    fn sizes(keys: Value) -> Result<Sizes, String> {
        let config = json!({"text_config": keys});
        let whole = Section::whole("config.json", &config);
        let section = whole.section("text_config.").map_err(|error| error.to_string())?;
        section.sizes(&DEFAULTS).map_err(|error| error.to_string())
    }

    #[test]
    fn what_a_file_leaves_out_has_the_defaults_of_the_class() {
        let default = Sizes { width: 8, heads: 2, hidden: 32, layers: 2, epsilon: 1e-5, gelu: Gelu::Quick };
        assert_eq!(sizes(json!({})), Ok(default));
        assert_eq!(sizes(json!({"hidden_size": null})), Ok(default));
        assert_eq!(sizes(Value::Null), Ok(default));
        let keys = json!({"hidden_size": 12, "num_attention_heads": 3, "intermediate_size": 5,
            "num_hidden_layers": 1, "layer_norm_eps": 1e-12, "hidden_act": "gelu", "other": []});
        let other = Sizes { width: 12, heads: 3, hidden: 5, layers: 1, epsilon: 1e-12, gelu: Gelu::Exact };
        assert_eq!(sizes(keys), Ok(other));
    }

    #[test]
    fn a_size_that_is_none_is_an_error_that_names_the_key() {
        for (keys, expected) in [
            (json!([]), "config.json: text_config is [], and it must be an object"),
            (
                json!({"hidden_size": 0}),
                "text_config.hidden_size is 0, and it must be a whole number above 0",
            ),
            (json!({"hidden_size": -8}), "text_config.hidden_size is -8"),
            (json!({"hidden_size": 8.5}), "text_config.hidden_size is 8.5"),
            (json!({"num_hidden_layers": 1e15}), "text_config.num_hidden_layers is 1000000000000000.0"),
            (
                json!({"num_hidden_layers": 5000}),
                "text_config.num_hidden_layers is 5000, and it must be at most 1000",
            ),
            (
                json!({"num_attention_heads": 3}),
                "hidden_size is 8, and it must be a multiple of text_config.num_attention_heads, which is 3",
            ),
            (
                json!({"layer_norm_eps": 0}),
                "text_config.layer_norm_eps is 0, and it must be a number above 0",
            ),
            (
                json!({"hidden_act": "mish"}),
                "text_config.hidden_act is \"mish\", and it must be one of gelu, gelu_pytorch_tanh and",
            ),
        ] {
            let error = sizes(keys).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn a_picture_has_whole_patches() {
        let patches = |keys: Value| {
            let section = Section::whole("config.json", &keys);
            section
                .patches(224, 32)
                .map(|patches| (patches.image, patches.along()))
                .map_err(|error| error.to_string())
        };
        assert_eq!(patches(json!({})), Ok((224, 7)));
        assert_eq!(patches(json!({"image_size": [30, 30], "patch_size": 14})), Ok((30, 2)));
        for (keys, expected) in [
            (json!({"image_size": [30, 31]}), "image_size is [30,31], and it must be"),
            (json!({"image_size": 16}), "so that there are no patches"),
            (json!({"num_channels": 4}), "num_channels is 4, and it must be 3"),
        ] {
            let error = patches(keys).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn the_older_of_two_sections_is_used_with_the_defaults() {
        let config = json!({"text_config": {"hidden_size": 4, "eos_token_id": 2}, "text_config_dict": {"hidden_size": 6}});
        let whole = Section::whole("config.json", &config);
        let section = whole.tower("text_config.", "text_config_dict.").unwrap();
        assert_eq!((section.count("hidden_size", 8), section.id("eos_token_id", 49407)), (Ok(6), Ok(49407)));
        let config = json!({"text_config": {"hidden_size": 4}, "text_config_dict": null});
        let whole = Section::whole("config.json", &config);
        assert_eq!(whole.tower("text_config.", "text_config_dict.").unwrap().count("hidden_size", 8), Ok(4));
    }
}
