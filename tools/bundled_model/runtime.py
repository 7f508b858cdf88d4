"""The exported model as a program would use it: ONNX Runtime, tokenizers, Pillow and numpy, and not PyTorch."""

import json

import numpy as np
import onnxruntime
from PIL import Image
from tokenizers import Tokenizer

from tokenizer import encode


class Bundled:
    def __init__(self, folder, threads=2):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self.vision, self.text = (
            onnxruntime.InferenceSession(folder / "onnx" / f"{tower}_model.onnx", options)
            for tower in ("vision", "text"))
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.scale = json.loads((folder / "stakeout.json").read_text())["logit_scale"]
        self.steps = json.loads((folder / "preprocessor_config.json").read_text())

    def pixels(self, image):
        """What CLIPImageProcessor does: shortest edge, centre crop, scale, normalise."""
        edge = self.steps["size"]["shortest_edge"]
        image = image.convert("RGB")
        short = min(image.size)
        image = image.resize([int(edge * side / short) for side in image.size], Image.BICUBIC)
        left, top = (image.width - edge) // 2, (image.height - edge) // 2
        image = image.crop((left, top, left + edge, top + edge))
        mean, std = (np.array(self.steps[name], np.float32) for name in ("image_mean", "image_std"))
        return ((np.asarray(image, np.float32) / 255 - mean) / std).transpose(2, 0, 1)

    def images(self, images, batch=64):
        """Unit vectors of pictures."""
        pixels = [self.pixels(image) for image in images]
        parts = [self.vision.run(None, {"pixel_values": np.stack(pixels[i:i + batch])})[0]
                 for i in range(0, len(pixels), batch)]
        return unit(np.concatenate(parts))

    def texts(self, texts):
        """Unit vectors of texts."""
        return unit(self.text.run(None, {"input_ids": encode(self.tokenizer, texts)})[0])

    def scores(self, image_vectors, text_vectors):
        """Softmax over the texts, for each picture."""
        logits = self.scale * image_vectors @ text_vectors.T
        exponents = np.exp(logits - logits.max(1, keepdims=True))
        return exponents / exponents.sum(1, keepdims=True)


class Demo:
    """The demo's label set: its labels' scores and alerts, with the background prompts taking part."""

    def __init__(self, bundled, settings):
        fill = settings["template"].replace
        self.bundled, self.names = bundled, list(settings["labels"])
        self.thresholds = np.array([label["threshold"] for label in settings["labels"].values()])
        own = [unit(bundled.texts([fill("{}", prompt) for prompt in label["prompts"]]).mean(0, keepdims=True))
               for label in settings["labels"].values()]
        behind = bundled.texts([fill("{}", prompt) for prompt in settings["background"]])
        self.vectors = np.concatenate(own + [behind])

    def scores(self, images):
        """One row a picture, one column a label (without the background)."""
        return self.bundled.scores(self.bundled.images(images), self.vectors)[:, :len(self.names)]

    def alerts(self, images):
        return self.scores(images) >= self.thresholds


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
