//! Graphs of tiny models with random weights: their structure, and what ONNX Runtime computes with them, compared with the same
//! formulas in plain code (`plain`).

mod checkpoint;
mod plain;

use std::borrow::Cow;

use safetensors::Dtype;
use serde_json::{Value as Json, json};

use self::{
    checkpoint::Checkpoint,
    plain::{Matrix, Plain},
};
use super::{
    blocks::{Gelu, Keep, Layer, Pooling, Rotary, Sizes, Tokens, pre_norm},
    graph::{GraphBuilder, Length, Linear},
    onnx::{BATCH, Dimension, Element},
    *,
};
use crate::{
    config::{Device, Execution},
    engine::{Engines, GraphContent, GraphSource, Input, Values, onnx::Runtime},
};

const TRANSFORMERS: WeightSource =
    WeightSource { format: Format::Transformers, weights: "model.safetensors" };
const OPEN_CLIP: WeightSource =
    WeightSource { format: Format::OpenClip, weights: "open_clip_model.safetensors" };

fn tiny_clip() -> Json {
    json!({
        "model_type": "clip",
        "projection_dim": 6,
        "text_config": {"hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 2, "num_attention_heads": 2,
            "max_position_embeddings": 9, "vocab_size": 20, "eos_token_id": 19},
        "vision_config": {"hidden_size": 12, "intermediate_size": 10, "num_hidden_layers": 2, "num_attention_heads": 3,
            "image_size": 9, "patch_size": 4},
    })
}

fn tiny_siglip(model_type: &str) -> Json {
    json!({
        "model_type": model_type,
        "text_config": {"hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 2, "num_attention_heads": 2,
            "max_position_embeddings": 9, "vocab_size": 20, "projection_size": 12},
        "vision_config": {"hidden_size": 12, "intermediate_size": 10, "num_hidden_layers": 2, "num_attention_heads": 3,
            "image_size": 9, "patch_size": 4, "num_patches": 9},
    })
}

fn tiny_bert(model_type: &str) -> Json {
    json!({
        "model_type": model_type,
        "projection_dim": 6,
        "text_config": {"hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 2, "num_attention_heads": 2,
            "max_position_embeddings": 9, "vocab_size": 20, "type_vocab_size": 2, "project_dim": 10, "pad_token_id": 1},
        "vision_config": {"hidden_size": 12, "intermediate_size": 10, "num_hidden_layers": 1, "num_attention_heads": 3,
            "image_size": 8, "patch_size": 4},
    })
}

fn tiny_open_clip(vision: Json, text: Json) -> Json {
    let mut config = json!({"model_cfg": {
        "embed_dim": 6,
        "vision_cfg": {"image_size": 8, "patch_size": 4, "width": 12, "head_width": 4, "layers": 2},
        "text_cfg": {"context_length": 7, "vocab_size": 20, "width": 8, "heads": 2, "layers": 2},
    }});
    for (tower, keys) in [("vision_cfg", vision), ("text_cfg", text)] {
        let Json::Object(keys) = keys else { panic!("{keys}") };
        for (key, value) in keys {
            config["model_cfg"][tower][key] = value;
        }
    }
    config
}

