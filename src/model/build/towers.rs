//! The towers of the reference's models: several families share each of them. The inputs and outputs are named like those of the
//! exports on the hub.

use super::{
    blocks::{Keep, Layer, Pooling, Sizes, Tokens, causal_mask, padding_mask, post_norm, pre_norm},
    config::Patches,
    error::BuildError,
    graph::{GraphBuilder, Length, Linear, Rows, Value},
    onnx::{Attribute, BATCH, Dimension, Element},
};

/// The names of the inputs.
pub(super) const PICTURES: &str = "pixel_values";
pub(super) const IDS: &str = "input_ids";
pub(super) const MASK: &str = "attention_mask";

/// The names and sizes of the part that makes tokens of a picture.
pub(super) struct PatchEmbedding {
    /// Weights with a filter for each number of a token.
    pub filters: String,
    /// `None` for filters without bias.
    pub bias: Option<String>,
    /// A token before those of the patches, and the shape of its tensor.
    pub class: Option<(String, Vec<usize>)>,
    /// A row for each token, and the shape of the tensor.
    pub positions: (String, Vec<usize>),
}

impl PatchEmbedding {
    /// The tokens of pictures, as rows, and their number.
    ///
    /// # Errors
    /// Weights are missing or have other shapes.
    pub(super) fn tokens(
        &self,
        builder: &mut GraphBuilder<'_>,
        patches: Patches,
        width: usize,
    ) -> Result<(Value, Length), BuildError> {
        let edge = Dimension::Fixed(patches.image);
        let pictures = builder.input(PICTURES, Element::Float, vec![BATCH, Dimension::Fixed(3), edge, edge]);
        let found = self.filtered(builder, &pictures, patches, width)?;
        let (class, tokens) = match &self.class {
            None => (None, patches.count()),
            Some((name, shape)) => (Some(builder.weight(name, shape)?), patches.count() + 1),
        };
        let found = match class {
            None => found,
            Some(class) => {
                let (batch, one) = (builder.size(&pictures, 0), builder.ints(&[1, 1]));
                let shape = builder.along("Concat", 0, [&batch, &one]);
                let class = builder.op("Expand", [&class, &shape]);
                builder.along("Concat", 1, [&class, &found])
            }
        };
        let positions = builder.weight(&self.positions.0, &self.positions.1)?;
        let placed = builder.op("Add", [&found, &positions]);
        Ok((builder.as_rows(&placed, width), Length::Fixed(tokens)))
    }

    /// The numbers of each patch: batch, patches, width.
    fn filtered(
        &self,
        builder: &mut GraphBuilder<'_>,
        pictures: &Value,
        patches: Patches,
        width: usize,
    ) -> Result<Value, BuildError> {
        let filters = builder.weight(&self.filters, &[width, 3, patches.patch, patches.patch])?;
        let edge = i64::try_from(patches.patch).unwrap_or(i64::MAX);
        let steps = || {
            vec![
                ("kernel_shape", Attribute::Ints(vec![edge; 2])),
                ("strides", Attribute::Ints(vec![edge; 2])),
            ]
        };
        let found = match &self.bias {
            None => builder.op_with("Conv", [pictures, &filters], steps()),
            Some(bias) => {
                let bias = builder.weight(bias, &[width])?;
                builder.op_with("Conv", [pictures, &filters, &bias], steps())
            }
        };
        // Batch, width, rows, columns. 0 keeps a dimension.
        let found = builder.reshape(&found, &[0, 0, -1]);
        Ok(builder.transpose(&found, &[0, 2, 1]))
    }
}

/// The name of the layers of an encoder: `usual`, unless the weights have the other one. Versions of the reference differ.
fn layers_of(builder: &GraphBuilder<'_>, encoder: &str, usual: &str) -> String {
    let has = |name: &str| builder.weights().has_below(&format!("{encoder}.{name}.0."));
    let other = if usual == "layer" { "layers" } else { "layer" };
    let name = if !has(usual) && has(other) { other } else { usual };
    format!("{encoder}.{name}")
}

