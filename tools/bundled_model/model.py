"""The two encoders, as in CLIP: a convolutional one with attention pooling, and a causal text transformer.

Only layers that map to a handful of ONNX operators are used; `export.py` writes the same graph by hand.
"""

import torch
from torch import nn
from torch.nn.functional import normalize

IMAGE, PATCH, EMBED, CONTEXT = 64, 8, 128, 32
WIDTH, LAYERS, HEADS = 128, 3, 4


class Convolution(nn.Module):
    def __init__(self, inputs, outputs, stride=1):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x):
        return self.norm(self.conv(x))


class Block(nn.Module):
    """Two convolutions with a residual connection."""

    def __init__(self, width):
        super().__init__()
        self.first, self.second = Convolution(width, width), Convolution(width, width)

    def forward(self, x):
        return torch.relu(x + self.second(torch.relu(self.first(x))))


class VisionEncoder(nn.Module):
    def __init__(self, widths=(32, 64, 128), heads=8):
        super().__init__()
        low, middle, high = widths
        self.stem, self.down1 = Convolution(3, low, 2), Convolution(low, middle, 2)
        self.block1, self.down2 = Block(middle), Convolution(middle, high, 2)
        self.block2, self.block3 = Block(high), Block(high)
        self.heads = heads
        self.positions = nn.Parameter(torch.randn((IMAGE // PATCH) ** 2, high) * 0.05)
        self.query, self.key, self.value = (nn.Linear(high, high) for _ in range(3))
        self.project = nn.Linear(high, EMBED)

    def forward(self, pixels):
        x = torch.relu(self.down1(torch.relu(self.stem(pixels))))
        x = torch.relu(self.down2(self.block1(x)))
        x = self.block3(self.block2(x)).flatten(2).transpose(1, 2) + self.positions
        return self.project(self.pool(x))

    def pool(self, x):
        """One vector for the picture: attention with the mean as its query."""
        batch, places, width = x.shape
        q = self.query(x.mean(1, keepdim=True)).view(batch, 1, self.heads, -1).transpose(1, 2)
        k = self.key(x).view(batch, places, self.heads, -1).transpose(1, 2)
        v = self.value(x).view(batch, places, self.heads, -1).transpose(1, 2)
        weights = torch.softmax(q @ k.transpose(2, 3) * (width // self.heads) ** -0.5, -1)
        return (weights @ v).transpose(1, 2).reshape(batch, width)


class TextLayer(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.up, self.down = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x, mask):
        batch, length, _ = x.shape
        q, k, v = (part.view(batch, length, HEADS, -1).transpose(1, 2) for part in self.qkv(self.norm1(x)).chunk(3, -1))
        weights = torch.softmax(q @ k.transpose(2, 3) * (WIDTH // HEADS) ** -0.5 + mask, -1)
        x = x + self.out((weights @ v).transpose(1, 2).reshape(batch, length, WIDTH))
        h = self.up(self.norm2(x))
        return x + self.down(h * torch.sigmoid(1.702 * h))


class TextEncoder(nn.Module):
    def __init__(self, vocabulary, end):
        super().__init__()
        self.end = end
        self.tokens = nn.Parameter(torch.randn(vocabulary, WIDTH) * 0.02)
        self.positions = nn.Parameter(torch.randn(CONTEXT, WIDTH) * 0.01)
        self.layers = nn.ModuleList(TextLayer() for _ in range(LAYERS))
        self.norm = nn.LayerNorm(WIDTH)
        self.project = nn.Linear(WIDTH, EMBED, bias=False)
        self.register_buffer("mask", causal_mask(), persistent=False)

    def forward(self, ids):
        length = ids.shape[1]
        x = self.tokens[ids] + self.positions[:length]
        for layer in self.layers:
            x = layer(x, self.mask[:length, :length])
        at_end = (ids == self.end).int().argmax(1)  # the first end token; those after it are padding
        return self.project(self.norm(x[torch.arange(len(ids)), at_end]))


def causal_mask():
    return torch.full((CONTEXT, CONTEXT), -1e4).triu(1)


class Clip(nn.Module):
    def __init__(self, vocabulary, end):
        super().__init__()
        self.vision, self.text = VisionEncoder(), TextEncoder(vocabulary, end)
        self.log_scale = nn.Parameter(torch.tensor(2.66))  # 1 / 0.07, as in CLIP

    def forward(self, pixels, ids):
        images, texts = normalize(self.vision(pixels).float(), dim=-1), normalize(self.text(ids).float(), dim=-1)
        return self.log_scale.clamp(max=4.6).exp() * images @ texts.T
