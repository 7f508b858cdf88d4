"""Tiny checkpoints in OpenCLIP's format, and what open_clip answers with them.

OpenCLIP's configuration names towers of timm instead of describing them. Here such a tower has the class, the number of heads and the options
of the named one, but fewer and narrower layers.
"""

import json
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable
from unittest import mock

import open_clip
import timm.models.eva
import timm.models.vision_transformer
import torch
from open_clip import factory
from transformers import BertTokenizer
from transformers.image_utils import load_image

from . import texts, vocabularies, weights
from .hugging_face import CLIP_STATISTICS

CLIP_PREPROCESS = {"mean": CLIP_STATISTICS["image_mean"], "std": CLIP_STATISTICS["image_std"], "interpolation": "bicubic", "resize_mode": "shortest"}
PLAIN_PREPROCESS = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "interpolation": "bicubic", "resize_mode": "squash"}


@dataclass
class OpenClipCheckpoint:
    """One repository in the form of OpenCLIP."""

    name: str
    about: str
    model_cfg: dict
    preprocess_cfg: dict
    # The last layers of both towers.
    heads: tuple[str, str]
    write_tokenizer: Callable[[Path], None] = staticmethod(lambda folder: None)
    # Replaces sizes of the named tower.
    timm_sizes: dict = field(default_factory=dict)
    dtype: str = "F32"

    @property
    def sigmoid(self):
        return "init_logit_bias" in self.model_cfg

    @property
    def label_sets(self):
        return texts.label_sets(texts.LONGER)

    def build(self, folder):
        (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": self.model_cfg, "preprocess_cfg": self.preprocess_cfg}, indent=2) + "\n")
        self.write_tokenizer(folder)
        with self.sizes():
            model = open_clip.create_model(f"local-dir:{folder}", load_weights=False, pretrained_text=False).eval()
        weights.randomise(model, self.name)
        if not (folder / "tokenizer_config.json").exists():
            loaded = factory.get_tokenizer(f"local-dir:{folder}")
            weights.forget(getattr(model, "text", model).token_embedding.weight, {token for text in self.all_texts() for token in loaded([text])[0].tolist()})
        self.save(model, folder)
        for _ in range(2):
            loaded = self.load(folder)
            for key, answers in zip(self.heads, loaded.raw_embeddings()):
                weights.centre(model.get_parameter(key), key, answers.mean(0))
            self.save(model, folder)
        weights.set_logits(model, *weights.logits(self.load(folder).cosines(), self.sigmoid))
        self.save(model, folder)

    def all_texts(self):
        return [*texts.prompts(self.label_sets), *texts.HARD]

    def save(self, model, folder):
        weights.write(folder, dict(model.state_dict()), file="open_clip_model.safetensors", dtype=self.dtype)

    def load(self, folder):
        return OpenClip(folder, self)

    @contextmanager
    def sizes(self):
        """Makes the towers that are only named as small as the checkpoint says."""
        def smaller(original):
            return lambda name, pretrained=False, **options: original(name, pretrained=pretrained, **{**options, **self.timm_sizes})

        vision, eva = timm.models.vision_transformer, timm.models.eva
        with (
            mock.patch.object(vision, "_create_vision_transformer", smaller(vision._create_vision_transformer)),
            mock.patch.object(eva, "_create_eva", smaller(eva._create_eva)),
        ):
            yield


class OpenClip:
    """open_clip with a checkpoint, in full precision. It gets pictures as the pipeline decodes them: upright, and without transparency."""

    def __init__(self, folder, spec):
        self.spec = spec
        with spec.sizes():
            self.model, self.preprocess = open_clip.create_model_from_pretrained(f"local-dir:{folder}")
        self.model.eval()
        self.tokenizer = factory.get_tokenizer(f"local-dir:{folder}")

    def prompts(self):
        return texts.prompts(self.spec.label_sets)

    def images(self, normalize):
        with torch.no_grad():
            return torch.cat([self.model.encode_image(self.preprocess(load_image(str(path))).unsqueeze(0), normalize=normalize) for path in self.spec.pictures])

    def texts(self, prompts, normalize):
        with torch.no_grad():
            return self.model.encode_text(self.tokenizer(prompts), normalize=normalize)

    def raw_embeddings(self):
        return self.images(False), self.texts(self.prompts(), False)

    def embeddings(self):
        return self.images(True), self.texts(self.prompts(), True)

    def cosines(self):
        images, words = self.embeddings()
        return images @ words.T

    def logits(self):
        bias = self.model.logit_bias
        return self.model.logit_scale.exp().item(), 0.0 if bias is None else bias.item()

    def scores(self, path, template, labels):
        """As in the documentation of open_clip."""
        with torch.no_grad():
            image = self.model.encode_image(self.preprocess(load_image(str(path))).unsqueeze(0), normalize=True)
            words = self.texts([template.format(label) for label in labels], True)
            logits = self.model.logit_scale.exp() * image @ words.T
            if self.model.logit_bias is not None:
                return torch.sigmoid(logits + self.model.logit_bias)[0].tolist()
            return logits.softmax(dim=-1)[0].tolist()

    def tokens(self, text):
        """Without the padding, which may have the id of a token."""
        own = self.tokenizer
        if isinstance(own, open_clip.SimpleTokenizer):
            ids = [own.sot_token_id, *own.encode(text), own.eot_token_id][: own.context_length]
            ids[-1] = own.eot_token_id
        else:
            ids = own.tokenizer([own.clean_fn(text)], max_length=own.context_length, truncation=True).input_ids[0]
            if own.strip_sep_token:
                ids = [0 if number == own.tokenizer.sep_token_id else number for number in ids]
        padded = own([text])[0].tolist()
        assert padded[: len(ids)] == ids or padded[-len(ids) :] == ids, text
        return ids

    def pixels(self, path):
        values = self.preprocess(load_image(str(path))).numpy().astype("<f4")
        return [values.shape[2], values.shape[1]], values


def t5_files(folder):
    vocabularies.t5(460).save(str(folder / "tokenizer.json"), pretty=False)
    declared = {"tokenizer_class": "T5Tokenizer", "eos_token": "</s>", "pad_token": "</s>", "unk_token": "<unk>", "extra_ids": 0, "model_max_length": 64}
    (folder / "tokenizer_config.json").write_text(json.dumps(declared) + "\n")


def gemma_files(folder):
    vocabularies.gemma(120).save(str(folder / "tokenizer.json"), pretty=False)
    special = {"bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>", "unk_token": "<unk>"}
    declared = {"tokenizer_class": "GemmaTokenizer", "padding_side": "right", "model_max_length": 64, **special}
    (folder / "tokenizer_config.json").write_text(json.dumps(declared) + "\n")


def bert_files(folder):
    vocab = {word: number for number, word in enumerate(vocabularies.bert())}
    BertTokenizer(vocab=vocab, do_lower_case=True, model_max_length=512).save_pretrained(folder)


def xlm_roberta_files(folder):
    vocabularies.xlm_roberta(512, normalization_rule_name="identity").save_pretrained(folder)


def natives():
    """The towers that OpenCLIP describes. Its own vocabulary has 49,408 tokens, so the text towers are narrow."""
    heads = ("visual.proj", "text_projection")
    yield OpenClipCheckpoint(
        name="openclip-quickgelu", about="OpenCLIP's own towers with QuickGELU and its own vocabulary, as in DFN's repositories. Half precision.",
        model_cfg={
            "embed_dim": 16, "quick_gelu": True,
            "vision_cfg": {"image_size": 32, "layers": 2, "width": 24, "head_width": 8, "patch_size": 8},
            "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 4, "heads": 2, "layers": 2},
        },
        preprocess_cfg=CLIP_PREPROCESS, heads=heads, dtype="F16",
    )
    yield OpenClipCheckpoint(
        name="openclip-gelu", about="The exact GELU, an odd width of heads, another `mlp_ratio`, another context, `longest` resizing with a border, bilinear. bfloat16.",
        model_cfg={
            "embed_dim": 20,
            "vision_cfg": {"image_size": 42, "layers": 3, "width": 30, "head_width": 10, "mlp_ratio": 1.5, "patch_size": 14, "norm_kwargs": {"eps": 0.01}},
            "text_cfg": {"context_length": 40, "vocab_size": 49408, "width": 4, "heads": 2, "layers": 3},
        },
        preprocess_cfg={"size": 42, "mode": "RGB", "mean": [0.48, 0.45, 0.4], "std": [0.26, 0.25, 0.27], "interpolation": "bilinear", "resize_mode": "longest", "fill_color": 0},
        heads=heads, dtype="BF16",
    )
    yield OpenClipCheckpoint(
        name="openclip-clipa", about="CLIPA: no first norm, the mean of all patches, the text's last position, BERT's words with the end token removed.",
        model_cfg={
            "embed_dim": 16,
            "vision_cfg": {"image_size": 32, "layers": 2, "width": 20, "head_width": 10, "patch_size": 8, "no_ln_pre": True, "pool_type": "avg", "final_ln_after_pool": True},
            "text_cfg": {
                "context_length": 32, "vocab_size": len(vocabularies.bert()), "hf_tokenizer_name": "bert-base-uncased", "tokenizer_kwargs": {"strip_sep_token": True},
                "width": 16, "heads": 2, "layers": 2, "pool_type": "last", "no_causal_mask": True,
            },
        },
        preprocess_cfg={"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "interpolation": "bilinear", "resize_mode": "squash"},
        heads=heads, write_tokenizer=bert_files,
    )
    yield OpenClipCheckpoint(
        name="openclip-worldwide", about="MetaCLIP 2 in OpenCLIP's format: the text is taken at the end id.",
        model_cfg={
            "embed_dim": 16, "quick_gelu": True,
            "vision_cfg": {"image_size": 32, "layers": 2, "width": 20, "head_width": 10, "patch_size": 8},
            "text_cfg": {"context_length": 77, "vocab_size": 256, "hf_tokenizer_name": "facebook/xlm-v-base", "width": 16, "heads": 2, "layers": 2, "pool_type": "eos", "eos_id": 2},
        },
        preprocess_cfg=CLIP_PREPROCESS, heads=heads, write_tokenizer=xlm_roberta_files,
    )


def with_timm_towers():
    heads = ("visual.trunk.attn_pool.mlp.fc2.bias", "text.text_projection.bias")
    tanh = {"act_kwargs": {"approximate": "tanh"}}
    for name, about, tower, edge, width, text, files, dtype in [
        ("openclip-siglip", "timm's first SigLIP: a timm tower of 16 heads, T5's vocabulary, punctuation removed.", "vit_so400m_patch14_siglip_224", 224, 32, {"vocab_size": 256}, t5_files, "F16"),
        ("openclip-siglip2", "timm's SigLIP 2: a timm tower of 12 heads, Gemma's vocabulary, the GELU with tanh in the text tower only.", "vit_base_patch16_siglip_224", 224, 24, {"vocab_size": 540, **tanh}, gemma_files, "BF16"),
        ("openclip-siglip2-giant", "timm's largest SigLIP 2: the GELU with tanh in both towers.", "vit_giantopt_patch16_siglip_256", 256, 32, {"vocab_size": 540, **tanh}, gemma_files, "F16"),
    ]:
        yield OpenClipCheckpoint(
            name=name, about=about,
            model_cfg={
                "embed_dim": width, "init_logit_bias": -10, "custom_text": True,
                "vision_cfg": {"image_size": edge, "timm_model_name": tower, "timm_model_pretrained": False, "timm_pool": "map", "timm_proj": "none"},
                "text_cfg": {
                    "context_length": 64, "hf_tokenizer_name": f"timm/{name}", "tokenizer_kwargs": {"clean": "canonicalize"}, "width": 16, "heads": 2, "layers": 2, "mlp_ratio": 3.7362,
                    "no_causal_mask": True, "proj_bias": True, "pool_type": "last", "norm_kwargs": {"eps": 1e-6}, **text,
                },
            },
            preprocess_cfg=PLAIN_PREPROCESS, heads=heads, write_tokenizer=files, timm_sizes={"embed_dim": width, "depth": 2}, dtype=dtype,
        )
    for name, about, tower, edge, width, context, dtype in [
        ("openclip-pe-tiny", "A Perception Encoder: rotary positions, a class token, attention pooling. bfloat16.", "vit_pe_core_tiny_patch16_384", 384, 48, 32, "BF16"),
        ("openclip-pe-gigantic", "The largest Perception Encoder: no class token, other rotary positions, half precision.", "vit_pe_core_gigantic_patch14_448", 448, 64, 72, "F16"),
    ]:
        yield OpenClipCheckpoint(
            name=name, about=about,
            model_cfg={
                "embed_dim": 20, "custom_text": True,
                "vision_cfg": {"image_size": edge, "timm_model_name": tower, "timm_model_pretrained": False, "timm_pool": "map", "timm_proj": None},
                "text_cfg": {"context_length": context, "vocab_size": 49408, "width": 4, "heads": 2, "layers": 2},
            },
            preprocess_cfg={**PLAIN_PREPROCESS, "interpolation": "bilinear"}, heads=("visual.trunk.head.bias", "text.text_projection"),
            timm_sizes={"embed_dim": width, "depth": 2}, dtype=dtype,
        )


def all_checkpoints():
    return [*natives(), *with_timm_towers()]
