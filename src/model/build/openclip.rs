//! Models in the format of OpenCLIP: `open_clip_config.json`, and weights with names of its own.
//!
//! Pictures are encoded by OpenCLIP's own ViT or by a transformer of timm, texts by OpenCLIP's own transformer. Where a file
//! asks for something else, the error names the key.

use serde_json::Value;

use super::{
    blocks::{Gelu, Keep, Layer, Sizes, Tokens, causal_mask, pre_norm},
    config::{Patches, Section},
    error::BuildError,
    graph::{GraphBuilder, Length, Linear, Value as GraphValue},
    timm,
    towers::{PatchEmbedding, TextPool, text_tokens},
};

/// The file.
pub(crate) const CONFIG: &str = "open_clip_config.json";
/// The default of PyTorch's norm.
const EPSILON: f64 = 1e-5;
/// Keys that change the layers of a transformer, and that no released model uses.
const CUSTOM: [&str; 6] =
    ["qk_norm", "scaled_cosine_attn", "scale_heads", "scale_attn_inner", "scale_attn", "scale_fc"];

/// What a file says about the whole model.
#[derive(Debug, Clone, Copy)]
pub(super) struct OpenClip<'a> {
    model: Section<'a>,
    vision: Section<'a>,
    text: Section<'a>,
    /// The numbers of an embedding.
    outputs: usize,
}

impl<'a> OpenClip<'a> {
    /// # Errors
    /// It is no such file, or asks for a model that is not supported.
    pub(super) fn of(config: &'a Value) -> Result<Self, BuildError> {
        let model = Section::whole(CONFIG, config).section("model_cfg.")?;
        if model.get("vision_cfg").is_none() || model.get("text_cfg").is_none() {
            return Err(BuildError::new(CONFIG, "it has no model_cfg with a vision_cfg and a text_cfg"));
        }
        if model.get("multimodal_cfg").is_some() {
            return Err(BuildError::new(
                CONFIG,
                "it is a CoCa (it has a multimodal_cfg), which is not supported",
            ));
        }
        let (vision, text) = (model.section("vision_cfg.")?, model.section("text_cfg.")?);
        Ok(Self { model, vision, text, outputs: model.count("embed_dim", 512)? })
    }

    /// The edge of the pictures.
    ///
    /// # Errors
    /// It is none.
    pub(super) fn image(&self) -> Result<usize, BuildError> {
        self.vision.edge("image_size", 224)
    }

    /// The number of tokens that each text is padded to.
    ///
    /// # Errors
    /// It is none.
    pub(super) fn context(&self) -> Result<usize, BuildError> {
        self.text.count("context_length", 77)
    }

    /// Whether the model was trained to judge each label alone, as a SigLIP.
    pub(super) fn has_bias(&self) -> bool {
        self.model.get("init_logit_bias").is_some()
    }

    /// # Errors
    /// Weights are missing or have other shapes, or a key is not supported.
    pub(super) fn build_vision(&self, builder: &mut GraphBuilder<'_>) -> Result<(), BuildError> {
        let image = self.image()?;
        if let Some(name) = self.vision.get("timm_model_name") {
            let name = name.as_str().unwrap_or_default();
            let tower = timm::named(name).ok_or_else(|| Self::unknown_timm(name))?;
            return tower.build(builder, &self.vision, image, self.outputs);
        }
        let vision = &self.vision;
        if vision.get("layers").is_some_and(Value::is_array) {
            return Err(BuildError::new(
                CONFIG,
                "model_cfg.vision_cfg is a ResNet, which is not supported; models with a ViT are",
            ));
        }
        Self::check_layers(vision)?;
        // A text names a kind of pooling.
        if vision.get("attentional_pool").is_some_and(|value| *value != Value::Bool(false)) {
            return Err(vision.unsupported("attentional_pool"));
        }
        let patches = vision.whole_patches(Patches { image, patch: vision.edge("patch_size", 16)? })?;
        let width = vision.count("width", 768)?;
        let heads = width / vision.count("head_width", 64)?.min(width);
        let sizes = self.sizes(vision, width, heads, 12)?;
        let pool = vision.text("pool_type", "tok")?;
        if !["tok", "avg"].contains(&pool) {
            return Err(vision.unsupported("pool_type"));
        }
        let embedding = PatchEmbedding {
            filters: "visual.conv1.weight".to_owned(),
            bias: None,
            class: Some(("visual.class_embedding".to_owned(), vec![width])),
            positions: ("visual.positional_embedding".to_owned(), vec![patches.count() + 1, width]),
        };
        let (mut rows, length) = embedding.tokens(builder, patches, width)?;
        if !vision.flag("no_ln_pre", false)? {
            rows = builder.layer_norm(&rows, "visual.ln_pre", width, sizes.epsilon)?;
        }
        let is_scaled = vision.get("ls_init_value").is_some();
        let layer =
            |at| Layer::of_open_clip(&format!("visual.transformer.resblocks.{at}"), &sizes, is_scaled);
        let keep = if pool == "tok" { Keep::First } else { Keep::All };
        let tokens = Tokens::unmasked(length.clone());
        let mut rows = pre_norm(builder, rows, &tokens, &sizes, keep, layer)?;
        let norms_pooled = vision.flag("final_ln_after_pool", false)?;
        if !norms_pooled {
            rows = builder.layer_norm(&rows, "visual.ln_post", width, sizes.epsilon)?;
        }
        if keep == Keep::All {
            rows = mean_of_patches(builder, &rows, &length, width);
        }
        if norms_pooled {
            rows = builder.layer_norm(&rows, "visual.ln_post", width, sizes.epsilon)?;
        }
        let projected = builder.project(&rows, "visual.proj", width, self.outputs)?;
        builder.output("image_embeds", &projected, self.outputs);
        Ok(())
    }

