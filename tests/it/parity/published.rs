//! Published numbers: real CLIP vectors and tokens, and a small trained model with its results.

use std::{collections::HashMap, fs, path::Path};

use stakeout::{
    classify::{
        Classifier,
        score::{Activation, logit, scores},
    },
    model::{
        Model, ModelFiles, Options, Runtime,
        preprocess::{Backend, Preprocessor},
    },
    picture,
};

use super::{json, numbers, scores::label_set};
use crate::common::fixtures;

fn decoded(path: &Path) -> picture::Picture {
    picture::decode(&fs::read(path).unwrap(), picture::Limits::of(10_000_000)).unwrap()
}

/// The arrays of a NumPy archive, by name.
fn npz(path: &Path) -> HashMap<String, Vec<f32>> {
    let bytes = fs::read(path).unwrap();
    let word = |at: usize| usize::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]));
    let long = |at: usize| word(at) + (word(at + 2) << 16);
    let end = bytes.windows(4).rposition(|window| window == b"PK\x05\x06").unwrap();
    let mut at = long(end + 16);
    let mut arrays = HashMap::new();
    while &bytes[at..at + 4] == b"PK\x01\x02" {
        assert_eq!(word(at + 10), 8, "deflated");
        let (packed, name_len, local) = (long(at + 20), word(at + 28), long(at + 42));
        let name = std::str::from_utf8(&bytes[at + 46..at + 46 + name_len]).unwrap();
        let data = local + 30 + word(local + 26) + word(local + 28);
        let unpacked = miniz_oxide::inflate::decompress_to_vec(&bytes[data..data + packed]).unwrap();
        arrays.insert(name.trim_end_matches(".npy").to_owned(), npy(&unpacked));
        at += 46 + name_len + word(at + 30) + word(at + 32);
    }
    arrays
}

/// The values of a NumPy array of 32-bit numbers.
pub(crate) fn npy(bytes: &[u8]) -> Vec<f32> {
    let header = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    assert!(String::from_utf8_lossy(&bytes[..10 + header]).contains("'<f4'"));
    bytes[10 + header..].as_chunks::<4>().0.iter().map(|value| f32::from_le_bytes(*value)).collect()
}

/// The preprocessing of OpenAI rounds the position of the crop (half to even), Hugging Face truncates it. If that makes a
/// difference, this takes a wider crop and removes its first columns.
fn as_openai(picture: &picture::Picture) -> Vec<f32> {
    let (short, long) = (picture.width.min(picture.height), picture.width.max(picture.height));
    let missing = 224 * long / short - 224;
    let shifted = missing % 4 == 3;
    let width = if shifted && picture.width > picture.height { 226 } else { 224 };
    assert!(!shifted || width == 226, "only a wide picture is shifted here");
    let config = format!(
        r#"{{"image_processor_type": "CLIPImageProcessor", "crop_size": {{"height": 224, "width": {width}}}}}"#
    );
    // Published before the torchvision backend existed: Pillow resized the pictures.
    let preprocessor = Preprocessor::from_json(config.as_bytes(), Backend::Pil).unwrap();
    let mut values = Vec::new();
    preprocessor.append(picture, &mut values);
    values.chunks_exact(width).flat_map(|row| &row[width - 224..]).copied().collect()
}

#[test]
fn real_pictures_have_the_published_tensors() {
    let Some(folder) = fixtures("clip-vectors") else { return };
    let published = npz(&folder.join("preprocessed.npz"));
    assert_eq!(published.len(), 7);
    for (name, expected) in published {
        let found = as_openai(&decoded(&folder.join("images").join(&name)));
        assert_eq!(found.len(), expected.len());
        let worst = found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(worst < 1e-5, "{name}: {worst:e}");
    }
}

#[test]
fn real_vectors_score_as_published() {
    let Some(folder) = fixtures("clip-vectors") else { return };
    let index = json(&folder.join("index.json"));
    let unit = |rows: Vec<f32>| -> Vec<Vec<f32>> {
        let length = |row: &[f32]| row.iter().map(|value| value * value).sum::<f32>().sqrt();
        rows.chunks_exact(512).map(|row| row.iter().map(|value| value / length(row)).collect()).collect()
    };
    let pictures = unit(npy(&fs::read(folder.join("image_embeds.npy")).unwrap()));
    let texts = unit(npy(&fs::read(folder.join("text_embeds_coco80.npy")).unwrap()));
    let labels: Vec<&str> =
        index["labels"].as_array().unwrap().iter().map(|label| label.as_str().unwrap()).collect();
    let scale = numbers(&index["logit_scale"])[0];
    let images = index["images"].as_array().unwrap();
    assert_eq!((images.len(), pictures.len(), texts.len(), labels.len()), (7, 7, 80, 80));
    for (image, picture) in images.iter().zip(&pictures) {
        let logits: Vec<f32> = texts.iter().map(|text| logit(picture, text, scale, 0.0)).collect();
        let scores = scores(&logits, &[], Activation::Softmax).labels;
        let mut order: Vec<usize> = (0..80).collect();
        order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
        let top = index["top3_softmax"][image.as_str().unwrap()].as_array().unwrap();
        assert_eq!(top.len(), 3);
        for (found, expected) in order.iter().zip(top) {
            assert_eq!(labels[*found], expected[0].as_str().unwrap(), "{image}");
            let deviation = (scores[*found] - numbers(&expected[1])[0]).abs();
            // Published with four digits.
            assert!(deviation < 6e-5, "{image}: {deviation:e}");
        }
    }
}

