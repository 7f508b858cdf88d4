"""Random weights with which every part of a model matters, and the files that hold them."""

import json
import zlib

import numpy as np
import torch
from safetensors.torch import load_file, save_file

# Processors round differently. With few digits they all make the same weights.
STEPS = 1024

DTYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


def generator(name):
    """A generator with a seed of its own for each name, so that a new checkpoint does not change the others."""
    return torch.Generator().manual_seed(zlib.crc32(name.encode()))


def randomise(model, name):
    """Gives each parameter random values, large enough that each layer changes what it gets."""
    source = generator(name)
    with torch.no_grad():
        for key, weight in sorted(model.named_parameters()):
            noise = torch.randn(weight.shape, generator=source)
            lower = key.lower()
            is_norm = "norm" in lower or ".ln_" in lower or "pre_ln" in lower or lower.startswith("ln_")
            if weight.dim() == 0 or key.startswith("logit_"):
                continue
            if is_norm and key.endswith("weight"):
                weight.copy_(1 + 0.25 * noise)
            elif key.endswith("bias"):
                weight.copy_(0.2 * noise)
            elif weight.dim() == 4 or "patch_embedding" in lower:
                # The pixels of a patch are alike, so their sum is large.
                weight.copy_(noise * weight[0].numel() ** -0.5)
            elif any(part in lower for part in ("embed", "probe", "latent", "pos_emb", "cls_token", "gamma")):
                weight.copy_(0.6 * noise)
            else:
                columns = weight.shape[0] if is_right_factor(key) else weight.shape[-1]
                weight.copy_(1.6 * noise * columns**-0.5)
            rounded(weight)


def rounded(weight):
    weight.copy_((weight * STEPS).round() / STEPS)


def is_right_factor(key):
    """OpenCLIP keeps its projections as matrices that are multiplied from the right."""
    return key in ("visual.proj", "text.text_projection", "text_projection")


def forget(weight, used):
    """Empties the rows of tokens that no text has, so that a repository of fixtures stays small."""
    with torch.no_grad():
        unused = torch.ones(len(weight), dtype=torch.bool)
        unused[sorted(used)] = False
        weight[unused] = 0


def centre(weight, key, mean):
    """Takes out of the last layer what all answers have in common, so that scores differ between pictures and labels. A bias loses
    the mean; a matrix loses the direction of the mean."""
    with torch.no_grad():
        unit = mean / mean.norm()
        if key.endswith("bias"):
            weight -= mean
        elif is_right_factor(key):
            weight -= torch.outer(weight @ unit, unit)
        else:
            weight -= torch.outer(unit, unit @ weight)
        rounded(weight)


def logits(cosines, sigmoid):
    """A scale and a bias with which the scores of these cosines are spread."""
    scale = round(min(float(2.0 / cosines.std()), 100.0), 2)
    return scale, round(float(-scale * cosines.mean() - 0.5), 2) if sigmoid else 0.0


def set_logits(model, scale, bias):
    with torch.no_grad():
        model.logit_scale.fill_(np.log(scale))
        if getattr(model, "logit_bias", None) is not None:
            model.logit_bias.fill_(bias)


def write(folder, tensors, file="model.safetensors", dtype="F32", shards=1):
    """Writes tensors as the hub's repositories hold them: in one file, or in several with an index."""
    tensors = {
        key: (tensor.to(DTYPES[dtype]) if tensor.is_floating_point() else tensor).contiguous().clone() for key, tensor in sorted(tensors.items())
    }
    if shards == 1:
        save(tensors, folder / file)
        return
    stem = file.removesuffix(".safetensors")
    keys, places = list(tensors), {}
    for number in range(shards):
        name = f"{stem}-{number + 1:05}-of-{shards:05}.safetensors"
        part = {key: tensors[key] for key in keys[number::shards]}
        save(part, folder / name)
        places |= dict.fromkeys(part, name)
    size = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    index = {"metadata": {"total_size": size}, "weight_map": dict(sorted(places.items()))}
    (folder / f"{file}.index.json").write_text(json.dumps(index, indent=1) + "\n")


def save(tensors, path):
    save_file(tensors, path, {"format": "pt"})
    path.chmod(0o644)


def read(path):
    return load_file(path)
