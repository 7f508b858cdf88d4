"""The two towers of a CLIP, SigLIP or Chinese-CLIP model as ONNX graphs, operator by operator, from the weights of a checkpoint.

The graphs are written, not traced: a traced graph depends on the exporter's version, has weights that must be transposed at each start,
and has three products for query, key and value although one is faster. Batch and sequence length are variable, the size of the
pictures is fixed.
"""

import numpy as np
from onnx import TensorProto, helper, numpy_helper

OPSET = 20  # the first that has Gelu; every supported ONNX Runtime has it
IR_VERSION = 9


def vision(weights, config, clip):
    """The graph `pixel_values` -> `image_embeds` (CLIP and Chinese-CLIP, projected) or `pooler_output` (SigLIP)."""
    tower = Tower(weights, "vision_model.", config)
    width, edge, patch = config.hidden_size, config.image_size, config.patch_size
    kernel = {"kernel_shape": [patch, patch], "strides": [patch, patch]}
    names = ["vision_model.embeddings.patch_embedding.weight"] + ([] if clip else ["vision_model.embeddings.patch_embedding.bias"])
    x = tower.add("Conv", ["pixel_values", *(tower.weight(name) for name in names)], **kernel)
    x = tower.add("Reshape", [x, tower.ints([0, width, -1])])
    x = tower.add("Transpose", [x], perm=[0, 2, 1])
    if clip:
        batch = tower.add("Shape", ["pixel_values"], start=0, end=1)
        shape = tower.add("Concat", [batch, tower.ints([1, width])], axis=0)
        token = tower.constant(weights["vision_model.embeddings.class_embedding"].reshape(1, 1, width))
        x = tower.add("Concat", [tower.add("Expand", [token, shape]), x], axis=1)
    x = tower.add("Add", [x, tower.weight("vision_model.embeddings.position_embedding.weight")])
    if clip:
        x = tower.norm(x, "vision_model.pre_layrnorm")
    x = tower.layers(x)
    if clip:
        x = tower.add("Gather", [x, tower.ints(0)], axis=1)
        x = tower.norm(x, "vision_model.post_layernorm")
        x = tower.linear(x, "visual_projection", bias=False)
        output, columns = "image_embeds", weights["visual_projection.weight"].shape[0]
    else:
        x = tower.norm(x, "vision_model.post_layernorm")
        x = tower.pooled(x, "vision_model.head")
        output, columns = "pooler_output", width
    given = helper.make_tensor_value_info("pixel_values", TensorProto.FLOAT, ["batch_size", 3, edge, edge])
    return tower.model("vision", [given], x, output, columns)


def text(weights, config, clip):
    """The graph `input_ids` -> `text_embeds` (CLIP, projected) or `pooler_output` (SigLIP)."""
    tower = Tower(weights, "text_model.", config)
    length = tower.add("Shape", ["input_ids"], start=1, end=2)
    x = tower.add("Gather", [tower.weight("text_model.embeddings.token_embedding.weight"), "input_ids"], axis=0)
    zero = tower.ints([0])
    positions = tower.weight("text_model.embeddings.position_embedding.weight")
    x = tower.add("Add", [x, tower.add("Slice", [positions, zero, length, zero])])
    mask = None
    if clip:
        context = config.max_position_embeddings
        causal = tower.constant(np.triu(np.full((context, context), np.finfo(np.float32).min, np.float32), 1))
        ends = tower.add("Concat", [length, length], axis=0)
        mask = tower.add("Slice", [causal, tower.ints([0, 0]), ends, tower.ints([0, 1])])
    x = tower.layers(x, mask)
    x = tower.norm(x, "text_model.final_layer_norm")
    if clip:
        # The first end token. Some old checkpoints declare the id 2 by mistake; they mean the highest id.
        ids = tower.add("Cast", ["input_ids"], to=TensorProto.INT32)
        if config.eos_token_id != 2:
            end = tower.constant(np.array(config.eos_token_id, np.int32))
            ids = tower.add("Cast", [tower.add("Equal", [ids, end])], to=TensorProto.INT32)
        at = tower.add("ArgMax", [ids], axis=1, keepdims=1)
        x = tower.add("GatherND", [x, at], batch_dims=1)
        x = tower.linear(x, "text_projection", bias=False)
        output, columns = "text_embeds", weights["text_projection.weight"].shape[0]
    else:
        x = tower.add("Gather", [x, tower.ints(-1)], axis=1)
        x = tower.linear(x, "text_model.head")
        output, columns = "pooler_output", weights["text_model.head.weight"].shape[0]
    return tower.model("text", [tokens("input_ids")], x, output, columns)


