//! Decoding and preprocessing, bit for bit.

use std::{collections::BTreeMap, fs};

use serde_json::Value;
use stakeout::{
    model::preprocess::{Backend, Preprocessor},
    picture::{self, Picture},
};

use super::{assert_none, json, sha256};
use crate::common::fixtures;

const MAX_PIXELS: u64 = 10_000_000;

fn decoded(name: &str) -> Result<Picture, picture::PictureError> {
    let folder = fixtures("hf-parity/images").expect("the caller saw the fixtures");
    picture::decode(&fs::read(folder.join(name)).unwrap(), picture::Limits::of(MAX_PIXELS))
}

/// White instead of the transparent colour, as in the hashes of the reference.
fn rgb(picture: &Picture) -> Vec<u8> {
    let white = |pixel: &[u8; 3]| if Some(*pixel) == picture.transparent { [255; 3] } else { *pixel };
    picture.rgb().as_chunks::<3>().0.iter().flat_map(white).collect()
}

#[test]
fn every_picture_decodes_to_the_reference_pixels() {
    let Some(folder) = fixtures("hf-parity/goldens") else { return };
    let golden = json(&folder.join("preprocess.json"));
    let mut deviations = Vec::new();
    let images = golden["images"].as_object().unwrap();
    for (name, expected) in images {
        match decoded(name) {
            Err(error) => deviations.push(format!("{name}: {error}")),
            Ok(picture) => {
                let size = serde_json::json!([picture.width, picture.height]);
                let hash = sha256(&rgb(&picture));
                if size != expected["rgb_size_wh"] || hash != expected["rgb_sha256"] {
                    deviations.push(format!("{name}: {size} {hash}"));
                }
            }
        }
    }
    assert_eq!(images.len(), 47);
    assert_none(&deviations);
}

#[test]
fn every_broken_picture_is_an_error_with_its_cause() {
    let Some(_) = fixtures("hf-parity/images") else { return };
    let cause = |name| decoded(name).unwrap_err().cause();
    assert_eq!(cause("bad_empty.png"), "empty");
    assert_eq!(cause("bad_not_an_image.jpg"), "not_a_picture");
    assert_eq!(cause("bad_truncated.jpg"), "truncated");
}

fn check_backend(backend: Backend, name: &str) {
    let Some(folder) = fixtures("hf-parity/goldens") else { return };
    let golden = json(&folder.join("preprocess.json"));
    let configs: BTreeMap<&str, Preprocessor> = golden["configs"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, config)| (name.as_str(), preprocessor(config, backend)))
        .collect();
    let (mut cases, mut deviations) = (0, Vec::new());
    for (image, expected) in golden["images"].as_object().unwrap() {
        let picture = decoded(image).unwrap();
        for (config, expected) in expected["out"].as_object().unwrap() {
            let expected = &expected[name];
            let preprocessor = &configs[config.as_str()];
            let mut tensor = Vec::new();
            preprocessor.append(&picture, &mut tensor);
            let values: Vec<u8> = tensor.iter().flat_map(|value| value.to_le_bytes()).collect();
            // Every byte has its own value, so equal values are equal pixels; where they are not, it helps to know which.
            if sha256(&values) != expected["pixel_values_f32le_chw_sha256"] {
                let resized = sha256(&preprocessor.bytes(&picture)) == expected["uint8_hwc_sha256"];
                deviations
                    .push(format!("{image}, {config}: {}", if resized { "normalising" } else { "resizing" }));
            }
            cases += 1;
        }
    }
    assert_none(&deviations);
    assert_eq!(cases, 47 * 7);
}

/// The configurations of the reference data leave out defaults.
fn preprocessor(config: &Value, backend: Backend) -> Preprocessor {
    let text = serde_json::to_vec(config).unwrap();
    Preprocessor::from_json(&text, backend).unwrap()
}

#[test]
fn every_picture_becomes_the_reference_numbers() {
    check_backend(Backend::Torchvision, "torchvision");
}

#[test]
fn every_picture_becomes_the_reference_numbers_of_the_pil_backend() {
    check_backend(Backend::Pil, "pil");
}