/// Runs a graph whose only output is returned.
fn run(bytes: Vec<u8>, recipe: &Recipe, output: &str, inputs: &[Input<'_>]) -> Matrix {
    let runtime = Runtime::load(None).unwrap();
    let content = GraphContent::BytesOfFolder(bytes, recipe.weights.folder().to_owned());
    let source = GraphSource { content, key: "test".to_owned() };
    let mut graph = Engines::Onnx(runtime).open(&source, &Execution::default(), Device::Cpu).unwrap();
    let names: Vec<_> = graph.metadata().inputs.iter().map(|input| input.name.clone()).collect();
    assert_eq!(names, inputs.iter().map(|input| input.name).collect::<Vec<_>>());
    assert_eq!(graph.metadata().outputs, [output]);
    let rows = graph.run(inputs, &[output]).unwrap().remove(0);
    let row = |row: &[f32]| row.iter().copied().map(f64::from).collect();
    rows.values.chunks(rows.columns).map(row).collect()
}

/// Both ways to compute attention give this result.
fn assert_result(recipe: &Recipe, tower: Tower, output: &str, inputs: &[Input<'_>], expected: &[Vec<f64>]) {
    for fuses_attention in [false, true] {
        let built = recipe.build(tower, fuses_attention, &Precision::Full).unwrap();
        let found = run(built.bytes, recipe, output, inputs);
        assert_close(&found, expected, &format!("{tower:?}, fused: {fuses_attention}"));
    }
}

fn assert_close(found: &[Vec<f64>], expected: &[Vec<f64>], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let largest = expected.iter().flatten().fold(0.0, |most: f64, value| most.max(value.abs()));
    assert!(largest > 0.01, "{what}: {expected:?} says nothing");
    for (found, expected) in found.iter().zip(expected) {
        assert_eq!(found.len(), expected.len(), "{what}");
        for (a, b) in found.iter().zip(expected) {
            assert!((a - b).abs() < 2e-5 * largest.max(1.0), "{what}: {found:?} instead of {expected:?}");
        }
    }
}

fn pictures(values: &[f32], edge: usize) -> Input<'_> {
    let shape = vec![values.len() / (3 * edge * edge), 3, edge, edge];
    Input { name: "pixel_values", shape, values: Values::Floats(Cow::Borrowed(values)) }
}

fn integers<'a>(name: &'static str, rows: &[Vec<i64>]) -> Input<'a> {
    let shape = vec![rows.len(), rows[0].len()];
    Input { name, shape, values: Values::Integers(rows.concat().into()) }
}

/// Each picture alone.
fn each(values: &[f32], edge: usize) -> Vec<Vec<f64>> {
    values.chunks(3 * edge * edge).map(|picture| picture.iter().copied().map(f64::from).collect()).collect()
}

#[test]
fn a_clip_computes_what_its_formulas_say() {
    for dtype in [Dtype::F32, Dtype::F16, Dtype::BF16] {
        let checkpoint = Checkpoint::random(TRANSFORMERS, tiny_clip(), dtype);
        let (recipe, plain) = (checkpoint.recipe(true), Plain::of(&checkpoint));
        let values = checkpoint::numbers(2 * 3 * 9 * 9, 7);
        let sizes = Sizes { width: 12, heads: 3, hidden: 10, layers: 2, epsilon: 1e-5, gelu: Gelu::Quick };
        let expected = each(&values, 9).into_iter().map(|picture| {
            let tokens = plain.patches(&picture, (9, 4), "vision_model.embeddings.patch_embedding");
            let class = vec![plain.vector("vision_model.embeddings.class_embedding")];
            let tokens =
                plain.placed([class, tokens].concat(), "vision_model.embeddings.position_embedding.weight");
            let tokens = plain.norm(&tokens, "vision_model.pre_layrnorm", 1e-5);
            let layer = |at| Layer::of_clip(&format!("vision_model.encoder.layers.{at}"), &sizes);
            let tokens = plain.pre_norm(tokens, &sizes, layer, |_, _| true, None);
            let class = plain.norm(&tokens[..1], "vision_model.post_layernorm", 1e-5);
            plain.linear(&class, &Linear::without_bias("visual_projection", 12, 6)).remove(0)
        });
        let expected: Matrix = expected.collect();
        assert_result(&recipe, Tower::Vision, "image_embeds", &[pictures(&values, 9)], &expected);

        // The end is the first 19; what comes later is not seen.
        let texts = [vec![3, 5, 19, 19, 19], vec![18, 2, 7, 4, 19]];
        let sizes = Sizes { width: 8, heads: 2, hidden: 12, layers: 2, epsilon: 1e-5, gelu: Gelu::Quick };
        let expected = texts.iter().map(|ids| {
            let tokens = plain.look_up("text_model.embeddings.token_embedding.weight", ids);
            let tokens = plain.placed(tokens, "text_model.embeddings.position_embedding.weight");
            let layer = |at| Layer::of_clip(&format!("text_model.encoder.layers.{at}"), &sizes);
            let tokens = plain.pre_norm(tokens, &sizes, layer, |seer, seen| seen <= seer, None);
            let end = ids.iter().position(|id| *id == 19).unwrap();
            let end = plain.norm(&tokens[end..=end], "text_model.final_layer_norm", 1e-5);
            plain.linear(&end, &Linear::without_bias("text_projection", 8, 6)).remove(0)
        });
        let expected: Matrix = expected.collect();
        assert_result(&recipe, Tower::Text, "text_embeds", &[integers("input_ids", &texts)], &expected);
    }
}

