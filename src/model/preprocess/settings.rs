//! Reads the settings of an image processor, as `preprocessor_config.json` and `processor_config.json` hold them, in all forms
//! that are found on the hub.

use serde_json::{Map, Value};

use super::{
    layout::Layout,
    resize::{Backend, Filter},
};
use crate::model::family::{self, CLIP_PREPROCESSING, Family, PLAIN_PREPROCESSING, Preprocessing};

/// What is wrong with the settings of an image processor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingError {
    /// The file contains no JSON object.
    #[error("it is not a JSON object: {0}")]
    Json(String),
    /// A key has a value that is not supported.
    #[error("{key}: {problem}")]
    Key {
        /// The key as it is written in the file.
        key: &'static str,
        /// What is expected.
        problem: String,
    },
}

/// The size of a picture before it is cropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Resize {
    /// The shorter edge gets this length, the longer one keeps the proportion.
    ShortestEdge(u32),
    /// Exactly this width and height.
    Exact(u32, u32),
    /// The smallest size that covers this width and height, with the proportion kept.
    Cover((u32, u32)),
    /// The largest size within this width and height, with the proportion kept.
    Within((u32, u32)),
    /// Whole patches, at most `most` of them, in about the proportion of the picture.
    Patches {
        /// The edge of a patch in pixels.
        side: u32,
        most: u32,
    },
}

/// Where the middle of an edge is, if the number of pixels around the crop is odd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rounding {
    /// The smaller part is before the crop.
    Down,
    /// The part before the crop is even.
    HalfToEven,
}

/// How a byte becomes a number before it is normalised.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Rescale {
    /// Multiplied by a factor.
    Factor(f64),
    /// Divided by 255 in float32.
    Divided,
}

pub(super) struct Settings {
    pub resize: Option<Resize>,
    pub filter: Filter,
    pub crop: Option<(u32, u32)>,
    pub convert_rgb: bool,
    pub rounding: Rounding,
    /// The level of the pixels around a picture that is smaller than the crop.
    pub fill: u8,
    pub rescale: Option<Rescale>,
    /// Mean and standard deviation of each channel.
    pub normalize: Option<([f64; 3], [f64; 3])>,
}

/// The rescaling of the image processors where a file says nothing.
const RESCALE: f64 = 1.0 / 255.0;

impl Settings {
    pub fn from_json(text: &[u8]) -> Result<Self, SettingError> {
        let value = serde_json::from_slice(text).map_err(|error| SettingError::Json(error.to_string()))?;
        Self::read(value, None)
    }

    /// `family` is the family of the model, whose image processor is used if the settings name none.
    pub fn read(value: Value, family: Option<&Family>) -> Result<Self, SettingError> {
        let Value::Object(keys) = value else {
            return Err(SettingError::Json("it contains something else".to_owned()));
        };
        let keys = Keys(keys);
        let Preprocessing { crops, patches, mean, std } = keys.defaults(family)?;
        for key in ["do_pad", "use_square_size"] {
            if keys.flag(key, false)? {
                return Err(wrong(key, "false", &Value::Bool(true)));
            }
        }
        let cropped = !patches && keys.flag("do_center_crop", crops)?;
        let resized = keys.flag("do_resize", true)?;
        Ok(Self {
            resize: match (resized, patches) {
                (true, true) => Some(keys.patches()?),
                (true, false) => Some(keys.size(crops)?),
                (false, true) => return Err(wrong("do_resize", "true", &Value::Bool(false))),
                (false, false) => None,
            },
            filter: keys.filter(if patches { Filter::Bilinear } else { Filter::Bicubic })?,
            crop: if cropped { Some(keys.crop_size()?) } else { None },
            convert_rgb: keys.flag_or_null("do_convert_rgb")?,
            rounding: Rounding::Down,
            fill: 0,
            rescale: if keys.flag("do_rescale", true)? {
                Some(Rescale::Factor(keys.number("rescale_factor", RESCALE)?))
            } else {
                None
            },
            normalize: if keys.flag("do_normalize", true)? {
                let of = |key, default| channels(key, keys.get(key).unwrap_or(&Value::Null), default);
                Some((of("image_mean", mean)?, of("image_std", std)?))
            } else {
                None
            },
        })
    }

