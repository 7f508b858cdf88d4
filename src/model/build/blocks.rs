//! The parts that all towers are made of: activations, attention, transformer layers and pooling.

use super::{
    error::BuildError,
    graph::{GraphBuilder, Length, Linear, Value},
    onnx::Attribute,
};

/// What is added to the score of a token that is not seen, as in the reference.
const UNSEEN: f32 = f32::MIN;

/// The function between the two linear layers of a transformer layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gelu {
    /// `x * sigmoid(1.702 * x)`
    Quick,
    /// With the error function.
    Exact,
    /// With `tanh` instead of the error function.
    Tanh,
}

impl Gelu {
    /// The names of [`Self::named`], for messages.
    pub(super) const NAMES: &'static str = "gelu, gelu_pytorch_tanh and quick_gelu";

    /// By its name in the reference.
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "quick_gelu" => Self::Quick,
            "gelu" | "gelu_python" => Self::Exact,
            "gelu_pytorch_tanh" | "gelu_python_tanh" | "gelu_new" | "gelu_fast" | "gelu_accurate" => {
                Self::Tanh
            }
            _ => return None,
        })
    }

    pub(super) fn apply(self, builder: &mut GraphBuilder<'_>, value: &Value) -> Value {
        match self {
            // ONNX Runtime makes one operator of these three.
            Self::Quick => {
                let factor = builder.float(1.702);
                let scaled = builder.op("Mul", [value, &factor]);
                let gate = builder.op("Sigmoid", [&scaled]);
                builder.op("Mul", [value, &gate])
            }
            Self::Exact => builder.op("Gelu", [value]),
            Self::Tanh => builder.op_with("Gelu", [value], vec![("approximate", Attribute::Text("tanh"))]),
        }
    }
}

/// The sizes of a transformer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Sizes {
    pub width: usize,
    pub heads: usize,
    /// The numbers between the two linear layers of a layer.
    pub hidden: usize,
    pub layers: usize,
    /// What keeps a norm from dividing by 0.
    pub epsilon: f32,
    pub gelu: Gelu,
}

/// The tokens that a transformer combines.
#[derive(Debug, Clone)]
pub(super) struct Tokens {
    pub length: Length,
    /// What is added to the scores, of a shape that fits the batch, the heads, the tokens that see and those that are seen.
    pub mask: Option<Value>,
    pub rotary: Option<Rotary>,
}

impl Tokens {
    /// Each token sees all tokens.
    pub(super) fn unmasked(length: Length) -> Self {
        Self { length, mask: None, rotary: None }
    }
}

/// Positions as angles by which pairs of numbers are turned.
#[derive(Debug, Clone)]
pub(super) struct Rotary {
    /// For each token and number of a head.
    cosines: Value,
    /// The same, negative for the first number of each pair.
    sines: Value,
    /// For each number the other one of its pair.
    partners: Value,
}

impl Rotary {
    /// From the angle of each token and pair of numbers.
    pub(super) fn new(builder: &mut GraphBuilder<'_>, angles: &[Vec<f32>]) -> Self {
        let pairs = angles.first().map_or(0, Vec::len);
        let table = |builder: &mut GraphBuilder<'_>, of: &dyn Fn(f32) -> [f32; 2]| {
            let values: Vec<f32> = angles.iter().flatten().flat_map(|angle| of(*angle)).collect();
            builder.floats(&[angles.len(), 1, 2 * pairs], &values)
        };
        let cosines = table(builder, &|angle: f32| [angle.cos(); 2]);
        let sines = table(builder, &|angle: f32| [-angle.sin(), angle.sin()]);
        let partners: Vec<i64> = (0..).take(2 * pairs).map(|at: i64| at ^ 1).collect();
        Self { cosines, sines, partners: builder.ints(&partners) }
    }

    /// Turns the numbers of each head; `heads` has the dimensions of batch, tokens, heads and numbers.
    fn turn(&self, builder: &mut GraphBuilder<'_>, heads: &Value) -> Value {
        let partners = builder.along("Gather", 3, [heads, &self.partners]);
        let (along, across) =
            (builder.op("Mul", [heads, &self.cosines]), builder.op("Mul", [&partners, &self.sines]));
        builder.op("Add", [&along, &across])
    }
}