#[test]
fn the_end_of_a_text_is_the_token_that_the_family_takes() {
    let pooled = |model_type: &str, end: i64, ids: &[i64]| {
        let mut config = tiny_clip();
        config["model_type"] = model_type.into();
        config["text_config"]["eos_token_id"] = end.into();
        let checkpoint = Checkpoint::random(TRANSFORMERS, config, Dtype::F32);
        let recipe = checkpoint.recipe(true);
        let built = recipe.build(Tower::Text, false, &Precision::Full).unwrap();
        run(built.bytes, &recipe, "text_embeds", &[integers("input_ids", &[ids.to_vec()])])
    };
    // The token at the third place, whatever the rule: the fourth does not matter for it.
    let third = pooled("clip", 7, &[3, 5, 7, 1]);
    assert_close(&pooled("clip", 2, &[3, 5, 7, 1]), &third, "2 means the largest id in a CLIP");
    assert_close(&pooled("metaclip_2", 7, &[3, 5, 7, 1]), &third, "the id");
    let second = pooled("metaclip_2", 2, &[3, 2, 7, 1]);
    assert_ne!(second, pooled("clip", 2, &[3, 2, 7, 1]), "2 means 2 in a MetaCLIP 2");
}

#[test]
fn a_siglip_pools_by_attention_and_by_the_last_token() {
    let checkpoint = Checkpoint::random(TRANSFORMERS, tiny_siglip("siglip"), Dtype::F32);
    let plain = Plain::of(&checkpoint);
    let values = checkpoint::numbers(2 * 3 * 9 * 9, 11);
    let sizes = Sizes { width: 12, heads: 3, hidden: 10, layers: 2, epsilon: 1e-6, gelu: Gelu::Tanh };
    let expected = each(&values, 9).into_iter().map(|picture| {
        let tokens = plain.patches(&picture, (9, 4), "vision_model.embeddings.patch_embedding");
        let tokens = plain.placed(tokens, "vision_model.embeddings.position_embedding.weight");
        plain.siglip(tokens, &sizes, |_| true)
    });
    let expected: Matrix = expected.collect();
    let recipe = checkpoint.recipe(false);
    assert_result(&recipe, Tower::Vision, "pooler_output", &[pictures(&values, 9)], &expected);

    let texts = [vec![3, 5, 1, 0, 0], vec![18, 2, 7, 4, 1]];
    let masks = [vec![1, 1, 1, 0, 0], vec![1, 1, 1, 1, 1]];
    let sizes = Sizes { width: 8, heads: 2, hidden: 12, layers: 2, epsilon: 1e-6, gelu: Gelu::Tanh };
    let expected = |is_masked: bool| -> Matrix {
        let each = texts.iter().zip(&masks).map(|(ids, mask)| {
            let tokens = plain.look_up("text_model.embeddings.token_embedding.weight", ids);
            let tokens = plain.placed(tokens, "text_model.embeddings.position_embedding.weight");
            let layer = |at| Layer::of_clip(&format!("text_model.encoder.layers.{at}"), &sizes);
            let tokens = plain.pre_norm(tokens, &sizes, layer, |_, seen| !is_masked || mask[seen] == 1, None);
            let last = plain.norm(&tokens[4..], "text_model.final_layer_norm", 1e-6);
            plain.linear(&last, &Linear::new("text_model.head", 8, 12)).remove(0)
        });
        each.collect()
    };
    let (ids, mask) = (integers("input_ids", &texts), integers("attention_mask", &masks));
    assert_result(&recipe, Tower::Text, "pooler_output", std::slice::from_ref(&ids), &expected(false));
    let masked = checkpoint.recipe(true);
    assert_result(&masked, Tower::Text, "pooler_output", &[ids, mask], &expected(true));
}

