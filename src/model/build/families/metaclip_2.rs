//! MetaCLIP 2: a CLIP whose texts end with the id that its file gives. It is 2 in the released models, and means just that.

use crate::model::build::{
    error::BuildError,
    families::clip,
    given::Given,
    graph::GraphBuilder,
    towers::{TextPool, clip_text},
};

pub(super) use clip::vision;

pub(super) fn text(builder: &mut GraphBuilder<'_>, given: &Given<'_>) -> Result<(), BuildError> {
    let section = clip::text_section(given)?;
    let pool = TextPool::Id(section.id("eos_token_id", 49_407)?);
    clip_text(builder, &clip::text_sizes(given, &section)?, pool)
}
