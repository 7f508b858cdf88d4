"""Tiny vocabularies in the files of the hub's repositories. The same texts always give the same vocabulary."""

import io
import json
import re
import unicodedata
from collections import Counter

import sentencepiece
from sentencepiece import sentencepiece_model_pb2
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import XLMRobertaTokenizer

from .texts import CORPUS

START, END = "<|startoftext|>", "<|endoftext|>"
BLANK = "\u2581"


def merges(words, count):
    """The first merges of byte-pair encoding: the most frequent pair, of equally frequent pairs the first in order."""
    found = []
    while len(found) < count:
        pairs = Counter()
        for word, times in words.items():
            for pair in zip(word, word[1:]):
                pairs[pair] += times
        best, times = min(pairs.items(), key=lambda entry: (-entry[1], entry[0]), default=(None, 0))
        if times < 2:
            break
        found.append(best)
        merged = Counter()
        for word, times in words.items():
            merged[joined(word, best)] += times
        words = merged
    return found


def joined(word, pair):
    parts, at = [], 0
    while at < len(word):
        step = 2 if tuple(word[at : at + 2]) == pair else 1
        parts.append("".join(word[at : at + step]))
        at += step
    return tuple(parts)


def byte_letters():
    """The letter of each byte in byte-level vocabularies, in the order of CLIP's vocabulary: printable bytes first."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {byte: chr(256 + number) for number, byte in enumerate(others)}


def clip(count, after=()):
    """CLIP's byte-pair vocabulary with `count` merges: `vocab` and `merges`. Tokens in `after` follow the end token."""
    letters = byte_letters()
    words = Counter()
    for text in CORPUS:
        for word in re.findall(r"'s|'t|'re|'ve|'m|'ll|'d|[^\W\d_]+|\d|[^\s\w]+", unicodedata.normalize("NFC", text).lower()):
            symbols = [letters[byte] for byte in word.encode()]
            words[(*symbols[:-1], symbols[-1] + "</w>")] += 1
    found = merges(words, count)
    alphabet = list(letters.values())
    tokens = [*alphabet, *(f"{letter}</w>" for letter in alphabet), *("".join(pair) for pair in found), START, END, *after]
    return {token: number for number, token in enumerate(tokens)}, found


def write_clip(folder, vocab, found):
    (folder / "vocab.json").write_text(json.dumps(vocab, ensure_ascii=False))
    lines = ["#version: 0.2", *(" ".join(pair) for pair in found)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n")


def sentencepiece_model(size, **options):
    """A unigram model as SentencePiece makes it: the bytes of a `spiece.model`."""
    made = io.BytesIO()
    defaults = {"hard_vocab_limit": False, "num_threads": 1, "minloglevel": 2, "character_coverage": 1.0}
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS * 2), model_writer=made, model_type="unigram", vocab_size=size, **(defaults | options)
    )
    return made.getvalue()


def siglip(size, **options):
    """As the first SigLIP has it: no start token, the end token has the id 1."""
    return sentencepiece_model(size, pad_id=0, eos_id=1, unk_id=2, bos_id=-1, **options)


def xlm_roberta(size, **options):
    """The tokenizer of XLM-RoBERTa, which MetaCLIP 2 and AltCLIP use: `<s> <pad> </s> <unk>` first, `<mask>` last."""
    spm = sentencepiece_model_pb2.ModelProto()
    spm.ParseFromString(sentencepiece_model(size, pad_id=-1, **options))
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    pieces = [(piece.piece, piece.score) for piece in spm.pieces if piece.piece not in special]
    charsmap = spm.normalizer_spec.precompiled_charsmap or None
    vocab = [*((token, 0.0) for token in special), *pieces, ("<mask>", 0.0)]
    return XLMRobertaTokenizer(vocab=vocab, _spm_precompiled_charsmap=charsmap, model_max_length=512)


def t5(size):
    """The tokenizer of timm's first SigLIP repositories: the same model as in `spiece.model`, as a `tokenizer.json`."""
    spm = sentencepiece_model_pb2.ModelProto()
    spm.ParseFromString(siglip(size, normalization_rule_name="identity"))
    made = Tokenizer(models.Unigram([(piece.piece, piece.score) for piece in spm.pieces], 2))
    made.pre_tokenizer = pre_tokenizers.Metaspace(replacement=BLANK, prepend_scheme="always")
    made.decoder = decoders.Metaspace(replacement=BLANK, prepend_scheme="always")
    made.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in ("<pad>", "</s>", "<unk>")])
    made.post_processor = processors.TemplateProcessing(single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)])
    return made


def gemma(count, lower=False):
    """A tokenizer like Gemma's, which SigLIP 2 uses: byte-pair encoding with bytes for unknown letters."""
    words = Counter()
    for text in CORPUS:
        for word in (text.lower() if lower else text).split():
            words[(BLANK, *word)] += 1
            words[tuple(word)] += 1
    found = merges(words, count)
    letters = sorted({letter for word in words for letter in word} | {BLANK})
    tokens = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", *(f"<0x{byte:02X}>" for byte in range(256)), *letters, *("".join(pair) for pair in found)]
    vocab = {token: number for number, token in enumerate(dict.fromkeys(tokens))}
    made = Tokenizer(models.BPE(vocab=vocab, merges=found, fuse_unk=True, unk_token="<unk>", byte_fallback=True))
    made.normalizer = normalizers.Replace(" ", BLANK)
    made.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    made.decoder = decoders.Sequence([decoders.Replace(BLANK, " "), decoders.ByteFallback(), decoders.Fuse()])
    made.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in ("<pad>", "<eos>", "<bos>", "<unk>", "<mask>")])
    made.post_processor = processors.TemplateProcessing(single="$A <eos>", pair="$A <eos> $B <eos>", special_tokens=[("<eos>", 1)])
    return made


def bert():
    """The words of a BERT's `vocab.txt`: letters, parts of words, whole words, and Chinese characters."""
    letters = [chr(code) for code in range(33, 127) if not chr(code).isupper()]
    words = Counter(word for text in CORPUS for word in re.findall(r"[^\W\d_]+", text.lower()) if word.isascii())
    parts = [f"##{letter}" for letter in "abcdefghijklmnopqrstuvwxyz0123456789"] + ["##s", "##ed", "##er", "##ing", "##ra", "##ße"]
    others = sorted({letter for text in CORPUS for letter in text.lower() if ord(letter) > 127 and letter.isalpha()})
    return list(dict.fromkeys(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *parts, *sorted(words), *others, *(f"##{letter}" for letter in others[:40])]))