#[test]
fn a_bert_sees_no_padding_and_a_roberta_counts_from_it() {
    let texts = [vec![3, 5, 4, 1, 1], vec![18, 2, 7, 4, 9]];
    let masks = [vec![1, 1, 1, 0, 0], vec![1, 1, 1, 1, 1]];
    let inputs = [integers("input_ids", &texts), integers("attention_mask", &masks)];
    for (model_type, prefix, epsilon) in
        [("chinese_clip", "text_model", 1e-12), ("altclip", "text_model.roberta", 1e-5)]
    {
        let checkpoint = Checkpoint::random(TRANSFORMERS, tiny_bert(model_type), Dtype::F32);
        let plain = Plain::of(&checkpoint);
        let sizes =
            Sizes { width: 8, heads: 2, hidden: 12, layers: 2, epsilon: epsilon as f32, gelu: Gelu::Exact };
        let name = |of: &str| format!("{prefix}.embeddings.{of}");
        let expected = texts.iter().zip(&masks).map(|(ids, mask)| {
            let places: Vec<i64> = match model_type {
                "altclip" if mask[3] == 0 => vec![2, 3, 4, 1, 1],
                "altclip" => vec![2, 3, 4, 5, 6],
                _ => vec![0, 1, 2, 3, 4],
            };
            let words = plain.look_up(&name("word_embeddings.weight"), ids);
            let places = plain.look_up(&name("position_embeddings.weight"), &places);
            let kinds = plain.look_up(&name("token_type_embeddings.weight"), &[0; 5]);
            let tokens = plain::sum(&plain::sum(&words, &places), &kinds);
            let tokens = plain.norm(&tokens, &name("LayerNorm"), epsilon);
            let layer = |at| Layer::of_bert(&format!("{prefix}.encoder.layer.{at}"), &sizes);
            let tokens = plain.post_norm(tokens, &sizes, layer, |_, seen| mask[seen] == 1);
            match model_type {
                "altclip" => {
                    let first = plain.norm(&tokens[..1], "text_model.pre_LN", epsilon);
                    let first = plain.linear(&first, &Linear::new("text_model.transformation", 8, 10));
                    plain.linear(&first, &Linear::without_bias("text_projection", 10, 6)).remove(0)
                }
                _ => plain.linear(&tokens[..1], &Linear::without_bias("text_projection", 8, 6)).remove(0),
            }
        });
        let expected: Matrix = expected.collect();
        assert_result(&checkpoint.recipe(true), Tower::Text, "text_embeds", &inputs, &expected);
    }
}

#[test]
fn a_picture_of_free_resolution_has_its_own_positions() {
    let checkpoint = Checkpoint::random(TRANSFORMERS, tiny_siglip("siglip2"), Dtype::F32);
    let plain = Plain::of(&checkpoint);
    let sizes = Sizes { width: 12, heads: 3, hidden: 10, layers: 2, epsilon: 1e-6, gelu: Gelu::Tanh };
    // More and fewer rows and columns than the square of three, and one that is filled up.
    let shapes = [vec![2, 5], vec![4, 2], vec![1, 1]];
    let patch = 3 * 4 * 4;
    let values = checkpoint::numbers(3 * 10 * patch, 5);
    let mask: Vec<Vec<i64>> =
        shapes.iter().map(|shape| (0..10).map(|at| i64::from(at < shape[0] * shape[1])).collect()).collect();
    let inputs = [
        Input {
            name: "pixel_values",
            shape: vec![3, 10, patch],
            values: Values::Floats(Cow::Borrowed(&values)),
        },
        integers("pixel_attention_mask", &mask),
        integers("spatial_shapes", &shapes),
    ];
    let expected = values.chunks(10 * patch).zip(&shapes).map(|(values, shape)| {
        let real = (shape[0] * shape[1]) as usize;
        let rows: Matrix =
            values.chunks(patch).map(|row| row.iter().copied().map(f64::from).collect()).collect();
        let linear = Linear::new("vision_model.embeddings.patch_embedding", patch, 12);
        let tokens = plain.linear(&rows, &linear);
        let square = plain.table("vision_model.embeddings.position_embedding.weight");
        let places = plain::resized(&square, 3, (shape[0] as usize, shape[1] as usize), 10);
        plain.siglip(plain::sum(&tokens, &places), &sizes, |seen| seen < real)
    });
    let expected: Matrix = expected.collect();
    assert_result(&checkpoint.recipe(true), Tower::Vision, "pooler_output", &inputs, &expected);

    // Fixed resolution under the same type.
    let fixed = Checkpoint::random(TRANSFORMERS, tiny_siglip("siglip"), Dtype::F32);
    let recipe = Recipe { config: tiny_siglip("siglip2"), ..fixed.recipe(true) };
    let values = checkpoint::numbers(3 * 9 * 9, 11);
    let (fixed, free) = (fixed.recipe(true), recipe);
    let built = |recipe: &Recipe| recipe.build(Tower::Vision, false, &Precision::Full).unwrap().bytes;
    assert_eq!(built(&fixed), built(&free));
    run(built(&free), &free, "pooler_output", &[pictures(&values, 9)]);
}

