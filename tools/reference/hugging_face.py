"""Tiny checkpoints of the classes of transformers, and what its pipeline answers with them."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable

import torch
import transformers
from transformers import BertTokenizer, CLIPTokenizer, pipeline
from transformers.image_utils import load_image

from . import texts, vocabularies, weights

CLIP_STATISTICS = {"image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711]}
# How the keys of a file name the layers after which a picture and a text are compared.
PROJECTIONS = ("visual_projection.weight", "text_projection.weight")
SIGLIP_HEADS = ("vision_model.head.mlp.fc2.bias", "text_model.head.bias")


@dataclass
class HubCheckpoint:
    """One repository in the form of transformers."""

    name: str
    about: str
    classes: str
    config: dict
    preprocessor: dict
    write_tokenizer: Callable[[Path], None]
    dtype: str = "F32"
    shards: int = 1
    # Numbers of positions that old versions of transformers saved as a tensor: key and count.
    position_ids: dict[str, int] = field(default_factory=dict)
    renamed: Callable[[str], str] = staticmethod(lambda key: key)
    # The file of the image processor.
    preprocessor_file: str = "preprocessor_config.json"

    @property
    def sigmoid(self):
        return "siglip" in self.config["model_type"]

    @property
    def label_sets(self):
        return texts.label_sets(texts.LONGER if self.sigmoid else texts.LONG)

    def build(self, folder):
        (folder / "config.json").write_text(json.dumps(self.config, indent=2) + "\n")
        (folder / self.preprocessor_file).write_text(json.dumps(self.preprocessor, indent=2) + "\n")
        self.write_tokenizer(folder)
        config = getattr(transformers, f"{self.classes}Config").from_pretrained(folder)
        config._attn_implementation = "eager"
        model = getattr(transformers, f"{self.classes}Model")(config).eval()
        weights.randomise(model, self.name)
        self.finish(model, folder)

    def finish(self, model, folder):
        """Centres the answers of the model and spreads its scores."""
        heads = SIGLIP_HEADS if self.sigmoid else PROJECTIONS
        self.save(model, folder)
        for _ in range(2):
            loaded = self.load(folder)
            for key, answers in zip(heads, loaded.raw_embeddings()):
                weights.centre(model.get_parameter(key), key, answers.mean(0))
            self.save(model, folder)
        weights.set_logits(model, *weights.logits(self.load(folder).cosines(), self.sigmoid))
        self.save(model, folder)

    def save(self, model, folder):
        # The class's own way, which undoes its renaming of keys; then in the form of the hub.
        config = (folder / "config.json").read_text()
        model.save_pretrained(folder)
        (folder / "config.json").write_text(config)
        file = folder / "model.safetensors"
        tensors = {self.renamed(key): tensor for key, tensor in weights.read(file).items()}
        tensors |= {key: torch.arange(count).unsqueeze(0) for key, count in self.position_ids.items()}
        file.unlink()
        weights.write(folder, tensors, dtype=self.dtype, shards=self.shards)

    def load(self, folder):
        return Pipeline(folder, self)


class Pipeline:
    """The pipeline of transformers for a checkpoint, in full precision."""

    def __init__(self, folder, spec):
        self.spec = spec
        self.pipe = pipeline("zero-shot-image-classification", model=str(folder), device="cpu", dtype=torch.float32)
        self.pipe.model.eval()

    def feed(self, path, prompts):
        found = self.pipe.preprocess(str(path), candidate_labels=prompts, hypothesis_template="{}")
        return {**found["text_inputs"][0], **{key: value for key, value in found.items() if key not in ("candidate_labels", "text_inputs")}}

    def outputs(self, path, prompts):
        with torch.no_grad():
            return self.pipe.model(**self.feed(path, prompts))

    def prompts(self):
        return texts.prompts(self.spec.label_sets)

    def raw_embeddings(self):
        """Of all pictures, and of all prompts, as the last layer gives them."""
        found = [self.outputs(path, self.prompts()) for path in self.spec.pictures]
        if self.spec.sigmoid:
            return torch.cat([answer.vision_model_output.pooler_output for answer in found]), found[0].text_model_output.pooler_output
        return torch.cat([answer.image_embeds for answer in found]), found[0].text_embeds

    def embeddings(self):
        found = [self.outputs(path, self.prompts()) for path in self.spec.pictures]
        return torch.cat([answer.image_embeds for answer in found]), found[0].text_embeds

    def cosines(self):
        images, words = self.embeddings()
        return images @ words.T

    def logits(self):
        bias = getattr(self.pipe.model, "logit_bias", None)
        return self.pipe.model.logit_scale.exp().item(), 0.0 if bias is None else bias.item()

    def scores(self, path, template, labels):
        answer = self.pipe(str(path), candidate_labels=labels, hypothesis_template=template)
        # The answer is sorted; labels of one set differ.
        found = {entry["label"]: entry["score"] for entry in answer}
        return [found[label] for label in labels]

    def tokens(self, text):
        return self.pipe.tokenizer(text)["input_ids"]

    def pixels(self, path):
        """Width and height of the prepared picture, and its numbers: channel by channel, or patch by patch without the filling."""
        found = self.pipe.image_processor(images=[load_image(str(path))], return_tensors="pt")
        values = found["pixel_values"][0].numpy()
        if "spatial_shapes" not in found:
            return [values.shape[2], values.shape[1]], values
        rows, columns = found["spatial_shapes"][0].tolist()
        edge = self.spec.preprocessor["patch_size"]
        return [columns * edge, rows * edge], values[: rows * columns]


def clip_json(**settings):
    def write(folder):
        CLIPTokenizer(vocab=settings["vocab"], merges=settings["merges"], pad_token=settings.get("pad", vocabularies.END), model_max_length=77).save_pretrained(folder)

    return write


def clip_files(vocab, merges):
    def write(folder):
        vocabularies.write_clip(folder, vocab, merges)
        special = {"bos_token": vocabularies.START, "eos_token": vocabularies.END, "unk_token": vocabularies.END, "pad_token": vocabularies.END}
        declared = {"tokenizer_class": "CLIPTokenizer", "model_max_length": 77, "do_lower_case": True, "errors": "replace", "add_prefix_space": False, **special}
        (folder / "tokenizer_config.json").write_text(json.dumps(declared) + "\n")
        (folder / "special_tokens_map.json").write_text(json.dumps(special) + "\n")

    return write


def siglip_files(size, **options):
    def write(folder):
        (folder / "spiece.model").write_bytes(vocabularies.siglip(size, **options))
        declared = {
            "tokenizer_class": "SiglipTokenizer", "do_lower_case": True, "eos_token": "</s>", "pad_token": "</s>", "unk_token": "<unk>",
            "model_max_length": 64, "model_input_names": ["input_ids"], "sp_model_kwargs": {},
        }
        (folder / "tokenizer_config.json").write_text(json.dumps(declared) + "\n")

    return write


def gemma_files(count, **more):
    def write(folder):
        vocabularies.gemma(count).save(str(folder / "tokenizer.json"), pretty=False)
        special = {"bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>", "unk_token": "<unk>", "mask_token": "<mask>"}
        declared = {"tokenizer_class": "GemmaTokenizer", "model_max_length": 64, "model_input_names": ["input_ids"], **special, **more}
        (folder / "tokenizer_config.json").write_text(json.dumps(declared) + "\n")

    return write


def bert_files(only_vocab):
    def write(folder):
        if only_vocab:
            (folder / "vocab.txt").write_text("\n".join(vocabularies.bert()) + "\n")
        else:
            vocab = {word: number for number, word in enumerate(vocabularies.bert())}
            BertTokenizer(vocab=vocab, do_lower_case=True, model_max_length=512).save_pretrained(folder)

    return write


def xlm_roberta_files(size, **options):
    return lambda folder: vocabularies.xlm_roberta(size, **options).save_pretrained(folder)


def xlm_roberta_model(size, **options):
    def write(folder):
        (folder / "sentencepiece.bpe.model").write_bytes(vocabularies.sentencepiece_model(size, **options))
        (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "XLMRobertaTokenizer", "model_max_length": 512}) + "\n")

    return write


def clip_preprocessor(edge, **more):
    return {
        "crop_size": edge, "do_center_crop": True, "do_normalize": True, "do_resize": True, "feature_extractor_type": "CLIPFeatureExtractor",
        **CLIP_STATISTICS, "resample": 3, "size": edge, **more,
    }


def siglip_preprocessor(edge, **more):
    return {
        "do_normalize": True, "do_rescale": True, "do_resize": True, "image_mean": [0.5, 0.5, 0.5], "image_processor_type": "SiglipImageProcessor",
        "image_std": [0.5, 0.5, 0.5], "processor_class": "SiglipProcessor", "resample": 3, "rescale_factor": 0.00392156862745098,
        "size": {"height": edge, "width": edge}, **more,
    }


def tower(width, heads, inner, layers=2, **more) -> dict[str, Any]:
    return {"hidden_size": width, "num_attention_heads": heads, "intermediate_size": inner, "num_hidden_layers": layers, **more}


def clips():
    vocab, merges = vocabularies.clip(110)
    padded, more_merges = vocabularies.clip(90, after=["<|pad|>"])
    yield HubCheckpoint(
        name="clip-legacy", classes="CLIP",
        about="As the first repositories of OpenAI: end id 2 by mistake (the highest id is meant), sizes as plain numbers, `position_ids` among the weights, `vocab.json` and `merges.txt` only.",
        config={
            "architectures": ["CLIPModel"], "initializer_factor": 1.0, "logit_scale_init_value": 2.6592, "model_type": "clip", "projection_dim": 20,
            "text_config": tower(16, 2, 40, vocab_size=len(vocab), hidden_act="quick_gelu", max_position_embeddings=77, bos_token_id=0, eos_token_id=2, pad_token_id=1, model_type="clip_text_model", layer_norm_eps=1e-05, projection_dim=512),
            "text_config_dict": None,
            "vision_config": tower(24, 3, 40, hidden_act="quick_gelu", image_size=32, patch_size=8, model_type="clip_vision_model", layer_norm_eps=1e-05, projection_dim=512),
            "vision_config_dict": None, "torch_dtype": "float32", "transformers_version": None,
        },
        preprocessor=clip_preprocessor(32), write_tokenizer=clip_files(vocab, merges),
        position_ids={"text_model.embeddings.position_ids": 77, "vision_model.embeddings.position_ids": 17},
    )
    yield HubCheckpoint(
        name="clip-eos", classes="CLIP",
        about="The end id is given, and the padding has a higher id. `text_config_dict` overrides `text_config`, as in the repositories of LAION. Weights in half precision, only `tokenizer.json`.",
        config={
            "architectures": ["CLIPModel"], "model_type": "clip", "projection_dim": 16,
            "text_config": tower(99, 9, 99, hidden_act="quick_gelu"),
            "text_config_dict": tower(16, 4, 36, vocab_size=len(padded), hidden_act="gelu", bos_token_id=padded[vocabularies.START], eos_token_id=padded[vocabularies.END], pad_token_id=padded["<|pad|>"]),
            "vision_config": tower(20, 2, 36, layers=3, hidden_act="gelu", image_size=36, patch_size=12),
            "torch_dtype": "float16",
        },
        preprocessor={**clip_preprocessor(36), "image_processor_type": "CLIPImageProcessor", "do_convert_rgb": True, "do_rescale": True, "rescale_factor": 1 / 255, "size": {"shortest_edge": 40}, "crop_size": {"height": 36, "width": 36}},
        write_tokenizer=clip_json(vocab=padded, merges=more_merges, pad="<|pad|>"), dtype="F16",
    )
    yield HubCheckpoint(
        name="clip-tuned", classes="CLIP",
        about="A fine-tune: towers of different widths, a projection of another size, another context, bfloat16 in three files with an index. The configuration leaves out what equals the class's defaults.",
        config={
            "architectures": ["CLIPModel"], "model_type": "clip", "projection_dim": 28,
            "text_config": tower(12, 3, 30, layers=3, vocab_size=len(vocab), max_position_embeddings=80, bos_token_id=vocab[vocabularies.START], eos_token_id=vocab[vocabularies.END], pad_token_id=vocab[vocabularies.END], layer_norm_eps=0.01),
            "vision_config": tower(32, 4, 44, image_size=48, patch_size=16, layer_norm_eps=0.02), "dtype": "bfloat16",
        },
        preprocessor={"image_processor_type": "CLIPImageProcessor", "size": {"shortest_edge": 48}, "crop_size": {"height": 48, "width": 48}, "image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.3, 0.25]},
        write_tokenizer=clip_files(vocab, merges), dtype="BF16", shards=3,
    )


def siglips():
    yield HubCheckpoint(
        name="siglip", classes="Siglip", about="The first SigLIP: `spiece.model` with the character map of NFKC, and no `tokenizer.json`.",
        config={
            "architectures": ["SiglipModel"], "initializer_factor": 1.0, "model_type": "siglip",
            "text_config": tower(16, 2, 36, vocab_size=256, model_type="siglip_text_model"),
            "vision_config": tower(16, 2, 36, image_size=32, patch_size=8, model_type="siglip_vision_model"), "torch_dtype": "float32",
        },
        preprocessor=siglip_preprocessor(32), write_tokenizer=siglip_files(460),
    )
    yield HubCheckpoint(
        name="siglip-i18n", classes="Siglip", about="A shape like so400m's (picture no multiple of the patch, odd widths), a vocabulary that splits unknown letters into bytes, half precision in two files.",
        config={
            "architectures": ["SiglipModel"], "model_type": "siglip",
            "text_config": tower(18, 3, 43, layers=3, vocab_size=512, layer_norm_eps=0.01, projection_size=18),
            "vision_config": tower(18, 3, 43, layers=3, image_size=38, patch_size=12, layer_norm_eps=0.02),
        },
        preprocessor=siglip_preprocessor(38, do_convert_rgb=None),
        write_tokenizer=siglip_files(620, byte_fallback=True, normalization_rule_name="identity"), dtype="F16", shards=2,
    )
    yield HubCheckpoint(
        name="siglip2-fixed", classes="Siglip", about="SigLIP 2 of fixed resolution (its type is `siglip`), with Gemma's tokenizer and bilinear resizing.",
        config={
            "architectures": ["SiglipModel"], "initializer_factor": 1.0, "model_type": "siglip",
            "text_config": tower(16, 2, 36, vocab_size=540, hidden_act="gelu_pytorch_tanh", projection_size=16, model_type="siglip_text_model"),
            "vision_config": tower(16, 2, 36, image_size=48, patch_size=16, model_type="siglip_vision_model"),
        },
        preprocessor=siglip_preprocessor(48, resample=2), write_tokenizer=gemma_files(120, padding_side="right", add_eos_token=True, add_bos_token=False),
    )
    yield HubCheckpoint(
        name="siglip2-giant", classes="Siglip", about="SigLIP 2 with a wider vision tower, so that the text's last layer widens (`projection_size`), bfloat16.",
        config={
            "architectures": ["SiglipModel"], "model_type": "siglip",
            "text_config": tower(12, 2, 30, vocab_size=540, projection_size=24),
            "vision_config": tower(24, 4, 50, layers=3, image_size=32, patch_size=16),
        },
        preprocessor=siglip_preprocessor(32, resample=2), write_tokenizer=gemma_files(120, padding_side="right"), dtype="BF16",
    )
    for name, about, edge, patches, trained, dtype in [
        ("siglip2-naflex", "SigLIP 2 of free resolution.", 8, 40, 16, "F32"),
        ("siglip2-naflex-large", "SigLIP 2 of free resolution, with more positions, another patch, half precision.", 12, 64, 49, "F16"),
    ]:
        yield HubCheckpoint(
            name=name, classes="Siglip2", about=about,
            config={
                "architectures": ["Siglip2Model"], "model_type": "siglip2",
                "text_config": tower(16, 2, 36, vocab_size=540, projection_size=20, model_type="siglip2_text_model"),
                "vision_config": tower(20, 2, 36, patch_size=edge, num_patches=trained, model_type="siglip2_vision_model"),
            },
            preprocessor={
                "do_convert_rgb": None, "do_normalize": True, "do_rescale": True, "do_resize": True, "image_mean": [0.5] * 3, "image_std": [0.5] * 3,
                "image_processor_type": "Siglip2ImageProcessor", "max_num_patches": patches, "patch_size": edge, "processor_class": "Siglip2Processor", "resample": 2,
                "rescale_factor": 0.00392156862745098,
            },
            write_tokenizer=gemma_files(120, padding_side="right"), dtype=dtype,
        )


def others():
    words = len(vocabularies.bert())
    for name, about, only_vocab, dtype, more in [
        ("chinese-clip-vocab", "Chinese-CLIP with `vocab.txt` only, and `position_ids` among the weights.", True, "F32", {"text_model.embeddings.position_ids": 128, "vision_model.embeddings.position_ids": 17}),
        ("chinese-clip-json", "Chinese-CLIP with `tokenizer.json`, half precision.", False, "F16", {}),
    ]:
        yield HubCheckpoint(
            name=name, classes="ChineseCLIP", about=about,
            config={
                "architectures": ["ChineseCLIPModel"], "model_type": "chinese_clip", "projection_dim": 16,
                "text_config": tower(18, 3, 40, vocab_size=words, max_position_embeddings=128, hidden_act="gelu", layer_norm_eps=1e-12, type_vocab_size=2, pad_token_id=0, model_type="chinese_clip_text_model"),
                "vision_config": tower(24, 3, 40, image_size=32, patch_size=8, hidden_act="quick_gelu", model_type="chinese_clip_vision_model"),
            },
            preprocessor={
                "do_center_crop": False, "do_normalize": True, "do_resize": True, "feature_extractor_type": "ChineseCLIPFeatureExtractor", **CLIP_STATISTICS,
                "resample": 3, "size": {"height": 32, "width": 32},
            },
            write_tokenizer=bert_files(only_vocab), dtype=dtype, position_ids=more,
        )
    for name, about, activation, dtype, eps in [
        ("metaclip2", "MetaCLIP 2: a CLIP with the tokenizer of XLM-RoBERTa, whose end id 2 is meant.", "quick_gelu", "F32", 1e-5),
        ("metaclip2-gelu", "MetaCLIP 2 with the exact GELU, bfloat16.", "gelu", "BF16", 1e-5),
    ]:
        yield HubCheckpoint(
            name=name, classes="MetaClip2", about=about,
            config={
                "architectures": ["MetaClip2Model"], "model_type": "metaclip_2", "projection_dim": 20,
                "text_config": tower(16, 2, 40, vocab_size=256, hidden_act=activation, bos_token_id=0, eos_token_id=2, pad_token_id=1, projection_dim=20, layer_norm_eps=eps, model_type="metaclip_2_text_model"),
                "vision_config": tower(24, 3, 40, image_size=32, patch_size=8, hidden_act=activation, projection_dim=20, model_type="metaclip_2_vision_model"),
            },
            preprocessor=clip_preprocessor(32, image_processor_type="CLIPImageProcessor", size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}, do_convert_rgb=True),
            write_tokenizer=xlm_roberta_files(512, normalization_rule_name="identity"), dtype=dtype,
        )
    for name, about, layer, dtype, files, positions in [
        ("altclip", "AltCLIP with the keys that the hub's repository has, `position_ids` among the weights, and `sentencepiece.bpe.model`.", "layers", "F32", xlm_roberta_model, {"text_model.roberta.embeddings.position_ids": 132, "vision_model.embeddings.position_ids": 17}),
        ("altclip-new", "AltCLIP with the keys that transformers 5 writes, half precision.", "layer", "F16", xlm_roberta_files, {}),
    ]:
        yield HubCheckpoint(
            name=name, classes="AltCLIP", about=about,
            config={
                "architectures": ["AltCLIPModel"], "model_type": "altclip", "projection_dim": 20,
                "text_config": tower(18, 3, 40, vocab_size=256, max_position_embeddings=132, hidden_act="gelu", layer_norm_eps=1e-5, project_dim=14, type_vocab_size=1, pad_token_id=1, bos_token_id=0, eos_token_id=2, model_type="altclip_text_model"),
                "vision_config": tower(24, 3, 40, image_size=32, patch_size=8, hidden_act="quick_gelu", model_type="altclip_vision_model"),
            },
            preprocessor=clip_preprocessor(32, size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}, do_convert_rgb=True),
            write_tokenizer=files(512, normalization_rule_name="identity"), dtype=dtype, position_ids=positions,
            renamed=lambda key, layer=layer: vision_layers(key, layer),
        )


def vision_layers(key, name):
    """The key with the layers of the vision tower under this name."""
    start = "vision_model.encoder."
    if not key.startswith(start):
        return key
    rest = key.removeprefix(start).split(".", 1)[1]
    return f"{start}{name}.{rest}"


def all_checkpoints():
    return [*clips(), *siglips(), *others()]
