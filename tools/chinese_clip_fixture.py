#!/usr/bin/env python3
"""Makes tests/fixtures/chinese-clip: a tiny Chinese-CLIP model with random weights, and the answers of Hugging Face's code with it.

    pip install -r tools/reference/requirements.txt onnx==1.23.2 onnxruntime==1.31.1 onnxscript
    cargo build --release
    python tools/chinese_clip_fixture.py

The folder has the layout of the hub's repositories. `onnx/model.onnx` is traced from the reference's model, with all of its inputs.
`stakeout models export` makes the two towers at full precision. Beside them they are, as `_fp16`, with inputs and outputs in half precision, as in some
exports. The weights are seeded. `goldens.json` has the token ids of texts, the vectors of pictures and texts, and the pipeline's answers for
the pictures of models/bundled/samples.
"""

import json
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import onnx
import torch
from onnxruntime.transformers.float16 import convert_float_to_float16
from PIL import Image
from transformers import AutoImageProcessor, AutoTokenizer, BertTokenizer, ChineseCLIPConfig, ChineseCLIPModel, pipeline

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "tests/fixtures/chinese-clip"
SAMPLES = ROOT / "models/bundled/samples"
SEED = 20260102
EDGE = 32
# The published preprocessor_config.json, for a smaller picture: without a crop, so pictures are squeezed into the square.
PREPROCESSOR = {
    "crop_size": {"height": EDGE, "width": EDGE},
    "do_center_crop": False,
    "do_normalize": True,
    "do_resize": True,
    "feature_extractor_type": "ChineseCLIPFeatureExtractor",
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
    "resample": 3,
    "size": {"height": EDGE, "width": EDGE},
}
CHARACTERS = (
    "一二三四五六七八九十人车狗猫鸟门包裹红蓝绿黄黑白橙粉紫色的在上下里外有没是不张照片这个辆只把伞树星心形杯子鱼钥匙空墙角落"
    "远处夜晚很街道房间院天地水火山花草大小多少男女老幼站坐走跑开关着了，。！？"
)
WORDS = (
    "a an the of photo this is red blue green car dog cat key mug umbrella tree star heart fish wall corner in on and "
    "##s ##ed ##ing ##er"
)
TEMPLATES = ["This is a photo of {}.", "一张{}的照片。", "{}"]
LABEL_SETS = [
    ["红色的车", "蓝色的伞", "一只狗"],
    ["猫", "狗", "鸟", "空墙", "一把黑色的钥匙", "远处的红车"],
    ["a red car", "the BLUE umbrella", "Café", "绿树 and fish"],
    ["一个人", "很" * 60 + "大的包裹"],
]
TEXTS = [
    "一张红色的车的照片。", "This is a photo of a red car.", "RED Cars, parked!", "Café Ünïcode", "门口有一个包裹", "", "   ",
    "猫 狗\t鸟\n鱼", "未登录字：龘", "emoji 🐈 and [MASK] [SEP]", "２０２６年", "don't", "x" * 120, "红" * 51, "红" * 60, "红" * 130,
]


def main():
    torch.manual_seed(SEED)
    shutil.rmtree(FOLDER / "onnx", ignore_errors=True)
    (FOLDER / "onnx").mkdir(parents=True)
    tokenizer = made_tokenizer()
    model = made_model(len(tokenizer))
    with tempfile.TemporaryDirectory() as work:
        checkpoint, exported = Path(work) / "checkpoint", Path(work) / "exported"
        model.save_pretrained(checkpoint)
        tokenizer.save_pretrained(checkpoint)
        (checkpoint / "preprocessor_config.json").write_text(json.dumps(PREPROCESSOR, indent=2) + "\n")
        export = [ROOT / "target/release/stakeout", "models", "export", checkpoint, exported]
        subprocess.run(export, check=True)
        for name in ("config.json", "model.safetensors", "preprocessor_config.json", "tokenizer.json", "tokenizer_config.json"):
            shutil.copyfile(checkpoint / name, FOLDER / name)
        for tower in ("vision", "text"):
            path = FOLDER / "onnx" / f"{tower}_model.onnx"
            full = onnx.load(exported / "onnx" / path.name)
            onnx.save(full, path)
            half = convert_float_to_float16(full, keep_io_types=False, disable_shape_infer=True)
            onnx.save(half, path.with_name(f"{tower}_model_fp16.onnx"))
        trace(model, FOLDER / "onnx/model.onnx")
        goldens = answers(checkpoint)
    (FOLDER / "goldens.json").write_text(json.dumps(goldens, ensure_ascii=False, separators=(",", ":")) + "\n")
    size = sum(file.stat().st_size for file in FOLDER.rglob("*") if file.is_file())
    print(f"{FOLDER}: {size / 1000:.0f} kB")


