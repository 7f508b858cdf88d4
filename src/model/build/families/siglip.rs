//! SigLIP, and SigLIP 2 of fixed resolution: pictures are pooled by attention, texts by their last token.

use crate::model::build::{
    config::{Defaults, Section},
    error::BuildError,
    given::Given,
    graph::GraphBuilder,
    towers::{TextSizes, siglip_text, siglip_vision},
};

pub(super) const SIZES: Defaults =
    Defaults { width: 768, hidden: 3072, layers: 12, heads: 12, epsilon: 1e-6, gelu: "gelu_pytorch_tanh" };

pub(super) fn vision(builder: &mut GraphBuilder<'_>, given: &Given<'_>) -> Result<(), BuildError> {
    let section = vision_section(given)?;
    siglip_vision(builder, &section.sizes(&SIZES)?, section.patches(224, 16)?)
}

/// The settings of the vision tower, which must have its pooling.
pub(super) fn vision_section<'a>(given: &Given<'a>) -> Result<Section<'a>, BuildError> {
    let section = given.config.section("vision_config.")?;
    if !section.flag("vision_use_head", true)? {
        return Err(section.unsupported("vision_use_head"));
    }
    Ok(section)
}

pub(super) fn text(builder: &mut GraphBuilder<'_>, given: &Given<'_>) -> Result<(), BuildError> {
    let section = given.config.section("text_config.")?;
    let sizes = section.sizes(&SIZES)?;
    let text = TextSizes {
        sizes,
        vocabulary: section.count("vocab_size", 32_000)?,
        positions: section.count("max_position_embeddings", 64)?,
        outputs: section.count("projection_size", sizes.width)?,
    };
    let pictures = vision_section(given)?.count("hidden_size", SIZES.width)?;
    if text.outputs != pictures {
        let problem = format!(
            "text_config.projection_size is {}, and vision_config.hidden_size is {pictures}, so that texts and pictures cannot be \
             compared",
            text.outputs
        );
        return Err(builder.wrong_config(problem));
    }
    siglip_text(builder, &text, given.masks_padding)
}
