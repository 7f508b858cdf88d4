//! Decodes any bytes as a picture. A valid picture is cropped, encoded as JPEG, and preprocessed for a CLIP model.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use stakeout::{
    model::preprocess::{Backend, Preprocessor},
    picture::{Limits, decode},
};

/// Small, so that inputs that decompress to a huge size must be rejected.
const MAX_PIXELS: u64 = 1 << 20;

static PREPROCESSOR: LazyLock<Preprocessor> = LazyLock::new(|| {
    let settings = br#"{"image_processor_type": "CLIPImageProcessor", "size": {"shortest_edge": 32},
                        "crop_size": {"height": 32, "width": 32}, "resample": 3}"#;
    Preprocessor::from_json(settings, Backend::Pil).expect("the settings are valid")
});

fuzz_target!(|bytes: &[u8]| {
    let Ok(picture) = decode(bytes, Limits::of(MAX_PIXELS)) else { return };
    let pixels = u64::from(picture.width) * u64::from(picture.height);
    assert!((1..=MAX_PIXELS).contains(&pixels));
    assert_eq!(picture.rgb().len() as u64, pixels * 3);
    let part = picture.crop(picture.width / 2, picture.height / 2, 7, 9);
    assert!(part.to_jpeg(85).is_ok());
    let mut tensor = vec![];
    PREPROCESSOR.append(&picture, &mut tensor);
    assert_eq!(tensor.len(), PREPROCESSOR.tensor_len());
});
