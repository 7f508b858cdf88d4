//! Reads how OpenCLIP prepares pictures for a model, from its `open_clip_config.json`.
//!
//! OpenCLIP resizes with Pillow where the pipeline uses torchvision, and rounds the place of the crop in another way: with the
//! wrong one of both the scores of a model differ by up to 0.016. OpenCLIP takes a picture as its caller decodes it. Here it is
//! upright and RGB, as for every other model: OpenCLIP itself would resize transparency with the colours, and it turns nothing.

use serde_json::Value;

use super::{
    resize::Filter,
    settings::{Rescale, Resize, Rounding, SettingError, Settings, channels, edge, wrong},
};
use crate::model::family::CLIP_PREPROCESSING;

/// Where the shorter or longer edge decides, in OpenCLIP's words.
const MODES: &str = "\"shortest\", \"longest\" or \"squash\"";

/// The settings in the content of `open_clip_config.json`.
pub(super) fn read(config: &Value) -> Result<Settings, SettingError> {
    let preprocess = &config["preprocess_cfg"];
    let (width, height) = size(config)?;
    let filter = match preprocess["interpolation"].as_str() {
        Some("bilinear") => Filter::Bilinear,
        // OpenCLIP chooses at random only in training.
        Some("bicubic" | "random") => Filter::Bicubic,
        None if preprocess["interpolation"].is_null() => Filter::Bicubic,
        _ => {
            let value = &preprocess["interpolation"];
            return Err(wrong("interpolation", "\"bicubic\" or \"bilinear\"", value));
        }
    };
    let mode = &preprocess["resize_mode"];
    let (resize, filter, crop) = match mode.as_str().or(mode.is_null().then_some("shortest")) {
        Some("shortest") if width == height => (Resize::ShortestEdge(width), filter, Some((width, height))),
        // OpenCLIP ignores the interpolation here.
        Some("shortest") => (Resize::Cover((width, height)), Filter::Bicubic, Some((width, height))),
        Some("longest") => (Resize::Within((width, height)), filter, Some((width, height))),
        Some("squash") => (Resize::Exact(width, height), filter, None),
        _ => return Err(wrong("resize_mode", MODES, mode)),
    };
    let mean = channels("mean", &preprocess["mean"], CLIP_PREPROCESSING.mean)?;
    let std = channels("std", &preprocess["std"], CLIP_PREPROCESSING.std)?;
    Ok(Settings {
        resize: Some(resize),
        filter,
        crop,
        convert_rgb: false,
        rounding: Rounding::HalfToEven,
        fill: fill(&preprocess["fill_color"])?,
        rescale: Some(Rescale::Divided),
        normalize: Some((mean, std)),
    })
}

/// Width and height: the model's own, whatever the settings for pictures say.
fn size(config: &Value) -> Result<(u32, u32), SettingError> {
    const DEFAULT: (u32, u32) = (224, 224);
    let known = [
        ("vision_cfg.image_size", &config["model_cfg"]["vision_cfg"]["image_size"]),
        ("size", &config["preprocess_cfg"]["size"]),
    ];
    let Some((key, value)) = known.into_iter().find(|(_, value)| !value.is_null()) else {
        return Ok(DEFAULT);
    };
    let size = match value.as_array().map(Vec::as_slice) {
        None => edge(value).map(|edge| (edge, edge)),
        Some([only]) => edge(only).map(|edge| (edge, edge)),
        Some([height, width]) => edge(width).zip(edge(height)),
        Some(_) => None,
    };
    size.ok_or_else(|| wrong(key, "a number of pixels, or two of them", value))
}

