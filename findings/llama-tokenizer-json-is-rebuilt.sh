#!/usr/bin/env bash
# transformers 5 loads a tokenizer.json otherwise than it says, where tokenizer_config.json names LlamaTokenizer.
#
# The class takes vocabulary and merges from the file and builds normalizer and pre-tokenizer itself: Metaspace,
# which puts no "▁" before a text that begins with a space. The files of Llama 2, Mistral and their kin have the
# normalizer Prepend("▁"), Replace(" ", "▁"), which does, as SentencePiece, llama.cpp and transformers 4 do. So one
# file gives two sequences of tokens for each text that begins with a space, and for text behind a special token.
#
# Seen with transformers 5.23.0 and tokenizers 0.23.3, for " the cat":
#   the file alone    ▁▁ th e ▁cat
#   AutoTokenizer     ▁the ▁cat
# Exits 1 if they agree, 2 if they differ otherwise.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install -q transformers==5.23.0 tokenizers==0.23.3
"$work/venv/bin/python" - "$work" <<'PY'
import json, pathlib, sys

import tokenizers, transformers
from tokenizers import models, normalizers

pieces = ["<unk>", "<s>", "</s>", "▁", "t", "h", "e", "c", "a", "th", "▁th", "▁the", "▁▁", "ca", "cat", "▁cat"]
merges = [("▁", "▁"), ("t", "h"), ("▁", "th"), ("▁th", "e"), ("c", "a"), ("ca", "t"), ("▁", "cat")]
file = tokenizers.Tokenizer(models.BPE(vocab={piece: i for i, piece in enumerate(pieces)}, merges=merges,
                                       unk_token="<unk>", fuse_unk=True))
file.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
folder = pathlib.Path(sys.argv[1])
file.save(str(folder / "tokenizer.json"))
(folder / "config.json").write_text(json.dumps({"model_type": "llama"}))
(folder / "tokenizer_config.json").write_text(json.dumps(
    {"tokenizer_class": "LlamaTokenizer", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}))

loaded = transformers.AutoTokenizer.from_pretrained(folder)
by_file, by_class = file.encode(" the cat").tokens, loaded.tokenize(" the cat")
print("transformers", transformers.__version__, "tokenizers", tokenizers.__version__)
print("the file alone ", *by_file)
print("AutoTokenizer  ", *by_class, "by", type(loaded).__name__)
print("normalizer now ", loaded.backend_tokenizer.normalizer, "pre-tokenizer", loaded.backend_tokenizer.pre_tokenizer)
if by_file == by_class:
    sys.exit(1)
sys.exit(0 if (by_file, by_class) == (["▁▁", "th", "e", "▁cat"], ["▁the", "▁cat"]) else 2)
PY
