//! The model inside the binary: small, and enough to try the service without fetching anything.

macro_rules! file {
    ($name:literal) => {
        ($name, include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/models/bundled/", $name)).as_slice())
    };
}

/// Its files: names in the hub's layout, and contents.
pub(crate) const FILES: &[(&str, &[u8])] = &[
    file!("config.json"),
    file!("preprocessor_config.json"),
    file!("tokenizer.json"),
    file!("stakeout.json"),
    file!("onnx/vision_model.onnx"),
    file!("onnx/text_model.onnx"),
];
