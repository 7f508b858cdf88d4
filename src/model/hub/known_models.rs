//! Well-known models: which repository has their ONNX files, and their scale. Only facts that are certain are listed.

use crate::model::family::Logits;

/// OpenAI's own repositories have no ONNX files.
const CLIP: [&str; 4] = [
    "clip-vit-base-patch32",
    "clip-vit-base-patch16",
    "clip-vit-large-patch14",
    "clip-vit-large-patch14-336",
];

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
const EXPORTED: [&str; 16] = [
    "siglip-so400m-patch14-384",
    "siglip2-base-patch16-224",
    "siglip2-base-patch16-256",
    "siglip2-base-patch16-384",
    "siglip2-base-patch16-512",
    "siglip2-base-patch32-256",
    "siglip2-giant-opt-patch16-256",
    "siglip2-giant-opt-patch16-384",
    "siglip2-large-patch16-256",
    "siglip2-large-patch16-384",
    "siglip2-large-patch16-512",
    "siglip2-so400m-patch14-224",
    "siglip2-so400m-patch14-384",
    "siglip2-so400m-patch16-256",
    "siglip2-so400m-patch16-384",
    "siglip2-so400m-patch16-512",
];

/// Models whose export may have one of two names: both are tried.
const EITHER: [&str; 2] = ["siglip-so400m-patch14-224", "siglip-so400m-patch16-256-i18n"];

/// Chinese-CLIP was exported as one combined graph.
const CHINESE: [&str; 3] = [
    "chinese-clip-vit-base-patch16",
    "chinese-clip-vit-large-patch14",
    "chinese-clip-vit-large-patch14-336px",
];

/// MobileCLIP was exported under names of their own. The scale is in the weights of Apple's repositories.
const MOBILE: [(&str, &str); 4] = [
    ("MobileCLIP-S1-OpenCLIP", "mobileclip_s1"),
    ("MobileCLIP-S2-OpenCLIP", "mobileclip_s2"),
    ("MobileCLIP-B-OpenCLIP", "mobileclip_b"),
    ("MobileCLIP-B-LT-OpenCLIP", "mobileclip_blt"),
];

/// The repositories that may have the ONNX files of a model whose own repository has none, the best first.
pub(super) fn exports(id: &str) -> Vec<String> {
    let (xenova, community) =
        (|name| format!("Xenova/{name}"), |name: &str| format!("onnx-community/{name}-ONNX"));
    match id.split_once('/') {
        Some(("openai", name)) if CLIP.contains(&name) => vec![xenova(name)],
        Some(("apple", name)) => {
            MOBILE.iter().filter(|(own, _)| *own == name).map(|(_, export)| xenova(*export)).collect()
        }
        Some(("google", name)) if SIGLIP.contains(&name) => vec![xenova(name)],
        Some(("OFA-Sys", name)) if CHINESE.contains(&name) => vec![xenova(name)],
        Some(("google", name)) if EXPORTED.contains(&name) => vec![community(name)],
        Some(("google", name)) if EITHER.contains(&name) => vec![community(name), xenova(name)],
        _ => vec![],
    }
}

/// The model that an export was made from.
pub(super) fn original(id: &str) -> Option<String> {
    let clip = CLIP.map(|name| format!("openai/{name}"));
    let google = SIGLIP.iter().chain(&EXPORTED).chain(&EITHER).map(|name| format!("google/{name}"));
    let chinese = CHINESE.map(|name| format!("OFA-Sys/{name}"));
    let mobile = MOBILE.map(|(name, _)| format!("apple/{name}"));
    clip.into_iter()
        .chain(google)
        .chain(chinese)
        .chain(mobile)
        .find(|original| exports(original).iter().any(|export| export == id))
}

/// The full name of a repository that had none in the first years of the hub, as OpenCLIP's settings name some.
pub(super) fn full_name(name: &str) -> &str {
    match name {
        "bert-base-uncased" => "google-bert/bert-base-uncased",
        "roberta-base" => "FacebookAI/roberta-base",
        "xlm-roberta-base" => "FacebookAI/xlm-roberta-base",
        "xlm-roberta-large" => "FacebookAI/xlm-roberta-large",
        name => name,
    }
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
            ("openai/clip-vit-large-patch14-336", "Xenova/clip-vit-large-patch14-336"),
            ("google/siglip-base-patch16-224", "Xenova/siglip-base-patch16-224"),
            ("google/siglip-so400m-patch14-224", "onnx-community/siglip-so400m-patch14-224-ONNX"),
            ("google/siglip-so400m-patch14-384", "onnx-community/siglip-so400m-patch14-384-ONNX"),
            ("google/siglip2-base-patch16-224", "onnx-community/siglip2-base-patch16-224-ONNX"),
            ("google/siglip2-base-patch32-256", "onnx-community/siglip2-base-patch32-256-ONNX"),
            ("OFA-Sys/chinese-clip-vit-base-patch16", "Xenova/chinese-clip-vit-base-patch16"),
            ("apple/MobileCLIP-S2-OpenCLIP", "Xenova/mobileclip_s2"),
        ];
        for (id, expected) in known {
            assert_eq!(exports(id).first().map(String::as_str), Some(expected));
            assert_eq!(original(expected).as_deref(), Some(id));
        }
        assert_eq!(
            (
                [exports("org/name"), exports("apple/name")].concat(),
                original("org/name"),
                logits("google/siglip-base-patch16-224")
            ),
            (vec![], None, None)
        );
        assert_eq!(logits("openai/clip-vit-base-patch32"), Some(Logits { scale: 100.0, bias: 0.0 }));
    }
}
