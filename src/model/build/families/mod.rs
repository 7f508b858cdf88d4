//! The families of the reference whose graphs can be built, one row of [`FAMILIES`] and one file each.

mod altclip;
mod chinese_clip;
mod clip;
mod metaclip_2;
mod siglip;
mod siglip2;

use super::{error::BuildError, given::Given, graph::GraphBuilder};

/// Builds a tower.
pub(super) type Build = fn(&mut GraphBuilder<'_>, &Given<'_>) -> Result<(), BuildError>;

/// How the towers of a family are built.
#[derive(Debug)]
pub(super) struct FamilyGraphs {
    /// `model_type` in `config.json`
    model_type: &'static str,
    pub vision: Build,
    pub text: Build,
}

static FAMILIES: [FamilyGraphs; 6] = [
    FamilyGraphs { model_type: "altclip", vision: altclip::vision, text: altclip::text },
    FamilyGraphs { model_type: "chinese_clip", vision: chinese_clip::vision, text: chinese_clip::text },
    FamilyGraphs { model_type: "clip", vision: clip::vision, text: clip::text },
    FamilyGraphs { model_type: "metaclip_2", vision: metaclip_2::vision, text: metaclip_2::text },
    FamilyGraphs { model_type: "siglip", vision: siglip::vision, text: siglip::text },
    FamilyGraphs { model_type: "siglip2", vision: siglip2::vision, text: siglip2::text },
];

/// The family of this type.
pub(super) fn of_model_type(model_type: &str) -> Option<&'static FamilyGraphs> {
    FAMILIES.iter().find(|family| family.model_type == model_type)
}
