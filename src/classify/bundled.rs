//! The model inside the binary.

/// Its files: names in the hub's layout, and contents.
pub(super) const FILES: &[(&str, &[u8])] = &[
    ("config.json", include_bytes!("../../models/bundled/config.json")),
    ("preprocessor_config.json", include_bytes!("../../models/bundled/preprocessor_config.json")),
    ("tokenizer.json", include_bytes!("../../models/bundled/tokenizer.json")),
    ("stakeout.json", include_bytes!("../../models/bundled/stakeout.json")),
    ("onnx/vision_model.onnx", include_bytes!("../../models/bundled/onnx/vision_model.onnx")),
    ("onnx/text_model.onnx", include_bytes!("../../models/bundled/onnx/text_model.onnx")),
];