    /// The form of the result, which must be the same for every picture: the pictures of a batch are one tensor.
    pub fn output(&self) -> Result<Layout, SettingError> {
        match (self.crop, self.resize) {
            (Some((width, height)), _) | (None, Some(Resize::Exact(width, height))) => {
                Ok(Layout::Planes { width, height })
            }
            (None, Some(Resize::Patches { side, most })) => Ok(Layout::Patches { side, most }),
            (None, Some(Resize::ShortestEdge(_) | Resize::Cover(_) | Resize::Within(_))) => Err(SettingError::Key {
                key: "do_center_crop",
                problem: "must be true where `size` gives only the shortest edge; otherwise every picture would get \
                          another size"
                    .to_owned(),
            }),
            (None, None) => Err(SettingError::Key {
                key: "do_resize",
                problem: "must be true unless pictures are cropped".to_owned(),
            }),
        }
    }

    /// The value of every byte, computed with the backend's own order of float32 operations.
    pub fn table(&self, backend: Backend) -> [[f32; 256]; 3] {
        let mut table = [[0.0; 256]; 3];
        for (channel, values) in table.iter_mut().enumerate() {
            let normalize = self.normalize.map(|(mean, std)| (mean[channel], std[channel]));
            for (byte, value) in (0u8..=255).zip(values.iter_mut()) {
                *value = normalized(byte, self.rescale, normalize, backend);
            }
        }
        table
    }
}

fn normalized(byte: u8, rescale: Option<Rescale>, normalize: Option<(f64, f64)>, backend: Backend) -> f32 {
    let value = f32::from(byte);
    let rescale = match rescale {
        Some(Rescale::Divided) => {
            let value = value / 255.0;
            return normalize.map_or(value, |(mean, std)| (value - mean as f32) / std as f32);
        }
        Some(Rescale::Factor(factor)) => Some(factor),
        None => None,
    };
    match (rescale, normalize, backend) {
        (None, None, _) => value,
        // torchvision folds the rescaling into mean and standard deviation.
        (Some(rescale), Some((mean, std)), Backend::Torchvision) => {
            let scale = (1.0 / rescale) as f32;
            (value - mean as f32 * scale) / (std as f32 * scale)
        }
        (Some(rescale), None, Backend::Torchvision) => value * rescale as f32,
        (Some(rescale), normalize, Backend::Pil) => {
            let value = (f64::from(byte) * rescale) as f32;
            normalize.map_or(value, |(mean, std)| (value - mean as f32) / std as f32)
        }
        (None, Some((mean, std)), _) => (value - mean as f32) / std as f32,
    }
}

/// The keys of the file; a key that is `null` counts as absent.
struct Keys(Map<String, Value>);

impl Keys {
    fn get(&self, key: &str) -> Option<&Value> {
        self.0.get(key).filter(|value| !value.is_null())
    }

    /// What the image processor that the file names does where the file says nothing. Another image processor than the supported
    /// ones prepares pictures in another way, and so does code of the model's repository.
    fn defaults(&self, family: Option<&Family>) -> Result<Preprocessing, SettingError> {
        let types = ["image_processor_type", "feature_extractor_type"];
        if let Some((key, value)) = types.into_iter().find_map(|key| Some((key, self.get(key)?))) {
            let named = value.as_str().and_then(family::of_image_processor).filter(|it| it.fits(family));
            let unknown = || wrong(key, &format!("one of {}", family::image_processors(family)), value);
            return Ok(named.ok_or_else(unknown)?.preprocessing);
        }
        let code = ["AutoImageProcessor", "AutoFeatureExtractor"];
        if let Some(map) = self.get("auto_map").filter(|map| code.iter().any(|class| !map[class].is_null())) {
            return Err(wrong("auto_map", "absent: the program runs no code of a model's repository", map));
        }
        Ok(match family {
            Some(family) => family.preprocessing,
            None if self.get("crop_size").is_some() => CLIP_PREPROCESSING,
            None => PLAIN_PREPROCESSING,
        })
    }

    fn flag(&self, key: &'static str, default: bool) -> Result<bool, SettingError> {
        match self.get(key) {
            None => Ok(default),
            Some(value) => value.as_bool().ok_or_else(|| wrong(key, "true or false", value)),
        }
    }

