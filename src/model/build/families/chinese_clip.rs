//! Chinese-CLIP with a ViT for pictures: its text tower is a BERT.

use crate::model::build::{
    config::Defaults,
    error::BuildError,
    families::clip,
    given::Given,
    graph::{GraphBuilder, Linear},
    towers::{TextSizes, bert},
};

const TEXT: Defaults =
    Defaults { width: 768, hidden: 3072, layers: 12, heads: 12, epsilon: 1e-12, gelu: "gelu" };

pub(super) use clip::vision;

pub(super) fn text(builder: &mut GraphBuilder<'_>, given: &Given<'_>) -> Result<(), BuildError> {
    let section = clip::text_section(given)?;
    let text = TextSizes {
        sizes: section.sizes(&TEXT)?,
        vocabulary: section.count("vocab_size", 30_522)?,
        positions: section.count("max_position_embeddings", 512)?,
        outputs: given.config.count("projection_dim", 512)?,
    };
    let rows = bert(builder, "text_model", &text, section.count("type_vocab_size", 2)?, None)?;
    let projection = Linear::without_bias("text_projection", text.sizes.width, text.outputs);
    let projected = builder.linear(&rows, &projection)?;
    builder.output("text_embeds", &projected, text.outputs);
    Ok(())
}