    fn unknown_timm(name: &str) -> BuildError {
        let instead = if name.contains("mci") {
            ": use the ONNX version of this MobileCLIP, such as Xenova/mobileclip_s2"
        } else {
            "; the SigLIP and PE-Core towers of timm are"
        };
        let key = "model_cfg.vision_cfg.timm_model_name";
        BuildError::new(
            CONFIG,
            format!("the vision tower {name:?} of timm ({key}) is not supported{instead}"),
        )
    }

    /// # Errors
    /// Weights are missing or have other shapes, or a key is not supported.
    pub(super) fn build_text(&self, builder: &mut GraphBuilder<'_>) -> Result<(), BuildError> {
        let text = &self.text;
        if text.get("hf_model_name").is_some() {
            return Err(text.unsupported("hf_model_name"));
        }
        Self::check_layers(text)?;
        if text.flag("embed_cls", false)? {
            return Err(text.unsupported("embed_cls"));
        }
        let width = text.count("width", 512)?;
        let sizes = self.sizes(text, width, text.count("heads", 8)?, 12)?;
        let pool = match text.text("pool_type", "argmax")? {
            "first" => TextPool::First,
            "last" => TextPool::Last,
            "argmax" => TextPool::Largest,
            "eos" => TextPool::Id(text.id("eos_id", 2)?),
            _ => return Err(text.unsupported("pool_type")),
        };
        // The two classes of OpenCLIP differ in these names.
        let prefix = if builder.weights().has("text.token_embedding.weight") { "text." } else { "" };
        let given = text_tokens(
            builder,
            (&format!("{prefix}token_embedding.weight"), text.count("vocab_size", 49_408)?),
            (&format!("{prefix}positional_embedding"), self.context()?),
            width,
        )?;
        let sees_all = text.flag("no_causal_mask", false)?;
        let mask = (!sees_all).then(|| causal_mask(builder, &given.count));
        let tokens = Tokens { mask, ..Tokens::unmasked(given.length.clone()) };
        let is_scaled = text.get("ls_init_value").is_some();
        let layers = format!("{prefix}transformer.resblocks");
        let layer = |at| Layer::of_open_clip(&format!("{layers}.{at}"), &sizes, is_scaled);
        let rows = pre_norm(builder, given.rows, &tokens, &sizes, Keep::All, layer)?;
        let rows = pool.pool(builder, &rows, (&given.ids, &given.length), width);
        let rows = builder.layer_norm(&rows, &format!("{prefix}ln_final"), width, sizes.epsilon)?;
        let projection = format!("{prefix}text_projection");
        let (projected, outputs) = match text.text("proj_type", "linear")? {
            "none" => (rows, width),
            _ if text.flag("proj_bias", false)? => {
                (builder.linear(&rows, &Linear::new(&projection, width, self.outputs))?, self.outputs)
            }
            _ => (builder.project(&rows, &projection, width, self.outputs)?, self.outputs),
        };
        builder.output("text_embeds", &projected, outputs);
        Ok(())
    }

    /// The layers are those of every released model.
    fn check_layers(section: &Section<'a>) -> Result<(), BuildError> {
        for key in CUSTOM {
            if section.flag(key, false)? {
                return Err(section.unsupported(key));
            }
        }
        match section.text("block_type", "default")? {
            "default" => Ok(()),
            _ => Err(section.unsupported("block_type")),
        }
    }

    fn sizes(
        &self,
        section: &Section<'a>,
        width: usize,
        heads: usize,
        layers: usize,
    ) -> Result<Sizes, BuildError> {
        let approximate = match section.section("act_kwargs.")?.text("approximate", "none")? {
            "none" => false,
            "tanh" => true,
            _ => return Err(section.unsupported("act_kwargs")),
        };
        let gelu = match (self.model.flag("quick_gelu", false)?, approximate) {
            (true, false) => Gelu::Quick,
            (false, false) => Gelu::Exact,
            (false, true) => Gelu::Tanh,
            (true, true) => return Err(section.unsupported("act_kwargs")),
        };
        let ratio = section.positive("mlp_ratio", 4.0)?;
        let sizes = Sizes {
            width,
            heads,
            // As Python's `int`.
            hidden: (width as f64 * ratio) as usize,
            layers: section.count("layers", layers)?,
            epsilon: section.section("norm_kwargs.")?.positive("eps", EPSILON)? as f32,
            gelu,
        };
        section.checked(sizes, ["width", "heads", "layers"])
    }
}

/// The mean of the tokens of each picture, without the first.
fn mean_of_patches(
    builder: &mut GraphBuilder<'_>,
    rows: &GraphValue,
    length: &Length,
    width: usize,
) -> GraphValue {
    let tokens = builder.by_token(rows, length, &[width]);
    let (start, end, dimension) = (builder.ints(&[1]), builder.ints(&[i64::MAX]), builder.ints(&[1]));
    let patches = builder.op("Slice", [&tokens, &start, &end, &dimension]);
    let mean = builder.op("ReduceMean", [&patches, &dimension]);
    builder.as_rows(&mean, width)
}
