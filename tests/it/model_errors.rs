//! Errors for invalid models.

use std::{
    fs,
    path::{Path, PathBuf},
};

use stakeout::model::{Model, ModelFiles, Options, Runtime};
use tempfile::TempDir;

use crate::common::{fixtures, onnx::with_external_weights};

/// A copy of a small model that a test may change.
fn copy(model: &str) -> Option<TempDir> {
    let source = fixtures("hf-parity")?.join("models").join(model);
    let copy = tempfile::tempdir().unwrap();
    fs::create_dir(copy.path().join("onnx")).unwrap();
    for folder in ["", "onnx"] {
        for entry in
            fs::read_dir(source.join(folder)).unwrap().flatten().filter(|entry| entry.path().is_file())
        {
            let path = copy.path().join(folder).join(entry.file_name());
            fs::write(path, fs::read(entry.path()).unwrap()).unwrap();
        }
    }
    Some(copy)
}

/// The error of loading, without the name of the folder.
fn error_of(folder: &Path) -> String {
    let files = ModelFiles::Folder(PathBuf::from(folder));
    match Model::load(&Runtime::load(None).unwrap(), &files, &Options::default()) {
        Ok(model) => format!("loaded, {:?}", model.logits()),
        Err(error) => error.to_string().replace(&folder.display().to_string(), "FOLDER"),
    }
}

/// The error of loading a spoilt copy.
fn spoilt(model: &str, spoil: impl FnOnce(&Path)) -> Option<String> {
    let copy = copy(model)?;
    spoil(copy.path());
    Some(error_of(copy.path()))
}

#[test]
fn every_missing_file_is_in_one_message() {
    let Some(text) = spoilt("tiny-clip", |folder| {
        for file in ["tokenizer.json", "onnx/model.onnx", "onnx/vision_model.onnx"] {
            fs::remove_file(folder.join(file)).unwrap();
        }
    }) else {
        return;
    };
    assert_eq!(
        text,
        "the model in FOLDER is incomplete; missing: tokenizer.json, onnx/vision_model.onnx (or onnx/model.onnx). A \
         model is a folder in the hub's layout, with its weights in `model.safetensors`, or with its ONNX export in `onnx/`"
    );
}

#[test]
fn an_unknown_type_lists_the_known_ones() {
    let config = |text: &'static str| {
        spoilt("tiny-clip", move |folder| fs::write(folder.join("config.json"), text).unwrap())
    };
    let Some(text) = config(r#"{"model_type": "align"}"#) else { return };
    assert_eq!(
        text,
        "the model in FOLDER is of the type align, which is not supported; supported are clip, chinese_clip, siglip, siglip2, \
         metaclip_2, altclip. Use google/siglip2-base-patch16-256 instead"
    );
    assert!(config("{}").unwrap().contains("no model_type"));
    assert!(config("{").unwrap().starts_with("config.json of the model in FOLDER cannot be used: "));
}