/// Hides later tokens from each token; `length` is the number of tokens.
pub(super) fn causal_mask(builder: &mut GraphBuilder<'_>, length: &Value) -> Value {
    let (zero, one, none) = (builder.int(0), builder.int(1), builder.ints(&[0]));
    let count = builder.op("Squeeze", [length, &none]);
    let places = builder.op("Range", [&zero, &count, &one]);
    let (first, second) = (builder.ints(&[0]), builder.ints(&[1]));
    let seen = builder.op("Unsqueeze", [&places, &first]);
    let seer = builder.op("Unsqueeze", [&places, &second]);
    let is_later = builder.op("Greater", [&seen, &seer]);
    hidden_where(builder, &is_later)
}

/// Hides the tokens of which `mask`, a matrix of whole numbers, is 0.
pub(super) fn padding_mask(builder: &mut GraphBuilder<'_>, mask: &Value) -> Value {
    let zero = builder.int(0);
    let is_padding = builder.op("Equal", [mask, &zero]);
    let heads_and_seers = builder.ints(&[1, 2]);
    let is_padding = builder.op("Unsqueeze", [&is_padding, &heads_and_seers]);
    hidden_where(builder, &is_padding)
}

fn hidden_where(builder: &mut GraphBuilder<'_>, condition: &Value) -> Value {
    let (hidden, seen) = (builder.float(UNSEEN), builder.float(0.0));
    builder.op("Where", [condition, &hidden, &seen])
}

/// Some rows that see others: queries, and keys and values.
struct Seeing<'a> {
    queries: (&'a Value, &'a Length),
    keys: &'a Value,
    values: &'a Value,
    seen: &'a Length,
    mask: Option<&'a Value>,
    rotary: Option<&'a Rotary>,
}

/// Attention: a row of `width` numbers for each query.
fn attention(builder: &mut GraphBuilder<'_>, seeing: &Seeing<'_>, heads: usize, width: usize) -> Value {
    if builder.fuses_attention() && seeing.mask.is_none() {
        fused_attention(builder, seeing, heads, width)
    } else {
        plain_attention(builder, seeing, heads, width)
    }
}

/// As one operator, which needs no memory for the scores of all pairs of tokens.
fn fused_attention(builder: &mut GraphBuilder<'_>, seeing: &Seeing<'_>, heads: usize, width: usize) -> Value {
    let whole = |builder: &mut GraphBuilder<'_>, rows: &Value, length: &Length| {
        let turned = seeing.rotary.map(|rotary| {
            let by_head = builder.by_token(rows, length, &[heads, width / heads]);
            rotary.turn(builder, &by_head)
        });
        builder.by_token(turned.as_ref().unwrap_or(rows), length, &[width])
    };
    let queries = whole(builder, seeing.queries.0, seeing.queries.1);
    let keys = whole(builder, seeing.keys, seeing.seen);
    let values = builder.by_token(seeing.values, seeing.seen, &[width]);
    let heads = vec![("num_heads", Attribute::Int(i64::try_from(heads).unwrap_or(i64::MAX)))];
    let result = builder.op_with("MultiHeadAttention", [&queries, &keys, &values], heads);
    builder.as_rows(&result, width)
}

/// With the operators of ONNX.
fn plain_attention(builder: &mut GraphBuilder<'_>, seeing: &Seeing<'_>, heads: usize, width: usize) -> Value {
    let per_head = [heads, width / heads];
    let turned = |builder: &mut GraphBuilder<'_>, rows: &Value, length: &Length| {
        let by_head = builder.by_token(rows, length, &per_head);
        seeing.rotary.map(|rotary| rotary.turn(builder, &by_head)).unwrap_or(by_head)
    };
    let queries = turned(builder, seeing.queries.0, seeing.queries.1);
    let keys = turned(builder, seeing.keys, seeing.seen);
    let values = builder.by_token(seeing.values, seeing.seen, &per_head);
    let queries = builder.transpose(&queries, &[0, 2, 1, 3]);
    let keys = builder.transpose(&keys, &[0, 2, 3, 1]);
    let values = builder.transpose(&values, &[0, 2, 1, 3]);
    let scale = builder.float((per_head[1] as f32).sqrt().recip());
    let queries = builder.op("Mul", [&queries, &scale]);
    let mut scores = builder.op("MatMul", [&queries, &keys]);
    if let Some(mask) = seeing.mask {
        scores = builder.op("Add", [&scores, mask]);
    }
    let shares = builder.along("Softmax", -1, [&scores]);
    let result = builder.op("MatMul", [&shares, &values]);
    let result = builder.transpose(&result, &[0, 2, 1, 3]);
    builder.as_rows(&result, width)
}