def made_tokenizer():
    letters = [chr(code) for code in range(33, 127) if not chr(code).isupper()]
    pieces = [f"##{letter}" for letter in "abcdefghijklmnopqrstuvwxyz0123456789"]
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *pieces, *WORDS.split(), *CHARACTERS]
    vocabulary = {word: number for number, word in enumerate(dict.fromkeys(words))}
    return BertTokenizer(vocab=vocabulary, do_lower_case=True, model_max_length=512)


def made_model(vocabulary):
    shape = {"hidden_size": 24, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 3}
    config = ChineseCLIPConfig(
        projection_dim=16,
        text_config={**shape, "vocab_size": vocabulary, "max_position_embeddings": 128},
        vision_config={**shape, "image_size": EDGE, "patch_size": 8, "projection_dim": 16},
    )
    config._attn_implementation = "eager"
    model = ChineseCLIPModel(config).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "embedding" in name and "patch" not in name:
                weight.normal_(std=0.5)
            elif weight.dim() >= 2:
                weight.normal_(std=1.5 * weight[0].numel() ** -0.5)
            elif name.endswith("bias"):
                weight.normal_(std=0.1)
        # What all answers have in common is taken out, so that scores differ.
        pixels = torch.nn.functional.interpolate(torch.randn(32, 3, 6, 6), EDGE, mode="bicubic")
        ids = torch.randint(5, vocabulary, (32, 12))
        for projection, found in (
            (model.visual_projection, model.vision_model(pixel_values=pixels).pooler_output),
            (model.text_projection, model.text_model(input_ids=ids).last_hidden_state[:, 0]),
        ):
            mean = found.mean(0)
            projection.weight -= torch.outer(projection.weight @ mean, mean) / mean.dot(mean)
        model.logit_scale.fill_(np.log(12.5))
    return model


class Combined(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids, pixel_values, attention_mask, token_type_ids):
        texts = {"input_ids": input_ids, "attention_mask": attention_mask, "token_type_ids": token_type_ids}
        found = self.model(**texts, pixel_values=pixel_values)
        return found.logits_per_image, found.logits_per_text, found.text_embeds, found.image_embeds


def trace(model, path):
    texts, pictures = torch.export.Dim("text_batch_size"), torch.export.Dim("image_batch_size")
    length = torch.export.Dim("sequence_length", max=model.config.text_config.max_position_embeddings)
    ids, pixels = torch.randint(5, 99, (3, 7)), torch.randn(2, 3, EDGE, EDGE)
    feed = (ids, pixels, torch.ones_like(ids), torch.zeros_like(ids))
    of_texts = {0: texts, 1: length}
    torch.onnx.export(
        Combined(model), feed, path, dynamo=True, external_data=False,
        input_names=["input_ids", "pixel_values", "attention_mask", "token_type_ids"],
        output_names=["logits_per_image", "logits_per_text", "text_embeds", "image_embeds"],
        dynamic_shapes=(of_texts, {0: pictures}, of_texts, of_texts),
    )
    # These properties name the reference's source line of each node, and are most of the file.
    graph = onnx.load(path)
    for part in (graph, graph.graph, *graph.graph.node, *graph.graph.initializer, *graph.graph.value_info):
        del part.metadata_props[:]
    onnx.save(graph, path)


def answers(checkpoint):
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    processor = AutoImageProcessor.from_pretrained(checkpoint)
    model = ChineseCLIPModel.from_pretrained(checkpoint, attn_implementation="eager").eval()
    pipe = pipeline("zero-shot-image-classification", model=str(checkpoint), device="cpu")
    names = sorted(path.name for path in SAMPLES.glob("*.jpg"))
    pixels = processor([Image.open(SAMPLES / name) for name in names], return_tensors="pt")["pixel_values"]
    fitting = [text for text in TEXTS if len(tokenizer(text)["input_ids"]) <= 128]
    with torch.no_grad():
        feed = tokenizer(fitting, padding=True, return_tensors="pt")
        found = model(**feed, pixel_values=pixels)
    cases = []
    for number, name in enumerate(names):
        labels, template = LABEL_SETS[number % len(LABEL_SETS)], TEMPLATES[number % len(TEMPLATES)]
        result = pipe(str(SAMPLES / name), candidate_labels=labels, hypothesis_template=template)
        cases.append({"image": name, "candidate_labels": labels, "hypothesis_template": template, "result": result})
    return {
        "logit_scale_exp": model.logit_scale.exp().item(),
        "tokens": [{"text": text, "ids": tokenizer(text)["input_ids"]} for text in TEXTS],
        "images": names,
        "image_embeds": rounded(found.image_embeds),
        "texts": fitting,
        "text_embeds": rounded(found.text_embeds),
        "logits_per_image": rounded(found.logits_per_image),
        "cases": cases,
    }


def rounded(tensor):
    return [[float(f"{value:.7g}") for value in row] for row in tensor.tolist()]


if __name__ == "__main__":
    main()
