//! SigLIP 2 of free resolution (NaFlex): a picture comes as patches, with the number of its rows and columns. Each picture has
//! its own positions: those of a square are resized, as the reference does it with antialiasing.
//!
//! The weights of a fixed resolution may be saved under this type, too; their filters have four dimensions.

use crate::model::build::{
    blocks::{Sizes, Tokens, padding_mask},
    config::Section,
    error::BuildError,
    families::siglip,
    given::Given,
    graph::{GraphBuilder, Length, Linear, Value},
    onnx::{BATCH, Dimension, Element},
    towers::{PICTURES, siglip_encoder},
};

/// The name of the patches' weights, without its end.
const PATCHES: &str = "vision_model.embeddings.patch_embedding";

pub(super) use siglip::text;

pub(super) fn vision(builder: &mut GraphBuilder<'_>, given: &Given<'_>) -> Result<(), BuildError> {
    if builder.weights().shape(&format!("{PATCHES}.weight"))?.is_some_and(|shape| shape.len() == 4) {
        return siglip::vision(builder, given);
    }
    let section = siglip::vision_section(given)?;
    let sizes = section.sizes(&siglip::SIZES)?;
    let numbers = 3 * section.edge("patch_size", 16)?.pow(2);
    let square = square_of(&section)?;

    let any = Dimension::Any("patches");
    let patches = builder.input(PICTURES, Element::Float, vec![BATCH, any, Dimension::Fixed(numbers)]);
    let mask = builder.input("pixel_attention_mask", Element::Int64, vec![BATCH, any]);
    let shapes = builder.input("spatial_shapes", Element::Int64, vec![BATCH, Dimension::Fixed(2)]);
    let count = builder.size(&patches, 1);
    let rows = builder.as_rows(&patches, numbers);
    let rows = builder.linear(&rows, &Linear::new(PATCHES, numbers, sizes.width))?;
    let places = positions(builder, &shapes, &count, square, &sizes)?;
    let places = builder.as_rows(&places, sizes.width);
    let rows = builder.op("Add", [&rows, &places]);
    let mask = Some(padding_mask(builder, &mask));
    let tokens = Tokens { mask, ..Tokens::unmasked(Length::Given(count)) };
    siglip_encoder(builder, rows, &tokens, &sizes)
}

/// The edge of the square of positions in the weights.
fn square_of(section: &Section<'_>) -> Result<usize, BuildError> {
    let positions = section.count("num_patches", 256)?;
    let edge = positions.isqrt();
    if edge * edge != positions {
        return Err(section.wrong("num_patches", &positions.into(), "the square of a whole number"));
    }
    Ok(edge)
}

/// The positions of each patch of each picture: batch, patches, width. Padding has those of the first patch, as in the reference.
fn positions(
    builder: &mut GraphBuilder<'_>,
    shapes: &Value,
    count: &Value,
    square: usize,
    sizes: &Sizes,
) -> Result<Value, BuildError> {
    let (zero, one, list) = (builder.int(0), builder.int(1), builder.ints(&[0]));
    let ends = builder.op("Squeeze", [count, &list]);
    let numbers = builder.op("Range", [&zero, &ends, &one]);
    // Rows and columns of each picture, as lists of one.
    let edge = |builder: &mut GraphBuilder<'_>, at: i64| {
        let at = builder.ints(&[at]);
        let edge = builder.along("Gather", 1, [shapes, &at]);
        // A processor cannot divide by the edge of a picture that is not there.
        builder.op("Max", [&edge, &one])
    };
    let (rows, columns) = (edge(builder, 0), edge(builder, 1));
    let used = builder.op("Mul", [&rows, &columns]);
    let is_patch = builder.op("Less", [&numbers, &used]);
    let numbers = builder.op("Where", [&is_patch, &numbers, &zero]);
    let row = builder.op("Div", [&numbers, &columns]);
    let before = builder.op("Mul", [&row, &columns]);
    let column = builder.op("Sub", [&numbers, &before]);
    let down = shares(builder, &row, &rows, square);
    let across = shares(builder, &column, &columns, square);
    // The share of each of the square's positions: batch, patches, rows, columns.
    let (third, fourth) = (builder.ints(&[2]), builder.ints(&[3]));
    let down = builder.op("Unsqueeze", [&down, &fourth]);
    let across = builder.op("Unsqueeze", [&across, &third]);
    let shares = builder.op("Mul", [&down, &across]);
    let shares = builder.reshape(&shares, &[0, 0, -1]);
    let table = builder
        .weight("vision_model.embeddings.position_embedding.weight", &[square * square, sizes.width])?;
    Ok(builder.op("MatMul", [&shares, &table]))
}

/// The shares of `square` positions in each of `places` of `sizes` along one edge: a triangle around the place's middle, which is
/// wider where the edge is shorter than the square.
fn shares(builder: &mut GraphBuilder<'_>, places: &Value, sizes: &Value, square: usize) -> Value {
    let (places, sizes) = (builder.cast(places, Element::Float), builder.cast(sizes, Element::Float));
    let (half, one, zero) = (builder.float(0.5), builder.float(1.0), builder.float(0.0));
    let edge = builder.float(square as f32);
    let step = builder.op("Div", [&edge, &sizes]);
    let middles = builder.op("Add", [&places, &half]);
    let middles = builder.op("Mul", [&middles, &step]);
    let reach = builder.op("Max", [&step, &one]);
    let last = builder.ints(&[2]);
    let (middles, reach) =
        (builder.op("Unsqueeze", [&middles, &last]), builder.op("Unsqueeze", [&reach, &last]));
    let centres: Vec<f32> = (0..square).map(|at| at as f32 + 0.5).collect();
    let centres = builder.floats(&[square], &centres);
    let distance = builder.op("Sub", [&centres, &middles]);
    let distance = builder.op("Abs", [&distance]);
    let distance = builder.op("Div", [&distance, &reach]);
    let weight = builder.op("Sub", [&one, &distance]);
    let weight = builder.op("Max", [&weight, &zero]);
    let sum = builder.op("ReduceSum", [&weight, &last]);
    builder.op("Div", [&weight, &sum])
}