#[test]
fn the_format_of_open_clip_has_its_own_names_and_poolings() {
    let averaged =
        json!({"pool_type": "avg", "final_ln_after_pool": true, "no_ln_pre": true, "ls_init_value": 1e-5});
    let last = json!({"pool_type": "last", "no_causal_mask": true, "proj_bias": true, "norm_kwargs": {"eps": 1e-6},
        "act_kwargs": {"approximate": "tanh"}, "mlp_ratio": 1.6});
    let plain_ones = (json!({}), json!({}));
    for (vision, text) in [plain_ones, (averaged, last)] {
        let is_other = vision["pool_type"] == "avg";
        let checkpoint = Checkpoint::random(OPEN_CLIP, tiny_open_clip(vision, text), Dtype::F32);
        let plain = Plain::of(&checkpoint);
        let sizes = Sizes { width: 12, heads: 3, hidden: 48, layers: 2, epsilon: 1e-5, gelu: Gelu::Exact };
        let values = checkpoint::numbers(2 * 3 * 8 * 8, 3);
        let expected = each(&values, 8).into_iter().map(|picture| {
            let tokens = plain.patches(&picture, (8, 4), "visual.conv1");
            let class = vec![plain.vector("visual.class_embedding")];
            let tokens = plain.placed([class, tokens].concat(), "visual.positional_embedding");
            let tokens = if is_other { tokens } else { plain.norm(&tokens, "visual.ln_pre", 1e-5) };
            let layer =
                |at| Layer::of_open_clip(&format!("visual.transformer.resblocks.{at}"), &sizes, is_other);
            let tokens = plain.pre_norm(tokens, &sizes, layer, |_, _| true, None);
            let pooled = if is_other { vec![plain::mean(&tokens[1..])] } else { tokens[..1].to_vec() };
            let pooled = plain.norm(&pooled, "visual.ln_post", 1e-5);
            plain.project(&pooled, "visual.proj").remove(0)
        });
        let (recipe, expected): (_, Matrix) = (checkpoint.recipe(true), expected.collect());
        assert_result(&recipe, Tower::Vision, "image_embeds", &[pictures(&values, 8)], &expected);

        let texts = [vec![3, 5, 19, 0, 0, 0, 0], vec![18, 2, 7, 4, 1, 6, 19]];
        let sizes = match is_other {
            false => Sizes { width: 8, heads: 2, hidden: 32, ..sizes },
            // `int(8 * 1.6)`
            true => Sizes { width: 8, heads: 2, hidden: 12, epsilon: 1e-6, gelu: Gelu::Tanh, ..sizes },
        };
        let epsilon = if is_other { 1e-6 } else { 1e-5 };
        let expected = texts.iter().map(|ids| {
            let tokens = plain.placed(plain.look_up("token_embedding.weight", ids), "positional_embedding");
            let layer = |at| Layer::of_open_clip(&format!("transformer.resblocks.{at}"), &sizes, false);
            let tokens = plain.pre_norm(tokens, &sizes, layer, |seer, seen| is_other || seen <= seer, None);
            let end = if is_other { 6 } else { ids.iter().position(|id| *id == 19).unwrap() };
            let end = plain.norm(&tokens[end..=end], "ln_final", epsilon);
            match is_other {
                false => plain.project(&end, "text_projection").remove(0),
                true => plain.linear(&end, &Linear::new("text_projection", 8, 6)).remove(0),
            }
        });
        let expected: Matrix = expected.collect();
        assert_result(&recipe, Tower::Text, "text_embeds", &[integers("input_ids", &texts)], &expected);
    }
}

