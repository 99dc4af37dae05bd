#!/usr/bin/env bash
# The `tokenizers` library's Precompiled normalizer drops combining marks that SentencePiece keeps.
#
# It looks up each grapheme cluster of less than six bytes as a whole, takes the shortest rule that is a prefix of it
# and puts the rule's text in place of the whole cluster: what stands behind the prefix is gone. SentencePiece takes
# the longest rule and goes on behind it. Hit is every model with SentencePiece's default rules (T5, XLM-RoBERTa,
# ALBERT, ... as tokenizer.json), for any character that NFKC rewrites with a mark behind it.
#
# Seen with tokenizers 0.23.3 and sentencepiece 0.2.3, code points:
#   ff21 301 (fullwidth A, acute)    tokenizers 41       SentencePiece c1
#   2460 301 (circled 1, acute)      tokenizers 31       SentencePiece 31 301
#   fb01 301 (ligature fi, acute)    tokenizers 66 69    SentencePiece 66 69 301
# Exits 1 if the two agree on all of them, 2 if they differ otherwise.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install -q tokenizers==0.23.3 sentencepiece==0.2.3 protobuf==7.36.2
"$work/venv/bin/python" - <<'PY'
import io, sys

import sentencepiece, tokenizers
from sentencepiece import sentencepiece_model_pb2

content = io.BytesIO()
sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(["a b c d e f g h"] * 100), model_writer=content,
                                         vocab_size=20, hard_vocab_limit=False, minloglevel=2)
model = sentencepiece_model_pb2.ModelProto()
model.ParseFromString(content.getvalue())
library = tokenizers.normalizers.Precompiled(model.normalizer_spec.precompiled_charsmap)
own = sentencepiece.SentencePieceProcessor(model_proto=content.getvalue())

def points(text):
    return " ".join(f"{ord(c):x}" for c in text.replace("\u2581", ""))

print("tokenizers", tokenizers.__version__, "sentencepiece", sentencepiece.__version__)
seen = {}
for text in ("\uff21\u0301", "\u2460\u0301", "\ufb01\u0301"):
    seen[points(text)] = points(library.normalize_str(text)), points(own.normalize(text))
    print(points(text), "tokenizers", seen[points(text)][0], "SentencePiece", seen[points(text)][1])
if all(a == b for a, b in seen.values()):
    sys.exit(1)
sys.exit(0 if seen == {"ff21 301": ("41", "c1"), "2460 301": ("31", "31 301"), "fb01 301": ("66 69", "66 69 301")} else 2)
PY