/// `CLIPVisionModel` and its relatives, with a projection of `outputs` numbers.
///
/// # Errors
/// Weights are missing or have other shapes.
pub(super) fn clip_vision(
    builder: &mut GraphBuilder<'_>,
    sizes: &Sizes,
    patches: Patches,
    outputs: usize,
) -> Result<(), BuildError> {
    let width = sizes.width;
    let embedding = PatchEmbedding {
        filters: "vision_model.embeddings.patch_embedding.weight".to_owned(),
        bias: None,
        class: Some(("vision_model.embeddings.class_embedding".to_owned(), vec![width])),
        positions: (
            "vision_model.embeddings.position_embedding.weight".to_owned(),
            vec![patches.count() + 1, width],
        ),
    };
    let (rows, length) = embedding.tokens(builder, patches, width)?;
    // The reference's own spelling.
    let rows = builder.layer_norm(&rows, "vision_model.pre_layrnorm", width, sizes.epsilon)?;
    let layers = layers_of(builder, "vision_model.encoder", "layers");
    let layer = |at| Layer::of_clip(&format!("{layers}.{at}"), sizes);
    let rows = pre_norm(builder, rows, &Tokens::unmasked(length), sizes, Keep::First, layer)?;
    let rows = builder.layer_norm(&rows, "vision_model.post_layernorm", width, sizes.epsilon)?;
    let projected = builder.linear(&rows, &Linear::without_bias("visual_projection", width, outputs))?;
    builder.output("image_embeds", &projected, outputs);
    Ok(())
}

/// Which token represents a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TextPool {
    First,
    Last,
    /// The one with the largest id.
    Largest,
    /// The first one with this id.
    Id(i64),
}

impl TextPool {
    /// The rows of these tokens; `ids` has those of the texts.
    pub(super) fn pool(
        self,
        builder: &mut GraphBuilder<'_>,
        rows: &Value,
        (ids, length): (&Value, &Length),
        width: usize,
    ) -> Value {
        let place = match self {
            Self::First => return builder.token(rows, length, width, 0),
            Self::Last => return builder.token(rows, length, width, -1),
            Self::Largest => builder.cast(ids, Element::Int32),
            Self::Id(id) => {
                let id = builder.int(id);
                let is_it = builder.op("Equal", [ids, &id]);
                builder.cast(&is_it, Element::Int32)
            }
        };
        // The first of several equal ones, which it keeps as a list of one.
        let place = builder.along("ArgMax", 1, [&place]);
        let tokens = builder.by_token(rows, length, &[width]);
        builder.op_with("GatherND", [&tokens, &place], vec![("batch_dims", Attribute::Int(1))])
    }
}

/// Token ids, the numbers of each token, and how many tokens a text has.
pub(super) struct TextTokens {
    pub ids: Value,
    /// A list of one number.
    pub count: Value,
    pub length: Length,
    pub rows: Value,
}

/// The tokens of texts, each with the numbers of its id and those of its place.
///
/// # Errors
/// Weights are missing or have other shapes.
pub(super) fn text_tokens(
    builder: &mut GraphBuilder<'_>,
    (words, vocabulary): (&str, usize),
    (places, positions): (&str, usize),
    width: usize,
) -> Result<TextTokens, BuildError> {
    let ids = text_input(builder, IDS);
    let count = builder.size(&ids, 1);
    let found = builder.look_up(words, &[vocabulary, width], &ids)?;
    let place = leading(builder, places, positions, width, &count)?;
    let placed = builder.op("Add", [&found, &place]);
    let rows = builder.as_rows(&placed, width);
    Ok(TextTokens { ids, length: Length::Given(count.clone()), count, rows })
}

/// An input with a whole number for each token.
pub(super) fn text_input(builder: &mut GraphBuilder<'_>, name: &str) -> Value {
    builder.input(name, Element::Int64, vec![BATCH, Dimension::Any("tokens")])
}

