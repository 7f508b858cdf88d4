"""The tokenizer: a small byte-level BPE, lower-casing, with CLIP's start and end tokens around every text.

Byte-level means that any text can be encoded: an unknown word falls apart into pieces, a strange script into bytes.
The end token has the highest id, as in CLIP, and is also what a batch is padded with.
"""

import numpy as np
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from captions import bank
from labels import COLOUR_NAMES
from words import EMPTY, ORDINARY, STRAY

START, END = "<|startoftext|>", "<|endoftext|>"
CONTEXT = 32


def train_tokenizer(vocabulary=1536):
    rng = np.random.default_rng(7)
    texts = [caption.text for _ in range(200) for caption in bank(rng)]
    texts += [" ".join(ORDINARY + STRAY + COLOUR_NAMES + EMPTY)] * 20
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Lowercase(), normalizers.Strip()])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        texts, trainers.BpeTrainer(vocab_size=vocabulary, initial_alphabet=alphabet, show_progress=False))
    tokenizer.add_special_tokens([START, END])
    ids = [(token, tokenizer.token_to_id(token)) for token in (START, END)]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{START} $A {END}", pair=f"{START} $A {END} $B {END}", special_tokens=ids)
    return tokenizer


def encode(tokenizer, texts):
    """Ids of the texts, cut to the context and padded with the end token to the longest of them."""
    tokenizer.enable_truncation(CONTEXT)
    end = tokenizer.token_to_id(END)
    tokenizer.enable_padding(pad_id=end, pad_token=END)
    ids = np.array([encoding.ids for encoding in tokenizer.encode_batch(texts)], np.int64)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return ids
