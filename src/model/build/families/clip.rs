//! CLIP, and everything that is saved as one: OpenAI's, LAION's and DataComp's models, TinyCLIP, MetaCLIP 1, StreetCLIP.

use crate::model::build::{
    config::{Defaults, Section},
    error::BuildError,
    given::Given,
    graph::GraphBuilder,
    towers::{TextPool, TextSizes, clip_text, clip_vision},
};

pub(super) const VISION: Defaults =
    Defaults { width: 768, hidden: 3072, layers: 12, heads: 12, epsilon: 1e-5, gelu: "quick_gelu" };
const TEXT: Defaults =
    Defaults { width: 512, hidden: 2048, layers: 12, heads: 8, epsilon: 1e-5, gelu: "quick_gelu" };
/// The edges of pictures and patches.
pub(super) const PICTURE: (usize, usize) = (224, 32);
/// The numbers of an embedding.
const OUTPUTS: usize = 512;

pub(super) fn vision(builder: &mut GraphBuilder<'_>, given: &Given<'_>) -> Result<(), BuildError> {
    projected_vision(builder, given, OUTPUTS)
}

/// The vision tower of all families that project its first token; `outputs` is the default of the embedding's size.
pub(super) fn projected_vision(
    builder: &mut GraphBuilder<'_>,
    given: &Given<'_>,
    outputs: usize,
) -> Result<(), BuildError> {
    let section = vision_section(given)?;
    let patches = section.patches(PICTURE.0, PICTURE.1)?;
    clip_vision(builder, &section.sizes(&VISION)?, patches, given.config.count("projection_dim", outputs)?)
}

fn vision_section<'a>(given: &Given<'a>) -> Result<Section<'a>, BuildError> {
    given.config.tower("vision_config.", "vision_config_dict.")
}

pub(super) fn text_section<'a>(given: &Given<'a>) -> Result<Section<'a>, BuildError> {
    given.config.tower("text_config.", "text_config_dict.")
}

/// The sizes of the text tower of a CLIP.
pub(super) fn text_sizes(given: &Given<'_>, section: &Section<'_>) -> Result<TextSizes, BuildError> {
    Ok(TextSizes {
        sizes: section.sizes(&TEXT)?,
        vocabulary: section.count("vocab_size", 49_408)?,
        positions: section.count("max_position_embeddings", 77)?,
        outputs: given.config.count("projection_dim", OUTPUTS)?,
    })
}

pub(super) fn text(builder: &mut GraphBuilder<'_>, given: &Given<'_>) -> Result<(), BuildError> {
    let section = text_section(given)?;
    // Old files have a wrong id here. The reference then takes the token with the largest id, which is the end in CLIP's
    // vocabulary.
    let pool = match section.id("eos_token_id", 49_407)? {
        2 => TextPool::Largest,
        id => TextPool::Id(id),
    };
    clip_text(builder, &text_sizes(given, &section)?, pool)
}