    /// `do_convert_rgb`: absent means true, null means false.
    fn flag_or_null(&self, key: &'static str) -> Result<bool, SettingError> {
        if self.0.get(key).is_some_and(Value::is_null) { Ok(false) } else { self.flag(key, true) }
    }

    fn number(&self, key: &'static str, default: f64) -> Result<f64, SettingError> {
        match self.get(key) {
            None => Ok(default),
            Some(value) => value
                .as_f64()
                .filter(|number| number.is_finite() && *number > 0.0)
                .ok_or_else(|| wrong(key, "a number above 0", value)),
        }
    }

    fn size(&self, crops: bool) -> Result<Resize, SettingError> {
        const WANTED: &str = "a number, {\"shortest_edge\": N} or {\"height\": N, \"width\": N}";
        match self.get("size") {
            None if crops => Ok(Resize::ShortestEdge(224)),
            None => Ok(Resize::Exact(224, 224)),
            Some(value) => match value {
                Value::Object(edges) if edges.len() == 1 => {
                    edges.get("shortest_edge").and_then(edge).map(Resize::ShortestEdge)
                }
                Value::Object(_) => rectangle(value).map(|(width, height)| Resize::Exact(width, height)),
                value => edge(value).map(Resize::ShortestEdge),
            }
            .ok_or_else(|| wrong("size", WANTED, value)),
        }
    }

    fn crop_size(&self) -> Result<(u32, u32), SettingError> {
        match self.get("crop_size") {
            None => Ok((224, 224)),
            Some(value) => edge(value)
                .map(|edge| (edge, edge))
                .or_else(|| rectangle(value))
                .ok_or_else(|| wrong("crop_size", "a number or {\"height\": N, \"width\": N}", value)),
        }
    }

    /// The edge of a patch, and the most patches of a picture.
    fn patches(&self) -> Result<Resize, SettingError> {
        let number = |key: &'static str, default: u32, most: u32| match self.get(key) {
            None => Ok(default),
            Some(value) => edge(value)
                .filter(|number| *number <= most)
                .ok_or_else(|| wrong(key, &format!("a whole number up to {most}"), value)),
        };
        Ok(Resize::Patches {
            side: number("patch_size", 16, 32)?,
            most: number("max_num_patches", 256, 4096)?,
        })
    }

    fn filter(&self, default: Filter) -> Result<Filter, SettingError> {
        match self.get("resample") {
            None => Ok(default),
            Some(value) => match value.as_u64() {
                Some(2) => Ok(Filter::Bilinear),
                Some(3) => Ok(Filter::Bicubic),
                _ => Err(wrong("resample", "2 (bilinear) or 3 (bicubic)", value)),
            },
        }
    }
}

/// A number for each channel, or one for all of them.
pub(super) fn channels(
    key: &'static str,
    value: &Value,
    default: [f64; 3],
) -> Result<[f64; 3], SettingError> {
    let numbers = match value {
        Value::Null => return Ok(default),
        Value::Array(items) => items.iter().map(Value::as_f64).collect::<Option<Vec<_>>>(),
        value => value.as_f64().map(|number| vec![number; 3]),
    };
    let is_deviation = ["image_std", "std"].contains(&key);
    let fits = |numbers: &[f64; 3]| !is_deviation || numbers.iter().all(|std| *std > 0.0);
    numbers
        .and_then(|numbers| <[f64; 3]>::try_from(numbers).ok())
        .filter(fits)
        .ok_or_else(|| wrong(key, "three numbers, for red, green and blue", value))
}

/// An edge in pixels. A limit above every model's protects the memory.
pub(super) fn edge(value: &Value) -> Option<u32> {
    value.as_u64().and_then(|edge| u32::try_from(edge).ok()).filter(|edge| (1..=4096).contains(edge))
}

fn rectangle(value: &Value) -> Option<(u32, u32)> {
    let edges = value.as_object().filter(|edges| edges.len() == 2)?;
    Some((edges.get("width").and_then(edge)?, edges.get("height").and_then(edge)?))
}

pub(super) fn wrong(key: &'static str, wanted: &str, found: &Value) -> SettingError {
    SettingError::Key { key, problem: format!("{found} is not supported; it must be {wanted}") }
}