def bert(weights, config):
    """The graph `input_ids`, `attention_mask` -> `text_embeds` of Chinese-CLIP, whose text tower is a BERT: a norm follows each
    part, every token attends to all others, and the first token is the result. Token types are always 0."""
    tower = Tower(weights, "text_model.", config)
    length = tower.add("Shape", ["input_ids"], start=1, end=2)
    zero = tower.ints([0])
    x = tower.add("Gather", [tower.weight("text_model.embeddings.word_embeddings.weight"), "input_ids"], axis=0)
    # The type is the same for all tokens, so its vector is added to the positions.
    types = weights["text_model.embeddings.token_type_embeddings.weight"][:1]
    positions = tower.constant(weights["text_model.embeddings.position_embeddings.weight"] + types, "positions")
    x = tower.add("Add", [x, tower.add("Slice", [positions, zero, length, zero])])
    x = tower.norm(x, "text_model.embeddings.LayerNorm")
    seen = tower.add("Cast", ["attention_mask"], to=TensorProto.FLOAT)
    hidden = tower.add("Sub", [tower.constant(np.float32(1), "one"), seen])
    hidden = tower.add("Mul", [hidden, tower.constant(np.finfo(np.float32).min, "lowest")])
    mask = tower.add("Unsqueeze", [hidden, tower.ints([1, 2])])
    for number in range(config.num_hidden_layers):
        name = f"text_model.encoder.layer.{number}"
        parts = [f"{name}.attention.self.{part}" for part in ("query", "key", "value")]
        attended = tower.attention(x, parts, f"{name}.attention.output.dense", mask)
        x = tower.norm(tower.add("Add", [attended, x]), f"{name}.attention.output.LayerNorm")
        wide = tower.activation(tower.linear(x, f"{name}.intermediate.dense"))
        x = tower.norm(tower.add("Add", [tower.linear(wide, f"{name}.output.dense"), x]), f"{name}.output.LayerNorm")
    x = tower.add("Gather", [x, tower.ints(0)], axis=1)
    x = tower.linear(x, "text_projection", bias=False)
    given = [tokens("input_ids"), tokens("attention_mask")]
    return tower.model("text", given, x, "text_embeds", weights["text_projection.weight"].shape[0])


def tokens(name):
    return helper.make_tensor_value_info(name, TensorProto.INT64, ["batch_size", "sequence_length"])