#[test]
fn a_graph_of_another_kind_is_reported_as_expected_and_found() {
    let Some(text) = spoilt("tiny-clip", |folder| {
        fs::copy(folder.join("onnx/text_model.onnx"), folder.join("onnx/vision_model.onnx")).unwrap();
    }) else {
        return;
    };
    assert_eq!(
        text,
        "onnx/vision_model.onnx of the model in FOLDER has other inputs than expected: expected pixel_values, found \
         input_ids"
    );
    let text = spoilt("tiny-siglip", |folder| {
        fs::write(folder.join("config.json"), r#"{"model_type": "clip"}"#).unwrap();
        fs::write(folder.join("stakeout.json"), r#"{"logit_scale": 1}"#).unwrap();
    });
    assert_eq!(
        text.unwrap(),
        "onnx/vision_model.onnx of the model in FOLDER has other outputs than expected: expected image_embeds, found \
         last_hidden_state, pooler_output"
    );
}

#[test]
fn a_damaged_graph_or_tokenizer_is_named() {
    let damaged =
        |file: &'static str| spoilt("tiny-clip", move |folder| fs::write(folder.join(file), "{}").unwrap());
    for file in ["onnx/vision_model.onnx", "tokenizer.json"] {
        let Some(text) = damaged(file) else { return };
        assert!(text.starts_with(&format!("{file} of the model in FOLDER cannot be used: ")), "{text}");
    }
    // The tokenizer library panics for these.
    let no_json: [&[u8]; 3] = [b"{\"decoder\": {7: 7}}", b"{\"decoder\": 1e999}", b"{\"decoder\": \"\xff\"}"];
    for no_json in no_json {
        let text =
            spoilt("tiny-clip", move |folder| fs::write(folder.join("tokenizer.json"), no_json).unwrap());
        let text = text.unwrap();
        assert!(text.starts_with("tokenizer.json of the model in FOLDER cannot be used: "), "{text}");
    }
    let text = spoilt("tiny-clip", |folder| {
        fs::write(folder.join("preprocessor_config.json"), r#"{"size": 32, "crop_size": 32, "resample": 0}"#)
            .unwrap();
    });
    assert_eq!(
        text.unwrap(),
        "preprocessor_config.json of the model in FOLDER: resample: 0 is not supported; it must be 2 (bilinear) or 3 \
         (bicubic)"
    );
}

#[test]
fn an_unknown_image_processor_is_refused() {
    let settings = |text: &'static str| {
        spoilt("tiny-clip", move |folder| fs::write(folder.join("preprocessor_config.json"), text).unwrap())
    };
    let Some(text) =
        settings(r#"{"image_processor_type": "BitImageProcessor", "size": 32, "crop_size": 32}"#)
    else {
        return;
    };
    assert_eq!(
        text,
        "preprocessor_config.json of the model in FOLDER: image_processor_type: \"BitImageProcessor\" is not supported; it \
         must be one of CLIPImageProcessor, ChineseCLIPImageProcessor, SiglipImageProcessor"
    );
    let text = settings(r#"{"image_processor_type": "CLIPImageProcessorFast", "size": 32, "crop_size": 32}"#);
    assert!(text.unwrap().starts_with("loaded, "));
}

#[test]
fn missing_weights_beside_a_graph_are_named() {
    let moved = |location: &'static str, kept: Option<usize>| {
        spoilt("tiny-clip", move |folder| {
            let path = folder.join("onnx/text_model.onnx");
            let (graph, files) = with_external_weights(&fs::read(&path).unwrap(), |_| location.to_owned());
            fs::write(path, graph).unwrap();
            for content in files.values().filter(|_| kept.is_some()) {
                let kept = kept.unwrap_or_default().min(content.len());
                fs::write(folder.join("onnx").join(location), &content[..kept]).unwrap();
            }
        })
    };
    let Some(text) = moved("text.bin", Some(usize::MAX)) else { return };
    assert!(text.starts_with("loaded, "), "{text}");
    let text = moved("text.bin", None).unwrap();
    assert!(text.contains("missing: onnx/text.bin (weights of onnx/text_model.onnx)."), "{text}");
    let text = moved("text.bin", Some(5000)).unwrap();
    assert!(text.contains("the end of onnx/text.bin (onnx/text_model.onnx needs"), "{text}");
    assert!(text.contains("it has 5000)"), "{text}");
    let text = moved("../text.bin", Some(usize::MAX)).unwrap();
    assert!(text.contains("it keeps weights in \"../text.bin\", which is outside of its folder"), "{text}");
}

#[test]
fn the_scale_comes_from_the_file_or_the_combined_graph_or_is_an_error() {
    let Some(text) = spoilt("tiny-siglip", |folder| fs::remove_file(folder.join("onnx/model.onnx")).unwrap())
    else {
        return;
    };
    assert!(
        text.contains("does not say how similarities become scores") && text.contains("stakeout.json"),
        "{text}"
    );

    let written = |text: &'static str| {
        spoilt("tiny-siglip", move |folder| fs::write(folder.join("stakeout.json"), text).unwrap()).unwrap()
    };
    assert_eq!(
        written(r#"{"logit_scale": 117.5, "logit_bias": -12.5}"#),
        "loaded, Logits { scale: 117.5, bias: -12.5 }"
    );
    assert_eq!(written(r#"{"logit_scale": 100}"#), "loaded, Logits { scale: 100.0, bias: 0.0 }");
    for wrong in ["{}", r#"{"logit_scale": 0}"#, r#"{"logit_scale": 1, "logit_bias": "none"}"#] {
        assert!(written(wrong).contains("it needs a `logit_scale` above 0"), "{wrong}");
    }
}

#[test]
fn one_label_alone_under_softmax_is_an_error_that_names_its_set() {
    use stakeout::{
        classify::Classifier,
        policy::{Label, LabelSet, TriggerSettings},
    };
    let Some(folder) = fixtures("hf-parity/models") else { return };
    let load = |model: &str| {
        let files = ModelFiles::Folder(folder.join(model));
        Model::load(&Runtime::load(None).unwrap(), &files, &Options::default()).unwrap()
    };
    let rule = TriggerSettings::at(0.5);
    let set = LabelSet::new("porch", "{}".parse().unwrap(), vec![Label::new("cat", rule)]);
    let error = Classifier::new(load("tiny-clip"), std::slice::from_ref(&set)).err().unwrap().to_string();
    assert!(error.contains("porch") && error.contains("background"), "{error}");
    assert!(Classifier::new(load("tiny-siglip"), &[set]).is_ok());
}
