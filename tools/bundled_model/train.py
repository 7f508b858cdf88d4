"""Trains the bundled model and writes it out: python tools/bundled_model/train.py --out models/bundled

About half an hour on two idle cores: some minutes of rendering, then `--minutes` of training. The learning rate follows
the clock, so a slower machine trains less but still finishes well. Needs requirements.txt; the built program does not.
"""

import argparse
import os
import time
from pathlib import Path

import numpy as np
import torch

from captions import bank, describe, truth
from export import export
from labels import PAIRS, SEEN, UNSEEN
from model import IMAGE, Clip
from pool import STORED, load_or_render
from render import paint, random_scene
from tokenizer import END, encode, train_tokenizer

BATCH, PEAK_RATE, WARM_UP = 256, 2e-3, 200


def main():
    args = arguments()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    tokenizer = train_tokenizer()
    model = Clip(tokenizer.get_vocab_size(), tokenizer.token_to_id(END)).to(memory_format=torch.channels_last)
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters", flush=True)
    start = time.monotonic()
    pictures, columns = load_or_render(args.scenes, args.threads, args.pool)
    print(f"{len(pictures):,} scenes after {time.monotonic() - start:.0f} s", flush=True)
    fit(model, tokenizer, pictures, columns, args)
    save(model, tokenizer, args)


def save(model, tokenizer, args):
    """Writes the current model, so that an interrupted run has a result."""
    if args.checkpoint:
        torch.save({"model": model.state_dict(), "tokenizer": tokenizer.to_str()}, args.checkpoint)
    export(model, tokenizer, args.out)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("models/bundled"))
    parser.add_argument("--minutes", type=float, default=24, help="how long to train, after the rendering")
    parser.add_argument("--scenes", type=int, default=80_000, help="how many scenes to render")
    parser.add_argument("--pool", type=Path, help="an .npz file to keep the rendered scenes in between runs")
    parser.add_argument("--checkpoint", type=Path, help="a .pt file to keep the PyTorch weights in, for export.py")
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count()))
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


def fit(model, tokenizer, pictures, columns, args):
    decayed = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    optimiser = torch.optim.AdamW([{"params": decayed, "weight_decay": 0.05}, {"params": others, "weight_decay": 0}],
                                  lr=PEAK_RATE, betas=(0.9, 0.98))
    rng = np.random.default_rng(args.seed)
    probe = Probe(tokenizer)
    start = saved = time.monotonic()
    for step, rows in enumerate(batches(rng, len(pictures))):
        done = (time.monotonic() - start) / (60 * args.minutes)
        if done >= 1:
            break
        rate = PEAK_RATE * min(1, (step + 1) / WARM_UP) * 0.5 * (1 + np.cos(np.pi * done))
        for group in optimiser.param_groups:
            group["lr"] = rate
        loss = train_step(model, optimiser, *batch(rng, tokenizer, pictures, columns, rows))
        if step % 100 == 0:
            print(f"{done:5.1%} step {step} loss {loss:.3f} scale {model.log_scale.exp():.1f}", flush=True)
        if time.monotonic() - saved > 60 * args.minutes / 6:
            print(f"{done:5.1%} step {step} {probe(model)}", flush=True)
            save(model, tokenizer, args)
            saved = time.monotonic()
    print(f"done  step {step} {probe(model)}", flush=True)


def batches(rng, count):
    while True:
        order = rng.permutation(count)
        yield from (order[i:i + BATCH] for i in range(0, count - BATCH + 1, BATCH))


def batch(rng, tokenizer, pictures, columns, rows):
    """Pixels, token ids and the weight of each caption for each picture."""
    x, y = rng.integers(STORED - IMAGE + 1, size=2)
    pixels = torch.from_numpy(pictures[rows, y:y + IMAGE, x:x + IMAGE]).permute(0, 3, 1, 2).float() / 127.5 - 1
    pixels = pixels * torch.empty(len(rows), 1, 1, 1).uniform_(0.92, 1.08)
    pixels = pixels + torch.empty(len(rows), 1, 1, 1).uniform_(-0.05, 0.05)
    part = {name: column[rows] for name, column in columns.items()}
    captions = [describe(rng, part, row) for row in range(len(rows))] + bank(rng)
    ids = torch.from_numpy(encode(tokenizer, [caption.text for caption in captions]))
    return pixels.contiguous(memory_format=torch.channels_last), ids, torch.from_numpy(truth(part, captions))


def train_step(model, optimiser, pixels, ids, weights):
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(pixels, ids)
    loss = contrastive_loss(logits.float(), weights)
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimiser.step()
    return loss.item()


def contrastive_loss(logits, weights):
    """CLIP's two cross entropies with soft targets: a picture may have several true captions, and the reverse."""
    to_text = weights / weights.sum(1, keepdim=True)
    matched = (weights > 0).float()[:, weights.sum(0) > 0]
    to_image = matched / matched.sum(0, keepdim=True)
    by_image = -(to_text * logits.log_softmax(1)).sum(1).mean()
    by_text = -(to_image * logits[:, weights.sum(0) > 0].log_softmax(0)).sum(0).mean()
    return (by_image + by_text) / 2


class Probe:
    """Top-1 over all pairs on some fresh scenes, to observe the training; the figures come from evaluate.py."""

    def __init__(self, tokenizer, count=360):
        rng = np.random.default_rng(99)
        self.ids = torch.from_numpy(encode(tokenizer, [f"a photo of a {c} {s}" for c, s in PAIRS]))
        self.groups = {}
        for name, pairs in (("seen", SEEN), ("unseen", UNSEEN)):
            scenes = [random_scene(rng, pairs, (0, 1, 0)) for _ in range(count)]
            pixels = np.stack([np.asarray(paint(s, rng).resize((IMAGE, IMAGE), 3)) for s in scenes])
            target = [PAIRS.index((s[0].colour, s[0].shape)) for s in scenes]
            self.groups[name] = torch.from_numpy(pixels).permute(0, 3, 1, 2) / 127.5 - 1, torch.tensor(target)

    @torch.no_grad()
    def __call__(self, model):
        model.eval()
        right = {name: (model(x, self.ids).argmax(1) == t).float().mean() for name, (x, t) in self.groups.items()}
        model.train()
        return " ".join(f"{name} {share:.1%}" for name, share in right.items())


if __name__ == "__main__":
    main()