#[test]
fn rotary_positions_turn_queries_and_keys() {
    let sizes = Sizes { width: 8, heads: 2, hidden: 12, layers: 1, epsilon: 1e-6, gelu: Gelu::Exact };
    let angles: Vec<Vec<f32>> =
        [[0.0, 0.0], [0.5, -1.5], [2.0, 0.1], [1.0, 3.0], [0.2, 0.7]].map(|pairs| pairs.to_vec()).to_vec();
    let build = |builder: &mut GraphBuilder<'_>| -> Result<(), BuildError> {
        let shape = vec![BATCH, Dimension::Fixed(5), Dimension::Fixed(8)];
        let tokens = builder.input("pixel_values", Element::Float, shape);
        let rows = builder.as_rows(&tokens, 8);
        let rotary = Some(Rotary::new(builder, &angles));
        let tokens = Tokens { rotary, ..Tokens::unmasked(Length::Fixed(5)) };
        let layer = |at| Layer::of_timm(&format!("blocks.{at}"), &sizes);
        let rows = pre_norm(builder, rows, &tokens, &sizes, Keep::All, layer)?;
        let pooled = Pooling::of_timm("pool", &sizes).pool(builder, &rows, &tokens, &sizes)?;
        builder.output("image_embeds", &pooled, 8);
        Ok(())
    };
    let checkpoint = Checkpoint::of(TRANSFORMERS, tiny_clip(), Dtype::F32, &build);
    let weights = Weights::open(checkpoint.folder(), "model.safetensors").unwrap();
    let plain = Plain::of(&checkpoint);
    let values = checkpoint::numbers(2 * 5 * 8, 9);
    let expected = values.chunks(40).map(|rows| {
        let rows = rows.chunks(8).map(|row| row.iter().copied().map(f64::from).collect()).collect();
        let layer = |at| Layer::of_timm(&format!("blocks.{at}"), &sizes);
        let rows = plain.pre_norm(rows, &sizes, layer, |_, _| true, Some(&angles));
        plain.pool(&rows, &Pooling::of_timm("pool", &sizes), &sizes, |_| true)
    });
    let expected: Matrix = expected.collect();
    let input = || {
        let values = Values::Floats(Cow::Borrowed(&values[..]));
        [Input { name: "pixel_values", shape: vec![2, 5, 8], values }]
    };
    for fuses_attention in [false, true] {
        let mut builder = GraphBuilder::new(&weights, "config.json", fuses_attention);
        build(&mut builder).unwrap();
        let recipe = Recipe {
            source: TRANSFORMERS,
            config: Json::Null,
            weights: weights.clone(),
            masks_padding: true,
        };
        let found = run(builder.finish().to_bytes(), &recipe, "image_embeds", &input());
        assert_close(&found, &expected, &format!("fused: {fuses_attention}"));
    }
}

#[test]
fn scale_and_bias_are_those_of_the_weights() {
    let checkpoint = Checkpoint::random(TRANSFORMERS, tiny_siglip("siglip"), Dtype::F32);
    let logits = |numbers: &[(&str, f32)]| {
        checkpoint.with_numbers(numbers);
        checkpoint.recipe(true).logits().map_err(|error| error.to_string())
    };
    assert_eq!(logits(&[]), Ok(None));
    assert_eq!(logits(&[("logit_scale", 0.0), ("logit_bias", -10.0)]), Ok(Logits::checked(1.0, -10.0)));
    assert_eq!(logits(&[("logit_scale", 0.0)]), Ok(Logits::checked(1.0, 0.0)));
    let error = logits(&[("logit_scale", f32::NAN)]).unwrap_err();
    assert_eq!(
        error,
        "model.safetensors: the tensors `logit_scale` and `logit_bias` are NaN and 0, which make no scores"
    );
}

