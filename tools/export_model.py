#!/usr/bin/env python3
"""Makes a folder that `model: FOLDER` takes, from any CLIP, SigLIP, SigLIP2 (fixed resolution) or Chinese-CLIP checkpoint.

    pip install -r tools/export/requirements.txt
    python tools/export_model.py google/siglip-base-patch16-224 --int8 --out models/siglip

writes config.json, preprocessor_config.json, tokenizer.json, stakeout.json (scale and bias), onnx/vision_model.onnx and
onnx/text_model.onnx, with --int8 also onnx/*_int8.onnx. It compares them with the checkpoint's own answers: they must agree within 1e-4 at
full precision. With --random it uses the shape of a published model and random weights, and keeps the weights as model.safetensors. The
answers of such a model mean nothing, but it is as slow as the real one.
"""

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch

sys.path.insert(0, str(Path(__file__).parent))
from export import siglip_tokenizer, stand_in, towers  # noqa: E402

TOLERANCE = 1e-4
# Bytes. The weights of larger graphs are in a file of their own, which is mapped instead of read: a start then needs a third less
# memory and time. (One ONNX file has 2 GB at most.)
LARGEST = 20_000_000
TEXTS = ["a photo of a cat", "A red car, in front of a house: seen at night!", "x"]
KINDS = ("clip", "siglip", "chinese_clip")


def main():
    args = arguments()
    model = stand_in.model(args.id) if args.random else checkpoint(args.id)
    kind = model.config.model_type
    if kind not in KINDS:
        raise SystemExit(f"{args.id} has the type {kind}; this tool supports {', '.join(KINDS)} (SigLIP2 of fixed resolution is a siglip)")
    folder = args.out or Path(args.id.split("/")[-1])
    (folder / "onnx").mkdir(parents=True, exist_ok=True)
    write_settings(model, folder, args)
    ids = tokens(folder, model.config)
    weights = {name: tensor.detach().float().numpy() for name, tensor in model.state_dict().items()}
    pixels = pictures(model.config.vision_config.image_size)
    expected = answers(model, pixels, ids)
    del model
    for tower, feed in (("vision", {"pixel_values": pixels}), ("text", ids)):
        export(tower, weights, folder, expected[tower], feed, args)
    print(f"{folder}: done")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("id", metavar="ID", help="a model of the hub, or a folder with a checkpoint")
    parser.add_argument("--out", type=Path, metavar="DIR", help="the folder to write [default: the last part of ID]")
    parser.add_argument("--int8", action="store_true", help="also write a variant with 8-bit weights")
    parser.add_argument("--random", action="store_true", help="the published shape with random weights; nothing is downloaded")
    parser.add_argument("--tokenizer", type=Path, metavar="FOLDER", help="use tokenizer.json from this folder")
    return parser.parse_args()


def checkpoint(name):
    from transformers import AutoModel

    return AutoModel.from_pretrained(name, dtype=torch.float32, attn_implementation="eager").eval()


def write_settings(model, folder, args):
    config = model.config
    config.save_pretrained(folder)
    bias = getattr(model, "logit_bias", None)
    scale = {"logit_scale": model.logit_scale.exp().item(), "logit_bias": 0.0 if bias is None else bias.item()}
    (folder / "stakeout.json").write_text(json.dumps(scale, indent=2) + "\n")
    if args.random:
        model.save_pretrained(folder)
        (folder / "preprocessor_config.json").write_text(json.dumps(stand_in.preprocessor(config), indent=2) + "\n")
    else:
        from transformers import AutoImageProcessor

        AutoImageProcessor.from_pretrained(args.id).save_pretrained(folder)
    if not args.tokenizer and not args.random and has_only_tokenizer_json(Path(args.id)):
        args.tokenizer = Path(args.id)
    if args.tokenizer:
        for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
            if (args.tokenizer / name).exists():
                shutil.copy(args.tokenizer / name, folder / name)
    elif args.random:
        stand_in.tokenizer(config).save(str(folder / "tokenizer.json"))
    else:
        write_tokenizer(folder, args.id)
    if not (folder / "tokenizer_config.json").exists():
        write_tokenizer_config(folder, config)


def has_only_tokenizer_json(checkpoint):
    """Whether a folder lacks the SentencePiece file that transformers reads for the first SigLIP."""
    config = checkpoint / "tokenizer_config.json"
    is_siglip = config.exists() and json.loads(config.read_text()).get("tokenizer_class") == "SiglipTokenizer"
    return is_siglip and (checkpoint / "tokenizer.json").exists() and not (checkpoint / "spiece.model").exists()


def write_tokenizer(folder, name):
    """transformers saves the tokenizer of the first SigLIP without a tokenizer.json: it is made here, and compared."""
    from tokenizers import Tokenizer
    from transformers import AutoTokenizer

    reference = AutoTokenizer.from_pretrained(name)
    reference.save_pretrained(folder)
    path = folder / "tokenizer.json"
    if (folder / "spiece.model").exists():
        siglip_tokenizer.convert(folder / "spiece.model").save(str(path))
    if not path.exists():
        raise SystemExit(f"the tokenizer of {name} ({type(reference).__name__}) has no tokenizer.json: give one with --tokenizer FOLDER")
    made = Tokenizer.from_file(str(path))
    for text in TEXTS:
        expected, found = reference(text)["input_ids"], made.encode(text).ids
        if found != expected:
            raise SystemExit(f"{path} gives other tokens than {type(reference).__name__} for {text!r}: {found} instead of {expected}")


