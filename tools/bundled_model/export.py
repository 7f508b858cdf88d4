"""Writes a trained model in the layout of the Hugging Face hub, and checks the files against PyTorch.

The graphs are written operator by operator rather than traced, so that they hold nothing but what is needed: weights
are kept as 16-bit floats and cast to 32 bits when the session loads, batch normalisation is folded into the
convolutions, and both batch and sequence length are free.

    python tools/bundled_model/export.py --checkpoint model.pt --out models/bundled
"""

import argparse
import copy
import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer

from model import CONTEXT, EMBED, HEADS, IMAGE, LAYERS, PATCH, WIDTH, Clip, causal_mask
from tokenizer import END, START, encode

OPSET = 17


def export(model, tokenizer, folder):
    """Writes every file but the model card. Raises if ONNX Runtime and PyTorch disagree."""
    (folder / "onnx").mkdir(parents=True, exist_ok=True)
    model = folded(model)
    write(vision_graph(model.vision), folder / "onnx" / "vision_model.onnx")
    write(text_graph(model.text), folder / "onnx" / "text_model.onnx")
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    scale = round(model.log_scale.detach().clamp(max=4.6).exp().item(), 6)
    write_json(folder / "stakeout.json", {"logit_scale": scale, "logit_bias": 0.0})
    write_json(folder / "config.json", config(tokenizer))
    write_json(folder / "preprocessor_config.json", preprocessor())
    return compare(model, tokenizer, folder)


def config(tokenizer):
    start, end = (tokenizer.token_to_id(token) for token in (START, END))
    text = {"model_type": "clip_text_model", "hidden_size": WIDTH, "intermediate_size": 4 * WIDTH,
            "num_hidden_layers": LAYERS, "num_attention_heads": HEADS, "hidden_act": "quick_gelu",
            "max_position_embeddings": CONTEXT, "vocab_size": tokenizer.get_vocab_size(), "projection_dim": EMBED,
            "bos_token_id": start, "eos_token_id": end, "pad_token_id": end}
    vision = {"model_type": "clip_vision_model", "image_size": IMAGE, "patch_size": PATCH, "num_channels": 3,
              "projection_dim": EMBED}
    return {"model_type": "clip", "architectures": ["CLIPModel"], "projection_dim": EMBED,
            "text_config": text, "vision_config": vision}


def preprocessor():
    return {"image_processor_type": "CLIPImageProcessor", "do_convert_rgb": True,
            "do_resize": True, "size": {"shortest_edge": IMAGE}, "resample": 3,
            "do_center_crop": True, "crop_size": {"height": IMAGE, "width": IMAGE},
            "do_rescale": True, "rescale_factor": 1 / 255,
            "do_normalize": True, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}


def write_json(path, value):
    path.write_text(json.dumps(value, indent=2) + "\n")


def folded(model):
    """A copy for inference, with batch normalisation inside the convolutions and weights rounded to 16 bits."""
    model = copy.deepcopy(model).eval().to(memory_format=torch.contiguous_format)
    for part in model.vision.modules():
        if hasattr(part, "conv") and hasattr(part, "norm"):
            part.conv = torch.nn.utils.fusion.fuse_conv_bn_eval(part.conv, part.norm)
            part.norm = torch.nn.Identity()
    for weight in model.parameters():
        if weight.ndim > 1:
            weight.data = weight.data.half().float()
    return model