#[test]
fn graphs_have_the_inputs_and_outputs_of_the_exports() {
    for (config, masks_padding, vision, text) in [
        (tiny_clip(), true, "pixel_values -> image_embeds", "input_ids -> text_embeds"),
        (tiny_siglip("siglip"), false, "pixel_values -> pooler_output", "input_ids -> pooler_output"),
        (
            tiny_siglip("siglip2"),
            true,
            "pixel_values pixel_attention_mask spatial_shapes -> pooler_output",
            "input_ids attention_mask -> pooler_output",
        ),
        (
            tiny_bert("chinese_clip"),
            true,
            "pixel_values -> image_embeds",
            "input_ids attention_mask -> text_embeds",
        ),
    ] {
        let weights = Weights::of_anything();
        let recipe = Recipe { source: TRANSFORMERS, config, weights, masks_padding };
        for (tower, expected) in [(Tower::Vision, vision), (Tower::Text, text)] {
            let graph = recipe.graph(tower, false).unwrap();
            let names = |outlets: &[onnx::Outlet]| {
                outlets.iter().map(|outlet| outlet.name.clone()).collect::<Vec<_>>().join(" ")
            };
            assert_eq!(format!("{} -> {}", names(&graph.inputs), names(&graph.outputs)), expected);
            let first = |outlets: &[onnx::Outlet]| outlets.iter().all(|outlet| outlet.shape[0] == BATCH);
            assert!(first(&graph.inputs) && first(&graph.outputs), "any number at once");
        }
    }
}

#[test]
fn the_real_sizes_need_small_graphs() {
    // CLIP ViT-B/32: what its file on the hub leaves out has the defaults.
    let config = json!({"model_type": "clip", "projection_dim": 512});
    let recipe =
        Recipe { source: TRANSFORMERS, config, weights: Weights::of_anything(), masks_padding: true };
    let graph = recipe.graph(Tower::Vision, true).unwrap();
    let count = |operator| graph.nodes.iter().filter(|node| node.operator == operator).count();
    assert_eq!((count("MultiHeadAttention"), count("Softmax"), count("Gemm")), (12, 0, 12 * 6 + 1));
    assert!(graph.to_bytes().len() < 100_000, "{}", graph.to_bytes().len());
    let tensors = graph.constants.iter().filter(|it| matches!(it.data, Data::Outside { .. })).count();
    assert_eq!(tensors, 12 * 16 + 8);

    let pe = json!({"model_cfg": {
        "embed_dim": 512,
        "vision_cfg": {"image_size": 384, "timm_model_name": "vit_pe_core_tiny_patch16_384", "timm_pool": "map", "timm_proj": null},
        "text_cfg": {"context_length": 32, "width": 512, "heads": 8, "layers": 12},
        "custom_text": true
    }});
    let siglip = json!({"model_cfg": {
        "embed_dim": 768, "init_logit_bias": -10,
        "vision_cfg": {"image_size": 224, "timm_model_name": "vit_base_patch16_siglip_224", "timm_pool": "map", "timm_proj": "none"},
        "text_cfg": {"context_length": 64, "vocab_size": 32000, "width": 768, "heads": 12, "layers": 12, "no_causal_mask": true,
            "proj_bias": true, "pool_type": "last", "norm_kwargs": {"eps": 1e-6}}
    }});
    let settings = |config: &Json| OpenClipSettings::read(config).unwrap();
    assert_eq!(settings(&pe), OpenClipSettings { context: 32, has_bias: false });
    assert_eq!(settings(&siglip), OpenClipSettings { context: 64, has_bias: true });
    for config in [pe, siglip] {
        assert_eq!(Recipe::check(OPEN_CLIP, config), Ok(()));
    }
}

