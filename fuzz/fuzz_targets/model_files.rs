//! Any texts as the files of a model: `config.json`, `tokenizer.json` and `preprocessor_config.json`, three parts of the input
//! with a zero byte between them.

#![no_main]

use std::{fs, panic, sync::LazyLock};

use libfuzzer_sys::fuzz_target;
use stakeout::{
    classify::{
        model,
        preprocess::{Backend, Preprocessor},
    },
    picture::Picture,
};
use tempfile::TempDir;

static FOLDER: LazyLock<TempDir> = LazyLock::new(|| {
    let findings = panic::take_hook();
    // The library that reads tokenizer.json panics for some files; that is caught, and no finding of ours.
    panic::set_hook(Box::new(move |panic| {
        if !panic.location().is_some_and(|location| location.file().contains("/tokenizers-")) {
            findings(panic);
        }
    }));
    TempDir::new().expect("there is a folder for temporary files")
});

fuzz_target!(|bytes: &[u8]| {
    let mut parts = bytes.splitn(3, |byte| *byte == 0);
    let mut part = || parts.next().unwrap_or_default();
    for file in ["config.json", "tokenizer.json"] {
        fs::write(FOLDER.path().join(file), part()).expect("the folder is ours");
    }
    model::fuzz(FOLDER.path());
    if let Ok(preprocessor) = Preprocessor::from_json(part(), Backend::Pil) {
        let picture = Picture::of_rgb(3, 2, vec![128; 18]);
        let mut tensor = vec![];
        preprocessor.append(&picture, &mut tensor);
        assert_eq!(tensor.len(), preprocessor.tensor_len());
    }
});
