//! AltCLIP: CLIP's vision tower, and an XLM-RoBERTa that was trained to give CLIP's texts.

use crate::model::build::{
    config::Defaults,
    error::BuildError,
    families::clip,
    given::Given,
    graph::{GraphBuilder, Linear},
    towers::{TextSizes, bert},
};

const TEXT: Defaults =
    Defaults { width: 1024, hidden: 4096, layers: 24, heads: 16, epsilon: 1e-5, gelu: "gelu" };
/// The numbers of an embedding.
const OUTPUTS: usize = 768;

pub(super) fn vision(builder: &mut GraphBuilder<'_>, given: &Given<'_>) -> Result<(), BuildError> {
    clip::projected_vision(builder, given, OUTPUTS)
}

pub(super) fn text(builder: &mut GraphBuilder<'_>, given: &Given<'_>) -> Result<(), BuildError> {
    let section = clip::text_section(given)?;
    let text = TextSizes {
        sizes: section.sizes(&TEXT)?,
        vocabulary: section.count("vocab_size", 250_002)?,
        positions: section.count("max_position_embeddings", 514)?,
        outputs: given.config.count("projection_dim", OUTPUTS)?,
    };
    let padding = section.id("pad_token_id", 1)?;
    let kinds = section.count("type_vocab_size", 1)?;
    let (width, epsilon) = (text.sizes.width, text.sizes.epsilon);
    let rows = bert(builder, "text_model.roberta", &text, kinds, Some(padding))?;
    let rows = builder.layer_norm(&rows, "text_model.pre_LN", width, epsilon)?;
    let between = section.count("project_dim", 768)?;
    let rows = builder.linear(&rows, &Linear::new("text_model.transformation", width, between))?;
    let projection = Linear::without_bias("text_projection", between, text.outputs);
    let projected = builder.linear(&rows, &projection)?;
    builder.output("text_embeds", &projected, text.outputs);
    Ok(())
}