/// The level of the pixels that `longest` adds.
fn fill(value: &Value) -> Result<u8, SettingError> {
    if value.is_null() {
        return Ok(0);
    }
    let level = value.as_u64().and_then(|level| u8::try_from(level).ok());
    level.ok_or_else(|| wrong("fill_color", "a number from 0 to 255", value))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        model::preprocess::{Layout, Preprocessor},
        picture::Picture,
    };

    fn preprocessor(size: Value, preprocess: Value) -> Preprocessor {
        let config = json!({"model_cfg": {"vision_cfg": {"image_size": size}}, "preprocess_cfg": preprocess});
        Preprocessor::of_open_clip(&config).unwrap()
    }

    /// Black, white and grey columns: where they are afterwards shows the crop.
    fn columns(levels: &[u8]) -> Picture {
        let rgb = levels.iter().flat_map(|level| [*level; 3]).collect();
        Picture::of_rgb(levels.len() as u32, 1, rgb)
    }

    #[test]
    fn sizes_and_modes_are_those_of_open_clip() {
        let photo = (641, 480);
        // The sizes after the resize are computed by hand, as OpenCLIP's ResizeKeepRatio and torchvision's Resize do it.
        for (size, preprocess, output, resized) in [
            (json!(224), json!({}), (224, 224), (299, 224)),
            (json!([224, 224]), json!({"resize_mode": "shortest"}), (224, 224), (299, 224)),
            (json!([100]), json!({}), (100, 100), (133, 100)),
            (json!(224), json!({"resize_mode": "squash"}), (224, 224), (224, 224)),
            (json!([200, 300]), json!({"resize_mode": "squash"}), (300, 200), (300, 200)),
            (json!(224), json!({"resize_mode": "longest"}), (224, 224), (224, 168)),
            // 480 / 200 is the smaller ratio: 641 / 2.4 is 267.08.
            (json!([200, 200]), json!({"resize_mode": "longest"}), (200, 200), (200, 150)),
            (json!([240, 200]), json!({}), (200, 240), (320, 240)),
            (Value::Null, json!({"size": 96}), (96, 96), (128, 96)),
            (Value::Null, Value::Null, (224, 224), (299, 224)),
        ] {
            let found = preprocessor(size.clone(), preprocess.clone());
            let layout = Layout::Planes { width: output.0, height: output.1 };
            assert_eq!(
                (found.layout(), found.resized(photo.0, photo.1)),
                (layout, resized),
                "{size} {preprocess}"
            );
        }
    }

    #[test]
    fn the_crop_is_rounded_half_to_even() {
        // Nothing is resized: the shorter edge is one pixel already.
        let crop = |levels: &[u8]| preprocessor(json!(1), json!({})).bytes(&columns(levels));
        assert_eq!(crop(&[10, 20, 30]), [20; 3]);
        assert_eq!(crop(&[10, 20]), [10; 3], "half a pixel is rounded to 0");
        assert_eq!(crop(&[10, 20, 30, 40]), [30; 3], "one and a half to 2");
        assert_eq!(crop(&[10, 20, 30, 40, 50, 60]), [30; 3], "two and a half to 2");
    }

    #[test]
    fn longest_fills_what_is_missing() {
        let longest = preprocessor(json!(4), json!({"resize_mode": "longest", "fill_color": 7}));
        let bytes = longest.bytes(&columns(&[10, 20, 30, 40]));
        let rows: Vec<Vec<u8>> =
            bytes.chunks(12).map(|row| row.chunks(3).map(|pixel| pixel[0]).collect()).collect();
        assert_eq!(rows, [[7; 4], [10, 20, 30, 40], [7; 4], [7; 4]]);
    }

    #[test]
    fn numbers_are_those_of_the_settings() {
        let tensor = |preprocess: Value| {
            let mut tensor = Vec::new();
            preprocessor(json!(1), preprocess).append(&Picture::of_rgb(1, 1, vec![0, 51, 255]), &mut tensor);
            tensor
        };
        // MobileCLIP's.
        assert_eq!(
            tensor(json!({"mean": [0, 0, 0], "std": [1, 1, 1], "interpolation": "bilinear"})),
            [0.0, 0.2, 1.0]
        );
        assert_eq!(tensor(json!({"mean": 0.5, "std": [0.5, 0.5, 0.5]})), [-1.0, (0.2 - 0.5) / 0.5, 1.0]);
        let own = tensor(json!({}));
        let expected = [0.0, 0.2, 1.0_f32].into_iter().enumerate().map(|(channel, value)| {
            (value - CLIP_PREPROCESSING.mean[channel] as f32) / CLIP_PREPROCESSING.std[channel] as f32
        });
        assert_eq!(own, expected.collect::<Vec<_>>());
    }

    #[test]
    fn a_setting_that_is_not_supported_is_named() {
        for (size, preprocess, expected) in [
            (json!(0), json!({}), "vision_cfg.image_size: 0 is not supported"),
            (json!([1, 2, 3]), json!({}), "vision_cfg.image_size: [1,2,3] is not"),
            (Value::Null, json!({"size": "large"}), "size: \"large\" is not"),
            (json!(8), json!({"interpolation": "nearest"}), "interpolation: \"nearest\" is not"),
            (json!(8), json!({"interpolation": 3}), "interpolation: 3 is not"),
            (json!(8), json!({"resize_mode": "crop"}), "resize_mode: \"crop\" is not"),
            (json!(8), json!({"resize_mode": 1}), "resize_mode: 1 is not"),
            (json!(8), json!({"mean": [1, 2]}), "mean: [1,2] is not"),
            (json!(8), json!({"std": [1, 0, 1]}), "std: [1,0,1] is not"),
            (json!(8), json!({"fill_color": 256}), "fill_color: 256 is not"),
        ] {
            let config =
                json!({"model_cfg": {"vision_cfg": {"image_size": size}}, "preprocess_cfg": preprocess});
            let error = Preprocessor::of_open_clip(&config).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{config}: {error}");
        }
    }
}