/// The names of the weights of a transformer layer.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Layer {
    pub query: Linear,
    pub key: Linear,
    pub value: Linear,
    pub out: Linear,
    pub first: Linear,
    pub second: Linear,
    /// The norms of the attention and of the two linear layers.
    pub norms: [String; 2],
    /// What the results of both are multiplied by, number by number.
    pub scales: [Option<String>; 2],
}

impl Layer {
    /// Of `CLIPEncoderLayer` and its relatives in the reference.
    pub(super) fn of_clip(prefix: &str, sizes: &Sizes) -> Self {
        let Sizes { width, hidden, .. } = *sizes;
        let attention = |name: &str| Linear::new(&format!("{prefix}.self_attn.{name}_proj"), width, width);
        Self {
            query: attention("q"),
            key: attention("k"),
            value: attention("v"),
            out: attention("out"),
            first: Linear::new(&format!("{prefix}.mlp.fc1"), width, hidden),
            second: Linear::new(&format!("{prefix}.mlp.fc2"), hidden, width),
            norms: [format!("{prefix}.layer_norm1"), format!("{prefix}.layer_norm2")],
            scales: [None, None],
        }
    }

    /// Of a BERT in the reference, and of its relatives.
    pub(super) fn of_bert(prefix: &str, sizes: &Sizes) -> Self {
        let Sizes { width, hidden, .. } = *sizes;
        let attention = |name: &str| Linear::new(&format!("{prefix}.attention.{name}"), width, width);
        Self {
            query: attention("self.query"),
            key: attention("self.key"),
            value: attention("self.value"),
            out: attention("output.dense"),
            first: Linear::new(&format!("{prefix}.intermediate.dense"), width, hidden),
            second: Linear::new(&format!("{prefix}.output.dense"), hidden, width),
            norms: [format!("{prefix}.attention.output.LayerNorm"), format!("{prefix}.output.LayerNorm")],
            scales: [None, None],
        }
    }

    /// Of OpenCLIP's own transformers. `is_scaled`: the results are multiplied by weights.
    pub(super) fn of_open_clip(prefix: &str, sizes: &Sizes, is_scaled: bool) -> Self {
        let Sizes { width, hidden, .. } = *sizes;
        let stacked = [format!("{prefix}.attn.in_proj_weight"), format!("{prefix}.attn.in_proj_bias")];
        let attention = |at| Linear::stacked(&stacked, at, 3, width);
        let scale = |name: &str| is_scaled.then(|| format!("{prefix}.{name}.gamma"));
        Self {
            query: attention(0),
            key: attention(1),
            value: attention(2),
            out: Linear::new(&format!("{prefix}.attn.out_proj"), width, width),
            first: Linear::new(&format!("{prefix}.mlp.c_fc"), width, hidden),
            second: Linear::new(&format!("{prefix}.mlp.c_proj"), hidden, width),
            norms: [format!("{prefix}.ln_1"), format!("{prefix}.ln_2")],
            scales: [scale("ls_1"), scale("ls_2")],
        }
    }

    /// Of the transformers of timm.
    pub(super) fn of_timm(prefix: &str, sizes: &Sizes) -> Self {
        let Sizes { width, hidden, .. } = *sizes;
        let stacked = [format!("{prefix}.attn.qkv.weight"), format!("{prefix}.attn.qkv.bias")];
        let attention = |at| Linear::stacked(&stacked, at, 3, width);
        Self {
            query: attention(0),
            key: attention(1),
            value: attention(2),
            out: Linear::new(&format!("{prefix}.attn.proj"), width, width),
            first: Linear::new(&format!("{prefix}.mlp.fc1"), width, hidden),
            second: Linear::new(&format!("{prefix}.mlp.fc2"), hidden, width),
            norms: [format!("{prefix}.norm1"), format!("{prefix}.norm2")],
            scales: [None, None],
        }
    }
}

