"""Makes the `tokenizer.json` of a SigLIP model from its SentencePiece file.

transformers saves the tokenizer of the first SigLIP as `spiece.model` only, and some of its rules are Python code: lower case, no
punctuation, single blanks. Here they are rules of `tokenizer.json`, as in the repositories of the hub that have this file.
"""

import re
import string

from sentencepiece import sentencepiece_model_pb2
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

BLANK = "\u2581"


def convert(path):
    """The tokenizer of a `spiece.model`, a Unigram model."""
    spm = sentencepiece_model_pb2.ModelProto()
    spm.ParseFromString(path.read_bytes())
    made = Tokenizer(models.Unigram([(piece.piece, piece.score) for piece in spm.pieces], spm.trainer_spec.unk_id))
    steps = [
        normalizers.Lowercase(),
        normalizers.Replace(Regex("[" + re.escape(string.punctuation) + "]"), ""),
        normalizers.Replace(Regex(r"\s+"), " "),
        normalizers.Strip(),
    ]
    if spm.normalizer_spec.precompiled_charsmap:
        steps.append(normalizers.Precompiled(spm.normalizer_spec.precompiled_charsmap))
    steps.append(normalizers.Replace(Regex(" {2,}"), " "))
    made.normalizer = normalizers.Sequence(steps)
    made.pre_tokenizer = pre_tokenizers.Metaspace(replacement=BLANK, prepend_scheme="always")
    made.decoder = decoders.Metaspace(replacement=BLANK, prepend_scheme="always")
    pieces = [piece.piece for piece in spm.pieces]
    eos, unknown = pieces[spm.trainer_spec.eos_id], pieces[spm.trainer_spec.unk_id]
    made.add_special_tokens([AddedToken(token, lstrip=True, rstrip=True, normalized=False, special=True) for token in (eos, unknown)])
    made.post_processor = processors.TemplateProcessing(single=f"$A {eos}", pair=f"$A {eos} $B {eos}", special_tokens=[(eos, spm.trainer_spec.eos_id)])
    return made
