//! Well-known models: which repository has their ONNX files, and their scale. Only facts that are certain are listed.

use crate::model::family::Logits;

/// OpenAI's own repositories have no ONNX files.
const CLIP: [&str; 3] = ["clip-vit-base-patch32", "clip-vit-base-patch16", "clip-vit-large-patch14"];

/// Google's repositories of the first SigLIP have none either...
const SIGLIP: [&str; 7] = [
    "siglip-base-patch16-224",
    "siglip-base-patch16-256",
    "siglip-base-patch16-256-multilingual",
    "siglip-base-patch16-384",
    "siglip-base-patch16-512",
    "siglip-large-patch16-256",
    "siglip-large-patch16-384",
];

/// ...and these models were exported with `-ONNX` after the name.
const EXPORTED: [&str; 11] = [
    "siglip-so400m-patch14-384",
    "siglip2-base-patch16-224",
    "siglip2-base-patch16-256",
    "siglip2-base-patch16-384",
    "siglip2-base-patch16-512",
    "siglip2-large-patch16-256",
    "siglip2-large-patch16-384",
    "siglip2-large-patch16-512",
    "siglip2-so400m-patch14-384",
    "siglip2-so400m-patch16-256",
    "siglip2-so400m-patch16-384",
];

/// Chinese-CLIP was exported as one combined graph.
const CHINESE: [&str; 3] = [
    "chinese-clip-vit-base-patch16",
    "chinese-clip-vit-large-patch14",
    "chinese-clip-vit-large-patch14-336px",
];

/// The repository with the ONNX files of a model whose own repository has none.
pub(super) fn export(id: &str) -> Option<String> {
    match id.split_once('/')? {
        ("openai", name) if CLIP.contains(&name) => Some(format!("Xenova/{name}")),
        ("google", name) if SIGLIP.contains(&name) => Some(format!("Xenova/{name}")),
        ("OFA-Sys", name) if CHINESE.contains(&name) => Some(format!("Xenova/{name}")),
        ("google", name) if EXPORTED.contains(&name) => Some(format!("onnx-community/{name}-ONNX")),
        _ => None,
    }
}

/// The model that an export was made from.
pub(super) fn original(id: &str) -> Option<String> {
    let clip = CLIP.map(|name| format!("openai/{name}"));
    let google = SIGLIP.iter().chain(&EXPORTED).map(|name| format!("google/{name}"));
    let chinese = CHINESE.map(|name| format!("OFA-Sys/{name}"));
    clip.into_iter().chain(google).chain(chinese).find(|original| export(original).as_deref() == Some(id))
}

/// Scale and bias. OpenAI limited the multiplier of its models to 100 in training, and all of them reached it.
pub(super) fn logits(id: &str) -> Option<Logits> {
    let (organisation, name) = id.split_once('/')?;
    let known = matches!(organisation, "openai" | "Xenova") && CLIP.contains(&name);
    known.then_some(Logits { scale: 100.0, bias: 0.0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_export_leads_back_to_its_original() {
        let known = [
            ("openai/clip-vit-base-patch16", "Xenova/clip-vit-base-patch16"),
            ("google/siglip-base-patch16-224", "Xenova/siglip-base-patch16-224"),
            ("google/siglip-so400m-patch14-384", "onnx-community/siglip-so400m-patch14-384-ONNX"),
            ("google/siglip2-base-patch16-224", "onnx-community/siglip2-base-patch16-224-ONNX"),
            ("OFA-Sys/chinese-clip-vit-base-patch16", "Xenova/chinese-clip-vit-base-patch16"),
        ];
        for (id, expected) in known {
            assert_eq!(export(id).as_deref(), Some(expected));
            assert_eq!(original(expected).as_deref(), Some(id));
        }
        assert_eq!(
            (export("org/name"), original("org/name"), logits("google/siglip-base-patch16-224")),
            (None, None, None)
        );
        assert_eq!(logits("openai/clip-vit-base-patch32"), Some(Logits { scale: 100.0, bias: 0.0 }));
    }
}
