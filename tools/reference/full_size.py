"""Checkpoints of published shapes with random weights: as large and as slow as the real ones."""

import json

import torch
from PIL import Image
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import CLIPConfig, CLIPModel, SiglipConfig, SiglipModel

from . import weights
from .hugging_face import CLIP_STATISTICS, PROJECTIONS, SIGLIP_HEADS, tower


def clip(projection, vision, text):
    special = {"bos_token_id": 49406, "eos_token_id": 49407, "pad_token_id": 49407}
    return {"projection_dim": projection, "vision_config": {"image_size": 224, "projection_dim": projection, **vision}, "text_config": {"projection_dim": projection, **text, **special}}


def siglip(edge, patch, both):
    special = {"bos_token_id": None, "eos_token_id": 1, "pad_token_id": 1}
    return {"vision_config": {"image_size": edge, "patch_size": patch, **both}, "text_config": {**both, **special}}


BASE_VISION, BASE_TEXT = tower(768, 12, 3072, 12), tower(512, 8, 2048, 12)
SHAPES = {
    "clip-b32": (CLIPConfig, CLIPModel, clip(512, {**BASE_VISION, "patch_size": 32}, BASE_TEXT)),
    "clip-b16": (CLIPConfig, CLIPModel, clip(512, {**BASE_VISION, "patch_size": 16}, BASE_TEXT)),
    "clip-l14": (CLIPConfig, CLIPModel, clip(768, {**tower(1024, 16, 4096, 24), "patch_size": 14}, tower(768, 12, 3072, 12))),
    "siglip-b16": (SiglipConfig, SiglipModel, siglip(224, 16, BASE_VISION)),
    "siglip-so400m": (SiglipConfig, SiglipModel, siglip(384, 14, tower(1152, 16, 4304, 27))),
}


def write(shape, folder, dtype):
    """Writes the checkpoint of a shape, with a tokenizer of the vocabulary's size."""
    if shape not in SHAPES:
        raise SystemExit(f"error: no such shape: {shape}. There are {', '.join(SHAPES)}")
    folder.mkdir(parents=True, exist_ok=True)
    config_class, model_class, settings = SHAPES[shape]
    config = config_class(**settings)
    config._attn_implementation = "eager"
    model = model_class(config).eval()
    weights.randomise(model, shape)
    centre(model, shape)
    weights.set_logits(model, 100.0 if model_class is CLIPModel else 60.0, -2.0)
    config.save_pretrained(folder)
    weights.write(folder, dict(model.state_dict()), dtype=dtype)
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor(config), indent=2) + "\n")
    tokenizer(config).save(str(folder / "tokenizer.json"), pretty=False)
    declared = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "</s>", "pad_token": "</s>", "model_max_length": config.text_config.max_position_embeddings}
    (folder / "tokenizer_config.json").write_text(json.dumps(declared) + "\n")
    size = (folder / "model.safetensors").stat().st_size
    print(f"{folder}: {size / 1e6:.0f} MB of weights")


@torch.no_grad()
def centre(model, name):
    """So that pictures and texts get different scores."""
    source = weights.generator(name)
    vision, text = model.config.vision_config, model.config.text_config
    pictures = torch.nn.functional.interpolate(torch.randn(6, 3, 12, 12, generator=source), vision.image_size, mode="bicubic")
    ids = torch.randint(300, text.vocab_size - 300, (6, text.max_position_embeddings), generator=source)
    ids[:, -1] = text.eos_token_id
    answer = model(input_ids=ids, pixel_values=pictures)
    if isinstance(model, CLIPModel):
        found = zip(PROJECTIONS, (answer.image_embeds, answer.text_embeds))
    else:
        found = zip(SIGLIP_HEADS, (answer.vision_model_output.pooler_output, answer.text_model_output.pooler_output))
    for key, answers in found:
        weights.centre(model.get_parameter(key), key, answers.mean(0))


def tokenizer(config):
    """A byte-level tokenizer with a vocabulary of the model's size. No text uses most of it."""
    text = config.text_config
    special = {text.bos_token_id: "<s>", text.eos_token_id: "</s>", text.pad_token_id: "</s>"}
    vocabulary, letters = {}, iter(sorted(pre_tokenizers.ByteLevel.alphabet()))
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
        return common | CLIP_STATISTICS | {
            "image_processor_type": "CLIPImageProcessor", "do_convert_rgb": True, "size": {"shortest_edge": edge}, "do_center_crop": True,
            "crop_size": {"height": edge, "width": edge},
        }
    return common | {"image_processor_type": "SiglipImageProcessor", "size": {"height": edge, "width": edge}, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
