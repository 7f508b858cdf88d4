"""Models of real size with random weights, for measurements without a hub. Their answers mean nothing.

The shapes are the published ones. The weights are seeded, and scaled so that each layer changes its input. The mean answer is subtracted
in the last layers, so that pictures and texts get different scores.
"""

import numpy as np
import torch
from PIL import Image
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import CLIPConfig, CLIPModel, SiglipConfig, SiglipModel

SEED = 20260101
CLIP_B16 = {
    "projection_dim": 512,
    "vision_config": {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12, "patch_size": 16, "image_size": 224, "projection_dim": 512},
    "text_config": {"hidden_size": 512, "intermediate_size": 2048, "num_hidden_layers": 12, "num_attention_heads": 8, "projection_dim": 512, "bos_token_id": 49406, "eos_token_id": 49407, "pad_token_id": 49407},
}
_SIGLIP_TEXT = {"bos_token_id": None, "eos_token_id": 1, "pad_token_id": 1}
SIGLIP_B16 = {"vision_config": {"image_size": 224, "patch_size": 16}, "text_config": _SIGLIP_TEXT}
_SO400M = {"hidden_size": 1152, "intermediate_size": 4304, "num_hidden_layers": 27, "num_attention_heads": 16}
SIGLIP_SO400M = {"vision_config": {**_SO400M, "image_size": 384, "patch_size": 14}, "text_config": {**_SO400M, **_SIGLIP_TEXT}}

MODELS = {
    "openai/clip-vit-base-patch16": (CLIPConfig, CLIPModel, CLIP_B16),
    "google/siglip-base-patch16-224": (SiglipConfig, SiglipModel, SIGLIP_B16),
    "google/siglip-so400m-patch14-384": (SiglipConfig, SiglipModel, SIGLIP_SO400M),
}


def model(name):
    """The model of this name with random weights."""
    if name not in MODELS:
        raise SystemExit(f"--random supports the shapes of {', '.join(MODELS)}")
    config_class, model_class, shape = MODELS[name]
    config = config_class(**shape)
    config._attn_implementation = "eager"
    torch.manual_seed(SEED)
    made = model_class(config).eval()
    with torch.no_grad():
        for key, weight in made.named_parameters():
            if weight.dim() >= 2 and "embedding" not in key:
                weight.normal_(std=weight[0].numel() ** -0.5)
            elif "embedding" in key or "probe" in key:
                weight.normal_(std=0.5 if "patch" not in key else weight[0].numel() ** -0.5)
        centre(made)
        made.logit_scale.fill_(np.log(100.0 if model_class is CLIPModel else 60.0))
        if model_class is SiglipModel:
            made.logit_bias.fill_(-2.0)
    return made


def centre(made):
    """Subtracts the mean of all answers in the last layers."""
    generator = torch.Generator().manual_seed(SEED)
    edge = made.config.vision_config.image_size
    pictures = torch.nn.functional.interpolate(torch.randn(12, 3, 12, 12, generator=generator), edge, mode="bicubic")
    vocabulary = made.config.text_config.vocab_size
    context = made.config.text_config.max_position_embeddings
    ids = torch.randint(300, vocabulary - 300, (12, context), generator=generator)
    ids[:, -1] = made.config.text_config.eos_token_id
    images = made.vision_model(pixel_values=pictures).pooler_output
    texts = made.text_model(input_ids=ids).pooler_output
    if isinstance(made, CLIPModel):
        for projection, answers in ((made.visual_projection, images), (made.text_projection, texts)):
            mean = answers.mean(0)
            projection.weight -= torch.outer(projection.weight @ mean, mean) / mean.dot(mean)
    else:
        made.vision_model.head.mlp.fc2.bias -= images.mean(0)
        made.text_model.head.bias -= texts.mean(0)


def tokenizer(config):
    """A byte-level tokenizer with a vocabulary of the model's size. No text uses most of it."""
    text = config.text_config
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    special = {text.bos_token_id: "<s>", text.eos_token_id: "</s>", text.pad_token_id: "</s>"}
    vocabulary, letters = {}, iter(alphabet)
    for number in range(text.vocab_size):
        token = special.get(number) or next(letters, f"<unused{number}>")
        vocabulary.setdefault(token, number)
    made = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    made.normalizer = normalizers.Lowercase()
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens([AddedToken("</s>", special=True)])
    start = [("<s>", vocabulary["<s>"])] if config.model_type == "clip" else []
    template = ("<s> " if start else "") + "$A </s>"
    made.post_processor = processors.TemplateProcessing(single=template, special_tokens=[*start, ("</s>", vocabulary["</s>"])])
    return made


def preprocessor(config):
    """The `preprocessor_config.json` of the published models."""
    edge = config.vision_config.image_size
    common = {"do_resize": True, "do_rescale": True, "do_normalize": True, "resample": int(Image.Resampling.BICUBIC), "rescale_factor": 1 / 255}
    if config.model_type == "clip":
        return common | {
            "image_processor_type": "CLIPImageProcessor", "do_convert_rgb": True,
            "size": {"shortest_edge": edge}, "do_center_crop": True, "crop_size": {"height": edge, "width": edge},
            "image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711],
        }
    return common | {
        "image_processor_type": "SiglipImageProcessor", "size": {"height": edge, "width": edge},
        "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5],
    }