#[test]
fn a_configuration_that_contradicts_the_weights_is_one_error() {
    let read = |change: &dyn Fn(&mut Json)| {
        let checkpoint = Checkpoint::random(TRANSFORMERS, tiny_siglip("siglip"), Dtype::F32);
        let mut config = tiny_siglip("siglip");
        change(&mut config);
        let read = Recipe::read(checkpoint.folder(), TRANSFORMERS, config, true);
        read.map(|_| ()).map_err(|error| error.to_string())
    };
    assert_eq!(read(&|_| {}), Ok(()));
    let layers = "vision_model.encoder.layers";
    for (tower, key, value, expected) in [
        ("vision_config", "num_hidden_layers", json!(3), format!("the tensor `{layers}.2.layer_norm1.weight` is missing")),
        (
            "vision_config",
            "intermediate_size",
            json!(11),
            format!("the tensor `{layers}.0.mlp.fc1.weight` has the shape [10, 12], and config.json asks for [11, 12]"),
        ),
        (
            "vision_config",
            "image_size",
            json!(12),
            "`vision_model.embeddings.position_embedding.weight` has the shape [4, 12], and config.json asks for [9, 12]".to_owned(),
        ),
        (
            "text_config",
            "vocab_size",
            json!(21),
            "`text_model.embeddings.token_embedding.weight` has the shape [20, 8], and config.json asks for [21, 8]".to_owned(),
        ),
        (
            "text_config",
            "projection_size",
            json!(10),
            "text_config.projection_size is 10, and vision_config.hidden_size is 12, so that".to_owned(),
        ),
        ("vision_config", "vision_use_head", json!(false), "`vision_config.vision_use_head: false` is not supported".to_owned()),
        ("vision_config", "num_attention_heads", json!(5), "hidden_size is 12, and it must be a multiple of".to_owned()),
    ] {
        let error = read(&|config| config[tower][key] = value.clone()).unwrap_err();
        assert!(error.contains(&expected), "{key}: {error}");
    }
    let error = read(&|config| config["model_type"] = "blip".into()).unwrap_err();
    assert_eq!(error, "config.json: no graph is known for the type \"blip\"");
}

#[test]
fn what_is_not_supported_in_a_file_of_open_clip_is_named() {
    let check = |vision: Json, text: Json| {
        Recipe::check(OPEN_CLIP, tiny_open_clip(vision, text)).map_err(|error| error.to_string())
    };
    assert_eq!(check(json!({}), json!({})), Ok(()));
    for (vision, text, expected) in [
        (json!({"layers": [3, 4, 6, 3]}), json!({}), "is a ResNet, which is not supported"),
        (
            json!({"attentional_pool": true}),
            json!({}),
            "`vision_cfg.attentional_pool: true` is not supported",
        ),
        (json!({"pool_type": "none"}), json!({}), "`vision_cfg.pool_type: \"none\"` is not supported"),
        (json!({"qk_norm": true}), json!({}), "`vision_cfg.qk_norm: true` is not supported"),
        (json!({"timm_model_name": "fastvit_mci2"}), json!({}), "use the ONNX version of this MobileCLIP"),
        (json!({"timm_model_name": "convnext_base"}), json!({}), "\"convnext_base\" of timm"),
        (
            json!({"timm_model_name": "vit_base_patch16_siglip_224", "timm_pool": "map", "timm_proj": "none"}),
            json!({}),
            "its image_size is 8, and its timm_model_name has pictures of 224",
        ),
        (
            json!({}),
            json!({"hf_model_name": "roberta-base"}),
            "`text_cfg.hf_model_name: \"roberta-base\"` is not",
        ),
        (json!({}), json!({"embed_cls": true}), "`text_cfg.embed_cls: true` is not supported"),
        (json!({}), json!({"pool_type": "none"}), "`text_cfg.pool_type: \"none\"` is not supported"),
    ] {
        let error = check(vision, text).unwrap_err();
        assert!(error.starts_with("open_clip_config.json: ") && error.contains(expected), "{error}");
    }
    for (config, expected) in [
        (json!({}), "it has no model_cfg with a vision_cfg and a text_cfg"),
        (json!([]), "it has no model_cfg with"),
        (json!({"model_cfg": 7}), "model_cfg is 7, and it must be an object"),
        (json!({"model_cfg": {"vision_cfg": {}, "text_cfg": {}, "multimodal_cfg": {}}}), "it is a CoCa"),
    ] {
        let error = Recipe::check(OPEN_CLIP, config).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}