/// The first `count` rows of a table.
fn leading(
    builder: &mut GraphBuilder<'_>,
    table: &str,
    rows: usize,
    width: usize,
    count: &Value,
) -> Result<Value, BuildError> {
    let table = builder.weight(table, &[rows, width])?;
    let (zero, first) = (builder.ints(&[0]), builder.ints(&[0]));
    Ok(builder.op("Slice", [&table, &zero, count, &first]))
}

/// The sizes of a text tower.
#[derive(Debug, Clone, Copy)]
pub(super) struct TextSizes {
    pub sizes: Sizes,
    pub vocabulary: usize,
    /// The most tokens of a text.
    pub positions: usize,
    /// The numbers of the result.
    pub outputs: usize,
}

/// `CLIPTextModel` and its relatives, with a projection.
///
/// # Errors
/// Weights are missing or have other shapes.
pub(super) fn clip_text(
    builder: &mut GraphBuilder<'_>,
    text: &TextSizes,
    pool: TextPool,
) -> Result<(), BuildError> {
    let (sizes, width) = (&text.sizes, text.sizes.width);
    let given = text_tokens(
        builder,
        ("text_model.embeddings.token_embedding.weight", text.vocabulary),
        ("text_model.embeddings.position_embedding.weight", text.positions),
        width,
    )?;
    // Padding is after the text, and no token sees later ones: a mask for it would change nothing.
    let mask = Some(causal_mask(builder, &given.count));
    let tokens = Tokens { mask, ..Tokens::unmasked(given.length.clone()) };
    let layers = layers_of(builder, "text_model.encoder", "layers");
    let layer = |at| Layer::of_clip(&format!("{layers}.{at}"), sizes);
    let rows = pre_norm(builder, given.rows, &tokens, sizes, Keep::All, layer)?;
    let rows = pool.pool(builder, &rows, (&given.ids, &given.length), width);
    let rows = builder.layer_norm(&rows, "text_model.final_layer_norm", width, sizes.epsilon)?;
    let projection = Linear::without_bias("text_projection", width, text.outputs);
    let projected = builder.linear(&rows, &projection)?;
    builder.output("text_embeds", &projected, text.outputs);
    Ok(())
}

/// `SiglipVisionModel`.
///
/// # Errors
/// Weights are missing or have other shapes.
pub(super) fn siglip_vision(
    builder: &mut GraphBuilder<'_>,
    sizes: &Sizes,
    patches: Patches,
) -> Result<(), BuildError> {
    let width = sizes.width;
    let embedding = PatchEmbedding {
        filters: "vision_model.embeddings.patch_embedding.weight".to_owned(),
        bias: Some("vision_model.embeddings.patch_embedding.bias".to_owned()),
        class: None,
        positions: (
            "vision_model.embeddings.position_embedding.weight".to_owned(),
            vec![patches.count(), width],
        ),
    };
    let (rows, length) = embedding.tokens(builder, patches, width)?;
    siglip_encoder(builder, rows, &Tokens::unmasked(length), sizes)
}

/// The part of a SigLIP's vision tower after its tokens.
pub(super) fn siglip_encoder(
    builder: &mut GraphBuilder<'_>,
    rows: Value,
    tokens: &Tokens,
    sizes: &Sizes,
) -> Result<(), BuildError> {
    let layers = layers_of(builder, "vision_model.encoder", "layers");
    let layer = |at| Layer::of_clip(&format!("{layers}.{at}"), sizes);
    let rows = pre_norm(builder, rows, tokens, sizes, Keep::All, layer)?;
    let rows = builder.layer_norm(&rows, "vision_model.post_layernorm", sizes.width, sizes.epsilon)?;
    let pooled = Pooling::of_siglip("vision_model.head", sizes).pool(builder, &rows, tokens, sizes)?;
    builder.output("pooler_output", &pooled, sizes.width);
    Ok(())
}