class Graph:
    """Collects operators and weights, and gives each a name."""

    def __init__(self):
        self.nodes, self.weights = [], []

    def op(self, kind, *inputs, **attributes):
        output = attributes.pop("output", f"{kind.lower()}_{len(self.nodes)}")
        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def split(self, x, axis, count):
        outputs = [f"split_{len(self.nodes)}_{i}" for i in range(count)]
        self.nodes.append(helper.make_node("Split", [x], outputs, axis=axis))
        return outputs

    def constant(self, values):
        name = f"constant_{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def weight(self, tensor, transpose=False):
        values = tensor.detach().numpy()
        if values.ndim == 1:
            return self.constant(values.astype(np.float32))
        values = np.ascontiguousarray(values.T) if transpose else values
        return self.op("Cast", self.constant(values.astype(np.float16)), to=TensorProto.FLOAT)

    def linear(self, x, layer):
        x = self.op("MatMul", x, self.weight(layer.weight, transpose=True))
        return x if layer.bias is None else self.op("Add", x, self.weight(layer.bias))

    def attention(self, q, k, v, heads, width, mask=None):
        shape = self.constant(np.array([0, -1, heads, width // heads]))
        q, k, v = (self.op("Reshape", part, shape) for part in (q, k, v))
        q, v = (self.op("Transpose", part, perm=[0, 2, 1, 3]) for part in (q, v))
        k = self.op("Transpose", k, perm=[0, 2, 3, 1])
        scores = self.op("Mul", self.op("MatMul", q, k), self.constant(np.float32((width // heads) ** -0.5)))
        scores = self.op("Add", scores, mask) if mask else scores
        x = self.op("Transpose", self.op("MatMul", self.op("Softmax", scores, axis=-1), v), perm=[0, 2, 1, 3])
        return self.op("Reshape", x, self.constant(np.array([0, -1, width])))

    def model(self, inputs, output):
        outputs = [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["batch", EMBED])]
        graph = helper.make_graph(self.nodes, output, inputs, outputs, self.weights)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8,
                                 producer_name="stakeout bundled model")


def vision_graph(vision):
    g = Graph()
    width = vision.positions.shape[1]

    def convolve(x, layer):
        stride = layer.conv.stride[0]
        return g.op("Conv", x, g.weight(layer.conv.weight), g.weight(layer.conv.bias),
                    kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[stride, stride])

    def block(x, part):
        around = convolve(g.op("Relu", convolve(x, part.first)), part.second)
        return g.op("Relu", g.op("Add", x, around))

    x = g.op("Relu", convolve("pixel_values", vision.stem))
    x = block(g.op("Relu", convolve(x, vision.down1)), vision.block1)
    x = block(block(g.op("Relu", convolve(x, vision.down2)), vision.block2), vision.block3)
    x = g.op("Transpose", g.op("Reshape", x, g.constant(np.array([0, width, -1]))), perm=[0, 2, 1])
    x = g.op("Add", x, g.weight(vision.positions))
    query = g.linear(g.op("ReduceMean", x, axes=[1], keepdims=1), vision.query)
    x = g.attention(query, g.linear(x, vision.key), g.linear(x, vision.value), vision.heads, width)
    x = g.op("Reshape", x, g.constant(np.array([0, width])))
    x = g.op("MatMul", x, g.weight(vision.project.weight, transpose=True))
    g.op("Add", x, g.weight(vision.project.bias), output="image_embeds")
    pixels = helper.make_tensor_value_info("pixel_values", TensorProto.FLOAT, ["batch", 3, IMAGE, IMAGE])
    return g.model([pixels], "image_embeds")


def text_graph(text):
    g = Graph()

    def norm(x, layer):
        return g.op("LayerNormalization", x, g.weight(layer.weight), g.weight(layer.bias), axis=-1, epsilon=layer.eps)

    length = g.op("Slice", g.op("Shape", "input_ids"), *(g.constant(np.array([i])) for i in (1, 2)))
    zero, one = g.constant(np.array([0])), g.constant(np.array([1]))
    positions = g.op("Slice", g.weight(text.positions), zero, length, zero)
    mask = g.op("Slice", g.weight(causal_mask()), zero, length, zero)
    mask = g.op("Slice", mask, zero, length, one)
    x = g.op("Add", g.op("Gather", g.weight(text.tokens), "input_ids"), positions)
    for layer in text.layers:
        q, k, v = g.split(g.linear(norm(x, layer.norm1), layer.qkv), -1, 3)
        x = g.op("Add", x, g.linear(g.attention(q, k, v, HEADS, WIDTH, mask), layer.out))
        h = g.linear(norm(x, layer.norm2), layer.up)
        gate = g.op("Sigmoid", g.op("Mul", h, g.constant(np.float32(1.702))))
        x = g.op("Add", x, g.linear(g.op("Mul", h, gate), layer.down))
    is_end = g.op("Cast", g.op("Equal", "input_ids", g.constant(np.int64(text.end))), to=TensorProto.FLOAT)
    first_end = g.op("ArgMax", is_end, axis=1, keepdims=1)
    x = norm(g.op("GatherND", x, first_end, batch_dims=1), text.norm)
    g.op("MatMul", x, g.weight(text.project.weight, transpose=True), output="text_embeds")
    ids = helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "sequence"])
    return g.model([ids], "text_embeds")


def write(model, path):
    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString())


@torch.no_grad()
def compare(model, tokenizer, folder):
    """The largest difference between the written files and the (rounded) PyTorch model, over batches and lengths."""
    worst = 0.0
    vision, text = (onnxruntime.InferenceSession(folder / "onnx" / f"{name}_model.onnx") for name in ("vision", "text"))
    for batch in (1, 5):
        pixels = torch.rand(batch, 3, IMAGE, IMAGE) * 2 - 1
        found = vision.run(["image_embeds"], {"pixel_values": pixels.numpy()})[0]
        worst = max(worst, np.abs(found - model.vision(pixels).numpy()).max())
    for texts in (["a red car"], ["", "a photo of a blue umbrella next to a dog", "æøå 日本 " * 30]):
        ids = encode(tokenizer, texts)
        expected = model.text(torch.from_numpy(ids)).numpy()
        padded = np.pad(ids, ((0, 0), (0, CONTEXT - ids.shape[1])), constant_values=tokenizer.token_to_id(END))
        for given in (ids, padded):
            found = text.run(["text_embeds"], {"input_ids": given})[0]
            worst = max(worst, np.abs(found - expected).max())
    if worst > 1e-4:
        raise SystemExit(f"ONNX Runtime and PyTorch differ by {worst}")
    return worst


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, required=True, help="written by train.py --checkpoint")
    parser.add_argument("--out", type=Path, default=Path("models/bundled"))
    args = parser.parse_args()
    saved = torch.load(args.checkpoint)
    tokenizer = Tokenizer.from_str(saved["tokenizer"])
    model = Clip(tokenizer.get_vocab_size(), tokenizer.token_to_id(END))
    model.load_state_dict(saved["model"])
    print(f"largest difference from PyTorch: {export(model, tokenizer, args.out):.2e}")


if __name__ == "__main__":
    main()