/// Which tokens a transformer's last layer computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keep {
    All,
    /// The first of each picture or text, since the others are not used any more.
    First,
}

/// A transformer whose norms come before its layers (most towers).
///
/// # Errors
/// Weights are missing or have other shapes.
pub(super) fn pre_norm(
    builder: &mut GraphBuilder<'_>,
    rows: Value,
    tokens: &Tokens,
    sizes: &Sizes,
    keep: Keep,
    layer: impl Fn(usize) -> Layer,
) -> Result<Value, BuildError> {
    let mut rows = rows;
    for at in 0..sizes.layers {
        let layer = layer(at);
        let normed = builder.layer_norm(&rows, &layer.norms[0], sizes.width, sizes.epsilon)?;
        let is_last = keep == Keep::First && at + 1 == sizes.layers;
        let (kept, seers, count) = seers(builder, &rows, &normed, tokens, sizes, is_last);
        let attended = attend(builder, (&seers, &count), &normed, tokens, sizes, &layer)?;
        let attended = scaled(builder, attended, layer.scales[0].as_deref(), sizes.width)?;
        rows = builder.op("Add", [&kept, &attended]);
        let normed = builder.layer_norm(&rows, &layer.norms[1], sizes.width, sizes.epsilon)?;
        let inner = builder.linear(&normed, &layer.first)?;
        let inner = sizes.gelu.apply(builder, &inner);
        let outer = builder.linear(&inner, &layer.second)?;
        let outer = scaled(builder, outer, layer.scales[1].as_deref(), sizes.width)?;
        rows = builder.op("Add", [&rows, &outer]);
    }
    Ok(rows)
}

/// A transformer whose norms come after its layers (a BERT).
///
/// # Errors
/// As [`pre_norm`].
pub(super) fn post_norm(
    builder: &mut GraphBuilder<'_>,
    rows: Value,
    tokens: &Tokens,
    sizes: &Sizes,
    keep: Keep,
    layer: impl Fn(usize) -> Layer,
) -> Result<Value, BuildError> {
    let mut rows = rows;
    for at in 0..sizes.layers {
        let layer = layer(at);
        let is_last = keep == Keep::First && at + 1 == sizes.layers;
        let (kept, seers, count) = seers(builder, &rows, &rows, tokens, sizes, is_last);
        let attended = attend(builder, (&seers, &count), &rows, tokens, sizes, &layer)?;
        let sum = builder.op("Add", [&attended, &kept]);
        let normed = builder.layer_norm(&sum, &layer.norms[0], sizes.width, sizes.epsilon)?;
        let inner = builder.linear(&normed, &layer.first)?;
        let inner = sizes.gelu.apply(builder, &inner);
        let outer = builder.linear(&inner, &layer.second)?;
        let sum = builder.op("Add", [&outer, &normed]);
        rows = builder.layer_norm(&sum, &layer.norms[1], sizes.width, sizes.epsilon)?;
    }
    Ok(rows)
}

/// The rows that go on, those that become queries, and how many of them a picture or text has.
fn seers(
    builder: &mut GraphBuilder<'_>,
    rows: &Value,
    normed: &Value,
    tokens: &Tokens,
    sizes: &Sizes,
    only_first: bool,
) -> (Value, Value, Length) {
    if !only_first {
        return (rows.clone(), normed.clone(), tokens.length.clone());
    }
    let kept = builder.token(rows, &tokens.length, sizes.width, 0);
    let seers =
        if rows == normed { kept.clone() } else { builder.token(normed, &tokens.length, sizes.width, 0) };
    (kept, seers, Length::Fixed(1))
}

/// The attention of a layer, with its linear layers.
fn attend(
    builder: &mut GraphBuilder<'_>,
    (seers, count): (&Value, &Length),
    rows: &Value,
    tokens: &Tokens,
    sizes: &Sizes,
    layer: &Layer,
) -> Result<Value, BuildError> {
    let queries = builder.linear(seers, &layer.query)?;
    let keys = builder.linear(rows, &layer.key)?;
    let values = builder.linear(rows, &layer.value)?;
    let seeing = Seeing {
        queries: (&queries, count),
        keys: &keys,
        values: &values,
        seen: &tokens.length,
        mask: tokens.mask.as_ref(),
        rotary: tokens.rotary.as_ref(),
    };
    let attended = attention(builder, &seeing, sizes.heads, sizes.width);
    builder.linear(&attended, &layer.out)
}