def write_tokenizer_config(folder, config):
    """Writes the settings that the reference needs in addition to tokenizer.json."""
    from tokenizers import Tokenizer

    token = Tokenizer.from_file(str(folder / "tokenizer.json")).id_to_token
    text = config.text_config
    inputs = {"clip": ["input_ids", "attention_mask"], "siglip": ["input_ids"]}
    declared = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": text.max_position_embeddings,
        "model_input_names": inputs.get(config.model_type, ["input_ids", "token_type_ids", "attention_mask"]),
        "eos_token": token(text.eos_token_id),
        "pad_token": token(text.pad_token_id if text.pad_token_id is not None else text.eos_token_id),
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(declared, indent=2) + "\n")


def tokens(folder, config):
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    text = config.text_config
    pad = text.pad_token_id if text.pad_token_id is not None else text.eos_token_id
    # The reference pads the prompts of SigLIP to 64 tokens, also for a model with more positions.
    padded_to = min(64, text.max_position_embeddings) if config.model_type == "siglip" else None
    tokenizer.enable_truncation(padded_to or text.max_position_embeddings)
    tokenizer.enable_padding(pad_id=pad, length=padded_to)
    encoded = tokenizer.encode_batch(TEXTS)
    feed = {"input_ids": np.array([encoding.ids for encoding in encoded], np.int64)}
    if config.model_type == "chinese_clip":
        feed["attention_mask"] = np.array([encoding.attention_mask for encoding in encoded], np.int64)
    return feed


def pictures(edge):
    """Coarse and fine noise, which uses every part of the model."""
    generator = torch.Generator().manual_seed(1)
    coarse = torch.randn(2, 3, 9, 9, generator=generator)
    noise = torch.nn.functional.interpolate(coarse, edge, mode="bicubic") + 0.3 * torch.randn(2, 3, edge, edge, generator=generator)
    return noise.clamp(-1.8, 2.1).numpy()


def answers(model, pixels, ids):
    with torch.no_grad():
        vision = model.vision_model(pixel_values=torch.from_numpy(pixels)).pooler_output
        text = model.text_model(**{name: torch.from_numpy(values) for name, values in ids.items()})
        text = text.last_hidden_state[:, 0] if model.config.model_type == "chinese_clip" else text.pooler_output
        if model.config.model_type != "siglip":
            vision, text = model.visual_projection(vision), model.text_projection(text)
    return {"vision": unit(vision.numpy()), "text": unit(text.numpy())}


def export(tower, weights, folder, expected, feed, args):
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(folder)
    path = folder / "onnx" / f"{tower}_model.onnx"
    if tower == "vision":
        graph = towers.vision(weights, config.vision_config, clip=config.model_type != "siglip")
    elif config.model_type == "chinese_clip":
        graph = towers.bert(weights, config.text_config)
    else:
        graph = towers.text(weights, config.text_config, clip=config.model_type == "clip")
    save(graph, path)
    found = run(path, feed)
    difference = float(np.abs(found - expected).max())
    print(f"{path}: {size(path)} MB, differs from the checkpoint by {difference:.1e}", flush=True)
    if not difference <= TOLERANCE:
        raise SystemExit(f"that is more than {TOLERANCE}")
    if args.int8:
        small = path.with_name(f"{tower}_model_int8.onnx")
        quantize(path, small)
        cosines = (run(small, feed) * expected).sum(1)
        print(f"{small}: {size(small)} MB, cosine with the checkpoint at least {cosines.min():.4f}", flush=True)


def save(model, path):
    data = path.with_name(path.name + "_data")
    data.unlink(missing_ok=True)
    large = model.ByteSize() > LARGEST
    onnx.save_model(model, path, save_as_external_data=large, location=data.name if large else None)


def quantize(path, small):
    """8-bit weights with a scale for each column, and 8-bit activations with a dynamic scale: the fastest form on current processors.
    The products of attention and the patch embedding keep full precision. 7 of the 8 bits are used, because older processors
    overflow."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    small.with_name(small.name + "_data").unlink(missing_ok=True)
    with tempfile.TemporaryDirectory() as work:
        made = Path(work) / small.name
        quantize_dynamic(
            path, made, op_types_to_quantize=["MatMul"], per_channel=True, reduce_range=True, weight_type=QuantType.QInt8,
            extra_options={"MatMulConstBOnly": True},
        )
        save(onnx.load(made), small)


def run(path, feed):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return unit(session.run(None, feed)[0])


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def size(path):
    data = path.with_name(path.name + "_data")
    return round((path.stat().st_size + (data.stat().st_size if data.exists() else 0)) / 1e6)


if __name__ == "__main__":
    main()
