use super::*;

fn preprocessor(json: &str) -> Preprocessor {
    Preprocessor::from_json(json.as_bytes(), Backend::Torchvision)
        .unwrap_or_else(|error| panic!("{json}: {error}"))
}

fn size_of(preprocessor: &Preprocessor) -> (u32, u32) {
    match preprocessor.layout() {
        Layout::Planes { width, height } => (width, height),
        Layout::Patches { .. } => panic!("{:?}", preprocessor.layout()),
    }
}

fn picture(width: u32, height: u32, rgb: &[u8]) -> Picture {
    Picture::of_rgb(width, height, rgb.to_vec())
}

fn plain(width: u32, height: u32, colour: [u8; 3]) -> Picture {
    picture(width, height, &colour.repeat((width * height) as usize))
}

#[test]
fn old_and_new_forms_of_size_mean_the_same() {
    for (json, size, resize) in [
        (r#"{"size": 8, "crop_size": 6}"#, (6, 6), Some(Resize::ShortestEdge(8))),
        (
            r#"{"size": {"shortest_edge": 8}, "crop_size": {"height": 5, "width": 6}}"#,
            (6, 5),
            Some(Resize::ShortestEdge(8)),
        ),
        (r#"{"size": {"height": 7, "width": 9}}"#, (9, 7), Some(Resize::Exact(9, 7))),
        (r#"{"size": {"height": 7, "width": 9}, "do_center_crop": null}"#, (9, 7), Some(Resize::Exact(9, 7))),
        (r#"{"image_processor_type": "CLIPImageProcessor"}"#, (224, 224), Some(Resize::ShortestEdge(224))),
        (
            r#"{"feature_extractor_type": "CLIPFeatureExtractor"}"#,
            (224, 224),
            Some(Resize::ShortestEdge(224)),
        ),
        (
            r#"{"image_processor_type": "ChineseCLIPImageProcessor"}"#,
            (224, 224),
            Some(Resize::ShortestEdge(224)),
        ),
        (r#"{"image_processor_type": "SiglipImageProcessor"}"#, (224, 224), Some(Resize::Exact(224, 224))),
        (r#"{"do_resize": false, "crop_size": 6}"#, (6, 6), None),
    ] {
        let found = preprocessor(json);
        assert_eq!((size_of(&found), found.resize), (size, resize), "{json}");
    }
}

#[test]
fn a_setting_that_is_not_supported_is_named() {
    for (json, key) in [
        (r#"{"size": 0}"#, "size: 0"),
        (r#"{"size": {"longest_edge": 9}}"#, "size: "),
        (r#"{"size": {"shortest_edge": 9, "longest_edge": 12}}"#, "size: "),
        (r#"{"size": "large"}"#, "size: "),
        (r#"{"size": 100000}"#, "size: "),
        (r#"{"size": 8, "crop_size": {"height": 5}}"#, "crop_size: "),
        (r#"{"size": {"height": 7, "width": 9}, "resample": 1}"#, "resample: 1"),
        (r#"{"size": {"height": 7, "width": 9}, "resample": "bicubic"}"#, "resample: "),
        (r#"{"size": {"height": 7, "width": 9}, "image_mean": [1, 2]}"#, "image_mean: "),
        (r#"{"size": {"height": 7, "width": 9}, "image_std": [1, 0, 1]}"#, "image_std: "),
        (r#"{"size": {"height": 7, "width": 9}, "rescale_factor": 0}"#, "rescale_factor: "),
        (r#"{"size": {"height": 7, "width": 9}, "do_normalize": "yes"}"#, "do_normalize: "),
        (r#"{"size": 8, "do_center_crop": false}"#, "do_center_crop: "),
        (r#"{"do_resize": false}"#, "do_resize: "),
        (r#"{"size": {"height": 7, "width": 9}, "do_pad": true}"#, "do_pad: "),
        (
            r#"{"image_processor_type": "ViTImageProcessor"}"#,
            "image_processor_type: \"ViTImageProcessor\" is not",
        ),
        (r#"{"image_processor_type": "Siglip2ImageProcessor", "do_resize": false}"#, "do_resize: false"),
        (r#"{"image_processor_type": "Siglip2ImageProcessor", "patch_size": 64}"#, "patch_size: 64"),
        (r#"{"image_processor_type": "Siglip2ImageProcessor", "max_num_patches": 0}"#, "max_num_patches: 0"),
        (r#"{"image_processor_type": 7}"#, "image_processor_type: 7"),
        (r#"{"feature_extractor_type": "ViTFeatureExtractor"}"#, "feature_extractor_type: "),
        (r#"{"auto_map": {"AutoImageProcessor": "a.B"}, "size": 8, "crop_size": 8}"#, "auto_map: "),
        ("[]", "it is not a JSON object"),
        ("{", "it is not a JSON object"),
    ] {
        let error = Preprocessor::from_json(json.as_bytes(), Backend::Torchvision).unwrap_err().to_string();
        assert!(error.starts_with(key), "{json}: {error}");
    }
}

#[test]
fn settings_without_a_class_are_those_of_the_models_family() {
    let of = |model_type, json| {
        let family = crate::model::family::of_model_type(model_type).unwrap();
        let value = serde_json::from_str(json).unwrap();
        let found = Preprocessor::of_model(value, family, Backend::Torchvision).unwrap();
        (size_of(&found), found.resize)
    };
    let square = r#"{"size": {"height": 8, "width": 8}, "crop_size": {"height": 4, "width": 4}}"#;
    assert_eq!(of("siglip", square), ((8, 8), Some(Resize::Exact(8, 8))));
    assert_eq!(of("clip", square), ((4, 4), Some(Resize::Exact(8, 8))));
    assert_eq!(of("clip", "{}"), ((224, 224), Some(Resize::ShortestEdge(224))));
    let named = r#"{"image_processor_type": "SiglipImageProcessor", "crop_size": 4}"#;
    assert_eq!(of("clip", named), ((224, 224), Some(Resize::Exact(224, 224))));
    assert_eq!(of("siglip2", named), ((224, 224), Some(Resize::Exact(224, 224))));
}

#[test]
fn patches_are_for_models_of_free_resolution() {
    let of = |model_type, json| {
        let family = crate::model::family::of_model_type(model_type).unwrap();
        Preprocessor::of_model(serde_json::from_str(json).unwrap(), family, Backend::Torchvision)
    };
    let named = r#"{"image_processor_type": "Siglip2ImageProcessor", "patch_size": 4, "max_num_patches": 9}"#;
    let found = of("siglip2", named).unwrap();
    assert_eq!(found.layout(), Layout::Patches { side: 4, most: 9 });
    let mut tensor = Vec::new();
    found.append(&plain(10, 50, [255, 0, 255]), &mut tensor);
    assert_eq!(tensor.len(), found.tensor_len());
    let (rows, columns) = (tensor[tensor.len() - 2], tensor[tensor.len() - 1]);
    assert_eq!((rows, columns), (5.0, 1.0), "the picture keeps its proportion as far as possible");
    assert_eq!(tensor[..3], [1.0, -1.0, 1.0]);

    let unnamed = of("siglip2", "{}").unwrap();
    assert_eq!(
        (unnamed.layout(), unnamed.filter),
        (Layout::Patches { side: 16, most: 256 }, Filter::Bilinear)
    );
    let error = of("siglip", named).unwrap_err().to_string();
    assert!(error.contains("\"Siglip2ImageProcessor\" is not supported; it must be one of CLIP"), "{error}");
}

#[test]
fn bytes_become_numbers_by_the_flags() {
    let value = |flags: &str, byte: u8| {
        let json = format!(r#"{{"size": {{"height": 1, "width": 1}}, {flags}}}"#);
        let mut tensor = Vec::new();
        preprocessor(&json).append(&plain(1, 1, [byte, 0, 0]), &mut tensor);
        tensor[0]
    };
    assert_eq!(value(r#""do_rescale": false, "do_normalize": false"#, 200), 200.0);
    assert_eq!(value(r#""do_normalize": false"#, 255), 1.0);
    assert_eq!(value(r#""do_rescale": false, "image_mean": 100, "image_std": 50"#, 200), 2.0);
    assert_eq!(value(r#""image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]"#, 255), 1.0);
    assert_eq!(value(r#""do_normalize": false, "rescale_factor": 0.5"#, 10), 5.0);
}

#[test]
fn a_plain_colour_stays_plain() {
    let rgb = [200, 30, 90];
    for json in [
        r#"{"size": 8, "crop_size": 8}"#,
        r#"{"size": {"height": 5, "width": 9}, "resample": 2}"#,
        r#"{"size": {"height": 31, "width": 3}, "resample": 3}"#,
    ] {
        for (width, height) in [(1, 1), (8, 8), (50, 3), (3, 50), (7, 1), (64, 64)] {
            let bytes = preprocessor(json).bytes(&plain(width, height, rgb));
            assert!(bytes.as_chunks::<3>().0.iter().all(|pixel| *pixel == rgb), "{json}: {width} x {height}");
        }
    }
}

#[test]
fn the_transparent_colour_becomes_white_where_the_model_converts() {
    let mut two = picture(2, 1, &[1, 2, 3, 4, 5, 6]);
    two.transparent = Some([4, 5, 6]);
    let bytes = |convert: &str| {
        preprocessor(&format!(r#"{{"size": {{"height": 1, "width": 2}}{convert}}}"#)).bytes(&two)
    };
    assert_eq!(bytes(""), [1, 2, 3, 255, 255, 255]);
    assert_eq!(bytes(r#", "do_convert_rgb": true"#), [1, 2, 3, 255, 255, 255]);
    assert_eq!(bytes(r#", "do_convert_rgb": null"#), [1, 2, 3, 4, 5, 6]);
    assert_eq!(bytes(r#", "do_convert_rgb": false"#), [1, 2, 3, 4, 5, 6]);
}

#[test]
fn a_crop_keeps_the_middle_and_pads_what_is_missing() {
    let window = |edge, crop, backend| {
        let window = Window::centred(edge, Some(crop), Rounding::Down, backend);
        (window.start, window.len, window.before, window.after)
    };
    assert_eq!(window(9, 4, Backend::Torchvision), (2, 4, 0, 0));
    assert_eq!(window(4, 4, Backend::Torchvision), (0, 4, 0, 0));
    assert_eq!(window(4, 9, Backend::Torchvision), (0, 4, 2, 3));
    assert_eq!(window(4, 9, Backend::Pil), (0, 4, 3, 2));
    // OpenCLIP uses Pillow, and rounds otherwise.
    let window = |edge, crop| {
        let window = Window::centred(edge, Some(crop), Rounding::HalfToEven, Backend::Pil);
        (window.start, window.len, window.before, window.after)
    };
    let starts = [0, 1, 2, 3, 4, 5, 6, 7].map(|more| window(10 + more, 10).0);
    assert_eq!(starts, [0, 0, 1, 2, 2, 2, 3, 4]);
    assert_eq!(window(4, 9), (0, 4, 2, 3));
    let json = r#"{"do_resize": false, "crop_size": {"height": 1, "width": 3}}"#;
    assert_eq!(preprocessor(json).bytes(&plain(1, 5, [7; 3])), [0, 0, 0, 7, 7, 7, 0, 0, 0]);
}

/// A search over its whole edge would keep a core busy for seconds.
#[test]
fn a_very_long_picture_is_scaled() {
    for json in [r#"{"size": 8, "crop_size": 8}"#, r#"{"size": {"height": 8, "width": 8}}"#] {
        for (width, height) in [(65_535, 1), (1, 65_535)] {
            assert_eq!(preprocessor(json).bytes(&plain(width, height, [9; 3])), [9; 8 * 8 * 3]);
        }
    }
}

#[test]
fn a_thumbnail_is_small_and_keeps_the_shape_and_the_colours() {
    let cases = [
        ((640, 360), (320, 180)),
        ((360, 640), (180, 320)),
        ((641, 481), (320, 240)),
        ((320, 200), (320, 200)),
        ((4, 3), (4, 3)),
        ((2000, 2), (320, 1)),
    ];
    for ((width, height), expected) in cases {
        let small = thumbnail(&plain(width, height, [200, 100, 50]), 320);
        assert_eq!((small.width, small.height), expected, "{width} x {height}");
        assert!(small.rgb().as_chunks::<3>().0.iter().all(|pixel| *pixel == [200, 100, 50]));
    }
}