class Tower:
    """A graph under construction. A value is identified by its name."""

    def __init__(self, weights, prefix, config):
        self.weights, self.prefix, self.config = weights, prefix, config
        self.heads, self.eps = config.num_attention_heads, config.layer_norm_eps
        self.nodes, self.constants = [], {}

    def add(self, operator, inputs, outputs=1, **attributes):
        """Adds a node; returns the name of its output, or all names if there are several outputs."""
        names = [f"v{len(self.nodes)}" + (f"_{number}" if number else "") for number in range(outputs)]
        self.nodes.append(helper.make_node(operator, inputs, names, **attributes))
        return names[0] if outputs == 1 else names

    def constant(self, array, name=None):
        name = name or f"c{len(self.constants)}"
        if name not in self.constants:
            self.constants[name] = numpy_helper.from_array(np.asarray(array, order="C"), name)
        return name

    def ints(self, values):
        return self.constant(np.array(values, np.int64))

    def weight(self, name):
        return self.constant(self.weights[name], name)

    def norm(self, x, name):
        scale, bias = (self.weight(f"{name}.{part}") for part in ("weight", "bias"))
        return self.add("LayerNormalization", [x, scale, bias], axis=-1, epsilon=self.eps)

    def linear(self, x, name, bias=True):
        x = self.add("MatMul", [x, self.constant(self.weights[f"{name}.weight"].T, f"{name}.matrix")])
        return self.add("Add", [x, self.weight(f"{name}.bias")]) if bias else x

    def activation(self, x):
        match self.config.hidden_act:
            case "quick_gelu":
                gate = self.add("Sigmoid", [self.add("Mul", [x, self.constant(np.float32(1.702), "quick")])])
                return self.add("Mul", [x, gate])
            case "gelu":
                return self.add("Gelu", [x])
            case "gelu_pytorch_tanh":
                return self.add("Gelu", [x], approximate="tanh")
            case other:
                raise SystemExit(f"the activation {other} is not supported")

    def mlp(self, x, name):
        return self.linear(self.activation(self.linear(x, f"{name}.fc1")), f"{name}.fc2")

    def layers(self, x, mask=None):
        for number in range(self.config.num_hidden_layers):
            name = f"{self.prefix}encoder.layers.{number}"
            parts = [f"{name}.self_attn.{part}_proj" for part in "qkv"]
            attended = self.attention(self.norm(x, f"{name}.layer_norm1"), parts, f"{name}.self_attn.out_proj", mask)
            x = self.add("Add", [x, attended])
            x = self.add("Add", [x, self.mlp(self.norm(x, f"{name}.layer_norm2"), f"{name}.mlp")])
        return x

    def attention(self, x, names, out, mask):
        """`names` are the layers of query, key and value, `out` is the layer after the attention."""
        # One product for all three. The query's weights include the division by the root of a head's width.
        head = self.config.hidden_size // self.heads
        parts = [(self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]) for name in names]
        scales = (np.float32(head**-0.5), np.float32(1), np.float32(1))
        matrix = np.concatenate([weight.T * scale for (weight, _), scale in zip(parts, scales)], axis=1)
        bias = np.concatenate([bias * scale for (_, bias), scale in zip(parts, scales)])
        x = self.add("MatMul", [x, self.constant(matrix, f"{names[0]}.all.matrix")])
        x = self.add("Add", [x, self.constant(bias, f"{names[0]}.all.bias")])
        q, k, v = self.add("Split", [x], outputs=3, axis=2, num_outputs=3)
        q, k, v = self.by_head(q), self.by_head(k, keys=True), self.by_head(v)
        return self.linear(self.mixed(q, k, v, mask), out)

    def by_head(self, x, keys=False):
        shape = self.ints([0, 0, self.heads, self.config.hidden_size // self.heads])
        return self.add("Transpose", [self.add("Reshape", [x, shape])], perm=[0, 2, 3, 1] if keys else [0, 2, 1, 3])

    def mixed(self, q, k, v, mask=None):
        scores = self.add("MatMul", [q, k])
        if mask:
            scores = self.add("Add", [scores, mask])
        x = self.add("MatMul", [self.add("Softmax", [scores], axis=-1), v])
        x = self.add("Transpose", [x], perm=[0, 2, 1, 3])
        return self.add("Reshape", [x, self.ints([0, 0, self.config.hidden_size])])

    def pooled(self, x, name):
        """SigLIP's head: one learned query attends to all patches."""
        width, head = self.config.hidden_size, self.config.hidden_size // self.heads
        matrix = self.weights[f"{name}.attention.in_proj_weight"]
        bias = self.weights[f"{name}.attention.in_proj_bias"]
        query = (self.weights[f"{name}.probe"].reshape(1, width) @ matrix[:width].T + bias[:width]) * head**-0.5
        query = self.constant(query.reshape(1, self.heads, 1, head).astype(np.float32), f"{name}.query")
        x = self.add("MatMul", [x, self.constant(matrix[width:].T, f"{name}.matrix")])
        x = self.add("Add", [x, self.constant(bias[width:], f"{name}.bias")])
        k, v = self.add("Split", [x], outputs=2, axis=2, num_outputs=2)
        x = self.mixed(query, self.by_head(k, keys=True), self.by_head(v))
        x = self.linear(x, f"{name}.attention.out_proj")
        x = self.add("Add", [x, self.mlp(self.norm(x, f"{name}.layernorm"), f"{name}.mlp")])
        return self.add("Gather", [x, self.ints(0)], axis=1)

    def model(self, name, given, result, output, columns):
        """The finished graph; `result` is named `output`."""
        self.nodes.append(helper.make_node("Identity", [result], [output]))
        declared = helper.make_tensor_value_info(output, TensorProto.FLOAT, ["batch_size", columns])
        graph = helper.make_graph(self.nodes, name, given, [declared], list(self.constants.values()))
        return helper.make_model(
            graph, producer_name="stakeout", opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION
        )
