//! The vision towers of timm that models in OpenCLIP's format use. Their files only name a tower: its heads, its activation and
//! its pooling follow from the name. Its width and its layers follow from the weights, so that smaller ones can have its name.

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

/// A vision tower, as its name describes it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Tower {
    heads: usize,
    epsilon: f32,
    gelu: Gelu,
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

/// The sizes of a tower and of its pooling.
#[derive(Debug, Clone, Copy)]
struct TowerSizes {
    trunk: Sizes,
    pooling: Sizes,
}

/// Name and heads.
type Row = (&'static str, usize);

const SIGLIP: [Row; 4] = [("base", 12), ("large", 16), ("so400m", 16), ("giantopt", 16)];

const PE_CORE: [Row; 5] = [("tiny", 3), ("small", 6), ("base", 12), ("large", 16), ("gigantic", 16)];
/// The heads of the pooling of a Perception Encoder.
const PE_POOLING_HEADS: usize = 8;

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
    let (_, heads) = *rows.iter().find(|row| row.0 == size)?;
    let edge = |text: &str| text.parse().ok().filter(|edge: &usize| (1..=4096).contains(edge));
    let patches = Patches { image: edge(image)?, patch: edge(patch)? };
    (1..=MOST_ALONG).contains(&patches.along()).then_some(Tower { heads, epsilon, gelu, patches, kind })
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
        let TowerSizes { trunk: sizes, pooling: pooling_sizes } = self.sizes(builder, outputs)?;
        let width = sizes.width;
        let (rows, tokens) = self.tokens(builder, &sizes)?;
        let layer = |at| Layer::of_timm(&format!("{TRUNK}.blocks.{at}"), &sizes);
        let rows = pre_norm(builder, rows, &tokens, &sizes, Keep::All, layer)?;
        let rows = builder.layer_norm(&rows, &format!("{TRUNK}.norm"), width, sizes.epsilon)?;
        let pooling = Pooling::of_timm(&format!("{TRUNK}.attn_pool"), &pooling_sizes);
        let pooled = pooling.pool(builder, &rows, &tokens, &pooling_sizes)?;
        let (result, columns) = if is_projected {
            (builder.linear(&pooled, &Linear::new(&format!("{TRUNK}.head"), width, outputs))?, outputs)
        } else {
            (pooled, width)
        };
        if columns != outputs {
            let problem =
                format!("model_cfg.embed_dim is {outputs}, and the vision tower gives {columns} numbers");
            return Err(builder.wrong_config(problem));
        }
        builder.output("image_embeds", &result, columns);
        Ok(())
    }

    /// What the name does not say, from the weights. Where these are not known, the sizes are any that fit `outputs`.
    fn sizes(&self, builder: &GraphBuilder<'_>, outputs: usize) -> Result<TowerSizes, BuildError> {
        let positions = self.positions();
        let width = match builder.weights().shape(&positions)?.map(<[usize]>::last) {
            None => outputs.next_multiple_of(self.least_width()),
            Some(width) => width.copied().unwrap_or(0),
        };
        if width == 0 || !width.is_multiple_of(self.least_width()) {
            let problem = format!(
                "its timm_model_name asks for a multiple of {} numbers for each token, and the tensor `{positions}` has {width}",
                self.least_width()
            );
            return Err(builder.wrong_config(problem));
        }
        let rows = |name: String| match builder.weights().shape(&name)?.map(<[usize]>::first) {
            None => Ok(4 * width),
            Some(rows) => Ok(rows.copied().unwrap_or(0)),
        };
        let layers = builder.weights().numbered(&format!("{TRUNK}.blocks.")).unwrap_or(1);
        let hidden = rows(format!("{TRUNK}.blocks.0.mlp.fc1.weight"))?;
        let Self { heads, epsilon, gelu, .. } = *self;
        let trunk = Sizes { width, heads, hidden, layers, epsilon, gelu };
        let hidden = rows(format!("{TRUNK}.attn_pool.mlp.fc1.weight"))?;
        let heads = if self.is_pe() { PE_POOLING_HEADS } else { heads };
        Ok(TowerSizes { trunk, pooling: Sizes { heads, hidden, ..trunk } })
    }

    /// What the width is a multiple of: the heads. In each head of a Perception Encoder, row and column turn two numbers each, and
    /// the pooling has eight heads.
    fn least_width(&self) -> usize {
        if self.is_pe() { 4 * self.heads * (1 + self.heads % 2) } else { self.heads }
    }

    fn is_pe(&self) -> bool {
        self.kind != TowerKind::SigLip
    }

    /// The name of the table with a row for each token.
    fn positions(&self) -> String {
        format!("{TRUNK}.pos_embed")
    }

    fn tokens(&self, builder: &mut GraphBuilder<'_>, sizes: &Sizes) -> Result<(Value, Tokens), BuildError> {
        let width = sizes.width;
        let has_class = matches!(self.kind, TowerKind::PeCore { has_class: true });
        let is_pe = self.is_pe();
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
        tokens.rotary = Some(Rotary::new(builder, &self.angles(has_class, sizes)));
        let rows = builder.layer_norm(&rows, &format!("{TRUNK}.norm_pre"), width, sizes.epsilon)?;
        Ok((rows, tokens))
    }

    /// The angle of each token and pair of numbers: those of the column for the first half of the pairs, those of the row for the
    /// second. The class token is not turned; rows and columns count from 1 beside it.
    fn angles(&self, has_class: bool, sizes: &Sizes) -> Vec<Vec<f32>> {
        let along = self.patches.along();
        let bands = sizes.width / sizes.heads / 4;
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
    use safetensors::Dtype;

    use super::*;
    use crate::model::build::weights::Weights;

    #[test]
    fn a_tower_follows_from_its_name() {
        let summary = |name: &str| {
            named(name).map(|Tower { heads, patches, gelu, .. }| (heads, patches.image, patches.patch, gelu))
        };
        for (name, expected) in [
            ("vit_base_patch16_siglip_224", Some((12, 224, 16, Gelu::Exact))),
            ("vit_base_patch32_siglip_256", Some((12, 256, 32, Gelu::Tanh))),
            ("vit_large_patch16_siglip_384", Some((16, 384, 16, Gelu::Exact))),
            ("vit_large_patch16_siglip_512", Some((16, 512, 16, Gelu::Tanh))),
            ("vit_so400m_patch14_siglip_384", Some((16, 384, 14, Gelu::Exact))),
            ("vit_so400m_patch16_siglip_256", Some((16, 256, 16, Gelu::Tanh))),
            ("vit_giantopt_patch16_siglip_384", Some((16, 384, 16, Gelu::Tanh))),
            ("vit_pe_core_tiny_patch16_384.fb", Some((3, 384, 16, Gelu::Exact))),
            ("vit_pe_core_gigantic_patch14_448", Some((16, 448, 14, Gelu::Exact))),
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
        let sizes = |tower: &Tower, width| Sizes {
            width,
            heads: tower.heads,
            hidden: 4 * width,
            layers: 1,
            epsilon: tower.epsilon,
            gelu: tower.gelu,
        };
        let tower = named("vit_pe_core_tiny_patch16_384").unwrap();
        let angles = tower.angles(true, &sizes(&tower, 192));
        assert_eq!((angles.len(), angles[0].len()), (24 * 24 + 1, 32));
        assert_eq!(angles[0], vec![0.0; 32]);
        // Row 2, column 5.
        let patch = &angles[1 + 2 * 24 + 5];
        let close = |a: f32, b: f32| (a - b).abs() < 1e-4;
        assert!(close(patch[0], 6.0) && close(patch[16], 3.0), "{patch:?}");
        assert!(close(patch[1], 6.0 / 10_000_f32.powf(1.0 / 16.0)), "{patch:?}");
        let tower = named("vit_pe_core_gigantic_patch14_448").unwrap();
        let without = tower.angles(false, &sizes(&tower, 1536));
        assert_eq!((without.len(), without[0][0]), (32 * 32, 0.0));
    }

    /// The sizes of a tower with weights of these shapes.
    fn sizes_of(name: &str, tensors: &[(&str, &[usize])]) -> Result<[usize; 5], String> {
        let named_shapes: Vec<_> =
            tensors.iter().map(|(name, shape)| (format!("{TRUNK}.{name}"), *shape)).collect();
        let tensors: Vec<_> =
            named_shapes.iter().map(|(name, shape)| (name.as_str(), Dtype::F32, *shape)).collect();
        let weights = Weights::imagined(&tensors);
        let builder = GraphBuilder::new(&weights, "open_clip_config.json", false);
        let found = named(name).unwrap().sizes(&builder, 8);
        let TowerSizes { trunk, pooling } = found.map_err(|error| error.to_string())?;
        assert_eq!((trunk.width, trunk.layers), (pooling.width, pooling.layers));
        Ok([trunk.width, trunk.layers, trunk.hidden, pooling.hidden, pooling.heads])
    }

    #[test]
    fn sizes_that_no_name_says_are_those_of_the_weights() {
        let (inner, pooling) = ("blocks.0.mlp.fc1.weight", "attn_pool.mlp.fc1.weight");
        let (siglip, pe) = ("vit_base_patch16_siglip_224", "vit_pe_core_tiny_patch16_384");
        let tensors: &[(&str, &[usize])] = &[
            ("pos_embed", &[1, 196, 24]),
            (inner, &[50, 24]),
            ("blocks.10.norm1.weight", &[24]),
            ("blocks.9.norm1.weight", &[24]),
            (pooling, &[70, 24]),
        ];
        assert_eq!(sizes_of(siglip, tensors), Ok([24, 11, 50, 70, 12]));
        assert_eq!(sizes_of(pe, tensors), Ok([24, 11, 50, 70, 8]));
        for (name, tensors, expected) in [
            (siglip, &tensors[1..], "the tensor `visual.trunk.pos_embed` is missing"),
            (siglip, &tensors[..1], "the tensor `visual.trunk.blocks.0.mlp.fc1.weight` is missing"),
            (siglip, &tensors[..4], "the tensor `visual.trunk.attn_pool.mlp.fc1.weight` is missing"),
            (
                "vit_large_patch16_siglip_256",
                tensors,
                "asks for a multiple of 16 numbers for each token, and the tensor `visual.trunk.pos_embed` has 24",
            ),
            (
                pe,
                &[("pos_embed", &[1, 577, 12][..])][..],
                "asks for a multiple of 24 numbers for each token, and the tensor `visual.trunk.pos_embed` has 12",
            ),
            (siglip, &[("pos_embed", &[1, 196, 0][..])][..], "has 0"),
        ] {
            let error = sizes_of(name, tensors).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