/// `SiglipTextModel`. `masks_padding`: the tokenizer of the model gives a mask, so padding is not seen.
///
/// # Errors
/// Weights are missing or have other shapes.
pub(super) fn siglip_text(
    builder: &mut GraphBuilder<'_>,
    text: &TextSizes,
    masks_padding: bool,
) -> Result<(), BuildError> {
    let (sizes, width) = (&text.sizes, text.sizes.width);
    let given = text_tokens(
        builder,
        ("text_model.embeddings.token_embedding.weight", text.vocabulary),
        ("text_model.embeddings.position_embedding.weight", text.positions),
        width,
    )?;
    let mask = masks_padding.then(|| {
        let mask = text_input(builder, MASK);
        padding_mask(builder, &mask)
    });
    let tokens = Tokens { mask, ..Tokens::unmasked(given.length.clone()) };
    let layers = layers_of(builder, "text_model.encoder", "layers");
    let layer = |at| Layer::of_clip(&format!("{layers}.{at}"), sizes);
    let rows = pre_norm(builder, given.rows, &tokens, sizes, Keep::All, layer)?;
    let rows = TextPool::Last.pool(builder, &rows, (&given.ids, &given.length), width);
    let rows = builder.layer_norm(&rows, "text_model.final_layer_norm", width, sizes.epsilon)?;
    let pooled = builder.linear(&rows, &Linear::new("text_model.head", width, text.outputs))?;
    builder.output("pooler_output", &pooled, text.outputs);
    Ok(())
}

/// The encoder of a BERT: the row of the first token of each text.
///
/// `prefix` is that of its weights. With `padding`, places count from the id of the padding plus 1, and padding has the place of that
/// id, as in a RoBERTa.
///
/// # Errors
/// Weights are missing or have other shapes.
pub(super) fn bert(
    builder: &mut GraphBuilder<'_>,
    prefix: &str,
    text: &TextSizes,
    kinds: usize,
    padding: Option<i64>,
) -> Result<Value, BuildError> {
    let (sizes, width) = (&text.sizes, text.sizes.width);
    let (ids, mask) = (text_input(builder, IDS), text_input(builder, MASK));
    let count = builder.size(&ids, 1);
    let name = |of: &str| format!("{prefix}.embeddings.{of}");
    let words = builder.look_up(&name("word_embeddings.weight"), &[text.vocabulary, width], &ids)?;
    let table = name("position_embeddings.weight");
    let places = match padding {
        None => leading(builder, &table, text.positions, width, &count)?,
        Some(padding) => {
            let places = places_after_padding(builder, &ids, padding);
            builder.look_up(&table, &[text.positions, width], &places)?
        }
    };
    // Every token of a prompt is of the first kind.
    let kind = Rows::block(&name("token_type_embeddings.weight"), 0, kinds, 1);
    let kind = builder.rows(&kind, &[1, width])?;
    let sum = builder.op("Add", [&words, &kind]);
    let sum = builder.op("Add", [&sum, &places]);
    let rows = builder.as_rows(&sum, width);
    let rows = builder.layer_norm(&rows, &name("LayerNorm"), width, sizes.epsilon)?;
    let mask = Some(padding_mask(builder, &mask));
    let tokens = Tokens { mask, ..Tokens::unmasked(Length::Given(count)) };
    let layers = layers_of(builder, &format!("{prefix}.encoder"), "layer");
    let layer = |at| Layer::of_bert(&format!("{layers}.{at}"), sizes);
    post_norm(builder, rows, &tokens, sizes, Keep::First, layer)
}

/// The place of each token as a RoBERTa counts it.
fn places_after_padding(builder: &mut GraphBuilder<'_>, ids: &Value, padding: i64) -> Value {
    let padding = builder.int(padding);
    let is_padding = builder.op("Equal", [ids, &padding]);
    let is_token = builder.op("Not", [&is_padding]);
    let is_token = builder.cast(&is_token, Element::Int64);
    let columns = builder.int(1);
    let counted = builder.op("CumSum", [&is_token, &columns]);
    let place = builder.op("Mul", [&counted, &is_token]);
    builder.op("Add", [&place, &padding])
}