/// One of the small models with another tokenizer.
fn with_tokenizer(model: &str, tokenizer: &str) -> Option<Model> {
    let source = fixtures("hf-parity")?.join("models").join(model);
    let copy = tempfile::tempdir().unwrap();
    fs::create_dir(copy.path().join("onnx")).unwrap();
    for file in ["config.json", "preprocessor_config.json", "onnx/vision_model.onnx", "onnx/text_model.onnx"]
    {
        fs::copy(source.join(file), copy.path().join(file)).unwrap();
    }
    fs::copy(fixtures("tokenizers")?.join(tokenizer), copy.path().join("tokenizer.json")).unwrap();
    fs::write(copy.path().join("stakeout.json"), r#"{"logit_scale": 100}"#).unwrap();
    let files = ModelFiles::Folder(copy.path().to_owned());
    let model = Model::load(&Runtime::load(None).unwrap(), &files, &Options::default()).unwrap();
    // The tokenizer is read with the first text, and the folder is removed before that.
    model.text().tokens("").unwrap();
    Some(model)
}

#[test]
fn clips_own_tokenizer_gives_the_published_tokens() {
    let Some(folder) = fixtures("tokenizers") else { return };
    let model = with_tokenizer("tiny-clip", "clip/tokenizer.json").unwrap();
    let ids = |text: &str| model.text().tokens(text).unwrap().ids;
    assert_eq!(ids("a photo of a cat"), [49406, 320, 1125, 539, 320, 2368, 49407]);

    let published = json(&folder.join("clip/cases.json"));
    let cases = published["Xenova/clip-vit-base-patch16"].as_object().unwrap();
    let mut cut = 0;
    for (name, case) in cases {
        let expected: Vec<i64> =
            case["ids"].as_array().unwrap().iter().map(|id| id.as_i64().unwrap()).collect();
        let found = model.text().tokens(case["text"].as_str().unwrap()).unwrap();
        assert_eq!(found.uncut, expected.len(), "{name}");
        if expected.len() <= 77 {
            assert_eq!(found.ids, expected, "{name}");
        } else {
            assert_eq!((&found.ids[..76], found.ids[76]), (&expected[..76], 49407), "{name}");
            cut += 1;
        }
    }
    assert_eq!((cases.len(), cut), (25, 1));
}

#[test]
fn siglip2s_tokenizer_lower_cases_and_gives_the_published_tokens() {
    let Some(folder) = fixtures("tokenizers/siglip2") else { return };
    let model = with_tokenizer("tiny-siglip2", "siglip2/tokenizer.json").unwrap();
    let published = json(&folder.join("gemma-cases-without-lowercase.json"));
    let cases = published["Xenova/gemma2-tokenizer"].as_object().unwrap();
    let mut lower = 0;
    for (name, case) in cases {
        let text = case["text"].as_str().unwrap();
        let found = model.text().tokens(text).unwrap();
        assert_eq!(found, model.text().tokens(&text.to_lowercase()).unwrap(), "{name}");
        if text != text.to_lowercase() {
            continue;
        }
        lower += 1;
        // Gemma starts with <bos>; SigLIP2 has none, and ends with <eos>.
        let mut expected: Vec<i64> =
            case["ids"].as_array().unwrap().iter().skip(1).map(|id| id.as_i64().unwrap()).collect();
        expected.truncate(63);
        expected.push(1);
        assert_eq!(found.ids, expected, "{name}");
    }
    assert_eq!((cases.len(), lower), (37, 23));
}

#[test]
fn a_small_trained_model_has_the_published_scores() {
    let Some(folder) = fixtures("mira-clip") else { return };
    let expected = json(&folder.join("expected.json"));
    let cases = expected.as_array().unwrap();
    let labels: Vec<String> = cases[0]["labels"]
        .as_array()
        .unwrap()
        .iter()
        .map(|label| label.as_str().unwrap().to_owned())
        .collect();
    let files = ModelFiles::Folder(folder.clone());
    let model = Model::load(&Runtime::load(None).unwrap(), &files, &Options::default()).unwrap();
    let mut classifier = Classifier::new(model, &[label_set("{}", &labels).unwrap()]).unwrap();
    let (mut right, mut worst) = (0, 0f32);
    for case in cases {
        assert_eq!(case["labels"].as_array().unwrap().len(), labels.len());
        let picture = decoded(&folder.join("samples").join(format!("{}.png", case["id"].as_str().unwrap())));
        let vector = classifier.embed(&[&picture]).unwrap().remove(0);
        let scores = classifier.scores(0, &vector).labels;
        let deviation =
            scores.iter().zip(numbers(&case["probs"])).map(|(found, expected)| (found - expected).abs());
        worst = deviation.fold(worst, f32::max);
        let top = scores.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).unwrap().0;
        assert_eq!(labels[top], case["top"].as_str().unwrap());
        right += usize::from(labels[top] == case["label"].as_str().unwrap());
    }
    println!("mira: {worst:e}");
    // Published with six digits.
    assert!(worst < 5e-5, "{worst:e}");
    assert_eq!((cases.len(), right), (20, 19));
}