fn scaled(
    builder: &mut GraphBuilder<'_>,
    rows: Value,
    scale: Option<&str>,
    width: usize,
) -> Result<Value, BuildError> {
    let Some(scale) = scale else { return Ok(rows) };
    let scale = builder.weight(scale, &[width])?;
    Ok(builder.op("Mul", [&rows, &scale]))
}

/// The names of the weights of a pooling by attention: a query that is a weight sees all tokens.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Pooling {
    /// A tensor with one row, in three dimensions.
    pub probe: String,
    pub query: Linear,
    pub key: Linear,
    pub value: Linear,
    pub out: Linear,
    pub norm: String,
    pub first: Linear,
    pub second: Linear,
}

impl Pooling {
    /// Of `SiglipMultiheadAttentionPoolingHead` in the reference.
    pub(super) fn of_siglip(prefix: &str, sizes: &Sizes) -> Self {
        let Sizes { width, hidden, .. } = *sizes;
        let stacked =
            [format!("{prefix}.attention.in_proj_weight"), format!("{prefix}.attention.in_proj_bias")];
        let attention = |at| Linear::stacked(&stacked, at, 3, width);
        Self {
            probe: format!("{prefix}.probe"),
            query: attention(0),
            key: attention(1),
            value: attention(2),
            out: Linear::new(&format!("{prefix}.attention.out_proj"), width, width),
            norm: format!("{prefix}.layernorm"),
            first: Linear::new(&format!("{prefix}.mlp.fc1"), width, hidden),
            second: Linear::new(&format!("{prefix}.mlp.fc2"), hidden, width),
        }
    }

    /// Of `AttentionPoolLatent` in timm.
    pub(super) fn of_timm(prefix: &str, sizes: &Sizes) -> Self {
        let Sizes { width, hidden, .. } = *sizes;
        let stacked = [format!("{prefix}.kv.weight"), format!("{prefix}.kv.bias")];
        let attention = |at| Linear::stacked(&stacked, at, 2, width);
        Self {
            probe: format!("{prefix}.latent"),
            query: Linear::new(&format!("{prefix}.q"), width, width),
            key: attention(0),
            value: attention(1),
            out: Linear::new(&format!("{prefix}.proj"), width, width),
            norm: format!("{prefix}.norm"),
            first: Linear::new(&format!("{prefix}.mlp.fc1"), width, hidden),
            second: Linear::new(&format!("{prefix}.mlp.fc2"), hidden, width),
        }
    }

    /// One row for each picture. `sizes` are those of the pooling, not of the tower.
    ///
    /// # Errors
    /// As [`pre_norm`].
    pub(super) fn pool(
        &self,
        builder: &mut GraphBuilder<'_>,
        rows: &Value,
        tokens: &Tokens,
        sizes: &Sizes,
    ) -> Result<Value, BuildError> {
        let probe = builder.weight(&self.probe, &[1, 1, sizes.width])?;
        let probe = builder.as_rows(&probe, sizes.width);
        let query = builder.linear(&probe, &self.query)?;
        let keys = builder.linear(rows, &self.key)?;
        let values = builder.linear(rows, &self.value)?;
        let seeing = Seeing {
            // One query for all pictures: ONNX Runtime computes it once, when it loads the graph. The single operator would
            // need it once for each picture.
            queries: (&query, &Length::Fixed(1)),
            keys: &keys,
            values: &values,
            seen: &tokens.length,
            mask: tokens.mask.as_ref(),
            rotary: None,
        };
        let attended = plain_attention(builder, &seeing, sizes.heads, sizes.width);
        let attended = builder.linear(&attended, &self.out)?;
        let normed = builder.layer_norm(&attended, &self.norm, sizes.width, sizes.epsilon)?;
        let inner = builder.linear(&normed, &self.first)?;
        let inner = sizes.gelu.apply(builder, &inner);
        let outer = builder.linear(&inner, &self.second)?;
        Ok(builder.op("Add", [&attended, &outer]))
    }
}
