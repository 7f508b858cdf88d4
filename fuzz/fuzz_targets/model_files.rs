//! Reads any texts as the files of a model: `config.json`, `tokenizer.json` and `preprocessor_config.json`. A zero byte separates the three
//! parts of the input.

#![no_main]

use std::{fs, panic, sync::LazyLock};

use libfuzzer_sys::fuzz_target;
use stakeout::{
    model::{
        self,
        preprocess::{Backend, Preprocessor},
    },
    picture::Picture,
};
use tempfile::TempDir;

static FOLDER: LazyLock<TempDir> = LazyLock::new(|| {
    let findings = panic::take_hook();
    // The library that reads tokenizer.json panics for some files. The program catches that, so it is not a finding.
    panic::set_hook(Box::new(move |panic| {
        if !panic.location().is_some_and(|location| location.file().contains("/tokenizers-")) {
            findings(panic);
        }
    }));
    TempDir::new().expect("a temporary folder can be created")
});

fuzz_target!(|bytes: &[u8]| {
    let mut parts = bytes.splitn(3, |byte| *byte == 0);
    let mut part = || parts.next().unwrap_or_default();
    for file in ["config.json", "tokenizer.json"] {
        fs::write(FOLDER.path().join(file), part()).expect("the temporary folder is writable");
    }
    model::fuzz(FOLDER.path());
    if let Ok(preprocessor) = Preprocessor::from_json(part(), Backend::Pil) {
        let picture = Picture::of_rgb(3, 2, vec![128; 18]);
        let mut tensor = vec![];
        preprocessor.append(&picture, &mut tensor);
        assert_eq!(tensor.len(), preprocessor.tensor_len());
    }
});
