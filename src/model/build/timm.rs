//! The vision towers of timm that models in OpenCLIP's format use. Their files only name a tower: its sizes, its activation and
//! its pooling follow from the name.

use super::{
    blocks::{Gelu, Keep, Layer, Pooling, Rotary, Sizes, Tokens, pre_norm},
    config::{Patches, Section},
    error::BuildError,
    graph::{GraphBuilder, Linear, Value},
    towers::PatchEmbedding,
};

/// The prefix of the weights.
const TRUNK: &str = "visual.trunk";
/// The most patches along an edge: each has a row in a table of angles.
const MOST_ALONG: usize = 128;

/// A vision tower.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Tower {
    sizes: Sizes,
    patches: Patches,
    kind: TowerKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TowerKind {
    SigLip,
    /// Perception Encoder: with rotary positions. The largest has no class token.
    PeCore {
        has_class: bool,
    },
}

/// Name, width, layers, heads, and the numbers between the two linear layers.
type Row = (&'static str, usize, usize, usize, usize);

const SIGLIP: [Row; 4] = [
    ("base", 768, 12, 12, 3072),
    ("large", 1024, 24, 16, 4096),
    ("so400m", 1152, 27, 16, 4304),
    ("giantopt", 1536, 40, 16, 6144),
];

const PE_CORE: [Row; 5] = [
    ("tiny", 192, 12, 3, 768),
    ("small", 384, 12, 6, 1536),
    ("base", 768, 12, 12, 3072),
    ("large", 1024, 24, 16, 4096),
    ("gigantic", 1536, 50, 16, 8960),
];

/// The tower of this name: `vit_SIZE_patchEDGE_siglip_EDGE` or `vit_pe_core_SIZE_patchEDGE_EDGE`. What may come after a dot names
/// weights.
pub(super) fn named(name: &str) -> Option<Tower> {
    let name = name.split('.').next()?.strip_prefix("vit_")?;
    if let Some(name) = name.strip_prefix("pe_core_") {
        let (size, edges) = name.split_once("_patch")?;
        let (patch, image) = edges.split_once('_')?;
        let kind = TowerKind::PeCore { has_class: size != "gigantic" };
        return tower(&PE_CORE, size, (patch, image), 1e-5, Gelu::Exact, kind);
    }
    let (size, edges) = name.split_once("_patch")?;
    let (patch, image) = edges.split_once("_siglip_")?;
    // Those that were added with SigLIP 2 have its activation.
    let gelu = match (size, patch, image) {
        ("base", "32", _) | ("large", _, "512") | ("so400m", "16", _) | ("giantopt", ..) => Gelu::Tanh,
        _ => Gelu::Exact,
    };
    tower(&SIGLIP, size, (patch, image), 1e-6, gelu, TowerKind::SigLip)
}

fn tower(
    rows: &[Row],
    size: &str,
    (patch, image): (&str, &str),
    epsilon: f32,
    gelu: Gelu,
    kind: TowerKind,
) -> Option<Tower> {
    let (_, width, layers, heads, hidden) = *rows.iter().find(|row| row.0 == size)?;
    let edge = |text: &str| text.parse().ok().filter(|edge: &usize| (1..=4096).contains(edge));
    let patches = Patches { image: edge(image)?, patch: edge(patch)? };
    let sizes = Sizes { width, heads, hidden, layers, epsilon, gelu };
    (1..=MOST_ALONG).contains(&patches.along()).then_some(Tower { sizes, patches, kind })
}

impl Tower {
    /// Builds it for pictures with this edge, and for embeddings with `outputs` numbers.
    ///
    /// # Errors
    /// The file contradicts the name, or weights are missing or have other shapes.
    pub(super) fn build(
        &self,
        builder: &mut GraphBuilder<'_>,
        vision: &Section<'_>,
        image: usize,
        outputs: usize,
    ) -> Result<(), BuildError> {
        let (sizes, width) = (&self.sizes, self.sizes.width);
        if image != self.patches.image {
            let problem = format!(
                "its image_size is {image}, and its timm_model_name has pictures of {}",
                self.patches.image
            );
            return Err(builder.wrong_config(problem));
        }
        if vision.text("timm_pool", "avg")? != "map" {
            return Err(vision.unsupported("timm_pool"));
        }
        let is_projected = match vision.text("timm_proj", "")? {
            "none" => false,
            "" => true,
            _ => return Err(vision.unsupported("timm_proj")),
        };
        let (rows, tokens) = self.tokens(builder)?;
        let layer = |at| Layer::of_timm(&format!("{TRUNK}.blocks.{at}"), sizes);
        let rows = pre_norm(builder, rows, &tokens, sizes, Keep::All, layer)?;
        let rows = builder.layer_norm(&rows, &format!("{TRUNK}.norm"), width, sizes.epsilon)?;
        let pooling = Pooling::of_timm(&format!("{TRUNK}.attn_pool"), &self.pooling());
        let pooled = pooling.pool(builder, &rows, &tokens, &self.pooling())?;
        let (result, columns) = if is_projected {
            (builder.linear(&pooled, &Linear::new(&format!("{TRUNK}.head"), width, outputs))?, outputs)
        } else {
            (pooled, width)
        };
        if columns != outputs {
            let problem =
                format!("model_cfg.embed_dim is {outputs}, and its timm_model_name gives {columns} numbers");
            return Err(builder.wrong_config(problem));
        }
        builder.output("image_embeds", &result, columns);
        Ok(())
    }

    fn tokens(&self, builder: &mut GraphBuilder<'_>) -> Result<(Value, Tokens), BuildError> {
        let (sizes, width) = (&self.sizes, self.sizes.width);
        let has_class = matches!(self.kind, TowerKind::PeCore { has_class: true });
        let is_pe = self.kind != TowerKind::SigLip;
        let embedding = PatchEmbedding {
            filters: format!("{TRUNK}.patch_embed.proj.weight"),
            bias: (!is_pe).then(|| format!("{TRUNK}.patch_embed.proj.bias")),
            class: has_class.then(|| (format!("{TRUNK}.cls_token"), vec![1, 1, width])),
            positions: (
                format!("{TRUNK}.pos_embed"),
                vec![1, self.patches.count() + usize::from(has_class), width],
            ),
        };
        let (rows, length) = embedding.tokens(builder, self.patches, width)?;
        let mut tokens = Tokens::unmasked(length);
        if !is_pe {
            return Ok((rows, tokens));
        }
        tokens.rotary = Some(Rotary::new(builder, &self.angles(has_class)));
        let rows = builder.layer_norm(&rows, &format!("{TRUNK}.norm_pre"), width, sizes.epsilon)?;
        Ok((rows, tokens))
    }

    /// The sizes of the pooling.
    fn pooling(&self) -> Sizes {
        match self.kind {
            TowerKind::SigLip => self.sizes,
            TowerKind::PeCore { .. } => Sizes { heads: 8, hidden: 4 * self.sizes.width, ..self.sizes },
        }
    }

    /// The angle of each token and pair of numbers: those of the column for the first half of the pairs, those of the row for the
    /// second. The class token is not turned; rows and columns count from 1 beside it.
    fn angles(&self, has_class: bool) -> Vec<Vec<f32>> {
        let along = self.patches.along();
        let bands = self.sizes.width / self.sizes.heads / 4;
        let speed = |band: usize| 1.0 / 10_000_f32.powf(band as f32 / bands as f32);
        let offset = if has_class { 1.0 } else { 0.0 };
        // The reference divides by the number of patches and multiplies by that of its training, which is the same.
        let at = |place: usize| (place as f32 + offset) / along as f32 * along as f32;
        let of = |place: usize| (0..bands).map(move |band| at(place) * speed(band));
        let patches = (0..along * along).map(|patch| of(patch % along).chain(of(patch / along)).collect());
        has_class.then(|| vec![0.0; 2 * bands]).into_iter().chain(patches).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tower_follows_from_its_name() {
        let summary = |name: &str| {
            named(name).map(|Tower { sizes, patches, .. }| {
                (sizes.width, sizes.layers, sizes.hidden, patches.image, patches.patch, sizes.gelu)
            })
        };
        for (name, expected) in [
            ("vit_base_patch16_siglip_224", Some((768, 12, 3072, 224, 16, Gelu::Exact))),
            ("vit_base_patch32_siglip_256", Some((768, 12, 3072, 256, 32, Gelu::Tanh))),
            ("vit_large_patch16_siglip_384", Some((1024, 24, 4096, 384, 16, Gelu::Exact))),
            ("vit_large_patch16_siglip_512", Some((1024, 24, 4096, 512, 16, Gelu::Tanh))),
            ("vit_so400m_patch14_siglip_384", Some((1152, 27, 4304, 384, 14, Gelu::Exact))),
            ("vit_so400m_patch16_siglip_256", Some((1152, 27, 4304, 256, 16, Gelu::Tanh))),
            ("vit_giantopt_patch16_siglip_384", Some((1536, 40, 6144, 384, 16, Gelu::Tanh))),
            ("vit_pe_core_tiny_patch16_384.fb", Some((192, 12, 768, 384, 16, Gelu::Exact))),
            ("vit_pe_core_gigantic_patch14_448", Some((1536, 50, 8960, 448, 14, Gelu::Exact))),
            ("vit_base_patch16_siglip_gap_224", None),
            ("vit_base_patch16_siglip_", None),
            ("vit_base_patch0_siglip_224", None),
            ("vit_base_patch500_siglip_224", None),
            ("vit_base_patch1_siglip_4096", None),
            ("vit_pe_spatial_base_patch16_512", None),
            ("fastvit_mci2", None),
            ("vit_base_mci_224", None),
            ("convnext_base", None),
            ("", None),
        ] {
            assert_eq!(summary(name), expected, "{name}");
        }
    }

    #[test]
    fn the_class_token_is_not_turned_and_the_first_half_turns_with_the_column() {
        let tower = named("vit_pe_core_tiny_patch16_384").unwrap();
        let angles = tower.angles(true);
        assert_eq!((angles.len(), angles[0].len()), (24 * 24 + 1, 32));
        assert_eq!(angles[0], vec![0.0; 32]);
        // Row 2, column 5.
        let patch = &angles[1 + 2 * 24 + 5];
        let close = |a: f32, b: f32| (a - b).abs() < 1e-4;
        assert!(close(patch[0], 6.0) && close(patch[16], 3.0), "{patch:?}");
        assert!(close(patch[1], 6.0 / 10_000_f32.powf(1.0 / 16.0)), "{patch:?}");
        let without = named("vit_pe_core_gigantic_patch14_448").unwrap().angles(false);
        assert_eq!((without.len(), without[0][0]), (32 * 32, 0.0));
    }
}
